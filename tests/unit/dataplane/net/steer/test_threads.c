/* Two shards on threads of their own, over a device with one queue: each frame comes to its shard
 * once and in order or is counted as dropped, what one sends through the other arrives whole. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/counters.h"
#include "dataplane/net/steer/flow.h"
#include "dataplane/net/steer/steer.h"
#include "dataplane/net/wire.h"
#include "tests/unit/dataplane/net/steer/device.h"

enum { FRAMES = 200000, SENT = 100000, PORTS = 64 };

static struct device device;
static struct port *port;
static struct counters counters[2];
static uint32_t made;           /* by the device, on shard 0 */
static uint32_t seen[2];        /* frames of each shard */
static uint32_t sent_by_device; /* for shard 1 */
static atomic_bool is_over;
static atomic_uint wakes;

static size_t receive(void *user, unsigned queue, uint8_t frame[static DEVICE_BUFFER_BYTES])
{
    (void)user;
    (void)queue;
    if (made == FRAMES)
        return 0;
    made++;
    return device_frame(frame, PROTOCOL_TCP, 7, (uint16_t)(1024 + made % PORTS), made);
}

static void check_sent(void *user, unsigned queue, const uint8_t *frame, size_t size)
{
    (void)user;
    (void)queue;
    assert_int_equal(size, 100 + sent_by_device % 900);
    assert_int_equal(device_frame_mark(frame), sent_by_device);
    for (size_t i = 100; i < size; i++)
        assert_int_equal(frame[i], (uint8_t)sent_by_device);
    sent_by_device++;
}

static void wake(void *user, unsigned shard)
{
    (void)user;
    (void)shard;
    atomic_fetch_add_explicit(&wakes, 1, memory_order_relaxed);
}

static void take(unsigned shard, struct port_queue *q, uint32_t latest[static PORTS])
{
    static const struct siphash_key key = {.k0 = 5, .k1 = 6};
    struct packet_in packets[PORT_BURST_MAX];
    unsigned got = q->driver->rx_burst(q, packets, PORT_BURST_MAX, 0);

    for (unsigned i = 0; i < got; i++) {
        uint32_t mark = device_frame_mark(packets[i].frame.ptr);
        uint32_t hash;
        assert_true(steer_frame_hash(&key, packets[i].frame, &hash));
        assert_int_equal(steer_shard(hash, 2), shard);
        assert_true(mark > latest[mark % PORTS]);
        latest[mark % PORTS] = mark;
    }
    seen[shard] += got;
    if (got > 0)
        q->driver->rx_done(q, packets, got);
    else
        sched_yield();
}

static bool send_one(struct port_queue *q, uint32_t number)
{
    uint8_t bytes[1000];
    struct blob payload = {.data = bytes, .size = sizeof(bytes), .refs = 1};
    struct extent e = {.blob = &payload, .size = number % 900};
    struct packet_out out = {.extents = &e, .extent_count = 1, .header_size = 100};
    uint8_t *header = q->driver->tx_begin(q, false);
    uint8_t frame[DEVICE_BUFFER_BYTES];

    if (header == NULL)
        return false;
    (void)device_frame(frame, PROTOCOL_TCP, 7, 1, number);
    memcpy(header, frame, 100);
    memset(bytes, (uint8_t)number, sizeof(bytes));
    assert_int_equal(q->driver->tx_commit(q, &out), 0);
    memset(bytes, 0xff, sizeof(bytes)); /* ours again at once */
    return true;
}

/* Shard 1: takes what comes, and sends. */
static void *run_shard(void *argument)
{
    struct port_queue *q = port->driver->queue(port, 1);
    uint32_t latest[PORTS] = {0};
    uint32_t number = 0;

    (void)argument;
    q->counters = &counters[1];
    while (!atomic_load(&is_over) || q->driver->has_work(q)) {
        take(1, q, latest);
        for (unsigned i = 0; i < 8 && number < SENT && send_one(q, number); i++)
            number++;
        q->driver->tx_flush(q, 0);
    }
    assert_int_equal(number, SENT);
    return NULL;
}

static void test_threads(void **state)
{
    struct steer_config config = {.shards = 2, .key = {.k0 = 5, .k1 = 6}, .wake = wake};
    struct port *inner = &device.base;
    uint32_t latest[PORTS] = {0};
    pthread_t thread;

    (void)state;
    device_init(&device, 1);
    device.receive = receive;
    device.send = check_sent;
    assert_int_equal(steer_open(&config, &inner, &port), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_shard, NULL), 0);
    struct port_queue *q = port->driver->queue(port, 0);
    q->counters = &counters[0];
    while (made < FRAMES || sent_by_device < SENT) {
        take(0, q, latest);
        q->driver->tx_flush(q, 0);
    }
    atomic_store(&is_over, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(seen[0] + seen[1] + counter_read(&counters[0].port_steer_dropped), FRAMES);
    assert_true(seen[0] > 0 && seen[1] > 0);
    assert_true(atomic_load(&wakes) > 0);
    port->driver->close(&port);
    assert_int_equal(device.queues[0].taken, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
