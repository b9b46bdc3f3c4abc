#include <errno.h>
#include <unistd.h>

#include "drivers/net/uring/internal.h"

static struct uring_socket *socket_find(struct uring *u, const struct endpoint *local)
{
    for (uint32_t i = 0; i < u->socket_count; i++)
        if (endpoint_is_equal(&u->sockets[i].local, local))
            return &u->sockets[i];
    return NULL;
}

int uring_bind(struct transport *t, const struct endpoint *local,
               const struct datagram_events *events, void *user)
{
    struct uring *u = uring_of(t);

    if (u->socket_count == URING_SOCKETS_MAX)
        return -ENOSPC;
    if (local->port != 0 && socket_find(u, local) != NULL)
        return -EADDRINUSE; /* the kernel would let us share it with ourselves */
    int fd = uring_socket_bound(local, SOCK_DGRAM, 0);
    if (fd < 0)
        return fd;
    struct sockaddr_storage bound = {0};
    socklen_t size = sizeof(bound);
    (void)getsockname(fd, (struct sockaddr *)&bound, &size); /* cannot fail: ours, and bound */
    u->sockets[u->socket_count++] = (struct uring_socket){
        .events = events,
        .user = user,
        .uring = u,
        .receive = {.msg_namelen = sizeof(struct sockaddr_storage)},
        .fd = fd,
        .local = *local,
        .is_ipv4 = bound.ss_family == AF_INET,
    };
    return 0;
}

void uring_socket_submit(struct uring_socket *s)
{
    struct uring *u = s->uring;

    if (s->is_receiving || u->buffers.lent == 0 || !uring_reserve(u))
        return;
    struct io_uring_sqe *sqe = uring_sqe(u, s, URING_OP_DATAGRAM);
    io_uring_prep_recvmsg_multishot(sqe, s->fd, &s->receive, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    s->is_receiving = true;
}

static void socket_received(struct uring_socket *s, uint8_t *buffer, int size, uint64_t now_us)
{
    struct uring *u = s->uring;
    struct sockaddr_storage address;
    struct io_uring_recvmsg_out *out = io_uring_recvmsg_validate(buffer, size, &s->receive);

    if (out == NULL || (out->flags & MSG_TRUNC) != 0) {
        counter_inc(&u->env.counters->uring_datagrams_truncated);
        return;
    }
    memcpy(&address, io_uring_recvmsg_name(out), sizeof(address));
    struct endpoint peer = uring_endpoint(&address);
    struct bytes in = bytes_of(io_uring_recvmsg_payload(out, &s->receive),
                               io_uring_recvmsg_payload_length(out, size, &s->receive));
    counter_inc(&u->env.counters->uring_datagrams_received);
    s->events->datagram(s->user, &s->local, &peer, in, now_us);
}

void uring_socket_complete(struct uring_socket *s, const struct io_uring_cqe *cqe, uint64_t now_us)
{
    struct uring *u = s->uring;
    uint16_t id = uring_buffer_take(&u->buffers, cqe);

    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        s->is_receiving = false;
    if (cqe->res == -ENOBUFS)
        counter_inc(&u->env.counters->uring_receive_starved);
    if (cqe->res >= 0 && id != URING_BUFFER_NONE && !u->is_closing)
        socket_received(s, uring_buffer(&u->buffers, id), cqe->res, now_us);
    uring_buffer_put(&u->buffers, id);
}

/* Dual-stack sockets want IPv4 peers in mapped form (RFC 4291, 2.5.5.2). */
static struct endpoint map_to_ipv6(const struct endpoint *e)
{
    struct endpoint mapped = {.family = 6, .port = e->port, .addr = {[10] = 0xff, [11] = 0xff}};

    memcpy(&mapped.addr[12], e->addr, 4);
    return mapped;
}

int uring_send_datagram(struct transport *t, const struct endpoint *local,
                        const struct endpoint *peer, const struct extent *extents, size_t count)
{
    struct uring *u = uring_of(t);
    struct uring_socket *s = socket_find(u, local);
    struct sockaddr_storage address;
    struct iovec iov[EXTENTS_PER_SEND_MAX];

    if (s == NULL)
        return -EADDRNOTAVAIL;
    if (count > EXTENTS_PER_SEND_MAX)
        return -EMSGSIZE;
    struct endpoint to = peer->family == 4 && !s->is_ipv4 ? map_to_ipv6(peer) : *peer;
    for (size_t i = 0; i < count; i++) {
        /* iovec is not const-correct: the kernel only reads. */
        iov[i].iov_base = (void *)(uintptr_t)extent_data(&extents[i]);
        iov[i].iov_len = extents[i].size;
    }
    struct msghdr message = {.msg_name = &address,
                             .msg_namelen = uring_sockaddr(&to, &address),
                             .msg_iov = iov,
                             .msg_iovlen = count};
    /* At once and not through the ring: the caller is told, and the bytes are free on return. */
    if (sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        counter_inc(&u->env.counters->uring_datagrams_dropped);
        return errno == EAGAIN || errno == ENOMEM ? -ENOBUFS : -errno;
    }
    counter_inc(&u->env.counters->uring_datagrams_sent);
    return 0;
}

void uring_sockets_close(struct uring *u)
{
    for (uint32_t i = 0; i < u->socket_count; i++) {
        close(u->sockets[i].fd);
        uring_socket_unbind(&u->sockets[i].local, SOCK_DGRAM);
    }
    u->socket_count = 0;
}
