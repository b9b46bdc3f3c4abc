#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "common/counters.h"
#include "drivers/port/dpdk/dpdk.h"

/* Two ports back to back: no device, no privileges, no hugepages. */

enum { MTU = 1500, BLOBS = 64, BLOB_BYTES = 65000, HELD_MAX = 10000 };

static struct port *ports[2];
static struct port_queue *queues[2];
static struct counters counters[2];
static struct blob_home home;
static struct blob_pool *blobs;

static int set_up(void **state)
{
    static const struct dpdk_config config = {
        .device = "net_ring", .memory_bytes = 128u << 20, .use_hugepages = false};

    (void)state;
    if (dpdk_init(&config) < 0 || dpdk_open_pair(&config, 1, MTU, false, ports) < 0)
        return -1;
    for (unsigned i = 0; i < 2; i++) {
        queues[i] = ports[i]->driver->queue(ports[i], 0);
        queues[i]->counters = &counters[i];
    }
    blob_home_init(&home);
    blobs = blob_pool_new(&home, BLOBS, BLOB_BYTES);
    return blobs == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    blob_home_poll(&home);
    assert_int_equal(blob_pool_in_use(blobs), 0);
    ports[0]->driver->close(&ports[0]);
    ports[1]->driver->close(&ports[1]);
    assert_null(ports[0]);
    blob_pool_free(&blobs);
    return 0;
}

static struct blob *blob_of(const char *text)
{
    struct blob *b = blob_pool_get(blobs);

    assert_non_null(b);
    b->size = (uint32_t)strlen(text);
    memcpy(blob_pool_data(b), text, b->size);
    return b;
}

static int commit(const char *header, const struct extent *extents, uint16_t count)
{
    const struct port_driver *d = queues[0]->driver;
    uint8_t *to = d->tx_begin(queues[0], false);

    if (to == NULL)
        return -ENOMEM;
    memcpy(to, header, strlen(header));
    struct packet_out out = {
        .extents = extents, .extent_count = count, .header_size = (uint16_t)strlen(header)};
    return d->tx_commit(queues[0], &out);
}

/* Takes everything that has arrived; returns how many frames. */
static unsigned receive_all(void)
{
    const struct port_driver *d = queues[1]->driver;
    struct packet_in in[PORT_BURST_MAX];
    unsigned total = 0;
    unsigned count;

    while ((count = d->rx_burst(queues[1], in, PORT_BURST_MAX, 0)) > 0) {
        d->rx_done(queues[1], in, count);
        total += count;
    }
    return total;
}

static void test_info(void **state)
{
    const struct port_info *info = ports[0]->driver->info(ports[0]);

    (void)state;
    assert_int_equal(info->mtu, MTU);
    assert_int_equal(info->queues, 1);
    assert_true(info->extents_max >= 4);
    assert_int_equal(info->offloads, PORT_OFFLOAD_MULTI_SEGMENT);
    assert_int_equal(ports[0]->driver->wait_fd(queues[0]), -1);
}

/* Header and extents come out as one contiguous frame; the blob counts its packets. */
static void test_gather(void **state)
{
    struct blob *b = blob_of("one two three");
    struct extent e[3] = {{b, 0, 4}, {b, 8, 5}, {b, 3, 4}};
    struct packet_in in[4];

    (void)state;
    assert_int_equal(commit("head:", e, 3), 0);
    assert_int_equal(b->port_shared.refs, 4);
    queues[0]->driver->tx_flush(queues[0], 0);
    assert_int_equal(queues[1]->driver->rx_burst(queues[1], in, 4, 0), 1);
    assert_int_equal(in[0].frame.size, 18);
    assert_memory_equal(in[0].frame.ptr, "head:one three two", 18);
    queues[1]->driver->rx_done(queues[1], in, 1);
    assert_int_equal(b->port_shared.refs, 1);
    blob_unref(&b);
    assert_int_equal(counter_read(&counters[0].port_tx_copied_bytes), 0);
}

/* A blob let go of while packets point into it drains, and comes back when they do. */
static void test_blob_drains(void **state)
{
    struct blob *b = blob_of("payload");
    struct extent e = extent_of(b);

    (void)state;
    assert_int_equal(commit("h", &e, 1), 0);
    blob_unref(&b);
    queues[0]->driver->tx_flush(queues[0], 0);
    assert_true(blob_home_poll(&home));
    assert_int_equal(blob_pool_in_use(blobs), 1);
    assert_int_equal(receive_all(), 1);
    assert_false(blob_home_poll(&home));
    assert_int_equal(blob_pool_in_use(blobs), 0);
}

static void test_refusals(void **state)
{
    struct blob *b = blob_pool_get(blobs);
    struct extent e[40];

    (void)state;
    b->size = BLOB_BYTES;
    for (size_t i = 0; i < 40; i++)
        e[i] = (struct extent){b, 0, 1};
    assert_int_equal(commit("h", e, 40), -EMSGSIZE);
    e[0].size = MTU + 100;
    assert_int_equal(commit("h", e, 1), -EMSGSIZE);
    assert_int_equal(b->port_shared.refs, 1);
    assert_int_equal(counter_read(&counters[0].port_tx_refused), 2);
    blob_unref(&b);
    assert_non_null(queues[0]->driver->tx_begin(queues[0], false));
    queues[0]->driver->tx_cancel(queues[0]);
}

/* When the other end takes nothing, frames wait, then are dropped and counted; none is lost from
 * the pools: the same again works as often as one likes. */
static void test_wire_full(void **state)
{
    struct blob *b = blob_of("x");
    struct extent e = extent_of(b);

    (void)state;
    for (int round = 0; round < 4; round++) {
        unsigned taken = 0;
        while (commit("h", &e, 1) == 0)
            taken++;
        queues[0]->driver->tx_flush(queues[0], 0);
        assert_true(taken > 5000);
        unsigned received = 0;
        for (unsigned got; (got = receive_all()) > 0; received += got)
            queues[0]->driver->tx_flush(queues[0], 0);
        assert_int_equal(received, taken);
        assert_int_equal(b->port_shared.refs, 1);
    }
    assert_true(counter_read(&counters[0].port_tx_dropped) >= 4);
    blob_unref(&b);
}

/* With every header in use, data gets none; control packets have a reserve. */
static void test_reserve(void **state)
{
    static struct packet_in held[HELD_MAX];
    const struct port_driver *d = queues[0]->driver;
    const struct packet_out out = {.header_size = 60};
    unsigned count = 0;

    (void)state;
    /* The receiver sits on the sender's buffers. */
    while (count + PORT_BURST_MAX <= HELD_MAX && d->tx_begin(queues[0], false) != NULL) {
        assert_int_equal(d->tx_commit(queues[0], &out), 0);
        d->tx_flush(queues[0], 0);
        count += d->rx_burst(queues[1], held + count, PORT_BURST_MAX, 0);
    }
    assert_true(count > 7000 && count < HELD_MAX - PORT_BURST_MAX);
    assert_null(d->tx_begin(queues[0], false));
    assert_non_null(d->tx_begin(queues[0], true));
    d->tx_cancel(queues[0]);

    for (unsigned i = 0; i < count; i++)
        d->rx_done(queues[1], &held[i], 1);
    assert_int_equal(commit("data", NULL, 0), 0);
    d->tx_flush(queues[0], 0);
    assert_int_equal(receive_all(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_info),        cmocka_unit_test(test_gather),
        cmocka_unit_test(test_blob_drains), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_wire_full),   cmocka_unit_test(test_reserve),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
