#include "tests/unit/dataplane/media/packager_world.h"

#include "common/cursor.h"
#include "dataplane/media/timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EXPECT(w, condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: seed %" PRIu64 ": not %s: ", __FILE__, __LINE__, (w)->seed,    \
                    #condition);                                                                   \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { UNIT_MAGIC = 0x4c656174 };

uint32_t world_random(uint64_t *state, uint32_t bound)
{
    /* xorshift64* */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 2685821657736338717u) >> 33) % bound;
}

/* --- an independent reader of fragments --- */

struct fragment {
    bool has_prft;
    uint64_t ntp;
    int64_t media_time;
    uint32_t sequence;
    int64_t dts;
    uint32_t sample_count;
    uint32_t duration;
    uint32_t sample_max;
    int32_t first_cts;
    bool first_is_sync;
    uint32_t sizes[4096];
    struct bytes payload;
};

static struct cursor box_next(struct cursor *c, uint32_t *ret_type)
{
    uint32_t size = cursor_be32(c);

    *ret_type = cursor_be32(c);
    return cursor_sub(c, size < 8 ? SIZE_MAX : size - 8);
}

#define FOURCC(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

static void read_trun(struct world *w, struct cursor *c, uint32_t default_duration,
                      uint32_t default_flags, size_t moof_bytes, struct fragment *f)
{
    uint32_t flags = cursor_be32(c);
    EXPECT(w, flags >> 24 == 1, "trun version 1");
    flags &= 0xffffff;
    f->sample_count = cursor_be32(c);
    EXPECT(w, (flags & 1) != 0 && cursor_be32(c) == moof_bytes + 8, "data offset");
    EXPECT(w, f->sample_count > 0 && f->sample_count <= 4096, "%u samples", f->sample_count);
    uint32_t first_flags = (flags & 4) != 0 ? cursor_be32(c) : default_flags;
    for (uint32_t i = 0; i < f->sample_count; i++) {
        uint32_t duration = (flags & 0x100) != 0 ? cursor_be32(c) : default_duration;
        EXPECT(w, (flags & 0x200) != 0, "sizes");
        f->sizes[i] = cursor_be32(c);
        uint32_t sample_flags = (flags & 0x400) != 0 ? cursor_be32(c)
                                : i == 0             ? first_flags
                                                     : default_flags;
        int32_t cts = (flags & 0x800) != 0 ? (int32_t)cursor_be32(c) : 0;
        EXPECT(w, duration > 0, "duration of sample %u", i);
        f->duration += duration;
        f->sample_max = duration > f->sample_max ? duration : f->sample_max;
        if (i == 0) {
            f->first_cts = cts;
            f->first_is_sync = (sample_flags & 0x10000) == 0;
        }
    }
    EXPECT(w, cursor_is_ok(c) && cursor_left(c) == 0, "trun's length");
}

static void read_traf(struct world *w, struct cursor *c, size_t moof_bytes, struct fragment *f)
{
    uint32_t type, flags, duration = 0, default_flags = 0;

    while (cursor_left(c) > 0) {
        struct cursor box = box_next(c, &type);
        if (type == FOURCC('t', 'f', 'h', 'd')) {
            flags = cursor_be32(&box);
            EXPECT(w, (flags & 0x20000) != 0 && cursor_be32(&box) == 1, "tfhd");
            duration = (flags & 8) != 0 ? cursor_be32(&box) : 0;
            default_flags = (flags & 0x20) != 0 ? cursor_be32(&box) : 0;
        } else if (type == FOURCC('t', 'f', 'd', 't')) {
            EXPECT(w, cursor_be32(&box) == 1u << 24, "tfdt version 1");
            f->dts = (int64_t)cursor_be64(&box);
        } else {
            EXPECT(w, type == FOURCC('t', 'r', 'u', 'n'), "trun, not %08x", type);
            read_trun(w, &box, duration, default_flags, moof_bytes, f);
        }
        EXPECT(w, cursor_is_ok(&box) && cursor_left(&box) == 0, "box %08x's length", type);
    }
}

