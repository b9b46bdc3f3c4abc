/* arena.h - which granules of a memory range are taken: a bitmap with next-fit search.
 *
 * Media lives and dies first in, first out, so that the free space is one run that moves round the
 * arena, and next-fit finds it at once. What lives for a moment only (playlists) would leave holes
 * in its wake: it is taken from the high end. One thread. */
#ifndef DATAPLANE_STORE_ARENA_H
#define DATAPLANE_STORE_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#define ARENA_NONE UINT32_MAX

struct arena {
    uint64_t *words; /* bit set: taken; bits past 'count' are always set */
    uint32_t word_count;
    uint32_t count; /* of granules */
    uint32_t free_count;
    uint32_t cursor; /* where the next search starts */
};

/* 0 or -ENOMEM. */
int arena_init(struct arena *a, uint32_t count);
void arena_fini(struct arena *a);

/* Takes 'count' > 0 neighbouring granules; the first one's index, or ARENA_NONE: no free run is
 * long enough. */
uint32_t arena_take(struct arena *a, uint32_t count);

/* As arena_take(), but the highest run there is. */
uint32_t arena_take_high(struct arena *a, uint32_t count);

/* Gives back what was taken, or its end. */
void arena_give(struct arena *a, uint32_t first, uint32_t count);

#endif
