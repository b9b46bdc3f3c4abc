/* The bounded cursor and writer. */
#include "common/cursor.h"
#include "common/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_cursor_reads_and_stops_at_end(void **state)
{
    static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7};
    struct cursor c = cursor_of(bytes_of(data, sizeof(data)));

    (void)state;
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_be16(&c), 0x0203);
    assert_int_equal(cursor_be24(&c), 0x040506);
    assert_int_equal(cursor_left(&c), 1);
    assert_int_equal(cursor_be32(&c), 0);
    assert_false(cursor_is_ok(&c));
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(cursor_u8(&c), 0); /* failure stays */
}

static void test_cursor_sub_cannot_leave_its_range(void **state)
{
    static const uint8_t data[] = {1, 2, 3, 4};
    struct cursor c = cursor_of(bytes_of(data, sizeof(data)));
    struct cursor sub = cursor_sub(&c, 2);

    (void)state;
    assert_int_equal(cursor_be32(&sub), 0);
    assert_false(cursor_is_ok(&sub));
    assert_true(cursor_is_ok(&c));
    assert_int_equal(cursor_be16(&c), 0x0304);
    struct cursor beyond = cursor_sub(&c, 1);
    assert_false(cursor_is_ok(&beyond));
    assert_false(cursor_is_ok(&c));
}

static void test_cursor_over_nothing(void **state)
{
    struct cursor c = cursor_of((struct bytes){0});

    (void)state;
    assert_int_equal(cursor_take_rest(&c).size, 0);
    assert_true(cursor_is_ok(&c));
    assert_int_equal(cursor_take(&c, SIZE_MAX).size, 0);
    assert_false(cursor_is_ok(&c));
}

static void test_writer_never_exceeds_its_buffer(void **state)
{
    uint8_t buffer[8];

    (void)state;
    for (size_t capacity = 0; capacity <= sizeof(buffer); capacity++) {
        memset(buffer, 0xee, sizeof(buffer));
        struct writer w = writer_of(buffer, capacity);
        writer_be32(&w, 0x01020304);
        writer_printf(&w, "%s", "ab");
        assert_int_equal(writer_is_ok(&w), capacity >= 7); /* printf needs room for its NUL */
        for (size_t i = capacity; i < sizeof(buffer); i++)
            assert_int_equal(buffer[i], 0xee);
    }
    assert_memory_equal(buffer, "\1\2\3\4ab", 6);
}

static void test_writer_patches_only_what_is_written(void **state)
{
    uint8_t buffer[8];
    struct writer w = writer_of(buffer, sizeof(buffer));

    (void)state;
    writer_be32(&w, 0);
    writer_patch_be32(&w, 0, 0xdeadbeef);
    assert_memory_equal(buffer, "\xde\xad\xbe\xef", 4);
    writer_patch_be32(&w, 1, 0);
    assert_false(writer_is_ok(&w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor_reads_and_stops_at_end),
        cmocka_unit_test(test_cursor_sub_cannot_leave_its_range),
        cmocka_unit_test(test_cursor_over_nothing),
        cmocka_unit_test(test_writer_never_exceeds_its_buffer),
        cmocka_unit_test(test_writer_patches_only_what_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
