#include "dataplane/media/packager.h"

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/media/cmaf.h"
#include "dataplane/media/lane.h"
#include "dataplane/media/timeline.h"

#include <errno.h>
#include <sys/mman.h>

enum {
    VIDEO_TIMESCALE = 90000,
    BOUNDARIES_MAX = 128, /* that the slowest track may be behind the newest */
    FRAME_SAMPLES_MAX = 8192,
    SAMPLE_RATE_MIN_HZ = 1000,
    SAMPLE_RATE_MAX_HZ = 384000,
    LAG_MAX_US = 2000000,   /* a track further behind the others is filled up to there */
    START_WAIT_US = 500000, /* audio waits so long for a video track to be announced */
    SEGMENT_MIN_US =
        250000, /* a discontinuity waits for the next keyframe rather than cut shorter */
    PROMISE_SLACK_US = 4000,       /* a video part's end is moved by this much to meet the target */
    BOUNDARY_JITTER_MAX_US = 20000 /* an IDR early by half a frame, at most this, is on target */
};

/* Where a segment begins. */
struct boundary {
    int64_t start_us; /* axis */
    int64_t skew_us;  /* wall clock = axis + skew within the segment */
    bool is_discontinuous;
};

struct packager {
    struct packager_limits limits;
    struct packager_sink sink;
    void *user;
    struct counters *counters;
    size_t mapped_bytes;

    struct timeline timeline;
    bool is_running;   /* segment 'latest' has begun in some track */
    bool wants_cut;    /* the next boundary is to come as soon as it can, as a discontinuity */
    bool is_finishing; /* no boundary may be added */
    bool has_latest;
    uint64_t latest; /* number of the newest segment */
    struct boundary boundaries[BOUNDARIES_MAX];
    struct cmaf_sample scratch[LANE_SAMPLES_MAX];
    struct lane lanes[TRACKS_MAX];
};

/* What is known of a media time, as seen by a track. */
enum place {
    PLACE_SAME,   /* in the track's present segment */
    PLACE_NEXT,   /* in a later one */
    PLACE_UNKNOWN /* a boundary before it may still come */
};

/* How drain() is to treat the end of the queue. */
struct horizon {
    bool is_forced;     /* deliver everything, complete or not */
    bool is_final;      /* forced, and the last part ends its segment */
    bool is_bytes_late; /* the newest sample's bytes are not staged yet */
    int64_t end_dts;    /* forced: the last sample's end; 0: as expected */
};

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t min_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- boundaries --- */

static struct boundary *boundary_of(struct packager *p, uint64_t segment)
{
    return &p->boundaries[segment % BOUNDARIES_MAX];
}

static int64_t lane_us(const struct lane *l, int64_t ticks)
{
    return timeline_us(ticks, l->timescale);
}

static int64_t lane_ticks(const struct lane *l, int64_t us)
{
    return timeline_ticks(us, l->timescale);
}

static int64_t sample_us(const struct lane *l, const struct lane_sample *s)
{
    return lane_us(l, s->dts + s->cts);
}

/* The video track whose keyframes make the boundaries; NULL: time does. */
static struct lane *master_of(struct packager *p)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];
        if (l->state == LANE_LIVE && l->is_video && !l->is_paused)
            return l;
    }
    return NULL;
}

static int64_t half_frame_us(const struct packager *p, const struct lane *l)
{
    uint32_t expected = timeline_expected(&p->timeline, l->track);

    return min_of(lane_us(l, expected) / 2, BOUNDARY_JITTER_MAX_US);
}

static int64_t segment_ticks(struct packager *p, const struct lane *l, uint64_t segment)
{
    return lane_ticks(l, boundary_of(p, segment)->start_us);
}

/* Without a master: when the present segment is over. Never inside what a track delivered. */
static int64_t timed_boundary_us(struct packager *p)
{
    int64_t at = boundary_of(p, p->latest)->start_us +
                 (p->wants_cut ? SEGMENT_MIN_US : (int64_t)p->limits.segment_us);

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct lane *l = &p->lanes[i];
        if (l->state == LANE_LIVE && l->segment == p->latest && l->has_part)
            at = max_of(at, lane_us(l, l->end_dts));
    }
    return at;
}

static void set_boundary(struct packager *p, int64_t start_us, bool is_discontinuous)
{
    int64_t span_us = p->is_running ? start_us - boundary_of(p, p->latest)->start_us : 0;

    p->latest = p->has_latest ? p->latest + 1 : 0;
    p->has_latest = true;
    p->is_running = true;
    *boundary_of(p, p->latest) = (struct boundary){
        .start_us = start_us,
        .skew_us = timeline_skew_us(&p->timeline, span_us),
        .is_discontinuous = is_discontinuous,
    };
    p->wants_cut = false;
    counter_inc(&p->counters->media_segments);
    if (is_discontinuous)
        counter_inc(&p->counters->media_discontinuities);
}

