#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "drivers/net/uring/internal.h"

static struct uring *stream_uring(const struct uring_stream *s)
{
    return uring_of(s->base.transport);
}

int uring_streams_init(struct uring *u)
{
    uint32_t count = u->env.streams_max;

    list_init(&u->free_streams);
    list_init(&u->free_holds);
    u->streams = calloc(count, sizeof(*u->streams));
    u->holds = calloc(URING_HOLDS, sizeof(*u->holds));
    if (u->streams == NULL || u->holds == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        list_push_back(&u->free_streams, &u->streams[i].ready);
    for (uint32_t i = 0; i < URING_HOLDS; i++) {
        u->holds[i].uring = u;
        list_push_back(&u->free_holds, &u->holds[i].free);
    }
    return extent_pool_init(&u->extents, count * URING_EXTENT_CHUNKS_PER_STREAM);
}

void uring_streams_fini(struct uring *u)
{
    extent_pool_fini(&u->extents);
    free(u->streams);
    free(u->holds);
}

static void stream_linger_fire(struct timer *t, uint64_t now_us);

struct uring_stream *uring_stream_new(struct uring *u, int fd, enum uring_stream_state state)
{
    struct list *node = list_pop_front(&u->free_streams);

    if (node == NULL) {
        counter_inc(&u->env.counters->uring_streams_exhausted);
        return NULL;
    }
    struct uring_stream *s = CONTAINER_OF(node, struct uring_stream, ready);
    *s = (struct uring_stream){
        .base = {.transport = &u->base},
        .linger = {.fire = stream_linger_fire},
        .fd = fd,
        .parked_first = URING_BUFFER_NONE,
        .parked_last = URING_BUFFER_NONE,
        .state = (uint8_t)state,
    };
    u->stream_count++;
    counter_inc(&u->env.counters->uring_streams);
    return s;
}

static void stream_mark(struct uring_stream *s)
{
    if (s->is_starved) {
        list_remove(&s->dirty);
        s->is_starved = false;
    }
    if (!list_is_linked(&s->dirty))
        list_push_back(&stream_uring(s)->dirty, &s->dirty);
}

void uring_streams_feed(struct uring *u)
{
    struct list *node;

    while (u->buffers.lent > 0 && (node = list_pop_front(&u->starved)) != NULL) {
        struct uring_stream *s = CONTAINER_OF(node, struct uring_stream, dirty);
        s->is_starved = false;
        stream_mark(s);
    }
}

static void stream_mark_ready(struct uring_stream *s)
{
    if (!list_is_linked(&s->ready))
        list_push_back(&stream_uring(s)->ready, &s->ready);
}

/* Has the next poll deliver the closed event. */
static void stream_close_later(struct uring_stream *s, int error)
{
    s->is_close_due = true;
    s->error = error;
    stream_mark_ready(s);
}

/* Whether events other than closed may be delivered. */
static bool stream_is_live(const struct uring_stream *s)
{
    return (s->state == URING_STREAM_OPEN || s->state == URING_STREAM_CONNECTING) &&
           !s->is_close_due;
}

static void stream_linger_fire(struct timer *t, uint64_t now_us)
{
    struct uring_stream *s = CONTAINER_OF(t, struct uring_stream, linger);

    (void)now_us;
    if (!stream_is_live(s))
        return;
    counter_inc(&stream_uring(s)->env.counters->uring_linger_timeouts);
    stream_close_later(s, -ETIMEDOUT);
}

static uint16_t stream_unpark(struct uring_stream *s)
{
    struct uring_buffers *b = &stream_uring(s)->buffers;
    uint16_t id = s->parked_first;

    s->parked_first = b->next[id];
    if (s->parked_first == URING_BUFFER_NONE)
        s->parked_last = URING_BUFFER_NONE;
    return id;
}

static void stream_park(struct uring_stream *s, uint16_t id, uint32_t size)
{
    struct uring_buffers *b = &stream_uring(s)->buffers;

    b->parked_size[id] = size;
    b->next[id] = URING_BUFFER_NONE;
    if (s->parked_last == URING_BUFFER_NONE)
        s->parked_first = id;
    else
        b->next[s->parked_last] = id;
    s->parked_last = id;
    counter_inc(&stream_uring(s)->env.counters->uring_receive_parked);
}

/* The last operation is done: gives descriptor, queue and slot back. */
static void stream_release(struct uring_stream *s)
{
    struct uring *u = stream_uring(s);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    CHECK(s->operations == 0 && s->parked_first == URING_BUFFER_NONE);
    if (s->is_reset)
        (void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(s->fd);
    extent_queue_clear(&s->queue, &u->extents);
    list_remove(&s->dirty);
    s->state = URING_STREAM_FREE;
    list_push_front(&u->free_streams, &s->ready);
    u->stream_count--;
    counter_dec(&u->env.counters->uring_streams);
}

static void stream_set_route(struct uring_stream *s)
{
    uint8_t hash = 0;

    for (size_t i = 0; i < sizeof(s->base.local.addr); i++)
        hash = (uint8_t)(hash * 31 + s->base.local.addr[i]);
    s->route = hash % URING_ROUTES;
}

void uring_stream_start(struct uring_stream *s)
{
    stream_set_route(s);
    stream_mark(s);
}

void uring_stream_refuse(struct uring_stream *s)
{
    list_remove(&s->ready);
    s->is_reset = true;
    stream_release(s);
}

void uring_stream_close(struct uring_stream *s, int error, uint64_t now_us)
{
    if (s->state != URING_STREAM_OPEN && s->state != URING_STREAM_CONNECTING)
        return;
    struct uring *u = stream_uring(s);
    s->state = URING_STREAM_GONE;
    list_remove(&s->ready);
    wheel_cancel(u->env.wheel, &s->linger);
    while (s->parked_first != URING_BUFFER_NONE)
        uring_buffer_put(&u->buffers, stream_unpark(s));
    counter_inc(&u->env.counters->uring_closed);
    if (error != 0)
        counter_inc(&u->env.counters->uring_closed_error);

    s->base.events->closed(&s->base, error, now_us);

    if (s->operations > 0)
        stream_mark(s);
    else
        stream_release(s);
}

static void submit_connect(struct uring *u, struct uring_stream *s)
{
    struct uring_scratch *scratch = uring_scratch_get(u);
    struct io_uring_sqe *sqe = uring_sqe(u, s, URING_OP_CONNECT);
    socklen_t size = uring_sockaddr(&s->base.peer, &scratch->address);

    io_uring_prep_connect(sqe, s->fd, (const struct sockaddr *)&scratch->address, size);
    s->is_connect_submitted = true;
    s->operations++;
}

static void submit_receive(struct uring *u, struct uring_stream *s)
{
    struct io_uring_sqe *sqe = uring_sqe(u, s, URING_OP_RECEIVE);

    if (s->is_single_shot)
        io_uring_prep_recv(sqe, s->fd, NULL, 0, 0);
    else
        io_uring_prep_recv_multishot(sqe, s->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    s->is_receiving = true;
    s->operations++;
}

static void submit_cancel_receive(struct uring *u, struct uring_stream *s)
{
    struct io_uring_sqe *sqe = uring_sqe(u, NULL, URING_OP_NONE);

    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)s | URING_OP_RECEIVE, 0);
    s->is_cancelling = true;
}

static void hold_release(struct uring_hold *hold)
{
    for (uint32_t i = 0; i < hold->count; i++)
        blob_unref(&hold->blobs[i]);
    hold->count = 0;
    hold->uring->hold_count--;
    list_push_front(&hold->uring->free_holds, &hold->free);
}

/* References for as long as the kernel may read the bytes. NULL: none free, or not worth it. */
static struct uring_hold *hold_new(struct uring *u, struct uring_stream *s, struct blob **blobs,
                                   unsigned count, uint32_t bytes)
{
    if (!u->is_zero_copy || s->is_copy_forced || bytes < u->config.zero_copy_min ||
        u->now_us < u->copy_until_us[s->route])
        return NULL;
    struct list *node = list_pop_front(&u->free_holds);
    if (node == NULL) {
        counter_inc(&u->env.counters->uring_zero_copy_refused);
        return NULL;
    }
    struct uring_hold *hold = CONTAINER_OF(node, struct uring_hold, free);
    hold->stream = s;
    hold->route = s->route;
    hold->count = count;
    for (unsigned i = 0; i < count; i++)
        hold->blobs[i] = blob_ref(blobs[i]);
    u->hold_count++;
    return hold;
}

static void submit_send(struct uring *u, struct uring_stream *s)
{
    struct blob *blobs[URING_SEND_IOVS_MAX];
    struct uring_scratch *scratch = uring_scratch_get(u);
    struct iovec *iov = scratch->iov;
    uint32_t bytes;
    unsigned count = extent_queue_gather(&s->queue, iov, blobs, URING_SEND_IOVS_MAX,
                                         URING_SEND_BYTES_MAX, &bytes);
    struct uring_hold *hold = hold_new(u, s, blobs, count, bytes);
    void *target = hold == NULL ? (void *)s : (void *)hold;
    struct io_uring_sqe *sqe =
        uring_sqe(u, target, hold == NULL ? URING_OP_SEND : URING_OP_SEND_ZERO_COPY);

    scratch->message = (struct msghdr){.msg_iov = iov, .msg_iovlen = count};
    if (hold == NULL && count == 1)
        io_uring_prep_send(sqe, s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL);
    else if (hold == NULL)
        io_uring_prep_sendmsg(sqe, s->fd, &scratch->message, MSG_NOSIGNAL);
    else if (count == 1)
        io_uring_prep_send_zc(sqe, s->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL, 0);
    else
        io_uring_prep_sendmsg_zc(sqe, s->fd, &scratch->message, MSG_NOSIGNAL);
    if (hold != NULL && u->is_usage_reported)
        sqe->ioprio |= IORING_SEND_ZC_REPORT_USAGE;
    counter_inc(hold == NULL ? &u->env.counters->uring_sends
                             : &u->env.counters->uring_sends_zero_copy);
    s->is_sending = true;
    s->operations++;
}

/* Everything is in the kernel: sends the FIN, and bounds the wait for the peer's. */
static void stream_finish(struct uring_stream *s)
{
    struct uring *u = stream_uring(s);

    (void)shutdown(s->fd, SHUT_WR); /* fails only when the connection is dead: receive tells */
    s->is_shutdown_done = true;
    if (s->is_eof)
        stream_close_later(s, 0);
    else
        wheel_arm(u->env.wheel, &s->linger, u->now_us + URING_LINGER_US);
}

static bool stream_wants_receive(const struct uring_stream *s)
{
    return !s->is_paused && s->parked_first == URING_BUFFER_NONE && !s->is_eof && !s->is_eof_due;
}

static bool submit_open(struct uring *u, struct uring_stream *s, unsigned *sends)
{
    if (s->is_receiving && s->is_paused && !s->is_cancelling) {
        if (!uring_reserve(u))
            return false;
        submit_cancel_receive(u, s);
    }
    if (s->queue.count > 0 && !s->is_sending) {
        if (*sends == URING_FLUSH_SENDS_MAX || !uring_reserve(u))
            return false;
        (*sends)++;
        submit_send(u, s);
    }
    if (s->is_shutdown_wanted && !s->is_shutdown_done && s->queue.count == 0)
        stream_finish(s);
    if (!s->is_receiving && stream_wants_receive(s)) {
        if (u->buffers.lent == 0) {
            s->is_starved = true;
            list_push_back(&u->starved, &s->dirty);
            return true;
        }
        if (!uring_reserve(u))
            return false;
        submit_receive(u, s);
    }
    return true;
}

bool uring_stream_submit(struct uring_stream *s, unsigned *sends)
{
    struct uring *u = stream_uring(s);

    if (s->state == URING_STREAM_OPEN)
        return s->is_close_due || submit_open(u, s, sends);
    if (s->state == URING_STREAM_CONNECTING && !s->is_connect_submitted) {
        if (!uring_reserve(u))
            return false;
        submit_connect(u, s);
    }
    if (s->state == URING_STREAM_GONE && s->operations > 0 && !s->is_cancel_all_submitted) {
        if (!uring_reserve(u))
            return false;
        struct io_uring_sqe *sqe = uring_sqe(u, NULL, URING_OP_NONE);
        io_uring_prep_cancel_fd(sqe, s->fd, IORING_ASYNC_CANCEL_ALL);
        s->is_cancel_all_submitted = true;
    }
    return true;
}

static void deliver_data(struct uring_stream *s, uint16_t id, uint32_t size, uint64_t now_us)
{
    struct uring *u = stream_uring(s);

    counter_add(&u->env.counters->uring_received_bytes, size);
    s->base.events->data(&s->base, bytes_of(uring_buffer(&u->buffers, id), size), now_us);
    uring_buffer_put(&u->buffers, id);
}

static void deliver_eof(struct uring_stream *s, uint64_t now_us)
{
    s->is_eof = true;
    s->is_eof_due = false;
    s->base.events->eof(&s->base, now_us);
    if (s->is_shutdown_done && stream_is_live(s))
        uring_stream_close(s, 0, now_us);
}

void uring_stream_ready(struct uring_stream *s, uint64_t now_us)
{
    if (s->is_close_due) {
        uring_stream_close(s, s->error, now_us);
        return;
    }
    while (stream_is_live(s) && !s->is_paused && s->parked_first != URING_BUFFER_NONE) {
        uint16_t id = stream_unpark(s);
        deliver_data(s, id, stream_uring(s)->buffers.parked_size[id], now_us);
    }
    if (!stream_is_live(s) || s->is_paused)
        return;
    if (s->is_eof_due)
        deliver_eof(s, now_us);
    else
        stream_mark(s); /* receives again */
}

static void receive_complete(struct uring_stream *s, const struct io_uring_cqe *cqe,
                             uint64_t now_us)
{
    struct uring *u = stream_uring(s);
    uint16_t id = uring_buffer_take(&u->buffers, cqe);

    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        s->operations--;
        s->is_receiving = false;
        s->is_cancelling = false;
        if (stream_is_live(s))
            stream_mark(s);
    }
    if (!stream_is_live(s) || cqe->res <= 0 || id == URING_BUFFER_NONE) {
        uring_buffer_put(&u->buffers, id);
    } else if (s->is_paused || s->parked_first != URING_BUFFER_NONE) {
        stream_park(s, id, (uint32_t)cqe->res);
        return;
    } else {
        deliver_data(s, id, (uint32_t)cqe->res, now_us);
        return;
    }

    if (!stream_is_live(s) || cqe->res == -ECANCELED || cqe->res == -EINTR || cqe->res == -EAGAIN)
        return;
    if (cqe->res == -ENOBUFS)
        counter_inc(&u->env.counters->uring_receive_starved);
    else if (cqe->res < 0)
        uring_stream_close(s, cqe->res, now_us);
    else if (s->parked_first != URING_BUFFER_NONE)
        s->is_eof_due = true;
    else
        deliver_eof(s, now_us);
}

