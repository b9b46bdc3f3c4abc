/* shim.h - one stack in virtual time with a POSIX socket interface on top; internal to this
 * folder.
 *
 * Everything is under one lock. Time moves only inside usleep(), gettimeofday(),
 * netdev_receive(), and calls that the thread which made the shim lets block; threads other than
 * that one really sleep in blocking calls until what happens in the stack lets them go on, and
 * time stands still until they have come back with their next call. */
#ifndef TESTS_CONFORMANCE_PACKETDRILL_SHIM_H
#define TESTS_CONFORMANCE_PACKETDRILL_SHIM_H

#include <pthread.h>

#include "common/blob.h"
#include "common/check.h"
#include "common/counters.h"
#include "common/wheel.h"
#include "dataplane/net/stack.h"
#include "tests/conformance/packetdrill/interface.h"
#include "tests/conformance/packetdrill/ip_wire.h"

enum { SHIM_FDS_MAX = 128, SHIM_AWAY_MAX = 8, SHIM_ACCEPT_MAX = 128, SHIM_EPOLL_MAX = 32 };

enum sock_kind { SOCK_TCP, SOCK_UDP, SOCK_EPOLL, SOCK_PIPE };

/* A growing queue of bytes. Zeroed: empty. */
struct byte_queue {
    uint8_t *data;
    size_t head;
    size_t size;
    size_t capacity;
};

struct datagram {
    struct list link;
    struct endpoint peer;
    size_t size;
    uint8_t data[];
};

struct epoll_item {
    int fd; /* 0: free */
    struct sock *sock;
    struct epoll_event event;
    bool is_pending; /* edge-triggered: something happened since it was told */
    bool is_off;     /* one-shot, and told */
};

/* Options that are numbers and nothing more, by their place in options.c's table. */
enum sock_number {
    NUMBER_REUSEADDR,
    NUMBER_REUSEPORT,
    NUMBER_KEEPALIVE,
    NUMBER_BROADCAST,
    NUMBER_OOBINLINE,
    NUMBER_PRIORITY,
    NUMBER_SNDBUF,
    NUMBER_RCVBUF,
    NUMBER_RCVLOWAT,
    NUMBER_PACING_RATE,
    NUMBER_NODELAY,
    NUMBER_CORK,
    NUMBER_MAXSEG,
    NUMBER_KEEPIDLE,
    NUMBER_KEEPINTVL,
    NUMBER_KEEPCNT,
    NUMBER_SYNCNT,
    NUMBER_LINGER2,
    NUMBER_DEFER_ACCEPT,
    NUMBER_WINDOW_CLAMP,
    NUMBER_QUICKACK,
    NUMBER_USER_TIMEOUT,
    NUMBER_NOTSENT_LOWAT,
    NUMBER_INQ,
    NUMBER_TOS,
    NUMBER_TTL,
    NUMBER_MTU_DISCOVER,
    NUMBER_RECVERR,
    NUMBER_FREEBIND,
    NUMBER_V6ONLY,
    NUMBER_TCLASS,
    NUMBER_HOPS,
    SOCK_NUMBERS
};

/* What kept a connection from sending, as TCP_INFO tells it. */
enum sock_limit { LIMIT_IDLE, LIMIT_NETWORK, LIMIT_WINDOW, LIMIT_BUFFER, SOCK_LIMITS };

/* What Linux counts for TCP_INFO and the stack does not: seen on the wire. */
struct sock_stats {
    uint32_t segments_out;
    uint32_t segments_in;
    uint32_t data_segments_out;
    uint32_t data_segments_in;
    uint32_t disordered_in; /* data behind a gap */
    uint64_t bytes_sent;
    uint64_t bytes_resent;
    uint32_t sent_edge; /* behind the last byte ever sent; with data_segments_out > 0 */
    uint64_t data_sent_us;
    uint64_t data_received_us;
    uint64_t ack_received_us;
    enum sock_limit limit; /* since 'limit_us' */
    uint64_t limit_us;
    uint64_t limited_us[SOCK_LIMITS];
};

struct sock {
    struct list link; /* in shim.socks */
    struct shim *shim;
    enum sock_kind kind;
    int domain;
    bool has_fd;
    bool is_nonblocking;
    bool is_nospace; /* somebody found it not writable */
    int error;       /* for SO_ERROR, positive */
    struct endpoint local;
    struct endpoint peer;
    bool is_bound;
    int numbers[SOCK_NUMBERS];
    struct tcp_settings settings; /* the numbers, as the stack takes them */
    struct linger linger;
    uint64_t receive_timeout_us; /* 0: none */
    uint64_t send_timeout_us;
    const char *congestion;

