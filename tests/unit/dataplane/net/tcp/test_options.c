#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <errno.h>

#include "dataplane/net/tcp/options.h"

static void test_options_read_what_was_written(void **state)
{
    const struct tcp_options o = {.mss = 1460,
                                  .has_shift = true,
                                  .shift = 7,
                                  .has_timestamps = true,
                                  .ts_value = 1,
                                  .ts_echo = 0xffffffff,
                                  .is_sack_permitted = true};
    struct tcp_options back;
    uint8_t out[TCP_OPTIONS_MAX];

    (void)state;
    size_t size = tcp_options_write_syn(&o, out);
    assert_int_equal(size % 4, 0);
    assert_int_equal(tcp_options_parse(bytes_of(out, size), &back), 0);
    assert_int_equal(back.mss, 1460);
    assert_int_equal(back.shift, 7);
    assert_int_equal(back.ts_value, 1);
    assert_int_equal(back.ts_echo, 0xffffffff);
    assert_true(back.is_sack_permitted && back.has_shift && back.has_timestamps);
}

static void test_options_write_as_many_blocks_as_fit(void **state)
{
    const struct tcp_sack_block blocks[4] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    struct tcp_options back;
    uint8_t out[TCP_OPTIONS_MAX];

    (void)state;
    assert_int_equal(tcp_options_write_sack(blocks, 4, 40, out), 36);
    assert_int_equal(tcp_options_write_sack(blocks, 4, 28, out), 28); /* beside timestamps */
    assert_int_equal(tcp_options_parse(bytes_of(out, 28), &back), 0);
    assert_int_equal(back.sack_count, 3);
    assert_int_equal(back.sacks[2].start, 5);
    assert_int_equal(tcp_options_write_sack(blocks, 4, 11, out), 0);
    assert_int_equal(tcp_options_write_sack(blocks, 0, 40, out), 0);
}

static void test_options_skip_unknown_and_stop_at_end(void **state)
{
    const uint8_t in[] = {254, 4, 1, 2, 1, 0, 2, 4, 5, 0xb4};
    struct tcp_options o;

    (void)state;
    assert_int_equal(tcp_options_parse(bytes_of(in, sizeof(in)), &o), 0);
    assert_int_equal(o.mss, 0);
}

static void test_options_cut_the_shift(void **state)
{
    const uint8_t in[] = {3, 3, 200};
    struct tcp_options o;

    (void)state;
    assert_int_equal(tcp_options_parse(bytes_of(in, sizeof(in)), &o), 0);
    assert_int_equal(o.shift, TCP_SHIFT_MAX);
}

static void test_options_refuse_wrong_lengths(void **state)
{
    static const struct {
        uint8_t in[12];
        size_t size;
    } cases[] = {
        {{2}, 1},       {{2, 0}, 2},    {{2, 1}, 2},     {{2, 4, 5}, 3},
        {{2, 3, 5}, 3}, {{3, 2}, 2},    {{4, 3, 0}, 3},  {{5, 2}, 2},
        {{5, 9, 1}, 9}, {{8, 9, 1}, 9}, {{254, 50}, 12}, {{8, 10, 1}, 9},
    };
    struct tcp_options o;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (tcp_options_parse(bytes_of(cases[i].in, cases[i].size), &o) != -EBADMSG)
            fail_msg("case %zu was taken", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_read_what_was_written),
        cmocka_unit_test(test_options_write_as_many_blocks_as_fit),
        cmocka_unit_test(test_options_skip_unknown_and_stop_at_end),
        cmocka_unit_test(test_options_cut_the_shift),
        cmocka_unit_test(test_options_refuse_wrong_lengths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
