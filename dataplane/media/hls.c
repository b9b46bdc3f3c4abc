#include "dataplane/media/hls.h"

#include "common/check.h"
#include "dataplane/media/utc.h"

enum {
    VERSION = 9,                /* bis 8: EXT-X-SKIP */
    HOLD_BACK_TARGETS = 3,      /* bis 4.4.3.8: at least three target durations */
    PART_HOLD_BACK_TARGETS = 3, /* bis 4.4.3.8: should be three part targets */
    SKIP_TARGETS = 6,           /* bis 4.4.3.8: at least six target durations */
    PART_LISTED_TARGETS = 3,    /* bis 6.2.2: parts are removed after three target durations */
    HEAD_BYTES_MAX = 1024,
    SEGMENT_BYTES_MAX = 384,
    PART_LINE_BYTES_MAX = 160,
    REPORT_BYTES_MAX = 160,
    RENDITION_BYTES_MAX = 1024,
};

static double seconds_of(uint64_t duration, uint32_t timescale)
{
    return (double)duration / (double)timescale;
}

/* --- media playlist --- */

/* Duration of the segments from 'from' to the end, in us. */
static uint64_t duration_from_us(const struct window_track *t, uint32_t from)
{
    uint64_t us = 0;

    for (uint32_t i = from; i < t->count; i++)
        us += (uint64_t)segment_duration_us(window_segment(t, i));
    return us;
}

/* The first segment whose parts are listed: one that ends within three target durations of the end
 * of the playlist (bis 6.2.2), and one of the last three, of which the hinted one counts as one:
 * so strict parsers read it. */
static uint32_t parts_listed_from(const struct window *w, const struct window_track *t,
                                  const struct manifest_options *options)
{
    uint64_t limit_us = (uint64_t)options->target_duration_s * PART_LISTED_TARGETS * 1000000;
    uint32_t first = window_listed_from(w, t);
    bool next_is_hinted = options->is_live && window_segment(t, t->count - 1)->is_complete;
    uint32_t end = t->count + (next_is_hinted ? 1 : 0);
    uint64_t after_us = 0;

    for (uint32_t i = t->count; i-- > first;) {
        if (after_us >= limit_us || end - i > PART_LISTED_TARGETS)
            return i + 1;
        after_us += (uint64_t)segment_duration_us(window_segment(t, i));
    }
    return first;
}

/* bis 4.4.5.2 and 6.2.5.1: only segments beyond the skip boundary, six target durations from the
 * end, and a delta that skips nothing is none. */
uint32_t hls_skippable_count(const struct window *w, const struct window_track *t,
                             const struct manifest_options *options)
{
    uint64_t boundary_us = (uint64_t)options->target_duration_s * SKIP_TARGETS * 1000000;
    uint32_t first = window_listed_from(w, t);
    uint64_t after_us = duration_from_us(t, first);
    uint32_t count = 0;

    for (uint32_t i = first; i < t->count; i++) {
        if (after_us <= boundary_us)
            break;
        after_us -= (uint64_t)segment_duration_us(window_segment(t, i));
        if (after_us < boundary_us)
            break;
        count++;
    }
    return count;
}

uint32_t hls_media_bytes_max(const struct window *w, const struct window_track *t)
{
    uint32_t first = window_listed_from(w, t);
    uint32_t bytes = HEAD_BYTES_MAX + TRACKS_MAX * REPORT_BYTES_MAX;

    for (uint32_t i = first; i < t->count; i++)
        bytes += SEGMENT_BYTES_MAX + window_segment(t, i)->part_count * PART_LINE_BYTES_MAX;
    return bytes;
}

/* bis 4.4.3.3: the number of the first segment's stretch, not counting a discontinuity tag that
 * is still listed before it. */
static uint64_t discontinuity_sequence(const struct window *w, const struct segment *first)
{
    const struct window_period *period = window_period_of(w, first->msn);
    bool tag_is_listed = period->first_msn == first->msn && period->number != w->base_number;

    return period->number - (tag_is_listed ? 1 : 0);
}

