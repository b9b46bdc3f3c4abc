#include <errno.h>
#include <poll.h>

#include "common/clock.h"
#include "drivers/net/uring/uring.h"
#include "tests/conformance/transport/fixture.h"

/* io_uring against plain sockets on loopback. */

static int uring_set_up(const char **reason)
{
    (void)reason;
    return 0;
}

static void uring_tear_down(void)
{
}

static int uring_open(struct fixture *f)
{
    struct uring_config config = {.zero_copy_min = 16384};

    f->local_addr = (struct endpoint){.family = 4, .addr = {127, 0, 0, 1}};
    f->peer_addr = f->local_addr;
    f->peer = peer_kernel_new();
    if (f->peer == NULL)
        return -ENOMEM;
    return uring_new(&config, &f->env, &f->t);
}

static void uring_close(struct fixture *f)
{
    (void)f;
}

/* An idle transport must say so through its descriptor: what it does not announce, it does late,
 * and the case times out. */
static void uring_advance(struct fixture *f, bool was_idle)
{
    if (was_idle && f->t != NULL) {
        struct pollfd wait = {.fd = f->t->ops->wait_fd(f->t), .events = POLLIN};
        (void)poll(&wait, 1, 1);
    }
    f->now_us = clock_monotonic_us();
}

const struct provider provider_uring = {
    .name = "uring",
    .set_up = uring_set_up,
    .tear_down = uring_tear_down,
    .open = uring_open,
    .close = uring_close,
    .advance = uring_advance,
    .local_ipv6 = {[15] = 1},
};
