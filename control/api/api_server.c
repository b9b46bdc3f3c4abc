#include "control/api/api_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "control/unix_socket.h"

struct client {
    struct loop_source source; /* fd -1: the slot is free */
    struct api_server *server;
    struct timer stall;
    size_t line_size;
    char *answer; /* owned; NULL: none on its way */
    size_t answer_size;
    size_t answer_sent;
    char line[API_LINE_MAX];
};

struct api_server {
    struct loop *loop;
    const struct rpc *rpc;
    char *path;
    struct loop_source listener;
    struct client clients[API_CLIENTS_MAX];
};

static void client_drop(struct client *c)
{
    loop_remove(c->server->loop, &c->source);
    wheel_cancel(&c->server->loop->wheel, &c->stall);
    free(c->answer);
    c->answer = NULL;
    c->line_size = 0;
}

static void client_stalled(struct timer *t, uint64_t now_us)
{
    (void)now_us;
    log_warn("api", LOG_MSG("client dropped: it neither finishes its line nor reads its answer"));
    client_drop(CONTAINER_OF(t, struct client, stall));
}

/* Takes 'answer', owned and without newline, on its way. */
static void client_answer(struct client *c, char *answer)
{
    size_t size = answer == NULL ? 0 : strlen(answer);

    if (answer == NULL)
        return;
    answer[size] = '\n'; /* sent by its size: the NUL is not missed */
    c->answer = answer;
    c->answer_size = size + 1;
    c->answer_sent = 0;
}

/* Sends what it can. False: the client is gone. */
static bool client_flush(struct client *c, uint64_t now_us)
{
    struct loop *loop = c->server->loop;

    while (c->answer != NULL) {
        ssize_t sent = send(c->source.fd, c->answer + c->answer_sent,
                            c->answer_size - c->answer_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!timer_is_armed(&c->stall))
                wheel_arm(&loop->wheel, &c->stall, now_us + API_STALL_US);
            return loop_change(loop, &c->source, EPOLLOUT) == 0;
        }
        if (sent < 0)
            return false;
        wheel_cancel(&loop->wheel, &c->stall);
        c->answer_sent += (size_t)sent;
        if (c->answer_sent < c->answer_size)
            continue;
        free(c->answer);
        c->answer = NULL;
    }
    return loop_change(loop, &c->source, EPOLLIN) == 0;
}

/* Answers the first whole line in the buffer, if there is one, and takes it out. */
static bool client_take_line(struct client *c)
{
    const char *newline = memchr(c->line, '\n', c->line_size);

    if (newline == NULL)
        return false;
    size_t size = (size_t)(newline - c->line);
    client_answer(c, rpc_answer(c->server->rpc, bytes_of(c->line, size)));
    c->line_size -= size + 1;
    memmove(c->line, newline + 1, c->line_size);
    return true;
}

/* Answers line by line for as long as answers go out. False: the client is gone. */
static bool client_serve(struct client *c, uint64_t now_us)
{
    struct loop *loop = c->server->loop;

    while (c->answer == NULL && client_take_line(c))
        if (!client_flush(c, now_us))
            return false;
    if (c->answer != NULL)
        return true;
    if (c->line_size == 0)
        wheel_cancel(&loop->wheel, &c->stall);
    else if (!timer_is_armed(&c->stall))
        wheel_arm(&loop->wheel, &c->stall, now_us + API_STALL_US);
    if (c->line_size < sizeof(c->line))
        return true;
    client_answer(c, rpc_refusal(RPC_TOO_LONG, "the line is longer than 16384 bytes"));
    (void)client_flush(c, now_us);
    return false;
}

/* Reads what is there. False: the client is gone. */
static bool client_read(struct client *c)
{
    ssize_t size =
        recv(c->source.fd, c->line + c->line_size, sizeof(c->line) - c->line_size, MSG_DONTWAIT);

    if (size < 0)
        return errno == EAGAIN || errno == EINTR;
    c->line_size += (size_t)size;
    return size > 0;
}

static void client_ready(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct client *c = CONTAINER_OF(source, struct client, source);
    bool is_alive = true;

    if ((events & EPOLLOUT) != 0)
        is_alive = client_flush(c, now_us);
    else if (c->answer == NULL)
        is_alive = client_read(c);
    else if ((events & (EPOLLHUP | EPOLLERR)) != 0)
        is_alive = false;
    if (!is_alive || !client_serve(c, now_us))
        client_drop(c);
}

/* Tells why, as far as the socket takes it at once, and closes. */
static void refuse_and_close(int fd, int code, const char *message)
{
    char *text = rpc_refusal(code, message);

    log_warn("api", LOG_MSG("client refused"), LOG_STR("why", message));
    if (text != NULL) {
        size_t size = strlen(text);
        text[size] = '\n';
        ssize_t ignored = send(fd, text, size + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)ignored;
    }
    free(text);
    close(fd);
}

static void listener_ready(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct api_server *s = CONTAINER_OF(source, struct api_server, listener);
    int fd = accept4(s->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    size_t i = 0;

    (void)events;
    (void)now_us;
    if (fd < 0)
        return;
    if (unix_peer(fd) < 0) {
        refuse_and_close(fd, RPC_INVALID_REQUEST, "only root and leatd's own user may connect");
        return;
    }
    while (i < API_CLIENTS_MAX && s->clients[i].source.fd >= 0)
        i++;
    if (i == API_CLIENTS_MAX) {
        refuse_and_close(fd, RPC_BUSY, "too many clients");
        return;
    }
    s->clients[i].source.fd = fd;
    if (loop_add(s->loop, &s->clients[i].source, EPOLLIN) < 0)
        client_drop(&s->clients[i]);
}

int api_server_new(struct loop *loop, const char *path, const struct rpc *rpc,
                   struct api_server **ret_server)
{
    struct api_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->loop = loop;
    s->rpc = rpc;
    for (size_t i = 0; i < API_CLIENTS_MAX; i++) {
        s->clients[i].server = s;
        s->clients[i].source = (struct loop_source){.fd = -1, .ready = client_ready};
        s->clients[i].stall.fire = client_stalled;
    }
    s->listener =
        (struct loop_source){.fd = unix_listen(path, SOCK_STREAM), .ready = listener_ready};
    s->path = strdup(path);
    int err = s->path == NULL ? -ENOMEM : s->listener.fd;
    if (err >= 0)
        err = loop_add(loop, &s->listener, EPOLLIN);
    if (err < 0) {
        api_server_free(&s);
        return err;
    }
    *ret_server = s;
    return 0;
}

void api_server_free(struct api_server **ps)
{
    struct api_server *s = *ps;

    *ps = NULL;
    if (s == NULL)
        return;
    for (size_t i = 0; i < API_CLIENTS_MAX; i++)
        client_drop(&s->clients[i]);
    if (s->listener.fd >= 0 && s->path != NULL)
        unlink(s->path);
    loop_remove(s->loop, &s->listener);
    free(s->path);
    free(s);
}
