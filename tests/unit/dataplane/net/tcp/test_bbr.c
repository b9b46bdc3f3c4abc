/* BBR over a simulated bottleneck, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/stack.h"
#include "tests/sim/world.h"

enum { SENDERS_MAX = 2, PORT = 7000, QUEUE_BYTES = 16 << 20, SEND_BYTES = 64 << 10 };

struct path {
    uint64_t rate_bps;
    uint64_t rtt_us;
    uint32_t queue_bytes; /* 0: one bandwidth-delay product, at least 30 kB */
    uint32_t loss_ppm;
};

struct sender {
    struct world_host *host;
    struct stream *stream;
    uint64_t received_bytes;
    bool is_greedy; /* always has something to send */
};

static struct fixture {
    struct world world;
    struct world_host *receiver;
    struct sender senders[SENDERS_MAX];
    uint32_t count;
    int errors;
} f;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)now_us;
    f.senders[s->peer.addr[3] - 1].received_bytes += in.size;
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    struct sender *sender = s->user;
    struct extent e = world_extent(sender->host, 0, 0, SEND_BYTES);

    (void)now_us;
    while (sender->is_greedy && stream_send(s, &e, 1) == 0)
        continue;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    f.errors += error != 0;
}

static const struct stream_events events = {
    .data = on_data, .sendable = on_sendable, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

static void impair(const struct path *path)
{
    uint64_t product = path->rate_bps / 8 * path->rtt_us / 1000000;
    struct sim_impairment data = {.delay_us = path->rtt_us / 2,
                                  .rate_bps = path->rate_bps,
                                  .loss_ppm = path->loss_ppm,
                                  .queue_bytes = path->queue_bytes};
    const struct sim_impairment back = {.delay_us = path->rtt_us / 2};

    if (data.queue_bytes == 0)
        data.queue_bytes = product > 30000 ? (uint32_t)product : 30000;
    for (uint32_t i = 0; i < f.count; i++) {
        sim_impair(f.senders[i].host->port, &data);
        if (i > 0)
            sim_share_rate(f.senders[i].host->port, f.senders[0].host->port);
    }
    sim_impair(f.receiver->port, &back);
}

/* Connects a sender with each congestion control, and otherwise 'standard', through one
 * bottleneck. */
static void start_with(const struct path *path, const char *first, const char *second,
                       const struct net_config *standard)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    const struct endpoint any = {.family = 6, .port = PORT};
    const char *names[SENDERS_MAX] = {first, second};
    const char *addresses[SENDERS_MAX] = {"10.0.0.1/24", "10.0.0.2/24"};
    struct net_config config = *standard;
    struct endpoint to;

    config.reassembly_buffers_max = 8192;
    config.reassembly_per_stream_max = 8192;

    memset(&f, 0, sizeof(f));
    world_init(&f.world, 1);
    f.receiver = world_host_add(&f.world, "10.0.0.9/24", &config, &port, 4, QUEUE_BYTES);
    f.receiver->transport->ops->listen(f.receiver->transport, &any, &listen_events, NULL);
    f.count = second != NULL ? 2 : 1;
    for (uint32_t i = 0; i < f.count; i++) {
        config.congestion = names[i];
        f.senders[i].host = world_host_add(&f.world, addresses[i], &config, &port, 4, QUEUE_BYTES);
        f.senders[i].is_greedy = true;
    }
    impair(path);
    endpoint_parse("10.0.0.9:7000", &to);
    for (uint32_t i = 0; i < f.count; i++) {
        struct transport *t = f.senders[i].host->transport;
        f.senders[i].stream = t->ops->connect(t, &to, &events, &f.senders[i], f.world.now_us);
        assert_non_null(f.senders[i].stream);
        f.senders[i].stream->low_water_bytes = QUEUE_BYTES / 2;
    }
    world_turn(&f.world);
}

static void start(const struct path *path, const char *first, const char *second)
{
    start_with(path, first, second, &(struct net_config){0});
}

static void stop(void)
{
    assert_int_equal(f.errors, 0);
    world_fini(&f.world);
}

