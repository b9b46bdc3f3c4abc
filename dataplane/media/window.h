/* window.h - what a channel holds at the moment: its tracks and their last segments.
 *
 * Written by the channel's home shard only. What other shards see of it are snapshots
 * (snapshot.h), whose segment entries point at the parts here. Hence the life of a segment:
 *
 *   window_add_part()        GROWING    parts are appended; entries already there never change
 *   … with ends_segment      COMPLETE   immutable
 *   window_evict()           EVICTED    in no new snapshot; readers of old ones may still be in it
 *   window_free_segments()   FREE       after a grace period (store_retire)
 *
 * Numbers. A segment's media sequence number is the base that window_reset() was given plus the
 * packager's segment number, so it is the same for the same interval in all tracks. */
#ifndef DATAPLANE_MEDIA_WINDOW_H
#define DATAPLANE_MEDIA_WINDOW_H

#include "dataplane/media/channel.h"
#include "dataplane/media/packager.h"

/* What a segment's init segment says; may differ from one to the next. */
struct segment_format {
    uint32_t width;
    uint32_t height;
    uint32_t sample_rate_hz;
    uint32_t channel_count;
    char codec_string[CODEC_STRING_MAX];
};

/* Times are in the segment's own timescale: a publisher that comes back may have changed it. */
struct segment {
    uint32_t timescale;
    uint64_t msn;
    int64_t pts;       /* of its first sample */
    uint64_t duration; /* of its parts so far */
    int64_t wall_us;   /* Unix time of its first sample */
    uint64_t size;     /* bytes of its parts so far */
    uint64_t held_bytes;
    struct object *init; /* one reference; NULL in a segment that is nothing but a gap */
    uint32_t init_id;
    struct segment_format format; /* with 'init' */
    uint32_t part_count;
    uint32_t sample_count;
    bool is_complete;
    bool is_independent; /* starts with a sync sample */
    bool has_media;      /* false: nothing but gaps */
    struct part_entry *parts;
    struct segment *next; /* in the free list or in a chain of evicted ones */
};

struct window_track {
    enum media_kind kind; /* MEDIA_NONE: no such track */
    char name[16];
    struct track_info info;
    uint32_t timescale;
    struct object *init; /* of the parts to come; one reference */
    uint32_t init_id;
    struct segment **ring; /* window.capacity of them */
    uint32_t count;
    struct segment *free;
    uint64_t next_msn; /* valid once has_begun */
    bool has_begun;
    bool has_new_format;           /* the measures below are of the old one */
    uint64_t peak_bits_per_second; /* of any complete segment */
    uint64_t complete_bytes;       /* of all complete segments ever … */
    uint64_t complete_us;          /* … and their duration */
    uint64_t complete_samples;     /* video: in them */
    uint32_t frames_per_1000s;     /* video: measured over all of them; 0: unknown */
};

/* One stretch of the channel's time axis, from a discontinuity to the next: a DASH period. */
struct window_period {
    uint64_t number; /* discontinuity number of its segments */
    uint64_t first_msn;
    int64_t media_us; /* its start on the media axis (tfdt) … */
    int64_t wall_us;  /* … and in Unix time */
    bool is_frozen;   /* players have seen its start: it moves no more */
};

enum { WINDOW_PERIODS_MAX = 32 };

struct window_limits {
    uint32_t listed;    /* complete segments in playlists */
    uint32_t kept;      /* complete segments that can be fetched, >= listed */
    uint32_t parts_max; /* per segment */
    uint64_t part_us;   /* longer gaps are listed as several parts */
};

struct window {
    struct window_limits limits;
    uint32_t capacity; /* segments per track: kept ones, growing ones, evicted ones in retirement */
    struct window_track tracks[TRACKS_MAX];
    struct window_period periods[WINDOW_PERIODS_MAX]; /* oldest first */
    uint32_t period_count;
    uint64_t base_msn;
    uint64_t next_msn;     /* of all tracks: one more than the highest that has begun */
    uint64_t base_number;  /* discontinuity number of the first period */
    uint64_t next_number;  /* of the period to come; kept over window_reset() */
    int64_t start_wall_us; /* of the first period; 0: no player has seen it yet */
    uint64_t held_bytes;
    struct segment *cast_off; /* segments that window_add_part() took off; to be freed as evicted */
    bool has_dependent_segment; /* one was forced where there was no IDR */
    void *memory;
    size_t memory_bytes;
};

/* What a part did to the window: flags. */
enum {
    WINDOW_SEGMENT_STARTED = 1,
    WINDOW_SEGMENT_ENDED = 2,
    WINDOW_PART_DROPPED = 4 /* no free segment, or too many parts in it */
};

/* 0 or -ENOMEM. */
int window_init(struct window *w, const struct window_limits *limits);
/* Everything must have been evicted and freed before. */
void window_fini(struct window *w);

/* Empties the window for a new life of the channel. All segments must have been evicted. */
void window_reset(struct window *w, uint64_t base_msn);

/* A new init segment of 'track'. Consumes 'init', borrows 'info'. */
void window_set_init(struct window *w, uint8_t track, const struct track_info *info,
                     uint32_t timescale, struct object *init);

/* Consumes 'object' (sealed; NULL: a gap). Returns flags. A track that missed more segments than
 * are listed starts over: what it had goes to w->cast_off. */
unsigned window_add_part(struct window *w, const struct packaged_part *part, struct object *object);

/* Takes segments off the front of all tracks: all numbers below 'msn', but never a growing one.
 * Prepends them to '*chain'. */
void window_evict(struct window *w, uint64_t msn, struct segment **chain);
/* As window_evict() of everything, growing segments and tracks included. */
void window_evict_all(struct window *w, struct segment **chain);
/* Drops the objects of evicted segments and returns the segments to their pools. */
void window_free_segments(struct window *w, struct segment *chain);

/* The lowest number of any track; w->next_msn when there is none. */
uint64_t window_first_msn(const struct window *w);
/* Complete segments of the track that has most. */
uint32_t window_complete_count(const struct window *w);
/* Unix time of the oldest complete segment; INT64_MAX: none could be evicted. */
int64_t window_oldest_wall_us(const struct window *w);

const struct segment *window_segment(const struct window_track *t, uint32_t index);
/* Index of the first segment that playlists list. */
uint32_t window_listed_from(const struct window *w, const struct window_track *t);
/* Players have seen the periods: their starts must not move any more. */
void window_freeze_periods(struct window *w);
/* The period that segment number 'msn' is in. */
const struct window_period *window_period_of(const struct window *w, uint64_t msn);

static inline int64_t window_to_us(int64_t time, uint32_t timescale)
{
    int64_t scale = timescale;

    return time / scale * 1000000 + time % scale * 1000000 / scale;
}

static inline int64_t segment_duration_us(const struct segment *s)
{
    return window_to_us((int64_t)s->duration, s->timescale);
}

static inline int64_t window_from_us(int64_t us, uint32_t timescale)
{
    return us / 1000000 * timescale + us % 1000000 * timescale / 1000000;
}

#endif
