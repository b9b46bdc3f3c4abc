/* loop.h - leatd's one event loop: descriptors and timers. One thread. */
#ifndef CONTROL_LOOP_H
#define CONTROL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/wheel.h"

/* Embedded in whatever owns the descriptor. */
struct loop_source {
    int fd;
    /* 'events' are those of epoll. May remove and free any source, its own included. */
    void (*ready)(struct loop_source *s, uint32_t events, uint64_t now_us);
};

struct loop {
    int epoll_fd;
    uint64_t now_us; /* read once a turn */
    bool stop;       /* set it to leave loop_run() after the current callback */
    struct wheel wheel;
};

/* 0 or -errno. */
int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);

/* Watches s->fd for 'events' (EPOLLIN, EPOLLOUT); borrows 's' until loop_remove(). 0 or -errno. */
int loop_add(struct loop *loop, struct loop_source *s, uint32_t events);
int loop_change(struct loop *loop, struct loop_source *s, uint32_t events);
/* Stops watching and closes s->fd, which becomes -1; does nothing when it is -1. */
void loop_remove(struct loop *loop, struct loop_source *s);

/* Waits for at most one event, calls its owner, and fires the due timers. 0 or -errno of epoll. */
int loop_turn(struct loop *loop);

/* Turns until loop->stop. 0 or -errno. */
int loop_run(struct loop *loop);

#endif