static struct tcp_conn *conn(uint32_t i)
{
    return (struct tcp_conn *)(void *)f.senders[i].stream;
}

static const struct tcp_bbr *model(uint32_t i)
{
    assert_ptr_equal(conn(i)->congestion.ops, &tcp_bbr);
    return conn(i)->congestion.bbr;
}

static void run_s(double seconds)
{
    world_run(&f.world, f.world.now_us + (uint64_t)(seconds * 1e6));
}

/* Payload bits a second of each sender while that time passes, as a share of the bottleneck's. */
static void measure(const struct path *path, double seconds, double *ret_shares)
{
    uint64_t before[SENDERS_MAX];

    for (uint32_t i = 0; i < f.count; i++)
        before[i] = f.senders[i].received_bytes;
    run_s(seconds);
    for (uint32_t i = 0; i < f.count; i++)
        ret_shares[i] = (double)(f.senders[i].received_bytes - before[i]) * 8 / seconds /
                        (double)path->rate_bps;
}

static void be_greedy(uint32_t i)
{
    f.senders[i].is_greedy = true;
    on_sendable(f.senders[i].stream, f.world.now_us);
    world_turn(&f.world);
}

/* Jain's index of two shares. */
static double jain(const double *shares)
{
    double sum = shares[0] + shares[1];

    return sum * sum / (2 * (shares[0] * shares[0] + shares[1] * shares[1]));
}

static double product_bytes(const struct path *path)
{
    return (double)path->rate_bps / 8 * (double)path->rtt_us / 1e6;
}

/* Of what payload can have: Ethernet frames of 1,514 bytes carry 1,448. ProbeRTT costs long paths
 * more, and so does a window of 6 MiB where the product is 7.5. */
static void test_bbr_reaches_the_rate(void **state)
{
    static const struct {
        uint64_t rate_bps;
        uint64_t rtt_us;
        double share_min;
    } cases[] = {
        {1000000, 1000, 0.95},    {1000000, 20000, 0.95},    {1000000, 100000, 0.9},
        {1000000, 300000, 0.75},  {20000000, 1000, 0.95},    {20000000, 20000, 0.92},
        {20000000, 100000, 0.9},  {20000000, 300000, 0.85},  {200000000, 1000, 0.92},
        {200000000, 20000, 0.92}, {200000000, 100000, 0.88}, {200000000, 300000, 0.75},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct path path = {.rate_bps = cases[i].rate_bps, .rtt_us = cases[i].rtt_us};
        double share;
        start(&path, "bbr", NULL);
        run_s(5);
        measure(&path, path.rate_bps > 100000000 ? 6 : 20, &share);
        share *= 1514.0 / 1448;
        if (share < cases[i].share_min)
            fail_msg("%u Mb/s, %u ms: a share of %.3f, expected %.2f",
                     (unsigned)(path.rate_bps / 1000000), (unsigned)(path.rtt_us / 1000), share,
                     cases[i].share_min);
        assert_true(model(0)->is_full_bw_reached);
        stop();
    }
}

static void test_bbr_endures_random_losses(void **state)
{
    static const struct {
        uint32_t loss_ppm;
        double share_min;
        double times_cubic;
    } cases[] = {{1000, 0.8, 2}, {10000, 0.7, 5}, {20000, 0.3, 5}, {50000, 0.12, 4}};

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct path path = {
            .rate_bps = 20000000, .rtt_us = 100000, .loss_ppm = cases[i].loss_ppm};
        double bbr, cubic;
        start(&path, "bbr", NULL);
        run_s(5);
        measure(&path, 30, &bbr);
        stop();
        start(&path, "cubic", NULL);
        run_s(5);
        measure(&path, 30, &cubic);
        stop();
        if (bbr < cases[i].share_min || bbr < cubic * cases[i].times_cubic)
            fail_msg("%u ppm lost: a share of %.3f, CUBIC %.3f", cases[i].loss_ppm, bbr, cubic);
    }
}

