/* BBR version 3, draft-ietf-ccwg-bbr-06: the rate that a path delivers and its round-trip time
 * without a queue are measured, and what is sent follows from them; losses only bound it. Integer
 * arithmetic, gains in percent.
 *
 * Congestion marks are taken as losses above the threshold (RFC 3168 §5). Where the draft has
 * windowed filters, two slots are kept that change places. */
#include "dataplane/net/tcp/bbr.h"

#include "dataplane/net/tcp/seq.h"

enum {
    FULL_BW_GROWTH = 125, /* §5.3.1.2 */
    FULL_BW_ROUNDS = 3,
    STARTUP_LOST_RANGES = 6, /* §5.3.1.3 */
    DRAIN_ROUNDS_MAX = 3,    /* §5.3.2 */
    LOSS_THRESH = 2,         /* §2.7, as the next */
    BETA = 70,
    HEADROOM = 15,
    PACING_MARGIN = 1,
    MIN_PIPE_SEGMENTS = 4,
    MIN_RTT_FILTER_US = 10 * 1000000,
    PROBE_RTT_INTERVAL_US = 5 * 1000000,
    PROBE_RTT_US = 200000,
    PROBE_WAIT_MIN_US = 2 * 1000000, /* §5.3.3.8 */
    PROBE_WAIT_SPREAD_US = 1000000,
    RENO_ROUNDS_MAX = 63,
    PROBE_UP_ROUNDS_MAX = 30,
    EXTRA_ACKED_ROUNDS = 5, /* of a slot: ten in all (§5.5.9) */
    QUANTUM_MAX_BYTES = 64 << 10,
    QUANTUM_US = 1000,
    QUANTA = 3,              /* §5.5.8.1 */
    TIME_MAX_US = 1 << 26,   /* 67 s: with rates below 2^37, products stay within 64 bits */
    IN_FLIGHT_MAX = 1 << 30, /* bytes */
    PACED_SEGMENTS_MIN_S = 2 /* each second, however wrong the model: or nothing would tell it so */
};