static void read_fragment(struct world *w, struct bytes bytes, struct fragment *f)
{
    struct cursor c = cursor_of(bytes);
    uint32_t type;

    memset(f, 0, offsetof(struct fragment, sizes));
    struct cursor box = box_next(&c, &type);
    if (type == FOURCC('p', 'r', 'f', 't')) {
        f->has_prft = true;
        EXPECT(w, cursor_be32(&box) == (1u << 24 | 8) && cursor_be32(&box) == 1, "prft");
        f->ntp = cursor_be64(&box);
        f->media_time = (int64_t)cursor_be64(&box);
        box = box_next(&c, &type);
    }
    EXPECT(w, type == FOURCC('m', 'o', 'o', 'f'), "moof, not %08x", type);
    size_t moof_bytes = cursor_left(&box) + 8;
    struct cursor mfhd = box_next(&box, &type);
    EXPECT(w, type == FOURCC('m', 'f', 'h', 'd') && cursor_be32(&mfhd) == 0, "mfhd");
    f->sequence = cursor_be32(&mfhd);
    struct cursor traf = box_next(&box, &type);
    EXPECT(w, type == FOURCC('t', 'r', 'a', 'f') && cursor_left(&box) == 0, "one traf");
    read_traf(w, &traf, moof_bytes, f);
    struct cursor mdat = box_next(&c, &type);
    EXPECT(w, type == FOURCC('m', 'd', 'a', 't') && cursor_left(&c) == 0, "mdat at the end");
    f->payload = cursor_take_rest(&mdat);
}

/* --- the sink --- */

static void check_payload(struct world *w, uint8_t track, const struct fragment *f)
{
    struct cursor c = cursor_of(f->payload);
    struct world_track *t = &w->tracks[track];

    for (uint32_t i = 0; i < f->sample_count; i++) {
        struct cursor sample = cursor_sub(&c, f->sizes[i]);
        t->sample_count++;
        t->payload_bytes += f->sizes[i];
        if (f->sizes[i] <= 8) {
            t->silent_count++;
            continue;
        }
        EXPECT(w, f->sizes[i] >= 12 && cursor_be32(&sample) == UNIT_MAGIC, "a unit's bytes");
        EXPECT(w, cursor_be32(&sample) == track, "unit of track %u", track);
        uint32_t number = cursor_be32(&sample);
        EXPECT(w, number >= w->next_number[track], "unit %u after %u", number,
               w->next_number[track]);
        w->next_number[track] = number + 1;
    }
    EXPECT(w, cursor_is_ok(&c) && cursor_left(&c) == 0, "samples fill mdat");
}

static void on_init(void *user, uint8_t track, const struct track_info *info, uint32_t timescale,
                    struct bytes init_segment)
{
    struct world *w = user;
    struct world_track *t = &w->tracks[track];

    EXPECT(w, !t->is_open, "track %u: init between segments", track);
    EXPECT(w, init_segment.size > 400 && memcmp(init_segment.ptr + 4, "ftyp", 4) == 0, "init");
    t->has_init = true;
    t->kind = info->kind;
    t->timescale = timescale;
    t->init_count++;
}

static uint8_t *on_part_begin(void *user, uint8_t track, uint32_t size)
{
    struct world *w = user;

    EXPECT(w, !w->has_pending && w->tracks[track].has_init, "track %u", track);
    EXPECT(w, size <= sizeof(w->bytes), "%u bytes", size);
    w->begin_count++;
    w->was_refused = w->refuse_every > 0 && w->begin_count % w->refuse_every == 0;
    if (w->was_refused)
        return NULL;
    w->has_pending = true;
    w->pending_bytes = size;
    return w->bytes;
}

/* Whether the track may lack numbers before 'segment': the first of them was discontinuous. */
static bool may_skip(const struct world *w, const struct world_track *t, uint64_t segment)
{
    for (uint64_t n = t->segment + 1; n <= segment; n++)
        if (n >= WORLD_SEGMENTS_MAX || w->is_discontinuous[n] == 2)
            return true;
    return segment == t->segment + 1;
}

