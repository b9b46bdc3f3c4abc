#include "common/spsc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

enum { CACHE_LINE = 64 };

struct spsc {
    _Alignas(CACHE_LINE) atomic_size_t tail; /* written by the producer */
    size_t head_seen;
    _Alignas(CACHE_LINE) atomic_size_t head; /* written by the consumer */
    size_t tail_seen;
    _Alignas(CACHE_LINE) uint8_t *items;
    size_t mask;
    size_t item_size;
};

struct spsc *spsc_new(uint32_t capacity, uint32_t item_size)
{
    CHECK(capacity >= 2 && (capacity & (capacity - 1)) == 0);
    struct spsc *q = aligned_alloc(CACHE_LINE, sizeof(*q));

    if (q == NULL)
        return NULL;
    *q = (struct spsc){.mask = capacity - 1, .item_size = item_size};
    q->items = calloc(capacity, item_size);
    if (q->items == NULL) {
        free(q);
        return NULL;
    }
    return q;
}

void spsc_free(struct spsc **pq)
{
    struct spsc *q = *pq;

    *pq = NULL;
    if (q == NULL)
        return;
    free(q->items);
    free(q);
}

bool spsc_push(struct spsc *q, const void *item)
{
    size_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed); /* our own */

    if (tail - q->head_seen > q->mask) {
        /* Acquire: pairs with spsc_pop's release; the slot has been read. */
        q->head_seen = atomic_load_explicit(&q->head, memory_order_acquire);
        if (tail - q->head_seen > q->mask)
            return false;
    }
    memcpy(q->items + (tail & q->mask) * q->item_size, item, q->item_size);
    /* Release: pairs with spsc_pop's acquire; the item is there. */
    atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
    return true;
}

bool spsc_pop(struct spsc *q, void *ret_item)
{
    size_t head = atomic_load_explicit(&q->head, memory_order_relaxed); /* our own */

    if (head == q->tail_seen) {
        q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire);
        if (head == q->tail_seen)
            return false;
    }
    memcpy(ret_item, q->items + (head & q->mask) * q->item_size, q->item_size);
    atomic_store_explicit(&q->head, head + 1, memory_order_release);
    return true;
}
