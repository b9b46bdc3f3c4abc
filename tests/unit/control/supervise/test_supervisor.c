/* The supervisor over processes that this test makes up, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "common/check.h"
#include "control/supervise/supervisor.h"

enum { MS = 1000, RESTART_MIN_MS = 100, RESTART_MAX_MS = 800, STOP_TIMEOUT_MS = 5000 };

static struct {
    struct wheel wheel;
    struct supervisor supervisor;
    uint64_t now_us;
    int find_status; /* what find() says */
    int spawn_status;
    pid_t next_pid;
    unsigned spawns;
    unsigned asks;
    unsigned stops;
    unsigned starts;
    int last_signal;
    bool can_ask;
} w;

static int fake_find(void *user, struct process *ret_process)
{
    (void)user;
    if (w.find_status == 0)
        *ret_process = (struct process){.pid = 77};
    return w.find_status;
}

static int fake_spawn(void *user, struct process *ret_process)
{
    (void)user;
    w.spawns++;
    if (w.spawn_status == 0)
        *ret_process = (struct process){.pid = w.next_pid++, .is_child = true};
    return w.spawn_status;
}

static void fake_signal(void *user, const struct process *p, int number)
{
    (void)user;
    (void)p;
    w.last_signal = number;
}

static bool fake_ask(void *user)
{
    (void)user;
    w.asks += w.can_ask ? 1 : 0;
    return w.can_ask;
}

static void fake_started(void *user, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    w.starts++;
}

static void fake_stopped(void *user)
{
    (void)user;
    w.stops++;
}

static const struct supervisor_ops ops = {.find = fake_find,
                                          .spawn = fake_spawn,
                                          .signal = fake_signal,
                                          .ask_to_stop = fake_ask,
                                          .started = fake_started,
                                          .stopped = fake_stopped};

static int setup(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    w.now_us = 1000000;
    w.find_status = -ESRCH;
    w.next_pid = 100;
    w.supervisor.restart_min_us = RESTART_MIN_MS * MS;
    w.supervisor.restart_max_us = RESTART_MAX_MS * MS;
    w.supervisor.stop_timeout_us = STOP_TIMEOUT_MS * MS;
    wheel_init(&w.wheel, w.now_us);
    supervisor_init(&w.supervisor, &ops, NULL, &w.wheel);
    return 0;
}

static void pass_ms(unsigned ms)
{
    w.now_us += (uint64_t)ms * MS;
    wheel_poll(&w.wheel, w.now_us, 100);
}

static void start(void)
{
    supervisor_start(&w.supervisor, w.now_us);
}

static void end(void)
{
    supervisor_ended(&w.supervisor, "killed by signal 9 (Killed)", w.now_us);
}

static void test_supervisor_starts_and_restarts(void **state)
{
    (void)state;
    start();
    assert_int_equal(w.supervisor.state, SUPERVISOR_RUNNING);
    assert_int_equal(w.supervisor.process.pid, 100);
    end();
    assert_int_equal(w.supervisor.state, SUPERVISOR_PAUSED);
    assert_string_equal(w.supervisor.last_end, "killed by signal 9 (Killed)");
    pass_ms(RESTART_MIN_MS - 1);
    assert_int_equal(w.spawns, 1);
    pass_ms(2);
    assert_int_equal(w.spawns, 2);
    assert_int_equal(w.supervisor.process.pid, 101);
}

static void test_supervisor_pauses_longer_and_recovers(void **state)
{
    (void)state;
    static const unsigned pauses_ms[] = {100, 200, 400, 800, 800, 800};

    start();
    for (size_t i = 0; i < ARRAY_COUNT(pauses_ms); i++) {
        end();
        pass_ms(pauses_ms[i] - 1);
        assert_int_equal(w.spawns, i + 1);
        pass_ms(2);
        assert_int_equal(w.spawns, i + 2);
    }
    pass_ms(SUPERVISOR_HEALTHY_US / MS);
    end();
    pass_ms(RESTART_MIN_MS + 1);
    assert_int_equal(w.spawns, ARRAY_COUNT(pauses_ms) + 2);
}

static void test_supervisor_tries_again_when_it_cannot_start(void **state)
{
    (void)state;
    w.spawn_status = -ENOENT;
    start();
    assert_int_equal(w.supervisor.state, SUPERVISOR_PAUSED);
    assert_string_equal(w.supervisor.last_end, "cannot be started: No such file or directory");
    pass_ms(RESTART_MIN_MS + 1);
    assert_int_equal(w.spawns, 2);
    w.spawn_status = 0;
    pass_ms(2 * RESTART_MIN_MS + 1);
    assert_int_equal(w.supervisor.state, SUPERVISOR_RUNNING);
}

