/* recovery.h - what a connection knows about losses, and what one acknowledgement told of them.
 *
 *   OPEN      everything arrives in order
 *   DISORDER  something was sacked, or sent again; nothing is known to be lost
 *   REDUCING  the window shrinks without a loss: ECN, or a tail loss probe was needed
 *   RECOVERY  acknowledgements told of a loss
 *   LOSS      the retransmission timer did
 *
 * until 'recover', snd_nxt when the phase began, is acknowledged. The numbers are those of
 * tcpi_ca_state in Linux's TCP_INFO. Internal to dataplane/net/tcp. */
#ifndef DATAPLANE_NET_TCP_RECOVERY_H
#define DATAPLANE_NET_TCP_RECOVERY_H

#include "dataplane/net/tcp/range.h"

enum { TCP_REORDERING = 3 /* segments: DupThresh of RFC 5681 §3.2 */ };

enum tcp_phase {
    TCP_PHASE_OPEN,
    TCP_PHASE_DISORDER,
    TCP_PHASE_REDUCING,
    TCP_PHASE_RECOVERY,
    TCP_PHASE_LOSS
};

enum tcp_recovery_flags {
    RECOVERY_CAN_UNDO = 1 << 0,   /* undo_from and the rest are of this phase */
    RECOVERY_HAS_RESENT = 1 << 1, /* first_resent_ts is set */
    RECOVERY_PROBE_OUT = 1 << 2,  /* a tail loss probe, up to probe_end */
    RECOVERY_PROBE_RESENT = 1 << 3,
    RECOVERY_FRTO = 1 << 4,     /* the timeout may have been spurious (RFC 5682) */
    RECOVERY_NEW_ONLY = 1 << 5, /* and new data shall tell: nothing is sent again meanwhile */
    RECOVERY_RACK_NEWS = 1 << 6,
    RECOVERY_REORDERED = 1 << 7, /* the path does reorder */
    RECOVERY_DSACKED = 1 << 8,
    RECOVERY_RENEGED = 1 << 9
};

struct tcp_recovery {
    uint64_t rack_sent_us; /* of the latest sent that arrived (RFC 8985 §5.2) */
    uint32_t rack_end;     /* where it ends */
    uint32_t rack_rtt_us;
    uint32_t rack_delivered; /* delivered_bytes when the window was last adapted */
    uint32_t recover;        /* snd_nxt when the phase began */
    uint32_t dupack_bytes;   /* without SACK: arrived behind snd_una, by their number */
    uint32_t prr_delivered_bytes;
    uint32_t prr_sent_bytes;
    uint32_t prior_cwnd_bytes;
    uint32_t prior_ssthresh_bytes; /* 0: nothing to undo */
    uint32_t undo_from;            /* snd_una when the phase began */
    int32_t undo_resent_bytes;     /* sent again and not reported as needless; -1: nothing yet */
    uint32_t first_resent_ts;      /* our timestamp then */
    uint32_t probe_end;
    uint16_t flags;       /* enum tcp_recovery_flags */
    uint16_t reordering;  /* segments, the widest seen */
    uint32_t reorderings; /* acknowledgements that told of some */
    uint8_t phase;        /* enum tcp_phase */
    uint8_t rack_steps;   /* the reordering window, in quarters of the minimum RTT */
    uint8_t rack_persist; /* recoveries before it is one again */
    uint8_t dupacks;
};

/* What one acknowledgement told. */
struct tcp_ack_news {
    struct tcp_range_sample sample;
    uint32_t una_before;
    uint32_t in_flight_before;
    uint32_t delivered_before; /* conn's */
    uint32_t marked_before;    /* bytes, struct tcp_ranges */
    uint32_t delivered_bytes;  /* by this one */
    uint32_t ts_echo;
    uint32_t rtt_us;        /* 0: not measured */
    uint32_t latest_rtt_us; /* of the latest sent; likewise */
    bool has_echo;
    bool is_new;       /* snd_una moved */
    bool is_duplicate; /* nothing else in it */
    bool is_window_changed;
    bool is_sacked; /* something new was */
    bool is_dsack;  /* something arrived twice */
    bool is_dsack_of_probe;
    bool has_ece;
    bool is_resent_lost; /* a retransmission was lost again */
    bool must_set_timer; /* the retransmission timer starts anew */
};

#endif
