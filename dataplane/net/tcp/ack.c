#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    DUPLICATES_THRESHOLD = 3,   /* RFC 5681 §3.2 */
    ECHO_AGE_MAX_MS = 60 * 1000 /* older echoes are not measurements */
};

/* RFC 9293 §3.10.7.4: by segments that are newer than the one that set the window last. */
static bool window_update(struct tcp_conn *c, const struct tcp_segment *segment)
{
    bool is_newer = seq_is_before(c->snd_wl1, segment->seq) ||
                    (c->snd_wl1 == segment->seq && !seq_is_after(c->snd_wl2, segment->ack));

    if (!is_newer)
        return false;
    bool is_changed = c->snd_wnd != segment->window;
    c->snd_wnd = segment->window;
    c->snd_wl1 = segment->seq;
    c->snd_wl2 = segment->ack;
    if (c->snd_wnd > c->snd_wnd_max)
        c->snd_wnd_max = c->snd_wnd;
    return is_changed;
}

/* Round-trip time: from a range that was sent once (Karn), else from the echoed timestamp. */
static void rtt_update(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment,
                       const struct tcp_range_sample *sample, bool is_new)
{
    if (sample->sent_us != 0) {
        tcp_timer_sample(c, (uint32_t)(s->now_us - sample->sent_us));
        return;
    }
    if (!is_new || (c->flags & CONN_HAS_TIMESTAMPS) == 0 || segment->options.ts_echo == 0)
        return;
    uint32_t age_ms = tcp_timestamp(s->now_us, c->ts_offset) - segment->options.ts_echo;
    if (age_ms < ECHO_AGE_MAX_MS)
        tcp_timer_sample(c, age_ms * 1000);
}

static void sack_blocks(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment,
                        struct tcp_range_sample *sample)
{
    for (unsigned i = 0; i < segment->options.sack_count; i++) {
        const struct tcp_sack_block *b = &segment->options.sacks[i];

        /* A block at or below the cumulative ACK is a report of a duplicate (RFC 2883). */
        if (!seq_is_after(b->start, c->snd_una) || !seq_is_before(b->start, b->end))
            continue;
        if (seq_is_after(b->end, c->snd_nxt)) {
            NET_COUNT(s, tcp_rx_bad_sack);
            continue;
        }
        ranges_sack(&c->ranges, &s->tcp.ranges, b->start, b->end, sample);
    }
}

/* Takes what is acknowledged out of the queue; the bytes of it. */
static uint32_t acked_advance(struct net_stack *s, struct tcp_conn *c, uint32_t ack,
                              struct tcp_range_sample *sample)
{
    uint32_t data_end = seq_min(ack, c->snd_end);
    uint32_t data = data_end - seq_min(c->snd_una, data_end);

    ranges_ack(&c->ranges, &s->tcp.ranges, ack, sample);
    send_queue_ack(&c->queue, &s->tcp.chunks, data_end);
    DCHECK(data <= c->stream.queued_bytes);
    c->stream.queued_bytes -= data;
    c->snd_una = ack;
    c->retries = 0;
    c->soft_error = 0;
    neighbour_confirm(s, c->neighbour);
    return data;
}

/* Without SACK, each duplicate ACK tells that one more segment has left the network. Returns how
 * many bytes this ACK delivered, RFC 6937 §3. */
static uint32_t duplicates_count(struct tcp_conn *c, uint32_t acked, bool is_duplicate)
{
    if (is_duplicate) {
        c->dupack_bytes += c->mss;
        uint32_t flight = c->snd_nxt - c->snd_una;
        if (c->dupack_bytes > flight)
            c->dupack_bytes = flight;
        return c->mss;
    }
    uint32_t counted = c->dupack_bytes < acked ? c->dupack_bytes : acked;
    c->dupack_bytes -= counted;
    return acked - counted;
}

