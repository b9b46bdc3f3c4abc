/* Every slice of a blob sums to the same with and without its prefix sums, and to what the plain
 * loop of RFC 1071 says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <stdint.h>

#include "dataplane/net/checksum.h"

enum { SIZE = 1000 };

static uint8_t data[SIZE];
static struct checksum_memo memo;

static uint16_t plain_sum(const uint8_t *p, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += (i & 1) != 0 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* 0 and 0xffff are the same number in one's complement. */
static void assert_same_sum(uint16_t a, uint16_t b, size_t from, size_t size)
{
    if (a % 0xffff != b % 0xffff)
        fail_msg("[%zu, +%zu): %04x, expected %04x", from, size, a, b);
}

static void fill(uint32_t seed)
{
    for (size_t i = 0; i < SIZE; i++) {
        seed = seed * 1664525 + 1013904223;
        data[i] = seed % 7 == 0 ? 0xff : (uint8_t)(seed >> 24);
    }
}

static void test_checksum_sums_like_the_plain_loop(void **state)
{
    (void)state;
    fill(1);
    for (size_t from = 0; from < 40; from++)
        for (size_t size = 0; size < 300; size++)
            assert_same_sum(checksum_sum(data + from, size), plain_sum(data + from, size), from,
                            size);
    memset(data, 0xff, SIZE);
    assert_int_equal(checksum_sum(data, SIZE), 0xffff);
}

static void test_checksum_looks_slices_up(void **state)
{
    uint16_t sums[SIZE / BLOB_SUM_STRIDE + 1];
    struct blob blob = {.data = data, .size = SIZE};

    (void)state;
    fill(2);
    checksum_prefix_sums(data, SIZE, sums);
    blob.sums = sums;
    for (uint32_t from = 0; from < SIZE; from++)
        for (uint32_t size = 0; size <= SIZE - from; size += size < 130 ? 1 : 13) {
            struct extent e = {.blob = &blob, .offset = from, .size = size};
            assert_same_sum(checksum_extent(&e), plain_sum(data + from, size), from, size);
        }
}

static void test_checksum_joins_odd_extents(void **state)
{
    struct blob blob = {.data = data, .size = SIZE};
    struct extent e[3] = {{.blob = &blob, .offset = 0, .size = 101},
                          {.blob = &blob, .offset = 101, .size = 300},
                          {.blob = &blob, .offset = 401, .size = 599}};

    (void)state;
    fill(3);
    assert_same_sum(checksum_extents(&memo, e, 3), plain_sum(data, SIZE), 0, SIZE);
}

static void nothing_released(struct blob *b)
{
    (void)b;
}

/* Memory that is used again for other bytes is another blob, with sums of its own. */
static void test_checksum_remembers_slices_by_blob(void **state)
{
    uint16_t sums[SIZE / BLOB_SUM_STRIDE + 1];
    struct blob_home home;
    struct blob blob;

    (void)state;
    blob_home_init(&home);
    for (uint32_t seed = 4; seed < 8; seed++) {
        fill(seed);
        checksum_prefix_sums(data, SIZE, sums);
        blob_init(&blob, &home, bytes_of(data, SIZE), nothing_released, NULL);
        blob.sums = sums;
        for (int pass = 0; pass < 2; pass++) {
            for (uint32_t from = 0; from < SIZE; from += 7) {
                for (uint32_t size = 1; size <= SIZE - from; size += 29) {
                    struct extent e = {.blob = &blob, .offset = from, .size = size};
                    assert_same_sum(checksum_extents(&memo, &e, 1), plain_sum(data + from, size),
                                    from, size);
                }
            }
        }
    }
}

/* The example of RFC 1071 §3. */
static void test_checksum_agrees_with_the_rfc(void **state)
{
    static const uint8_t example[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    (void)state;
    assert_int_equal(checksum_sum(example, sizeof(example)), 0xddf2);
    assert_int_equal(checksum_finish(0xddf2), 0x220d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum_sums_like_the_plain_loop),
        cmocka_unit_test(test_checksum_looks_slices_up),
        cmocka_unit_test(test_checksum_joins_odd_extents),
        cmocka_unit_test(test_checksum_remembers_slices_by_blob),
        cmocka_unit_test(test_checksum_agrees_with_the_rfc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
