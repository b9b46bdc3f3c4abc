#include "dataplane/rtmp/amf0.h"

#include <errno.h>

#include "common/check.h"

static double number_of_bits(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof(number));
    return number;
}

int amf0_read(struct cursor *c, struct amf0_value *ret_value)
{
    uint8_t marker = cursor_u8(c);
    struct amf0_value v = {.type = marker};

    if (!cursor_is_ok(c))
        return -EBADMSG;
    switch (marker) {
    case AMF0_NUMBER:
        v.number = number_of_bits(cursor_be64(c));
        break;
    case AMF0_BOOLEAN:
        v.boolean = cursor_u8(c) != 0;
        break;
    case AMF0_STRING:
    case AMF0_TYPED_OBJECT:
        v.string = cursor_take(c, cursor_be16(c));
        break;
    case AMF0_LONG_STRING:
    case AMF0_XML:
        v.string = cursor_take(c, cursor_be32(c));
        break;
    case AMF0_ECMA_ARRAY:
    case AMF0_STRICT_ARRAY:
        v.count = cursor_be32(c);
        break;
    case AMF0_DATE:
        v.number = number_of_bits(cursor_be64(c));
        cursor_skip(c, 2); /* time zone: reserved, section 2.13 */
        break;
    case AMF0_REFERENCE:
        v.count = cursor_be16(c);
        break;
    case AMF0_OBJECT:
    case AMF0_NULL:
    case AMF0_UNDEFINED:
    case AMF0_UNSUPPORTED:
        break;
    case AMF0_OBJECT_END: /* never where a value is expected */
        return -EBADMSG;
    default:
        return -ENOTSUP;
    }
    if (!cursor_is_ok(c))
        return -EBADMSG;
    *ret_value = v;
    return 0;
}

int amf0_next_member(struct cursor *c, struct bytes *ret_name)
{
    if (cursor_is_ok(c) && cursor_left(c) == 0)
        return 0;
    struct bytes name = cursor_take(c, cursor_be16(c));
    if (!cursor_is_ok(c))
        return -EBADMSG;
    if (name.size == 0 && cursor_left(c) > 0 && c->ptr[0] == AMF0_OBJECT_END) {
        cursor_skip(c, 1);
        return 0;
    }
    *ret_name = name;
    return 1;
}

static bool has_members(enum amf0_type type)
{
    return type == AMF0_OBJECT || type == AMF0_TYPED_OBJECT || type == AMF0_ECMA_ARRAY;
}

/* Recursion is bounded by AMF0_DEPTH_MAX; each level reads at least one byte an element. */
static int skip_body(struct cursor *c, const struct amf0_value *opened, unsigned depth)
{
    struct amf0_value inner;
    struct bytes name;
    int error = 0;

    if (!has_members(opened->type) && opened->type != AMF0_STRICT_ARRAY)
        return 0;
    if (depth >= AMF0_DEPTH_MAX)
        return -ELOOP;
    for (uint32_t i = 0;; i++) {
        if (opened->type == AMF0_STRICT_ARRAY) {
            if (i == opened->count)
                return 0;
        } else {
            int more = amf0_next_member(c, &name);

            if (more <= 0)
                return more;
        }
        error = amf0_read(c, &inner);
        if (error == 0)
            error = skip_body(c, &inner, depth + 1);
        if (error != 0)
            return error;
    }
}

int amf0_skip_body(struct cursor *c, const struct amf0_value *opened)
{
    return skip_body(c, opened, 0);
}

int amf0_skip(struct cursor *c)
{
    struct amf0_value v;
    int error = amf0_read(c, &v);

    return error != 0 ? error : skip_body(c, &v, 0);
}

bool amf0_is_string(const struct amf0_value *v)
{
    return v->type == AMF0_STRING || v->type == AMF0_LONG_STRING;
}

void amf0_write_number(struct writer *w, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof(bits));
    writer_u8(w, AMF0_NUMBER);
    writer_be64(w, bits);
}

void amf0_write_boolean(struct writer *w, bool boolean)
{
    writer_u8(w, AMF0_BOOLEAN);
    writer_u8(w, boolean);
}

void amf0_write_string(struct writer *w, struct bytes string)
{
    if (string.size > UINT16_MAX) {
        writer_u8(w, AMF0_LONG_STRING);
        writer_be32(w, (uint32_t)string.size);
    } else {
        writer_u8(w, AMF0_STRING);
        writer_be16(w, (uint16_t)string.size);
    }
    writer_put(w, string);
}

void amf0_write_text(struct writer *w, const char *text)
{
    amf0_write_string(w, bytes_of_str(text));
}

void amf0_write_null(struct writer *w)
{
    writer_u8(w, AMF0_NULL);
}

void amf0_write_undefined(struct writer *w)
{
    writer_u8(w, AMF0_UNDEFINED);
}

void amf0_write_object(struct writer *w)
{
    writer_u8(w, AMF0_OBJECT);
}

void amf0_write_ecma_array(struct writer *w, uint32_t n)
{
    writer_u8(w, AMF0_ECMA_ARRAY);
    writer_be32(w, n);
}

void amf0_write_end(struct writer *w)
{
    writer_be16(w, 0);
    writer_u8(w, AMF0_OBJECT_END);
}

void amf0_write_strict_array(struct writer *w, uint32_t n)
{
    writer_u8(w, AMF0_STRICT_ARRAY);
    writer_be32(w, n);
}

void amf0_write_name(struct writer *w, const char *name)
{
    size_t size = strlen(name);

    CHECK(size <= UINT16_MAX);
    writer_be16(w, (uint16_t)size);
    writer_str(w, name);
}
