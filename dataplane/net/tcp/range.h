/* range.h - what is in flight: the scoreboard of SACK (RFC 2018, 6675), by ranges.
 *
 * All packets that leave a connection in one turn of the loop share one sending time, so one
 * range describes them all: a list of ranges, by sequence number and without gaps, covers
 * snd_una to snd_nxt. Acknowledgements and losses split ranges where they must. With the
 * sending times here, time-based loss detection (RFC 8985) needs no other record. */
#ifndef DATAPLANE_NET_TCP_RANGE_H
#define DATAPLANE_NET_TCP_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dataplane/net/pool.h"

enum { TCP_RANGES_MAX = 512 /* per connection */ };

enum tcp_range_flags {
    RANGE_SACKED = 1 << 0,
    RANGE_LOST = 1 << 1,
    RANGE_RESENT = 1 << 2,   /* lost, and sent again since */
    RANGE_NO_SAMPLE = 1 << 3 /* its sending time is not exact: no RTT from it */
};

struct tcp_range {
    uint32_t seq;
    uint32_t size; /* in sequence numbers: a FIN counts one */
    uint64_t sent_us;
    uint32_t next;
    uint32_t previous;
    uint8_t flags;
    uint8_t transmissions;
};

/* One connection's ranges and their sums. */
struct tcp_ranges {
    uint32_t head;
    uint32_t tail;
    uint32_t count;
    uint32_t sacked_bytes;
    uint32_t lost_bytes;   /* and not sacked */
    uint32_t resent_bytes; /* of those lost */
};

/* What one acknowledgement did to the ranges. */
struct tcp_range_sample {
    uint32_t delivered_bytes; /* newly known to have arrived */
    uint64_t sent_us;         /* of the latest sent of them that was sent just once; 0: none */
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
                 uint64_t now_us);

/* Cuts 'index' so that it ends after 'size'; false: no room, unchanged. */
bool ranges_split(struct tcp_ranges *r, struct pool *pool, uint32_t index, uint32_t size);

/* Everything before 'una' has arrived. */
void ranges_ack(struct tcp_ranges *r, struct pool *pool, uint32_t una,
                struct tcp_range_sample *sample);

/* [start, end) has arrived. */
void ranges_sack(struct tcp_ranges *r, struct pool *pool, uint32_t start, uint32_t end,
                 struct tcp_range_sample *sample);

/* Gives up on a range that is neither sacked nor lost. */
void range_mark_lost(struct tcp_ranges *r, struct tcp_range *range);

/* Marks lost what has 'threshold' or more bytes sacked behind it (RFC 6675 §4, IsLost). */
bool ranges_mark_lost(struct tcp_ranges *r, struct pool *pool, uint32_t threshold);

/* Marks the first 'size' bytes that are not sacked lost. */
bool ranges_mark_head_lost(struct tcp_ranges *r, struct pool *pool, uint32_t size);

/* After a timeout: everything not sacked is lost, also what was sent again; sacked ranges too
 * when the receiver has evidently thrown them away (RFC 2018 §8). */
void ranges_mark_all_lost(struct tcp_ranges *r, struct pool *pool);

/* The first range that is lost and not sent again; POOL_NONE: none. */
uint32_t ranges_next_lost(const struct tcp_ranges *r, const struct pool *pool);

/* 'range' was sent again. */
void range_resent(struct tcp_ranges *r, struct tcp_range *range, uint64_t now_us);

#endif
