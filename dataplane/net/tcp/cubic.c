#include "dataplane/net/tcp/congestion.h"

/* RFC 9438. C = 0.4 segments/s³, beta = 0.7. Times in ms, windows in bytes. */

enum {
    TIME_SPAN_MAX_MS = 100000, /* keeps the cube within 64 bits */
    /* indices into tcp_congestion.state */
    W_MAX = 0,    /* window before the last reduction */
    EPOCH_US,     /* start of this growth; 0: at the next ACK */
    K_MS,         /* time from then until W_max is reached again */
    W_EST,        /* what Reno would have (§4.3) */
    W_START,      /* window at the start of the epoch */
    GROWTH_CREDIT /* acknowledged bytes times growth, not yet a byte of window */
};

static uint64_t cube_root(uint64_t value)
{
    uint64_t low = 0;
    uint64_t high = 1u << 21; /* (2^21)^3 = 2^63 */

    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (middle * middle * middle <= value)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static void cubic_init(struct tcp_congestion *c)
{
    for (int i = 0; i < 6; i++)
        c->state[i] = 0;
}

static void epoch_start(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    c->state[EPOCH_US] = sample->now_us;
    c->state[W_EST] = c->cwnd_bytes;
    c->state[W_START] = c->cwnd_bytes;
    c->state[GROWTH_CREDIT] = 0;
    if (c->cwnd_bytes >= c->state[W_MAX]) {
        c->state[W_MAX] = c->cwnd_bytes;
        c->state[K_MS] = 0;
        return;
    }
    /* K = cubic root of (W_max - cwnd) / C, in segments and seconds (§4.2). */
    uint64_t gap = (c->state[W_MAX] - c->cwnd_bytes) * 10 / 4;
    c->state[K_MS] = cube_root(gap * 1000000000u / sample->mss);
}

/* W_cubic(t) = C (t - K)³ + W_max. */
static int64_t cubic_window(const struct tcp_congestion *c, uint64_t elapsed_ms, uint32_t mss)
{
    int64_t t = (int64_t)(elapsed_ms < TIME_SPAN_MAX_MS ? elapsed_ms : TIME_SPAN_MAX_MS) -
                (int64_t)c->state[K_MS];

    if (t < -TIME_SPAN_MAX_MS)
        t = -TIME_SPAN_MAX_MS;
    /* t³ <= 10^15; to segments * 1000 first, then bytes. */
    int64_t milli_segments = t * t * t / 1000000 * 4 / 10;
    return (int64_t)c->state[W_MAX] + milli_segments * (int64_t)mss / 1000;
}

/* §4.3: alpha = 3 (1 - beta) / (1 + beta) = 0.53 until W_max is reached, then 1. */
static void reno_friendly(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    uint64_t alpha_percent = c->state[W_EST] < c->state[W_MAX] ? 53 : 100;

    c->state[W_EST] += alpha_percent * sample->mss * sample->acked_bytes / c->cwnd_bytes / 100;
}

static void cubic_acked(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    if (c->cwnd_bytes < c->ssthresh_bytes) {
        c->cwnd_bytes += sample->acked_bytes;
        if (c->cwnd_bytes > c->ssthresh_bytes)
            c->cwnd_bytes = c->ssthresh_bytes;
        return;
    }
    if (c->state[EPOCH_US] == 0)
        epoch_start(c, sample);
    reno_friendly(c, sample);
    uint64_t elapsed_ms = (sample->now_us - c->state[EPOCH_US] + sample->srtt_us) / 1000;
    int64_t target = cubic_window(c, elapsed_ms, sample->mss);
    int64_t cwnd = c->cwnd_bytes;
    if (target < (int64_t)c->state[W_EST])
        target = (int64_t)c->state[W_EST];
    if (target > cwnd + cwnd / 2) /* §4.4 */
        target = cwnd + cwnd / 2;
    if (target <= cwnd)
        return;
    uint64_t credit = c->state[GROWTH_CREDIT] + (uint64_t)(target - cwnd) * sample->acked_bytes;
    c->cwnd_bytes += (uint32_t)(credit / (uint64_t)cwnd);
    c->state[GROWTH_CREDIT] = credit % (uint64_t)cwnd;
}

static uint32_t cubic_congested(struct tcp_congestion *c, uint32_t mss, uint64_t now_us)
{
    uint64_t cwnd = c->cwnd_bytes;

    (void)now_us;
    /* Fast convergence (§4.7): give way when the window did not get back to where it was. */
    c->state[W_MAX] = cwnd < c->state[W_MAX] ? cwnd * 17 / 20 : cwnd;
    c->state[EPOCH_US] = 0;
    uint64_t reduced = cwnd * 7 / 10;
    return reduced > 2 * (uint64_t)mss ? (uint32_t)reduced : 2 * mss;
}

static void cubic_undone(struct tcp_congestion *c)
{
    (void)c;
}

static void cubic_restarted(struct tcp_congestion *c, uint64_t now_us)
{
    (void)now_us;
    c->state[EPOCH_US] = 0;
}

const struct tcp_congestion_ops tcp_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .acked = cubic_acked,
    .congested = cubic_congested,
    .undone = cubic_undone,
    .restarted = cubic_restarted,
};