static void write_head(struct writer *out, const struct window *w, const struct window_track *t,
                       const struct manifest_options *options)
{
    uint32_t target_s = options->target_duration_s;
    const struct segment *first = window_segment(t, window_listed_from(w, t));

    writer_printf(out, "#EXTM3U\n#EXT-X-VERSION:%d\n", VERSION);
    writer_printf(out, "#EXT-X-TARGETDURATION:%u\n", target_s);
    writer_printf(out,
                  "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=%.5f,"
                  "HOLD-BACK=%u,CAN-SKIP-UNTIL=%u\n",
                  (double)(options->part_us * PART_HOLD_BACK_TARGETS) / 1e6,
                  target_s * HOLD_BACK_TARGETS, target_s * SKIP_TARGETS);
    writer_printf(out, "#EXT-X-PART-INF:PART-TARGET=%.5f\n", (double)options->part_target_us / 1e6);
    if (!w->has_dependent_segment)
        writer_str(out, "#EXT-X-INDEPENDENT-SEGMENTS\n");
    writer_printf(out, "#EXT-X-MEDIA-SEQUENCE:%llu\n", (unsigned long long)first->msn);
    writer_printf(out, "#EXT-X-DISCONTINUITY-SEQUENCE:%llu\n",
                  (unsigned long long)discontinuity_sequence(w, first));
}

static void write_parts(struct writer *out, const struct window_track *t, const struct segment *s)
{
    for (uint32_t i = 0; i < s->part_count; i++) {
        const struct part_entry *part = &s->parts[i];
        writer_printf(out, "#EXT-X-PART:DURATION=%.5f,URI=\"%s-%llu.%u.m4s\"%s%s\n",
                      seconds_of(part->duration, s->timescale), t->name, (unsigned long long)s->msn,
                      i, part->is_independent ? ",INDEPENDENT=YES" : "",
                      part->object == NULL ? ",GAP=YES" : "");
    }
}

static void write_segment(struct writer *out, const struct window *w, const struct window_track *t,
                          uint32_t index, uint32_t listed_init_id, bool with_parts)
{
    const struct segment *s = window_segment(t, index);
    const struct window_period *period = window_period_of(w, s->msn);
    char text[UTC_TEXT_MAX];

    if (period->first_msn == s->msn && period->number != w->base_number)
        writer_str(out, "#EXT-X-DISCONTINUITY\n");
    if (s->init != NULL && s->init_id != listed_init_id)
        writer_printf(out, "#EXT-X-MAP:URI=\"%s-init-%u.mp4\"\n", t->name, s->init_id);
    writer_printf(out, "#EXT-X-PROGRAM-DATE-TIME:%s\n", utc_format(s->wall_us, text));
    if (with_parts)
        write_parts(out, t, s);
    if (!s->is_complete)
        return;
    if (!s->has_media)
        writer_str(out, "#EXT-X-GAP\n");
    writer_printf(out, "#EXTINF:%.5f,\n%s-%llu.m4s\n", seconds_of(s->duration, s->timescale),
                  t->name, (unsigned long long)s->msn);
}

/* bis 4.4.5.4: where the other renditions are, so that a player that switches need not ask. */
static void write_reports(struct writer *out, const struct window *w, const struct window_track *t)
{
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *other = &w->tracks[i];
        if (other == t || other->count == 0)
            continue;
        const struct segment *last = window_segment(other, other->count - 1);
        uint64_t msn = last->msn;
        uint32_t part_count = last->part_count;
        if (part_count == 0 && other->count >= 2) {
            last = window_segment(other, other->count - 2);
            msn = last->msn;
            part_count = last->part_count;
        }
        writer_printf(out, "#EXT-X-RENDITION-REPORT:URI=\"%s.m3u8\",LAST-MSN=%llu", other->name,
                      (unsigned long long)msn);
        if (part_count > 0)
            writer_printf(out, ",LAST-PART=%u", part_count - 1);
        writer_str(out, "\n");
    }
}

static void write_preload_hint(struct writer *out, const struct window_track *t)
{
    const struct segment *last = window_segment(t, t->count - 1);
    uint64_t msn = last->is_complete ? last->msn + 1 : last->msn;
    uint32_t part = last->is_complete ? 0 : last->part_count;

    writer_printf(out, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%s-%llu.%u.m4s\"\n", t->name,
                  (unsigned long long)msn, part);
}

