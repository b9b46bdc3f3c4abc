/* Channels in virtual time: what is shown and when, who publishes, who is woken, what happens when
 * each pool is empty. The packager is a fake that does as it is told. */
#include "dataplane/media/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"
#include "tests/unit/dataplane/media/fake_node.h"

static struct channel *find(struct fake_node *n, const char *name)
{
    return channel_find(n->channels, bytes_of_str(name));
}

static const struct channel_snapshot *shown(struct fake_node *n, const char *name)
{
    struct channel *ch = find(n, name);

    return ch == NULL ? NULL : channel_snapshot(ch);
}

/* The playlist as a string, in a static buffer. */
static const char *text_of(struct object *o)
{
    static char text[1 << 20];

    assert_non_null(o);
    assert_true(object_size(o) < sizeof(text));
    memcpy(text, object_data(o), object_size(o));
    text[object_size(o)] = '\0';
    return text;
}

static const struct track_snapshot *track(const struct channel_snapshot *s, const char *name)
{
    const struct track_snapshot *t = snapshot_track(s, bytes_of_str(name));

    assert_non_null(t);
    return t;
}

static void assert_has(const char *text, const char *needle)
{
    if (strstr(text, needle) == NULL)
        fail_msg("expected \"%s\" in:\n%s", needle, text);
}

static void assert_has_not(const char *text, const char *needle)
{
    if (strstr(text, needle) != NULL)
        fail_msg("did not expect \"%s\" in:\n%s", needle, text);
}

static unsigned count_of(const char *text, const char *needle)
{
    unsigned count = 0;

    for (; (text = strstr(text, needle)) != NULL; text += strlen(needle))
        count++;
    return count;
}

static void start(struct fake_stream *f, struct fake_node *n, uint32_t shard, const char *name)
{
    fake_stream_init(f);
    fake_stream_begin(f, n, shard, name);
    assert_int_equal(f->granted_count, 1);
    fake_stream_announce(f);
}

/* The publisher's next connection goes on where the packager's numbers are. */
static void come_back(struct fake_stream *f, struct fake_stream *before, struct fake_node *n,
                      uint32_t shard, const char *name)
{
    fake_stream_init(f);
    fake_stream_begin(f, n, shard, name);
    f->segment = before->part == 0 ? before->segment : before->segment + 1;
    f->is_discontinuous = true;
    f->media_us = before->media_us;
}

/* --- what is shown --- */

static void test_channel_is_shown_after_its_first_segment(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    assert_null(find(n, "demo"));
    start(&f, n, 0, "demo");
    assert_non_null(find(n, "demo"));
    fake_stream_parts(&f, n, 9);
    assert_null(shown(n, "demo"));
    fake_stream_parts(&f, n, 1);
    const struct channel_snapshot *s = shown(n, "demo");
    assert_non_null(s);
    assert_true(s->is_live);
    assert_int_equal(s->track_count, 2);
    assert_int_equal(track(s, "video")->next_part, 0);
    assert_int_equal(track(s, "video")->next_msn, track(s, "video")->first_msn + 1);
    assert_int_equal(track(s, "video")->init_ids[0], 1);

    /* Numbers are those of the clock: segment targets since 2025. */
    uint64_t expected = (uint64_t)(FAKE_START_WALL_US / 1000000 - 1735689600) / 2;
    assert_int_equal(track(s, "video")->first_msn, expected);
    fake_node_free(n);
}

static void test_channel_is_shown_without_a_complete_segment_when_that_takes_long(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    f.parts_per_segment = 50;
    fake_stream_parts(&f, n, 20);
    assert_null(shown(n, "demo"));
    fake_stream_parts(&f, n, 2);
    const struct channel_snapshot *s = shown(n, "demo");
    assert_non_null(s);
    assert_has(text_of(track(s, "video")->playlist), "#EXT-X-TARGETDURATION:10\n");
    fake_node_free(n);
}