static void connect_complete(struct uring_stream *s, int result, uint64_t now_us)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);

    s->operations--;
    if (!stream_is_live(s))
        return;
    if (result < 0) {
        uring_stream_close(s, result, now_us);
        return;
    }
    s->state = URING_STREAM_OPEN;
    if (getsockname(s->fd, (struct sockaddr *)&address, &size) == 0)
        s->base.local = uring_endpoint(&address);
    stream_set_route(s);
    stream_mark(s);
    s->base.events->sendable(&s->base, now_us);
}

static void send_failed(struct uring_stream *s, int error, bool is_zero_copy, uint64_t now_us)
{
    struct uring *u = stream_uring(s);
    bool is_retry = error == -EAGAIN || error == -EINTR;

    if (is_zero_copy && error == -EINVAL && u->is_usage_reported) {
        u->is_usage_reported = false; /* Linux 6.1 */
        is_retry = true;
    } else if (is_zero_copy && (error == -ENOMEM || error == -ENOBUFS || error == -EOPNOTSUPP)) {
        /* The limit of pinned memory (RLIMIT_MEMLOCK) or of socket option memory. */
        counter_inc(&u->env.counters->uring_zero_copy_refused);
        s->is_copy_forced = true;
        is_retry = true;
    }
    if (is_retry)
        stream_mark(s);
    else
        uring_stream_close(s, error == -EPIPE ? -ECONNRESET : error, now_us);
}

