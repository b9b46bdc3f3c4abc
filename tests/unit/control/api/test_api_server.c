/* The control socket with clients that this test plays; the loop is turned by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "control/api/api_server.h"

enum { BIG_SIZE = 4 << 20 };

static json_t *call_hello(void *user, const json_t *params, struct rpc_error *error)
{
    (void)user;
    (void)params;
    (void)error;
    return json_string("hello");
}

/* More than a socket's buffers take. */
static json_t *call_big(void *user, const json_t *params, struct rpc_error *error)
{
    char *text = malloc(BIG_SIZE);

    (void)user;
    (void)params;
    (void)error;
    assert_non_null(text);
    memset(text, 'x', BIG_SIZE);
    json_t *result = json_stringn(text, BIG_SIZE);
    free(text);
    return result;
}

static const struct rpc_method methods[] = {{"hello", call_hello}, {"big", call_big}, {NULL, NULL}};
static const struct rpc rpc = {.methods = methods};
static const char hello_line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}\n";
static const char big_line[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\"}\n";
static const char hello_answer[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"hello\"}\n";

struct fixture {
    struct loop loop;
    struct api_server *server;
    struct timer tick; /* keeps loop_turn() from waiting */
    char dir[64];
    char path[96];
};

static void tick_fired(struct timer *t, uint64_t now_us)
{
    struct fixture *f = CONTAINER_OF(t, struct fixture, tick);

    wheel_arm(&f->loop.wheel, t, now_us + 1000);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(loop_init(&f->loop), 0);
    f->tick.fire = tick_fired;
    wheel_arm(&f->loop.wheel, &f->tick, f->loop.now_us);
    snprintf(f->dir, sizeof(f->dir), "/tmp/leat-test-api-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
    assert_int_equal(api_server_new(&f->loop, f->path, &rpc, &f->server), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    api_server_free(&f->server);
    wheel_cancel(&f->loop.wheel, &f->tick);
    assert_int_equal(f->loop.wheel.armed_count, 0);
    loop_fini(&f->loop);
    assert_int_equal(access(f->path, F_OK), -1);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(loop_turn(&f->loop), 0);
}

static int client_new(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    turns(f, 3);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What there is to read now; -1: nothing yet; 0: closed. */
static ssize_t hear(int fd, char *out, size_t out_size)
{
    ssize_t size = recv(fd, out, out_size - 1, MSG_DONTWAIT);

    out[size < 0 ? 0 : size] = '\0';
    return size;
}

static void test_api_server_socket_is_ours_alone(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

/* A wrong path in the configuration costs nobody a file. */
static void test_api_server_replaces_sockets_only(void **state)
{
    struct fixture *f = *state;
    struct api_server *other = NULL;
    char path[128];

    snprintf(path, sizeof(path), "%s/file", f->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(api_server_new(&f->loop, path, &rpc, &other), -EEXIST);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    assert_int_equal(api_server_new(&f->loop, "/nonexistent/sock", &rpc, &other), -ENOENT);

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/stale", f->dir);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd); /* its owner died */
    assert_int_equal(api_server_new(&f->loop, address.sun_path, &rpc, &other), 0);
    api_server_free(&other);
}

static void test_api_server_answers_lines_however_they_come(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int fd = client_new(f);

    for (const char *at = hello_line; *at != '\0'; at++) {
        assert_int_equal(send(fd, at, 1, 0), 1);
        turns(f, 2);
    }
    assert_true(hear(fd, text, sizeof(text)) > 0);
    assert_string_equal(text, hello_answer);
    say(fd, hello_line);
    say(fd, hello_line);
    say(fd, "nonsense\n");
    turns(f, 4);
    assert_true(hear(fd, text, sizeof(text)) > 0);
    assert_memory_equal(text, hello_answer, strlen(hello_answer));
    assert_memory_equal(text + strlen(hello_answer), hello_answer, strlen(hello_answer));
    assert_non_null(strstr(text + 2 * strlen(hello_answer), "-32700"));
    close(fd);
    turns(f, 3);
}

static void test_api_server_refuses_long_lines(void **state)
{
    struct fixture *f = *state;
    char line[API_LINE_MAX];
    char text[512];
    int fd = client_new(f);

    memset(line, 'x', sizeof(line));
    assert_int_equal(send(fd, line, sizeof(line), 0), sizeof(line));
    turns(f, 4);
    assert_true(hear(fd, text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "-32001"));
    assert_int_equal(hear(fd, text, sizeof(text)), 0);
    close(fd);
}

static void test_api_server_bounds_its_clients(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int fds[API_CLIENTS_MAX + 1];

    for (int i = 0; i <= API_CLIENTS_MAX; i++)
        fds[i] = client_new(f);
    assert_true(hear(fds[API_CLIENTS_MAX], text, sizeof(text)) > 0);
    assert_non_null(strstr(text, "too many clients"));
    assert_int_equal(hear(fds[API_CLIENTS_MAX], text, sizeof(text)), 0);
    close(fds[API_CLIENTS_MAX]);
    say(fds[3], hello_line);
    turns(f, 3);
    assert_true(hear(fds[3], text, sizeof(text)) > 0);
    close(fds[0]);
    turns(f, 3);
    fds[0] = client_new(f); /* the place is free again */
    say(fds[0], hello_line);
    turns(f, 3);
    assert_true(hear(fds[0], text, sizeof(text)) > 0);
    for (int i = 0; i < API_CLIENTS_MAX; i++)
        close(fds[i]);
}

/* A client that does not read: its answer waits, others are served, nothing more is read from it.
 */
static void test_api_server_serves_others_while_one_does_not_read(void **state)
{
    struct fixture *f = *state;
    char text[65536];
    size_t received = 0;
    int slow = client_new(f);
    int quick = client_new(f);

    say(slow, big_line);
    say(slow, hello_line);
    turns(f, 5);
    say(quick, hello_line);
    turns(f, 3);
    assert_true(hear(quick, text, sizeof(text)) > 0);
    assert_string_equal(text, hello_answer);

    while (received < BIG_SIZE + strlen(hello_answer)) {
        ssize_t size = hear(slow, text, sizeof(text));
        received += size > 0 ? (size_t)size : 0;
        turns(f, 1);
    }
    assert_non_null(strstr(text, hello_answer)); /* the second answer came after the first */
    close(slow);
    close(quick);
}

static void test_api_server_drops_clients_that_stall(void **state)
{
    struct fixture *f = *state;
    char text[512];
    int half = client_new(f);
    int unread = client_new(f);
    int idle = client_new(f);

    say(half, "{\"jsonrpc\"");
    say(unread, big_line);
    turns(f, 8);
    /* Time passes; only the wheel is told. */
    wheel_poll(&f->loop.wheel, f->loop.now_us + API_STALL_US + 2000000, 100000);
    assert_int_equal(hear(half, text, sizeof(text)), 0);
    say(idle, hello_line);
    turns(f, 3);
    assert_true(hear(idle, text, sizeof(text)) > 0);
    ssize_t size;
    do
        size = hear(unread, text, sizeof(text));
    while (size > 0);
    assert_int_equal(size, 0);
    close(half);
    close(unread);
    close(idle);
}

static void test_api_server_survives_clients_that_leave(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 50; i++) {
        int fd = client_new(f);
        if (i % 3 != 0)
            say(fd, i % 3 == 1 ? big_line : "{\"half");
        turns(f, i % 4);
        close(fd);
    }
    turns(f, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_api_server_socket_is_ours_alone),
        TEST(test_api_server_replaces_sockets_only),
        TEST(test_api_server_answers_lines_however_they_come),
        TEST(test_api_server_refuses_long_lines),
        TEST(test_api_server_bounds_its_clients),
        TEST(test_api_server_serves_others_while_one_does_not_read),
        TEST(test_api_server_drops_clients_that_stall),
        TEST(test_api_server_survives_clients_that_leave),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
