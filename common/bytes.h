/* bytes.h - a borrowed range of immutable bytes. Never owns what it points to. */
#ifndef COMMON_BYTES_H
#define COMMON_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *ptr;
    size_t size;
};

static inline struct bytes bytes_of(const void *ptr, size_t size)
{
    return (struct bytes){.ptr = ptr, .size = size};
}

/* Borrows a NUL-terminated string without its NUL. */
static inline struct bytes bytes_of_str(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.ptr, b.ptr, a.size) == 0);
}

static inline bool bytes_equal_str(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of_str(text));
}

/* The part of 'b' from 'from' to its end; empty when 'from' is past the end. */
static inline struct bytes bytes_from(struct bytes b, size_t from)
{
    if (from >= b.size)
        return (struct bytes){0};
    return bytes_of(b.ptr + from, b.size - from);
}

/* Copies 'b' as a NUL-terminated string; false, and "" in 'out', when it does not fit or
 * holds a NUL byte. */
static inline bool bytes_to_str(struct bytes b, char *out, size_t out_size)
{
    if (out_size == 0)
        return false;
    out[0] = '\0';
    if (b.size >= out_size || (b.size > 0 && memchr(b.ptr, 0, b.size) != NULL))
        return false;
    if (b.size > 0)
        memcpy(out, b.ptr, b.size);
    out[b.size] = '\0';
    return true;
}

#endif
