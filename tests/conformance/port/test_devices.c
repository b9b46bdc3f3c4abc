#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/counters.h"
#include "drivers/port/dpdk/dpdk.h"
#include "tests/conformance/port/netns.h"

/* Frames through a DPDK device to a packet socket at the kernel's end, and back. */

enum { ETHERTYPE = 0x88b5 /* IEEE 802, local experimental */, MTU = 1500, LIMIT_US = 3000000 };

static struct port *port;
static struct port_queue *queue;
static struct counters counters;
static struct blob_home home;
static struct blob_pool *blobs;
static int kernel_fd;
static bool is_tap;

static const uint8_t header[14] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
                                   0,    0,    0,    0,    9,    0x88, 0xb5};

static int open_kernel_end(void)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET,
                             .sll_protocol = htons(ETHERTYPE),
                             .sll_ifindex = (int)if_nametoindex("leatk")};
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETHERTYPE));

    return fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? fd : -1;
}

/* The next frame of ours that the port receives; its size, or 0 after the limit. */
static size_t port_receive(uint8_t *out, size_t out_size)
{
    uint64_t start_us = clock_monotonic_us();
    size_t size = 0;

    while (size == 0 && clock_monotonic_us() - start_us < LIMIT_US) {
        struct packet_in in;
        struct pollfd wait = {.fd = queue->driver->wait_fd(queue), .events = POLLIN};
        (void)poll(&wait, wait.fd >= 0, wait.fd >= 0 ? 100 : 0);
        if (queue->driver->rx_burst(queue, &in, 1, 0) == 0)
            continue;
        if (in.frame.size >= 14 && in.frame.size <= out_size &&
            memcmp(in.frame.ptr + 12, header + 12, 2) == 0) {
            size = in.frame.size;
            memcpy(out, in.frame.ptr, size);
        }
        queue->driver->rx_done(queue, &in, 1);
    }
    return size;
}

static size_t kernel_receive(uint8_t *out, size_t out_size)
{
    struct pollfd wait = {.fd = kernel_fd, .events = POLLIN};

    if (poll(&wait, 1, LIMIT_US / 1000) != 1)
        return 0;
    ssize_t n = recv(kernel_fd, out, out_size, 0);
    return n < 0 ? 0 : (size_t)n;
}

static void test_receive(void **state)
{
    uint8_t sent[1514];
    uint8_t got[2048];

    (void)state;
    for (size_t size = 60; size <= sizeof(sent); size += 727) {
        memcpy(sent, header, sizeof(header));
        for (size_t i = sizeof(header); i < size; i++)
            sent[i] = (uint8_t)(i * 7 + size);
        assert_int_equal(send(kernel_fd, sent, size, 0), size);
        assert_int_equal(port_receive(got, sizeof(got)), size);
        assert_memory_equal(got, sent, size);
    }
}

static void test_send_extents(void **state)
{
    uint8_t want[1514];
    uint8_t got[2048];
    struct blob *b = blob_pool_get(blobs);

    (void)state;
    for (uint32_t i = 0; i < 2000; i++)
        blob_pool_data(b)[i] = (uint8_t)(i * 13);
    b->size = 2000;
    for (uint32_t round = 0; round < 50; round++) {
        struct extent e[3] = {{b, round, 500}, {b, 1000 + round, 1}, {b, 3 * round, 400 + round}};
        struct packet_out out = {.extents = e, .extent_count = 3, .header_size = sizeof(header)};
        size_t size = sizeof(header) + 901 + round;
        uint8_t *to = queue->driver->tx_begin(queue, false);

        assert_non_null(to);
        memcpy(to, header, sizeof(header));
        assert_int_equal(queue->driver->tx_commit(queue, &out), 0);
        queue->driver->tx_flush(queue, 0);
        memcpy(want, header, sizeof(header));
        size_t at = sizeof(header);
        for (int i = 0; i < 3; at += e[i].size, i++)
            memcpy(want + at, extent_data(&e[i]), e[i].size);
        assert_int_equal(kernel_receive(got, sizeof(got)), size);
        assert_memory_equal(got, want, size);
    }
    assert_int_equal(counter_read(&counters.port_tx_dropped), 0);
    blob_unref(&b);
    uint64_t start_us = clock_monotonic_us();
    while (blob_home_poll(&home) && clock_monotonic_us() - start_us < LIMIT_US)
        queue->driver->tx_flush(queue, 0);
    assert_int_equal(blob_pool_in_use(blobs), 0);
}

