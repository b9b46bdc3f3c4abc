#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/log.h"
#include "drivers/net/uring/internal.h"

enum { FILES_RESERVED = 64, BOUND_MAX = 64 };

/* What this process is bound to, so that shards may share an address (SO_REUSEPORT) while a second
 * process is refused: the kernel alone would let it share, and take half of our connections. */
static struct {
    pthread_mutex_t lock;
    struct {
        struct endpoint local;
        int type;
        unsigned uses;
    } entries[BOUND_MAX];
} bound = {.lock = PTHREAD_MUTEX_INITIALIZER};

socklen_t uring_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
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

struct endpoint uring_endpoint(const struct sockaddr_storage *address)
{
    struct endpoint e = {0};

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        e.family = 4;
        e.port = ntohs(in->sin_port);
        memcpy(e.addr, &in->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
        e.port = ntohs(in6->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            e.family = 4;
            memcpy(e.addr, &in6->sin6_addr.s6_addr[12], 4);
        } else {
            e.family = 6;
            memcpy(e.addr, &in6->sin6_addr, 16);
        }
    }
    return e;
}

static int set_int(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static void set_stream_options(int fd, uint32_t unsent_bytes_max)
{
    (void)set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)unsent_bytes_max);
}

/* 0, or -errno with the socket left open. */
static int bind_fd(int fd, const struct endpoint *local, int type, bool is_shared)
{
    struct sockaddr_storage address;
    socklen_t size = uring_sockaddr(local, &address);
    int err = set_int(fd, SOL_SOCKET, SO_REUSEADDR, type == SOCK_STREAM);

    if (err == 0 && is_shared)
        err = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (err == 0 && local->family == 6)
        err = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, !endpoint_is_any(local));
    if (err == 0 && bind(fd, (const struct sockaddr *)&address, size) < 0)
        err = -errno;
    return err;
}

/* A socket bound to 'local', or -errno. */
static int open_bound(const struct endpoint *local, int type, bool is_shared)
{
    struct endpoint actual = *local;
    int fd = socket(local->family == 4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);

    if (fd < 0 && errno == EAFNOSUPPORT && local->family == 6 && endpoint_is_any(local)) {
        actual.family = 4; /* a kernel without IPv6: "*" then means all of IPv4 */
        fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    }
    if (fd < 0)
        return -errno;
    int err = bind_fd(fd, &actual, type, is_shared);
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

/* The entry of 'local', or a free one with no uses; NULL: table full. Under the lock. */
static unsigned *bound_uses(const struct endpoint *local, int type)
{
    unsigned *free_uses = NULL;

    for (size_t i = 0; i < BOUND_MAX; i++) {
        if (bound.entries[i].uses == 0) {
            if (free_uses == NULL) {
                free_uses = &bound.entries[i].uses;
                bound.entries[i].type = type;
                bound.entries[i].local = *local;
            }
            continue;
        }
        if (bound.entries[i].type == type && endpoint_is_equal(&bound.entries[i].local, local))
            return &bound.entries[i].uses;
    }
    return free_uses;
}

static int open_shared(const struct endpoint *local, int type)
{
    pthread_mutex_lock(&bound.lock);
    unsigned *uses = bound_uses(local, type);
    int fd = uses == NULL ? -ENOSPC : 0;

    if (fd == 0 && *uses == 0 && local->port != 0) {
        /* Fails when anybody else has it, also a sharer. */
        int probe = open_bound(local, type, false);
        if (probe >= 0)
            close(probe);
        else
            fd = probe;
    }
    if (fd == 0)
        fd = open_bound(local, type, true);
    if (fd >= 0)
        (*uses)++;
    pthread_mutex_unlock(&bound.lock);
    return fd;
}

int uring_socket_bound(const struct endpoint *local, int type, uint32_t unsent_bytes_max)
{
    int fd = open_shared(local, type);

    if (fd < 0 || type != SOCK_STREAM)
        return fd;
    set_stream_options(fd, unsent_bytes_max); /* inherited by what it accepts */
    if (listen(fd, URING_BACKLOG) == 0)
        return fd;
    int err = -errno;
    close(fd);
    uring_socket_unbind(local, type);
    return err;
}

void uring_socket_unbind(const struct endpoint *local, int type)
{
    pthread_mutex_lock(&bound.lock);
    unsigned *uses = bound_uses(local, type);
    if (uses != NULL && *uses > 0)
        (*uses)--;
    pthread_mutex_unlock(&bound.lock);
}

int uring_socket_connecting(const struct endpoint *peer, uint32_t unsent_bytes_max)
{
    int fd = socket(peer->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    set_stream_options(fd, unsent_bytes_max);
    return fd;
}

void uring_raise_file_limit(uint32_t streams_max)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < (rlim_t)streams_max + FILES_RESERVED)
        log_warn("uring",
                 LOG_MSG("the limit of open files is below net.streams_max; connections over it "
                         "wait in the backlog: raise LimitNOFILE or ulimit -n"),
                 LOG_INT("limit", limit.rlim_cur), LOG_INT("streams_max", streams_max));
}