static const struct bbr_gains {
    uint16_t pacing;
    uint16_t cwnd;
} gains[BBR_STATES] = {
    /* §5.6.1 */
    [BBR_STARTUP] = {277, 200},         [BBR_DRAIN] = {50, 200},
    [BBR_PROBE_BW_DOWN] = {90, 200},    [BBR_PROBE_BW_CRUISE] = {100, 200},
    [BBR_PROBE_BW_REFILL] = {100, 200}, [BBR_PROBE_BW_UP] = {125, 225},
    [BBR_PROBE_RTT] = {100, 50},
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void count_up(uint8_t *count)
{
    if (*count < UINT8_MAX)
        ++*count;
}

static uint64_t max_bw(const struct tcp_bbr *b)
{
    return max_u64(b->max_bw[0], b->max_bw[1]);
}

/* Bytes in 'us' at 'rate'. */
static uint64_t volume(uint64_t rate, uint64_t us)
{
    return rate * (us < TIME_MAX_US ? us : TIME_MAX_US) / 1000000;
}

static bool is_probe_bw(const struct tcp_bbr *b)
{
    return b->state >= BBR_PROBE_BW_DOWN && b->state <= BBR_PROBE_BW_UP;
}

static bool is_probing(const struct tcp_bbr *b)
{
    return b->state == BBR_STARTUP || b->state == BBR_PROBE_BW_REFILL ||
           b->state == BBR_PROBE_BW_UP;
}

/* --- volumes, §5.6.4 --- */

static uint32_t min_pipe(const struct tcp_bbr *b)
{
    return MIN_PIPE_SEGMENTS * b->mss;
}

static uint32_t bdp_multiple(const struct tcp_bbr *b, uint64_t bw, uint32_t gain)
{
    if (b->min_rtt_us == UINT32_MAX)
        return b->initial_cwnd;
    uint64_t bytes = volume(bw, b->min_rtt_us);
    return bytes < IN_FLIGHT_MAX ? (uint32_t)(bytes * gain / 100) : (uint32_t)IN_FLIGHT_MAX;
}

static uint32_t quantized(const struct tcp_bbr *b, uint32_t in_flight)
{
    in_flight = max_u32(in_flight, QUANTA * b->send_quantum);
    in_flight = max_u32(in_flight, min_pipe(b));
    return b->state == BBR_PROBE_BW_UP ? in_flight + 2 * b->mss : in_flight;
}

static uint32_t target_in_flight(const struct tcp_congestion *c)
{
    return min_u32(bdp_multiple(c->bbr, c->bbr->bw, 100), c->cwnd_bytes);
}

static uint32_t in_flight_with_headroom(const struct tcp_bbr *b)
{
    if (b->in_flight_longterm == UINT32_MAX)
        return UINT32_MAX;
    uint32_t headroom = max_u32(b->mss, b->in_flight_longterm / 100 * HEADROOM);
    uint32_t left = b->in_flight_longterm > headroom ? b->in_flight_longterm - headroom : 0;
    return max_u32(left, min_pipe(b));
}

static void cwnd_save(struct tcp_congestion *c)
{
    struct tcp_bbr *b = c->bbr;

    if (!b->is_recovering && b->state != BBR_PROBE_RTT)
        b->prior_cwnd = c->cwnd_bytes;
    else
        b->prior_cwnd = max_u32(b->prior_cwnd, c->cwnd_bytes);
}

static void cwnd_restore(struct tcp_congestion *c)
{
    c->cwnd_bytes = max_u32(c->cwnd_bytes, c->bbr->prior_cwnd);
}

/* --- states, §5.3 --- */

static void round_begin(struct tcp_bbr *b)
{
    b->next_round_delivered = b->delivered_bytes;
}

static void full_bw_reset(struct tcp_bbr *b)
{
    b->full_bw = 0;
    b->full_bw_count = 0;
    b->is_full_bw_now = false;
}

static void congestion_signals_reset(struct tcp_bbr *b)
{
    b->is_loss_in_round = false;
    b->bw_latest = 0;
    b->in_flight_latest = 0;
}

static void shortterm_reset(struct tcp_bbr *b)
{
    b->bw_shortterm = UINT64_MAX;
    b->in_flight_shortterm = UINT32_MAX;
}

static void probe_wait_pick(struct tcp_bbr *b)
{
    b->random ^= b->random << 13; /* Marsaglia's xorshift, 2003 */
    b->random ^= b->random >> 17;
    b->random ^= b->random << 5;
    b->rounds_since_probe_up = b->random & 1;
    b->probe_wait_us = PROBE_WAIT_MIN_US + (b->random >> 1) % PROBE_WAIT_SPREAD_US;
}

static void drain_begin(struct tcp_bbr *b)
{
    b->state = BBR_DRAIN;
    b->drain_rounds = 0;
}

static void down_begin(struct tcp_bbr *b, uint64_t now_us)
{
    congestion_signals_reset(b);
    b->probe_up_acked_per_inc = UINT32_MAX;
    probe_wait_pick(b);
    b->cycle_at_us = now_us;
    b->ack_phase = BBR_ACKS_PROBE_STOPPING;
    round_begin(b);
    b->state = BBR_PROBE_BW_DOWN;
}

static void refill_begin(struct tcp_bbr *b)
{
    shortterm_reset(b);
    b->probe_up_rounds = 0;
    b->probe_up_acked = 0;
    b->was_probe_precautionary = false;
    b->ack_phase = BBR_ACKS_REFILLING;
    round_begin(b);
    b->state = BBR_PROBE_BW_REFILL;
}

static void longterm_slope_raise(struct tcp_congestion *c)
{
    struct tcp_bbr *b = c->bbr;

    b->probe_up_acked_per_inc = max_u32(c->cwnd_bytes >> b->probe_up_rounds, b->mss);
    if (b->probe_up_rounds < PROBE_UP_ROUNDS_MAX)
        b->probe_up_rounds++;
}

static void up_begin(struct tcp_congestion *c, uint64_t bw)
{
    struct tcp_bbr *b = c->bbr;

    b->ack_phase = BBR_ACKS_PROBE_STARTING;
    round_begin(b);
    full_bw_reset(b);
    b->full_bw = bw;
    b->state = BBR_PROBE_BW_UP;
    longterm_slope_raise(c);
}

/* §5.3.1.3; also when routers say that there is too much. */
static void startup_end(struct tcp_bbr *b)
{
    b->undo_state = BBR_STARTUP;
    b->is_full_bw_reached = true;
    b->is_full_bw_now = true;
    b->in_flight_longterm = max_u32(bdp_multiple(b, b->bw, 100), b->in_flight_latest);
}

/* --- losses, §5.5.10 and §5.5.11 --- */

static bool is_too_high(const struct tcp_bbr *b, uint32_t lost, uint32_t in_flight)
{
    return (uint64_t)lost * 100 > (uint64_t)in_flight * LOSS_THRESH || (lost > 0 && !b->has_sack);
}

static void in_flight_too_high(struct tcp_congestion *c, uint64_t now_us, uint32_t in_flight,
                               bool is_limited)
{
    struct tcp_bbr *b = c->bbr;

    b->was_probe_too_high = true;
    b->is_probe_sample = false;
    if (!is_limited)
        b->in_flight_longterm =
            max_u32(in_flight, (uint32_t)((uint64_t)target_in_flight(c) * BETA / 100));
    if (b->state == BBR_PROBE_BW_UP) {
        b->undo_state = BBR_PROBE_BW_UP;
        down_begin(b, now_us);
    }
}

static void loss_note(struct tcp_congestion *c)
{
    struct tcp_bbr *b = c->bbr;

    if (b->is_loss_in_round)
        return;
    b->is_loss_in_round = true;
    b->loss_round_delivered = b->delivered_bytes;
    cwnd_save(c);
    b->undo_state = BBR_STATES;
    b->undo_bw_shortterm = b->bw_shortterm;
    b->undo_in_flight_shortterm = b->in_flight_shortterm;
    b->undo_in_flight_longterm = b->in_flight_longterm;
}

/* What was in flight before losses in it came above the threshold. */
static uint32_t in_flight_at_loss(const struct tcp_loss *loss, uint32_t lost)
{
    int64_t before = (int64_t)loss->mark->in_flight_bytes - loss->size;
    int64_t lost_before = (int64_t)lost - loss->size;

    before = before > 0 ? before : 0;
    lost_before = lost_before > 0 ? lost_before : 0;
    int64_t prefix = (LOSS_THRESH * before - 100 * lost_before) / (100 - LOSS_THRESH);
    return (uint32_t)(before + (prefix > 0 ? prefix : 0));
}

static void bbr_lost(struct tcp_congestion *c, const struct tcp_loss *loss)
{
    struct tcp_bbr *b = c->bbr;
    uint32_t lost = loss->marked_bytes - loss->mark->marked_bytes;

    b->delivered_bytes = loss->delivered_bytes;
    loss_note(c);
    if (b->lost_ranges == 0 || loss->seq != b->lost_end)
        count_up(&b->lost_ranges);
    b->lost_end = loss->seq + loss->size;
    if (b->is_probe_sample && is_too_high(b, lost, loss->mark->in_flight_bytes))
        in_flight_too_high(c, loss->now_us, in_flight_at_loss(loss, lost), loss->is_sent_limited);
}

static void bbr_marked(struct tcp_congestion *c, uint64_t now_us)
{
    struct tcp_bbr *b = c->bbr;

    loss_note(c);
    if (b->state == BBR_STARTUP)
        startup_end(b);
    else if (b->is_probe_sample)
        in_flight_too_high(c, now_us, b->sent_in_flight, false);
}

/* Recovery begins, or a timeout: the window to come back to (§5.6.4.4). There is no threshold. */
static uint32_t bbr_congested(struct tcp_congestion *c, uint32_t mss, uint64_t now_us)
{
    (void)mss;
    (void)now_us;
    loss_note(c);
    cwnd_save(c);
    return UINT32_MAX;
}

static void bbr_undone(struct tcp_congestion *c)
{
    struct tcp_bbr *b = c->bbr;
    uint8_t before = b->undo_state;

    cwnd_restore(c);
    b->is_loss_in_round = false;
    full_bw_reset(b);
    b->bw_shortterm = max_u64(b->bw_shortterm, b->undo_bw_shortterm);
    b->in_flight_shortterm = max_u32(b->in_flight_shortterm, b->undo_in_flight_shortterm);
    b->in_flight_longterm = max_u32(b->in_flight_longterm, b->undo_in_flight_longterm);
    b->undo_state = BBR_STATES;
    if (before == BBR_STARTUP && b->state != BBR_STARTUP) {
        b->is_full_bw_reached = false;
        if (b->state != BBR_PROBE_RTT)
            b->state = BBR_STARTUP;
    } else if (before == BBR_PROBE_BW_UP && b->state != BBR_PROBE_BW_UP &&
               b->state != BBR_PROBE_RTT) {
        refill_begin(b);
    }
}

/* --- the model, in the order of UpdateModelAndState() (§5.2.3) --- */

static void latest_update(struct tcp_bbr *b, const struct tcp_rate_sample *rate)
{
    b->is_loss_round_start = false;
    if (!rate->is_any)
        return;
    b->sent_in_flight = rate->sent_in_flight;
    b->bw_latest = max_u64(b->bw_latest, rate->bytes_per_s);
    b->in_flight_latest = max_u32(b->in_flight_latest, rate->delivered_bytes);
    if (!seq_is_before(rate->prior_delivered, b->loss_round_delivered)) {
        b->loss_round_delivered = b->delivered_bytes;
        b->is_loss_round_start = true;
    }
}

static void max_bw_update(struct tcp_bbr *b, const struct tcp_rate_sample *rate)
{
    b->is_round_start =
        rate->is_any && !seq_is_before(rate->prior_delivered, b->next_round_delivered);
    if (b->is_round_start) {
        round_begin(b);
        count_up(&b->drain_rounds);
        count_up(&b->rounds_since_probe_up);
        count_up(&b->extra_acked_rounds);
    }
    if (rate->bytes_per_s >= max_bw(b) || !rate->is_limited)
        b->max_bw[1] = max_u64(b->max_bw[1], rate->bytes_per_s);
}

/* Once a round (§5.5.10.3). */
static void lower_bounds_adapt(struct tcp_congestion *c)
{
    struct tcp_bbr *b = c->bbr;

    if (!b->is_loss_round_start)
        return;
    bool is_due = b->is_loss_in_round && !is_probing(b);
    b->is_loss_in_round = false;
    if (!is_due)
        return;
    if (b->bw_shortterm == UINT64_MAX)
        b->bw_shortterm = max_bw(b);
    if (b->in_flight_shortterm == UINT32_MAX)
        b->in_flight_shortterm = c->cwnd_bytes;
    b->bw_shortterm = max_u64(b->bw_latest, b->bw_shortterm * BETA / 100);
    b->in_flight_shortterm =
        max_u32(b->in_flight_latest, (uint32_t)((uint64_t)b->in_flight_shortterm * BETA / 100));
}

/* §5.5.9. */
static void aggregation_update(struct tcp_congestion *c, const struct tcp_model_sample *sample)
{
    struct tcp_bbr *b = c->bbr;
    uint64_t expected = volume(b->bw, sample->now_us - b->extra_acked_at_us);

    if (b->extra_acked_rounds >= (b->is_full_bw_reached ? EXTRA_ACKED_ROUNDS : 1)) {
        b->extra_acked_rounds = 0;
        b->extra_acked[0] = b->extra_acked[1];
        b->extra_acked[1] = 0;
    }
    if (b->extra_acked_delivered <= expected) {
        b->extra_acked_delivered = 0;
        b->extra_acked_at_us = sample->now_us;
        expected = 0;
    }
    b->extra_acked_delivered =
        min_u32(b->extra_acked_delivered + sample->acked_bytes, IN_FLIGHT_MAX);
    uint64_t extra = b->extra_acked_delivered > expected ? b->extra_acked_delivered - expected : 0;
    extra = extra < c->cwnd_bytes ? extra : c->cwnd_bytes;
    b->extra_acked[1] = max_u32(b->extra_acked[1], (uint32_t)extra);
}

/* §5.3.1.2. */
static void full_bw_check(struct tcp_bbr *b, const struct tcp_rate_sample *rate)
{
    if (b->is_full_bw_now || !b->is_round_start || rate->is_limited || rate->bytes_per_s == 0)
        return;
    if (rate->bytes_per_s * 100 >= b->full_bw * FULL_BW_GROWTH) {
        full_bw_reset(b);
        b->full_bw = rate->bytes_per_s;
        return;
    }
    if (++b->full_bw_count < FULL_BW_ROUNDS)
        return;
    b->is_full_bw_now = true;
    b->is_full_bw_reached = true;
}

/* §5.3.1.3: losses in more than one place, in a round that recovery was on for. */
static void startup_check(struct tcp_bbr *b, const struct tcp_rate_sample *rate, bool is_recovering)
{
    uint32_t ranges_min = b->has_sack ? STARTUP_LOST_RANGES : 1;

    if (!b->is_full_bw_reached && b->is_loss_round_start && is_recovering &&
        b->lost_ranges >= ranges_min && is_too_high(b, rate->lost_bytes, rate->sent_in_flight))
        startup_end(b);
    if (b->is_loss_round_start)
        b->lost_ranges = 0;
    if (b->state == BBR_STARTUP && b->is_full_bw_reached)
        drain_begin(b);
}

static void drain_check(struct tcp_bbr *b, const struct tcp_model_sample *sample)
{
    if (b->state != BBR_DRAIN)
        return;
    if (sample->in_flight_bytes <= quantized(b, bdp_multiple(b, b->bw, 100)) ||
        b->drain_rounds > DRAIN_ROUNDS_MAX)
        down_begin(b, sample->now_us);
}

static void longterm_probe(struct tcp_congestion *c, const struct tcp_model_sample *sample)
{
    struct tcp_bbr *b = c->bbr;

    if (!sample->is_cwnd_limited || c->cwnd_bytes < b->in_flight_longterm)
        return;
    b->probe_up_acked += sample->acked_bytes;
    if (b->probe_up_acked >= b->probe_up_acked_per_inc) {
        uint32_t steps = b->probe_up_acked / b->probe_up_acked_per_inc;
        b->probe_up_acked -= steps * b->probe_up_acked_per_inc;
        b->in_flight_longterm = min_u32(b->in_flight_longterm + steps * b->mss, IN_FLIGHT_MAX);
    }
    if (b->is_round_start)
        longterm_slope_raise(c);
}

/* Follows what acknowledgements are of, and moves in_flight_longterm up (§5.3.3.9). True: a state
 * was begun. */
static bool longterm_adapt(struct tcp_congestion *c, const struct tcp_model_sample *sample,
                           const struct tcp_rate_sample *rate)
{
    struct tcp_bbr *b = c->bbr;

    if (b->ack_phase == BBR_ACKS_PROBE_STARTING && b->is_round_start)
        b->ack_phase = BBR_ACKS_PROBE_FEEDBACK;
    if (b->ack_phase == BBR_ACKS_PROBE_STOPPING && b->is_round_start) {
        b->is_probe_sample = false;
        b->ack_phase = BBR_ACKS_INIT;
        if (is_probe_bw(b) && !rate->is_limited && b->max_bw[1] != 0) {
            b->max_bw[0] = b->max_bw[1];
            b->max_bw[1] = 0;
        }
        if (is_probe_bw(b) && b->was_probe_precautionary && !b->was_probe_too_high) {
            refill_begin(b);
            return true;
        }
    }
    if (!rate->is_any || b->in_flight_longterm == UINT32_MAX ||
        is_too_high(b, rate->lost_bytes, rate->sent_in_flight))
        return false;
    b->in_flight_longterm = max_u32(b->in_flight_longterm, rate->sent_in_flight);
    if (b->state == BBR_PROBE_BW_UP)
        longterm_probe(c, sample);
    return false;
}

static bool is_time_to_probe(const struct tcp_congestion *c, uint64_t now_us)
{
    const struct tcp_bbr *b = c->bbr;

    return now_us > b->cycle_at_us + b->probe_wait_us ||
           b->rounds_since_probe_up >= min_u32(target_in_flight(c) / b->mss, RENO_ROUNDS_MAX);
}

static bool is_time_to_cruise(const struct tcp_bbr *b, uint32_t in_flight)
{
    return in_flight <= in_flight_with_headroom(b) &&
           in_flight <= quantized(b, bdp_multiple(b, max_bw(b), 100));
}

static bool is_time_to_go_down(struct tcp_congestion *c, const struct tcp_model_sample *sample,
                               const struct tcp_rate_sample *rate)
{
    struct tcp_bbr *b = c->bbr;

    if (b->was_probe_too_high && sample->in_flight_bytes >= b->in_flight_longterm) {
        b->was_probe_precautionary = true;
        return true;
    }
    if (!sample->is_cwnd_limited || c->cwnd_bytes < b->in_flight_longterm)
        return b->is_full_bw_now;
    full_bw_reset(b); /* the window is what limits the rate */
    b->full_bw = rate->bytes_per_s;
    return false;
}

static void probe_bw_update(struct tcp_congestion *c, const struct tcp_model_sample *sample,
                            const struct tcp_rate_sample *rate)
{
    struct tcp_bbr *b = c->bbr;

    if (!b->is_full_bw_reached || longterm_adapt(c, sample, rate))
        return;
    switch (b->state) {
    case BBR_PROBE_BW_DOWN:
    case BBR_PROBE_BW_CRUISE:
        if (is_time_to_probe(c, sample->now_us))
            refill_begin(b);
        else if (is_time_to_cruise(b, sample->in_flight_bytes))
            b->state = BBR_PROBE_BW_CRUISE;
        return;
    case BBR_PROBE_BW_REFILL:
        if (!b->is_round_start)
            return;
        b->is_probe_sample = true;
        up_begin(c, rate->bytes_per_s);
        return;
    case BBR_PROBE_BW_UP:
        if (!is_time_to_go_down(c, sample, rate))
            return;
        b->was_probe_too_high = false;
        down_begin(b, sample->now_us);
        return;
    default:
        return;
    }
}

/* §5.3.4.3. */
static void min_rtt_update(struct tcp_bbr *b, const struct tcp_model_sample *sample)
{
    uint64_t now_us = sample->now_us;

    b->is_probe_rtt_expired = now_us > b->probe_rtt_min_at_us + PROBE_RTT_INTERVAL_US;
    if (sample->rtt_us != 0 && (sample->rtt_us < b->probe_rtt_min_us || b->is_probe_rtt_expired)) {
        b->probe_rtt_min_us = sample->rtt_us;
        b->probe_rtt_min_at_us = now_us;
    }
    if (b->probe_rtt_min_us < b->min_rtt_us || now_us > b->min_rtt_at_us + MIN_RTT_FILTER_US) {
        b->min_rtt_us = b->probe_rtt_min_us;
        b->min_rtt_at_us = b->probe_rtt_min_at_us;
    }
}

static uint32_t probe_rtt_cwnd(const struct tcp_bbr *b)
{
    return max_u32(bdp_multiple(b, b->bw, gains[BBR_PROBE_RTT].cwnd), min_pipe(b));
}

static void probe_rtt_done_check(struct tcp_congestion *c, uint64_t now_us)
{
    struct tcp_bbr *b = c->bbr;

    if (b->probe_rtt_done_us == 0 || now_us <= b->probe_rtt_done_us)
        return;
    b->probe_rtt_min_at_us = now_us;
    cwnd_restore(c);
    shortterm_reset(b);
    b->state = BBR_STARTUP;
    if (b->is_full_bw_reached) {
        down_begin(b, now_us);
        b->state = BBR_PROBE_BW_CRUISE;
    }
}

static void probe_rtt_check(struct tcp_congestion *c, const struct tcp_model_sample *sample)
{
    struct tcp_bbr *b = c->bbr;

    if (b->state != BBR_PROBE_RTT && b->is_probe_rtt_expired && !b->is_idle_restart) {
        cwnd_save(c);
        b->state = BBR_PROBE_RTT;
        b->probe_rtt_done_us = 0;
        b->ack_phase = BBR_ACKS_PROBE_STOPPING;
        round_begin(b);
    }
    b->is_idle_restart = false;
    if (b->state != BBR_PROBE_RTT)
        return;
    tcp_rate_limit(&b->rate, b->delivered_bytes + sample->in_flight_bytes);
    if (b->probe_rtt_done_us != 0) {
        if (b->is_round_start)
            b->is_probe_rtt_round_done = true;
        if (b->is_probe_rtt_round_done)
            probe_rtt_done_check(c, sample->now_us);
    } else if (sample->in_flight_bytes <= probe_rtt_cwnd(b)) {
        b->probe_rtt_done_us = sample->now_us + PROBE_RTT_US;
        b->is_probe_rtt_round_done = false;
        round_begin(b);
    }
}

static void latest_advance(struct tcp_bbr *b, const struct tcp_rate_sample *rate)
{
    if (b->is_loss_round_start) {
        b->bw_latest = rate->bytes_per_s;
        b->in_flight_latest = rate->delivered_bytes;
    }
    b->bw = max_bw(b) < b->bw_shortterm ? max_bw(b) : b->bw_shortterm;
}

/* --- control, §5.6 --- */

static void pacing_set(struct tcp_bbr *b, uint32_t gain)
{
    uint64_t rate = b->bw * gain / 100 * (100 - PACING_MARGIN) / 100;

    if (b->is_full_bw_reached || rate > b->pacing_rate)
        b->pacing_rate = max_u64(rate, PACED_SEGMENTS_MIN_S * b->mss);
    uint64_t quantum = volume(b->pacing_rate, QUANTUM_US);
    b->send_quantum = quantum < QUANTUM_MAX_BYTES ? (uint32_t)quantum : (uint32_t)QUANTUM_MAX_BYTES;
    b->send_quantum = max_u32(b->send_quantum, 2 * b->mss);
}

/* §5.6.2: as if the initial window were what a round trip takes; a millisecond when that is not
 * known yet. */
static void pacing_begin(struct tcp_bbr *b, uint32_t srtt_us)
{
    uint64_t rtt_us = srtt_us != 0 ? srtt_us : 1000;
    uint64_t rate = (uint64_t)b->initial_cwnd * 1000000 / rtt_us * gains[BBR_STARTUP].pacing / 100;

    b->has_rtt = srtt_us != 0;
    b->pacing_rate = max_u64(rate, PACED_SEGMENTS_MIN_S * b->mss);
}

static void cwnd_set(struct tcp_congestion *c, const struct tcp_model_sample *sample)
{
    struct tcp_bbr *b = c->bbr;
    uint32_t extra = max_u32(b->extra_acked[0], b->extra_acked[1]);
    uint32_t most = quantized(b, bdp_multiple(b, b->bw, gains[b->state].cwnd) + extra);
    uint32_t cwnd = c->cwnd_bytes;
    uint32_t cap = UINT32_MAX;

    if (b->is_full_bw_reached)
        cwnd = min_u32(cwnd + sample->acked_bytes, most);
    else if (cwnd < most || b->initial_left > 0)
        cwnd = min_u32(cwnd + sample->acked_bytes, IN_FLIGHT_MAX);
    cwnd = max_u32(cwnd, min_pipe(b));
    if (b->state == BBR_PROBE_RTT)
        cwnd = min_u32(cwnd, probe_rtt_cwnd(b));
    if (b->state == BBR_PROBE_RTT || b->state == BBR_PROBE_BW_CRUISE)
        cap = in_flight_with_headroom(b);
    else if (is_probe_bw(b))
        cap = b->in_flight_longterm;
    cap = max_u32(min_u32(cap, b->in_flight_shortterm), min_pipe(b));
    c->cwnd_bytes = min_u32(cwnd, cap);
}

/* --- the table's calls --- */

static void bbr_updated(struct tcp_congestion *c, const struct tcp_model_sample *sample)
{
    struct tcp_bbr *b = c->bbr;
    struct tcp_rate_sample rate =
        tcp_rate_acked(&b->rate, sample, b->min_rtt_us == UINT32_MAX ? 0 : b->min_rtt_us);

    b->mss = sample->mss;
    b->delivered_bytes = sample->delivered_bytes;
    b->initial_left -= min_u32(b->initial_left, sample->acked_bytes);
    if (b->is_recovering && !sample->is_recovering)
        cwnd_restore(c);
    b->is_recovering = sample->is_recovering;
    latest_update(b, &rate);
    max_bw_update(b, &rate);
    lower_bounds_adapt(c);
    aggregation_update(c, sample);
    full_bw_check(b, &rate);
    startup_check(b, &rate, sample->is_recovering);
    drain_check(b, sample);
    probe_bw_update(c, sample, &rate);
    min_rtt_update(b, sample);
    probe_rtt_check(c, sample);
    latest_advance(b, &rate);
    if (!b->has_rtt && sample->srtt_us != 0)
        pacing_begin(b, sample->srtt_us);
    pacing_set(b, gains[b->state].pacing);
    cwnd_set(c, sample);
}

/* §5.4.1: back from idle time. */
static bool bbr_sent(struct tcp_congestion *c, uint64_t now_us, uint32_t in_flight_bytes,
                     struct tcp_rate_mark *mark)
{
    struct tcp_bbr *b = c->bbr;

    if (in_flight_bytes == 0 && b->rate.is_limited) {
        b->is_idle_restart = true;
        b->extra_acked_at_us = now_us;
        if (is_probe_bw(b))
            pacing_set(b, 100);
        else if (b->state == BBR_PROBE_RTT)
            probe_rtt_done_check(c, now_us);
    }
    return tcp_rate_sent(&b->rate, now_us, in_flight_bytes, mark);
}

static void bbr_ran_out(struct tcp_congestion *c, uint32_t delivered_bytes)
{
    tcp_rate_limit(&c->bbr->rate, delivered_bytes);
}

static struct tcp_pace bbr_pace(const struct tcp_congestion *c)
{
    return (struct tcp_pace){.rate = c->bbr->pacing_rate, .burst_bytes = c->bbr->send_quantum};
}

static void bbr_init(struct tcp_congestion *c, const struct tcp_path *path)
{
    struct tcp_bbr *b = c->bbr;

    *b = (struct tcp_bbr){
        .mss = path->mss,
        .min_rtt_us = path->srtt_us != 0 ? path->srtt_us : UINT32_MAX,
        .probe_rtt_min_us = UINT32_MAX,
        .min_rtt_at_us = path->now_us,
        .probe_rtt_min_at_us = path->now_us,
        .extra_acked_at_us = path->now_us,
        .in_flight_longterm = UINT32_MAX,
        .probe_up_acked_per_inc = UINT32_MAX,
        .delivered_bytes = path->delivered_bytes,
        .next_round_delivered = path->delivered_bytes,
        .loss_round_delivered = path->delivered_bytes,
        .initial_cwnd = tcp_initial_window(path->mss),
        .random = path->random,
        .undo_state = BBR_STATES,
        .has_sack = path->has_sack,
        .state = BBR_STARTUP,
    };
    b->initial_left = b->initial_cwnd;
    shortterm_reset(b);
    pacing_begin(b, path->srtt_us);
    pacing_set(b, gains[BBR_STARTUP].pacing);
    c->ssthresh_bytes = UINT32_MAX;
}

static void bbr_restarted(struct tcp_congestion *c, uint64_t idle_us)
{
    (void)c;
    (void)idle_us; /* see bbr_sent() */
}

static const struct tcp_model_ops model_ops = {
    .updated = bbr_updated,
    .sent = bbr_sent,
    .lost = bbr_lost,
    .marked = bbr_marked,
    .ran_out = bbr_ran_out,
    .pace = bbr_pace,
};

const struct tcp_congestion_ops tcp_bbr = {
    .name = "bbr",
    .model = &model_ops,
    .init = bbr_init,
    .congested = bbr_congested,
    .undone = bbr_undone,
    .restarted = bbr_restarted,
};
