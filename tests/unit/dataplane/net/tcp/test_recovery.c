/* Loss recovery against hand-made acknowledgements, in virtual time: a path of 100 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/stack.h"
#include "tests/sim/peer.h"

enum { MSS = 1000, RTT_US = 100000, SLACK_US = 1000 };

struct fixture {
    struct world world;
    struct world_host *host;
    struct peer peer;
    struct stream *stream;
    uint32_t base; /* sequence number of the stream's first byte */
    int closes;
};

static struct fixture f;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)in;
    (void)now_us;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)s;
    (void)error;
    (void)now_us;
    f.stream = NULL;
    f.closes++;
}

static const struct stream_events events = {.data = on_data, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    f.stream = s;
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

static void wait_us(uint64_t us)
{
    world_run(&f.world, f.world.now_us + us);
}

static struct tcp_conn *conn(void)
{
    return (struct tcp_conn *)(void *)f.stream;
}

static void start(const struct tcp_options *options, const struct net_config *config)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};
    struct peer_segment reply;

    memset(&f, 0, sizeof(f));
    world_init(&f.world, 1);
    f.host = world_host_add(&f.world, "10.0.0.1/24", config, &port, 4, 1 << 20);
    peer_init(&f.peer, &f.world, f.host, 4);
    f.host->transport->ops->listen(f.host->transport, &any, &listen_events, NULL);
    world_turn(&f.world);
    peer_drop_all(&f.peer);
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt++,
                                              .flags = TCP_SYN,
                                              .window = UINT16_MAX,
                                              .options = *options});
    assert_true(peer_next(&f.peer, &reply));
    f.base = f.peer.rcv_nxt = reply.seq + 1;
    f.peer.has_timestamps = reply.options.has_timestamps;
    f.peer.ts_value = options->ts_value + 1;
    wait_us(RTT_US);
    peer_ack(&f.peer, f.base);
    assert_non_null(f.stream);
    peer_drop_all(&f.peer);
}

/* So that a payload is MSS bytes. */
static const struct tcp_options with_sack = {
    .mss = MSS, .has_shift = true, .shift = 7, .is_sack_permitted = true};
static const struct tcp_options with_both = {.mss = MSS + TCP_TIMESTAMPS_SIZE,
                                             .has_shift = true,
                                             .shift = 7,
                                             .is_sack_permitted = true,
                                             .has_timestamps = true,
                                             .ts_value = 1000};
static const struct tcp_options without = {.mss = MSS};
/* Pacing has a test of its own. */
static const struct net_config defaults = {.is_unpaced = true};

static void stop(void)
{
    struct net_usage usage;

    if (f.stream != NULL)
        stream_abort(f.stream);
    world_turn(&f.world);
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.ranges, 0);
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static void host_send(uint32_t segments)
{
    struct extent e = world_extent(f.host, 0, 0, segments * MSS);

    assert_int_equal(stream_send(f.stream, &e, 1), 0);
    world_turn(&f.world);
}

/* Segments 'from' to 'to' (first not included) come now, and nothing before them. */
static void expect_segments(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        struct peer_segment s;
        assert_true(peer_next(&f.peer, &s));
        assert_int_equal((s.seq - f.base) / MSS, i);
        assert_int_equal(s.payload.size, MSS);
    }
}

static void expect_nothing(void)
{
    struct peer_segment s;

    assert_false(peer_next(&f.peer, &s));
}

/* Steps until segment 'which' is sent; returns how long that took. */
static uint64_t until_segment(uint32_t which)
{
    uint64_t begin_us = f.world.now_us;
    struct peer_segment s = {0};

    while (!peer_next(&f.peer, &s) && f.world.now_us < begin_us + 10000000)
        world_step(&f.world, f.world.now_us + 1000000);
    assert_int_equal((s.seq - f.base) / MSS, which);
    return f.world.now_us - begin_us;
}

static void expect_after(uint64_t us, uint32_t which)
{
    uint64_t took_us = until_segment(which);

    if (took_us < us || took_us > us + SLACK_US)
        fail_msg("segment %u came after %lu us, expected %lu", which, took_us, us);
}

/* Acknowledges up to segment 'ack', with blocks of segments [a, b), [c, d). */
static void ack2(uint32_t ack, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    struct tcp_options o = {0};

    if (a < b)
        o.sacks[o.sack_count++] =
            (struct tcp_sack_block){.start = f.base + a * MSS, .end = f.base + b * MSS};
    if (c < d)
        o.sacks[o.sack_count++] =
            (struct tcp_sack_block){.start = f.base + c * MSS, .end = f.base + d * MSS};
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt,
                                              .ack = f.base + ack * MSS,
                                              .flags = TCP_ACK,
                                              .window = UINT16_MAX,
                                              .options = o});
}

