#include "dataplane/media/timeline.h"

#include "common/check.h"
#include "common/counters.h"

enum { AVERAGE_TOLERANCE_US = 4000 }; /* intervals of a regular track differ by less */

/* Timestamps beyond are refused: sums of a few of them stay far from overflow, and ticks exact. */
static const int64_t TIME_MAX_US = (int64_t)1 << 52;

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int64_t max_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Splits into seconds and the rest, so that the product cannot overflow. */
static int64_t rescale(int64_t value, int64_t from_hz, int64_t to_hz)
{
    int64_t seconds = value / from_hz;
    int64_t rest = value % from_hz;

    if (rest < 0) {
        seconds--;
        rest += from_hz;
    }
    return seconds * to_hz + (rest * to_hz + from_hz / 2) / from_hz;
}

int64_t timeline_ticks(int64_t axis_us, uint32_t timescale)
{
    return rescale(axis_us, 1000000, timescale);
}

int64_t timeline_us(int64_t ticks, uint32_t timescale)
{
    return rescale(ticks, timescale, 1000000);
}

uint32_t timeline_opus_samples(struct bytes packet)
{
    /* By 'config', the top five bits: SILK 10-60 ms, hybrid 10-20 ms, CELT 2.5-20 ms. */
    static const uint16_t frame_samples[32] = {
        480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 480, 960,
        120, 240, 480,  960,  120, 240, 480,  960,  120, 240, 480,  960,  120, 240, 480, 960};
    enum { PACKET_SAMPLES_MAX = 5760 }; /* 120 ms, RFC 6716 3.2.5 [R5] */

    if (packet.size == 0)
        return 0;
    uint32_t frame_count = (packet.ptr[0] & 3) == 0 ? 1 : 2;
    if ((packet.ptr[0] & 3) == 3)
        frame_count = packet.size < 2 ? 0 : packet.ptr[1] & 0x3f;
    uint32_t samples = frame_count * frame_samples[packet.ptr[0] >> 3];
    return samples > PACKET_SAMPLES_MAX ? 0 : samples;
}

void timeline_init(struct timeline *t, struct counters *counters)
{
    *t = (struct timeline){.counters = counters};
}

void timeline_set_counters(struct timeline *t, struct counters *counters)
{
    t->counters = counters;
}

/* Mean of the last intervals in us; 0: too few, or they differ. */
static int64_t interval_mean_us(const struct timeline_track *k)
{
    uint32_t low = UINT32_MAX, high = 0;
    int64_t sum = 0;

    if (k->interval_count < TIMELINE_CADENCE_COUNT)
        return 0;
    for (size_t i = 0; i < TIMELINE_CADENCE_COUNT; i++) {
        low = k->interval_us[i] < low ? k->interval_us[i] : low;
        high = k->interval_us[i] > high ? k->interval_us[i] : high;
        sum += k->interval_us[i];
    }
    return high - low > AVERAGE_TOLERANCE_US ? 0 : sum / TIMELINE_CADENCE_COUNT;
}

static void note_interval(struct timeline_track *k, int64_t interval_us)
{
    if (interval_us <= 0 || interval_us > TIMELINE_HOLE_US) {
        k->interval_count = 0;
        return;
    }
    k->interval_us[k->interval_count % TIMELINE_CADENCE_COUNT] = (uint32_t)interval_us;
    /* Stays a multiple plus the index once full, so that it never wraps to "too few". */
    k->interval_count++;
    if (k->interval_count == 2 * TIMELINE_CADENCE_COUNT)
        k->interval_count = TIMELINE_CADENCE_COUNT;
}

uint32_t timeline_expected(const struct timeline *t, uint8_t track)
{
    const struct timeline_track *k = &t->tracks[track];

    if (!k->has_last)
        return 0;
    if (k->is_exact)
        return k->unit_ticks;
    return (uint32_t)timeline_ticks(interval_mean_us(k), k->timescale);
}

/* How long a unit lasts, guessed when it must be. */
static int64_t frame_ticks(const struct timeline_track *k)
{
    int64_t mean_us = interval_mean_us(k);

    return max_of(timeline_ticks(mean_us > 0 ? mean_us : TIMELINE_FRAME_US, k->timescale), 1);
}

