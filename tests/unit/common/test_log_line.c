#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/log_line.h"
#include "common/utf8.h"

static const struct log_line head = {
    .wall_us = 1700000000123456, .process = "leat-dp", .module = "rtmp", .level = LOG_LEVEL_INFO};

static size_t format(enum log_format f, const struct log_field *fields, size_t count, char *out)
{
    size_t size = log_line_format(&head, f, fields, count, out);

    assert_in_range(size, 1, LOG_LINE_MAX);
    assert_int_equal(out[size - 1], '\n');
    out[size - 1] = '\0';
    assert_int_equal(strlen(out), size - 1);
    assert_null(strchr(out, '\n'));
    return size - 1;
}

#define FORMAT(f, out, ...)                                                                        \
    format((f), (const struct log_field[]){__VA_ARGS__},                                           \
           sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field), (out))

static void test_log_line_human(void **state)
{
    (void)state;
    char out[LOG_LINE_MAX];

    FORMAT(LOG_FORMAT_HUMAN, out, LOG_MSG("publish accepted"), LOG_STR("channel", "demo"),
           LOG_INT("track", -2), LOG_STR("agent", "OBS 29 \"x\""), LOG_STR("empty", ""));
    assert_string_equal(out, "2023-11-14T22:13:20.123456Z info  leat-dp rtmp: publish accepted "
                             "channel=demo track=-2 agent=\"OBS 29 \\\"x\\\"\" empty=\"\"");
}

static void test_log_line_json(void **state)
{
    (void)state;
    char out[LOG_LINE_MAX];

    FORMAT(LOG_FORMAT_JSON, out, LOG_MSG("publish accepted"), LOG_STR("channel", "demo"),
           LOG_INT("track", INT64_MIN));
    assert_string_equal(out, "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\","
                             "\"process\":\"leat-dp\",\"module\":\"rtmp\",\"message\":\"publish "
                             "accepted\",\"channel\":\"demo\",\"track\":-9223372036854775808}");
}

static void test_log_line_dates(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00"},           {-5, "1970-01-01T00:00:00"},
        {951782399, "2000-02-28T23:59:59"},   {951782400, "2000-02-29T00:00:00"},
        {951868800, "2000-03-01T00:00:00"},   {1709164800, "2024-02-29T00:00:00"},
        {1735689599, "2024-12-31T23:59:59"},  {1735689600, "2025-01-01T00:00:00"},
        {4107542399, "2100-02-28T23:59:59"},  {4107542400, "2100-03-01T00:00:00"},
        {12622780800, "2370-01-01T00:00:00"}, {253402300799, "9999-12-31T23:59:59"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct log_line line = head;
        char out[LOG_LINE_MAX];
        line.wall_us = cases[i].seconds * 1000000;
        log_line_format(&line, LOG_FORMAT_HUMAN, NULL, 0, out);
        out[strlen("1970-01-01T00:00:00")] = '\0';
        assert_string_equal(out, cases[i].text);
    }
}

static void test_log_line_escapes_what_a_terminal_could_obey(void **state)
{
    (void)state;
    char out[LOG_LINE_MAX];
    static const char hostile[] = "a\n\x1b[2J\xff\xc2\x9b\xe2\x80\xaez\xc3\xa9";

    FORMAT(LOG_FORMAT_HUMAN, out, LOG_STR("name", hostile));
    assert_non_null(strstr(out, " name=\"a\\x0a\\x1b[2J\\xff\\u{9b}\\u{202e}z\xc3\xa9\""));
    FORMAT(LOG_FORMAT_JSON, out, LOG_STR("name", hostile));
    assert_non_null(strstr(out, "\"name\":\"a\\u000a\\u001b[2J\\ufffd\\u009b\\u202ez\xc3\xa9\"}"));
}

static void test_log_line_shortens_and_leaves_out_what_does_not_fit(void **state)
{
    (void)state;
    char out[LOG_LINE_MAX];
    char text[400];
    memset(text, 'x', sizeof(text));
    struct bytes value = bytes_of(text, sizeof(text));

    FORMAT(LOG_FORMAT_JSON, out, LOG_BYTES("a", value), LOG_BYTES("b", value),
           LOG_BYTES("c", value), LOG_BYTES("d", value));
    json_t *object = json_loads(out, 0, NULL);
    assert_non_null(object);
    assert_int_equal(json_string_length(json_object_get(object, "a")), LOG_TEXT_MAX + 3);
    assert_non_null(json_object_get(object, "c"));
    assert_null(json_object_get(object, "d"));
    assert_true(json_is_true(json_object_get(object, "truncated")));
    json_decref(object);

    FORMAT(LOG_FORMAT_HUMAN, out, LOG_BYTES("a", value), LOG_BYTES("b", value),
           LOG_BYTES("c", value), LOG_BYTES("d", value));
    assert_non_null(strstr(out, "xx… truncated=true"));
}

/* Any bytes in any place: JSON parses, and both are one line of UTF-8. */
static void test_log_line_survives_random_bytes(void **state)
{
    (void)state;
    uint64_t random = 42;
    uint8_t text[300];
    char out[LOG_LINE_MAX];

    for (int round = 0; round < 3000; round++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[i] = (uint8_t)(random >> 56);
        }
        size_t size = (size_t)(random >> 40) % sizeof(text);
        for (int f = LOG_FORMAT_HUMAN; f <= LOG_FORMAT_JSON; f++) {
            size_t length =
                FORMAT((enum log_format)f, out, LOG_MSG("m"), LOG_BYTES("x", bytes_of(text, size)),
                       LOG_BYTES("y", bytes_of(text, sizeof(text))));
            uint32_t point = 0;
            for (size_t at = 0, step; at < length; at += step) {
                step = utf8_next(bytes_of(out + at, length - at), &point);
                assert_true(step > 0 && !utf8_is_control(point));
            }
        }
        json_t *object = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
        if (object == NULL)
            fail_msg("not JSON: %s", out);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_line_human),
        cmocka_unit_test(test_log_line_json),
        cmocka_unit_test(test_log_line_dates),
        cmocka_unit_test(test_log_line_escapes_what_a_terminal_could_obey),
        cmocka_unit_test(test_log_line_shortens_and_leaves_out_what_does_not_fit),
        cmocka_unit_test(test_log_line_survives_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
