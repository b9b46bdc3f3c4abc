#include "dataplane/http/live_routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"
#include "tests/unit/dataplane/http/http_world.h"

enum { SECOND_US = 1000000, FIRST_MSN = 100, INIT_ID = 7 };

struct fixture {
    struct world *w;
    struct channel *ch;
    struct peer *p;
};

/* A channel "cam": segment 100 complete with 3 parts, 101 growing with 2 parts. */
static struct fixture live(void)
{
    struct fixture f = {.w = world_new()};

    world_start(f.w);
    f.ch = fake_channel_start(f.w, "cam");
    for (int i = 0; i < 5; i++)
        fake_channel_part(f.ch, 1000, i == 2);
    f.p = world_connect(f.w, 0);
    return f;
}

static void request_with(struct fixture *f, const char *method, const char *path,
                         const char *fields)
{
    char text[1024];

    snprintf(text, sizeof(text), "%s /live/%s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, path, fields);
    peer_send_str(f->p, text);
    world_run(f->w, 1000);
}

static void request(struct fixture *f, const char *path)
{
    request_with(f, "GET", path, "");
}

static const char *body_of(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");

    return end != NULL ? end + 4 : "";
}

static const char *expect(struct fixture *f, int status)
{
    const char *text = peer_take(f->p);
    int got = 0;

    if (sscanf(text, "HTTP/1.1 %d", &got) != 1 || got != status)
        fail_msg("expected status %d, got: %.400s", status, text);
    return text;
}

static void expect_waiting(struct fixture *f)
{
    const char *text = peer_take(f->p);

    if (text[0] != '\0')
        fail_msg("expected to wait, got: %.400s", text);
    assert_int_equal(fake_channel_waiters(f->ch), 1);
    assert_int_equal(counter_read(&f->w->counters.http_waiting), 1);
}

static void expect_has(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("no '%s' in: %.600s", what, text);
}

static void test_live_manifests(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/index.m3u8");
    const char *text = expect(&f, 200);
    expect_has(text, "Content-Type: application/vnd.apple.mpegurl\r\n");
    expect_has(text, "Cache-Control: public, max-age=1\r\n");
    expect_has(body_of(text), "#EXTM3U");
    request(&f, "cam/manifest.mpd");
    expect_has(expect(&f, 200), "Content-Type: application/dash+xml\r\n");
    request(&f, "cam/video.m3u8");
    text = expect(&f, 200);
    expect_has(text, "Cache-Control: public, max-age=1\r\n");
    assert_string_equal(body_of(text), "playlist 101.2\n");
    request(&f, "cam/audio.m3u8?_HLS_skip=YES");
    assert_string_equal(body_of(expect(&f, 200)), "delta 101.2\n");
    request(&f, "cam/audio.m3u8?_HLS_skip=v2");
    assert_string_equal(body_of(expect(&f, 200)), "delta 101.2\n");
    request(&f, "cam/audio.m3u8?_HLS_skip=no");
    assert_string_equal(body_of(expect(&f, 200)), "playlist 101.2\n");
    assert_int_equal(counter_read(&f.w->counters.http_requests_playlist), 4);
    world_free(&f.w);
}

static void test_live_unknown_things(void **state)
{
    static const char *const paths[] = {
        "nobody/index.m3u8",
        "cam/other.m3u8",
        "cam/video-init-8.mp4",
        "cam/video-100.3.m4s",
        "cam/video-104.m4s",
        "cam/video-101.9.m4s",
        "cam/video-102.1.m4s",
        "cam/",
        "cam",
        "cam/x/video.m3u8",
        "",
        "cam/video-100.m4s.x",
    };
    struct fixture f = live();

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        request(&f, paths[i]);
        expect_has(expect(&f, 404), "Cache-Control: public, max-age=1\r\n");
    }
    fake_channel_evict(f.ch);
    request(&f, "cam/video-100.m4s");
    expect(&f, 410);
    request(&f, "cam/video-100.0.m4s");
    expect(&f, 410);
    world_free(&f.w);
}

