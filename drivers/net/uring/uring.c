#include "drivers/net/uring/uring.h"

#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/log.h"
#include "drivers/net/uring/internal.h"

enum { FREE_WAIT_US = 1000 * 1000, FREE_BUDGET = 1024 };

/* Hands the submission queue to the kernel. False: it took nothing. */
static bool uring_submit(struct uring *u)
{
    int submitted = io_uring_submit(&u->ring);

    if (io_uring_sq_ready(&u->ring) == 0)
        u->scratch_used = 0;
    return submitted > 0;
}

bool uring_reserve(struct uring *u)
{
    if (io_uring_sq_space_left(&u->ring) > 0 && u->scratch_used < URING_FLUSH_SENDS_MAX)
        return true;
    (void)uring_submit(u);
    if (io_uring_sq_space_left(&u->ring) > 0 && u->scratch_used < URING_FLUSH_SENDS_MAX)
        return true;
    counter_inc(&u->env.counters->uring_submit_full);
    return false;
}

struct io_uring_sqe *uring_sqe(struct uring *u, void *target, enum uring_op op)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

    CHECK(sqe != NULL && ((uintptr_t)target & URING_OP_MASK) == 0);
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)target | op);
    return sqe;
}

struct uring_scratch *uring_scratch_get(struct uring *u)
{
    CHECK(u->scratch_used < URING_FLUSH_SENDS_MAX);
    return &u->scratch[u->scratch_used++];
}

static void uring_dispatch(struct uring *u, const struct io_uring_cqe *cqe, uint64_t now_us)
{
    enum uring_op op = (enum uring_op)(cqe->user_data & URING_OP_MASK);
    void *target = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)URING_OP_MASK);

    switch (op) {
    case URING_OP_NONE:
        if (target == u)
            u->is_nop_submitted = false;
        break;
    case URING_OP_ACCEPT:
        uring_listener_complete(target, cqe, now_us);
        break;
    case URING_OP_DATAGRAM:
        uring_socket_complete(target, cqe, now_us);
        break;
    case URING_OP_SEND_ZERO_COPY:
        uring_hold_complete(target, cqe, now_us);
        break;
    case URING_OP_CONNECT:
    case URING_OP_RECEIVE:
    case URING_OP_SEND:
        uring_stream_complete(target, op, cqe, now_us);
        break;
    }
}

