#include "tests/unit/dataplane/rtmp/session_world.h"

#include <stdlib.h>

#include "dataplane/rtmp/amf0.h"
#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { NOW_US = 1000000, REPLY_MAX = 4096 };

static void mix(struct world *w, struct bytes b)
{
    for (size_t i = 0; i < b.size; i++)
        w->hash = (w->hash ^ b.ptr[i]) * UINT64_C(0x100000001b3);
}

static void on_send(void *user, struct bytes out)
{
    struct world *w = user;

    if (out.size > sizeof(w->sent) - w->sent_size)
        world_drop_replies(w);
    assert_true(out.size <= sizeof(w->sent) - w->sent_size);
    memcpy(w->sent + w->sent_size, out.ptr, out.size);
    w->sent_size += out.size;
}

static void on_publish(void *user, const struct rtmp_target *target, uint64_t now_us)
{
    struct world *w = user;

    assert_int_equal(now_us, NOW_US);
    w->publish_count++;
    w->target = *target;
}

static void on_unpublish(void *user, uint64_t now_us)
{
    struct world *w = user;

    (void)now_us;
    w->unpublish_count++;
}

static int on_track(void *user, uint8_t track, const struct track_info *info, uint64_t now_us)
{
    struct world *w = user;

    (void)now_us;
    assert_true(track < TRACKS_MAX && info->config_size <= CODEC_CONFIG_MAX);
    w->track_count++;
    mix(w, bytes_of(info->config, info->config_size));
    return 0;
}

static int on_unit(void *user, const struct access_unit *au, uint64_t now_us)
{
    struct world *w = user;

    (void)now_us;
    assert_true(au->track < TRACKS_MAX && au->data.size > 0);
    if (au->track % 2 == 0)
        w->video_count++;
    else
        w->audio_count++;
    w->last_dts_us = au->dts_us;
    mix(w, bytes_of(&au->dts_us, sizeof(au->dts_us)));
    mix(w, bytes_of(&au->pts_us, sizeof(au->pts_us)));
    mix(w, au->data);
    return 0;
}

static void on_metadata(void *user, struct bytes name, struct bytes value)
{
    struct world *w = user;

    w->metadata_count++;
    mix(w, name);
    mix(w, value);
}

static const struct rtmp_session_events events = {
    .send = on_send,
    .publish = on_publish,
    .unpublish = on_unpublish,
    .media = {.track = on_track, .unit = on_unit, .metadata = on_metadata},
};

void world_reset(struct world *w)
{
    struct rtmp_random random = {.next = fixture_random, .user = &w->random_state};
    struct rtmp_session_memory memory = {.slots = w->slots,
                                         .scratch = w->scratch,
                                         .hold = w->hold,
                                         .message_max = WORLD_MESSAGE_MAX};

    memset(w, 0, offsetof(struct world, slots));
    w->must_grant = true;
    w->random_state = 1;
    rtmp_session_init(&w->session, &events, w, &w->counters, &random, &memory);
    rtmp_chunk_init(&w->reply_reader, w->reply_memory, REPLY_MAX, REPLY_MAX);
}

struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->slots = malloc((size_t)RTMP_PARTIAL_MAX * WORLD_MESSAGE_MAX);
    w->scratch = malloc(WORLD_MESSAGE_MAX);
    w->hold = malloc(RTMP_HOLD_SIZE);
    w->reply_memory = malloc((size_t)RTMP_PARTIAL_MAX * REPLY_MAX);
    assert_true(w->slots != NULL && w->scratch != NULL && w->hold != NULL);
    assert_non_null(w->reply_memory);
    world_reset(w);
    return w;
}

void world_free(struct world **pw)
{
    struct world *w = *pw;

    *pw = NULL;
    free(w->slots);
    free(w->scratch);
    free(w->hold);
    free(w->reply_memory);
    free(w);
}

void world_push(struct world *w, struct bytes in)
{
    w->result = rtmp_session_push(&w->session, in, NOW_US);
    while (w->must_grant && w->session.state == RTMP_SESSION_ASKING)
        w->result = rtmp_session_grant(&w->session, NOW_US);
}

void world_shake(struct world *w)
{
    static const uint8_t hello[1 + 2 * RTMP_HANDSHAKE_SIZE] = {3};

    world_push(w, bytes_of(hello, sizeof(hello)));
    assert_int_equal(w->sent_size, RTMP_HANDSHAKE_REPLY_SIZE);
    w->sent_size = 0;
}

