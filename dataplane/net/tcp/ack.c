#include "common/check.h"
#include "dataplane/net/stack.h"

enum { ECHO_AGE_MAX_MS = 60 * 1000 /* older echoes are not measurements */ };

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

/* Round-trip time: from what was sent once (Karn), else from the echoed timestamp. 'first' is what
 * the cumulative acknowledgement alone covered. Returns it; 0: no sample. */
static uint32_t rtt_update(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news,
                           const struct tcp_range_sample *first)
{
    const struct tcp_range_sample *all = &news->sample;
    uint64_t sent_us = first->is_resent ? 0 : first->first_sent_us;
    uint64_t last_us = first->is_resent ? 0 : first->last_sent_us;
    uint32_t rtt_us;

    news->latest_rtt_us = 0;
    if (sent_us == 0) {
        sent_us = all->first_sent_us;
        last_us = all->last_sent_us;
    }
    if (sent_us != 0) {
        rtt_us = (uint32_t)(s->now_us - sent_us);
        news->latest_rtt_us = (uint32_t)(s->now_us - last_us);
        tcp_timer_sample_min(c, news->latest_rtt_us, s->now_us);
    } else {
        if (!news->is_new || !news->has_echo || news->ts_echo == 0)
            return 0;
        uint32_t age_ms = tcp_timestamp(s->now_us, c->ts_offset) - news->ts_echo;
        if (age_ms >= ECHO_AGE_MAX_MS)
            return 0;
        rtt_us = age_ms > 0 ? age_ms * 1000 : 1000;
        tcp_timer_sample_min(c, rtt_us, s->now_us);
    }
    tcp_timer_sample(c, rtt_us);
    return rtt_us;
}

/* The first block reports a duplicate when the cumulative ACK or the second covers it (RFC 2883
 * §4). True: it was one, and is counted. */
static bool duplicate_take(struct net_stack *s, struct tcp_conn *c,
                           const struct tcp_segment *segment, struct tcp_ack_news *news)
{
    const struct tcp_sack_block *b = &segment->options.sacks[0];
    const struct tcp_sack_block *outer = b + 1;
    struct tcp_recovery *r = &c->recovery;
    bool is_below = seq_is_before(b->start, segment->ack);
    bool is_inside = segment->options.sack_count > 1 && !seq_is_before(b->start, outer->start) &&
                     !seq_is_after(b->end, outer->end);

    if (!is_below && !is_inside)
        return false;
    uint32_t size = b->end - b->start;
    if (!seq_is_before(b->start, b->end) || seq_is_after(b->end, c->snd_nxt) ||
        size > c->snd_wnd_max || c->snd_una - b->start > c->snd_wnd_max + size) {
        NET_COUNT(s, tcp_rx_bad_sack);
        return true;
    }
    uint32_t segments = size > c->mss ? (size + c->mss - 1) / c->mss : 1;
    c->duplicates_told += segments;
    NET_COUNT(s, tcp_duplicates_told);
    /* The network duplicates packets too: no more than were sent again are ours. */
    if (c->duplicates_told > c->retransmits)
        return true;
    news->is_dsack = true;
    news->is_dsack_of_probe = (r->flags & RECOVERY_PROBE_OUT) != 0 && r->probe_end == b->end;
    if ((r->flags & RECOVERY_REORDERED) != 0 && !news->is_dsack_of_probe)
        r->flags |= RECOVERY_DSACKED;
    if ((r->flags & RECOVERY_CAN_UNDO) != 0 && r->undo_resent_bytes > 0 &&
        seq_is_after(b->end, r->undo_from))
        r->undo_resent_bytes -=
            size < (uint32_t)r->undo_resent_bytes ? (int32_t)size : r->undo_resent_bytes;
    return true;
}

static void sack_blocks(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment,
                        struct tcp_ack_news *news)
{
    struct tcp_sack_block blocks[TCP_SACK_BLOCKS_MAX];
    unsigned count = 0;
    unsigned first = duplicate_take(s, c, segment, news) ? 1 : 0;

