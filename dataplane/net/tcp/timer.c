#include <errno.h>

#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    RTO_FIRST_US = 1000000, /* RFC 6298 (2.1) */
    RTO_MIN_US = 200000,    /* as Linux; RFC 6298 (2.4) says 1 s, for clocks of its time */
    RTO_MAX_US = 120000000,
    PROBE_SETTLE_US = 2000,      /* two ticks of Linux's clock, added to a probe's timeout */
    MIN_RTT_AGE_MAX_MS = 300000, /* a smaller one is then no longer believed */
    SYN_RETRIES_MAX = 6,         /* as Linux: 1 to 63 s, given up after 127 */
    SYN_ACK_RETRIES_MAX = 5,
    FIN_WAIT_2_MS = 60000, /* as Linux */
    DOUBT_RETRIES = 2      /* then the next hop may be what is gone */
};

void tcp_timer_set(struct net_stack *s, struct tcp_conn *c, enum tcp_timer_kind kind,
                   uint64_t deadline_us)
{
    c->deadlines_us[kind] = deadline_us;
    if (kind == TCP_TIMER_RETRANSMIT)
        c->pending = TCP_PENDING_RETRANSMIT;
    /* The wheel's timer stays where it is when that is early enough: it looks again then. So a
     * deadline that each ACK moves on costs one store. */
    if (!timer_is_armed(&c->timer) || deadline_us >> WHEEL_TICK_SHIFT < c->timer.deadline_tick - 1)
        wheel_arm(s->wheel, &c->timer, deadline_us);
}

void tcp_timer_set_pending(struct net_stack *s, struct tcp_conn *c, enum tcp_pending pending,
                           uint64_t deadline_us)
{
    tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, deadline_us);
    c->pending = (uint8_t)pending;
}

uint64_t tcp_timer_rto_us(const struct tcp_conn *c)
{
    uint64_t rto_us = (uint64_t)c->rto_us << (c->backoff < 16 ? c->backoff : 16); /* (5.5) */

    return rto_us < RTO_MAX_US ? rto_us : RTO_MAX_US;
}

void tcp_timer_rearm_retransmit(struct net_stack *s, struct tcp_conn *c)
{
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);
    uint64_t from_us = s->now_us;

    if (head == NULL) {
        tcp_timer_clear(c, TCP_TIMER_RETRANSMIT);
        c->retries = 0;
        return;
    }
    if (c->pending != TCP_PENDING_RETRANSMIT)
        from_us = head->sent_us;
    uint64_t deadline_us = from_us + tcp_timer_rto_us(c);
    tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT,
                  deadline_us > s->now_us ? deadline_us : s->now_us + 1);
}

/* RFC 8985 §7.2: two round trips, and the receiver's delay when it has one segment only. */
void tcp_timer_rearm(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint64_t rto_us = tcp_timer_rto_us(c);
    uint64_t wait_us = RTO_FIRST_US;

    if (flight == 0 || !tcp_timer_may_probe(c)) {
        tcp_timer_rearm_retransmit(s, c);
        return;
    }
    if (c->srtt_us != 0)
        wait_us = 2 * (uint64_t)c->srtt_us + (flight <= c->mss ? RTO_MIN_US : PROBE_SETTLE_US);
    tcp_timer_set_pending(s, c, TCP_PENDING_PROBE,
                          s->now_us + (wait_us < rto_us ? wait_us : rto_us));
}

/* RFC 6298 (2.2) and (2.3) with alpha 1/8 and beta 1/4, but for two things that Linux adds: the
 * floor is under the variance, so that a steady long path keeps its margin; and the variance
 * falls once for each round trip, not for each of many samples in one. */
