/* The list of buffers against an array of bytes, for random segments around a sequence wrap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <stdint.h>

#include "dataplane/net/tcp/reassembly.h"
#include "dataplane/net/tcp/seq.h"

enum { SPAN = 20000, ROUNDS = 300, POOL_COUNT = 64 };

static uint8_t truth[SPAN];

static uint32_t random_next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void test_reassembly_keeps_each_byte_once(void **state)
{
    const uint32_t base = 0u - SPAN / 2; /* wraps in the middle */
    struct pool pool;

    (void)state;
    for (size_t i = 0; i < SPAN; i++)
        truth[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(pool_init(&pool, POOL_COUNT, sizeof(struct reassembly_buffer)), 0);
    for (uint32_t seed = 1; seed <= ROUNDS; seed++) {
        static bool is_there[SPAN];
        struct reassembly r;
        uint32_t random = seed;
        uint32_t done = 0;

        memset(is_there, 0, sizeof(is_there));
        reassembly_init(&r);
        for (int i = 0; i < 30; i++) {
            uint32_t from = random_next(&random) % SPAN;
            uint32_t size = random_next(&random) % 3000;
            size = size < SPAN - from ? size : SPAN - from;
            if (reassembly_add(&r, &pool, base + from, bytes_of(truth + from, size), POOL_COUNT))
                memset(is_there + from, 1, size);
            else
                break; /* out of buffers: what was kept is not known to this test */
            uint32_t edge = reassembly_edge(&r, &pool, base) - base;
            for (uint32_t k = 0; k < edge; k++)
                assert_true(is_there[k]);
            assert_true(edge == SPAN || !is_there[edge]);
        }
        struct bytes data;
        for (uint32_t index;
             (index = reassembly_pop(&r, &pool, base + done, &data)) != POOL_NONE;) {
            assert_memory_equal(data.ptr, truth + done, data.size);
            done += (uint32_t)data.size;
            pool_put(&pool, index);
        }
        reassembly_clear(&r, &pool);
        assert_int_equal(pool.in_use, 0);
        assert_int_equal(r.count, 0);
    }
    pool_fini(&pool);
}

static void test_reassembly_does_not_rewrite(void **state)
{
    struct pool pool;
    struct reassembly r;
    struct bytes data;

    (void)state;
    assert_int_equal(pool_init(&pool, 4, sizeof(struct reassembly_buffer)), 0);
    reassembly_init(&r);
    assert_true(reassembly_add(&r, &pool, 10, bytes_of_str("good"), 4));
    assert_true(reassembly_add(&r, &pool, 8, bytes_of_str("xxEVILyy"), 4));
    assert_int_equal(reassembly_edge(&r, &pool, 8), 16);
    char all[9] = "";
    for (uint32_t at = 8, index; (index = reassembly_pop(&r, &pool, at, &data)) != POOL_NONE;) {
        memcpy(all + (at - 8), data.ptr, data.size);
        at += (uint32_t)data.size;
        pool_put(&pool, index);
    }
    assert_string_equal(all, "xxgoodyy");
    pool_fini(&pool);
}

static void test_reassembly_is_bounded(void **state)
{
    struct pool pool;
    struct reassembly r;

    (void)state;
    assert_int_equal(pool_init(&pool, 8, sizeof(struct reassembly_buffer)), 0);
    reassembly_init(&r);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(reassembly_add(&r, &pool, 10 * i, bytes_of_str("x"), 3));
    assert_false(reassembly_add(&r, &pool, 100, bytes_of_str("x"), 3)); /* the stream's bound */
    assert_int_equal(r.count, 3);
    reassembly_clear(&r, &pool);
    pool_fini(&pool);
}

static void test_reassembly_reports_blocks(void **state)
{
    struct tcp_sack_block b[4];
    struct pool pool;
    struct reassembly r;

    (void)state;
    assert_int_equal(pool_init(&pool, 8, sizeof(struct reassembly_buffer)), 0);
    reassembly_init(&r);
    for (uint32_t i = 1; i <= 5; i++)
        assert_true(reassembly_add(&r, &pool, 100 * i, bytes_of_str("abc"), 8));
    reassembly_note(&r, &pool, 501);
    assert_int_equal(reassembly_blocks(&r, &pool, 50, b, 3), 3);
    assert_int_equal(b[0].start, 500);
    assert_int_equal(b[0].end, 503);
    assert_int_equal(b[1].start, 100);
    assert_int_equal(b[2].start, 200);
    assert_int_equal(reassembly_blocks(&r, &pool, 450, b, 3), 1); /* the rest is acked */

    reassembly_note(&r, &pool, 300);
    reassembly_note(&r, &pool, 500);
    assert_int_equal(reassembly_blocks(&r, &pool, 50, b, 4), 4);
    assert_int_equal(b[0].start, 500);
    assert_int_equal(b[1].start, 300);
    assert_int_equal(b[2].start, 100);
    assert_int_equal(b[3].start, 200);
    reassembly_clear(&r, &pool);
    pool_fini(&pool);
}

/* What a segment in order covers of what had come before it, around a sequence wrap. */
static void test_reassembly_tells_what_is_covered(void **state)
{
    const uint32_t base = 0u - 1500;
    struct reassembly r;
    struct pool pool;
    struct tcp_sack_block block = {0};

    (void)state;
    assert_int_equal(pool_init(&pool, POOL_COUNT, sizeof(struct reassembly_buffer)), 0);
    reassembly_init(&r);
    assert_false(reassembly_covered(&r, &pool, base + 5000, &block));
    assert_true(reassembly_add(&r, &pool, base + 1000, bytes_of(truth, 1000), POOL_COUNT));
    assert_true(reassembly_add(&r, &pool, base + 3000, bytes_of(truth, 1000), POOL_COUNT));
    assert_false(reassembly_covered(&r, &pool, base + 1000, &block));
    assert_true(reassembly_covered(&r, &pool, base + 1400, &block));
    assert_int_equal(block.start, base + 1000);
    assert_int_equal(block.end, base + 1400);
    assert_true(reassembly_covered(&r, &pool, base + 3500, &block));
    assert_int_equal(block.start, base + 1000);
    assert_int_equal(block.end, base + 2000);
    reassembly_clear(&r, &pool);
    pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reassembly_keeps_each_byte_once),
        cmocka_unit_test(test_reassembly_does_not_rewrite),
        cmocka_unit_test(test_reassembly_is_bounded),
        cmocka_unit_test(test_reassembly_reports_blocks),
        cmocka_unit_test(test_reassembly_tells_what_is_covered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
