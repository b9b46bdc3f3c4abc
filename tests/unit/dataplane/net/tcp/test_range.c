/* The scoreboard: its sums always agree with its ranges, and those with what was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/tcp/range.h"
#include "dataplane/net/tcp/seq.h"

static struct pool pool;
static struct tcp_ranges r;

static void start(uint32_t count)
{
    assert_int_equal(pool_init(&pool, count, sizeof(struct tcp_range)), 0);
    ranges_init(&r);
}

static void stop(void)
{
    ranges_clear(&r, &pool);
    assert_int_equal(pool.in_use, 0);
    pool_fini(&pool);
}

/* Recomputes the sums, and checks that ranges cover [una, nxt) without a gap. */
static void check(uint32_t una, uint32_t nxt)
{
    uint32_t sacked = 0;
    uint32_t lost = 0;
    uint32_t resent = 0;
    uint32_t count = 0;
    uint32_t at = una;

    for (uint32_t i = r.head; i != POOL_NONE; i = range_at(&pool, i)->next) {
        const struct tcp_range *x = range_at(&pool, i);
        assert_int_equal(x->seq, at);
        assert_true(x->size > 0);
        at += x->size;
        sacked += (x->flags & RANGE_SACKED) != 0 ? x->size : 0;
        lost += (x->flags & RANGE_LOST) != 0 ? x->size : 0;
        resent += (x->flags & RANGE_RESENT) != 0 ? x->size : 0;
        assert_false((x->flags & RANGE_SACKED) != 0 && (x->flags & RANGE_LOST) != 0);
        assert_false((x->flags & RANGE_RESENT) != 0 && (x->flags & RANGE_LOST) == 0);
        count++;
    }
    assert_int_equal(at, nxt);
    assert_int_equal(r.sacked_bytes, sacked);
    assert_int_equal(r.lost_bytes, lost);
    assert_int_equal(r.resent_bytes, resent);
    assert_int_equal(r.count, count);
    assert_int_equal(pool.in_use, count);
}

static void test_range_is_one_for_each_turn(void **state)
{
    struct tcp_range_sample sample = {0};

    (void)state;
    start(16);
    for (uint32_t i = 0; i < 10; i++)
        ranges_sent(&r, &pool, i * 100, 100, 5);
    assert_int_equal(r.count, 1);
    ranges_sent(&r, &pool, 1000, 100, 6);
    assert_int_equal(r.count, 2);
    ranges_ack(&r, &pool, 550, &sample);
    assert_int_equal(sample.delivered_bytes, 550);
    assert_int_equal(sample.sent_us, 5);
    check(550, 1100);
    stop();
}

static void test_range_keeps_account(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed < 200; seed++) {
        uint32_t random = seed;
        uint32_t una = UINT32_MAX - 5000;
        uint32_t nxt = una;

        start(seed % 2 == 0 ? 12 : 600); /* half of them run out */
        for (int step = 0; step < 300; step++) {
            struct tcp_range_sample sample = {0};
            random = random * 1664525 + 1013904223;
            uint32_t amount = (random >> 10) % 1500 + 1;
            uint32_t flight = nxt - una;
            switch ((random >> 24) % 7) {
            case 0:
            case 1:
                if (flight < 20000 && ranges_have_room(&r, &pool)) {
                    ranges_sent(&r, &pool, nxt, amount, (uint64_t)step);
                    nxt += amount;
                }
                break;
            case 2:
                if (flight > 0) {
                    una += amount % (flight + 1);
                    ranges_ack(&r, &pool, una, &sample);
                }
                break;
            case 3:
                if (flight > 1) {
                    uint32_t from = una + (random >> 4) % flight;
                    uint32_t to = from + amount;
                    if (seq_is_after(to, nxt))
                        to = nxt;
                    ranges_sack(&r, &pool, from, to, &sample);
                }
                break;
            case 4:
                (void)ranges_mark_lost(&r, &pool, amount);
                break;
            case 5: {
                uint32_t index = ranges_next_lost(&r, &pool);
                if (index != POOL_NONE)
                    range_resent(&r, range_at(&pool, index), (uint64_t)step);
                break;
            }
            default:
                if (amount % 10 == 0)
                    ranges_mark_all_lost(&r, &pool);
                else
                    (void)ranges_mark_head_lost(&r, &pool, amount);
            }
            check(una, nxt);
        }
        stop();
    }
}

static void test_range_loses_what_has_enough_behind(void **state)
{
    struct tcp_range_sample sample = {0};

    (void)state;
    start(32);
    for (uint32_t i = 0; i < 10; i++)
        ranges_sent(&r, &pool, i * 100, 100, i);
    ranges_sack(&r, &pool, 300, 500, &sample);
    assert_false(ranges_mark_lost(&r, &pool, 201)); /* two segments behind: not yet */
    ranges_sack(&r, &pool, 700, 800, &sample);
    assert_true(ranges_mark_lost(&r, &pool, 201));
    assert_int_equal(r.lost_bytes, 300); /* 0 … 300; of 500 … 700 one segment behind only */
    check(0, 1000);
    stop();
}

static void test_range_believes_that_a_receiver_reneged(void **state)
{
    struct tcp_range_sample sample = {0};

    (void)state;
    start(32);
    for (uint32_t i = 0; i < 3; i++)
        ranges_sent(&r, &pool, i * 100, 100, i);
    ranges_sack(&r, &pool, 100, 300, &sample);
    ranges_mark_all_lost(&r, &pool);
    assert_int_equal(r.lost_bytes, 100);
    assert_int_equal(r.sacked_bytes, 200);
    ranges_ack(&r, &pool, 100, &sample); /* …but the ACK does not pass what it had sacked */
    ranges_mark_all_lost(&r, &pool);
    assert_int_equal(r.lost_bytes, 200);
    assert_int_equal(r.sacked_bytes, 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_is_one_for_each_turn),
        cmocka_unit_test(test_range_keeps_account),
        cmocka_unit_test(test_range_loses_what_has_enough_behind),
        cmocka_unit_test(test_range_believes_that_a_receiver_reneged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
