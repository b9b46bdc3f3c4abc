/* What to do about losses: phases, the rate while the window shrinks (RFC 6937), and taking back
 * what was a mistake: by timestamps (Eifel: RFC 3522, 4015), by duplicates that the peer reports
 * (RFC 3708), by what arrives after a timeout (F-RTO: RFC 5682). Where the RFCs leave a choice,
 * Linux's is taken; with SACK, losses are found by time (rack.c), without by NewReno (RFC 6582). */
#include "dataplane/net/tcp/recovery.h"

#include "dataplane/net/stack.h"

enum { RENEGE_WAIT_MIN_US = 10000 };

static bool has_sack(const struct tcp_conn *c)
{
    return (c->flags & CONN_HAS_SACK) != 0;
}

static bool is_resent_in_flight(const struct net_stack *s, const struct tcp_conn *c)
{
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);

    return c->ranges.resent_bytes > 0 || (head != NULL && head->transmissions > 1);
}

static uint32_t ssthresh_now(const struct tcp_conn *c)
{
    uint32_t cwnd = c->congestion.cwnd_bytes;
    uint32_t most = cwnd / 2 + cwnd / 4;

    if (c->recovery.phase == TCP_PHASE_REDUCING || c->recovery.phase == TCP_PHASE_RECOVERY ||
        c->congestion.ssthresh_bytes > most)
        return c->congestion.ssthresh_bytes;
    return most;
}

static void congested(struct net_stack *s, struct tcp_conn *c)
{
    const struct tcp_congestion_ops *ops = c->congestion.ops;

    /* A window kept through idle time was not tried by what is in flight now: it is that much, or
     * the initial one, before it is reduced (RFC 7661 §4.4.2; usage_bytes_max is its pipeACK). */
    if (ops->model == NULL && s->config.idle_restart == NET_IDLE_RESTART_KEEP &&
        c->recovery.phase < TCP_PHASE_LOSS && (c->flags & CONN_CWND_LIMITED) == 0 &&
        c->usage_bytes_max < c->congestion.cwnd_bytes / 2) {
        uint32_t initial = tcp_initial_window(c->mss);
        uint32_t used = c->usage_bytes_max > initial ? c->usage_bytes_max : initial;
        if (used < c->congestion.cwnd_bytes)
            c->congestion.cwnd_bytes = used;
    }
    c->recovery.prior_cwnd_bytes = c->congestion.cwnd_bytes;
    c->congestion.ssthresh_bytes = ops->congested(&c->congestion, c->mss, s->now_us);
}

void tcp_recovery_lost(const struct net_stack *s, struct tcp_conn *c, const struct tcp_range *range,
                       uint32_t size)
{
    const struct tcp_model_ops *model = c->congestion.ops->model;
    const struct tcp_loss loss = {.now_us = s->now_us,
                                  .mark = &range->mark,
                                  .seq = range->seq,
                                  .size = size,
                                  .delivered_bytes = c->delivered_bytes,
                                  .marked_bytes = c->ranges.marked_bytes,
                                  .is_sent_limited = (range->flags & RANGE_APP_LIMITED) != 0};

    if (model != NULL)
        model->lost(&c->congestion, &loss);
}

static void undo_prepare(struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;

    r->flags |= RECOVERY_CAN_UNDO;
    r->undo_from = c->snd_una;
    r->undo_resent_bytes = c->ranges.resent_bytes > 0 ? (int32_t)c->ranges.resent_bytes : -1;
}

static void reduction_begin(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;

    r->recover = c->snd_nxt;
    r->flags &= (uint16_t)~RECOVERY_PROBE_OUT;
    r->prr_delivered_bytes = 0;
    r->prr_sent_bytes = 0;
    congested(s, c);
    tcp_ecn_reduced(c);
}