static void test_supervisor_adopts_what_runs(void **state)
{
    (void)state;
    w.find_status = 0;
    start();
    assert_int_equal(w.supervisor.state, SUPERVISOR_RUNNING);
    assert_int_equal(w.supervisor.process.pid, 77);
    assert_int_equal(w.spawns, 0);
    assert_int_equal(w.starts, 1);
    w.find_status = -ESRCH;
    end();
    pass_ms(RESTART_MIN_MS + 1);
    assert_int_equal(w.spawns, 1);
}

static void test_supervisor_waits_for_one_that_is_starting(void **state)
{
    (void)state;
    w.find_status = -EAGAIN;
    start();
    pass_ms(SUPERVISOR_LOOK_US / MS + 1);
    assert_int_equal(w.spawns, 0);
    w.find_status = 0;
    pass_ms(SUPERVISOR_LOOK_US / MS + 1);
    assert_int_equal(w.supervisor.state, SUPERVISOR_RUNNING);
    assert_int_equal(w.spawns, 0);
}

static void test_supervisor_stop_asks_then_insists(void **state)
{
    (void)state;
    w.can_ask = true;
    start();
    supervisor_stop(&w.supervisor, w.now_us);
    assert_int_equal(w.asks, 1);
    assert_int_equal(w.last_signal, 0);
    pass_ms(SUPERVISOR_ASK_US / MS + 1);
    assert_int_equal(w.last_signal, SIGTERM);
    pass_ms(STOP_TIMEOUT_MS + 1);
    assert_int_equal(w.last_signal, SIGKILL);
    assert_int_equal(w.stops, 0);
    end();
    assert_int_equal(w.stops, 1);
    assert_int_equal(w.supervisor.state, SUPERVISOR_STOPPED);
    pass_ms(60000);
    assert_int_equal(w.spawns, 1);
}

static void test_supervisor_stop_signals_what_cannot_be_asked(void **state)
{
    (void)state;
    start();
    supervisor_stop(&w.supervisor, w.now_us);
    assert_int_equal(w.last_signal, SIGTERM);
    end();
    assert_int_equal(w.stops, 1);
}

static void test_supervisor_stop_gives_up_at_last(void **state)
{
    (void)state;
    start();
    supervisor_stop(&w.supervisor, w.now_us);
    pass_ms(STOP_TIMEOUT_MS + 1);
    assert_int_equal(w.stops, 0);
    pass_ms(STOP_TIMEOUT_MS + 1);
    assert_int_equal(w.stops, 1);
}

static void test_supervisor_stop_while_pausing_is_at_once(void **state)
{
    (void)state;
    start();
    end();
    supervisor_stop(&w.supervisor, w.now_us);
    assert_int_equal(w.stops, 1);
    pass_ms(60000);
    assert_int_equal(w.spawns, 1);
}

static void test_supervisor_stop_ends_one_that_was_starting(void **state)
{
    (void)state;
    w.find_status = -EAGAIN;
    start();
    supervisor_stop(&w.supervisor, w.now_us);
    assert_int_equal(w.stops, 0);
    w.find_status = 0;
    pass_ms(SUPERVISOR_LOOK_US / MS + 1);
    assert_int_equal(w.last_signal, SIGTERM);
    end();
    assert_int_equal(w.stops, 1);
    assert_int_equal(w.spawns, 0);
}

static void test_supervisor_replace_starts_another(void **state)
{
    (void)state;
    start();
    supervisor_replace(&w.supervisor, w.now_us);
    assert_int_equal(w.last_signal, SIGTERM);
    end();
    assert_int_equal(w.stops, 0);
    pass_ms(RESTART_MIN_MS + 1);
    assert_int_equal(w.spawns, 2);
}

static void test_supervisor_stop_during_replace_is_final(void **state)
{
    (void)state;
    start();
    supervisor_replace(&w.supervisor, w.now_us);
    supervisor_stop(&w.supervisor, w.now_us);
    end();
    assert_int_equal(w.stops, 1);
}

static void test_supervisor_leave_touches_nothing(void **state)
{
    (void)state;
    start();
    supervisor_leave(&w.supervisor);
    pass_ms(60000);
    assert_int_equal(w.last_signal, 0);
    assert_int_equal(w.spawns, 1);
    assert_int_equal(w.wheel.armed_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, setup)
        TEST(test_supervisor_starts_and_restarts),
        TEST(test_supervisor_pauses_longer_and_recovers),
        TEST(test_supervisor_tries_again_when_it_cannot_start),
        TEST(test_supervisor_adopts_what_runs),
        TEST(test_supervisor_waits_for_one_that_is_starting),
        TEST(test_supervisor_stop_asks_then_insists),
        TEST(test_supervisor_stop_signals_what_cannot_be_asked),
        TEST(test_supervisor_stop_gives_up_at_last),
        TEST(test_supervisor_stop_while_pausing_is_at_once),
        TEST(test_supervisor_stop_ends_one_that_was_starting),
        TEST(test_supervisor_replace_starts_another),
        TEST(test_supervisor_stop_during_replace_is_final),
        TEST(test_supervisor_leave_touches_nothing),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
