#include <errno.h>
#include <unistd.h>

#include "common/log.h"
#include "drivers/net/uring/internal.h"

static void listener_retry(struct timer *t, uint64_t now_us)
{
    struct uring_listener *l = CONTAINER_OF(t, struct uring_listener, retry);

    (void)now_us;
    l->is_waiting = false; /* the next flush accepts again */
}

int uring_listen(struct transport *t, const struct endpoint *local,
                 const struct listen_events *events, void *user)
{
    struct uring *u = uring_of(t);

    if (u->listener_count == URING_LISTENERS_MAX)
        return -ENOSPC;
    for (uint32_t i = 0; i < u->listener_count; i++)
        if (local->port != 0 && endpoint_is_equal(&u->listeners[i].local, local))
            return -EADDRINUSE; /* the kernel would let us share it with ourselves */
    int fd = uring_socket_bound(local, SOCK_STREAM, u->config.unsent_bytes_max);
    if (fd < 0)
        return fd;
    u->listeners[u->listener_count++] = (struct uring_listener){
        .events = events,
        .user = user,
        .uring = u,
        .retry = {.fire = listener_retry},
        .fd = fd,
        .local = *local,
    };
    return 0;
}

/* Accepts while there are free streams: the rest waits in the kernel's backlog. */
void uring_listener_submit(struct uring_listener *l)
{
    struct uring *u = l->uring;
    bool has_room = !list_is_empty(&u->free_streams);

    if (!l->is_accepting && has_room && !l->is_waiting && uring_reserve(u)) {
        struct io_uring_sqe *sqe = uring_sqe(u, l, URING_OP_ACCEPT);
        io_uring_prep_multishot_accept(sqe, l->fd, NULL, NULL, SOCK_CLOEXEC);
        l->is_accepting = true;
    } else if (l->is_accepting && !has_room && !l->is_cancelling && uring_reserve(u)) {
        struct io_uring_sqe *sqe = uring_sqe(u, NULL, URING_OP_NONE);
        io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)l | URING_OP_ACCEPT, 0);
        l->is_cancelling = true;
    }
}

static void close_with_reset(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
}

static void listener_accepted(struct uring_listener *l, int fd, uint64_t now_us)
{
    struct uring *u = l->uring;
    struct sockaddr_storage local = {0};
    struct sockaddr_storage peer = {0};
    socklen_t local_size = sizeof(local);
    socklen_t peer_size = sizeof(peer);

    /* Fails when the peer has already reset the connection. */
    if (u->is_closing || getpeername(fd, (struct sockaddr *)&peer, &peer_size) < 0 ||
        getsockname(fd, (struct sockaddr *)&local, &local_size) < 0) {
        close(fd);
        return;
    }
    struct uring_stream *s = uring_stream_new(u, fd, URING_STREAM_OPEN);
    if (s == NULL) {
        counter_inc(&u->env.counters->uring_accept_refused);
        close_with_reset(fd);
        return;
    }
    s->base.local = uring_endpoint(&local);
    s->base.peer = uring_endpoint(&peer);
    if (l->events->accept(l->user, &s->base, now_us) < 0) {
        counter_inc(&u->env.counters->uring_accept_refused);
        uring_stream_refuse(s);
        return;
    }
    CHECK(s->base.events != NULL);
    counter_inc(&u->env.counters->uring_accepted);
    uring_stream_start(s);
}

static void listener_failed(struct uring_listener *l, int error, uint64_t now_us)
{
    struct uring *u = l->uring;
    char text[ENDPOINT_TEXT_MAX];

    counter_inc(&u->env.counters->uring_accept_errors);
    if (error == -EMFILE || error == -ENFILE) {
        counter_inc(&u->env.counters->uring_files_exhausted);
        if (now_us >= l->quiet_until_us)
            log_warn(
                "uring",
                LOG_MSG("no file descriptor for a new connection; it waits in the backlog: raise "
                        "LimitNOFILE or ulimit -n"),
                LOG_STR("listen", endpoint_format(&l->local, text)));
        l->quiet_until_us = now_us + URING_LOG_PAUSE_US;
    }
    /* ECONNABORTED and network errors concern one connection only (accept(2)). */
    if (error != -EMFILE && error != -ENFILE && error != -ENOBUFS && error != -ENOMEM)
        return;
    l->is_waiting = true;
    wheel_arm(u->env.wheel, &l->retry, now_us + URING_ACCEPT_RETRY_US);
}

void uring_listener_complete(struct uring_listener *l, const struct io_uring_cqe *cqe,
                             uint64_t now_us)
{
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        l->is_accepting = false;
        l->is_cancelling = false;
    }
    if (cqe->res >= 0)
        listener_accepted(l, cqe->res, now_us);
    else if (cqe->res != -ECANCELED && cqe->res != -EINTR && cqe->res != -EAGAIN)
        listener_failed(l, cqe->res, now_us);
}

void uring_listeners_close(struct uring *u)
{
    for (uint32_t i = 0; i < u->listener_count; i++) {
        struct uring_listener *l = &u->listeners[i];
        wheel_cancel(u->env.wheel, &l->retry);
        close(l->fd);
        uring_socket_unbind(&l->local, SOCK_STREAM);
    }
    u->listener_count = 0;
}
