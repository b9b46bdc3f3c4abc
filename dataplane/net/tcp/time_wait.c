#include "common/check.h"
#include "dataplane/net/stack.h"

/* The top bit of a flow's value tells a TIME_WAIT from a connection. */
enum { VALUE_BIT_SHIFT = 31 };
#define TIME_WAIT_BIT ((uint32_t)1 << VALUE_BIT_SHIFT)

static void time_wait_free(struct net_stack *s, struct tcp_time_wait *w)
{
    uint32_t index = pool_index(&s->tcp.time_wait_pool, w);

    list_remove(&w->link);
    flow_table_remove(&s->tcp.flows, w->hash, index | TIME_WAIT_BIT);
    pool_put(&s->tcp.time_wait_pool, index);
}

static struct tcp_time_wait *time_wait_oldest(struct net_stack *s)
{
    if (list_is_empty(&s->tcp.time_waits))
        return NULL;
    return CONTAINER_OF(s->tcp.time_waits.next, struct tcp_time_wait, link);
}

static void time_wait_fire(struct timer *t, uint64_t now_us)
{
    struct tcp *tcp = CONTAINER_OF(t, struct tcp, time_wait_timer);
    struct net_stack *s = CONTAINER_OF(tcp, struct net_stack, tcp);
    struct tcp_time_wait *w;

    s->now_us = now_us;
    while ((w = time_wait_oldest(s)) != NULL && w->expires_us <= now_us)
        time_wait_free(s, w);
    if (w != NULL)
        wheel_arm(s->wheel, t, w->expires_us);
}

/* (Re)starts the wait: to the end of the list, since all wait equally long. */
static void time_wait_start(struct net_stack *s, struct tcp_time_wait *w)
{
    list_remove(&w->link);
    list_push_back(&s->tcp.time_waits, &w->link);
    w->expires_us = s->now_us + (uint64_t)s->config.time_wait_ms * 1000;
    if (!timer_is_armed(&s->tcp.time_wait_timer)) {
        s->tcp.time_wait_timer.fire = time_wait_fire;
        wheel_arm(s->wheel, &s->tcp.time_wait_timer, w->expires_us);
    }
}

void tcp_time_wait_enter(struct net_stack *s, const struct tcp_conn *c)
{
    uint32_t index = pool_get(&s->tcp.time_wait_pool);

    if (index == POOL_NONE) { /* the oldest has waited longest: cut it short */
        NET_COUNT(s, tcp_time_waits_evicted);
        time_wait_free(s, time_wait_oldest(s));
        index = pool_get(&s->tcp.time_wait_pool);
    }
    struct tcp_time_wait *w = pool_at(&s->tcp.time_wait_pool, index);
    *w = (struct tcp_time_wait){
        .local = c->stream.local,
        .peer = c->stream.peer,
        .hash = c->hash,
        .snd_nxt = c->snd_nxt,
        .rcv_nxt = c->rcv_nxt,
        .ts_recent = c->ts_recent,
        .ts_offset = c->ts_offset,
        .window = (uint16_t)(c->rcv_budget_bytes >> c->rcv_shift > UINT16_MAX
                                 ? UINT16_MAX
                                 : c->rcv_budget_bytes >> c->rcv_shift),
        .has_timestamps = (c->flags & CONN_HAS_TIMESTAMPS) != 0,
    };
    flow_table_insert(&s->tcp.flows, w->hash, index | TIME_WAIT_BIT);
    time_wait_start(s, w);
}

uint32_t tcp_time_wait_find(const struct net_stack *s, const struct endpoint *local,
                            const struct endpoint *peer, uint32_t hash)
{
    uint32_t cursor = hash;
    uint32_t value;

    while ((value = flow_table_next(&s->tcp.flows, hash, &cursor)) != UINT32_MAX) {
        if ((value & TIME_WAIT_BIT) == 0)
            continue;
        const struct tcp_time_wait *w = pool_at(&s->tcp.time_wait_pool, value & ~TIME_WAIT_BIT);
        if (endpoint_is_equal(&w->peer, peer) && endpoint_is_equal(&w->local, local))
            return value & ~TIME_WAIT_BIT;
    }
    return POOL_NONE;
}

static void time_wait_ack(struct net_stack *s, const struct tcp_time_wait *w)
{
    uint8_t options[TCP_TIMESTAMPS_SIZE];
    struct tcp_control control = {
        .local = w->local,
        .peer = w->peer,
        .seq = w->snd_nxt,
        .ack = w->rcv_nxt,
        .flags = TCP_ACK,
        .window = w->window,
    };

    if (w->has_timestamps) {
        tcp_options_write_timestamps(tcp_timestamp(s->now_us, w->ts_offset), w->ts_recent, options);
        control.options = options;
        control.options_size = sizeof(options);
    }
    tcp_send_control(s, &control);
}

/* Whether a SYN is certainly newer than the connection that ended: by its timestamp, else by
 * its sequence number (RFC 6191 §2). A forger guesses the latter with one SYN of two, so where
 * there were timestamps none are taken for none. */
static bool syn_is_newer(const struct tcp_time_wait *w, const struct tcp_segment *segment)
{
    if (w->has_timestamps && !segment->options.has_timestamps)
        return false;
    if (w->has_timestamps && segment->options.ts_value != w->ts_recent)
        return seq_is_after(segment->options.ts_value, w->ts_recent);
    return seq_is_after(segment->seq, w->rcv_nxt);
}

bool tcp_time_wait_input(struct net_stack *s, uint32_t index, const struct net_rx *rx,
                         const struct tcp_segment *segment, uint32_t *ret_after)
{
    struct tcp_time_wait *w = pool_at(&s->tcp.time_wait_pool, index);

    (void)rx;
    if ((segment->flags & TCP_RST) != 0) /* RFC 1337: it must not end the wait */
        return false;
    if ((segment->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && syn_is_newer(w, segment)) {
        NET_COUNT(s, tcp_time_waits_reused);
        *ret_after = w->snd_nxt;
        time_wait_free(s, w);
        return true;
    }
    if (segment->end == segment->seq && segment->seq == w->rcv_nxt)
        return false; /* an old ACK, in order: silence, or two TIME_WAITs would never stop */
    if (!rate_take(&s->challenge_rate, s->now_us)) {
        NET_COUNT(s, tcp_challenges_limited);
        return false;
    }
    if ((segment->flags & TCP_FIN) != 0 && segment->end == w->rcv_nxt)
        time_wait_start(s, w);
    time_wait_ack(s, w);
    return false;
}
