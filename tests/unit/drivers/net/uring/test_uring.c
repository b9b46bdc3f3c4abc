#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/counters.h"
#include "common/wheel.h"
#include "drivers/net/uring/uring.h"

/* What is particular to this transport: limits of the kernel and of its buffers, and waking. What
 * every transport does is in tests/conformance/transport. */

enum { STREAMS_MAX = 32, LIMIT_US = 5 * 1000 * 1000, BLOB_BYTES = 4096 };

struct side {
    struct stream *stream;
    uint64_t received_bytes;
    int error;
    bool is_closed;
};

static struct transport *t;
static struct counters counters;
static struct wheel wheel;
static struct blob_home home;
static struct blob_pool *blobs;
static uint64_t now_us;
static struct endpoint at;
static struct side sides[STREAMS_MAX];
static unsigned accepted;
static int clients[STREAMS_MAX];

static void on_data(struct stream *s, struct bytes in, uint64_t at_us)
{
    (void)at_us;
    ((struct side *)s->user)->received_bytes += in.size;
}

static void on_event(struct stream *s, uint64_t at_us)
{
    (void)s;
    (void)at_us;
}

static void on_closed(struct stream *s, int error, uint64_t at_us)
{
    struct side *side = s->user;

    (void)at_us;
    side->is_closed = true;
    side->error = error;
    side->stream = NULL;
}

static const struct stream_events stream_events = {
    .data = on_data, .sendable = on_event, .eof = on_event, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t at_us)
{
    (void)user;
    (void)at_us;
    sides[accepted] = (struct side){.stream = s};
    s->events = &stream_events;
    s->user = &sides[accepted++];
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

static uint64_t no_random(void *user)
{
    (void)user;
    return 0;
}

static void turn(void)
{
    now_us = clock_monotonic_us();
    if (t->ops->poll(t, now_us, 64) == 0) {
        struct pollfd wait = {.fd = t->ops->wait_fd(t), .events = POLLIN};
        (void)poll(&wait, 1, 1);
    }
    wheel_poll(&wheel, now_us, 64);
    t->ops->flush(t, now_us);
}

#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        uint64_t start_us = clock_monotonic_us();                                                  \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_us() - start_us > LIMIT_US)                                        \
                fail_msg("still waiting for: %s", #condition);                                     \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

static void start(const struct uring_config *config)
{
    static uint16_t port = 24000;
    struct transport_env env = {.counters = &counters,
                                .wheel = &wheel,
                                .blob_home = &home,
                                .random = no_random,
                                .streams_max = STREAMS_MAX,
                                .send_queue_bytes_max = 1 << 20};

    memset(&counters, 0, sizeof(counters));
    accepted = 0;
    now_us = clock_monotonic_us();
    wheel_init(&wheel, now_us);
    blob_home_init(&home);
    blobs = blob_pool_new(&home, 16, BLOB_BYTES);
    at = (struct endpoint){.family = 4, .addr = {127, 0, 0, 1}, .port = port++};
    assert_int_equal(uring_new(config, &env, &t), 0);
    assert_int_equal(t->ops->listen(t, &at, &listen_events, NULL), 0);
}

static void stop(void)
{
    t->ops->free(&t);
    assert_int_equal(counter_read(&counters.uring_streams), 0);
    assert_int_equal(blob_pool_in_use(blobs), 0);
    blob_pool_free(&blobs);
}

static int client_new(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(at.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void clients_connect(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        clients[i] = client_new();
}

static void clients_close(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(clients[i]);
}

/* Without descriptors new connections wait, those inside work on, and when there are descriptors
 * again the waiting ones get in by themselves. */
static void test_files_exhausted(void **state)
{
    static const struct uring_config config = {0};
    struct rlimit saved;
    struct rlimit low;

    (void)state;
    start(&config);
    clients_connect(8);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved), 0);
    low = saved;                           /* seen by accepts that are submitted from now on */
    low.rlim_cur = (rlim_t)clients[7] + 4; /* three more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    RUN_UNTIL(counter_read(&counters.uring_files_exhausted) > 1); /* and once more on retry */
    unsigned inside = accepted;
    assert_true(inside >= 1 && inside < 8);
    assert_int_equal(send(clients[0], "abc", 3, 0), 3);
    RUN_UNTIL(sides[0].received_bytes == 3);
    assert_int_equal(accepted, inside);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved), 0);
    RUN_UNTIL(accepted == 8);
    clients_close(8);
    stop();
}

/* Streams that share two small buffers all get their bytes. */
static void test_few_buffers(void **state)
{
    static const struct uring_config config = {
        .receive_buffers = 2, .receive_buffers_parked = 2, .receive_buffer_bytes = 512};
    static const uint8_t data[8192];
    unsigned done = 0;

    (void)state;
    start(&config);
    clients_connect(16);
    RUN_UNTIL(accepted == 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(send(clients[i], data, sizeof(data), 0), sizeof(data));
    for (unsigned i = 0; i < 16; i++, done++)
        RUN_UNTIL(sides[i].received_bytes == sizeof(data));
    assert_int_equal(done, 16);
    assert_true(counter_read(&counters.uring_receive_starved) > 0);
    clients_close(16);
    stop();
}

/* Paused streams hold every buffer: the others wait without spinning, and go on when they let go.
 */
static void test_paused_hold_all_buffers(void **state)
{
    static const struct uring_config config = {
        .receive_buffers = 4, .receive_buffers_parked = 4, .receive_buffer_bytes = 512};
    static const uint8_t data[16384];

    (void)state;
    start(&config);
    clients_connect(5);
    RUN_UNTIL(accepted == 5);
    turn();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(send(clients[i], data, sizeof(data), 0), sizeof(data));
        stream_receive_pause(sides[i].stream, true);
    }
    for (unsigned i = 0; i < 20; i++)
        turn();
    uint64_t parked = counter_read(&counters.uring_receive_parked);
    assert_true(parked > 0);
    assert_int_equal(send(clients[4], data, 100, 0), 100);
    for (unsigned i = 0; i < 20; i++)
        turn();
    for (unsigned i = 0; i < 4; i++)
        stream_receive_pause(sides[i].stream, false);
    for (unsigned i = 0; i < 4; i++)
        RUN_UNTIL(sides[i].received_bytes == sizeof(data));
    RUN_UNTIL(sides[4].received_bytes == 100);
    clients_close(5);
    stop();
}

