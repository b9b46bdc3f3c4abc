/* neighbour.h - who on the link has which address: the cache behind ARP (RFC 826) and
 * neighbour discovery (RFC 4861 §7.3), with the packets that wait for an answer.
 *
 *   FREE        nothing known
 *   INCOMPLETE  asked, no answer yet; a few packets wait
 *   REACHABLE   confirmed within the last 30 s
 *   STALE       has an address that nobody confirmed lately; used, and on first use:
 *   DELAY       used for 5 s in the hope that a higher protocol confirms it
 *   PROBE       asked directly, at its known address
 *
 * A message that nobody asked for never replaces a known link address: it only makes us ask
 * the one we know, and when that stays silent the entry is resolved from scratch. Nor does who
 * merely speaks to us, or is merely asked for, push out a neighbour that we use. */
#ifndef DATAPLANE_NET_NEIGHBOUR_H
#define DATAPLANE_NET_NEIGHBOUR_H

#include "common/wheel.h"
#include "dataplane/net/pool.h"
#include "drivers/port/port.h"

struct net_stack;

enum {
    NEIGHBOUR_WAYS = 4,
    NEIGHBOUR_SETS = 128,
    NEIGHBOURS_MAX = NEIGHBOUR_WAYS * NEIGHBOUR_SETS,
    NEIGHBOUR_PENDING_MAX = 4,  /* packets that wait for one neighbour */
    NEIGHBOUR_PENDING_POOL = 64 /* and for all */
};

enum neighbour_state {
    NEIGHBOUR_FREE,
    NEIGHBOUR_INCOMPLETE,
    NEIGHBOUR_REACHABLE,
    NEIGHBOUR_STALE,
    NEIGHBOUR_DELAY,
    NEIGHBOUR_PROBE
};

struct neighbour {
    uint8_t addr[16];
    uint8_t mac[6];
    uint8_t family;
    uint8_t state;       /* enum neighbour_state */
    uint32_t generation; /* changes whenever 'mac' or 'addr' does, and is no other entry's */
    uint8_t probes;
    uint8_t pending_count;
    uint64_t valid_until_us; /* until then 'mac' may be used without a further look; 0: not */
    uint64_t deadline_us;    /* of INCOMPLETE, DELAY, PROBE */
    uint64_t used_us;
    uint32_t pending_head; /* in the pending pool, oldest first */
};

struct neighbours {
    struct net_stack *stack;
    struct neighbour entries[NEIGHBOURS_MAX];
    struct pool pending;
    uint32_t generation; /* the last one given, to whichever entry */
    struct timer timer;
};

/* A frame that is ready but for its destination: header, and what tx_commit() wants. Its
 * extents are borrowed. */
struct net_packet {
    uint8_t header[PORT_HEADER_MAX];
    struct packet_out out;
};

int neighbours_init(struct neighbours *n, struct net_stack *stack);
void neighbours_fini(struct neighbours *n);

/* The index of the next hop's entry for 'destination', which it makes and resolves when there
 * is none. -EHOSTUNREACH: no route. */
int neighbour_route(struct net_stack *s, uint8_t family, const uint8_t *destination,
                    uint32_t *ret_index);

/* Whether 'mac' may be used now; moves the entry's state on, and asks when it must. */
bool neighbour_is_usable(struct net_stack *s, uint32_t index);

/* A higher protocol made progress through this neighbour. */
void neighbour_confirm(struct net_stack *s, uint32_t index);

/* A higher protocol hears nothing back: time to ask whether the neighbour is still there. */
void neighbour_doubt(struct net_stack *s, uint32_t index);

/* Puts the destination into the packet and sends it, or keeps it until the neighbour answers.
 * Drops (counted) what cannot be kept. */
void neighbour_send(struct net_stack *s, uint32_t index, const struct net_packet *packet,
                    bool is_control);

enum neighbour_news {
    NEIGHBOUR_SEEN,    /* it asked us */
    NEIGHBOUR_CLAIMED, /* it told everybody, asked by nobody: gratuitous ARP, unsolicited NA */
    NEIGHBOUR_ANSWERED /* it answered a question, or claims so (ARP reply, advertisement) */
};

/* Takes in what 'addr' said about its link address. */
void neighbour_learn(struct net_stack *s, uint8_t family, const uint8_t *addr,
                     const uint8_t mac[static 6], enum neighbour_news news);

#endif