/* Which reloads are answered at once, which wait, which are refused (rfc8216bis 6.2.5.2). */
static void test_live_reload_table(void **state)
{
    static const struct {
        const char *query;
        int status; /* 0: waits */
    } table[] = {
        {"_HLS_msn=0", 200},
        {"_HLS_msn=100", 200},
        {"_HLS_msn=100&_HLS_part=0", 200},
        {"_HLS_msn=100&_HLS_part=9", 200}, /* past its last: the first of 101 */
        {"_HLS_msn=101&_HLS_part=0", 200},
        {"_HLS_msn=101&_HLS_part=1", 200},
        {"_HLS_msn=101&_HLS_part=2", 0},
        {"_HLS_msn=101&_HLS_part=16", 0},
        {"_HLS_msn=101&_HLS_part=17", 400}, /* the advance part limit is 15 at 200 ms */
        {"_HLS_msn=101", 0},
        {"_HLS_msn=102", 0},
        {"_HLS_msn=102&_HLS_part=0", 0},
        {"_HLS_msn=103", 0},
        {"_HLS_msn=104", 400},
        {"_HLS_msn=104&_HLS_part=0", 400},
        {"_HLS_msn=18446744073709551615", 400},
        {"_HLS_msn=99999999999999999999", 400},
        {"_HLS_msn=x", 400},
        {"_HLS_msn=", 400},
        {"_HLS_msn=-1", 400},
        {"_HLS_part=0", 400},
        {"_HLS_msn=101&_HLS_part=x", 400},
        {"_HLS_msn=101&_HLS_part=4294967296", 400},
        {"_HLS_push=1", 200},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct fixture f = live();
        char path[128];
        int status = 0;
        snprintf(path, sizeof(path), "cam/video.m3u8?%s", table[i].query);
        request(&f, path);
        const char *text = peer_take(f.p);
        (void)sscanf(text, "HTTP/1.1 %d", &status);
        if (status != table[i].status)
            fail_msg("%s: expected %d, got %d", table[i].query, table[i].status, status);
        world_free(&f.w);
    }
}

static void test_live_reload_waits_for_its_part(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_part=3");
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    const char *text = expect(&f, 200);
    assert_string_equal(body_of(text), "playlist 101.4\n");
    expect_has(text, "Cache-Control: public, max-age=12\r\n");
    assert_int_equal(counter_read(&f.w->counters.http_blocked_requests), 1);
    world_free(&f.w);
}

static void test_live_reload_waits_for_the_whole_segment(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_skip=YES");
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, true);
    world_run(f.w, 1000);
    assert_string_equal(body_of(expect(&f, 200)), "delta 102.0\n");
    world_free(&f.w);
}

/* The part asked for turns out to be one more than its segment got. */
static void test_live_reload_part_past_the_segments_last(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_part=3");
    fake_channel_part(f.ch, 1000, true);
    world_run(f.w, 1000);
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    assert_string_equal(body_of(expect(&f, 200)), "playlist 102.1\n");
    world_free(&f.w);
}

static void test_live_reload_times_out_and_says_so(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_part=2");
    world_run(f.w, 5 * SECOND_US);
    expect_waiting(&f);
    fake_channel_set_live(f.ch, false); /* the publisher vanished: no part, but a snapshot */
    world_run(f.w, 900000);
    expect_waiting(&f);
    world_run(f.w, 200000);
    const char *text = expect(&f, 503);
    expect_has(text, "Retry-After: 1\r\n");
    expect_has(text, "Cache-Control: no-store\r\n");
    expect_has(body_of(text), "6000 ms");
    assert_int_equal(fake_channel_waiters(f.ch), 0);
    assert_int_equal(counter_read(&f.w->counters.http_blocked_timeouts), 1);
    request(&f, "cam/video.m3u8");
    expect(&f, 200);
    world_free(&f.w);
}

static void test_live_waiting_when_the_channel_ends(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_part=2");
    fake_channel_end(f.ch);
    world_run(f.w, 1000);
    expect(&f, 404);
    world_free(&f.w);
}

static void test_live_slot_reused_while_waiting(void **state)
{
    struct fixture f = live();
    struct peer *first = f.p;

    (void)state;
    request(&f, "cam/video.m3u8?_HLS_msn=101&_HLS_part=2");
    fake_channel_end(f.ch);
    struct channel *again = fake_channel_start(f.w, "cam");
    assert_ptr_equal(again, f.ch);
    fake_channel_part(again, 1000, false);
    world_run(f.w, 1000);
    f.p = first;
    expect(&f, 404);
    world_free(&f.w);
}

