#include "dataplane/media/snapshot.h"

#include <errno.h>
#include <sys/mman.h>

#include "common/check.h"

int snapshots_init(struct snapshots *pool, struct channel *channel, uint32_t capacity)
{
    size_t per_track = capacity * (sizeof(struct segment_entry) + sizeof(struct object *) +
                                   sizeof(uint64_t) /* init id, padded */);

    *pool = (struct snapshots){.capacity = capacity,
                               .memory_bytes = per_track * TRACKS_MAX * SNAPSHOTS_PER_CHANNEL};
    /* Address space only, as in window_init(). */
    pool->memory = mmap(NULL, pool->memory_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool->memory == MAP_FAILED) {
        pool->memory = NULL;
        return -ENOMEM;
    }
    uint8_t *at = pool->memory;
    for (size_t i = 0; i < SNAPSHOTS_PER_CHANNEL; i++) {
        struct snapshot *snap = &pool->all[i];
        snap->channel = channel;
        for (size_t t = 0; t < TRACKS_MAX; t++, at += per_track) {
            snap->entries[t] = (struct segment_entry *)(void *)at;
            snap->inits[t] = (struct object **)(void *)(snap->entries[t] + capacity);
            snap->init_ids[t] = (uint32_t *)(void *)(snap->inits[t] + capacity);
        }
        snap->next = pool->free;
        pool->free = snap;
    }
    return 0;
}

void snapshots_fini(struct snapshots *pool)
{
    if (pool->memory != NULL)
        munmap(pool->memory, pool->memory_bytes);
    pool->memory = NULL;
}

struct snapshot *snapshot_take(struct snapshots *pool)
{
    struct snapshot *snap = pool->free;

    if (snap == NULL)
        return NULL;
    pool->free = snap->next;
    snap->next = NULL;
    snap->shown = (struct channel_snapshot){0};
    return snap;
}

void snapshot_give(struct snapshots *pool, struct snapshot *snap)
{
    CHECK(snap->evicted == NULL);
    for (uint32_t i = 0; i < snap->shown.track_count; i++) {
        object_unref(&snap->shown.tracks[i].playlist);
        object_unref(&snap->shown.tracks[i].playlist_delta);
    }
    object_unref(&snap->shown.multivariant);
    object_unref(&snap->shown.mpd);
    snap->shown.track_count = 0;
    snap->next = pool->free;
    pool->free = snap;
}

/* One playlist as a sealed object; NULL: no media memory. */
static struct object *render_playlist(const struct window *w, const struct window_track *t,
                                      const struct manifest_options *options,
                                      struct store_shard *store, bool is_delta)
{
    struct object *o = object_new_brief(store, hls_media_bytes_max(w, t));

    if (o == NULL)
        return NULL;
    struct writer out = writer_of(object_data(o), object_size(o));
    hls_render_media(&out, w, t, options, is_delta);
    CHECK(writer_is_ok(&out)); /* hls_media_bytes_max() is too small */
    object_trim(o, (uint32_t)out.size);
    object_seal(o);
    return o;
}

/* Index of the segment's init segment among those of the track, which gets it when it is new. */
static uint32_t note_init(struct snapshot *snap, struct track_snapshot *shown, size_t slot,
                          const struct segment *s)
{
    uint32_t last = shown->init_count - 1;

    if (s->init == NULL) /* a gap: whatever; nobody fetches it */
        return shown->init_count > 0 ? last : 0;
    if (shown->init_count > 0 && snap->init_ids[slot][last] == s->init_id)
        return last;
    snap->inits[slot][shown->init_count] = s->init;
    snap->init_ids[slot][shown->init_count] = s->init_id;
    return shown->init_count++;
}

static void fill_segments(struct snapshot *snap, struct track_snapshot *shown, size_t slot,
                          const struct window_track *t)
{
    shown->kind = t->kind;
    memcpy(shown->name, t->name, sizeof(shown->name));
    shown->segments = snap->entries[slot];
    shown->segment_count = t->count;
    shown->first_msn = window_segment(t, 0)->msn;
    shown->inits = snap->inits[slot];
    shown->init_ids = snap->init_ids[slot];
    shown->init_count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct segment *s = window_segment(t, i);
        snap->entries[slot][i] = (struct segment_entry){
            .parts = s->parts,
            .part_count = s->part_count,
            .init_index = note_init(snap, shown, slot, s),
            .msn = s->msn,
            .size = s->size,
            .is_complete = s->is_complete,
        };
    }
    const struct segment *last = window_segment(t, t->count - 1);
    shown->next_msn = last->is_complete ? last->msn + 1 : last->msn;
    shown->next_part = last->is_complete ? 0 : last->part_count;
}

int snapshot_fill(struct snapshot *snap, const struct window *w,
                  const struct manifest_options *options, struct store_shard *store,
                  struct object *multivariant, struct object *mpd)
{
    struct channel_snapshot *shown = &snap->shown;

    shown->part_target_us = options->part_target_us;
    shown->segment_target_us = options->segment_us;
    shown->is_live = options->is_live;
    shown->is_ended = options->is_ended;
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (t->count == 0)
            continue;
        struct track_snapshot *track = &shown->tracks[shown->track_count++];
        fill_segments(snap, track, i, t);
        track->playlist = render_playlist(w, t, options, store, false);
        if (track->playlist == NULL)
            return -ENOMEM;
        if (hls_skippable_count(w, t, options) == 0)
            continue;
        track->playlist_delta = render_playlist(w, t, options, store, true);
        if (track->playlist_delta == NULL)
            return -ENOMEM;
    }
    object_ref(multivariant);
    shown->multivariant = multivariant;
    object_ref(mpd);
    shown->mpd = mpd;
    return 0;
}
