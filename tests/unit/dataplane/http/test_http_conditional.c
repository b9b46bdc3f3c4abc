#include "dataplane/http/http_conditional.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"

static void test_range_table(void **state)
{
    static const struct {
        const char *value;
        uint64_t whole;
        enum http_range result;
        uint64_t first, size;
    } table[] = {
        {"bytes=0-0", 10, HTTP_RANGE_PART, 0, 1},
        {"bytes=0-9", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes=2-5", 10, HTTP_RANGE_PART, 2, 4},
        {"Bytes=2-5", 10, HTTP_RANGE_PART, 2, 4},
        {"bytes=9-", 10, HTTP_RANGE_PART, 9, 1},
        {"bytes=0-", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes=5-99", 10, HTTP_RANGE_PART, 5, 5},
        {"bytes=5-99999999999999999999999", 10, HTTP_RANGE_PART, 5, 5},
        {"bytes=-1", 10, HTTP_RANGE_PART, 9, 1},
        {"bytes=-10", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes=-99", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes=-99999999999999999999999", 10, HTTP_RANGE_PART, 0, 10},
        {"bytes= 2-5 ", 10, HTTP_RANGE_PART, 2, 4},
        {"bytes=10-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=10-12", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999-", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 10, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, HTTP_RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=5-2", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=0-1,3-4", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=0-1,", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=-", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=x-y", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=1", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=--1", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"bytes=1-2-3", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"items=0-1", 10, HTTP_RANGE_WHOLE, 0, 0},
        {"", 10, HTTP_RANGE_WHOLE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        uint64_t first = 0;
        uint64_t size = 0;
        enum http_range result =
            http_range_parse(bytes_of_str(table[i].value), table[i].whole, &first, &size);
        if (result != table[i].result ||
            (result == HTTP_RANGE_PART && (first != table[i].first || size != table[i].size)))
            fail_msg("'%s' of %llu: got %d, first %llu, size %llu", table[i].value,
                     (unsigned long long)table[i].whole, (int)result, (unsigned long long)first,
                     (unsigned long long)size);
    }
}

static void test_etag_lists(void **state)
{
    uint8_t etag[HTTP_ETAG_SIZE];

    (void)state;
    http_etag_write(0x0123456789abcdef, etag);
    assert_memory_equal(etag, "\"0123456789abcdef\"", HTTP_ETAG_SIZE);
    struct bytes own = bytes_of(etag, sizeof(etag));
    assert_true(http_etag_list_has(bytes_of_str("*"), own, true));
    assert_true(http_etag_list_has(bytes_of_str("\"0123456789abcdef\""), own, true));
    assert_true(http_etag_list_has(bytes_of_str("\"a,b\" , \"0123456789abcdef\""), own, true));
    assert_true(http_etag_list_has(bytes_of_str("W/\"0123456789abcdef\""), own, false));
    assert_false(http_etag_list_has(bytes_of_str("W/\"0123456789abcdef\""), own, true));
    assert_false(http_etag_list_has(bytes_of_str("0123456789abcdef"), own, false));
    assert_false(http_etag_list_has(bytes_of_str(""), own, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_range_table),
        cmocka_unit_test(test_etag_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
