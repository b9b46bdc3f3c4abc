/* stack.h - what the parts of the stack share: the stack itself, a received packet on its way
 * up, and the ways down. Internal to dataplane/net. */
#ifndef DATAPLANE_NET_STACK_H
#define DATAPLANE_NET_STACK_H

#include "common/counters.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/neighbour.h"
#include "dataplane/net/net.h"
#include "dataplane/net/siphash.h"
#include "dataplane/net/tcp/tcp.h"
#include "dataplane/net/wire.h"

enum {
    OWN_LEARNED_MAX = 4,
    OWN_ADDRESSES_MAX = NET_ADDRESSES_MAX + 1 + OWN_LEARNED_MAX, /* and the link-local one */
    ROUTERS_MAX = 4
};

enum own_state {
    OWN_FREE,
    OWN_TENTATIVE, /* being asked for: nothing is sent from it, nothing taken for it */
    OWN_USABLE,
    OWN_DUPLICATE, /* somebody else has it */
    OWN_STATES
};

struct own_address {
    struct net_address address;
    uint8_t state; /* enum own_state */
    uint8_t dad_left;
    bool is_on_link; /* its prefix */
    uint64_t dad_due_us;
    uint64_t preferred_until_us; /* then others are preferred; UINT64_MAX: forever */
    uint64_t valid_until_us;
};

/* An IPv6 router that advertised itself. */
struct router {
    uint8_t addr[16];
    uint64_t until_us; /* 0 or past: free */
    int8_t preference; /* RFC 4191: 1, 0, -1 */
    bool is_silent;    /* did not answer when asked */
};

/* A prefix information option, RFC 4861 §4.6.2. */
struct nd_prefix {
    uint8_t addr[16];
    uint8_t bits;
    uint8_t flags;
    uint32_t valid_s;
    uint32_t preferred_s;
};

enum { UDP_BINDS_MAX = 16, EXTENTS_PER_PACKET_MAX = 32, CONTROL_BLOBS = 32 };

/* So many events a second, with a burst; see rate_take(). */
struct rate {
    uint64_t filled_us;
    uint32_t tokens;
    uint32_t per_second;
};

struct udp_bind {
    struct endpoint local;
    const struct datagram_events *events;
    void *user;
};

/* Where the latest datagram went; good for the same turn of the loop only. */
struct udp_way {
    uint64_t now_us;
    uint8_t addr[16];
    uint8_t family; /* 0: none */
    uint32_t neighbour;
    uint32_t generation; /* of that neighbour's entry then */
};

struct net_stack {
    struct transport base;
    const struct port_driver *driver;
    struct port_queue *queue;
    const struct port_info *info;
    const struct transport_env *env;
    struct counters *counters;
    struct wheel *wheel;
    uint64_t now_us;          /* of the latest poll, flush or timer */
    struct net_config config; /* defaults filled in */
    uint16_t mtu;
    uint16_t extents_max; /* per packet */
    uint8_t l2_size;
    bool is_announced;      /* our addresses, to the link */
    bool is_kicked;         /* 'kick' is armed so that the shard polls again */
    uint8_t link_local[16]; /* fe80::/64 with the EUI-64 of our MAC; used when we have IPv6 */
    bool has_v6;
    struct timer kick;
    struct timer solicit; /* router solicitations at start, and expiry of a learned router */
    uint8_t solicits_sent;
    struct router routers[ROUTERS_MAX];
    struct own_address own[OWN_ADDRESSES_MAX];
    uint32_t own_count;
    uint32_t own_fixed; /* the first ones: configured, link-local */
    struct timer own_timer;
    bool is_leader; /* speaks for the stacks of all queues: DAD, joins, gauges */
    struct timer mld_timer;
    uint8_t mld_changes_left;
    uint64_t mld_v1_until_us;
    uint64_t defended_us; /* an IPv4 address of ours, last */
    struct siphash_key flow_key;
    struct siphash_key isn_key;
    struct rate icmp_rate;
    struct rate solicit_rate;
    struct rate conflict_rate;  /* probes that a contradiction causes */
    struct rate challenge_rate; /* RFC 5961 §7 */
    struct rate reset_rate;
    struct rate share_rate;
    struct rate kernel_rate;
    uint32_t kernel_puts_left;       /* in this turn */
    struct blob_pool *kernel_blobs;  /* frames from the kernel; NULL: there is no such path */
    struct blob_pool *control_blobs; /* payload of ICMP messages that do not fit a header */
    struct udp_bind binds[UDP_BINDS_MAX];
    uint32_t bind_count;
    struct udp_way udp_way;
    struct neighbours neighbours;
    struct tcp tcp;
    struct checksum_memo slice_sums;
};

