#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/tcp/hystart.h"

enum { MSS = 1000, ROUND = 20 };

static uint32_t seq;
static bool is_over;

/* A round of ROUND segments that each take 'rtt_us'; returns how much the window grew. */
static uint32_t round_of(struct tcp_hystart *h, uint32_t rtt_us)
{
    uint32_t grown = 0;

    for (int i = 0; i < ROUND; i++) {
        seq += MSS;
        bool is_end = false;
        grown += hystart_acked(h,
                               &(struct tcp_ack_sample){.acked_bytes = MSS,
                                                        .mss = MSS,
                                                        .rtt_us = rtt_us,
                                                        .snd_una = seq,
                                                        .snd_nxt = seq + ROUND * MSS},
                               &is_end);
        is_over = is_over || is_end;
    }
    return grown;
}

static void start(struct tcp_hystart *h)
{
    hystart_init(h);
    seq = UINT32_MAX - 70 * MSS;
    is_over = false;
}

static void test_hystart_doubles_on_a_steady_path(void **state)
{
    struct tcp_hystart h;

    (void)state;
    start(&h);
    for (int i = 0; i < 10; i++)
        assert_int_equal(round_of(&h, 50000 + (uint32_t)i % 3 * 1000), ROUND * MSS);
    assert_false(is_over);
}

/* §4.2: a growth of an eighth slows down; five rounds of that end it. */
static void test_hystart_ends_when_a_queue_grows(void **state)
{
    struct tcp_hystart h;
    int rounds = 0;

    (void)state;
    start(&h);
    (void)round_of(&h, 80000);
    (void)round_of(&h, 80000);
    (void)round_of(&h, 91000);
    while (!is_over && rounds < 20) {
        assert_in_range(round_of(&h, 92000), ROUND * MSS / 4, ROUND * MSS);
        rounds++;
    }
    assert_int_equal(rounds, 5);
}

static void test_hystart_takes_noise_back(void **state)
{
    struct tcp_hystart h;

    (void)state;
    start(&h);
    (void)round_of(&h, 80000);
    (void)round_of(&h, 80000);
    (void)round_of(&h, 91000);
    (void)round_of(&h, 82000);
    assert_int_equal(round_of(&h, 82000), ROUND * MSS);
    for (int i = 0; i < 10; i++)
        (void)round_of(&h, 82000);
    assert_false(is_over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hystart_doubles_on_a_steady_path),
        cmocka_unit_test(test_hystart_ends_when_a_queue_grows),
        cmocka_unit_test(test_hystart_takes_noise_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
