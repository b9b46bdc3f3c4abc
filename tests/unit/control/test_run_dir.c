#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/abi/link.h"
#include "control/run_dir.h"

struct fixture {
    char base[64];
    char dir[RUN_DIR_MAX];
    char pid_path[128];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    snprintf(f->base, sizeof(f->base), "/tmp/leat-test-run-XXXXXX");
    assert_non_null(mkdtemp(f->base));
    snprintf(f->dir, sizeof(f->dir), "%s/run", f->base);
    snprintf(f->pid_path, sizeof(f->pid_path), "%s/%s", f->dir, LINK_PID_NAME);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char path[128];

    unlink(f->pid_path);
    snprintf(path, sizeof(path), "%s/%s", f->dir, RUN_DIR_LOCK);
    unlink(path);
    unlink(f->dir);
    rmdir(f->dir);
    rmdir(f->base);
    free(f);
    return 0;
}

static void test_run_dir_is_made_private(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(run_dir_prepare(f->dir), 0);
    assert_int_equal(stat(f->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(run_dir_prepare(f->dir), 0); /* there already */
}

static void test_run_dir_refuses_what_others_could_write_to(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(symlink("/tmp", f->dir), 0);
    assert_int_equal(run_dir_prepare(f->dir), -EPERM);
    unlink(f->dir);
    assert_int_equal(mkdir(f->dir, 0700), 0);
    assert_int_equal(chmod(f->dir, 0770), 0);
    assert_int_equal(run_dir_prepare(f->dir), -EPERM);
    assert_int_equal(run_dir_prepare("/nonexistent/leat"), -ENOENT);
}

static void test_run_dir_has_one_leatd(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(run_dir_prepare(f->dir), 0);
    int fd = run_dir_lock(f->dir);
    assert_true(fd >= 0);
    assert_int_equal(run_dir_lock(f->dir), -EWOULDBLOCK);
    close(fd);
    fd = run_dir_lock(f->dir);
    assert_true(fd >= 0);
    close(fd);
}

/* A process that holds the pid file's lock until it is killed. It has 'text' in the file. */
static pid_t holder_start(const struct fixture *f, const char *text)
{
    int fds[2];
    char byte;

    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(f->pid_path, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
            _exit(1);
        if (text == NULL)
            dprintf(fd, "%d\n", (int)getpid());
        else
            dprintf(fd, "%s", text);
        close(fds[0]);
        close(fds[1]);
        for (;;)
            pause();
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 0); /* it is ready */
    close(fds[0]);
    return pid;
}

static void holder_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_run_dir_finds_the_data_plane(void **state)
{
    struct fixture *f = *state;
    pid_t pid = 0;
    int pid_fd = -1;

    assert_int_equal(run_dir_prepare(f->dir), 0);
    assert_int_equal(run_dir_find_dataplane(f->dir, &pid, &pid_fd), -ESRCH); /* no file */
    pid_t holder = holder_start(f, NULL);
    assert_int_equal(run_dir_find_dataplane(f->dir, &pid, &pid_fd), 0);
    assert_int_equal(pid, holder);
    close(pid_fd);
    holder_end(holder);
    /* The file is still there, and its pid may be another process's by now. */
    assert_int_equal(run_dir_find_dataplane(f->dir, &pid, &pid_fd), -ESRCH);
}

static void test_run_dir_waits_for_the_pid(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"", "12", "x\n", "1\n", "-5\n", "99999999999999\n"};
    pid_t pid = 0;
    int pid_fd = -1;

    assert_int_equal(run_dir_prepare(f->dir), 0);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        pid_t holder = holder_start(f, texts[i]);
        assert_int_equal(run_dir_find_dataplane(f->dir, &pid, &pid_fd), -EAGAIN);
        holder_end(holder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_run_dir_is_made_private),   TEST(test_run_dir_refuses_what_others_could_write_to),
        TEST(test_run_dir_has_one_leatd),     TEST(test_run_dir_finds_the_data_plane),
        TEST(test_run_dir_waits_for_the_pid),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