/* One packet on its way up. All pointers are into the frame. */
struct net_rx {
    struct bytes frame;   /* all of it, from the Ethernet header on */
    struct bytes l3;      /* the IP packet, without padding */
    struct bytes payload; /* behind the IP headers */
    const uint8_t *source_mac;
    const uint8_t *source;
    const uint8_t *destination;
    uint32_t flags; /* packet_in_flags */
    uint8_t l2_size;
    uint8_t family;
    uint8_t protocol;
    uint8_t hop_limit;
    bool is_multicast; /* link or IP, broadcast included */
    bool has_fragment; /* came with a fragment header, though whole */
    bool has_router_alert;
    bool is_l2_multicast; /* the frame went to many link addresses */
};

/* The ECN field of its IP header. */
static inline uint8_t net_rx_ecn(const struct net_rx *rx)
{
    uint8_t octet = rx->l3.ptr[1];

    return (rx->family == 4 ? octet : octet >> 4) & IP_ECN_MASK;
}

static inline struct net_stack *net_stack_of(struct transport *t)
{
    return (struct net_stack *)(void *)t;
}
static_assert(offsetof(struct net_stack, base) == 0, "net_stack_of() casts");

/* Counts one in the named counter. */
#define NET_COUNT(stack, name) counter_inc(&(stack)->counters->name)

static inline size_t address_size(uint8_t family)
{
    return family == 4 ? 4 : 16;
}

static inline bool address_is_equal(uint8_t family, const uint8_t *a, const uint8_t *b)
{
    return family == 4 ? memcmp(a, b, 4) == 0 : memcmp(a, b, 16) == 0;
}

/* Takes one token; false: above the rate. */
bool rate_take(struct rate *r, uint64_t now_us);

/* Makes the shard's next sleep short, so that poll() runs again soon. */
void net_kick(struct net_stack *s);

unsigned net_poll(struct transport *t, uint64_t now_us, unsigned budget);
void net_flush(struct transport *t, uint64_t now_us);
int net_wait_fd(struct transport *t);
bool net_has_work(const struct transport *t);
void net_free(struct transport **t);

/* One frame from the port. */
void ethernet_input(struct net_stack *s, const struct packet_in *packet);

void arp_input(struct net_stack *s, const struct net_rx *rx, struct bytes message);
void ipv4_input(struct net_stack *s, struct net_rx *rx, struct bytes packet);
void ipv6_input(struct net_stack *s, struct net_rx *rx, struct bytes packet);
/* Hands the payload to its protocol; 'next_header_at' is where the packet names it. */
void ip_deliver(struct net_stack *s, const struct net_rx *rx, size_t next_header_at);
/* Walks the extension headers: sets payload, protocol and has_fragment of 'rx', and where the
 * last header names the protocol. 0, or -1: drop, counted. */
int ipv6_extensions(struct net_stack *s, struct net_rx *rx, size_t *ret_next_header_at);
void icmp_input(struct net_stack *s, const struct net_rx *rx);
void icmp6_input(struct net_stack *s, const struct net_rx *rx);
void nd_input(struct net_stack *s, const struct net_rx *rx);
void udp_input(struct net_stack *s, const struct net_rx *rx);

/* To 'mac' when not NULL, else broadcast. */
void arp_request(struct net_stack *s, const uint8_t *target, const uint8_t *mac);
void nd_solicit(struct net_stack *s, const uint8_t *target, const uint8_t *mac);
/* Tells the link about our addresses. */
void arp_announce(struct net_stack *s, const uint8_t *address);
void nd_announce(struct net_stack *s, const uint8_t *address);
void nd_start(struct net_stack *s);
/* Asks whether anybody has an address that is to be ours (RFC 4862 §5.4.2). */
void nd_solicit_own(struct net_stack *s, const uint8_t *address);
void solicited_node_group(const uint8_t *address, uint8_t ret_group[static 16]);

/* --- own_address.c --- */

void own_init(struct net_stack *s);
/* Announces what is usable, and begins to ask for the rest. */
void own_start(struct net_stack *s);
/* Somebody else has or wants 'addr'. True: it was tentative and is given up. */
bool own_conflict(struct net_stack *s, const uint8_t *addr);
void own_prefix(struct net_stack *s, const struct nd_prefix *prefix);

/* --- router.c --- */

/* 'addr' is a default router for so long, 0: no more; 'flags' are those of its advertisement. */
void router_heard(struct net_stack *s, const uint8_t *addr, uint8_t flags, uint16_t lifetime_s);
/* A neighbour, perhaps a router, does not answer. */
void router_silent(struct net_stack *s, const uint8_t *addr);
/* The router to use; NULL: none. */
const uint8_t *router_for(const struct net_stack *s, uint8_t family);

/* --- mld.c --- */

/* Reports our groups, as they changed. */
void mld_join(struct net_stack *s);
void mld_input(struct net_stack *s, const struct net_rx *rx);

/* Says "nothing listens here" about 'rx'. This and the next two keep the rules of RFC 1122
 * §3.2.2 and RFC 4443 §2.4: never about an error, to many, to nobody, above the rate. */
