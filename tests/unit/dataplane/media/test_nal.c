#include "dataplane/media/nal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

/* Two units, an IDR and an SEI, as 'length_size'-byte lengths or (0) Annex B. */
static struct bytes compose(uint8_t *out, size_t out_size, unsigned length_size)
{
    static const uint8_t sei[] = {0x06, 0x05, 0x01};
    static const uint8_t idr[] = {0x65, 0x00, 0x00, 0x03, 0x01, 0x88};
    struct bytes units[] = {bytes_of(sei, sizeof(sei)), bytes_of(idr, sizeof(idr))};
    struct writer w = writer_of(out, out_size);

    for (size_t i = 0; i < 2; i++) {
        if (length_size == 0)
            writer_be(&w, 1, i == 0 ? 4 : 3);
        else
            writer_be(&w, units[i].size, length_size);
        writer_put(&w, units[i]);
    }
    assert_true(writer_is_ok(&w));
    return writer_bytes(&w);
}

static void test_nal_rewrites_every_form_to_four_byte_lengths(void **state)
{
    uint8_t in[64];
    uint8_t want_data[64];
    struct bytes want = compose(want_data, sizeof(want_data), 4);

    (void)state;
    for (unsigned length = 0; length <= 4; length++) {
        struct bytes data = compose(in, sizeof(in), length);
        struct nal_summary s = nal_inspect(CODEC_H264, data, length == 0 ? 4 : length);
        uint8_t out[64];
        struct writer w = writer_of(out, sizeof(out));

        assert_int_equal(s.form, length == 0 ? NAL_ANNEX_B : NAL_LENGTHS);
        assert_int_equal(s.unit_count, 2);
        assert_true(s.has_random_access && s.has_picture && !s.has_empty);
        assert_int_equal(nal_rewrite(data, s.form, length, &w), 0);
        assert_true(bytes_equal(writer_bytes(&w), want));

        w = writer_of(out, want.size - 1);
        assert_int_equal(nal_rewrite(data, s.form, length, &w), -ENOSPC);
    }
}

static void test_nal_strips_zeros_before_start_codes(void **state)
{
    static const uint8_t data[] = {0, 0, 1, 0x09, 0x10, 0, 0, 0, 0, 1, 0x41, 0x9a, 0, 0};
    static const uint8_t want[] = {0, 0, 0, 2, 0x09, 0x10, 0, 0, 0, 2, 0x41, 0x9a};
    struct bytes in = bytes_of(data, sizeof(data));
    struct nal_summary s = nal_inspect(CODEC_H264, in, 4);
    uint8_t out[64];
    struct writer w = writer_of(out, sizeof(out));

    (void)state;
    assert_int_equal(s.form, NAL_ANNEX_B);
    assert_true(s.has_picture && !s.has_random_access);
    assert_int_equal(nal_rewrite(in, s.form, 4, &w), 0);
    assert_true(bytes_equal(writer_bytes(&w), bytes_of(want, sizeof(want))));
}

/* A unit of one byte looks like a start code; what has a picture after it is believed. */
static void test_nal_tells_short_units_from_start_codes(void **state)
{
    static const uint8_t data[] = {0, 0, 0, 1, 0x09, 0, 0, 0, 2, 0x41, 0x9a};
    struct nal_summary s = nal_inspect(CODEC_H264, bytes_of(data, sizeof(data)), 4);

    (void)state;
    assert_int_equal(s.form, NAL_LENGTHS);
    assert_int_equal(s.unit_count, 2);
}

static void test_nal_sees_broken_and_empty_units(void **state)
{
    static const uint8_t too_long[] = {0, 0, 0, 9, 0x65, 1};
    static const uint8_t torn[] = {0, 0, 0, 1, 0x65, 0, 0};
    static const uint8_t empty[] = {0, 0, 0, 0, 0, 0, 0, 2, 0x65, 1};
    struct nal_summary s = nal_inspect(CODEC_H264, bytes_of(too_long, sizeof(too_long)), 4);

    (void)state;
    assert_int_equal(s.form, NAL_BROKEN);
    s = nal_inspect(CODEC_H264, bytes_of(torn, sizeof(torn)), 4);
    assert_int_equal(s.form, NAL_ANNEX_B);
    s = nal_inspect(CODEC_H264, bytes_of(empty, sizeof(empty)), 4);
    assert_int_equal(s.form, NAL_LENGTHS);
    assert_true(s.has_empty && s.has_random_access);
    s = nal_inspect(CODEC_H264, (struct bytes){0}, 4);
    assert_int_equal(s.unit_count, 0);
}

static void test_nal_knows_hevc_random_access(void **state)
{
    static const struct {
        uint8_t type;
        bool is_random_access;
        bool is_picture;
    } all[] = {{0, false, true}, {9, false, true}, {16, true, true},   {19, true, true},
               {21, true, true}, {23, true, true}, {32, false, false}, {39, false, false}};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        uint8_t data[] = {0, 0, 0, 3, (uint8_t)(all[i].type << 1), 1, 0x80};
        struct nal_summary s = nal_inspect(CODEC_HEVC, bytes_of(data, sizeof(data)), 4);

        assert_int_equal(s.has_random_access, all[i].is_random_access);
        assert_int_equal(s.has_picture, all[i].is_picture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nal_rewrites_every_form_to_four_byte_lengths),
        cmocka_unit_test(test_nal_strips_zeros_before_start_codes),
        cmocka_unit_test(test_nal_tells_short_units_from_start_codes),
        cmocka_unit_test(test_nal_sees_broken_and_empty_units),
        cmocka_unit_test(test_nal_knows_hevc_random_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
