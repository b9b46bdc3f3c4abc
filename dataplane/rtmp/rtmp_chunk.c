#include "dataplane/rtmp/rtmp_chunk.h"

#include <errno.h>

#include "common/check.h"
#include "common/cursor.h"

enum { TIMESTAMP_IS_EXTENDED = 0xffffff };

static_assert(RTMP_PARTIAL_MAX <= 8, "slots_used has a bit for each");

void rtmp_chunk_init(struct rtmp_chunk_reader *r, uint8_t *memory, size_t slot_bytes,
                     uint32_t message_max)
{
    CHECK(message_max <= slot_bytes);
    r->memory = memory;
    r->slot_bytes = slot_bytes;
    r->message_max = message_max;
    r->chunk_size = RTMP_CHUNK_SIZE_DEFAULT;
}

int rtmp_chunk_set_size(struct rtmp_chunk_reader *r, uint32_t size)
{
    if (size == 0 || size > RTMP_CHUNK_SIZE_MAX)
        return -EPROTO;
    r->chunk_size = size;
    return 0;
}

static uint8_t *slot_memory(const struct rtmp_chunk_reader *r, uint8_t slot)
{
    return r->memory + slot * r->slot_bytes;
}

static void partial_drop(struct rtmp_chunk_reader *r, struct rtmp_chunk_stream *s)
{
    if (!s->is_partial)
        return;
    r->slots_used &= (uint8_t) ~(1u << s->slot);
    s->is_partial = false;
}

void rtmp_chunk_abort(struct rtmp_chunk_reader *r, uint32_t chunk_stream)
{
    for (size_t i = 0; i < RTMP_CHUNK_STREAMS_MAX; i++)
        if (r->streams[i].id == chunk_stream)
            partial_drop(r, &r->streams[i]);
}

/* The entry of 'id', made when it is new. NULL: too many. */
static struct rtmp_chunk_stream *stream_of(struct rtmp_chunk_reader *r, uint32_t id, bool *ret_new)
{
    for (size_t i = 0; i < RTMP_CHUNK_STREAMS_MAX; i++) {
        struct rtmp_chunk_stream *s = &r->streams[i];

        *ret_new = s->id == 0;
        if (s->id == 0)
            s->id = id; /* entries are never given up, so the first empty one ends the search */
        if (s->id == id)
            return s;
    }
    return NULL;
}

static const struct rtmp_chunk_stream *stream_find(const struct rtmp_chunk_reader *r, uint32_t id)
{
    for (size_t i = 0; i < RTMP_CHUNK_STREAMS_MAX && r->streams[i].id != 0; i++)
        if (r->streams[i].id == id)
            return &r->streams[i];
    return NULL;
}

/* Section 5.3.1.1: one byte for ids 2..63, two for 64..319, three for 64..65599. */
static size_t basic_header_size(uint8_t first)
{
    uint8_t id = first & 0x3f;

    return id == 0 ? 2 : id == 1 ? 3 : 1;
}

static uint32_t basic_header_id(const uint8_t *header)
{
    uint8_t id = header[0] & 0x3f;

    if (id == 0)
        return 64u + header[1];
    if (id == 1)
        return 64u + header[1] + 256u * header[2];
    return id;
}

/* How long the header is, as far as the bytes of it that are there tell: never too much. */
static size_t header_size_known(const struct rtmp_chunk_reader *r)
{
    static const uint8_t message_header_sizes[4] = {11, 7, 3, 0};

    if (r->header_size == 0)
        return 1;
    size_t basic = basic_header_size(r->header[0]);
    uint8_t format = r->header[0] >> 6;
    if (format == 3) {
        if (r->header_size < basic)
            return basic;
        const struct rtmp_chunk_stream *s = stream_find(r, basic_header_id(r->header));
        return basic + (s != NULL && s->has_extended ? 4 : 0);
    }
    size_t size = basic + message_header_sizes[format];
    if (r->header_size < basic + 3)
        return size;
    struct cursor c = cursor_of(bytes_of(r->header + basic, 3));
    return size + (cursor_be24(&c) == TIMESTAMP_IS_EXTENDED ? 4 : 0);
}

/* A message begins on 's': checks its size and takes a slot. */
static int message_begin(struct rtmp_chunk_reader *r, struct rtmp_chunk_stream *s)
{
    if (s->length > r->message_max)
        return -EMSGSIZE;
    for (uint8_t slot = 0; slot < RTMP_PARTIAL_MAX; slot++) {
        if (r->slots_used & 1u << slot)
            continue;
        r->slots_used |= (uint8_t)(1u << slot);
        s->slot = slot;
        s->is_partial = true;
        s->received = 0;
        return 0;
    }
    return -ENOBUFS;
}

/* A type 0, 1 or 2 header: the start of a message. */
static int full_header(struct rtmp_chunk_reader *r, struct rtmp_chunk_stream *s, bool is_new,
                       uint8_t format, struct cursor *c)
{
    /* Some clients open a chunk stream with type 1, from timestamp 0 on stream 0; type 2 lacks the
     * length and the type, so it cannot be the first. */
    if (is_new && format == 2)
        return -EPROTO;
    if (s->is_partial) {
        r->restarted_count++;
        partial_drop(r, s);
    }

    uint32_t timestamp = cursor_be24(c);
    if (format < 2) {
        s->length = cursor_be24(c);
        s->type = cursor_u8(c);
    }
    if (format == 0)
        s->stream_id = __builtin_bswap32(cursor_be32(c)); /* the one little-endian field */
    s->has_extended = timestamp == TIMESTAMP_IS_EXTENDED;
    if (s->has_extended) {
        s->extended = cursor_be32(c);
        timestamp = s->extended;
    }
    /* Section 5.3.1.2.4: a type 3 chunk after a type 0 chunk steps by that chunk's timestamp. */
    s->step_ms = timestamp;
    s->timestamp_ms = format == 0 ? timestamp : s->timestamp_ms + timestamp;
    return message_begin(r, s);
}

