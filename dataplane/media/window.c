#include "dataplane/media/window.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/cursor.h"
#include "dataplane/media/codec_config.h"

enum {
    GROWING_MAX = 4,  /* tracks run up to a few seconds apart */
    RETIRING_MAX = 8, /* evicted segments that some shard may still be reading */
    SEGMENTS_PER_DISCONTINUITY = 512,
};

int window_init(struct window *w, const struct window_limits *limits)
{
    CHECK(limits->listed > 0 && limits->kept >= limits->listed && limits->parts_max > 0);
    *w = (struct window){.limits = *limits, .capacity = limits->kept + GROWING_MAX + RETIRING_MAX};
    size_t per_track = w->capacity * (sizeof(struct segment *) + sizeof(struct segment) +
                                      limits->parts_max * sizeof(struct part_entry));

    /* Address space only: a track that is never used costs no memory. */
    w->memory_bytes = per_track * TRACKS_MAX;
    w->memory = mmap(NULL, w->memory_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w->memory == MAP_FAILED) {
        w->memory = NULL;
        return -ENOMEM;
    }
    return 0;
}

void window_fini(struct window *w)
{
    if (w->memory != NULL)
        munmap(w->memory, w->memory_bytes);
    w->memory = NULL;
}

/* Gives 't' its ring and its free list; at its first init segment, so that the memory of tracks
 * that never come stays untouched. */
static void track_lay_out(struct window *w, struct window_track *t)
{
    size_t index = (size_t)(t - w->tracks);
    size_t parts_bytes = w->limits.parts_max * sizeof(struct part_entry);
    size_t per_track = w->memory_bytes / TRACKS_MAX;
    uint8_t *at = (uint8_t *)w->memory + index * per_track;
    struct segment *segments = (struct segment *)(void *)(at + w->capacity * sizeof(*t->ring));
    uint8_t *parts = (uint8_t *)(segments + w->capacity);

    if (t->ring != NULL)
        return;
    t->ring = (struct segment **)(void *)at;
    for (uint32_t i = w->capacity; i-- > 0;) {
        segments[i].parts = (struct part_entry *)(void *)(parts + i * parts_bytes);
        segments[i].next = t->free;
        t->free = &segments[i];
    }
}

void window_reset(struct window *w, uint64_t base_msn)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct window_track *t = &w->tracks[i];
        CHECK(t->count == 0);
        object_unref(&t->init);
        *t = (struct window_track){.ring = t->ring, .free = t->free};
    }
    w->period_count = 0;
    w->base_msn = base_msn;
    w->next_msn = base_msn;
    /* From the clock as well, but coarser: players keep arrays with this as the index (hls.js walks
     * one at each reload), so millions would cost them seconds. One discontinuity in so many
     * segments is more than publishers have. */
    w->base_number = base_msn / SEGMENTS_PER_DISCONTINUITY;
    if (w->base_number < w->next_number && w->next_number - w->base_number < 1000000)
        w->base_number = w->next_number; /* never back within the process */
    w->start_wall_us = 0;
    w->has_dependent_segment = false;
}

/* "video", "video2", …, "audio", …: by kind, in order of appearance. */
static void track_name(struct window *w, struct window_track *t, enum media_kind kind)
{
    const char *stem = kind == MEDIA_VIDEO ? "video" : "audio";
    unsigned same = 1;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        same += w->tracks[i].kind == kind ? 1 : 0;
    if (same == 1)
        snprintf(t->name, sizeof(t->name), "%s", stem);
    else
        snprintf(t->name, sizeof(t->name), "%s%u", stem, same);
    t->kind = kind;
}

void window_set_init(struct window *w, uint8_t track, const struct track_info *info,
                     uint32_t timescale, struct object *init)
{
    CHECK(track < TRACKS_MAX && timescale > 0 && info->kind != MEDIA_NONE);
    struct window_track *t = &w->tracks[track];

    track_lay_out(w, t);
    if (t->kind == MEDIA_NONE)
        track_name(w, t, info->kind);
    t->info = *info;
    t->timescale = timescale;
    object_unref(&t->init);
    t->init = init;
    t->init_id++;
    t->has_new_format = true;
}

/* --- segments --- */

const struct segment *window_segment(const struct window_track *t, uint32_t index)
{
    DCHECK(index < t->count);
    return t->ring[index];
}

static struct segment *track_last(const struct window_track *t)
{
    return t->count == 0 ? NULL : t->ring[t->count - 1];
}

/* A new last segment, GROWING; NULL: all are in use. */
static struct segment *track_push(struct window *w, struct window_track *t, uint64_t msn)
{
    struct segment *s = t->free;

