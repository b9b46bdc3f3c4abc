/* SPSC and MPSC rings: bounds, order, and nothing lost or doubled between threads. */
#include "common/mpsc.h"
#include "common/spsc.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PRODUCERS = 3, PER_PRODUCER = 50000 };

struct item {
    uint32_t producer;
    uint32_t number;
};

static struct mpsc *shared_mpsc;
static struct spsc *shared_spsc;

static void *produce_mpsc(void *argument)
{
    struct item item = {.producer = *(uint32_t *)argument};

    for (item.number = 0; item.number < PER_PRODUCER; item.number++)
        while (!mpsc_push(shared_mpsc, &item))
            sched_yield();
    return NULL;
}

static void *produce_spsc(void *argument)
{
    (void)argument;
    for (uint64_t n = 0; n < PER_PRODUCER; n++)
        while (!spsc_push(shared_spsc, &n))
            sched_yield();
    return NULL;
}

static void test_mpsc_keeps_each_producers_order(void **state)
{
    pthread_t threads[PRODUCERS];
    uint32_t ids[PRODUCERS];
    uint32_t next[PRODUCERS] = {0};
    struct item item;

    (void)state;
    shared_mpsc = mpsc_new(64, sizeof(struct item));
    assert_non_null(shared_mpsc);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, produce_mpsc, &ids[i]), 0);
    }
    for (uint32_t got = 0; got < PRODUCERS * PER_PRODUCER;) {
        if (!mpsc_pop(shared_mpsc, &item)) {
            sched_yield();
            continue;
        }
        assert_true(item.producer < PRODUCERS);
        assert_int_equal(item.number, next[item.producer]);
        next[item.producer]++;
        got++;
    }
    for (uint32_t i = 0; i < PRODUCERS; i++)
        pthread_join(threads[i], NULL);
    assert_false(mpsc_pop(shared_mpsc, &item));
    mpsc_free(&shared_mpsc);
}

static void test_mpsc_refuses_when_full(void **state)
{
    struct mpsc *q = mpsc_new(4, sizeof(uint32_t));
    uint32_t value;

    (void)state;
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 4; i++)
            assert_true(mpsc_push(q, &i));
        assert_false(mpsc_push(q, &round));
        for (uint32_t i = 0; i < 4; i++) {
            assert_true(mpsc_pop(q, &value));
            assert_int_equal(value, i);
        }
        assert_false(mpsc_has_item(q));
    }
    mpsc_free(&q);
    assert_null(q);
}

static void test_spsc_keeps_order(void **state)
{
    pthread_t thread;
    uint64_t value;

    (void)state;
    shared_spsc = spsc_new(32, sizeof(uint64_t));
    assert_int_equal(pthread_create(&thread, NULL, produce_spsc, NULL), 0);
    for (uint64_t expected = 0; expected < PER_PRODUCER;) {
        if (!spsc_pop(shared_spsc, &value)) {
            sched_yield();
            continue;
        }
        assert_int_equal(value, expected);
        expected++;
    }
    pthread_join(thread, NULL);
    spsc_free(&shared_spsc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mpsc_keeps_each_producers_order),
        cmocka_unit_test(test_mpsc_refuses_when_full),
        cmocka_unit_test(test_spsc_keeps_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
