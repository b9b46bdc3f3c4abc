/* rate.h - how fast the path delivers: a sample with each acknowledgement (draft-ietf-ccwg-bbr-06
 * §4.1). What goes with each transmission is struct tcp_rate_mark. Internal to
 * dataplane/net/tcp. */
#ifndef DATAPLANE_NET_TCP_RATE_H
#define DATAPLANE_NET_TCP_RATE_H

#include "dataplane/net/tcp/congestion.h"
#include "dataplane/net/tcp/range.h"

/* One connection's. */
struct tcp_rate {
    uint64_t delivered_us;  /* when something was, last */
    uint64_t first_sent_us; /* when the latest sent of what was delivered last was */
    uint32_t limited_until; /* delivered_bytes behind the time without data to send */
    bool is_limited;
};

struct tcp_rate_sample {
    uint64_t bytes_per_s; /* 0: none to rely on */
    uint32_t delivered_bytes;
    uint32_t prior_delivered; /* delivered_bytes, ever, where the sample begins */
    uint32_t lost_bytes;      /* marked so since then */
    uint32_t sent_in_flight;  /* bytes, just after the latest sent of what arrived */
    bool is_limited;
    bool is_any; /* else nothing of this is known */
};

enum { TCP_RATE_SHIFT_MAX = 37 }; /* more than 2^37 bytes a second are taken for that */

/* As tcp_model_ops.sent(). */
bool tcp_rate_sent(struct tcp_rate *r, uint64_t now_us, uint32_t in_flight_bytes,
                   struct tcp_rate_mark *mark);

/* Samples below 'min_rtt_us' are of originals of what was sent again. */
struct tcp_rate_sample tcp_rate_acked(struct tcp_rate *r, const struct tcp_model_sample *sample,
                                      uint32_t min_rtt_us);

/* Until 'delivered_bytes' are, samples may be below what the path can do (§4.1.2.4). */
void tcp_rate_limit(struct tcp_rate *r, uint32_t delivered_bytes);

#endif
