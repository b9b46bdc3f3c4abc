#include "dataplane/http/http_date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void test_date_known_values(void **state)
{
    char out[HTTP_DATE_SIZE];

    (void)state;
    http_date_write(784111777, out);
    assert_memory_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT", HTTP_DATE_SIZE);
    http_date_write(0, out);
    assert_memory_equal(out, "Thu, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_SIZE);
    http_date_write(951782399, out);
    assert_memory_equal(out, "Mon, 28 Feb 2000 23:59:59 GMT", HTTP_DATE_SIZE);
    http_date_write(951782400, out);
    assert_memory_equal(out, "Tue, 29 Feb 2000 00:00:00 GMT", HTTP_DATE_SIZE);
    http_date_write(INT64_MAX, out);
    assert_memory_equal(out, "Fri, 31 Dec 9999 23:59:59 GMT", HTTP_DATE_SIZE);
    http_date_write(INT64_MIN, out);
    assert_memory_equal(out, "Sat, 01 Jan 0000 00:00:00 GMT", HTTP_DATE_SIZE);
}

/* Against the C library, over 400 years in uneven steps. */
static void test_date_agrees_with_gmtime(void **state)
{
    (void)state;
    for (int64_t t = -6000000000; t < 6700000000; t += 1234567) {
        char out[HTTP_DATE_SIZE + 1] = {0};
        char expected[64];
        time_t time = (time_t)t;
        struct tm tm;
        gmtime_r(&time, &tm);
        strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        http_date_write(t, out);
        assert_string_equal(out, expected);
    }
}

static void test_iso_with_milliseconds(void **state)
{
    char out[HTTP_ISO_SIZE];

    (void)state;
    http_iso_write(784111777123999, out);
    assert_memory_equal(out, "1994-11-06T08:49:37.123Z", HTTP_ISO_SIZE);
    http_iso_write(-1, out);
    assert_memory_equal(out, "1969-12-31T23:59:59.999Z", HTTP_ISO_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_date_known_values),
        cmocka_unit_test(test_date_agrees_with_gmtime),
        cmocka_unit_test(test_iso_with_milliseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
