/* flow_table.h - from a connection's two endpoints to its index: open addressing with a keyed
 * hash, so that peers cannot choose to collide. Sized so that it is never more than half full. */
#ifndef DATAPLANE_NET_FLOW_TABLE_H
#define DATAPLANE_NET_FLOW_TABLE_H

#include "common/endpoint.h"
#include "dataplane/net/siphash.h"

enum { FLOW_WORDS_MAX = 5 };

struct flow_slot {
    uint32_t hash;
    uint32_t value_plus_1; /* 0: empty */
};

struct flow_table {
    struct flow_slot *slots;
    uint32_t mask;
    uint32_t count;
};

/* 0 or -ENOMEM. */
int flow_table_init(struct flow_table *t, uint32_t flows_max);
void flow_table_fini(struct flow_table *t);

uint64_t flow_hash64(const struct siphash_key *key, const struct endpoint *local,
                     const struct endpoint *peer);

static inline uint32_t flow_hash(const struct siphash_key *key, const struct endpoint *local,
                                 const struct endpoint *peer)
{
    return (uint32_t)flow_hash64(key, local, peer);
}

/* Calls for each value stored under 'hash', until it returns UINT32_MAX: start with '*cursor'
 * = hash. The caller compares endpoints, since other flows may share the hash. */
static inline uint32_t flow_table_next(const struct flow_table *t, uint32_t hash, uint32_t *cursor)
{
    for (;;) {
        const struct flow_slot *slot = &t->slots[*cursor & t->mask];

        if (slot->value_plus_1 == 0)
            return UINT32_MAX;
        ++*cursor;
        if (slot->hash == hash)
            return slot->value_plus_1 - 1;
    }
}

/* Adds a value that is not there yet. */
void flow_table_insert(struct flow_table *t, uint32_t hash, uint32_t value);
/* Takes out a value that is there. */
void flow_table_remove(struct flow_table *t, uint32_t hash, uint32_t value);
/* Puts 'value' in the place of 'old'. */
void flow_table_replace(struct flow_table *t, uint32_t hash, uint32_t old, uint32_t value);

#endif
