/* The calls of struct packetdrill_interface. */
#include "tests/conformance/packetdrill/interface.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/conformance/packetdrill/shim.h"

enum {
    CLOCK_STEP_US = 1, /* what reading the clock takes */
    IO_MAX = 64 << 20
};
static const uint64_t QUIET_MAX_US =
    4ull * 3600 * 1000000; /* then no packet is expected any more */

static void call_free(void *userdata)
{
    struct shim *sh = userdata;

    shim_free(&sh);
}

static int call_socket(void *userdata, int domain, int type, int protocol)
{
    struct shim *sh = userdata;
    int base = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
    enum sock_kind kind = base == SOCK_STREAM ? SOCK_TCP : SOCK_UDP;
    struct sock *s = NULL;
    int result = 0;

    shim_enter(sh);
    if (domain != AF_INET && domain != AF_INET6)
        result = -EAFNOSUPPORT;
    else if (base != SOCK_STREAM && base != SOCK_DGRAM)
        result = -ESOCKTNOSUPPORT;
    else if (protocol != 0 && protocol != (kind == SOCK_TCP ? IPPROTO_TCP : IPPROTO_UDP))
        result = -EPROTONOSUPPORT;
    if (result == 0)
        result = sock_new(sh, kind, domain, &s);
    if (result == 0) {
        s->is_nonblocking = (type & SOCK_NONBLOCK) != 0;
        result = sock_give_fd(sh, s);
        if (result < 0)
            sock_free(s);
    }
    return (int)shim_leave(sh, result);
}

static bool port_is_taken(struct shim *sh, const struct sock *self, const struct endpoint *e)
{
    for (struct list *n = sh->socks.next; n != &sh->socks; n = n->next) {
        const struct sock *s = CONTAINER_OF(n, struct sock, link);
        bool is_shared = s->numbers[NUMBER_REUSEADDR] != 0 &&
                         self->numbers[NUMBER_REUSEADDR] != 0 && !s->is_listening;
        if (s != self && s->kind == self->kind && s->has_fd && s->is_bound &&
            s->local.port == e->port && !is_shared)
            return true;
    }
    return false;
}

static int call_bind(void *userdata, int fd, const struct sockaddr *addr, socklen_t size)
{
    struct shim *sh = userdata;
    struct endpoint e;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : endpoint_from_sockaddr(s->domain, addr, size, &e);
    if (result == 0 && (s->is_bound || s->kind > SOCK_UDP))
        result = -EINVAL;
    if (result == 0 && e.port != 0 && port_is_taken(sh, s, &e))
        result = -EADDRINUSE;
    if (result == 0)
        result = shim_start(sh, &e);
    if (result == 0 && !endpoint_is_any(&e) && !address_is_own(shim_stack(sh), e.family, e.addr))
        result = -EADDRNOTAVAIL;
    if (result == 0) {
        s->local = e;
        s->is_bound = true;
        if (s->kind == SOCK_UDP)
            result = udp_sock_bind(s);
        else if (e.port == 0)
            s->local.port = (uint16_t)(40000 + fd);
    }
    return (int)shim_leave(sh, result);
}

static int call_listen(void *userdata, int fd, int backlog)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : -EOPNOTSUPP;
    if (s != NULL && s->kind == SOCK_TCP)
        result = tcp_sock_listen(s, backlog);
    return (int)shim_leave(sh, result);
}

static int call_accept(void *userdata, int fd, struct sockaddr *addr, socklen_t *size)
{
    struct shim *sh = userdata;
    struct sock *child = NULL;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : -EOPNOTSUPP;
    if (s != NULL && s->kind == SOCK_TCP)
        while ((result = tcp_sock_accept(s, &child)) == -EAGAIN && !s->is_nonblocking)
            if (!shim_wait(sh, UINT64_MAX))
                break;
    if (result == 0)
        result = sock_give_fd(sh, child);
    if (result >= 0)
        endpoint_to_sockaddr(child->domain, &child->peer, addr, size);
    return (int)shim_leave(sh, result);
}

