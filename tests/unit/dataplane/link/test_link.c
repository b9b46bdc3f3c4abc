/* The data plane's end of the link against a listener that this test drives by hand. Time is
 * virtual: the shard's loop does not run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/log.h"
#include "dataplane/core/shard.h"
#include "dataplane/link/link.h"

enum { SHARDS = 2, MS = 1000, ANSWER_TIMEOUT_MS = 2000 };

struct fixture {
    struct config config;
    struct shard shards[SHARDS];
    struct shard *all[SHARDS];
    struct counters counters[SHARDS];
    struct link *link;
    char dir[64];
    char path[96];
    int listen_fd;
    int fd; /* leatd's end of the connection */
    struct link_message message;
};

static struct {
    unsigned count;
    struct shard *shard;
    uint64_t cookie;
    enum link_verdict verdict;
} answered;

static void on_answer(struct shard *s, uint64_t cookie, enum link_verdict verdict)
{
    answered.count++;
    answered.shard = s;
    answered.cookie = cookie;
    answered.verdict = verdict;
}

static void listen_start(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    unlink(f->path);
    f->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(f->listen_fd >= 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", f->path);
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listen_fd, 4), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    memset(&answered, 0, sizeof(answered));
    config_defaults(&f->config);
    f->config.net_small_blobs = 16;
    f->config.control_answer_timeout = ANSWER_TIMEOUT_MS;
    for (uint32_t i = 0; i < SHARDS; i++) {
        f->all[i] = &f->shards[i];
        assert_int_equal(shard_init(&f->shards[i], i, SHARDS, f->all, &f->config, &f->counters[i]),
                         0);
    }
    snprintf(f->dir, sizeof(f->dir), "/tmp/leat-test-link-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/link.sock", f->dir);
    f->listen_fd = -1;
    f->fd = -1;
    assert_int_equal(link_new(&f->shards[0], f->path, &f->link), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    link_free(&f->link);
    for (int i = 0; i < SHARDS; i++)
        shard_fini(&f->shards[i]);
    close(f->listen_fd);
    close(f->fd);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
    return 0;
}

/* Both shards take their messages; shard 0 polls the link and its timers. */
static void turn(struct fixture *f)
{
    struct shard *s = &f->shards[0];
    struct message m;

    for (int i = 0; i < SHARDS; i++)
        while (mailbox_take(&f->shards[i].mailbox, &m))
            m.handle(&f->shards[i], &m);
    s->pollers[0].poll(s->pollers[0].user, s->now_us, 64);
    wheel_poll(&s->wheel, s->now_us, 1024);
    s->pollers[0].poll(s->pollers[0].user, s->now_us, 64);
    for (int i = 0; i < SHARDS; i++)
        while (mailbox_take(&f->shards[i].mailbox, &m))
            m.handle(&f->shards[i], &m);
}

static void pass_ms(struct fixture *f, unsigned ms)
{
    for (unsigned i = 0; i < ms; i++) {
        f->shards[0].now_us += MS;
        turn(f);
    }
}

static void daemon_send(struct fixture *f, const struct link_message *m)
{
    uint8_t packet[LINK_MESSAGE_MAX];
    size_t size = link_encode(m, packet);

    assert_int_equal(send(f->fd, packet, size, MSG_NOSIGNAL), size);
}

/* The next packet from the data plane into f->message; false: none there. */
static bool daemon_receive(struct fixture *f)
{
    uint8_t packet[LINK_MESSAGE_MAX];
    ssize_t size = recv(f->fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (size <= 0)
        return false;
    assert_int_equal(link_decode(bytes_of(packet, (size_t)size), &f->message), 0);
    return true;
}

static bool daemon_receive_type(struct fixture *f, enum link_type type)
{
    while (daemon_receive(f))
        if (f->message.type == type)
            return true;
    return false;
}

static void daemon_accept(struct fixture *f)
{
    const struct link_message hello = {
        .type = LINK_HELLO, .hello = {.version = LINK_VERSION, .pid = 1, .build = "test"}};

    f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(f->fd >= 0);
    assert_true(daemon_receive(f));
    assert_int_equal(f->message.type, LINK_HELLO);
    assert_int_equal(f->message.hello.version, LINK_VERSION);
    assert_int_equal(f->message.hello.pid, getpid());
    daemon_send(f, &hello);
    pass_ms(f, 2);
    assert_int_equal(counter_read(&f->counters[0].link_is_connected), 1);
}

static void connect_now(struct fixture *f)
{
    listen_start(f);
    pass_ms(f, 2);
    daemon_accept(f);
}

static void ask(struct fixture *f, unsigned shard, uint64_t cookie)
{
    assert_int_equal(link_ask_publish(f->link, &f->shards[shard], bytes_of_str("demo"),
                                      bytes_of_str("s3cret"), on_answer, cookie),
                     0);
}

static void answer(struct fixture *f, uint32_t request_id, enum link_verdict verdict)
{
    struct link_message m = {.type = LINK_VERDICT, .request_id = request_id, .verdict = verdict};

    daemon_send(f, &m);
}

static void test_link_answers_on_the_asking_shard(void **state)
{
    struct fixture *f = *state;

    connect_now(f);
    for (unsigned shard = 0; shard < SHARDS; shard++) {
        ask(f, shard, 100 + shard);
        assert_int_equal(answered.count, shard); /* never from inside the call */
        pass_ms(f, 1);
        assert_true(daemon_receive_type(f, LINK_PUBLISH));
        assert_string_equal(f->message.question.name, "demo");
        assert_string_equal(f->message.question.key, "s3cret");
        assert_in_range(f->message.question.deadline_ms, ANSWER_TIMEOUT_MS - 2, ANSWER_TIMEOUT_MS);
        answer(f, f->message.request_id, shard == 0 ? LINK_ALLOWED : LINK_WRONG_KEY);
        pass_ms(f, 2);
        assert_int_equal(answered.count, shard + 1);
        assert_ptr_equal(answered.shard, &f->shards[shard]);
        assert_int_equal(answered.cookie, 100 + shard);
        assert_int_equal(answered.verdict, shard == 0 ? LINK_ALLOWED : LINK_WRONG_KEY);
    }
    assert_int_equal(counter_read(&f->counters[0].link_allowed), 1);
    assert_int_equal(counter_read(&f->counters[0].link_refused), 1);
}

static void test_link_refuses_after_the_deadline(void **state)
{
    struct fixture *f = *state;

    connect_now(f);
    ask(f, 1, 5);
    pass_ms(f, 1);
    assert_true(daemon_receive_type(f, LINK_PUBLISH));
    uint32_t request_id = f->message.request_id;
    pass_ms(f, ANSWER_TIMEOUT_MS - 2);
    assert_int_equal(answered.count, 0);
    pass_ms(f, 4);
    assert_int_equal(answered.count, 1);
    assert_int_equal(answered.verdict, LINK_UNAVAILABLE);
    answer(f, request_id, LINK_ALLOWED); /* too late: nobody is told */
    pass_ms(f, 2);
    assert_int_equal(answered.count, 1);
    assert_int_equal(counter_read(&f->counters[0].link_late_verdicts), 1);
    assert_int_equal(counter_read(&f->counters[0].link_unanswered), 1);
}

static void test_link_refuses_without_leatd(void **state)
{
    struct fixture *f = *state;

    ask(f, 0, 5);
    pass_ms(f, ANSWER_TIMEOUT_MS + 2);
    assert_int_equal(answered.count, 1);
    assert_int_equal(answered.verdict, LINK_UNAVAILABLE);
}

/* leatd dies with a question open, and its successor answers it: the publisher does not notice. */
static void test_link_asks_again_after_a_reconnect(void **state)
{
    struct fixture *f = *state;

    connect_now(f);
    ask(f, 1, 9);
    pass_ms(f, 1);
    assert_true(daemon_receive_type(f, LINK_PUBLISH));
    close(f->fd);
    close(f->listen_fd);
    unlink(f->path);
    pass_ms(f, 100);
    assert_int_equal(counter_read(&f->counters[0].link_is_connected), 0);
    assert_int_equal(counter_read(&f->counters[0].link_disconnects), 1);

    listen_start(f);
    pass_ms(f, 1000); /* the longest pause between attempts */
    daemon_accept(f);
    assert_true(daemon_receive_type(f, LINK_PUBLISH));
    answer(f, f->message.request_id, LINK_ALLOWED);
    pass_ms(f, 2);
    assert_int_equal(answered.count, 1);
    assert_int_equal(answered.verdict, LINK_ALLOWED);
}

static void test_link_bounds_the_questions_in_flight(void **state)
{
    struct fixture *f = *state;
    unsigned asked = 0;

    while (link_ask_publish(f->link, &f->shards[1], bytes_of_str("a"), bytes_of_str("b"), on_answer,
                            asked) == 0)
        asked++;
    assert_int_equal(asked, 256);
    assert_int_equal(counter_read(&f->counters[1].link_questions_full), 1);
    pass_ms(f, ANSWER_TIMEOUT_MS + 10);
    assert_int_equal(answered.count, 256);
    for (unsigned i = 0; i < 256; i++)
        ask(f, 0, i);
    pass_ms(f, ANSWER_TIMEOUT_MS + 10);
    assert_int_equal(answered.count, 512);
}

static void test_link_keeps_answers_for_a_full_mailbox(void **state)
{
    struct fixture *f = *state;
    struct message filler = {.handle = NULL};
    struct message m;

    ask(f, 1, 3);
    struct shard *s = &f->shards[0];
    while (shard_post(&f->shards[1], &filler) == 0)
        ;
    for (unsigned ms = 0; ms < ANSWER_TIMEOUT_MS + 10; ms++) {
        s->now_us += MS;
        s->pollers[0].poll(s->pollers[0].user, s->now_us, 64);
        wheel_poll(&s->wheel, s->now_us, 1024);
    }
    while (mailbox_take(&f->shards[1].mailbox, &m))
        ;
    assert_int_equal(answered.count, 0);
    pass_ms(f, 1);
    assert_int_equal(answered.count, 1);
}

static void test_link_refuses_long_names_and_keys(void **state)
{
    struct fixture *f = *state;
    char text[STREAM_KEY_MAX + 1];

    memset(text, 'x', sizeof(text));
    assert_int_equal(link_ask_publish(f->link, &f->shards[0], bytes_of(text, CHANNEL_NAME_MAX + 1),
                                      bytes_of_str("k"), on_answer, 0),
                     -EINVAL);
    assert_int_equal(link_ask_publish(f->link, &f->shards[0], bytes_of_str("n"),
                                      bytes_of(text, STREAM_KEY_MAX + 1), on_answer, 0),
                     -EINVAL);
    assert_int_equal(link_ask_publish(f->link, &f->shards[0], bytes_of("a\0b", 3),
                                      bytes_of_str("k"), on_answer, 0),
                     -EINVAL);
    assert_int_equal(link_ask_publish(f->link, &f->shards[0], bytes_of(text, CHANNEL_NAME_MAX),
                                      bytes_of(text, STREAM_KEY_MAX), on_answer, 0),
                     0);
}

static void test_link_drops_a_daemon_of_another_version(void **state)
{
    struct fixture *f = *state;
    static const uint8_t hello[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, LINK_VERSION + 1};
    char byte;

    listen_start(f);
    pass_ms(f, 2);
    f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(send(f->fd, hello, sizeof(hello), 0), sizeof(hello));
    pass_ms(f, 2);
    assert_int_equal(counter_read(&f->counters[0].link_is_connected), 0);
    assert_true(daemon_receive(f));
    assert_int_equal(recv(f->fd, &byte, 1, MSG_DONTWAIT), 0); /* closed */
}

static void test_link_drops_a_daemon_that_talks_nonsense(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"x", 1},
        {"\0\2\0\0\0\0\0\1", 8},                /* a question without a body */
        {"\0\1\0\0\0\0\0\0\0\1\0\0\0\1\0", 15}, /* a second hello */
    };

    listen_start(f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        pass_ms(f, 1100);
        daemon_accept(f);
        assert_int_equal(send(f->fd, cases[i].bytes, cases[i].size, 0), cases[i].size);
        pass_ms(f, 2);
        assert_int_equal(counter_read(&f->counters[0].link_is_connected), 0);
        assert_int_equal(counter_read(&f->counters[0].link_bad_messages), i + 1);
        close(f->fd);
    }
}

