/* Loss detection by time, RFC 8985. The clauses name its steps; where it leaves a choice, Linux's
 * is taken. */
#include "dataplane/net/stack.h"

enum {
    PERSIST_RECOVERIES = 16,
    REORDERING_MAX = 300, /* segments, as Linux's tcp_max_reordering */
    SETTLE_US = 2000      /* added to the timer, which must not be early */
};

void tcp_rack_update(struct tcp_conn *c, const struct tcp_range_sample *sample)
{
    struct tcp_recovery *r = &c->recovery;

    if (sample->latest_sent_us == 0)
        return;
    r->flags |= RECOVERY_RACK_NEWS;
    if (sample->latest_sent_us < r->rack_sent_us ||
        (sample->latest_sent_us == r->rack_sent_us &&
         !seq_is_after(sample->latest_end, r->rack_end)))
        return;
    r->rack_sent_us = sample->latest_sent_us;
    r->rack_end = sample->latest_end;
    r->rack_rtt_us = (uint32_t)(sample->now_us - sample->latest_sent_us);
}

/* §6.2 step 4: how long after its round trip something may still arrive. None as long as the
 * path has not reordered, once as much has arrived behind it as RFC 5681 wants. */
static uint32_t reorder_window_us(const struct tcp_conn *c)
{
    const struct tcp_recovery *r = &c->recovery;

    if ((r->flags & RECOVERY_REORDERED) == 0) {
        if (r->phase >= TCP_PHASE_RECOVERY)
            return 0;
        if (c->ranges.sacked_bytes > (TCP_REORDERING - 1u) * c->mss || r->dupacks >= TCP_REORDERING)
            return 0;
    }
    uint32_t min_us = c->min_rtt_us == UINT32_MAX ? 0 : c->min_rtt_us;
    uint64_t window_us = (uint64_t)(min_us / 4) * r->rack_steps;
    return window_us < c->srtt_us ? (uint32_t)window_us : c->srtt_us;
}

/* §6.2 step 5. */
bool tcp_rack_detect(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;
    struct pool *pool = &s->tcp.ranges;
    uint32_t window_us;
    uint64_t wait_us = 0;

    if ((r->flags & RECOVERY_RACK_NEWS) == 0)
        return false;
    r->flags &= (uint16_t)~RECOVERY_RACK_NEWS;
    window_us = reorder_window_us(c);
    for (uint32_t index = c->ranges.head, next; index != POOL_NONE; index = next) {
        const struct tcp_range *range = range_at(pool, index);

        next = range->next;
        if ((range->flags & RANGE_SACKED) != 0 ||
            (range->flags & (RANGE_LOST | RANGE_RESENT)) == RANGE_LOST)
            continue;
        if (range->sent_us > r->rack_sent_us ||
            (range->sent_us == r->rack_sent_us &&
             !seq_is_before(range->seq + range->size, r->rack_end))) {
            /* Behind the highest sacked nothing was sent again: later ones are later. */
            if (!seq_is_before(range->seq, c->ranges.sacked_edge) && range->transmissions == 1)
                break;
            continue;
        }
        uint64_t due_us = range->sent_us + r->rack_rtt_us + window_us;
        if (due_us <= s->now_us) {
            range_mark_lost(&c->ranges, pool, index);
            tcp_recovery_lost(s, c, range, range->size);
        } else if (due_us - s->now_us > wait_us) {
            wait_us = due_us - s->now_us;
        }
    }
    if (wait_us == 0)
        return false;
    tcp_timer_set_pending(s, c, TCP_PENDING_REORDER, s->now_us + wait_us + SETTLE_US);
    return true;
}

/* §6.2 step 4: each round trip with a needless retransmission widens the window. */
void tcp_rack_adapt(struct tcp_conn *c, uint32_t delivered_before)
{
    struct tcp_recovery *r = &c->recovery;

    if (seq_is_before(delivered_before, r->rack_delivered))
        r->flags &= (uint16_t)~RECOVERY_DSACKED;
    if ((r->flags & RECOVERY_DSACKED) != 0) {
        r->flags &= (uint16_t)~RECOVERY_DSACKED;
        if (r->rack_steps < UINT8_MAX)
            r->rack_steps++;
        r->rack_delivered = c->delivered_bytes;
        r->rack_persist = PERSIST_RECOVERIES;
    } else if (r->rack_persist == 0) {
        r->rack_steps = 1;
    }
}

void tcp_rack_reordered(struct net_stack *s, struct tcp_conn *c, uint32_t seq)
{
    struct tcp_recovery *r = &c->recovery;
    uint32_t distance = c->ranges.sacked_edge - seq;
    uint32_t segments = (distance + c->mss - 1) / c->mss;

    if (!seq_is_before(seq, c->ranges.sacked_edge))
        return;
    r->reorderings++;
    if (segments > r->reordering)
        r->reordering = (uint16_t)(segments < REORDERING_MAX ? segments : REORDERING_MAX);
    if ((r->flags & RECOVERY_REORDERED) == 0)
        NET_COUNT(s, tcp_paths_reordering);
    r->flags |= RECOVERY_REORDERED;
}
