/* The calls that scripts make. */
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/script/run.h"

enum { BUFFER_MAX = 16 << 20, ARGUMENTS_MAX = 6, SERVER_PORT = 8080 };

/* A call in progress. */
struct call {
    struct run *run;
    const struct script_event *event;
    const struct value *arguments[ARGUMENTS_MAX];
    int argument_count;
    struct script_error *error;
    int64_t result;
    int result_error;
};

static bool call_fail(struct call *c, const char *what)
{
    return script_fail(c->error, c->event->line, "%s(): %s", c->event->call, what);
}

static int64_t number_at(struct call *c, int index)
{
    if (index >= c->argument_count || c->arguments[index]->kind != VALUE_NUMBER) {
        call_fail(c, "expected a number as an argument");
        return 0;
    }
    return c->arguments[index]->number;
}

static bool is_ellipsis(const struct call *c, int index)
{
    return index < c->argument_count && c->arguments[index]->kind == VALUE_ELLIPSIS;
}

static int live_fd(struct run *r, int64_t script)
{
    for (int i = r->fd_count; i > 0; i--)
        if (r->fds[i - 1].script == script)
            return r->fds[i - 1].live;
    return -1; /* let the stack say EBADF */
}

static int fd_at(struct call *c, int index)
{
    return live_fd(c->run, number_at(c, index));
}

static void fd_learn(struct call *c, int64_t script, int live)
{
    struct run *r = c->run;

    if (live < 0)
        return;
    if (r->fd_count == RUN_FDS_MAX) {
        call_fail(c, "too many descriptors");
        return;
    }
    r->fds[r->fd_count].script = (int)script;
    r->fds[r->fd_count++].live = live;
}

static void done(struct call *c, int64_t result)
{
    c->result_error = errno;
    c->result = result;
}

/* Takes the descriptor's result for what the script calls it. */
static void done_fd(struct call *c, int live)
{
    done(c, live);
    if (live < 0)
        return;
    fd_learn(c, c->event->result, live);
    c->result = c->event->result;
    if (c->event->result < 0)
        c->result = live;
}

static void *buffer_new(struct call *c, int64_t size)
{
    void *buffer = size >= 0 && size <= BUFFER_MAX ? calloc(1, (size_t)size + 1) : NULL;

    if (buffer == NULL)
        call_fail(c, "cannot make a buffer of that size");
    return buffer;
}

static const struct value *member(const struct value *v, const char *name)
{
    for (const struct value *m = v->child; m != NULL; m = m->next)
        if (strcmp(m->name, name) == 0)
            return m;
    return NULL;
}

static int64_t member_number(const struct value *v, const char *name, int64_t standard)
{
    const struct value *m = member(v, name);

    return m != NULL && m->kind == VALUE_NUMBER ? m->number : standard;
}

static socklen_t address_make(const struct run *r, const uint8_t *ip, uint16_t port,
                              struct sockaddr_storage *ret)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    memset(ret, 0, sizeof(*ret));
    if (r->domain == AF_INET) {
        memcpy(&v4.sin_addr, ip, 4);
        memcpy(ret, &v4, sizeof(v4));
        return sizeof(v4);
    }
    if (r->family == 4) {
        uint8_t *mapped = v6.sin6_addr.s6_addr;
        mapped[10] = mapped[11] = 0xff;
        memcpy(mapped + 12, ip, 4);
    } else {
        memcpy(&v6.sin6_addr, ip, 16);
    }
    memcpy(ret, &v6, sizeof(v6));
    return sizeof(v6);
}

/* --- opening and closing --- */

static void call_socket(struct call *c)
{
    struct run *r = c->run;
    int domain = is_ellipsis(c, 0) ? r->domain : (int)number_at(c, 0);
    int type = (int)number_at(c, 1);
    int protocol = c->argument_count > 2 && !is_ellipsis(c, 2) ? (int)number_at(c, 2) : 0;

    done_fd(c, r->ifc.socket(r->ifc.userdata, domain, type, protocol));
    if (c->result < 0)
        return;
    r->conn = (struct run_conn){0};
    r->tcp_fd = (type & 0xf) == SOCK_STREAM ? live_fd(r, c->event->result) : -1;
}

static void call_bind(struct call *c)
{
    struct run *r = c->run;
    struct sockaddr_storage address;
    socklen_t size = address_make(r, r->local, SERVER_PORT, &address);

    done(c, r->ifc.bind(r->ifc.userdata, fd_at(c, 0), (struct sockaddr *)&address, size));
    if (c->result == 0)
        r->conn.local_port = SERVER_PORT;
}

