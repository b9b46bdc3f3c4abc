/* congestion.h - congestion control as a table, in bytes and microseconds.
 *
 * The connection detects loss and keeps the count of bytes in flight; an algorithm says how
 * the window grows, and what it falls to. */
#ifndef DATAPLANE_NET_TCP_CONGESTION_H
#define DATAPLANE_NET_TCP_CONGESTION_H

#include <stdint.h>

struct tcp_congestion {
    uint32_t cwnd_bytes;
    uint32_t ssthresh_bytes;
    uint64_t state[6]; /* the algorithm's */
};

/* What an acknowledgement brought. */
struct tcp_ack_sample {
    uint64_t now_us;
    uint32_t acked_bytes; /* newly delivered */
    uint32_t mss;
    uint32_t srtt_us;
};

struct tcp_congestion_ops {
    const char *name;
    void (*init)(struct tcp_congestion *c);
    /* Outside recovery, when the window was what held the sender back. */
    void (*acked)(struct tcp_congestion *c, const struct tcp_ack_sample *sample);
    /* Loss was detected (by acknowledgements or the timer): returns the new ssthresh, at least
     * two segments. The connection sets cwnd itself (RFC 5681 §3.2, RFC 6937). */
    uint32_t (*congested)(struct tcp_congestion *c, uint32_t mss, uint64_t now_us);
    /* The reduction was a mistake: cwnd is what it was before, or more. */
    void (*undone)(struct tcp_congestion *c);
    /* Back from idle: whatever grows with time starts anew. */
    void (*restarted)(struct tcp_congestion *c, uint64_t now_us);
};

extern const struct tcp_congestion_ops tcp_reno;  /* RFC 5681 */
extern const struct tcp_congestion_ops tcp_cubic; /* RFC 9438 */

/* 10 segments, RFC 6928. */
static inline uint32_t tcp_initial_window(uint32_t mss)
{
    return 10 * mss;
}

#endif
