/* net.h - our own TCP/IP over one queue of a packet port: a transport (drivers/net/transport.h).
 *
 * Sans-I/O: frames come from and go to the port queue, time is what poll(), flush() and the
 * wheel hand in, randomness is transport_env.random. All memory is taken by net_new(). One
 * stack belongs to one shard, which calls poll() and flush() each turn and polls the wheel. */
#ifndef DATAPLANE_NET_NET_H
#define DATAPLANE_NET_NET_H

#include <assert.h>

#include "drivers/net/transport.h"
#include "drivers/port/port.h"

enum { NET_ADDRESSES_MAX = 8, NET_KERNEL_PER_SECOND = 20000 };

/* An address with the length of its on-link prefix. All-zero is "none". */
struct net_address {
    uint8_t addr[16]; /* network order; IPv4 in the first four bytes, the rest zero */
    uint8_t family;   /* 4, 6, or 0: none */
    uint8_t prefix_bits;
};

/* What becomes of the congestion window while nothing is sent. */
enum net_idle_restart {
    NET_IDLE_RESTART_KEEP, /* it stays valid for five minutes (RFC 7661) */
    NET_IDLE_RESTART_DECAY /* it halves with each timeout, to the initial one (RFC 2861, Linux) */
};

/* Whether larger packets than a path is known to take are tried (RFC 4821; Linux's
 * tcp_mtu_probing is 1, 0, 2). */
enum net_mtu_probing {
    NET_MTU_PROBING_BLACK_HOLE, /* once full segments seem to vanish */
    NET_MTU_PROBING_OFF,
    NET_MTU_PROBING_ALWAYS
};

/* Explicit congestion notification (RFC 3168). */
enum net_ecn {
    NET_ECN_PASSIVE, /* where the peer asks for it, as Linux */
    NET_ECN_OFF,
    NET_ECN_ON /* connections that we open ask for it too */
};

/* Something that one stack heard and the stacks of the port's other queues must know: a card
 * hands ARP, neighbour discovery and ICMP to one queue, whoever asked. Small enough for a
 * mailbox message (struct message.args). */
struct net_news {
    uint8_t kind; /* the stack's */
    uint8_t family;
    uint16_t number;
    uint32_t seq;
    uint16_t ports[2];
    uint8_t mac[6];
    uint8_t address[2][16];
};
static_assert(sizeof(struct net_news) <= 56, "fits a mailbox message");

/* All-zero members mean the default that their comment names. */
struct net_config {
    struct net_address addresses[NET_ADDRESSES_MAX]; /* our own */
    uint32_t address_count;
    struct net_address gateway_v4; /* prefix_bits unused; family 0: none */
    struct net_address gateway_v6; /* none: learned from router advertisements */
    uint8_t dad_transmits;  /* questions before an IPv6 address is used (RFC 4862 §5.1); 0: none */
    bool use_slaac;         /* IPv6 addresses from router advertisements too (RFC 4862 §5.5) */
    uint16_t vlan;          /* 802.1Q id of all frames; 0: untagged */
    uint16_t mtu;           /* 0: the port's; never above the port's */
    const char *congestion; /* "cubic", "reno" or "bbr", borrowed; NULL: "cubic" */
    uint32_t bbr_max;       /* connections with BBR, others have CUBIC; 0: streams_max */
    enum net_idle_restart idle_restart;
    enum net_mtu_probing mtu_probing;
    enum net_ecn ecn;
    bool is_unpaced;                    /* windows go out as fast as they open */
    uint32_t receive_window_bytes;      /* per stream, at first; 0: 64 KiB, as Linux */
    uint32_t receive_window_max_bytes;  /* what it may grow to; 0: as receive_window_bytes, or
                                           6 MiB when that is 0 too */
    uint32_t backlog_max;               /* half-open connections, then SYN cookies; 0: a quarter
                                           of streams_max */
    uint32_t backlog_per_source_max;    /* of one address, or IPv6 /64; 0: an eighth of
                                           backlog_max, within 8 and 65,535 */
    uint32_t extent_chunks_max;         /* of 7 extents each; 0: 2 a stream and 1,024 */
    uint32_t reassembly_buffers_max;    /* of 2 KiB; 0: a quarter of streams_max and 1,024 */
    uint32_t reassembly_per_stream_max; /* 0: an eighth of all, within 160 and 3,072 */
    uint32_t keepalive_idle_ms;         /* silence before the first probe; 0: 60,000 */
    uint32_t keepalive_interval_ms;     /* between probes; 0: 10,000 */
    uint32_t keepalive_probes_max;      /* unanswered, then -ETIMEDOUT; 0: 6 */
    uint32_t retransmits_max;           /* in a row, then -ETIMEDOUT; 0: 10 */
    uint32_t time_wait_ms;              /* 0: 60,000 */
    uint32_t persisting_max; /* connections whose peers keep their window closed; 0: an eighth of
                                streams_max, at least 16 */
    uint32_t persist_ms;     /* above that many, one that did so for as long is reset; 0: 30,000 */
    /* Passes 'news' (borrowed) on to the stacks of the other queues, which take it with
     * net_hear() on their shards. Called at most 1,000 times a second. NULL: there is one. */
    void (*share)(void *user, const struct net_news *news);
    void *share_user;
    /* The exception path. Gives the kernel's stack the frame 'head' and 'rest' (borrowed): 0 or
     * -errno, dropped. Takes a frame that it sends: its size, 0: none waits. NULL: none. */
    int (*kernel_put)(void *user, struct bytes head, struct bytes rest);
    size_t (*kernel_get)(void *user, uint8_t *buffer, size_t size);
    void *kernel_user;
    uint32_t kernel_per_second; /* frames to the kernel; 0: NET_KERNEL_PER_SECOND */
};

/* Reads "192.0.2.10/24,2001:db8::10/64" into c->addresses. -EINVAL: not such a list or without
 * an address; -ENOSPC: more than NET_ADDRESSES_MAX. 'c' is untouched on failure. */
int net_config_set_addresses(struct net_config *c, const char *text);

/* Reads "192.0.2.1,fe80::1" (at most one a family, "" is none) into the gateways. -EINVAL as
 * above. */
int net_config_set_gateways(struct net_config *c, const char *text);

/* Makes a stack on 'queue' (borrowed, as is 'env', for its lifetime; 'config' is copied). 0, or
 * -EINVAL: no address, or an mtu below 576 (IPv4) or 1280 (IPv6); -ENOMEM. Freed by
 * (*ret)->ops->free(). */
int net_new(const struct net_config *config, struct port_queue *queue,
            const struct transport_env *env, struct transport **ret);

/* The connections that 'local' accepts from now on have the congestion control 'name'. -ENOENT:
 * nobody listens there, or there is no such. */
int net_listener_set_congestion(struct transport *t, const struct endpoint *local,
                                const char *name);

/* Takes what another queue's stack shared; on the shard of 't'. */
void net_hear(struct transport *t, const struct net_news *news, uint64_t now_us);

/* What is in use of each pool: for gauges, and for tests that want the baseline back. */
struct net_usage {
    uint32_t streams;
    uint32_t half_open;
    uint32_t time_waits;
    uint32_t extent_chunks;
    uint32_t ranges;
    uint32_t reassembly_buffers;
    uint32_t bbrs;
    uint32_t pending_packets; /* waiting for a neighbour's address */
};
void net_usage(const struct transport *t, struct net_usage *ret_usage);

#endif
