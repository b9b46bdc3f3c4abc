#include "dataplane/media/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/abi/link.h"
#include "common/check.h"
#include "tests/unit/dataplane/media/fake_node.h"

enum { KEPT_MAX = 4 };

static struct {
    struct link_channel_report list[KEPT_MAX];
    size_t count;
} told;

static void keep(void *user, const struct link_channel_report *report)
{
    (void)user;
    assert_true(told.count < KEPT_MAX);
    told.list[told.count++] = *report;
}

/* What shard 'shard' reports now. */
static void report(struct fake_node *n, uint32_t shard)
{
    told.count = 0;
    channels_report(n->channels, &n->shards[shard], keep, NULL);
}

static void test_channel_report_comes_from_the_home_shard(void **state)
{
    (void)state;
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream f;

    report(n, 0);
    assert_int_equal(told.count, 0);
    fake_stream_init(&f);
    fake_stream_begin(&f, n, 1, "demo");
    fake_stream_announce(&f);
    fake_stream_parts(&f, n, 20);
    report(n, 0);
    assert_int_equal(told.count, 0);
    report(n, 1);
    assert_int_equal(told.count, 1);
    const struct link_channel_report *r = &told.list[0];
    assert_string_equal(r->name, "demo");
    assert_int_equal(r->state, LINK_CHANNEL_LIVE);
    assert_int_equal(r->shard, 1);
    assert_int_equal(r->track_count, 2);
    assert_string_equal(r->tracks[0].name, "video");
    assert_true(r->tracks[0].width > 0 && r->tracks[0].sample_rate_hz == 0);
    assert_true(r->tracks[1].sample_rate_hz > 0 && r->tracks[1].width == 0);
    assert_true(r->bytes_in > 0 && r->tracks[0].bitrate_bps > 0);
    assert_in_range((uint64_t)r->started_us, FAKE_START_WALL_US - 1000000,
                    FAKE_START_WALL_US + 10000000);

    publication_end(&f.publication, n->shards[1].now_us);
    report(n, 1);
    assert_int_equal(told.list[0].state, LINK_CHANNEL_WAITING);
    fake_node_pass(n, n->config.media_reconnect_grace * 1000 + 1000000, 100000);
    report(n, 1);
    assert_true(told.count == 0 || told.list[0].state == LINK_CHANNEL_ENDED);
    fake_node_free(n);
}

static void test_channel_report_counts_connections_once_an_interval(void **state)
{
    (void)state;
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream f;
    uint32_t slots[5] = {0};

    fake_stream_init(&f);
    fake_stream_begin(&f, n, 0, "demo");
    fake_stream_announce(&f);
    struct channel *ch = channel_find(n->channels, bytes_of_str("demo"));
    assert_non_null(ch);
    for (int round = 0; round < 10; round++)
        for (uint32_t i = 0; i < ARRAY_COUNT(slots); i++)
            channel_count_viewer(ch, &n->shards[i % 2], &slots[i]);
    channel_count_bytes(ch, &n->shards[1], 1000);
    report(n, 0);
    assert_int_equal(told.list[0].connections, ARRAY_COUNT(slots));
    assert_int_equal(told.list[0].bytes_out, 1000);

    fake_node_pass(n, CHANNEL_VIEWERS_US, 100000); /* the next interval has just begun */
    channel_count_viewer(ch, &n->shards[0], &slots[0]);
    report(n, 0);
    assert_int_equal(told.list[0].connections, ARRAY_COUNT(slots));
    fake_node_pass(n, CHANNEL_VIEWERS_US, 100000); /* one of them came back in it */
    report(n, 0);
    assert_int_equal(told.list[0].connections, 1);
    fake_node_pass(n, 2 * CHANNEL_VIEWERS_US, 100000);
    report(n, 0);
    assert_int_equal(told.list[0].connections, 0);
    fake_node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_report_comes_from_the_home_shard),
        cmocka_unit_test(test_channel_report_counts_connections_once_an_interval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
