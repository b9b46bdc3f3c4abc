#include "dataplane/media/dash.h"

#include "common/check.h"
#include "dataplane/media/utc.h"

enum {
    HEAD_BYTES_MAX = 2048,
    SET_BYTES_MAX = 2048,   /* one adaptation set of one period, without its segments */
    ENTRY_BYTES_MAX = 96,   /* one S element */
    UPDATE_US_MIN = 500000, /* players ask for the manifest again this often … */
    UPDATE_PARTS = 2,       /* … or every second part */
    LATENCY_PARTS = 10,     /* target latency: 2 s for parts of 200 ms */
    DELAY_SEGMENTS = 3,     /* suggested delay: three segments */
};

/* An xs:duration of so many microseconds. */
static void write_duration(struct writer *out, const char *name, int64_t us)
{
    if (us < 0)
        us = 0;
    writer_printf(out, " %s=\"PT%lld.%06lldS\"", name, (long long)(us / 1000000),
                  (long long)(us % 1000000));
}

uint32_t dash_bytes_max(const struct window *w)
{
    uint32_t bytes = HEAD_BYTES_MAX;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (t->count > 0)
            bytes += t->count * ENTRY_BYTES_MAX + w->period_count * SET_BYTES_MAX;
    }
    return bytes;
}

/* The segments of 't' in period 'p' that are listed: [*ret_first, *ret_end). */
static void period_range(const struct window *w, const struct window_track *t, uint32_t p,
                         uint32_t *ret_first, uint32_t *ret_end)
{
    uint64_t from_msn = w->periods[p].first_msn;
    uint64_t to_msn = p + 1 < w->period_count ? w->periods[p + 1].first_msn : UINT64_MAX;
    uint32_t first = window_listed_from(w, t);

    while (first < t->count && p > 0 && window_segment(t, first)->msn < from_msn)
        first++;
    uint32_t end = first;
    while (end < t->count && window_segment(t, end)->msn < to_msn &&
           (window_segment(t, end)->is_complete || window_segment(t, end)->part_count > 0))
        end++;
    *ret_first = first;
    *ret_end = end;
}

/* How long segment 'index' is, or will be when it still grows: as long as the one before it. */
static uint64_t segment_duration(const struct window_track *t, uint32_t index,
                                 const struct manifest_options *options)
{
    const struct segment *s = window_segment(t, index);

    if (s->is_complete)
        return s->duration;
    int64_t expected_us = (int64_t)options->segment_us;
    if (index > 0 && window_segment(t, index - 1)->duration > 0)
        expected_us = segment_duration_us(window_segment(t, index - 1));
    uint64_t expected = (uint64_t)window_from_us(expected_us, s->timescale);
    return s->duration > expected ? s->duration : expected;
}

static void write_timeline(struct writer *out, const struct window_track *t, uint32_t first,
                           uint32_t end, const struct manifest_options *options)
{
    int64_t expected_t = -1;

    writer_str(out, "<SegmentTimeline>\n");
    for (uint32_t i = first; i < end;) {
        const struct segment *s = window_segment(t, i);
        uint64_t duration = segment_duration(t, i, options);
        int64_t next_t = s->pts + (int64_t)duration;
        uint32_t repeat = 0;

        for (i++; i < end; i++, repeat++) {
            if (window_segment(t, i)->pts != next_t || segment_duration(t, i, options) != duration)
                break;
            next_t += (int64_t)duration;
        }
        writer_str(out, "<S");
        if (s->pts != expected_t)
            writer_printf(out, " t=\"%lld\"", (long long)s->pts);
        writer_printf(out, " d=\"%llu\"", (unsigned long long)duration);
        if (repeat > 0)
            writer_printf(out, " r=\"%u\"", repeat);
        writer_str(out, "/>\n");
        expected_t = next_t;
    }
    writer_str(out, "</SegmentTimeline>\n");
}

static void write_frame_rate(struct writer *out, uint32_t frames_per_1000s)
{
    uint32_t fps = (frames_per_1000s + 500) / 1000;
    uint32_t ntsc = (fps * 1000000 + 500) / 1001; /* 30000/1001 and its kin */

    if (frames_per_1000s == 0)
        return;
    if (frames_per_1000s == fps * 1000)
        writer_printf(out, " frameRate=\"%u\"", fps);
    else if (frames_per_1000s == ntsc)
        writer_printf(out, " frameRate=\"%u/1001\"", fps * 1000);
    else
        writer_printf(out, " frameRate=\"%u/1000\"", frames_per_1000s);
}

