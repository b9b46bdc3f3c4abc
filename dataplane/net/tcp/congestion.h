/* congestion.h - congestion control as a table, in bytes and microseconds.
 *
 * The connection detects loss and keeps the count of bytes in flight; an algorithm says how
 * the window grows, and what it falls to. */
#ifndef DATAPLANE_NET_TCP_CONGESTION_H
#define DATAPLANE_NET_TCP_CONGESTION_H

#include <stdbool.h>
#include <stdint.h>

struct tcp_bbr;
struct tcp_rate_mark;

/* HyStart++ (RFC 9406): slow start ends by a rising round-trip time, before losses. */
struct tcp_hystart {
    uint32_t window_end;  /* the round ends when this is acknowledged */
    uint32_t last_min_us; /* smallest round-trip time of the last round; UINT32_MAX: none */
    uint32_t min_us;      /* of this round */
    uint32_t baseline_us; /* of the round that made growth conservative; 0: it is not */
    uint8_t samples;
    uint8_t rounds; /* of conservative growth */
    bool is_running;
};

struct tcp_cubic {        /* windows in bytes */
    uint64_t epoch_us;    /* start of this growth; 0: at the next ACK */
    uint32_t w_max;       /* where the curve is flat */
    uint32_t k_ms;        /* time from the epoch until w_max is reached */
    uint32_t w_est;       /* what Reno would have */
    uint32_t cwnd_prior;  /* window before the last reduction */
    uint32_t w_max_prior; /* w_max then, should the reduction be undone */
    uint32_t credit;      /* acknowledged bytes times growth, not yet a byte of window */
    uint32_t credit_est;  /* likewise, of w_est */
    struct tcp_hystart hystart;
};

struct tcp_reno {
    uint32_t acked_bytes; /* in congestion avoidance, not yet a segment of window */
};

struct tcp_congestion {
    uint32_t cwnd_bytes;
    uint32_t ssthresh_bytes;
    const struct tcp_congestion_ops *ops;
    union {
        struct tcp_cubic cubic;
        struct tcp_reno reno;
        struct tcp_bbr *bbr; /* of tcp.bbrs; from established to closed */
    };
};

/* Where a connection begins. */
struct tcp_path {
    uint64_t now_us;
    uint32_t mss;
    uint32_t srtt_us; /* 0: not measured yet */
    uint32_t delivered_bytes;
    uint32_t random; /* not 0 */
    bool has_sack;
};

/* What an acknowledgement brought. */
struct tcp_ack_sample {
    uint64_t now_us;
    uint32_t acked_bytes; /* newly delivered */
    uint32_t mss;
    uint32_t srtt_us;
    uint32_t rtt_us; /* 0: not measured */
    uint32_t snd_una;
    uint32_t snd_nxt;
};

/* The same, and more, for those that model the path. */
struct tcp_model_sample {
    uint64_t now_us;
    uint64_t sent_us;                 /* when the latest sent of what arrived was; 0: not known */
    const struct tcp_rate_mark *mark; /* and what went with it */
    uint32_t acked_bytes;
    uint32_t mss;
    uint32_t srtt_us;
    uint32_t rtt_us;          /* of the latest sent; 0: not measured */
    uint32_t delivered_bytes; /* ever, modulo 2^32, as the next */
    uint32_t marked_bytes;    /* marked lost */
    uint32_t in_flight_bytes; /* now */
    bool is_sent_limited;     /* the latest sent was by the user's lack of data, ... */
    bool is_cwnd_limited;     /* ... the last round trip by the window */
    bool is_recovering;
};

/* Something was marked lost. */
struct tcp_loss {
    uint64_t now_us;
    const struct tcp_rate_mark *mark; /* what went with its transmission */
    uint32_t seq;
    uint32_t size;
    uint32_t delivered_bytes; /* as above */
    uint32_t marked_bytes;    /* with this */
    bool is_sent_limited;
};

/* How fast, and how much at once. */
struct tcp_pace {
    uint64_t rate; /* bytes a second */
    uint32_t burst_bytes;
};

/* What a model of the path sees. It sets cwnd itself, also while losses are repaired. */
struct tcp_model_ops {
    /* An acknowledgement of something new. */
    void (*updated)(struct tcp_congestion *c, const struct tcp_model_sample *sample);
    /* Something is sent with 'in_flight_bytes' before it. Completes its '*mark'; true: by the
     * user's lack of data. */
    bool (*sent)(struct tcp_congestion *c, uint64_t now_us, uint32_t in_flight_bytes,
                 struct tcp_rate_mark *mark);
    void (*lost)(struct tcp_congestion *c, const struct tcp_loss *loss);
    /* An acknowledgement told of congestion marks, for the first time in a round trip. */
    void (*marked)(struct tcp_congestion *c, uint64_t now_us);
    /* There is nothing to send though there might be, until 'delivered_bytes' are. */
    void (*ran_out)(struct tcp_congestion *c, uint32_t delivered_bytes);
    struct tcp_pace (*pace)(const struct tcp_congestion *c);
};

struct tcp_congestion_ops {
    const char *name;
    const struct tcp_model_ops *model; /* NULL: the window alone rules */
    void (*init)(struct tcp_congestion *c, const struct tcp_path *path);
    /* Without a model: outside recovery, when the window was what held the sender back. */
    void (*acked)(struct tcp_congestion *c, const struct tcp_ack_sample *sample);
    /* Loss was detected (by acknowledgements or the timer): returns the new ssthresh, at least
     * two segments. The connection sets cwnd itself (RFC 5681 §3.2, RFC 6937). */
    uint32_t (*congested)(struct tcp_congestion *c, uint32_t mss, uint64_t now_us);
    /* The latest reduction was a mistake: cwnd is again what it was before, or more. */
    void (*undone)(struct tcp_congestion *c);
    /* Nothing was sent for so long: whatever grows with time did not. */
    void (*restarted)(struct tcp_congestion *c, uint64_t idle_us);
};

extern const struct tcp_congestion_ops tcp_reno;  /* RFC 5681 */
extern const struct tcp_congestion_ops tcp_cubic; /* RFC 9438, with HyStart++ */
extern const struct tcp_congestion_ops tcp_bbr;   /* draft-ietf-ccwg-bbr-06 */

/* By name; NULL: there is none such. */
const struct tcp_congestion_ops *tcp_congestion_find(const char *name);

/* 10 segments, RFC 6928. */
static inline uint32_t tcp_initial_window(uint32_t mss)
{
    return 10 * mss;
}

#endif
