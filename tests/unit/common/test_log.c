#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

/* Standard error, replaced by a pipe for the length of a test. */
struct capture {
    int saved_fd;
    int read_fd;
    FILE *lines;
};

static void capture_start(struct capture *c)
{
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    c->saved_fd = dup(STDERR_FILENO);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    close(fds[1]);
    c->read_fd = fds[0];
    c->lines = fdopen(fds[0], "r");
    assert_non_null(c->lines);
}

/* From here on the pipe has no writer: reading ends. */
static void capture_end_writing(struct capture *c)
{
    dup2(c->saved_fd, STDERR_FILENO);
    close(c->saved_fd);
}

static void test_log_writes_synchronously_before_init(void **state)
{
    (void)state;
    struct capture c;
    char line[2048] = "";

    capture_start(&c);
    log_info("test", LOG_MSG("early"));
    assert_non_null(fgets(line, sizeof(line), c.lines));
    capture_end_writing(&c);
    fclose(c.lines);
    assert_non_null(strstr(line, " test: early\n"));
}

static void test_log_keeps_order_and_level(void **state)
{
    (void)state;
    struct capture c;
    char line[2048];
    int next = 0;

    capture_start(&c);
    assert_int_equal(log_init("unit", LOG_FORMAT_HUMAN, LOG_LEVEL_INFO), 0);
    for (int i = 0; i < 100; i++) {
        log_debug("test", LOG_MSG("not this"));
        log_info("test", LOG_MSG("this"), LOG_INT("n", i));
    }
    log_fini();
    capture_end_writing(&c);
    while (fgets(line, sizeof(line), c.lines) != NULL) {
        char expected[32];
        snprintf(expected, sizeof(expected), "unit test: this n=%d\n", next++);
        assert_non_null(strstr(line, expected));
    }
    assert_int_equal(next, 100);
    fclose(c.lines);
}

enum { THREADS = 4, LINES_EACH = 200 };

static void *log_many(void *number)
{
    for (int i = 0; i < LINES_EACH; i++)
        log_info("test", LOG_MSG("line"), LOG_INT("thread", *(int *)number), LOG_INT("n", i));
    return NULL;
}

static void test_log_takes_lines_of_many_threads(void **state)
{
    (void)state;
    struct capture c;
    char line[2048];
    pthread_t threads[THREADS];
    int numbers[THREADS];
    int next[THREADS] = {0};

    capture_start(&c);
    assert_int_equal(log_init("unit", LOG_FORMAT_JSON, LOG_LEVEL_DEBUG), 0);
    for (int t = 0; t < THREADS; t++) {
        numbers[t] = t;
        assert_int_equal(pthread_create(&threads[t], NULL, log_many, &numbers[t]), 0);
    }
    /* 800 lines fit the ring, but not the pipe: read while they come. */
    for (int i = 0; i < THREADS * LINES_EACH; i++) {
        int thread = -1;
        int n = -1;
        assert_non_null(fgets(line, sizeof(line), c.lines));
        assert_int_equal(sscanf(strstr(line, "\"thread\""), "\"thread\":%d,\"n\":%d}", &thread, &n),
                         2);
        assert_in_range(thread, 0, THREADS - 1);
        assert_int_equal(n, next[thread]++);
    }
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    log_fini();
    capture_end_writing(&c);
    fclose(c.lines);
}

/* Nobody reads: log_write() does not block, and what is lost is counted. */
static void test_log_drops_and_counts_when_nobody_reads(void **state)
{
    (void)state;
    struct capture c;
    char line[2048];
    enum { WRITTEN = 5000 };
    int lines = 0;
    int dropped = 0;

    capture_start(&c);
    assert_int_equal(log_init("unit", LOG_FORMAT_HUMAN, LOG_LEVEL_INFO), 0);
    for (int i = 0; i < WRITTEN; i++)
        log_info("test", LOG_MSG("a line of some length, so that the pipe fills up soon"));
    while (lines + dropped < WRITTEN && fgets(line, sizeof(line), c.lines) != NULL) {
        char *count = strstr(line, "lines dropped: the log ring was full count=");
        if (count == NULL)
            lines++;
        else
            dropped += atoi(strrchr(count, '=') + 1);
    }
    assert_int_equal(lines + dropped, WRITTEN);
    assert_true(dropped > 0);
    log_fini();
    capture_end_writing(&c);
    fclose(c.lines);
}

/* Whoever read standard error is gone: no signal ends the process. */
static void test_log_survives_a_broken_pipe(void **state)
{
    (void)state;
    struct capture c;

    capture_start(&c);
    fclose(c.lines);
    assert_int_equal(log_init("unit", LOG_FORMAT_HUMAN, LOG_LEVEL_INFO), 0);
    for (int i = 0; i < 10; i++)
        log_info("test", LOG_MSG("to nobody"));
    log_fini();
    capture_end_writing(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_writes_synchronously_before_init),
        cmocka_unit_test(test_log_keeps_order_and_level),
        cmocka_unit_test(test_log_takes_lines_of_many_threads),
        cmocka_unit_test(test_log_drops_and_counts_when_nobody_reads),
        cmocka_unit_test(test_log_survives_a_broken_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