static void send_complete(struct uring_stream *s, int result, bool is_zero_copy, uint64_t now_us)
{
    struct uring *u = stream_uring(s);

    s->operations--;
    s->is_sending = false;
    if (!stream_is_live(s))
        return;
    if (result < 0) {
        send_failed(s, result, is_zero_copy, now_us);
        return;
    }
    uint32_t sent = (uint32_t)result;
    uint32_t queued_before = s->base.queued_bytes;
    s->is_copy_forced = false;
    extent_queue_consume(&s->queue, &u->extents, sent);
    s->base.queued_bytes -= sent;
    counter_add(&u->env.counters->uring_sent_bytes, sent);
    if (s->queue.count > 0 || s->is_shutdown_wanted)
        stream_mark(s);
    if (queued_before > s->base.low_water_bytes && s->base.queued_bytes <= s->base.low_water_bytes)
        s->base.events->sendable(&s->base, now_us);
}

/* Run after each completion: the stream may be gone and this its last. */
static void stream_settle(struct uring_stream *s)
{
    if (s->state == URING_STREAM_GONE && s->operations == 0)
        stream_release(s);
}

void uring_stream_complete(struct uring_stream *s, enum uring_op op, const struct io_uring_cqe *cqe,
                           uint64_t now_us)
{
    /* A close inside would release it below us: keep it for the call. */
    s->operations++;
    if (op == URING_OP_RECEIVE)
        receive_complete(s, cqe, now_us);
    else if (op == URING_OP_CONNECT)
        connect_complete(s, cqe->res, now_us);
    else
        send_complete(s, cqe->res, false, now_us);
    s->operations--;
    stream_settle(s);
}

