#include "dataplane/rtmp/rtmp_media.h"

#include <errno.h>
#include <stdlib.h>

#include "common/counters.h"
#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { UNITS_MAX = 16, SCRATCH = 4096 };

struct fixture {
    struct rtmp_media media;
    struct counters counters;
    uint8_t scratch[SCRATCH];
    struct track_info tracks[UNITS_MAX];
    uint8_t track_numbers[UNITS_MAX];
    size_t track_count;
    struct access_unit units[UNITS_MAX];
    uint8_t unit_bytes[UNITS_MAX][64];
    size_t unit_count;
    int track_result;
};

static int on_track(void *user, uint8_t track, const struct track_info *info, uint64_t now_us)
{
    struct fixture *f = user;

    (void)now_us;
    f->track_numbers[f->track_count] = track;
    f->tracks[f->track_count++] = *info;
    return f->track_result;
}

static int on_unit(void *user, const struct access_unit *au, uint64_t now_us)
{
    struct fixture *f = user;

    (void)now_us;
    assert_true(au->data.size <= 64);
    f->units[f->unit_count] = *au;
    memcpy(f->unit_bytes[f->unit_count++], au->data.ptr, au->data.size);
    return 0;
}

static const struct media_sink sink = {.track = on_track, .unit = on_unit};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    rtmp_media_init(&f->media, &sink, f, &f->counters, f->scratch, sizeof(f->scratch));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

#define PUSH(kind, timestamp, text) push(f, (kind), (timestamp), bytes_of((text), sizeof(text) - 1))

static void push(struct fixture *f, enum media_kind kind, uint32_t timestamp_ms, struct bytes body)
{
    struct bytes copy = fixture_copy(body);

    rtmp_media_push(&f->media, kind, timestamp_ms, copy, 0);
    fixture_free(&copy);
}

static void check_unit(const struct fixture *f, size_t i, const char *data, size_t size)
{
    assert_true(i < f->unit_count);
    assert_int_equal(f->units[i].data.size, size);
    assert_memory_equal(f->unit_bytes[i], data, size);
}

/* x264, 1920x1080; 'L' is where lengthSizeMinusOne is. */
#define AVC_CONFIG(L)                                                                              \
    "\x17\x00\x00\x00\x00\x01\x42\xc0\x2a" L                                                       \
    "\xe1\x00\x18\x67\x42\xc0\x2a\xd9\x00\x78\x02\x27\xe5\xc0\x44\x00\x00\x0f\xa4\x00\x07\x53\x00" \
    "\x3c\x60\xc9\x20\x01\x00\x05\x68\xcb\x83\xcb\x20"

static void test_rtmp_media_announces_and_delivers(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_AUDIO, 0, "\xaf\x00\x12\x10");
    PUSH(MEDIA_VIDEO, 0, AVC_CONFIG("\xff"));
    PUSH(MEDIA_VIDEO, 0, AVC_CONFIG("\xff")); /* repeated: said once */
    PUSH(MEDIA_VIDEO, 40, "\x17\x01\x00\x00\x50\x00\x00\x00\x02\x65\x88");
    PUSH(MEDIA_AUDIO, 41, "\xaf\x01\x21\x10");

    assert_int_equal(f->track_count, 2);
    assert_int_equal(f->track_numbers[0], 1);
    assert_int_equal(f->tracks[0].codec, CODEC_AAC);
    assert_int_equal(f->track_numbers[1], 0);
    assert_int_equal(f->tracks[1].width, 1920);
    check_unit(f, 0, "\x00\x00\x00\x02\x65\x88", 6);
    assert_true(f->units[0].is_keyframe);
    assert_int_equal(f->units[0].track, 0);
    assert_int_equal(f->units[0].dts_us, 40000);
    assert_int_equal(f->units[0].pts_us, 120000);
    check_unit(f, 1, "\x21\x10", 2);
    assert_int_equal(f->units[1].track, 1);
    assert_int_equal(f->units[1].dts_us, 41000);
    assert_int_equal(counter_read(&f->counters.rtmp_video_units), 1);
    assert_int_equal(counter_read(&f->counters.rtmp_audio_units), 1);
}

