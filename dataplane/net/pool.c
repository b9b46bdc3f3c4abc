#include "dataplane/net/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"

int pool_init(struct pool *p, uint32_t count, uint32_t item_size)
{
    CHECK(item_size >= sizeof(uint32_t) && count > 0 && count < POOL_NONE);
    /* Mapped, not allocated: zeroed and page-aligned, and paid for when first touched. */
    void *memory = mmap(NULL, (uint64_t)count * item_size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(memory, (uint64_t)count * item_size, MADV_HUGEPAGE); /* only a wish */
    *p = (struct pool){
        .memory = memory, .item_size = item_size, .count = count, .free_head = POOL_NONE};
    return 0;
}

void pool_fini(struct pool *p)
{
    if (p->memory != NULL)
        munmap(p->memory, (uint64_t)p->count * p->item_size);
    *p = (struct pool){0};
}

uint32_t pool_get(struct pool *p)
{
    uint32_t index = p->free_head;

    if (index != POOL_NONE)
        memcpy(&p->free_head, pool_at(p, index), sizeof(p->free_head));
    else if (p->fresh < p->count)
        index = p->fresh++;
    else
        return POOL_NONE;
    p->in_use++;
    return index;
}

void pool_put(struct pool *p, uint32_t index)
{
    DCHECK(index < p->fresh && p->in_use > 0);
    memcpy(pool_at(p, index), &p->free_head, sizeof(p->free_head));
    p->free_head = index;
    p->in_use--;
}
