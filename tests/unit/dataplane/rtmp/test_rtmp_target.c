#include "dataplane/rtmp/rtmp_target.h"

#include <errno.h>

#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

static int parse(const char *app, const char *tc_url, const char *stream, struct rtmp_target *t)
{
    return rtmp_target_parse(bytes_of_str(app), bytes_of_str(tc_url), bytes_of_str(stream), t);
}

static void test_rtmp_target_understands_what_encoders_send(void **state)
{
    static const struct {
        const char *app, *tc_url, *stream, *name, *key;
    } all[] = {
        {"live", "rtmp://h/live", "cam?key=secret", "cam", "secret"},
        {"live/", "rtmp://h/live/", "/cam?key=secret", "cam", "secret"},
        {"live", "rtmp://h/live", "cam?a=b&key=secret&c", "cam", "secret"},
        {"live?key=secret", "rtmp://h/live?key=secret", "cam", "cam", "secret"},
        {"live", "rtmp://h/live?key=secret", "cam", "cam", "secret"},
        {"live/cam", "rtmp://h/live/cam", "secret", "cam", "secret"},
        {"live/cam", "rtmp://h/live/cam", "?key=secret", "cam", "secret"},
        {"live/cam?key=secret", "rtmp://h/live/cam?key=secret", "", "cam", "secret"},
        {"live", "", "cam?key=s%65cret%2F%26", "cam", "secret/&"},
        {"live", "", "cam?key=100%", "cam", "100%"},
        {"live", "", "cam?key=%zz", "cam", "%zz"},
        {"live", "", "a_B-9?key==x", "a_B-9", "=x"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct rtmp_target t;

        assert_int_equal(parse(all[i].app, all[i].tc_url, all[i].stream, &t), 0);
        assert_string_equal(t.name, all[i].name);
        assert_string_equal(t.key, all[i].key);
    }
}

static void test_rtmp_target_refuses_what_names_no_channel(void **state)
{
    struct rtmp_target t = {.name = "kept"};
    char long_name[CHANNEL_NAME_MAX + 2];
    char long_key[STREAM_KEY_MAX + 16] = "cam?key=";

    (void)state;
    memset(long_name, 'n', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    memset(long_key + 8, 'k', STREAM_KEY_MAX + 1);
    assert_int_equal(parse("live", "", "", &t), -EINVAL);
    assert_int_equal(parse("live", "", "?key=k", &t), -EINVAL);
    assert_int_equal(parse("live", "", "a/b?key=k", &t), -EINVAL);
    assert_int_equal(parse("live", "", "a b?key=k", &t), -EINVAL);
    assert_int_equal(parse("live", "", long_name, &t), -EINVAL);
    assert_int_equal(parse("other", "", "cam?key=k", &t), -EINVAL);
    assert_int_equal(parse("lively", "", "cam?key=k", &t), -EINVAL);
    assert_int_equal(parse("live", "", "cam", &t), -EACCES);
    assert_int_equal(parse("live", "", "cam?key=", &t), -EACCES);
    assert_int_equal(parse("live", "", "cam?keys=k", &t), -EACCES);
    assert_int_equal(parse("live", "", "cam?key=%00", &t), -EACCES);
    assert_int_equal(parse("live", "", long_key, &t), -EACCES);
    long_key[8 + STREAM_KEY_MAX] = '\0';
    assert_string_equal(t.name, "kept");
    assert_int_equal(parse("live", "", long_key, &t), 0);
}

static void test_rtmp_target_knows_its_application(void **state)
{
    (void)state;
    assert_true(rtmp_target_is_app(bytes_of_str("live")));
    assert_true(rtmp_target_is_app(bytes_of_str("/live/")));
    assert_true(rtmp_target_is_app(bytes_of_str("live/cam?key=k")));
    assert_false(rtmp_target_is_app(bytes_of_str("")));
    assert_false(rtmp_target_is_app(bytes_of_str("vod")));
    assert_false(rtmp_target_is_app((struct bytes){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rtmp_target_understands_what_encoders_send),
        cmocka_unit_test(test_rtmp_target_refuses_what_names_no_channel),
        cmocka_unit_test(test_rtmp_target_knows_its_application),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
