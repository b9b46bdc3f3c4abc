#include "dataplane/media/aac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "tests/unit/dataplane/media/codec_vectors.h"

static void check(const char *text, struct aac_config want)
{
    uint8_t data[64];
    struct aac_config got;

    assert_int_equal(aac_config_parse(hex(text, data, sizeof(data)), &got), 0);
    assert_int_equal(got.object_type, want.object_type);
    assert_int_equal(got.sample_rate_hz, want.sample_rate_hz);
    assert_int_equal(got.channel_count, want.channel_count);
    assert_int_equal(got.frame_samples, want.frame_samples);
}

static void test_aac_reads_plain_and_sbr(void **state)
{
    (void)state;
    check("1210", (struct aac_config){2, 44100, 2, 1024});
    check("1188", (struct aac_config){2, 48000, 1, 1024});
    check("1214", (struct aac_config){2, 44100, 2, 960});        /* frameLengthFlag */
    check("2b920800", (struct aac_config){5, 44100, 2, 2048});   /* explicit SBR, core 22050 */
    check("eb8a0800", (struct aac_config){29, 44100, 2, 2048});  /* explicit PS, core mono */
    check("131056e598", (struct aac_config){5, 48000, 2, 2048}); /* SBR behind the config */
    check("11b056e500", (struct aac_config){2, 48000, 6, 1024}); /* … which says: none */
}

static void test_aac_reads_escapes_and_program_config(void **state)
{
    struct bit_writer w = {0};
    struct aac_config got;

    (void)state;
    put_bits(&w, 2, 5);
    put_bits(&w, 15, 4); /* the rate follows */
    put_bits(&w, 47999, 24);
    put_bits(&w, 0, 4);         /* a program_config_element follows */
    put_bits(&w, 0, 3);         /* frame length, core coder, extension */
    put_bits(&w, 0, 4 + 2 + 4); /* tag, object type, rate */
    put_bits(&w, 0x2110, 16);   /* front 2, side 1, back 1, lfe 0; data 0 … */
    put_bits(&w, 0, 5);         /* … coupling 0 */
    put_bits(&w, 0, 3);         /* no mixdown */
    put_bits(&w, 0, 5);         /* front: single */
    put_bits(&w, 0x10, 5);      /* front: pair */
    put_bits(&w, 0x10, 5);      /* side: pair */
    put_bits(&w, 0x10, 5);      /* back: pair */
    assert_int_equal(aac_config_parse(put_end(&w), &got), 0);
    assert_int_equal(got.sample_rate_hz, 47999);
    assert_int_equal(got.channel_count, 7);
}

static void test_aac_refuses_reserved_values(void **state)
{
    static const char *const bad[] = {"", "12", "1690", "1200", "0210", "12d0", "f900"};
    uint8_t data[64];
    struct aac_config got;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(aac_config_parse(hex(bad[i], data, sizeof(data)), &got), -EBADMSG);
}

static void test_aac_reads_adts(void **state)
{
    uint8_t data[16];
    struct bytes frame = hex("fff15080017ffc2110", data, sizeof(data));
    struct adts_header h;

    (void)state;
    assert_int_equal(adts_parse(frame, &h), 0);
    assert_int_equal(h.object_type, 2);
    assert_int_equal(h.sample_rate_hz, 44100);
    assert_int_equal(h.channel_count, 2);
    assert_int_equal(h.header_size, 7);
    assert_int_equal(h.frame_size, 11);
    for (size_t size = 0; size < 7; size++)
        assert_int_equal(adts_parse(bytes_of(data, size), &h), -EBADMSG);
    data[1] = 0xf0; /* with a CRC the header alone has 9 bytes */
    assert_int_equal(adts_parse(frame, &h), 0);
    assert_int_equal(h.header_size, 9);
    data[1] = 0xf7; /* layer */
    assert_int_equal(adts_parse(frame, &h), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_aac_reads_plain_and_sbr),
        cmocka_unit_test(test_aac_reads_escapes_and_program_config),
        cmocka_unit_test(test_aac_refuses_reserved_values),
        cmocka_unit_test(test_aac_reads_adts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
