#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "control/supervise/process.h"

enum { WAIT_MS_MAX = 10000 };

static char shell[] = "/bin/sh";
static char dash_c[] = "-c";

static struct process spawn(char *script)
{
    char *const argv[] = {shell, dash_c, script, NULL};
    struct process p;

    assert_int_equal(process_spawn(argv, &p), 0);
    assert_true(p.is_child);
    return p;
}

static void assert_ends(struct process *p, const char *how)
{
    struct pollfd fd = {.fd = p->pid_fd, .events = POLLIN};
    char text[PROCESS_END_MAX];

    assert_int_equal(poll(&fd, 1, WAIT_MS_MAX), 1);
    assert_string_equal(process_reap(p, text), how);
    close(p->pid_fd);
}

static void test_process_tells_how_it_ended(void **state)
{
    (void)state;
    char exits[] = "exit 3";
    char kills[] = "kill -9 $$";
    struct process p = spawn(exits);

    assert_ends(&p, "exited with status 3");
    p = spawn(kills);
    assert_ends(&p, "killed by signal 9 (Killed)");
}

static void test_process_takes_signals_until_it_ended(void **state)
{
    (void)state;
    char waits[] = "exec sleep 1000";
    struct process p = spawn(waits);
    struct process ended = p;

    process_signal(&p, SIGTERM);
    ended.pid_fd = dup(p.pid_fd);
    assert_ends(&p, "killed by signal 15 (Terminated)");
    process_signal(&ended, SIGTERM); /* to nobody, whoever has the pid now */
    close(ended.pid_fd);
}

static void test_process_reports_what_cannot_run(void **state)
{
    (void)state;
    char missing[] = "/nonexistent/leat-dp";
    char directory[] = "/";
    char *const missing_argv[] = {missing, NULL};
    char *const directory_argv[] = {directory, NULL};
    struct process p;

    assert_int_equal(process_spawn(missing_argv, &p), -ENOENT);
    assert_int_equal(process_spawn(directory_argv, &p), -EACCES);
}

/* Its own session, nothing on standard input, no signal blocked. */
static void test_process_starts_clean(void **state)
{
    (void)state;
    char checks[] = "test \"$(cut -d' ' -f6 /proc/$$/stat)\" = $$ || exit 1; "
                    "read x && exit 2; "
                    "grep -q '^SigBlk:.0*$' /proc/self/status || exit 4; exit 0";
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct process p = spawn(checks);
    assert_ends(&p, "exited with status 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_tells_how_it_ended),
        cmocka_unit_test(test_process_takes_signals_until_it_ended),
        cmocka_unit_test(test_process_reports_what_cannot_run),
        cmocka_unit_test(test_process_starts_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
