#include "dataplane/net/tcp/reassembly.h"

#include "common/check.h"
#include "dataplane/net/tcp/seq.h"

static_assert(sizeof(struct reassembly_buffer) == 2048, "the pool is sized by this");

static struct reassembly_buffer *buffer_at(const struct pool *pool, uint32_t index)
{
    return index == POOL_NONE ? NULL : pool_at(pool, index);
}

static uint32_t buffer_end(const struct reassembly_buffer *b)
{
    return b->seq + b->size;
}

void reassembly_init(struct reassembly *r)
{
    *r = (struct reassembly){.head = POOL_NONE};
}

static void reassembly_drop_head(struct reassembly *r, struct pool *pool)
{
    uint32_t index = r->head;

    r->head = buffer_at(pool, index)->next;
    r->count--;
    pool_put(pool, index);
}

void reassembly_clear(struct reassembly *r, struct pool *pool)
{
    while (r->head != POOL_NONE)
        reassembly_drop_head(r, pool);
}

/* Fills a gap with [seq, seq + data.size): first the room behind 'previous', which may be NULL,
 * then new buffers at '*link'. Returns the last buffer written; NULL: out of buffers. */
static struct reassembly_buffer *gap_fill(struct reassembly *r, struct pool *pool,
                                          struct reassembly_buffer *previous, uint32_t *link,
                                          uint32_t seq, struct bytes data, uint32_t buffers_max)
{
    if (previous != NULL && buffer_end(previous) == seq) {
        size_t room = REASSEMBLY_BUFFER_BYTES - previous->size;
        size_t size = data.size < room ? data.size : room;
        memcpy(previous->data + previous->size, data.ptr, size);
        previous->size += (uint32_t)size;
        seq += (uint32_t)size;
        data = bytes_from(data, size);
    }
    while (data.size > 0) {
        uint32_t index = r->count < buffers_max ? pool_get(pool) : POOL_NONE;
        struct reassembly_buffer *b = buffer_at(pool, index);
        if (b == NULL)
            return NULL;
        size_t size = data.size < REASSEMBLY_BUFFER_BYTES ? data.size : REASSEMBLY_BUFFER_BYTES;
        b->next = *link;
        b->seq = seq;
        b->size = (uint32_t)size;
        memcpy(b->data, data.ptr, size);
        *link = index;
        link = &b->next;
        r->count++;
        previous = b;
        seq += (uint32_t)size;
        data = bytes_from(data, size);
    }
    return previous;
}

bool reassembly_add(struct reassembly *r, struct pool *pool, uint32_t seq, struct bytes data,
                    uint32_t buffers_max)
{
    uint32_t end = seq + (uint32_t)data.size;
    uint32_t at = seq;
    uint32_t *link = &r->head;
    struct reassembly_buffer *previous = NULL;

    while (seq_is_before(at, end)) {
        struct reassembly_buffer *b;
        while ((b = buffer_at(pool, *link)) != NULL && !seq_is_after(buffer_end(b), at)) {
            previous = b;
            link = &b->next;
        }
        if (b != NULL && !seq_is_after(b->seq, at)) {
            at = buffer_end(b);
            continue;
        }
        uint32_t gap_end = b != NULL ? seq_min(end, b->seq) : end;
        struct bytes part = bytes_of(data.ptr + (at - seq), gap_end - at);
        previous = gap_fill(r, pool, previous, link, at, part, buffers_max);
        if (previous == NULL)
            return false;
        link = &previous->next;
        at = gap_end;
    }
    return true;
}

uint32_t reassembly_edge(const struct reassembly *r, const struct pool *pool, uint32_t seq)
{
    for (const struct reassembly_buffer *b = buffer_at(pool, r->head);
         b != NULL && !seq_is_after(b->seq, seq); b = buffer_at(pool, b->next))
        seq = seq_max(seq, buffer_end(b));
    return seq;
}

