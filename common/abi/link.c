#include "common/abi/link.h"

#include <errno.h>

#include "common/check.h"
#include "common/cursor.h"
#include "common/writer.h"

/* head, page flags, then for each counter its unit, its value, and its name with a length byte */
static_assert(8 + 4 + LINK_COUNTERS_PER_PAGE * (1 + 8 + 1 + LINK_COUNTER_NAME_MAX) <=
                  LINK_MESSAGE_MAX,
              "a full page fits one message");

static void text_write(struct writer *w, const char *text)
{
    size_t size = strlen(text);

    CHECK(size <= UINT8_MAX);
    writer_u8(w, (uint8_t)size);
    writer_str(w, text);
}

/* 'out_size' with the NUL. */
static void text_read(struct cursor *c, char *out, size_t out_size)
{
    struct bytes text = cursor_take(c, cursor_u8(c));

    if (!bytes_to_str(text, out, out_size))
        c->failed = true;
}

static void hello_write(struct writer *w, const struct link_hello *hello)
{
    writer_be16(w, hello->version);
    writer_be32(w, hello->pid);
    text_write(w, hello->build);
}

static void hello_read(struct cursor *c, struct link_hello *hello)
{
    hello->version = cursor_be16(c);
    if (hello->version != LINK_VERSION) {
        cursor_take_rest(c);
        return;
    }
    hello->pid = cursor_be32(c);
    text_read(c, hello->build, sizeof(hello->build));
}

static void question_write(struct writer *w, const struct link_question *q)
{
    writer_be32(w, q->deadline_ms);
    text_write(w, q->name);
    text_write(w, q->key);
}

static void question_read(struct cursor *c, struct link_question *q)
{
    q->deadline_ms = cursor_be32(c);
    text_read(c, q->name, sizeof(q->name));
    text_read(c, q->key, sizeof(q->key));
}

static void track_write(struct writer *w, const struct link_track_report *t)
{
    text_write(w, t->name);
    text_write(w, t->codec);
    writer_be32(w, t->width);
    writer_be32(w, t->height);
    writer_be32(w, t->sample_rate_hz);
    writer_be32(w, t->channel_count);
    writer_be64(w, t->bitrate_bps);
}

static void track_read(struct cursor *c, struct link_track_report *t)
{
    text_read(c, t->name, sizeof(t->name));
    text_read(c, t->codec, sizeof(t->codec));
    t->width = cursor_be32(c);
    t->height = cursor_be32(c);
    t->sample_rate_hz = cursor_be32(c);
    t->channel_count = cursor_be32(c);
    t->bitrate_bps = cursor_be64(c);
}

static void channel_write(struct writer *w, const struct link_channel_report *r)
{
    CHECK(r->track_count <= TRACKS_MAX);
    text_write(w, r->name);
    writer_u8(w, (uint8_t)r->state);
    writer_be32(w, r->shard);
    writer_be64(w, (uint64_t)r->started_us);
    writer_be64(w, r->connections);
    writer_be64(w, r->bytes_in);
    writer_be64(w, r->bytes_out);
    writer_u8(w, (uint8_t)r->track_count);
    for (uint32_t i = 0; i < r->track_count; i++)
        track_write(w, &r->tracks[i]);
}

static void channel_read(struct cursor *c, struct link_channel_report *r)
{
    text_read(c, r->name, sizeof(r->name));
    r->state = (enum link_channel_state)cursor_u8(c);
    r->shard = cursor_be32(c);
    r->started_us = (int64_t)cursor_be64(c);
    r->connections = cursor_be64(c);
    r->bytes_in = cursor_be64(c);
    r->bytes_out = cursor_be64(c);
    r->track_count = cursor_u8(c);
    if (r->state > LINK_CHANNEL_WAITING || r->track_count > TRACKS_MAX) {
        c->failed = true;
        return;
    }
    for (uint32_t i = 0; i < r->track_count; i++)
        track_read(c, &r->tracks[i]);
}

static void counters_write(struct writer *w, const struct link_counters *page)
{
    CHECK(page->count <= LINK_COUNTERS_PER_PAGE);
    writer_u8(w, page->is_first);
    writer_u8(w, page->is_last);
    writer_be16(w, (uint16_t)page->count);
    for (uint32_t i = 0; i < page->count; i++) {
        writer_u8(w, page->list[i].unit);
        writer_be64(w, page->list[i].value);
        text_write(w, page->list[i].name);
    }
}

static void counters_read(struct cursor *c, struct link_counters *page)
{
    uint8_t is_first = cursor_u8(c);
    uint8_t is_last = cursor_u8(c);

    page->count = cursor_be16(c);
    if (is_first > 1 || is_last > 1 || page->count > LINK_COUNTERS_PER_PAGE) {
        c->failed = true;
        return;
    }
    page->is_first = is_first != 0;
    page->is_last = is_last != 0;
    for (uint32_t i = 0; i < page->count; i++) {
        page->list[i].unit = cursor_u8(c);
        page->list[i].value = cursor_be64(c);
        text_read(c, page->list[i].name, sizeof(page->list[i].name));
    }
}

size_t link_encode(const struct link_message *m, uint8_t out[static LINK_MESSAGE_MAX])
{
    struct writer w = writer_of(out, LINK_MESSAGE_MAX);

    writer_be16(&w, (uint16_t)m->type);
    writer_be16(&w, 0);
    writer_be32(&w, m->request_id);
    switch (m->type) {
    case LINK_HELLO:
        hello_write(&w, &m->hello);
        break;
    case LINK_PUBLISH:
        question_write(&w, &m->question);
        break;
    case LINK_VERDICT:
        writer_u8(&w, (uint8_t)m->verdict);
        break;
    case LINK_CHANNEL:
        channel_write(&w, &m->channel);
        break;
    case LINK_COUNTERS:
        counters_write(&w, &m->counters);
        break;
    case LINK_STOP:
        break;
    }
    CHECK(writer_is_ok(&w));
    return w.size;
}

int link_decode(struct bytes packet, struct link_message *ret_message)
{
    struct cursor c = cursor_of(packet);
    struct link_message *m = ret_message;
    uint16_t type = cursor_be16(&c);
    uint16_t zero = cursor_be16(&c);

    m->request_id = cursor_be32(&c);
    if (!cursor_is_ok(&c) || zero != 0 || type < LINK_HELLO || type > LINK_STOP)
        return -EPROTO;
    m->type = (enum link_type)type;
    switch (m->type) {
    case LINK_HELLO:
        m->hello = (struct link_hello){0};
        hello_read(&c, &m->hello);
        break;
    case LINK_PUBLISH:
        question_read(&c, &m->question);
        break;
    case LINK_VERDICT:
        m->verdict = (enum link_verdict)cursor_u8(&c);
        c.failed |= m->verdict > LINK_UNAVAILABLE;
        break;
    case LINK_CHANNEL:
        m->channel = (struct link_channel_report){0};
        channel_read(&c, &m->channel);
        break;
    case LINK_COUNTERS:
        counters_read(&c, &m->counters);
        break;
    case LINK_STOP:
        break;
    }
    return cursor_is_ok(&c) && cursor_left(&c) == 0 ? 0 : -EPROTO;
}

const char *link_verdict_name(enum link_verdict verdict)
{
    static const char *const names[] = {"allowed", "wrong key", "unknown channel", "unavailable"};

    return names[verdict];
}

const char *link_channel_state_name(enum link_channel_state state)
{
    static const char *const names[] = {"ended", "live", "waiting"};

    return names[state];
}
