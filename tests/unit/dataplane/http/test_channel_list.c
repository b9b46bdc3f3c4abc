#include "dataplane/http/channel_list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"

static void test_attribute_table(void **state)
{
    static const struct {
        const char *playlist, *name, *value;
    } table[] = {
        {"#EXT-X-STREAM-INF:CODECS=\"a,b\"\nx\n", "CODECS", "a,b"},
        {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS=\"a\",X=2\n", "X", "2"},
        {"#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=5,BANDWIDTH=1\n", "BANDWIDTH", "1"},
        {"#EXT-X-STREAM-INF:A=\"X=9,\",X=2\n", "X", "2"},
        {"#EXT-X-STREAM-INF:A=1\nX=2\n", "X", ""},
        {"#EXT-X-STREAM-INF:CODECS=\"a", "CODECS", "a"},
        {"#EXT-X-STREAM-INF:CODECS=", "CODECS", ""},
        {"#EXT-X-STREAM-INF:", "CODECS", ""},
        {"#EXT-X-STREAM-INF:CODECS=\"a\\b\"\n", "CODECS", ""},
        {"#EXT-X-MEDIA:CODECS=\"a\"\n", "CODECS", ""},
        {"", "CODECS", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct bytes value = channel_list_attribute(bytes_of_str(table[i].playlist), table[i].name);
        if (!bytes_equal_str(value, table[i].value))
            fail_msg("%s of %s: got %.*s", table[i].name, table[i].playlist, (int)value.size,
                     (const char *)value.ptr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attribute_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