static void test_live_first_playlist_is_awaited(void **state)
{
    struct fixture f = {.w = world_new()};

    (void)state;
    world_start(f.w);
    f.ch = fake_channel_start(f.w, "cam");
    f.p = world_connect(f.w, 0);
    request(&f, "cam/index.m3u8");
    expect_waiting(&f);
    fake_channel_part(f.ch, 10, false);
    world_run(f.w, 1000);
    expect(&f, 200);
    request(&f, "cam/video-100.0.m4s");
    expect(&f, 200);
    world_free(&f.w);
}

static void check_part(const uint8_t *bytes, uint64_t msn, uint32_t part, uint32_t from,
                       size_t size)
{
    for (uint32_t i = 0; i < size; i++)
        if (bytes[i] != fake_part_byte(msn, part, from + i))
            fail_msg("segment %llu part %u: wrong byte at %u", (unsigned long long)msn, part,
                     from + i);
}

static void test_live_parts_and_inits(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video-100.1.m4s");
    const char *text = expect(&f, 200);
    expect_has(text, "Content-Type: video/mp4\r\n");
    expect_has(text, "Content-Length: 1000\r\n");
    expect_has(text, "Cache-Control: public, max-age=86400, immutable\r\n");
    check_part((const uint8_t *)body_of(text), FIRST_MSN, 1, 0, 1000);
    request(&f, "cam/audio-101.0.m4s");
    expect_has(expect(&f, 200), "Content-Type: audio/mp4\r\n");
    request(&f, "cam/video-init-7.mp4");
    text = expect(&f, 200);
    expect_has(text, "Content-Length: 600\r\n");
    assert_int_equal(strspn(body_of(text), "i"), 600);
    assert_int_equal(fake_channel_bytes(f.ch), 2600);
    world_free(&f.w);
}

static void test_live_preload_hint_waits(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video-101.2.m4s");
    expect_waiting(&f);
    fake_channel_part(f.ch, 1500, false);
    world_run(f.w, 1000);
    const char *text = expect(&f, 200);
    expect_has(text, "Content-Length: 1500\r\n");
    check_part((const uint8_t *)body_of(text), FIRST_MSN + 1, 2, 0, 1500);

    request(&f, "cam/video-101.3.m4s"); /* hinted, but the segment ends without it */
    expect_waiting(&f);
    fake_channel_end_segment(f.ch);
    world_run(f.w, 1000);
    expect(&f, 404);
    world_free(&f.w);
}

/* All bytes of segment 'msn' with parts of 1000 bytes, from 'first' on. */
static void check_segment(const uint8_t *bytes, uint64_t msn, uint32_t first, uint32_t size)
{
    for (uint32_t i = 0; i < size; i++) {
        uint32_t at = first + i;
        if (bytes[i] != fake_part_byte(msn, at / 1000, at % 1000))
            fail_msg("segment %llu: wrong byte at %u", (unsigned long long)msn, at);
    }
}

