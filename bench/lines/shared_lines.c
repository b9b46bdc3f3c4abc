/* Two shards of one data plane serve viewers, each on its core; prints every cache line that one of
 * them wrote and the other touched meanwhile. With "--control" both also write one line on purpose,
 * which must be found.
 *
 * Prints a line for each: LINE address accesses writes read-at write-at accesses writes read-at
 * write-at, in hexadecimal where it is code; and in the end: TOTAL lines packets packets. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "bench/lines/trace.h"
#include "bench/micro/scale.h"
#include "common/clock.h"

enum { VIEWERS = 64, PART_BYTES = 150000, FRAME_BYTES = 1448, SECONDS = 2 };

static struct scale scale;
static bool has_control;
static atomic_uint control;

/* The server's turns are traced; the peer, and buffers on their way back from it, would be
 * elsewhere. */
static void run(struct bench *b, unsigned shard, uint64_t until_us)
{
    struct packet_in packets[32];
    struct port_queue *q = b->peer.queue;

    while (clock_monotonic_us() < until_us) {
        trace_begin(shard);
        shard_read_clocks(&b->server.shard);
        (void)shard_turn(&b->server.shard);
        if (has_control)
            atomic_fetch_add(&control, 1);
        trace_end();
        unsigned count;
        do {
            count = peer_poll(&b->peer, packets, 32, b->server.shard.now_us);
            trace_begin(shard);
            q->driver->rx_done(q, packets, count);
            trace_end();
            q->driver->tx_flush(q, b->server.shard.now_us);
        } while (count == 32);
        b->timed_packets = b->peer.packets;
    }
}

static void print_line(const struct trace_line *l, void *user)
{
    (void)user;
    printf("LINE %" PRIxPTR, l->address);
    for (int i = 0; i < TRACE_THREADS; i++)
        printf(" %" PRIu64 " %" PRIu64 " %" PRIxPTR " %" PRIxPTR, l->accesses[i], l->writes[i],
               l->read_at[i], l->write_at[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct dpdk_config dpdk = {
        .device = "net_ring0", .memory_bytes = BENCH_PORT_MEMORY, .use_hugepages = false};
    const struct scale_phase phase = {.run = run, .seconds = SECONDS};

    has_control = argc == 2 && strcmp(argv[1], "--control") == 0;
    if (dpdk_init(&dpdk) < 0 || scale_open(&scale, VIEWERS, PART_BYTES, FRAME_BYTES) < 0 ||
        scale_phase_run(&scale, &phase, 3) < 0)
        return 1;
    uint64_t total = trace_report(print_line, NULL);
    printf("TOTAL %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", total, scale.shards[0].timed_packets,
           scale.shards[1].timed_packets);
    scale_close(&scale);
    return 0;
}