void uring_hold_complete(struct uring_hold *hold, const struct io_uring_cqe *cqe, uint64_t now_us)
{
    if ((cqe->flags & IORING_CQE_F_NOTIF) != 0) {
        struct uring *u = hold->uring;
        if (u->is_usage_reported && ((uint32_t)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED) != 0) {
            u->copy_until_us[hold->route] = now_us + URING_ROUTE_COPY_US;
            counter_inc(&u->env.counters->uring_zero_copy_copied);
        }
        hold_release(hold);
        return;
    }
    struct uring_stream *s = hold->stream;
    hold->stream = NULL;
    s->operations++;
    send_complete(s, cqe->res, true, now_us);
    s->operations--;
    stream_settle(s);
    if ((cqe->flags & IORING_CQE_F_MORE) == 0)
        hold_release(hold);
}

struct stream *uring_connect(struct transport *t, const struct endpoint *peer,
                             const struct stream_events *events, void *user, uint64_t now_us)
{
    struct uring *u = uring_of(t);

    (void)now_us;
    if (list_is_empty(&u->free_streams)) {
        counter_inc(&u->env.counters->uring_streams_exhausted);
        return NULL;
    }
    int fd = uring_socket_connecting(peer, u->config.unsent_bytes_max);
    if (fd < 0) {
        counter_inc(&u->env.counters->uring_files_exhausted);
        return NULL;
    }
    struct uring_stream *s = uring_stream_new(u, fd, URING_STREAM_CONNECTING);
    s->base.events = events;
    s->base.user = user;
    s->base.peer = *peer;
    stream_mark(s);
    return &s->base;
}