static void test_playlist_has_what_players_need(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;
    char line[200];

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 10 * 20 + 3);
    const struct channel_snapshot *s = shown(n, "demo");
    const struct track_snapshot *video = track(s, "video");
    const char *text = text_of(video->playlist);
    unsigned long long last = (unsigned long long)video->next_msn;

    assert_int_equal(video->next_part, 3);
    assert_has(text, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n");
    assert_has(text, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.60000,"
                     "HOLD-BACK=6,CAN-SKIP-UNTIL=12\n");
    assert_has(text, "#EXT-X-PART-INF:PART-TARGET=0.20000\n");
    assert_has(text, "#EXT-X-INDEPENDENT-SEGMENTS\n");
    snprintf(line, sizeof(line), "#EXT-X-MEDIA-SEQUENCE:%llu\n", last - 15);
    assert_has(text, line);
    assert_has(text, "#EXT-X-MAP:URI=\"video-init-1.mp4\"\n");
    snprintf(line, sizeof(line), "#EXTINF:2.00000,\nvideo-%llu.m4s\n", last - 1);
    assert_has(text, line);
    snprintf(line, sizeof(line),
             "#EXT-X-PART:DURATION=0.20000,URI=\"video-%llu.0.m4s\",INDEPENDENT=YES\n", last);
    assert_has(text, line);
    snprintf(line, sizeof(line), "#EXT-X-PART:DURATION=0.20000,URI=\"video-%llu.2.m4s\"\n", last);
    assert_has(text, line);
    snprintf(line, sizeof(line), "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"video-%llu.3.m4s\"\n", last);
    assert_has(text, line);
    snprintf(line, sizeof(line),
             "#EXT-X-RENDITION-REPORT:URI=\"audio.m3u8\",LAST-MSN=%llu,LAST-PART=2\n", last);
    assert_has(text, line);
    snprintf(line, sizeof(line), "URI=\"video-%llu.0.m4s\"", last - 3);
    assert_has_not(text, line); /* parts only within three target durations */
    assert_has_not(text, "#EXT-X-ENDLIST");
    assert_has_not(text, "#EXT-X-DISCONTINUITY\n");
    assert_has_not(text, "GAP");

    assert_has(text_of(video->playlist_delta), "#EXT-X-SKIP:SKIPPED-SEGMENTS=");
    assert_has_not(text_of(video->playlist_delta), "#EXT-X-MAP");
    fake_node_free(n);
}

static void test_multivariant_has_measured_bandwidth_and_rate(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 30);
    const char *text = text_of(shown(n, "demo")->multivariant);
    assert_has(text, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=YES,"
                     "AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio.m3u8\"\n");
    /* 50,000 + 3,200 bytes in 200 ms */
    assert_has(text, "#EXT-X-STREAM-INF:BANDWIDTH=2128000,AVERAGE-BANDWIDTH=2128000,"
                     "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=30.000,"
                     "AUDIO=\"audio\"\nvideo.m3u8\n");
    fake_node_free(n);
}

static void test_multivariant_of_audio_alone(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    fake_stream_init(&f);
    f.has_video = false;
    fake_stream_begin(&f, n, 0, "radio");
    fake_stream_announce(&f);
    fake_stream_parts(&f, n, 12);
    const char *text = text_of(shown(n, "radio")->multivariant);
    assert_has(text, "CODECS=\"mp4a.40.2\"\naudio.m3u8\n");
    assert_has_not(text, "EXT-X-MEDIA:");
    fake_node_free(n);
}

static void test_window_slides_and_keeps_evicted_segments_for_a_while(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    f.video_bytes = 5000;
    fake_stream_parts(&f, n, 10 * 50);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    assert_int_equal(video->segment_count, 30);
    for (uint32_t i = 0; i < video->segment_count; i++)
        assert_int_equal(video->segments[i].msn, video->first_msn + i);
    assert_int_equal(NODE_COUNTER(n, channel_segments_evicted), 0);
    assert_int_equal(NODE_COUNTER(n, channel_parts_dropped), 0);
    assert_int_equal(NODE_COUNTER(n, channel_segments_too_long), 0);
    assert_int_equal(NODE_COUNTER(n, channel_parts_too_long), 0);
    assert_int_equal(NODE_COUNTER(n, channel_numbers_ahead), 0);
    fake_node_free(n);
}

