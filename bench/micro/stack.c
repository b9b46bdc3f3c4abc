#include "bench/micro/stack.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "bench/micro/bench.h"
#include "common/clock.h"

enum {
    IP_TCP_BYTES = 40,
    TIMESTAMP_BYTES = 12,
    PEER_BURST = 32,
    LEARN_TURNS_MAX = 200000,
    BURST_TIMEOUT_US = 5000000,
    CALIBRATION_US = 20000,
    SERVER_CORE = 0,
    SETTLE_US = 100000, /* longer than the server paces or delays anything */
    WINDOW_US = 20000,
    WINDOW_PACKETS_MIN = 5000,
    PEER_CORE = 1
};

/* How often the kernel has taken the core away from this thread. */
static long preemptions(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) < 0 ? 0 : usage.ru_nivcsw;
}

/* The second number of /proc/self/statm, in bytes; 0 when it cannot be read. */
static uint64_t resident_bytes(void)
{
    char line[128] = "";
    FILE *statm = fopen("/proc/self/statm", "re");

    if (statm == NULL)
        return 0;
    char *end = fgets(line, sizeof(line), statm);
    fclose(statm);
    if (end == NULL)
        return 0;
    (void)strtoul(line, &end, 10);
    return strtoul(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The clock of what is measured once, so that a round without a preemption cannot be waited for:
 * the thread's processor time, in units of the TSC. Else the TSC itself, which costs nothing. */
static uint64_t cycles_now(const struct bench *b)
{
    struct timespec used;

    if (!b->has_cpu_clock || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used) < 0)
        return __rdtsc();
    return (uint64_t)(((double)used.tv_sec * 1e9 + (double)used.tv_nsec) * b->tsc_per_ns);
}

/* From here on, processor time counts. */
static void use_cpu_clock(struct bench *b)
{
    uint64_t start = __rdtsc();
    uint64_t start_us = clock_monotonic_us();

    while (clock_monotonic_us() - start_us < CALIBRATION_US)
        ;
    b->tsc_per_ns = (double)(__rdtsc() - start) / (double)(clock_monotonic_us() - start_us) / 1e3;
    b->has_cpu_clock = true;
    b->server_cycles = 0;
}

static void server_turn_timed(struct bench *b)
{
    shard_read_clocks(&b->server.shard);
    uint64_t start = cycles_now(b);
    (void)shard_turn(&b->server.shard);
    b->server_cycles += cycles_now(b) - start;
}

/* The peer's burst. Giving the packets back is the server's cost: with a NIC, its transmit
 * completion frees them on the server's core. */
static unsigned peer_turn_timed(struct bench *b)
{
    struct packet_in packets[PEER_BURST];
    struct port_queue *q = b->peer.queue;
    unsigned count = peer_poll(&b->peer, packets, PEER_BURST, b->server.shard.now_us);

    uint64_t start = cycles_now(b);
    q->driver->rx_done(q, packets, count);
    b->server_cycles += cycles_now(b) - start;
    q->driver->tx_flush(q, b->server.shard.now_us);
    return count;
}

/* What the server counted, for a run that did not go as it should. */
void bench_print_counters(const struct bench *b)
{
    const struct counters *counters = &b->server.counters;
    size_t count;
    const struct counter_info *table = counters_table(&count);

    for (size_t i = 0; i < count; i++) {
        uint64_t value = counters_sum(&counters, 1, &table[i]);
        if (value > 0)
            fprintf(stderr, "leat-bench: %s %lu\n", table[i].name, value);
    }
}

/* Turns until the peer has had nothing to do for a while. */
void bench_settle(struct bench *b)
{
    uint64_t busy_us = b->server.shard.now_us;

    /* Longer than a paced packet waits at the peer's round-trip times. */
    for (int idle = 0; idle < 64 || b->server.shard.now_us - busy_us < SETTLE_US;) {
        server_turn_timed(b);
        idle = peer_turn_timed(b) == 0 ? idle + 1 : 0;
        if (idle == 0)
            busy_us = b->server.shard.now_us;
    }
}

static int connect_all(struct bench *b)
{
    uint64_t before = resident_bytes();

    peer_greet(&b->peer);
    b->peer.queue->driver->tx_flush(b->peer.queue, b->server.shard.now_us);
    bench_settle(b);
    use_cpu_clock(b);
    for (uint32_t i = 0; i < b->peer.viewer_count; i++) {
        peer_connect(&b->peer, i, b->server.shard.now_us);
        if (i % PEER_BURST != PEER_BURST - 1 && i != b->peer.viewer_count - 1)
            continue;
        b->peer.queue->driver->tx_flush(b->peer.queue, b->server.shard.now_us);
        server_turn_timed(b);
        (void)peer_turn_timed(b);
    }
    b->connection_cycles = (double)b->server_cycles / b->peer.viewer_count;
    b->has_cpu_clock = false;
    bench_settle(b);
    b->connection_bytes = (resident_bytes() - before) / b->peer.viewer_count;
    for (uint32_t i = 0; i < b->peer.viewer_count; i++)
        if (!peer_is_established(&b->peer, i)) {
            fprintf(stderr, "leat-bench: viewer %u of %u could not connect\n", i,
                    b->peer.viewer_count);
            return -ECONNREFUSED;
        }
    return 0;
}

/* Asks for each path once, to learn how long its response is with its head. */
static int learn_sizes(struct bench *b)
{
    b->peer.is_learning = true;
    for (uint32_t i = 0; i < b->peer.path_count; i++) {
        uint32_t path = i; /* viewer 0 starts with path 0 */
        uint64_t before = peer_received(&b->peer, 0);
        peer_ask(&b->peer, 0);
        b->peer.queue->driver->tx_flush(b->peer.queue, b->server.shard.now_us);
        bench_settle(b);
        b->peer.response_bytes[path] = peer_received(&b->peer, 0) - before;
        if (b->peer.response_bytes[path] < 1000) {
            fprintf(stderr, "leat-bench: %s: only %lu bytes came back\n", b->peer.paths[path],
                    b->peer.response_bytes[path]);
            return -EIO;
        }
    }
    b->peer.is_learning = false;
    return 0;
}

int bench_connect(struct bench *b)
{
    int err = connect_all(b);

    return err < 0 ? err : learn_sizes(b);
}

void bench_ask_all(struct bench *b)
{
    for (uint32_t i = 0; i < b->active; i++) {
        peer_ask(&b->peer, i);
        if (i % PEER_BURST != PEER_BURST - 1 && i != b->active - 1)
            continue;
        b->peer.queue->driver->tx_flush(b->peer.queue, b->server.shard.now_us);
        server_turn_timed(b);
        while (peer_turn_timed(b) == PEER_BURST)
            ;
    }
}

static void print_result(const struct bench *b, uint64_t packets, uint64_t payload_bytes,
                         uint64_t elapsed_us, FILE *out)
{
    fprintf(out,
            "{\"packets\": %lu, \"payload_bytes\": %lu, \"cycles\": %lu, \"elapsed_us\": %lu, "
            "\"responses\": %lu, \"lost\": %lu, \"disorder\": %lu, \"connection_bytes\": %lu, "
            "\"best_cycles\": %.1f, \"connection_cycles\": %.1f, \"timeouts\": %lu, "
            "\"keepalives\": %lu}\n",
            packets, payload_bytes, b->server_cycles, elapsed_us, b->timed_responses, b->peer.lost,
            b->peer.disorder, b->connection_bytes, isfinite(b->best_cycles) ? b->best_cycles : 0,
            b->connection_cycles, counter_read(&b->server.counters.tcp_timeouts),
            counter_read(&b->server.counters.tcp_keepalives_sent));
}

/* One round of server and peer. Time in which somebody else had the core is not the server's: such
 * a round is left out, with its packets. */
void bench_round(struct bench *b)
{
    uint64_t cycles = b->server_cycles;
    uint64_t packets = b->peer.packets;
    uint64_t payload_bytes = b->peer.payload_bytes;
    uint64_t responses = b->peer.responses;
    long before = preemptions();

    server_turn_timed(b);
    while (peer_turn_timed(b) == PEER_BURST)
        ;
    if (preemptions() == before) {
        b->timed_packets += b->peer.packets - packets;
        b->timed_bytes += b->peer.payload_bytes - payload_bytes;
        b->timed_responses += b->peer.responses - responses;
    } else {
        b->server_cycles = cycles;
    }
}

/* Other tenants of the machine take the shared cache and memory away without being seen: the best
 * window is what the code costs, the whole run what it cost today. */
void bench_run_windows(struct bench *b, uint64_t until_us)
{
    b->best_cycles = INFINITY;
    for (uint64_t now_us = clock_monotonic_us(); now_us < until_us;) {
        uint64_t window_end_us = now_us + WINDOW_US;
        uint64_t cycles = b->server_cycles;
        uint64_t packets = b->timed_packets;

        while ((now_us = clock_monotonic_us()) < window_end_us)
            bench_round(b);
        packets = b->timed_packets - packets;
        double per_packet = (double)(b->server_cycles - cycles) / (double)packets;
        if (packets >= WINDOW_PACKETS_MIN && per_packet < b->best_cycles)
            b->best_cycles = per_packet;
    }
}

void bench_reset(struct bench *b)
{
    b->server_cycles = 0;
    b->timed_packets = 0;
    b->timed_bytes = 0;
    b->timed_responses = 0;
    b->peer.disorder = 0;
    b->peer.lost = 0;
}

static int run_cost(struct bench *b, const struct stack_options *options, FILE *out)
{
    uint64_t warm_until_us = clock_monotonic_us() + BENCH_WARM_UP_US;

    b->peer.loss_ppm = options->loss_ppm;
    bench_ask_all(b);
    while (clock_monotonic_us() < warm_until_us)
        bench_round(b);
    bench_reset(b);
    uint64_t start_us = clock_monotonic_us();
    uint64_t until_us = start_us + (uint64_t)options->seconds * 1000000;
    bench_run_windows(b, until_us);
    if (b->timed_packets == 0) {
        fprintf(stderr, "leat-bench: the stack stood still\n");
        return -EIO;
    }
    print_result(b, b->timed_packets, b->timed_bytes, clock_monotonic_us() - start_us, out);
    return 0;
}

/* Time until the last of all who wait for a part has its first bytes. The server's cycles count,
 * not the peer's: it would be elsewhere. */
static int run_burst(struct bench *b, FILE *out)
{
    static char path[1][SERVER_PATH_BYTES];

    b->peer.is_once = true;
    server_next_path(&b->server, path[0]);
    b->peer.paths = (const char(*)[SERVER_PATH_BYTES])path;
    b->peer.path_count = 1;
    for (uint32_t i = 0; i < b->peer.viewer_count; i++)
        peer_start_over(&b->peer, i);
    b->peer.first_bytes = 0;
    bench_ask_all(b);
    bench_settle(b);
    if (b->peer.first_bytes != 0) {
        fprintf(stderr, "leat-bench: %lu viewers did not wait\n", b->peer.first_bytes);
        return -EIO;
    }
    use_cpu_clock(b);
    uint64_t start_us = clock_monotonic_us();
    uint64_t start = cycles_now(b);
    int err = server_feed_part(&b->server);
    b->server_cycles += cycles_now(b) - start;
    while (err == 0 && b->peer.first_bytes < b->active) {
        server_turn_timed(b);
        while (peer_turn_timed(b) == PEER_BURST)
            ;
        if (clock_monotonic_us() - start_us > BURST_TIMEOUT_US)
            err = -ETIMEDOUT;
    }
    uint64_t elapsed_us = clock_monotonic_us() - start_us;
    print_result(b, b->peer.packets, b->peer.payload_bytes, elapsed_us, out);
    return err;
}

void bench_pin_to(unsigned core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void *peer_main(void *argument)
{
    struct bench *b = argument;
    struct packet_in packets[PEER_BURST];

    bench_pin_to(PEER_CORE);
    b->peer.queue = b->ports[1]->driver->queue(b->ports[1], 0); /* adopts this thread */
    struct port_queue *q = b->peer.queue;
    while (!atomic_load_explicit(&b->stop, memory_order_relaxed)) {
        uint64_t now_us = clock_monotonic_us();
        for (int turn = 0; turn < 16; turn++) {
            unsigned count = peer_poll(&b->peer, packets, PEER_BURST, now_us);
            q->driver->rx_done(q, packets, count);
            q->driver->tx_flush(q, now_us);
        }
        atomic_store_explicit(&b->packets, b->peer.packets, memory_order_relaxed);
        atomic_store_explicit(&b->payload_bytes, b->peer.payload_bytes, memory_order_relaxed);
    }
    return NULL;
}

static void server_run_until(struct bench *b, uint64_t until_us)
{
    do {
        server_turn_timed(b);
    } while (b->server.shard.now_us < until_us);
}

static int run_ring(struct bench *b, const struct stack_options *options, FILE *out)
{
    pthread_t thread;

    bench_ask_all(b);
    if (pthread_create(&thread, NULL, peer_main, b) != 0)
        return -EAGAIN;
    server_run_until(b, clock_monotonic_us() + BENCH_WARM_UP_US);
    b->server_cycles = 0;
    uint64_t start_us = clock_monotonic_us();
    uint64_t packets = atomic_load(&b->packets);
    uint64_t payload_bytes = atomic_load(&b->payload_bytes);
    server_run_until(b, start_us + (uint64_t)options->seconds * 1000000);
    packets = atomic_load(&b->packets) - packets;
    payload_bytes = atomic_load(&b->payload_bytes) - payload_bytes;
    uint64_t elapsed_us = clock_monotonic_us() - start_us;
    atomic_store(&b->stop, true);
    pthread_join(thread, NULL);
    print_result(b, packets, payload_bytes, elapsed_us, out);
    return 0;
}

int stack_run(const struct stack_options *options, FILE *out)
{
    static struct bench b;
    struct dpdk_config dpdk = {
        .device = "net_ring0", .memory_bytes = BENCH_PORT_MEMORY, .use_hugepages = false};
    uint16_t mtu = (uint16_t)(options->frame_bytes + IP_TCP_BYTES + TIMESTAMP_BYTES);

    if (options->frame_bytes < 536 || options->frame_bytes > 65400 ||
        options->viewers > PEER_VIEWERS_MAX) {
        fprintf(stderr, "leat-bench: --frame must be 536 to 65400, --viewers at most %d\n",
                PEER_VIEWERS_MAX);
        return -EINVAL;
    }
    bench_pin_to(SERVER_CORE); /* or it may share the peer's */
    int err = dpdk_init(&dpdk);
    if (err < 0)
        return err;
    if (options->mode == STACK_LIMIT)
        return limit_run(options, out);
    if (options->mode == STACK_SCALE)
        return scale_run(options, out);
    err = dpdk_open_pair(&dpdk, 1, mtu, true, b.ports);
    if (err < 0)
        return err;
    err = server_open(&b.server, b.ports[0], options->viewers, options->part_bytes,
                      options->has_playlist);
    if (err < 0)
        return err;
    struct port_queue *q = b.ports[1]->driver->queue(b.ports[1], 0);
    q->counters = &b.peer_counters;
    err =
        peer_init(&b.peer, q, options->viewers, (uint16_t)(options->frame_bytes + TIMESTAMP_BYTES),
                  (const char(*)[96])b.server.paths, b.server.path_count);
    if (err < 0)
        goto out;
    b.active = options->active != 0 && options->active < options->viewers ? options->active
                                                                          : options->viewers;
    err = bench_connect(&b);
    if (err < 0)
        goto out;
    if (options->mode == STACK_BURST)
        err = run_burst(&b, out);
    else
        err = options->mode == STACK_RING ? run_ring(&b, options, out) : run_cost(&b, options, out);

out:
    if (err < 0 || b.peer.disorder > 0)
        bench_print_counters(&b);
    peer_fini(&b.peer);
    server_close(&b.server);
    return err;
}