    /* TCP */
    struct stream *stream; /* NULL: none, or over */
    uint32_t listener;     /* place in tcp.listeners, when is_listening */
    uint32_t backlog;
    bool is_listening;
    bool is_connecting;
    bool was_connected;
    bool is_connect_due; /* connect() said EINPROGRESS, and is to say 0 once */
    bool is_eof;
    bool is_read_shut;
    bool is_write_shut;
    bool is_deferred;     /* TCP_DEFER_ACCEPT: in its listener's queue when data comes */
    uint32_t send_buffer; /* tuned, as long as SO_SNDBUF is not set; 0: not yet */
    uint32_t tail_bytes;  /* of the packet that the latest send went to */
    struct sock_stats stats;
    struct sock *parent;
    struct sock *accepted[SHIM_ACCEPT_MAX];
    uint32_t accepted_count;
    struct byte_queue received;

    /* UDP */
    struct list datagrams;
    uint32_t udp_bind;
    bool is_udp_bound;

    /* a pipe: both ends are one sock */
    bool is_write_end;
    struct sock *other;
    struct byte_queue *pipe;

    struct epoll_item items[SHIM_EPOLL_MAX];
};

/* Numbers are the kernel's: each is that of a socket of its own that is never used. So they differ
 * from those of the tool's files, and a tool that closes them itself finds something to close. */
struct descriptor {
    struct sock *sock; /* NULL: free */
    int fd;
    ino_t inode; /* of the kernel's socket: whether it still is that one */
};

struct waiter {
    struct list link;
    uint64_t seen; /* shim.generation when it last looked */
    uint64_t deadline_us;
};

struct shim {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_cond_t settled;
    pthread_t driver; /* the thread that moves time */
    uint64_t generation;
    struct list waiters;
    pthread_t away[SHIM_AWAY_MAX]; /* came out of a blocking call, did not call again yet */
    unsigned away_count;

    uint64_t now_us;
    uint64_t stack_us; /* the stack's: 'now_us' later by what it had to start up */
    struct net_config config;
    struct tcp_settings listener_settings[TCP_LISTENERS_MAX]; /* outlive the listeners */
    struct net_address local[2];                              /* IPv4, IPv6 */
    uint16_t mtu;
    bool has_backlog;
    uint32_t backlog; /* half-open connections, then SYN cookies */
    struct ip_wire *wire;
    struct transport *transport; /* NULL: not needed yet */
    struct transport_env env;
    struct counters counters;
    struct wheel wheel;
    struct blob_home blob_home;
    uint64_t random;

    struct list socks;
    struct descriptor descriptors[SHIM_FDS_MAX];
};

/* --- shim.c --- */

struct shim *shim_new(const char *flags);
void shim_free(struct shim **shim);

/* Each call of the interface is between these. leave() gives back 'result', turned into -1 and
 * errno when negative. */
void shim_enter(struct shim *sh);
ssize_t shim_leave(struct shim *sh, ssize_t result);

/* Makes the stack, with 'local' (NULL: the default) as its address. -errno. */
int shim_start(struct shim *sh, const struct endpoint *local);
struct net_stack *shim_stack(struct shim *sh);
/* Lets the stack do all that is due now. */
void shim_pump(struct shim *sh);
/* Moves time on, through everything that happens until then. */
void shim_advance(struct shim *sh, uint64_t until_us);
/* When something happens next; UINT64_MAX: nothing ever will. */
uint64_t shim_next_us(struct shim *sh);
/* Blocks the call until something has changed; false: 'deadline_us' has passed, or nothing can
 * change any more. */
bool shim_wait(struct shim *sh, uint64_t deadline_us);

/* --- socket.c --- */

/* NULL: bad descriptor. */
struct sock *sock_of(struct shim *sh, int fd);
/* A descriptor for a new socket; -errno. */
int sock_new(struct shim *sh, enum sock_kind kind, int domain, struct sock **ret);
int sock_give_fd(struct shim *sh, struct sock *s);
/* The descriptor of 's', if it has one, is free again. */
void sock_drop_fd(struct shim *sh, struct sock *s);
void sock_free(struct sock *s);
/* Tells those that poll 's' that 'events' (EPOLLIN, …) may have come. */
void sock_wake(struct sock *s, uint32_t events);
/* What poll() says of it. */
uint32_t sock_events(struct sock *s);