static void call_listen(struct call *c)
{
    struct run *r = c->run;

    done(c, r->ifc.listen(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1)));
    if (c->result == 0)
        r->conn = (struct run_conn){.phase = CONN_LISTENING};
}

static void call_accept(struct call *c)
{
    struct run *r = c->run;
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int fd = r->ifc.accept(r->ifc.userdata, fd_at(c, 0), (struct sockaddr *)&address, &size);

    done_fd(c, fd);
    if (fd >= 0)
        r->tcp_fd = fd;
}

static void call_connect(struct call *c)
{
    struct run *r = c->run;
    struct sockaddr_storage address;
    socklen_t size = address_make(r, r->remote, SERVER_PORT, &address);
    bool is_undone = c->argument_count > 1 && c->arguments[1]->kind == VALUE_STRUCT &&
                     member_number(c->arguments[1], "sa_family", -1) == AF_UNSPEC;

    if (is_undone) {
        memset(&address, 0, sizeof(address));
    } else if (r->conn.phase == CONN_NONE) {
        r->conn.phase = CONN_CONNECTING;
        r->conn.remote_port = SERVER_PORT;
    }
    done(c, r->ifc.connect(r->ifc.userdata, fd_at(c, 0), (struct sockaddr *)&address, size));
    if (is_undone)
        r->conn = (struct run_conn){0};
}

static void call_close(struct call *c)
{
    struct run *r = c->run;
    int fd = fd_at(c, 0);

    done(c, r->ifc.close(r->ifc.userdata, fd));
    for (int i = 0; i < r->fd_count; i++)
        if (r->fds[i].live == fd) {
            r->fds[i] = r->fds[--r->fd_count];
            return;
        }
}

static void call_shutdown(struct call *c)
{
    struct run *r = c->run;

    done(c, r->ifc.shutdown(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1)));
}

/* --- data --- */

