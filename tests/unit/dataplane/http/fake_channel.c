#include "tests/unit/dataplane/http/fake_channel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/check.h"
#include "dataplane/media/channel.h"
#include "tests/unit/dataplane/http/http_world.h"

enum {
    SLOTS = 4,
    SEGMENTS_MAX = 16,
    PARTS_MAX = 128,
    TRACKS = 2,
    FIRST_MSN = 100,
    INIT_ID = 7,
    INIT_SIZE = 600
};

struct fake_segment {
    struct object *parts[TRACKS][PARTS_MAX];
    uint32_t part_count;
    uint64_t msn;
    bool is_complete;
};

/* All that a snapshot points to, in one allocation, so that a stale pointer into it is found. */
struct fake_snapshot {
    struct channel_snapshot s;
    struct segment_entry segments[TRACKS][SEGMENTS_MAX];
    struct part_entry parts[TRACKS][SEGMENTS_MAX][PARTS_MAX];
};

struct channel {
    struct world *world;
    char name[CHANNEL_NAME_MAX + 1];
    uint64_t generation;
    bool is_used;
    bool is_live;
    struct fake_snapshot *snapshot;
    struct list waiters;
    uint64_t bytes;
    struct fake_segment segments[SEGMENTS_MAX];
    uint32_t segment_count;
    uint64_t next_msn;
    struct object *manifest;
    struct object *playlist;
    struct object *delta;
    struct object *init;
    uint32_t init_id;
};

struct channels {
    struct world *world;
    struct channel slots[SLOTS];
};

static const char *const track_names[TRACKS] = {"video", "audio"};

struct channels *fake_channels_new(struct world *w)
{
    struct channels *c = calloc(1, sizeof(*c));

    CHECK(c != NULL);
    c->world = w;
    for (unsigned i = 0; i < SLOTS; i++)
        list_init(&c->slots[i].waiters);
    return c;
}

static void segment_drop(struct fake_segment *segment)
{
    for (uint32_t t = 0; t < TRACKS; t++)
        for (uint32_t i = 0; i < segment->part_count; i++)
            object_unref(&segment->parts[t][i]);
}

static void manifests_drop(struct channel *ch)
{
    object_unref(&ch->manifest);
    object_unref(&ch->playlist);
    object_unref(&ch->delta);
    free(ch->snapshot);
    ch->snapshot = NULL;
}

static void channel_clear(struct channel *ch)
{
    manifests_drop(ch);
    object_unref(&ch->init);
    for (uint32_t i = 0; i < ch->segment_count; i++)
        segment_drop(&ch->segments[i]);
    ch->segment_count = 0;
    ch->is_used = false;
}

void fake_channels_free(struct channels **pc)
{
    struct channels *c = *pc;

    *pc = NULL;
    for (unsigned i = 0; i < SLOTS; i++)
        channel_clear(&c->slots[i]);
    free(c);
}

static struct object *object_of(struct channel *ch, const void *data, size_t size)
{
    struct object *o = object_new(ch->world->shard.store, (uint32_t)size);

    CHECK(o != NULL);
    memcpy(object_data(o), data, size);
    object_seal(o);
    return o;
}

uint8_t fake_part_byte(uint64_t msn, uint32_t part, uint32_t offset)
{
    return (uint8_t)(msn * 31 + part * 7 + offset + offset / 251);
}

static uint64_t next_msn(const struct channel *ch)
{
    if (ch->segment_count == 0)
        return ch->next_msn;
    const struct fake_segment *last = &ch->segments[ch->segment_count - 1];
    return last->is_complete ? last->msn + 1 : last->msn;
}

static uint32_t next_part(const struct channel *ch)
{
    if (ch->segment_count == 0)
        return 0;
    const struct fake_segment *last = &ch->segments[ch->segment_count - 1];
    return last->is_complete ? 0 : last->part_count;
}

