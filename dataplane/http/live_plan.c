#include "dataplane/http/live_plan.h"

#include "dataplane/http/http_conditional.h"
#include "dataplane/store/store.h"

enum {
    WAIT_TARGETS = 3,           /* a blocked request gives up after so many target durations */
    AHEAD_SEGMENTS_MAX = 2,     /* _HLS_msn beyond the last segment's by more: 400 */
    ADVANCE_PARTS_OF_S = 3,     /* Advance Part Limit: parts in so many seconds, … */
    ADVANCE_PARTS_MIN = 3,      /* … and this many where parts are longer than a second */
    BLOCKING_CACHE_TARGETS = 6, /* how long an answer to a blocking request may be cached */
    MEDIA_MAX_AGE_S = 86400,    /* a part or segment never changes */
    MANIFEST_MAX_AGE_S = 1
};

static struct live_plan refuse(unsigned status, const char *why)
{
    return (struct live_plan){.action = LIVE_REFUSE, .status = status, .why = why};
}

static struct live_plan await(uint64_t segment_target_us)
{
    return (struct live_plan){.action = LIVE_AWAIT, .wait_us = WAIT_TARGETS * segment_target_us};
}

static struct live_plan send_object(struct object *o, enum http_type type, enum http_cache cache,
                                    uint32_t max_age_s, uint64_t etag)
{
    return (struct live_plan){
        .action = LIVE_SEND_OBJECT,
        .object = o,
        .head = {.etag = etag != 0 ? etag : 1,
                 .type = (uint8_t)type,
                 .cache = (uint8_t)cache,
                 .max_age_s = max_age_s,
                 .flags = HTTP_HEAD_MEDIA | HTTP_HEAD_RANGES},
    };
}

static enum http_type media_type(const struct track_snapshot *t)
{
    return t->kind == MEDIA_AUDIO ? HTTP_TYPE_MP4_AUDIO : HTTP_TYPE_MP4_VIDEO;
}

/* Manifests are made anew for each part, so where the tracks stand tells one from another; the
 * object's address and size tell those apart that were made at the same position. */
static uint64_t manifest_etag(const struct live_request *r, const struct object *o,
                              uint64_t next_msn, uint32_t next_part)
{
    uint64_t hash = http_hash_add(r->generation, r->kind);

    hash = http_hash_add(hash, next_msn);
    hash = http_hash_add(hash, next_part);
    hash = http_hash_add(hash, (uintptr_t)o);
    return http_hash_add(hash, object_size(o));
}

static uint64_t media_etag(const struct live_request *r, uint64_t size)
{
    uint64_t hash = http_hash_bytes(bytes_of(r->track, sizeof(r->track)));

    hash = http_hash_add(hash, r->generation << 8 | r->kind);
    hash = http_hash_add(hash, r->number);
    return http_hash_add(hash, (uint64_t)r->part << 32 ^ size);
}

const struct segment_entry *live_segment_find(const struct track_snapshot *t, uint64_t msn)
{
    if (msn < t->first_msn || msn - t->first_msn >= t->segment_count)
        return NULL;
    return &t->segments[msn - t->first_msn];
}

/* Whether the playlist holds what '_HLS_msn' and '_HLS_part' ask for. */
static bool playlist_has(const struct live_request *r, const struct track_snapshot *t)
{
    if (!r->has_msn || t->next_msn > r->number + 1)
        return true;
    if (!r->has_part)
        return t->next_msn > r->number;
    if (t->next_msn == r->number)
        return t->next_part > r->part;
    if (t->next_msn < r->number)
        return false;
    /* Segment 'number' is complete: a part past its last one means the first of the next. */
    const struct segment_entry *segment = live_segment_find(t, r->number);
    return segment == NULL || r->part < segment->part_count || t->next_part > 0;
}

/* How many parts past the last one may be asked for. */
static uint32_t advance_part_limit(const struct channel_snapshot *s)
{
    if (s->part_target_us == 0 || s->part_target_us >= 1000000)
        return ADVANCE_PARTS_MIN;
    return (uint32_t)((ADVANCE_PARTS_OF_S * 1000000u + s->part_target_us - 1) / s->part_target_us);
}

/* Whether nobody who has read the playlist would ask for this yet. */
static bool playlist_is_far_ahead(const struct live_request *r, const struct track_snapshot *t,
                                  const struct channel_snapshot *s)
{
    /* The last segment listed is next_msn while that grows, else the one before. */
    uint64_t last_msn = t->next_part > 0 || t->next_msn == 0 ? t->next_msn : t->next_msn - 1;

    if (r->number > last_msn + AHEAD_SEGMENTS_MAX)
        return true;
    if (!r->has_part || r->number < t->next_msn)
        return false;
    uint32_t from = r->number == t->next_msn ? t->next_part : 0;
    return r->part >= from + advance_part_limit(s);
}

static struct live_plan plan_playlist(const struct live_request *r, const struct track_snapshot *t,
                                      const struct channel_snapshot *s)
{
    uint32_t target_s = (uint32_t)((s->segment_target_us + 999999) / 1000000);
    uint32_t max_age_s = target_s / 2 > 0 ? target_s / 2 : 1;

    if (!s->is_ended && !playlist_has(r, t)) {
        if (playlist_is_far_ahead(r, t, s))
            return refuse(400, "The playlist part asked for is too far in the future.");
        return await(s->segment_target_us);
    }
    if (r->has_msn)
        max_age_s = BLOCKING_CACHE_TARGETS * target_s;
    struct object *o =
        r->wants_delta && t->playlist_delta != NULL ? t->playlist_delta : t->playlist;
    if (o == NULL)
        return await(s->segment_target_us);
    return send_object(o, HTTP_TYPE_HLS, HTTP_CACHE_MAX_AGE, max_age_s,
                       manifest_etag(r, o, t->next_msn, t->next_part));
}

