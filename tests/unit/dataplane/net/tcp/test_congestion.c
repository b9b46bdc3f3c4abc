#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <math.h>

#include "dataplane/net/tcp/congestion.h"

enum { MSS = 1000, RTT_US = 100000 };

/* One round trip in which the whole window is acknowledged, segment by segment. */
static uint64_t round_trip(const struct tcp_congestion_ops *ops, struct tcp_congestion *c,
                           uint64_t now_us)
{
    uint32_t segments = c->cwnd_bytes / MSS;

    for (uint32_t i = 0; i < segments; i++) {
        struct tcp_ack_sample sample = {.now_us = now_us + i * (uint64_t)RTT_US / segments,
                                        .acked_bytes = MSS,
                                        .mss = MSS,
                                        .srtt_us = RTT_US};
        ops->acked(c, &sample);
    }
    return now_us + RTT_US;
}

static void start(const struct tcp_congestion_ops *ops, struct tcp_congestion *c)
{
    *c = (struct tcp_congestion){
        .ops = ops, .cwnd_bytes = tcp_initial_window(MSS), .ssthresh_bytes = UINT32_MAX};
    ops->init(c, &(struct tcp_path){.now_us = 1, .mss = MSS, .random = 1});
}

static void test_congestion_starts_slowly(void **state)
{
    const struct tcp_congestion_ops *all[] = {&tcp_reno, &tcp_cubic};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct tcp_congestion c;
        start(all[i], &c);
        (void)round_trip(all[i], &c, 1000000);
        assert_int_equal(c.cwnd_bytes, 20 * MSS); /* doubles */
        c.ssthresh_bytes = 25 * MSS;
        (void)round_trip(all[i], &c, 1100000);
        assert_in_range(c.cwnd_bytes, 25 * MSS, 28 * MSS); /* and not beyond ssthresh */
    }
}

static void test_congestion_reno_adds_one_a_round(void **state)
{
    struct tcp_congestion c;
    uint64_t now_us = 1000000;

    (void)state;
    start(&tcp_reno, &c);
    c.cwnd_bytes = 40 * MSS;
    assert_int_equal(tcp_reno.congested(&c, MSS, now_us), 20 * MSS);
    c.cwnd_bytes = MSS;
    assert_int_equal(tcp_reno.congested(&c, MSS, now_us), 2 * MSS);
    c.cwnd_bytes = c.ssthresh_bytes = 20 * MSS;
    for (int i = 0; i < 10; i++)
        now_us = round_trip(&tcp_reno, &c, now_us);
    assert_in_range(c.cwnd_bytes, 29 * MSS, 30 * MSS);
}

/* After a reduction from W_max, the window follows C (t - K)^3 + W_max (RFC 9438 §4.2). */
static void test_congestion_cubic_follows_its_curve(void **state)
{
    struct tcp_congestion c;
    uint64_t now_us = 1000000;
    const double w_max = 2000;
    const double k = cbrt(w_max * 0.3 / 0.4);

    (void)state;
    start(&tcp_cubic, &c);
    c.cwnd_bytes = (uint32_t)w_max * MSS;
    c.ssthresh_bytes = tcp_cubic.congested(&c, MSS, now_us);
    assert_int_equal(c.ssthresh_bytes, 1400 * MSS);
    c.cwnd_bytes = c.ssthresh_bytes;
    for (int i = 0; i < 200; i++) {
        now_us = round_trip(&tcp_cubic, &c, now_us);
        double t = (double)(now_us - 1000000) / 1e6;
        double expected = 0.4 * pow(t - k, 3) + w_max;
        double reached = (double)c.cwnd_bytes / MSS;
        if (i > 2 && fabs(reached - expected) > 0.04 * expected)
            fail_msg("at %.1f s (round %d): %.0f segments, expected %.0f", t, i, reached, expected);
    }
}

static void test_congestion_cubic_is_no_worse_than_reno(void **state)
{
    struct tcp_congestion c;
    uint64_t now_us = 1000000;

    (void)state;
    start(&tcp_cubic, &c);
    c.cwnd_bytes = 20 * MSS; /* small, short: where the curve is flatter than Reno (§4.3) */
    c.ssthresh_bytes = tcp_cubic.congested(&c, MSS, now_us);
    c.cwnd_bytes = c.ssthresh_bytes;
    for (int i = 0; i < 20; i++)
        now_us = round_trip(&tcp_cubic, &c, now_us) - RTT_US + 10000; /* 10 ms a round */
    assert_true(c.cwnd_bytes >= 22 * MSS);
}

/* §4.7: a window that did not get back gives way. */
static void test_congestion_cubic_converges_fast(void **state)
{
    struct tcp_congestion c;

    (void)state;
    start(&tcp_cubic, &c);
    c.cwnd_bytes = 100 * MSS;
    c.cwnd_bytes = tcp_cubic.congested(&c, MSS, 1);
    assert_int_equal(c.cubic.w_max, 100 * MSS);
    c.cwnd_bytes = 80 * MSS;
    (void)tcp_cubic.congested(&c, MSS, 2);
    assert_int_equal(c.cubic.w_max, 68 * MSS);
    tcp_cubic.undone(&c); /* §4.9.2 */
    assert_int_equal(c.cubic.w_max, 100 * MSS);
}

static void test_congestion_cubic_does_not_grow_in_idle_time(void **state)
{
    struct tcp_congestion c;
    uint64_t now_us = 1000000;
    uint32_t grown[2];

    (void)state;
    for (int idle = 0; idle < 2; idle++) {
        start(&tcp_cubic, &c);
        c.cwnd_bytes = 200 * MSS;
        c.cwnd_bytes = c.ssthresh_bytes = tcp_cubic.congested(&c, MSS, now_us);
        uint64_t t_us = round_trip(&tcp_cubic, &c, now_us);
        if (idle == 1) {
            t_us += 60000000;
            tcp_cubic.restarted(&c, 60000000);
        }
        (void)round_trip(&tcp_cubic, &c, t_us);
        grown[idle] = c.cwnd_bytes;
    }
    assert_int_equal(grown[0], grown[1]);
}

static void test_congestion_is_found_by_name(void **state)
{
    (void)state;
    assert_ptr_equal(tcp_congestion_find("cubic"), &tcp_cubic);
    assert_ptr_equal(tcp_congestion_find("reno"), &tcp_reno);
    assert_ptr_equal(tcp_congestion_find("bbr"), &tcp_bbr);
    assert_null(tcp_congestion_find("vegas"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_congestion_starts_slowly),
        cmocka_unit_test(test_congestion_reno_adds_one_a_round),
        cmocka_unit_test(test_congestion_cubic_follows_its_curve),
        cmocka_unit_test(test_congestion_cubic_is_no_worse_than_reno),
        cmocka_unit_test(test_congestion_cubic_converges_fast),
        cmocka_unit_test(test_congestion_cubic_does_not_grow_in_idle_time),
        cmocka_unit_test(test_congestion_is_found_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
