#include "dataplane/net/tcp/hystart.h"

/* RFC 9438. C = 0.4 segments/s³, beta = 0.7. Times in ms, windows in bytes. */

enum { TIME_SPAN_MAX_MS = 100000 /* keeps the cube within 64 bits */ };

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

static void cubic_init(struct tcp_congestion *c, const struct tcp_path *path)
{
    (void)path;
    c->cubic = (struct tcp_cubic){0};
    hystart_init(&c->cubic.hystart);
}

static void epoch_start(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    struct tcp_cubic *q = &c->cubic;

    q->epoch_us = sample->now_us;
    q->w_est = c->cwnd_bytes;
    q->credit = 0;
    q->credit_est = 0;
    if (c->cwnd_bytes >= q->w_max) {
        q->w_max = c->cwnd_bytes;
        q->k_ms = 0;
        return;
    }
    /* K = cubic root of (W_max - cwnd) / C, in segments and seconds (§4.2). */
    uint64_t gap = (uint64_t)(q->w_max - c->cwnd_bytes) * 10 / 4;
    q->k_ms = (uint32_t)cube_root(gap * 1000000000u / sample->mss);
}

/* W_cubic(t) = C (t - K)³ + W_max. */
static int64_t cubic_window(const struct tcp_cubic *q, uint64_t elapsed_ms, uint32_t mss)
{
    int64_t t = (int64_t)(elapsed_ms < TIME_SPAN_MAX_MS ? elapsed_ms : TIME_SPAN_MAX_MS) - q->k_ms;

    if (t < -TIME_SPAN_MAX_MS)
        t = -TIME_SPAN_MAX_MS;
    /* t³ <= 10^15; to segments * 1000 first, then bytes. */
    int64_t milli_segments = t * t * t / 1000000 * 4 / 10;
    return (int64_t)q->w_max + milli_segments * (int64_t)mss / 1000;
}

/* Takes whole units out of 'credit + amount', each 'unit' large. */
static uint32_t credit_spend(uint32_t *credit, uint64_t amount, uint32_t unit)
{
    uint64_t sum = *credit + amount;

    *credit = (uint32_t)(sum % unit);
    sum /= unit;
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* §4.3: alpha = 3 (1 - beta) / (1 + beta) = 0.53 until the window of before the last reduction
 * is reached, then 1. */
static void reno_friendly(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    struct tcp_cubic *q = &c->cubic;
    uint64_t growth = (uint64_t)sample->mss * sample->acked_bytes;

    if (q->w_est < q->cwnd_prior)
        growth = growth * 53 / 100;
    growth = credit_spend(&q->credit_est, growth, c->cwnd_bytes);
    q->w_est = q->w_est + growth < INT32_MAX ? q->w_est + (uint32_t)growth : INT32_MAX;
}

static void cubic_acked(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    struct tcp_cubic *q = &c->cubic;

    if (c->cwnd_bytes < c->ssthresh_bytes) {
        uint32_t growth = sample->acked_bytes;
        bool is_over = false;
        if (c->ssthresh_bytes == UINT32_MAX) /* RFC 9406 §4.3: in the first slow start */
            growth = hystart_acked(&q->hystart, sample, &is_over);
        c->cwnd_bytes += growth;
        if (is_over)
            c->ssthresh_bytes = c->cwnd_bytes;
        if (c->cwnd_bytes > c->ssthresh_bytes)
            c->cwnd_bytes = c->ssthresh_bytes;
        return;
    }
    if (q->epoch_us == 0)
        epoch_start(c, sample);
    reno_friendly(c, sample);
    uint64_t elapsed_ms = (sample->now_us - q->epoch_us + sample->srtt_us) / 1000;
    int64_t target = cubic_window(q, elapsed_ms, sample->mss);
    int64_t cwnd = c->cwnd_bytes;
    if (target > cwnd + cwnd / 2) /* §4.4 */
        target = cwnd + cwnd / 2;
    if (target > cwnd)
        c->cwnd_bytes += credit_spend(&q->credit, (uint64_t)(target - cwnd) * sample->acked_bytes,
                                      c->cwnd_bytes);
    if (c->cwnd_bytes < q->w_est) /* §4.3: not less than Reno */
        c->cwnd_bytes = q->w_est;
}

static uint32_t cubic_congested(struct tcp_congestion *c, uint32_t mss, uint64_t now_us)
{
    struct tcp_cubic *q = &c->cubic;
    uint64_t cwnd = c->cwnd_bytes;

    (void)now_us;
    q->w_max_prior = q->w_max;
    q->cwnd_prior = c->cwnd_bytes;
    /* Fast convergence (§4.7): give way when the window did not get back to where it was. */
    q->w_max = cwnd < q->w_max ? (uint32_t)(cwnd * 17 / 20) : c->cwnd_bytes;
    q->epoch_us = 0;
    uint64_t reduced = cwnd * 7 / 10;
    return reduced > 2 * (uint64_t)mss ? (uint32_t)reduced : 2 * mss;
}

/* §4.9.2. The epoch begins anew: from the same window, the curve goes on where it was. */
static void cubic_undone(struct tcp_congestion *c)
{
    c->cubic.w_max = c->cubic.w_max_prior;
    c->cubic.epoch_us = 0;
}

/* §5.8: time without data is not time in which the window grew. */
static void cubic_restarted(struct tcp_congestion *c, uint64_t idle_us)
{
    if (c->cubic.epoch_us != 0)
        c->cubic.epoch_us += idle_us;
}

const struct tcp_congestion_ops tcp_cubic = {
    .name = "cubic",
    .init = cubic_init,
    .acked = cubic_acked,
    .congested = cubic_congested,
    .undone = cubic_undone,
    .restarted = cubic_restarted,
};
