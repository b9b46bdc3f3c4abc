/* URLs of live media: each thing has one, and nothing else is one. */
#include "dataplane/media/channel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct live_path parse(const char *text)
{
    return live_path_parse(bytes_of_str(text));
}

static void test_path_names_each_kind(void **state)
{
    (void)state;
    assert_int_equal(parse("index.m3u8").kind, LIVE_MULTIVARIANT);
    assert_int_equal(parse("manifest.mpd").kind, LIVE_MPD);

    struct live_path p = parse("audio2.m3u8");
    assert_int_equal(p.kind, LIVE_PLAYLIST);
    assert_true(bytes_equal_str(p.track, "audio2"));

    p = parse("video-init-12.mp4");
    assert_int_equal(p.kind, LIVE_INIT);
    assert_true(bytes_equal_str(p.track, "video"));
    assert_int_equal(p.number, 12);

    p = parse("video-27131234.m4s");
    assert_int_equal(p.kind, LIVE_SEGMENT);
    assert_int_equal(p.number, 27131234);

    p = parse("audio-0.7.m4s");
    assert_int_equal(p.kind, LIVE_PART);
    assert_true(bytes_equal_str(p.track, "audio"));
    assert_int_equal(p.number, 0);
    assert_int_equal(p.part, 7);
    assert_int_equal(parse("video-9999999999999999999.4294967295.m4s").kind, LIVE_PART);
}

static void test_path_refuses_everything_else(void **state)
{
    static const char *const bad[] = {
        "",
        ".m3u8",
        "index.m3u8/",
        "Video.m3u8",
        "../video.m3u8",
        "video.m3u",
        "abcdefghijklmnop.m3u8",
        "video-.m4s",
        "-1.m4s",
        "video-01.m4s",
        "video-1.01.m4s",
        "video-+1.m4s",
        "video--1.m4s",
        "video-1..m4s",
        "video-1.2.3.m4s",
        "video-10000000000000000000.m4s",
        "video-1.4294967296.m4s",
        "video-init-.mp4",
        "video-init-1.2.mp4",
        "video-inits-1.mp4",
        "video-1.mp4",
        "video-init-1.m4s",
        "video-1%2e2.m4s",
        ".m4s",
        ".mp4",
        "-.mp4",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(bad[i]).kind != LIVE_NONE)
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(live_path_parse((struct bytes){0}).kind, LIVE_NONE);
    assert_int_equal(live_path_parse(bytes_of("video-1\0.m4s", 12)).kind, LIVE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_names_each_kind),
        cmocka_unit_test(test_path_refuses_everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