static uint64_t deadline_after(const struct shim *sh, uint64_t timeout_us)
{
    return timeout_us == 0 ? UINT64_MAX : sh->now_us + timeout_us;
}

static int tcp_connect(struct shim *sh, struct sock *s, const struct endpoint *peer)
{
    bool is_told = s->is_connect_due && s->stream != NULL && !s->is_connecting;

    if (is_told) {
        s->is_connect_due = false;
        return 0;
    }
    int result = tcp_sock_connect(s, peer);
    if (result < 0)
        return result;
    shim_pump(sh);
    uint64_t deadline_us = deadline_after(sh, s->send_timeout_us);
    while (s->is_connecting && !s->is_nonblocking && shim_wait(sh, deadline_us))
        continue;
    s->is_connect_due = s->is_connecting;
    if (s->is_connecting)
        return -EINPROGRESS;
    result = -s->error;
    s->error = 0;
    return result;
}

static int call_connect(void *userdata, int fd, const struct sockaddr *addr, socklen_t size)
{
    struct shim *sh = userdata;
    struct endpoint peer;
    int result = -EBADF;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    if (s != NULL && addr != NULL && size >= sizeof(addr->sa_family) &&
        addr->sa_family == AF_UNSPEC) {
        if (s->kind == SOCK_TCP)
            tcp_sock_disconnect(s);
        s->peer = (struct endpoint){0};
        return (int)shim_leave(sh, 0);
    }
    if (s != NULL)
        result = endpoint_from_sockaddr(s->domain, addr, size, &peer);
    if (result == 0 && s->kind == SOCK_TCP) {
        result = tcp_connect(sh, s, &peer);
    } else if (result == 0) {
        s->peer = peer;
        result = udp_sock_bind(s);
    }
    return (int)shim_leave(sh, result);
}

/* --- reading --- */

static ssize_t receive_once(struct sock *s, void *buf, size_t size, int flags,
                            struct endpoint *ret_peer)
{
    switch (s->kind) {
    case SOCK_TCP:
        *ret_peer = s->peer;
        return tcp_sock_receive(s, buf, size, flags);
    case SOCK_UDP:
        return udp_sock_receive(s, buf, size, flags, ret_peer);
    case SOCK_PIPE:
        return pipe_read(s, buf, size);
    case SOCK_EPOLL:
        break;
    }
    return -EINVAL;
}

static ssize_t receive(struct shim *sh, int fd, void *buf, size_t size, int flags,
                       struct endpoint *ret_peer)
{
    struct sock *s = sock_of(sh, fd);
    ssize_t result;

    if (s == NULL)
        return -EBADF;
    if ((flags & MSG_OOB) != 0)
        return -EINVAL; /* urgent data is in line, RFC 6093 */
    if ((flags & MSG_ERRQUEUE) != 0)
        return -EAGAIN;
    bool is_patient = !s->is_nonblocking && (flags & MSG_DONTWAIT) == 0;
    uint64_t deadline_us = deadline_after(sh, s->receive_timeout_us);
    while ((result = receive_once(s, buf, size, flags, ret_peer)) == -EAGAIN && is_patient &&
           shim_wait(sh, deadline_us))
        continue;
    if (result == -EAGAIN && (flags & MSG_WAITALL) != 0) /* what there is, at the deadline */
        result = receive_once(s, buf, size, flags & ~MSG_WAITALL, ret_peer);
    shim_pump(sh);
    return result;
}

static ssize_t call_recvfrom(void *userdata, int fd, void *buf, size_t size, int flags,
                             struct sockaddr *addr, socklen_t *addr_size)
{
    struct shim *sh = userdata;
    struct endpoint peer = {0};

    shim_enter(sh);
    ssize_t result = receive(sh, fd, buf, size, flags, &peer);
    struct sock *s = sock_of(sh, fd);
    if (result >= 0 && s != NULL && s->kind == SOCK_UDP)
        endpoint_to_sockaddr(s->domain, &peer, addr, addr_size);
    return shim_leave(sh, result);
}

static ssize_t call_recv(void *userdata, int fd, void *buf, size_t size, int flags)
{
    return call_recvfrom(userdata, fd, buf, size, flags, NULL, NULL);
}