void world_message(struct world *w, uint8_t type, uint32_t timestamp_ms, struct bytes body)
{
    size_t size = body.size + body.size / RTMP_CHUNK_SIZE_DEFAULT * 5 + 32;
    uint8_t *wire = malloc(size);
    struct writer out = writer_of(wire, size);
    struct rtmp_message m = {
        .type = type,
        .chunk_stream = 4,
        .stream_id = 1,
        .timestamp_ms = timestamp_ms,
        .body = body,
    };

    rtmp_chunk_write(&out, &m, RTMP_CHUNK_SIZE_DEFAULT);
    assert_true(writer_is_ok(&out));
    world_push(w, writer_bytes(&out));
    free(wire);
}

void world_command(struct world *w, const char *name, double transaction, const char *text)
{
    uint8_t body[1024];
    struct writer out = writer_of(body, sizeof(body));

    amf0_write_text(&out, name);
    amf0_write_number(&out, transaction);
    amf0_write_null(&out);
    if (text != NULL)
        amf0_write_text(&out, text);
    assert_true(writer_is_ok(&out));
    world_message(w, RTMP_COMMAND, 0, writer_bytes(&out));
}

void world_connect(struct world *w, const char *app)
{
    uint8_t body[1024];
    struct writer out = writer_of(body, sizeof(body));

    amf0_write_text(&out, "connect");
    amf0_write_number(&out, 1);
    amf0_write_object(&out);
    amf0_write_name(&out, "app");
    amf0_write_text(&out, app);
    amf0_write_name(&out, "fpad");
    amf0_write_boolean(&out, false);
    amf0_write_name(&out, "flashVer");
    amf0_write_text(&out, "test\x01");
    amf0_write_end(&out);
    world_message(w, RTMP_COMMAND, 0, writer_bytes(&out));
}

bool world_next(struct world *w, struct rtmp_message *ret_message)
{
    struct bytes left = bytes_of(w->sent + w->sent_read, w->sent_size - w->sent_read);
    int result = rtmp_chunk_pull(&w->reply_reader, &left, ret_message);

    assert_true(result >= 0);
    w->sent_read = w->sent_size - left.size;
    if (result == 1 && ret_message->type == RTMP_SET_CHUNK_SIZE) {
        struct cursor c = cursor_of(ret_message->body);

        assert_int_equal(rtmp_chunk_set_size(&w->reply_reader, cursor_be32(&c)), 0);
    }
    return result == 1;
}

/* The member "code" of an object. */
static struct bytes code_of(struct cursor *c)
{
    struct bytes code = {0};
    struct amf0_value v;
    struct bytes name;

    assert_int_equal(amf0_read(c, &v), 0);
    while (v.type == AMF0_OBJECT && amf0_next_member(c, &name) == 1) {
        struct amf0_value member;

        assert_int_equal(amf0_read(c, &member), 0);
        if (bytes_equal_str(name, "code"))
            code = member.string;
        assert_int_equal(amf0_skip_body(c, &member), 0);
    }
    return code;
}

void world_expect(struct world *w, const char *name, const char *code)
{
    struct rtmp_message m;
    struct amf0_value v;

    while (world_next(w, &m)) {
        struct cursor c = cursor_of(m.body);

        if (m.type != RTMP_COMMAND)
            continue;
        assert_int_equal(amf0_read(&c, &v), 0);
        if (!bytes_equal_str(v.string, name))
            continue;
        assert_int_equal(amf0_skip(&c), 0);
        assert_int_equal(amf0_skip(&c), 0);
        if (code[0] == '\0')
            return;
        struct bytes got = code_of(&c);
        if (!bytes_equal_str(got, code))
            print_error("expected %s, got %.*s\n", code, (int)got.size, (const char *)got.ptr);
        assert_true(bytes_equal_str(got, code));
        return;
    }
    print_error("no %s %s was sent\n", name, code);
    fail();
}

void world_drop_replies(struct world *w)
{
    struct rtmp_message m;

    if (w->session.state == RTMP_SESSION_SHAKING || w->session.stream_count == 0) {
        w->sent_size = 0;
        w->sent_read = 0;
        return;
    }
    while (world_next(w, &m))
        ;
    w->sent_size = 0;
    w->sent_read = 0;
}