/* Where 'us' lies for 'l'; 'has_arrived': it is a sample's time, not that of one to come. Without
 * a master, sets the boundary that time demands. */
static enum place place_of(struct packager *p, struct lane *l, int64_t us, bool has_arrived)
{
    if (l->segment < p->latest)
        return us >= boundary_of(p, l->segment + 1)->start_us ? PLACE_NEXT : PLACE_SAME;

    if (p->is_finishing)
        return PLACE_SAME;
    struct lane *master = master_of(p);
    if (master == NULL) {
        int64_t at = timed_boundary_us(p);
        if (us < at)
            return PLACE_SAME;
        set_boundary(p, at, p->wants_cut);
        return PLACE_NEXT;
    }
    if (master == l && has_arrived) /* its boundaries are set when the keyframe arrives */
        return PLACE_SAME;

    /* The next keyframe comes no earlier than the master's next frame, and its pts is ahead of its
     * dts as it was at the one before. */
    int64_t half_us = half_frame_us(p, master);
    int64_t ahead_us = lane_us(master, master->keyframe_cts);
    int64_t length_us = p->wants_cut ? SEGMENT_MIN_US : p->limits.segment_us - half_us;
    int64_t earliest = boundary_of(p, p->latest)->start_us + length_us;
    if (master == l)
        us += ahead_us;
    else
        earliest = max_of(earliest, p->timeline.tracks[master->track].last_us + half_us + ahead_us);
    return us < earliest ? PLACE_SAME : PLACE_UNKNOWN;
}

/* --- delivery --- */

static bool write_init(struct packager *p, struct lane *l)
{
    uint8_t bytes[CMAF_INIT_BYTES_MAX];
    struct writer w = writer_of(bytes, sizeof(bytes));

    if (cmaf_init_write(&w, &l->info, l->timescale) != 0)
        return false;
    p->sink.init(p->user, l->track, &l->info, l->timescale, writer_bytes(&w));
    l->has_init = true;
    return true;
}

static uint32_t timescale_of(const struct track_info *info)
{
    if (info->kind == MEDIA_VIDEO)
        return VIDEO_TIMESCALE;
    return info->codec == CODEC_OPUS ? 48000 : info->sample_rate_hz;
}

/* Packages 'l' as 'info' from 'start_us' on. */
static void install(struct packager *p, struct lane *l, const struct track_info *info,
                    int64_t start_us)
{
    l->info = *info;
    if (l->info.frame_samples > FRAME_SAMPLES_MAX)
        l->info.frame_samples = 0;
    l->timescale = timescale_of(info);
    l->is_video = info->kind == MEDIA_VIDEO;
    l->needs_keyframe = l->is_video;
    timeline_open(&p->timeline, l->track, &l->info, l->timescale, start_us);
    l->end_dts = lane_ticks(l, start_us);
    l->end_dts += lane_us(l, l->end_dts) < start_us ? 1 : 0; /* never before */
    l->starts_anywhere = true;
    CHECK(write_init(p, l)); /* was tried by packager_track() */
}

/* 'l' goes on in the next segment. */
static void cross(struct packager *p, struct lane *l)
{
    CHECK(l->segment < p->latest);
    l->segment++;
    l->has_part = false;
    l->has_ended = false;
    if (l->has_change && boundary_of(p, l->segment)->is_discontinuous) {
        counter_add(&p->counters->media_units_between_codecs, l->count);
        lane_clear(l);
        l->has_change = false;
        install(p, l, &l->change, lane_us(l, l->end_dts));
    }
}

static void fill_part(const struct packager *p, struct lane *l, struct packaged_part *part)
{
    const struct boundary *b = &p->boundaries[l->segment % BOUNDARIES_MAX];

    part->track = l->track;
    part->starts_segment = !l->has_part;
    part->is_discontinuous = part->starts_segment && b->is_discontinuous;
    part->segment = l->segment;
}

/* Tells the sink, and moves the lane on. */
static void deliver(struct packager *p, struct lane *l, const struct packaged_part *part)
{
    p->sink.part_end(p->user, part);
    l->has_part = true;
    l->end_dts = part->dts + part->duration;
    if (part->is_gap) {
        timeline_reserve(&p->timeline, l->track, l->end_dts);
        counter_inc(&p->counters->media_gap_parts);
    }
    l->has_ended = part->ends_segment;
    l->starts_anywhere = false;
    if (part->ends_segment && l->segment < p->latest)
        cross(p, l);
}

