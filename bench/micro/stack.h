/* stack.h - the packet path measured without a NIC: our server and an in-process peer, joined by
 * rings of real DPDK packets. */
#ifndef BENCH_MICRO_STACK_H
#define BENCH_MICRO_STACK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum stack_mode {
    STACK_COST,  /* one thread; only the server's turns are timed */
    STACK_RING,  /* server and peer on a core each, wall clock */
    STACK_BURST, /* one thread: a part is finished for which all viewers wait */
    STACK_SCALE, /* two shards of one data plane on two queues, alone and together */
    STACK_LIMIT  /* no stack at all: the loop that bounds STACK_RING */
};

struct stack_options {
    enum stack_mode mode;
    uint32_t viewers;
    uint32_t active;   /* viewers that ask; the others only hold their connections */
    bool has_playlist; /* they ask for the playlist, not for parts */
    uint32_t part_bytes;
    uint32_t
        frame_bytes; /* payload per frame: 1448, or more as a segmentation-offload port takes it */
    uint32_t loss_ppm; /* STACK_COST: of the packets to the viewers, at random */
    uint32_t seconds;
};

/* Runs and prints one JSON object to 'out'. 0, or -errno with the reason on stderr. */
int stack_run(const struct stack_options *options, FILE *out);

/* The STACK_SCALE part, in scale.c. */
int scale_run(const struct stack_options *options, FILE *out);

/* The STACK_LIMIT part, in limit.c. */
int limit_run(const struct stack_options *options, FILE *out);

#endif
