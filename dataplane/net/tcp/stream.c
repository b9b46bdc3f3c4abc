/* The transport's calls, as far as they are about streams. */
#include <errno.h>

#include "common/check.h"
#include "common/limits.h"
#include "dataplane/net/stack.h"

enum {
    EPHEMERAL_FIRST = 32768,
    EPHEMERAL_COUNT = 28232,
    EPHEMERAL_TRIES = 64,
    EPHEMERAL_STEP_MAX = 8
};

static struct tcp_conn *conn_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct tcp_conn, stream);
}

static int net_listen(struct transport *t, const struct endpoint *local,
                      const struct listen_events *events, void *user)
{
    struct net_stack *s = net_stack_of(t);

    if (!endpoint_is_any(local) && !address_is_configured(s, local->family, local->addr))
        return -EADDRNOTAVAIL;
    for (uint32_t i = 0; i < s->tcp.listener_count; i++)
        if (endpoint_is_equal(&s->tcp.listeners[i].local, local))
            return -EADDRINUSE;
    if (s->tcp.listener_count == TCP_LISTENERS_MAX)
        return -ENOSPC;
    s->tcp.listeners[s->tcp.listener_count++] =
        (struct tcp_listener){.local = *local, .events = events, .user = user};
    return 0;
}

/* A free local port towards 'peer'; false: none found. Double-hash selection (RFC 6056 §3.3.4):
 * ports towards one peer go up, so that it meets none again soon, from where nobody else can
 * tell, by steps that nobody can tell either. */
static bool ephemeral_pick(struct net_stack *s, struct endpoint *local, const struct endpoint *peer)
{
    uint64_t hash64;

    local->port = 0;
    hash64 = flow_hash64(&s->isn_key, local, peer);
    uint16_t *counter = &s->tcp.port_counters[(hash64 >> 32) % TCP_PORT_COUNTERS];
    for (int i = 0; i < EPHEMERAL_TRIES * s->info->queues; i++) {
        uint32_t random = (uint32_t)s->env->random(s->env->random_user);

        *counter = (uint16_t)(*counter + 1 + random % EPHEMERAL_STEP_MAX);
        local->port = (uint16_t)(EPHEMERAL_FIRST +
                                 ((uint32_t)hash64 % EPHEMERAL_COUNT + *counter) % EPHEMERAL_COUNT);
        uint32_t hash = flow_hash(&s->flow_key, local, peer);
        if (s->driver->takes_flow != NULL && !s->driver->takes_flow(s->queue, local, peer))
            continue; /* the answer would come to another shard */
        if (tcp_conn_find(s, local, peer, hash) == NULL &&
            tcp_time_wait_find(s, local, peer, hash) == POOL_NONE)
            return true;
    }
    return false;
}

struct tcp_conn *tcp_conn_connect(struct net_stack *s, const struct endpoint *peer,
                                  const struct tcp_settings *settings,
                                  const struct stream_events *events, void *user)
{
    const uint8_t *source = address_for(s, peer->family, peer->addr);
    struct endpoint local = {.family = peer->family};

    if (source != NULL)
        local = endpoint_of(peer->family, source, 0);
    if (!ephemeral_pick(s, &local, peer)) {
        NET_COUNT(s, tcp_no_port_left);
        return NULL;
    }
    return tcp_conn_open(s, &local, peer, settings, events, user);
}

static struct stream *net_connect(struct transport *t, const struct endpoint *peer,
                                  const struct stream_events *events, void *user, uint64_t now_us)
{
    struct net_stack *s = net_stack_of(t);

    if (now_us > s->now_us)
        s->now_us = now_us;
    struct tcp_conn *c = tcp_conn_connect(s, peer, NULL, events, user);
    return c != NULL ? &c->stream : NULL;
}

