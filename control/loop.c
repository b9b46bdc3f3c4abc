#include "control/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/clock.h"

enum { TIMERS_PER_TURN = 256, WAIT_MS_MAX = 60000 };

int loop_init(struct loop *loop)
{
    loop->stop = false;
    loop->now_us = clock_monotonic_us();
    wheel_init(&loop->wheel, loop->now_us);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_fini(struct loop *loop)
{
    close(loop->epoll_fd);
    loop->epoll_fd = -1;
}

static int loop_control(struct loop *loop, int operation, struct loop_source *s, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = s};

    return epoll_ctl(loop->epoll_fd, operation, s->fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_source *s, uint32_t events)
{
    return loop_control(loop, EPOLL_CTL_ADD, s, events);
}

int loop_change(struct loop *loop, struct loop_source *s, uint32_t events)
{
    return loop_control(loop, EPOLL_CTL_MOD, s, events);
}

void loop_remove(struct loop *loop, struct loop_source *s)
{
    if (s->fd < 0)
        return;
    (void)loop_control(loop, EPOLL_CTL_DEL, s, 0); /* it may never have been added */
    close(s->fd);
    s->fd = -1;
}

static int wait_ms(const struct loop *loop)
{
    uint64_t next_us = wheel_next_us(&loop->wheel);

    if (next_us <= loop->now_us)
        return 0;
    uint64_t ms = (next_us - loop->now_us + 999) / 1000;
    return ms > WAIT_MS_MAX ? WAIT_MS_MAX : (int)ms;
}

int loop_turn(struct loop *loop)
{
    /* One event at a time: what its callback frees cannot be in an event not yet looked at. */
    struct epoll_event event;
    int count = epoll_wait(loop->epoll_fd, &event, 1, wait_ms(loop));

    if (count < 0 && errno != EINTR)
        return -errno;
    uint64_t now_us = clock_monotonic_us();
    if (now_us > loop->now_us)
        loop->now_us = now_us;
    if (count > 0) {
        struct loop_source *s = event.data.ptr;
        s->ready(s, event.events, loop->now_us);
    }
    wheel_poll(&loop->wheel, loop->now_us, TIMERS_PER_TURN);
    return 0;
}

int loop_run(struct loop *loop)
{
    int err = 0;

    while (err == 0 && !loop->stop)
        err = loop_turn(loop);
    return err;
}
