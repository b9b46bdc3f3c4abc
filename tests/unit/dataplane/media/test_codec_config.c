#include "dataplane/media/codec_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/dataplane/media/codec_vectors.h"

static struct track_info parse(enum codec codec, const char *text)
{
    uint8_t data[512];
    struct track_info info;

    assert_int_equal(codec_config_parse(codec, hex(text, data, sizeof(data)), &info), 0);
    assert_int_equal(info.codec, codec);
    return info;
}

static void check_format(const struct track_info *info, uint32_t width, uint32_t height,
                         uint32_t num, uint32_t den)
{
    struct video_format f;

    assert_int_equal(info->kind, MEDIA_VIDEO);
    assert_int_equal(info->width, width);
    assert_int_equal(info->height, height);
    assert_int_equal(codec_config_format(info, &f), 0);
    assert_int_equal(f.width, width);
    assert_int_equal(f.height, height);
    assert_int_equal((uint64_t)f.rate_num * den, (uint64_t)num * f.rate_den);
}

static void test_codec_config_reads_h264(void **state)
{
    struct track_info info = parse(CODEC_H264, AVCC_1080P);

    (void)state;
    check_format(&info, 1920, 1080, 60000, 1001);
    assert_string_equal(info.codec_string, "avc1.42c02a");
    info = parse(CODEC_H264, AVCC_INTERLACED);
    check_format(&info, 1918, 1078, 30000, 1001);
    assert_string_equal(info.codec_string, "avc1.f40028");
}

/* Units are delivered with 4-byte lengths, so the configuration must say so. */
static void test_codec_config_stores_four_byte_lengths(void **state)
{
    uint8_t data[256];
    struct bytes config = hex(AVCC_1080P, data, sizeof(data));
    struct track_info info;

    (void)state;
    for (uint8_t length = 1; length <= 4; length++) {
        data[4] = (uint8_t)(0xfc | (length - 1));
        assert_int_equal(codec_config_length_size(CODEC_H264, config), length);
        assert_int_equal(codec_config_parse(CODEC_H264, config, &info), 0);
        assert_int_equal(info.config[4], 0xff);
        assert_int_equal(info.config_size, config.size);
    }
    config = hex(HVCC_480P, data, sizeof(data));
    data[21] = 0x0c;
    assert_int_equal(codec_config_length_size(CODEC_HEVC, config), 1);
    assert_int_equal(codec_config_parse(CODEC_HEVC, config, &info), 0);
    assert_int_equal(info.config[21], 0x0f);
}

static void test_codec_config_reads_hevc(void **state)
{
    struct track_info info = parse(CODEC_HEVC, HVCC_480P);

    (void)state;
    check_format(&info, 854, 480, 24000, 1001);
    assert_string_equal(info.codec_string, "hvc1.4.10.L90.9E.8");
}

static void test_codec_config_reads_av1(void **state)
{
    struct track_info info = parse(CODEC_AV1, AV1C_638);

    (void)state;
    check_format(&info, 638, 358, 0, 1);
    assert_string_equal(info.codec_string, "av01.1.01M.08");

    /* Without the sequence header, until a key frame brings it. */
    uint8_t data[64];
    struct bytes config = hex(AV1C_638, data, sizeof(data));
    assert_int_equal(codec_config_parse(CODEC_AV1, bytes_of(data, 4), &info), 0);
    assert_false(codec_config_is_complete(&info));
    assert_int_equal(codec_config_complete(&info, bytes_from(config, 4)), 1);
    assert_true(codec_config_is_complete(&info));
    check_format(&info, 638, 358, 0, 1);
    assert_int_equal(info.config_size, config.size);
    assert_memory_equal(info.config, config.ptr, config.size);
    assert_int_equal(codec_config_complete(&info, bytes_from(config, 4)), 0);
    assert_int_equal(codec_config_complete(&info, bytes_of_str("no OBU")), -EBADMSG);
}

static void test_codec_config_reads_vp9_with_and_without_version(void **state)
{
    struct track_info full = parse(CODEC_VP9, VPCC);
    struct track_info bare = parse(CODEC_VP9, &VPCC[8]);

    (void)state;
    assert_string_equal(full.codec_string, "vp09.00.21.08");
    assert_int_equal(full.config_size, 12);
    assert_memory_equal(&full, &bare, sizeof(full));
    assert_false(codec_config_is_complete(&full));

    /* A profile 0 key frame of 640x360. */
    static const uint8_t frame[] = {0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70};
    assert_int_equal(codec_config_complete(&full, bytes_of(frame, sizeof(frame))), 1);
    assert_int_equal(full.width, 640);
    assert_int_equal(full.height, 360);
    assert_int_equal(codec_config_complete(&full, bytes_of(frame, sizeof(frame))), 0);
}

