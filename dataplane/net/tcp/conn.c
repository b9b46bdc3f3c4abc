#include <errno.h>

#include "common/check.h"
#include "dataplane/net/stack.h"

enum { PORT_EPHEMERAL_MIN = 49152, CHUNKS_PER_STREAM = 2, CHUNKS_EXTRA = 1024 };

static_assert(offsetof(struct tcp_conn, stream) == 0, "streams are cast to connections");

int tcp_init(struct net_stack *s)
{
    struct tcp *tcp = &s->tcp;
    const struct net_config *config = &s->config;
    uint32_t streams = s->env->streams_max;
    int error;

    list_init(&tcp->output);
    list_init(&tcp->beginning);
    list_init(&tcp->closed);
    list_init(&tcp->resumed);
    list_init(&tcp->time_waits);
    tcp->congestion = tcp_congestion_find(config->congestion);
    if (tcp->congestion == NULL)
        return -EINVAL;
    uint32_t bbrs = config->bbr_max < streams ? config->bbr_max : streams;
    if ((error = pool_init(&tcp->conns, streams, sizeof(struct tcp_conn))) < 0 ||
        (error = pool_init(&tcp->chunks, config->extent_chunks_max, sizeof(struct send_chunk))) <
            0 ||
        (error = pool_init(&tcp->ranges, 4 * streams + 4096, sizeof(struct tcp_range))) < 0 ||
        (error = pool_init(&tcp->buffers, config->reassembly_buffers_max,
                           sizeof(struct reassembly_buffer))) < 0 ||
        (error = pool_init(&tcp->bbrs, bbrs, sizeof(struct tcp_bbr))) < 0 ||
        (error = pool_init(&tcp->time_wait_pool, streams, sizeof(struct tcp_time_wait))) < 0 ||
        (error = flow_table_init(&tcp->flows, 2 * streams)) < 0)
        return error;
    return 0;
}

void tcp_fini(struct net_stack *s)
{
    struct tcp *tcp = &s->tcp;

    wheel_cancel(s->wheel, &tcp->time_wait_timer);
    pool_fini(&tcp->conns);
    pool_fini(&tcp->chunks);
    pool_fini(&tcp->ranges);
    pool_fini(&tcp->buffers);
    pool_fini(&tcp->bbrs);
    pool_fini(&tcp->time_wait_pool);
    flow_table_fini(&tcp->flows);
}

/* RFC 6528: M + F(localip, localport, remoteip, remoteport, secret); M ticks every 4 us. */
uint32_t tcp_initial_sequence(const struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer)
{
    return (uint32_t)(s->now_us / 4) + (uint32_t)flow_hash64(&s->isn_key, local, peer);
}

uint32_t tcp_timestamp_offset(const struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer)
{
    return (uint32_t)(flow_hash64(&s->isn_key, local, peer) >> 32);
}

uint16_t *tcp_half_open_source(struct net_stack *s, const struct endpoint *peer)
{
    uint64_t word = 0;

    memcpy(&word, peer->addr, peer->family == 4 ? 4 : 8);
    return &s->tcp.half_open_sources[siphash_words(&s->flow_key, &word, 1) % TCP_SOURCE_BUCKETS];
}

struct tcp_conn *tcp_conn_find(struct net_stack *s, const struct endpoint *local,
                               const struct endpoint *peer, uint32_t hash)
{
    uint32_t cursor = hash;
    uint32_t value;

    while ((value = flow_table_next(&s->tcp.flows, hash, &cursor)) != UINT32_MAX) {
        if (value >= UINT32_MAX / 2)
            continue;
        struct tcp_conn *c = pool_at(&s->tcp.conns, value);
        if (endpoint_is_equal(&c->stream.peer, peer) && endpoint_is_equal(&c->stream.local, local))
            return c;
    }
    return NULL;
}

uint16_t tcp_advertised_mss(const struct net_stack *s, uint8_t family,
                            const struct tcp_settings *settings)
{
    uint16_t mss = (uint16_t)(s->mtu - TCP_SIZE - (family == 4 ? IPV4_SIZE : IPV6_SIZE));

    return settings->mss_max != 0 && settings->mss_max < mss ? settings->mss_max : mss;
}

