#include "dataplane/net/tcp/rate.h"

#include "dataplane/net/tcp/seq.h"

/* §4.1.2.2. */
bool tcp_rate_sent(struct tcp_rate *r, uint64_t now_us, uint32_t in_flight_bytes,
                   struct tcp_rate_mark *mark)
{
    if (in_flight_bytes == 0) {
        r->first_sent_us = now_us;
        r->delivered_us = now_us;
    }
    mark->first_sent_us = r->first_sent_us;
    mark->delivered_us = r->delivered_us;
    return r->is_limited;
}

/* §4.1.2.3. */
struct tcp_rate_sample tcp_rate_acked(struct tcp_rate *r, const struct tcp_model_sample *sample,
                                      uint32_t min_rtt_us)
{
    const struct tcp_rate_mark *mark = sample->mark;
    struct tcp_rate_sample rate = {0};

    if (r->is_limited && seq_is_after(sample->delivered_bytes, r->limited_until))
        r->is_limited = false;
    r->delivered_us = sample->now_us;
    if (sample->sent_us == 0)
        return rate;
    r->first_sent_us = sample->sent_us;
    rate.is_any = true;
    rate.is_limited = sample->is_sent_limited;
    rate.prior_delivered = mark->delivered_bytes;
    rate.delivered_bytes = sample->delivered_bytes - mark->delivered_bytes;
    rate.lost_bytes = sample->marked_bytes - mark->marked_bytes;
    rate.sent_in_flight = mark->in_flight_bytes;
    uint64_t interval_us = sample->sent_us - mark->first_sent_us;
    if (interval_us < sample->now_us - mark->delivered_us)
        interval_us = sample->now_us - mark->delivered_us;
    if (interval_us == 0 || interval_us < min_rtt_us)
        return rate;
    uint64_t bytes_per_s = (uint64_t)rate.delivered_bytes * 1000000 / interval_us;
    const uint64_t most = (uint64_t)1 << TCP_RATE_SHIFT_MAX;
    rate.bytes_per_s = bytes_per_s < most ? bytes_per_s : most;
    return rate;
}

void tcp_rate_limit(struct tcp_rate *r, uint32_t delivered_bytes)
{
    r->is_limited = true;
    r->limited_until = delivered_bytes;
}