static void test_live_segment_and_its_ranges(void **state)
{
    static const struct {
        const char *range;
        const char *content_range;
        uint32_t first, size;
    } table[] = {
        {"bytes=0-0", "bytes 0-0/3000", 0, 1},
        {"bytes=999-1000", "bytes 999-1000/3000", 999, 2},
        {"bytes=1000-1999", "bytes 1000-1999/3000", 1000, 1000},
        {"bytes=2500-", "bytes 2500-2999/3000", 2500, 500},
        {"bytes=-1500", "bytes 1500-2999/3000", 1500, 1500},
        {"bytes=1-2998", "bytes 1-2998/3000", 1, 2998},
    };
    struct fixture f = live();
    char field[256];

    (void)state;
    request(&f, "cam/video-100.m4s");
    const char *text = expect(&f, 200);
    expect_has(text, "Content-Length: 3000\r\n");
    expect_has(text, "Accept-Ranges: bytes\r\n");
    check_segment((const uint8_t *)body_of(text), FIRST_MSN, 0, 3000);
    char etag[64];
    assert_int_equal(sscanf(strstr(text, "ETag: "), "ETag: %63s", etag), 1);
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        snprintf(field, sizeof(field), "Range: %s\r\nIf-Range: %s\r\n", table[i].range, etag);
        request_with(&f, "GET", "cam/video-100.m4s", field);
        text = expect(&f, 206);
        expect_has(text, table[i].content_range);
        const char *end = (const char *)f.p->got + f.p->got_size;
        assert_int_equal(end - body_of(text), table[i].size);
        check_segment((const uint8_t *)body_of(text), FIRST_MSN, table[i].first, table[i].size);
    }
    request_with(&f, "GET", "cam/video-100.m4s", "Range: bytes=3000-\r\n");
    expect_has(expect(&f, 416), "Content-Range: bytes */3000\r\n");
    request_with(&f, "GET", "cam/video-100.m4s", "Range: bytes=0-1\r\nIf-Range: \"x\"\r\n");
    expect(&f, 200);
    request_with(&f, "GET", "cam/video-100.m4s", "Range: bytes=0-1,4-5\r\n");
    expect(&f, 200);
    request_with(&f, "HEAD", "cam/video-100.m4s", "Range: bytes=0-1\r\n");
    expect_has(expect(&f, 200), "Content-Length: 3000\r\n");
    snprintf(field, sizeof(field), "If-None-Match: \"y\", %s\r\nRange: bytes=0-1\r\n", etag);
    request_with(&f, "GET", "cam/video-100.m4s", field);
    text = expect(&f, 304);
    assert_string_equal(body_of(text), "");
    assert_null(strstr(text, "\r\nContent-Length:"));
    request_with(&f, "GET", "cam/video-100.m4s", "If-Match: \"y\"\r\n");
    expect(&f, 412);
    world_free(&f.w);
}

/* Takes one chunk off '*text'; returns its size. */
static uint32_t take_chunk(const char **text, const uint8_t **ret_bytes)
{
    char *end;
    unsigned long size = strtoul(*text, &end, 16);

    if (end == *text || strncmp(end, "\r\n", 2) != 0)
        fail_msg("not a chunk: %.40s", *text);
    *ret_bytes = (const uint8_t *)end + 2;
    assert_memory_equal(end + 2 + size, "\r\n", 2);
    *text = end + 2 + size + 2;
    return (uint32_t)size;
}

static void test_live_segment_in_progress_comes_in_chunks(void **state)
{
    struct fixture f = live();
    const uint8_t *bytes;

    (void)state;
    request(&f, "cam/video-101.m4s");
    const char *text = expect(&f, 200);
    expect_has(text, "Transfer-Encoding: chunked\r\n");
    assert_null(strstr(text, "\r\nContent-Length:"));
    text = body_of(text);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(take_chunk(&text, &bytes), 1000);
        check_part(bytes, 101, i, 0, 1000);
    }
    assert_string_equal(text, "");
    world_run(f.w, 100000);
    fake_channel_part(f.ch, 0x1234, false);
    world_run(f.w, 1000);
    text = peer_take(f.p);
    assert_int_equal(take_chunk(&text, &bytes), 0x1234);
    check_part(bytes, 101, 2, 0, 0x1234);
    peer_send_str(f.p, "GET /time HTTP/1.1\r\nHost: a\r\n\r\n"); /* waits for its turn */
    fake_channel_part(f.ch, 10, true);
    world_run(f.w, 1000);
    text = peer_take(f.p);
    assert_int_equal(take_chunk(&text, &bytes), 10);
    assert_memory_equal(text, "0\r\n\r\nHTTP/1.1 200 OK", 20);
    world_free(&f.w);
}

static void test_live_segment_in_progress_completed_without_a_part(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video-101.m4s");
    expect(&f, 200);
    fake_channel_end_segment(f.ch);
    world_run(f.w, 1000);
    assert_string_equal(peer_take(f.p), "0\r\n\r\n");
    world_free(&f.w);
}

