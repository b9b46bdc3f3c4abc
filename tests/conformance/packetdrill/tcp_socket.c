/* TCP sockets over the stack's streams. */
#include <errno.h>
#include <stdlib.h>

#include "tests/conformance/packetdrill/shim.h"

enum {
    /* Linux's send buffer holds packets with what each costs beside its bytes. */
    PACKET_BYTES_MAX = 65215, /* of one, before it is cut into segments */
    PACKET_OVERHEAD = 1280,
    SEGMENT_OVERHEAD = 640, /* of each when the buffer is tuned; a power of two ... */
    SEGMENT_EXTRA = 256,    /* ... and this more */
    SEND_BUFFER_MIN = 16384,
    SEND_BUFFER_MAX = 4 << 20,
    LINUX_ESTABLISHED = 1,
    LINUX_SYN_SENT,
    LINUX_SYN_RECV,
    LINUX_FIN_WAIT1,
    LINUX_FIN_WAIT2,
    LINUX_TIME_WAIT,
    LINUX_CLOSE,
    LINUX_CLOSE_WAIT,
    LINUX_LAST_ACK,
    LINUX_LISTEN,
    LINUX_CLOSING
};

struct tcp_conn *tcp_sock_conn(const struct sock *s)
{
    return s->stream == NULL ? NULL : CONTAINER_OF(s->stream, struct tcp_conn, stream);
}

int tcp_sock_state(const struct sock *s)
{
    static const int states[] = {
        [TCP_CLOSED] = LINUX_CLOSE,          [TCP_SYN_SENT] = LINUX_SYN_SENT,
        [TCP_SYN_RECEIVED] = LINUX_SYN_RECV, [TCP_ESTABLISHED] = LINUX_ESTABLISHED,
        [TCP_FIN_WAIT_1] = LINUX_FIN_WAIT1,  [TCP_FIN_WAIT_2] = LINUX_FIN_WAIT2,
        [TCP_CLOSE_WAIT] = LINUX_CLOSE_WAIT, [TCP_CLOSING] = LINUX_CLOSING,
        [TCP_LAST_ACK] = LINUX_LAST_ACK,     [TCP_TIME_WAIT] = LINUX_TIME_WAIT,
    };
    const struct tcp_conn *c = tcp_sock_conn(s);

    if (s->is_listening)
        return LINUX_LISTEN;
    return c == NULL ? LINUX_CLOSE : states[c->state];
}

static bool is_dead(const struct sock *s)
{
    return s->stream == NULL && s->was_connected;
}

static uint32_t number_ms(int seconds)
{
    return seconds > 0 ? (uint32_t)seconds * 1000 : 0;
}

/* Half of the buffer: Linux keeps the other for its overhead. 0: tuned. */
static uint32_t window_fixed(const int *numbers)
{
    uint32_t window = (uint32_t)numbers[NUMBER_RCVBUF] / 2;
    uint32_t clamp = (uint32_t)numbers[NUMBER_WINDOW_CLAMP];

    return clamp > 0 && (window == 0 || clamp < window) ? clamp : window;
}

/* What the numbers mean to the stack. */
static void settings_fill(struct sock *s)
{
    const int *n = s->numbers;
    uint8_t family = s->peer.family != 0 ? s->peer.family : s->local.family;
    int hops = n[family == 6 ? NUMBER_HOPS : NUMBER_TTL]; /* -1: the standard, as the next */
    int class = n[family == 6 ? NUMBER_TCLASS : NUMBER_TOS];

    s->settings = (struct tcp_settings){
        .is_keepalive_off = n[NUMBER_KEEPALIVE] == 0,
        .keepalive_idle_ms = number_ms(n[NUMBER_KEEPIDLE]),
        .keepalive_interval_ms = number_ms(n[NUMBER_KEEPINTVL]),
        .keepalive_probes_max = (uint32_t)n[NUMBER_KEEPCNT],
        .user_timeout_ms = (uint32_t)n[NUMBER_USER_TIMEOUT],
        .receive_window_bytes = window_fixed(n),
        .fin_wait_2_ms = number_ms(n[NUMBER_LINGER2]),
        .mss_max = (uint16_t)n[NUMBER_MAXSEG],
        .syn_retries = (uint8_t)n[NUMBER_SYNCNT],
        .hop_limit = (uint8_t)(hops > 0 ? hops : 0),
        .traffic_class = (uint8_t)(class > 0 ? class & ~3 : 0),
    };
}

