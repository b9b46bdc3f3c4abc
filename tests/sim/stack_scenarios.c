/* Two stacks on a bad wire: seeded scenarios.
 *
 *   stack_scenarios [FIRST_SEED [COUNT]]
 *
 * Each seed chooses addresses, MTU, offloads, impairments of both directions and what the users
 * do. Checked for each: every byte arrives exactly once and in order, or the connection reports
 * an error; an undisturbed connection never does; all memory comes back; no timer is left. A
 * failing seed is printed; alone it replays the same run, and prints its counters. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/disturbance.h"
#include "tests/sim/world.h"

enum { STREAMS_MAX = 8, PORT = 7000 };

static const uint64_t RUN_US_MAX = 3600u * 1000000ull; /* of virtual time: a hang */
static const uint64_t DRAIN_US = 200u * 1000000ull;

enum kind {
    KIND_BOTH_WAYS,
    KIND_HALF_CLOSE,
    KIND_PAUSES,
    KIND_ABORT,
    KIND_EXHAUSTION,
    KIND_REFUSE,
    KIND_SILENCE,
    KIND_RESTART,
    KIND_COUNT
};

static const char *const kind_names[KIND_COUNT] = {
    "both ways", "half close", "pauses", "abort", "exhaustion", "refuse", "silence", "restart"};

/* One end of a connection, as its user sees it. */
struct end {
    struct run *run;
    struct world_host *host;
    struct end *other;
    struct stream *stream;
    uint64_t base;
    uint64_t send_total;
    uint64_t sent;
    uint64_t received;
    uint64_t abort_after; /* received bytes; UINT64_MAX: never */
    bool waits_for_eof;   /* sends only then */
    bool has_eof;
    bool is_shut;
    bool is_closed;
    bool is_paused;
    uint64_t resume_us;
    int error;
};

struct run {
    struct world world;
    uint64_t seed;
    uint64_t random;
    enum kind kind;
    struct world_host *server;
    struct world_host *client;
    struct end ends[STREAMS_MAX][2]; /* client, server */
    uint32_t stream_count;
    uint32_t accepted;
    bool is_failed;
    bool is_cut;           /* silence or restart has happened */
    uint32_t disturbances; /* to begin; enum disturbance_kind */
    struct disturbance disturbance;
};

__attribute__((format(printf, 2, 3))) static void fail(struct run *r, const char *format, ...)
{
    va_list args;

    if (r->is_failed)
        return;
    r->is_failed = true;
    fprintf(stderr, "seed %" PRIu64 " (%s) at %" PRIu64 " us: ", r->seed, kind_names[r->kind],
            r->world.now_us);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void end_send(struct end *e)
{
    struct run *r = e->run;

    if (e->stream == NULL || e->is_shut || (e->waits_for_eof && !e->has_eof))
        return;
    while (e->sent < e->send_total) {
        struct extent extents[4];
        uint64_t sent = e->sent;
        size_t count = 0;
        size_t want = world_between(&r->random, 1, 4);
        for (; count < want && sent < e->send_total; count++) {
            uint64_t size = world_between(&r->random, 1, r->random % 3 == 0 ? 200 : 30000);
            if (size > e->send_total - sent)
                size = e->send_total - sent;
            extents[count] = world_extent(e->host, e->base, sent, (uint32_t)size);
            sent += extents[count].size;
        }
        int error = stream_send(e->stream, extents, count);
        if (error == -ENOBUFS)
            return;
        if (error != 0) {
            fail(r, "stream_send: %d", error);
            return;
        }
        e->sent = sent;
    }
    e->is_shut = true;
    stream_shutdown(e->stream);
}

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct end *e = s->user;
    struct run *r = e->run;

    if (e->is_closed || e->has_eof)
        fail(r, "data after %s", e->is_closed ? "closed" : "eof");
    if (e->is_paused)
        fail(r, "data while paused");
    if (!world_matches(&r->world, e->other->base, e->received, in))
        fail(r, "wrong bytes at %" PRIu64, e->received);
    e->received += in.size;
    if (e->received > e->other->sent)
        fail(r, "more bytes than were sent");
    if (e->received >= e->abort_after) {
        e->abort_after = UINT64_MAX;
        stream_abort(s);
        return;
    }
    if (r->kind == KIND_PAUSES && world_random(&r->random) % 20 == 0) {
        e->is_paused = true;
        e->resume_us = now_us + world_between(&r->random, 1000, 5000000);
        stream_receive_pause(s, true);
    }
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    (void)now_us;
    end_send(s->user);
}

