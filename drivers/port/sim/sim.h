/* sim.h - a seeded virtual wire between ports, for tests: loss, congestion marks, delay, jitter,
 * reordering, duplication, corruption, rate and MTU, in virtual time.
 *
 * A wire is a hub with any number of ports; each port takes the frames for its MAC address and
 * multicast. The same seed and the same calls give the same frames. Every frame is copied into
 * an allocation of its own size, so that a sanitizer sees any read past its end. One thread. */
#ifndef DRIVERS_PORT_SIM_SIM_H
#define DRIVERS_PORT_SIM_SIM_H

#include "drivers/port/port.h"

struct sim_wire;

/* What happens to frames that one port sends. Zeroed: a perfect wire. Chances are in parts per
 * million of frames. */
struct sim_impairment {
    uint32_t loss_ppm;
    uint32_t mark_ppm; /* of ECN-capable packets, congestion experienced (RFC 3168 §5) */
    uint32_t duplicate_ppm;
    /* One bit flips somewhere behind the Ethernet header: what a link's own checksum missed. Not
     * in ARP messages, which have no other one. */
    uint32_t corrupt_ppm;
    uint32_t reorder_ppm; /* held back by up to reorder_us, so that later frames overtake */
    uint64_t reorder_us;
    uint64_t delay_us;
    uint64_t jitter_us;   /* added to the delay, uniformly, without reordering */
    uint64_t rate_bps;    /* 0: no limit */
    uint32_t queue_bytes; /* that wait for the rate before frames are dropped; 0: no limit */
    uint32_t mark_bytes;  /* likewise before ECN-capable packets are marked; 0: they are not */
};

/* Zeroed members mean what their comment says. */
struct sim_port_config {
    uint8_t mac[6];
    uint16_t mtu;            /* 0: 1500 */
    uint32_t offloads;       /* enum port_offload that the port has */
    uint16_t extents_max;    /* 0: 16 */
    uint16_t queues;         /* 0: 1; frames are spread by a symmetric hash of their flow */
    uint32_t tso_bytes_max;  /* 0: 65,000 when PORT_OFFLOAD_TSO */
    uint32_t tx_packets_max; /* not yet delivered; 0: no limit. Control frames may go 16 over */
};

struct sim_stats {
    uint64_t sent; /* wire packets, after segmentation */
    uint64_t lost; /* by loss_ppm or a full queue */
    uint64_t marked;
    uint64_t corrupted;
    uint64_t duplicated;
    uint64_t reordered;
    uint64_t oversized; /* refused: above the MTU */
    uint64_t bytes;
};

/* NULL: no memory. Returns owned; free it after its ports are closed. */
struct sim_wire *sim_wire_new(uint64_t seed);
void sim_wire_free(struct sim_wire **wire);

/* 0 or -ENOMEM. The port is closed by its driver's close(). */
int sim_port_new(struct sim_wire *wire, const struct sim_port_config *config, struct port **ret);

/* Applies 'impairment' (copied) to what 'from' sends from now on. */
void sim_impair(struct port *from, const struct sim_impairment *impairment);

/* What 'from' sends shares the rate and the queue of 'of' (of the same wire, open for as long):
 * one bottleneck for both. Its own rate is ignored. */
void sim_share_rate(struct port *from, struct port *of);

/* Frames above 'mtu' (of the IP packet) that 'from' sends vanish on the way; 0: none do. */
void sim_path_mtu(struct port *from, uint16_t mtu);

/* What 'p' has sent so far. */
const struct sim_stats *sim_port_stats(const struct port *p);

/* When the next frame arrives anywhere on the wire, in us; UINT64_MAX: none is under way. */
uint64_t sim_wire_next_us(const struct sim_wire *wire);

/* Puts a copy of a raw frame into the receive queue of 'to', to arrive at 'at_us'. -ENOMEM. */
int sim_inject(struct port *to, struct bytes frame, uint64_t at_us);

/* Calls 'capture' with every frame that any port puts on the wire, before impairment. */
void sim_capture(struct sim_wire *wire,
                 void (*capture)(void *user, const struct port *from, struct bytes frame,
                                 uint64_t now_us),
                 void *user);

#endif
