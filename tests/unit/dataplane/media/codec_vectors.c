#include "tests/unit/dataplane/media/codec_vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

struct bytes hex(const char *text, uint8_t *out, size_t out_size)
{
    size_t size = strlen(text) / 2;

    assert_true(size <= out_size);
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};

        out[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return bytes_of(out, size);
}

void put_bits(struct bit_writer *w, uint64_t value, unsigned count)
{
    assert_true(w->bit_count + count <= sizeof(w->data) * 8);
    for (unsigned i = 0; i < count; i++, w->bit_count++)
        if (value >> (count - 1 - i) & 1)
            w->data[w->bit_count / 8] |= (uint8_t)(0x80 >> w->bit_count % 8);
}

void put_ue(struct bit_writer *w, uint32_t value)
{
    unsigned length = 0;

    while (((uint64_t)value + 1) >> (length + 1) != 0)
        length++;
    put_bits(w, 0, length);
    put_bits(w, (uint64_t)value + 1, length + 1);
}

struct bytes put_end(const struct bit_writer *w)
{
    return bytes_of(w->data, (w->bit_count + 7) / 8);
}
