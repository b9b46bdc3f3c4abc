#include "bench/micro/scale.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>

#include "common/check.h"
#include "common/clock.h"

enum { IP_TCP_BYTES = 40, TIMESTAMP_BYTES = 12 };

/* One thread of a phase. */
struct runner {
    const struct scale_phase *phase;
    struct scale *scale;
    pthread_barrier_t *start;
    unsigned shard;
};

static void *runner_main(void *argument)
{
    struct runner *r = argument;
    struct bench *b = &r->scale->shards[r->shard];

    bench_pin_to(r->shard);
    (void)r->scale->ports[0]->driver->queue(r->scale->ports[0], r->shard); /* adopts this thread */
    pthread_barrier_wait(r->start);
    b->peer.is_learning = false;
    bench_ask_all(b);
    uint64_t warm_until_us = clock_monotonic_us() + BENCH_WARM_UP_US;
    while (clock_monotonic_us() < warm_until_us)
        bench_round(b);
    bench_reset(b);
    r->phase->run(b, r->shard, warm_until_us + r->phase->seconds * 1000000);
    pthread_barrier_wait(r->start);
    b->peer.is_learning = true; /* viewers do not ask again: nothing is under way in the end */
    bench_settle(b);
    return NULL;
}

int scale_phase_run(struct scale *s, const struct scale_phase *phase, unsigned mask)
{
    struct runner runners[SCALE_SHARDS];
    pthread_t threads[SCALE_SHARDS];
    pthread_barrier_t start;
    int err = -pthread_barrier_init(&start, NULL, mask == 3 ? 2 : 1);

    if (err < 0)
        return err;
    for (unsigned i = 0; i < SCALE_SHARDS; i++) {
        runners[i] = (struct runner){.phase = phase, .scale = s, .start = &start, .shard = i};
        if ((mask >> i & 1) != 0) /* one short, the barrier would never open */
            CHECK(pthread_create(&threads[i], NULL, runner_main, &runners[i]) == 0);
    }
    for (unsigned i = 0; i < SCALE_SHARDS; i++)
        if ((mask >> i & 1) != 0)
            pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    return 0;
}

static int shard_open(struct scale *s, unsigned shard, uint32_t viewers, uint16_t frame_bytes)
{
    struct bench *b = &s->shards[shard];
    struct port_queue *q = s->ports[1]->driver->queue(s->ports[1], shard);

    q->counters = &b->peer_counters;
    b->active = viewers;
    b->ports[0] = s->ports[0];
    b->ports[1] = s->ports[1];
    int err = peer_init(&b->peer, q, viewers, (uint16_t)(frame_bytes + TIMESTAMP_BYTES),
                        (const char(*)[SERVER_PATH_BYTES])b->server.paths, b->server.path_count);
    return err == 0 ? bench_connect(b) : err;
}

int scale_open(struct scale *s, uint32_t viewers, uint32_t part_bytes, uint16_t frame_bytes)
{
    struct dpdk_config dpdk = {
        .device = "net_ring0", .memory_bytes = BENCH_PORT_MEMORY, .use_hugepages = false};
    uint16_t mtu = (uint16_t)(frame_bytes + IP_TCP_BYTES + TIMESTAMP_BYTES);
    int err = dpdk_open_pair(&dpdk, SCALE_SHARDS, mtu, true, s->ports);

    if (err < 0)
        return err;
    s->shards[0].server.second = &s->shards[1].server;
    err = server_open(&s->shards[0].server, s->ports[0], viewers, part_bytes, false);
    for (unsigned i = 0; err == 0 && i < SCALE_SHARDS; i++)
        err = shard_open(s, i, viewers, frame_bytes);
    return err;
}

void scale_close(struct scale *s)
{
    for (unsigned i = 0; i < SCALE_SHARDS; i++)
        peer_fini(&s->shards[i].peer);
    server_close(&s->shards[0].server);
}

static void run_windows(struct bench *b, unsigned shard, uint64_t until_us)
{
    (void)shard;
    bench_run_windows(b, until_us);
}

int scale_run(const struct stack_options *options, FILE *out)
{
    static struct scale s;
    static const struct {
        const char *name;
        unsigned mask;
    } phases[] = {{"alone", 1}, {"alone", 2}, {"together", 3}};
    const struct scale_phase phase = {.run = run_windows, .seconds = options->seconds};
    uint64_t disorder = 0;
    int err = scale_open(&s, options->viewers, options->part_bytes, (uint16_t)options->frame_bytes);

    if (err == 0)
        fprintf(out, "{\"shards\": [");
    for (size_t i = 0; err == 0 && i < ARRAY_COUNT(phases); i++) {
        err = scale_phase_run(&s, &phase, phases[i].mask);
        for (unsigned shard = 0; err == 0 && shard < SCALE_SHARDS; shard++) {
            const struct bench *b = &s.shards[shard];
            if ((phases[i].mask >> shard & 1) == 0)
                continue;
            disorder += b->peer.disorder;
            fprintf(out,
                    "%s{\"phase\": \"%s\", \"shard\": %u, \"cycles\": %lu, \"packets\": %lu, "
                    "\"best_cycles\": %.1f}",
                    i == 0 ? "" : ", ", phases[i].name, shard, b->server_cycles, b->timed_packets,
                    isfinite(b->best_cycles) ? b->best_cycles : 1e9);
        }
    }
    if (err == 0)
        fprintf(out, "], \"disorder\": %lu}\n", disorder);
    if (err < 0 || disorder > 0)
        for (unsigned shard = 0; shard < SCALE_SHARDS; shard++)
            bench_print_counters(&s.shards[shard]);
    scale_close(&s);
    return err;
}
