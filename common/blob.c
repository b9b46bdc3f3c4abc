#include "common/blob.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "common/check.h"

struct blob_pool {
    struct blob_home *home;
    struct list free;
    uint8_t *memory;
    struct blob *blobs;
    uint32_t count;
    uint32_t size;
    uint32_t in_use;
};

void blob_home_init(struct blob_home *home)
{
    list_init(&home->draining);
    home->blobs_made = 0;
}

/* Acquire: pairs with the release in the port's free on another core (ring ports), so that
 * its last read of the bytes happens before they are reused. */
bool blob_is_in_packets(const struct blob *b)
{
    return __atomic_load_n(&b->port_shared.refs, __ATOMIC_ACQUIRE) > 1;
}

bool blob_home_poll(struct blob_home *home)
{
    list_for_each_safe (node, &home->draining) {
        struct blob *b = CONTAINER_OF(node, struct blob, draining);

        if (blob_is_in_packets(b))
            continue;
        list_remove(node);
        b->release(b);
    }
    return !list_is_empty(&home->draining);
}

void blob_init(struct blob *b, struct blob_home *home, struct bytes data,
               void (*release)(struct blob *b), void *owner)
{
    CHECK(data.size <= UINT32_MAX);
    *b = (struct blob){
        .data = data.ptr,
        .size = (uint32_t)data.size,
        .refs = 1,
        .home = home,
        .release = release,
        .owner = owner,
        .id = ++home->blobs_made,
        .port_shared = {.refs = 1},
    };
}

void blob_unref(struct blob **pb)
{
    struct blob *b = *pb;

    *pb = NULL;
    if (b == NULL)
        return;
    CHECK(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (blob_is_in_packets(b))
        list_push_back(&b->home->draining, &b->draining);
    else
        b->release(b);
}

struct blob_pool *blob_pool_new(struct blob_home *home, uint32_t count, uint32_t size)
{
    struct blob_pool *pool = calloc(1, sizeof(*pool));

    if (pool == NULL)
        return NULL;
    pool->home = home;
    pool->count = count;
    pool->size = size;
    list_init(&pool->free);
    pool->blobs = calloc(count, sizeof(*pool->blobs));
    pool->memory = mmap(NULL, (size_t)count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool->blobs == NULL || pool->memory == MAP_FAILED) {
        free(pool->blobs);
        free(pool);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++)
        list_push_back(&pool->free, &pool->blobs[i].draining);
    return pool;
}

void blob_pool_free(struct blob_pool **ppool)
{
    struct blob_pool *pool = *ppool;

    *ppool = NULL;
    if (pool == NULL)
        return;
    munmap(pool->memory, (size_t)pool->count * pool->size);
    free(pool->blobs);
    free(pool);
}

static void blob_pool_put(struct blob *b)
{
    struct blob_pool *pool = b->owner;

    pool->in_use--;
    list_push_front(&pool->free, &b->draining); /* most recently used first: warm in cache */
}

struct blob *blob_pool_get(struct blob_pool *pool)
{
    struct list *node = list_pop_front(&pool->free);

    if (node == NULL)
        return NULL;
    struct blob *b = CONTAINER_OF(node, struct blob, draining);
    size_t index = (size_t)(b - pool->blobs);
    pool->in_use++;
    blob_init(b, pool->home, bytes_of(pool->memory + index * pool->size, pool->size), blob_pool_put,
              pool);
    return b;
}

uint8_t *blob_pool_data(struct blob *b)
{
    struct blob_pool *pool = b->owner;

    return pool->memory + (size_t)(b - pool->blobs) * pool->size;
}

uint32_t blob_pool_blob_size(const struct blob_pool *pool)
{
    return pool->size;
}

struct bytes blob_pool_memory(const struct blob_pool *pool)
{
    return bytes_of(pool->memory, (size_t)pool->count * pool->size);
}

uint32_t blob_pool_in_use(const struct blob_pool *pool)
{
    return pool->in_use;
}