static void reduction_end(struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;

    if (c->congestion.ssthresh_bytes != UINT32_MAX &&
        (r->phase == TCP_PHASE_REDUCING || (r->flags & RECOVERY_CAN_UNDO) != 0))
        c->congestion.cwnd_bytes = c->congestion.ssthresh_bytes;
}

static void recovery_enter(struct net_stack *s, struct tcp_conn *c, bool has_ece)
{
    struct tcp_recovery *r = &c->recovery;

    NET_COUNT(s, tcp_fast_recoveries);
    r->prior_ssthresh_bytes = 0;
    undo_prepare(c);
    if (r->phase != TCP_PHASE_REDUCING && r->phase != TCP_PHASE_RECOVERY) {
        if (!has_ece)
            r->prior_ssthresh_bytes = ssthresh_now(c);
        reduction_begin(s, c);
    }
    r->phase = TCP_PHASE_RECOVERY;
}

/* What is lost was too large, and goes again at the same rate. */
static void resize_enter(struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;

    if (r->phase == TCP_PHASE_LOSS)
        return;
    r->recover = c->snd_nxt;
    c->congestion.ssthresh_bytes = ssthresh_now(c);
    r->prior_ssthresh_bytes = 0;
    r->flags &= (uint16_t) ~(RECOVERY_CAN_UNDO | RECOVERY_FRTO | RECOVERY_NEW_ONLY);
    r->phase = TCP_PHASE_LOSS;
}

/* True: it is congestion. */
static bool loss_found(struct net_stack *s, struct tcp_conn *c, bool has_ece)
{
    bool is_congestion = !tcp_mtu_probe_lost(s, c);

    if (is_congestion)
        recovery_enter(s, c, has_ece);
    else
        resize_enter(c);
    return is_congestion;
}

static void keep_open(const struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;
    uint32_t left = c->ranges.sacked_bytes + c->ranges.lost_bytes + r->dupack_bytes;
    uint8_t phase = TCP_PHASE_OPEN;

    if (left > 0 || is_resent_in_flight(s, c))
        phase = TCP_PHASE_DISORDER;
    if (phase != r->phase) {
        r->phase = phase;
        r->recover = c->snd_nxt;
    }
}

/* --- mistakes --- */

/* What was acknowledged now had been sent before the first retransmission. */
static bool is_original_acked(const struct tcp_conn *c, const struct tcp_ack_news *news)
{
    return (c->recovery.flags & RECOVERY_HAS_RESENT) != 0 && news->has_echo &&
           seq_is_before(news->ts_echo, c->recovery.first_resent_ts);
}

static bool may_undo(const struct tcp_conn *c, const struct tcp_ack_news *news)
{
    return (c->recovery.flags & RECOVERY_CAN_UNDO) != 0 &&
           (c->recovery.undo_resent_bytes == 0 || is_original_acked(c, news));
}

static void undo(struct net_stack *s, struct tcp_conn *c, bool is_nothing_lost)
{
    struct tcp_recovery *r = &c->recovery;

    if (is_nothing_lost)
        ranges_unmark_lost(&c->ranges, &s->tcp.ranges);
    if (r->prior_ssthresh_bytes != 0) {
        if (c->congestion.cwnd_bytes < r->prior_cwnd_bytes)
            c->congestion.cwnd_bytes = r->prior_cwnd_bytes;
        if (c->congestion.ssthresh_bytes < r->prior_ssthresh_bytes)
            c->congestion.ssthresh_bytes = r->prior_ssthresh_bytes;
        c->flags &= ~(uint32_t)CONN_CWR_DUE;
        c->congestion.ops->undone(&c->congestion);
    }
    r->flags &= (uint16_t)~RECOVERY_CAN_UNDO;
    r->flags |= RECOVERY_RACK_NEWS;
}

/* Without SACK the phase lasts until something above 'recover' is acknowledged, against false
 * fast retransmits (RFC 6582 §4.1). */