static void ack(uint32_t up_to, uint32_t a, uint32_t b)
{
    ack2(up_to, a, b, 0, 0);
}

static uint32_t cwnd(void)
{
    return conn()->congestion.cwnd_bytes / MSS;
}

#define COUNTED(name) ((int)counter_read(&f.host->counters.name))

/* --- RACK --- */

static void test_recovery_third_sack_resends(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(10);
    expect_segments(0, 10);
    wait_us(RTT_US);
    ack(0, 1, 2);
    expect_nothing();
    ack(0, 1, 3);
    expect_nothing();
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_DISORDER);
    ack(0, 1, 4);
    expect_segments(0, 1);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_RECOVERY);
    assert_int_equal(conn()->congestion.ssthresh_bytes, 7 * MSS);
    wait_us(RTT_US);
    ack(10, 0, 0);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_OPEN);
    assert_int_equal(cwnd(), 7);
    stop();
}

/* RFC 8985 §6.2: less than three behind it, so a quarter of the minimum RTT passes first. */
static void test_recovery_waits_for_reordering(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(0, 1, 2);
    expect_nothing();
    expect_after(RTT_US / 4 + 2000, 0);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_RECOVERY);
    stop();
}

static void test_recovery_late_is_not_lost(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(0, 1, 2);
    wait_us(10000);
    ack(2, 0, 0); /* it was only late */
    assert_int_equal(COUNTED(tcp_paths_reordering), 1);
    wait_us(40000);
    expect_nothing();
    assert_int_equal(COUNTED(tcp_retransmits), 0);
    ack(4, 0, 0);
    /* The path reorders: three behind no longer mean a loss at once. */
    host_send(10);
    expect_segments(4, 14);
    wait_us(RTT_US);
    ack(4, 5, 9);
    expect_nothing();
    expect_after(RTT_US / 4 + 2000, 4);
    stop();
}

static void test_recovery_finds_lost_retransmission(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(10);
    expect_segments(0, 10);
    wait_us(RTT_US);
    ack(0, 1, 8);
    expect_segments(0, 1);
    host_send(4);
    peer_drop_all(&f.peer);
    wait_us(10000);
    ack(0, 1, 9);
    ack(0, 1, 10);
    peer_drop_all(&f.peer);
    wait_us(RTT_US);
    ack(0, 1, 12); /* sent after the retransmission, arrived before it */
    expect_segments(0, 1);
    assert_int_equal(COUNTED(tcp_retransmits_lost), 1);
    stop();
}

static void test_recovery_duplicates_widen_the_window(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(10);
    expect_segments(0, 10);
    wait_us(RTT_US);
    ack(0, 1, 2);
    ack(2, 0, 0); /* reordered */
    peer_drop_all(&f.peer);
    ack(2, 3, 4);
    expect_after(RTT_US / 4 + 2000, 2); /* in vain: */
    ack(4, 0, 0);
    ack(4, 2, 3); /* it came twice */
    assert_int_equal(COUNTED(tcp_duplicates_told), 1);
    assert_int_equal(COUNTED(tcp_fast_recoveries_undone), 1);
    assert_int_equal(cwnd() >= 10, 1);
    wait_us(RTT_US);
    ack(10, 0, 0);
    assert_int_equal(conn()->recovery.rack_steps, 2);
    stop();
}

/* --- tail loss probe --- */

static void test_recovery_probes_the_tail(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(2, 0, 0); /* 2 and 3 are lost */
    expect_after(2 * RTT_US + 2000, 3);
    assert_int_equal(COUNTED(tcp_tail_probes), 1);
    wait_us(RTT_US);
    ack(2, 3, 4); /* sent far later than 2, which is lost then */
    expect_segments(2, 3);
    assert_int_equal(COUNTED(tcp_timeouts), 0);
    stop();
}

static void test_recovery_probes_one_segment_later(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(1);
    expect_segments(0, 1);
    expect_after(300000, 0); /* 2 RTT and 200 ms are more than the timeout: then that */
    assert_int_equal(COUNTED(tcp_tail_probes), 1);
    /* The timeout follows the probe. */
    expect_after(300000, 0);
    assert_int_equal(COUNTED(tcp_timeouts), 1);
    stop();
}