void tcp_timer_sample(struct tcp_conn *c, uint32_t rtt_us)
{
    if (rtt_us == 0)
        rtt_us = 1;
    c->backoff = 0;
    if (c->srtt_us == 0) {
        c->srtt_us = rtt_us;
        c->mdev_us = 2 * rtt_us;
        c->rttvar_us = c->mdev_us > RTO_MIN_US ? c->mdev_us : RTO_MIN_US;
        c->mdev_max_us = c->rttvar_us;
        c->rtt_end = c->snd_nxt;
    } else {
        int64_t error_us = (int64_t)rtt_us - c->srtt_us;
        int64_t growth_us = (error_us < 0 ? -error_us : error_us) - c->mdev_us / 4;
        if (error_us < 0 && growth_us > 0) /* a faster path is no reason to wait longer */
            growth_us /= 8;
        c->srtt_us = (uint32_t)(c->srtt_us + error_us / 8);
        c->mdev_us = (uint32_t)(c->mdev_us + growth_us);
        if (c->mdev_us > c->mdev_max_us) {
            c->mdev_max_us = c->mdev_us;
            if (c->mdev_max_us > c->rttvar_us)
                c->rttvar_us = c->mdev_max_us;
        }
        if (seq_is_after(c->snd_una, c->rtt_end)) {
            if (c->mdev_max_us < c->rttvar_us)
                c->rttvar_us -= (c->rttvar_us - c->mdev_max_us) / 4;
            c->rtt_end = c->snd_nxt;
            c->mdev_max_us = RTO_MIN_US;
        }
    }
    uint64_t rto_us = (uint64_t)c->srtt_us + c->rttvar_us;
    c->rto_us = rto_us < RTO_MAX_US ? (uint32_t)rto_us : RTO_MAX_US;
}

void tcp_timer_sample_min(struct tcp_conn *c, uint32_t rtt_us, uint64_t now_us)
{
    uint32_t now_ms = (uint32_t)(now_us / 1000);

    if (rtt_us == 0)
        rtt_us = 1;
    if (rtt_us > c->min_rtt_us && now_ms - c->min_rtt_ms <= MIN_RTT_AGE_MAX_MS)
        return;
    c->min_rtt_us = rtt_us;
    c->min_rtt_ms = now_ms;
}

/* What to tell the user of a connection that got no answer. */
static int timeout_error(const struct tcp_conn *c)
{
    return c->soft_error != 0 ? c->soft_error : -ETIMEDOUT;
}

/* How much longer nothing may be acknowledged (RFC 5482); UINT64_MAX: for ever. */
static uint64_t user_timeout_left_us(const struct net_stack *s, const struct tcp_conn *c)
{
    uint32_t stalled_ms = (uint32_t)(s->now_us / 1000) - c->stalled_ms;
    uint32_t timeout_ms = c->settings->user_timeout_ms;

    if (timeout_ms == 0 || c->retries == 0)
        return UINT64_MAX;
    return stalled_ms < timeout_ms ? (uint64_t)(timeout_ms - stalled_ms) * 1000 : 0;
}

/* Counts another timeout in a row, and waits for the next. */
static void backoff_next(struct net_stack *s, struct tcp_conn *c, uint64_t since_us)
{
    if (c->retries == 0)
        c->stalled_ms = (uint32_t)(since_us / 1000);
    if (c->retries < UINT8_MAX) {
        c->retries++;
        c->backoff++;
    }
    uint64_t wait_us = tcp_timer_rto_us(c);
    uint64_t left_us = user_timeout_left_us(s, c);
    tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + (wait_us < left_us ? wait_us : left_us));
}

static void syn_expired(struct net_stack *s, struct tcp_conn *c)
{
    uint8_t retries_max =
        c->settings->syn_retries != 0 ? c->settings->syn_retries : SYN_RETRIES_MAX;

    if ((c->flags & CONN_IS_PASSIVE) != 0)
        retries_max = SYN_ACK_RETRIES_MAX;
    if (c->retries >= retries_max || user_timeout_left_us(s, c) == 0) {
        NET_COUNT(s, tcp_handshakes_expired);
        /* Nobody on the link answered for it: not reachable, rather than slow. */
        if (s->neighbours.entries[c->neighbour].state < NEIGHBOUR_REACHABLE)
            c->soft_error = -EHOSTUNREACH;
        tcp_conn_close(s, c, timeout_error(c));
        return;
    }
    backoff_next(s, c, c->last_sent_us);
    tcp_send_syn(s, c);
}

/* Peers that keep their window closed hold memory, and answer probes for ever if they like. So
 * many may; of those above it, whoever has done so for long enough is reset. */