static void deliver_gap(struct packager *p, struct lane *l, int64_t end_dts, bool ends_segment)
{
    struct packaged_part part = {
        .is_gap = true, .ends_segment = ends_segment, .dts = l->end_dts, .pts = l->end_dts};

    fill_part(p, l, &part);
    part.duration = (uint32_t)(end_dts - l->end_dts);
    part.wall_us = lane_us(l, l->end_dts) + boundary_of(p, l->segment)->skew_us;
    deliver(p, l, &part);
}

/* The first 'count' samples, lasting until 'end_dts', become a part. */
static void deliver_samples(struct packager *p, struct lane *l, uint32_t count, int64_t end_dts,
                            bool ends_segment)
{
    const struct lane_sample *first = lane_at(l, 0);
    struct bytes payload = lane_bytes(l, count);
    struct packaged_part part = {.is_independent = first->is_sync, .ends_segment = ends_segment};
    struct cmaf_reference reference;

    fill_part(p, l, &part);
    part.dts = first->dts;
    part.pts = first->dts + first->cts;
    part.duration = (uint32_t)(end_dts - first->dts);
    part.wall_us = sample_us(l, first) + boundary_of(p, l->segment)->skew_us;
    reference = (struct cmaf_reference){part.wall_us, part.pts};
    for (uint32_t i = 0; i < count; i++) {
        const struct lane_sample *s = lane_at(l, i);
        int64_t next = i + 1 < count ? lane_at(l, i + 1)->dts : end_dts;
        CHECK(next > s->dts);
        p->scratch[i] =
            (struct cmaf_sample){s->size, (uint32_t)(next - s->dts), s->cts, s->is_sync};
    }
    struct cmaf_fragment f = {
        .sequence = ++l->sequence,
        .dts = part.dts,
        .samples = p->scratch,
        .sample_count = count,
        .payload_bytes = (uint32_t)payload.size,
        .is_video = l->is_video,
        .reference = part.starts_segment ? &reference : NULL,
    };
    uint32_t head_bytes = cmaf_fragment_head_size(&f);
    uint8_t *out = p->sink.part_begin(p->user, l->track, head_bytes + f.payload_bytes);
    if (out == NULL) {
        part.is_gap = true;
        part.is_independent = false;
        counter_inc(&p->counters->media_parts_without_memory);
    } else {
        struct writer w = writer_of(out, head_bytes);
        cmaf_fragment_write(&w, &f);
        CHECK(writer_is_ok(&w) && w.size == head_bytes);
        memcpy(out + head_bytes, payload.ptr, payload.size);
        counter_inc(&p->counters->media_parts);
        counter_add(&p->counters->media_part_bytes, head_bytes + f.payload_bytes);
    }
    lane_drop(l, count);
    deliver(p, l, &part);
}

/* --- forming parts --- */

/* A part that is ready: 'count' samples until 'end_dts'. count 0: none. */
struct cut {
    uint32_t count;
    int64_t end_dts;
    bool ends_segment;
};

static int64_t part_ticks(const struct packager *p, const struct lane *l)
{
    return max_of(lane_ticks(l, p->limits.part_us), 1);
}

/* How far beyond the target a part's end may lie and still be moved onto it. */
static int64_t slack_ticks(const struct lane *l)
{
    return l->is_video ? lane_ticks(l, PROMISE_SLACK_US) : 0;
}

/* Dts at which sample 'index' ends; 0: not known yet. */
static int64_t sample_end(const struct packager *p, struct lane *l, uint32_t index,
                          const struct horizon *h)
{
    if (index + 1 < l->count)
        return lane_at(l, index + 1)->dts;
    if (h->is_forced && h->end_dts != 0)
        return h->end_dts;
    int64_t start = lane_at(l, index)->dts;
    if (lane_at(l, index)->duration > 0)
        return start + lane_at(l, index)->duration;
    uint32_t expected = timeline_expected(&p->timeline, l->track);
    if (expected == 0 && !h->is_forced)
        return 0;
    if (expected > 0)
        return start + expected;
    /* Forced, and nothing to go by: as long as the one before. */
    int64_t previous = index > 0 ? start - lane_at(l, index - 1)->dts : 0;
    return start + max_of(previous > 0 ? previous : lane_ticks(l, TIMELINE_FRAME_US), 1);
}

