#include "dataplane/net/flow_table.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"

int flow_table_init(struct flow_table *t, uint32_t flows_max)
{
    uint32_t slots = 16;

    CHECK(flows_max < UINT32_MAX / 4);
    while (slots < 2 * flows_max)
        slots *= 2;
    void *memory = mmap(NULL, slots * sizeof(struct flow_slot), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    (void)madvise(memory, slots * sizeof(struct flow_slot), MADV_HUGEPAGE); /* only a wish */
    *t = (struct flow_table){.slots = memory, .mask = slots - 1};
    return 0;
}

void flow_table_fini(struct flow_table *t)
{
    if (t->slots != NULL)
        munmap(t->slots, ((size_t)t->mask + 1) * sizeof(struct flow_slot));
    *t = (struct flow_table){0};
}

uint64_t flow_hash64(const struct siphash_key *key, const struct endpoint *local,
                     const struct endpoint *peer)
{
    uint64_t words[FLOW_WORDS_MAX];
    uint64_t ports = (uint64_t)local->family << 32 | (uint32_t)local->port << 16 | peer->port;

    if (local->family == 4) {
        memcpy(words, local->addr, 4);
        memcpy((uint8_t *)words + 4, peer->addr, 4);
        words[1] = ports;
        return siphash_words(key, words, 2);
    }
    memcpy(words, local->addr, 16);
    memcpy(words + 2, peer->addr, 16);
    words[4] = ports;
    return siphash_words(key, words, FLOW_WORDS_MAX);
}

void flow_table_insert(struct flow_table *t, uint32_t hash, uint32_t value)
{
    uint32_t at = hash & t->mask;

    CHECK(t->count <= t->mask / 2);
    while (t->slots[at].value_plus_1 != 0)
        at = (at + 1) & t->mask;
    t->slots[at] = (struct flow_slot){.hash = hash, .value_plus_1 = value + 1};
    t->count++;
}

static uint32_t flow_table_find(const struct flow_table *t, uint32_t hash, uint32_t value)
{
    uint32_t at = hash & t->mask;

    while (t->slots[at].value_plus_1 != value + 1) {
        CHECK(t->slots[at].value_plus_1 != 0);
        at = (at + 1) & t->mask;
    }
    return at;
}

void flow_table_remove(struct flow_table *t, uint32_t hash, uint32_t value)
{
    uint32_t hole = flow_table_find(t, hash, value);

    /* Close the gap: move back what would no longer be found behind it. */
    for (uint32_t at = (hole + 1) & t->mask; t->slots[at].value_plus_1 != 0;
         at = (at + 1) & t->mask) {
        uint32_t home = t->slots[at].hash & t->mask;
        if (((at - home) & t->mask) >= ((at - hole) & t->mask)) {
            t->slots[hole] = t->slots[at];
            hole = at;
        }
    }
    t->slots[hole].value_plus_1 = 0;
    t->count--;
}

void flow_table_replace(struct flow_table *t, uint32_t hash, uint32_t old, uint32_t value)
{
    t->slots[flow_table_find(t, hash, old)].value_plus_1 = value + 1;
}
