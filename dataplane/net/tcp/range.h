/* range.h - what is in flight: the scoreboard of SACK (RFC 2018, 6675), by ranges.
 *
 * All packets that leave a connection in one turn of the loop share one sending time, so one
 * range describes them all: a list of ranges, by sequence number and without gaps, covers
 * snd_una to snd_nxt. Acknowledgements and losses split ranges where they must; what is sacked, or
 * sent again at one time, becomes one range again. With the sending times here, time-based loss
 * detection (RFC 8985) and delivery-rate samples need no other record.
 *
 * Work for each acknowledgement is bounded by TCP_RANGES_MAX, whatever its blocks name. */
#ifndef DATAPLANE_NET_TCP_RANGE_H
#define DATAPLANE_NET_TCP_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/net/pool.h"

enum {
    TCP_RANGES_MAX = 512, /* per connection */
    /* From so many on, what is sent joins a last range that is at most join_us older. */
    TCP_RANGES_FINE = 128,
    /* From so many on, what is sent joins the last range, so that there is room for splits. */
    TCP_RANGES_SENT_MAX = 384
};

enum tcp_range_flags {
    RANGE_SACKED = 1 << 0,
    RANGE_LOST = 1 << 1,
    RANGE_RESENT = 1 << 2,     /* lost, and sent again since */
    RANGE_NO_SAMPLE = 1 << 3,  /* its sending time is not exact: no RTT from it */
    RANGE_APP_LIMITED = 1 << 4 /* sent while the user had less to send than would have gone */
};

/* What the connection had delivered when a range was sent (draft-cheng-iccrg-delivery-rate-
 * estimation-02 §3.2; the last two as draft-ietf-ccwg-bbr §4.1.2.3 wants them). */
struct tcp_rate_mark {
    uint64_t delivered_us; /* when the latest of it was */
    uint64_t first_sent_us;
    uint32_t delivered_bytes;
    uint32_t marked_bytes; /* struct tcp_ranges */
    uint32_t in_flight_bytes;
};

struct tcp_range {
    uint32_t seq;
    uint32_t size; /* in sequence numbers: a FIN counts one */
    uint64_t sent_us;
    uint32_t next;
    uint32_t previous;
    uint8_t flags;
    uint8_t transmissions;
    uint16_t group_bytes; /* of the groups it was first sent in, but for the last; 0: not known */
    uint32_t group_seq;   /* where one of them begins */
    struct tcp_rate_mark mark;
};

/* One connection's ranges and their sums. */
struct tcp_ranges {
    uint32_t head;
    uint32_t tail;
    uint32_t count;
    uint32_t sacked_bytes;
    uint32_t lost_bytes;   /* and not sacked */
    uint32_t resent_bytes; /* of those lost */
    uint32_t marked_bytes; /* ever marked lost, a retransmission again: wraps */
    uint32_t sacked_edge;  /* behind the last byte ever sacked; at least the first range's start */
    uint32_t sack_hint;    /* where the last block ended: the next is mostly near */
    uint32_t lost_hint;    /* nothing before it is lost and not sent again */
    uint32_t join_us;      /* see TCP_RANGES_FINE */
};

/* What one acknowledgement did to the ranges. */
struct tcp_range_sample {
    /* Given. */
    uint64_t now_us;
    uint32_t min_rtt_us; /* a retransmission acknowledged earlier: its original was */
    uint32_t recover;    /* see is_original */
    /* Found. */
    uint32_t delivered_bytes; /* newly known to have arrived */
    uint64_t first_sent_us;   /* of those sent just once, the first; 0: none */
    uint64_t last_sent_us;    /* and the last */
    uint64_t latest_sent_us;  /* of all of them; 0: none to believe */
    uint32_t latest_end;      /* and where that one ends */
    uint32_t reordered_seq;   /* start of the first that arrived behind later ones */
    bool is_reordered;
    bool is_original;      /* something before 'recover' that was sent just once arrived */
    bool is_resent;        /* something sent more than once arrived */
    bool is_rate_limited;  /* these two describe the latest sent of those that arrived */
    uint64_t rate_sent_us; /* 0: none */
    struct tcp_rate_mark rate;
};

void ranges_init(struct tcp_ranges *r);
void ranges_clear(struct tcp_ranges *r, struct pool *pool);

static inline struct tcp_range *range_at(const struct pool *pool, uint32_t index)
{
    return index == POOL_NONE ? NULL : (struct tcp_range *)pool_at(pool, index);
}

/* Whether ranges_sent() could record something sent now. */
bool ranges_have_room(const struct tcp_ranges *r, const struct pool *pool);

/* Records that [seq, seq + size), which follows the last range, was sent. There must be room. */
void ranges_sent(struct tcp_ranges *r, struct pool *pool, uint32_t seq, uint32_t size,
                 uint64_t now_us, const struct tcp_rate_mark *mark, bool is_app_limited);

/* Cuts 'index' so that it ends after 'size'; false: no room, unchanged. */
bool ranges_split(struct tcp_ranges *r, struct pool *pool, uint32_t index, uint32_t size);

/* Everything before 'una' has arrived. */
void ranges_ack(struct tcp_ranges *r, struct pool *pool, uint32_t una,
                struct tcp_range_sample *sample);

/* [start, end) has arrived. */
void ranges_sack(struct tcp_ranges *r, struct pool *pool, uint32_t start, uint32_t end,
                 struct tcp_range_sample *sample);

/* Gives up on 'index', which is not sacked: on its first transmission, or on the latest. */
void range_mark_lost(struct tcp_ranges *r, struct pool *pool, uint32_t index);

/* Marks the first 'size' bytes that are not sacked lost; false: they are already. */
bool ranges_mark_head_lost(struct tcp_ranges *r, struct pool *pool, uint32_t size);

/* After a timeout: everything not sacked is lost, also what was sent again, but for what, the
 * first range apart, was sent after 'since_us' (RFC 8985 §6.3). Sacked ranges too when the
 * receiver has evidently thrown them away (RFC 2018 §8): then true. */
bool ranges_mark_all_lost(struct tcp_ranges *r, struct pool *pool, uint64_t since_us);

/* Nothing was lost after all. */
void ranges_unmark_lost(struct tcp_ranges *r, struct pool *pool);

/* The first range that is lost and not sent again; POOL_NONE: none. */
uint32_t ranges_next_lost(struct tcp_ranges *r, const struct pool *pool);

/* 'index', lost, was sent again. */
void range_resent(struct tcp_ranges *r, struct pool *pool, uint32_t index, uint64_t now_us,
                  const struct tcp_rate_mark *mark, bool is_app_limited);

/* 'range' was sent again without being lost: a probe. */
void range_probed(struct tcp_range *range, uint64_t now_us, const struct tcp_rate_mark *mark);

#endif
