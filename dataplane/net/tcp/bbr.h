/* bbr.h - BBR version 3: the model of a path that one connection has. Internal to
 * dataplane/net/tcp; the algorithm is tcp_bbr in congestion.h.
 *
 * Names are those of draft-ietf-ccwg-bbr-06, whose sections are cited; rates are in bytes a
 * second. */
#ifndef DATAPLANE_NET_TCP_BBR_H
#define DATAPLANE_NET_TCP_BBR_H

#include <assert.h>

#include "dataplane/net/tcp/rate.h"

enum bbr_state {
    BBR_STARTUP,
    BBR_DRAIN,
    BBR_PROBE_BW_DOWN,
    BBR_PROBE_BW_CRUISE,
    BBR_PROBE_BW_REFILL,
    BBR_PROBE_BW_UP,
    BBR_PROBE_RTT,
    BBR_STATES /* as an undo state: none */
};

/* Which transmissions acknowledgements are of. */
enum bbr_ack_phase {
    BBR_ACKS_INIT,
    BBR_ACKS_REFILLING,
    BBR_ACKS_PROBE_STARTING,
    BBR_ACKS_PROBE_FEEDBACK,
    BBR_ACKS_PROBE_STOPPING
};

struct tcp_bbr {
    struct tcp_rate rate;
    /* Infinite: UINT64_MAX and UINT32_MAX. */
    uint64_t bw;
    uint64_t max_bw[2]; /* of the last ProbeBW cycle, and of this one */
    uint64_t bw_shortterm;
    uint64_t bw_latest;
    uint64_t full_bw;
    uint64_t pacing_rate;
    uint64_t undo_bw_shortterm;
    uint64_t min_rtt_at_us;
    uint64_t probe_rtt_min_at_us;
    uint64_t probe_rtt_done_us; /* 0: not yet in flight as little as ProbeRTT wants */
    uint64_t cycle_at_us;
    uint64_t extra_acked_at_us;
    uint32_t min_rtt_us; /* infinite: no sample */
    uint32_t probe_rtt_min_us;
    uint32_t mss;
    uint32_t in_flight_latest;
    uint32_t in_flight_shortterm;
    uint32_t in_flight_longterm;
    uint32_t undo_in_flight_shortterm;
    uint32_t undo_in_flight_longterm;
    uint32_t prior_cwnd;
    uint32_t initial_cwnd;
    uint32_t initial_left; /* of it, not delivered yet */
    uint32_t send_quantum;
    uint32_t extra_acked_delivered;
    uint32_t extra_acked[2]; /* of the last rounds, and of these */
    uint32_t delivered_bytes;
    uint32_t next_round_delivered;
    uint32_t loss_round_delivered;
    uint32_t sent_in_flight; /* of the latest sample */
    uint32_t lost_end;       /* where what was lost last ends */
    uint32_t probe_up_acked;
    uint32_t probe_up_acked_per_inc;
    uint32_t probe_wait_us;
    uint32_t random;
    uint8_t state;      /* enum bbr_state */
    uint8_t undo_state; /* likewise */
    uint8_t ack_phase;  /* enum bbr_ack_phase */
    uint8_t full_bw_count;
    uint8_t drain_rounds;
    uint8_t rounds_since_probe_up;
    uint8_t probe_up_rounds;
    uint8_t extra_acked_rounds;
    uint8_t lost_ranges; /* in this round; discontiguous */
    bool has_sack;
    bool has_rtt;
    bool is_round_start;
    bool is_loss_round_start;
    bool is_loss_in_round;
    bool is_full_bw_now;
    bool is_full_bw_reached;
    bool is_probe_sample;
    bool was_probe_too_high;
    bool was_probe_precautionary;
    bool is_probe_rtt_expired;
    bool is_probe_rtt_round_done;
    bool is_idle_restart;
    bool is_recovering;
};
static_assert(sizeof(struct tcp_bbr) <= 320, "tcp.bbrs holds one for each connection that has it");

#endif