static void fill_track(struct channel *ch, struct fake_snapshot *f, uint32_t t)
{
    struct track_snapshot *track = &f->s.tracks[t];

    track->kind = t == 0 ? MEDIA_VIDEO : MEDIA_AUDIO;
    snprintf(track->name, sizeof(track->name), "%s", track_names[t]);
    track->playlist = ch->playlist;
    track->playlist_delta = ch->delta;
    track->segments = f->segments[t];
    track->segment_count = ch->segment_count;
    track->first_msn = ch->segment_count > 0 ? ch->segments[0].msn : ch->next_msn;
    track->next_msn = next_msn(ch);
    track->next_part = next_part(ch);
    track->inits = &ch->init;
    track->init_ids = &ch->init_id;
    track->init_count = 1;
    for (uint32_t i = 0; i < ch->segment_count; i++) {
        const struct fake_segment *from = &ch->segments[i];
        struct segment_entry *to = &f->segments[t][i];
        to->parts = f->parts[t][i];
        to->part_count = from->part_count;
        to->msn = from->msn;
        to->is_complete = from->is_complete;
        for (uint32_t k = 0; k < from->part_count; k++) {
            f->parts[t][i][k].object = from->parts[t][k];
            to->size += object_size(from->parts[t][k]);
        }
    }
}

static void publish(struct channel *ch)
{
    static const char index[] =
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000,CODECS=\"avc1.64001f,mp4a.40.2\","
        "RESOLUTION=1280x720,FRAME-RATE=30.000\nvideo.m3u8\n";
    char text[64];
    struct list woken;

    manifests_drop(ch);
    ch->manifest = object_of(ch, index, sizeof(index) - 1);
    int length = snprintf(text, sizeof(text), "playlist %" PRIu64 ".%" PRIu32 "\n", next_msn(ch),
                          next_part(ch));
    ch->playlist = object_of(ch, text, (size_t)length);
    length = snprintf(text, sizeof(text), "delta %" PRIu64 ".%" PRIu32 "\n", next_msn(ch),
                      next_part(ch));
    ch->delta = object_of(ch, text, (size_t)length);
    struct fake_snapshot *f = calloc(1, sizeof(*f));
    CHECK(f != NULL);
    f->s.multivariant = ch->manifest;
    f->s.mpd = ch->manifest;
    f->s.part_target_us = 200000;
    f->s.segment_target_us = 2000000;
    f->s.track_count = TRACKS;
    f->s.is_live = ch->is_live;
    for (uint32_t t = 0; t < TRACKS; t++)
        fill_track(ch, f, t);
    ch->snapshot = f;

    list_init(&woken);
    list_splice(&woken, &ch->waiters);
    for (struct list *node; (node = list_pop_front(&woken)) != NULL;) {
        struct channel_waiter *w = CONTAINER_OF(node, struct channel_waiter, link);
        w->ready(w, ch->world->shard.now_us);
    }
}

struct channel *fake_channel_start(struct world *w, const char *name)
{
    struct channels *c = w->channels;
    uint8_t init[INIT_SIZE];

    for (unsigned i = 0; i < SLOTS; i++) {
        struct channel *ch = &c->slots[i];
        if (ch->is_used)
            continue;
        ch->world = w;
        ch->is_used = true;
        ch->is_live = true;
        ch->generation++;
        ch->next_msn = FIRST_MSN;
        ch->bytes = 0;
        snprintf(ch->name, sizeof(ch->name), "%s", name);
        memset(init, 'i', sizeof(init));
        ch->init = object_of(ch, init, sizeof(init));
        ch->init_id = INIT_ID;
        return ch;
    }
    return NULL;
}