    for (unsigned i = first; i < segment->options.sack_count; i++) {
        struct tcp_sack_block b = segment->options.sacks[i];

        if (!seq_is_before(b.start, b.end) || seq_is_after(b.end, c->snd_nxt)) {
            NET_COUNT(s, tcp_rx_bad_sack);
            continue;
        }
        if (!seq_is_after(b.end, c->snd_una))
            continue;
        /* In order, or later ones would make earlier ones look reordered. */
        unsigned at = count++;
        for (; at > 0 && seq_is_before(b.start, blocks[at - 1].start); at--)
            blocks[at] = blocks[at - 1];
        blocks[at] = b;
    }
    uint32_t before = c->ranges.sacked_bytes;
    for (unsigned i = 0; i < count; i++)
        ranges_sack(&c->ranges, &s->tcp.ranges, blocks[i].start, blocks[i].end, &news->sample);
    news->is_sacked = c->ranges.sacked_bytes > before;
}

/* Takes what is acknowledged out of the queue. */
static void acked_advance(struct net_stack *s, struct tcp_conn *c, uint32_t ack,
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
}

/* Without SACK, duplicates have told of some of what is acknowledged: one segment filled a hole,
 * the rest were they. */
static void duplicates_settle(struct tcp_conn *c, uint32_t acked, struct tcp_ack_news *news)
{
    uint32_t told = c->recovery.dupack_bytes;
    uint32_t hole = acked < c->mss ? acked : c->mss;

    if (told == 0)
        return;
    news->delivered_bytes = acked > told + hole ? acked - told : hole;
    c->recovery.dupack_bytes -= told < acked - hole ? told : acked - hole;
}

/* RFC 5681 §3.1 and RFC 7661 §4.2 say when a window that was not full may grow. */
static bool is_window_used(const struct tcp_conn *c)
{
    if ((c->flags & CONN_CWND_LIMITED) != 0)
        return true;
    return c->congestion.cwnd_bytes < c->congestion.ssthresh_bytes &&
           c->congestion.cwnd_bytes < 2 * (uint64_t)c->usage_bytes_max;
}

/* What a model of the path learns from an acknowledgement. */
static void model_update(struct net_stack *s, struct tcp_conn *c, const struct tcp_ack_news *news)
{
    const struct tcp_model_sample sample = {
        .now_us = s->now_us,
        .sent_us = news->sample.rate_sent_us,
        .mark = &news->sample.rate,
        .acked_bytes = news->delivered_bytes,
        .mss = c->mss,
        .srtt_us = c->srtt_us,
        .rtt_us = news->latest_rtt_us,
        .delivered_bytes = c->delivered_bytes,
        .marked_bytes = c->ranges.marked_bytes,
        .in_flight_bytes = tcp_in_flight(c),
        .is_sent_limited = news->sample.is_rate_limited,
        .is_cwnd_limited = (c->flags & CONN_CWND_LIMITED) != 0,
        .is_recovering = c->recovery.phase >= TCP_PHASE_RECOVERY,
    };

    if (news->delivered_bytes > 0)
        c->congestion.ops->model->updated(&c->congestion, &sample);
}

static void congestion_update(struct net_stack *s, struct tcp_conn *c,
                              const struct tcp_ack_news *news)
{
    bool is_reducing =
        c->recovery.phase == TCP_PHASE_REDUCING || c->recovery.phase == TCP_PHASE_RECOVERY;
    /* On a path that reorders, order is no condition for growth. */
    bool may_grow = news->is_new || c->recovery.reordering > TCP_REORDERING;

    if (c->congestion.ops->model != NULL) {
        model_update(s, c, news);
        return;
    }
    if (is_reducing) {
        tcp_recovery_rate(c, news);
        return;
    }
    if (!may_grow || news->delivered_bytes == 0 || !is_window_used(c))
        return;
    struct tcp_ack_sample sample = {.now_us = s->now_us,
                                    .acked_bytes = news->delivered_bytes,
                                    .mss = c->mss,
                                    .srtt_us = c->srtt_us,
                                    .rtt_us = news->rtt_us,
                                    .snd_una = c->snd_una,
                                    .snd_nxt = c->snd_nxt};
    c->congestion.ops->acked(&c->congestion, &sample);
}

/* Loss detection with what the acknowledgement brought. */
static void recovery_update(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news,
                            uint32_t ack)
{
    struct tcp_recovery *r = &c->recovery;

    if ((c->flags & CONN_HAS_SACK) != 0) {
        tcp_rack_update(c, &news->sample);
        if (news->sample.is_reordered)
            tcp_rack_reordered(s, c, news->sample.reordered_seq);
        if (r->phase != TCP_PHASE_OPEN || (r->flags & RECOVERY_DSACKED) != 0)
            tcp_rack_adapt(c, news->delivered_before);
    }
    if (news->is_new)
        r->dupacks = 0;
    else if ((news->is_sacked || news->is_duplicate) && r->dupacks < UINT8_MAX)
        r->dupacks++;
    if ((r->flags & RECOVERY_PROBE_OUT) != 0)
        tcp_recovery_probe_ack(s, c, news, ack);
    if (tcp_recovery_wants(c, news))
        tcp_recovery_ack(s, c, news);
}

