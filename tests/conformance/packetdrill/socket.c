#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/conformance/packetdrill/shim.h"

/* --- bytes --- */

bool byte_queue_push(struct byte_queue *q, const void *data, size_t size)
{
    if (q->head > 0 && q->head + q->size + size > q->capacity) {
        memmove(q->data, q->data + q->head, q->size);
        q->head = 0;
    }
    if (q->size + size > q->capacity) {
        size_t capacity = 2 * q->capacity + size;
        uint8_t *data_new = realloc(q->data, capacity);
        if (data_new == NULL)
            return false;
        q->data = data_new;
        q->capacity = capacity;
    }
    if (size > 0)
        memcpy(q->data + q->head + q->size, data, size);
    q->size += size;
    return true;
}

size_t byte_queue_peek(const struct byte_queue *q, void *to, size_t size)
{
    if (size > q->size)
        size = q->size;
    if (size > 0 && to != NULL)
        memcpy(to, q->data + q->head, size);
    return size;
}

void byte_queue_drop(struct byte_queue *q, size_t size)
{
    q->head += size;
    q->size -= size;
    if (q->size == 0)
        q->head = 0;
}

void byte_queue_free(struct byte_queue *q)
{
    free(q->data);
    *q = (struct byte_queue){0};
}

/* --- descriptors --- */

static struct descriptor *descriptor_of(struct shim *sh, int fd)
{
    for (int i = 0; i < SHIM_FDS_MAX; i++)
        if (sh->descriptors[i].sock != NULL && sh->descriptors[i].fd == fd)
            return &sh->descriptors[i];
    return NULL;
}

struct sock *sock_of(struct shim *sh, int fd)
{
    const struct descriptor *d = descriptor_of(sh, fd);

    return d != NULL ? d->sock : NULL;
}

static void descriptor_close(struct descriptor *d)
{
    struct stat now;

    if (fstat(d->fd, &now) == 0 && now.st_ino == d->inode)
        close(d->fd);
    *d = (struct descriptor){0};
}

int sock_give_fd(struct shim *sh, struct sock *s)
{
    struct stat made;

    for (int i = 0; i < SHIM_FDS_MAX; i++) {
        struct descriptor *d = &sh->descriptors[i];
        if (d->sock != NULL)
            continue;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || fstat(fd, &made) < 0)
            return -EMFILE;
        /* The tool may have left its number to us after closing it itself. */
        struct descriptor *stale = descriptor_of(sh, fd);
        if (stale != NULL)
            *stale = (struct descriptor){0};
        *d = (struct descriptor){.sock = s, .fd = fd, .inode = made.st_ino};
        s->has_fd = true;
        return fd;
    }
    return -EMFILE;
}

void sock_drop_fd(struct shim *sh, struct sock *s)
{
    for (int i = 0; i < SHIM_FDS_MAX; i++)
        if (sh->descriptors[i].sock == s)
            descriptor_close(&sh->descriptors[i]);
    s->has_fd = false;
}

int sock_new(struct shim *sh, enum sock_kind kind, int domain, struct sock **ret)
{
    struct sock *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->shim = sh;
    s->kind = kind;
    s->domain = domain;
    list_init(&s->datagrams);
    options_init(s);
    list_push_back(&sh->socks, &s->link);
    *ret = s;
    return 0;
}

void sock_free(struct sock *s)
{
    struct list *node;

    while ((node = list_pop_front(&s->datagrams)) != NULL)
        free(CONTAINER_OF(node, struct datagram, link));
    byte_queue_free(&s->received);
    if (s->kind == SOCK_PIPE && s->other == NULL && s->pipe != NULL) {
        byte_queue_free(s->pipe);
        free(s->pipe);
    }
    if (s->other != NULL)
        s->other->other = NULL;
    sock_drop_fd(s->shim, s);
    list_remove(&s->link);
    free(s);
}

void sock_wake(struct sock *s, uint32_t events)
{
    struct shim *sh = s->shim;

    for (struct list *n = sh->socks.next; n != &sh->socks; n = n->next) {
        struct sock *e = CONTAINER_OF(n, struct sock, link);
        if (e->kind != SOCK_EPOLL)
            continue;
        for (int i = 0; i < SHIM_EPOLL_MAX; i++)
            if (e->items[i].sock == s &&
                (events & (e->items[i].event.events | EPOLLERR | EPOLLHUP)) != 0)
                e->items[i].is_pending = true;
    }
}

uint32_t sock_events(struct sock *s)
{
    switch (s->kind) {
    case SOCK_TCP:
        return tcp_sock_events(s);
    case SOCK_UDP:
        return EPOLLOUT | EPOLLWRNORM |
               (list_is_empty(&s->datagrams) ? 0u : (uint32_t)(EPOLLIN | EPOLLRDNORM)) |
               (s->error != 0 ? (uint32_t)EPOLLERR : 0u);
    case SOCK_PIPE:
        if (s->is_write_end)
            return EPOLLOUT | EPOLLWRNORM | (s->other == NULL ? (uint32_t)EPOLLERR : 0u);
        return (s->pipe->size > 0 ? (uint32_t)(EPOLLIN | EPOLLRDNORM) : 0u) |
               (s->other == NULL ? (uint32_t)EPOLLHUP : 0u);
    case SOCK_EPOLL:
        break;
    }
    return 0;
}

/* --- addresses --- */

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int endpoint_from_sockaddr(int domain, const struct sockaddr *addr, socklen_t size,
                           struct endpoint *ret)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    sa_family_t family;

    if (addr == NULL || size < sizeof(family))
        return addr == NULL ? -EFAULT : -EINVAL;
    memcpy(&family, addr, sizeof(family));
    if (domain == AF_INET) {
        if (size < sizeof(v4))
            return -EINVAL;
        if (family != AF_INET)
            return -EAFNOSUPPORT;
        memcpy(&v4, addr, sizeof(v4));
        *ret = (struct endpoint){.port = ntohs(v4.sin_port), .family = 4};
        memcpy(ret->addr, &v4.sin_addr, 4);
        return 0;
    }
    if (size < 24) /* without the scope id, RFC 2133's size */
        return -EINVAL;
    if (family != AF_INET6)
        return -EAFNOSUPPORT;
    memset(&v6, 0, sizeof(v6));
    memcpy(&v6, addr, size < sizeof(v6) ? size : sizeof(v6));
    *ret = (struct endpoint){.port = ntohs(v6.sin6_port), .family = 6};
    memcpy(ret->addr, &v6.sin6_addr, 16);
    if (memcmp(ret->addr, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        ret->family = 4;
        memmove(ret->addr, ret->addr + 12, 4);
        memset(ret->addr + 4, 0, 12);
    }
    return 0;
}

void endpoint_to_sockaddr(int domain, const struct endpoint *e, struct sockaddr *addr,
                          socklen_t *size)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(e->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
    const void *from = &v4;
    socklen_t have = sizeof(v4);

    if (addr == NULL || size == NULL)
        return;
    memcpy(&v4.sin_addr, e->addr, 4);
    if (domain == AF_INET6) {
        if (e->family == 4) {
            memcpy(&v6.sin6_addr, mapped_prefix, 12);
            memcpy((uint8_t *)&v6.sin6_addr + 12, e->addr, 4);
        } else {
            memcpy(&v6.sin6_addr, e->addr, 16);
        }
        from = &v6;
        have = sizeof(v6);
    }
    memcpy(addr, from, *size < have ? *size : have);
    *size = have;
}
