#include "dataplane/rtmp/flv.h"

#include <errno.h>

#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { PACKETS_MAX = 8 };

/* What came out of a message: packets, and the errors between them as negative kinds. */
struct result {
    struct flv_packet packets[PACKETS_MAX];
    int results[PACKETS_MAX];
    size_t count;
};

static struct result read_all(enum media_kind media, struct bytes body)
{
    struct result r = {0};
    struct flv_reader reader;

    flv_reader_init(&reader, media, body);
    for (;;) {
        struct flv_packet p = {0};
        int result = flv_reader_next(&reader, &p);

        if (result == 0)
            return r;
        assert_true(r.count < PACKETS_MAX);
        r.packets[r.count] = p;
        r.results[r.count++] = result;
        if (result == -EBADMSG) {
            assert_int_equal(flv_reader_next(&reader, &p), 0); /* nothing after that */
            return r;
        }
    }
}

#define BODY(text) bytes_of((text), sizeof(text) - 1)

static void check(const struct result *r, size_t i, enum codec codec, enum flv_packet_kind kind,
                  const char *data)
{
    assert_true(i < r->count);
    assert_int_equal(r->results[i], 1);
    assert_int_equal(r->packets[i].codec, codec);
    assert_int_equal(r->packets[i].kind, kind);
    assert_true(bytes_equal_str(r->packets[i].data, data));
}

static void test_flv_reads_avc(void **state)
{
    struct result r = read_all(MEDIA_VIDEO, BODY("\x17\x00\x00\x00\x00"
                                                 "avcC"));

    (void)state;
    check(&r, 0, CODEC_H264, FLV_CONFIG, "avcC");
    r = read_all(MEDIA_VIDEO, BODY("\x17\x01\x00\x00\x50"
                                   "nal"));
    check(&r, 0, CODEC_H264, FLV_FRAME, "nal");
    assert_true(r.packets[0].is_keyframe);
    assert_int_equal(r.packets[0].composition_ms, 80);
    r = read_all(MEDIA_VIDEO, BODY("\x27\x01\xff\xff\xd8"
                                   "nal"));
    assert_false(r.packets[0].is_keyframe);
    assert_int_equal(r.packets[0].composition_ms, -40);
    r = read_all(MEDIA_VIDEO, BODY("\x17\x02\x00\x00\x00"));
    check(&r, 0, CODEC_H264, FLV_END, "");
    r = read_all(MEDIA_VIDEO, BODY("\x1c\x01\x00\x00\x00"
                                   "x"));
    check(&r, 0, CODEC_HEVC, FLV_FRAME, "x");
    r = read_all(MEDIA_VIDEO, BODY("\x57\x00"));
    assert_int_equal(r.packets[0].kind, FLV_METADATA);
}

static void test_flv_reads_audio(void **state)
{
    struct result r = read_all(MEDIA_AUDIO, BODY("\xaf\x00\x12\x10"));

    (void)state;
    check(&r, 0, CODEC_AAC, FLV_CONFIG, "\x12\x10");
    r = read_all(MEDIA_AUDIO, BODY("\xaf\x01raw"));
    check(&r, 0, CODEC_AAC, FLV_FRAME, "raw");
    assert_true(r.packets[0].is_keyframe);
    r = read_all(MEDIA_AUDIO, BODY("\x2fmp3"));
    check(&r, 0, CODEC_MP3, FLV_FRAME, "mp3");
    r = read_all(MEDIA_AUDIO, BODY("\xef"
                                   "8k"));
    check(&r, 0, CODEC_MP3, FLV_FRAME, "8k");
}

static void test_flv_names_what_it_does_not_know(void **state)
{
    struct result r = read_all(MEDIA_VIDEO, BODY("\x12h263"));

    (void)state;
    assert_int_equal(r.results[0], -ENOTSUP);
    r = read_all(MEDIA_AUDIO, BODY("\xb2speex"));
    assert_int_equal(r.results[0], -ENOTSUP);
    r = read_all(MEDIA_VIDEO, BODY("\x91vvc1x"));
    assert_int_equal(r.results[0], -ENOTSUP);
    r = read_all(MEDIA_VIDEO, BODY("\x95"
                                   "av01x")); /* MPEG2TSSequenceStart */
    assert_int_equal(r.results[0], -ENOTSUP);
    r = read_all(MEDIA_VIDEO, BODY("\x90Opus")); /* an audio FourCC */
    assert_int_equal(r.results[0], -ENOTSUP);
}