static void hold_update(struct sock *s)
{
    struct tcp_conn *c = tcp_sock_conn(s);

    if (c == NULL || c->state == TCP_CLOSED)
        return;
    tcp_conn_hold(shim_stack(s->shim), c, (uint32_t)s->received.size);
}

/* --- events of the stack --- */

static void on_data(struct stream *stream, struct bytes in, uint64_t now_us)
{
    struct sock *s = stream->user;

    (void)now_us;
    if (!s->has_fd && !s->is_deferred && s->parent == NULL) {
        /* Nobody will read it (RFC 1122 §4.2.2.13): reset as if there were no connection. */
        struct tcp_conn *c = tcp_sock_conn(s);
        tcp_send_control(shim_stack(s->shim), &(struct tcp_control){.local = stream->local,
                                                                    .peer = stream->peer,
                                                                    .seq = c->snd_nxt,
                                                                    .flags = TCP_RST});
        tcp_conn_close(shim_stack(s->shim), c, -ECONNABORTED);
        return;
    }
    if (!s->is_read_shut && !byte_queue_push(&s->received, in.ptr, in.size))
        s->error = ENOMEM;
    hold_update(s);
    s->is_deferred = false;
    sock_wake(s, EPOLLIN | EPOLLRDNORM);
}

static void on_eof(struct stream *stream, uint64_t now_us)
{
    struct sock *s = stream->user;

    (void)now_us;
    s->is_eof = true;
    s->is_deferred = false;
    sock_wake(s, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | (s->is_write_shut ? (uint32_t)EPOLLHUP : 0u));
}

static void on_sendable(struct stream *stream, uint64_t now_us)
{
    struct sock *s = stream->user;

    (void)now_us;
    if (s->is_connecting) {
        s->is_connecting = false;
        s->was_connected = true;
        s->local = stream->local;
        stats_begin(s);
        sock_wake(s, EPOLLOUT | EPOLLWRNORM);
    }
}

static void accepted_remove(struct sock *listener, const struct sock *child)
{
    for (uint32_t i = 0; i < listener->accepted_count; i++)
        if (listener->accepted[i] == child) {
            listener->accepted_count--;
            memmove(listener->accepted + i, listener->accepted + i + 1,
                    (listener->accepted_count - i) * sizeof(listener->accepted[0]));
            return;
        }
}

static void on_closed(struct stream *stream, int error, uint64_t now_us)
{
    struct sock *s = stream->user;

    (void)now_us;
    s->stream = NULL;
    if (!s->has_fd && s->parent == NULL) {
        sock_free(s);
        return;
    }
    s->is_connecting = false;
    s->was_connected = true;
    if (error == -ECONNRESET && s->is_eof)
        error = -EPIPE; /* a reset in CLOSE_WAIT, as Linux */
    if (error != 0 && error != -ECONNABORTED)
        s->error = -error;
    if (error == 0)
        s->is_eof = true;
    sock_wake(s, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDHUP | EPOLLRDNORM | EPOLLWRNORM |
                     (s->error != 0 ? (uint32_t)EPOLLERR : 0u));
}

static const struct stream_events stream_events = {
    .data = on_data, .sendable = on_sendable, .eof = on_eof, .closed = on_closed};