/* 0 or -errno. */
int endpoint_from_sockaddr(int domain, const struct sockaddr *addr, socklen_t size,
                           struct endpoint *ret);
void endpoint_to_sockaddr(int domain, const struct endpoint *e, struct sockaddr *addr,
                          socklen_t *size);

bool byte_queue_push(struct byte_queue *q, const void *data, size_t size);
/* Copies without taking. */
size_t byte_queue_peek(const struct byte_queue *q, void *to, size_t size);
void byte_queue_drop(struct byte_queue *q, size_t size);
void byte_queue_free(struct byte_queue *q);

/* --- tcp_socket.c; all return -errno, -EAGAIN where a blocking call would block --- */

int tcp_sock_listen(struct sock *s, int backlog);
int tcp_sock_accept(struct sock *s, struct sock **ret);
int tcp_sock_connect(struct sock *s, const struct endpoint *peer);
ssize_t tcp_sock_receive(struct sock *s, void *buf, size_t size, int flags);
ssize_t tcp_sock_send(struct sock *s, const void *buf, size_t size, int flags);
/* The stack has had its turn with what was sent. Until it is acknowledged or more is sent, only
 * MSG_MORE holds it back (as Linux). */
void tcp_sock_sent(struct sock *s);
/* What waits goes, corked or not: as Linux when TCP_NODELAY is set. */
void tcp_sock_push(struct sock *s);
int tcp_sock_shutdown(struct sock *s, int how);
void tcp_sock_disconnect(struct sock *s);
/* The descriptor is gone; frees 's' now or when the connection is over. */
void tcp_sock_close(struct sock *s);
/* After each step of the stack. */
void tcp_sock_step(struct sock *s);
uint32_t tcp_sock_events(struct sock *s);
uint32_t tcp_sock_send_buffer(const struct sock *s);
/* Queued, and not sent. */
uint32_t tcp_sock_unsent_bytes(const struct tcp_conn *c);
/* As in struct tcp_info. */
int tcp_sock_state(const struct sock *s);
struct tcp_conn *tcp_sock_conn(const struct sock *s);
/* Hands options that the stack knows to the connection. */
void tcp_sock_apply(struct sock *s);
/* Likewise to a listener, for connections from now on. */
void tcp_sock_listener_apply(struct sock *s);

/* --- udp_socket.c --- */

int udp_sock_bind(struct sock *s);
ssize_t udp_sock_receive(struct sock *s, void *buf, size_t size, int flags,
                         struct endpoint *ret_peer);
ssize_t udp_sock_send(struct sock *s, const void *buf, size_t size, const struct endpoint *peer);
void udp_sock_close(struct sock *s);
/* An ICMP error may be about a UDP socket: RFC 1122 §4.1.3.3. */
void udp_sock_icmp(struct shim *sh, struct bytes packet);

/* --- options.c, info.c --- */

void options_init(struct sock *s);
int options_set(struct sock *s, int level, int name, const void *value, socklen_t size);
int options_get(struct sock *s, int level, int name, void *value, socklen_t *size);
/* An IP packet has left the stack (user: the shim), or was handed to it. */
void stats_sent(void *user, struct bytes packet);
void stats_received(struct shim *sh, struct bytes packet);
/* The connection is open. */
void stats_begin(struct sock *s);
/* After each step of the stack. */
void stats_step(struct sock *s);
/* Fills at most '*size' bytes of a struct tcp_info. */
void info_get(struct sock *s, void *value, socklen_t *size);

/* --- poll.c --- */

int poll_call(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms);
int epoll_create_call(void *userdata, int size);
int epoll_ctl_call(void *userdata, int epfd, int op, int fd, struct epoll_event *event);
int epoll_wait_call(void *userdata, int epfd, struct epoll_event *events, int max, int timeout_ms);
int pipe_call(void *userdata, int fds[2]);
int splice_call(void *userdata, int fd_in, loff_t *off_in, int fd_out, loff_t *off_out, size_t size,
                unsigned int flags);
ssize_t pipe_read(struct sock *s, void *buf, size_t size);
ssize_t pipe_write(struct sock *s, const void *buf, size_t size);

#endif
