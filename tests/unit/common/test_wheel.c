/* The timing wheel against a plain model: random arms, moves and cancels, in virtual time. */
#include "common/wheel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/check.h"

enum { TIMERS = 200, TICK_US = 1 << WHEEL_TICK_SHIFT };

struct probe {
    struct timer timer;
    uint64_t deadline_us; /* 0: disarmed */
    uint32_t fired;
};

static struct probe probes[TIMERS];
static struct wheel wheel;

static void probe_fire(struct timer *t, uint64_t now_us)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);

    assert_true(p->deadline_us != 0);
    assert_true(now_us >= p->deadline_us);
    p->deadline_us = 0;
    p->fired++;
}

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void run_seed(uint64_t seed)
{
    uint64_t state = seed;
    uint64_t now_us = 1000000 + random_next(&state) * 1000;

    memset(probes, 0, sizeof(probes));
    for (int i = 0; i < TIMERS; i++)
        probes[i].timer.fire = probe_fire;
    wheel_init(&wheel, now_us);
    for (int step = 0; step < 4000; step++) {
        struct probe *p = &probes[random_next(&state) % TIMERS];
        uint64_t choice = random_next(&state) % 4;
        if (choice == 0) {
            wheel_cancel(&wheel, &p->timer);
            p->deadline_us = 0;
        } else {
            uint64_t range = (uint64_t)1 << (8 + random_next(&state) % 32);
            p->deadline_us = now_us + 1 + (random_next(&state) << 5) % range;
            wheel_arm(&wheel, &p->timer, p->deadline_us);
        }
        now_us += random_next(&state) % (choice == 3 ? 5000000 : 300);
        while (wheel_poll(&wheel, now_us, 7) == 7)
            ;
        for (int i = 0; i < TIMERS; i++)
            if (probes[i].deadline_us != 0 && probes[i].deadline_us + 2 * TICK_US < now_us)
                fail_msg("seed %lu step %d: timer %d is overdue by %lu us", seed, step, i,
                         now_us - probes[i].deadline_us);
        uint64_t next_us = wheel_next_us(&wheel);
        for (int i = 0; i < TIMERS; i++)
            if (probes[i].deadline_us != 0)
                assert_true(next_us <= probes[i].deadline_us + TICK_US);
    }
}

static void test_wheel_matches_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        run_seed(seed);
}

static void test_wheel_is_empty_after_cancel(void **state)
{
    struct timer t = {.fire = probe_fire};

    (void)state;
    wheel_init(&wheel, 5000);
    assert_int_equal(wheel_next_us(&wheel), UINT64_MAX);
    wheel_arm(&wheel, &t, 100000);
    assert_true(timer_is_armed(&t));
    assert_int_equal(wheel.armed_count, 1);
    wheel_cancel(&wheel, &t);
    wheel_cancel(&wheel, &t);
    assert_int_equal(wheel.armed_count, 0);
    assert_int_equal(wheel_next_us(&wheel), UINT64_MAX);
    assert_int_equal(wheel_poll(&wheel, 200000, 10), 0);
}

static uint32_t rearmed;

static void rearm_fire(struct timer *t, uint64_t now_us)
{
    rearmed++;
    wheel_arm(&wheel, t, now_us); /* in the past: the next poll, not this one */
}

static void test_wheel_rearm_in_the_past_does_not_spin(void **state)
{
    struct timer t = {.fire = rearm_fire};

    (void)state;
    rearmed = 0;
    wheel_init(&wheel, 0);
    wheel_arm(&wheel, &t, 10);
    assert_int_equal(wheel_poll(&wheel, 1000, 100), 1);
    assert_int_equal(wheel_poll(&wheel, 1000, 100), 0);
    assert_int_equal(wheel_poll(&wheel, 1000 + 2 * TICK_US, 100), 1);
    wheel_cancel(&wheel, &t);
}

static void test_wheel_clamps_far_deadline(void **state)
{
    struct probe p = {.timer = {.fire = probe_fire}, .deadline_us = 1};

    (void)state;
    wheel_init(&wheel, 0);
    wheel_arm(&wheel, &p.timer, UINT64_MAX - 1);
    assert_true(wheel_next_us(&wheel) < (uint64_t)7 * 86400 * 1000000);
    wheel_cancel(&wheel, &p.timer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_matches_model),
        cmocka_unit_test(test_wheel_is_empty_after_cancel),
        cmocka_unit_test(test_wheel_rearm_in_the_past_does_not_spin),
        cmocka_unit_test(test_wheel_clamps_far_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
