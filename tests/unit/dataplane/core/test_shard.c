/* The shard loop with real threads: messages, timers, pollers, sleeping and waking. */
#include "dataplane/core/shard.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/config/config.h"
#include "drivers/net/transport.h"

enum { SENDERS = 3, MESSAGES = 20000, WAKE_LIMIT_US = 500000 };

static struct config config;
static struct counters counters;
static struct shard shard;
static struct shard *all[1] = {&shard};
static uint64_t received[SENDERS];
static _Atomic uint64_t received_total;

static void *run_shard(void *argument)
{
    shard_run(argument);
    return NULL;
}

static void handle_number(struct shard *s, const struct message *m)
{
    assert_ptr_equal(s, &shard);
    assert_int_equal(received[m->args[0]], m->args[1]);
    received[m->args[0]]++;
    atomic_fetch_add(&received_total, 1);
}

static void *send_numbers(void *argument)
{
    struct message m = {.handle = handle_number, .args = {*(uint64_t *)argument}};

    for (m.args[1] = 0; m.args[1] < MESSAGES; m.args[1]++)
        while (shard_post(&shard, &m) == -ENOBUFS)
            sched_yield();
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    config_defaults(&config);
    config.shards_spin_us = 0; /* sleep at every chance */
    memset(&shard, 0, sizeof(shard));
    memset(&counters, 0, sizeof(counters));
    memset(received, 0, sizeof(received));
    received_total = 0;
    assert_int_equal(shard_init(&shard, 0, 1, all, &config, &counters), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shard_fini(&shard);
    return 0;
}

static void test_shard_takes_every_message_in_order(void **state)
{
    pthread_t loop;
    pthread_t senders[SENDERS];
    uint64_t ids[SENDERS];

    (void)state;
    assert_int_equal(pthread_create(&loop, NULL, run_shard, &shard), 0);
    for (uint64_t i = 0; i < SENDERS; i++) {
        ids[i] = i;
        assert_int_equal(pthread_create(&senders[i], NULL, send_numbers, &ids[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    while (atomic_load(&received_total) < SENDERS * MESSAGES)
        sched_yield();
    shard_stop(&shard);
    pthread_join(loop, NULL);
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(received[i], MESSAGES);
}

struct stopper {
    struct timer timer;
    uint64_t deadline_us;
    uint64_t fired_us;
};

static void fire_stop(struct timer *t, uint64_t now_us)
{
    CONTAINER_OF(t, struct stopper, timer)->fired_us = now_us;
    shard_stop(&shard);
}

static void test_shard_sleeps_until_its_timer(void **state)
{
    struct stopper stopper = {.timer = {.fire = fire_stop}};

    (void)state;
    stopper.deadline_us = clock_monotonic_us() + 30000;
    wheel_arm(&shard.wheel, &stopper.timer, stopper.deadline_us);
    shard_run(&shard);
    assert_true(stopper.fired_us >= stopper.deadline_us);
    assert_true(stopper.fired_us < stopper.deadline_us + WAKE_LIMIT_US);
    /* It slept instead of turning: a spinning loop would make tens of thousands of turns. */
    assert_true(counter_read(&counters.shard_iterations) < 1000);
    assert_true(counter_read(&counters.shard_wakeups) > 0);
    assert_true(counter_read(&counters.shard_idle_us) >= 25000);
}

static unsigned poll_event(void *user, uint64_t now_us, unsigned budget)
{
    uint64_t value;

    (void)now_us;
    (void)budget;
    if (read(*(int *)user, &value, sizeof(value)) != sizeof(value))
        return 0;
    shard_stop(&shard);
    return 1;
}

static void test_shard_wakes_for_a_pollers_descriptor(void **state)
{
    pthread_t loop;
    int fd = eventfd(0, EFD_NONBLOCK);
    struct shard_poller poller = {.name = "event", .poll = poll_event, .user = &fd, .fd = fd};
    uint64_t one = 1;

    (void)state;
    assert_int_equal(shard_add_poller(&shard, &poller), 0);
    assert_int_equal(pthread_create(&loop, NULL, run_shard, &shard), 0);
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
    pthread_join(loop, NULL);
    close(fd);
}

/* Something that other threads hand numbers to. */
struct handed {
    struct transport base;
    atomic_uint given;
    atomic_uint taken;
};

static unsigned handed_poll(struct transport *t, uint64_t now_us, unsigned budget)
{
    struct handed *h = CONTAINER_OF(t, struct handed, base);
    unsigned given = atomic_load(&h->given);
    unsigned work = given - atomic_load(&h->taken);

    (void)now_us;
    (void)budget;
    atomic_store(&h->taken, given);
    return work;
}

static void handed_flush(struct transport *t, uint64_t now_us)
{
    (void)t;
    (void)now_us;
}

static int handed_wait_fd(struct transport *t)
{
    (void)t;
    return -2;
}

static bool handed_has_work(const struct transport *t)
{
    const struct handed *h = (const struct handed *)(const void *)t;

    return atomic_load(&h->given) != atomic_load(&h->taken);
}

/* Left to its own, it would look a hundred milliseconds later. */
static void test_shard_wakes_for_what_is_handed_over(void **state)
{
    static const struct transport_ops ops = {.poll = handed_poll,
                                             .flush = handed_flush,
                                             .wait_fd = handed_wait_fd,
                                             .has_work = handed_has_work};
    struct handed handed = {.base = {.ops = &ops}};
    uint64_t start_us = clock_monotonic_us();
    pthread_t loop;

    (void)state;
    assert_int_equal(shard_add_transport(&shard, &handed.base), 0);
    assert_false(shard.must_poll);
    assert_int_equal(pthread_create(&loop, NULL, run_shard, &shard), 0);
    for (unsigned i = 1; i <= 200; i++) {
        atomic_store(&handed.given, i);
        shard_wake(&shard);
        while (atomic_load(&handed.taken) != i)
            sched_yield();
    }
    assert_true(clock_monotonic_us() - start_us < 200 * 50000);
    shard_stop(&shard);
    pthread_join(loop, NULL);
    assert_true(counter_read(&counters.shard_wakeups) > 0);
}

static void test_shard_refuses_too_many_pollers(void **state)
{
    struct shard_poller poller = {.name = "none", .poll = poll_event, .fd = -1};

    (void)state;
    for (int i = 0; i < SHARD_POLLERS_MAX; i++)
        assert_int_equal(shard_add_poller(&shard, &poller), 0);
    assert_int_equal(shard_add_poller(&shard, &poller), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shard_takes_every_message_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shard_sleeps_until_its_timer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shard_wakes_for_a_pollers_descriptor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shard_wakes_for_what_is_handed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shard_refuses_too_many_pollers, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