static void test_part_target_follows_the_cadence(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_part_max[0] = 15015; /* 5 frames at 29.97 fps: 166.8 ms */
    fake_part_max[1] = 8192;  /* 8 AAC frames: 170.7 ms */
    fake_stream_parts(&f, n, 10);
    assert_has(text_of(track(shown(n, "demo"), "video")->playlist), "PART-TARGET=0.17100\n");
    fake_node_free(n);
}

/* --- who is woken --- */

struct test_waiter {
    struct channel_waiter waiter;
    int count;
};

static void on_ready(struct channel_waiter *w, uint64_t now_us)
{
    (void)now_us;
    CONTAINER_OF(w, struct test_waiter, waiter)->count++;
}

static void test_waiters_of_all_shards_are_woken_by_each_part(void **state)
{
    struct fake_node *n = fake_node_new(3, NULL);
    struct test_waiter w[3] = {0};
    struct fake_stream f;

    (void)state;
    start(&f, n, 1, "demo");
    fake_stream_parts(&f, n, 10);
    for (uint32_t i = 0; i < 3; i++) {
        w[i].waiter.ready = on_ready;
        channel_wait(find(n, "demo"), n->all[i], &w[i].waiter);
    }
    fake_node_pass(n, 10000, 1000);
    for (uint32_t i = 0; i < 3; i++) { /* what they may have missed before is reported once */
        assert_int_equal(w[i].count, 1);
        channel_wait(find(n, "demo"), n->all[i], &w[i].waiter);
    }
    fake_node_pass(n, 10000, 1000);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(w[i].count, 1);
    channel_wait_cancel(&w[2].waiter);
    channel_wait_cancel(&w[2].waiter);
    fake_stream_parts(&f, n, 1);
    assert_int_equal(w[0].count, 2);
    assert_int_equal(w[1].count, 2);
    assert_int_equal(w[2].count, 1);
    fake_node_free(n);
}

static void test_waiters_are_woken_when_the_channel_ends_and_when_it_goes(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct test_waiter w = {.waiter = {.ready = on_ready}};
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 10);
    publication_end(&f.publication, n->all[0]->now_us);
    fake_node_pass(n, 1000, 1000);
    channel_wait(find(n, "demo"), n->all[1], &w.waiter);
    fake_node_pass(n, 1000000, 1000);
    w.count = 0;
    channel_wait(find(n, "demo"), n->all[1], &w.waiter);
    fake_node_pass(n, 30000000, 100000);
    assert_int_equal(w.count, 1);
    assert_true(shown(n, "demo")->is_ended);
    channel_wait(find(n, "demo"), n->all[1], &w.waiter);
    fake_node_pass(n, 65000000, 100000);
    assert_int_equal(w.count, 2);
    assert_null(find(n, "demo"));
    fake_node_free(n);
}

static void test_many_waiters_are_woken_in_batches(void **state)
{
    enum { WAITERS = 3000 };
    struct fake_node *n = fake_node_new(1, NULL);
    struct test_waiter *w = calloc(WAITERS, sizeof(*w));
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 10);
    fake_node_pass(n, 1000, 1000);
    for (uint32_t i = 0; i < WAITERS; i++) {
        w[i].waiter.ready = on_ready;
        channel_wait(find(n, "demo"), n->all[0], &w[i].waiter);
    }
    fake_stream_parts(&f, n, 1);
    for (uint32_t i = 0; i < WAITERS; i++)
        assert_true(w[i].count >= 1);
    free(w);
    fake_node_free(n);
}

/* --- who publishes --- */