static bool persist_is_over(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t stalled_ms = (uint32_t)(s->now_us / 1000) - c->stalled_ms;

    if (!tcp_is_persisting(c)) {
        c->flags |= CONN_IS_PERSISTING;
        s->tcp.persisting++;
        return false;
    }
    if (s->tcp.persisting <= s->config.persisting_max || stalled_ms < s->config.persist_ms)
        return false;
    NET_COUNT(s, tcp_persists_reset);
    tcp_conn_reset(s, c, -ETIMEDOUT);
    return true;
}

static void retransmit_expired(struct net_stack *s, struct tcp_conn *c)
{
    if (c->retries == DOUBT_RETRIES)
        neighbour_doubt(s, c->neighbour);
    if (c->state == TCP_SYN_SENT || c->state == TCP_SYN_RECEIVED) {
        syn_expired(s, c);
        return;
    }
    bool is_in_flight = c->snd_una != c->snd_nxt;
    if (!is_in_flight && c->snd_wnd > 0) { /* silly-window override, or a route to try again */
        c->flags |= CONN_SEND_ANYWAY;
        tcp_want_output(s, c);
        net_kick(s);
        return;
    }
    /* A closed window may stay closed while its owner answers (RFC 9293 §3.8.6.1). */
    bool is_answered = !is_in_flight && c->received_us >= c->last_sent_us;
    bool is_exhausted = c->settings->user_timeout_ms != 0
                            ? user_timeout_left_us(s, c) == 0
                            : c->retries >= s->config.retransmits_max && !is_answered;
    if (is_exhausted) { /* without a reset, which nobody would hear (RFC 9293 §3.8.3) */
        NET_COUNT(s, tcp_retransmits_exhausted);
        tcp_conn_close(s, c, timeout_error(c));
        return;
    }
    if (!is_in_flight && persist_is_over(s, c))
        return;
    if (is_in_flight)
        tcp_mtu_timeout(s, c);
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);
    backoff_next(s, c, head != NULL ? head->sent_us : s->now_us);
    if (is_in_flight) {
        NET_COUNT(s, tcp_timeouts);
        tcp_recovery_timeout(s, c);
        net_kick(s);
    } else {
        NET_COUNT(s, tcp_window_probes);
        tcp_send_probe(s, c);
        c->last_sent_us = s->now_us; /* or would have been: no way to the peer is no answer */
    }
}

/* RFC 8985 §7.3: at most one probe is out, and the retransmission timer follows it. */
static void probe_expired(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_recovery *r = &c->recovery;
    int sent = c->snd_una != c->snd_nxt && (r->flags & RECOVERY_PROBE_OUT) == 0
                   ? tcp_send_tail_probe(s, c)
                   : 0;

    if (sent > 0) {
        NET_COUNT(s, tcp_tail_probes);
        r->flags = (uint16_t)((r->flags & ~(unsigned)RECOVERY_PROBE_RESENT) | RECOVERY_PROBE_OUT |
                              (sent == 2 ? RECOVERY_PROBE_RESENT : 0));
        r->probe_end = c->snd_nxt;
        c->pending = TCP_PENDING_RETRANSMIT;
        net_kick(s);
    }
    tcp_timer_rearm_retransmit(s, c);
}

static uint32_t or_standard(uint32_t value, uint32_t standard)
{
    return value != 0 ? value : standard;
}

static uint64_t keepalive_idle_us(const struct net_stack *s, const struct tcp_conn *c)
{
    return 1000 *
           (uint64_t)or_standard(c->settings->keepalive_idle_ms, s->config.keepalive_idle_ms);
}

void tcp_timer_keepalive_start(struct net_stack *s, struct tcp_conn *c)
{
    uint64_t deadline_us = c->received_us + keepalive_idle_us(s, c);

    c->probes = 0;
    if (c->settings->is_keepalive_off)
        tcp_timer_clear(c, TCP_TIMER_KEEPALIVE);
    else
        tcp_timer_set(s, c, TCP_TIMER_KEEPALIVE,
                      deadline_us > s->now_us ? deadline_us : s->now_us + 1);
}