static int64_t end_dts(const struct timeline *t, uint8_t track)
{
    const struct timeline_track *k = &t->tracks[track];

    if (!k->has_last)
        return k->floor_dts;
    if (k->is_exact || k->is_promised)
        return k->next_dts;
    return k->last_dts + frame_ticks(k);
}

int64_t timeline_end_us(const struct timeline *t, uint8_t track)
{
    return timeline_us(end_dts(t, track), t->tracks[track].timescale);
}

void timeline_promise(struct timeline *t, uint8_t track, int64_t promised_dts)
{
    struct timeline_track *k = &t->tracks[track];

    CHECK(k->has_last && promised_dts > k->last_dts);
    k->next_dts = promised_dts;
    k->is_promised = true;
}

void timeline_reserve(struct timeline *t, uint8_t track, int64_t until_dts)
{
    struct timeline_track *k = &t->tracks[track];

    if (!k->has_last)
        k->floor_dts = max_of(k->floor_dts, until_dts);
    else if (until_dts > end_dts(t, track))
        timeline_promise(t, track, until_dts);
}

void timeline_open(struct timeline *t, uint8_t track, const struct track_info *info,
                   uint32_t timescale, int64_t start_us)
{
    struct timeline_track *k = &t->tracks[track];
    struct timeline_track old = *k;
    int64_t end_us = old.is_open ? max_of(timeline_end_us(t, track), start_us) : 0;

    *k = (struct timeline_track){
        .is_open = true,
        .is_exact =
            info->codec == CODEC_OPUS || (info->codec == CODEC_AAC && info->frame_samples > 0),
        .codec = info->codec,
        .timescale = timescale,
        .frame_samples = info->frame_samples,
    };
    if (!old.is_open)
        return;
    /* One tick later than the rounded end, so never before what was stamped. */
    int64_t start = timeline_ticks(end_us, timescale) + (timescale == old.timescale ? 0 : 1);
    k->floor_dts = start;
    k->has_offset = old.has_offset;
    k->offset_us = old.offset_us;
    k->has_last = old.has_last;
    k->last_us = old.last_us;
    k->last_dts = start - 1;
    k->next_dts = start;
    k->is_promised = old.has_last;
}

void timeline_close(struct timeline *t, uint8_t track)
{
    t->tracks[track].is_open = false;
}

void timeline_end_epoch(struct timeline *t)
{
    for (uint8_t i = 0; i < TRACKS_MAX; i++) {
        struct timeline_track *k = &t->tracks[i];

        if (!k->is_open)
            continue;
        k->floor_dts = end_dts(t, i);
        t->end_us = max_of(t->end_us, timeline_end_us(t, i));
        k->has_offset = false;
        k->has_last = false;
        k->is_promised = false;
        k->late_us = 0;
        k->interval_count = 0;
    }
    t->is_running = false;
}

static void begin_epoch(struct timeline *t, int64_t dts_us, int64_t wall_us)
{
    int64_t earliest = t->end_us == 0 ? 0 : t->end_us + TIMELINE_EPOCH_MARGIN_US;
    int64_t start = max_of(wall_us, earliest);

    t->is_running = true;
    t->offset_us = start - dts_us;
    t->front_us = start;
    t->skew_us = wall_us - start;
    t->drift_us = INT64_MAX;
    t->window_us = start;
    t->measured_us = 0;
    counter_inc(&t->counters->media_epochs);
}

/* --- where a unit lies on the axis --- */

/* Whether 'axis_us' is a plausible time for the next unit of 'k'. */
static bool fits(const struct timeline *t, const struct timeline_track *k, int64_t axis_us,
                 int64_t wall_axis_us)
{
    int64_t low = t->front_us - TIMELINE_FORWARD_US;
    int64_t high = t->front_us + TIMELINE_AHEAD_US;

    if (k->has_last)
        low = max_of(low, k->last_us - TIMELINE_BACK_US);
    /* Further ahead it is silence, when as much time has really passed. */
    high = max_of(high, wall_axis_us + TIMELINE_AHEAD_US);
    if (high > t->front_us + TIMELINE_FORWARD_US)
        high = t->front_us + TIMELINE_FORWARD_US;
    return axis_us >= low && axis_us <= high;
}

/* Finds the offset for a unit at 'dts_us' and sets k->offset_us. TIMELINE_EPOCH: none, and long
 * silence before it; nothing was changed. */
