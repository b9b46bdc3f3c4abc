#include "dataplane/rtmp/amf0.h"

#include <errno.h>

#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

static void test_amf0_reads_what_it_writes(void **state)
{
    static uint8_t wire[80000];
    static char long_text[70000];
    struct writer w = writer_of(wire, sizeof(wire));
    struct amf0_value v;
    struct bytes name;

    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    amf0_write_number(&w, -1234.5);
    amf0_write_boolean(&w, true);
    amf0_write_text(&w, "live");
    amf0_write_string(&w, bytes_of(long_text, sizeof(long_text)));
    amf0_write_null(&w);
    amf0_write_undefined(&w);
    amf0_write_object(&w);
    amf0_write_name(&w, "a");
    amf0_write_number(&w, 7);
    amf0_write_end(&w);
    amf0_write_ecma_array(&w, 1);
    amf0_write_name(&w, "b");
    amf0_write_strict_array(&w, 2);
    amf0_write_text(&w, "x");
    amf0_write_null(&w);
    amf0_write_end(&w);
    assert_true(writer_is_ok(&w));

    struct cursor c = cursor_of(writer_bytes(&w));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.type == AMF0_NUMBER && v.number == -1234.5);
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.type == AMF0_BOOLEAN && v.boolean);
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(amf0_is_string(&v) && bytes_equal_str(v.string, "live"));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.type == AMF0_LONG_STRING && v.string.size == sizeof(long_text));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_int_equal(v.type, AMF0_NULL);
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_int_equal(v.type, AMF0_UNDEFINED);
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_int_equal(v.type, AMF0_OBJECT);
    assert_int_equal(amf0_next_member(&c, &name), 1);
    assert_true(bytes_equal_str(name, "a"));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.number == 7);
    assert_int_equal(amf0_next_member(&c, &name), 0);
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.type == AMF0_ECMA_ARRAY && v.count == 1);
    assert_int_equal(amf0_next_member(&c, &name), 1);
    assert_int_equal(amf0_skip(&c), 0);
    assert_int_equal(amf0_next_member(&c, &name), 0);
    assert_int_equal(cursor_left(&c), 0);
}

static void test_amf0_reads_the_rarer_types(void **state)
{
    static const uint8_t date[] = {11, 0x40, 0x59, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t typed[] = {16, 0, 1, 'C', 0, 1, 'k', 5, 0, 0, 9};
    static const uint8_t xml[] = {15, 0, 0, 0, 2, '<', '>'};
    static const uint8_t reference[] = {7, 0, 3};
    struct amf0_value v;
    struct cursor c = cursor_of(bytes_of(date, sizeof(date)));

    (void)state;
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(v.type == AMF0_DATE && v.number == 100.0 && cursor_left(&c) == 0);
    c = cursor_of(bytes_of(typed, sizeof(typed)));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_true(bytes_equal_str(v.string, "C"));
    assert_int_equal(amf0_skip_body(&c, &v), 0);
    assert_int_equal(cursor_left(&c), 0);
    c = cursor_of(bytes_of(xml, sizeof(xml)));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_int_equal(v.string.size, 2);
    c = cursor_of(bytes_of(reference, sizeof(reference)));
    assert_int_equal(amf0_read(&c, &v), 0);
    assert_int_equal(v.count, 3);
}

static void test_amf0_fails_on_every_truncation(void **state)
{
    uint8_t wire[64];
    struct writer w = writer_of(wire, sizeof(wire));

    (void)state;
    amf0_write_strict_array(&w, 3);
    amf0_write_number(&w, 1);
    amf0_write_text(&w, "text");
    amf0_write_object(&w);
    amf0_write_name(&w, "k");
    amf0_write_boolean(&w, false);
    size_t before_end = w.size;
    amf0_write_end(&w);
    for (size_t size = 0; size < w.size; size++) {
        struct bytes copy = fixture_copy(bytes_of(wire, size));
        struct cursor c = cursor_of(copy);

        /* The end marker may be missing as a whole, and only then. */
        assert_int_equal(amf0_skip(&c),
                         size == before_end || size == before_end - 5 ? 0 : -EBADMSG);
        fixture_free(&copy);
    }
}

static void test_amf0_bounds_nesting(void **state)
{
    (void)state;
    for (unsigned depth = AMF0_DEPTH_MAX - 1; depth <= AMF0_DEPTH_MAX + 1; depth++) {
        uint8_t wire[256];
        struct writer w = writer_of(wire, sizeof(wire));

        for (unsigned i = 0; i < depth; i++)
            amf0_write_strict_array(&w, 1);
        amf0_write_null(&w);
        struct cursor c = cursor_of(writer_bytes(&w));
        assert_int_equal(amf0_skip(&c), depth <= AMF0_DEPTH_MAX ? 0 : -ELOOP);
    }
}

static void test_amf0_refuses_reserved_types(void **state)
{
    static const uint8_t markers[] = {4, 14, 17, 18, 255};

    (void)state;
    for (size_t i = 0; i < sizeof(markers); i++) {
        struct cursor c = cursor_of(bytes_of(markers + i, 1));
        struct amf0_value v;

        assert_int_equal(amf0_read(&c, &v), -ENOTSUP);
    }
}

/* A count of four billion elements costs nothing when they are not there. */
static void test_amf0_does_not_believe_counts(void **state)
{
    static const uint8_t wire[] = {10, 0xff, 0xff, 0xff, 0xff, 5, 5, 5};
    struct cursor c = cursor_of(bytes_of(wire, sizeof(wire)));

    (void)state;
    assert_int_equal(amf0_skip(&c), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_amf0_reads_what_it_writes),
        cmocka_unit_test(test_amf0_reads_the_rarer_types),
        cmocka_unit_test(test_amf0_fails_on_every_truncation),
        cmocka_unit_test(test_amf0_bounds_nesting),
        cmocka_unit_test(test_amf0_refuses_reserved_types),
        cmocka_unit_test(test_amf0_does_not_believe_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
