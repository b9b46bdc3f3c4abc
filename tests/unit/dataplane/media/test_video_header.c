#include "dataplane/media/video_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "dataplane/media/bits.h"
#include "tests/unit/dataplane/media/codec_vectors.h"

static void test_bits_leave_out_emulation_prevention(void **state)
{
    static const uint8_t data[] = {0, 0, 3, 1, 0, 0, 3, 0, 0, 3};
    struct bits b = bits_of_nal(bytes_of(data, sizeof(data)));

    (void)state;
    assert_int_equal(bits_take(&b, 24), 0x000001);
    assert_int_equal(bits_take(&b, 32), 0x00000000);
    assert_false(b.failed);
    assert_int_equal(bits_take(&b, 1), 0);
    assert_true(b.failed);

    b = bits_of(bytes_of(data, sizeof(data)));
    assert_int_equal(bits_take(&b, 32), 0x00000301);
}

static void test_bits_read_exp_golomb(void **state)
{
    static const uint32_t values[] = {0, 1, 2, 7, 255, 65534, 0xfffffffe};
    struct bit_writer w = {0};

    (void)state;
    for (size_t i = 0; i < 7; i++)
        put_ue(&w, values[i]);
    struct bits b = bits_of(put_end(&w));
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(bits_ue(&b), values[i]);

    struct bit_writer s = {0};
    for (uint32_t code = 0; code < 5; code++)
        put_ue(&s, code);
    b = bits_of(put_end(&s));
    static const int32_t signed_values[] = {0, 1, -1, 2, -2};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(bits_se(&b), signed_values[i]);

    static const uint8_t zeros[16] = {0};
    b = bits_of(bytes_of(zeros, sizeof(zeros)));
    assert_int_equal(bits_ue(&b), 0);
    assert_true(b.failed);
}

/* An SPS by hand: High profile with scaling lists, picture order type 1, cropping, VUI. */
static struct bytes h264_sps(struct bit_writer *w, uint32_t width_mbs, uint32_t crop_right)
{
    put_bits(w, 0x67640028, 32);
    put_ue(w, 0); /* id */
    put_ue(w, 2); /* 4:2:2 */
    put_ue(w, 2);
    put_ue(w, 2);
    put_bits(w, 1, 2); /* no bypass, scaling matrix … */
    put_bits(w, 1, 1); /* … with list 0 … */
    for (unsigned i = 0; i < 16; i++)
        put_ue(w, 1);  /* … whose deltas are +1 … */
    put_bits(w, 1, 7); /* … and list 7 … */
    put_ue(w, 16);     /* … which a delta of -8 ends at once */
    put_ue(w, 0);      /* log2_max_frame_num */
    put_ue(w, 1);      /* picture order type 1 */
    put_bits(w, 0, 1);
    put_ue(w, 3);
    put_ue(w, 4);
    put_ue(w, 2);
    put_ue(w, 5);
    put_ue(w, 6);
    put_ue(w, 4); /* reference frames */
    put_bits(w, 0, 1);
    put_ue(w, width_mbs - 1);
    put_ue(w, 8);        /* 9 map units */
    put_bits(w, 0x3, 4); /* fields, no mbaff, direct 8x8, cropping */
    put_ue(w, 0);
    put_ue(w, crop_right);
    put_ue(w, 0);
    put_ue(w, 1);
    put_bits(w, 1, 1); /* VUI */
    put_bits(w, 0, 1); /* no aspect ratio */
    put_bits(w, 0, 1);
    put_bits(w, 0, 1);
    put_bits(w, 0, 1);
    put_bits(w, 1, 1); /* timing */
    put_bits(w, 1001, 32);
    put_bits(w, 60000, 32);
    return put_end(w);
}

static void test_h264_sps_with_everything(void **state)
{
    struct bit_writer w = {0};
    struct video_format f = {0};

    (void)state;
    assert_int_equal(h264_sps_parse(h264_sps(&w, 20, 5), &f), 0);
    assert_int_equal(f.width, 320 - 10);
    assert_int_equal(f.height, 288 - 2);
    assert_int_equal(f.rate_num, 60000);
    assert_int_equal(f.rate_den, 2002);
}