static bool is_zero(const uint8_t *data, int64_t size)
{
    for (int64_t i = 0; i < size; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* read, recv, recvfrom: (fd, ..., size[, flags[, ...]]). */
static void call_receive(struct call *c)
{
    struct run *r = c->run;
    int64_t size = number_at(c, 2);
    bool has_flags = c->event->call[3] != 'd'; /* not read() */
    int flags = has_flags ? (int)number_at(c, 3) : 0;
    struct sockaddr_storage address;
    socklen_t address_size = sizeof(address);
    bool is_null = !is_ellipsis(c, 1); /* "NULL" or "0" */
    uint8_t *buffer = is_null ? NULL : buffer_new(c, size);

    if (buffer == NULL && !is_null)
        return;
    if (!has_flags)
        done(c, r->ifc.read(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size));
    else if (c->argument_count > 4)
        done(c, r->ifc.recvfrom(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size, flags,
                                (struct sockaddr *)&address, &address_size));
    else
        done(c, r->ifc.recv(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size, flags));
    if (c->result > 0 && buffer != NULL && !is_zero(buffer, c->result < size ? c->result : size))
        call_fail(c, "the bytes received are not those sent");
    free(buffer);
}

/* write, send, sendto. */
static void call_transmit(struct call *c)
{
    struct run *r = c->run;
    int64_t size = number_at(c, 2);
    bool has_flags = c->event->call[0] == 's';
    int flags = has_flags ? (int)number_at(c, 3) : 0;
    struct sockaddr_storage address;
    bool is_null = !is_ellipsis(c, 1); /* "NULL" or "0" */
    uint8_t *buffer = is_null ? NULL : buffer_new(c, size);

    if (buffer == NULL && !is_null)
        return;
    if (!has_flags) {
        done(c, r->ifc.write(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size));
    } else if (is_ellipsis(c, 4)) {
        socklen_t address_size = address_make(r, r->remote, SERVER_PORT, &address);
        if (r->conn.phase == CONN_NONE) {
            r->conn.phase = CONN_CONNECTING;
            r->conn.remote_port = SERVER_PORT;
        }
        done(c, r->ifc.sendto(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size, flags,
                              (struct sockaddr *)&address, address_size));
    } else {
        done(c, r->ifc.send(r->ifc.userdata, fd_at(c, 0), buffer, (size_t)size, flags));
    }
    free(buffer);
}

/* "[{..., 1000}, …]" as an iovec; '*ret_count' entries, freed by iov_free(). NULL: failed. */
static struct iovec *iov_new(struct call *c, const struct value *list, int *ret_count)
{
    int count = 0;

    if (list == NULL || list->kind != VALUE_LIST) {
        call_fail(c, "expected a list of {..., size}");
        return NULL;
    }
    for (const struct value *v = list->child; v != NULL; v = v->next)
        count++;
    struct iovec *iov = calloc((size_t)count + 1, sizeof(*iov));
    *ret_count = 0;
    for (const struct value *v = list->child; v != NULL && iov != NULL; v = v->next) {
        const struct value *size = v->child == NULL ? NULL : v->child->next;
        if (size == NULL || size->kind != VALUE_NUMBER) {
            call_fail(c, "expected {..., size}");
            break;
        }
        iov[*ret_count].iov_base = buffer_new(c, size->number);
        iov[*ret_count].iov_len = (size_t)size->number;
        if (iov[*ret_count].iov_base == NULL)
            break;
        ++*ret_count;
    }
    return iov;
}

static void iov_free(struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++)
        free(iov[i].iov_base);
    free(iov);
}

static void call_vector(struct call *c)
{
    struct run *r = c->run;
    int count = 0;
    struct iovec *iov = iov_new(c, c->argument_count > 1 ? c->arguments[1] : NULL, &count);

    if (iov == NULL)
        return;
    if (strcmp(c->event->call, "readv") == 0)
        done(c, r->ifc.readv(r->ifc.userdata, fd_at(c, 0), iov, count));
    else
        done(c, r->ifc.writev(r->ifc.userdata, fd_at(c, 0), iov, count));
    iov_free(iov, count);
}

static void call_message(struct call *c)
{
    struct run *r = c->run;
    const struct value *v = c->argument_count > 1 ? c->arguments[1] : NULL;
    bool is_send = c->event->call[0] == 's';
    struct msghdr msg = {0};
    uint8_t control[128] = {0};
    int count = 0;

    if (v == NULL || v->kind != VALUE_STRUCT) {
        call_fail(c, "expected {msg_iov(…)=[…], …}");
        return;
    }
    msg.msg_iov = iov_new(c, member(v, "msg_iov"), &count);
    msg.msg_iovlen = (size_t)count;
    if (msg.msg_iov == NULL)
        return;
    if (!is_send) {
        msg.msg_control = control;
        msg.msg_controllen = sizeof(control);
    }
    int flags = (int)number_at(c, 2);
    if (is_send)
        done(c, r->ifc.sendmsg(r->ifc.userdata, fd_at(c, 0), &msg, flags));
    else
        done(c, r->ifc.recvmsg(r->ifc.userdata, fd_at(c, 0), &msg, flags));
    if (!is_send && c->result >= 0 && msg.msg_flags != member_number(v, "msg_flags", msg.msg_flags))
        call_fail(c, "msg_flags are not those expected");
    iov_free(msg.msg_iov, count);
}

/* --- options --- */

static void call_setsockopt(struct call *c)
{
    struct run *r = c->run;
    const struct value *v = c->argument_count > 3 ? c->arguments[3] : NULL;
    uint8_t data[64] = {0};
    socklen_t size = sizeof(int);
    int number;

    if (v == NULL) {
        call_fail(c, "expected a value");
        return;
    }
    if (v->kind == VALUE_LIST && v->child != NULL)
        v = v->child;
    if (v->kind == VALUE_STRING) {
        size = (socklen_t)(v->text_size < sizeof(data) ? v->text_size : sizeof(data));
        memcpy(data, v->text, size);
    } else if (v->kind == VALUE_STRUCT && member(v, "onoff") != NULL) {
        struct linger linger = {.l_onoff = (int)member_number(v, "onoff", 0),
                                .l_linger = (int)member_number(v, "linger", 0)};
        memcpy(data, &linger, sizeof(linger));
        size = sizeof(linger);
    } else if (v->kind == VALUE_STRUCT) {
        struct timeval tv = {.tv_sec = member_number(v, "tv_sec", 0),
                             .tv_usec = member_number(v, "tv_usec", 0)};
        memcpy(data, &tv, sizeof(tv));
        size = sizeof(tv);
    } else {
        number = (int)v->number;
        memcpy(data, &number, sizeof(number));
        if (c->argument_count > 4 && number_at(c, 4) < (int64_t)sizeof(int))
            size = (socklen_t)number_at(c, 4);
    }
    done(c, r->ifc.setsockopt(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1),
                              (int)number_at(c, 2), data, size));
}