static void on_eof(struct stream *s, uint64_t now_us)
{
    struct end *e = s->user;

    (void)now_us;
    if (e->has_eof || e->received != e->other->send_total)
        fail(e->run, "eof after %" PRIu64 " of %" PRIu64, e->received, e->other->send_total);
    e->has_eof = true;
    end_send(e);
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    struct end *e = s->user;

    (void)now_us;
    if (e->is_closed)
        fail(e->run, "closed twice");
    e->is_closed = true;
    e->is_paused = false;
    e->error = error;
    e->stream = NULL;
    if (error == 0 && (!e->has_eof || e->received != e->other->send_total))
        fail(e->run, "closed without error after %" PRIu64 " of %" PRIu64, e->received,
             e->other->send_total);
}

static const struct stream_events events = {
    .data = on_data, .sendable = on_sendable, .eof = on_eof, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    struct run *r = user;

    (void)now_us;
    if (r->kind == KIND_REFUSE && world_random(&r->random) % 2 == 0)
        return -ECONNREFUSED;
    for (uint32_t i = 0; i < r->stream_count; i++) {
        struct end *client = &r->ends[i][0];
        struct end *e = &r->ends[i][1];
        if (client->stream == NULL || client->stream->local.port != s->peer.port ||
            e->stream != NULL || e->is_closed)
            continue;
        e->stream = s;
        s->events = &events;
        s->user = e;
        s->low_water_bytes = (uint32_t)world_between(&r->random, 0, 50000);
        r->accepted++;
        end_send(e);
        return 0;
    }
    return -ECONNREFUSED; /* its client has given up */
}

static struct sim_impairment impairment_choose(uint64_t *random)
{
    struct sim_impairment i = {0};

    i.delay_us = world_between(random, 0, 3) == 0 ? 0 : world_between(random, 10, 100000);
    if (world_random(random) % 4 != 0) {
        i.loss_ppm = (uint32_t)world_between(random, 0, 50000);
        i.reorder_ppm = (uint32_t)world_between(random, 0, 100000);
        i.reorder_us = world_between(random, 0, 50000);
    }
    if (world_random(random) % 2 == 0)
        i.duplicate_ppm = (uint32_t)world_between(random, 0, 20000);
    if (world_random(random) % 2 == 0)
        i.corrupt_ppm = (uint32_t)world_between(random, 0, 10000);
    if (world_random(random) % 2 == 0)
        i.jitter_us = world_between(random, 0, 20000);
    if (world_random(random) % 3 == 0) {
        i.rate_bps = world_between(random, 2000000, 1000000000);
        i.queue_bytes = (uint32_t)world_between(random, 30000, 500000);
    }
    if (world_random(random) % 3 == 0)
        i.mark_ppm = (uint32_t)world_between(random, 0, 100000);
    return i;
}

static struct sim_port_config port_choose(uint64_t *random)
{
    static const uint32_t offloads[] = {
        0,
        PORT_OFFLOAD_MULTI_SEGMENT,
        PORT_OFFLOAD_RX_CHECKSUM,
        PORT_OFFLOAD_TCP_CHECKSUM | PORT_OFFLOAD_IP_CHECKSUM | PORT_OFFLOAD_RX_CHECKSUM,
        PORT_OFFLOAD_TSO | PORT_OFFLOAD_TCP_CHECKSUM | PORT_OFFLOAD_IP_CHECKSUM,
    };
    static const uint16_t mtus[] = {1280, 1400, 1500, 1500, 1500, 9000};
    struct sim_port_config p = {
        .offloads = offloads[world_random(random) % 5],
        .mtu = mtus[world_random(random) % 6],
        .extents_max = (uint16_t)world_between(random, 1, 17),
    };
    return p;
}

/* What happens between the hosts. */
static void run_path(struct run *r, bool is_v6)
{
    const struct sim_impairment normal[2] = {impairment_choose(&r->random),
                                             impairment_choose(&r->random)};
    struct port *const ports[2] = {r->server->port, r->client->port};

    if (r->kind != KIND_SILENCE && world_random(&r->random) % 2 == 0)
        r->disturbances = (uint32_t)world_random(&r->random) & DISTURBANCE_ALL;
    disturbance_init(&r->disturbance, &r->world, ports, normal, world_random(&r->random), is_v6);
}