static void test_link_gives_up_on_a_daemon_that_does_not_greet(void **state)
{
    struct fixture *f = *state;
    char byte;

    listen_start(f);
    pass_ms(f, 2);
    f->fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    pass_ms(f, 2001);
    assert_true(daemon_receive(f));
    assert_int_equal(recv(f->fd, &byte, 1, MSG_DONTWAIT), 0); /* closed */
}

static void test_link_sends_reports_and_counters(void **state)
{
    struct fixture *f = *state;
    struct link_channel_report report = {
        .name = "demo", .state = LINK_CHANNEL_LIVE, .connections = 3};
    size_t table_count = 0;
    size_t seen = 0;
    bool is_found = false;

    counters_table(&table_count);
    connect_now(f);
    counter_add(&f->counters[0].mailbox_full, 2);
    counter_add(&f->counters[1].mailbox_full, 3);
    link_report_channel(f->link, &f->shards[1], &report);
    pass_ms(f, 1);
    assert_true(daemon_receive_type(f, LINK_CHANNEL));
    assert_string_equal(f->message.channel.name, "demo");
    assert_int_equal(f->message.channel.connections, 3);

    pass_ms(f, 1001);
    do {
        assert_true(daemon_receive_type(f, LINK_COUNTERS));
        if (f->message.counters.is_first)
            seen = 0;
        seen += f->message.counters.count;
        for (uint32_t i = 0; i < f->message.counters.count; i++) {
            if (strcmp(f->message.counters.list[i].name, "mailbox_full") != 0)
                continue;
            is_found = true;
            assert_int_equal(f->message.counters.list[i].value, 5);
        }
    } while (!f->message.counters.is_last);
    assert_true(is_found);
    assert_int_equal(seen, table_count);
}

