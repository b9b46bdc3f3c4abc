#include "tests/unit/dataplane/media/fake_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"

enum { START_US = 1000000 };

static void shard_start(struct fake_node *n, uint32_t index)
{
    struct shard *s = &n->shards[index];

    s->index = index;
    s->count = n->shard_count;
    s->now_us = START_US;
    s->wall_us = FAKE_START_WALL_US;
    s->config = &n->config;
    s->counters = &n->counters[index];
    s->all = n->all;
    wheel_init(&s->wheel, s->now_us);
    blob_home_init(&s->blob_home);
    assert_int_equal(mailbox_init(&s->mailbox, 64), 0);
    s->store = store_shard_attach(n->store, index, s->counters, &s->blob_home);
    n->all[index] = s;
}

struct fake_node *fake_node_new(uint32_t shard_count, void (*adjust)(struct config *config))
{
    struct fake_node *n = calloc(1, sizeof(*n));

    assert_non_null(n);
    config_defaults(&n->config);
    n->config.store_memory = 64 << 20;
    n->config.store_channels_max = 4;
    if (adjust != NULL)
        adjust(&n->config);
    n->shard_count = shard_count;
    n->store = store_new(n->config.store_memory, shard_count, 256);
    assert_non_null(n->store);
    n->channels = channels_new(&n->config, n->store, shard_count);
    assert_non_null(n->channels);
    for (uint32_t i = 0; i < shard_count; i++)
        shard_start(n, i);
    for (uint32_t i = 0; i < shard_count; i++)
        assert_int_equal(channels_attach(n->channels, n->all[i]), 0);
    return n;
}

void fake_node_turn(struct fake_node *n)
{
    for (uint32_t i = 0; i < n->shard_count; i++) {
        struct shard *s = &n->shards[i];
        struct message m;
        while (mailbox_take(&s->mailbox, &m))
            m.handle(s, &m);
        wheel_poll(&s->wheel, s->now_us, 1000);
        store_poll(s->store);
        store_quiescent(s->store);
    }
}

void fake_node_pass(struct fake_node *n, uint64_t us, uint64_t step_us)
{
    for (uint64_t passed = 0; passed < us; passed += step_us) {
        for (uint32_t i = 0; i < n->shard_count; i++) {
            n->shards[i].now_us += step_us;
            n->shards[i].wall_us += (int64_t)step_us;
        }
        fake_node_turn(n);
    }
}

uint64_t fake_node_counter(const struct fake_node *n, size_t offset)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n->shard_count; i++) {
        const uint8_t *at = (const uint8_t *)&n->counters[i] + offset;
        sum += counter_read((const _Atomic uint64_t *)(const void *)at);
    }
    return sum;
}

void fake_node_free(struct fake_node *n)
{
    for (uint32_t i = 0; i < n->stream_count; i++)
        publication_end(&n->streams[i]->publication, n->shards[0].now_us);
    /* Longer than any grace and lingering. */
    fake_node_pass(n, (n->config.media_reconnect_grace + 65000) * 1000, 1000000);
    fake_node_pass(n, 1000000, 1000);
    assert_int_equal(NODE_COUNTER(n, channels_homed), 0);
    assert_int_equal(NODE_COUNTER(n, channels_live), 0);
    assert_int_equal(NODE_COUNTER(n, store_objects), 0);
    assert_int_equal(NODE_COUNTER(n, store_used_bytes), 0);
    assert_int_equal(NODE_COUNTER(n, store_retire_waiting), 0);
    channels_free(&n->channels);
    store_free(&n->store);
    for (uint32_t i = 0; i < n->shard_count; i++)
        mailbox_fini(&n->shards[i].mailbox);
    free(n);
}

/* --- the publisher --- */

static void on_granted(struct publication *p, uint64_t now_us)
{
    (void)now_us;
    CONTAINER_OF(p, struct fake_stream, publication)->granted_count++;
}

static void on_revoked(struct publication *p, int error, uint64_t now_us)
{
    struct fake_stream *f = CONTAINER_OF(p, struct fake_stream, publication);

    (void)now_us;
    f->revoked_count++;
    f->revoked_error = error;
}