static void call_getsockopt(struct call *c)
{
    struct run *r = c->run;
    const struct value *v = c->argument_count > 3 ? c->arguments[3] : NULL;
    uint8_t data[sizeof(struct tcp_info)] = {0};
    socklen_t size = sizeof(data);
    int number;

    done(c, r->ifc.getsockopt(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1),
                              (int)number_at(c, 2), data, &size));
    if (c->result < 0 || v == NULL)
        return;
    if (v->kind == VALUE_LIST && v->child != NULL)
        v = v->child;
    memcpy(&number, data, sizeof(number));
    if (v->kind == VALUE_NUMBER && v->number != number)
        script_fail(c->error, c->event->line, "getsockopt(): expected %lld, got %d",
                    (long long)v->number, number);
    if (v->kind == VALUE_STRING &&
        (v->text_size > size || memcmp(v->text, data, v->text_size) != 0))
        script_fail(c->error, c->event->line, "getsockopt(): expected \"%.*s\", got \"%.16s\"",
                    (int)v->text_size, v->text, (const char *)data);
}

static void call_fcntl(struct call *c)
{
    struct run *r = c->run;

    done(c, r->ifc.fcntl(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1),
                         c->argument_count > 2 ? (int)number_at(c, 2) : 0));
}

static void call_ioctl(struct call *c)
{
    struct run *r = c->run;
    const struct value *v = c->argument_count > 2 ? c->arguments[2] : NULL;
    int number = 0;

    if (v != NULL && v->kind == VALUE_LIST && v->child != NULL)
        v = v->child;
    if (v != NULL && v->kind == VALUE_NUMBER)
        number = (int)v->number;
    done(c, r->ifc.ioctl(r->ifc.userdata, fd_at(c, 0), (unsigned long)number_at(c, 1), &number));
    if (c->result == 0 && v != NULL && v->kind == VALUE_NUMBER && number != v->number)
        script_fail(c->error, c->event->line, "ioctl(): expected %lld, got %d",
                    (long long)v->number, number);
}

/* --- waiting --- */

static void call_poll(struct call *c)
{
    struct run *r = c->run;
    struct pollfd fds[16] = {0};
    nfds_t count = 0;

    if (c->argument_count == 0 || c->arguments[0]->kind != VALUE_LIST) {
        call_fail(c, "expected a list of {fd=…, events=…, revents=…}");
        return;
    }
    for (const struct value *v = c->arguments[0]->child; v != NULL && count < 16; v = v->next) {
        fds[count].fd = live_fd(r, member_number(v, "fd", -1));
        fds[count++].events = (short)member_number(v, "events", 0);
    }
    done(c, r->ifc.poll(r->ifc.userdata, fds, count, (int)number_at(c, 2)));
    count = 0;
    for (const struct value *v = c->arguments[0]->child; v != NULL && count < 16; v = v->next) {
        int wanted = (int)member_number(v, "revents", 0);
        if (fds[count].revents != wanted)
            script_fail(c->error, c->event->line, "poll(): revents: expected 0x%x, got 0x%x",
                        (unsigned)wanted, (unsigned)fds[count].revents);
        count++;
    }
}

static void call_epoll_create(struct call *c)
{
    struct run *r = c->run;

    done_fd(c, r->ifc.epoll_create(r->ifc.userdata, (int)number_at(c, 0)));
}

static struct epoll_event epoll_event_at(struct call *c, int index)
{
    struct epoll_event event = {0};

    if (index >= c->argument_count || c->arguments[index]->kind != VALUE_STRUCT) {
        call_fail(c, "expected {events=…, fd=…}");
        return event;
    }
    const struct value *v = c->arguments[index];
    event.events = (uint32_t)member_number(v, "events", 0);
    if (member(v, "fd") != NULL)
        event.data.fd = live_fd(c->run, member_number(v, "fd", -1));
    else if (member(v, "u32") != NULL)
        event.data.u32 = (uint32_t)member_number(v, "u32", 0);
    else
        event.data.u64 = (uint64_t)member_number(v, member(v, "ptr") != NULL ? "ptr" : "u64", 0);
    return event;
}

static void call_epoll_ctl(struct call *c)
{
    struct run *r = c->run;
    struct epoll_event event = epoll_event_at(c, 3);

    done(c,
         r->ifc.epoll_ctl(r->ifc.userdata, fd_at(c, 0), (int)number_at(c, 1), fd_at(c, 2), &event));
}

