#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/net/uring/extent_queue.h"

enum { BLOB_BYTES = 64, CHUNKS = 4 };

static struct blob_home home;
static struct blob_pool *blobs;
static struct extent_pool pool;
static struct extent_queue q;

static int set_up(void **state)
{
    (void)state;
    blob_home_init(&home);
    blobs = blob_pool_new(&home, 4, BLOB_BYTES);
    q = (struct extent_queue){0};
    return blobs == NULL || extent_pool_init(&pool, CHUNKS) < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    extent_queue_clear(&q, &pool);
    assert_int_equal(pool.in_use, 0);
    assert_int_equal(blob_pool_in_use(blobs), 0);
    extent_pool_fini(&pool);
    blob_pool_free(&blobs);
    return 0;
}

static void push(struct blob *b, uint32_t offset, uint32_t size)
{
    struct extent e = {b, offset, size};

    extent_queue_push(&q, &pool, &e);
}

static void test_gather_across_chunks(void **state)
{
    struct blob *b = blob_pool_get(blobs);
    struct iovec iov[64];
    struct blob *of[64];
    uint32_t bytes;

    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        push(b, i % 8, 1 + i % 4);
    assert_int_equal(q.count, 40);
    assert_int_equal(pool.in_use, 3);
    assert_int_equal(extent_queue_gather(&q, iov, of, 64, UINT32_MAX, &bytes), 40);
    assert_int_equal(bytes, 100);
    for (uint32_t i = 0; i < 40; i++) {
        assert_ptr_equal(iov[i].iov_base, b->data + i % 8);
        assert_int_equal(iov[i].iov_len, 1 + i % 4);
        assert_ptr_equal(of[i], b);
    }
    blob_unref(&b);
}

/* A byte limit cuts the last entry. */
static void test_gather_limits(void **state)
{
    struct blob *b = blob_pool_get(blobs);
    struct iovec iov[8];
    struct blob *of[8];
    uint32_t bytes;

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        push(b, 0, 10);
    assert_int_equal(extent_queue_gather(&q, iov, of, 8, UINT32_MAX, &bytes), 8);
    assert_int_equal(bytes, 80);
    assert_int_equal(extent_queue_gather(&q, iov, of, 8, 25, &bytes), 3);
    assert_int_equal(bytes, 25);
    assert_int_equal(iov[2].iov_len, 5);
    blob_unref(&b);
}

/* Consumed byte by byte, every reference goes with its extent. */
static void test_consume_partly(void **state)
{
    struct blob *b = blob_pool_get(blobs);

    (void)state;
    for (uint32_t i = 0; i < 33; i++)
        push(b, 0, 3);
    assert_int_equal(b->refs, 34);
    for (uint32_t consumed = 1; consumed <= 99; consumed++) {
        extent_queue_consume(&q, &pool, 1);
        assert_int_equal(b->refs, 34 - consumed / 3);
    }
    assert_int_equal(q.count, 0);
    assert_int_equal(pool.in_use, 0);
    push(b, 1, 2); /* usable again */
    assert_int_equal(q.count, 1);
    blob_unref(&b);
}

static void test_empty_extents_are_skipped(void **state)
{
    struct blob *b = blob_pool_get(blobs);

    (void)state;
    push(b, 0, 0);
    assert_int_equal(q.count, 0);
    assert_int_equal(b->refs, 1);
    blob_unref(&b);
}

static void test_room(void **state)
{
    struct blob *b = blob_pool_get(blobs);

    (void)state;
    assert_true(extent_queue_has_room(&q, &pool, CHUNKS * EXTENT_CHUNK_EXTENTS));
    assert_false(extent_queue_has_room(&q, &pool, CHUNKS * EXTENT_CHUNK_EXTENTS + 1));
    for (unsigned i = 0; i < CHUNKS * EXTENT_CHUNK_EXTENTS - 1; i++)
        push(b, 0, 1);
    assert_true(extent_queue_has_room(&q, &pool, 1));
    assert_false(extent_queue_has_room(&q, &pool, 2));
    blob_unref(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_gather_across_chunks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gather_limits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_consume_partly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_extents_are_skipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
