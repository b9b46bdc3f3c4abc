#include "dataplane/net/steer/steer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/counters.h"
#include "common/endpoint.h"
#include "dataplane/net/steer/flow.h"
#include "dataplane/net/wire.h"
#include "tests/unit/dataplane/net/steer/device.h"

enum { SHARDS_LIMIT = 3, RING = 1024, OUTBOX = 512, OUTBOX_FOR_DATA = 480 };

static const struct siphash_key key = {.k0 = 5, .k1 = 6};
static struct device device;
static struct port *port;
static struct port_queue *queues[SHARDS_LIMIT];
static struct counters counters[SHARDS_LIMIT];
static unsigned wakes[SHARDS_LIMIT];

/* What the device receives next: 'left' frames, made with 'make'. */
static struct {
    unsigned left;
    unsigned queue;
    uint32_t mark;
    uint16_t port;
    uint8_t protocol;
} incoming;

static struct {
    unsigned count;
    unsigned queue;
    size_t size;
    uint8_t frame[2048];
} sent;

static size_t receive(void *user, unsigned queue, uint8_t frame[static DEVICE_BUFFER_BYTES])
{
    (void)user;
    if (incoming.left == 0 || queue != incoming.queue)
        return 0;
    incoming.left--;
    return device_frame(frame, incoming.protocol, 7, incoming.port, ++incoming.mark);
}

static void send_frame(void *user, unsigned queue, const uint8_t *frame, size_t size)
{
    (void)user;
    sent.count++;
    sent.queue = queue;
    sent.size = size;
    memcpy(sent.frame, frame, size);
}

static void wake(void *user, unsigned shard)
{
    (void)user;
    wakes[shard]++;
}

static void start(unsigned device_queues, unsigned shards)
{
    struct steer_config config = {.shards = shards, .key = key, .wake = wake};
    struct port *inner = &device.base;

    device_init(&device, device_queues);
    device.receive = receive;
    device.send = send_frame;
    memset(&incoming, 0, sizeof(incoming));
    memset(&sent, 0, sizeof(sent));
    memset(counters, 0, sizeof(counters));
    memset(wakes, 0, sizeof(wakes));
    assert_int_equal(steer_open(&config, &inner, &port), 0);
    assert_null(inner);
    for (unsigned i = 0; i < shards; i++) {
        queues[i] = port->driver->queue(port, i);
        queues[i]->counters = &counters[i];
    }
}

static void end(void)
{
    port->driver->close(&port);
    assert_null(port);
    assert_true(device.is_closed);
    for (unsigned i = 0; i < DEVICE_QUEUES_MAX; i++)
        assert_int_equal(device.queues[i].taken, 0);
}

/* A port of a peer whose flow is 'shard''s, of 'shards'. */
static uint16_t port_of_shard(unsigned shard, unsigned shards)
{
    uint8_t frame[DEVICE_BUFFER_BYTES];
    uint32_t hash;

    for (uint16_t p = 1024;; p++) {
        size_t size = device_frame(frame, PROTOCOL_TCP, 7, p, 0);
        assert_true(steer_frame_hash(&key, bytes_of(frame, size), &hash));
        if (steer_shard(hash, shards) == shard)
            return p;
    }
}

static void arrive(unsigned queue, uint8_t protocol, uint16_t peer_port, unsigned count)
{
    incoming.left = count;
    incoming.queue = queue;
    incoming.protocol = protocol;
    incoming.port = peer_port;
}

/* Polls until nothing comes; how many frames came. */
static unsigned poll_all(unsigned shard)
{
    struct packet_in packets[PORT_BURST_MAX];
    unsigned total = 0;
    unsigned got;

    do {
        got = port->driver->rx_burst(queues[shard], packets, PORT_BURST_MAX, 0);
        port->driver->rx_done(queues[shard], packets, got);
        total += got;
    } while (got > 0 || (incoming.left > 0 && incoming.queue == shard));
    return total;
}

static bool has_work(unsigned shard)
{
    return port->driver->has_work(queues[shard]);
}