void hls_render_media(struct writer *out, const struct window *w, const struct window_track *t,
                      const struct manifest_options *options, bool is_delta)
{
    CHECK(t->count > 0);
    uint32_t first = window_listed_from(w, t);
    uint32_t with_parts_from = parts_listed_from(w, t, options);
    uint32_t skipped = is_delta ? hls_skippable_count(w, t, options) : 0;
    uint32_t init_id = 0;

    write_head(out, w, t, options);
    if (skipped > 0)
        writer_printf(out, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%u\n", skipped);
    for (uint32_t i = first; i < t->count; i++) {
        const struct segment *s = window_segment(t, i);
        if (i >= first + skipped && (s->is_complete || s->part_count > 0))
            write_segment(out, w, t, i, init_id, i >= with_parts_from);
        if (s->init != NULL)
            init_id = s->init_id;
    }
    if (options->is_live)
        write_preload_hint(out, t);
    if (options->is_ended)
        writer_str(out, "#EXT-X-ENDLIST\n");
    else
        write_reports(out, w, t);
}

/* --- multivariant playlist --- */

uint32_t hls_multivariant_bytes_max(const struct window *w)
{
    (void)w;
    return HEAD_BYTES_MAX + TRACKS_MAX * RENDITION_BYTES_MAX;
}

static uint64_t track_average(const struct window_track *t)
{
    return t->complete_us == 0 ? 0 : t->complete_bytes * 8 * 1000000 / t->complete_us;
}

/* Before a segment is complete there is nothing to measure but the one that grows. */
static uint64_t track_peak(const struct window_track *t)
{
    if (t->peak_bits_per_second > 0)
        return t->peak_bits_per_second;
    const struct segment *s = window_segment(t, t->count - 1);
    uint64_t us = (uint64_t)segment_duration_us(s);
    return us == 0 ? 1 : s->size * 8 * 1000000 / us + 1;
}

static bool track_is_shown(const struct window_track *t, enum media_kind kind)
{
    return t->kind == kind && t->count > 0;
}

struct audio_group {
    uint64_t peak;
    uint64_t average;
    char codecs[TRACKS_MAX * CODEC_STRING_MAX];
    bool is_present;
};

static void write_audio_group(struct writer *out, const struct window *w, struct audio_group *group)
{
    struct writer codecs = writer_of(group->codecs, sizeof(group->codecs) - 1);

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (!track_is_shown(t, MEDIA_AUDIO))
            continue;
        writer_printf(out, "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"%s\",", t->name);
        writer_printf(out, "DEFAULT=%s,AUTOSELECT=YES,CHANNELS=\"%u\",URI=\"%s.m3u8\"\n",
                      group->is_present ? "NO" : "YES", t->info.channel_count, t->name);
        if (track_peak(t) > group->peak)
            group->peak = track_peak(t);
        if (track_average(t) > group->average)
            group->average = track_average(t);
        /* Each codec once: two tracks of one kind say nothing more. */
        if (strstr(group->codecs, t->info.codec_string) == NULL)
            writer_printf(&codecs, "%s%s", group->is_present ? "," : "", t->info.codec_string);
        group->is_present = true;
    }
}

static void write_variant(struct writer *out, const struct window_track *t,
                          const struct audio_group *group)
{
    writer_printf(out, "#EXT-X-STREAM-INF:BANDWIDTH=%llu",
                  (unsigned long long)(track_peak(t) + group->peak));
    if (track_average(t) > 0)
        writer_printf(out, ",AVERAGE-BANDWIDTH=%llu",
                      (unsigned long long)(track_average(t) + group->average));
    writer_printf(out, ",CODECS=\"%s%s%s\"", t->info.codec_string, group->is_present ? "," : "",
                  group->codecs);
    if (t->info.width > 0 && t->info.height > 0 && t->kind == MEDIA_VIDEO)
        writer_printf(out, ",RESOLUTION=%ux%u", t->info.width, t->info.height);
    if (t->frames_per_1000s > 0)
        writer_printf(out, ",FRAME-RATE=%.3f", (double)t->frames_per_1000s / 1000);
    if (group->is_present)
        writer_str(out, ",AUDIO=\"audio\"");
    writer_printf(out, "\n%s.m3u8\n", t->name);
}

void hls_render_multivariant(struct writer *out, const struct window *w)
{
    struct audio_group group = {0};
    bool has_video = false;

    for (size_t i = 0; i < TRACKS_MAX; i++)
        has_video = has_video || track_is_shown(&w->tracks[i], MEDIA_VIDEO);
    writer_printf(out, "#EXTM3U\n#EXT-X-VERSION:%d\n", VERSION);
    if (!w->has_dependent_segment)
        writer_str(out, "#EXT-X-INDEPENDENT-SEGMENTS\n");
    if (has_video)
        write_audio_group(out, w, &group);
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (track_is_shown(t, has_video ? MEDIA_VIDEO : MEDIA_AUDIO))
            write_variant(out, t, &group);
    }
}
