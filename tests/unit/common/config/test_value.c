#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/check.h"
#include "common/config/value.h"

static const struct config_key duration_key = {
    .kind = CONFIG_KIND_duration_ms, .min = 0, .max = UINT64_MAX};
static const struct config_key size_key = {.kind = CONFIG_KIND_bytes, .min = 0, .max = UINT64_MAX};

static void test_value_numbers_with_units(void **state)
{
    (void)state;
    static const struct {
        const struct config_key *key;
        const char *text;
        uint64_t value;
        const char *written;
    } cases[] = {
        {&duration_key, "0", 0, "0ms"},
        {&duration_key, "150", 150, "150ms"},
        {&duration_key, "200ms", 200, "200ms"},
        {&duration_key, "2s", 2000, "2s"},
        {&duration_key, "2500ms", 2500, "2500ms"},
        {&duration_key, "1m", 60000, "1m"},
        {&duration_key, "3h", 10800000, "3h"},
        {&size_key, "0", 0, "0"},
        {&size_key, "1500", 1500, "1500"},
        {&size_key, "64KiB", 65536, "64KiB"},
        {&size_key, "2048KiB", 2097152, "2MiB"},
        {&size_key, "16TiB", 1ull << 44, "16TiB"},
        {&size_key, "18446744073709551615", UINT64_MAX, "18446744073709551615"},
    };
    char what[CONFIG_WHAT_MAX];

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char written[64] = "";
        struct writer w = writer_of(written, sizeof(written) - 1);
        uint64_t value = 77;
        assert_int_equal(
            config_value_parse(cases[i].key, bytes_of_str(cases[i].text), true, &value, what), 0);
        assert_int_equal(value, cases[i].value);
        config_value_write(cases[i].key, &value, &w);
        assert_string_equal(written, cases[i].written);
    }
}

static void test_value_refuses_odd_numbers(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "-1",
                                        "+1",
                                        "1.5s",
                                        "1 s",
                                        "1sec",
                                        "ms",
                                        "1e3",
                                        "1_000",
                                        "0o7",
                                        "1Ms",
                                        "1kib",
                                        "١",
                                        "18446744073709551616",
                                        "18446744073709551615s",
                                        ".inf"};
    char what[CONFIG_WHAT_MAX];

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        uint64_t value = 77;
        assert_int_equal(
            config_value_parse(&duration_key, bytes_of_str(texts[i]), true, &value, what), -EINVAL);
        assert_int_equal(value, 77);
        assert_true(strlen(what) > 0);
    }
}

/* What is written is read back, for each key's default, lowest and highest value. */
static void test_value_written_reads_back(void **state)
{
    (void)state;
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    char what[CONFIG_WHAT_MAX];

    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        char written[CONFIG_TEXT_MAX * 2 + 8] = "";
        struct writer w = writer_of(written, sizeof(written) - 1);
        union {
            uint64_t number;
            bool flag;
            struct config_text text;
            struct endpoint endpoint;
        } value = {0}, again = {0};
        config_value_default(&keys[i], &value);
        config_value_write(&keys[i], &value, &w);
        bool is_plain = written[0] != '"';
        struct bytes text = bytes_of_str(written);
        if (!is_plain)
            text = bytes_of(text.ptr + 1, text.size - 2);
        if (config_value_parse(&keys[i], text, is_plain, &again, what) != 0)
            fail_msg("%s.%s: %s: %s", keys[i].section, keys[i].name, written, what);
        assert_memory_equal(&value, &again, sizeof(value));
    }
}

static void test_value_quote_is_short_and_clean(void **state)
{
    (void)state;
    char out[256] = "";
    struct writer w = writer_of(out, sizeof(out) - 1);

    config_quote(bytes_of("a\x1b[31m\xff\xe2\x80\xae", 10), &w);
    assert_string_equal(out, "\"a?[31m??\"");
    memset(out, 0, sizeof(out));
    w = writer_of(out, sizeof(out) - 1);
    config_quote(bytes_of_str("0123456789012345678901234567890123456789x"), &w);
    assert_string_equal(out, "\"0123456789012345678901234567890123456789…\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_value_numbers_with_units),
        cmocka_unit_test(test_value_refuses_odd_numbers),
        cmocka_unit_test(test_value_written_reads_back),
        cmocka_unit_test(test_value_quote_is_short_and_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