static void test_passes_frames_on(void **state)
{
    struct packet_in packets[PORT_BURST_MAX];

    (void)state;
    start(1, 3);
    assert_int_equal(port->driver->info(port)->queues, 3);
    assert_true(port->driver->info(port)->keeps_flows);
    for (unsigned shard = 0; shard < 3; shard++) {
        arrive(0, PROTOCOL_TCP, port_of_shard(shard, 3), 10);
        assert_int_equal(poll_all(0), shard == 0 ? 10 : 0);
        for (unsigned other = 1; other < 3; other++) {
            assert_int_equal(has_work(other), other == shard);
            unsigned got = port->driver->rx_burst(queues[other], packets, PORT_BURST_MAX, 0);
            assert_int_equal(got, other == shard ? 10 : 0);
            for (unsigned i = 0; i < got; i++) /* in order */
                assert_int_equal(device_frame_mark(packets[i].frame.ptr),
                                 incoming.mark - got + 1 + i);
            port->driver->rx_done(queues[other], packets, got);
            assert_false(has_work(other));
        }
    }
    assert_int_equal(wakes[0], 0);
    assert_int_equal(wakes[1], 1); /* once a burst */
    assert_int_equal(wakes[2], 1);
    assert_int_equal(counter_read(&counters[0].port_steer_frames), 20);
    (void)poll_all(0); /* gives them back */
    assert_int_equal(device.queues[0].taken, 0);
    end();
}

/* A full burst of which nothing is its own must not let the owner sleep: there may be more. */
static void test_full_burst_keeps_awake(void **state)
{
    struct packet_in packets[PORT_BURST_MAX];

    (void)state;
    start(1, 2);
    arrive(0, PROTOCOL_TCP, port_of_shard(1, 2), PORT_BURST_MAX + 1);
    assert_int_equal(port->driver->rx_burst(queues[0], packets, PORT_BURST_MAX, 0), 0);
    port->driver->rx_done(queues[0], packets, 0);
    assert_true(has_work(0));
    assert_int_equal(port->driver->rx_burst(queues[0], packets, PORT_BURST_MAX, 0), 0);
    port->driver->rx_done(queues[0], packets, 0);
    assert_false(has_work(0));
    assert_int_equal(poll_all(1), PORT_BURST_MAX + 1);
    end();
}

/* Echoes and the like are the leader's, whoever's queue they come to. */
static void test_no_flow_goes_to_leader(void **state)
{
    (void)state;
    start(2, 2);
    arrive(1, PROTOCOL_ICMP, 0x0800, 5);
    assert_int_equal(poll_all(1), 0);
    assert_int_equal(poll_all(0), 5);
    end();
}

/* Each device queue's owner sorts: a flow comes to its shard from either. */
static void test_two_device_queues(void **state)
{
    (void)state;
    start(2, 2);
    for (unsigned queue = 0; queue < 2; queue++) {
        arrive(queue, PROTOCOL_TCP, port_of_shard(1, 2), 100);
        assert_int_equal(poll_all(queue), queue == 1 ? 100 : 0);
        assert_int_equal(poll_all(1), queue == 1 ? 0 : 100);
    }
    assert_int_equal(port->driver->info(port)->tso_bytes_max, 65000);
    assert_int_equal(counter_read(&counters[0].port_steer_frames), 100);
    assert_int_equal(counter_read(&counters[1].port_steer_frames), 0);
    end();
}

/* A shard that no longer polls costs a ring's worth of frames; the others do not notice. */
static void test_dead_shard(void **state)
{
    (void)state;
    start(1, 2);
    arrive(0, PROTOCOL_TCP, port_of_shard(1, 2), RING + 100);
    assert_int_equal(poll_all(0), 0);
    assert_int_equal(counter_read(&counters[0].port_steer_dropped), 100);
    assert_int_equal(device.queues[0].taken, RING);
    arrive(0, PROTOCOL_TCP, port_of_shard(0, 2), 50);
    assert_int_equal(poll_all(0), 50);

    /* It comes back to life: what it had is there, in order, and the ring serves again. */
    struct packet_in packets[PORT_BURST_MAX];
    unsigned got = port->driver->rx_burst(queues[1], packets, PORT_BURST_MAX, 0);
    assert_int_equal(device_frame_mark(packets[0].frame.ptr), 1);
    port->driver->rx_done(queues[1], packets, got);
    assert_int_equal(got + poll_all(1), RING);
    arrive(0, PROTOCOL_TCP, port_of_shard(1, 2), RING);
    (void)poll_all(0);
    assert_int_equal(counter_read(&counters[0].port_steer_dropped), 100);
    end(); /* with a full ring: all given back */
}

static int send_one(unsigned shard, struct blob *payload, uint32_t size, bool is_control)
{
    struct extent e = {.blob = payload, .size = size};
    struct packet_out out = {.extents = &e, .extent_count = 1, .header_size = 60};
    uint8_t *header = port->driver->tx_begin(queues[shard], is_control);

    if (header == NULL)
        return -ENOBUFS;
    memset(header, 0xee, 60);
    return port->driver->tx_commit(queues[shard], &out);
}