void tcp_conn_take_options(struct net_stack *s, struct tcp_conn *c, const struct tcp_options *o)
{
    c->peer_mss = o->mss;
    if (o->mss == 0)
        c->peer_mss = c->stream.peer.family == 4 ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6;
    c->flags &= ~(uint32_t)(CONN_HAS_TIMESTAMPS | CONN_HAS_SACK | CONN_HAS_SCALE);
    if (o->has_timestamps) {
        c->flags |= CONN_HAS_TIMESTAMPS;
        c->ts_recent = o->ts_value;
        c->ts_recent_us = s->now_us;
    }
    if (o->is_sack_permitted)
        c->flags |= CONN_HAS_SACK;
    if (o->has_shift) {
        c->flags |= CONN_HAS_SCALE;
        c->snd_shift = o->shift;
        c->rcv_shift = tcp_receive_shift(s, c->settings);
    } else {
        c->snd_shift = 0;
        c->rcv_shift = 0;
    }
    tcp_mtu_start(s, c);
    c->congestion.cwnd_bytes = tcp_initial_window(c->mss);
}

static void model_put(struct net_stack *s, struct tcp_conn *c)
{
    if (c->congestion.ops->model != NULL && c->congestion.bbr != NULL)
        pool_put(&s->tcp.bbrs, pool_index(&s->tcp.bbrs, c->congestion.bbr));
    c->congestion.bbr = NULL;
}

void tcp_conn_begin_congestion(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_congestion *g = &c->congestion;
    const struct tcp_path path = {.now_us = s->now_us,
                                  .mss = c->mss,
                                  .srtt_us = c->srtt_us,
                                  .delivered_bytes = c->delivered_bytes,
                                  .random = c->hash != 0 ? c->hash : 1,
                                  .has_sack = (c->flags & CONN_HAS_SACK) != 0};

    if (g->ops->model != NULL) {
        uint32_t index = pool_get(&s->tcp.bbrs);
        if (index != POOL_NONE) {
            g->bbr = pool_at(&s->tcp.bbrs, index);
        } else {
            NET_COUNT(s, tcp_no_bbr_left);
            g->ops = &tcp_cubic;
        }
    }
    g->ops->init(g, &path);
}

void tcp_conn_use_congestion(struct net_stack *s, struct tcp_conn *c,
                             const struct tcp_congestion_ops *ops)
{
    if (c->state == TCP_CLOSED || ops == c->congestion.ops)
        return;
    model_put(s, c);
    c->congestion.ops = ops;
    if (c->state >= TCP_ESTABLISHED)
        tcp_conn_begin_congestion(s, c);
}

int tcp_conn_set_congestion(struct tcp_conn *c, const char *name)
{
    const struct tcp_congestion_ops *ops = tcp_congestion_find(name);

    if (ops == NULL)
        return -ENOENT;
    tcp_conn_use_congestion(net_stack_of(c->stream.transport), c, ops);
    return 0;
}

struct tcp_conn *tcp_conn_new(struct net_stack *s, const struct endpoint *local,
                              const struct endpoint *peer, enum tcp_state state)
{
    uint32_t neighbour = 0;
    int soft_error = 0;

    if (neighbour_route(s, peer->family, peer->addr, &neighbour) < 0) {
        NET_COUNT(s, net_tx_no_route);
        if (state != TCP_SYN_SENT)
            return NULL;
        soft_error = -EHOSTUNREACH;
    }
    uint32_t index = pool_get(&s->tcp.conns);
    if (index == POOL_NONE) {
        NET_COUNT(s, tcp_no_connection_left);
        return NULL;
    }
    struct tcp_conn *c = pool_at(&s->tcp.conns, index);
    uint32_t iss = tcp_initial_sequence(s, local, peer);
    *c = (struct tcp_conn){
        .stream = {.transport = &s->base, .local = *local, .peer = *peer},
        .state = (uint8_t)state,
        .iss = iss,
        .snd_una = iss,
        .snd_nxt = iss + 1,
        .snd_end = iss + 1,
        .ts_offset = tcp_timestamp_offset(s, local, peer),
        .neighbour = neighbour,
        .soft_error = soft_error,
        .path_mtu = s->mtu,
        .peer_mss = peer->family == 4 ? TCP_MSS_DEFAULT_V4 : TCP_MSS_DEFAULT_V6,
        .hash = flow_hash(&s->flow_key, local, peer),
        .rto_us = 1000000, /* RFC 6298 (2.1) */
        .snd_small = iss,
        .min_rtt_us = UINT32_MAX,
        .usage_end = iss,
        .recovery = {.recover = iss, .reordering = TCP_REORDERING, .rack_steps = 1},
        .rcv_mss = TCP_MSS_DEFAULT_V4,
        .settings = &s->tcp.settings,
        .received_us = s->now_us,
        .last_sent_us = s->now_us,
        .timer = {.fire = tcp_timer_fire},
        .congestion = {.ssthresh_bytes = UINT32_MAX, .ops = s->tcp.congestion},
    };
    send_queue_init(&c->queue);
    ranges_init(&c->ranges);
    reassembly_init(&c->reassembly);
    tcp_conn_set_mss(c);
    flow_table_insert(&s->tcp.flows, c->hash, index);
    NET_COUNT(s, tcp_connections);
    return c;
}