static void test_publisher_that_vanishes_may_come_back_within_the_grace(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;
    struct fake_stream again;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 24);
    uint64_t generation = channel_generation(find(n, "demo"));
    uint64_t first_msn = track(shown(n, "demo"), "video")->first_msn;
    publication_end(&f.publication, n->all[0]->now_us);
    publication_end(&f.publication, n->all[0]->now_us);
    assert_int_equal(publication_unit(&f.publication, NULL, 0), -ESTALE);
    assert_false(shown(n, "demo")->is_live);
    const char *text = text_of(track(shown(n, "demo"), "video")->playlist);
    assert_has_not(text, "PRELOAD-HINT");
    assert_has_not(text, "ENDLIST");

    fake_node_pass(n, 5000000, 100000);
    come_back(&again, &f, n, 0, "demo");
    again.media_us += 5000000;
    assert_int_equal(again.granted_count, 1);
    assert_true(shown(n, "demo")->is_live);
    fake_stream_announce(&again);
    fake_stream_parts(&again, n, 8);
    /* In the new period no player could be at its latency yet. */
    assert_int_equal(count_of(text_of(shown(n, "demo")->mpd), "<Period "), 1);
    fake_stream_parts(&again, n, 4);
    assert_int_equal(channel_generation(find(n, "demo")), generation);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    assert_int_equal(video->first_msn, first_msn);
    text = text_of(video->playlist);
    assert_has(text, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"video-init-2.mp4\"\n");
    assert_int_equal(video->init_count, 2);
    char line[80];
    snprintf(line, sizeof(line), "#EXT-X-DISCONTINUITY-SEQUENCE:%llu\n",
             (unsigned long long)first_msn / 512);
    assert_has(text, line);
    assert_int_equal(count_of(text_of(shown(n, "demo")->mpd), "<Period "), 2);

    /* Once the discontinuity has left the playlist, it is counted. */
    fake_stream_parts(&again, n, 160);
    text = text_of(track(shown(n, "demo"), "video")->playlist);
    assert_has_not(text, "#EXT-X-DISCONTINUITY\n");
    snprintf(line, sizeof(line), "#EXT-X-DISCONTINUITY-SEQUENCE:%llu\n",
             (unsigned long long)first_msn / 512 + 1);
    assert_has(text, line);
    fake_node_free(n);
}

static void test_newer_publisher_takes_over_on_the_same_shard(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;
    struct fake_stream newer;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 20);
    come_back(&newer, &f, n, 0, "demo");
    assert_int_equal(newer.granted_count, 1);
    assert_int_equal(f.revoked_count, 1);
    assert_int_equal(f.revoked_error, -ESTALE);
    assert_int_equal(publication_unit(&f.publication, NULL, 0), -ESTALE);
    publication_end(&f.publication, n->all[0]->now_us); /* changes nothing for the newer one */
    fake_stream_announce(&newer);
    fake_stream_parts(&newer, n, 1);
    assert_int_equal(count_of(text_of(shown(n, "demo")->mpd), "<Period "), 2); /* no gap */
    fake_stream_parts(&newer, n, 9);
    assert_true(shown(n, "demo")->is_live);
    assert_int_equal(NODE_COUNTER(n, channel_takeovers), 1);
    fake_node_free(n);
}

static void test_channel_moves_to_the_shard_of_its_newer_publisher(void **state)
{
    struct fake_node *n = fake_node_new(3, NULL);
    struct fake_stream f[4];

    (void)state;
    start(&f[0], n, 0, "demo");
    fake_stream_parts(&f[0], n, 25);
    uint64_t generation = channel_generation(find(n, "demo"));
    for (uint32_t i = 1; i < 4; i++) {
        come_back(&f[i], &f[i - 1], n, i % 3, "demo");
        fake_node_pass(n, 20000, 1000);
        assert_int_equal(f[i].granted_count, 1);
        assert_int_equal(f[i - 1].revoked_error, -ESTALE);
        fake_stream_announce(&f[i]);
        fake_stream_parts(&f[i], n, 25);
    }
    assert_int_equal(channel_generation(find(n, "demo")), generation);
    assert_int_equal(NODE_COUNTER(n, channel_moves), 3);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    assert_int_equal(video->segment_count, 12); /* 3 of each, the last of which are short */
    fake_node_free(n);
}