static void test_link_drops_reports_without_leatd(void **state)
{
    struct fixture *f = *state;
    struct link_channel_report report = {.name = "demo"};

    for (int i = 0; i < 300; i++)
        link_report_channel(f->link, &f->shards[1], &report);
    assert_int_equal(counter_read(&f->counters[1].link_reports_dropped), 300 - 256);
    pass_ms(f, 10);
    assert_int_equal(counter_read(&f->counters[0].link_reports_dropped), 256);
}

/* A daemon that does not read costs reports, not memory, and questions still expire. */
static void test_link_survives_a_daemon_that_does_not_read(void **state)
{
    struct fixture *f = *state;
    struct link_channel_report report = {.name = "demo"};

    connect_now(f);
    for (int i = 0; i < 5000; i++) {
        link_report_channel(f->link, &f->shards[0], &report);
        turn(f);
    }
    assert_true(counter_read(&f->counters[0].link_reports_dropped) > 0);
    ask(f, 0, 1);
    pass_ms(f, ANSWER_TIMEOUT_MS + 2);
    assert_int_equal(answered.verdict, LINK_UNAVAILABLE);
    assert_int_equal(answered.count, 1);
}

static void test_link_stop_raises_the_signal(void **state)
{
    struct fixture *f = *state;
    struct link_message stop = {.type = LINK_STOP};
    sigset_t set;
    struct timespec none = {0};

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    connect_now(f);
    daemon_send(f, &stop);
    pass_ms(f, 2);
    assert_int_equal(sigtimedwait(&set, NULL, &none), SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_link_answers_on_the_asking_shard),
        TEST(test_link_refuses_after_the_deadline),
        TEST(test_link_refuses_without_leatd),
        TEST(test_link_asks_again_after_a_reconnect),
        TEST(test_link_bounds_the_questions_in_flight),
        TEST(test_link_keeps_answers_for_a_full_mailbox),
        TEST(test_link_refuses_long_names_and_keys),
        TEST(test_link_drops_a_daemon_of_another_version),
        TEST(test_link_drops_a_daemon_that_talks_nonsense),
        TEST(test_link_gives_up_on_a_daemon_that_does_not_greet),
        TEST(test_link_sends_reports_and_counters),
        TEST(test_link_drops_reports_without_leatd),
        TEST(test_link_survives_a_daemon_that_does_not_read),
        TEST(test_link_stop_raises_the_signal),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
