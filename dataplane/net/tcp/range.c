#include "dataplane/net/tcp/range.h"

#include "common/check.h"
#include "dataplane/net/tcp/seq.h"

static_assert(sizeof(struct tcp_range) == 32, "two to a cache line");

void ranges_init(struct tcp_ranges *r)
{
    *r = (struct tcp_ranges){.head = POOL_NONE, .tail = POOL_NONE};
}

/* Takes 'range' out of the sums (sign -1) or adds it to them (+1). */
static void range_account(struct tcp_ranges *r, const struct tcp_range *range, uint32_t size,
                          bool is_added)
{
    uint32_t amount = is_added ? size : (uint32_t)0 - size;

    if ((range->flags & RANGE_SACKED) != 0)
        r->sacked_bytes += amount;
    if ((range->flags & RANGE_LOST) != 0)
        r->lost_bytes += amount;
    if ((range->flags & RANGE_RESENT) != 0)
        r->resent_bytes += amount;
}

static void ranges_unlink(struct tcp_ranges *r, struct pool *pool, uint32_t index)
{
    struct tcp_range *range = range_at(pool, index);

    if (range->previous != POOL_NONE)
        range_at(pool, range->previous)->next = range->next;
    else
        r->head = range->next;
    if (range->next != POOL_NONE)
        range_at(pool, range->next)->previous = range->previous;
    else
        r->tail = range->previous;
    r->count--;
    pool_put(pool, index);
}

void ranges_clear(struct tcp_ranges *r, struct pool *pool)
{
    while (r->head != POOL_NONE)
        ranges_unlink(r, pool, r->head);
    ranges_init(r);
}

/* A copy of 'range' linked behind 'after' (POOL_NONE: at the end of an empty list). */
static uint32_t ranges_insert(struct tcp_ranges *r, struct pool *pool, uint32_t after,
                              const struct tcp_range *range)
{
    uint32_t index = r->count < TCP_RANGES_MAX ? pool_get(pool) : POOL_NONE;

    if (index == POOL_NONE)
        return POOL_NONE;
    struct tcp_range *added = range_at(pool, index);
    *added = *range;
    added->previous = after;
    added->next = after != POOL_NONE ? range_at(pool, after)->next : POOL_NONE;
    if (after != POOL_NONE)
        range_at(pool, after)->next = index;
    else
        r->head = index;
    if (added->next != POOL_NONE)
        range_at(pool, added->next)->previous = index;
    else
        r->tail = index;
    r->count++;
    return index;
}

/* A range that can grow at its end, if need be at the price of an exact sending time. */
static bool range_can_grow(const struct tcp_range *range)
{
    return range != NULL && (range->flags & ~RANGE_NO_SAMPLE) == 0;
}

bool ranges_have_room(const struct tcp_ranges *r, const struct pool *pool)
{
    return (r->count < TCP_RANGES_MAX && pool->in_use < pool->count) ||
           range_can_grow(range_at(pool, r->tail));
}

void ranges_sent(struct tcp_ranges *r, struct pool *pool, uint32_t seq, uint32_t size,
                 uint64_t now_us)
{
    struct tcp_range *tail = range_at(pool, r->tail);
    struct tcp_range range = {.seq = seq, .size = size, .sent_us = now_us, .transmissions = 1};

    if (range_can_grow(tail) && tail->sent_us == now_us) {
        tail->size += size;
        return;
    }
    if (ranges_insert(r, pool, r->tail, &range) != POOL_NONE)
        return;
    CHECK(range_can_grow(tail));
    tail->size += size;
    tail->sent_us = now_us;
    tail->flags |= RANGE_NO_SAMPLE;
}

bool ranges_split(struct tcp_ranges *r, struct pool *pool, uint32_t index, uint32_t size)
{
    struct tcp_range *range = range_at(pool, index);
    struct tcp_range rest = *range;

    if (size >= range->size)
        return true;
    DCHECK(size > 0);
    rest.seq += size;
    rest.size -= size;
    if (ranges_insert(r, pool, index, &rest) == POOL_NONE)
        return false;
    range->size = size;
    return true;
}

static void sample_add(struct tcp_range_sample *sample, const struct tcp_range *range,
                       uint32_t size)
{
    if ((range->flags & RANGE_SACKED) != 0)
        return;
    sample->delivered_bytes += size;
    if (range->transmissions == 1 && (range->flags & RANGE_NO_SAMPLE) == 0 &&
        range->sent_us > sample->sent_us)
        sample->sent_us = range->sent_us;
}