int uring_send(struct stream *base, const struct extent *extents, size_t count)
{
    struct uring_stream *s = uring_stream_of(base);
    struct uring *u = stream_uring(s);
    uint64_t bytes = 0;

    if (!stream_is_live(s) || s->is_shutdown_wanted)
        return -EPIPE;
    for (size_t i = 0; i < count; i++)
        bytes += extents[i].size;
    if (bytes > u->env.send_queue_bytes_max - base->queued_bytes ||
        count > URING_STREAM_EXTENTS_MAX - s->queue.count ||
        !extent_queue_has_room(&s->queue, &u->extents, count)) {
        counter_inc(&u->env.counters->uring_send_queue_full);
        return -ENOBUFS;
    }
    for (size_t i = 0; i < count; i++)
        extent_queue_push(&s->queue, &u->extents, &extents[i]);
    base->queued_bytes += (uint32_t)bytes;
    if (s->state == URING_STREAM_OPEN && !s->is_sending && s->queue.count > 0)
        stream_mark(s);
    return 0;
}

void uring_shutdown(struct stream *base)
{
    struct uring_stream *s = uring_stream_of(base);

    if (!stream_is_live(s) || s->is_shutdown_wanted)
        return;
    s->is_shutdown_wanted = true;
    stream_mark(s);
}

void uring_abort(struct stream *base)
{
    struct uring_stream *s = uring_stream_of(base);

    if (!stream_is_live(s))
        return;
    counter_inc(&stream_uring(s)->env.counters->uring_aborted);
    s->is_reset = true;
    stream_close_later(s, -ECONNABORTED);
}

void uring_receive_pause(struct stream *base, bool paused)
{
    struct uring_stream *s = uring_stream_of(base);

    if (!stream_is_live(s) || s->is_paused == paused)
        return;
    s->is_paused = paused;
    if (paused) {
        s->is_single_shot = true;
        stream_mark(s);
    } else if (s->parked_first != URING_BUFFER_NONE || s->is_eof_due) {
        stream_mark_ready(s);
    } else {
        stream_mark(s);
    }
}
