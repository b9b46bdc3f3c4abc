#include "dataplane/http/management_routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/dataplane/http/http_world.h"

static const char *fetch(struct peer *p, const char *path)
{
    char request[256];

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    peer_send_str(p, request);
    world_run(p->world, 1000);
    return peer_take(p);
}

static void test_management_metrics(void **state)
{
    struct world *w = world_new();

    (void)state;
    world_start(w);
    struct channel *ch = fake_channel_start(w, "cam");
    fake_channel_part(ch, 10, false);
    counter_add(&w->counters.shard_busy_us, 1234567);
    counter_add(&w->counters.mailbox_full, 3);
    const char *text = fetch(world_connect(w, 1), "/metrics");
    assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(text, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(text, "\n# TYPE leat_shard_busy_seconds_total counter\n"
                                 "leat_shard_busy_seconds_total{shard=\"0\"} 1.234567\n"));
    assert_non_null(strstr(text, "\n# TYPE leat_mailbox_full_total counter\n"
                                 "leat_mailbox_full_total 3\n"));
    assert_non_null(
        strstr(text, "\n# TYPE leat_http_connections gauge\nleat_http_connections 1\n"));
    assert_non_null(strstr(text, "\nleat_http_sent_bytes_total "));
    assert_non_null(strstr(text, "\nleat_channel_is_live{channel=\"cam\"} 1\n"));
    assert_non_null(strstr(text, "\nprocess_cpu_seconds_total "));

    /* Everything that follows the head is as long as it says, and ends in a line feed. */
    unsigned long length = 0;
    assert_int_equal(sscanf(strstr(text, "Content-Length: "), "Content-Length: %lu", &length), 1);
    const char *body = strstr(text, "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), length);
    assert_int_equal(body[length - 1], '\n');
    world_free(&w);
}

/* Texts are few: who asks and does not read makes others wait, and is dropped in time. */
static void test_management_texts_are_bounded(void **state)
{
    struct world *w = world_new();
    struct peer *peers[5];

    (void)state;
    w->config.net_send_queue = 65536;
    world_start(w);
    for (int i = 0; i < 5; i++) {
        peers[i] = world_connect(w, 1);
        peers[i]->takes = 0;
        peer_send_str(peers[i], "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_true(peers[0]->stream.queued_bytes > 10000);
    peers[4]->takes = UINT64_MAX;
    world_run(w, 1000);
    assert_memory_equal(peer_take(peers[4]), "HTTP/1.1 503", 12);
    world_run(w, 20000000);
    assert_true(peers[0]->is_closed);
    assert_memory_equal(fetch(world_connect(w, 1), "/metrics"), "HTTP/1.1 200", 12);
    world_free(&w);
}

static void test_management_routes(void **state)
{
    struct world *w = world_new();

    (void)state;
    world_start(w);
    const char *text = fetch(world_connect(w, 1), "/healthz");
    assert_memory_equal(text, "HTTP/1.1 200 OK\r\n", 17);
    assert_non_null(strstr(text, "\r\n\r\nok\n"));
    assert_null(strstr(text, "Access-Control"));
    assert_memory_equal(fetch(world_connect(w, 1), "/time"), "HTTP/1.1 404", 12);
    assert_memory_equal(fetch(world_connect(w, 0), "/metrics"), "HTTP/1.1 404", 12);
    assert_memory_equal(fetch(world_connect(w, 0), "/healthz"), "HTTP/1.1 404", 12);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_management_metrics),
        cmocka_unit_test(test_management_texts_are_bounded),
        cmocka_unit_test(test_management_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
