#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "drivers/net/uring/internal.h"

static void *map_anonymous(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

int uring_buffers_init(struct uring *u)
{
    struct uring_buffers *b = &u->buffers;

    b->lent_max = u->config.receive_buffers;
    b->count = b->lent_max + u->config.receive_buffers_parked;
    b->bytes = u->config.receive_buffer_bytes;
    if ((b->lent_max & (b->lent_max - 1)) != 0 || b->lent_max > 32768 ||
        b->count >= URING_BUFFER_NONE)
        return -EINVAL;

    b->ring_bytes = b->lent_max * sizeof(struct io_uring_buf);
    b->ring = map_anonymous(b->ring_bytes);
    b->memory = map_anonymous((size_t)b->count * b->bytes);
    b->free = calloc(b->count, sizeof(*b->free));
    b->next = calloc(b->count, sizeof(*b->next));
    b->parked_size = calloc(b->count, sizeof(*b->parked_size));
    if (b->ring == NULL || b->memory == NULL || b->free == NULL || b->next == NULL ||
        b->parked_size == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < b->count; i++)
        b->free[i] = (uint16_t)(b->count - 1 - i);
    b->free_count = b->count;

    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)b->ring,
                                            .ring_entries = b->lent_max,
                                            .bgid = URING_BUFFER_GROUP};
    int err = io_uring_register_buf_ring(&u->ring, &registration, 0);
    if (err < 0)
        return err;
    io_uring_buf_ring_init(b->ring);
    uring_buffers_lend(b);
    return 0;
}

/* After the ring is gone. */
void uring_buffers_fini(struct uring *u)
{
    struct uring_buffers *b = &u->buffers;

    if (b->ring != NULL)
        munmap(b->ring, b->ring_bytes);
    if (b->memory != NULL)
        munmap(b->memory, (size_t)b->count * b->bytes);
    free(b->free);
    free(b->next);
    free(b->parked_size);
    *b = (struct uring_buffers){0};
}

uint8_t *uring_buffer(const struct uring_buffers *b, uint16_t id)
{
    return b->memory + (size_t)id * b->bytes;
}

uint16_t uring_buffer_take(struct uring_buffers *b, const struct io_uring_cqe *cqe)
{
    if ((cqe->flags & IORING_CQE_F_BUFFER) == 0)
        return URING_BUFFER_NONE;
    uint16_t id = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    CHECK(id < b->count && b->lent > 0);
    b->lent--;
    return id;
}

void uring_buffer_put(struct uring_buffers *b, uint16_t id)
{
    if (id == URING_BUFFER_NONE)
        return;
    DCHECK(b->free_count < b->count);
    b->free[b->free_count++] = id;
}

void uring_buffers_lend(struct uring_buffers *b)
{
    int mask = io_uring_buf_ring_mask(b->lent_max);
    int added = 0;

    while (b->lent < b->lent_max && b->free_count > 0) {
        uint16_t id = b->free[--b->free_count];
        io_uring_buf_ring_add(b->ring, uring_buffer(b, id), b->bytes, id, mask, added++);
        b->lent++;
    }
    if (added > 0)
        io_uring_buf_ring_advance(b->ring, added);
}