static void test_live_segment_in_progress_for_http_1_0_and_head(void **state)
{
    struct fixture f = live();

    (void)state;
    request_with(&f, "HEAD", "cam/video-101.m4s", "");
    const char *text = expect(&f, 200);
    expect_has(text, "Transfer-Encoding: chunked\r\n");
    assert_string_equal(body_of(text), "");
    peer_send_str(f.p, "GET /live/cam/video-101.m4s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    world_run(f.w, 1000);
    text = expect(&f, 200);
    expect_has(text, "Connection: close\r\n");
    assert_null(strstr(text, "chunked"));
    check_segment((const uint8_t *)body_of(text), 101, 0, 2000);
    assert_false(f.p->is_shutdown);
    fake_channel_part(f.ch, 1000, true);
    world_run(f.w, 1000);
    check_part((const uint8_t *)peer_take(f.p), 101, 2, 0, 1000);
    assert_true(f.p->is_shutdown);
    world_free(&f.w);
}

static void test_live_next_segment_is_awaited(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video-102.m4s");
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, true);
    world_run(f.w, 1000);
    expect_waiting(&f);
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    expect_has(expect(&f, 200), "Transfer-Encoding: chunked\r\n");
    fake_channel_part(f.ch, 1000, true);
    world_run(f.w, 1000);
    world_free(&f.w);
}

static void test_live_segment_in_progress_that_stalls_is_broken_off(void **state)
{
    struct fixture f = live();

    (void)state;
    request(&f, "cam/video-101.m4s");
    expect(&f, 200);
    world_run(f.w, 5 * SECOND_US);
    fake_channel_part(f.ch, 1000, false); /* the wait starts anew */
    world_run(f.w, 5 * SECOND_US);
    assert_false(f.p->is_closed);
    world_run(f.w, 2 * SECOND_US);
    assert_true(f.p->is_closed);
    assert_true(f.p->is_aborted); /* not a clean end: the client must know that more was to come */
    assert_int_equal(counter_read(&f.w->counters.http_responses_truncated), 1);
    world_free(&f.w);
}

/* A segment larger than the stream's queue, to a reader that takes it bit by bit. */
static void test_live_large_segment_in_slices(void **state)
{
    struct world *w = world_new();

    (void)state;
    w->config.net_send_queue = 65536;
    world_start(w);
    struct fixture f = {.w = w, .ch = fake_channel_start(w, "cam"), .p = world_connect(w, 0)};
    for (int i = 0; i < 100; i++)
        fake_channel_part(f.ch, 1000, i == 99);
    f.p->takes = 0;
    request(&f, "cam/video-100.m4s");
    while (f.p->got_size < 100000) {
        assert_true(f.p->stream.queued_bytes <= 65536);
        assert_true(f.p->stream.queued_bytes > 0);
        f.p->takes += 3000;
        world_run(w, 500);
    }
    f.p->takes = UINT64_MAX;
    world_run(w, 10000);
    check_segment((const uint8_t *)body_of(expect(&f, 200)), 100, 0, 100000);

    fake_channel_part(f.ch, 200000, true); /* one part that is larger than the queue */
    f.p->takes = 0;
    request(&f, "cam/video-101.m4s");
    f.p->takes = UINT64_MAX;
    world_run(w, 10000);
    check_part((const uint8_t *)body_of(expect(&f, 200)), 101, 0, 0, 200000);
    world_free(&f.w);
}

static void test_live_evicted_under_a_slow_reader(void **state)
{
    struct world *w = world_new();

    (void)state;
    w->config.net_send_queue = 65536;
    world_start(w);
    struct fixture f = {.w = w, .ch = fake_channel_start(w, "cam"), .p = world_connect(w, 0)};
    for (int i = 0; i < 100; i++)
        fake_channel_part(f.ch, 1000, i == 99);
    fake_channel_part(f.ch, 1000, false);
    f.p->takes = 0;
    request(&f, "cam/video-100.m4s");
    fake_channel_evict(f.ch);
    world_run(w, 1000);
    assert_false(f.p->is_aborted); /* what is queued is still good */
    f.p->takes = UINT64_MAX;
    world_run(w, 1000);
    assert_true(f.p->is_aborted);
    assert_int_equal(counter_read(&w->counters.http_responses_truncated), 1);
    check_segment((const uint8_t *)body_of(expect(&f, 200)), 100, 0, 10000);
    world_free(&f.w);
}

