/* disturbance.h - what happens to a path between two hosts while they talk: stalls, delay spikes,
 * a narrower path with routers that say so, and forged segments from somebody who sees the ports.
 *
 * Drawn from a seed; a path is disturbed a bounded number of times, each for a bounded time, so
 * that no connection has a reason to fail. */
#ifndef TESTS_SIM_DISTURBANCE_H
#define TESTS_SIM_DISTURBANCE_H

#include "tests/sim/world.h"

enum disturbance_kind {
    DISTURBANCE_STALL = 1 << 0,   /* nothing passes, one way or both, for up to 5 s */
    DISTURBANCE_SPIKE = 1 << 1,   /* up to 2 s more delay, then the old one again */
    DISTURBANCE_NARROW = 1 << 2,  /* large packets vanish, and ICMP tells their sender */
    DISTURBANCE_FORGERY = 1 << 3, /* resets, SYNs and data at random sequence numbers */
    DISTURBANCE_ALL = (1 << 4) - 1
};

struct disturbance {
    struct world *world;
    struct port *ports[2];
    struct sim_impairment normal[2];
    uint64_t random;
    uint32_t kinds; /* enum disturbance_kind */
    uint32_t left;  /* stalls and spikes to come */
    uint32_t forgeries_left;
    uint64_t next_us;
    bool is_active; /* a stall or spike is on */
    uint16_t mtu_min;
    uint16_t path_mtu; /* of both ways; 0: the link's */
};

/* Impairs both ports (borrowed, like 'world') as given and takes the wire's capture. Nothing else
 * happens before disturbance_begin(). */
void disturbance_init(struct disturbance *d, struct world *world, struct port *const ports[2],
                      const struct sim_impairment normal[2], uint64_t seed, bool is_v6);
/* From now on, 'kinds' happen. */
void disturbance_begin(struct disturbance *d, uint32_t kinds);
/* Begins and ends what is due at world->now_us. */
void disturbance_step(struct disturbance *d);
/* Back to normal for good; a narrowed path stays narrow. */
void disturbance_end(struct disturbance *d);

#endif
