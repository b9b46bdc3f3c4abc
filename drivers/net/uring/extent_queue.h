/* extent_queue.h - a stream's send queue: a list of pooled chunks of extents.
 *
 * A zeroed queue is empty and holds no chunk. Each queued extent holds one reference on its blob.
 */
#ifndef DRIVERS_NET_URING_EXTENT_QUEUE_H
#define DRIVERS_NET_URING_EXTENT_QUEUE_H

#include <sys/uio.h>

#include "common/blob.h"

enum { EXTENT_CHUNK_EXTENTS = 15 };

struct extent_chunk {
    struct extent_chunk *next;
    struct extent extents[EXTENT_CHUNK_EXTENTS];
};

struct extent_pool {
    struct extent_chunk *chunks;
    struct extent_chunk *free;
    uint32_t count;
    uint32_t fresh; /* chunks from here on were never used, so their pages are untouched */
    uint32_t in_use;
};

struct extent_queue {
    struct extent_chunk *head;
    struct extent_chunk *tail;
    uint32_t count; /* extents */
    uint8_t head_index;
    uint8_t tail_index; /* one past the last extent in 'tail' */
};

/* 0 or -ENOMEM. */
int extent_pool_init(struct extent_pool *pool, uint32_t count);
void extent_pool_fini(struct extent_pool *pool);

/* Whether extent_queue_push() may be called 'count' times. */
bool extent_queue_has_room(const struct extent_queue *q, const struct extent_pool *pool,
                           size_t count);

/* Appends, taking a reference. Empty extents are skipped. */
void extent_queue_push(struct extent_queue *q, struct extent_pool *pool, const struct extent *e);

/* Fills 'iov' from the head with at most 'iov_max' entries and 'bytes_max' bytes, and 'blobs' with
 * the blob of each. Returns the number of entries; '*ret_bytes' is their sum. */
unsigned extent_queue_gather(const struct extent_queue *q, struct iovec *iov, struct blob **blobs,
                             unsigned iov_max, uint32_t bytes_max, uint32_t *ret_bytes);

/* Drops the first 'bytes' bytes, which must be queued, and the references of finished extents. */
void extent_queue_consume(struct extent_queue *q, struct extent_pool *pool, uint32_t bytes);

void extent_queue_clear(struct extent_queue *q, struct extent_pool *pool);

#endif
