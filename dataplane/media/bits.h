/* bits.h - the bounded cursor for bit fields: reads most significant bit first.
 *
 * As cursor.h: reading past the end gives zeros and sets 'failed', which stays set. For NAL
 * units it can leave out emulation prevention bytes (the 3 of 00 00 03) as it goes. */
#ifndef DATAPLANE_MEDIA_BITS_H
#define DATAPLANE_MEDIA_BITS_H

#include "common/bytes.h"

struct bits {
    const uint8_t *ptr;
    const uint8_t *end;
    uint8_t bit;        /* of *ptr: how many have been read */
    uint8_t zero_count; /* zero bytes just before *ptr, as far as two */
    bool is_nal;        /* leave out emulation prevention */
    bool failed;
};

static inline struct bits bits_of(struct bytes b)
{
    if (b.size == 0)
        return (struct bits){0};
    return (struct bits){.ptr = b.ptr, .end = b.ptr + b.size};
}

/* Over the bytes of a NAL unit. */
static inline struct bits bits_of_nal(struct bytes b)
{
    struct bits bits = bits_of(b);

    bits.is_nal = true;
    return bits;
}

static inline uint32_t bits_flag(struct bits *b)
{
    if (b->is_nal && b->bit == 0 && b->zero_count >= 2 && b->ptr != b->end && *b->ptr == 3) {
        b->ptr++;
        b->zero_count = 0;
    }
    if (b->failed || b->ptr == b->end) {
        b->failed = true;
        return 0;
    }
    uint32_t value = *b->ptr >> (7 - b->bit) & 1u;
    if (++b->bit == 8) {
        b->zero_count = *b->ptr == 0 ? (uint8_t)(b->zero_count + (b->zero_count < 2)) : 0;
        b->bit = 0;
        b->ptr++;
    }
    return value;
}

/* 'count' bits, at most 32. */
static inline uint32_t bits_take(struct bits *b, unsigned count)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value = value << 1 | bits_flag(b);
    return value;
}

static inline void bits_skip(struct bits *b, unsigned count)
{
    for (unsigned i = 0; i < count && !b->failed; i++)
        (void)bits_flag(b);
}

/* ue(v), ISO/IEC 14496-10 9.1; longer than 32 bits fails. */
static inline uint32_t bits_ue(struct bits *b)
{
    unsigned zeros = 0;

    while (bits_flag(b) == 0 && !b->failed)
        if (++zeros > 31)
            b->failed = true;
    if (b->failed)
        return 0;
    return (uint32_t)((UINT64_C(1) << zeros) - 1 + bits_take(b, zeros));
}

/* ue(v) that must not be above 'max'. */
static inline uint32_t bits_ue_max(struct bits *b, uint32_t max)
{
    uint32_t value = bits_ue(b);

    if (value > max) {
        b->failed = true;
        return 0;
    }
    return value;
}

/* se(v), ISO/IEC 14496-10 9.1.1. */
static inline int32_t bits_se(struct bits *b)
{
    uint32_t code = bits_ue(b);
    int32_t magnitude = (int32_t)(code / 2 + code % 2);

    return code % 2 != 0 ? magnitude : -magnitude;
}

#endif
