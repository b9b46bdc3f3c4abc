/* Pacing: a window goes out over its round trip, in small bursts, so that ten thousand viewers of
 * one part are not one burst, and a window kept through idle time is not one either (RFC 7661 §6).
 *
 * The rate is Linux's: twice the window a round trip in slow start, 1.2 times it afterwards, so
 * that pacing never is what limits growth. A burst may be ten segments (as an initial window) or
 * a millisecond's worth. Paths of two milliseconds and less would send a window in one such
 * burst: they are not paced at all. A model of the path has a rate and a burst of its own, and is
 * always paced. */
#include "dataplane/net/stack.h"

enum {
    PACED_RTT_MIN_US = 2000,
    BURST_SEGMENTS = 10,
    LAG_MAX_US = 1000, /* that a late timer may make up for */
    SHIFT = 10         /* rates are bytes in 1,024 us */
};

static uint32_t pacing_rate(const struct tcp_conn *c)
{
    const struct tcp_congestion *g = &c->congestion;
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint32_t window = g->cwnd_bytes > flight ? g->cwnd_bytes : flight;

    if (c->srtt_us <= PACED_RTT_MIN_US || window > UINT32_MAX / 2)
        return 0;
    uint32_t rate = window / (c->srtt_us >> SHIFT);
    rate = g->cwnd_bytes < g->ssthresh_bytes / 2 ? 2 * rate : rate + rate / 5;
    return rate > 0 ? rate : 1;
}

uint32_t tcp_pacing_allowance(const struct net_stack *s, const struct tcp_conn *c)
{
    const struct tcp_model_ops *model = c->congestion.ops->model;

    if (model != NULL)
        return s->now_us < c->paced_until_us ? 0 : model->pace(&c->congestion).burst_bytes;
    uint32_t rate = s->config.is_unpaced ? 0 : pacing_rate(c);
    uint32_t burst = BURST_SEGMENTS * (uint32_t)c->mss;

    if (rate == 0)
        return UINT32_MAX;
    if (s->now_us < c->paced_until_us)
        return 0;
    return rate > burst ? rate : burst;
}

void tcp_pacing_sent(struct net_stack *s, struct tcp_conn *c, uint32_t bytes)
{
    const struct tcp_model_ops *model = c->congestion.ops->model;
    uint64_t from_us = c->paced_until_us;

    if (from_us + LAG_MAX_US < s->now_us)
        from_us = s->now_us;
    if (model != NULL) {
        c->paced_until_us = from_us + (uint64_t)bytes * 1000000 / model->pace(&c->congestion).rate;
        return;
    }
    uint32_t rate = pacing_rate(c);
    if (rate != 0)
        c->paced_until_us = from_us + ((uint64_t)bytes << SHIFT) / rate;
}

void tcp_pacing_hold(struct net_stack *s, struct tcp_conn *c)
{
    if (c->deadlines_us[TCP_TIMER_PACING] != 0)
        return;
    NET_COUNT(s, tcp_paced);
    tcp_timer_set(s, c, TCP_TIMER_PACING, c->paced_until_us);
}