static ssize_t call_read(void *userdata, int fd, void *buf, size_t size)
{
    return call_recvfrom(userdata, fd, buf, size, 0, NULL, NULL);
}

static size_t iov_size(const struct iovec *iov, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size < IO_MAX ? size : IO_MAX;
}

static void iov_scatter(const struct iovec *iov, size_t count, const uint8_t *from, size_t size)
{
    for (size_t i = 0; i < count && size > 0; i++) {
        size_t part = iov[i].iov_len < size ? iov[i].iov_len : size;
        if (part > 0)
            memcpy(iov[i].iov_base, from, part);
        from += part;
        size -= part;
    }
}

static ssize_t call_readv(void *userdata, int fd, const struct iovec *iov, int count)
{
    if (count < 0) {
        errno = EINVAL;
        return -1;
    }
    size_t size = iov_size(iov, (size_t)count);
    uint8_t *buf = malloc(size + 1);
    if (buf == NULL)
        return -1;
    ssize_t result = call_read(userdata, fd, buf, size);
    if (result > 0)
        iov_scatter(iov, (size_t)count, buf, (size_t)result);
    free(buf);
    return result;
}

/* TCP_INQ: how much is left, as a control message. */
static void control_write(struct sock *s, struct msghdr *msg)
{
    int left = (int)s->received.size;
    struct cmsghdr *c = msg->msg_control;

    if (s->kind != SOCK_TCP || s->numbers[NUMBER_INQ] == 0 || c == NULL ||
        msg->msg_controllen < CMSG_SPACE(sizeof(left))) {
        msg->msg_controllen = 0;
        return;
    }
    if (left == 0 && s->is_eof)
        left = 1;
    c->cmsg_len = CMSG_LEN(sizeof(left));
    c->cmsg_level = IPPROTO_TCP;
    c->cmsg_type = 36; /* TCP_CM_INQ */
    memcpy(CMSG_DATA(c), &left, sizeof(left));
    msg->msg_controllen = CMSG_SPACE(sizeof(left));
}

static ssize_t call_recvmsg(void *userdata, int fd, struct msghdr *msg, int flags)
{
    struct shim *sh = userdata;
    struct endpoint peer = {0};
    size_t size = iov_size(msg->msg_iov, msg->msg_iovlen);
    uint8_t *buf = malloc(size + 1);

    if (buf == NULL)
        return -1;
    shim_enter(sh);
    ssize_t result = receive(sh, fd, buf, size, flags, &peer);
    struct sock *s = sock_of(sh, fd);
    if (result >= 0 && s != NULL) {
        size_t got = (size_t)result < size ? (size_t)result : size;
        iov_scatter(msg->msg_iov, msg->msg_iovlen, buf, got);
        msg->msg_flags = (size_t)result > size ? MSG_TRUNC : 0;
        if (s->kind == SOCK_UDP)
            endpoint_to_sockaddr(s->domain, &peer, msg->msg_name, &msg->msg_namelen);
        else
            msg->msg_namelen = 0;
        control_write(s, msg);
    }
    free(buf);
    return shim_leave(sh, result);
}

/* --- writing --- */