/* Place of what follows sample 'index', which ends at 'end'. */
static enum place place_after(struct packager *p, struct lane *l, uint32_t index, int64_t end,
                              const struct horizon *h)
{
    bool has_arrived = index + 1 < l->count;
    int64_t us = has_arrived ? sample_us(l, lane_at(l, index + 1)) : lane_us(l, end);
    enum place place = place_of(p, l, us, has_arrived);

    return place == PLACE_UNKNOWN && h->is_forced ? PLACE_SAME : place;
}

/* The next part, if it is complete and it is known whether it ends its segment. */
static struct cut find_cut(struct packager *p, struct lane *l, const struct horizon *h)
{
    const struct cut none = {0};
    int64_t start = lane_at(l, 0)->dts;
    int64_t limit = start + part_ticks(p, l);
    int64_t slack = slack_ticks(l);

    for (uint32_t i = 0; i < l->count; i++) {
        int64_t end = sample_end(p, l, i, h);
        bool is_last = i + 1 == l->count;

        if (end == 0)
            return none;
        /* Moving the end onto the target must leave the sample most of its time. */
        bool can_move = end <= limit + slack && limit - lane_at(l, i)->dts > end - limit;
        if (end > limit && !can_move && i > 0)
            return (struct cut){i, lane_at(l, i)->dts, false};
        bool is_full = end >= limit;
        if (end > limit && can_move)
            end = limit;

        enum place next = place_after(p, l, i, end, h);
        if (next == PLACE_UNKNOWN)
            return none;
        uint32_t expected = timeline_expected(&p->timeline, l->track);
        bool is_complete = next == PLACE_NEXT || is_full;
        if (is_last) /* whether there is room for one more */
            is_complete |= h->is_forced || (expected > 0 && end + expected > limit + slack);
        if (is_complete)
            return (struct cut){i + 1, end,
                                next == PLACE_NEXT ||
                                    (is_last && h->is_final && l->segment == p->latest)};
    }
    return none;
}

/* The end of a part was moved from that of its last sample: what follows starts there too. */
static void settle_end(struct packager *p, struct lane *l, const struct cut *c,
                       const struct horizon *h)
{
    if (c->count == l->count) {
        /* A sample that says its duration keeps the promise by itself. */
        if (lane_at(l, c->count - 1)->duration == 0 && h->end_dts == 0)
            timeline_promise(&p->timeline, l->track, c->end_dts);
        return;
    }
    struct lane_sample *next = lane_at(l, c->count);
    next->cts += (int32_t)(next->dts - c->end_dts);
    next->dts = c->end_dts;
}

/* Time without media from the end of what was delivered to 'until', or to a change of codec:
 * 'until' is in the present timescale. */
static void deliver_gaps(struct packager *p, struct lane *l, int64_t until)
{
    bool has_change = l->has_change;

    while (l->end_dts < until && l->has_change == has_change) {
        int64_t end = min_of(until, l->end_dts + part_ticks(p, l));
        bool is_known = l->segment < p->latest;
        bool has_boundary = is_known || (!p->is_finishing && master_of(p) == NULL);
        bool ends_segment = false;

        if (has_boundary) {
            int64_t at_us =
                is_known ? boundary_of(p, l->segment + 1)->start_us : timed_boundary_us(p);
            int64_t at = max_of(lane_ticks(l, at_us), l->end_dts);
            ends_segment = at <= end;
            end = min_of(at, end);
            if (ends_segment && !is_known)
                set_boundary(p, at_us, p->wants_cut);
        }
        deliver_gap(p, l, end, ends_segment);
    }
}

/* Delivers every part that is complete. */
static void drain(struct packager *p, struct lane *l, const struct horizon *h)
{
    while (l->count > 0) {
        uint32_t available = l->count - (h->is_bytes_late ? 1 : 0);
        enum place first = place_of(p, l, sample_us(l, lane_at(l, 0)), true);

        if (first == PLACE_UNKNOWN && !h->is_forced)
            return;
        if (first == PLACE_NEXT) { /* what came before was delivered without knowing it */
            if (l->starts_anywhere)
                l->end_dts =
                    min_of(lane_at(l, 0)->dts, max_of(l->end_dts, segment_ticks(p, l, l->segment)));
            if (l->end_dts < lane_at(l, 0)->dts)
                deliver_gaps(p, l, lane_at(l, 0)->dts);
            else
                deliver_gap(p, l, l->end_dts, true);
            continue;
        }
        struct cut c = find_cut(p, l, h);
        if (c.count == 0 || c.count > available)
            return;
        if (c.end_dts - lane_at(l, 0)->dts > part_ticks(p, l))
            counter_inc(&p->counters->media_parts_long);
        settle_end(p, l, &c, h);
        deliver_samples(p, l, c.count, c.end_dts, c.ends_segment);
    }
}

