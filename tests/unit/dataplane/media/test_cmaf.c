#include "dataplane/media/cmaf.h"

#include "common/cursor.h"
#include "tests/unit/dataplane/media/packager_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Offset of the first occurrence of a box type; -1: there is none. */
static long find_box(struct bytes b, const char type[static 4])
{
    for (size_t i = 4; i + 4 <= b.size; i++)
        if (memcmp(b.ptr + i, type, 4) == 0)
            return (long)i - 4;
    return -1;
}

static struct bytes write_init(uint8_t *out, size_t size, const struct track_info *info, int error)
{
    struct writer w = writer_of(out, size);

    assert_int_equal(cmaf_init_write(&w, info, 90000), error);
    return error == 0 ? writer_bytes(&w) : (struct bytes){0};
}

/* Sizes of top-level boxes and of all containers add up. */
static void check_sizes(struct bytes b)
{
    struct cursor c = cursor_of(b);

    while (cursor_left(&c) > 0) {
        uint32_t size = cursor_be32(&c);
        struct bytes type = cursor_take(&c, 4);
        struct cursor body = cursor_sub(&c, size - 8);
        assert_true(cursor_is_ok(&c));
        static const char containers[][5] = {"moov", "trak", "mdia", "minf", "dinf",
                                             "stbl", "mvex", "moof", "traf"};
        for (size_t i = 0; i < sizeof(containers) / sizeof(containers[0]); i++)
            if (bytes_equal_str(type, containers[i]))
                check_sizes(cursor_take_rest(&body));
    }
}

static void test_cmaf_init_has_each_codecs_sample_entry(void **state)
{
    static const struct {
        enum codec codec;
        uint8_t first;
        const char *entry, *config;
    } cases[] = {{CODEC_H264, 1, "avc1", "avcC"},
                 {CODEC_HEVC, 1, "hvc1", "hvcC"},
                 {CODEC_AV1, 0x81, "av01", "av1C"},
                 {CODEC_VP9, 1, "vp09", "vpcC"}};
    uint8_t out[CMAF_INIT_BYTES_MAX];
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        struct track_info info = world_h264();
        info.codec = cases[i].codec;
        info.config[0] = cases[i].first;
        info.config_size = 23;
        struct bytes b = write_init(out, sizeof(out), &info, 0);
        check_sizes(b);
        assert_true(find_box(b, cases[i].entry) > 0);
        long at = find_box(b, cases[i].config);
        assert_true(at > 0);
        assert_memory_equal(b.ptr + at + 8, info.config, info.config_size);
    }
}

static void test_cmaf_init_audio(void **state)
{
    uint8_t out[CMAF_INIT_BYTES_MAX];
    struct track_info info = world_aac(96000, 2);
    (void)state;

    struct bytes b = write_init(out, sizeof(out), &info, 0);
    check_sizes(b);
    long at = find_box(b, "mp4a");
    assert_true(at > 0 && find_box(b, "esds") > at);
    assert_memory_equal(b.ptr + at + 32, "\0\0\0\0", 4); /* 96 kHz does not fit 16.16 */

    info = world_opus();
    b = write_init(out, sizeof(out), &info, 0);
    check_sizes(b);
    at = find_box(b, "dOps");
    /* Version 0, 2 channels, pre-skip 312, 48000 Hz, gain 0, family 0: big-endian. */
    assert_memory_equal(b.ptr + at + 8, "\0\x02\x01\x38\0\0\xbb\x80\0\0\0", 11);
}

static void test_cmaf_init_refuses(void **state)
{
    uint8_t out[CMAF_INIT_BYTES_MAX];
    struct track_info info = world_h264();
    (void)state;

    for (size_t size = 0; size < 500; size++)
        write_init(out, size, &info, -ENOSPC);
    info.width = 65536;
    write_init(out, sizeof(out), &info, -EINVAL);
    info = world_h264();
    info.kind = MEDIA_AUDIO;
    write_init(out, sizeof(out), &info, -EINVAL);
    info = world_h264();
    info.config_size = 6;
    write_init(out, sizeof(out), &info, -EINVAL);
    info = world_opus();
    info.config[18] = 1; /* a mapping table must follow */
    write_init(out, sizeof(out), &info, -EINVAL);
    info = world_aac(48000, 0);
    write_init(out, sizeof(out), &info, -EINVAL);
    info = world_aac(48000, 2);
    info.codec = CODEC_MP3;
    write_init(out, sizeof(out), &info, -ENOTSUP);
}

static void test_cmaf_fragment_is_as_long_as_announced(void **state)
{
    struct cmaf_sample samples[5];
    struct cmaf_reference reference = {1700000000250000, 153000000022500};
    uint8_t out[1024];
    (void)state;

    /* Every combination of equal or different durations, offsets, flags and prft. */
    for (unsigned bits = 0; bits < 32; bits++) {
        for (uint32_t i = 0; i < 5; i++) {
            samples[i] = (struct cmaf_sample){
                .size = 100 + i,
                .duration = (bits & 1) != 0 ? 3000 + i : 3000,
                .cts = (bits & 2) != 0 ? 3000 - (int32_t)i * 2000 : 0,
                .is_sync = (bits & 4) != 0 ? i % 2 == 0 : i == 0,
            };
        }
        struct cmaf_fragment f = {.sequence = 7,
                                  .dts = 153000000022500,
                                  .samples = samples,
                                  .sample_count = 5,
                                  .payload_bytes = 510,
                                  .is_video = (bits & 8) != 0,
                                  .reference = (bits & 16) != 0 ? &reference : NULL};
        struct writer w = writer_of(out, sizeof(out));
        cmaf_fragment_write(&w, &f);
        assert_true(writer_is_ok(&w));
        assert_int_equal(w.size, cmaf_fragment_head_size(&f));
        assert_memory_equal(out + w.size - 8, "\0\0\x02\x06mdat", 8);
        struct bytes head = bytes_of(out, w.size - 8);
        check_sizes(head);
        assert_int_equal(find_box(head, "prft") == 0, (bits & 16) != 0);
    }
    /* NTP: 2208988800 + 1700000000 s, a quarter. */
    assert_memory_equal(out + 16, "\xe8\xfe\x6f\x80\x40\0\0\0", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cmaf_init_has_each_codecs_sample_entry),
        cmocka_unit_test(test_cmaf_init_audio),
        cmocka_unit_test(test_cmaf_init_refuses),
        cmocka_unit_test(test_cmaf_fragment_is_as_long_as_announced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