static void write_representation(struct writer *out, const struct window_track *t,
                                 const struct segment_format *format)
{
    uint64_t bandwidth = t->peak_bits_per_second;

    if (bandwidth == 0) {
        const struct segment *s = window_segment(t, t->count - 1);
        int64_t us = segment_duration_us(s);
        bandwidth = us > 0 ? s->size * 8 * 1000000 / (uint64_t)us + 1 : 1;
    }
    writer_printf(out, "<Representation id=\"%s\" bandwidth=\"%llu\" codecs=\"%s\"", t->name,
                  (unsigned long long)bandwidth, format->codec_string);
    if (t->kind == MEDIA_VIDEO) {
        writer_printf(out, " width=\"%u\" height=\"%u\"", format->width, format->height);
        write_frame_rate(out, t->frames_per_1000s);
        writer_str(out, "/>\n");
        return;
    }
    writer_printf(out, " audioSamplingRate=\"%u\">\n", format->sample_rate_hz);
    writer_printf(out,
                  "<AudioChannelConfiguration "
                  "schemeIdUri=\"urn:mpeg:dash:23003:3:audio_channel_configuration:2011\" "
                  "value=\"%u\"/>\n</Representation>\n",
                  format->channel_count);
}

/* Where the wall clock was at a moment of the media: the same line that the prft boxes give. */
static void write_reference(struct writer *out, const struct segment *s, uint32_t id)
{
    char text[UTC_TEXT_MAX];

    writer_printf(out,
                  "<ProducerReferenceTime id=\"%u\" inband=\"true\" type=\"encoder\" "
                  "wallClockTime=\"%s\" presentationTime=\"%lld\">\n",
                  id, utc_format(s->wall_us, text), (long long)s->pts);
    writer_str(out, "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" "
                    "value=\"/time\"/>\n</ProducerReferenceTime>\n");
}

/* A segment can be had from its first part on, so one part after its start. */
static void write_availability(struct writer *out, const struct window_track *t, uint32_t last,
                               const struct manifest_options *options)
{
    int64_t part_us = (int64_t)options->part_us;
    int64_t early_us = window_to_us((int64_t)segment_duration(t, last, options),
                                    window_segment(t, last)->timescale) -
                       part_us;

    if (early_us <= 0) /* the last one was cut short: what is to come will not be */
        early_us = (int64_t)options->segment_us - part_us;
    if (early_us > 0)
        writer_printf(out, " availabilityTimeOffset=\"%.3f\" availabilityTimeComplete=\"false\"",
                      (double)early_us / 1e6);
}

static void write_set(struct writer *out, const struct window *w, uint32_t p, size_t track,
                      const struct manifest_options *options)
{
    const struct window_track *t = &w->tracks[track];
    const char *kind = t->kind == MEDIA_VIDEO ? "video" : "audio";
    uint32_t first;
    uint32_t end;

    period_range(w, t, p, &first, &end);
    if (first == end)
        return;
    const struct segment *with_init = NULL;
    for (uint32_t i = first; i < end && with_init == NULL; i++)
        with_init = window_segment(t, i)->init != NULL ? window_segment(t, i) : NULL;
    if (with_init == NULL)
        return; /* nothing but gaps */
    uint32_t timescale = with_init->timescale;

    writer_printf(out,
                  "<AdaptationSet id=\"%zu\" contentType=\"%s\" mimeType=\"%s/mp4\" "
                  "segmentAlignment=\"true\"%s>\n",
                  track + 1, kind, kind, w->has_dependent_segment ? "" : " startWithSAP=\"1\"");
    writer_str(out, "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"main\"/>\n");
    if (!options->is_ended)
        write_reference(out, window_segment(t, first), (uint32_t)track);
    writer_printf(out, "<SegmentTemplate timescale=\"%u\" presentationTimeOffset=\"%lld\"",
                  timescale, (long long)window_from_us(w->periods[p].media_us, timescale));
    writer_printf(out,
                  " initialization=\"%s-init-%u.mp4\" media=\"%s-$Number$.m4s\" "
                  "startNumber=\"%llu\"",
                  t->name, with_init->init_id, t->name,
                  (unsigned long long)window_segment(t, first)->msn);
    if (!options->is_ended)
        write_availability(out, t, end - 1, options);
    writer_str(out, ">\n");
    write_timeline(out, t, first, end, options);
    writer_str(out, "</SegmentTemplate>\n");
    write_representation(out, t, &with_init->format);
    writer_str(out, "</AdaptationSet>\n");
}

static int64_t period_start_us(const struct window *w, uint32_t p)
{
    return w->periods[p].wall_us - w->start_wall_us;
}

/* Where the media of all tracks in period 'p' ends, counted from the start of the presentation. */
static int64_t period_end_us(const struct window *w, uint32_t p)
{
    const struct window_period *period = &w->periods[p];
    int64_t end_us = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        uint32_t first;
        uint32_t end;
        period_range(w, t, p, &first, &end);
        if (first == end)
            continue;
        const struct segment *s = window_segment(t, end - 1);
        int64_t us = window_to_us(s->pts + (int64_t)s->duration, s->timescale) - period->media_us +
                     period_start_us(w, p);
        if (us > end_us)
            end_us = us;
    }
    return end_us;
}