void icmp_port_unreachable(struct net_stack *s, const struct net_rx *rx);
/* "This protocol is not spoken here"; 'at' is where the packet names it. */
void icmp_protocol_unreachable(struct net_stack *s, const struct net_rx *rx, size_t at);
/* IPv6: what is wrong at the octet 'at' of the packet. */
void icmp6_parameter_problem(struct net_stack *s, const struct net_rx *rx, uint8_t code, size_t at);

/* What an ICMP or ICMPv6 error says about a packet that we sent. 'quoted' begins with its
 * transport header. */
enum net_error_kind { NET_ERROR_TOO_BIG, NET_ERROR_UNREACHABLE };
/* False: about no connection of this stack. */
bool tcp_icmp_error(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
                    uint32_t seq, enum net_error_kind kind, uint16_t mtu);
void tcp_input(struct net_stack *s, const struct net_rx *rx);

/* --- news.c: what all stacks of a port must know; each is taken in here and passed on --- */

/* A neighbour answered somebody's question: an ARP reply or a solicited advertisement. */
void news_neighbour(struct net_stack *s, uint8_t family, const uint8_t *addr,
                    const uint8_t mac[static 6]);
void news_router(struct net_stack *s, const uint8_t *addr, uint8_t flags, uint16_t lifetime_s);
void news_prefix(struct net_stack *s, const struct nd_prefix *prefix);
/* True: 'addr' was tentative, and is somebody else's. */
bool news_conflict(struct net_stack *s, const uint8_t *addr);
/* False: about no connection of this stack. */
bool news_icmp_error(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
                     uint32_t seq, enum net_error_kind kind, uint16_t mtu);

/* --- exception.c: the way to the kernel's own stack and back --- */

/* 0 or -ENOMEM; does nothing when the configuration has no such path. */
int exception_init(struct net_stack *s);
/* Hands the frame of 'rx' to the kernel. False: there is no such path. */
bool exception_put(struct net_stack *s, const struct net_rx *rx);
/* Sends what the kernel has to send. Returns how many frames that was. */
unsigned exception_poll(struct net_stack *s);
/* Whether 'local' is where this stack listens or receives. */
bool exception_is_ours(const struct net_stack *s, uint8_t protocol, const struct endpoint *local);

/* --- address.c --- */

/* Ours, and usable. */
bool address_is_own(const struct net_stack *s, uint8_t family, const uint8_t *addr);
/* Ours, or to be ours once nobody else claims it: one may listen there. */
bool address_is_configured(const struct net_stack *s, uint8_t family, const uint8_t *addr);
/* 255.255.255.255, or the last address of one of our prefixes. */
bool address_is_broadcast(const struct net_stack *s, const uint8_t *addr);
bool address_is_on_link(const struct net_stack *s, uint8_t family, const uint8_t *addr);
static inline bool address_is_link_local(const uint8_t *v6)
{
    return v6[0] == 0xfe && (v6[1] & 0xc0) == 0x80;
}
bool address_is_zero(uint8_t family, const uint8_t *addr);
/* The address of ours to use towards 'destination': same prefix first; NULL: none. */
const uint8_t *address_for(const struct net_stack *s, uint8_t family, const uint8_t *destination);

struct endpoint endpoint_of(uint8_t family, const uint8_t *addr, uint16_t port);

/* Whether a bind or listen endpoint takes what is sent to 'family', 'addr', 'port'. IPv6 any is
 * any IPv4 too, as endpoint_parse() says. */
bool endpoint_takes(const struct endpoint *bound, uint8_t family, const uint8_t *addr,
                    uint16_t port);

/* --- output.c --- */

/* Writes Ethernet (destination left open) and IP headers for 'payload_size' bytes behind them.
 * Returns their size; sets the l2, l3 and IPv6 fields of packet->out. */
size_t packet_write_ip(struct net_stack *s, struct net_packet *packet, uint8_t family,
                       const uint8_t *source, const uint8_t *destination, uint8_t protocol,
                       uint8_t hop_limit, size_t payload_size);

/* Puts 'traffic_class' (RFC 2474) into the IP header that packet_write_ip() wrote. */
void packet_set_class(struct net_packet *packet, uint8_t traffic_class);

/* Ethernet alone, to 'mac'. Returns its size. */
size_t packet_write_ethernet(struct net_stack *s, struct net_packet *packet, const uint8_t *mac,
                             uint16_t type);

/* Sends a packet whose destination MAC address is in place. 0 or what the port said. */
int packet_commit(struct net_stack *s, const struct net_packet *packet, bool is_control);

/* Sends a packet to an IP destination through its next hop. -EHOSTUNREACH: no route. */
int packet_route(struct net_stack *s, const struct net_packet *packet, uint8_t family,
                 const uint8_t *destination, bool is_control);

/* The multicast MAC address of an IPv6 multicast address (RFC 2464 §7). */
void multicast_mac_v6(const uint8_t *addr, uint8_t ret_mac[static 6]);

int udp_bind(struct net_stack *s, const struct endpoint *local,
             const struct datagram_events *events, void *user);
int udp_send(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
             const struct extent *extents, size_t count);

#endif
