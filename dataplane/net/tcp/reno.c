#include "dataplane/net/tcp/congestion.h"

static void reno_init(struct tcp_congestion *c, const struct tcp_path *path)
{
    (void)path;
    c->reno.acked_bytes = 0;
}

static void reno_acked(struct tcp_congestion *c, const struct tcp_ack_sample *sample)
{
    if (c->cwnd_bytes < c->ssthresh_bytes) {
        c->cwnd_bytes += sample->acked_bytes; /* RFC 5681 (2), without its limit for ACK splitting:
                                                 bytes, not ACKs, are counted */
        if (c->cwnd_bytes > c->ssthresh_bytes)
            c->cwnd_bytes = c->ssthresh_bytes;
        return;
    }
    uint32_t acked = c->reno.acked_bytes + sample->acked_bytes;
    if (acked >= c->cwnd_bytes) {
        acked -= c->cwnd_bytes;
        c->cwnd_bytes += sample->mss;
        if (acked > c->cwnd_bytes)
            acked = c->cwnd_bytes;
    }
    c->reno.acked_bytes = acked;
}

static uint32_t reno_congested(struct tcp_congestion *c, uint32_t mss, uint64_t now_us)
{
    (void)now_us;
    c->reno.acked_bytes = 0;
    /* RFC 5681 (4) says half of what is in flight; a window that was not full did not grow. */
    uint32_t half = c->cwnd_bytes / 2;
    return half > 2 * mss ? half : 2 * mss;
}

static void reno_undone(struct tcp_congestion *c)
{
    (void)c;
}

static void reno_restarted(struct tcp_congestion *c, uint64_t idle_us)
{
    (void)c;
    (void)idle_us;
}

const struct tcp_congestion_ops tcp_reno = {
    .name = "reno",
    .init = reno_init,
    .acked = reno_acked,
    .congested = reno_congested,
    .undone = reno_undone,
    .restarted = reno_restarted,
};