/* Ends all segments of 'l' before 'segment', filling what is missing with gaps. */
static void advance(struct packager *p, struct lane *l, uint64_t segment)
{
    drain(p, l, &(struct horizon){.is_forced = true});
    while (l->segment < segment) {
        int64_t at = segment_ticks(p, l, l->segment + 1);
        if (l->end_dts < at)
            deliver_gaps(p, l, at);
        else
            deliver_gap(p, l, l->end_dts, true);
    }
}

/* Appends a sample and delivers what became complete by it. */
static void push(struct packager *p, struct lane *l, const struct lane_sample *s, struct bytes data)
{
    if (!lane_has_room(l, s->size)) {
        drain(p, l, &(struct horizon){.is_forced = true, .end_dts = s->dts});
        counter_inc(&p->counters->media_parts_cut_by_size);
    }
    if (l->count == 0 && !l->starts_anywhere) {
        CHECK(s->dts >= l->end_dts);
        deliver_gaps(p, l, s->dts);
    }
    lane_push(l, s);
    drain(p, l, &(struct horizon){.is_bytes_late = true});
    if (l->count == 0) /* a change of codec took effect: this silence was for the old one */
        return;
    lane_append(l, data);
    drain(p, l, &(struct horizon){0});
}

/* Fills the time of 'l' from 'from', the end of its queue, to 'until' with silence or gaps; or to a
 * change of codec, since that changes the timescale. Returns where it ended: silence comes in
 * whole frames. */
static int64_t fill(struct packager *p, struct lane *l, int64_t from, int64_t until)
{
    uint8_t packet[LANE_SILENCE_BYTES_MAX];
    bool has_change = l->has_change;
    uint32_t size, ticks;
    int64_t at = from;

    while ((ticks = lane_silence(&l->info, (uint32_t)max_of(until - at, 0), packet, &size)) > 0) {
        struct lane_sample s = {.dts = at, .size = size, .duration = ticks, .is_sync = true};
        push(p, l, &s, bytes_of(packet, size));
        counter_inc(&p->counters->media_silence_frames);
        at += ticks;
        if (l->has_change != has_change)
            return l->end_dts;
    }
    if (at > from)
        return at;
    drain(p, l, &(struct horizon){.is_forced = true, .end_dts = from});
    if (l->has_change == has_change)
        deliver_gaps(p, l, until);
    return l->end_dts;
}

/* Fills tracks that fell behind the others, so that nobody waits for them. */
static void fill_lagging(struct packager *p)
{
    int64_t target_us = p->timeline.front_us - LAG_MAX_US;

    for (uint8_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];

        if (l->state != LANE_LIVE)
            continue;
        if (target_us - timeline_end_us(&p->timeline, i) < (int64_t)p->limits.part_us)
            continue;
        if (!l->is_paused)
            counter_inc(&p->counters->media_tracks_paused);
        l->is_paused = true;
        int64_t from = lane_ticks(l, timeline_end_us(&p->timeline, i));
        if (l->count == 0)
            from = l->end_dts;
        else if (lane_at(l, l->count - 1)->duration > 0)
            from = lane_at(l, l->count - 1)->dts + lane_at(l, l->count - 1)->duration;
        timeline_reserve(&p->timeline, i, fill(p, l, from, lane_ticks(l, target_us)));
    }
}

/* Others may have waited for what 'l' brought. */
static void drain_others(struct packager *p, const struct lane *l)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *other = &p->lanes[i];
        if (other != l && other->state == LANE_LIVE)
            drain(p, other, &(struct horizon){0});
    }
}

/* --- start and end --- */

static void join(struct lane *l, uint64_t segment)
{
    l->state = LANE_LIVE;
    l->segment = segment;
    l->has_part = false;
    l->has_ended = false;
    l->is_paused = false;
    l->starts_anywhere = true;
}

/* The first segment of an epoch begins at 'start_us'; staged units before it are dropped. */
static void start(struct packager *p, int64_t start_us)
{
    set_boundary(p, start_us, p->has_latest);
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];

        while (l->count > 0 && sample_us(l, lane_at(l, 0)) < start_us) {
            lane_drop(l, 1);
            counter_inc(&p->counters->media_units_before_start);
        }
        if (l->count > 0)
            join(l, p->latest);
    }
}