/* RFC 8985 §7.4.2: the ACK passes the probe, which was therefore needed. */
static void test_recovery_probe_that_repaired_reduces(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(3, 0, 0);
    (void)until_segment(3);
    host_send(2);
    expect_segments(4, 6);
    wait_us(RTT_US);
    uint32_t before = cwnd();
    ack(6, 0, 0);
    assert_int_equal(COUNTED(tcp_tail_probes_recovered), 1);
    assert_int_equal(cwnd(), before * 7 / 10);
    stop();
}

static void test_recovery_needless_probe_reduces_nothing(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(3, 0, 0);
    (void)until_segment(3);
    uint32_t before = cwnd();
    ack(4, 0, 0);
    ack(4, 3, 4); /* both arrived */
    host_send(2);
    expect_segments(4, 6);
    wait_us(RTT_US);
    ack(6, 0, 0);
    assert_int_equal(COUNTED(tcp_tail_probes_recovered), 0);
    assert_true(cwnd() >= before);
    stop();
}

static void test_recovery_probes_with_new_data(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(20); /* ten go */
    expect_segments(0, 10);
    expect_after(2 * RTT_US + 2000, 10);
    assert_int_equal(COUNTED(tcp_retransmits), 0);
    stop();
}

/* --- timeouts --- */

static void test_recovery_timeout_starts_with_one(void **state)
{
    (void)state;
    start(&without, &defaults);
    host_send(10);
    expect_segments(0, 10);
    expect_after(300000, 0);
    expect_nothing();
    assert_int_equal(cwnd(), 1);
    assert_int_equal(conn()->congestion.ssthresh_bytes, 7 * MSS);
    expect_after(600000, 0); /* RFC 6298 (5.5) */
    expect_after(1200000, 0);
    assert_int_equal(conn()->congestion.ssthresh_bytes, 7 * MSS); /* once for each flight */
    /* Karn: an ACK of what was sent again measures nothing, so the back-off stays. */
    ack(10, 0, 0);
    host_send(1);
    expect_segments(10, 11);
    expect_after(2400000, 10);
    stop();
}

/* RFC 5682: what was never sent again arrives after the timeout. */
static void test_recovery_frto_undoes(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(12);
    expect_segments(0, 10);
    expect_after(2 * RTT_US + 2000, 10); /* probe */
    (void)until_segment(0);
    assert_int_equal(COUNTED(tcp_timeouts), 1);
    ack(1, 0, 0);            /* late */
    expect_segments(11, 12); /* new data, nothing lost */
    expect_nothing();
    ack(2, 0, 0); /* never sent again */
    assert_int_equal(COUNTED(tcp_timeouts_spurious), 1);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_OPEN);
    assert_int_equal(conn()->ranges.lost_bytes, 0);
    assert_true(cwnd() >= 10);
    expect_nothing();
    ack(12, 0, 0);
    assert_int_equal(COUNTED(tcp_retransmits), 1);
    stop();
}

static void test_recovery_frto_accepts_a_loss(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(13);
    expect_segments(0, 10);
    expect_after(2 * RTT_US + 2000, 10);
    (void)until_segment(0);
    wait_us(RTT_US);
    ack(1, 0, 0);
    expect_segments(11, 13);
    wait_us(RTT_US);
    ack(1, 11, 12); /* the new data arrived, the old did not */
    struct peer_segment s;
    assert_true(peer_next(&f.peer, &s));
    assert_int_equal(s.seq, f.base + MSS);
    assert_int_equal(COUNTED(tcp_timeouts_spurious), 0);
    stop();
}

/* Eifel, RFC 3522: the echo is of the original. */
static void test_recovery_timestamps_undo_a_timeout(void **state)
{
    struct peer_segment s;
    uint32_t original;

    (void)state;
    start(&with_both, &defaults);
    host_send(1);
    assert_true(peer_next(&f.peer, &s));
    original = s.options.ts_value;
    (void)until_segment(0); /* probe */
    (void)until_segment(0);
    assert_int_equal(COUNTED(tcp_timeouts), 1);
    assert_int_equal(cwnd(), 1);
    f.peer.ts_recent = original;
    ack(1, 0, 0);
    assert_int_equal(COUNTED(tcp_timeouts_undone), 1);
    assert_int_equal(cwnd(), 10);
    assert_int_equal(conn()->congestion.ssthresh_bytes, UINT32_MAX);
    stop();
}

