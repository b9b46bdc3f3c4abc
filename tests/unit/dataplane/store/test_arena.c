/* The granule bitmap: every run it gives is free, neighbouring and inside; nothing is lost. */
#include "dataplane/store/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_arena_fills_to_the_last_granule(void **state)
{
    static const uint32_t counts[] = {1, 63, 64, 65, 128, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct arena a;
        assert_int_equal(arena_init(&a, counts[i]), 0);
        for (uint32_t n = 0; n < counts[i]; n++)
            assert_int_equal(arena_take(&a, 1), n);
        assert_int_equal(arena_take(&a, 1), ARENA_NONE);
        assert_int_equal(a.free_count, 0);
        arena_give(&a, 0, counts[i]);
        assert_int_equal(arena_take(&a, counts[i]), 0);
        assert_int_equal(arena_take(&a, 1), ARENA_NONE);
        arena_fini(&a);
    }
}

static void test_arena_takes_the_next_fit_and_wraps(void **state)
{
    struct arena a;

    (void)state;
    assert_int_equal(arena_init(&a, 100), 0);
    assert_int_equal(arena_take(&a, 40), 0);
    assert_int_equal(arena_take(&a, 40), 40);
    arena_give(&a, 0, 40);
    assert_int_equal(arena_take(&a, 10), 80); /* not at 0: the search goes on behind the last */
    assert_int_equal(arena_take(&a, 20), 0);  /* 90..99 is too short */
    assert_int_equal(arena_take(&a, 21), ARENA_NONE);
    assert_int_equal(arena_take(&a, 20), 20);
    assert_int_equal(arena_take(&a, 10), 90);
    assert_int_equal(a.free_count, 0);
    arena_fini(&a);
}

static void test_arena_takes_brief_runs_from_the_high_end(void **state)
{
    struct arena a;

    (void)state;
    assert_int_equal(arena_init(&a, 150), 0);
    assert_int_equal(arena_take_high(&a, 10), 140);
    assert_int_equal(arena_take_high(&a, 70), 70);
    assert_int_equal(arena_take(&a, 5), 0);
    arena_give(&a, 140, 10);
    assert_int_equal(arena_take_high(&a, 4), 146);
    assert_int_equal(arena_take_high(&a, 7), 63); /* 140..145 is too short */
    assert_int_equal(arena_take_high(&a, 6), 140);
    assert_int_equal(arena_take_high(&a, 59), ARENA_NONE);
    assert_int_equal(arena_take_high(&a, 58), 5);
    assert_int_equal(a.free_count, 0);
    assert_int_equal(arena_take_high(&a, 1), ARENA_NONE);
    arena_fini(&a);
}

static void test_arena_follows_the_newest_run_when_it_shrinks(void **state)
{
    struct arena a;

    (void)state;
    assert_int_equal(arena_init(&a, 100), 0);
    assert_int_equal(arena_take(&a, 50), 0);
    arena_give(&a, 10, 40);
    assert_int_equal(arena_take(&a, 5), 10);
    arena_fini(&a);
}

static void test_arena_never_gives_a_granule_twice(void **state)
{
    enum { COUNT = 777, LIVE_MAX = 200 };
    struct {
        uint32_t first, count;
    } live[LIVE_MAX];
    static uint8_t owner[COUNT];
    uint32_t live_count = 0, taken = 0, seed = 12345;
    struct arena a;

    (void)state;
    memset(owner, 0, sizeof(owner));
    assert_int_equal(arena_init(&a, COUNT), 0);
    for (uint32_t round = 0; round < 20000; round++) {
        seed = seed * 1664525 + 1013904223;
        if (live_count < LIVE_MAX && (seed >> 16) % 5 < 3) {
            uint32_t count = 1 + (seed >> 8) % 90;
            uint32_t first = seed % 2 == 0 ? arena_take(&a, count) : arena_take_high(&a, count);
            if (first == ARENA_NONE)
                continue;
            assert_true(first + count <= COUNT);
            for (uint32_t i = first; i < first + count; i++) {
                assert_int_equal(owner[i], 0);
                owner[i] = 1;
            }
            live[live_count].first = first;
            live[live_count++].count = count;
            taken += count;
        } else if (live_count > 0) {
            uint32_t which = (seed >> 4) % live_count;
            arena_give(&a, live[which].first, live[which].count);
            memset(owner + live[which].first, 0, live[which].count);
            taken -= live[which].count;
            live[which] = live[--live_count];
        }
        assert_int_equal(a.free_count, COUNT - taken);
    }
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_fills_to_the_last_granule),
        cmocka_unit_test(test_arena_takes_the_next_fit_and_wraps),
        cmocka_unit_test(test_arena_takes_brief_runs_from_the_high_end),
        cmocka_unit_test(test_arena_follows_the_newest_run_when_it_shrinks),
        cmocka_unit_test(test_arena_never_gives_a_granule_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