void fake_stream_init(struct fake_stream *f)
{
    *f = (struct fake_stream){
        .publication = {.granted = on_granted, .revoked = on_revoked},
        .has_video = true,
        .has_audio = true,
        .part_us = 200000,
        .parts_per_segment = 10,
        .video_bytes = 50000,
        .audio_bytes = 3200,
        .audio_rate_hz = 48000,
    };
    fake_part_max[0] = 18000;
    fake_part_max[1] = 9600;
}

void fake_stream_ask(struct fake_stream *f, struct fake_node *n, uint32_t shard, const char *name)
{
    f->media_us = n->shards[shard].wall_us;
    publication_begin(&f->publication, n->channels, &n->shards[shard], bytes_of_str(name));
    assert_true(n->stream_count < FAKE_STREAMS_MAX);
    n->streams[n->stream_count++] = f;
}

void fake_stream_begin(struct fake_stream *f, struct fake_node *n, uint32_t shard, const char *name)
{
    fake_stream_ask(f, n, shard, name);
    fake_node_pass(n, 1000, 1000);
}

void fake_stream_send(struct fake_stream *f, const struct fake_command *command)
{
    const struct access_unit au = {.data = bytes_of(command, sizeof(*command))};

    assert_int_equal(publication_unit(&f->publication, &au, 0), 0);
}

void fake_stream_announce(struct fake_stream *f)
{
    struct fake_command video = {.kind = FAKE_INIT,
                                 .timescale = 90000,
                                 .info = {.kind = MEDIA_VIDEO,
                                          .codec = CODEC_H264,
                                          .width = 1280,
                                          .height = 720,
                                          .codec_string = "avc1.64001f"}};
    struct fake_command audio = {.kind = FAKE_INIT,
                                 .part = {.track = 1},
                                 .timescale = f->audio_rate_hz,
                                 .info = {.kind = MEDIA_AUDIO,
                                          .codec = CODEC_AAC,
                                          .sample_rate_hz = f->audio_rate_hz,
                                          .channel_count = 2,
                                          .codec_string = "mp4a.40.2"}};

    if (f->has_video)
        fake_stream_send(f, &video);
    if (f->has_audio)
        fake_stream_send(f, &audio);
}

static void send_part(struct fake_stream *f, uint8_t track, uint32_t timescale)
{
    int64_t from = f->media_us / 1000 * timescale / 1000;
    int64_t to = (f->media_us + f->part_us) / 1000 * timescale / 1000;
    struct fake_command c = {
        .kind = FAKE_PART,
        .size = track == 0 ? f->video_bytes : f->audio_bytes,
        .sample_count = f->part_us * 3 / 100000,
        .is_numbered_by_packager = f->is_numbered_by_packager,
        .part = {.track = track,
                 .is_independent = track == 1 || f->part == 0,
                 .starts_segment = f->part == 0,
                 .ends_segment = f->part + 1 == f->parts_per_segment,
                 .is_discontinuous = f->part == 0 && f->is_discontinuous,
                 .segment = f->segment,
                 .dts = from,
                 .pts = from,
                 .duration = (uint32_t)(to - from),
                 .wall_us = f->media_us},
    };

    fake_stream_send(f, &c);
}

void fake_stream_send_parts(struct fake_stream *f)
{
    if (f->has_video)
        send_part(f, 0, 90000);
    if (f->has_audio)
        send_part(f, 1, f->audio_rate_hz);
    f->media_us += f->part_us;
    if (f->part == 0)
        f->is_discontinuous = false;
    if (++f->part == f->parts_per_segment) {
        f->part = 0;
        f->segment++;
    }
}

void fake_stream_part(struct fake_stream *f, struct fake_node *n)
{
    fake_stream_send_parts(f);
    fake_node_pass(n, f->part_us, f->part_us / 4);
}

void fake_stream_parts(struct fake_stream *f, struct fake_node *n, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        fake_stream_part(f, n);
}
