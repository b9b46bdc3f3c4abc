#include "bench/micro/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "dataplane/http/http_server.h"
#include "dataplane/media/channel.h"
#include "dataplane/net/net.h"
#include "dataplane/store/store.h"

enum {
    FRAME_RATE = 30,
    MEDIA_SECONDS = 9,
    GOP_FRAMES = 60,
    FRAMES_PER_PART = 6,
    VIEWS = 4096,
    TURNS_MAX = 1000,
    SETTLE_US = 10000,
    KEEPALIVE_MS = 2000 /* often, so that a short run has its share of them */
};

/* AVCDecoderConfigurationRecord of a 1280x720 constrained baseline stream (made with x264). */
static const uint8_t avcc[] = {0x01, 0x42, 0xc0, 0x1f, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x42,
                               0xc0, 0x1f, 0xd9, 0x00, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00,
                               0x00, 0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1,
                               0x83, 0x24, 0x01, 0x00, 0x04, 0x68, 0xcb, 0x83, 0xcb};

/* Seeded, so that runs are alike (SplitMix64). */
static uint64_t server_random(void *user)
{
    struct server *s = user;
    uint64_t z = s->random_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void on_granted(struct publication *p, uint64_t now_us)
{
    (void)now_us;
    p->cookie = 1;
}

static void on_revoked(struct publication *p, int error, uint64_t now_us)
{
    (void)now_us;
    p->cookie = 2;
    fprintf(stderr, "leat-bench: publishing was refused: %s\n", strerror(-error));
}

static int server_publish(struct server *s)
{
    struct publication *p = s->publication;
    struct track_info info = {.kind = MEDIA_VIDEO,
                              .codec = CODEC_H264,
                              .width = 1280,
                              .height = 720,
                              .config_size = sizeof(avcc),
                              .codec_string = "avc1.42c01f"};

    memcpy(info.config, avcc, sizeof(avcc));
    p->granted = on_granted;
    p->revoked = on_revoked;
    publication_begin(p, s->channels, &s->shard, bytes_of_str("bench"));
    for (int turn = 0; turn < TURNS_MAX && p->cookie == 0; turn++) {
        shard_read_clocks(&s->shard);
        (void)shard_turn(&s->shard);
    }
    if (p->cookie != 1)
        return -EIO;
    return publication_track(p, 0, &info, s->shard.now_us);
}

/* Media time runs with the frames, not with the clock: the whole window is there at once. */
static int server_feed_frame(struct server *s)
{
    uint32_t n = s->frames_fed++;
    bool is_key = n % GOP_FRAMES == 0;
    uint32_t nal_bytes = s->frame_bytes - 4;

    for (int i = 0; i < 4; i++)
        s->frame[i] = (uint8_t)(nal_bytes >> (24 - 8 * i));
    s->frame[4] = is_key ? 0x65 : 0x41;
    struct access_unit au = {.is_keyframe = is_key,
                             .dts_us = (int64_t)n * 1000000 / FRAME_RATE,
                             .pts_us = (int64_t)n * 1000000 / FRAME_RATE,
                             .data = bytes_of(s->frame, s->frame_bytes)};
    return publication_unit(s->publication, &au, s->shard.now_us);
}

static int server_feed(struct server *s, uint32_t part_bytes)
{
    int err = 0;

    s->frame_bytes = part_bytes / FRAMES_PER_PART;
    s->frame = malloc(s->frame_bytes);
    if (s->frame == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->frame_bytes; i++)
        s->frame[i] = (uint8_t)(i * 31);
    for (int n = 0; err == 0 && n < MEDIA_SECONDS * FRAME_RATE; n++) {
        err = server_feed_frame(s);
        shard_read_clocks(&s->shard);
        (void)shard_turn(&s->shard);
    }
    return err;
}

int server_feed_part(struct server *s)
{
    int err = 0;

    for (int n = 0; err == 0 && n < FRAMES_PER_PART; n++)
        err = server_feed_frame(s);
    return err;
}

/* The channel shows what has changed from a timer, so some turns later. */
static void server_settle(struct server *s)
{
    uint64_t until_us = s->shard.now_us + SETTLE_US;

    while (s->shard.now_us < until_us) {
        shard_read_clocks(&s->shard);
        (void)shard_turn(&s->shard);
    }
}

void server_next_path(struct server *s, char path[static SERVER_PATH_BYTES])
{
    const struct channel_snapshot *snapshot =
        channel_snapshot(channel_find(s->channels, bytes_of_str("bench")));
    const struct track_snapshot *track = &snapshot->tracks[0];

    snprintf(path, SERVER_PATH_BYTES, "/live/bench/%s-%lu.%u.m4s", track->name, track->next_msn,
             track->next_part);
}

/* The parts of the latest snapshot, the growing segment's first part excluded. */
static int server_list_paths(struct server *s, bool has_playlist)
{
    struct channel *ch = channel_find(s->channels, bytes_of_str("bench"));
    const struct channel_snapshot *snapshot = ch == NULL ? NULL : channel_snapshot(ch);

    if (snapshot == NULL || snapshot->track_count != 1)
        return -ENOENT;
    const struct track_snapshot *track = &snapshot->tracks[0];
    if (has_playlist)
        snprintf(s->paths[s->path_count++], SERVER_PATH_BYTES, "/live/bench/%s.m3u8", track->name);
    for (uint32_t i = 0; !has_playlist && i < track->segment_count; i++) {
        const struct segment_entry *segment = &track->segments[i];
        for (uint32_t part = 0; part < segment->part_count && s->path_count < SERVER_PATHS_MAX;
             part++)
            snprintf(s->paths[s->path_count++], SERVER_PATH_BYTES, "/live/bench/%s-%lu.%u.m4s",
                     track->name, segment->msn, part);
    }
    return s->path_count > 0 ? 0 : -ENOENT;
}

static int server_listen(struct server *s, struct port *port, uint32_t viewers)
{
    struct port_queue *queue = port->driver->queue(port, s->shard.index);
    struct net_config net = {.mtu = port->driver->info(port)->mtu,
                             .keepalive_idle_ms = KEEPALIVE_MS,
                             .backlog_max = viewers,
                             .backlog_per_source_max = viewers}; /* a few addresses have them all */
    struct endpoint local;

    s->env = (struct transport_env){
        .counters = &s->counters,
        .wheel = &s->shard.wheel,
        .blob_home = &s->shard.blob_home,
        .random = server_random,
        .random_user = s,
        .shard_index = s->shard.index,
        .streams_max = viewers + 64,
        .send_queue_bytes_max = (uint32_t)s->config.net_send_queue,
    };
    queue->counters = &s->counters;
    int err = net_config_set_addresses(&net, "10.91.0.1/24");
    if (err == 0)
        err = net_new(&net, queue, &s->env, &s->transport);
    if (err == 0)
        err = shard_add_transport(&s->shard, s->transport);
    if (err == 0)
        err = http_server_new(&s->shard, s->channels, &s->http);
    if (err == 0)
        err = endpoint_parse("10.91.0.1:8080", &local);
    return err < 0 ? err : http_server_listen(s->http, s->transport, &local, HTTP_PUBLIC);
}

static int server_register(struct server *s, struct port *port)
{
    if (port->driver->register_memory == NULL)
        return 0;
    int err = port->driver->register_memory(port, store_memory(s->store));
    if (err == 0)
        err = port->driver->register_memory(port, blob_pool_memory(s->shard.small_blobs));
    return err;
}

static void server_configure(struct server *s, uint32_t viewers)
{
    config_defaults(&s->config);
    s->config.net_streams_max = viewers + 64;
    s->config.net_small_blobs = viewers + 1024;
    s->config.http_idle_timeout = 3600000;
    s->config.http_send_timeout = 600000;
}

/* The shard with its transport and listener. */
static int server_start(struct server *s, uint32_t index, struct shard *const *all,
                        struct port *port, uint32_t viewers)
{
    uint32_t count = all[1] != NULL ? 2 : 1;
    int err = shard_init(&s->shard, index, count, all, &s->config, &s->counters);

    if (err < 0)
        return err;
    s->shard.store = store_shard_attach(s->store, index, &s->counters, &s->shard.blob_home);
    err = channels_attach(s->channels, &s->shard);
    if (err == 0)
        err = server_register(s, port);
    return err == 0 ? server_listen(s, port, viewers) : err;
}

/* The second shard: what there is to see is the first's. */
static int server_join(struct server *s, struct server *first, struct port *port, uint32_t viewers)
{
    server_configure(s, viewers);
    s->is_second = true;
    s->store = first->store;
    s->channels = first->channels;
    memcpy(s->paths, first->paths, sizeof(s->paths));
    s->path_count = first->path_count;
    return server_start(s, 1, first->all, port, viewers);
}

int server_open(struct server *s, struct port *port, uint32_t viewers, uint32_t part_bytes,
                bool has_playlist)
{
    uint32_t count = s->second != NULL ? 2 : 1;
    int err = -ENOMEM;

    server_configure(s, viewers);
    s->all[0] = &s->shard;
    s->all[1] = s->second != NULL ? &s->second->shard : NULL;
    s->publication = calloc(1, sizeof(*s->publication));
    s->store = store_new((uint64_t)64 << 20, count, VIEWS);
    if (s->publication == NULL || s->store == NULL)
        goto out;
    s->channels = channels_new(&s->config, s->store, count);
    if (s->channels == NULL)
        goto out;
    err = server_start(s, 0, s->all, port, viewers);
    if (err == 0)
        err = server_publish(s);
    if (err == 0)
        err = server_feed(s, part_bytes);
    if (err == 0)
        server_settle(s);
    if (err == 0)
        err = server_list_paths(s, has_playlist);
    if (err == 0 && s->second != NULL)
        err = server_join(s->second, s, port, viewers);

out:
    if (err < 0) {
        fprintf(stderr, "leat-bench: the server cannot start: %s\n", strerror(-err));
        server_close(s);
    }
    return err;
}

void server_close(struct server *s)
{
    if (s->transport != NULL)
        s->transport->ops->free(&s->transport);
    http_server_free(&s->http);
    if (s->is_second) {
        shard_fini(&s->shard);
        return;
    }
    if (s->second != NULL)
        server_close(s->second);
    channels_free(&s->channels);
    shard_fini(&s->shard);
    store_free(&s->store);
    free(s->publication);
    free(s->frame);
    s->publication = NULL;
    s->frame = NULL;
}
