#include "dataplane/http/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"
#include "tests/unit/dataplane/http/http_world.h"

enum { SECOND_US = 1000000 };

#define TIME_REQUEST "GET /time HTTP/1.1\r\nHost: a\r\n\r\n"

static const char time_request[] = TIME_REQUEST;

static struct world *started(void)
{
    struct world *w = world_new();

    world_start(w);
    return w;
}

static unsigned occurrences(const char *text, const char *what)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        count++;
    return count;
}

/* The status of the first response in 'text'; 0: none. */
static int status_of(const char *text)
{
    int status = 0;

    return sscanf(text, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static void expect_status(struct peer *p, int status)
{
    const char *text = peer_take(p);

    if (status_of(text) != status)
        fail_msg("expected status %d, got: %.300s", status, text);
}

static void test_server_answers_time(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send_str(p, TIME_REQUEST);
    world_run(w, 1000);
    const char *text = peer_take(p);
    assert_int_equal(status_of(text), 200);
    assert_non_null(strstr(text, "\r\nContent-Length: 24\r\n"));
    assert_non_null(strstr(text, "\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
    assert_non_null(strstr(text, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(text, "\r\nAccess-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(text, "\r\nTiming-Allow-Origin: *\r\n"));
    assert_non_null(strstr(text, "\r\n\r\n2023-11-14T22:13:20.000Z"));
    assert_false(p->is_shutdown);
    world_free(&w);
}

static void test_server_head_has_no_body(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send_str(p, "HEAD /time HTTP/1.1\r\nHost: a\r\n\r\n");
    world_run(w, 1000);
    const char *text = peer_take(p);
    assert_int_equal(status_of(text), 200);
    assert_non_null(strstr(text, "\r\nContent-Length: 24\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    world_free(&w);
}

/* Requests in one piece, cut anywhere, and byte by byte: the same answers in the same order. */
static void test_server_pipelining_split_anywhere(void **state)
{
    static const char two[] = "HEAD /time HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
                              "\r\nDELETE / HTTP/1.1\r\nHost: a\r\n\r\n"
                              "GET /time HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    char expected[4096];
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send(p, two, sizeof(two) - 1);
    world_run(w, 1000);
    snprintf(expected, sizeof(expected), "%s", peer_take(p));
    assert_int_equal(occurrences(expected, "HTTP/1.1 "), 3);
    assert_true(strstr(expected, "200 OK") < strstr(expected, "405 Method"));
    assert_int_equal(occurrences(expected, "Connection: close"), 1);
    assert_true(p->is_shutdown);
    peer_reset(p);
    for (size_t cut = 0; cut < sizeof(two); cut++) {
        w->shard.wall_us = 1700000000000000; /* the same Date */
        p = world_connect(w, 0);
        peer_send(p, two, cut);
        peer_send(p, two + cut, sizeof(two) - 1 - cut);
        world_run(w, 500);
        w->shard.wall_us = 1700000000000000;
        const char *got = peer_take(p);
        if (occurrences(got, "HTTP/1.1 ") != 3 || strlen(got) != strlen(expected) ||
            !p->is_shutdown)
            fail_msg("cut at %zu: %s", cut, got);
        peer_reset(p);
    }
    p = world_connect(w, 0);
    for (size_t i = 0; i < sizeof(two) - 1; i++)
        peer_send(p, two + i, 1);
    world_run(w, 500);
    assert_int_equal(strlen(peer_take(p)), strlen(expected));
    world_free(&w);
}

static void test_server_refuses_and_closes(void **state)
{
    static const struct {
        const char *request;
        int status;
    } table[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"\x16\x03\x01", 400},
        {"\r\n\r\n\r\n\r\n\r\n\r\n", 400},
        {"\rGET / HTTP/1.1\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(table); i++) {
        struct world *w = started();
        struct peer *p = world_connect(w, 0);
        peer_send_str(p, table[i].request);
        peer_send_str(p, TIME_REQUEST);
        world_run(w, 1000);
        const char *text = peer_take(p);
        if (status_of(text) != table[i].status || occurrences(text, "HTTP/1.1 ") != 1 ||
            strstr(text, "Connection: close") == NULL || !p->is_shutdown)
            fail_msg("%s: %s", table[i].request, text);
        world_run(w, 10 * SECOND_US); /* the peer never closes: it is reset */
        assert_true(p->is_closed);
        world_free(&w);
    }
}

static void test_server_head_too_large(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);
    char filler[1000];

    (void)state;
    memset(filler, 'a', sizeof(filler));
    peer_send_str(p, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    for (int i = 0; i < 9; i++)
        peer_send(p, filler, sizeof(filler));
    world_run(w, 1000);
    expect_status(p, 431);
    p = world_connect(w, 0);
    peer_send_str(p, "GET /");
    for (int i = 0; i < 3; i++)
        peer_send(p, filler, sizeof(filler));
    world_run(w, 1000);
    expect_status(p, 414);
    assert_int_equal(counter_read(&w->counters.http_heads_too_large), 1);
    assert_int_equal(counter_read(&w->counters.http_uris_too_long), 1);
    world_free(&w);
}

static void test_server_methods(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send_str(p, "POST /time HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd");
    world_run(w, 1000);
    const char *text = peer_take(p);
    assert_int_equal(status_of(text), 405);
    assert_non_null(strstr(text, "\r\nAllow: GET, HEAD, OPTIONS\r\n"));
    peer_send_str(p, "OPTIONS /live/x/index.m3u8 HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n"
                     "Access-Control-Request-Method: GET\r\n\r\n");
    world_run(w, 1000);
    text = peer_take(p);
    assert_int_equal(status_of(text), 204);
    assert_non_null(strstr(text, "\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"));
    assert_null(strstr(text, "\r\nContent-Length:"));
    peer_send_str(p, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    world_run(w, 1000);
    expect_status(p, 204);
    assert_false(p->is_shutdown);
    world_free(&w);
}

static void test_server_bodies(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send_str(p, "GET /time HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                     "Expect: 100-continue\r\n\r\n");
    world_run(w, 1000);
    const char *text = peer_take(p);
    assert_int_equal(status_of(text), 100);
    assert_int_equal(occurrences(text, "HTTP/1.1 200"), 1);
    peer_send_str(p, "hello" TIME_REQUEST);
    world_run(w, 1000);
    expect_status(p, 200);
    peer_send_str(p, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                     "Expect: 100-continue\r\n\r\n");
    world_run(w, 1000);
    expect_status(p, 405);
    assert_true(p->is_shutdown); /* the body may come or not */
    p = world_connect(w, 0);
    peer_send_str(p, "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nhello\r\n0\r\n\r\n" TIME_REQUEST);
    world_run(w, 1000);
    text = peer_take(p);
    assert_int_equal(status_of(text), 405);
    assert_int_equal(occurrences(text, "HTTP/1.1"),
                     1); /* what follows the body is not guessed at */
    assert_true(p->is_shutdown);
    p = world_connect(w, 0);
    peer_send_str(p, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n");
    world_run(w, 1000);
    expect_status(p, 405);
    assert_true(p->is_shutdown);
    world_free(&w);
}

static void test_server_http_1_0(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    peer_send_str(p, "GET /time HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    world_run(w, 1000);
    assert_non_null(strstr(peer_take(p), "\r\nConnection: keep-alive\r\n"));
    assert_false(p->is_shutdown);
    peer_send_str(p, "GET /time HTTP/1.0\r\n\r\n");
    world_run(w, 1000);
    assert_non_null(strstr(peer_take(p), "\r\nConnection: close\r\n"));
    assert_true(p->is_shutdown);
    world_free(&w);
}

static void test_server_slow_heads_time_out(void **state)
{
    struct world *w = started();
    struct peer *p = world_connect(w, 0);

    (void)state;
    for (int i = 0; i < 9; i++) { /* a byte a second does not prolong it */
        peer_send(p, &time_request[i], 1);
        world_run(w, SECOND_US);
        assert_false(p->is_shutdown);
    }
    peer_send(p, &time_request[9], 1);
    world_run(w, SECOND_US + 1000);
    expect_status(p, 408);
    assert_true(p->is_shutdown);
    assert_int_equal(counter_read(&w->counters.http_head_timeouts), 1);
    world_run(w, 3 * SECOND_US);
    assert_true(p->is_closed);
    world_free(&w);
}

static void test_server_idle_connections_are_closed(void **state)
{
    struct world *w = started();
    struct peer *fresh = world_connect(w, 0);
    struct peer *used = world_connect(w, 0);
    struct peer *blank = world_connect(w, 0);

    (void)state;
    world_run(w, 59 * SECOND_US);
    assert_false(fresh->is_shutdown);
    peer_send_str(used, TIME_REQUEST);
    peer_send_str(blank, "\r");
    peer_send_str(blank, "\n");
    world_run(w, 2 * SECOND_US);
    assert_true(fresh->is_shutdown);
    assert_int_equal(fresh->got_size, 0);
    assert_false(used->is_shutdown);
    world_run(w, 59 * SECOND_US);
    assert_true(used->is_shutdown);
    assert_true(blank->is_shutdown);
    assert_int_equal(counter_read(&w->counters.http_head_timeouts), 0);
    assert_int_equal(counter_read(&w->counters.http_idle_closed), 3);
    world_free(&w);
}

/* All input buffers taken by byte-wise senders: the oldest gives way. */
static void test_server_slow_senders_cannot_lock_out_others(void **state)
{
    struct world *w = started();
    struct peer *slow[20];

    (void)state;
    for (int i = 0; i < 20; i++) {
        slow[i] = world_connect(w, 0);
        peer_send_str(slow[i], "GET /time HT");
        world_run(w, 1000);
    }
    assert_int_equal(counter_read(&w->counters.http_heads_evicted), 4);
    for (int i = 0; i < 4; i++)
        expect_status(slow[i], 408);
    peer_send_str(slow[19], "TP/1.1\r\nHost: a\r\n\r\n");
    struct peer *whole = world_connect(w, 0);
    peer_send_str(whole, TIME_REQUEST);
    world_run(w, 1000);
    expect_status(slow[19], 200);
    expect_status(whole, 200);
    world_free(&w);
}

static void test_server_connections_are_bounded(void **state)
{
    struct world *w = world_new();

    (void)state;
    w->config.net_streams_max = 16;
    world_start(w);
    for (int i = 0; i < 16; i++)
        assert_non_null(world_connect(w, 0));
    assert_null(world_connect(w, 0));
    assert_int_equal(counter_read(&w->counters.http_connections_refused), 1);
    assert_int_equal(counter_read(&w->counters.http_connections), 16);
    peer_reset(&w->peers[3]);
    assert_non_null(world_connect(w, 0));
    world_free(&w);
}

/* A peer that pipelines without reading: answers stop at the queue's bound, go on when it reads,
 * and none is lost or out of order. */
static void test_server_pipelining_without_reading(void **state)
{
    struct world *w = world_new();
    unsigned sent = 0;

    (void)state;
    w->config.net_send_queue = 65536;
    world_start(w);
    struct peer *p = world_connect(w, 0);
    p->takes = 0;
    for (int i = 0; i < 200 && !p->is_paused; i++, sent++) {
        peer_send_str(p, TIME_REQUEST);
        world_run(w, 500);
    }
    assert_true(p->is_paused);
    assert_true(p->stream.queued_bytes < 2 * 65536 / 4);
    p->takes = UINT64_MAX;
    world_run(w, 2000);
    assert_false(p->is_paused);
    assert_int_equal(occurrences(peer_take(p), "HTTP/1.1 200"), sent);
    world_free(&w);
}

static void test_server_pipeline_overflow_closes_after_the_answers(void **state)
{
    struct world *w = started();
    struct channel *ch = fake_channel_start(w, "cam");
    struct peer *p = world_connect(w, 0);
    char filler[5000];

    (void)state;
    fake_channel_part(ch, 100, false);
    memset(filler, 'a', sizeof(filler));
    peer_send_str(
        p,
        "GET /live/cam/video.m3u8?_HLS_msn=100&_HLS_part=1 HTTP/1.1\r\nHost: a\r\n\r\n" TIME_REQUEST
        "GET /time HTTP/1.1\r\nHost: a\r\nX: ");
    assert_true(p->is_paused);
    peer_send(p, filler, sizeof(filler)); /* under way when the pause came */
    peer_send(p, filler, sizeof(filler));
    world_run(w, 1000);
    assert_int_equal(p->got_size, 0);
    assert_int_equal(counter_read(&w->counters.http_pipeline_overflows), 1);
    fake_channel_part(ch, 100, false);
    world_run(w, 1000);
    assert_int_equal(occurrences(peer_take(p), "HTTP/1.1 200"), 2);
    assert_true(p->is_shutdown);
    world_free(&w);
}

static void test_server_half_closed_peer_gets_its_answers(void **state)
{
    struct world *w = started();
    struct channel *ch = fake_channel_start(w, "cam");
    struct peer *p = world_connect(w, 0);

    (void)state;
    fake_channel_part(ch, 100, false);
    peer_send_str(p, "GET /live/cam/video.m3u8?_HLS_msn=100&_HLS_part=1 HTTP/1.1\r\nHost: "
                     "a\r\n\r\n" TIME_REQUEST);
    peer_eof(p);
    world_run(w, 1000);
    assert_false(p->is_shutdown);
    fake_channel_part(ch, 100, false);
    world_run(w, 1000);
    assert_int_equal(occurrences(peer_take(p), "HTTP/1.1 200"), 2);
    assert_true(p->is_shutdown);

    p = world_connect(w, 0);
    peer_send_str(p, "GET /ti");
    peer_eof(p);
    assert_true(p->is_shutdown);
    world_free(&w);
}

static void test_server_slow_reader_is_dropped(void **state)
{
    struct world *w = started();
    struct channel *ch = fake_channel_start(w, "cam");
    struct peer *dead = world_connect(w, 0);
    struct peer *slow = world_connect(w, 0);
    struct peer *good = world_connect(w, 0);
    static const char request[] = "GET /live/cam/video-100.m4s HTTP/1.1\r\nHost: a\r\n\r\n";

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        fake_channel_part(ch, 500000, i == 9);
    dead->takes = 1000;
    slow->takes = 1000;
    peer_send_str(dead, request);
    peer_send_str(slow, request);
    peer_send_str(good, request);
    world_run(w, 10000);
    assert_true(good->got_size > 5000000);
    for (int i = 0; i < 30; i++) {
        slow->takes += 100;
        world_run(w, SECOND_US);
    }
    assert_true(dead->is_closed);
    assert_false(slow->is_closed);
    assert_int_equal(counter_read(&w->counters.http_slow_viewers_dropped), 1);
    world_free(&w);
}

static void test_server_out_of_blobs_drops_and_recovers(void **state)
{
    struct world *w = started();
    struct blob *held[2048];
    unsigned count = 0;

    (void)state;
    while ((held[count] = blob_pool_get(w->shard.small_blobs)) != NULL)
        count++;
    struct peer *p = world_connect(w, 0);
    peer_send_str(p, TIME_REQUEST);
    world_run(w, 1000);
    assert_true(p->is_closed);
    assert_int_equal(counter_read(&w->counters.http_out_of_blobs), 1);
    while (count > 0)
        blob_unref(&held[--count]);
    p = world_connect(w, 0);
    peer_send_str(p, TIME_REQUEST);
    world_run(w, 1000);
    expect_status(p, 200);
    world_free(&w);
}

static void test_server_peer_resets_at_any_moment(void **state)
{
    static const char request[] =
        "GET /live/cam/video-100.m4s HTTP/1.1\r\nHost: a\r\n\r\n"
        "GET /live/cam/video.m3u8?_HLS_msn=100&_HLS_part=1 HTTP/1.1\r\nHost: a\r\n\r\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof(request); cut++) {
        struct world *w = started();
        struct channel *ch = fake_channel_start(w, "cam");
        struct peer *p = world_connect(w, 0);
        fake_channel_part(ch, 3000, false);
        p->takes = cut * 10;
        peer_send(p, request, cut);
        world_run(w, 1000);
        peer_reset(p);
        fake_channel_part(ch, 3000, false);
        world_run(w, 1000);
        world_free(&w);
    }
}

static void test_server_cors_origin(void **state)
{
    struct world *w = world_new();

    (void)state;
    snprintf(w->config.http_cors_origin.text, sizeof(w->config.http_cors_origin.text), "%s",
             "https://player.example");
    world_start(w);
    struct peer *p = world_connect(w, 0);
    peer_send_str(p, TIME_REQUEST);
    world_run(w, 1000);
    const char *text = peer_take(p);
    assert_non_null(strstr(text, "Access-Control-Allow-Origin: https://player.example\r\n"));
    assert_non_null(strstr(text, "Vary: Origin\r\n"));
    world_free(&w);

    w = world_new();
    w->config.http_cors_origin.text[0] = '\0';
    world_start(w);
    p = world_connect(w, 0);
    peer_send_str(p, TIME_REQUEST);
    world_run(w, 1000);
    assert_null(strstr(peer_take(p), "Access-Control"));
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_answers_time),
        cmocka_unit_test(test_server_head_has_no_body),
        cmocka_unit_test(test_server_pipelining_split_anywhere),
        cmocka_unit_test(test_server_refuses_and_closes),
        cmocka_unit_test(test_server_head_too_large),
        cmocka_unit_test(test_server_methods),
        cmocka_unit_test(test_server_bodies),
        cmocka_unit_test(test_server_http_1_0),
        cmocka_unit_test(test_server_slow_heads_time_out),
        cmocka_unit_test(test_server_idle_connections_are_closed),
        cmocka_unit_test(test_server_slow_senders_cannot_lock_out_others),
        cmocka_unit_test(test_server_connections_are_bounded),
        cmocka_unit_test(test_server_pipelining_without_reading),
        cmocka_unit_test(test_server_pipeline_overflow_closes_after_the_answers),
        cmocka_unit_test(test_server_half_closed_peer_gets_its_answers),
        cmocka_unit_test(test_server_slow_reader_is_dropped),
        cmocka_unit_test(test_server_out_of_blobs_drops_and_recovers),
        cmocka_unit_test(test_server_peer_resets_at_any_moment),
        cmocka_unit_test(test_server_cors_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
