#include "common/mpsc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

enum { CACHE_LINE = 64 };

/* Each cell: a sequence number, then the item. sequence == position: free for the producer of
 * that position; == position + 1: filled; the consumer sets position + capacity. */
struct mpsc {
    _Alignas(CACHE_LINE) atomic_size_t tail; /* producers */
    _Alignas(CACHE_LINE) size_t head;        /* consumer */
    _Alignas(CACHE_LINE) uint8_t *cells;
    size_t mask;
    size_t item_size;
    size_t cell_size;
};

static atomic_size_t *cell_at(const struct mpsc *q, size_t position)
{
    return (atomic_size_t *)(void *)(q->cells + (position & q->mask) * q->cell_size);
}

struct mpsc *mpsc_new(uint32_t capacity, uint32_t item_size)
{
    CHECK(capacity >= 2 && (capacity & (capacity - 1)) == 0);
    struct mpsc *q = aligned_alloc(CACHE_LINE, sizeof(*q));

    if (q == NULL)
        return NULL;
    size_t cell_size = (sizeof(atomic_size_t) + item_size + 7) & ~(size_t)7;
    *q = (struct mpsc){.mask = capacity - 1, .item_size = item_size, .cell_size = cell_size};
    q->cells = calloc(capacity, cell_size);
    if (q->cells == NULL) {
        free(q);
        return NULL;
    }
    for (size_t i = 0; i < capacity; i++)
        atomic_init(cell_at(q, i), i);
    return q;
}

void mpsc_free(struct mpsc **pq)
{
    struct mpsc *q = *pq;

    *pq = NULL;
    if (q == NULL)
        return;
    free(q->cells);
    free(q);
}

bool mpsc_push(struct mpsc *q, const void *item)
{
    size_t position = atomic_load_explicit(&q->tail, memory_order_relaxed);

    for (;;) {
        atomic_size_t *sequence = cell_at(q, position);
        /* Acquire: pairs with the consumer's release of the emptied cell. */
        size_t seen = atomic_load_explicit(sequence, memory_order_acquire);
        if (seen == position) {
            /* Relaxed: only claims the cell; the release below publishes the item. */
            if (!atomic_compare_exchange_weak_explicit(&q->tail, &position, position + 1,
                                                       memory_order_relaxed, memory_order_relaxed))
                continue;
            memcpy(sequence + 1, item, q->item_size);
            /* Release: pairs with the consumer's acquire. */
            atomic_store_explicit(sequence, position + 1, memory_order_release);
            return true;
        }
        if ((ptrdiff_t)(seen - position) < 0)
            return false;
        position = atomic_load_explicit(&q->tail, memory_order_relaxed);
    }
}

bool mpsc_has_item(const struct mpsc *q)
{
    /* Acquire: pairs with the producer's release. */
    return atomic_load_explicit(cell_at(q, q->head), memory_order_acquire) == q->head + 1;
}

bool mpsc_pop(struct mpsc *q, void *ret_item)
{
    if (!mpsc_has_item(q))
        return false;
    atomic_size_t *sequence = cell_at(q, q->head);
    memcpy(ret_item, sequence + 1, q->item_size);
    /* Release: pairs with the producers' acquire; the item was read before the cell is reused. */
    atomic_store_explicit(sequence, q->head + q->mask + 1, memory_order_release);
    q->head++;
    return true;
}