static void run_hosts(struct run *r, bool is_v6)
{
    static const char *const congestions[] = {"reno", "cubic", "bbr"};
    uint64_t *random = &r->random;
    struct net_config config = {0};
    struct sim_port_config a = port_choose(random);
    struct sim_port_config b = port_choose(random);
    uint32_t queue_max = (uint32_t)world_between(random, 20000, 1000000);

    if (a.mtu > b.mtu)
        a.mtu = b.mtu;
    else
        b.mtu = a.mtu; /* one link, one MTU */
    config.vlan = world_random(random) % 3 == 0 ? 77 : 0;
    config.congestion = congestions[world_random(random) % 3];
    config.bbr_max = (uint32_t)world_between(random, 1, 16);
    config.ecn = (enum net_ecn)(world_random(random) % 3);
    if (world_random(random) % 3 == 0)
        config.receive_window_bytes = (uint32_t)world_between(random, 3000, 2000000);
    if (r->kind == KIND_EXHAUSTION) {
        config.extent_chunks_max = (uint32_t)world_between(random, 8, 64);
        config.reassembly_buffers_max = (uint32_t)world_between(random, 1, 16);
        config.reassembly_per_stream_max = (uint32_t)world_between(random, 1, 16);
        a.tx_packets_max = (uint32_t)world_between(random, 4, 64);
        b.tx_packets_max = (uint32_t)world_between(random, 4, 64);
    }
    if (r->kind == KIND_SILENCE) {
        config.keepalive_idle_ms = 5000;
        config.keepalive_interval_ms = 1000;
        config.keepalive_probes_max = 3;
    }
    uint32_t server_streams = r->kind == KIND_EXHAUSTION ? 2 : 16;
    r->server = world_host_add(&r->world, is_v6 ? "2001:db8::1/64" : "10.0.0.1/24", &config, &a,
                               server_streams, queue_max);
    r->client = world_host_add(&r->world, is_v6 ? "2001:db8::2/64" : "10.0.0.2/24", &config, &b, 16,
                               queue_max);
    run_path(r, is_v6);
}

static void end_init(struct run *r, struct end *e, struct end *other, struct world_host *host)
{
    *e = (struct end){.run = r, .host = host, .other = other, .abort_after = UINT64_MAX};
    e->base = world_random(&r->random) % WORLD_PATTERN_BYTES;
    e->send_total = world_between(&r->random, 0, 3) == 0 ? 0 : world_between(&r->random, 1, 400000);
    if (r->kind == KIND_EXHAUSTION)
        e->send_total /= 8;
}

static void run_streams(struct run *r, bool is_v6)
{
    struct endpoint to;

    endpoint_parse(is_v6 ? "[2001:db8::1]:7000" : "10.0.0.1:7000", &to);
    r->stream_count = (uint32_t)world_between(&r->random, 1, STREAMS_MAX);
    for (uint32_t i = 0; i < r->stream_count; i++) {
        struct end *client = &r->ends[i][0];
        struct end *server = &r->ends[i][1];
        end_init(r, client, server, r->client);
        end_init(r, server, client, r->server);
        if (r->kind == KIND_HALF_CLOSE)
            server->waits_for_eof = true;
        if (r->kind == KIND_ABORT) {
            struct end *who = &r->ends[i][world_random(&r->random) % 2];
            who->abort_after = world_between(&r->random, 0, 200000);
        }
        client->stream = r->client->transport->ops->connect(r->client->transport, &to, &events,
                                                            client, r->world.now_us);
        if (client->stream == NULL) {
            fail(r, "connect");
            client->is_closed = true;
        }
    }
}

/* What users do by themselves, and whether all is over. */
static bool run_users(struct run *r)
{
    bool is_over = true;

    for (uint32_t i = 0; i < r->stream_count; i++)
        for (int side = 0; side < 2; side++) {
            struct end *e = &r->ends[i][side];
            if (e->stream == NULL)
                continue;
            is_over = false;
            if (e->is_paused && r->world.now_us >= e->resume_us) {
                e->is_paused = false;
                stream_receive_pause(e->stream, false);
            }
            if (!e->is_shut && e->stream->queued_bytes == 0)
                end_send(e); /* after ENOBUFS with nothing queued, no event will come */
        }
    return is_over;
}

static void wire_cut(struct run *r)
{
    const struct sim_impairment cut = {.loss_ppm = 1000000};

    sim_impair(r->server->port, &cut);
    sim_impair(r->client->port, &cut);
}

static void run_listen(struct run *r)
{
    static const struct listen_events listen_events = {.accept = on_accept};
    const struct endpoint any = {.family = 6, .port = PORT};

    if (r->server->transport->ops->listen(r->server->transport, &any, &listen_events, r) != 0)
        fail(r, "listen");
}

/* A host goes away with all it knows, in silence or with resets, and is back at once. */
static void host_restart(struct run *r)
{
    bool is_server = world_random(&r->random) % 2 == 0;
    struct world_host *h = is_server ? r->server : r->client;

    if (world_random(&r->random) % 2 == 0)
        sim_impair(h->port, &(const struct sim_impairment){.loss_ppm = 1000000});
    h->transport->ops->free(&h->transport);
    if (h->wheel.armed_count != 0 || h->pattern.refs != 1)
        fail(r, "freed with %u timers and %u references", h->wheel.armed_count,
             h->pattern.refs - 1);
    world_host_start(h);
    sim_impair(h->port, &r->disturbance.normal[!is_server]);
    if (is_server)
        run_listen(r);
}