static ssize_t send_tcp(struct shim *sh, struct sock *s, const uint8_t *data, size_t size,
                        int flags)
{
    bool is_patient = !s->is_nonblocking && (flags & MSG_DONTWAIT) == 0;
    uint64_t deadline_us = deadline_after(sh, s->send_timeout_us);
    size_t done = 0;

    for (;;) {
        ssize_t sent = tcp_sock_send(s, done > 0 ? data + done : data, size - done, flags);
        shim_pump(sh);
        tcp_sock_sent(s);
        if (sent < 0 && sent != -EAGAIN)
            return done > 0 ? (ssize_t)done : sent;
        if (sent > 0)
            done += (size_t)sent;
        if (done == size)
            return (ssize_t)done;
        /* Who sleeps is woken when there is room for more than a bit. */
        do {
            if (!is_patient || !shim_wait(sh, deadline_us))
                return done > 0 ? (ssize_t)done : -EAGAIN;
        } while ((tcp_sock_events(s) & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0);
    }
}

static ssize_t send_any(struct shim *sh, int fd, const void *buf, size_t size, int flags,
                        const struct sockaddr *addr, socklen_t addr_size)
{
    struct sock *s = sock_of(sh, fd);
    struct endpoint peer;

    if (s == NULL)
        return -EBADF;
    if (s->kind == SOCK_PIPE)
        return pipe_write(s, buf, size);
    if (s->kind == SOCK_TCP)
        return send_tcp(sh, s, buf, size, flags);
    if (s->kind != SOCK_UDP)
        return -EINVAL;
    if (addr != NULL) {
        int error = endpoint_from_sockaddr(s->domain, addr, addr_size, &peer);
        if (error < 0)
            return error;
    }
    ssize_t result = udp_sock_send(s, buf, size, addr != NULL ? &peer : NULL);
    shim_pump(sh);
    return result;
}

static ssize_t call_sendto(void *userdata, int fd, const void *buf, size_t size, int flags,
                           const struct sockaddr *addr, socklen_t addr_size)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    return shim_leave(sh, send_any(sh, fd, buf, size, flags, addr, addr_size));
}

static ssize_t call_send(void *userdata, int fd, const void *buf, size_t size, int flags)
{
    return call_sendto(userdata, fd, buf, size, flags, NULL, 0);
}

static ssize_t call_write(void *userdata, int fd, const void *buf, size_t size)
{
    return call_sendto(userdata, fd, buf, size, 0, NULL, 0);
}

static ssize_t call_sendmsg(void *userdata, int fd, const struct msghdr *msg, int flags)
{
    size_t size = iov_size(msg->msg_iov, msg->msg_iovlen);
    uint8_t *buf = malloc(size + 1);
    size_t at = 0;

    if (buf == NULL)
        return -1;
    for (size_t i = 0; i < msg->msg_iovlen; i++) {
        size_t part = msg->msg_iov[i].iov_len < size - at ? msg->msg_iov[i].iov_len : size - at;
        if (part > 0)
            memcpy(buf + at, msg->msg_iov[i].iov_base, part);
        at += part;
    }
    ssize_t result = call_sendto(userdata, fd, buf, size, flags,
                                 msg->msg_namelen > 0 ? msg->msg_name : NULL, msg->msg_namelen);
    free(buf);
    return result;
}

static ssize_t call_writev(void *userdata, int fd, const struct iovec *iov, int count)
{
    struct iovec *copy = NULL;

    if (count < 0 || (copy = calloc((size_t)count + 1, sizeof(*copy))) == NULL) {
        errno = EINVAL;
        return -1;
    }
    memcpy(copy, iov, (size_t)count * sizeof(*copy));
    ssize_t result = call_sendmsg(
        userdata, fd, &(struct msghdr){.msg_iov = copy, .msg_iovlen = (size_t)count}, 0);
    free(copy);
    return result;
}

/* --- the rest --- */

static int call_fcntl(void *userdata, int fd, int command, ...)
{
    struct shim *sh = userdata;
    int result = -EINVAL;
    va_list args;

    va_start(args, command);
    int value = command == F_SETFL || command == F_SETFD ? va_arg(args, int) : 0;
    va_end(args);
    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    if (s == NULL) {
        result = -EBADF;
    } else if (command == F_GETFL) {
        result = O_RDWR | (s->is_nonblocking ? O_NONBLOCK : 0);
    } else if (command == F_SETFL) {
        s->is_nonblocking = (value & O_NONBLOCK) != 0;
        result = 0;
    } else if (command == F_GETFD || command == F_SETFD) {
        result = 0;
    }
    return (int)shim_leave(sh, result);
}

