/* internal.h - what the files of this folder share; nobody else includes it. */
#ifndef DRIVERS_NET_URING_INTERNAL_H
#define DRIVERS_NET_URING_INTERNAL_H

#include <liburing.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "common/check.h"
#include "common/counters.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/wheel.h"
#include "drivers/net/uring/extent_queue.h"
#include "drivers/net/uring/uring.h"

enum {
    URING_SQ_ENTRIES = 1024,
    URING_CQ_ENTRIES = 8192,
    URING_LISTENERS_MAX = 16,
    URING_SOCKETS_MAX = 16,
    URING_HOLDS = 4096,                /* zero-copy sends without their notification */
    URING_SEND_IOVS_MAX = 64,          /* extents in one send */
    URING_SEND_BYTES_MAX = 256 * 1024, /* bytes in one send: a fast reader must not hold the turn */
    URING_FLUSH_SENDS_MAX = 128,       /* sends submitted in one turn */
    URING_STREAM_EXTENTS_MAX = 1024,   /* queued to one stream */
    URING_EXTENT_CHUNKS_PER_STREAM = 4, /* in the pool, on average */
    URING_BACKLOG = 4096,
    URING_ACCEPT_RETRY_US = 100 * 1000, /* after EMFILE and the like */
    URING_ROUTES = 16,
    URING_ROUTE_COPY_US = 60 * 1000 * 1000, /* then a zero-copy send is tried again */
    URING_LOG_PAUSE_US = 10 * 1000 * 1000,
    URING_LINGER_US = 10 * 1000 * 1000, /* from our FIN to the peer's */
    URING_BUFFER_GROUP = 0,
    URING_BUFFER_NONE = UINT16_MAX
};

/* Since Linux 6.2; liburing 2.3 does not have them yet. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

/* What a completion is for: the low bits of user_data; the rest is a pointer. */
enum uring_op {
    URING_OP_NONE, /* nothing to do: NOP, cancel */
    URING_OP_ACCEPT,
    URING_OP_CONNECT,
    URING_OP_RECEIVE,
    URING_OP_SEND,
    URING_OP_SEND_ZERO_COPY,
    URING_OP_DATAGRAM
};
enum { URING_OP_MASK = 7 };

/* free -> (accepted) or connecting -> open -> gone (closed event delivered) -> free. */
enum uring_stream_state {
    URING_STREAM_FREE,
    URING_STREAM_CONNECTING,
    URING_STREAM_OPEN,
    URING_STREAM_GONE
};

struct uring_stream {
    struct stream base;
    struct list dirty; /* in uring.dirty (wants something submitted) or uring.starved */
    struct list ready; /* in uring.ready (event due in the next poll) or uring.free_streams */
    struct timer linger;
    struct extent_queue queue;
    int fd;
    int error;             /* of the close that is due */
    uint16_t operations;   /* submitted, final completion not seen */
    uint16_t parked_first; /* received while paused; URING_BUFFER_NONE: none */
    uint16_t parked_last;
    uint8_t route;     /* in uring.copy_until_us */
    uint8_t state;     /* enum uring_stream_state */
    bool is_close_due; /* the next poll delivers the closed event */
    bool is_reset;     /* close with RST */
    bool is_connect_submitted;
    bool is_receiving;  /* a receive is submitted */
    bool is_cancelling; /* and was asked to end */
    bool is_paused;
    bool is_single_shot;
    bool is_sending;
    bool is_copy_forced; /* the kernel refused to pin: this send copies */
    bool is_shutdown_wanted;
    bool is_shutdown_done;
    bool is_eof;     /* FIN seen */
    bool is_eof_due; /* FIN seen, parked bytes come first */
    bool is_cancel_all_submitted;
    bool is_starved; /* 'dirty' is in uring.starved */
};

struct uring_listener {
    const struct listen_events *events;
    void *user;
    struct uring *uring;
    struct timer retry;
    int fd;
    struct endpoint local;
    uint64_t quiet_until_us; /* the lack of descriptors is not logged again before */
    bool is_accepting;       /* the multishot accept is submitted */
    bool is_cancelling;      /* and was asked to end */
    bool is_waiting;         /* for the retry timer */
};

/* A UDP socket. */
struct uring_socket {
    const struct datagram_events *events;
    void *user;
    struct uring *uring;
    struct msghdr receive; /* shape of the multishot recvmsg */
    int fd;
    struct endpoint local;
    bool is_receiving;
    bool is_ipv4;
};

/* A zero-copy send: its blobs until the kernel's notification. */
struct uring_hold {
    struct list free;
    struct uring *uring;
    struct uring_stream *stream; /* until the completion; not valid for the notification */
    uint8_t route;
    uint32_t count;
    struct blob *blobs[URING_SEND_IOVS_MAX];
};

/* What the kernel reads while it takes a submission, and not later. */
struct uring_scratch {
    struct msghdr message;
    struct sockaddr_storage address;
    struct iovec iov[URING_SEND_IOVS_MAX];
};

/* The provided-buffer ring. A buffer is free, lent to the kernel, or parked by a stream. */
struct uring_buffers {
    struct io_uring_buf_ring *ring;
    size_t ring_bytes;
    uint8_t *memory;
    uint16_t *free; /* stack */
    uint16_t *next; /* of a parked buffer: the stream's next one */
    uint32_t *parked_size;
    uint32_t count; /* of all buffers */
    uint32_t bytes; /* of one */
    uint32_t lent_max;
    uint32_t lent;
    uint32_t free_count;
};

