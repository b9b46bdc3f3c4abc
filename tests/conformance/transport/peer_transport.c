#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "drivers/net/transport.h"
#include "tests/conformance/transport/peer.h"

/* Receive buffers are bounded by pausing the stream, as a socket's is by its window. */
enum { CONNECTIONS_MAX = 512, SOCKETS_MAX = 4, HOLD_MAX = 256 * 1024, DATAGRAM_MAX = 2048 };

struct connection {
    struct peer_transport *peer;
    struct stream *stream; /* NULL once closed */
    uint8_t *held;         /* received and not yet read */
    size_t held_size;
    size_t held_capacity;
    int error;
    bool is_established;
    bool is_eof;
    bool is_paused;
    bool is_new; /* not yet returned by accept */
};

struct socket {
    struct peer_transport *peer;
    struct endpoint local;
    struct endpoint from;
    uint8_t held[DATAGRAM_MAX]; /* the last datagram */
    size_t held_size;
    bool is_full;
};

struct peer_transport {
    struct peer base;
    struct transport *t;
    struct blob_pool *blobs;
    struct connection connections[CONNECTIONS_MAX];
    unsigned count;
    struct socket sockets[SOCKETS_MAX];
    unsigned socket_count;
};

static struct peer_transport *peer_of(struct peer *p)
{
    return CONTAINER_OF(p, struct peer_transport, base);
}

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct connection *c = s->user;

    (void)now_us;
    if (c->held_size + in.size > c->held_capacity) {
        c->held_capacity = (c->held_size + in.size) * 2;
        c->held = realloc(c->held, c->held_capacity);
        CHECK(c->held != NULL);
    }
    memcpy(c->held + c->held_size, in.ptr, in.size);
    c->held_size += in.size;
    if (c->held_size > HOLD_MAX) {
        c->is_paused = true;
        stream_receive_pause(s, true);
    }
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    struct connection *c = s->user;

    (void)now_us;
    c->is_established = true;
}

static void on_eof(struct stream *s, uint64_t now_us)
{
    struct connection *c = s->user;

    (void)now_us;
    c->is_eof = true;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    struct connection *c = s->user;

    (void)now_us;
    c->stream = NULL;
    c->error = error;
}

