/* poll, epoll, pipes and splice. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "tests/conformance/packetdrill/shim.h"

static uint64_t deadline_of(const struct shim *sh, int timeout_ms)
{
    return timeout_ms < 0 ? UINT64_MAX : sh->now_us + (uint64_t)timeout_ms * 1000;
}

static int poll_look(struct shim *sh, struct pollfd *fds, nfds_t count)
{
    int ready = 0;

    for (nfds_t i = 0; i < count; i++) {
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        struct sock *s = sock_of(sh, fds[i].fd);
        uint32_t wanted = (uint32_t)(uint16_t)fds[i].events | POLLERR | POLLHUP;
        fds[i].revents = s == NULL ? POLLNVAL : (short)(sock_events(s) & wanted);
        ready += fds[i].revents != 0;
    }
    return ready;
}

int poll_call(void *userdata, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    struct shim *sh = userdata;
    int ready;

    shim_enter(sh);
    uint64_t deadline_us = deadline_of(sh, timeout_ms);
    while ((ready = poll_look(sh, fds, count)) == 0 && shim_wait(sh, deadline_us))
        continue;
    return (int)shim_leave(sh, ready);
}

int epoll_create_call(void *userdata, int size)
{
    struct shim *sh = userdata;
    struct sock *s;

    shim_enter(sh);
    int result = size <= 0 ? -EINVAL : sock_new(sh, SOCK_EPOLL, 0, &s);
    if (result == 0)
        result = sock_give_fd(sh, s);
    return (int)shim_leave(sh, result);
}

static struct epoll_item *item_find(struct sock *e, int fd)
{
    for (int i = 0; i < SHIM_EPOLL_MAX; i++)
        if (e->items[i].fd == fd)
            return &e->items[i];
    return NULL;
}

static int epoll_change(struct sock *e, int op, int fd, struct sock *s,
                        const struct epoll_event *event)
{
    struct epoll_item *item = item_find(e, fd);

    if (op == EPOLL_CTL_ADD) {
        if (item != NULL)
            return -EEXIST;
        item = item_find(e, 0);
        if (item == NULL)
            return -ENOSPC;
    } else if (op != EPOLL_CTL_MOD && op != EPOLL_CTL_DEL) {
        return -EINVAL;
    }
    if (item == NULL)
        return -ENOENT;
    if (op == EPOLL_CTL_DEL) {
        *item = (struct epoll_item){0};
        return 0;
    }
    *item = (struct epoll_item){.fd = fd, .sock = s, .event = *event, .is_pending = true};
    (void)sock_events(s); /* notes that somebody waits for room */
    return 0;
}

int epoll_ctl_call(void *userdata, int epfd, int op, int fd, struct epoll_event *event)
{
    struct shim *sh = userdata;
    int result = -EBADF;

    shim_enter(sh);
    struct sock *e = sock_of(sh, epfd);
    struct sock *s = sock_of(sh, fd);
    if (e != NULL && s != NULL)
        result = e->kind != SOCK_EPOLL || s->kind == SOCK_EPOLL ? -EINVAL
                                                                : epoll_change(e, op, fd, s, event);
    return (int)shim_leave(sh, result);
}

static int epoll_look(struct sock *e, struct epoll_event *events, int max)
{
    int count = 0;

    for (int i = 0; i < SHIM_EPOLL_MAX && count < max; i++) {
        struct epoll_item *item = &e->items[i];
        if (item->fd == 0 || item->is_off)
            continue;
        uint32_t ready = sock_events(item->sock) & (item->event.events | EPOLLERR | EPOLLHUP);
        if ((item->event.events & EPOLLET) != 0 && !item->is_pending)
            continue;
        if (ready == 0)
            continue;
        item->is_pending = false;
        item->is_off = (item->event.events & EPOLLONESHOT) != 0;
        events[count++] = (struct epoll_event){.events = ready, .data = item->event.data};
    }
    return count;
}