static void test_codec_config_reads_audio(void **state)
{
    struct track_info info = parse(CODEC_AAC, ASC_51);

    (void)state;
    assert_int_equal(info.kind, MEDIA_AUDIO);
    assert_int_equal(info.sample_rate_hz, 48000);
    assert_int_equal(info.channel_count, 6);
    assert_int_equal(info.frame_samples, 1024);
    assert_string_equal(info.codec_string, "mp4a.40.2");

    info = parse(CODEC_OPUS, OPUS_HEAD);
    assert_int_equal(info.sample_rate_hz, 48000);
    assert_int_equal(info.channel_count, 2);
    assert_int_equal(info.frame_samples, 0);
    assert_string_equal(info.codec_string, "opus");
}

static void test_codec_config_reads_mp3_frames(void **state)
{
    static const uint8_t stereo_44100[] = {0xff, 0xfb, 0x90, 0x64};
    static const uint8_t mono_22050[] = {0xff, 0xf3, 0x40, 0xc4};
    struct track_info info;

    (void)state;
    assert_int_equal(codec_config_parse_mp3(bytes_of(stereo_44100, 4), &info), 0);
    assert_int_equal(info.sample_rate_hz, 44100);
    assert_int_equal(info.channel_count, 2);
    assert_int_equal(info.frame_samples, 1152);
    assert_int_equal(codec_config_parse_mp3(bytes_of(mono_22050, 4), &info), 0);
    assert_int_equal(info.sample_rate_hz, 22050);
    assert_int_equal(info.channel_count, 1);
    assert_int_equal(info.frame_samples, 576);
    assert_int_equal(codec_config_parse_mp3(bytes_of("ID3\4", 4), &info), -EBADMSG);
}

/* Every truncation, on the heap so that a sanitizer sees a read past the end. Those that end where
 * a shorter configuration would are fine. */
static void test_codec_config_survives_truncation(void **state)
{
    static const struct {
        enum codec codec;
        const char *text;
    } all[] = {{CODEC_H264, AVCC_1080P}, {CODEC_H264, AVCC_INTERLACED},
               {CODEC_HEVC, HVCC_480P},  {CODEC_AV1, AV1C_638},
               {CODEC_VP9, VPCC},        {CODEC_AAC, ASC_51},
               {CODEC_OPUS, OPUS_HEAD}};
    uint8_t data[512];

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct bytes config = hex(all[i].text, data, sizeof(data));

        for (size_t size = 0; size <= config.size; size++) {
            uint8_t *copy = malloc(size + 1);
            struct track_info info = {.width = 1234};

            memcpy(copy, config.ptr, size);
            int result = codec_config_parse(all[i].codec, bytes_of(copy, size), &info);
            if (size == config.size)
                assert_int_equal(result, 0);
            if (result != 0)
                assert_int_equal(info.width, 1234);
            free(copy);
        }
    }
}

static void test_codec_config_refuses_what_it_cannot_store(void **state)
{
    static uint8_t big[CODEC_CONFIG_MAX + 64];
    struct bytes config = hex(AV1C_638, big, sizeof(big));
    struct track_info info;

    (void)state;
    config.size = CODEC_CONFIG_MAX;
    assert_int_equal(codec_config_parse(CODEC_AV1, config, &info), 0);
    config.size = CODEC_CONFIG_MAX + 1;
    assert_int_equal(codec_config_parse(CODEC_AV1, config, &info), -ENOSPC);
    assert_int_equal(codec_config_parse(CODEC_MP3, config, &info), -ENOTSUP);
    assert_int_equal(codec_config_parse(CODEC_NONE, config, &info), -ENOTSUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codec_config_reads_h264),
        cmocka_unit_test(test_codec_config_stores_four_byte_lengths),
        cmocka_unit_test(test_codec_config_reads_hevc),
        cmocka_unit_test(test_codec_config_reads_av1),
        cmocka_unit_test(test_codec_config_reads_vp9_with_and_without_version),
        cmocka_unit_test(test_codec_config_reads_audio),
        cmocka_unit_test(test_codec_config_reads_mp3_frames),
        cmocka_unit_test(test_codec_config_survives_truncation),
        cmocka_unit_test(test_codec_config_refuses_what_it_cannot_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
