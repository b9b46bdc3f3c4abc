#include "dataplane/store/arena.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"

enum { WORD_BITS = 64 };

int arena_init(struct arena *a, uint32_t count)
{
    CHECK(count > 0 && count <= ARENA_NONE - WORD_BITS);
    *a = (struct arena){
        .word_count = (count + WORD_BITS - 1) / WORD_BITS, .count = count, .free_count = count};
    a->words = calloc(a->word_count, sizeof(*a->words));
    if (a->words == NULL)
        return -ENOMEM;
    if (count % WORD_BITS != 0)
        a->words[a->word_count - 1] = ~UINT64_C(0) << (count % WORD_BITS);
    return 0;
}

void arena_fini(struct arena *a)
{
    free(a->words);
    a->words = NULL;
}

/* The first granule from 'from' on whose bit is 'taken'; a->count when there is none. */
static uint32_t arena_seek(const struct arena *a, uint32_t from, bool taken)
{
    if (from >= a->count)
        return a->count;
    uint32_t word = from / WORD_BITS;
    uint64_t mask = ~UINT64_C(0) << (from % WORD_BITS);

    for (; word < a->word_count; word++) {
        uint64_t hits = (taken ? a->words[word] : ~a->words[word]) & mask;
        if (hits != 0) {
            uint32_t at = word * WORD_BITS + (uint32_t)__builtin_ctzll(hits);
            return at < a->count ? at : a->count;
        }
        mask = ~UINT64_C(0);
    }
    return a->count;
}

/* A free run of 'count' that starts in [from, to); ARENA_NONE when there is none. */
static uint32_t arena_find(const struct arena *a, uint32_t from, uint32_t to, uint32_t count)
{
    while (from < to) {
        uint32_t first = arena_seek(a, from, false);
        if (first >= to || count > a->count - first)
            break;
        uint32_t end = arena_seek(a, first, true);
        if (end - first >= count)
            return first;
        from = end;
    }
    return ARENA_NONE;
}

static void arena_mark(struct arena *a, uint32_t first, uint32_t count, bool taken)
{
    while (count > 0) {
        uint32_t shift = first % WORD_BITS;
        uint32_t here = WORD_BITS - shift < count ? WORD_BITS - shift : count;
        uint64_t mask = (here == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << here) - 1) << shift;
        uint64_t *word = &a->words[first / WORD_BITS];

        CHECK((*word & mask) == (taken ? 0 : mask));
        *word ^= mask;
        first += here;
        count -= here;
    }
}

uint32_t arena_take(struct arena *a, uint32_t count)
{
    CHECK(count > 0);
    if (count > a->free_count)
        return ARENA_NONE;
    uint32_t first = arena_find(a, a->cursor, a->count, count);
    if (first == ARENA_NONE)
        first = arena_find(a, 0, a->cursor, count);
    if (first == ARENA_NONE)
        return ARENA_NONE;
    arena_mark(a, first, count, true);
    a->free_count -= count;
    a->cursor = first + count;
    return first;
}

/* One past the last granule before 'end' whose bit is 'taken'; 0 when there is none. */
static uint32_t arena_seek_back(const struct arena *a, uint32_t end, bool taken)
{
    while (end > 0) {
        uint32_t word = (end - 1) / WORD_BITS;
        uint32_t bits = end - word * WORD_BITS; /* of this word, 1 to 64 */
        uint64_t mask = bits == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << bits) - 1;
        uint64_t hits = (taken ? a->words[word] : ~a->words[word]) & mask;
        if (hits != 0)
            return word * WORD_BITS + WORD_BITS - (uint32_t)__builtin_clzll(hits);
        end = word * WORD_BITS;
    }
    return 0;
}

uint32_t arena_take_high(struct arena *a, uint32_t count)
{
    CHECK(count > 0);
    uint32_t end = a->count;

    while (count <= a->free_count) {
        end = arena_seek_back(a, end, false);
        if (end < count)
            break;
        uint32_t first = arena_seek_back(a, end, true);
        if (end - first >= count) {
            arena_mark(a, end - count, count, true);
            a->free_count -= count;
            return end - count;
        }
        end = first;
    }
    return ARENA_NONE;
}

void arena_give(struct arena *a, uint32_t first, uint32_t count)
{
    CHECK(first < a->count && count <= a->count - first);
    arena_mark(a, first, count, false);
    a->free_count += count;
    if (a->cursor == first + count) /* the newest run shrinks: the next one follows it closely */
        a->cursor = first;
}
