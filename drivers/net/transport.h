/* transport.h - streams (TCP) and datagrams (UDP) in terms of extents.
 *
 * The seam between what moves bytes and what gives them meaning. Two implementations: our
 * own TCP/IP over a packet port (dataplane/net) and kernel sockets driven by io_uring
 * (drivers/net/uring). Both pass tests/conformance/transport. One transport belongs to one
 * shard; every call and every event happens on it.
 *
 *   accept event     OPEN    the handler has set s->events and s->user
 *   eof event        HALF    the peer will send no more; we still may
 *   stream_shutdown  CLOSING queued bytes and FIN go out; no more stream_send()
 *   closed event     GONE    the last event; 's' is invalid afterwards
 *
 * Every accepted stream gets exactly one closed event, also after stream_abort() (which
 * delivers it from the next poll, never from inside the call).
 */
#ifndef DRIVERS_NET_TRANSPORT_H
#define DRIVERS_NET_TRANSPORT_H

#include "common/blob.h"
#include "common/bytes.h"
#include "common/endpoint.h"

struct counters;
struct stream;
struct transport;
struct wheel;

struct stream_events {
    /* Bytes arrived, in order. Borrows 'in' for the call; all of it counts as consumed. The
     * handler may call any stream_ function, including stream_abort(). */
    void (*data)(struct stream *s, struct bytes in, uint64_t now_us);
    /* s->queued_bytes fell to s->low_water_bytes or below after having been above it. */
    void (*sendable)(struct stream *s, uint64_t now_us);
    /* The peer sent FIN. */
    void (*eof)(struct stream *s, uint64_t now_us);
    /* The stream is over. 'error': 0 after an orderly close, else -ECONNRESET, -ETIMEDOUT,
     * -ECONNABORTED (our abort), -EHOSTUNREACH, … */
    void (*closed)(struct stream *s, int error, uint64_t now_us);
};

/* The common head of every transport's connection struct. */
struct stream {
    struct transport *transport;
    const struct stream_events *events;
    void *user;
    struct endpoint local;
    struct endpoint peer;
    uint32_t queued_bytes;    /* sent by the user, not yet acknowledged by the peer (packet path)
                                 or taken by the kernel (kernel path) */
    uint32_t low_water_bytes; /* set by the user; 0: the sendable event comes when empty */
};

struct listen_events {
    /* A connection was established. Return 0 after setting s->events and s->user, or -errno
     * to have it reset. */
    int (*accept)(void *user, struct stream *s, uint64_t now_us);
};

struct datagram_events {
    /* Borrows 'in' for the call. */
    void (*datagram)(void *user, const struct endpoint *local, const struct endpoint *peer,
                     struct bytes in, uint64_t now_us);
};

/* What a transport is given by its shard; borrowed for its lifetime. */
struct transport_env {
    struct counters *counters;
    struct wheel *wheel;
    struct blob_home *blob_home;
    uint64_t (*random)(void *user); /* unpredictable in production, seeded in tests */
    void *random_user;
    uint32_t shard_index;
    uint32_t streams_max;
    uint32_t send_queue_bytes_max; /* per stream */
};

struct transport_ops {
    const char *name;
    /* 0, or -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -ENOSPC (too many listeners). */
    int (*listen)(struct transport *t, const struct endpoint *local,
                  const struct listen_events *events, void *user);
    /* Opens a stream to 'peer'; the closed event tells when that fails, the first sendable
     * event that it is established. NULL: out of streams. */
    struct stream *(*connect)(struct transport *t, const struct endpoint *peer,
                              const struct stream_events *events, void *user, uint64_t now_us);
    /* Queues 'count' extents in order, taking a reference on each blob: all or nothing.
     * 0; -ENOBUFS: the stream's queue (bytes or extents) is full, nothing queued; -EPIPE: closing.
     */
    int (*send)(struct stream *s, const struct extent *extents, size_t count);
    void (*shutdown)(struct stream *s);
    void (*abort)(struct stream *s);
    /* Stops or resumes data events: back-pressure through the receive window. */
    void (*receive_pause)(struct stream *s, bool paused);
    /* Receives datagrams on 'local'. Errors as listen. */
    int (*bind)(struct transport *t, const struct endpoint *local,
                const struct datagram_events *events, void *user);
    /* Sends one datagram made of the extents. -EMSGSIZE, -ENOBUFS, -EADDRNOTAVAIL (not bound). */
    int (*send_datagram)(struct transport *t, const struct endpoint *local,
                         const struct endpoint *peer, const struct extent *extents, size_t count);
    /* Handles input and due output, at most about 'budget' events; returns how many. */
    unsigned (*poll)(struct transport *t, uint64_t now_us, unsigned budget);
    /* Pushes everything queued since to the wire; called once at the end of each turn. */
    void (*flush)(struct transport *t, uint64_t now_us);
    /* A descriptor that polls readable when poll() has work; or -1: poll at short intervals; or -2:
     * whoever has something for it wakes the shard. */
    int (*wait_fd)(struct transport *t);
    /* Whether other shards have handed something over: asked when the shard is marked asleep.
     * NULL: none ever does. */
    bool (*has_work)(const struct transport *t);
    /* Aborts all streams, with their closed events, and frees the transport. */
    void (*free)(struct transport **t);
};

/* The common head of every transport. */
struct transport {
    const struct transport_ops *ops;
};

static inline int stream_send(struct stream *s, const struct extent *extents, size_t count)
{
    return s->transport->ops->send(s, extents, count);
}

static inline void stream_shutdown(struct stream *s)
{
    s->transport->ops->shutdown(s);
}

static inline void stream_abort(struct stream *s)
{
    s->transport->ops->abort(s);
}

static inline void stream_receive_pause(struct stream *s, bool paused)
{
    s->transport->ops->receive_pause(s, paused);
}

#endif
