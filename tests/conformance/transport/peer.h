/* peer.h - the other end of the transport under test: kernel sockets, or a second transport.
 *
 * Nothing here blocks: a call that cannot proceed returns -EAGAIN, and the case steps the fixture.
 * Connections and sockets are small handles. */
#ifndef TESTS_CONFORMANCE_TRANSPORT_PEER_H
#define TESTS_CONFORMANCE_TRANSPORT_PEER_H

#include <sys/types.h>

#include "common/bytes.h"
#include "common/endpoint.h"

struct peer;
struct transport;

enum { PEER_HANDLES_MAX = 4096 };

struct peer_ops {
    /* Starts a connection; a handle or -errno. */
    int (*connect)(struct peer *p, const struct endpoint *to);
    int (*listen)(struct peer *p, const struct endpoint *local);
    /* The handle of a connection that came in, or -EAGAIN. */
    int (*accept)(struct peer *p);
    /* Bytes taken (perhaps fewer), -EAGAIN, -ENOTCONN while connecting, or the error. */
    ssize_t (*send)(struct peer *p, int handle, struct bytes data);
    /* Bytes, 0 at end of stream, -EAGAIN, -ECONNRESET, … */
    ssize_t (*receive)(struct peer *p, int handle, void *data, size_t size);
    void (*shutdown)(struct peer *p, int handle);
    void (*close)(struct peer *p, int handle);
    void (*reset)(struct peer *p, int handle);
    /* A datagram socket. */
    int (*bind)(struct peer *p, const struct endpoint *local);
    ssize_t (*send_to)(struct peer *p, int handle, const struct endpoint *to, struct bytes data);
    ssize_t (*receive_from)(struct peer *p, int handle, struct endpoint *ret_from, void *data,
                            size_t size);
    void (*free)(struct peer **p);
};

struct peer {
    const struct peer_ops *ops;
};

/* NULL: no memory. */
struct peer *peer_kernel_new(void);

struct blob_pool;
/* Over 't', which it frees in the end, but which somebody else polls and flushes. */
struct peer *peer_transport_new(struct transport *t, struct blob_pool *blobs);

#endif