/* The first 'size' bytes in r->header are a whole header: applies it. Bytes after it, and those of
 * it that turn out to be payload, stay in r->header. */
static int header_end(struct rtmp_chunk_reader *r, size_t size)
{
    uint8_t format = r->header[0] >> 6;
    size_t basic = basic_header_size(r->header[0]);
    struct cursor c = cursor_of(bytes_of(r->header + basic, size - basic));
    bool is_new = false;
    struct rtmp_chunk_stream *s = stream_of(r, basic_header_id(r->header), &is_new);
    int error = 0;

    if (s == NULL)
        return -ENOBUFS;
    if (format != 3) {
        error = full_header(r, s, is_new, format, &c);
    } else {
        if (is_new)
            return -EPROTO;
        /* Section 5.3.1.3: the extended timestamp is repeated in type 3 chunks. Some senders
         * leave it out; then these four bytes are payload already. */
        if (s->has_extended && cursor_be32(&c) != s->extended)
            size -= 4;
        if (!s->is_partial) {
            s->timestamp_ms += s->step_ms;
            error = message_begin(r, s);
        }
    }
    if (error != 0)
        return error;

    uint32_t left = s->length - s->received;
    r->current = s;
    r->payload_left = left < r->chunk_size ? left : r->chunk_size;
    r->header_size = (uint8_t)(r->header_size - size);
    memmove(r->header, r->header + size, r->header_size);
    return 0;
}

/* Copies payload of the current chunk off the front of '*in'. */
static void payload_take(struct rtmp_chunk_reader *r, struct bytes *in)
{
    struct rtmp_chunk_stream *s = r->current;
    uint32_t taken = in->size < r->payload_left ? (uint32_t)in->size : r->payload_left;

    DCHECK(s->received + taken <= s->length && s->length <= r->slot_bytes);
    if (taken == 0)
        return;
    memcpy(slot_memory(r, s->slot) + s->received, in->ptr, taken);
    s->received += taken;
    if (s->received > r->touched_bytes)
        r->touched_bytes = s->received;
    r->payload_left -= taken;
    *in = bytes_from(*in, taken);
}

/* Payload that was read as if it were an extended timestamp; what is left of it belongs to the
 * next header. */
static void surplus_take(struct rtmp_chunk_reader *r)
{
    uint8_t surplus[RTMP_CHUNK_HEADER_MAX];
    struct bytes in = bytes_of(surplus, r->header_size);

    if (r->header_size == 0)
        return;
    memcpy(surplus, r->header, r->header_size);
    payload_take(r, &in);
    if (in.size > 0)
        memcpy(r->header, in.ptr, in.size);
    r->header_size = (uint8_t)in.size;
}

int rtmp_chunk_pull(struct rtmp_chunk_reader *r, struct bytes *in, struct rtmp_message *ret_message)
{
    for (;;) {
        if (r->current == NULL) {
            size_t known = header_size_known(r);

            while (r->header_size < known && in->size > 0) {
                r->header[r->header_size++] = in->ptr[0];
                *in = bytes_from(*in, 1);
                known = header_size_known(r);
            }
            if (r->header_size < known)
                return 0;
            int error = header_end(r, known);
            if (error != 0)
                return error;
            surplus_take(r);
        }
        payload_take(r, in);
        if (r->payload_left > 0)
            return 0;

        struct rtmp_chunk_stream *s = r->current;
        r->current = NULL;
        if (s->received < s->length)
            continue;
        partial_drop(r, s); /* the slot's bytes stay until the next message needs it */
        *ret_message = (struct rtmp_message){
            .type = s->type,
            .chunk_stream = s->id,
            .stream_id = s->stream_id,
            .timestamp_ms = s->timestamp_ms,
            .body = bytes_of(slot_memory(r, s->slot), s->length),
        };
        return 1;
    }
}

void rtmp_chunk_write(struct writer *w, const struct rtmp_message *m, uint32_t chunk_size)
{
    bool has_extended = m->timestamp_ms >= TIMESTAMP_IS_EXTENDED;
    struct bytes left = m->body;

    CHECK(m->chunk_stream >= 2 && m->chunk_stream <= 63 && chunk_size > 0);
    writer_u8(w, (uint8_t)m->chunk_stream);
    writer_be24(w, has_extended ? TIMESTAMP_IS_EXTENDED : m->timestamp_ms);
    writer_be24(w, (uint32_t)m->body.size);
    writer_u8(w, m->type);
    writer_be32(w, __builtin_bswap32(m->stream_id));
    for (;;) {
        if (has_extended)
            writer_be32(w, m->timestamp_ms);
        size_t size = left.size < chunk_size ? left.size : chunk_size;
        writer_put(w, bytes_of(left.ptr, size));
        left = bytes_from(left, size);
        if (left.size == 0)
            return;
        writer_u8(w, (uint8_t)(0xc0 | m->chunk_stream));
    }
}