    if (s == NULL || t->count == w->capacity)
        return NULL;
    t->free = s->next;
    *s = (struct segment){.timescale = t->timescale, .msn = msn, .parts = s->parts};
    t->ring[t->count++] = s;
    t->next_msn = msn + 1;
    t->has_begun = true;
    if (t->next_msn > w->next_msn)
        w->next_msn = t->next_msn;
    return s;
}

/* RTMP's timestamps are whole milliseconds, so a measured rate is off by up to a tenth of a per
 * cent at first: the standard rate nearest to it is meant, if one is that near. */
static uint32_t standard_rate(uint32_t frames_per_1000s)
{
    static const uint32_t rates[] = {23976, 24000, 25000, 29970, 30000, 48000, 50000, 59940, 60000};
    uint32_t nearest = frames_per_1000s;
    uint32_t nearest_off = frames_per_1000s / 900;

    for (size_t i = 0; i < ARRAY_COUNT(rates); i++) {
        uint32_t off =
            rates[i] > frames_per_1000s ? rates[i] - frames_per_1000s : frames_per_1000s - rates[i];
        if (off < nearest_off) {
            nearest = rates[i];
            nearest_off = off;
        }
    }
    return nearest;
}

/* What the track says of itself, where what it does is not far from it: variable rates declare
 * their ceiling. */
static uint32_t frame_rate(const struct track_info *info, uint32_t measured)
{
    struct video_format format;

    if (codec_config_format(info, &format) < 0 || format.rate_den == 0)
        return standard_rate(measured);
    uint64_t declared = ((uint64_t)format.rate_num * 1000 + format.rate_den / 2) / format.rate_den;
    bool is_near =
        declared * 98 < (uint64_t)measured * 100 && declared * 102 > (uint64_t)measured * 100;
    return is_near ? (uint32_t)declared : standard_rate(measured);
}

static void track_complete_last(struct window_track *t)
{
    struct segment *s = track_last(t);

    if (s == NULL || s->is_complete)
        return;
    s->is_complete = true;
    uint64_t duration_us = (uint64_t)segment_duration_us(s);
    if (!s->has_media || duration_us == 0)
        return;
    if (t->has_new_format) { /* what counts is what the new encoder settings give */
        t->complete_bytes = 0;
        t->complete_us = 0;
        t->complete_samples = 0;
        t->has_new_format = false;
    }
    t->complete_bytes += s->size;
    t->complete_us += duration_us;
    uint64_t bits_per_second = s->size * 8 * 1000000 / duration_us;
    if (bits_per_second > t->peak_bits_per_second)
        t->peak_bits_per_second = bits_per_second;
    t->complete_samples += s->sample_count;
    if (t->kind == MEDIA_VIDEO)
        t->frames_per_1000s = frame_rate(
            &t->info,
            (uint32_t)((t->complete_samples * 1000000000 + t->complete_us / 2) / t->complete_us));
}

/* Fills the numbers that 't' missed with segments that are nothing but gaps, as long as those of
 * the other tracks, so that its playlist stays without holes and in step. */
static void track_fill(struct window *w, struct window_track *t, uint64_t until_msn)
{
    while (t->has_begun && t->next_msn < until_msn) {
        const struct segment *model = NULL;
        for (size_t i = 0; i < TRACKS_MAX && model == NULL; i++) {
            const struct window_track *other = &w->tracks[i];
            for (uint32_t n = 0; n < other->count && other != t; n++) {
                if (other->ring[n]->msn == t->next_msn && other->ring[n]->is_complete)
                    model = other->ring[n];
            }
        }
        track_complete_last(t);
        struct segment *s = track_push(w, t, t->next_msn);
        if (s == NULL)
            return;
        s->is_complete = true;
        s->is_independent = true;
        if (model == NULL)
            continue;
        s->wall_us = model->wall_us;
        s->pts = window_from_us(window_to_us(model->pts, model->timescale), t->timescale);
        s->duration = (uint64_t)window_from_us(segment_duration_us(model), t->timescale);
    }
}

