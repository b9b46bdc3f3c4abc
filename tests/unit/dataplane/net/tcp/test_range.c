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
static const struct tcp_rate_mark mark;

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
        ranges_sent(&r, &pool, i * 100, 100, 5, &mark, false);
    assert_int_equal(r.count, 1);
    ranges_sent(&r, &pool, 1000, 100, 6, &mark, false);
    assert_int_equal(r.count, 2);
    ranges_ack(&r, &pool, 550, &sample);
    assert_int_equal(sample.delivered_bytes, 550);
    assert_int_equal(sample.first_sent_us, 5);
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
                    ranges_sent(&r, &pool, nxt, amount, (uint64_t)step, &mark, false);
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
                for (uint32_t i = r.head; i != POOL_NONE; i = range_at(&pool, i)->next)
                    if (i % 3 == amount % 3 && (range_at(&pool, i)->flags & RANGE_SACKED) == 0)
                        range_mark_lost(&r, &pool, i);
                break;
            case 5: {
                uint32_t index = ranges_next_lost(&r, &pool);
                if (index != POOL_NONE)
                    range_resent(&r, &pool, index, (uint64_t)step, &mark, false);
                break;
            }
            default:
                if (amount % 10 == 0)
                    (void)ranges_mark_all_lost(&r, &pool, (uint64_t)step / 2);
                else if (amount % 10 == 1)
                    ranges_unmark_lost(&r, &pool);
                else
                    (void)ranges_mark_head_lost(&r, &pool, amount);
            }
            check(una, nxt);
        }
        stop();
    }
}

static void test_range_joins_what_is_sacked(void **state)
{
    struct tcp_range_sample sample = {.recover = 1000};

    (void)state;
    start(32);
    for (uint32_t i = 0; i < 10; i++)
        ranges_sent(&r, &pool, i * 100, 100, i + 1, &mark, false);
    ranges_sack(&r, &pool, 500, 600, &sample);
    assert_false(sample.is_reordered);
    assert_true(sample.is_original);
    ranges_sack(&r, &pool, 700, 800, &sample);
    assert_int_equal(r.count, 10);
    ranges_sack(&r, &pool, 600, 700, &sample); /* fills the hole: late, not lost */
    assert_int_equal(r.count, 8);
    assert_true(sample.is_reordered);
    assert_int_equal(sample.reordered_seq, 600);
    assert_int_equal(sample.latest_sent_us, 8);
    assert_int_equal(sample.latest_end, 800);
    check(0, 1000);
    stop();
}

static void test_range_spares_what_was_sent_lately(void **state)
{
    (void)state;
    start(32);
    for (uint32_t i = 0; i < 4; i++)
        ranges_sent(&r, &pool, i * 100, 100, 10 * i, &mark, false);
    assert_false(ranges_mark_all_lost(&r, &pool, 15));
    assert_int_equal(r.lost_bytes, 200); /* of 20 and 30 it is too early to tell */
    check(0, 400);
    uint32_t index = ranges_next_lost(&r, &pool);
    range_resent(&r, &pool, index, 50, &mark, false);
    index = ranges_next_lost(&r, &pool);
    range_resent(&r, &pool, index, 50, &mark, false);
    assert_int_equal(r.count, 3); /* both went at one time */
    assert_int_equal(ranges_next_lost(&r, &pool), POOL_NONE);
    range_mark_lost(&r, &pool, r.head); /* again */
    assert_int_equal(r.resent_bytes, 0);
    assert_int_equal(r.marked_bytes, 400);
    assert_int_equal(ranges_next_lost(&r, &pool), r.head);
    check(0, 400);
    stop();
}

static void test_range_believes_that_a_receiver_reneged(void **state)
{
    struct tcp_range_sample sample = {0};

    (void)state;
    start(32);
    for (uint32_t i = 0; i < 3; i++)
        ranges_sent(&r, &pool, i * 100, 100, i, &mark, false);
    ranges_sack(&r, &pool, 100, 300, &sample);
    assert_false(ranges_mark_all_lost(&r, &pool, 9));
    assert_int_equal(r.lost_bytes, 100);
    assert_int_equal(r.sacked_bytes, 200);
    ranges_ack(&r, &pool, 100, &sample); /* …but the ACK does not pass what it had sacked */
    assert_true(ranges_mark_all_lost(&r, &pool, 9));
    assert_int_equal(r.lost_bytes, 200);
    assert_int_equal(r.sacked_bytes, 0);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_is_one_for_each_turn),
        cmocka_unit_test(test_range_keeps_account),
        cmocka_unit_test(test_range_joins_what_is_sacked),
        cmocka_unit_test(test_range_spares_what_was_sent_lately),
        cmocka_unit_test(test_range_believes_that_a_receiver_reneged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
