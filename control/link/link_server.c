#include "control/link/link_server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "control/unix_socket.h"

enum { PACKETS_PER_TURN = 64, HELLO_TIMEOUT_US = 2000000 };

struct link_server {
    struct loop *loop;
    const struct link_handler *handler;
    char *path;
    struct loop_source listener;
    struct loop_source peer; /* fd -1: nobody */
    struct timer hello_timer;
    pid_t peer_pid; /* as the kernel says */
    bool is_attached;
    uint64_t heard_us;
    struct link_message message; /* scratch */
    uint8_t packet[LINK_MESSAGE_MAX];
};

/* Ends the connection; tells the rest when it had greeted. */
static void peer_drop(struct link_server *s, const char *why, uint64_t now_us)
{
    bool was_attached = s->is_attached;

    loop_remove(s->loop, &s->peer);
    wheel_cancel(&s->loop->wheel, &s->hello_timer);
    s->is_attached = false;
    s->heard_us = 0;
    log_warn("link", LOG_MSG("data plane left the link"), LOG_STR("why", why),
             LOG_INT("pid", s->peer_pid));
    if (was_attached)
        s->handler->detached(s->handler->user, now_us);
}

static void hello_timer_fired(struct timer *t, uint64_t now_us)
{
    peer_drop(CONTAINER_OF(t, struct link_server, hello_timer), "it did not greet", now_us);
}

/* Sends s->message; false: it did not go out. A peer that does not read loses the message: its
 * deadlines cover that. */