/* Where segment 'msn' begins a new stretch of the time axis, or the first one. */
static void window_note_period(struct window *w, const struct window_track *t, uint64_t msn,
                               const struct packaged_part *part)
{
    struct window_period *last = w->period_count > 0 ? &w->periods[w->period_count - 1] : NULL;
    int64_t media_us = window_to_us(part->pts, t->timescale);

    if (last != NULL && last->first_msn == msn && !last->is_frozen) {
        /* Another track of the same start: the earliest counts. */
        if (media_us < last->media_us) {
            last->wall_us -= last->media_us - media_us;
            last->media_us = media_us;
        }
        return;
    }
    if (last != NULL && (!part->is_discontinuous || last->first_msn >= msn))
        return;
    if (w->period_count == WINDOW_PERIODS_MAX) { /* the oldest two become one */
        memmove(&w->periods[1], &w->periods[2], (WINDOW_PERIODS_MAX - 2) * sizeof(w->periods[0]));
        w->period_count--;
        last = &w->periods[w->period_count - 1];
    }
    /* Should the clock have been set back meanwhile, periods must still not overlap. */
    const struct segment *previous = t->count >= 2 ? t->ring[t->count - 2] : NULL;
    int64_t wall_us = part->wall_us;
    if (last != NULL && previous != NULL) {
        int64_t end_us = previous->wall_us + segment_duration_us(previous);
        if (wall_us < end_us)
            wall_us = end_us;
    }
    w->periods[w->period_count++] = (struct window_period){
        .number = last == NULL ? w->base_number : last->number + 1,
        .first_msn = msn,
        .media_us = media_us,
        .wall_us = wall_us,
    };
    w->next_number = w->periods[w->period_count - 1].number + 1;
}

void window_freeze_periods(struct window *w)
{
    for (uint32_t i = 0; i < w->period_count; i++)
        w->periods[i].is_frozen = true;
    if (w->start_wall_us == 0 && w->period_count > 0)
        w->start_wall_us = w->periods[0].wall_us;
}

const struct window_period *window_period_of(const struct window *w, uint64_t msn)
{
    for (uint32_t i = w->period_count; i-- > 1;)
        if (w->periods[i].first_msn <= msn)
            return &w->periods[i];
    return &w->periods[0];
}

/* Samples of the fragment: of its only trun (ISO/IEC 14496-12 8.8.8). */
static uint32_t fragment_sample_count(struct bytes fragment)
{
    struct cursor stack = cursor_of(fragment);

    while (cursor_left(&stack) >= 8) {
        uint32_t size = cursor_be32(&stack);
        uint32_t type = cursor_be32(&stack);
        if (size < 8 || size - 8 > cursor_left(&stack))
            return 0;
        switch (type) {
        case 0x6d6f6f66: /* moof */
        case 0x74726166: /* traf */
            stack = cursor_sub(&stack, size - 8);
            break;
        case 0x7472756e: /* trun: version and flags, then sample_count */
            cursor_skip(&stack, 4);
            return cursor_be32(&stack);
        default:
            cursor_skip(&stack, size - 8);
        }
    }
    return 0;
}

static void track_pop_front(struct window *w, struct window_track *t, struct segment **chain)
{
    struct segment *s = t->ring[0];

    t->count--;
    memmove(t->ring, t->ring + 1, t->count * sizeof(*t->ring));
    w->held_bytes -= s->held_bytes;
    s->next = *chain;
    *chain = s;
}

static struct segment *window_start_segment(struct window *w, struct window_track *t,
                                            const struct packaged_part *part)
{
    uint64_t msn = w->base_msn + part->segment;

    track_complete_last(t);
    if (t->has_begun && msn < t->next_msn)
        return NULL;
    if (t->count > 0 && msn - t->next_msn <= w->limits.listed)
        track_fill(w, t, msn);
    else if (msn != t->next_msn)
        while (t->count > 0)
            track_pop_front(w, t, &w->cast_off);
    if (t->count > 0 && t->next_msn != msn)
        return NULL; /* no segments were left to fill with: numbers must stay consecutive */
    struct segment *s = track_push(w, t, msn);
    if (s == NULL)
        return NULL;
    s->pts = part->pts;
    s->wall_us = part->wall_us;
    s->is_independent = part->is_independent || part->is_gap;
    if (!s->is_independent)
        w->has_dependent_segment = true;
    window_note_period(w, t, msn, part);

    /* A track that has stopped must not leave its viewers waiting for parts that never come. */
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct window_track *other = &w->tracks[i];
        if (other != t && other->has_begun && msn >= 1 && other->next_msn + 1 < msn)
            track_fill(w, other, msn - 1);
    }
    return s;
}

/* A gap is listed as parts, none longer than the part target. */
static unsigned segment_add_gap(const struct window *w, const struct window_track *t,
                                struct segment *s, uint32_t duration)
{
    uint32_t longest = (uint32_t)window_from_us((int64_t)w->limits.part_us, t->timescale);

    while (duration > 0) {
        if (s->part_count == w->limits.parts_max)
            return WINDOW_PART_DROPPED;
        uint32_t here = duration > longest && longest > 0 ? longest : duration;
        s->parts[s->part_count++] = (struct part_entry){.duration = here};
        s->duration += here;
        duration -= here;
    }
    return 0;
}

