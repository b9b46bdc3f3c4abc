#include "dataplane/net/tcp/range.h"

#include "common/check.h"
#include "dataplane/net/tcp/seq.h"

static_assert(sizeof(struct tcp_range) == 64, "one cache line");

void ranges_init(struct tcp_ranges *r)
{
    *r = (struct tcp_ranges){
        .head = POOL_NONE, .tail = POOL_NONE, .sack_hint = POOL_NONE, .lost_hint = POOL_NONE};
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
    if (r->sack_hint == index)
        r->sack_hint = range->previous;
    if (r->lost_hint == index)
        r->lost_hint = range->next;
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

static const unsigned FLAGS_OF_SENDING = RANGE_NO_SAMPLE | RANGE_APP_LIMITED;

/* A range that can grow at its end, if need be at the price of an exact sending time. */
static bool range_can_grow(const struct tcp_range *range)
{
    return range != NULL && (range->flags & ~FLAGS_OF_SENDING) == 0 && range->transmissions == 1;
}

bool ranges_have_room(const struct tcp_ranges *r, const struct pool *pool)
{
    return (r->count < TCP_RANGES_MAX && pool->in_use < pool->count) ||
           range_can_grow(range_at(pool, r->tail));
}

/* What goes with a transmission. */
static void range_stamp(struct tcp_range *range, uint64_t now_us, const struct tcp_rate_mark *mark)
{
    range->sent_us = now_us;
    range->mark = *mark;
}

void ranges_sent(struct tcp_ranges *r, struct pool *pool, uint32_t seq, uint32_t size,
                 uint64_t now_us, const struct tcp_rate_mark *mark, bool is_app_limited)
{
    struct tcp_range *tail = range_at(pool, r->tail);
    bool can_grow = range_can_grow(tail);
    struct tcp_range range = {.seq = seq,
                              .size = size,
                              .transmissions = 1,
                              .flags = is_app_limited ? RANGE_APP_LIMITED : 0};

    /* With many ranges, times may be a little less exact. */
    uint64_t join_us = r->count >= TCP_RANGES_FINE ? r->join_us : 0;
    if (can_grow && now_us - tail->sent_us <= join_us) {
        tail->size += size;
        tail->mark.in_flight_bytes = mark->in_flight_bytes;
        tail->flags |= range.flags;
        return;
    }
    if (tail == NULL)
        r->sacked_edge = seq;
    range_stamp(&range, now_us, mark);
    if ((!can_grow || r->count < TCP_RANGES_SENT_MAX) &&
        ranges_insert(r, pool, r->tail, &range) != POOL_NONE)
        return;
    CHECK(can_grow);
    tail->size += size;
    tail->flags |= RANGE_NO_SAMPLE;
    range_stamp(tail, now_us, mark);
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

/* Joins 'index' with the range behind it. */
static void ranges_join(struct tcp_ranges *r, struct pool *pool, uint32_t index)
{
    struct tcp_range *range = range_at(pool, index);
    uint32_t next = range->next;

    range->size += range_at(pool, next)->size;
    if (r->sack_hint == next)
        r->sack_hint = index;
    ranges_unlink(r, pool, next);
}

/* The first 'size' bytes of 'range' have arrived. */
static void sample_add(const struct tcp_ranges *r, struct tcp_range_sample *sample,
                       const struct tcp_range *range, uint32_t size)
{
    uint32_t end = range->seq + size;

    if ((range->flags & RANGE_SACKED) != 0)
        return;
    sample->delivered_bytes += size;
    if (range->transmissions > 1) {
        sample->is_resent = true;
    } else {
        if ((range->flags & RANGE_NO_SAMPLE) == 0) {
            if (sample->first_sent_us == 0)
                sample->first_sent_us = range->sent_us;
            if (range->sent_us > sample->last_sent_us)
                sample->last_sent_us = range->sent_us;
        }
        if (!seq_is_after(end, sample->recover))
            sample->is_original = true;
        if (seq_is_before(range->seq, r->sacked_edge) &&
            (!sample->is_reordered || seq_is_before(range->seq, sample->reordered_seq))) {
            sample->is_reordered = true;
            sample->reordered_seq = range->seq;
        }
    }
    if (range->sent_us > sample->rate_sent_us) {
        sample->rate_sent_us = range->sent_us;
        sample->is_rate_limited = (range->flags & RANGE_APP_LIMITED) != 0;
        sample->rate = range->mark;
    }
    /* RFC 8985 §6.2 step 2: this may be the answer to an earlier transmission. */
    if (range->transmissions > 1 && sample->now_us - range->sent_us < sample->min_rtt_us)
        return;
    if (range->sent_us > sample->latest_sent_us ||
        (range->sent_us == sample->latest_sent_us && seq_is_after(end, sample->latest_end))) {
        sample->latest_sent_us = range->sent_us;
        sample->latest_end = end;
    }
}

void ranges_ack(struct tcp_ranges *r, struct pool *pool, uint32_t una,
                struct tcp_range_sample *sample)
{
    for (struct tcp_range *range; (range = range_at(pool, r->head)) != NULL;) {
        uint32_t acked = una - range->seq;

        if (!seq_is_after(una, range->seq))
            break;
        if (acked >= range->size)
            acked = range->size;
        sample_add(r, sample, range, acked);
        range_account(r, range, acked, false);
        if (acked < range->size) {
            range->seq += acked;
            range->size -= acked;
            break;
        }
        ranges_unlink(r, pool, r->head);
    }
    r->sacked_edge = seq_max(r->sacked_edge, una);
}

/* The range in which 'seq' is, or the first when that is behind it. There is one. */
static uint32_t ranges_find(const struct tcp_ranges *r, const struct pool *pool, uint32_t seq)
{
    uint32_t index = r->sack_hint != POOL_NONE ? r->sack_hint : r->head;

    while (index != r->head && seq_is_after(range_at(pool, index)->seq, seq))
        index = range_at(pool, index)->previous;
    for (uint32_t next; (next = range_at(pool, index)->next) != POOL_NONE; index = next)
        if (seq_is_after(range_at(pool, next)->seq, seq))
            break;
    return index;
}

void ranges_sack(struct tcp_ranges *r, struct pool *pool, uint32_t start, uint32_t end,
                 struct tcp_range_sample *sample)
{
    if (r->head == POOL_NONE)
        return;
    for (uint32_t index = ranges_find(r, pool, start); index != POOL_NONE;) {
        struct tcp_range *range = range_at(pool, index);
        uint32_t range_end = range->seq + range->size;

        if (!seq_is_before(range->seq, end))
            break;
        r->sack_hint = index;
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
        sample_add(r, sample, range, range->size);
        range_account(r, range, range->size, false);
        range->flags = RANGE_SACKED;
        range_account(r, range, range->size, true);
        struct tcp_range *previous = range_at(pool, range->previous);
        if (previous != NULL && (previous->flags & RANGE_SACKED) != 0) {
            index = range->previous;
            ranges_join(r, pool, index);
        }
        range = range_at(pool, index);
        struct tcp_range *next = range_at(pool, range->next);
        if (next != NULL && (next->flags & RANGE_SACKED) != 0)
            ranges_join(r, pool, index);
        index = range_at(pool, index)->next;
    }
    r->sacked_edge = seq_max(r->sacked_edge, end);
}

void range_mark_lost(struct tcp_ranges *r, struct pool *pool, uint32_t index)
{
    struct tcp_range *range = range_at(pool, index);
    const struct tcp_range *hint = range_at(pool, r->lost_hint);

    if ((range->flags & RANGE_LOST) == 0)
        r->lost_bytes += range->size;
    else if ((range->flags & RANGE_RESENT) != 0)
        r->resent_bytes -= range->size;
    else
        return;
    range->flags = (uint8_t)((range->flags & ~(unsigned)RANGE_RESENT) | RANGE_LOST);
    r->marked_bytes += range->size;
    if (hint == NULL || seq_is_before(range->seq, hint->seq))
        r->lost_hint = index;
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
        range_mark_lost(r, pool, index);
        return true;
    }
    return false;
}

bool ranges_mark_all_lost(struct tcp_ranges *r, struct pool *pool, uint64_t since_us)
{
    const struct tcp_range *head = range_at(pool, r->head);
    /* The cumulative ACK would have covered a sacked head: the receiver has dropped it. */
    bool is_reneged = head != NULL && (head->flags & RANGE_SACKED) != 0;

    for (uint32_t index = r->head; index != POOL_NONE; index = range_at(pool, index)->next) {
        struct tcp_range *range = range_at(pool, index);

        if (is_reneged && (range->flags & RANGE_SACKED) != 0) {
            range->flags &= (uint8_t)~RANGE_SACKED;
            r->sacked_bytes -= range->size;
        }
        bool is_recent = index != r->head && !is_reneged && range->sent_us > since_us;
        if ((range->flags & RANGE_SACKED) == 0 && !is_recent)
            range_mark_lost(r, pool, index);
    }
    return is_reneged;
}

void ranges_unmark_lost(struct tcp_ranges *r, struct pool *pool)
{
    if (r->lost_bytes == 0)
        return;
    for (uint32_t index = r->head; index != POOL_NONE; index = range_at(pool, index)->next)
        range_at(pool, index)->flags &= (uint8_t) ~(RANGE_LOST | RANGE_RESENT);
    r->lost_bytes = 0;
    r->resent_bytes = 0;
    r->lost_hint = POOL_NONE;
}

uint32_t ranges_next_lost(struct tcp_ranges *r, const struct pool *pool)
{
    if (r->lost_bytes == r->resent_bytes)
        return POOL_NONE;
    for (; r->lost_hint != POOL_NONE; r->lost_hint = range_at(pool, r->lost_hint)->next) {
        unsigned flags = range_at(pool, r->lost_hint)->flags;

        if ((flags & RANGE_LOST) != 0 && (flags & RANGE_RESENT) == 0)
            break;
    }
    return r->lost_hint;
}

void range_resent(struct tcp_ranges *r, struct pool *pool, uint32_t index, uint64_t now_us,
                  const struct tcp_rate_mark *mark, bool is_app_limited)
{
    struct tcp_range *range = range_at(pool, index);
    const struct tcp_range *previous = range_at(pool, range->previous);

    DCHECK((range->flags & RANGE_LOST) != 0 && (range->flags & RANGE_RESENT) == 0);
    range->flags = (uint8_t)(RANGE_LOST | RANGE_RESENT | (is_app_limited ? RANGE_APP_LIMITED : 0));
    r->resent_bytes += range->size;
    if (range->transmissions < UINT8_MAX)
        range->transmissions++;
    range_stamp(range, now_us, mark);
    if (previous != NULL && previous->flags == range->flags && previous->sent_us == now_us)
        ranges_join(r, pool, range->previous);
}

void range_probed(struct tcp_range *range, uint64_t now_us, const struct tcp_rate_mark *mark)
{
    if (range->transmissions < UINT8_MAX)
        range->transmissions++;
    range_stamp(range, now_us, mark);
}