/* The user timeout, where there is one, stands in for the count of probes (as Linux). */
static bool keepalive_is_over(const struct net_stack *s, const struct tcp_conn *c)
{
    const struct tcp_settings *settings = c->settings;

    if (settings->user_timeout_ms != 0)
        return c->probes > 0 &&
               s->now_us - c->received_us >= (uint64_t)settings->user_timeout_ms * 1000;
    return c->probes >= or_standard(settings->keepalive_probes_max, s->config.keepalive_probes_max);
}

static void keepalive_expired(struct net_stack *s, struct tcp_conn *c)
{
    uint64_t idle_us = keepalive_idle_us(s, c);

    if (c->probes == 0 && c->received_us + idle_us > s->now_us) {
        tcp_timer_set(s, c, TCP_TIMER_KEEPALIVE, c->received_us + idle_us);
        return;
    }
    if (keepalive_is_over(s, c)) {
        NET_COUNT(s, tcp_keepalives_failed);
        tcp_conn_reset(s, c, timeout_error(c));
        return;
    }
    uint64_t interval_ms =
        or_standard(c->settings->keepalive_interval_ms, s->config.keepalive_interval_ms);
    tcp_timer_set(s, c, TCP_TIMER_KEEPALIVE, s->now_us + interval_ms * 1000);
    if (c->snd_una == c->snd_nxt && !tcp_is_persisting(c)) { /* else retransmission finds out */
        c->probes++;
        NET_COUNT(s, tcp_keepalives_sent);
        tcp_send_probe(s, c);
    }
}

/* Who still receives may do so for as long as the peer sends, or answers keepalives. */
void tcp_timer_fin_wait_start(struct net_stack *s, struct tcp_conn *c)
{
    uint64_t wait_us = 1000 * (uint64_t)or_standard(c->settings->fin_wait_2_ms, FIN_WAIT_2_MS);

    if (c->state == TCP_FIN_WAIT_2 && (c->flags & CONN_IS_ORPHAN) != 0)
        tcp_timer_set(s, c, TCP_TIMER_LIFETIME, s->now_us + wait_us);
}

static void fin_wait_expired(struct net_stack *s, struct tcp_conn *c)
{
    NET_COUNT(s, tcp_fin_waits_expired);
    tcp_conn_close(s, c, 0);
}

static void conn_expired(struct net_stack *s, struct tcp_conn *c, enum tcp_timer_kind kind)
{
    switch (kind) {
    case TCP_TIMER_RETRANSMIT:
        if (c->pending == TCP_PENDING_REORDER)
            tcp_recovery_reordered_out(s, c);
        else if (c->pending == TCP_PENDING_PROBE)
            probe_expired(s, c);
        else
            retransmit_expired(s, c);
        return;
    case TCP_TIMER_DELAYED_ACK:
        tcp_receive_ack_expired(s, c);
        net_kick(s);
        return;
    case TCP_TIMER_KEEPALIVE:
        keepalive_expired(s, c);
        return;
    case TCP_TIMER_LIFETIME:
        fin_wait_expired(s, c);
        return;
    case TCP_TIMER_PACING:
        tcp_want_output(s, c);
        net_kick(s);
        return;
    case TCP_TIMER_KINDS:
        break;
    }
}

void tcp_timer_fire(struct timer *t, uint64_t now_us)
{
    struct tcp_conn *c = CONTAINER_OF(t, struct tcp_conn, timer);
    struct net_stack *s = net_stack_of(c->stream.transport);
    uint64_t next_us = 0;

    s->now_us = now_us;
    for (int kind = 0; kind < TCP_TIMER_KINDS; kind++) {
        uint64_t deadline_us = c->deadlines_us[kind];

        if (deadline_us == 0 || deadline_us > now_us)
            continue;
        tcp_timer_clear(c, (enum tcp_timer_kind)kind);
        conn_expired(s, c, (enum tcp_timer_kind)kind);
        if (c->state == TCP_CLOSED)
            return;
    }
    for (int kind = 0; kind < TCP_TIMER_KINDS; kind++)
        if (c->deadlines_us[kind] != 0 && (next_us == 0 || c->deadlines_us[kind] < next_us))
            next_us = c->deadlines_us[kind];
    if (next_us != 0)
        wheel_arm(s->wheel, &c->timer, next_us);
}