/* Before the first segment: video starts it with its first keyframe; audio waits a little. */
static void start_with(struct packager *p, struct lane *l, const struct lane_sample *s,
                       struct bytes data)
{
    if (l->is_video) {
        start(p, sample_us(l, s));
        join(l, p->latest);
        push(p, l, s, data);
        drain_others(p, l);
        return;
    }
    bool is_overdue = true;
    if (lane_has_room(l, s->size)) {
        lane_push(l, s);
        lane_append(l, data);
        is_overdue = false;
    }

    int64_t first_us = INT64_MAX;
    int64_t wait_us = START_WAIT_US;
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *other = &p->lanes[i];
        if (other->state == LANE_READY && other->is_video)
            wait_us = LAG_MAX_US;
        if (other->count > 0)
            first_us = min_of(first_us, sample_us(other, lane_at(other, 0)));
    }
    if (!is_overdue && p->timeline.front_us - first_us < wait_us)
        return;
    start(p, first_us);
    if (is_overdue)
        push(p, l, s, data);
    drain_others(p, NULL);
}

/* Takes back a boundary that time had set, when nothing came after it. */
static void withdraw_empty_segment(struct packager *p)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct lane *l = &p->lanes[i];
        if (l->state == LANE_LIVE && l->segment == p->latest && (l->has_part || p->latest == 0))
            return;
    }
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];
        if (l->state != LANE_LIVE || l->segment != p->latest)
            continue;
        l->segment--;
        l->has_part = true;
        l->has_ended = true;
    }
    p->latest--;
}

/* Delivers everything, and ends the newest segment in all tracks. */
static void finish_all(struct packager *p, enum lane_state next_state)
{
    int64_t end_us = 0;

    p->is_finishing = true;
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];
        if (l->state != LANE_LIVE)
            continue;
        drain(p, l, &(struct horizon){.is_forced = true, .is_final = true});
        end_us = max_of(end_us, lane_us(l, l->end_dts + l->keyframe_cts));
    }
    if (p->is_running)
        withdraw_empty_segment(p);
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];

        if (l->state == LANE_LIVE) {
            advance(p, l, p->latest);
            if (!l->has_part) { /* cut off before its first unit of this segment */
                (void)fill(p, l, l->end_dts, lane_ticks(l, end_us));
                drain(p, l, &(struct horizon){.is_forced = true, .is_final = true});
            }
            if (!l->has_ended)
                deliver_gap(p, l, l->end_dts, true);
        }
        counter_add(&p->counters->media_units_before_start, l->count);
        lane_clear(l);
        if (l->state != LANE_ABSENT)
            l->state = next_state;
        l->needs_keyframe = l->is_video;
    }
    p->is_finishing = false;
    p->is_running = false;
    p->wants_cut = false;
    timeline_end_epoch(&p->timeline);
}

void packager_flush(struct packager *p)
{
    finish_all(p, LANE_ABSENT);
    for (size_t i = 0; i < TRACKS_MAX; i++)
        p->lanes[i].has_change = false;
}

/* The publisher was silent for so long that time starts anew; its tracks stay announced. */
static void restart(struct packager *p)
{
    finish_all(p, LANE_READY);
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];
        if (!l->has_change)
            continue;
        l->has_change = false;
        install(p, l, &l->change, lane_us(l, l->end_dts));
    }
}

/* --- units --- */

/* A unit of the master at 'us' may begin a segment. */
static void consider_boundary(struct packager *p, struct lane *l, const struct lane_sample *s)
{
    int64_t us = sample_us(l, s);
    int64_t age_us = us - boundary_of(p, p->latest)->start_us;
    int64_t target_us = p->wants_cut ? SEGMENT_MIN_US : p->limits.segment_us - half_frame_us(p, l);

    if (s->is_sync && age_us >= target_us) {
        set_boundary(p, us, p->wants_cut);
    } else if (!s->is_sync && age_us >= p->limits.segment_max_us) {
        set_boundary(p, us, p->wants_cut);
        counter_inc(&p->counters->media_segments_forced);
    }
}

/* Puts a changed configuration into effect, at a new segment; false: not yet. */
static bool try_change(struct packager *p, struct lane *l)
{
    const struct lane *master = master_of(p);

    for (uint64_t n = l->segment + 1; n <= p->latest; n++) {
        if (boundary_of(p, n)->is_discontinuous) {
            advance(p, l, n);
            return !l->has_change;
        }
    }
    if (master != NULL && master != l)
        return false;
    int64_t at_us = max_of(timeline_end_us(&p->timeline, l->track), lane_us(l, l->end_dts));
    if (at_us - boundary_of(p, p->latest)->start_us < SEGMENT_MIN_US)
        return false;
    set_boundary(p, at_us, true);
    advance(p, l, p->latest);
    drain_others(p, l);
    return !l->has_change;
}