static bool must_hold(const struct net_stack *s, struct tcp_conn *c)
{
    if (has_sack(c) || c->snd_una != c->recovery.recover)
        return false;
    if (!is_resent_in_flight(s, c))
        c->recovery.flags &= (uint16_t)~RECOVERY_HAS_RESENT;
    return true;
}

/* Everything up to 'recover' is acknowledged. True: and yet the phase is held. */
static bool recovered(struct net_stack *s, struct tcp_conn *c, const struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;

    if (may_undo(c, news)) {
        if (r->phase == TCP_PHASE_LOSS)
            NET_COUNT(s, tcp_timeouts_undone);
        else
            NET_COUNT(s, tcp_fast_recoveries_undone);
        undo(s, c, false);
    } else if (r->rack_persist > 0) {
        r->rack_persist--;
    }
    if (must_hold(s, c))
        return true;
    r->phase = TCP_PHASE_OPEN;
    r->flags &= (uint16_t)~RECOVERY_RENEGED;
    return false;
}

static bool try_undo_duplicates(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;

    if ((r->flags & RECOVERY_CAN_UNDO) == 0 || r->undo_resent_bytes != 0)
        return false;
    NET_COUNT(s, tcp_fast_recoveries_undone);
    if (r->rack_persist < UINT8_MAX)
        r->rack_persist++;
    undo(s, c, false);
    return true;
}

/* A hole was filled by what was late, not lost. True: and more may be. */
static bool try_undo_partial(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;

    if ((r->flags & RECOVERY_CAN_UNDO) == 0 || !is_original_acked(c, news))
        return false;
    tcp_rack_reordered(s, c, news->una_before);
    if (c->ranges.resent_bytes > 0)
        return true;
    if (!is_resent_in_flight(s, c))
        r->flags &= (uint16_t)~RECOVERY_HAS_RESENT;
    NET_COUNT(s, tcp_fast_recoveries_undone);
    undo(s, c, true);
    keep_open(s, c);
    return false;
}

static bool try_undo_timeout(struct net_stack *s, struct tcp_conn *c,
                             const struct tcp_ack_news *news, bool is_frto)
{
    if (!is_frto && !may_undo(c, news))
        return false;
    if (is_frto)
        NET_COUNT(s, tcp_timeouts_spurious);
    NET_COUNT(s, tcp_timeouts_undone);
    undo(s, c, true);
    c->retries = 0;
    if (must_hold(s, c))
        return true;
    if (is_frto || has_sack(c)) {
        c->recovery.phase = TCP_PHASE_OPEN;
        c->recovery.flags &= (uint16_t)~RECOVERY_RENEGED;
    }
    return true;
}

/* --- an acknowledgement, by phase --- */

static void duplicates_add(struct tcp_conn *c, struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t room = flight > c->ranges.lost_bytes ? flight - c->ranges.lost_bytes : 0;

    if (!news->is_duplicate)
        return;
    news->delivered_bytes += c->mss;
    c->delivered_bytes += c->mss;
    r->dupack_bytes += c->mss;
    if (r->dupack_bytes > room)
        r->dupack_bytes = room;
}

/* Without SACK. */
static void head_lost(struct net_stack *s, struct tcp_conn *c)
{
    const struct tcp_range *head;

    if (!ranges_mark_head_lost(&c->ranges, &s->tcp.ranges, c->mss))
        return;
    head = range_at(&s->tcp.ranges, c->ranges.head);
    tcp_recovery_lost(s, c, head, head->size);
}

static void detect(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;

    if (c->ranges.head == POOL_NONE)
        return;
    if (has_sack(c)) {
        uint32_t resent_before = c->ranges.resent_bytes;
        if (tcp_rack_detect(s, c))
            news->must_set_timer = false;
        if (c->ranges.resent_bytes < resent_before) {
            NET_COUNT(s, tcp_retransmits_lost);
            news->is_resent_lost = true;
        }
        return;
    }
    bool is_third =
        r->phase < TCP_PHASE_RECOVERY && r->dupack_bytes >= (uint32_t)TCP_REORDERING * c->mss;
    if (is_third || (r->phase == TCP_PHASE_RECOVERY && news->is_new))
        head_lost(s, c);
}