void tcp_half_open_end(struct net_stack *s, struct tcp_conn *c)
{
    if ((c->flags & CONN_IS_HALF_OPEN) == 0)
        return;
    c->flags &= ~(uint32_t)CONN_IS_HALF_OPEN;
    s->tcp.half_open--;
    --*tcp_half_open_source(s, &c->stream.peer);
}

void tcp_persist_end(struct net_stack *s, struct tcp_conn *c)
{
    if (tcp_is_persisting(c)) {
        c->flags &= ~(uint32_t)CONN_IS_PERSISTING;
        s->tcp.persisting--;
    }
}

/* Gives back everything but the connection itself. */
static void conn_release(struct net_stack *s, struct tcp_conn *c)
{
    wheel_cancel(s->wheel, &c->timer);
    list_remove(&c->link);
    list_remove(&c->resumed_link);
    send_queue_clear(&c->queue, &s->tcp.chunks);
    ranges_clear(&c->ranges, &s->tcp.ranges);
    reassembly_clear(&c->reassembly, &s->tcp.buffers);
    model_put(s, c);
    c->stream.queued_bytes = 0;
    tcp_persist_end(s, c);
    tcp_half_open_end(s, c);
}

void tcp_conn_close(struct net_stack *s, struct tcp_conn *c, int error)
{
    CHECK(c->state != TCP_CLOSED);
    flow_table_remove(&s->tcp.flows, c->hash, pool_index(&s->tcp.conns, c));
    conn_release(s, c);
    c->state = TCP_CLOSED;
    c->error = error;
    if (error != 0)
        NET_COUNT(s, tcp_connections_failed);
    list_push_back(&s->tcp.closed, &c->link);
    net_kick(s);
}

void tcp_conn_reset(struct net_stack *s, struct tcp_conn *c, int error)
{
    /* In SYN_SENT there is nobody to reset (RFC 9293 §3.10.5). */
    if (c->state != TCP_SYN_SENT && c->state != TCP_TIME_WAIT) {
        struct tcp_control control = {.local = c->stream.local,
                                      .peer = c->stream.peer,
                                      .seq = c->snd_nxt,
                                      .ack = c->rcv_nxt,
                                      .flags = TCP_RST | TCP_ACK};
        uint8_t options[TCP_TIMESTAMPS_SIZE];
        if ((c->flags & CONN_HAS_TIMESTAMPS) != 0) { /* RFC 7323 §3.2 */
            tcp_options_write_timestamps(tcp_timestamp(s->now_us, c->ts_offset), c->ts_recent,
                                         options);
            control.options = options;
            control.options_size = sizeof(options);
        }
        NET_COUNT(s, tcp_resets_sent);
        tcp_send_control(s, &control);
    }
    tcp_conn_close(s, c, error);
}

void tcp_conn_finish(struct net_stack *s, struct tcp_conn *c)
{
    bool was_closed_by_peer = c->state == TCP_LAST_ACK;

    if (!was_closed_by_peer)
        c->state = TCP_TIME_WAIT;
    for (int kind = 0; kind < TCP_TIMER_KINDS; kind++)
        tcp_timer_clear(c, (enum tcp_timer_kind)kind);
    if (c->delivered != c->rcv_nxt - 1 || (c->flags & CONN_EOF_TOLD) == 0)
        return; /* called again when the user has resumed and taken it */

    tcp_conn_close(s, c, 0);
    if (!was_closed_by_peer)
        tcp_time_wait_enter(s, c);
}

unsigned tcp_deliver_closed(struct net_stack *s)
{
    unsigned count = 0;
    struct list due;

    /* Those that these events close wait for the next poll. */
    list_init(&due);
    list_splice(&due, &s->tcp.closed);
    for (struct list *node; (node = list_pop_front(&due)) != NULL; count++) {
        struct tcp_conn *c = CONTAINER_OF(node, struct tcp_conn, link);

        if ((c->flags & CONN_IS_USERS) != 0)
            c->stream.events->closed(&c->stream, c->error, s->now_us);
        NET_COUNT(s, tcp_connections_closed);
        pool_put(&s->tcp.conns, pool_index(&s->tcp.conns, c));
    }
    return count;
}