static void test_rtmp_media_rewrites_short_lengths_and_annex_b(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_VIDEO, 0, AVC_CONFIG("\xfd")); /* two bytes */
    assert_int_equal(f->tracks[0].config[4], 0xff);
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x02\x65\x88");
    check_unit(f, 0, "\x00\x00\x00\x02\x65\x88", 6);
    PUSH(MEDIA_VIDEO, 0, "\x27\x01\x00\x00\x00\x00\x00\x00\x01\x41\x9a\x00\x00\x01\x41\x9b");
    check_unit(f, 1, "\x00\x00\x00\x02\x41\x9a\x00\x00\x00\x02\x41\x9b", 12);
    assert_int_equal(counter_read(&f->counters.rtmp_annex_b), 1);
}

static void test_rtmp_media_counts_bad_units(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x00\x00\x02\x65\x88"); /* no configuration */
    assert_int_equal(counter_read(&f->counters.rtmp_unit_early), 1);
    PUSH(MEDIA_VIDEO, 0, AVC_CONFIG("\xff"));
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x00\x00\x09\x65\x88");
    assert_int_equal(counter_read(&f->counters.rtmp_unit_bad), 1);
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x00\x00\x02\x09\x10"); /* a delimiter alone */
    assert_int_equal(counter_read(&f->counters.rtmp_unit_empty), 1);
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00");
    assert_int_equal(counter_read(&f->counters.rtmp_unit_bad), 2);
    PUSH(MEDIA_VIDEO, 0, "\x12sorenson");
    assert_int_equal(counter_read(&f->counters.rtmp_codec_unsupported), 1);
    PUSH(MEDIA_VIDEO, 0, "\x17\x00\x00\x00\x00not avcC");
    assert_int_equal(counter_read(&f->counters.rtmp_config_bad), 1);
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x00\x00\x02\x65\x88"); /* so none is valid now */
    assert_int_equal(counter_read(&f->counters.rtmp_unit_early), 2);
    assert_int_equal(f->unit_count, 0);
}

static void test_rtmp_media_corrects_keyframe_flags(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_VIDEO, 0, AVC_CONFIG("\xff"));
    PUSH(MEDIA_VIDEO, 0, "\x27\x01\x00\x00\x00\x00\x00\x00\x02\x65\x88");
    PUSH(MEDIA_VIDEO, 0, "\x17\x01\x00\x00\x00\x00\x00\x00\x02\x41\x9a");
    assert_true(f->units[0].is_keyframe);
    assert_false(f->units[1].is_keyframe);
    assert_int_equal(counter_read(&f->counters.rtmp_keyframe_mislabelled), 2);
}

static void test_rtmp_media_strips_adts(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_AUDIO, 0, "\xaf\x00\x12\x10");
    PUSH(MEDIA_AUDIO, 0, "\xaf\x01\xff\xf1\x50\x80\x01\x3f\xfc\x21\x10");
    check_unit(f, 0, "\x21\x10", 2);
    assert_int_equal(counter_read(&f->counters.rtmp_adts), 1);
    PUSH(MEDIA_AUDIO, 0, "\xaf\x01");
    assert_int_equal(counter_read(&f->counters.rtmp_unit_empty), 1);
}

static void test_rtmp_media_unwraps_the_clock(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_AUDIO, 0xfffffff0, "\xaf\x00\x12\x10");
    PUSH(MEDIA_AUDIO, 0xfffffff0, "\xaf\x01x");
    PUSH(MEDIA_AUDIO, 0x00000010, "\xaf\x01x");
    PUSH(MEDIA_AUDIO, 0xfffffffe, "\xaf\x01x"); /* a step back, over the wrap */
    PUSH(MEDIA_AUDIO, 0x00000020, "\xaf\x01x");
    assert_int_equal(f->units[0].dts_us, 0xfffffff0 * INT64_C(1000));
    assert_int_equal(f->units[1].dts_us, 0x100000010 * INT64_C(1000));
    assert_int_equal(f->units[2].dts_us, 0xfffffffe * INT64_C(1000));
    assert_int_equal(f->units[3].dts_us, 0x100000020 * INT64_C(1000));

    rtmp_media_reset(&f->media);
    PUSH(MEDIA_AUDIO, 5, "\xaf\x00\x12\x10");
    PUSH(MEDIA_AUDIO, 5, "\xaf\x01x");
    assert_int_equal(f->units[4].dts_us, 5000);
    assert_int_equal(f->track_count, 2);
}