static void try_to_open(struct net_stack *s, struct tcp_conn *c, const struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;

    if (!is_resent_in_flight(s, c))
        r->flags &= (uint16_t)~RECOVERY_HAS_RESENT;
    if (news->has_ece && r->phase < TCP_PHASE_REDUCING) { /* RFC 3168 §6.1.2 */
        NET_COUNT(s, tcp_ecn_reductions);
        if (c->congestion.ops->model != NULL)
            c->congestion.ops->model->marked(&c->congestion, s->now_us);
        r->flags &= (uint16_t)~RECOVERY_CAN_UNDO;
        r->prior_ssthresh_bytes = 0;
        reduction_begin(s, c);
        r->phase = TCP_PHASE_REDUCING;
    }
    if (r->phase != TCP_PHASE_REDUCING)
        keep_open(s, c);
}

/* In LOSS. The clauses are RFC 5682's (§2.1, and §3.1 for SACK). */
static void loss_ack(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;
    bool is_recovered = !seq_is_before(c->snd_una, r->recover);

    if (news->is_new && try_undo_timeout(s, c, news, false))
        return;
    if ((r->flags & RECOVERY_FRTO) != 0) {
        /* Step 3b: something never sent again arrived, so not everything was lost. */
        if (news->sample.is_original && try_undo_timeout(s, c, news, true))
            return;
        if (seq_is_after(c->snd_nxt, r->recover)) {
            if (news->is_sacked || news->is_duplicate)
                r->flags &= (uint16_t)~RECOVERY_FRTO; /* step 3a: it was real */
        } else if (news->is_new && !is_recovered) {
            r->recover = c->snd_nxt; /* step 2b: new data shall tell */
            r->flags |= RECOVERY_NEW_ONLY;
            return;
        }
    }
    if (is_recovered) {
        (void)recovered(s, c, news);
        return;
    }
    if (has_sack(c))
        return;
    if (seq_is_after(c->snd_nxt, r->recover) && news->is_duplicate)
        duplicates_add(c, news);
    else if (news->is_new)
        r->dupack_bytes = 0;
}

/* What 'recover' being acknowledged ends. True: the acknowledgement is done with. */
static bool phase_end(struct net_stack *s, struct tcp_conn *c, const struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;

    if (r->phase == TCP_PHASE_OPEN)
        r->flags &= (uint16_t)~RECOVERY_HAS_RESENT;
    if (r->phase < TCP_PHASE_REDUCING || seq_is_before(c->snd_una, r->recover))
        return false;
    if (r->phase == TCP_PHASE_REDUCING && c->snd_una != r->recover) {
        reduction_end(c);
        r->phase = TCP_PHASE_OPEN;
    } else if (r->phase == TCP_PHASE_RECOVERY) {
        r->dupack_bytes = 0;
        if (recovered(s, c, news))
            return true;
        reduction_end(c);
    }
    return false;
}