static unsigned poll_completions(struct uring *u, uint64_t now_us, unsigned budget)
{
    struct io_uring_cq *cq = &u->ring.cq;
    unsigned done = 0;

    /* Deferred work (DEFER_TASKRUN) and overflowed completions need a call; else no system call. */
    if ((IO_URING_READ_ONCE(*u->ring.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0)
        (void)io_uring_get_events(&u->ring);
    for (; done < budget; done++) {
        unsigned head = *cq->khead;
        if (head == io_uring_smp_load_acquire(cq->ktail))
            break;
        struct io_uring_cqe cqe = cq->cqes[head & cq->ring_mask];
        io_uring_cq_advance(&u->ring, 1);
        uring_dispatch(u, &cqe, now_us);
    }
    return done;
}

static unsigned uring_poll(struct transport *t, uint64_t now_us, unsigned budget)
{
    struct uring *u = uring_of(t);
    struct list ready;
    struct list *node;
    unsigned done = 0;

    u->now_us = now_us;
    list_init(&ready);
    list_splice(&ready, &u->ready);
    while (done < budget && (node = list_pop_front(&ready)) != NULL) {
        uring_stream_ready(CONTAINER_OF(node, struct uring_stream, ready), now_us);
        done++;
    }
    list_splice(&ready, &u->ready); /* those over budget stay first */
    list_splice(&u->ready, &ready);
    return done + poll_completions(u, now_us, budget - done);
}

static void flush_streams(struct uring *u)
{
    struct list dirty;
    struct list *node;
    unsigned sends = 0;

    list_init(&dirty);
    list_splice(&dirty, &u->dirty);
    while ((node = list_pop_front(&dirty)) != NULL) {
        if (!uring_stream_submit(CONTAINER_OF(node, struct uring_stream, dirty), &sends)) {
            list_push_front(&dirty, node);
            break;
        }
    }
    list_splice(&dirty, &u->dirty);
    list_splice(&u->dirty, &dirty);
}

static void uring_flush(struct transport *t, uint64_t now_us)
{
    struct uring *u = uring_of(t);

    u->now_us = now_us;
    uring_buffers_lend(&u->buffers);
    uring_streams_feed(u);
    for (uint32_t i = 0; i < u->listener_count; i++)
        uring_listener_submit(&u->listeners[i]);
    for (uint32_t i = 0; i < u->socket_count; i++)
        uring_socket_submit(&u->sockets[i]);
    flush_streams(u);

    /* Work left over has no completion that would wake the shard. */
    bool is_work_left = !list_is_empty(&u->dirty) || !list_is_empty(&u->ready);
    if (is_work_left && !u->is_nop_submitted && uring_reserve(u)) {
        io_uring_prep_nop(uring_sqe(u, u, URING_OP_NONE));
        u->is_nop_submitted = true;
    }
    if (io_uring_sq_ready(&u->ring) > 0)
        (void)uring_submit(u);
}

static int uring_wait_fd(struct transport *t)
{
    return uring_of(t)->ring.ring_fd;
}

/* Operations and zero-copy sends that the kernel has not finished. */
static uint32_t uring_unfinished(const struct uring *u)
{
    uint32_t count = u->stream_count + u->hold_count;

    for (uint32_t i = 0; i < u->listener_count; i++)
        count += u->listeners[i].is_accepting;
    for (uint32_t i = 0; i < u->socket_count; i++)
        count += u->sockets[i].is_receiving;
    return count;
}

/* Everything that the kernel still does for us ends; its completions are seen to. */
static void uring_drain(struct uring *u)
{
    uint64_t deadline_us = clock_monotonic_us() + FREE_WAIT_US;
    struct __kernel_timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    struct io_uring_cqe *cqe;

    while (uring_unfinished(u) > 0 && clock_monotonic_us() < deadline_us) {
        if (uring_reserve(u))
            io_uring_prep_cancel64(uring_sqe(u, NULL, URING_OP_NONE), 0,
                                   IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        (void)uring_submit(u);
        (void)io_uring_wait_cqe_timeout(&u->ring, &cqe, &pause);
        while (poll_completions(u, u->now_us, FREE_BUDGET) > 0) {
        }
    }
    if (uring_unfinished(u) > 0)
        log_warn("uring", LOG_MSG("closed with sends that the kernel has not finished"),
                 LOG_INT("streams", u->stream_count), LOG_INT("zero_copy_sends", u->hold_count));
}

/* Frees what uring_new() made so far. */
static void uring_fini(struct uring *u, bool has_ring)
{
    if (has_ring)
        io_uring_queue_exit(&u->ring);
    uring_buffers_fini(u);
    uring_streams_fini(u);
    free(u->scratch);
    free(u);
}

static void uring_free(struct transport **pt)
{
    if (*pt == NULL)
        return;
    struct uring *u = uring_of(*pt);

    *pt = NULL;
    u->is_closing = true;
    for (uint32_t i = 0; i < u->env.streams_max; i++) {
        struct uring_stream *s = &u->streams[i];
        s->is_reset = true;
        uring_stream_close(s, -ECONNABORTED, u->now_us);
    }
    uring_drain(u);
    uring_listeners_close(u);
    uring_sockets_close(u);
    uring_fini(u, true);
}

static const struct transport_ops uring_ops = {
    .name = "uring",
    .listen = uring_listen,
    .connect = uring_connect,
    .send = uring_send,
    .shutdown = uring_shutdown,
    .abort = uring_abort,
    .receive_pause = uring_receive_pause,
    .bind = uring_bind,
    .send_datagram = uring_send_datagram,
    .poll = uring_poll,
    .flush = uring_flush,
    .wait_fd = uring_wait_fd,
    .free = uring_free,
};

static void log_ring_error(int err)
{
    const char *advice = "cannot set up io_uring";

    if (err == -ENOSYS)
        advice = "this kernel has no io_uring: Linux 6.1 or later is needed";
    else if (err == -EPERM)
        advice = "io_uring is forbidden: see the sysctl kernel.io_uring_disabled, and seccomp";
    else if (err == -EINVAL)
        advice = "this kernel's io_uring is too old: Linux 6.1 or later is needed";
    else if (err == -ENOMEM)
        advice = "no memory for io_uring: raise RLIMIT_MEMLOCK (LimitMEMLOCK, ulimit -l)";
    log_error("uring", LOG_BYTES(NULL, bytes_of_str(advice)), LOG_STR("error", strerror(-err)));
}

static int uring_open_ring(struct uring *u)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
                 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        .cq_entries = URING_CQ_ENTRIES,
    };
    int err = io_uring_queue_init_params(URING_SQ_ENTRIES, &u->ring, &params);

    if (err < 0)
        return err;
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
    u->is_zero_copy = u->config.zero_copy_min > 0 && probe != NULL &&
                      io_uring_opcode_supported(probe, IORING_OP_SEND_ZC) &&
                      io_uring_opcode_supported(probe, IORING_OP_SENDMSG_ZC);
    u->is_usage_reported = u->is_zero_copy;
    io_uring_free_probe(probe);
    return 0;
}

static void set_defaults(struct uring_config *config)
{
    if (config->receive_buffers == 0)
        config->receive_buffers = 1024;
    if (config->receive_buffers_parked == 0)
        config->receive_buffers_parked = 4096;
    if (config->receive_buffer_bytes == 0)
        config->receive_buffer_bytes = 8192;
    if (config->unsent_bytes_max == 0)
        config->unsent_bytes_max = 262144;
}

int uring_new(const struct uring_config *config, const struct transport_env *env,
              struct transport **ret)
{
    struct uring *u = calloc(1, sizeof(*u));

    if (u == NULL)
        return -ENOMEM;
    u->base.ops = &uring_ops;
    u->env = *env;
    u->config = *config;
    set_defaults(&u->config);
    list_init(&u->dirty);
    list_init(&u->ready);
    list_init(&u->starved);
    uring_raise_file_limit(env->streams_max);

    int err = uring_open_ring(u);
    bool has_ring = err == 0;
    if (err == 0)
        err = uring_buffers_init(u);
    if (err < 0)
        log_ring_error(err);
    u->scratch = calloc(URING_FLUSH_SENDS_MAX, sizeof(*u->scratch));
    if (err == 0 && (u->scratch == NULL || uring_streams_init(u) < 0))
        err = -ENOMEM;
    if (err < 0) {
        uring_fini(u, has_ring);
        return err;
    }
    *ret = &u->base;
    return 0;
}