/* In a buffer of four products CUBIC would fill them all. */
static void test_bbr_drains_its_queue(void **state)
{
    const struct path path = {.rate_bps = 20000000, .rtt_us = 40000, .queue_bytes = 400000};
    double in_flight = 0;
    double most = 0;
    int samples = 0;

    (void)state;
    start(&path, "bbr", NULL);
    while (model(0) == NULL || model(0)->state == BBR_STARTUP)
        run_s(0.01);
    assert_true(tcp_in_flight(conn(0)) > 1.5 * product_bytes(&path)); /* there is one */
    run_s(0.5);
    for (; samples < 2000; samples++) {
        run_s(0.01);
        double now = tcp_in_flight(conn(0));
        in_flight += now;
        most = now > most ? now : most;
    }
    assert_true(in_flight / samples < 1.3 * product_bytes(&path));
    assert_true(most < 2.5 * product_bytes(&path));
    assert_int_equal(sim_port_stats(f.senders[0].host->port)->lost, 0);
    stop();
}

static void test_bbr_probes_the_round_trip_time(void **state)
{
    struct path path = {.rate_bps = 20000000, .rtt_us = 20000};
    uint32_t in_flight_min = UINT32_MAX;
    uint8_t before = BBR_STATES;
    int entries = 0;
    double share;

    (void)state;
    start(&path, "bbr", NULL);
    run_s(2);
    for (int i = 0; i < 3000; i++) {
        run_s(0.01);
        entries += model(0)->state == BBR_PROBE_RTT && before != BBR_PROBE_RTT;
        before = model(0)->state;
        if (before == BBR_PROBE_RTT && tcp_in_flight(conn(0)) < in_flight_min)
            in_flight_min = tcp_in_flight(conn(0));
    }
    assert_in_range(entries, 5, 6); /* each 5 s, and 200 ms (§5.3.4) */
    assert_true(in_flight_min <= 0.6 * product_bytes(&path));
    assert_in_range(model(0)->min_rtt_us, 20000, 21500);

    path.rtt_us = 60000; /* another path: learned when the filter forgets */
    impair(&path);
    run_s(12);
    assert_in_range(model(0)->min_rtt_us, 60000, 64000);
    measure(&path, 10, &share);
    assert_true(share > 0.85);
    stop();
}

/* Two that begin together, and one that finds the path full: on long paths that takes it minutes.
 */
static void test_bbr_shares_with_bbr(void **state)
{
    static const uint64_t rtts_us[] = {20000, 50000, 100000};

    (void)state;
    for (int is_late = 0; is_late < 2; is_late++)
        for (unsigned i = 0; i < 3u - (unsigned)is_late; i++) {
            const struct path path = {.rate_bps = 20000000, .rtt_us = rtts_us[i]};
            double shares[2];
            start(&path, "bbr", "bbr");
            if (is_late) { /* the second finds the path full */
                f.senders[1].is_greedy = false;
                run_s(10);
                be_greedy(1);
            }
            run_s(20);
            measure(&path, 60, shares);
            if (jain(shares) < 0.9 || shares[0] + shares[1] < 0.85)
                fail_msg("%u ms: shares of %.3f and %.3f", (unsigned)(rtts_us[i] / 1000), shares[0],
                         shares[1]);
            stop();
        }
}

static void test_bbr_leaves_cubic_its_part(void **state)
{
    static const uint64_t rtts_us[] = {20000, 50000, 100000};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        const struct path path = {.rate_bps = 20000000, .rtt_us = rtts_us[i]};
        double shares[2];
        start(&path, "cubic", "bbr");
        run_s(10);
        measure(&path, 60, shares);
        if (jain(shares) < 0.85 || shares[0] + shares[1] < 0.85)
            fail_msg("%u ms: CUBIC has %.3f, BBR %.3f", (unsigned)(rtts_us[i] / 1000), shares[0],
                     shares[1]);
        stop();
    }
}