static int net_send(struct stream *stream, const struct extent *extents, size_t count)
{
    struct tcp_conn *c = conn_of(stream);
    struct net_stack *s = net_stack_of(stream->transport);
    uint64_t size = 0;

    if (c->state == TCP_CLOSED || (c->flags & CONN_FIN_QUEUED) != 0)
        return -EPIPE;
    if (count > EXTENTS_PER_SEND_MAX)
        return -ENOBUFS;
    for (size_t i = 0; i < count; i++) {
        DCHECK(extents[i].offset <= extents[i].blob->size &&
               extents[i].size <= extents[i].blob->size - extents[i].offset);
        size += extents[i].size;
    }
    if (size == 0)
        return 0;
    if (size > s->env->send_queue_bytes_max ||
        stream->queued_bytes > s->env->send_queue_bytes_max - size) {
        NET_COUNT(s, tcp_send_queue_full);
        return -ENOBUFS;
    }
    tcp_note_shortage(s, c);
    int error = send_queue_push(&c->queue, &s->tcp.chunks, extents, count, c->snd_end);
    if (error < 0) {
        NET_COUNT(s, tcp_send_queue_full);
        return error;
    }
    if (stream->queued_bytes == 0)
        c->flags |= CONN_BEGINS;
    c->snd_end += (uint32_t)size;
    stream->queued_bytes += (uint32_t)size;
    if (stream->queued_bytes > stream->low_water_bytes)
        c->flags |= CONN_WAS_ABOVE_LOW;
    if (c->state >= TCP_ESTABLISHED)
        tcp_want_output(s, c);
    return 0;
}

static void net_shutdown(struct stream *stream)
{
    struct tcp_conn *c = conn_of(stream);
    struct net_stack *s = net_stack_of(stream->transport);

    if (c->state == TCP_CLOSED || (c->flags & CONN_FIN_QUEUED) != 0)
        return;
    c->flags |= CONN_FIN_QUEUED;
    if (c->state == TCP_ESTABLISHED)
        c->state = TCP_FIN_WAIT_1;
    else if (c->state == TCP_CLOSE_WAIT)
        c->state = TCP_LAST_ACK;
    if (c->state >= TCP_ESTABLISHED)
        tcp_want_output(s, c);
}

static void net_abort(struct stream *stream)
{
    struct tcp_conn *c = conn_of(stream);

    if (c->state != TCP_CLOSED)
        tcp_conn_reset(net_stack_of(stream->transport), c, -ECONNABORTED);
}

static void net_receive_pause(struct stream *stream, bool paused)
{
    struct tcp_conn *c = conn_of(stream);
    struct net_stack *s = net_stack_of(stream->transport);

    if (c->state == TCP_CLOSED || paused == ((c->flags & CONN_PAUSED) != 0))
        return;
    if (paused) {
        c->flags |= CONN_PAUSED;
        return;
    }
    c->flags &= ~(uint32_t)CONN_PAUSED;
    /* What waits is delivered from the next poll, not from inside this call. */
    if (!list_is_linked(&c->resumed_link))
        list_push_back(&s->tcp.resumed, &c->resumed_link);
    net_kick(s);
}

static int net_bind(struct transport *t, const struct endpoint *local,
                    const struct datagram_events *events, void *user)
{
    return udp_bind(net_stack_of(t), local, events, user);
}

static int net_send_datagram(struct transport *t, const struct endpoint *local,
                             const struct endpoint *peer, const struct extent *extents,
                             size_t count)
{
    return udp_send(net_stack_of(t), local, peer, extents, count);
}

const struct transport_ops net_transport_ops = {
    .name = "net",
    .listen = net_listen,
    .connect = net_connect,
    .send = net_send,
    .shutdown = net_shutdown,
    .abort = net_abort,
    .receive_pause = net_receive_pause,
    .bind = net_bind,
    .send_datagram = net_send_datagram,
    .poll = net_poll,
    .flush = net_flush,
    .wait_fd = net_wait_fd,
    .has_work = net_has_work,
    .free = net_free,
};