static int on_accept(void *user, struct stream *stream, uint64_t now_us)
{
    struct sock *listener = user;
    struct sock *s;

    (void)now_us;
    if (listener->accepted_count > listener->backlog || listener->accepted_count == SHIM_ACCEPT_MAX)
        return -ENOBUFS;
    if (sock_new(listener->shim, SOCK_TCP, listener->domain, &s) < 0)
        return -ENOMEM;
    memcpy(s->numbers, listener->numbers, sizeof(s->numbers));
    s->linger = listener->linger;
    s->congestion = listener->congestion;
    s->parent = listener;
    s->stream = stream;
    s->local = stream->local;
    s->peer = stream->peer;
    s->is_bound = true;
    s->was_connected = true;
    s->is_deferred = s->numbers[NUMBER_DEFER_ACCEPT] > 0;
    stats_begin(s);
    s->stats.segments_in = 1; /* the SYN; the ACK that came now is counted as any other */
    if (s->congestion != NULL)
        (void)tcp_conn_set_congestion((struct tcp_conn *)(void *)stream, s->congestion);
    stream->events = &stream_events;
    stream->user = s;
    listener->accepted[listener->accepted_count++] = s;
    tcp_sock_apply(s);
    sock_wake(listener, EPOLLIN | EPOLLRDNORM);
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

/* --- opening --- */

void tcp_sock_listener_apply(struct sock *s)
{
    struct shim *sh = s->shim;

    settings_fill(s);
    sh->listener_settings[s->listener] = s->settings;
    shim_stack(sh)->tcp.listeners[s->listener].settings = &sh->listener_settings[s->listener];
}

int tcp_sock_listen(struct sock *s, int backlog)
{
    struct shim *sh = s->shim;

    if (s->stream != NULL)
        return -EINVAL;
    s->backlog = backlog < 0 || backlog > SHIM_ACCEPT_MAX ? SHIM_ACCEPT_MAX : (uint32_t)backlog;
    if (s->is_listening)
        return 0;
    int error = shim_start(sh, &s->local);
    if (error < 0)
        return error;
    if (!s->is_bound)
        s->local = (struct endpoint){.family = s->domain == AF_INET ? 4 : 6, .port = 32768};
    error = sh->transport->ops->listen(sh->transport, &s->local, &listen_events, s);
    if (error < 0)
        return error;
    s->is_bound = true;
    s->is_listening = true;
    s->was_connected = false;
    s->listener = shim_stack(sh)->tcp.listener_count - 1;
    tcp_sock_listener_apply(s);
    return 0;
}

int tcp_sock_accept(struct sock *s, struct sock **ret)
{
    if (!s->is_listening)
        return -EINVAL;
    for (uint32_t i = 0; i < s->accepted_count; i++) {
        struct sock *child = s->accepted[i];
        if (child->is_deferred)
            continue;
        accepted_remove(s, child);
        child->parent = NULL;
        *ret = child;
        return 0;
    }
    return -EAGAIN;
}

/* From where the socket is bound, or from anywhere. */
static struct tcp_conn *connect_from(struct sock *s, const struct endpoint *peer)
{
    struct net_stack *stack = shim_stack(s->shim);
    struct endpoint local = s->local;

    if (!s->is_bound || local.port == 0)
        return tcp_conn_connect(stack, peer, &s->settings, &stream_events, s);
    if (endpoint_is_any(&local)) {
        const uint8_t *source = address_for(stack, peer->family, peer->addr);
        if (source == NULL)
            return NULL;
        local = endpoint_of(peer->family, source, s->local.port);
    }
    return tcp_conn_open(stack, &local, peer, &s->settings, &stream_events, s);
}

int tcp_sock_connect(struct sock *s, const struct endpoint *peer)
{
    struct shim *sh = s->shim;

    if (s->is_connecting)
        return -EALREADY;
    if (s->is_listening || s->stream != NULL)
        return -EISCONN;
    if (s->error != 0) {
        int error = -s->error;
        s->error = 0;
        return error;
    }
    int error = shim_start(sh, s->is_bound ? &s->local : NULL);
    if (error < 0)
        return error;
    s->peer = *peer;
    s->was_connected = false;
    s->is_eof = false;
    s->is_connecting = true;
    settings_fill(s);
    struct tcp_conn *c = connect_from(s, peer);
    if (c == NULL) {
        s->is_connecting = false;
        return -EADDRNOTAVAIL;
    }
    s->stream = &c->stream;
    s->local = s->stream->local;
    tcp_sock_apply(s);
    return 0;
}

/* --- data --- */

ssize_t tcp_sock_receive(struct sock *s, void *buf, size_t size, int flags)
{
    bool is_over = s->is_eof || s->is_read_shut || is_dead(s);
    size_t target = (flags & MSG_WAITALL) != 0 ? size : (size_t)s->numbers[NUMBER_RCVLOWAT];

    if (s->is_listening)
        return -ENOTCONN;
    if (s->received.size > 0) {
        if (target > size)
            target = size;
        bool may_wait = !is_over && s->error == 0 && s->received.size < target;
        if (may_wait && !s->is_nonblocking && (flags & MSG_DONTWAIT) == 0)
            return -EAGAIN;
        bool is_dropped = (flags & MSG_TRUNC) != 0;
        if (buf == NULL && size > 0 && !is_dropped)
            return -EFAULT;
        size_t got = byte_queue_peek(&s->received, is_dropped ? NULL : buf, size);
        if ((flags & MSG_PEEK) == 0) {
            byte_queue_drop(&s->received, got);
            hold_update(s);
        }
        return (ssize_t)got;
    }
    if (s->is_eof && s->error == 0)
        return 0;
    if (s->error != 0) {
        int error = -s->error;
        s->error = 0;
        return error;
    }
    if (is_over)
        return 0;
    if (s->stream == NULL)
        return -ENOTCONN;
    return size == 0 ? 0 : -EAGAIN;
}

/* By Linux's tuning: for twice the window, or the first one. */
static uint32_t send_buffer_tuned(const struct tcp_conn *c)
{
    uint32_t segment = 1;
    uint32_t mss = c->peer_mss > c->mss ? c->peer_mss : c->mss;
    uint32_t initial = tcp_initial_window(c->mss);
    uint32_t cwnd = c->congestion.cwnd_bytes > initial ? c->congestion.cwnd_bytes : initial;

    while (segment < mss + SEGMENT_OVERHEAD)
        segment *= 2;
    uint64_t bytes = 2 * (uint64_t)(cwnd / c->mss) * (segment + SEGMENT_EXTRA);
    return bytes < SEND_BUFFER_MAX ? (uint32_t)bytes : SEND_BUFFER_MAX;
}

uint32_t tcp_sock_send_buffer(const struct sock *s)
{
    if (s->numbers[NUMBER_SNDBUF] > 0)
        return (uint32_t)s->numbers[NUMBER_SNDBUF];
    return s->send_buffer > SEND_BUFFER_MIN ? s->send_buffer : SEND_BUFFER_MIN;
}

static void send_buffer_grow(struct sock *s, const struct tcp_conn *c)
{
    uint32_t tuned = send_buffer_tuned(c);

    if (tuned > s->send_buffer)
        s->send_buffer = tuned;
}

/* How much goes into one packet: whole segments, at most half of the window. */
static uint32_t packet_size(const struct tcp_conn *c)
{
    uint32_t bytes = PACKET_BYTES_MAX;
    uint32_t window = c->snd_wnd_max > TCP_MSS_DEFAULT_V4 ? c->snd_wnd_max / 2 : c->snd_wnd_max;

    if (window > 0 && bytes > window)
        bytes = window;
    return bytes > c->mss ? bytes / c->mss * c->mss : c->mss;
}

uint32_t tcp_sock_unsent_bytes(const struct tcp_conn *c)
{
    return seq_is_before(c->snd_nxt, c->snd_end) ? c->snd_end - c->snd_nxt : 0;
}

/* Of what a call has queued by now, that which will wait: full segments go as windows allow. */
static uint32_t held_back_bytes(const struct tcp_conn *c)
{
    uint32_t unsent = tcp_sock_unsent_bytes(c);
    uint32_t used = c->snd_nxt - c->snd_una;
    uint32_t room = c->snd_wnd > used ? c->snd_wnd - used : 0;
    uint32_t in_flight = tcp_in_flight(c);
    uint32_t cwnd = c->congestion.cwnd_bytes > in_flight ? c->congestion.cwnd_bytes - in_flight : 0;

    room = (room < cwnd ? room : cwnd) / c->mss * c->mss;
    return unsent > room ? unsent - room : 0;
}

static uint32_t buffered_bytes(const struct sock *s, const struct tcp_conn *c)
{
    uint32_t size = packet_size(c);

    return s->stream->queued_bytes + (s->stream->queued_bytes + size - 1) / size * PACKET_OVERHEAD;
}

/* A new packet may be begun with so much unsent. */
static bool has_room(const struct sock *s, const struct tcp_conn *c, uint64_t unsent)
{
    uint32_t lowat = (uint32_t)s->numbers[NUMBER_NOTSENT_LOWAT];

    return buffered_bytes(s, c) < tcp_sock_send_buffer(s) && (lowat == 0 || unsent < lowat);
}

/* Linux: half of what is buffered must be free, and less than half of TCP_NOTSENT_LOWAT unsent. */
static bool is_writable(const struct sock *s)
{
    const struct tcp_conn *c = tcp_sock_conn(s);

    if (c == NULL)
        return true;
    uint32_t buffered = buffered_bytes(s, c);
    return has_room(s, c, 2 * (uint64_t)tcp_sock_unsent_bytes(c)) &&
           tcp_sock_send_buffer(s) - buffered >= buffered / 2;
}

struct sent_block {
    struct blob blob;
    uint8_t data[];
};

static void sent_block_release(struct blob *b)
{
    free(CONTAINER_OF(b, struct sent_block, blob));
}

static int block_send(struct sock *s, const uint8_t *data, size_t size)
{
    struct sent_block *block = malloc(sizeof(*block) + size);

    if (block == NULL)
        return -ENOMEM;
    memcpy(block->data, data, size);
    blob_init(&block->blob, &s->shim->blob_home, bytes_of(block->data, size), sent_block_release,
              NULL);
    struct extent e = extent_of(&block->blob);
    struct blob *b = &block->blob;
    int error = stream_send(s->stream, &e, 1);
    blob_unref(&b);
    return error;
}

static int send_error(struct sock *s)
{
    int error = s->error != 0 ? -s->error : -EPIPE;

    s->error = 0;
    return error;
}

static enum tcp_nagle nagle_of(const struct sock *s)
{
    if (s->numbers[NUMBER_CORK] != 0)
        return TCP_NAGLE_CORKED;
    return s->numbers[NUMBER_NODELAY] != 0 ? TCP_NAGLE_OFF : TCP_NAGLE_ON;
}

/* Whether small segments wait: Nagle's algorithm unless TCP_NODELAY; everything when corked. */
static void hold_back(struct sock *s, bool has_more)
{
    struct tcp_conn *c = tcp_sock_conn(s);

    if (c != NULL)
        tcp_conn_set_nagle(shim_stack(s->shim), c, has_more ? TCP_NAGLE_CORKED : nagle_of(s));
}

void tcp_sock_push(struct sock *s)
{
    struct tcp_conn *c = tcp_sock_conn(s);

    if (c != NULL)
        tcp_conn_set_nagle(shim_stack(s->shim), c, TCP_NAGLE_OFF);
}

void tcp_sock_sent(struct sock *s)
{
    struct tcp_conn *c = tcp_sock_conn(s);

    if (c != NULL && (c->flags & CONN_MORE_COMES) != 0)
        c->nagle = (uint8_t)nagle_of(s);
}

ssize_t tcp_sock_send(struct sock *s, const void *buf, size_t size, int flags)
{
    const uint8_t *data = buf;
    size_t done = 0;

    if ((flags & MSG_FASTOPEN) != 0)
        return -EOPNOTSUPP;
    if (s->error != 0 || s->is_write_shut || is_dead(s))
        return send_error(s);
    if (s->is_listening || s->stream == NULL)
        return -EPIPE;
    if (s->is_connecting)
        return -EAGAIN;
    if (buf == NULL && size > 0)
        return -EFAULT;
    bool has_more = (flags & MSG_MORE) != 0;
    hold_back(s, has_more);
    struct tcp_conn *c = tcp_sock_conn(s);
    c->flags = (c->flags & ~(uint32_t)CONN_MORE_COMES) | (has_more ? CONN_MORE_COMES : 0u);
    while (done < size) {
        uint32_t unsent = held_back_bytes(c);
        uint32_t packet = packet_size(c);
        uint32_t tail = s->tail_bytes < unsent ? s->tail_bytes : unsent;
        if (tail == 0 || tail >= packet) {
            if (!has_room(s, c, unsent))
                break;
            tail = 0;
        }
        size_t chunk = size - done < packet - tail ? size - done : packet - tail;
        int error = block_send(s, data + done, chunk);
        if (error < 0) {
            if (done == 0)
                return error == -EPIPE ? send_error(s) : -EAGAIN;
            break;
        }
        done += chunk;
        s->tail_bytes = tail + (uint32_t)chunk;
    }
    if (done < size)
        s->is_nospace = true;
    return done == 0 && size > 0 ? -EAGAIN : (ssize_t)done;
}

void tcp_sock_apply(struct sock *s)
{
    if (s->stream == NULL)
        return;
    hold_back(s, false);
    settings_fill(s);
    tcp_conn_use(shim_stack(s->shim), tcp_sock_conn(s), &s->settings);
    hold_update(s);
    s->stream->low_water_bytes = UINT32_MAX; /* tcp_sock_step() looks by itself */
}

void tcp_sock_step(struct sock *s)
{
    const struct tcp_conn *c = tcp_sock_conn(s);

    if (c == NULL || c->state < TCP_ESTABLISHED)
        return;
    if (s->send_buffer == 0 || (s->is_nospace && tcp_in_flight(c) < c->congestion.cwnd_bytes))
        send_buffer_grow(s, c);
    if (s->is_nospace && is_writable(s)) {
        s->is_nospace = false;
        sock_wake(s, EPOLLOUT | EPOLLWRNORM);
    }
    stats_step(s);
}

/* --- closing --- */

int tcp_sock_shutdown(struct sock *s, int how)
{
    if (how < SHUT_RD || how > SHUT_RDWR)
        return -EINVAL;
    if (s->is_listening) {
        if (how != SHUT_WR)
            tcp_sock_disconnect(s);
        return 0;
    }
    if (s->stream == NULL || s->is_connecting)
        return -ENOTCONN;
    if (how != SHUT_WR) {
        s->is_read_shut = true;
        sock_wake(s, EPOLLIN | EPOLLRDHUP);
    }
    if (how != SHUT_RD && !s->is_write_shut) {
        s->is_write_shut = true;
        stream_shutdown(s->stream);
        sock_wake(s, EPOLLOUT | (s->is_eof ? (uint32_t)EPOLLHUP : 0u));
    }
    return 0;
}

static void listener_stop(struct sock *s)
{
    struct tcp_listener *l = &shim_stack(s->shim)->tcp.listeners[s->listener];

    /* The place stays taken: connections remember it by its number. */
    *l = (struct tcp_listener){.events = &listen_events, .user = s};
    s->is_listening = false;
    while (s->accepted_count > 0) {
        struct sock *child = s->accepted[--s->accepted_count];
        child->parent = NULL;
        if (child->stream == NULL)
            sock_free(child);
        else
            stream_abort(child->stream);
    }
}

void tcp_sock_disconnect(struct sock *s)
{
    if (s->is_listening)
        listener_stop(s);
    if (s->stream != NULL) {
        s->stream->user = s;
        stream_abort(s->stream);
        shim_pump(s->shim);
    }
    byte_queue_drop(&s->received, s->received.size);
    s->error = 0;
    s->is_connecting = false;
    s->was_connected = false;
    s->is_eof = false;
    s->is_read_shut = false;
    s->is_write_shut = false;
}

void tcp_sock_close(struct sock *s)
{
    if (s->is_listening)
        listener_stop(s);
    s->has_fd = false;
    if (s->stream == NULL) {
        sock_free(s);
        return;
    }
    /* Unread data, or a linger time of zero: the peer must know that data was lost (RFC 2525
     * §2.17, RFC 1122 §4.2.2.13). */
    bool is_rude = s->received.size > 0 || (s->linger.l_onoff != 0 && s->linger.l_linger == 0);
    byte_queue_drop(&s->received, s->received.size);
    if (is_rude || s->is_connecting) {
        stream_abort(s->stream);
        return;
    }
    hold_update(s);
    tcp_conn_orphan(shim_stack(s->shim), tcp_sock_conn(s));
    if (!s->is_write_shut) {
        s->is_write_shut = true;
        stream_shutdown(s->stream);
    }
}

uint32_t tcp_sock_events(struct sock *s)
{
    uint32_t events = 0;

    if (s->is_listening) {
        for (uint32_t i = 0; i < s->accepted_count; i++)
            if (!s->accepted[i]->is_deferred)
                return EPOLLIN | EPOLLRDNORM;
        return 0;
    }
    bool is_read_over = s->is_eof || s->is_read_shut || is_dead(s);
    bool is_write_over = s->is_write_shut || is_dead(s);
    if ((is_read_over && is_write_over) || s->stream == NULL)
        events |= EPOLLHUP;
    if (is_read_over)
        events |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
    if (s->error != 0)
        events |= EPOLLERR;
    if (s->is_connecting)
        return events;
    if (s->received.size >= (size_t)s->numbers[NUMBER_RCVLOWAT] && s->received.size > 0)
        events |= EPOLLIN | EPOLLRDNORM;
    if (is_write_over || is_writable(s))
        events |= EPOLLOUT | EPOLLWRNORM;
    else
        s->is_nospace = true;
    return events;
}
