/* Shards on threads of their own ask a leatd that this test plays: each answer comes on the shard
 * that asked, with the verdict of its question. For the thread sanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/config.h"
#include "dataplane/core/shard.h"
#include "dataplane/link/link.h"

enum { SHARDS = 3, QUESTIONS_EACH = 400, IN_FLIGHT_EACH = 20, REPORT_EVERY = 10 };

struct asker {
    struct shard shard;
    struct counters counters;
    pthread_t thread;
    struct timer timer;
    unsigned asked;
    unsigned answered;
    unsigned wrong; /* answers that are not the question's, or on another shard */
};

static struct {
    struct config config;
    struct asker askers[SHARDS];
    struct shard *all[SHARDS];
    struct link *link;
    pthread_barrier_t barrier;
    atomic_uint done; /* askers that have all their answers */
    char path[64];
} t;

static void on_answer(struct shard *s, uint64_t cookie, enum link_verdict verdict)
{
    struct asker *a = CONTAINER_OF(s, struct asker, shard);
    enum link_verdict expected = cookie % 2 == 0 ? LINK_ALLOWED : LINK_WRONG_KEY;

    if (verdict != expected || cookie / 10000 != s->index)
        a->wrong++;
    if (++a->answered == QUESTIONS_EACH)
        atomic_fetch_add(&t.done, 1);
}

static void ask_fired(struct timer *timer, uint64_t now_us)
{
    struct asker *a = CONTAINER_OF(timer, struct asker, timer);
    struct link_channel_report report = {.name = "demo", .state = LINK_CHANNEL_LIVE};

    wheel_arm(&a->shard.wheel, timer, now_us + 500);
    while (a->asked < QUESTIONS_EACH && a->asked - a->answered < IN_FLIGHT_EACH) {
        uint64_t cookie = a->shard.index * 10000 + a->asked;
        const char *key = cookie % 2 == 0 ? "right" : "wrong";
        if (link_ask_publish(t.link, &a->shard, bytes_of_str("demo"), bytes_of_str(key), on_answer,
                             cookie) < 0)
            break;
        a->asked++;
        if (a->asked % REPORT_EVERY == 0)
            link_report_channel(t.link, &a->shard, &report);
    }
}

static void *asker_run(void *argument)
{
    struct asker *a = argument;
    uint32_t index = (uint32_t)(a - t.askers);

    CHECK(shard_init(&a->shard, index, SHARDS, t.all, &t.config, &a->counters) == 0);
    if (index == 0)
        CHECK(link_new(&a->shard, t.path, &t.link) == 0);
    pthread_barrier_wait(&t.barrier);
    a->timer.fire = ask_fired;
    wheel_arm(&a->shard.wheel, &a->timer, a->shard.now_us);
    shard_run(&a->shard);
    return NULL;
}

static void say(int fd, const struct link_message *m)
{
    uint8_t packet[LINK_MESSAGE_MAX];
    size_t size = link_encode(m, packet);

    assert_int_equal(send(fd, packet, size, MSG_NOSIGNAL), size);
}

/* Greets, then answers until all are content. Blocks; the counters that come each second end a
 * wait for nothing. */
static void daemon_serve(int listen_fd)
{
    struct link_message m = {.type = LINK_HELLO, .hello = {.version = LINK_VERSION}};
    uint8_t packet[LINK_MESSAGE_MAX];
    int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);

    assert_true(fd >= 0);
    say(fd, &m);
    while (atomic_load(&t.done) < SHARDS) {
        ssize_t size = recv(fd, packet, sizeof(packet), 0);
        assert_true(size > 0);
        assert_int_equal(link_decode(bytes_of(packet, (size_t)size), &m), 0);
        if (m.type != LINK_PUBLISH)
            continue;
        bool is_right = strcmp(m.question.key, "right") == 0;
        uint32_t request_id = m.request_id;
        m = (struct link_message){.type = LINK_VERDICT,
                                  .request_id = request_id,
                                  .verdict = is_right ? LINK_ALLOWED : LINK_WRONG_KEY};
        say(fd, &m);
    }
    close(fd);
}

static void test_link_threads_get_their_own_answers(void **state)
{
    (void)state;
    char dir[] = "/tmp/leat-test-linkt-XXXXXX";
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_non_null(mkdtemp(dir));
    snprintf(t.path, sizeof(t.path), "%s/s", dir);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", t.path);
    int listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listen_fd, 1), 0);
    config_defaults(&t.config);
    t.config.net_small_blobs = 16;
    t.config.control_answer_timeout = 60000;
    assert_int_equal(pthread_barrier_init(&t.barrier, NULL, SHARDS), 0);
    for (int i = 0; i < SHARDS; i++)
        t.all[i] = &t.askers[i].shard;
    for (int i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_create(&t.askers[i].thread, NULL, asker_run, &t.askers[i]), 0);

    daemon_serve(listen_fd);
    for (int i = 0; i < SHARDS; i++)
        shard_stop(&t.askers[i].shard);
    for (int i = 0; i < SHARDS; i++)
        pthread_join(t.askers[i].thread, NULL);
    link_free(&t.link);
    for (int i = 0; i < SHARDS; i++) {
        assert_int_equal(t.askers[i].answered, QUESTIONS_EACH);
        assert_int_equal(t.askers[i].wrong, 0);
        shard_fini(&t.askers[i].shard);
    }
    pthread_barrier_destroy(&t.barrier);
    close(listen_fd);
    unlink(t.path);
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_threads_get_their_own_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