void fake_channel_part(struct channel *ch, uint32_t size, bool ends_segment)
{
    if (ch->segment_count == 0 || ch->segments[ch->segment_count - 1].is_complete) {
        if (ch->segment_count == SEGMENTS_MAX)
            fake_channel_evict(ch);
        uint64_t msn = next_msn(ch);
        ch->segments[ch->segment_count++] = (struct fake_segment){.msn = msn};
    }
    struct fake_segment *last = &ch->segments[ch->segment_count - 1];
    CHECK(last->part_count < PARTS_MAX);
    for (uint32_t t = 0; t < TRACKS; t++) {
        struct object *o = object_new(ch->world->shard.store, size);
        CHECK(o != NULL);
        for (uint32_t i = 0; i < size; i++)
            object_data(o)[i] = fake_part_byte(last->msn, last->part_count, i);
        object_seal(o);
        last->parts[t][last->part_count] = o;
    }
    last->part_count++;
    last->is_complete = ends_segment;
    publish(ch);
}

void fake_channel_end_segment(struct channel *ch)
{
    CHECK(ch->segment_count > 0);
    ch->segments[ch->segment_count - 1].is_complete = true;
    publish(ch);
}

void fake_channel_evict(struct channel *ch)
{
    CHECK(ch->segment_count > 0);
    ch->next_msn = ch->segments[0].msn + 1;
    segment_drop(&ch->segments[0]);
    ch->segment_count--;
    memmove(ch->segments, ch->segments + 1, ch->segment_count * sizeof(ch->segments[0]));
    publish(ch);
}

void fake_channel_set_live(struct channel *ch, bool is_live)
{
    ch->is_live = is_live;
    publish(ch);
}

void fake_channel_end(struct channel *ch)
{
    struct list woken;

    channel_clear(ch);
    list_init(&woken);
    list_splice(&woken, &ch->waiters);
    for (struct list *node; (node = list_pop_front(&woken)) != NULL;) {
        struct channel_waiter *w = CONTAINER_OF(node, struct channel_waiter, link);
        w->ready(w, ch->world->shard.now_us);
    }
}

uint32_t fake_channel_waiters(const struct channel *ch)
{
    uint32_t count = 0;

    list_for_each (node, &ch->waiters)
        count++;
    return count;
}

uint64_t fake_channel_bytes(const struct channel *ch)
{
    return ch->bytes;
}

/* --- channel.h --- */

struct channel *channel_find(struct channels *c, struct bytes name)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (c->slots[i].is_used && bytes_equal_str(name, c->slots[i].name))
            return &c->slots[i];
    return NULL;
}

void channels_each(struct channels *c,
                   void (*each)(void *user, const char *name,
                                const struct channel_snapshot *snapshot),
                   void *user)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (c->slots[i].is_used && c->slots[i].snapshot != NULL)
            each(user, c->slots[i].name, &c->slots[i].snapshot->s);
}

const char *channel_name(const struct channel *ch)
{
    return ch->name;
}

uint64_t channel_generation(const struct channel *ch)
{
    return ch->generation;
}

const struct channel_snapshot *channel_snapshot(const struct channel *ch)
{
    return ch->snapshot != NULL ? &ch->snapshot->s : NULL;
}

const struct track_snapshot *snapshot_track(const struct channel_snapshot *s, struct bytes name)
{
    for (uint32_t i = 0; i < s->track_count; i++)
        if (bytes_equal_str(name, s->tracks[i].name))
            return &s->tracks[i];
    return NULL;
}

void channel_wait(struct channel *ch, struct shard *s, struct channel_waiter *w)
{
    (void)s;
    CHECK(!list_is_linked(&w->link));
    list_push_back(&ch->waiters, &w->link);
}

void channel_wait_cancel(struct channel_waiter *w)
{
    list_remove(&w->link);
}

void channel_count_bytes(struct channel *ch, struct shard *s, uint64_t bytes)
{
    (void)s;
    ch->bytes += bytes;
}

void channel_count_viewer(struct channel *ch, struct shard *s, uint32_t *slot)
{
    (void)ch;
    (void)s;
    (*slot)++;
}