static int queue_sizes(struct sock *s, unsigned long request, int *ret)
{
    const struct tcp_conn *c = tcp_sock_conn(s);
    bool has_conn = c != NULL && c->state >= TCP_ESTABLISHED;
    uint32_t fin = has_conn && (c->flags & CONN_FIN_QUEUED) != 0 && !tcp_fin_is_acked(c);

    if (s->is_listening)
        return -EINVAL;
    switch (request) {
    case SIOCINQ:
        *ret = (int)s->received.size;
        if (s->kind == SOCK_UDP)
            *ret = list_is_empty(&s->datagrams)
                       ? 0
                       : (int)CONTAINER_OF(s->datagrams.next, struct datagram, link)->size;
        return 0;
    case SIOCOUTQ:
        *ret = has_conn ? (int)(s->stream->queued_bytes + fin) : 0;
        return 0;
    case SIOCOUTQNSD: /* queued, and not sent */
        *ret =
            has_conn && seq_is_before(c->snd_nxt, c->snd_end) ? (int)(c->snd_end - c->snd_nxt) : 0;
        return 0;
    default:
        return -ENOTTY;
    }
}

static int call_ioctl(void *userdata, int fd, unsigned long request, ...)
{
    struct shim *sh = userdata;
    int result = -EBADF;
    va_list args;

    va_start(args, request);
    int *value = va_arg(args, int *);
    va_end(args);
    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    if (s != NULL && value == NULL) {
        result = -EFAULT;
    } else if (s != NULL && request == FIONBIO) {
        s->is_nonblocking = *value != 0;
        result = 0;
    } else if (s != NULL) {
        result = queue_sizes(s, request, value);
    }
    return (int)shim_leave(sh, result);
}

static void epoll_forget(struct shim *sh, const struct sock *s)
{
    for (struct list *n = sh->socks.next; n != &sh->socks; n = n->next) {
        struct sock *e = CONTAINER_OF(n, struct sock, link);
        for (int i = 0; i < SHIM_EPOLL_MAX; i++)
            if (e->items[i].sock == s)
                e->items[i] = (struct epoll_item){0};
    }
}

/* SO_LINGER with a time: until everything is acknowledged, RFC 793's "linger" in POSIX. */
static void linger_wait(struct shim *sh, int fd, struct sock *s)
{
    uint64_t deadline_us = sh->now_us + (uint64_t)s->linger.l_linger * 1000000;

    if (s->kind != SOCK_TCP || s->linger.l_onoff == 0 || s->linger.l_linger == 0 ||
        s->stream == NULL || s->received.size > 0)
        return;
    if (!s->is_write_shut)
        (void)tcp_sock_shutdown(s, SHUT_WR);
    shim_pump(sh);
    while (sock_of(sh, fd) == s && s->stream != NULL && tcp_sock_conn(s)->state != TCP_CLOSED &&
           !tcp_fin_is_acked(tcp_sock_conn(s)) && shim_wait(sh, deadline_us))
        continue;
}

static int call_close(void *userdata, int fd)
{
    struct shim *sh = userdata;
    int result = -EBADF;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    if (s != NULL) {
        result = 0;
        linger_wait(sh, fd, s);
        epoll_forget(sh, s);
        sock_drop_fd(sh, s);
        if (s->kind == SOCK_TCP)
            tcp_sock_close(s);
        else if (s->kind == SOCK_UDP)
            udp_sock_close(s);
        else
            sock_free(s);
        shim_pump(sh);
    }
    return (int)shim_leave(sh, result);
}

static int call_shutdown(void *userdata, int fd, int how)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : -ENOTSOCK;
    if (s != NULL && s->kind == SOCK_TCP)
        result = tcp_sock_shutdown(s, how);
    else if (s != NULL && s->kind == SOCK_UDP)
        result = s->peer.family == 0 ? -ENOTCONN : 0;
    shim_pump(sh);
    return (int)shim_leave(sh, result);
}

static int call_getsockopt(void *userdata, int fd, int level, int name, void *value,
                           socklen_t *size)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : options_get(s, level, name, value, size);
    return (int)shim_leave(sh, result);
}

static int call_setsockopt(void *userdata, int fd, int level, int name, const void *value,
                           socklen_t size)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    struct sock *s = sock_of(sh, fd);
    int result = s == NULL ? -EBADF : options_set(s, level, name, value, size);
    shim_pump(sh);
    return (int)shim_leave(sh, result);
}

