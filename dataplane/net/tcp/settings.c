#include "dataplane/net/tcp/settings.h"

#include <errno.h>

#include "dataplane/net/stack.h"

void tcp_conn_use(struct net_stack *s, struct tcp_conn *c, const struct tcp_settings *settings)
{
    c->settings = settings != NULL ? settings : &s->tcp.settings;
    if (c->state < TCP_ESTABLISHED)
        return;
    c->neighbour_generation = 0; /* the header may change */
    uint32_t window = c->settings->receive_window_bytes;
    if (window != 0) {
        c->rcv_space_bytes = window;
        if (c->rcv_budget_bytes > window)
            c->rcv_budget_bytes = window;
    }
    if (c->state < TCP_TIME_WAIT)
        tcp_timer_keepalive_start(s, c);
}

static struct tcp_listener *listener_at(struct net_stack *s, const struct endpoint *local)
{
    for (uint32_t i = 0; i < s->tcp.listener_count; i++) {
        struct tcp_listener *l = &s->tcp.listeners[i];

        if (l->events != NULL && endpoint_is_equal(&l->local, local))
            return l;
    }
    return NULL;
}

int tcp_listener_use(struct net_stack *s, const struct endpoint *local,
                     const struct tcp_settings *settings)
{
    struct tcp_listener *l = listener_at(s, local);

    if (l == NULL)
        return -ENOENT;
    l->settings = settings;
    return 0;
}

int net_listener_set_congestion(struct transport *t, const struct endpoint *local, const char *name)
{
    struct tcp_listener *l = listener_at(net_stack_of(t), local);
    const struct tcp_congestion_ops *ops = tcp_congestion_find(name);

    if (l == NULL || ops == NULL)
        return -ENOENT;
    l->congestion = ops;
    return 0;
}

struct tcp_conn *tcp_conn_open(struct net_stack *s, const struct endpoint *local,
                               const struct endpoint *peer, const struct tcp_settings *settings,
                               const struct stream_events *events, void *user)
{
    uint32_t hash = flow_hash(&s->flow_key, local, peer);

    if (tcp_conn_find(s, local, peer, hash) != NULL ||
        tcp_time_wait_find(s, local, peer, hash) != POOL_NONE)
        return NULL;
    struct tcp_conn *c = tcp_conn_new(s, local, peer, TCP_SYN_SENT);
    if (c == NULL)
        return NULL;
    c->stream.events = events;
    c->stream.user = user;
    c->flags |= CONN_IS_USERS;
    if (settings != NULL)
        c->settings = settings;
    if (peer->port == 0 || endpoint_is_any(local) || c->soft_error != 0) {
        tcp_conn_close(s, c, -EHOSTUNREACH);
        return c;
    }
    tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + tcp_timer_rto_us(c));
    tcp_send_syn(s, c);
    return c;
}

void tcp_conn_orphan(struct net_stack *s, struct tcp_conn *c)
{
    c->flags |= CONN_IS_ORPHAN;
    tcp_timer_fin_wait_start(s, c);
}

void tcp_conn_info(const struct net_stack *s, const struct tcp_conn *c,
                   struct tcp_conn_info *ret_info)
{
    *ret_info = (struct tcp_conn_info){
        .state = c->state,
        .snd_shift = c->snd_shift,
        .rcv_shift = c->rcv_shift,
        .retries = c->retries,
        .probes = c->probes,
        .has_timestamps = (c->flags & CONN_HAS_TIMESTAMPS) != 0,
        .has_sack = (c->flags & CONN_HAS_SACK) != 0,
        .mss = c->mss,
        .advertised_mss = tcp_advertised_mss(s, c->stream.peer.family, c->settings),
        .rcv_mss = (uint16_t)(c->rcv_mss < UINT16_MAX ? c->rcv_mss : UINT16_MAX),
        .path_mtu = c->path_mtu,
        .srtt_us = c->srtt_us,
        .rto_us = (uint32_t)tcp_timer_rto_us(c),
        .cwnd_bytes = c->congestion.cwnd_bytes,
        .ssthresh_bytes = c->congestion.ssthresh_bytes,
        .in_flight_bytes = tcp_in_flight(c),
        .unacked_bytes = c->snd_nxt - c->snd_una,
        .unsent_bytes = seq_is_before(c->snd_nxt, c->snd_end) ? c->snd_end - c->snd_nxt : 0,
        .snd_wnd_bytes = c->snd_wnd,
        .rcv_budget_bytes = c->rcv_budget_bytes,
        .bytes_acked = c->snd_una - c->iss,
        .bytes_received = c->rcv_nxt - c->irs,
    };
}