/* An abort from outside poll() makes the descriptor readable, so that a sleeping shard delivers the
 * closed event at once. So do a connection, bytes and an end. */
static void test_wakes(void **state)
{
    static const struct uring_config config = {0};
    struct pollfd wait;

    (void)state;
    start(&config);
    wait = (struct pollfd){.fd = t->ops->wait_fd(t), .events = POLLIN};
    turn();
    turn();
    assert_int_equal(poll(&wait, 1, 0), 0); /* quiet */

    clients_connect(1);
    assert_int_equal(poll(&wait, 1, 1000), 1);
    RUN_UNTIL(accepted == 1);
    turn();
    turn();
    assert_int_equal(poll(&wait, 1, 0), 0);
    assert_int_equal(send(clients[0], "abc", 3, 0), 3);
    assert_int_equal(poll(&wait, 1, 1000), 1);
    RUN_UNTIL(sides[0].received_bytes == 3);
    turn();

    stream_abort(sides[0].stream);
    t->ops->flush(t, now_us);
    assert_int_equal(poll(&wait, 1, 0), 1);
    t->ops->poll(t, now_us, 64);
    assert_true(sides[0].is_closed);
    assert_int_equal(sides[0].error, -ECONNABORTED);
    clients_close(1);
    stop();
}

/* The pool of extents is shared: one stream cannot take more than its part, all together not more
 * than there are. */
static void test_extents_exhausted(void **state)
{
    static const struct uring_config config = {0};
    unsigned queued = 0;

    (void)state;
    start(&config);
    clients_connect(1);
    RUN_UNTIL(accepted == 1);
    struct blob *b = blob_pool_get(blobs);
    struct extent e = {b, 0, 1};
    b->size = 1;
    while (stream_send(sides[0].stream, &e, 1) == 0)
        queued++;
    assert_int_equal(queued, 1024);
    assert_int_equal(b->refs, 1 + queued);
    assert_int_equal(counter_read(&counters.uring_send_queue_full), 1);
    blob_unref(&b);
    RUN_UNTIL(sides[0].stream->queued_bytes == 0);
    clients_close(1);
    stop();
}

/* Zero-copy sends hold their blob until the kernel lets go, without holding up the next send. */
static void test_zero_copy(void **state)
{
    static const struct uring_config config = {.zero_copy_min = 1024};
    uint8_t buffer[BLOB_BYTES * 8];
    size_t got = 0;

    (void)state;
    start(&config);
    clients_connect(1);
    RUN_UNTIL(accepted == 1);
    struct blob *b = blob_pool_get(blobs);
    b->size = BLOB_BYTES;
    for (uint32_t i = 0; i < BLOB_BYTES; i++)
        blob_pool_data(b)[i] = (uint8_t)(i * 5);
    struct extent e = extent_of(b);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(stream_send(sides[0].stream, &e, 1), 0);
        turn();
    }
    blob_unref(&b);
    while (got < sizeof(buffer)) {
        ssize_t n = recv(clients[0], buffer + got, sizeof(buffer) - got, MSG_DONTWAIT);
        if (n > 0)
            got += (size_t)n;
        turn();
    }
    for (size_t i = 0; i < sizeof(buffer); i++)
        assert_int_equal(buffer[i], (uint8_t)(i % BLOB_BYTES * 5));
    assert_true(counter_read(&counters.uring_sends_zero_copy) > 0);
    RUN_UNTIL(blob_pool_in_use(blobs) == 0);
    clients_close(1);
    stop();
}

/* Another process has the address: refused, though the kernel would let us share it. */
static void test_address_taken(void **state)
{
    static const struct uring_config config = {0};
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct endpoint taken = {.family = 4, .addr = {127, 0, 0, 1}, .port = 24900};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(taken.port);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    start(&config);
    assert_int_equal(t->ops->listen(t, &taken, &listen_events, NULL), -EADDRINUSE);
    close(fd);
    assert_int_equal(t->ops->listen(t, &taken, &listen_events, NULL), 0);
    stop();
}

/* Two shards of one process share an address. */
static void test_address_shared(void **state)
{
    static const struct uring_config config = {0};
    struct transport_env env = {.counters = &counters,
                                .wheel = &wheel,
                                .blob_home = &home,
                                .random = no_random,
                                .streams_max = STREAMS_MAX,
                                .send_queue_bytes_max = 1 << 20};
    struct transport *second;

    (void)state;
    start(&config);
    assert_int_equal(uring_new(&config, &env, &second), 0);
    assert_int_equal(second->ops->listen(second, &at, &listen_events, NULL), 0);
    second->ops->free(&second);
    assert_null(second);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_exhausted),         cmocka_unit_test(test_few_buffers),
        cmocka_unit_test(test_paused_hold_all_buffers), cmocka_unit_test(test_wakes),
        cmocka_unit_test(test_extents_exhausted),       cmocka_unit_test(test_zero_copy),
        cmocka_unit_test(test_address_taken),           cmocka_unit_test(test_address_shared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
