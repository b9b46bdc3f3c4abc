/* pool.h - a fixed number of equal items, taken and given back in O(1).
 *
 * Items are named by index (32 bits, so that links between them are small). Memory is untouched
 * until first used, then by huge pages where the kernel has them: a first use is part of the
 * cost of a new connection. One thread. */
#ifndef DATAPLANE_NET_POOL_H
#define DATAPLANE_NET_POOL_H

#include <stdint.h>

#define POOL_NONE UINT32_MAX

struct pool {
    uint8_t *memory;
    uint32_t item_size;
    uint32_t count;
    uint32_t in_use;
    uint32_t fresh; /* items from here on were never used */
    uint32_t free_head;
};

/* 0 or -ENOMEM. 'item_size' at least 4; items are aligned to 64 bytes when it is a multiple. */
int pool_init(struct pool *p, uint32_t count, uint32_t item_size);
void pool_fini(struct pool *p);

/* The index of an item with whatever bytes were left in it; POOL_NONE: all in use. */
uint32_t pool_get(struct pool *p);
void pool_put(struct pool *p, uint32_t index);

static inline void *pool_at(const struct pool *p, uint32_t index)
{
    return p->memory + (uint64_t)index * p->item_size;
}

static inline uint32_t pool_index(const struct pool *p, const void *item)
{
    return (uint32_t)((uint64_t)((const uint8_t *)item - p->memory) / p->item_size);
}

#endif
