#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "common/clock.h"
#include "dataplane/net/net.h"
#include "drivers/port/dpdk/dpdk.h"
#include "tests/conformance/port/netns.h"
#include "tests/conformance/transport/fixture.h"

/* Our stack over a DPDK device, against the kernel's stack at the other end of a tap or a veth, in
 * a network namespace of the process's own. */

#define OUR_ADDRESSES "10.99.0.2/24,fd99::2/64"

enum { MEMORY_BYTES = 128 << 20, MTU = 1500 };

static struct port *port;

static int open_port(const char *device, const char **reason)
{
    struct dpdk_config config = {
        .device = device, .memory_bytes = MEMORY_BYTES, .use_hugepages = false};
    int err = dpdk_init(&config);

    *reason = "DPDK does not start";
    if (err == 0) {
        *reason = "the device does not open";
        err = dpdk_open(&config, 1, MTU, &port);
    }
    return err;
}

static int device_set_up(const char *device, bool is_veth, const char **reason)
{
    *reason = "needs root for a network namespace";
    if (!netns_enter() || (is_veth && !netns_make_veth()))
        return -ENOTSUP;
    int err = open_port(device, reason);
    if (err == 0 && !netns_configure()) {
        *reason = "the kernel's end cannot be configured";
        err = -EIO;
    }
    return err;
}

static int tap_set_up(const char **reason)
{
    return device_set_up("net_tap0,iface=leatk", false, reason);
}

static int af_packet_set_up(const char **reason)
{
    return device_set_up("net_af_packet0,iface=leatd", true, reason);
}

static int af_xdp_set_up(const char **reason)
{
    return device_set_up("net_af_xdp0,iface=leatd", true, reason);
}

static void dpdk_tear_down(void)
{
    port->driver->close(&port);
}

static int dpdk_provider_open(struct fixture *f)
{
    struct net_config config = {.backlog_max = FIXTURE_STREAMS_MAX,
                                .backlog_per_source_max = FIXTURE_STREAMS_MAX,
                                .time_wait_ms = 100};
    struct port_queue *queue = port->driver->queue(port, 0);
    int err = net_config_set_addresses(&config, OUR_ADDRESSES);

    f->local_addr = (struct endpoint){.family = 4, .addr = {10, 99, 0, 2}};
    f->peer_addr = (struct endpoint){.family = 4, .addr = {10, 99, 0, 1}};
    f->peer = peer_kernel_new();
    if (f->peer == NULL)
        return -ENOMEM;
    queue->counters = &f->counters;
    return err < 0 ? err : net_new(&config, queue, &f->env, &f->t);
}

static void dpdk_provider_close(struct fixture *f)
{
    (void)f;
}

static void dpdk_advance(struct fixture *f, bool was_idle)
{
    if (was_idle && f->t != NULL && f->t->ops->wait_fd(f->t) >= 0) {
        struct pollfd wait = {.fd = f->t->ops->wait_fd(f->t), .events = POLLIN};
        (void)poll(&wait, 1, 1);
    } else if (was_idle) {
        (void)sched_yield(); /* the kernel's end may need this core */
    }
    f->now_us = clock_monotonic_us();
}

#define DPDK_PROVIDER(id)                                                                          \
    const struct provider provider_##id = {                                                        \
        .name = #id,                                                                               \
        .set_up = id##_set_up,                                                                     \
        .tear_down = dpdk_tear_down,                                                               \
        .open = dpdk_provider_open,                                                                \
        .close = dpdk_provider_close,                                                              \
        .advance = dpdk_advance,                                                                   \
        .local_ipv6 = {0xfd, 0x99, [15] = 2},                                                      \
    }

DPDK_PROVIDER(tap);
DPDK_PROVIDER(af_packet);
DPDK_PROVIDER(af_xdp);