static void call_epoll_wait(struct call *c)
{
    struct run *r = c->run;
    struct epoll_event wanted = epoll_event_at(c, 1);
    struct epoll_event events[16] = {0};
    int max = (int)number_at(c, 2);

    done(c, r->ifc.epoll_wait(r->ifc.userdata, fd_at(c, 0), events, max < 16 ? max : 16,
                              (int)number_at(c, 3)));
    if (c->result > 0 &&
        (events[0].events != wanted.events || events[0].data.u64 != wanted.data.u64))
        script_fail(c->error, c->event->line, "epoll_wait(): events: expected 0x%x, got 0x%x",
                    wanted.events, events[0].events);
}

static void call_pipe(struct call *c)
{
    struct run *r = c->run;
    int fds[2] = {-1, -1};
    int index = 0;

    done(c, r->ifc.pipe(r->ifc.userdata, fds));
    if (c->result < 0 || c->argument_count == 0)
        return;
    for (const struct value *v = c->arguments[0]->child; v != NULL && index < 2; v = v->next)
        fd_learn(c, v->number, fds[index++]);
}

static void call_splice(struct call *c)
{
    struct run *r = c->run;
    loff_t off = 0;

    done(c, r->ifc.splice(r->ifc.userdata, fd_at(c, 0), &off, fd_at(c, 2), &off,
                          (size_t)number_at(c, 4), (unsigned)number_at(c, 5)));
}

static const struct {
    const char *name;
    void (*run)(struct call *c);
} calls[] = {
    {"socket", call_socket},
    {"bind", call_bind},
    {"listen", call_listen},
    {"accept", call_accept},
    {"connect", call_connect},
    {"close", call_close},
    {"shutdown", call_shutdown},
    {"read", call_receive},
    {"recv", call_receive},
    {"recvfrom", call_receive},
    {"write", call_transmit},
    {"send", call_transmit},
    {"sendto", call_transmit},
    {"readv", call_vector},
    {"writev", call_vector},
    {"recvmsg", call_message},
    {"sendmsg", call_message},
    {"setsockopt", call_setsockopt},
    {"getsockopt", call_getsockopt},
    {"fcntl", call_fcntl},
    {"ioctl", call_ioctl},
    {"poll", call_poll},
    {"epoll_create", call_epoll_create},
    {"epoll_ctl", call_epoll_ctl},
    {"epoll_wait", call_epoll_wait},
    {"pipe", call_pipe},
    {"splice", call_splice},
};

bool call_run(struct run *r, const struct script_event *event, struct script_error *e)
{
    struct call c = {.run = r, .event = event, .error = e};
    size_t i = 0;

    for (const struct value *v = event->arguments; v != NULL && c.argument_count < ARGUMENTS_MAX;
         v = v->next)
        c.arguments[c.argument_count++] = v;
    while (i < sizeof(calls) / sizeof(calls[0]) && strcmp(calls[i].name, event->call) != 0)
        i++;
    if (i == sizeof(calls) / sizeof(calls[0]))
        return call_fail(&c, "not a call that is known");
    errno = 0;
    calls[i].run(&c);
    if (e->text[0] != '\0')
        return false;
    if (event->has_any_result)
        return true;
    if (c.result != event->result ||
        (c.result < 0 && event->error != 0 && c.result_error != event->error))
        return script_fail(e, event->line, "%s(): expected %lld %s, got %lld %s", event->call,
                           (long long)event->result,
                           event->error != 0 ? errno_name(event->error) : "", (long long)c.result,
                           c.result < 0 ? errno_name(c.result_error) : "");
    return true;
}

/* --- checks --- */

