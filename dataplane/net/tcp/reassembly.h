/* reassembly.h - received bytes that cannot be delivered yet: out of order, or because the
 * user paused. A list of buffers from a fixed pool, by sequence number, without overlaps. */
#ifndef DATAPLANE_NET_TCP_REASSEMBLY_H
#define DATAPLANE_NET_TCP_REASSEMBLY_H

#include "common/bytes.h"
#include "dataplane/net/pool.h"
#include "dataplane/net/tcp/options.h"

enum { REASSEMBLY_BUFFER_BYTES = 2048 - 12, REASSEMBLY_RECENTS = 3 };

struct reassembly_buffer {
    uint32_t next;
    uint32_t seq;
    uint32_t size;
    uint8_t data[REASSEMBLY_BUFFER_BYTES];
};

struct reassembly {
    uint32_t head;
    uint32_t count;                      /* buffers */
    uint32_t recent[REASSEMBLY_RECENTS]; /* a number in each block, the latest changed first */
};

void reassembly_init(struct reassembly *r);
void reassembly_clear(struct reassembly *r, struct pool *pool);

/* Copies what of 'data' at 'seq' is not there yet, keeping at most 'buffers_max'. What was there
 * first stays (so no later segment can rewrite it). False: not all of it could be kept. */
bool reassembly_add(struct reassembly *r, struct pool *pool, uint32_t seq, struct bytes data,
                    uint32_t buffers_max);

/* The end of the bytes that follow 'seq' without a gap; 'seq' itself when there are none. */
uint32_t reassembly_edge(const struct reassembly *r, const struct pool *pool, uint32_t seq);

/* The part of the first block that lies before 'end'; false: there is none. */
bool reassembly_covered(const struct reassembly *r, const struct pool *pool, uint32_t end,
                        struct tcp_sack_block *ret_block);

/* Drops the buffers that end at or before 'seq'. */
void reassembly_trim(struct reassembly *r, struct pool *pool, uint32_t seq);

/* Takes the first buffer out when it holds bytes at 'seq' (dropping buffers that end before);
 * '*ret_data' are its bytes from 'seq' on, valid until pool_put() of the index returned.
 * POOL_NONE: none. */
uint32_t reassembly_pop(struct reassembly *r, struct pool *pool, uint32_t seq,
                        struct bytes *ret_data);

/* Remembers that the block around 'seq' is the one that changed last. */
void reassembly_note(struct reassembly *r, const struct pool *pool, uint32_t seq);

/* The contiguous blocks behind 'from': those that changed last first, latest to earliest, then
 * others (RFC 2018 §4). Returns how many, at most 'max'. */
unsigned reassembly_blocks(const struct reassembly *r, const struct pool *pool, uint32_t from,
                           struct tcp_sack_block *blocks, unsigned max);

#endif