void reassembly_trim(struct reassembly *r, struct pool *pool, uint32_t seq)
{
    for (const struct reassembly_buffer *b;
         (b = buffer_at(pool, r->head)) != NULL && !seq_is_after(buffer_end(b), seq);)
        reassembly_drop_head(r, pool);
}

uint32_t reassembly_pop(struct reassembly *r, struct pool *pool, uint32_t seq,
                        struct bytes *ret_data)
{
    reassembly_trim(r, pool, seq);
    const struct reassembly_buffer *b = buffer_at(pool, r->head);
    if (b == NULL || seq_is_after(b->seq, seq))
        return POOL_NONE;
    uint32_t index = r->head;
    r->head = b->next;
    r->count--;
    *ret_data = bytes_from(bytes_of(b->data, b->size), seq - b->seq);
    return index;
}

/* The block that '*b' begins; moves '*b' behind it. */
static struct tcp_sack_block block_next(const struct pool *pool, const struct reassembly_buffer **b)
{
    struct tcp_sack_block block = {.start = (*b)->seq, .end = buffer_end(*b)};

    for (*b = buffer_at(pool, (*b)->next); *b != NULL && (*b)->seq == block.end;
         *b = buffer_at(pool, (*b)->next))
        block.end = buffer_end(*b);
    return block;
}

bool reassembly_covered(const struct reassembly *r, const struct pool *pool, uint32_t end,
                        struct tcp_sack_block *ret_block)
{
    const struct reassembly_buffer *b = buffer_at(pool, r->head);

    if (b == NULL || !seq_is_before(b->seq, end))
        return false;
    *ret_block = block_next(pool, &b);
    ret_block->end = seq_min(ret_block->end, end);
    return true;
}

static bool block_has(const struct tcp_sack_block *block, uint32_t seq)
{
    return seq - block->start < block->end - block->start;
}

/* False: no block there. */
static bool block_at(const struct reassembly *r, const struct pool *pool, uint32_t seq,
                     struct tcp_sack_block *ret_block)
{
    const struct reassembly_buffer *b = buffer_at(pool, r->head);

    while (b != NULL) {
        *ret_block = block_next(pool, &b);
        if (block_has(ret_block, seq))
            return true;
    }
    return false;
}

void reassembly_note(struct reassembly *r, const struct pool *pool, uint32_t seq)
{
    uint32_t before[REASSEMBLY_RECENTS];
    struct tcp_sack_block block;
    unsigned count = 0;

    if (!block_at(r, pool, seq, &block))
        return;
    memcpy(before, r->recent, sizeof(before));
    r->recent[count++] = seq;
    for (unsigned i = 0; i < REASSEMBLY_RECENTS && count < REASSEMBLY_RECENTS; i++)
        if (!block_has(&block, before[i]))
            r->recent[count++] = before[i];
}

static unsigned block_add(struct tcp_sack_block *blocks, unsigned count, unsigned max,
                          const struct tcp_sack_block *block)
{
    for (unsigned i = 0; i < count; i++)
        if (blocks[i].start == block->start)
            return count;
    if (count < max)
        blocks[count++] = *block;
    return count;
}

unsigned reassembly_blocks(const struct reassembly *r, const struct pool *pool, uint32_t from,
                           struct tcp_sack_block *blocks, unsigned max)
{
    const struct reassembly_buffer *b = buffer_at(pool, r->head);
    struct tcp_sack_block block;
    unsigned count = 0;

    for (unsigned i = 0; i < REASSEMBLY_RECENTS && b != NULL; i++)
        if (block_at(r, pool, r->recent[i], &block) && seq_is_after(block.start, from))
            count = block_add(blocks, count, max, &block);
    while (b != NULL && count < max) {
        block = block_next(pool, &b);
        if (seq_is_after(block.start, from)) /* else acknowledged already */
            count = block_add(blocks, count, max, &block);
    }
    return count;
}
