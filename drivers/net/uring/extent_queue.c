#include "drivers/net/uring/extent_queue.h"

#include <errno.h>
#include <sys/mman.h>

#include "common/check.h"

static_assert(sizeof(struct extent_chunk) <= 256, "an idle stream's first chunk");

int extent_pool_init(struct extent_pool *pool, uint32_t count)
{
    void *memory = mmap(NULL, (size_t)count * sizeof(struct extent_chunk), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -ENOMEM;
    *pool = (struct extent_pool){.chunks = memory, .count = count};
    return 0;
}

void extent_pool_fini(struct extent_pool *pool)
{
    if (pool->chunks != NULL)
        munmap(pool->chunks, (size_t)pool->count * sizeof(struct extent_chunk));
    *pool = (struct extent_pool){0};
}

static struct extent_chunk *chunk_get(struct extent_pool *pool)
{
    struct extent_chunk *chunk = pool->free;

    if (chunk != NULL) {
        pool->free = chunk->next;
    } else {
        CHECK(pool->fresh < pool->count);
        chunk = &pool->chunks[pool->fresh++];
    }
    pool->in_use++;
    chunk->next = NULL;
    return chunk;
}

static void chunk_put(struct extent_pool *pool, struct extent_chunk *chunk)
{
    chunk->next = pool->free;
    pool->free = chunk;
    pool->in_use--;
}

bool extent_queue_has_room(const struct extent_queue *q, const struct extent_pool *pool,
                           size_t count)
{
    size_t tail_room = q->tail == NULL ? 0 : (size_t)EXTENT_CHUNK_EXTENTS - q->tail_index;

    if (count <= tail_room)
        return true;
    size_t chunks = (count - tail_room + EXTENT_CHUNK_EXTENTS - 1) / EXTENT_CHUNK_EXTENTS;
    return chunks <= pool->count - pool->in_use;
}

void extent_queue_push(struct extent_queue *q, struct extent_pool *pool, const struct extent *e)
{
    if (e->size == 0)
        return;
    DCHECK(e->offset <= e->blob->size && e->size <= e->blob->size - e->offset);

    if (q->tail == NULL || q->tail_index == EXTENT_CHUNK_EXTENTS) {
        struct extent_chunk *chunk = chunk_get(pool);

        if (q->tail == NULL) {
            q->head = chunk;
            q->head_index = 0;
        } else {
            q->tail->next = chunk;
        }
        q->tail = chunk;
        q->tail_index = 0;
    }
    q->tail->extents[q->tail_index++] = *e;
    q->count++;
    blob_ref(e->blob);
}

unsigned extent_queue_gather(const struct extent_queue *q, struct iovec *iov, struct blob **blobs,
                             unsigned iov_max, uint32_t bytes_max, uint32_t *ret_bytes)
{
    const struct extent_chunk *chunk = q->head;
    unsigned index = q->head_index;
    unsigned count = 0;
    uint32_t bytes = 0;

    for (; count < iov_max && count < q->count && bytes < bytes_max; count++) {
        if (index == EXTENT_CHUNK_EXTENTS) {
            chunk = chunk->next;
            index = 0;
        }
        const struct extent *e = &chunk->extents[index++];
        uint32_t size = e->size < bytes_max - bytes ? e->size : bytes_max - bytes;
        /* iovec is not const-correct: the kernel only reads. */
        iov[count].iov_base = (void *)(uintptr_t)extent_data(e);
        iov[count].iov_len = size;
        blobs[count] = e->blob;
        bytes += size;
    }
    *ret_bytes = bytes;
    return count;
}

static void extent_queue_pop(struct extent_queue *q, struct extent_pool *pool)
{
    blob_unref(&q->head->extents[q->head_index].blob);
    q->head_index++;
    q->count--;
    if (q->head_index < EXTENT_CHUNK_EXTENTS && q->count > 0)
        return;
    struct extent_chunk *chunk = q->head;
    q->head = chunk->next;
    q->head_index = 0;
    if (q->head == NULL)
        *q = (struct extent_queue){0};
    chunk_put(pool, chunk);
}

void extent_queue_consume(struct extent_queue *q, struct extent_pool *pool, uint32_t bytes)
{
    while (bytes > 0) {
        CHECK(q->count > 0);
        struct extent *e = &q->head->extents[q->head_index];
        if (e->size > bytes) {
            e->offset += bytes;
            e->size -= bytes;
            return;
        }
        bytes -= e->size;
        extent_queue_pop(q, pool);
    }
}

void extent_queue_clear(struct extent_queue *q, struct extent_pool *pool)
{
    while (q->count > 0)
        extent_queue_pop(q, pool);
}