int epoll_wait_call(void *userdata, int epfd, struct epoll_event *events, int max, int timeout_ms)
{
    struct shim *sh = userdata;
    int result = -EBADF;

    shim_enter(sh);
    struct sock *e = sock_of(sh, epfd);
    uint64_t deadline_us = deadline_of(sh, timeout_ms);
    if (e != NULL && (e->kind != SOCK_EPOLL || max <= 0))
        result = -EINVAL;
    else if (e != NULL)
        while ((result = epoll_look(e, events, max)) == 0 && shim_wait(sh, deadline_us))
            continue;
    return (int)shim_leave(sh, result);
}

int pipe_call(void *userdata, int fds[2])
{
    struct shim *sh = userdata;
    struct sock *ends[2];
    int result = 0;

    shim_enter(sh);
    struct byte_queue *q = calloc(1, sizeof(*q));
    for (int i = 0; i < 2 && result >= 0; i++) {
        result = q == NULL ? -ENOMEM : sock_new(sh, SOCK_PIPE, 0, &ends[i]);
        if (result == 0)
            result = fds[i] = sock_give_fd(sh, ends[i]);
    }
    if (result >= 0) {
        for (int i = 0; i < 2; i++) {
            ends[i]->pipe = q;
            ends[i]->other = ends[1 - i];
            ends[i]->is_write_end = i == 1;
        }
        result = 0;
    }
    return (int)shim_leave(sh, result);
}

ssize_t pipe_read(struct sock *s, void *buf, size_t size)
{
    if (s->is_write_end)
        return -EBADF;
    if (s->pipe->size == 0)
        return s->other == NULL ? 0 : -EAGAIN;
    size_t got = byte_queue_peek(s->pipe, buf, size);
    byte_queue_drop(s->pipe, got);
    return (ssize_t)got;
}

ssize_t pipe_write(struct sock *s, const void *buf, size_t size)
{
    if (!s->is_write_end)
        return -EBADF;
    if (s->other == NULL)
        return -EPIPE;
    if (!byte_queue_push(s->pipe, buf, size))
        return -ENOMEM;
    sock_wake(s->other, EPOLLIN | EPOLLRDNORM);
    return (ssize_t)size;
}

static ssize_t splice_once(struct sock *in, struct sock *out, size_t size, unsigned flags)
{
    int receive_flags = (flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0;
    ssize_t result;

    if (size > 65536)
        size = 65536;
    uint8_t *buf = malloc(size + 1);
    if (buf == NULL)
        return -ENOMEM;
    if (in->kind == SOCK_TCP && out->kind == SOCK_PIPE) {
        result = tcp_sock_receive(in, buf, size, receive_flags);
        if (result > 0)
            result = pipe_write(out, buf, (size_t)result);
    } else if (in->kind == SOCK_PIPE && out->kind == SOCK_TCP) {
        size = byte_queue_peek(in->pipe, buf, size);
        result = size == 0
                     ? -EAGAIN
                     : tcp_sock_send(out, buf, size, (flags & SPLICE_F_MORE) != 0 ? MSG_MORE : 0);
        if (result > 0)
            byte_queue_drop(in->pipe, (size_t)result);
    } else {
        result = -EINVAL;
    }
    free(buf);
    return result;
}

int splice_call(void *userdata, int fd_in, loff_t *off_in, int fd_out, loff_t *off_out, size_t size,
                unsigned int flags)
{
    struct shim *sh = userdata;
    ssize_t result = -EBADF;

    (void)off_in; /* neither end has a position, and packetdrill always hands pointers */
    (void)off_out;
    shim_enter(sh);
    struct sock *in = sock_of(sh, fd_in);
    struct sock *out = sock_of(sh, fd_out);
    while (in != NULL && out != NULL) {
        result = splice_once(in, out, size, flags);
        bool is_patient = result == -EAGAIN && (flags & SPLICE_F_NONBLOCK) == 0 &&
                          !in->is_nonblocking && !out->is_nonblocking;
        if (!is_patient || !shim_wait(sh, UINT64_MAX))
            break;
    }
    shim_pump(sh);
    return (int)shim_leave(sh, result);
}
