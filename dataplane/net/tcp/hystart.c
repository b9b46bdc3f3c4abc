#include "dataplane/net/tcp/hystart.h"

#include "dataplane/net/tcp/seq.h"

enum { /* RFC 9406 §4.3 */
       RTT_GROWTH_MIN_US = 4000,
       RTT_GROWTH_MAX_US = 16000,
       RTT_GROWTH_DIVISOR = 8,
       SAMPLES_MIN = 8,
       CSS_GROWTH_DIVISOR = 4,
       CSS_ROUNDS = 5
};

void hystart_init(struct tcp_hystart *h)
{
    *h = (struct tcp_hystart){.last_min_us = UINT32_MAX, .min_us = UINT32_MAX};
}

static void round_begin(struct tcp_hystart *h, uint32_t snd_nxt)
{
    h->is_running = true;
    h->window_end = snd_nxt;
    h->last_min_us = h->min_us;
    h->min_us = UINT32_MAX;
    h->samples = 0;
}

/* How much longer than in the last round a round trip may take. */
static uint32_t growth_limit_us(uint32_t last_min_us)
{
    uint32_t limit_us = last_min_us / RTT_GROWTH_DIVISOR;

    if (limit_us < RTT_GROWTH_MIN_US)
        return RTT_GROWTH_MIN_US;
    return limit_us < RTT_GROWTH_MAX_US ? limit_us : RTT_GROWTH_MAX_US;
}

static void sample_add(struct tcp_hystart *h, uint32_t rtt_us)
{
    if (rtt_us < h->min_us)
        h->min_us = rtt_us;
    if (h->samples < UINT8_MAX)
        h->samples++;
    if (h->samples < SAMPLES_MIN)
        return;
    if (h->baseline_us != 0) {
        if (h->min_us < h->baseline_us) /* the growth was noise: on as before */
            h->baseline_us = 0;
        return;
    }
    if (h->last_min_us != UINT32_MAX &&
        h->min_us >= h->last_min_us + growth_limit_us(h->last_min_us)) {
        h->baseline_us = h->min_us;
        h->rounds = 0;
    }
}

uint32_t hystart_acked(struct tcp_hystart *h, const struct tcp_ack_sample *sample,
                       bool *ret_is_over)
{
    *ret_is_over = false;
    if (!h->is_running)
        round_begin(h, sample->snd_nxt);
    if (sample->rtt_us != 0)
        sample_add(h, sample->rtt_us);
    uint32_t growth = sample->acked_bytes;
    if (h->baseline_us != 0)
        growth /= CSS_GROWTH_DIVISOR;
    if (seq_is_before(sample->snd_una, h->window_end))
        return growth;
    if (h->baseline_us != 0 && ++h->rounds >= CSS_ROUNDS)
        *ret_is_over = true;
    round_begin(h, sample->snd_nxt);
    return growth;
}