static enum timeline_verdict place(struct timeline *t, struct timeline_track *k, int64_t dts_us,
                                   int64_t wall_us, bool *ret_rebased)
{
    int64_t wall_axis = wall_us - t->skew_us;

    *ret_rebased = false;
    if (!k->has_offset)
        k->offset_us = t->offset_us;
    if (fits(t, k, dts_us + k->offset_us, wall_axis)) {
        k->has_offset = true;
        return TIMELINE_OK;
    }

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct timeline_track *other = &t->tracks[i];

        if (!other->has_offset || !fits(t, k, dts_us + other->offset_us, wall_axis))
            continue;
        *ret_rebased = k->has_offset;
        k->has_offset = true;
        k->offset_us = other->offset_us;
        counter_inc(&t->counters->media_clock_followed);
        return TIMELINE_OK;
    }

    if (wall_axis - t->front_us > TIMELINE_SILENCE_US)
        return TIMELINE_EPOCH;
    uint8_t track = (uint8_t)(k - t->tracks);
    int64_t target = k->has_last ? timeline_end_us(t, track) : t->front_us;
    k->has_offset = true;
    k->offset_us = target - dts_us;
    t->offset_us = k->offset_us;
    *ret_rebased = true;
    counter_inc(&t->counters->media_clock_rebased);
    return TIMELINE_OK;
}

/* The publisher's clock against the wall clock: network delay only ever adds, so the smallest
 * difference over a window is the best estimate. */
static void measure_drift(struct timeline *t, int64_t axis_us, int64_t wall_us)
{
    int64_t late = wall_us - (axis_us + t->skew_us);

    if (late < t->drift_us)
        t->drift_us = late;
    if (axis_us - t->window_us < TIMELINE_DRIFT_WINDOW_US)
        return;
    t->measured_us = t->drift_us;
    t->drift_us = INT64_MAX;
    t->window_us = axis_us;
}

int64_t timeline_skew_us(struct timeline *t, int64_t span_us)
{
    int64_t step_max = max_of(span_us, 0) / 100;
    int64_t step = clamp(t->measured_us, -step_max, step_max);

    if (t->measured_us >= -TIMELINE_DRIFT_DEADBAND_US &&
        t->measured_us <= TIMELINE_DRIFT_DEADBAND_US)
        step = 0;
    t->skew_us += step;
    t->measured_us -= step;
    if (t->drift_us != INT64_MAX)
        t->drift_us -= step;
    return t->skew_us;
}

/* --- stamps --- */

/* A unit 'behind_us' before time that was given away. False: drop it. True: this never ends, so
 * the track was moved onto 'next_dts'. */
static bool is_hopelessly_late(struct timeline *t, struct timeline_track *k, int64_t behind_us,
                               int64_t unit_us)
{
    k->late_us += max_of(unit_us, 1);
    if (k->late_us < TIMELINE_LATE_US)
        return false;
    k->late_us = 0;
    k->offset_us += behind_us;
    k->last_us += behind_us;
    counter_inc(&t->counters->media_clock_rebased);
    return true;
}

/* Audio whose units hold a known number of samples. */
static enum timeline_verdict stamp_exact(struct timeline *t, struct timeline_track *k,
                                         int64_t axis_us, uint32_t samples,
                                         struct timeline_stamp *s)
{
    int64_t raw = timeline_ticks(axis_us, k->timescale);
    int64_t tolerance = timeline_ticks(TIMELINE_AUDIO_SNAP_US, k->timescale);

    if (!k->has_last) {
        if (raw < k->floor_dts) {
            counter_inc(&t->counters->media_units_late);
            return TIMELINE_DROP;
        }
        k->next_dts = raw;
    }
    int64_t ahead = raw - k->next_dts;
    if (ahead < -tolerance) {
        int64_t behind_us = timeline_us(-ahead, k->timescale);
        if (!is_hopelessly_late(t, k, behind_us, timeline_us(samples, k->timescale))) {
            counter_inc(&t->counters->media_audio_overlaps);
            return TIMELINE_DROP;
        }
        s->is_rebased = true;
    } else if (ahead > tolerance) {
        int64_t frames = max_of((ahead + samples / 2) / samples, 1);
        s->hole = (uint32_t)(frames * samples);
        counter_inc(&t->counters->media_audio_resyncs);
    }
    s->dts = k->next_dts + s->hole;
    s->cts = 0;
    s->duration = samples;
    k->unit_ticks = samples;
    k->next_dts = s->dts + samples;
    return TIMELINE_OK;
}