static void test_h264_sps_refuses_impossible_sizes(void **state)
{
    struct bit_writer cropped_away = {0};
    struct bit_writer too_wide = {0};
    struct video_format f = {.width = 7};

    (void)state;
    assert_int_equal(h264_sps_parse(h264_sps(&cropped_away, 20, 160), &f), -EBADMSG);
    assert_int_equal(h264_sps_parse(h264_sps(&too_wide, 1025, 0), &f), -EBADMSG);
    assert_int_equal(f.width, 7);
}

static void test_av1_delimiters_are_skipped(void **state)
{
    static const uint8_t unit[] = {0x12, 0x00, 0x12, 0x00, 0x32, 0x01, 0xaa};
    struct bytes rest = av1_skip_delimiters(bytes_of(unit, sizeof(unit)));

    (void)state;
    assert_int_equal(rest.size, 3);
    assert_ptr_equal(rest.ptr, unit + 4);
    assert_int_equal(av1_skip_delimiters(bytes_of(unit, 2)).size, 0);
    assert_int_equal(av1_skip_delimiters(bytes_of(unit, 1)).size, 1); /* malformed: left alone */
}

static void test_av1_sequence_with_timing_and_models(void **state)
{
    struct bit_writer w = {0};
    struct video_format f = {0};

    (void)state;
    put_bits(&w, 0, 5); /* profile, still, reduced */
    put_bits(&w, 1, 1); /* timing */
    put_bits(&w, 1, 32);
    put_bits(&w, 50, 32);
    put_bits(&w, 1, 1); /* equal intervals */
    put_ue(&w, 1);      /* two ticks each */
    put_bits(&w, 1, 1); /* decoder model */
    put_bits(&w, 9, 5); /* 10 bits */
    put_bits(&w, 0, 42);
    put_bits(&w, 1, 1); /* display delay */
    put_bits(&w, 1, 5); /* two operating points */
    put_bits(&w, 0, 12);
    put_bits(&w, 8, 5); /* level above 7: tier follows */
    put_bits(&w, 1, 1);
    put_bits(&w, 1, 1); /* model of this point */
    put_bits(&w, 0, 21);
    put_bits(&w, 1, 1);
    put_bits(&w, 3, 4);
    put_bits(&w, 0, 12);
    put_bits(&w, 7, 5);
    put_bits(&w, 0, 2);
    put_bits(&w, 10, 4); /* 11 bits of width */
    put_bits(&w, 9, 4);
    put_bits(&w, 1279, 11);
    put_bits(&w, 719, 10);
    assert_int_equal(av1_sequence_parse(put_end(&w), &f), 0);
    assert_int_equal(f.width, 1280);
    assert_int_equal(f.height, 720);
    assert_int_equal(f.rate_num, 50);
    assert_int_equal(f.rate_den, 2);
}

static void test_vp9_frames(void **state)
{
    static const uint8_t key[] = {0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0, 0x16, 0x70};
    static const uint8_t inter[] = {0x86, 0x00};
    static const uint8_t show_existing[] = {0x88};
    static const uint8_t wrong_sync[] = {0x82, 0x49, 0x83, 0x43, 0x00, 0x27, 0xf0, 0x16, 0x70};
    struct video_format f = {0};

    (void)state;
    assert_int_equal(vp9_keyframe_parse(bytes_of(key, sizeof(key)), &f), 0);
    assert_int_equal(f.width, 640);
    assert_int_equal(f.height, 360);
    assert_true(vp9_is_keyframe(bytes_of(key, 1)));
    assert_false(vp9_is_keyframe(bytes_of(inter, sizeof(inter))));
    assert_false(vp9_is_keyframe(bytes_of(show_existing, 1)));
    assert_false(vp9_is_keyframe((struct bytes){0}));
    assert_int_equal(vp9_keyframe_parse(bytes_of(wrong_sync, sizeof(wrong_sync)), &f), -EBADMSG);
    assert_int_equal(vp9_keyframe_parse(bytes_of(key, 8), &f), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits_leave_out_emulation_prevention),
        cmocka_unit_test(test_bits_read_exp_golomb),
        cmocka_unit_test(test_h264_sps_with_everything),
        cmocka_unit_test(test_h264_sps_refuses_impossible_sizes),
        cmocka_unit_test(test_av1_delimiters_are_skipped),
        cmocka_unit_test(test_av1_sequence_with_timing_and_models),
        cmocka_unit_test(test_vp9_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
