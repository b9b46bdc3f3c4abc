#include "dataplane/rtmp/rtmp_session.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/rtmp/amf0.h"
#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"
#include "tests/unit/dataplane/rtmp/session_world.h"

static const struct recording {
    const char *file;
    unsigned video_count;
    unsigned audio_count;
    bool is_digest;
} recordings[] = {
    {"ffmpeg.bin", 15, 34, true},
    {"gstreamer.bin", 15, 25, false},
    {"librtmp.bin", 15, 25, false},
};
enum { RECORDINGS = sizeof(recordings) / sizeof(recordings[0]) };

static int setup(void **state)
{
    *state = world_new();
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    world_free(&w);
    return 0;
}

static void check_recording(const struct world *w, const struct recording *r)
{
    assert_int_equal(w->result, 0);
    assert_string_equal(w->target.name, "demo");
    assert_string_equal(w->target.key, "secret");
    assert_int_equal(w->publish_count, 1);
    assert_int_equal(w->unpublish_count, 1);
    assert_int_equal(w->track_count, 2);
    assert_int_equal(w->video_count, r->video_count);
    assert_int_equal(w->audio_count, r->audio_count);
    assert_true(w->metadata_count > 5);
    assert_int_equal(counter_read(&w->counters.rtmp_handshake_digest), r->is_digest);
    assert_int_equal(counter_read(&w->counters.rtmp_bad_amf), 0);
    assert_int_equal(counter_read(&w->counters.rtmp_unit_bad), 0);
}

static void test_rtmp_session_replays_real_publishers(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < RECORDINGS; i++) {
        struct bytes all = fixture_load(recordings[i].file);

        world_reset(w);
        world_push(w, all);
        check_recording(w, &recordings[i]);
        uint64_t hash = w->hash;

        world_reset(
            w); /* byte by byte: every cut, and every state that a vanished publisher leaves */
        for (size_t at = 0; at < all.size; at++) {
            struct bytes one = fixture_copy(bytes_of(all.ptr + at, 1));

            world_push(w, one);
            fixture_free(&one);
            assert_int_equal(w->result, 0);
        }
        check_recording(w, &recordings[i]);
        assert_int_equal(w->hash, hash);

        world_reset(w); /* all media before the verdict: held, then taken */
        w->must_grant = false;
        world_push(w, all);
        assert_int_equal(w->session.state, RTMP_SESSION_ASKING);
        assert_int_equal(w->video_count + w->audio_count, 0);
        w->must_grant = true;
        world_push(w, (struct bytes){0});
        check_recording(w, &recordings[i]);
        assert_int_equal(w->hash, hash);
        fixture_free(&all);
    }
}

static void test_rtmp_session_is_the_same_at_every_split(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < RECORDINGS; i++) {
        struct bytes all = fixture_load(recordings[i].file);

        world_reset(w);
        world_push(w, all);
        uint64_t hash = w->hash;
        for (size_t split = 0; split <= all.size; split++) {
            world_reset(w);
            world_push(w, bytes_of(all.ptr, split));
            assert_int_equal(w->result, 0);
            world_push(w, bytes_of(all.ptr + split, all.size - split));
            assert_int_equal(w->result, 0);
            if (w->hash != hash)
                print_error("%s differs when split at %zu\n", recordings[i].file, split);
            assert_int_equal(w->hash, hash);
        }
        fixture_free(&all);
    }
}