static bool run_may_fail(const struct run *r)
{
    return r->kind == KIND_ABORT || r->kind == KIND_REFUSE || r->kind == KIND_EXHAUSTION ||
           r->kind == KIND_SILENCE || r->kind == KIND_RESTART;
}

/* What happens on the way. A handshake that must succeed is left alone: it has no more than five
 * retries, and a forged SYN is the other half of a simultaneous open to it (RFC 9293 §3.5). */
static void run_disturb(struct run *r)
{
    if (r->disturbances != 0 && (run_may_fail(r) || r->accepted == r->stream_count)) {
        disturbance_begin(&r->disturbance, r->disturbances);
        r->disturbances = 0;
    }
    disturbance_step(&r->disturbance);
}

/* What changes once, in the middle. */
static void run_cut(struct run *r)
{
    r->is_cut = true;
    if (r->kind == KIND_SILENCE)
        wire_cut(r);
    else if (r->kind == KIND_RESTART)
        host_restart(r);
}

static void check_results(struct run *r)
{
    for (uint32_t i = 0; i < r->stream_count; i++)
        for (int side = 0; side < 2; side++) {
            struct end *e = &r->ends[i][side];
            if (!e->is_closed && side == 0)
                fail(r, "stream %u never closed", i);
            if (e->error != 0 && !run_may_fail(r))
                fail(r, "stream %u side %d: error %d after %" PRIu64 " received, %" PRIu64 " sent",
                     i, side, e->error, e->received, e->sent);
        }
}

static void check_usage(struct run *r, struct world_host *h, const char *name)
{
    struct net_usage u;

    net_usage(h->transport, &u);
    if (u.streams != 0 || u.half_open != 0 || u.time_waits != 0 || u.extent_chunks != 0 ||
        u.ranges != 0 || u.reassembly_buffers != 0 || u.bbrs != 0 || u.pending_packets != 0)
        fail(r,
             "%s: left in use: %u streams, %u half-open, %u time-waits, %u chunks, %u ranges, %u "
             "buffers, %u pending",
             name, u.streams, u.half_open, u.time_waits, u.extent_chunks, u.ranges,
             u.reassembly_buffers, u.pending_packets);
    if (h->wheel.armed_count != 0)
        fail(r, "%s: %u timers left", name, h->wheel.armed_count);
    if (h->pattern.refs != 1)
        fail(r, "%s: %u references left", name, h->pattern.refs - 1);
}

/* All that is not zero, for a failing seed. */
static void counters_print(const char *name, const struct world_host *h)
{
    size_t count;
    const struct counter_info *table = counters_table(&count);

    for (size_t i = 0; i < count; i++) {
        const struct counters *counters = &h->counters;
        uint64_t value = counters_sum(&counters, 1, &table[i]);
        if (value != 0)
            fprintf(stderr, "  %s %s %" PRIu64 "\n", name, table[i].name, value);
    }
}

static bool run_seed(uint64_t seed, bool is_verbose)
{
    static struct run run;
    struct run *r = &run;

    *r = (struct run){.seed = seed, .random = seed};
    (void)world_random(&r->random);
    r->kind = (enum kind)(world_random(&r->random) % KIND_COUNT);
    bool is_v6 = world_random(&r->random) % 2 == 0;
    world_init(&r->world, world_random(&r->random));
    run_hosts(r, is_v6);
    run_listen(r);
    run_streams(r, is_v6);

    uint64_t cut_us = r->world.now_us + world_between(&r->random, 1000, 1000000);
    uint64_t end_us = r->world.now_us + RUN_US_MAX;
    while (!run_users(r) && !r->is_failed && r->world.now_us < end_us) {
        if (!r->is_cut && r->world.now_us >= cut_us)
            run_cut(r);
        run_disturb(r);
        world_step(&r->world, r->world.now_us + 10000);
    }
    if (r->world.now_us >= end_us)
        fail(r, "does not end");
    if (!r->is_failed)
        check_results(r);
    if (r->kind != KIND_SILENCE)
        disturbance_end(&r->disturbance);
    world_run(&r->world, r->world.now_us + DRAIN_US);
    check_usage(r, r->server, "server");
    check_usage(r, r->client, "client");
    if (r->is_failed && is_verbose) {
        counters_print("server", r->server);
        counters_print("client", r->client);
    }
    world_fini(&r->world);
    return !r->is_failed;
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : argc > 1 ? 1 : 10000;
    uint64_t failed = 0;

    for (uint64_t seed = first; seed < first + count; seed++)
        failed += !run_seed(seed, count == 1);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", count - failed, failed);
    return failed == 0 ? 0 : 1;
}