#define FIELD(name)                                                                                \
    {                                                                                              \
        "tcpi_" #name, offsetof(struct tcp_info, tcpi_##name),                                     \
            sizeof(((struct tcp_info *)NULL)->tcpi_##name)                                         \
    }

static const struct {
    const char *name;
    size_t offset;
    size_t size;
} fields[] = {
    FIELD(state),
    FIELD(ca_state),
    FIELD(retransmits),
    FIELD(probes),
    FIELD(backoff),
    FIELD(options),
    FIELD(rto),
    FIELD(ato),
    FIELD(snd_mss),
    FIELD(rcv_mss),
    FIELD(unacked),
    FIELD(sacked),
    FIELD(lost),
    FIELD(retrans),
    FIELD(last_data_sent),
    FIELD(last_data_recv),
    FIELD(last_ack_recv),
    FIELD(pmtu),
    FIELD(rcv_ssthresh),
    FIELD(rtt),
    FIELD(rttvar),
    FIELD(snd_ssthresh),
    FIELD(snd_cwnd),
    FIELD(advmss),
    FIELD(reordering),
    FIELD(rcv_rtt),
    FIELD(rcv_space),
    FIELD(total_retrans),
    FIELD(pacing_rate),
    FIELD(max_pacing_rate),
    FIELD(bytes_acked),
    FIELD(bytes_received),
    FIELD(segs_out),
    FIELD(segs_in),
    FIELD(notsent_bytes),
    FIELD(min_rtt),
    FIELD(data_segs_in),
    FIELD(data_segs_out),
    FIELD(delivery_rate),
    FIELD(busy_time),
    FIELD(rwnd_limited),
    FIELD(sndbuf_limited),
    FIELD(delivered),
    FIELD(delivered_ce),
    FIELD(bytes_sent),
    FIELD(bytes_retrans),
    FIELD(dsack_dups),
    FIELD(reord_seen),
    FIELD(rcv_ooopack),
    FIELD(snd_wnd),
};

/* Newer than the headers here may be: Linux 6.2 and 6.7. */
enum {
    INFO_RECEIVE_WINDOW_AT = offsetof(struct tcp_info, tcpi_snd_wnd) + 4,
    INFO_SIZE = INFO_RECEIVE_WINDOW_AT + 16
};

/* What packetdrill asks for before each check. */
struct check_data {
    union {
        struct tcp_info info;
        uint8_t bytes[INFO_SIZE];
    };
    uint32_t memory[9]; /* SO_MEMINFO */
};

static const char *const memory_names[] = {"RMEM_ALLOC", "RCVBUF",    "WMEM_ALLOC",
                                           "SNDBUF",     "FWD_ALLOC", "WMEM_QUEUED",
                                           "OPTMEM",     "BACKLOG",   "DROPS"};

static bool memory_lookup(const struct check_data *data, const char *name, int64_t *ret)
{
    static const char prefix[] = "SK_MEMINFO_";

    if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof(memory_names) / sizeof(memory_names[0]); i++)
        if (strcmp(name + sizeof(prefix) - 1, memory_names[i]) == 0) {
            *ret = data->memory[i];
            return true;
        }
    return false;
}

static bool check_lookup(void *user, const char *name, int64_t *ret)
{
    const struct check_data *data = user;
    const struct tcp_info *info = &data->info;

    if (strcmp(name, "tcpi_rcv_wnd") == 0) {
        uint32_t window;
        memcpy(&window, data->bytes + INFO_RECEIVE_WINDOW_AT, sizeof(window));
        *ret = window;
        return true;
    }
    if (strcmp(name, "tcpi_snd_wscale") == 0 || strcmp(name, "tcpi_rcv_wscale") == 0) {
        *ret = name[5] == 's' ? info->tcpi_snd_wscale : info->tcpi_rcv_wscale;
        return true;
    }
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (strcmp(fields[i].name, name) == 0) {
            uint64_t value = 0; /* little-endian, as x86-64 and AArch64 are */
            memcpy(&value, (const char *)info + fields[i].offset, fields[i].size);
            *ret = (int64_t)value;
            return true;
        }
    return memory_lookup(data, name, ret);
}

static bool check_ask(struct run *r, int line, int level, int name, void *value, socklen_t room,
                      socklen_t wanted)
{
    socklen_t size = room;

    if (r->ifc.getsockopt(r->ifc.userdata, r->tcp_fd, level, name, value, &size) < 0)
        return script_fail(r->error, line, "no option %d for a check: %s", name, errno_name(errno));
    return size >= wanted ||
           script_fail(r->error, line, "option %d is short: %u bytes", name, size);
}

bool code_run(struct run *r, const struct script_event *event)
{
    enum { CONGESTION_INFO_SIZE = 20 };
    struct check_data data = {0};
    uint8_t congestion[CONGESTION_INFO_SIZE];
    int line = event->line;

    if (!check_ask(r, line, IPPROTO_TCP, TCP_INFO, data.bytes, sizeof(data.bytes), INFO_SIZE) ||
        !check_ask(r, line, IPPROTO_TCP, TCP_CC_INFO, congestion, sizeof(congestion), 0) ||
        !check_ask(r, line, SOL_SOCKET, SO_MEMINFO, data.memory, sizeof(data.memory),
                   sizeof(data.memory)))
        return false;
    return code_check(event->code, event->code_size, check_lookup, &data, line, r->error);
}