static const struct stream_events stream_events = {
    .data = on_data, .sendable = on_sendable, .eof = on_eof, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    struct peer_transport *p = user;

    (void)now_us;
    if (p->count == CONNECTIONS_MAX)
        return -EMFILE;
    struct connection *c = &p->connections[p->count++];
    *c = (struct connection){.peer = p, .stream = s, .is_established = true, .is_new = true};
    s->events = &stream_events;
    s->user = c;
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

static int transport_connect(struct peer *base, const struct endpoint *to)
{
    struct peer_transport *p = peer_of(base);

    if (p->count == CONNECTIONS_MAX)
        return -EMFILE;
    struct connection *c = &p->connections[p->count];
    *c = (struct connection){.peer = p};
    c->stream = p->t->ops->connect(p->t, to, &stream_events, c, 0);
    return c->stream == NULL ? -EMFILE : (int)p->count++;
}

static int transport_listen(struct peer *base, const struct endpoint *local)
{
    struct peer_transport *p = peer_of(base);

    return p->t->ops->listen(p->t, local, &listen_events, p);
}

static int transport_accept(struct peer *base)
{
    struct peer_transport *p = peer_of(base);

    for (unsigned i = 0; i < p->count; i++)
        if (p->connections[i].is_new) {
            p->connections[i].is_new = false;
            return (int)i;
        }
    return -EAGAIN;
}

/* A blob with as much of 'data' as fits; NULL: none free. */
static struct blob *blob_with(struct peer_transport *p, struct bytes data)
{
    struct blob *b = blob_pool_get(p->blobs);

    if (b == NULL)
        return NULL;
    uint32_t room = blob_pool_blob_size(p->blobs);
    b->size = data.size < room ? (uint32_t)data.size : room;
    memcpy(blob_pool_data(b), data.ptr, b->size);
    return b;
}

static ssize_t transport_send(struct peer *base, int handle, struct bytes data)
{
    struct peer_transport *p = peer_of(base);
    struct connection *c = &p->connections[handle];

    if (c->stream == NULL)
        return c->error == 0 ? -EPIPE : c->error;
    if (!c->is_established)
        return -ENOTCONN;
    struct blob *b = blob_with(p, data);
    if (b == NULL)
        return -EAGAIN;
    struct extent e = extent_of(b);
    ssize_t size = (ssize_t)e.size;
    int err = stream_send(c->stream, &e, 1);
    blob_unref(&b);
    if (err == -ENOBUFS)
        return -EAGAIN;
    return err < 0 ? err : size;
}

static ssize_t transport_receive(struct peer *base, int handle, void *data, size_t size)
{
    struct connection *c = &peer_of(base)->connections[handle];

    if (c->held_size == 0) {
        if (c->is_eof)
            return 0;
        return c->stream != NULL ? -EAGAIN : c->error;
    }
    if (size > c->held_size)
        size = c->held_size;
    memcpy(data, c->held, size);
    memmove(c->held, c->held + size, c->held_size - size);
    c->held_size -= size;
    if (c->is_paused && c->stream != NULL && c->held_size < HOLD_MAX / 2) {
        c->is_paused = false;
        stream_receive_pause(c->stream, false);
    }
    return (ssize_t)size;
}

static void transport_shutdown(struct peer *base, int handle)
{
    struct connection *c = &peer_of(base)->connections[handle];

    if (c->stream != NULL)
        stream_shutdown(c->stream);
}

static void transport_reset(struct peer *base, int handle)
{
    struct connection *c = &peer_of(base)->connections[handle];

    if (c->stream != NULL)
        stream_abort(c->stream);
}

/* Like close(2): whoever is not interested in what comes does not hold the sender back. */
static void transport_close(struct peer *base, int handle)
{
    struct connection *c = &peer_of(base)->connections[handle];

    transport_shutdown(base, handle);
    if (c->is_paused && c->stream != NULL)
        stream_receive_pause(c->stream, false);
}

static void on_datagram(void *user, const struct endpoint *local, const struct endpoint *peer,
                        struct bytes in, uint64_t now_us)
{
    struct socket *s = user;

    (void)local;
    (void)now_us;
    if (in.size > sizeof(s->held))
        return;
    memcpy(s->held, in.ptr, in.size);
    s->held_size = in.size;
    s->from = *peer;
    s->is_full = true;
}

static const struct datagram_events datagram_events = {.datagram = on_datagram};

static int transport_bind(struct peer *base, const struct endpoint *local)
{
    struct peer_transport *p = peer_of(base);

    if (p->socket_count == SOCKETS_MAX)
        return -EMFILE;
    struct socket *s = &p->sockets[p->socket_count];
    *s = (struct socket){.peer = p, .local = *local};
    int err = p->t->ops->bind(p->t, local, &datagram_events, s);
    return err < 0 ? err : (int)p->socket_count++;
}

static ssize_t transport_send_to(struct peer *base, int handle, const struct endpoint *to,
                                 struct bytes data)
{
    struct peer_transport *p = peer_of(base);
    struct blob *b = blob_with(p, data);

    if (b == NULL)
        return -EAGAIN;
    struct extent e = extent_of(b);
    ssize_t size = (ssize_t)e.size;
    int err = p->t->ops->send_datagram(p->t, &p->sockets[handle].local, to, &e, 1);
    blob_unref(&b);
    return err < 0 ? err : size;
}

static ssize_t transport_receive_from(struct peer *base, int handle, struct endpoint *ret_from,
                                      void *data, size_t size)
{
    struct socket *s = &peer_of(base)->sockets[handle];

    if (!s->is_full)
        return -EAGAIN;
    if (size > s->held_size)
        size = s->held_size;
    memcpy(data, s->held, size);
    *ret_from = s->from;
    s->is_full = false;
    return (ssize_t)size;
}

static void transport_free(struct peer **pp)
{
    struct peer_transport *p = peer_of(*pp);

    *pp = NULL;
    p->t->ops->free(&p->t);
    for (unsigned i = 0; i < p->count; i++)
        free(p->connections[i].held);
    free(p);
}

static const struct peer_ops transport_ops = {
    .connect = transport_connect,
    .listen = transport_listen,
    .accept = transport_accept,
    .send = transport_send,
    .receive = transport_receive,
    .shutdown = transport_shutdown,
    .close = transport_close,
    .reset = transport_reset,
    .bind = transport_bind,
    .send_to = transport_send_to,
    .receive_from = transport_receive_from,
    .free = transport_free,
};

struct peer *peer_transport_new(struct transport *t, struct blob_pool *blobs)
{
    struct peer_transport *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->base.ops = &transport_ops;
    p->t = t;
    p->blobs = blobs;
    return &p->base;
}
