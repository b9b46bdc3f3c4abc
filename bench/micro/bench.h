/* bench.h - one server, one peer, and what was measured of them; what the measuring programs of
 * this folder share. */
#ifndef BENCH_MICRO_BENCH_H
#define BENCH_MICRO_BENCH_H

#include <stdatomic.h>
#include <stdio.h>

#include "bench/micro/peer.h"
#include "bench/micro/server.h"
#include "bench/micro/stack.h"
#include "drivers/port/dpdk/dpdk.h"

enum { BENCH_PORT_MEMORY = 512 << 20, BENCH_WARM_UP_US = 500000 };

/* One server and one peer on two ends of a pair. */
struct bench {
    _Alignas(64) struct server server;
    struct peer peer;
    struct counters peer_counters;
    struct port *ports[2];
    uint64_t server_cycles;
    uint64_t timed_packets; /* that server_cycles were spent on */
    uint64_t timed_bytes;
    uint64_t timed_responses;
    bool has_cpu_clock; /* see cycles_now() */
    double tsc_per_ns;
    double best_cycles;       /* per packet, of the best window */
    double connection_cycles; /* from SYN to accepted */
    uint64_t connection_bytes;
    uint32_t active;
    atomic_bool stop;
    atomic_uint_fast64_t packets; /* published by the peer's thread */
    atomic_uint_fast64_t payload_bytes;
};

/* All viewers shake hands; each path is fetched once, to learn the size of what comes. 0 or -errno,
 * on stderr. */
int bench_connect(struct bench *b);
/* Every active viewer asks. */
void bench_ask_all(struct bench *b);
/* One round of server and peer, timed. */
void bench_round(struct bench *b);
/* Rounds until then; b->best_cycles is of the best window. */
void bench_run_windows(struct bench *b, uint64_t until_us);
/* Turns until the peer has had nothing to do for a while. */
void bench_settle(struct bench *b);
/* Forgets what was timed. */
void bench_reset(struct bench *b);
/* What the server counted, to stderr. */
void bench_print_counters(const struct bench *b);
/* Nails the calling thread to a core. */
void bench_pin_to(unsigned core);

#endif
