/* scale.h - two shards of one data plane, each with a queue of its own, a peer of its own in the
 * same thread, and a core of its own. */
#ifndef BENCH_MICRO_SCALE_H
#define BENCH_MICRO_SCALE_H

#include "bench/micro/bench.h"

enum { SCALE_SHARDS = 2 };

struct scale {
    struct bench shards[SCALE_SHARDS];
    struct port *ports[2];
};

/* What one shard does in a phase, on its own thread: until 'until_us'. */
struct scale_phase {
    void (*run)(struct bench *b, unsigned shard, uint64_t until_us);
    uint64_t seconds;
};

/* DPDK is there. 0 or -errno, on stderr. */
int scale_open(struct scale *s, uint32_t viewers, uint32_t part_bytes, uint16_t frame_bytes);
/* Each shard of the mask (1, 2 or 3) on its thread and core; returns when all have ended and their
 * viewers are at rest. 0 or -EAGAIN. */
int scale_phase_run(struct scale *s, const struct scale_phase *phase, unsigned mask);
void scale_close(struct scale *s);

#endif