static bool peer_send(struct link_server *s)
{
    size_t size = link_encode(&s->message, s->packet);

    return send(s->peer.fd, s->packet, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

static void peer_greeted(struct link_server *s, uint64_t now_us)
{
    struct link_hello hello = s->message.hello;

    s->message = (struct link_message){
        .type = LINK_HELLO,
        .hello = {.version = LINK_VERSION, .pid = (uint32_t)getpid(), .build = LINK_BUILD}};
    bool is_sent = peer_send(s);
    if (hello.version != LINK_VERSION) {
        pid_t pid = s->peer_pid;
        log_error("link", LOG_MSG("data plane speaks another version of the link"),
                  LOG_INT("theirs", hello.version), LOG_INT("ours", LINK_VERSION));
        peer_drop(s, "version mismatch", now_us);
        s->handler->incompatible(s->handler->user, pid, now_us);
        return;
    }
    if (!is_sent) {
        peer_drop(s, "it takes no greeting", now_us);
        return;
    }
    wheel_cancel(&s->loop->wheel, &s->hello_timer);
    s->is_attached = true;
    log_info("link", LOG_MSG("data plane attached"), LOG_INT("pid", s->peer_pid),
             LOG_STR("build", hello.build));
    s->handler->attached(s->handler->user, s->peer_pid, now_us);
}

static void peer_asks(struct link_server *s)
{
    const struct link_question *q = &s->message.question;
    enum link_verdict verdict = s->handler->may_publish(s->handler->user, q->name, q->key);
    uint32_t request_id = s->message.request_id;

    if (verdict == LINK_ALLOWED)
        log_info("auth", LOG_MSG("publish allowed"), LOG_STR("channel", q->name));
    else
        log_warn("auth", LOG_MSG("publish refused"), LOG_STR("channel", q->name),
                 LOG_STR("why", link_verdict_name(verdict)));
    explicit_bzero(&s->message.question, sizeof(s->message.question));
    explicit_bzero(s->packet, sizeof(s->packet));
    s->message =
        (struct link_message){.type = LINK_VERDICT, .request_id = request_id, .verdict = verdict};
    if (!peer_send(s))
        log_warn("link", LOG_MSG("data plane takes no verdict"));
}

/* One message; false: the peer has no business sending it now. */
static bool peer_handle(struct link_server *s, uint64_t now_us)
{
    if (!s->is_attached) {
        if (s->message.type != LINK_HELLO)
            return false;
        peer_greeted(s, now_us);
        return true;
    }
    switch (s->message.type) {
    case LINK_PUBLISH:
        peer_asks(s);
        return true;
    case LINK_CHANNEL:
        s->handler->channel(s->handler->user, &s->message.channel, now_us);
        return true;
    case LINK_COUNTERS:
        s->handler->counters(s->handler->user, &s->message.counters, now_us);
        return true;
    case LINK_HELLO:
    case LINK_VERDICT:
    case LINK_STOP:
        return false;
    }
    return false;
}

static void peer_ready(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct link_server *s = CONTAINER_OF(source, struct link_server, peer);

    (void)events; /* recv() tells an error and the end as well */
    for (int i = 0; i < PACKETS_PER_TURN && s->peer.fd >= 0; i++) {
        ssize_t size = recv(s->peer.fd, s->packet, sizeof(s->packet), MSG_DONTWAIT | MSG_TRUNC);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            peer_drop(s, size == 0 ? "closed" : strerror(errno), now_us);
            return;
        }
        s->heard_us = now_us;
        if ((size_t)size > sizeof(s->packet) ||
            link_decode(bytes_of(s->packet, (size_t)size), &s->message) < 0 ||
            !peer_handle(s, now_us)) {
            peer_drop(s, "a message that makes no sense", now_us);
            return;
        }
    }
}

static void listener_ready(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct link_server *s = CONTAINER_OF(source, struct link_server, listener);
    int fd = accept4(s->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    if (fd < 0)
        return;
    pid_t pid = unix_peer(fd);
    if (pid < 0 || s->is_attached) {
        log_warn("link", LOG_MSG("connection refused"),
                 LOG_STR("why", pid < 0 ? "not our user" : "a data plane is attached"));
        close(fd);
        return;
    }
    if (s->peer.fd >= 0)
        peer_drop(s, "another one connected", now_us);
    s->peer.fd = fd;
    s->peer_pid = pid;
    if (loop_add(s->loop, &s->peer, EPOLLIN) < 0) {
        peer_drop(s, "cannot watch it", now_us);
        return;
    }
    wheel_arm(&s->loop->wheel, &s->hello_timer, now_us + HELLO_TIMEOUT_US);
}

int link_server_new(struct loop *loop, const char *path, const struct link_handler *handler,
                    struct link_server **ret_server)
{
    struct link_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->loop = loop;
    s->handler = handler;
    s->listener =
        (struct loop_source){.fd = unix_listen(path, SOCK_SEQPACKET), .ready = listener_ready};
    s->peer = (struct loop_source){.fd = -1, .ready = peer_ready};
    s->hello_timer.fire = hello_timer_fired;
    s->path = strdup(path);
    int err = s->path == NULL ? -ENOMEM : s->listener.fd;
    if (err >= 0)
        err = loop_add(loop, &s->listener, EPOLLIN);
    if (err < 0) {
        link_server_free(&s);
        return err;
    }
    *ret_server = s;
    return 0;
}

void link_server_free(struct link_server **ps)
{
    struct link_server *s = *ps;

    *ps = NULL;
    if (s == NULL)
        return;
    wheel_cancel(&s->loop->wheel, &s->hello_timer);
    loop_remove(s->loop, &s->peer);
    if (s->listener.fd >= 0 && s->path != NULL)
        unlink(s->path);
    loop_remove(s->loop, &s->listener);
    free(s->path);
    free(s);
}

bool link_server_is_attached(const struct link_server *server)
{
    return server->is_attached;
}

uint64_t link_server_heard_us(const struct link_server *server)
{
    return server->is_attached ? server->heard_us : 0;
}

bool link_server_stop_peer(struct link_server *s)
{
    if (!s->is_attached)
        return false;
    s->message = (struct link_message){.type = LINK_STOP};
    return peer_send(s);
}