/* A track's first usable unit while others run. False: it lies before all that is left. */
static bool join_late(struct packager *p, struct lane *l, const struct lane_sample *s)
{
    int64_t us = sample_us(l, s);

    for (uint64_t n = p->latest;; n--) {
        if (us >= boundary_of(p, n)->start_us) {
            join(l, n);
            counter_inc(&p->counters->media_tracks_joined);
            return true;
        }
        if (n == 0 || p->latest - n == BOUNDARIES_MAX / 2 || boundary_of(p, n)->is_discontinuous)
            break;
    }
    counter_inc(&p->counters->media_units_before_start);
    return false;
}

static enum timeline_verdict stamp(struct packager *p, struct lane *l, const struct access_unit *au,
                                   int64_t wall_us, struct timeline_stamp *ret_stamp)
{
    enum timeline_verdict v = timeline_stamp(&p->timeline, au, wall_us, ret_stamp);

    if (v == TIMELINE_EPOCH) {
        restart(p);
        if (l->is_video && !au->is_keyframe) {
            counter_inc(&p->counters->media_units_without_keyframe);
            return TIMELINE_DROP;
        }
        v = timeline_stamp(&p->timeline, au, wall_us, ret_stamp);
        CHECK(v != TIMELINE_EPOCH);
    }
    if (v == TIMELINE_DROP)
        l->needs_keyframe = l->is_video;
    return v;
}

/* Whether 'l' takes this unit at all; counted when not. */
static bool admit(struct packager *p, struct lane *l, const struct access_unit *au)
{
    if (l->state == LANE_ABSENT || l->is_muted) {
        counter_inc(&p->counters->media_units_without_track);
        return false;
    }
    if (au->data.size == 0 || au->data.size > p->limits.part_bytes_max) {
        counter_inc(&p->counters->media_units_oversized);
        l->needs_keyframe = l->is_video;
        return false;
    }
    counter_inc(&p->counters->media_units);
    counter_add(&p->counters->media_unit_bytes, au->data.size);
    if (l->needs_keyframe && !au->is_keyframe) {
        counter_inc(&p->counters->media_units_without_keyframe);
        return false;
    }
    if (l->has_change && !try_change(p, l)) {
        counter_inc(&p->counters->media_units_between_codecs);
        return false;
    }
    return true;
}

/* Keeps the slowest track within the ring of boundaries. */
static void bound_lag(struct packager *p)
{
    if (!p->has_latest || p->latest < BOUNDARIES_MAX / 2)
        return;
    uint64_t oldest = p->latest - BOUNDARIES_MAX / 2;
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        /* advance() delivers what is not complete: only for a track that is behind. */
        if (p->lanes[i].state == LANE_LIVE && p->lanes[i].segment < oldest)
            advance(p, &p->lanes[i], oldest);
    }
}

int packager_unit(struct packager *p, const struct access_unit *au, int64_t wall_us)
{
    struct timeline_stamp t;

    if (au->track >= TRACKS_MAX) {
        counter_inc(&p->counters->media_units_without_track);
        return -EINVAL;
    }
    struct lane *l = &p->lanes[au->track];
    if (!admit(p, l, au) || stamp(p, l, au, wall_us, &t) != TIMELINE_OK)
        return 0;
    struct lane_sample s = {t.dts, t.cts, (uint32_t)au->data.size, t.duration,
                            l->is_video ? au->is_keyframe : true};

    l->needs_keyframe = false;
    if (s.is_sync)
        l->keyframe_cts = s.cts;
    p->wants_cut |= t.is_rebased && p->is_running;
    if (!p->is_running) {
        if (t.hole > 0) { /* what waits is not to start with a pause */
            counter_add(&p->counters->media_units_before_start, l->count);
            lane_clear(l);
        }
        start_with(p, l, &s, au->data);
        return 0;
    }
    l->is_paused = false;
    if (t.hole > 0 && l->state == LANE_LIVE && !l->starts_anywhere)
        fill(p, l, s.dts - t.hole, s.dts);
    const struct lane *master = master_of(p);
    if (l->is_video && (master == NULL || master == l))
        consider_boundary(p, l, &s);
    if (l->state == LANE_READY && !join_late(p, l, &s))
        return 0;
    push(p, l, &s, au->data);
    fill_lagging(p);
    drain_others(p, l);
    bound_lag(p);
    return 0;
}

/* --- tracks --- */