static void test_publisher_that_dies_while_its_channel_moves_leaves_it_in_grace(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream f;
    struct fake_stream *doomed = calloc(1, sizeof(*doomed));

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 20);
    fake_stream_init(doomed);
    publication_begin(&doomed->publication, n->channels, n->all[1], bytes_of_str("demo"));
    wheel_poll(&n->all[1]->wheel, n->all[1]->now_us + 1000, 10); /* posts the TAKE */
    publication_end(&doomed->publication, n->all[1]->now_us);
    assert_int_equal(doomed->granted_count + doomed->revoked_count, 0);
    free(doomed); /* its session is gone: nobody may touch it */
    fake_node_pass(n, 100000, 1000);
    assert_int_equal(f.revoked_error, -ESTALE);
    assert_false(shown(n, "demo")->is_live);
    fake_node_pass(n, 31000000, 100000);
    assert_true(shown(n, "demo")->is_ended);
    fake_node_free(n);
}

static void test_two_publishers_race_for_a_new_name_and_for_one_that_moves(void **state)
{
    struct fake_node *n = fake_node_new(3, NULL);
    struct fake_stream f[3];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < 3; i++) {
            fake_stream_init(&f[i]);
            publication_begin(&f[i].publication, n->channels, n->all[i], bytes_of_str("demo"));
        }
        fake_node_pass(n, 50000, 1000);
        fake_node_pass(n, 6000000, 100000);
        int held = 0;
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(f[i].granted_count + (f[i].revoked_error == -ETIMEDOUT), 1);
            held += f[i].granted_count - (f[i].revoked_error == -ESTALE);
        }
        assert_int_equal(held, 1);
        for (uint32_t i = 0; i < 3; i++)
            publication_end(&f[i].publication, n->all[i]->now_us);
    }
    fake_node_free(n);
}

static void test_channel_that_ended_begins_a_new_life(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream f;
    struct fake_stream again;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 20);
    uint64_t generation = channel_generation(find(n, "demo"));
    uint64_t next_msn = track(shown(n, "demo"), "video")->next_msn;
    publication_end(&f.publication, n->all[0]->now_us);
    fake_node_pass(n, 31000000, 100000);
    const struct channel_snapshot *s = shown(n, "demo");
    assert_true(s->is_ended);
    assert_has(text_of(track(s, "video")->playlist), "#EXT-X-ENDLIST\n");
    assert_has(text_of(s->mpd), " type=\"static\" mediaPresentationDuration=\"PT4.000000S\"");

    fake_stream_init(&again);
    fake_stream_begin(&again, n, 1, "demo");
    fake_node_pass(n, 20000, 1000);
    assert_int_equal(again.granted_count, 1);
    assert_null(
        shown(n, "demo")); /* nothing of the new life yet, and nothing of the old any more */
    assert_true(channel_generation(find(n, "demo")) > generation);
    fake_stream_announce(&again);
    fake_stream_parts(&again, n, 12);
    assert_true(track(shown(n, "demo"), "video")->first_msn >= next_msn);
    fake_node_free(n);
}

/* --- what runs out --- */

static void one_channel(struct config *config)
{
    config->store_channels_max = 1;
}

static void test_channels_run_out_and_come_back(void **state)
{
    struct fake_node *n = fake_node_new(1, one_channel);
    struct fake_stream f;
    struct fake_stream other;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_init(&other);
    fake_stream_begin(&other, n, 0, "other");
    assert_int_equal(other.granted_count, 0);
    assert_int_equal(other.revoked_error, -ENOSPC);
    assert_int_equal(NODE_COUNTER(n, channel_refusals), 1);
    publication_end(&f.publication, n->all[0]->now_us);
    fake_node_pass(n, 100000000, 1000000);
    start(&other, n, 0, "other");
    fake_node_free(n);
}

static void small_store(struct config *config)
{
    config->store_memory = 8 << 20;
}

static void test_full_store_evicts_the_oldest_segments(void **state)
{
    struct fake_node *n = fake_node_new(1, small_store);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    f.video_bytes = 100000; /* a megabyte in a segment: 7 fit */
    fake_stream_parts(&f, n, 200);
    assert_true(NODE_COUNTER(n, channel_segments_evicted) > 5);
    assert_int_equal(NODE_COUNTER(n, channel_parts_without_memory), 0);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    assert_in_range(video->segment_count, 4, 8);
    fake_node_free(n);
}