/* Anything may come of it but a crash, a hang or a unit out of bounds. */
static void test_rtmp_session_survives_flipped_bits(void **state)
{
    struct world *w = *state;
    struct bytes all[RECORDINGS];
    uint64_t seed = 20;
    unsigned error_count = 0;

    for (size_t i = 0; i < RECORDINGS; i++)
        all[i] = fixture_load(recordings[i].file);
    for (unsigned round = 0; round < 6000; round++) {
        struct bytes copy = fixture_copy(all[round % RECORDINGS]);
        uint8_t *bytes = (uint8_t *)(uintptr_t)copy.ptr;
        unsigned flips = 1 + (unsigned)(fixture_random(&seed) >> 33) % 8;

        for (unsigned i = 0; i < flips; i++) {
            uint64_t at = (fixture_random(&seed) >> 16) % (copy.size * 8);

            bytes[at / 8] ^= (uint8_t)(1u << at % 8);
        }
        size_t cut = (size_t)(fixture_random(&seed) >> 16) % copy.size;
        world_reset(w);
        world_push(w, bytes_of(copy.ptr, cut));
        if (w->result == 0)
            world_push(w, bytes_of(copy.ptr + cut, copy.size - cut));
        if (w->result != 0) {
            error_count++;
            assert_int_equal(w->session.state, RTMP_SESSION_OVER);
            assert_non_null(w->session.reason);
            world_push(w, copy);
            assert_int_equal(w->result, -ESHUTDOWN);
        }
        fixture_free(&copy);
    }
    assert_true(error_count > 0);
    for (size_t i = 0; i < RECORDINGS; i++)
        fixture_free(&all[i]);
}

static void test_rtmp_session_answers_what_encoders_ask(void **state)
{
    struct world *w = *state;
    struct rtmp_message m;

    world_shake(w);
    world_connect(w, "live");
    assert_string_equal(w->session.encoder, "test?");
    assert_true(world_next(w, &m) && m.type == RTMP_WINDOW_SIZE);
    assert_true(world_next(w, &m) && m.type == RTMP_PEER_BANDWIDTH && m.body.size == 5);
    assert_true(world_next(w, &m) && m.type == RTMP_SET_CHUNK_SIZE);
    world_expect(w, "_result", ""); /* the code comes second, after the properties */
    world_command(w, "releaseStream", 2, "cam");
    world_expect(w, "_result", "");
    world_command(w, "FCPublish", 3, "cam");
    world_expect(w, "_result", "");
    world_expect(w, "onFCPublish", "NetStream.Publish.Start");
    world_command(w, "createStream", 4, NULL);
    world_expect(w, "_result", "");
    world_command(w, "_checkbw", 5, NULL);
    world_expect(w, "_result", "");
    world_command(w, "getStreamLength", 6, "cam");
    world_expect(w, "_result", "");
    world_command(w, "letMeIn", 7, NULL);
    world_expect(w, "_error", "NetConnection.Call.Failed");
    world_command(w, "notify", 0, NULL);
    world_command(w, "_result", 7, NULL);
    assert_false(world_next(w, &m));
    assert_int_equal(counter_read(&w->counters.rtmp_command_unknown), 2);
    world_command(w, "publish", 8, "cam?key=k");
    world_expect(w, "onStatus", "NetStream.Publish.Start");
    assert_int_equal(w->session.state, RTMP_SESSION_PUBLISHING);
    world_command(w, "FCUnpublish", 9, "cam");
    world_expect(w, "onStatus", "NetStream.Unpublish.Success");
    world_expect(w, "_result", "");
    assert_int_equal(w->unpublish_count, 1);
    world_command(w, "deleteStream", 0, NULL);
    assert_int_equal(w->unpublish_count, 1);
    world_command(w, "publish", 10, "other?key=k"); /* again on the same connection */
    world_expect(w, "onStatus", "NetStream.Publish.Start");
    assert_string_equal(w->target.name, "other");
}

/* Enhanced RTMP: what we take is in the properties of connect's answer. */
static void test_rtmp_session_says_what_it_takes(void **state)
{
    struct world *w = *state;
    struct rtmp_message m = {0};
    struct amf0_value v;
    struct bytes name;
    double caps = 0;
    uint32_t fourcc_count = 0;

    world_shake(w);
    world_connect(w, "live");
    while (world_next(w, &m) && m.type != RTMP_COMMAND)
        ;
    struct cursor c = cursor_of(m.body);
    assert_int_equal(amf0_skip(&c), 0);
    assert_int_equal(amf0_skip(&c), 0);
    assert_int_equal(amf0_read(&c, &v), 0);
    while (amf0_next_member(&c, &name) == 1) {
        assert_int_equal(amf0_read(&c, &v), 0);
        if (bytes_equal_str(name, "capsEx"))
            caps = v.number;
        if (bytes_equal_str(name, "fourCcList"))
            fourcc_count = v.count;
        assert_int_equal(amf0_skip_body(&c, &v), 0);
    }
    assert_true(caps == 14.0);
    assert_int_equal(fourcc_count, 6);
    assert_int_equal(amf0_skip(&c), 0);
    assert_int_equal(cursor_left(&c), 0);
}

