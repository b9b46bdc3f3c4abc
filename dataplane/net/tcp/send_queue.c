#include "dataplane/net/tcp/send_queue.h"

#include <errno.h>

#include "common/check.h"
#include "dataplane/net/tcp/seq.h"

static_assert(sizeof(struct send_chunk) == 128, "two cache lines");

static const struct send_position NOWHERE = {.chunk = POOL_NONE};

static struct send_chunk *chunk_at(const struct pool *pool, uint32_t index)
{
    return pool_at(pool, index);
}

void send_queue_init(struct send_queue *q)
{
    *q = (struct send_queue){.head = NOWHERE, .next = NOWHERE, .tail_chunk = POOL_NONE};
}

/* Drops the head extent. */
static void send_queue_pop(struct send_queue *q, struct pool *pool)
{
    struct send_chunk *chunk = chunk_at(pool, q->head.chunk);
    struct extent *e = &chunk->extents[q->head.slot];
    bool is_at_head = q->next.chunk == q->head.chunk && q->next.slot == q->head.slot;

    q->head.seq += e->size;
    blob_unref(&e->blob);
    q->extent_count--;
    if (q->extent_count == 0) {
        pool_put(pool, q->head.chunk);
        send_queue_init(q);
        return;
    }
    if (++q->head.slot == SEND_CHUNK_EXTENTS) {
        uint32_t next = chunk->next;
        /* A 'next' that waits at this chunk's end waits at the new head. */
        is_at_head = is_at_head || q->next.chunk == q->head.chunk;
        pool_put(pool, q->head.chunk);
        q->head.chunk = next;
        q->head.slot = 0;
    }
    if (is_at_head)
        q->next = q->head;
}

void send_queue_clear(struct send_queue *q, struct pool *pool)
{
    while (q->extent_count > 0)
        send_queue_pop(q, pool);
}

/* Makes room for one more extent at the tail. */
static struct extent *send_queue_append(struct send_queue *q, struct pool *pool)
{
    if (q->tail_chunk == POOL_NONE || q->tail_slots == SEND_CHUNK_EXTENTS) {
        uint32_t index = pool_get(pool);
        CHECK(index != POOL_NONE); /* counted before */
        chunk_at(pool, index)->next = POOL_NONE;
        if (q->tail_chunk != POOL_NONE)
            chunk_at(pool, q->tail_chunk)->next = index;
        q->tail_chunk = index;
        q->tail_slots = 0;
    }
    q->extent_count++;
    return &chunk_at(pool, q->tail_chunk)->extents[q->tail_slots++];
}

int send_queue_push(struct send_queue *q, struct pool *pool, const struct extent *extents,
                    size_t count, uint32_t end)
{
    uint32_t room = q->tail_chunk != POOL_NONE ? (uint32_t)SEND_CHUNK_EXTENTS - q->tail_slots : 0;
    uint64_t chunks_free = pool->count - pool->in_use;

    if (count > SEND_EXTENTS_MAX - (size_t)q->extent_count ||
        count > room + chunks_free * SEND_CHUNK_EXTENTS)
        return -ENOBUFS;
    for (size_t i = 0; i < count; i++) {
        if (extents[i].size == 0)
            continue;
        bool was_empty = q->extent_count == 0;
        struct extent *e = send_queue_append(q, pool);
        *e = extents[i];
        blob_ref(e->blob);
        if (was_empty) {
            q->head = (struct send_position){.chunk = q->tail_chunk, .slot = 0, .seq = end};
            q->next = q->head;
        }
    }
    return 0;
}

void send_queue_ack(struct send_queue *q, struct pool *pool, uint32_t acked)
{
    while (q->extent_count > 0) {
        const struct extent *e = &chunk_at(pool, q->head.chunk)->extents[q->head.slot];

        if (seq_is_after(q->head.seq + e->size, acked))
            return;
        send_queue_pop(q, pool);
    }
}

/* Moves 'p' on to the next slot that can hold an extent. */
static void position_settle(struct send_position *p, const struct pool *pool)
{
    if (p->slot == SEND_CHUNK_EXTENTS) {
        uint32_t next = chunk_at(pool, p->chunk)->next;
        CHECK(next != POOL_NONE);
        p->chunk = next;
        p->slot = 0;
    }
}

unsigned send_queue_gather(struct send_queue *q, const struct pool *pool, uint32_t seq,
                           uint32_t size, struct extent *extents, unsigned max, uint32_t *ret_size)
{
    struct send_position p = q->next;
    unsigned count = 0;
    uint32_t gathered = 0;

    if (p.chunk == POOL_NONE || seq_is_before(seq, p.seq))
        p = q->head;
    CHECK(p.chunk != POOL_NONE && !seq_is_before(seq, p.seq));
    while (gathered < size && count < max) {
        position_settle(&p, pool);
        const struct extent *e = &chunk_at(pool, p.chunk)->extents[p.slot];
        uint32_t skip = seq + gathered - p.seq;
        if (skip < e->size) {
            uint32_t part = e->size - skip;
            if (part > size - gathered)
                part = size - gathered;
            extents[count++] =
                (struct extent){.blob = e->blob, .offset = e->offset + skip, .size = part};
            gathered += part;
            if (skip + part < e->size)
                break;
        }
        p.seq += e->size;
        p.slot++;
    }
    q->next = p;
    *ret_size = gathered;
    return count;
}