static void segment_add_media(struct window *w, struct window_track *t, struct segment *s,
                              const struct packaged_part *part, struct object *object)
{
    uint64_t held_bytes = object_held_bytes(object);

    if (s->init == NULL) {
        object_ref(t->init);
        s->init = t->init;
        s->init_id = t->init_id;
        s->format = (struct segment_format){
            .width = t->info.width,
            .height = t->info.height,
            .sample_rate_hz = t->info.sample_rate_hz,
            .channel_count = t->info.channel_count,
        };
        memcpy(s->format.codec_string, t->info.codec_string, sizeof(s->format.codec_string));
    }
    s->parts[s->part_count++] = (struct part_entry){
        .object = object, .duration = part->duration, .is_independent = part->is_independent};
    s->duration += part->duration;
    s->size += object_size(object);
    s->has_media = true;
    if (t->kind == MEDIA_VIDEO)
        s->sample_count +=
            fragment_sample_count(bytes_of(object_data(object), object_size(object)));
    s->held_bytes += held_bytes;
    w->held_bytes += held_bytes;
}

unsigned window_add_part(struct window *w, const struct packaged_part *part, struct object *object)
{
    CHECK(part->track < TRACKS_MAX);
    struct window_track *t = &w->tracks[part->track];
    struct segment *s = track_last(t);
    unsigned flags = 0;

    if (t->init == NULL) {
        object_unref(&object);
        return WINDOW_PART_DROPPED;
    }
    if (part->starts_segment) {
        s = window_start_segment(w, t, part);
        flags |= WINDOW_SEGMENT_STARTED;
    }
    if (s == NULL || s->is_complete || s->msn != w->base_msn + part->segment ||
        s->part_count == w->limits.parts_max) {
        object_unref(&object);
        flags = WINDOW_PART_DROPPED;
    } else if (object == NULL) {
        flags |= segment_add_gap(w, t, s, part->duration);
    } else {
        segment_add_media(w, t, s, part, object);
    }
    if (part->ends_segment && s != NULL && s->msn == w->base_msn + part->segment) {
        track_complete_last(t);
        flags |= WINDOW_SEGMENT_ENDED;
    }
    return flags;
}

/* --- eviction --- */

/* Periods of which no segment is left; the last one stays. */
static void window_drop_periods(struct window *w)
{
    uint64_t first_msn = window_first_msn(w);

    while (w->period_count > 1 && w->periods[1].first_msn <= first_msn) {
        w->period_count--;
        memmove(&w->periods[0], &w->periods[1], w->period_count * sizeof(w->periods[0]));
    }
}

void window_evict(struct window *w, uint64_t msn, struct segment **chain)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct window_track *t = &w->tracks[i];
        while (t->count > 0 && t->ring[0]->msn < msn && t->ring[0]->is_complete)
            track_pop_front(w, t, chain);
    }
    window_drop_periods(w);
}

void window_evict_all(struct window *w, struct segment **chain)
{
    for (size_t i = 0; i < TRACKS_MAX; i++)
        while (w->tracks[i].count > 0)
            track_pop_front(w, &w->tracks[i], chain);
    w->period_count = 0;
}

void window_free_segments(struct window *w, struct segment *chain)
{
    size_t per_track = w->memory_bytes / TRACKS_MAX;

    while (chain != NULL) {
        struct segment *s = chain;
        chain = s->next;
        for (uint32_t i = 0; i < s->part_count; i++)
            object_unref(&s->parts[i].object);
        object_unref(&s->init);
        size_t index = (size_t)((uint8_t *)s - (uint8_t *)w->memory) / per_track;
        CHECK(index < TRACKS_MAX);
        s->next = w->tracks[index].free;
        w->tracks[index].free = s;
    }
}

uint64_t window_first_msn(const struct window *w)
{
    uint64_t first = w->next_msn;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (t->count > 0 && t->ring[0]->msn < first)
            first = t->ring[0]->msn;
    }
    return first;
}

static uint32_t track_complete_count(const struct window_track *t)
{
    return t->count > 0 && !t->ring[t->count - 1]->is_complete ? t->count - 1 : t->count;
}

uint32_t window_complete_count(const struct window *w)
{
    uint32_t most = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        uint32_t count = track_complete_count(&w->tracks[i]);
        if (count > most)
            most = count;
    }
    return most;
}

int64_t window_oldest_wall_us(const struct window *w)
{
    int64_t oldest = INT64_MAX;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (t->count > 0 && t->ring[0]->is_complete && t->ring[0]->wall_us < oldest)
            oldest = t->ring[0]->wall_us;
    }
    return oldest;
}

uint32_t window_listed_from(const struct window *w, const struct window_track *t)
{
    uint32_t complete = track_complete_count(t);

    return complete > w->limits.listed ? complete - w->limits.listed : 0;
}