static void test_flv_reads_enhanced_video(void **state)
{
    struct result r = read_all(MEDIA_VIDEO, BODY("\x90hvc1hvcC"));

    (void)state;
    check(&r, 0, CODEC_HEVC, FLV_CONFIG, "hvcC");
    r = read_all(MEDIA_VIDEO, BODY("\x91hvc1\x00\x00\x21nal"));
    check(&r, 0, CODEC_HEVC, FLV_FRAME, "nal");
    assert_true(r.packets[0].is_keyframe);
    assert_int_equal(r.packets[0].composition_ms, 33);
    r = read_all(MEDIA_VIDEO, BODY("\xa3hvc1nal")); /* CodedFramesX */
    check(&r, 0, CODEC_HEVC, FLV_FRAME, "nal");
    assert_false(r.packets[0].is_keyframe);
    assert_int_equal(r.packets[0].composition_ms, 0);
    r = read_all(MEDIA_VIDEO, BODY("\x91"
                                   "avc1\xff\xff\xff"
                                   "nal"));
    check(&r, 0, CODEC_H264, FLV_FRAME, "nal");
    assert_int_equal(r.packets[0].composition_ms, -1);
    r = read_all(MEDIA_VIDEO, BODY("\x91"
                                   "av01obu")); /* no composition time */
    check(&r, 0, CODEC_AV1, FLV_FRAME, "obu");
    r = read_all(MEDIA_VIDEO, BODY("\x91vp09frame"));
    check(&r, 0, CODEC_VP9, FLV_FRAME, "frame");
    r = read_all(MEDIA_VIDEO, BODY("\x92vp09"));
    check(&r, 0, CODEC_VP9, FLV_END, "");
    r = read_all(MEDIA_VIDEO, BODY("\x94hvc1amf"));
    check(&r, 0, CODEC_HEVC, FLV_METADATA, "amf");
    r = read_all(MEDIA_VIDEO, BODY("\xd1\x00")); /* a command frame has neither FourCC nor body */
    assert_int_equal(r.packets[0].kind, FLV_METADATA);
}

static void test_flv_reads_enhanced_audio(void **state)
{
    struct result r = read_all(MEDIA_AUDIO, BODY("\x90OpusOpusHead"));

    (void)state;
    check(&r, 0, CODEC_OPUS, FLV_CONFIG, "OpusHead");
    r = read_all(MEDIA_AUDIO, BODY("\x91Opuspacket"));
    check(&r, 0, CODEC_OPUS, FLV_FRAME, "packet");
    r = read_all(MEDIA_AUDIO, BODY("\x91mp4araw"));
    check(&r, 0, CODEC_AAC, FLV_FRAME, "raw");
    r = read_all(MEDIA_AUDIO, BODY("\x91.mp3f"));
    check(&r, 0, CODEC_MP3, FLV_FRAME, "f");
    r = read_all(MEDIA_AUDIO, BODY("\x94Opusmap"));
    check(&r, 0, CODEC_OPUS, FLV_METADATA, "map");
}

static void test_flv_reads_mod_ex(void **state)
{
    /* A nanosecond offset of 0x0186a0 = 100000, then CodedFramesX. */
    struct result r = read_all(MEDIA_VIDEO, BODY("\x97\x02\x01\x86\xa0\x03hvc1nal"));

    (void)state;
    check(&r, 0, CODEC_HEVC, FLV_FRAME, "nal");
    assert_int_equal(r.packets[0].offset_ns, 100000);
    /* Two in a chain, the first of an unknown type. */
    r = read_all(MEDIA_AUDIO, BODY("\x97\x00x\x17\x02\x00\x00\x07\x01Opusp"));
    check(&r, 0, CODEC_OPUS, FLV_FRAME, "p");
    assert_int_equal(r.packets[0].offset_ns, 7);
    /* Above a millisecond: not an offset. */
    r = read_all(MEDIA_AUDIO, BODY("\x97\x02\x0f\x42\x40\x01Opusp"));
    check(&r, 0, CODEC_OPUS, FLV_FRAME, "p");
    assert_int_equal(r.packets[0].offset_ns, 0);

    /* 256 and more bytes have a size of two bytes. */
    uint8_t body[600] = {0x97, 0xff, 0x01, 0x00};
    memcpy(body + 4 + 257, "\x11Opusp", 6);
    r = read_all(MEDIA_AUDIO, bytes_of(body, 4 + 257 + 6));
    check(&r, 0, CODEC_OPUS, FLV_FRAME, "p");
}

