#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/tcp/rate.h"

enum { MS = 1000 };

/* What an acknowledgement at 'now_us' brings of something sent with 'mark' at 'sent_us'. */
static struct tcp_rate_sample acked(struct tcp_rate *r, const struct tcp_rate_mark *mark,
                                    uint64_t sent_us, uint64_t now_us, uint32_t delivered)
{
    const struct tcp_model_sample sample = {.now_us = now_us,
                                            .sent_us = sent_us,
                                            .mark = mark,
                                            .delivered_bytes = delivered,
                                            .marked_bytes = 700};

    return tcp_rate_acked(r, &sample, 10 * MS);
}

/* draft-ietf-ccwg-bbr-06 §4.1.1.2: the longer of the times it took to send, and to hear of it. */
static void test_rate_is_the_slower_of_sending_and_delivery(void **state)
{
    struct tcp_rate r = {0};
    struct tcp_rate_mark first = {.in_flight_bytes = 1000};
    struct tcp_rate_mark last = {.in_flight_bytes = 2000, .marked_bytes = 500};

    (void)state;
    assert_false(tcp_rate_sent(&r, 100 * MS, 0, &first));
    assert_false(tcp_rate_sent(&r, 180 * MS, 1000, &last));
    assert_int_equal(first.delivered_us, 100 * MS); /* nothing was in flight: it begins here */
    assert_int_equal(last.first_sent_us, 100 * MS);

    struct tcp_rate_sample rate = acked(&r, &first, 100 * MS, 120 * MS, 1000);
    assert_int_equal(rate.bytes_per_s, 1000 * 50); /* in 20 ms */
    assert_int_equal(rate.sent_in_flight, 1000);
    assert_int_equal(rate.lost_bytes, 700);
    assert_true(rate.is_any);

    rate = acked(&r, &last, 180 * MS, 200 * MS, 2000); /* both in 100 ms */
    assert_int_equal(rate.bytes_per_s, 2000 * 10);
    assert_int_equal(rate.prior_delivered, 0);
    assert_int_equal(rate.lost_bytes, 200);

    struct tcp_rate_mark fast = {.delivered_bytes = 2000};
    assert_false(tcp_rate_sent(&r, 210 * MS, 500, &fast));
    assert_int_equal(fast.first_sent_us, 180 * MS);
    assert_int_equal(fast.delivered_us, 200 * MS);
    rate = acked(&r, &fast, 210 * MS, 220 * MS, 5000); /* heard in 20 ms, sent in 30 */
    assert_int_equal(rate.bytes_per_s, 3000 * 1000 / 30);
}

static void test_rate_is_not_of_what_came_too_soon(void **state)
{
    struct tcp_rate r = {0};
    struct tcp_rate_mark mark = {0};

    (void)state;
    (void)tcp_rate_sent(&r, 100 * MS, 0, &mark);
    struct tcp_rate_sample rate = acked(&r, &mark, 100 * MS, 109 * MS, 1000);
    assert_true(rate.is_any);
    assert_int_equal(rate.bytes_per_s, 0);
    rate = acked(&r, &mark, 0, 120 * MS, 2000); /* what arrived is not known */
    assert_false(rate.is_any);
}

static void test_rate_knows_when_the_user_had_nothing(void **state)
{
    struct tcp_rate r = {0};
    struct tcp_rate_mark marks[2] = {{0}, {0}};

    (void)state;
    tcp_rate_limit(&r, UINT32_MAX - 999); /* counts wrap */
    assert_true(tcp_rate_sent(&r, 100 * MS, 0, &marks[0]));
    (void)acked(&r, &marks[0], 100 * MS, 120 * MS, UINT32_MAX - 999);
    assert_true(tcp_rate_sent(&r, 120 * MS, 0, &marks[0]));
    (void)acked(&r, &marks[0], 120 * MS, 140 * MS, 1); /* the gap has passed the path */
    assert_false(tcp_rate_sent(&r, 140 * MS, 0, &marks[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate_is_the_slower_of_sending_and_delivery),
        cmocka_unit_test(test_rate_is_not_of_what_came_too_soon),
        cmocka_unit_test(test_rate_knows_when_the_user_had_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