static void check_place(struct world *w, struct world_track *t, const struct packaged_part *part)
{
    unsigned track = part->track;

    if (t->is_open) {
        EXPECT(w, !part->starts_segment && part->segment == t->segment, "track %u segment %" PRIu64,
               track, part->segment);
    } else {
        EXPECT(w, part->starts_segment, "track %u segment %" PRIu64, track, part->segment);
        EXPECT(w, !t->has_part || may_skip(w, t, part->segment),
               "track %u: %" PRIu64 " after %" PRIu64, track, part->segment, t->segment);
        EXPECT(w, !t->has_part || part->segment > t->segment, "track %u", track);
    }
    EXPECT(w, !part->is_discontinuous || part->starts_segment, "track %u", track);
    if (part->starts_segment) {
        uint8_t *seen = &w->is_discontinuous[part->segment % WORLD_SEGMENTS_MAX];
        uint8_t is = part->is_discontinuous ? 2 : 1;
        EXPECT(w, *seen == 0 || *seen == is || part->segment >= WORLD_SEGMENTS_MAX,
               "track %u segment %" PRIu64 " discontinuous as in other tracks", track,
               part->segment);
        *seen = is;
    }
    int64_t us = timeline_us(part->dts, t->timescale);
    bool is_next = part->segment <= t->segment + 1;
    if (t->has_part && !part->is_discontinuous && is_next)
        EXPECT(w, part->dts == t->end_dts, "track %u: dts %" PRId64 ", end %" PRId64, track,
               part->dts, t->end_dts);
    else if (t->has_part)
        EXPECT(w, us + 50 >= t->end_us, "track %u: back by %" PRId64 " us", track, t->end_us - us);
}

static void check_media(struct world *w, struct world_track *t, const struct packaged_part *part,
                        struct world_part *kept)
{
    static struct fragment f;

    EXPECT(w, w->has_pending, "track %u: part_begin before part_end", part->track);
    read_fragment(w, bytes_of(w->bytes, w->pending_bytes), &f);
    EXPECT(w, f.dts == part->dts && f.duration == part->duration, "track %u: tfdt and durations",
           part->track);
    EXPECT(w, f.first_is_sync == part->is_independent, "track %u: independent", part->track);
    EXPECT(w, f.has_prft == part->starts_segment, "track %u: prft", part->track);
    EXPECT(w, f.sequence > t->sequence, "track %u: sequence", part->track);
    t->sequence = f.sequence;
    if (f.has_prft) {
        EXPECT(w, f.media_time == f.dts + f.first_cts, "track %u: media time", part->track);
        int64_t unix_us = (int64_t)((f.ntp >> 32) - 2208988800u) * 1000000 +
                          (int64_t)(((f.ntp & 0xffffffff) * 1000000 + (1u << 31)) >> 32);
        EXPECT(w, part->wall_us < 0 || llabs(unix_us - part->wall_us) <= 1, "track %u: NTP time",
               part->track);
    }
    int64_t limit = timeline_ticks(w->limits.part_us, t->timescale);
    EXPECT(w, part->duration <= limit || f.sample_count == 1, "track %u: part of %u ticks",
           part->track, part->duration);
    check_payload(w, part->track, &f);
    kept->sample_count = f.sample_count;
    kept->sample_max = f.sample_max;
    kept->first_pts_us = timeline_us(f.dts + f.first_cts, t->timescale);
}