/* Where an IP packet goes; family 0: too short to say. */
static struct endpoint destination_of(struct bytes packet)
{
    struct endpoint e = {0};

    if (packet.size >= IPV4_SIZE && packet.ptr[0] >> 4 == 4) {
        e.family = 4;
        memcpy(e.addr, packet.ptr + 16, 4);
    } else if (packet.size >= IPV6_SIZE && packet.ptr[0] >> 4 == 6) {
        e.family = 6;
        memcpy(e.addr, packet.ptr + 24, 16);
    }
    return e;
}

static int call_netdev_send(void *userdata, const void *buf, size_t size)
{
    struct shim *sh = userdata;
    struct bytes packet = bytes_of(buf, size);

    shim_enter(sh);
    struct endpoint local = destination_of(packet);
    int result = shim_start(sh, &local);
    if (result == 0)
        result = ip_wire_inject(sh->wire, packet);
    if (result == 0) {
        udp_sock_icmp(sh, packet);
        shim_pump(sh);
        stats_received(sh, packet);
    }
    return (int)shim_leave(sh, result);
}

static int call_netdev_receive(void *userdata, void *buf, size_t *size, long long *time_us)
{
    struct shim *sh = userdata;
    struct ip_packet *p = NULL;

    shim_enter(sh);
    uint64_t deadline_us = sh->now_us + QUIET_MAX_US;
    while (sh->wire == NULL || (p = ip_wire_take(sh->wire)) == NULL) {
        uint64_t next_us = shim_next_us(sh);
        if (next_us > deadline_us)
            break;
        shim_advance(sh, next_us > sh->now_us ? next_us : sh->now_us + 1);
    }
    if (p == NULL) {
        *size = 0;
        *time_us = (long long)sh->now_us;
        return (int)shim_leave(sh, 0);
    }
    size_t got = p->size < *size ? p->size : *size;
    memcpy(buf, p->data, got);
    *size = got;
    *time_us = (long long)p->sent_us;
    free(p);
    return (int)shim_leave(sh, 0);
}

static int call_usleep(void *userdata, useconds_t us)
{
    struct shim *sh = userdata;

    shim_enter(sh);
    shim_advance(sh, sh->now_us + us);
    return (int)shim_leave(sh, 0);
}

static int call_gettimeofday(void *userdata, struct timeval *tv, struct timezone *tz)
{
    struct shim *sh = userdata;

    (void)tz;
    shim_enter(sh);
    /* Others only look: time is moved by the thread that runs the script. */
    if (pthread_equal(pthread_self(), sh->driver) != 0)
        shim_advance(sh, sh->now_us + CLOCK_STEP_US);
    tv->tv_sec = (time_t)(sh->now_us / 1000000);
    tv->tv_usec = (suseconds_t)(sh->now_us % 1000000);
    return (int)shim_leave(sh, 0);
}

void packetdrill_interface_init(const char *flags, struct packetdrill_interface *ret)
{
    *ret = (struct packetdrill_interface){
        .userdata = shim_new(flags),
        .free = call_free,
        .socket = call_socket,
        .bind = call_bind,
        .listen = call_listen,
        .accept = call_accept,
        .connect = call_connect,
        .read = call_read,
        .readv = call_readv,
        .recv = call_recv,
        .recvfrom = call_recvfrom,
        .recvmsg = call_recvmsg,
        .write = call_write,
        .writev = call_writev,
        .send = call_send,
        .sendto = call_sendto,
        .sendmsg = call_sendmsg,
        .fcntl = call_fcntl,
        .ioctl = call_ioctl,
        .close = call_close,
        .shutdown = call_shutdown,
        .getsockopt = call_getsockopt,
        .setsockopt = call_setsockopt,
        .poll = poll_call,
        .netdev_send = call_netdev_send,
        .netdev_receive = call_netdev_receive,
        .usleep = call_usleep,
        .gettimeofday = call_gettimeofday,
        .epoll_create = epoll_create_call,
        .epoll_ctl = epoll_ctl_call,
        .epoll_wait = epoll_wait_call,
        .pipe = pipe_call,
        .splice = splice_call,
    };
}
