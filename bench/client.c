#include "bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"

enum {
    HEAD_MAX = 4096,
    EVENTS_MAX = 256,
    DISCARD_MAX = 1 << 20,
    WARM_UP_US = 1000000,
    LATENCY_BUCKETS = 4096 /* 16 buckets an octave of microseconds */
};

struct connection {
    int fd;
    uint32_t path;
    uint32_t head_size;
    bool in_body;
    uint64_t body_left;
    uint64_t asked_us;
    char head[HEAD_MAX];
};

struct client {
    const struct client_options *options;
    struct client_result result;
    struct connection *connections;
    uint32_t open_count;
    int epoll_fd;
    bool is_measuring;
    uint64_t latencies[LATENCY_BUCKETS];
};

static unsigned latency_bucket(uint64_t us)
{
    unsigned octave = us < 16 ? 0 : 60 - (unsigned)__builtin_clzll(us);

    unsigned bucket = octave * 16 + (unsigned)((us >> octave) & 15) + (octave > 0 ? 16 : 0);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The lower edge of a bucket, as latency_bucket() counts. */
static uint64_t bucket_us(unsigned bucket)
{
    if (bucket < 16)
        return bucket;
    unsigned octave = bucket / 16 - 1;
    return (uint64_t)(16 + bucket % 16) << octave;
}

static uint64_t latency_quantile(const struct client *c, double quantile)
{
    uint64_t total = 0;
    uint64_t seen = 0;

    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        total += c->latencies[i];
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += c->latencies[i];
        if (seen > 0 && (double)seen >= quantile * (double)total)
            return bucket_us(i);
    }
    return 0;
}

static void connection_close(struct client *c, struct connection *conn)
{
    if (conn->fd < 0)
        return;
    close(conn->fd);
    conn->fd = -1;
    c->open_count--;
}

static void connection_fail(struct client *c, struct connection *conn)
{
    c->result.errors++;
    connection_close(c, conn);
}

static void connection_ask(struct client *c, struct connection *conn)
{
    char request[512];
    const char *path = c->options->paths[conn->path];

    conn->path = (conn->path + 1) % c->options->path_count;
    conn->head_size = 0;
    conn->in_body = false;
    conn->asked_us = clock_monotonic_us();
    int size = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path);
    /* Far smaller than the socket buffer, which is empty: never short. */
    if (send(conn->fd, request, (size_t)size, MSG_NOSIGNAL) != size)
        connection_fail(c, conn);
}

static void connection_done(struct client *c, struct connection *conn)
{
    if (c->is_measuring) {
        c->result.responses++;
        c->latencies[latency_bucket(clock_monotonic_us() - conn->asked_us)]++;
    }
    connection_ask(c, conn);
}

/* Reads the head, which ends with an empty line; false when more is to come or it failed. */
static bool head_parse(struct client *c, struct connection *conn)
{
    char *end = memmem(conn->head, conn->head_size, "\r\n\r\n", 4);

    if (end == NULL) {
        if (conn->head_size == HEAD_MAX - 1)
            connection_fail(c, conn);
        return false;
    }
    conn->head[conn->head_size] = '\0';
    size_t head_size = (size_t)(end - conn->head) + 4;
    *end = '\0';
    char *length = strcasestr(conn->head, "\r\ncontent-length:");
    if (strncmp(conn->head, "HTTP/1.1 200 ", 13) != 0 || length == NULL) {
        connection_fail(c, conn);
        return false;
    }
    conn->body_left = strtoull(length + 17, NULL, 10);
    uint64_t in_buffer = conn->head_size - head_size;
    if (in_buffer > conn->body_left) { /* we never pipeline */
        connection_fail(c, conn);
        return false;
    }
    conn->body_left -= in_buffer;
    c->result.body_bytes += c->is_measuring ? in_buffer : 0;
    conn->in_body = true;
    return true;
}

/* Takes what the socket has, once; epoll is level-triggered. */
static void connection_read(struct client *c, struct connection *conn)
{
    ssize_t got;

    if (!conn->in_body) {
        got = recv(conn->fd, conn->head + conn->head_size, HEAD_MAX - 1 - conn->head_size, 0);
    } else {
        size_t want = conn->body_left < DISCARD_MAX ? (size_t)conn->body_left : DISCARD_MAX;
        got = recv(conn->fd, NULL, want, MSG_TRUNC);
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        connection_fail(c, conn);
        return;
    }
    if (conn->in_body) {
        conn->body_left -= (uint64_t)got;
        c->result.body_bytes += c->is_measuring ? (uint64_t)got : 0;
    } else {
        conn->head_size += (uint32_t)got;
        if (!head_parse(c, conn))
            return;
    }
    if (conn->body_left == 0)
        connection_done(c, conn);
}

static int connection_open(struct client *c, struct connection *conn)
{
    const struct endpoint *server = &c->options->server;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    int one = 1;

    memcpy(&address.sin_addr, server->addr, 4);
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        return -errno;
    c->open_count++;
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    if (connect(conn->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fcntl(conn->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) < 0) {
        int err = -errno;
        connection_close(c, conn);
        return err;
    }
    c->result.connected++;
    return 0;
}

static void client_loop(struct client *c, uint64_t until_us)
{
    struct epoll_event events[EVENTS_MAX];

    while (c->open_count > 0 && clock_monotonic_us() < until_us) {
        int ready = epoll_wait(c->epoll_fd, events, EVENTS_MAX, 100);
        for (int i = 0; i < ready; i++) {
            struct connection *conn = events[i].data.ptr;
            if (conn->fd >= 0)
                connection_read(c, conn);
        }
    }
}

int client_run(const struct client_options *options, struct client_result *ret_result)
{
    struct client *c = calloc(1, sizeof(*c));
    int err = 0;

    CHECK(options->path_count > 0 && options->server.family == 4);
    if (c == NULL)
        return -ENOMEM;
    c->options = options;
    c->connections = calloc(options->connections, sizeof(*c->connections));
    c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (c->connections == NULL || c->epoll_fd < 0) {
        err = -ENOMEM;
        goto out;
    }
    for (uint32_t i = 0; i < options->connections; i++) {
        c->connections[i].fd = -1;
        c->connections[i].path = i % options->path_count;
        int open_error = connection_open(c, &c->connections[i]);
        if (open_error < 0)
            err = open_error;
        else
            connection_ask(c, &c->connections[i]);
    }
    if (c->result.connected == 0)
        goto out;
    err = 0;
    client_loop(c, clock_monotonic_us() + WARM_UP_US);
    c->is_measuring = true;
    uint64_t start_us = clock_monotonic_us();
    client_loop(c, start_us + (uint64_t)options->seconds * 1000000);
    c->result.elapsed_us = clock_monotonic_us() - start_us;
    c->result.latency_p50_us = latency_quantile(c, 0.5);
    c->result.latency_p99_us = latency_quantile(c, 0.99);
    *ret_result = c->result;

out:
    for (uint32_t i = 0; c->connections != NULL && i < options->connections; i++)
        connection_close(c, &c->connections[i]);
    if (c->epoll_fd >= 0)
        close(c->epoll_fd);
    free(c->connections);
    free(c);
    return err;
}