static void recovery_enter(struct net_stack *s, struct tcp_conn *c, uint32_t flight_before)
{
    NET_COUNT(s, tcp_fast_recoveries);
    c->flags |= CONN_IN_RECOVERY;
    c->recover = c->snd_nxt;
    c->recovery_flight_bytes = c->snd_nxt - c->snd_una;
    c->prr_delivered_bytes = 0;
    c->prr_sent_bytes = 0;
    c->congestion.ssthresh_bytes =
        s->tcp.congestion->congested(&c->congestion, flight_before, c->mss, s->now_us);
}

/* Proportional rate reduction, RFC 6937 §3 with the slow-start reduction bound. */
static void recovery_rate(struct tcp_conn *c, uint32_t delivered, bool is_new, bool is_first)
{
    uint32_t pipe = tcp_in_flight(c);
    uint32_t ssthresh = c->congestion.ssthresh_bytes;
    int64_t allowed;

    c->prr_delivered_bytes += delivered;
    int64_t credit = (int64_t)c->prr_delivered_bytes - c->prr_sent_bytes;
    if (pipe > ssthresh) {
        uint64_t flight = c->recovery_flight_bytes > 0 ? c->recovery_flight_bytes : 1;
        uint64_t share = ((uint64_t)c->prr_delivered_bytes * ssthresh + flight - 1) / flight;
        allowed = (int64_t)share - c->prr_sent_bytes;
    } else {
        allowed = credit;
        if (is_new)
            allowed = (credit > (int64_t)delivered ? credit : (int64_t)delivered) + c->mss;
        if (allowed > (int64_t)(ssthresh - pipe))
            allowed = (int64_t)(ssthresh - pipe);
    }
    if (is_first && allowed < c->mss) /* the first lost segment goes at once */
        allowed = c->mss;
    c->congestion.cwnd_bytes = pipe + (uint32_t)(allowed > 0 ? allowed : 0);
}

static void recovery_leave(struct tcp_conn *c)
{
    if ((c->flags & CONN_IN_RECOVERY) != 0)
        c->congestion.cwnd_bytes = c->congestion.ssthresh_bytes;
    if (c->congestion.cwnd_bytes < c->mss)
        c->congestion.cwnd_bytes = c->mss;
    c->flags &= ~(uint32_t)(CONN_IN_RECOVERY | CONN_IN_LOSS);
    c->dupacks = 0;
    c->dupack_bytes = 0;
}

/* Decides what is lost; true when something newly is. */
static bool loss_detect(struct net_stack *s, struct tcp_conn *c, bool is_new)
{
    struct tcp_ranges *r = &c->ranges;
    bool is_any = false;

    if ((c->flags & CONN_HAS_SACK) != 0) {
        /* RFC 6675 §4: more than DupThresh - 1 segments sacked behind it. */
        is_any = ranges_mark_lost(r, &s->tcp.ranges, (DUPLICATES_THRESHOLD - 1u) * c->mss + 1);
        if (c->dupacks >= DUPLICATES_THRESHOLD && r->lost_bytes == 0)
            is_any |= ranges_mark_head_lost(r, &s->tcp.ranges, c->mss);
        return is_any;
    }
    /* NewReno, RFC 6582: three duplicates (beyond what an earlier recovery covers), and then
     * each partial acknowledgement. */
    bool is_recovering = (c->flags & CONN_IN_RECOVERY) != 0;
    bool is_third = c->dupacks == DUPLICATES_THRESHOLD && !is_recovering &&
                    seq_is_after(c->snd_una, c->recover);
    if (is_third || (is_recovering && is_new))
        is_any = ranges_mark_head_lost(r, &s->tcp.ranges, c->mss);
    return is_any;
}