static enum timeline_verdict stamp_free(struct timeline *t, struct timeline_track *k,
                                        int64_t axis_us, int64_t cts_us, int64_t interval_us,
                                        struct timeline_stamp *s)
{
    int64_t raw = timeline_ticks(axis_us, k->timescale);

    if (!k->has_last && raw < k->floor_dts) {
        counter_inc(&t->counters->media_units_late);
        return TIMELINE_DROP;
    }
    s->dts = raw;
    if (k->has_last && k->is_promised) {
        int64_t behind_us = timeline_us(k->next_dts - raw, k->timescale);
        if (behind_us > TIMELINE_BACK_US) {
            if (!is_hopelessly_late(t, k, behind_us, interval_us)) {
                counter_inc(&t->counters->media_units_late);
                return TIMELINE_DROP;
            }
            s->is_rebased = true;
            axis_us += behind_us;
        }
        if (-behind_us > TIMELINE_HOLE_US)
            s->hole = (uint32_t)(raw - k->next_dts);
        else
            s->dts = k->next_dts;
    } else if (k->has_last && raw <= k->last_dts) {
        s->dts = k->last_dts + 1;
        counter_inc(&t->counters->media_dts_nudged);
    } else if (k->has_last) {
        int64_t end = k->last_dts + frame_ticks(k);
        if (raw - end > timeline_ticks(TIMELINE_HOLE_US, k->timescale))
            s->hole = (uint32_t)(raw - end);
    }

    int64_t cts = timeline_ticks(axis_us + cts_us, k->timescale) - s->dts;
    /* Moving the dts must not make a picture due before it is decoded, unless the publisher
     * did: some players then shift the whole track. */
    s->cts = (int32_t)(cts_us >= 0 ? max_of(cts, 0) : cts);
    k->is_promised = false;
    return TIMELINE_OK;
}

/* 0 when out of range, which is counted. */
static int64_t composition_us(struct timeline *t, const struct access_unit *au)
{
    if (au->pts_us >= -TIME_MAX_US && au->pts_us <= TIME_MAX_US) {
        int64_t cts_us = au->pts_us - au->dts_us;
        if (cts_us >= -TIMELINE_CTS_MAX_US && cts_us <= TIMELINE_CTS_MAX_US)
            return cts_us;
    }
    counter_inc(&t->counters->media_pts_invalid);
    return 0;
}

enum timeline_verdict timeline_stamp(struct timeline *t, const struct access_unit *au,
                                     int64_t wall_us, struct timeline_stamp *ret_stamp)
{
    struct timeline_track *k = &t->tracks[au->track];
    struct timeline_stamp s = {0};
    uint32_t samples = k->codec == CODEC_OPUS ? timeline_opus_samples(au->data) : k->frame_samples;

    CHECK(au->track < TRACKS_MAX && k->is_open);
    if (au->dts_us < -TIME_MAX_US || au->dts_us > TIME_MAX_US || (k->is_exact && samples == 0)) {
        counter_inc(&t->counters->media_units_invalid);
        return TIMELINE_DROP;
    }
    wall_us = clamp(wall_us, 0, TIME_MAX_US);
    int64_t cts_us = composition_us(t, au);

    if (!t->is_running)
        begin_epoch(t, au->dts_us, wall_us);
    if (place(t, k, au->dts_us, wall_us, &s.is_rebased) == TIMELINE_EPOCH)
        return TIMELINE_EPOCH;
    int64_t axis_us = au->dts_us + k->offset_us;
    int64_t interval_us = k->has_last ? axis_us - k->last_us : 0;
    k->last_us = axis_us;

    enum timeline_verdict v = k->is_exact ? stamp_exact(t, k, axis_us, samples, &s)
                                          : stamp_free(t, k, axis_us, cts_us, interval_us, &s);
    if (v != TIMELINE_OK)
        return v;
    note_interval(k, interval_us);
    k->has_last = true;
    k->last_dts = s.dts;
    k->late_us = 0;
    t->front_us = max_of(t->front_us, k->last_us);
    measure_drift(t, k->last_us, wall_us);
    if (s.hole > 0)
        counter_inc(&t->counters->media_holes);
    *ret_stamp = s;
    return TIMELINE_OK;
}