static void test_recovery_timestamps_undo_a_recovery(void **state)
{
    struct peer_segment s = {0};

    (void)state;
    start(&with_both, &defaults);
    host_send(10);
    for (int i = 0; i < 10; i++)
        assert_true(peer_next(&f.peer, &s));
    uint32_t original = s.options.ts_value;
    wait_us(RTT_US);
    ack(0, 1, 5);
    expect_segments(0, 1);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_RECOVERY);
    f.peer.ts_recent = original;
    ack(10, 0, 0);
    assert_int_equal(COUNTED(tcp_fast_recoveries_undone), 1);
    assert_true(cwnd() >= 10);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_OPEN);
    stop();
}

/* --- the rate of recovery --- */

/* RFC 6937: about as many go as were delivered, scaled by 0.7. */
static void test_recovery_reduces_in_proportion(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(30);
    expect_segments(0, 10);
    wait_us(RTT_US);
    uint32_t next = 10;
    for (uint32_t i = 2; i <= 10; i++) {
        ack(0, 1, i);
        struct peer_segment s;
        while (peer_next(&f.peer, &s))
            next = s.seq == f.base ? next : (s.seq - f.base) / MSS + 1;
        uint32_t flight = tcp_in_flight(conn()) / MSS;
        assert_true(flight <= 10 && flight + i >= 7);
    }
    /* Limited transmit sent two; then 0 again; in the end ssthresh is in flight. */
    assert_int_equal(tcp_in_flight(conn()), 7 * MSS);
    assert_int_equal(next, 16);
    stop();
}

/* RFC 3042: the first two duplicates let one new segment go each. */
static void test_recovery_limited_transmit(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        start(i == 0 ? &without : &with_sack, &defaults);
        host_send(20);
        expect_segments(0, 10);
        wait_us(RTT_US);
        ack(0, 1, i == 0 ? 1 : 2);
        expect_segments(10, 11);
        ack(0, 1, i == 0 ? 1 : 3);
        expect_segments(11, 12);
        ack(0, 1, i == 0 ? 1 : 4);
        expect_segments(0, 1);
        stop();
    }
}

/* RFC 6582: a partial ACK brings the next; duplicates at the end bring nothing. */
static void test_recovery_newreno(void **state)
{
    (void)state;
    start(&without, &defaults);
    host_send(10);
    expect_segments(0, 10);
    wait_us(RTT_US);
    for (int i = 0; i < 3; i++)
        ack(0, 0, 0);
    expect_segments(0, 1);
    wait_us(RTT_US);
    ack(4, 0, 0);
    expect_segments(4, 5);
    wait_us(RTT_US);
    ack(10, 0, 0);
    /* Held until something above is acknowledged. */
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_RECOVERY);
    host_send(4);
    expect_segments(10, 14);
    for (int i = 0; i < 4; i++)
        ack(10, 0, 0);
    expect_nothing();
    ack(14, 0, 0);
    assert_int_equal(conn()->recovery.phase, TCP_PHASE_OPEN);
    stop();
}

/* A receiver that sacks what it then drops (RFC 2018 §8). */
static void test_recovery_survives_reneging(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    host_send(4);
    expect_segments(0, 4);
    wait_us(RTT_US);
    ack(0, 1, 3);
    ack(1, 0, 0); /* and not 3 */
    (void)until_segment(1);
    assert_int_equal(COUNTED(tcp_rx_reneged), 1);
    stop();
}

/* Whatever an attacker selects, the record of it stays bounded. */
static void test_recovery_bounds_sack_attacks(void **state)
{
    uint32_t random = 1;

    (void)state;
    start(&with_sack, &defaults);
    conn()->congestion.cwnd_bytes = 200 * MSS;
    f.peer.window = UINT16_MAX;
    host_send(200);
    peer_drop_all(&f.peer);
    for (int i = 0; i < 20000; i++) {
        struct tcp_options o = {.sack_count = 4};
        for (int k = 0; k < 4; k++) {
            random = random * 1664525 + 1013904223;
            o.sacks[k].start = f.base + 1 + (random >> 8) % (200 * MSS - 2);
            o.sacks[k].end = o.sacks[k].start + 1;
        }
        peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt,
                                                  .ack = f.base,
                                                  .flags = TCP_ACK,
                                                  .window = UINT16_MAX,
                                                  .options = o});
        peer_drop_all(&f.peer);
        assert_true(conn()->ranges.count <= TCP_RANGES_MAX);
    }
    ack(200, 0, 0);
    assert_int_equal(f.stream->queued_bytes, 0);
    stop();
}

/* --- idle time --- */

