#include "dataplane/http/http_pages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/check.h"
#include "tests/unit/dataplane/http/http_world.h"

static char directory[] = "/tmp/leat-pages-XXXXXX";

static void write_file(const char *name, const char *content)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(content, file) >= 0, 1);
    fclose(file);
}

static int setup(void **state)
{
    char path[256];

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/assets", directory);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("index.html", "<p>index");
    write_file("watch.html", "<p>watch");
    write_file("favicon.svg", "<svg/>");
    write_file("empty.txt", "");
    write_file(".hidden", "secret");
    write_file("assets/app-0123.js", "let a = 1;");
    write_file("assets/app-0123.js.gz", "compressed");
    write_file("assets/style-0123.css", "p{}");
    snprintf(path, sizeof(path), "%s/assets/link.js", directory);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"index.html",
                                        "watch.html",
                                        "favicon.svg",
                                        "empty.txt",
                                        ".hidden",
                                        "assets/app-0123.js",
                                        "assets/style-0123.css",
                                        "assets/app-0123.js.gz",
                                        "assets/link.js",
                                        "assets"};
    char path[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        remove(path);
    }
    return rmdir(directory);
}

static struct world *started(const char *pages)
{
    struct world *w = world_new();

    snprintf(w->config.http_pages.text, sizeof(w->config.http_pages.text), "%s", pages);
    world_start(w);
    return w;
}

static const char *fetch(struct peer *p, const char *path, const char *fields, int status)
{
    char request[512];
    int got = 0;

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, fields);
    peer_send_str(p, request);
    world_run(p->world, 1000);
    const char *text = peer_take(p);
    if (sscanf(text, "HTTP/1.1 %d", &got) != 1 || got != status)
        fail_msg("%s: expected %d, got: %.300s", path, status, text);
    return text;
}

static void test_pages_are_served(void **state)
{
    struct world *w = started(directory);
    struct peer *p = world_connect(w, 0);

    (void)state;
    const char *text = fetch(p, "/", "", 200);
    assert_non_null(strstr(text, "\r\n\r\n<p>index"));
    assert_non_null(strstr(text, "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Security-Policy: default-src 'none';"));
    assert_non_null(strstr(text, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(text, "\r\nReferrer-Policy: no-referrer\r\n"));
    assert_non_null(strstr(text, "\r\nCache-Control: no-cache\r\n"));
    assert_null(strstr(text, "Access-Control"));
    assert_non_null(strstr(fetch(p, "/watch/cam_1-X", "", 200), "<p>watch"));
    assert_non_null(strstr(fetch(p, "/favicon.svg", "", 200), "image/svg+xml"));
    text = fetch(p, "/assets/app-0123.js", "", 200);
    assert_non_null(strstr(text, "\r\nContent-Type: text/javascript; charset=utf-8\r\n"));
    assert_non_null(strstr(text, "\r\nCache-Control: public, max-age=31536000, immutable\r\n"));
    char field[64];
    char etag[32];
    assert_int_equal(sscanf(strstr(text, "ETag: "), "ETag: %31s", etag), 1);
    snprintf(field, sizeof(field), "If-None-Match: %s\r\n", etag);
    fetch(p, "/assets/app-0123.js", field, 304);
    assert_non_null(
        strstr(fetch(p, "/assets/app-0123.js", "Range: bytes=4-4\r\n", 206), "\r\n\r\na"));
    world_free(&w);
}

static void test_pages_compressed_for_who_takes_it(void **state)
{
    struct world *w = started(directory);
    struct peer *p = world_connect(w, 0);

    (void)state;
    const char *text = fetch(p, "/assets/app-0123.js", "Accept-Encoding: gzip, br\r\n", 200);
    assert_non_null(strstr(text, "\r\nContent-Encoding: gzip\r\n"));
    assert_non_null(strstr(text, "\r\nVary: Accept-Encoding\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Type: text/javascript; charset=utf-8\r\n"));
    assert_non_null(strstr(text, "\r\n\r\ncompressed"));
    text = fetch(p, "/assets/app-0123.js", "Accept-Encoding: gzip;q=0\r\n", 200);
    assert_null(strstr(text, "Content-Encoding"));
    assert_non_null(strstr(text, "\r\nVary: Accept-Encoding\r\n"));
    text = fetch(p, "/assets/style-0123.css", "Accept-Encoding: gzip\r\n", 200);
    assert_null(strstr(text, "Vary"));
    world_free(&w);
}

static void test_pages_nothing_else_is_served(void **state)
{
    static const char *const paths[] = {
        "/index.html",     "/watch.html",     "/watch/",        "/watch/a/b", "/watch/a.b",
        "/.hidden",        "/assets/link.js", "/assets/",       "/assets",    "/empty.txt",
        "/assets/nothing", "/watch/%C3%A4",   "/favicon.svg/x", "/metrics",   "//",
        "/assets/../x",
    };
    struct world *w = started(directory);
    struct peer *p = world_connect(w, 0);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++)
        fetch(p, paths[i], "", 404);
    world_free(&w);
}

static void test_pages_not_built_says_what_to_run(void **state)
{
    struct world *w = started("/nonexistent");
    struct peer *p = world_connect(w, 0);

    (void)state;
    assert_non_null(strstr(fetch(p, "/", "", 503), "./leat build"));
    assert_non_null(strstr(fetch(p, "/watch/cam", "", 503), "./leat build"));
    fetch(p, "/assets/app.js", "", 404);
    world_free(&w);
}

static void test_pages_list_of_channels(void **state)
{
    struct world *w = started("/nonexistent");
    struct peer *p = world_connect(w, 0);

    (void)state;
    assert_non_null(strstr(fetch(p, "/api/channels.json", "", 200), "\r\n\r\n{\"channels\":[]}\n"));
    struct channel *cam = fake_channel_start(w, "cam");
    fake_channel_start(w, "not-yet");
    fake_channel_part(cam, 10, false);
    struct channel *gone = fake_channel_start(w, "gone");
    fake_channel_part(gone, 10, false);
    fake_channel_set_live(gone, false);
    const char *text = fetch(p, "/api/channels.json", "", 200);
    assert_non_null(strstr(text, "\r\nContent-Type: application/json\r\n"));
    assert_string_equal(
        strstr(text, "\r\n\r\n") + 4,
        "{\"channels\":[{\"name\":\"cam\",\"is_live\":true,\"codecs\":\"avc1.64001f,mp4a.40.2\","
        "\"tracks\":[{\"name\":\"video\",\"kind\":\"video\",\"codec\":\"avc1.64001f\",\"width\":"
        "1280,"
        "\"height\":720},{\"name\":\"audio\",\"kind\":\"audio\",\"codec\":\"mp4a.40.2\"}]},"
        "{\"name\":\"gone\",\"is_live\":false,\"codecs\":\"avc1.64001f,mp4a.40.2\","
        "\"tracks\":[{\"name\":\"video\",\"kind\":\"video\",\"codec\":\"avc1.64001f\",\"width\":"
        "1280,"
        "\"height\":720},{\"name\":\"audio\",\"kind\":\"audio\",\"codec\":\"mp4a.40.2\"}]}]}\n");
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_served),
        cmocka_unit_test(test_pages_compressed_for_who_takes_it),
        cmocka_unit_test(test_pages_nothing_else_is_served),
        cmocka_unit_test(test_pages_not_built_says_what_to_run),
        cmocka_unit_test(test_pages_list_of_channels),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