void tcp_recovery_ack(struct net_stack *s, struct tcp_conn *c, struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);
    /* The window that marks are of was reduced for a loss. */
    bool is_reduced = r->phase >= TCP_PHASE_RECOVERY && !seq_is_after(c->snd_una, r->recover);

    r->flags &= (uint16_t)~RECOVERY_NEW_ONLY;
    if (news->has_ece)
        r->prior_ssthresh_bytes = 0;
    if (news->is_new && head != NULL && (head->flags & RANGE_SACKED) != 0) {
        /* Thrown away by the receiver, or the next ACK is near. */
        uint32_t wait_us = c->srtt_us / 2;
        if (wait_us < RENEGE_WAIT_MIN_US)
            wait_us = RENEGE_WAIT_MIN_US;
        tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + wait_us);
        news->must_set_timer = false;
        return;
    }
    if (phase_end(s, c, news))
        return;
    if (r->phase == TCP_PHASE_RECOVERY) {
        if (!news->is_new) {
            if (!has_sack(c))
                duplicates_add(c, news);
        } else if (try_undo_partial(s, c, news)) {
            return;
        }
        if (try_undo_duplicates(s, c))
            try_to_open(s, c, news);
        detect(s, c, news);
        if (r->phase != TCP_PHASE_RECOVERY && c->ranges.lost_bytes > 0)
            recovery_enter(s, c, news->has_ece);
        return;
    }
    if (r->phase == TCP_PHASE_LOSS) {
        loss_ack(s, c, news);
        detect(s, c, news);
        if (r->phase != TCP_PHASE_OPEN && !news->is_resent_lost)
            return;
    } else if (!has_sack(c)) {
        if (news->is_new)
            r->dupack_bytes = 0;
        duplicates_add(c, news);
    }
    if (r->phase <= TCP_PHASE_DISORDER)
        (void)try_undo_duplicates(s, c);
    detect(s, c, news);
    if (c->ranges.lost_bytes > 0) {
        loss_found(s, c, news->has_ece);
        return;
    }
    news->has_ece = news->has_ece && !is_reduced;
    try_to_open(s, c, news);
}

void tcp_recovery_probe_ack(struct net_stack *s, struct tcp_conn *c,
                            const struct tcp_ack_news *news, uint32_t ack)
{
    struct tcp_recovery *r = &c->recovery;

    if (seq_is_before(ack, r->probe_end))
        return;
    if ((r->flags & RECOVERY_PROBE_RESENT) == 0 || news->is_dsack_of_probe) {
        r->flags &= (uint16_t)~RECOVERY_PROBE_OUT;
    } else if (seq_is_after(ack, r->probe_end)) {
        /* It repaired a loss that nothing else told of. */
        NET_COUNT(s, tcp_tail_probes_recovered);
        reduction_begin(s, c);
        r->phase = TCP_PHASE_REDUCING;
        reduction_end(c);
        keep_open(s, c);
    } else if (news->is_duplicate && !news->is_sacked) {
        r->flags &= (uint16_t)~RECOVERY_PROBE_OUT; /* both arrived */
    }
}

/* RFC 6937 §3 as Linux does it: the slow-start bound while acknowledgements advance and nothing
 * more is lost, else the conservative bound. */
void tcp_recovery_rate(struct tcp_conn *c, const struct tcp_ack_news *news)
{
    struct tcp_recovery *r = &c->recovery;
    uint32_t pipe = tcp_in_flight(c);
    uint32_t ssthresh = c->congestion.ssthresh_bytes;
    int64_t allowed;

    if (news->delivered_bytes == 0 || r->prior_cwnd_bytes == 0 || c->congestion.ops->model != NULL)
        return;
    r->prr_delivered_bytes += news->delivered_bytes;
    if (pipe > ssthresh) {
        uint64_t prior = r->prior_cwnd_bytes;
        uint64_t share = ((uint64_t)r->prr_delivered_bytes * ssthresh + prior - 1) / prior;
        share = (share + c->mss - 1) / c->mss * c->mss; /* as if packets were counted */
        allowed = (int64_t)share - r->prr_sent_bytes;
    } else {
        allowed = (int64_t)r->prr_delivered_bytes - r->prr_sent_bytes;
        if (allowed < (int64_t)news->delivered_bytes)
            allowed = (int64_t)news->delivered_bytes;
        if (news->is_new && c->ranges.marked_bytes == news->marked_before)
            allowed += c->mss;
        if (allowed > (int64_t)(ssthresh - pipe))
            allowed = (int64_t)(ssthresh - pipe);
    }
    if (r->prr_sent_bytes == 0 && allowed < c->mss) /* the first lost segment goes at once */
        allowed = c->mss;
    c->congestion.cwnd_bytes = pipe + (uint32_t)(allowed > 0 ? allowed : 0);
}