static void test_rtmp_session_refuses_with_a_reason(void **state)
{
    static const struct {
        enum rtmp_refusal why;
        const char *code;
    } refusals[] = {
        {RTMP_REFUSED_KEY, "NetStream.Publish.BadName"},
        {RTMP_REFUSED_UNAVAILABLE, "NetStream.Failed"},
        {RTMP_REFUSED_NO_ROOM, "NetStream.Failed"},
        {RTMP_REFUSED_OVERTAKEN, "NetStream.Publish.BadName"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        world_reset(w);
        w->must_grant = false;
        world_shake(w);
        world_connect(w, "live");
        world_command(w, "publish", 0, "cam?key=k");
        world_message(w, RTMP_AUDIO, 0, bytes_of("\xaf\x00\x12\x10", 4)); /* held, never read */
        rtmp_session_refuse(&w->session, refusals[i].why);
        world_expect(w, "onStatus", refusals[i].code);
        world_message(w, RTMP_AUDIO, 0, bytes_of("\xaf\x00\x12\x10", 4));
        assert_int_equal(w->result, -ESHUTDOWN);
        assert_int_equal(w->track_count, 0);
    }
}

static void test_rtmp_session_refuses_bad_requests(void **state)
{
    struct world *w = *state;

    world_shake(w);
    world_connect(w, "vod");
    world_expect(w, "_error", "NetConnection.Connect.InvalidApp");
    assert_int_equal(w->result, -ESHUTDOWN);

    static const char *const names[] = {"cam", "", "c/d?key=k"};
    for (size_t i = 0; i < 3; i++) {
        world_reset(w);
        world_shake(w);
        world_connect(w, "live");
        world_command(w, "publish", 0, names[i]);
        world_expect(w, "onStatus", "NetStream.Publish.BadName");
        assert_int_equal(w->result, -ESHUTDOWN);
        assert_int_equal(w->publish_count, 0);
        assert_int_equal(counter_read(&w->counters.rtmp_publish_bad_name), 1);
    }

    world_reset(w);
    world_shake(w);
    world_connect(w, "live");
    world_command(w, "play", 0, "cam");
    world_expect(w, "onStatus", "NetStream.Play.Failed");
    assert_int_equal(w->result, -ESHUTDOWN);

    world_reset(w);
    world_shake(w);
    world_command(w, "publish", 0, "cam?key=k");
    assert_int_equal(w->result, -EPROTO);

    world_reset(w);
    world_shake(w);
    world_connect(w, "live");
    world_command(w, "publish", 0, "cam?key=k");
    world_command(w, "publish", 0, "cam?key=k");
    assert_int_equal(w->result, -EPROTO);
    assert_int_equal(counter_read(&w->counters.rtmp_bad_command), 1);

    world_reset(w);
    world_push(w, bytes_of_str("GET / HTTP/1.1\r\n"));
    assert_int_equal(w->result, -EPROTONOSUPPORT);
    assert_int_equal(counter_read(&w->counters.rtmp_not_rtmp), 1);
}

static void test_rtmp_session_bounds_what_it_takes_unasked(void **state)
{
    static uint8_t big[RTMP_HOLD_SIZE];
    struct world *w = *state;

    world_shake(w);
    world_connect(w, "live");
    world_message(w, RTMP_VIDEO, 0, bytes_of(big, RTMP_COMMAND_MAX));
    assert_int_equal(w->result, 0);
    assert_int_equal(counter_read(&w->counters.rtmp_media_unexpected), 1);
    world_message(w, RTMP_VIDEO, 0, bytes_of(big, RTMP_COMMAND_MAX + 1));
    assert_int_equal(w->result, -EMSGSIZE);
    assert_int_equal(counter_read(&w->counters.rtmp_message_too_large), 1);

    world_reset(w); /* after the grant up to message_max */
    world_shake(w);
    world_connect(w, "live");
    world_command(w, "publish", 0, "cam?key=k");
    world_message(w, RTMP_VIDEO, 0, bytes_of(big, sizeof(big)));
    assert_int_equal(w->result, 0);

    world_reset(w);
    w->must_grant = false;
    world_shake(w);
    world_connect(w, "live");
    world_command(w, "publish", 0, "cam?key=k");
    world_push(w, bytes_of(big, sizeof(big)));
    assert_int_equal(w->result, 0);
    world_push(w, bytes_of(big, 1));
    assert_int_equal(w->result, -EMSGSIZE);
    assert_int_equal(counter_read(&w->counters.rtmp_early_overflow), 1);

    world_reset(w);
    world_shake(w);
    for (unsigned i = 0; i < 17; i++)
        world_command(w, "createStream", 2, NULL);
    assert_int_equal(w->result, -EPROTO);
}

static void test_rtmp_session_handles_control_messages(void **state)
{
    static uint8_t filler[2000];
    struct world *w = *state;
    struct rtmp_message m;

    world_shake(w);
    world_connect(w, "live");
    world_expect(w, "_result", "");
    world_message(w, RTMP_USER_CONTROL, 0, bytes_of("\x00\x06\x01\x02\x03\x04", 6));
    assert_true(world_next(w, &m));
    assert_int_equal(m.type, RTMP_USER_CONTROL);
    assert_memory_equal(m.body.ptr, "\x00\x07\x01\x02\x03\x04", 6);
    world_message(w, RTMP_USER_CONTROL, 0, bytes_of("\x00\x03", 2)); /* short: no answer */
    assert_false(world_next(w, &m));

    world_message(w, RTMP_WINDOW_SIZE, 0, bytes_of("\x00\x00\x08\x00", 4));
    world_message(w, RTMP_SHARED_OBJECT, 0, bytes_of(filler, sizeof(filler)));
    uint32_t acknowledged = 0;
    while (world_next(w, &m)) {
        struct cursor c = cursor_of(m.body);

        assert_int_equal(m.type, RTMP_ACKNOWLEDGEMENT);
        acknowledged = cursor_be32(&c);
    }
    assert_true(acknowledged > 0);
    assert_int_equal(acknowledged, w->session.acknowledged_bytes);
    assert_int_equal(counter_read(&w->counters.rtmp_message_ignored), 1);

    world_message(w, RTMP_ACKNOWLEDGEMENT, 0, bytes_of("\x00\x00\x08\x00", 4));
    world_message(w, RTMP_ABORT, 0, bytes_of("\x00\x00\x00\x04", 4));
    assert_int_equal(w->result, 0);
    world_message(w, RTMP_SET_CHUNK_SIZE, 0, bytes_of("\x00\x00\x00\x00", 4));
    assert_int_equal(w->result, -EPROTO);
    assert_int_equal(counter_read(&w->counters.rtmp_bad_chunk), 1);

    world_reset(w);
    world_shake(w);
    world_message(w, RTMP_WINDOW_SIZE, 0, bytes_of("\x00\x00\x00", 3));
    assert_int_equal(w->result, -EPROTO);
}

static void test_rtmp_session_accepts_the_amf3_envelope(void **state)
{
    struct world *w = *state;
    uint8_t body[128] = {0};
    struct writer out = writer_of(body, sizeof(body));

    world_shake(w);
    world_connect(w, "live");
    world_expect(w, "_result", "");
    writer_u8(&out, 0);
    amf0_write_text(&out, "createStream");
    amf0_write_number(&out, 2);
    amf0_write_null(&out);
    world_message(w, RTMP_COMMAND_AMF3, 0, writer_bytes(&out));
    world_expect(w, "_result", "");
    world_message(w, RTMP_COMMAND_AMF3, 0, bytes_from(writer_bytes(&out), 1)); /* without the 0 */
    world_expect(w, "_result", "");
    world_message(w, RTMP_COMMAND_AMF3, 0, (struct bytes){0});
    world_message(w, RTMP_COMMAND, 0, bytes_of("\x02\x00\x09x", 4));
    assert_int_equal(w->result, 0);
    assert_int_equal(counter_read(&w->counters.rtmp_bad_amf), 2);
}

static void test_rtmp_session_reads_metadata_and_aggregates(void **state)
{
    struct world *w = *state;
    uint8_t body[256];
    struct writer out = writer_of(body, sizeof(body));

    world_shake(w);
    world_connect(w, "live");
    world_command(w, "publish", 0, "cam?key=k");
    amf0_write_text(&out, "@setDataFrame");
    amf0_write_text(&out, "onMetaData");
    amf0_write_ecma_array(&out, 2);
    amf0_write_name(&out, "width");
    amf0_write_number(&out, 1920);
    amf0_write_name(&out, "nested");
    amf0_write_object(&out);
    amf0_write_end(&out);
    world_message(w, RTMP_DATA, 0, writer_bytes(&out)); /* the end marker is missing */
    assert_int_equal(w->metadata_count, 1);
    world_message(w, RTMP_DATA, 0, bytes_from(writer_bytes(&out), 16)); /* onMetaData alone */
    assert_int_equal(w->metadata_count, 2);
    assert_int_equal(counter_read(&w->counters.rtmp_bad_amf), 0);
    out.size -= 10;
    world_message(w, RTMP_DATA, 0, writer_bytes(&out));
    assert_int_equal(counter_read(&w->counters.rtmp_bad_amf), 1);

    static const uint8_t aggregate[] = {
        8, 0, 0, 4, 0, 0, 50, 0, 0, 0, 0, 0xaf, 0, 0x12, 0x10, 0, 0, 0,  15, /* configuration */
        8, 0, 0, 3, 0, 0, 73, 0, 0, 0, 0, 0xaf, 1, 0x21, 0,    0, 0, 14,     /* 23 ms later */
        8, 0, 0, 3, 0, 0, 96, 0, 0, 0, 0, 0xaf, 1, 0x22,                     /* no back pointer */
    };
    world_message(w, RTMP_AGGREGATE, 1000, bytes_of(aggregate, sizeof(aggregate)));
    assert_int_equal(w->track_count, 1);
    assert_int_equal(w->audio_count, 2);
    assert_int_equal(w->last_dts_us, 1046000);
    world_message(w, RTMP_AGGREGATE, 1000, bytes_of(aggregate, 25));
    assert_int_equal(counter_read(&w->counters.rtmp_unit_bad), 1);
}

static void test_rtmp_session_ends_a_publish(void **state)
{
    struct world *w = *state;

    world_shake(w);
    world_connect(w, "live");
    world_command(w, "publish", 0, "cam?key=k");
    world_expect(w, "onStatus", "NetStream.Publish.Start");
    rtmp_session_end(&w->session, "taken over");
    world_expect(w, "onStatus", "NetStream.Unpublish.Success");
    assert_int_equal(w->unpublish_count, 0);
    world_message(w, RTMP_AUDIO, 0, bytes_of("\xaf\x00\x12\x10", 4));
    assert_int_equal(w->result, -ESHUTDOWN);
    assert_int_equal(w->track_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rtmp_session_replays_real_publishers),
        TEST(test_rtmp_session_is_the_same_at_every_split),
        TEST(test_rtmp_session_survives_flipped_bits),
        TEST(test_rtmp_session_answers_what_encoders_ask),
        TEST(test_rtmp_session_says_what_it_takes),
        TEST(test_rtmp_session_refuses_with_a_reason),
        TEST(test_rtmp_session_refuses_bad_requests),
        TEST(test_rtmp_session_bounds_what_it_takes_unasked),
        TEST(test_rtmp_session_handles_control_messages),
        TEST(test_rtmp_session_accepts_the_amf3_envelope),
        TEST(test_rtmp_session_reads_metadata_and_aggregates),
        TEST(test_rtmp_session_ends_a_publish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