static void test_sends_through_owner(void **state)
{
    static uint8_t bytes[1600];
    struct blob payload;
    struct blob_home home;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    blob_home_init(&home);
    blob_init(&payload, &home, bytes_of(bytes, sizeof(bytes)), NULL, NULL);
    start(1, 2);
    assert_int_equal(port->driver->info(port)->tso_bytes_max, 0);
    assert_int_equal(port->driver->wait_fd(queues[0]), PORT_WAIT_POLL);
    assert_int_equal(port->driver->wait_fd(queues[1]), PORT_WAIT_WOKEN);

    assert_int_equal(send_one(1, &payload, 1400, false), 0);
    assert_int_equal(payload.port_shared.refs, 1); /* copied: nothing of ours has crossed */
    assert_false(has_work(0));
    port->driver->tx_flush(queues[1], 0);
    assert_int_equal(wakes[0], 1);
    assert_true(has_work(0));
    assert_int_equal(sent.count, 0);
    port->driver->tx_flush(queues[0], 0);
    assert_int_equal(sent.count, 1);
    assert_int_equal(sent.size, 1460);
    assert_int_equal(sent.frame[59], 0xee);
    assert_memory_equal(sent.frame + 60, bytes, 1400);
    assert_false(has_work(0));
    port->driver->tx_flush(queues[1], 0); /* nothing new: nobody is woken */
    assert_int_equal(wakes[0], 1);

    assert_int_equal(send_one(1, &payload, 1600, false), -EMSGSIZE);
    assert_non_null(port->driver->tx_begin(queues[1], false));
    port->driver->tx_cancel(queues[1]);
    assert_int_equal(send_one(0, &payload, 1400, false), 0); /* its own queue: at once */
    assert_int_equal(sent.count, 2);
    end();
}

static void test_outbox_is_bounded(void **state)
{
    static uint8_t bytes[100];
    struct blob payload;
    struct blob_home home;

    (void)state;
    blob_home_init(&home);
    blob_init(&payload, &home, bytes_of(bytes, sizeof(bytes)), NULL, NULL);
    start(1, 2);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < OUTBOX_FOR_DATA; i++)
            assert_int_equal(send_one(1, &payload, 100, false), 0);
        assert_int_equal(send_one(1, &payload, 100, false), -ENOBUFS);
        for (unsigned i = OUTBOX_FOR_DATA; i < OUTBOX; i++)
            assert_int_equal(send_one(1, &payload, 100, true), 0);
        assert_int_equal(send_one(1, &payload, 100, true), -ENOBUFS);
        port->driver->tx_flush(queues[1], 0);
        device.is_out_of_buffers = true; /* they wait */
        port->driver->tx_flush(queues[0], 0);
        assert_int_equal(sent.count, round * OUTBOX);
        assert_true(port->driver->is_blocked(queues[1])); /* it may sleep, and is woken */
        assert_false(has_work(1));
        wakes[1] = 0;
        device.is_out_of_buffers = false;
        while (has_work(0)) /* a part each turn, so that its own connections have theirs */
            port->driver->tx_flush(queues[0], 0);
        assert_int_equal(sent.count, (round + 1) * OUTBOX);
        assert_int_equal(wakes[1], 2);
        assert_true(has_work(1));
    }
    assert_int_equal(counter_read(&counters[1].port_tx_no_buffer), 6);
    assert_int_equal(counter_read(&counters[1].port_steer_sent), 3 * OUTBOX);
    end();
}

/* A connection opened here is answered here. */
static void test_takes_flow(void **state)
{
    struct endpoint local;
    struct endpoint peer;

    (void)state;
    start(1, 2);
    assert_int_equal(endpoint_parse("192.0.2.1:80", &local), 0);
    assert_int_equal(endpoint_parse("198.51.100.7:1", &peer), 0);
    for (unsigned shard = 0; shard < 2; shard++) {
        peer.port = port_of_shard(shard, 2);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(port->driver->takes_flow(queues[i], &local, &peer), i == shard);
    }
    end();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_frames_on),
        cmocka_unit_test(test_full_burst_keeps_awake),
        cmocka_unit_test(test_no_flow_goes_to_leader),
        cmocka_unit_test(test_two_device_queues),
        cmocka_unit_test(test_dead_shard),
        cmocka_unit_test(test_sends_through_owner),
        cmocka_unit_test(test_outbox_is_bounded),
        cmocka_unit_test(test_takes_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
