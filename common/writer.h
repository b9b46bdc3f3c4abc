/* writer.h - the cursor's counterpart: appends to a caller's buffer, never past its end.
 *
 * A write that does not fit writes nothing and sets 'failed', which stays set; the caller
 * builds the whole structure and asks writer_is_ok() once. writer_reserve() returns where
 * a length is to be patched in later. */
#ifndef COMMON_WRITER_H
#define COMMON_WRITER_H

#include <stdarg.h>
#include <stdio.h>

#include "common/bytes.h"

struct writer {
    uint8_t *data;
    size_t size;     /* written so far */
    size_t capacity; /* bytes at 'data' */
    bool failed;
};

static inline struct writer writer_of(void *data, size_t capacity)
{
    return (struct writer){.data = data, .capacity = capacity};
}

static inline bool writer_is_ok(const struct writer *w)
{
    return !w->failed;
}

static inline struct bytes writer_bytes(const struct writer *w)
{
    return bytes_of(w->data, w->failed ? 0 : w->size);
}

/* Room for 'size' bytes at the end, uninitialised; NULL and failed when it does not fit. */
static inline uint8_t *writer_reserve(struct writer *w, size_t size)
{
    if (w->failed || size > w->capacity - w->size) {
        w->failed = true;
        return NULL;
    }
    uint8_t *at = w->data + w->size;
    w->size += size;
    return at;
}

static inline void writer_put(struct writer *w, struct bytes b)
{
    uint8_t *at = writer_reserve(w, b.size);

    if (at != NULL && b.size > 0)
        memcpy(at, b.ptr, b.size);
}

static inline void writer_be(struct writer *w, uint64_t value, size_t size)
{
    uint8_t *at = writer_reserve(w, size);

    for (size_t i = 0; at != NULL && i < size; i++)
        at[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
}

static inline void writer_u8(struct writer *w, uint8_t value)
{
    writer_be(w, value, 1);
}

static inline void writer_be16(struct writer *w, uint16_t value)
{
    writer_be(w, value, 2);
}

static inline void writer_be24(struct writer *w, uint32_t value)
{
    writer_be(w, value, 3);
}

static inline void writer_be32(struct writer *w, uint32_t value)
{
    writer_be(w, value, 4);
}

static inline void writer_be64(struct writer *w, uint64_t value)
{
    writer_be(w, value, 8);
}

static inline void writer_str(struct writer *w, const char *text)
{
    writer_put(w, bytes_of_str(text));
}

/* Appends formatted text without its NUL. */
__attribute__((format(printf, 2, 3))) static inline void writer_printf(struct writer *w,
                                                                       const char *format, ...)
{
    va_list args;

    if (w->failed)
        return;
    size_t room = w->capacity - w->size;
    va_start(args, format);
    int length = vsnprintf((char *)w->data + w->size, room, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= room) {
        w->failed = true;
        return;
    }
    w->size += (size_t)length;
}

/* Overwrites four bytes at 'offset', which must already be written, with 'value'. */
static inline void writer_patch_be32(struct writer *w, size_t offset, uint32_t value)
{
    if (w->failed || offset > w->size || w->size - offset < 4) {
        w->failed = true;
        return;
    }
    for (size_t i = 0; i < 4; i++)
        w->data[offset + i] = (uint8_t)(value >> (24 - 8 * i));
}

#endif