static bool is_same_info(const struct track_info *a, const struct track_info *b)
{
    return a->kind == b->kind && a->codec == b->codec && a->width == b->width &&
           a->height == b->height && a->sample_rate_hz == b->sample_rate_hz &&
           a->channel_count == b->channel_count && a->frame_samples == b->frame_samples &&
           a->config_size == b->config_size && memcmp(a->config, b->config, a->config_size) == 0;
}

static bool can_package(const struct track_info *info)
{
    uint8_t bytes[CMAF_INIT_BYTES_MAX];
    struct writer w = writer_of(bytes, sizeof(bytes));
    uint32_t timescale = timescale_of(info);

    if (info->kind == MEDIA_AUDIO &&
        (timescale < SAMPLE_RATE_MIN_HZ || timescale > SAMPLE_RATE_MAX_HZ))
        return false;
    return cmaf_init_write(&w, info, timescale) == 0;
}

int packager_track(struct packager *p, uint8_t track, const struct track_info *given,
                   int64_t wall_us)
{
    struct track_info info = *given;
    (void)wall_us; /* time starts with the first unit */

    if (track >= TRACKS_MAX)
        return -ENOSPC;
    struct lane *l = &p->lanes[track];
    l->is_muted = !can_package(&info);
    if (l->is_muted) {
        counter_inc(&p->counters->media_tracks_unsupported);
        return -ENOTSUP;
    }
    if (info.frame_samples > FRAME_SAMPLES_MAX)
        info.frame_samples = 0;
    bool is_same = l->has_init && is_same_info(&l->info, &info);

    if (l->state != LANE_LIVE) {
        if (!is_same) {
            counter_add(&p->counters->media_units_between_codecs, l->count);
            lane_clear(l);
            install(p, l, &info, l->has_init ? lane_us(l, l->end_dts) : 0);
        }
        l->state = LANE_READY;
        return 0;
    }
    if (is_same) {
        l->has_change = false;
        return 0;
    }
    l->change = info;
    l->has_change = true;
    l->needs_keyframe = info.kind == MEDIA_VIDEO;
    p->wants_cut = true;
    counter_inc(&p->counters->media_codec_changes);
    return 0;
}

uint32_t packager_part_max(const struct packager *p, uint8_t track)
{
    if (track >= TRACKS_MAX || !p->lanes[track].has_init)
        return 0;
    const struct lane *l = &p->lanes[track];
    int64_t frame = timeline_expected(&p->timeline, track);
    if (frame == 0)
        return 0;
    int64_t limit = part_ticks(p, l), slack = slack_ticks(l);
    int64_t longest = max_of((limit + slack) / frame, 1) * frame;
    return (uint32_t)(longest + slack >= limit ? limit : longest);
}

/* --- life --- */

struct packager *packager_new(const struct packager_limits *limits,
                              const struct packager_sink *sink, void *user,
                              struct counters *counters)
{
    CHECK(limits->part_us > 0 && limits->segment_us >= SEGMENT_MIN_US);
    CHECK(limits->segment_max_us >= limits->segment_us && limits->part_bytes_max > 0);
    size_t head_bytes = (sizeof(struct packager) + 63) / 64 * 64;
    size_t bytes = head_bytes + (size_t)TRACKS_MAX * limits->part_bytes_max;
    struct packager *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    p->limits = *limits;
    p->sink = *sink;
    p->user = user;
    p->counters = counters;
    p->mapped_bytes = bytes;
    packager_reset(p);
    return p;
}

void packager_free(struct packager **pp)
{
    struct packager *p = *pp;

    *pp = NULL;
    if (p != NULL)
        (void)munmap(p, p->mapped_bytes);
}

void packager_set_counters(struct packager *p, struct counters *counters)
{
    p->counters = counters;
    timeline_set_counters(&p->timeline, counters);
}

void packager_set_segment_max(struct packager *p, uint32_t segment_max_us)
{
    CHECK(segment_max_us >= p->limits.segment_us);
    p->limits.segment_max_us = segment_max_us;
}

void packager_reset(struct packager *p)
{
    uint8_t *staging = (uint8_t *)p + (sizeof(*p) + 63) / 64 * 64;

    timeline_init(&p->timeline, p->counters);
    p->is_running = false;
    p->is_finishing = false;
    p->wants_cut = false;
    p->has_latest = false;
    p->latest = 0;
    for (uint8_t i = 0; i < TRACKS_MAX; i++) {
        struct lane *l = &p->lanes[i];

        if (l->has_init || l->is_muted) /* else nothing but zeros, and untouched pages stay so */
            memset(l, 0, offsetof(struct lane, samples));
        l->track = i;
        l->staging = staging + (size_t)i * p->limits.part_bytes_max;
        l->staging_size = p->limits.part_bytes_max;
    }
}