static struct live_plan plan_manifest(const struct live_request *r,
                                      const struct channel_snapshot *s)
{
    bool is_hls = r->kind == LIVE_MULTIVARIANT;
    struct object *o = is_hls ? s->multivariant : s->mpd;
    uint64_t next_msn = s->track_count > 0 ? s->tracks[0].next_msn : 0;
    uint32_t next_part = s->track_count > 0 ? s->tracks[0].next_part : 0;

    if (o == NULL)
        return await(s->segment_target_us);
    return send_object(o, is_hls ? HTTP_TYPE_HLS : HTTP_TYPE_DASH, HTTP_CACHE_MAX_AGE,
                       MANIFEST_MAX_AGE_S, manifest_etag(r, o, next_msn, next_part));
}

static struct live_plan plan_init(const struct live_request *r, const struct track_snapshot *t)
{
    for (uint32_t i = 0; i < t->init_count; i++) {
        struct object *o = t->inits[i];
        if (t->init_ids[i] != r->number)
            continue;
        /* Numbers start anew with the data plane, so a cached one must be asked about. */
        uint64_t hash = http_hash_bytes(bytes_of(object_data(o), object_size(o)));
        return send_object(o, media_type(t), HTTP_CACHE_REVALIDATE, 0, hash);
    }
    return refuse(404, "There is no such init segment (any more).");
}

static struct live_plan plan_part(const struct live_request *r, const struct track_snapshot *t,
                                  const struct channel_snapshot *s)
{
    const struct segment_entry *segment = live_segment_find(t, r->number);

    if (segment != NULL && r->part < segment->part_count) {
        struct object *o = segment->parts[r->part].object;
        if (o == NULL)
            return refuse(404, "This part is a gap: its media never came.");
        return send_object(o, media_type(t), HTTP_CACHE_IMMUTABLE, MEDIA_MAX_AGE_S,
                           media_etag(r, object_size(o)));
    }
    if (r->number < t->first_msn)
        return refuse(410, "This part is too old: it is no longer kept.");
    /* The preload hint's part, and the one that a client a moment ahead of us may know of. */
    bool is_next = (r->number == t->next_msn && r->part <= t->next_part + 1) ||
                   (r->number == t->next_msn + 1 && r->part == 0);
    if (is_next && !s->is_ended)
        return await(s->segment_target_us);
    return refuse(404, "There is no such part (yet).");
}

static struct live_plan plan_segment(const struct live_request *r, const struct track_snapshot *t,
                                     const struct channel_snapshot *s)
{
    const struct segment_entry *segment = live_segment_find(t, r->number);

    if (segment != NULL && segment->is_complete && segment->size == 0)
        return refuse(404, "This segment is a gap: its media never came.");
    if (segment != NULL && segment->part_count > 0)
        return (struct live_plan){
            .action = LIVE_SEND_SEGMENT,
            .segment = segment,
            .wait_us = WAIT_TARGETS * s->segment_target_us,
            .head = {.etag = segment->is_complete ? media_etag(r, segment->size) : 0,
                     .type = (uint8_t)media_type(t),
                     .cache = HTTP_CACHE_IMMUTABLE,
                     .max_age_s = MEDIA_MAX_AGE_S,
                     .flags = HTTP_HEAD_MEDIA | (segment->is_complete ? HTTP_HEAD_RANGES : 0)},
        };
    if (r->number < t->first_msn)
        return refuse(410, "This segment is too old: it is no longer kept.");
    /* A DASH player with a clock a little ahead of ours asks early. */
    if (!s->is_ended && (r->number == t->next_msn || r->number == t->next_msn + 1))
        return await(s->segment_target_us);
    return refuse(404, "There is no such segment (yet).");
}

struct live_plan live_plan_make(const struct live_request *r, const struct channel_snapshot *s,
                                uint64_t segment_target_us)
{
    enum live_kind kind = (enum live_kind)r->kind;

    if (s == NULL && (kind == LIVE_MULTIVARIANT || kind == LIVE_MPD || kind == LIVE_PLAYLIST))
        return await(segment_target_us);
    if (s == NULL)
        return refuse(404, "The channel has no media yet.");
    if (kind == LIVE_MULTIVARIANT || kind == LIVE_MPD)
        return plan_manifest(r, s);
    const struct track_snapshot *t = snapshot_track(s, bytes_of_str(r->track));
    if (t == NULL)
        return refuse(404, "The channel has no such track.");
    switch (kind) {
    case LIVE_PLAYLIST:
        return plan_playlist(r, t, s);
    case LIVE_INIT:
        return plan_init(r, t);
    case LIVE_SEGMENT:
        return plan_segment(r, t, s);
    case LIVE_PART:
        return plan_part(r, t, s);
    case LIVE_NONE:
    case LIVE_MULTIVARIANT:
    case LIVE_MPD:
        break;
    }
    return refuse(404, "There is nothing here.");
}
