/* blob.h - one shard's handle on immutable bytes, and extents: what send queues hold.
 *
 *   blob_init()         LIVE      one reference; bytes frozen from the first extent on
 *   blob_ref()          LIVE      one more
 *   last blob_unref()   DRAINING  if the port still has packets that point into it
 *                       RELEASED  otherwise: release() returns it to its owner
 *   blob_home_poll()    RELEASED  a draining blob whose last packet came back
 *
 * A blob belongs to one shard: 'refs' is a plain integer, and every function here is called
 * on that shard. Bytes shared by all shards live in a store object (dataplane/store), of
 * which each shard has a blob as its view.
 */
#ifndef COMMON_BLOB_H
#define COMMON_BLOB_H

#include <assert.h>

#include "common/bytes.h"
#include "common/list.h"

struct blob;

/* Where the blobs of one shard drain. */
struct blob_home {
    struct list draining;
    uint64_t blobs_made;
};

/* Laid out as DPDK's rte_mbuf_ext_shared_info (asserted in drivers/port/dpdk), so that a
 * packet can point into the blob. 'refs' is 1 + the packets in flight, so the port's free
 * never reaches zero and never takes DPDK's non-atomic path. Written by the port only. */
struct blob_port_shared {
    void *free_function;
    void *free_argument;
    uint16_t refs;
};

struct blob {
    const uint8_t *data;
    uint32_t size;
    uint32_t refs;
    /* Partial Internet checksums: sums[i] is the folded one's complement sum (host order of
     * big-endian 16-bit words) of the first i * 64 bytes. NULL: none cached. */
    const uint16_t *sums;
    struct blob_home *home;
    void (*release)(struct blob *b);
    void *owner; /* for release() */
    uint64_t id; /* of no other bytes that this home ever has a blob on; never 0 */
    struct blob_port_shared port_shared;
    struct list draining; /* in home->draining */
};

enum { BLOB_SUM_STRIDE = 64 };

/* A borrowed range of a blob's bytes; holding one in a queue takes a reference. */
struct extent {
    struct blob *blob;
    uint32_t offset;
    uint32_t size;
};
static_assert(sizeof(struct extent) == 16, "send queues are sized by this");

void blob_home_init(struct blob_home *home);

/* Releases blobs whose packets have all come back; true while some still drain. */
bool blob_home_poll(struct blob_home *home);

/* Makes 'b' a live blob over borrowed 'data' with one reference, the caller's. */
void blob_init(struct blob *b, struct blob_home *home, struct bytes data,
               void (*release)(struct blob *b), void *owner);

static inline struct blob *blob_ref(struct blob *b)
{
    b->refs++;
    return b;
}

/* Drops one reference and clears '*b'; a NULL '*b' is ignored. */
void blob_unref(struct blob **b);

static inline struct extent extent_of(struct blob *b)
{
    return (struct extent){.blob = b, .offset = 0, .size = b->size};
}

static inline const uint8_t *extent_data(const struct extent *e)
{
    return e->blob->data + e->offset;
}

/* Whether a packet of the port points into it. Any shard. */
bool blob_is_in_packets(const struct blob *b);

/* A fixed pool of small writable blobs for response heads, protocol messages and the like. */
struct blob_pool;

/* 'count' blobs of 'size' bytes each. NULL: no memory. Returns owned. */
struct blob_pool *blob_pool_new(struct blob_home *home, uint32_t count, uint32_t size);
void blob_pool_free(struct blob_pool **pool);

/* A live blob with one reference whose 'size' bytes the caller may fill through
 * blob_pool_data() until it is first sent, then setting b->size to what was written.
 * NULL: all in use. */
struct blob *blob_pool_get(struct blob_pool *pool);
uint8_t *blob_pool_data(struct blob *b);

/* Bytes of each blob in the pool. */
uint32_t blob_pool_blob_size(const struct blob_pool *pool);

/* The memory that the pool's bytes are in, for port_driver.register_memory. */
struct bytes blob_pool_memory(const struct blob_pool *pool);
uint32_t blob_pool_in_use(const struct blob_pool *pool);

#endif
