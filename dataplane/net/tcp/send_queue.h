/* send_queue.h - what a connection has to send and to keep until acknowledged: extents, each
 * with a reference on its blob, in chunks from a pool. Positions are sequence numbers. An
 * empty queue holds no chunk. */
#ifndef DATAPLANE_NET_TCP_SEND_QUEUE_H
#define DATAPLANE_NET_TCP_SEND_QUEUE_H

#include "common/blob.h"
#include "dataplane/net/pool.h"

enum { SEND_CHUNK_EXTENTS = 7, SEND_EXTENTS_MAX = 8192 /* per connection */ };

struct send_chunk {
    uint32_t next;
    uint32_t reserved[3];
    struct extent extents[SEND_CHUNK_EXTENTS];
};

/* An extent of the queue and the sequence number of its first byte. */
struct send_position {
    uint32_t chunk; /* POOL_NONE: nowhere */
    uint32_t slot;
    uint32_t seq;
};

struct send_queue {
    struct send_position head; /* the oldest extent, of which a part may be acknowledged */
    struct send_position next; /* where the last gather ended: mostly where the next begins */
    uint32_t tail_chunk;
    uint16_t tail_slots; /* used in the tail chunk */
    uint16_t extent_count;
};

void send_queue_init(struct send_queue *q);
void send_queue_clear(struct send_queue *q, struct pool *pool);

/* Appends the extents behind sequence number 'end', where the queue ends now. All or nothing;
 * -ENOBUFS: too many extents for the queue or the pool. Takes a reference on each blob. */
int send_queue_push(struct send_queue *q, struct pool *pool, const struct extent *extents,
                    size_t count, uint32_t end);

/* Drops the extents that end at or before 'acked'. */
void send_queue_ack(struct send_queue *q, struct pool *pool, uint32_t acked);

/* Borrows at most 'size' bytes from 'seq' on as at most 'max' extents; '*ret_size' is what they
 * hold. 'seq' must be in the queue. Returns how many extents. */
unsigned send_queue_gather(struct send_queue *q, const struct pool *pool, uint32_t seq,
                           uint32_t size, struct extent *extents, unsigned max, uint32_t *ret_size);

#endif