/* --- timers --- */

void tcp_recovery_timeout(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;
    bool is_first = r->phase < TCP_PHASE_RECOVERY;
    uint64_t since_us = r->rack_sent_us != 0 ? s->now_us - r->rack_rtt_us : s->now_us;
    const struct tcp_range head = *range_at(&s->tcp.ranges, c->ranges.head);
    uint32_t marked_before = c->ranges.marked_bytes;

    if (ranges_mark_all_lost(&c->ranges, &s->tcp.ranges, since_us)) {
        NET_COUNT(s, tcp_rx_reneged);
        r->flags |= RECOVERY_RENEGED;
    }
    tcp_recovery_lost(s, c, &head, c->ranges.marked_bytes - marked_before);
    r->dupack_bytes = 0;
    r->dupacks = 0;
    /* RFC 5681 §3.1: once for each flight. */
    if (r->phase <= TCP_PHASE_DISORDER || !seq_is_after(r->recover, c->snd_una) ||
        (r->phase == TCP_PHASE_LOSS && c->retries <= 1)) {
        r->prior_ssthresh_bytes = ssthresh_now(c);
        congested(s, c);
        undo_prepare(c);
    }
    c->congestion.cwnd_bytes = tcp_in_flight(c) + c->mss;
    tcp_ecn_reduced(c);
    if (is_first && c->ranges.sacked_bytes >= (uint32_t)TCP_REORDERING * c->mss &&
        r->reordering > TCP_REORDERING)
        r->reordering = TCP_REORDERING;
    r->phase = TCP_PHASE_LOSS;
    r->recover = c->snd_nxt;
    r->flags &= (uint16_t) ~(RECOVERY_PROBE_OUT | RECOVERY_FRTO | RECOVERY_NEW_ONLY);
    if (is_first || c->retries > 1)
        r->flags |= RECOVERY_FRTO;
    tcp_want_output(s, c);
}

void tcp_recovery_reordered_out(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;
    struct tcp_ack_news news = {.marked_before = c->ranges.marked_bytes, .delivered_bytes = 1};

    r->flags |= RECOVERY_RACK_NEWS;
    bool is_waiting = tcp_rack_detect(s, c);
    if (c->ranges.marked_bytes != news.marked_before) {
        if (r->phase != TCP_PHASE_RECOVERY) {
            if (loss_found(s, c, false))
                tcp_recovery_rate(c, &news);
        }
        tcp_want_output(s, c);
        net_kick(s);
    }
    if (!is_waiting)
        tcp_timer_rearm_retransmit(s, c);
}

void tcp_recovery_resize(struct net_stack *s, struct tcp_conn *c)
{
    (void)ranges_mark_all_lost(&c->ranges, &s->tcp.ranges, s->now_us);
    c->recovery.dupack_bytes = 0;
    resize_enter(c);
    tcp_want_output(s, c);
}

void tcp_recovery_sent(struct net_stack *s, struct tcp_conn *c, uint32_t size, bool is_again)
{
    struct tcp_recovery *r = &c->recovery;

    r->prr_sent_bytes += size;
    if (!is_again)
        return;
    NET_COUNT(s, tcp_retransmits);
    c->retransmits++;
    c->search.probe_bytes = 0; /* whatever becomes of it tells nothing (RFC 4821 §7.6.4) */
    if ((r->flags & RECOVERY_HAS_RESENT) == 0) {
        r->flags |= RECOVERY_HAS_RESENT;
        r->first_resent_ts = tcp_timestamp(s->now_us, c->ts_offset);
    }
    if (r->undo_resent_bytes < 0)
        r->undo_resent_bytes = 0;
    if (r->undo_resent_bytes < INT32_MAX - (int32_t)size)
        r->undo_resent_bytes += (int32_t)size;
}