void ranges_ack(struct tcp_ranges *r, struct pool *pool, uint32_t una,
                struct tcp_range_sample *sample)
{
    for (struct tcp_range *range; (range = range_at(pool, r->head)) != NULL;) {
        uint32_t acked = una - range->seq;

        if (!seq_is_after(una, range->seq))
            return;
        if (acked >= range->size)
            acked = range->size;
        sample_add(sample, range, acked);
        range_account(r, range, acked, false);
        if (acked < range->size) {
            range->seq += acked;
            range->size -= acked;
            return;
        }
        ranges_unlink(r, pool, r->head);
    }
}

void ranges_sack(struct tcp_ranges *r, struct pool *pool, uint32_t start, uint32_t end,
                 struct tcp_range_sample *sample)
{
    for (uint32_t index = r->head; index != POOL_NONE;) {
        struct tcp_range *range = range_at(pool, index);
        uint32_t range_end = range->seq + range->size;

        if (!seq_is_before(range->seq, end))
            return;
        if (!seq_is_after(range_end, start) || (range->flags & RANGE_SACKED) != 0) {
            index = range->next;
            continue;
        }
        if (seq_is_before(range->seq, start)) {
            /* A block that cannot be recorded is as good as not reported. */
            if (!ranges_split(r, pool, index, start - range->seq))
                return;
            index = range->next;
            continue;
        }
        if (seq_is_after(range_end, end) && !ranges_split(r, pool, index, end - range->seq))
            return;
        sample_add(sample, range, range->size);
        range_account(r, range, range->size, false);
        range->flags = (uint8_t)((range->flags & RANGE_NO_SAMPLE) | RANGE_SACKED);
        range_account(r, range, range->size, true);
        index = range->next;
    }
}

void range_mark_lost(struct tcp_ranges *r, struct tcp_range *range)
{
    range->flags |= RANGE_LOST;
    r->lost_bytes += range->size;
}

bool ranges_mark_lost(struct tcp_ranges *r, struct pool *pool, uint32_t threshold)
{
    uint32_t sacked_behind = 0;
    bool is_any = false;

    if (r->sacked_bytes < threshold)
        return false;
    for (uint32_t index = r->tail; index != POOL_NONE;) {
        struct tcp_range *range = range_at(pool, index);

        if ((range->flags & RANGE_SACKED) != 0) {
            sacked_behind += range->size;
        } else if (sacked_behind >= threshold && (range->flags & RANGE_LOST) == 0) {
            range_mark_lost(r, range);
            is_any = true;
        }
        index = range->previous;
    }
    return is_any;
}

bool ranges_mark_head_lost(struct tcp_ranges *r, struct pool *pool, uint32_t size)
{
    for (uint32_t index = r->head; index != POOL_NONE; index = range_at(pool, index)->next) {
        struct tcp_range *range = range_at(pool, index);

        if ((range->flags & RANGE_SACKED) != 0)
            continue;
        if ((range->flags & RANGE_LOST) != 0)
            return false;
        (void)ranges_split(r, pool, index, size); /* else the whole range is resent: harmless */
        range_mark_lost(r, range);
        return true;
    }
    return false;
}

void ranges_mark_all_lost(struct tcp_ranges *r, struct pool *pool)
{
    const struct tcp_range *head = range_at(pool, r->head);
    /* The cumulative ACK would have covered a sacked head: the receiver has dropped it. */
    bool is_reneged = head != NULL && (head->flags & RANGE_SACKED) != 0;

    for (uint32_t index = r->head; index != POOL_NONE; index = range_at(pool, index)->next) {
        struct tcp_range *range = range_at(pool, index);

        if ((range->flags & RANGE_SACKED) != 0 && !is_reneged)
            continue;
        range_account(r, range, range->size, false);
        range->flags = (uint8_t)((range->flags & RANGE_NO_SAMPLE) | RANGE_LOST);
        range_account(r, range, range->size, true);
    }
}

uint32_t ranges_next_lost(const struct tcp_ranges *r, const struct pool *pool)
{
    if (r->lost_bytes == r->resent_bytes)
        return POOL_NONE;
    for (uint32_t index = r->head; index != POOL_NONE; index = range_at(pool, index)->next) {
        unsigned flags = range_at(pool, index)->flags;

        if ((flags & RANGE_LOST) != 0 && (flags & RANGE_RESENT) == 0)
            return index;
    }
    return POOL_NONE;
}

void range_resent(struct tcp_ranges *r, struct tcp_range *range, uint64_t now_us)
{
    DCHECK((range->flags & RANGE_LOST) != 0 && (range->flags & RANGE_RESENT) == 0);
    range->flags |= RANGE_RESENT;
    r->resent_bytes += range->size;
    range->sent_us = now_us;
    if (range->transmissions < UINT8_MAX)
        range->transmissions++;
}