static void test_rtmp_media_adds_nanoseconds(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_AUDIO, 0, "\x90OpusOpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00");
    PUSH(MEDIA_AUDIO, 20, "\x97\x02\x05\x16\x15\x01Opusp"); /* 333333 ns */
    assert_int_equal(f->units[0].dts_us, 20333);
    assert_int_equal(f->units[0].pts_us, 20333);
}

/* VP9's size comes with the first key frame, and so does every change of it. */
static void test_rtmp_media_waits_for_the_size_of_vp9(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_VIDEO, 0, "\x90vp09\x01\x00\x00\x00\x00\x1f\x82\x02\x02\x02\x00\x00");
    assert_int_equal(f->track_count, 0);
    PUSH(MEDIA_VIDEO, 10, "\xa1vp09\x86\x00");
    assert_int_equal(counter_read(&f->counters.rtmp_unit_early), 1);
    PUSH(MEDIA_VIDEO, 20, "\x91vp09\x82\x49\x83\x42\x00\x27\xf0\x16\x70");
    assert_int_equal(f->track_count, 1);
    assert_int_equal(f->tracks[0].width, 640);
    PUSH(MEDIA_VIDEO, 30, "\xa1vp09\x86\x00");
    PUSH(MEDIA_VIDEO, 40, "\x91vp09\x82\x49\x83\x42\x00\x13\xf0\x0b\x30");
    assert_int_equal(f->track_count, 2);
    assert_int_equal(f->tracks[1].width, 320);
    assert_int_equal(f->unit_count, 3);
}

static void test_rtmp_media_takes_delimiters_off_av1(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_VIDEO, 0,
         "\x90"
         "av01\x81\x21\x00\x00\x0a\x0d\x20\x00\x00\x0c\xc4\xfb\x65\x36\xbe\x48\x08\x68\x01");
    assert_int_equal(f->tracks[0].width, 638);
    PUSH(MEDIA_VIDEO, 0,
         "\xa1"
         "av01\x12\x00\x32\x01\xaa");
    check_unit(f, 0, "\x32\x01\xaa", 3);
}

static void test_rtmp_media_maps_tracks_and_refuses_too_many(void **state)
{
    struct fixture *f = *state;

    PUSH(MEDIA_AUDIO, 0, "\x95\x10mp4a\x03\x00\x00\x02\x12\x10\x04\x00\x00\x02\x12\x10");
    assert_int_equal(f->track_count, 1);
    assert_int_equal(f->track_numbers[0], 7);
    assert_int_equal(counter_read(&f->counters.rtmp_track_refused), 1);
    PUSH(MEDIA_AUDIO, 0, "\x95\x11mp4a\x03\x00\x00\x01x\x04\x00\x00\x01y");
    assert_int_equal(f->unit_count, 1);
    assert_int_equal(f->units[0].track, 7);
}

static void test_rtmp_media_ignores_units_of_refused_tracks(void **state)
{
    struct fixture *f = *state;

    f->track_result = -ENOTSUP;
    PUSH(MEDIA_AUDIO, 0, "\x2f\xff\xfb\x90\x64mp3");
    PUSH(MEDIA_AUDIO, 26, "\x2f\xff\xfb\x90\x64mp3");
    assert_int_equal(f->track_count, 1);
    assert_int_equal(f->tracks[0].codec, CODEC_MP3);
    assert_int_equal(f->unit_count, 0);
    assert_int_equal(counter_read(&f->counters.rtmp_track_refused), 1);
    assert_int_equal(counter_read(&f->counters.rtmp_unit_early), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rtmp_media_announces_and_delivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_rewrites_short_lengths_and_annex_b, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_counts_bad_units, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_corrects_keyframe_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_strips_adts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_unwraps_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_adds_nanoseconds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_waits_for_the_size_of_vp9, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_takes_delimiters_off_av1, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_maps_tracks_and_refuses_too_many, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rtmp_media_ignores_units_of_refused_tracks, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
