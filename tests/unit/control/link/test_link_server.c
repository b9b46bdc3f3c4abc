/* leatd's end of the link against a data plane that this test plays; the loop is turned by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "control/link/link_server.h"

struct fixture {
    struct loop loop;
    struct timer tick; /* keeps loop_turn() from waiting */
    struct link_handler handler;
    struct link_server *server;
    struct link_message message;
    char dir[64];
    char path[96];
    unsigned attached;
    unsigned detached;
    unsigned incompatible;
    unsigned channels;
    unsigned counters;
    pid_t pid;
};

static enum link_verdict on_may_publish(void *user, const char *name, const char *key)
{
    (void)user;
    return strcmp(name, "demo") != 0   ? LINK_UNKNOWN_CHANNEL
           : strcmp(key, "right") == 0 ? LINK_ALLOWED
                                       : LINK_WRONG_KEY;
}

static void on_channel(void *user, const struct link_channel_report *report, uint64_t now_us)
{
    (void)report;
    (void)now_us;
    ((struct fixture *)user)->channels++;
}

static void on_counters(void *user, const struct link_counters *page, uint64_t now_us)
{
    (void)page;
    (void)now_us;
    ((struct fixture *)user)->counters++;
}

static void on_attached(void *user, pid_t pid, uint64_t now_us)
{
    struct fixture *f = user;

    (void)now_us;
    f->attached++;
    f->pid = pid;
}

static void on_detached(void *user, uint64_t now_us)
{
    (void)now_us;
    ((struct fixture *)user)->detached++;
}

static void on_incompatible(void *user, pid_t pid, uint64_t now_us)
{
    struct fixture *f = user;

    (void)now_us;
    f->incompatible++;
    f->pid = pid;
}

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
    snprintf(f->dir, sizeof(f->dir), "/tmp/leat-test-links-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/link.sock", f->dir);
    f->handler = (struct link_handler){.user = f,
                                       .may_publish = on_may_publish,
                                       .channel = on_channel,
                                       .counters = on_counters,
                                       .attached = on_attached,
                                       .detached = on_detached,
                                       .incompatible = on_incompatible};
    assert_int_equal(link_server_new(&f->loop, f->path, &f->handler, &f->server), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    link_server_free(&f->server);
    wheel_cancel(&f->loop.wheel, &f->tick);
    assert_int_equal(f->loop.wheel.armed_count, 0);
    loop_fini(&f->loop);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void turns(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(loop_turn(&f->loop), 0);
}

static int dataplane_connect(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    turns(f, 3);
    return fd;
}

static void dataplane_send(struct fixture *f, int fd, const struct link_message *m)
{
    uint8_t packet[LINK_MESSAGE_MAX];
    size_t size = link_encode(m, packet);

    assert_int_equal(send(fd, packet, size, MSG_NOSIGNAL), size);
    turns(f, 3);
}

/* The next packet into f->message. 1: there was one; 0: closed; -1: none yet. */
static int dataplane_receive(struct fixture *f, int fd)
{
    uint8_t packet[LINK_MESSAGE_MAX];
    ssize_t size = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (size <= 0)
        return (int)size;
    assert_int_equal(link_decode(bytes_of(packet, (size_t)size), &f->message), 0);
    return 1;
}

static void dataplane_greet(struct fixture *f, int fd)
{
    struct link_message hello = {.type = LINK_HELLO,
                                 .hello = {.version = LINK_VERSION, .pid = 5, .build = "test"}};

    dataplane_send(f, fd, &hello);
    assert_int_equal(dataplane_receive(f, fd), 1);
    assert_int_equal(f->message.type, LINK_HELLO);
    assert_int_equal(f->message.hello.version, LINK_VERSION);
}

static enum link_verdict ask(struct fixture *f, int fd, const char *name, const char *key)
{
    static uint32_t request_id;
    struct link_message m = {.type = LINK_PUBLISH, .request_id = ++request_id};

    snprintf(m.question.name, sizeof(m.question.name), "%s", name);
    snprintf(m.question.key, sizeof(m.question.key), "%s", key);
    dataplane_send(f, fd, &m);
    assert_int_equal(dataplane_receive(f, fd), 1);
    assert_int_equal(f->message.type, LINK_VERDICT);
    assert_int_equal(f->message.request_id, request_id);
    return f->message.verdict;
}

static void test_link_server_greets_and_answers(void **state)
{
    struct fixture *f = *state;
    struct link_message channel = {.type = LINK_CHANNEL};
    struct link_message counters = {.type = LINK_COUNTERS};
    int fd = dataplane_connect(f);

    assert_false(link_server_is_attached(f->server));
    dataplane_greet(f, fd);
    assert_true(link_server_is_attached(f->server));
    assert_int_equal(f->attached, 1);
    assert_int_equal(f->pid, getpid()); /* the kernel's word, not the message's */
    assert_int_equal(ask(f, fd, "demo", "right"), LINK_ALLOWED);
    assert_int_equal(ask(f, fd, "demo", "wrong"), LINK_WRONG_KEY);
    assert_int_equal(ask(f, fd, "other", "right"), LINK_UNKNOWN_CHANNEL);
    dataplane_send(f, fd, &channel);
    dataplane_send(f, fd, &counters);
    assert_int_equal(f->channels, 1);
    assert_int_equal(f->counters, 1);
    close(fd);
    turns(f, 3);
    assert_int_equal(f->detached, 1);
    assert_false(link_server_is_attached(f->server));

    fd = dataplane_connect(f); /* a data plane that was restarted */
    dataplane_greet(f, fd);
    assert_int_equal(f->attached, 2);
    close(fd);
}

static void test_link_server_asks_to_stop(void **state)
{
    struct fixture *f = *state;
    int fd = dataplane_connect(f);

    assert_false(link_server_stop_peer(f->server));
    dataplane_greet(f, fd);
    assert_true(link_server_stop_peer(f->server));
    assert_int_equal(dataplane_receive(f, fd), 1);
    assert_int_equal(f->message.type, LINK_STOP);
    close(fd);
}

static void test_link_server_tells_of_another_version(void **state)
{
    struct fixture *f = *state;
    static const uint8_t hello[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, LINK_VERSION + 1};
    int fd = dataplane_connect(f);

    assert_int_equal(send(fd, hello, sizeof(hello), 0), sizeof(hello));
    turns(f, 3);
    assert_int_equal(f->incompatible, 1);
    assert_int_equal(f->pid, getpid());
    assert_int_equal(f->attached, 0);
    assert_int_equal(f->detached, 0);
    assert_int_equal(dataplane_receive(f, fd), 1); /* our hello, so that it knows too */
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);
}