/* A period behind a gap is told when it is as old as players are late. A player that missed more
 * than its latency seeks to where it should be, and that must not be in the gap: dash.js 5.2 never
 * comes out of there. */
static bool is_too_early(const struct window *w, uint32_t p, const struct manifest_options *options,
                         int64_t now_wall_us)
{
    int64_t part_us = (int64_t)options->part_us;

    return p > 0 && !options->is_ended &&
           period_start_us(w, p) - period_end_us(w, p - 1) > part_us &&
           now_wall_us - w->periods[p].wall_us < part_us * (LATENCY_PARTS + 1);
}

static void write_head(struct writer *out, const struct window *w,
                       const struct manifest_options *options, int64_t now_wall_us)
{
    int64_t part_us = (int64_t)options->part_us;
    int64_t update_us = part_us * UPDATE_PARTS;
    int64_t latency_us = part_us * LATENCY_PARTS;
    int64_t depth_us = (int64_t)options->segment_us * w->limits.listed;
    char text[UTC_TEXT_MAX];

    writer_str(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                    "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" "
                    "profiles=\"urn:mpeg:dash:profile:isoff-live:2011,"
                    "http://www.dashif.org/guidelines/low-latency-live-v5\"");
    write_duration(out, "minBufferTime", part_us * 2);
    /* TARGETDURATION is rounded down from up to half a second more. */
    write_duration(out, "maxSegmentDuration",
                   (int64_t)options->target_duration_s * 1000000 + 500000);
    if (options->is_ended) {
        writer_str(out, " type=\"static\"");
        write_duration(out, "mediaPresentationDuration", period_end_us(w, w->period_count - 1));
        writer_str(out, ">\n");
        return;
    }
    writer_printf(out, " type=\"dynamic\" availabilityStartTime=\"%s\"",
                  utc_format(w->start_wall_us, text));
    writer_printf(out, " publishTime=\"%s\"", utc_format(now_wall_us, text));
    write_duration(out, "minimumUpdatePeriod",
                   update_us < UPDATE_US_MIN ? UPDATE_US_MIN : update_us);
    write_duration(out, "timeShiftBufferDepth", depth_us);
    /* For players that take whole segments, as HLS's HOLD-BACK; low-latency ones go by Latency. */
    write_duration(out, "suggestedPresentationDelay",
                   (int64_t)options->segment_us * DELAY_SEGMENTS);
    writer_printf(out,
                  ">\n<ServiceDescription id=\"0\">\n"
                  "<Latency target=\"%lld\" min=\"%lld\" max=\"%lld\" referenceId=\"0\"/>\n"
                  "<PlaybackRate min=\"0.96\" max=\"1.04\"/>\n</ServiceDescription>\n",
                  (long long)(latency_us / 1000), (long long)(latency_us / 2000),
                  (long long)(latency_us / 500));
}

bool dash_holds_back(const struct window *w, const struct manifest_options *options,
                     int64_t now_wall_us)
{
    return w->period_count > 0 && is_too_early(w, w->period_count - 1, options, now_wall_us);
}

void dash_render(struct writer *out, const struct window *w, const struct manifest_options *options,
                 int64_t now_wall_us)
{
    CHECK(w->period_count > 0 && w->start_wall_us != 0);
    write_head(out, w, options, now_wall_us);
    bool has_period = false;
    for (uint32_t p = 0; p < w->period_count; p++) {
        uint32_t listed = 0;
        for (size_t i = 0; i < TRACKS_MAX; i++) {
            uint32_t first;
            uint32_t end;
            period_range(w, &w->tracks[i], p, &first, &end);
            listed += end - first;
        }
        if (listed == 0 || (has_period && is_too_early(w, p, options, now_wall_us)))
            continue;
        has_period = true;
        writer_printf(out, "<Period id=\"%llu\"", (unsigned long long)w->periods[p].number);
        write_duration(out, "start", period_start_us(w, p));
        if (options->is_ended && p + 1 == w->period_count)
            write_duration(out, "duration", period_end_us(w, p) - period_start_us(w, p));
        writer_str(out, ">\n");
        for (size_t i = 0; i < TRACKS_MAX; i++)
            if (w->tracks[i].count > 0)
                write_set(out, w, p, i, options);
        writer_str(out, "</Period>\n");
    }
    if (!options->is_ended)
        writer_str(out, "<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" "
                        "value=\"/time\"/>\n");
    writer_str(out, "</MPD>\n");
}
