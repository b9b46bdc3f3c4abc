/* cursor.h - the only way to parse bytes from outside.
 *
 * A cursor reads forward over a borrowed range. Reading past the end returns zeros and
 * sets 'failed', which stays set: a parser reads a whole structure, then asks
 * cursor_is_ok() once. A nested box or element gets its own cursor from cursor_sub(),
 * which cannot read past it. */
#ifndef COMMON_CURSOR_H
#define COMMON_CURSOR_H

#include "common/bytes.h"

struct cursor {
    const uint8_t *ptr;
    const uint8_t *end;
    bool failed;
};

static inline struct cursor cursor_of(struct bytes b)
{
    if (b.size == 0)
        return (struct cursor){0};
    return (struct cursor){.ptr = b.ptr, .end = b.ptr + b.size, .failed = false};
}

static inline bool cursor_is_ok(const struct cursor *c)
{
    return !c->failed;
}

/* Bytes left; 0 once failed. */
static inline size_t cursor_left(const struct cursor *c)
{
    return c->failed || c->ptr == NULL ? 0 : (size_t)(c->end - c->ptr);
}

/* Takes 'size' bytes, borrowed from the underlying range; empty and failed when fewer are left. */
static inline struct bytes cursor_take(struct cursor *c, size_t size)
{
    if (size > cursor_left(c)) {
        c->failed = true;
        return (struct bytes){0};
    }
    struct bytes taken = bytes_of(c->ptr, size);
    if (size > 0)
        c->ptr += size;
    return taken;
}

static inline struct bytes cursor_take_rest(struct cursor *c)
{
    return cursor_take(c, cursor_left(c));
}

/* A cursor over the next 'size' bytes, which the parent skips. Failed from the start when
 * the parent has fewer. */
static inline struct cursor cursor_sub(struct cursor *c, size_t size)
{
    struct bytes inner = cursor_take(c, size);
    struct cursor sub = cursor_of(inner);

    sub.failed = c->failed;
    return sub;
}

static inline void cursor_skip(struct cursor *c, size_t size)
{
    (void)cursor_take(c, size);
}

static inline uint64_t cursor_be(struct cursor *c, size_t size)
{
    struct bytes b = cursor_take(c, size);
    uint64_t value = 0;

    for (size_t i = 0; i < b.size; i++)
        value = value << 8 | b.ptr[i];
    return value;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_be(c, 1);
}

static inline uint16_t cursor_be16(struct cursor *c)
{
    return (uint16_t)cursor_be(c, 2);
}

static inline uint32_t cursor_be24(struct cursor *c)
{
    return (uint32_t)cursor_be(c, 3);
}

static inline uint32_t cursor_be32(struct cursor *c)
{
    return (uint32_t)cursor_be(c, 4);
}

static inline uint64_t cursor_be64(struct cursor *c)
{
    return cursor_be(c, 8);
}

static inline uint32_t cursor_le32(struct cursor *c)
{
    return __builtin_bswap32(cursor_be32(c));
}

#endif
