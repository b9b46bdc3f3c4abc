#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/config/nearest.h"

static unsigned distance(const char *a, const char *b)
{
    return nearest_distance(bytes_of_str(a), bytes_of_str(b));
}

static void test_nearest_counts_edits(void **state)
{
    (void)state;
    assert_int_equal(distance("", ""), 0);
    assert_int_equal(distance("", "abc"), 3);
    assert_int_equal(distance("abc", ""), 3);
    assert_int_equal(distance("http", "http"), 0);
    assert_int_equal(distance("htpt", "http"), 1); /* a swap is one edit */
    assert_int_equal(distance("kitten", "sitting"), 3);
    assert_int_equal(distance("listen", "listn"), 1);
}

static void test_nearest_bounds_long_names(void **state)
{
    (void)state;
    char long_name[1000];

    memset(long_name, 'a', sizeof(long_name));
    assert_int_equal(nearest_distance(bytes_of(long_name, sizeof(long_name)), bytes_of_str("b")),
                     64);
}

static void test_nearest_keeps_the_first_of_the_best(void **state)
{
    (void)state;
    struct nearest n = nearest_of(bytes_of_str("parts"));

    nearest_offer(&n, bytes_of_str("segment"));
    nearest_offer(&n, bytes_of_str("part"));
    nearest_offer(&n, bytes_of_str("ports"));
    assert_true(bytes_equal_str(n.best, "part"));
    assert_int_equal(n.distance, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest_counts_edits),
        cmocka_unit_test(test_nearest_bounds_long_names),
        cmocka_unit_test(test_nearest_keeps_the_first_of_the_best),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