static void congestion_update(struct net_stack *s, struct tcp_conn *c, uint32_t acked,
                              uint32_t delivered, uint32_t flight_before)
{
    bool is_new = acked > 0;
    bool is_first = false;

    if ((c->flags & (CONN_IN_RECOVERY | CONN_IN_LOSS)) != 0 && is_new &&
        !seq_is_before(c->snd_una, c->recover))
        recovery_leave(c);
    bool is_lost = (c->flags & CONN_IN_LOSS) == 0 && loss_detect(s, c, is_new);
    if (is_lost && (c->flags & CONN_IN_RECOVERY) == 0) {
        recovery_enter(s, c, flight_before);
        is_first = true;
    }
    if ((c->flags & CONN_IN_RECOVERY) != 0) {
        recovery_rate(c, delivered, is_new, is_first);
        return;
    }
    if (!is_new || ((c->flags & (CONN_CWND_LIMITED | CONN_IN_LOSS)) == 0))
        return;
    struct tcp_ack_sample sample = {
        .now_us = s->now_us, .acked_bytes = acked, .mss = c->mss, .srtt_us = c->srtt_us};
    s->tcp.congestion->acked(&c->congestion, &sample);
}

static void timer_update(struct net_stack *s, struct tcp_conn *c, bool is_new, bool is_opened)
{
    if (c->snd_una == c->snd_nxt) {
        if (is_new || is_opened) {
            c->retries = 0;
            tcp_timer_clear(c, TCP_TIMER_RETRANSMIT);
        }
    } else if (is_new) { /* RFC 6298 (5.3) */
        tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + tcp_timer_rto_us(c));
    }
}

void tcp_ack(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    struct tcp_range_sample sample = {0};
    bool is_new = seq_is_after(segment->ack, c->snd_una);
    bool is_old = seq_is_before(segment->ack, c->snd_una);
    uint32_t flight_before = tcp_in_flight(c);
    uint32_t window_before = c->snd_wnd;

    if (is_old)
        return;
    bool is_window_changed = window_update(c, segment);
    /* RFC 5681 §2, with RFC 6675's: new SACK information counts whatever the window says. */
    bool is_duplicate =
        !is_new && c->snd_una != c->snd_nxt && segment->end == segment->seq && !is_window_changed;
    uint32_t acked = segment->ack - c->snd_una;
    if (is_new)
        (void)acked_advance(s, c, segment->ack, &sample);
    if ((c->flags & CONN_HAS_SACK) != 0)
        sack_blocks(s, c, segment, &sample);
    rtt_update(s, c, segment, &sample, is_new);

    if (is_new)
        c->dupacks = 0;
    else if (is_duplicate || sample.delivered_bytes > 0)
        c->dupacks++;
    uint32_t delivered = sample.delivered_bytes;
    if ((c->flags & CONN_HAS_SACK) == 0)
        delivered = duplicates_count(c, acked, is_duplicate);
    congestion_update(s, c, acked, delivered, flight_before);
    timer_update(s, c, is_new, window_before == 0 && c->snd_wnd > 0);
    tcp_want_output(s, c);

    struct stream *stream = &c->stream;
    if ((c->flags & CONN_WAS_ABOVE_LOW) != 0 && stream->queued_bytes <= stream->low_water_bytes &&
        (c->flags & CONN_FIN_QUEUED) == 0) {
        c->flags &= ~(uint32_t)CONN_WAS_ABOVE_LOW;
        if (stream->events->sendable != NULL)
            stream->events->sendable(stream, s->now_us);
    }
}

void tcp_ack_timeout(struct net_stack *s, struct tcp_conn *c)
{
    if (c->retries == 1) /* RFC 5681 §3.1: once for each flight */
        c->congestion.ssthresh_bytes = s->tcp.congestion->congested(
            &c->congestion, c->snd_nxt - c->snd_una, c->mss, s->now_us);
    ranges_mark_all_lost(&c->ranges, &s->tcp.ranges);
    c->dupacks = 0;
    c->dupack_bytes = 0;
    c->recover = c->snd_nxt;
    c->congestion.cwnd_bytes = c->mss;
    c->flags |= CONN_IN_LOSS;
    c->flags &= ~(uint32_t)CONN_IN_RECOVERY;
    tcp_want_output(s, c);
}