struct uring {
    struct transport base;
    struct transport_env env;
    struct uring_config config;
    struct io_uring ring;
    struct uring_stream *streams;
    struct uring_hold *holds;
    struct uring_scratch *scratch; /* URING_FLUSH_SENDS_MAX of them */
    struct list free_streams;
    struct list free_holds;
    struct list dirty;
    struct list ready;
    struct list starved; /* want to receive; there is no buffer to lend */
    struct extent_pool extents;
    struct uring_buffers buffers;
    struct uring_listener listeners[URING_LISTENERS_MAX];
    struct uring_socket sockets[URING_SOCKETS_MAX];
    uint32_t listener_count;
    uint32_t socket_count;
    uint32_t stream_count; /* in use, gone ones included */
    uint32_t hold_count;   /* in use */
    uint32_t scratch_used; /* since the last submission */
    uint64_t now_us;
    /* By a hash of the stream's own address, so in effect by interface: until when sends copy
     * because the kernel said that it had to copy a zero-copy send there (loopback, veth, …). */
    uint64_t copy_until_us[URING_ROUTES];
    bool is_zero_copy;
    bool is_usage_reported; /* by the kernel, for zero-copy sends */
    bool is_closing;
    bool is_nop_submitted;
};

static inline struct uring *uring_of(struct transport *t)
{
    return CONTAINER_OF(t, struct uring, base);
}

static inline struct uring_stream *uring_stream_of(struct stream *s)
{
    return CONTAINER_OF(s, struct uring_stream, base);
}

/* uring.c: room for one submission and one scratch; false: the kernel takes no more now. */
bool uring_reserve(struct uring *u);
/* Both only after uring_reserve(). 'target' comes back with the completion. */
struct io_uring_sqe *uring_sqe(struct uring *u, void *target, enum uring_op op);
struct uring_scratch *uring_scratch_get(struct uring *u);

/* stream.c */
int uring_streams_init(struct uring *u);
void uring_streams_fini(struct uring *u);
/* NULL: none free (counted). The stream owns 'fd'. */
struct uring_stream *uring_stream_new(struct uring *u, int fd, enum uring_stream_state state);
/* The accept handler took it: receives from the next flush on. */
void uring_stream_start(struct uring_stream *s);
/* Back to the pool without an event: the accept handler refused it. */
void uring_stream_refuse(struct uring_stream *s);
/* Submits what 's' wants. False: submission queue full, try again. '*sends' counts sends. */
bool uring_stream_submit(struct uring_stream *s, unsigned *sends);
/* Moves starved streams to the dirty list when there are buffers again. */
void uring_streams_feed(struct uring *u);
/* Delivers what 's' was put on the ready list for. */
void uring_stream_ready(struct uring_stream *s, uint64_t now_us);
void uring_stream_complete(struct uring_stream *s, enum uring_op op, const struct io_uring_cqe *cqe,
                           uint64_t now_us);
void uring_hold_complete(struct uring_hold *hold, const struct io_uring_cqe *cqe, uint64_t now_us);
/* The closed event, now, unless it was delivered. */
void uring_stream_close(struct uring_stream *s, int error, uint64_t now_us);
struct stream *uring_connect(struct transport *t, const struct endpoint *peer,
                             const struct stream_events *events, void *user, uint64_t now_us);
int uring_send(struct stream *base, const struct extent *extents, size_t count);
void uring_shutdown(struct stream *base);
void uring_abort(struct stream *base);
void uring_receive_pause(struct stream *base, bool paused);

/* listener.c */
int uring_listen(struct transport *t, const struct endpoint *local,
                 const struct listen_events *events, void *user);
void uring_listener_submit(struct uring_listener *l);
void uring_listener_complete(struct uring_listener *l, const struct io_uring_cqe *cqe,
                             uint64_t now_us);
/* Closes the sockets; nothing is accepted any more. */
void uring_listeners_close(struct uring *u);

/* datagram.c */
int uring_bind(struct transport *t, const struct endpoint *local,
               const struct datagram_events *events, void *user);
int uring_send_datagram(struct transport *t, const struct endpoint *local,
                        const struct endpoint *peer, const struct extent *extents, size_t count);
void uring_socket_submit(struct uring_socket *s);
void uring_socket_complete(struct uring_socket *s, const struct io_uring_cqe *cqe, uint64_t now_us);
void uring_sockets_close(struct uring *u);

/* receive.c */
int uring_buffers_init(struct uring *u);
void uring_buffers_fini(struct uring *u);
uint8_t *uring_buffer(const struct uring_buffers *b, uint16_t id);
/* The buffer that a completion carries; URING_BUFFER_NONE: none. It is no longer lent. */
uint16_t uring_buffer_take(struct uring_buffers *b, const struct io_uring_cqe *cqe);
void uring_buffer_put(struct uring_buffers *b, uint16_t id);
/* Lends free buffers to the kernel up to the limit. */
void uring_buffers_lend(struct uring_buffers *b);

/* sockets.c */
socklen_t uring_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
struct endpoint uring_endpoint(const struct sockaddr_storage *address);
/* A bound socket of 'type' (SOCK_STREAM: also listening) or -errno. Shared with other shards of
 * this process; refused when another process has the address. */
int uring_socket_bound(const struct endpoint *local, int type, uint32_t unsent_bytes_max);
/* Forgets that this process has 'local'. */
void uring_socket_unbind(const struct endpoint *local, int type);
int uring_socket_connecting(const struct endpoint *peer, uint32_t unsent_bytes_max);
/* Raises the limit of open files and says so when it is below what 'streams_max' needs. */
void uring_raise_file_limit(uint32_t streams_max);

#endif