/* A user that has little to send does not make the path look slow. */
static void test_bbr_is_not_misled_by_its_user(void **state)
{
    const struct path path = {.rate_bps = 20000000, .rtt_us = 40000};
    struct extent little;
    double share;

    (void)state;
    start(&path, "bbr", NULL);
    run_s(10);
    uint64_t bw = model(0)->bw;
    assert_in_range(bw * 8, 18000000, 20000000);
    f.senders[0].is_greedy = false;
    while (f.senders[0].stream->queued_bytes > 0)
        run_s(0.1);
    little = world_extent(f.senders[0].host, 0, 0, 20000);
    for (int i = 0; i < 300; i++) { /* 1.6 Mb/s */
        assert_int_equal(stream_send(f.senders[0].stream, &little, 1), 0);
        world_turn(&f.world);
        run_s(0.1);
    }
    assert_true(model(0)->bw >= bw * 9 / 10);
    be_greedy(0);
    run_s(0.1);
    measure(&path, 2, &share); /* at once, as if it had never paused */
    assert_true(share > 0.8);
    stop();
}

/* Routers that mark instead of dropping are heard (RFC 3168 §5). */
static void test_bbr_reacts_to_marks(void **state)
{
    const struct path path = {.rate_bps = 20000000, .rtt_us = 40000, .queue_bytes = 400000};
    const struct sim_impairment marking = {.delay_us = path.rtt_us / 2,
                                           .rate_bps = path.rate_bps,
                                           .queue_bytes = path.queue_bytes,
                                           .mark_bytes = 15000};
    double share;

    (void)state;
    start_with(&path, "bbr", NULL, &(struct net_config){.ecn = NET_ECN_ON});
    sim_impair(f.senders[0].host->port, &marking);
    run_s(5);
    measure(&path, 20, &share);
    assert_true(counter_read(&f.senders[0].host->counters.tcp_ecn_reductions) > 0);
    assert_int_not_equal(model(0)->in_flight_longterm, UINT32_MAX);
    assert_true(model(0)->in_flight_longterm < 2 * product_bytes(&path));
    assert_int_equal(sim_port_stats(f.senders[0].host->port)->lost, 0);
    assert_true(share > 0.7);
    stop();
}

/* Who finds the pool empty has CUBIC, and is counted. */
static void test_bbr_needs_room(void **state)
{
    const struct path path = {.rate_bps = 20000000, .rtt_us = 20000};
    struct endpoint to;

    (void)state;
    start_with(&path, "bbr", NULL, &(struct net_config){.bbr_max = 1});
    struct transport *t = f.senders[0].host->transport;
    const struct net_stack *s = net_stack_of(t);
    struct sender others[2] = {{.host = f.senders[0].host}, {.host = f.senders[0].host}};
    run_s(1);
    assert_int_equal(s->tcp.bbrs.in_use, 1);
    assert_non_null(model(0));
    endpoint_parse("10.0.0.9:7000", &to);
    for (int i = 0; i < 2; i++) {
        others[i].stream = t->ops->connect(t, &to, &events, &others[i], f.world.now_us);
        world_turn(&f.world);
        run_s(1);
        const struct tcp_conn *c = (const struct tcp_conn *)(const void *)others[i].stream;
        assert_ptr_equal(c->congestion.ops, i == 0 ? &tcp_cubic : &tcp_bbr);
        assert_int_equal(counter_read(&f.senders[0].host->counters.tcp_no_bbr_left), 1);
        if (i == 0) {
            assert_int_equal(tcp_conn_set_congestion(conn(0), "reno"), 0); /* gives its own back */
            assert_int_equal(s->tcp.bbrs.in_use, 0);
        }
    }
    f.errors -= 2; /* our own, at both ends */
    stream_abort(others[1].stream);
    assert_int_equal(s->tcp.bbrs.in_use, 0);
    run_s(1);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bbr_reaches_the_rate),
        cmocka_unit_test(test_bbr_endures_random_losses),
        cmocka_unit_test(test_bbr_drains_its_queue),
        cmocka_unit_test(test_bbr_probes_the_round_trip_time),
        cmocka_unit_test(test_bbr_shares_with_bbr),
        cmocka_unit_test(test_bbr_leaves_cubic_its_part),
        cmocka_unit_test(test_bbr_is_not_misled_by_its_user),
        cmocka_unit_test(test_bbr_reacts_to_marks),
        cmocka_unit_test(test_bbr_needs_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
