#include "dataplane/media/nal.h"

#include <errno.h>

#include "common/check.h"
#include "common/cursor.h"

/* Takes the next NAL unit off '*in'. False: a length that reaches past the end. */
static bool take_with_length(struct bytes *in, unsigned length_size, struct bytes *ret_nal)
{
    struct cursor c = cursor_of(*in);

    *ret_nal = cursor_take(&c, (size_t)cursor_be(&c, length_size));
    if (!cursor_is_ok(&c))
        return false;
    *in = cursor_take_rest(&c);
    return true;
}

static bool starts_with_code(struct bytes b)
{
    static const uint8_t code[4] = {0, 0, 0, 1};

    return (b.size >= 4 && memcmp(b.ptr, code, 4) == 0) ||
           (b.size >= 3 && memcmp(b.ptr, code + 1, 3) == 0);
}

/* Where the next 00 00 01 begins; the size when there is none. */
static size_t find_code(struct bytes b)
{
    size_t at = 0;

    while (b.size - at >= 3) {
        const uint8_t *one = memchr(b.ptr + at + 2, 1, b.size - at - 2);

        if (one == NULL)
            break;
        size_t found = (size_t)(one - b.ptr) - 2;
        if (b.ptr[found] == 0 && b.ptr[found + 1] == 0)
            return found;
        at = found + 1;
    }
    return b.size;
}

/* Takes the next NAL unit off '*in', which starts at or before a start code; without the zero bytes
 * that may precede the next code. */
static struct bytes take_annex_b(struct bytes *in)
{
    struct bytes nal = bytes_from(*in, find_code(*in) + 3);
    size_t end = find_code(nal);

    *in = bytes_from(nal, end);
    while (end > 0 && nal.ptr[end - 1] == 0)
        end--;
    return bytes_of(nal.ptr, end);
}

static void summarise(enum codec codec, struct bytes nal, struct nal_summary *s)
{
    if (nal.size == 0) {
        s->has_empty = true;
        return;
    }
    s->unit_count++;
    if (codec == CODEC_H264) { /* 14496-10 table 7-1 */
        uint8_t type = nal.ptr[0] & 0x1f;

        s->has_random_access |= type == 5;
        s->has_picture |= type >= 1 && type <= 5;
    } else { /* 23008-2 table 7-1 */
        uint8_t type = nal.ptr[0] >> 1 & 0x3f;

        s->has_random_access |= type >= 16 && type <= 23;
        s->has_picture |= type < 32;
    }
}

struct nal_summary nal_inspect(enum codec codec, struct bytes data, unsigned length_size)
{
    struct nal_summary s = {.form = NAL_LENGTHS};
    struct bytes left = data;
    struct bytes nal;

    DCHECK(length_size >= 1 && length_size <= 4);
    while (left.size > 0) {
        if (!take_with_length(&left, length_size, &nal)) {
            s.form = NAL_BROKEN;
            break;
        }
        summarise(codec, nal, &s);
    }
    /* 00 00 00 01 is also a length of 1, so the lengths are tried first: a unit that they tile
     * exactly and that has a picture is what it claims to be. */
    if ((s.form == NAL_LENGTHS && s.has_picture) || !starts_with_code(data))
        return s;
    struct nal_summary annex_b = {.form = NAL_ANNEX_B};
    for (left = data; left.size > 0;)
        summarise(codec, take_annex_b(&left), &annex_b);
    return annex_b.unit_count > 0 ? annex_b : s;
}

int nal_rewrite(struct bytes data, enum nal_form form, unsigned length_size, struct writer *w)
{
    struct bytes nal;

    CHECK(form != NAL_BROKEN);
    while (data.size > 0) {
        if (form == NAL_ANNEX_B)
            nal = take_annex_b(&data);
        else if (!take_with_length(&data, length_size, &nal))
            break;
        if (nal.size == 0)
            continue;
        writer_be32(w, (uint32_t)nal.size);
        writer_put(w, nal);
    }
    return writer_is_ok(w) ? 0 : -ENOSPC;
}
