#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/conformance/transport/peer.h"

struct peer_kernel {
    struct peer base;
    int listener;
    int fds[PEER_HANDLES_MAX]; /* to be closed at the end */
    unsigned count;
};

static struct peer_kernel *kernel_of(struct peer *p)
{
    return (struct peer_kernel *)p;
}

static socklen_t to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){0};
    if (e->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(e->port);
        memcpy(&in->sin_addr, e->addr, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(e->port);
    memcpy(&in6->sin6_addr, e->addr, 16);
    return sizeof(*in6);
}

static struct endpoint from_sockaddr(const struct sockaddr_storage *a)
{
    struct endpoint e = {0};

    if (a->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)a;
        e.family = 4;
        e.port = ntohs(in->sin_port);
        memcpy(e.addr, &in->sin_addr, 4);
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a;
        e.family = 6;
        e.port = ntohs(in6->sin6_port);
        memcpy(e.addr, &in6->sin6_addr, 16);
    }
    return e;
}

static int kernel_socket(struct peer_kernel *k, const struct endpoint *e, int type)
{
    int on = 1;

    if (k->count == PEER_HANDLES_MAX)
        return -EMFILE;
    int fd = socket(e->family == 4 ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    k->fds[k->count++] = fd;
    return fd;
}

static int kernel_connect(struct peer *p, const struct endpoint *to)
{
    struct sockaddr_storage address;
    socklen_t size = to_sockaddr(to, &address);
    int fd = kernel_socket(kernel_of(p), to, SOCK_STREAM);

    if (fd < 0)
        return fd;
    int err = connect(fd, (const struct sockaddr *)&address, size) < 0 ? -errno : 0;
    return err == 0 || err == -EINPROGRESS ? fd : err;
}

static int kernel_listen(struct peer *p, const struct endpoint *local)
{
    struct sockaddr_storage address;
    socklen_t size = to_sockaddr(local, &address);
    int fd = kernel_socket(kernel_of(p), local, SOCK_STREAM);

    if (fd < 0)
        return fd;
    if (bind(fd, (const struct sockaddr *)&address, size) < 0 || listen(fd, 128) < 0)
        return -errno;
    kernel_of(p)->listener = fd;
    return 0;
}

static int kernel_accept(struct peer *p)
{
    struct peer_kernel *k = kernel_of(p);
    int fd = accept4(k->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (k->count == PEER_HANDLES_MAX) {
        close(fd);
        return -EMFILE;
    }
    k->fds[k->count++] = fd;
    return fd;
}

static ssize_t kernel_send(struct peer *p, int handle, struct bytes data)
{
    ssize_t n = send(handle, data.ptr, data.size, MSG_NOSIGNAL);

    (void)p;
    return n < 0 ? -errno : n;
}

static ssize_t kernel_receive(struct peer *p, int handle, void *data, size_t size)
{
    ssize_t n = recv(handle, data, size, 0);

    (void)p;
    return n < 0 ? -errno : n;
}

static void kernel_shutdown(struct peer *p, int handle)
{
    (void)p;
    (void)shutdown(handle, SHUT_WR);
}

static void kernel_close(struct peer *p, int handle)
{
    struct peer_kernel *k = kernel_of(p);

    for (unsigned i = 0; i < k->count; i++)
        if (k->fds[i] == handle)
            k->fds[i] = k->fds[--k->count];
    close(handle);
}

static void kernel_reset(struct peer *p, int handle)
{
    struct linger reset = {.l_onoff = 1};

    (void)setsockopt(handle, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    kernel_close(p, handle);
}

static int kernel_bind(struct peer *p, const struct endpoint *local)
{
    struct sockaddr_storage address;
    socklen_t size = to_sockaddr(local, &address);
    int fd = kernel_socket(kernel_of(p), local, SOCK_DGRAM);

    if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, size) < 0)
        return -errno;
    return fd;
}

static ssize_t kernel_send_to(struct peer *p, int handle, const struct endpoint *to,
                              struct bytes data)
{
    struct sockaddr_storage address;
    socklen_t size = to_sockaddr(to, &address);
    ssize_t n = sendto(handle, data.ptr, data.size, 0, (const struct sockaddr *)&address, size);

    (void)p;
    return n < 0 ? -errno : n;
}

static ssize_t kernel_receive_from(struct peer *p, int handle, struct endpoint *ret_from,
                                   void *data, size_t size)
{
    struct sockaddr_storage address;
    socklen_t address_size = sizeof(address);
    ssize_t n = recvfrom(handle, data, size, 0, (struct sockaddr *)&address, &address_size);

    (void)p;
    if (n < 0)
        return -errno;
    *ret_from = from_sockaddr(&address);
    return n;
}

static void kernel_free(struct peer **pp)
{
    struct peer_kernel *k = kernel_of(*pp);
    struct linger reset = {.l_onoff = 1};

    *pp = NULL;
    for (unsigned i = 0; i < k->count; i++) {
        (void)setsockopt(k->fds[i], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(k->fds[i]);
    }
    free(k);
}

static const struct peer_ops kernel_ops = {
    .connect = kernel_connect,
    .listen = kernel_listen,
    .accept = kernel_accept,
    .send = kernel_send,
    .receive = kernel_receive,
    .shutdown = kernel_shutdown,
    .close = kernel_close,
    .reset = kernel_reset,
    .bind = kernel_bind,
    .send_to = kernel_send_to,
    .receive_from = kernel_receive_from,
    .free = kernel_free,
};

struct peer *peer_kernel_new(void)
{
    struct peer_kernel *k = calloc(1, sizeof(*k));

    if (k == NULL)
        return NULL;
    k->base.ops = &kernel_ops;
    k->listener = -1;
    return &k->base;
}