static void test_flv_reads_multitrack(void **state)
{
    struct result r = read_all(MEDIA_VIDEO, BODY("\x96\x01hvc1\x05\x00\x00\x0a"
                                                 "nal")); /* one */

    (void)state;
    check(&r, 0, CODEC_HEVC, FLV_FRAME, "nal");
    assert_int_equal(r.packets[0].track_id, 5);
    assert_int_equal(r.packets[0].composition_ms, 10);
    assert_int_equal(r.count, 1);

    r = read_all(MEDIA_VIDEO, BODY("\x96\x13"
                                   "avc1\x00\x00\x00\x02"
                                   "ab\x01\x00\x00\x01"
                                   "c"));
    assert_int_equal(r.count, 2);
    check(&r, 0, CODEC_H264, FLV_FRAME, "ab");
    check(&r, 1, CODEC_H264, FLV_FRAME, "c");
    assert_int_equal(r.packets[1].track_id, 1);

    /* Many codecs; one of them unknown, which does not hide the next. */
    r = read_all(MEDIA_AUDIO, BODY("\x95\x20mp4a\x00\x00\x00\x02\x12\x10"
                                   "fLaC\x01\x00\x00\x01x"
                                   "Opus\x02\x00\x00\x01h"));
    assert_int_equal(r.count, 3);
    check(&r, 0, CODEC_AAC, FLV_CONFIG, "\x12\x10");
    assert_int_equal(r.results[1], -ENOTSUP);
    check(&r, 2, CODEC_OPUS, FLV_CONFIG, "h");
    assert_int_equal(r.packets[2].track_id, 2);
}

static void test_flv_refuses_malformed_messages(void **state)
{
    static const struct {
        enum media_kind media;
        struct bytes body;
    } all[] = {
        {MEDIA_VIDEO, {0}},
        {MEDIA_AUDIO, {0}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x17", 1}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x17\x01\x00", 3}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x17\x03\x00\x00\x00", 5}},
        {MEDIA_AUDIO, {(const uint8_t *)"\xaf", 1}},
        {MEDIA_AUDIO, {(const uint8_t *)"\xaf\x02", 2}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x91hvc", 4}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x91hvc1\x00", 6}},
        {MEDIA_AUDIO, {(const uint8_t *)"\x93Opus", 5}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x97\x02\x00", 3}},
        {MEDIA_VIDEO, {(const uint8_t *)"\x96\x06hvc1\x00", 7}},               /* nested */
        {MEDIA_VIDEO, {(const uint8_t *)"\x96\x07hvc1\x00", 7}},               /* ModEx inside */
        {MEDIA_VIDEO, {(const uint8_t *)"\x96\x31hvc1\x00", 7}},               /* reserved type */
        {MEDIA_VIDEO, {(const uint8_t *)"\x96\x13hvc1\x00\x00\x00\x09x", 11}}, /* too long */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct bytes copy = fixture_copy(all[i].body);
        struct result r = read_all(all[i].media, copy);

        assert_int_equal(r.count, 1);
        assert_int_equal(r.results[0], -EBADMSG);
        fixture_free(&copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flv_reads_avc),
        cmocka_unit_test(test_flv_reads_audio),
        cmocka_unit_test(test_flv_names_what_it_does_not_know),
        cmocka_unit_test(test_flv_reads_enhanced_video),
        cmocka_unit_test(test_flv_reads_enhanced_audio),
        cmocka_unit_test(test_flv_reads_mod_ex),
        cmocka_unit_test(test_flv_reads_multitrack),
        cmocka_unit_test(test_flv_refuses_malformed_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