static void small_channel(struct config *config)
{
    config->store_channel_memory = 4 << 20;
}

static void test_channel_over_its_budget_evicts_only_its_own(void **state)
{
    struct fake_node *n = fake_node_new(1, small_channel);
    struct fake_stream small;
    struct fake_stream large;

    (void)state;
    start(&small, n, 0, "small");
    start(&large, n, 0, "large");
    small.video_bytes = 5000;
    large.video_bytes = 100000;
    for (int i = 0; i < 200; i++) {
        fake_stream_part(&small, n);
        fake_stream_part(&large, n);
    }
    assert_int_equal(track(shown(n, "small"), "video")->segment_count, 20);
    assert_in_range(track(shown(n, "large"), "video")->segment_count, 3, 4);
    fake_node_free(n);
}

static void test_part_that_fits_nowhere_becomes_a_gap(void **state)
{
    struct fake_node *n = fake_node_new(1, small_store);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 22);
    f.video_bytes = 20 << 20;
    fake_stream_parts(&f, n, 1);
    f.video_bytes = 50000;
    fake_stream_parts(&f, n, 7);
    assert_true(NODE_COUNTER(n, channel_parts_without_memory) >= 1);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    const char *text = text_of(video->playlist);
    assert_has(text, ".2.m4s\",GAP=YES\n");
    assert_null(video->segments[video->segment_count - 1].parts[2].object);
    assert_int_equal(video->segments[video->segment_count - 1].part_count, 10);
    fake_node_free(n);
}

static void test_snapshots_run_out_while_a_reader_sleeps_inside_its_turn(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 10);
    const struct channel_snapshot *held = shown(n, "demo");
    uint64_t held_msn = track(held, "video")->next_msn;
    n->shard_count = 1; /* shard 1 stands still, inside a section */
    fake_stream_parts(&f, n, 30);
    assert_true(NODE_COUNTER(n, channel_snapshots_deferred) > 10);
    assert_int_equal(track(held, "video")->next_msn, held_msn);
    assert_has(text_of(track(held, "video")->playlist), "#EXTM3U");
    n->shard_count = 2;
    fake_node_pass(n, 100000, 1000);
    assert_true(track(shown(n, "demo"), "video")->next_msn > held_msn + 2);
    fake_node_free(n);
}

static void test_mailboxes_run_full_and_wakes_are_made_up_for(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct test_waiter w = {.waiter = {.ready = on_ready}};
    struct fake_stream f;
    struct fake_stream newer;
    struct message filler = {.handle = NULL};

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 10);
    channel_wait(find(n, "demo"), n->all[1], &w.waiter);
    fake_node_pass(n, 2000, 1000);
    channel_wait(find(n, "demo"), n->all[1], &w.waiter);
    w.count = 0;
    n->shard_count = 1;
    while (mailbox_post(&n->all[1]->mailbox, &filler) == 0)
        continue;
    fake_stream_parts(&f, n, 1);
    assert_true(NODE_COUNTER(n, mailbox_full) > 0);
    /* A publisher on shard 1 takes the channel while nothing can be posted there. */
    fake_stream_init(&newer);
    fake_stream_ask(&newer, n, 1, "demo");
    wheel_poll(&n->all[1]->wheel, n->all[1]->now_us + 1000, 10);
    fake_node_pass(n, 20000, 1000);
    while (mailbox_take(&n->all[1]->mailbox, &filler))
        assert_null(filler.handle);
    n->shard_count = 2;
    fake_node_pass(n, 50000, 1000);
    assert_true(w.count >= 1);
    assert_int_equal(newer.granted_count, 1);
    assert_int_equal(f.revoked_error, -ESTALE);
    fake_node_free(n);
}