/* Each object that is being sent holds a view; without one there is an answer all the same. */
static void test_live_out_of_views(void **state)
{
    struct world *w = world_new();

    (void)state;
    w->views = 2;
    world_start(w);
    struct fixture f = {.w = w, .ch = fake_channel_start(w, "cam"), .p = NULL};
    for (int i = 0; i < 4; i++)
        fake_channel_part(f.ch, 1000, i == 3);
    struct peer *slow[2];
    for (unsigned i = 0; i < 2; i++) {
        slow[i] = f.p = world_connect(w, 0);
        f.p->takes = 0;
        request(&f, i == 0 ? "cam/video-100.0.m4s" : "cam/video-100.1.m4s");
    }
    f.p = world_connect(w, 0);
    request(&f, "cam/video-100.0.m4s"); /* shares the first one's view */
    expect(&f, 200);
    request(&f, "cam/video-100.2.m4s");
    expect_has(expect(&f, 503), "Retry-After: 1\r\n");
    request(&f, "cam/video-100.m4s");
    assert_true(f.p->is_closed); /* a segment is broken off where it cannot go on */
    assert_int_equal(counter_read(&w->counters.http_out_of_blobs), 2);
    slow[0]->takes = UINT64_MAX;
    world_run(w, 1000);
    f.p = world_connect(w, 0);
    request(&f, "cam/video-100.2.m4s");
    expect(&f, 200);
    world_free(&f.w);
}

static void test_live_many_waiters_are_all_answered(void **state)
{
    struct fixture f = live();
    struct peer *peers[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(peers); i++) {
        peers[i] = world_connect(f.w, 0);
        peer_send_str(peers[i], i % 2 == 0
                                    ? "GET /live/cam/video-101.2.m4s HTTP/1.1\r\nHost: a\r\n\r\n"
                                    : "GET /live/cam/video.m3u8?_HLS_msn=101&_HLS_part=2 "
                                      "HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    peer_reset(peers[7]);
    peer_reset(peers[8]);
    assert_int_equal(fake_channel_waiters(f.ch), 38);
    uint64_t misses = counter_read(&f.w->counters.http_head_cache_misses);
    fake_channel_part(f.ch, 1000, false);
    world_run(f.w, 1000);
    for (size_t i = 0; i < ARRAY_COUNT(peers); i++)
        if (i != 7 && i != 8)
            assert_memory_equal(peer_take(peers[i]), "HTTP/1.1 200", 12);
    assert_int_equal(counter_read(&f.w->counters.http_head_cache_misses) - misses, 2);
    world_free(&f.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live_manifests),
        cmocka_unit_test(test_live_unknown_things),
        cmocka_unit_test(test_live_reload_table),
        cmocka_unit_test(test_live_reload_waits_for_its_part),
        cmocka_unit_test(test_live_reload_waits_for_the_whole_segment),
        cmocka_unit_test(test_live_reload_part_past_the_segments_last),
        cmocka_unit_test(test_live_reload_times_out_and_says_so),
        cmocka_unit_test(test_live_waiting_when_the_channel_ends),
        cmocka_unit_test(test_live_slot_reused_while_waiting),
        cmocka_unit_test(test_live_first_playlist_is_awaited),
        cmocka_unit_test(test_live_parts_and_inits),
        cmocka_unit_test(test_live_preload_hint_waits),
        cmocka_unit_test(test_live_segment_and_its_ranges),
        cmocka_unit_test(test_live_segment_in_progress_comes_in_chunks),
        cmocka_unit_test(test_live_segment_in_progress_completed_without_a_part),
        cmocka_unit_test(test_live_segment_in_progress_for_http_1_0_and_head),
        cmocka_unit_test(test_live_next_segment_is_awaited),
        cmocka_unit_test(test_live_segment_in_progress_that_stalls_is_broken_off),
        cmocka_unit_test(test_live_large_segment_in_slices),
        cmocka_unit_test(test_live_evicted_under_a_slow_reader),
        cmocka_unit_test(test_live_out_of_views),
        cmocka_unit_test(test_live_many_waiters_are_all_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
