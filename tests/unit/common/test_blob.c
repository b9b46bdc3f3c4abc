/* Blob lifetimes: references, draining behind packets in flight, pool exhaustion. */
#include "common/blob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int released;

static void count_release(struct blob *b)
{
    (void)b;
    released++;
}

static void test_blob_is_released_with_last_reference(void **state)
{
    struct blob_home home;
    struct blob b;
    struct blob *first = &b;

    (void)state;
    released = 0;
    blob_home_init(&home);
    blob_init(&b, &home, bytes_of("abc", 3), count_release, NULL);
    struct blob *second = blob_ref(first);
    blob_unref(&first);
    assert_null(first);
    assert_int_equal(released, 0);
    blob_unref(&second);
    assert_int_equal(released, 1);
    blob_unref(&second); /* NULL is accepted */
}

static void test_blob_drains_while_packets_point_into_it(void **state)
{
    struct blob_home home;
    struct blob b;
    struct blob *owned = &b;

    (void)state;
    released = 0;
    blob_home_init(&home);
    blob_init(&b, &home, bytes_of("abc", 3), count_release, NULL);
    b.port_shared.refs = 3; /* two packets in flight */
    blob_unref(&owned);
    assert_int_equal(released, 0);
    assert_true(blob_home_poll(&home));
    b.port_shared.refs = 1;
    assert_false(blob_home_poll(&home));
    assert_int_equal(released, 1);
}

static void test_blob_pool_runs_out_and_recovers(void **state)
{
    enum { COUNT = 5, SIZE = 100 };
    struct blob_home home;
    struct blob *held[COUNT];

    (void)state;
    blob_home_init(&home);
    struct blob_pool *pool = blob_pool_new(&home, COUNT, SIZE);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            held[i] = blob_pool_get(pool);
            assert_non_null(held[i]);
            memset(blob_pool_data(held[i]), i, SIZE);
        }
        assert_null(blob_pool_get(pool));
        assert_int_equal(blob_pool_in_use(pool), COUNT);
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(held[i]->data[0], i);
            assert_int_equal(held[i]->data[SIZE - 1], i);
            blob_unref(&held[i]);
        }
        assert_int_equal(blob_pool_in_use(pool), 0);
    }
    blob_pool_free(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blob_is_released_with_last_reference),
        cmocka_unit_test(test_blob_drains_while_packets_point_into_it),
        cmocka_unit_test(test_blob_pool_runs_out_and_recovers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