static void test_track_that_stops_is_filled_with_gaps(void **state)
{
    struct fake_node *n = fake_node_new(1, NULL);
    struct fake_stream f;

    (void)state;
    start(&f, n, 0, "demo");
    fake_stream_parts(&f, n, 20);
    f.has_audio = false;
    fake_stream_parts(&f, n, 60);
    const struct track_snapshot *video = track(shown(n, "demo"), "video");
    const struct track_snapshot *audio = track(shown(n, "demo"), "audio");
    assert_in_range(video->next_msn - audio->next_msn, 0, 2);
    assert_has(text_of(audio->playlist), "#EXT-X-GAP\n#EXTINF:2.00000,\naudio-");
    f.has_audio = true;
    fake_stream_parts(&f, n, 20);
    audio = track(shown(n, "demo"), "audio");
    assert_int_equal(track(shown(n, "demo"), "video")->next_msn, audio->next_msn);
    for (uint32_t i = 0; i < audio->segment_count; i++)
        assert_int_equal(audio->segments[i].msn, audio->first_msn + i);
    fake_node_free(n);
}

static void count_channel(void *user, const char *name, const struct channel_snapshot *snapshot)
{
    assert_non_null(snapshot);
    assert_true(strlen(name) > 0);
    ++*(int *)user;
}

static void test_registry_lists_live_channels_and_counts_their_bytes(void **state)
{
    struct fake_node *n = fake_node_new(2, NULL);
    struct fake_stream a;
    struct fake_stream b;
    int count = 0;

    (void)state;
    start(&a, n, 0, "a");
    start(&b, n, 1, "b");
    fake_stream_parts(&a, n, 10);
    channels_each(n->channels, count_channel, &count);
    assert_int_equal(count, 1);
    fake_stream_parts(&b, n, 10);
    channels_each(n->channels, count_channel, &count);
    assert_int_equal(count, 3);
    channel_count_bytes(find(n, "a"), n->all[0], 100);
    channel_count_bytes(find(n, "a"), n->all[1], 10);
    assert_int_equal(channel_sent_bytes(find(n, "a")), 110);
    assert_string_equal(channel_name(find(n, "b")), "b");
    publication_end(&a.publication, n->all[0]->now_us);
    publication_end(&b.publication, n->all[1]->now_us);
    fake_node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_is_shown_after_its_first_segment),
        cmocka_unit_test(test_channel_is_shown_without_a_complete_segment_when_that_takes_long),
        cmocka_unit_test(test_playlist_has_what_players_need),
        cmocka_unit_test(test_multivariant_has_measured_bandwidth_and_rate),
        cmocka_unit_test(test_multivariant_of_audio_alone),
        cmocka_unit_test(test_window_slides_and_keeps_evicted_segments_for_a_while),
        cmocka_unit_test(test_part_target_follows_the_cadence),
        cmocka_unit_test(test_waiters_of_all_shards_are_woken_by_each_part),
        cmocka_unit_test(test_waiters_are_woken_when_the_channel_ends_and_when_it_goes),
        cmocka_unit_test(test_many_waiters_are_woken_in_batches),
        cmocka_unit_test(test_publisher_that_vanishes_may_come_back_within_the_grace),
        cmocka_unit_test(test_newer_publisher_takes_over_on_the_same_shard),
        cmocka_unit_test(test_channel_moves_to_the_shard_of_its_newer_publisher),
        cmocka_unit_test(test_publisher_that_dies_while_its_channel_moves_leaves_it_in_grace),
        cmocka_unit_test(test_two_publishers_race_for_a_new_name_and_for_one_that_moves),
        cmocka_unit_test(test_channel_that_ended_begins_a_new_life),
        cmocka_unit_test(test_channels_run_out_and_come_back),
        cmocka_unit_test(test_full_store_evicts_the_oldest_segments),
        cmocka_unit_test(test_channel_over_its_budget_evicts_only_its_own),
        cmocka_unit_test(test_part_that_fits_nowhere_becomes_a_gap),
        cmocka_unit_test(test_snapshots_run_out_while_a_reader_sleeps_inside_its_turn),
        cmocka_unit_test(test_mailboxes_run_full_and_wakes_are_made_up_for),
        cmocka_unit_test(test_track_that_stops_is_filled_with_gaps),
        cmocka_unit_test(test_registry_lists_live_channels_and_counts_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
