/* The table against a plain list, with many collisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <stdint.h>

#include "dataplane/net/flow_table.h"

enum { FLOWS_MAX = 64, ROUNDS = 20000 };

static uint32_t hash_of(uint32_t value)
{
    return value % 5 * 0x01000000u + value % 3; /* few of them, near the table's end and wrapping */
}

static bool has(const struct flow_table *t, uint32_t value)
{
    uint32_t cursor = hash_of(value);
    uint32_t found;

    while ((found = flow_table_next(t, hash_of(value), &cursor)) != UINT32_MAX)
        if (found == value)
            return true;
    return false;
}

static void test_flow_table_finds_what_is_in_it(void **state)
{
    struct flow_table t;
    bool is_in[FLOWS_MAX] = {false};
    uint32_t random = 1;

    (void)state;
    assert_int_equal(flow_table_init(&t, FLOWS_MAX), 0);
    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525 + 1013904223;
        uint32_t value = (random >> 16) % FLOWS_MAX;
        if (is_in[value])
            flow_table_remove(&t, hash_of(value), value);
        else
            flow_table_insert(&t, hash_of(value), value);
        is_in[value] = !is_in[value];
        for (uint32_t i = 0; i < FLOWS_MAX; i++)
            assert_int_equal(has(&t, i), is_in[i]);
    }
    flow_table_fini(&t);
}

static void test_flow_table_replaces_in_place(void **state)
{
    struct flow_table t;
    uint32_t cursor = 7;

    (void)state;
    assert_int_equal(flow_table_init(&t, 4), 0);
    flow_table_insert(&t, 7, 1);
    flow_table_replace(&t, 7, 1, 2);
    assert_int_equal(flow_table_next(&t, 7, &cursor), 2);
    assert_int_equal(flow_table_next(&t, 7, &cursor), UINT32_MAX);
    assert_int_equal(t.count, 1);
    flow_table_fini(&t);
}

static void test_flow_table_hash_depends_on_key_and_ends(void **state)
{
    const struct siphash_key one = {1, 2};
    const struct siphash_key two = {1, 3};
    struct endpoint a = {.addr = {10, 0, 0, 1}, .port = 80, .family = 4};
    struct endpoint b = {.addr = {10, 0, 0, 2}, .port = 1234, .family = 4};

    (void)state;
    uint64_t hash = flow_hash64(&one, &a, &b);
    assert_true(hash == flow_hash64(&one, &a, &b));
    assert_true(hash != flow_hash64(&two, &a, &b));
    assert_true(hash != flow_hash64(&one, &b, &a));
    b.port++;
    assert_true(hash != flow_hash64(&one, &a, &b));
}

/* Every input bit changes much of the output. */
static void test_flow_table_siphash_is_keyed_well(void **state)
{
    const struct siphash_key key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    const uint64_t word = 0x0706050403020100u;
    uint64_t hash = siphash_words(&key, &word, 1);
    unsigned flipped_min = 64;

    (void)state;
    /* No bit of the input leaves most of the output alone. */
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t other = word ^ (uint64_t)1 << bit;
        unsigned flipped = (unsigned)__builtin_popcountll(hash ^ siphash_words(&key, &other, 1));
        flipped_min = flipped < flipped_min ? flipped : flipped_min;
    }
    assert_true(flipped_min >= 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow_table_finds_what_is_in_it),
        cmocka_unit_test(test_flow_table_replaces_in_place),
        cmocka_unit_test(test_flow_table_hash_depends_on_key_and_ends),
        cmocka_unit_test(test_flow_table_siphash_is_keyed_well),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