static void on_part_end(void *user, const struct packaged_part *part)
{
    struct world *w = user;
    struct world_track *t = &w->tracks[part->track];
    struct world_part kept = {.part = *part};

    EXPECT(w, t->has_init, "track %u", part->track);
    kept.first_pts_us = timeline_us(part->dts, t->timescale);
    check_place(w, t, part);
    if (part->is_gap) {
        EXPECT(w, !w->has_pending && !part->is_independent, "track %u", part->track);
        EXPECT(w, part->duration > 0 || part->ends_segment, "track %u: empty gap", part->track);
        t->empty_count += part->starts_segment && part->duration == 0;
        EXPECT(w,
               part->duration <= timeline_ticks(w->limits.part_us, t->timescale) || w->was_refused,
               "track %u: gap of %u", part->track, part->duration);
    } else {
        check_media(w, t, part, &kept);
    }
    w->has_pending = false;
    w->was_refused = false;
    t->has_part = true;
    t->segment = part->segment;
    t->is_open = !part->ends_segment;
    t->end_dts = part->dts + part->duration;
    t->end_us = timeline_us(t->end_dts, t->timescale);
    kept.end_us = t->end_us;
    if (w->keeps_parts && w->part_count < WORLD_PARTS_MAX)
        w->parts[w->part_count++] = kept;
}

/* --- life --- */

void world_init(struct world *w, const struct packager_limits *limits)
{
    const struct packager_sink sink = {on_init, on_part_begin, on_part_end};
    const struct packager_limits usual = {200000, 2000000, 6000000, WORLD_PART_BYTES_MAX};

    memset(w, 0, sizeof(*w));
    w->limits = limits != NULL ? *limits : usual;
    w->packager = packager_new(&w->limits, &sink, w, &w->counters);
    w->parts = calloc(WORLD_PARTS_MAX, sizeof(w->parts[0]));
    EXPECT(w, w->packager != NULL && w->parts != NULL, "memory");
    w->keeps_parts = true;
}

void world_fini(struct world *w)
{
    packager_free(&w->packager);
    free(w->parts);
}

void world_flush(struct world *w)
{
    packager_flush(w->packager);
    for (unsigned i = 0; i < TRACKS_MAX; i++)
        EXPECT(w, !w->tracks[i].is_open, "track %u ended its segment", i);
}

void world_unit(struct world *w, uint8_t track, bool is_keyframe, int64_t dts_us, int64_t cts_us,
                int64_t wall_us, uint32_t size)
{
    static uint8_t bytes[WORLD_PART_BYTES_MAX + 64];
    static uint32_t number = 0;
    uint32_t words[3] = {__builtin_bswap32(UNIT_MAGIC), __builtin_bswap32(track),
                         __builtin_bswap32(number++)};

    EXPECT(w, size >= sizeof(words) && size <= sizeof(bytes), "%u bytes", size);
    memcpy(bytes, words, sizeof(words));
    struct access_unit au = {.track = track,
                             .is_keyframe = is_keyframe,
                             .dts_us = dts_us,
                             .pts_us = (int64_t)((uint64_t)dts_us + (uint64_t)cts_us),
                             .data = bytes_of(bytes, size)};
    (void)packager_unit(w->packager, &au, wall_us);
}

struct track_info world_h264(void)
{
    struct track_info info = {.kind = MEDIA_VIDEO,
                              .codec = CODEC_H264,
                              .width = 320,
                              .height = 180,
                              .config_size = 11,
                              .config = {1, 0x64, 0, 0x1f, 0xff, 0xe0, 0},
                              .codec_string = "avc1.64001f"};
    return info;
}

struct track_info world_aac(uint32_t rate_hz, uint32_t channel_count)
{
    struct track_info info = {.kind = MEDIA_AUDIO,
                              .codec = CODEC_AAC,
                              .sample_rate_hz = rate_hz,
                              .channel_count = channel_count,
                              .frame_samples = 1024,
                              .config_size = 2,
                              .config = {0x11, 0x90},
                              .codec_string = "mp4a.40.2"};
    return info;
}

struct track_info world_opus(void)
{
    struct track_info info = {.kind = MEDIA_AUDIO,
                              .codec = CODEC_OPUS,
                              .sample_rate_hz = 48000,
                              .channel_count = 2,
                              .config_size = 19,
                              .config = "OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0",
                              .codec_string = "opus"};
    return info;
}