static void test_recovery_keeps_the_window_through_idle_time(void **state)
{
    struct net_config decay = {.idle_restart = NET_IDLE_RESTART_DECAY, .is_unpaced = true};

    (void)state;
    for (int is_decay = 0; is_decay < 2; is_decay++) {
        start(&with_sack, is_decay ? &decay : &defaults);
        for (uint32_t sent = 0; sent < 100;) { /* 10, 20, 40 … in use */
            host_send(cwnd());
            wait_us(RTT_US);
            peer_drop_all(&f.peer);
            sent = (conn()->snd_nxt - f.base) / MSS;
            ack(sent, 0, 0);
        }
        uint32_t before = cwnd();
        assert_true(before >= 80);
        wait_us(2000000); /* a viewer between two segments */
        host_send(1);
        assert_int_equal(cwnd(), is_decay ? 10 : before);
        ack((conn()->snd_nxt - f.base) / MSS, 0, 0);
        peer_drop_all(&f.peer);
        if (!is_decay) {
            for (int i = 0; i < 310; i++) { /* the peer answers keepalives */
                wait_us(1000000);
                if (f.peer.count > 0)
                    ack((conn()->snd_nxt - f.base) / MSS, 0, 0);
                peer_drop_all(&f.peer);
                conn()->last_sent_us = f.world.now_us - (uint64_t)i * 1000000;
            }
            host_send(1);
            assert_int_equal(cwnd(), before / 2);
        }
        stop();
    }
}

/* RFC 7661 §4.4.2: what was kept but not tried is not what is reduced. */
static void test_recovery_reduces_what_was_used(void **state)
{
    (void)state;
    start(&with_sack, &defaults);
    conn()->congestion.cwnd_bytes = 100 * MSS;
    host_send(10);
    expect_segments(0, 10);
    wait_us(RTT_US);
    ack(0, 1, 5);
    expect_segments(0, 1);
    assert_int_equal(conn()->congestion.ssthresh_bytes, 7 * MSS);
    stop();
}

/* --- pacing --- */

static void test_recovery_paces(void **state)
{
    static const struct net_config paced = {0};
    uint32_t count = 0;
    uint32_t burst_max = 0;

    (void)state;
    start(&with_sack, &paced);
    conn()->congestion.cwnd_bytes = 60 * MSS;
    host_send(60);
    uint64_t begin_us = f.world.now_us;
    uint64_t end_us = begin_us;
    while (count < 60) {
        uint32_t burst = 0;
        struct peer_segment segment;
        while (peer_next(&f.peer, &segment))
            burst++;
        if (burst > 0)
            end_us = f.world.now_us;
        burst_max = burst > burst_max ? burst : burst_max;
        count += burst;
        assert_true(f.world.now_us < begin_us + RTT_US);
        world_step(&f.world, f.world.now_us + 1000);
    }
    /* Slow start: twice the window in a round trip, in bursts of ten. */
    assert_int_equal(burst_max, 10);
    assert_in_range(end_us - begin_us, RTT_US * 2 / 5, RTT_US / 2);
    assert_true(COUNTED(tcp_paced) >= 5);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recovery_third_sack_resends),
        cmocka_unit_test(test_recovery_waits_for_reordering),
        cmocka_unit_test(test_recovery_late_is_not_lost),
        cmocka_unit_test(test_recovery_finds_lost_retransmission),
        cmocka_unit_test(test_recovery_duplicates_widen_the_window),
        cmocka_unit_test(test_recovery_probes_the_tail),
        cmocka_unit_test(test_recovery_probes_one_segment_later),
        cmocka_unit_test(test_recovery_probe_that_repaired_reduces),
        cmocka_unit_test(test_recovery_needless_probe_reduces_nothing),
        cmocka_unit_test(test_recovery_probes_with_new_data),
        cmocka_unit_test(test_recovery_timeout_starts_with_one),
        cmocka_unit_test(test_recovery_frto_undoes),
        cmocka_unit_test(test_recovery_frto_accepts_a_loss),
        cmocka_unit_test(test_recovery_timestamps_undo_a_timeout),
        cmocka_unit_test(test_recovery_timestamps_undo_a_recovery),
        cmocka_unit_test(test_recovery_reduces_in_proportion),
        cmocka_unit_test(test_recovery_limited_transmit),
        cmocka_unit_test(test_recovery_newreno),
        cmocka_unit_test(test_recovery_survives_reneging),
        cmocka_unit_test(test_recovery_bounds_sack_attacks),
        cmocka_unit_test(test_recovery_keeps_the_window_through_idle_time),
        cmocka_unit_test(test_recovery_reduces_what_was_used),
        cmocka_unit_test(test_recovery_paces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
