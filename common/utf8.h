/* utf8.h - reading one code point at a time from bytes that may be anything. */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include "common/bytes.h"

/* The length of the well-formed UTF-8 sequence that 'b' begins with (RFC 3629: no overlong form,
 * no surrogate, nothing above U+10FFFF), its code point in '*ret_point'; 0: there is none. */
static inline size_t utf8_next(struct bytes b, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};

    if (b.size == 0)
        return 0;
    uint8_t first = b.ptr[0];
    size_t size = first < 0x80             ? 1
                  : (first & 0xe0) == 0xc0 ? 2
                  : (first & 0xf0) == 0xe0 ? 3
                  : (first & 0xf8) == 0xf0 ? 4
                                           : 0;
    if (size == 0 || size > b.size)
        return 0;
    uint32_t point = size == 1 ? first : first & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; i++) {
        if ((b.ptr[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (b.ptr[i] & 0x3f);
    }
    if (point < least[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    *ret_point = point;
    return size;
}

/* Whether a terminal or a log reader could take 'point' for something other than a visible
 * character: C0 and C1 controls, and the characters that reorder text. */
static inline bool utf8_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

#endif
