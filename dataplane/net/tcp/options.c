#include "dataplane/net/tcp/options.h"

#include <errno.h>

#include "common/cursor.h"
#include "dataplane/net/wire.h"

enum {
    KIND_END = 0,
    KIND_NOP = 1,
    KIND_MSS = 2,
    KIND_SHIFT = 3,
    KIND_SACK_PERMITTED = 4,
    KIND_SACK = 5,
    KIND_TIMESTAMPS = 8
};

static int sack_parse(struct cursor *value, struct tcp_options *o)
{
    size_t size = cursor_left(value);

    if (size == 0 || size % 8 != 0 || size / 8 > TCP_SACK_BLOCKS_MAX)
        return -EBADMSG;
    o->sack_count = (uint8_t)(size / 8);
    for (unsigned i = 0; i < o->sack_count; i++) {
        o->sacks[i].start = cursor_be32(value);
        o->sacks[i].end = cursor_be32(value);
    }
    return 0;
}

static int option_parse(uint8_t kind, struct cursor *value, struct tcp_options *o)
{
    size_t size = cursor_left(value);

    switch (kind) {
    case KIND_MSS:
        if (size != 2)
            return -EBADMSG;
        o->mss = cursor_be16(value);
        return 0;
    case KIND_SHIFT:
        if (size != 1)
            return -EBADMSG;
        o->has_shift = true;
        o->shift = cursor_u8(value);
        if (o->shift > TCP_SHIFT_MAX)
            o->shift = TCP_SHIFT_MAX;
        return 0;
    case KIND_SACK_PERMITTED:
        if (size != 0)
            return -EBADMSG;
        o->is_sack_permitted = true;
        return 0;
    case KIND_SACK:
        return sack_parse(value, o);
    case KIND_TIMESTAMPS:
        if (size != 8)
            return -EBADMSG;
        o->has_timestamps = true;
        o->ts_value = cursor_be32(value);
        o->ts_echo = cursor_be32(value);
        return 0;
    default:
        return 0;
    }
}

int tcp_options_parse(struct bytes in, struct tcp_options *ret_options)
{
    struct cursor c = cursor_of(in);

    *ret_options = (struct tcp_options){0};
    while (cursor_left(&c) > 0) {
        uint8_t kind = cursor_u8(&c);
        if (kind == KIND_END)
            break;
        if (kind == KIND_NOP)
            continue;
        uint8_t length = cursor_u8(&c);
        if (!cursor_is_ok(&c) || length < 2)
            return -EBADMSG;
        struct cursor value = cursor_sub(&c, length - 2u);
        if (!cursor_is_ok(&value) || option_parse(kind, &value, ret_options) < 0)
            return -EBADMSG;
    }
    return 0;
}

void tcp_options_write_timestamps(uint32_t value, uint32_t echo, uint8_t *out)
{
    out[0] = KIND_NOP;
    out[1] = KIND_NOP;
    out[2] = KIND_TIMESTAMPS;
    out[3] = 10;
    store_be32(out + 4, value);
    store_be32(out + 8, echo);
}

size_t tcp_options_write_syn(const struct tcp_options *o, uint8_t out[static TCP_OPTIONS_MAX])
{
    size_t size = 0;

    if (o->mss != 0) {
        out[size] = KIND_MSS;
        out[size + 1] = 4;
        store_be16(out + size + 2, o->mss);
        size += 4;
    }
    const uint8_t sack_permitted[4] = {KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, 2};
    if (o->has_timestamps) {
        tcp_options_write_timestamps(o->ts_value, o->ts_echo, out + size);
        if (o->is_sack_permitted) /* in place of their padding, as Linux */
            memcpy(out + size, sack_permitted + 2, 2);
        size += TCP_TIMESTAMPS_SIZE;
    } else if (o->is_sack_permitted) {
        memcpy(out + size, sack_permitted, sizeof(sack_permitted));
        size += sizeof(sack_permitted);
    }
    if (o->has_shift) {
        const uint8_t bytes[4] = {KIND_NOP, KIND_SHIFT, 3, o->shift};
        memcpy(out + size, bytes, sizeof(bytes));
        size += sizeof(bytes);
    }
    return size;
}

size_t tcp_options_write_sack(const struct tcp_sack_block *blocks, unsigned count, size_t room,
                              uint8_t *out)
{
    size_t size = 4;

    if (count == 0 || room < 4 + 8)
        return 0;
    if (count > (room - 4) / 8)
        count = (unsigned)((room - 4) / 8);
    out[0] = KIND_NOP;
    out[1] = KIND_NOP;
    out[2] = KIND_SACK;
    out[3] = (uint8_t)(2 + 8 * count);
    for (unsigned i = 0; i < count; i++, size += 8) {
        store_be32(out + size, blocks[i].start);
        store_be32(out + size + 4, blocks[i].end);
    }
    return size;
}