static void test_link_server_drops_nonsense(void **state)
{
    struct fixture *f = *state;
    struct link_message question = {.type = LINK_PUBLISH};
    struct link_message verdict = {.type = LINK_VERDICT};

    int fd = dataplane_connect(f);
    assert_int_equal(send(fd, "nonsense", 8, 0), 8);
    turns(f, 3);
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);

    fd = dataplane_connect(f); /* a question before the greeting */
    dataplane_send(f, fd, &question);
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);

    fd = dataplane_connect(f); /* what only leatd says */
    dataplane_greet(f, fd);
    dataplane_send(f, fd, &verdict);
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);
    assert_int_equal(f->detached, 1);

    fd = dataplane_connect(f); /* larger than any message */
    char large[LINK_MESSAGE_MAX + 100];
    memset(large, 0, sizeof(large));
    assert_int_equal(send(fd, large, sizeof(large), 0), sizeof(large));
    turns(f, 3);
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);
}

static void test_link_server_keeps_the_attached_one(void **state)
{
    struct fixture *f = *state;
    int first = dataplane_connect(f);

    dataplane_greet(f, first);
    int second = dataplane_connect(f);
    assert_int_equal(dataplane_receive(f, second), 0);
    assert_int_equal(ask(f, first, "demo", "right"), LINK_ALLOWED);
    close(first);
    close(second);
}

/* One that connects and says nothing keeps nobody out. */
static void test_link_server_replaces_a_silent_one(void **state)
{
    struct fixture *f = *state;
    int silent = dataplane_connect(f);
    int other = dataplane_connect(f);

    assert_int_equal(dataplane_receive(f, silent), 0);
    dataplane_greet(f, other);
    close(silent);
    close(other);
}

static void test_link_server_drops_a_silent_one_in_time(void **state)
{
    struct fixture *f = *state;
    int fd = dataplane_connect(f);

    wheel_poll(&f->loop.wheel, f->loop.now_us + 2100000, 100000);
    assert_int_equal(dataplane_receive(f, fd), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_link_server_greets_and_answers),
        TEST(test_link_server_asks_to_stop),
        TEST(test_link_server_tells_of_another_version),
        TEST(test_link_server_drops_nonsense),
        TEST(test_link_server_keeps_the_attached_one),
        TEST(test_link_server_replaces_a_silent_one),
        TEST(test_link_server_drops_a_silent_one_in_time),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