static void timer_update(struct net_stack *s, struct tcp_conn *c, const struct tcp_ack_news *news,
                         bool is_opened)
{
    if (news->must_set_timer) {
        tcp_timer_rearm(s, c);
    } else if (c->snd_una == c->snd_nxt && is_opened) {
        c->retries = 0;
        c->backoff = 0;
        tcp_timer_clear(c, TCP_TIMER_RETRANSMIT);
        tcp_persist_end(s, c);
    }
}

/* What an acknowledgement acknowledges; not where the window is. */
static void ack_take(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment,
                     struct tcp_ack_news *news)
{
    struct tcp_range_sample first = news->sample;
    uint32_t acked = segment->ack - c->snd_una;

    if (news->is_new) {
        acked_advance(s, c, segment->ack, &news->sample);
        if (c->search.probe_bytes != 0)
            tcp_mtu_probe_ack(s, c);
        first = news->sample;
        news->sample.first_sent_us = 0;
        news->sample.last_sent_us = 0;
    }
    bool has_sack = (c->flags & CONN_HAS_SACK) != 0;
    if (has_sack && segment->options.sack_count > 0)
        sack_blocks(s, c, segment, news);
    news->rtt_us = rtt_update(s, c, news, &first);
    news->delivered_bytes = news->sample.delivered_bytes;
    if (!has_sack && news->is_new)
        duplicates_settle(c, acked, news);
    c->delivered_bytes += news->delivered_bytes;
    /* RFC 6298 (5.3); and when what was sent after the oldest segment last went arrived. */
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);
    news->must_set_timer = news->is_new || (news->is_sacked && news->rtt_us > 0 && head != NULL &&
                                            news->rtt_us > s->now_us - head->sent_us);
}

void tcp_ack(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    struct tcp_ack_news news = {
        .sample = {.now_us = s->now_us,
                   .min_rtt_us = c->min_rtt_us,
                   .recover = c->recovery.recover},
        .una_before = c->snd_una,
        .delivered_before = c->delivered_bytes,
        .marked_before = c->ranges.marked_bytes,
        .has_echo = (c->flags & CONN_HAS_TIMESTAMPS) != 0 && segment->options.has_timestamps,
        .ts_echo = segment->options.ts_echo,
        .is_new = seq_is_after(segment->ack, c->snd_una),
    };
    bool is_old = seq_is_before(segment->ack, c->snd_una);
    bool is_in_flight = c->snd_una != c->snd_nxt;
    bool is_opened = false;

    if (is_old && segment->options.sack_count == 0)
        return;
    if (!is_old) { /* an old one may tell of marks that were reacted to already */
        news.has_ece = (c->flags & CONN_HAS_ECN) != 0 && (segment->flags & TCP_ECE) != 0;
        bool was_closed = c->snd_wnd == 0;
        news.is_window_changed = window_update(c, segment);
        is_opened = was_closed && c->snd_wnd > 0;
    }
    tcp_note_shortage(s, c);
    if (news.has_ece)
        NET_COUNT(s, tcp_ecn_echoes);
    ack_take(s, c, segment, &news);
    /* RFC 5681 §2, with RFC 6675's: new SACK information counts whatever the window says. */
    news.is_duplicate = !news.is_new && !is_old && is_in_flight && !news.is_dsack &&
                        segment->end == segment->seq && !news.is_window_changed;
    recovery_update(s, c, &news, segment->ack);
    congestion_update(s, c, &news);
    timer_update(s, c, &news, is_opened);
    tcp_want_output(s, c);

    struct stream *stream = &c->stream;
    if ((c->flags & CONN_WAS_ABOVE_LOW) != 0 && stream->queued_bytes <= stream->low_water_bytes &&
        (c->flags & CONN_FIN_QUEUED) == 0) {
        c->flags &= ~(uint32_t)CONN_WAS_ABOVE_LOW;
        if (stream->events->sendable != NULL)
            stream->events->sendable(stream, s->now_us);
    }
}