static void test_full_size(void **state)
{
    uint8_t got[2048];
    struct blob *b = blob_pool_get(blobs);
    struct extent e = {b, 0, 1500};
    struct packet_out out = {.extents = &e, .extent_count = 1, .header_size = sizeof(header)};

    (void)state;
    b->size = 1600;
    memset(blob_pool_data(b), 0x5a, 1600);
    memcpy(queue->driver->tx_begin(queue, false), header, sizeof(header));
    assert_int_equal(queue->driver->tx_commit(queue, &out), 0);
    queue->driver->tx_flush(queue, 0);
    assert_int_equal(kernel_receive(got, sizeof(got)), 1514);
    e.size = 1600;
    memcpy(queue->driver->tx_begin(queue, false), header, sizeof(header));
    assert_int_equal(queue->driver->tx_commit(queue, &out), -EMSGSIZE);
    blob_unref(&b);
}

/* More frames than there are buffers, and nothing lost on the way: every one comes back. */
static void test_many_frames(void **state)
{
    uint8_t sent[60] = {0};
    uint8_t got[2048];

    (void)state;
    memcpy(sent, header, sizeof(header));
    for (int round = 0; round < 2500; round++) {
        for (int i = 0; i < 8; i++) {
            sent[14] = (uint8_t)(round + i);
            assert_int_equal(send(kernel_fd, sent, sizeof(sent), 0), sizeof(sent));
        }
        for (int i = 0; i < 8; i++) {
            assert_int_equal(port_receive(got, sizeof(got)), sizeof(sent));
            assert_int_equal(got[14], (uint8_t)(round + i));
        }
    }
}

/* A tap tells a sleeper that a frame has come. */
static void test_wakes(void **state)
{
    uint8_t sent[60] = {0};
    uint8_t got[2048];
    struct pollfd wait = {.fd = queue->driver->wait_fd(queue), .events = POLLIN};

    (void)state;
    if (!is_tap) {
        assert_int_equal(wait.fd, -1);
        return;
    }
    struct packet_in in;
    while (queue->driver->rx_burst(queue, &in, 1, 0) == 1)
        queue->driver->rx_done(queue, &in, 1);
    memcpy(sent, header, sizeof(header));
    assert_int_equal(send(kernel_fd, sent, sizeof(sent), 0), sizeof(sent));
    assert_int_equal(poll(&wait, 1, LIMIT_US / 1000), 1);
    assert_int_equal(port_receive(got, sizeof(got)), 60);
}

static void test_queues(void **state)
{
    (void)state;
    struct dpdk_config config = {.device = "net_null7", .memory_bytes = 128u << 20};
    struct port *p = NULL;

    /* A device that does not keep flows together says so; one with fewer queues has those. */
    assert_int_equal(dpdk_open(&config, 2, MTU, &p), 0);
    assert_int_equal(p->driver->info(p)->queues, 2);
    assert_false(p->driver->info(p)->keeps_flows);
    p->driver->close(&p);
    config.device = "net_null8";
    assert_int_equal(dpdk_open(&config, 1, MTU, &p), 0);
    assert_true(p->driver->info(p)->keeps_flows);
    p->driver->close(&p);
    config.device = "net_af_packet9,iface=lo,qpairs=2"; /* half its frames would come to nobody */
    assert_int_equal(dpdk_open(&config, 1, MTU, &p), -EINVAL);
    config.device = "net_af_packet8,iface=lo";
    assert_int_equal(dpdk_open(&config, 2, MTU, &p), 0);
    assert_int_equal(p->driver->info(p)->queues, 1);
    p->driver->close(&p);
    config.device = "net_nosuch0";
    assert_int_equal(dpdk_open(&config, 1, MTU, &p), -ENODEV);
    assert_null(p);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receive),   cmocka_unit_test(test_send_extents),
        cmocka_unit_test(test_full_size), cmocka_unit_test(test_many_frames),
        cmocka_unit_test(test_wakes),     cmocka_unit_test(test_queues),
    };
    char device[64];

    if (argc != 2)
        return 2;
    if (!netns_enter()) {
        printf("skipped: needs root for a network namespace\n");
        return 77;
    }
    is_tap = strcmp(argv[1], "tap") == 0;
    snprintf(device, sizeof(device), "net_%s0,iface=%s", argv[1], is_tap ? "leatk" : "leatd");
    struct dpdk_config config = {.device = device, .memory_bytes = 128u << 20};
    if ((!is_tap && !netns_make_veth()) || dpdk_init(&config) < 0 ||
        dpdk_open(&config, 1, MTU, &port) < 0 || !netns_configure())
        return 1;
    queue = port->driver->queue(port, 0);
    queue->counters = &counters;
    blob_home_init(&home);
    blobs = blob_pool_new(&home, 8, 2048);
    kernel_fd = open_kernel_end();
    if (kernel_fd < 0 || blobs == NULL)
        return 1;
    int failed = cmocka_run_group_tests_name(argv[1], tests, NULL, NULL);
    port->driver->close(&port);
    blob_pool_free(&blobs);
    close(kernel_fd);
    return failed;
}
