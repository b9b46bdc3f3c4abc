#include "dataplane/rtmp/rtmp_media.h"

#include <errno.h>

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/media/aac.h"
#include "dataplane/media/codec_config.h"
#include "dataplane/media/nal.h"
#include "dataplane/rtmp/flv.h"

void rtmp_media_init(struct rtmp_media *m, const struct media_sink *sink, void *user,
                     struct counters *counters, uint8_t *scratch, size_t scratch_size)
{
    m->sink = sink;
    m->user = user;
    m->counters = counters;
    m->scratch = scratch;
    m->scratch_size = scratch_size;
    rtmp_media_reset(m);
}

static void track_forget(struct rtmp_track *t)
{
    t->is_used = false;
    t->is_accepted = false;
    t->is_announced = false;
    t->received_size = 0;
    t->info.codec = CODEC_NONE;
}

void rtmp_media_reset(struct rtmp_media *m)
{
    m->has_clock = false;
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (m->tracks[i].is_used) /* else untouched: its memory may not exist yet */
            track_forget(&m->tracks[i]);
}

/* Timestamps wrap every 49.7 days; each is taken for the one nearest to the last, so that small
 * steps back stay small. Audio and video share the clock. */
static int64_t unwrap(struct rtmp_media *m, uint32_t timestamp_ms)
{
    if (!m->has_clock) {
        m->has_clock = true;
        m->clock_ms = timestamp_ms;
    } else {
        m->clock_ms += (int32_t)(timestamp_ms - m->last_ms);
    }
    m->last_ms = timestamp_ms;
    return m->clock_ms;
}

/* The place of a publisher's track among ours: the same in every publish, whichever comes first,
 * so that a returning publisher's tracks meet those that it left. Out of range: no place. */
static unsigned track_index(const struct flv_packet *p)
{
    return 2u * p->track_id + (p->media == MEDIA_AUDIO ? 1 : 0);
}

static void announce(struct rtmp_media *m, unsigned index, uint64_t now_us)
{
    struct rtmp_track *t = &m->tracks[index];

    t->is_announced = true;
    t->is_accepted = m->sink->track(m->user, (uint8_t)index, &t->info, now_us) == 0;
    if (!t->is_accepted)
        counter_inc(&m->counters->rtmp_track_refused);
}

static void push_config(struct rtmp_media *m, unsigned index, const struct flv_packet *p,
                        uint64_t now_us)
{
    struct rtmp_track *t = &m->tracks[index];

    /* Many encoders repeat the configuration at every keyframe. */
    if (p->codec == t->info.codec && bytes_equal(p->data, bytes_of(t->received, t->received_size)))
        return;
    track_forget(t);
    t->is_used = true;
    if (codec_config_parse(p->codec, p->data, &t->info) != 0) {
        counter_inc(&m->counters->rtmp_config_bad);
        return;
    }
    CHECK(p->data.size <= sizeof(t->received));
    memcpy(t->received, p->data.ptr, p->data.size);
    t->received_size = (uint32_t)p->data.size;
    t->length_size = codec_config_length_size(p->codec, p->data);
    if (codec_config_is_complete(&t->info))
        announce(m, index, now_us);
}

/* The three below put a packet's payload into the form that access_unit wants and set
 * au->data and au->is_keyframe. False: there is no unit to hand on; counted. */

static bool shape_nal(struct rtmp_media *m, const struct rtmp_track *t, struct access_unit *au)
{
    struct nal_summary s = nal_inspect(t->info.codec, au->data, t->length_size);

    if (s.form == NAL_BROKEN) {
        counter_inc(&m->counters->rtmp_unit_bad);
        return false;
    }
    if (!s.has_picture) {
        counter_inc(&m->counters->rtmp_unit_empty);
        return false;
    }
    if (s.form == NAL_ANNEX_B)
        counter_inc(&m->counters->rtmp_annex_b);
    if (s.form == NAL_ANNEX_B || t->length_size != 4 || s.has_empty) {
        struct writer w = writer_of(m->scratch, m->scratch_size);

        if (nal_rewrite(au->data, s.form, t->length_size, &w) != 0) {
            counter_inc(&m->counters->rtmp_unit_too_large);
            return false;
        }
        au->data = writer_bytes(&w);
    }
    if (s.has_random_access != au->is_keyframe)
        counter_inc(&m->counters->rtmp_keyframe_mislabelled);
    au->is_keyframe = s.has_random_access;
    return true;
}

static bool shape_other_video(struct rtmp_media *m, unsigned index, struct access_unit *au,
                              uint64_t now_us)
{
    struct rtmp_track *t = &m->tracks[index];

    if (t->info.codec == CODEC_AV1) {
        au->data = av1_skip_delimiters(au->data);
    } else {
        bool is_keyframe = vp9_is_keyframe(au->data);

        if (is_keyframe != au->is_keyframe)
            counter_inc(&m->counters->rtmp_keyframe_mislabelled);
        au->is_keyframe = is_keyframe;
    }
    if (au->data.size == 0) {
        counter_inc(&m->counters->rtmp_unit_empty);
        return false;
    }
    if (au->is_keyframe && codec_config_complete(&t->info, au->data) == 1)
        t->is_announced = false;
    if (!t->is_announced && codec_config_is_complete(&t->info))
        announce(m, index, now_us);
    return true;
}

static bool shape_audio(struct rtmp_media *m, const struct rtmp_track *t, struct access_unit *au)
{
    struct adts_header adts;

    au->is_keyframe = true;
    if (t->info.codec == CODEC_AAC && adts_parse(au->data, &adts) == 0 &&
        adts.frame_size == au->data.size) {
        counter_inc(&m->counters->rtmp_adts);
        au->data = bytes_from(au->data, adts.header_size);
    }
    if (au->data.size == 0) {
        counter_inc(&m->counters->rtmp_unit_empty);
        return false;
    }
    return true;
}

static void push_frame(struct rtmp_media *m, unsigned index, const struct flv_packet *p,
                       int64_t clock_us, uint64_t now_us)
{
    struct rtmp_track *t = &m->tracks[index];
    int64_t dts_us = clock_us + p->offset_ns / 1000;
    struct access_unit au = {
        .track = (uint8_t)index,
        .is_keyframe = p->is_keyframe,
        .dts_us = dts_us,
        .pts_us = dts_us + (int64_t)p->composition_ms * 1000,
        .data = p->data,
    };

    /* MP3 has no configuration: its first frame tells. */
    if (p->codec == CODEC_MP3 && t->info.codec != CODEC_MP3 &&
        codec_config_parse_mp3(p->data, &t->info) == 0) {
        t->is_used = true;
        t->received_size = 0;
        announce(m, index, now_us);
    }
    if (t->info.codec != p->codec) {
        counter_inc(&m->counters->rtmp_unit_early);
        return;
    }
    bool is_good;
    if (p->media == MEDIA_AUDIO)
        is_good = shape_audio(m, t, &au);
    else if (p->codec == CODEC_H264 || p->codec == CODEC_HEVC)
        is_good = shape_nal(m, t, &au);
    else
        is_good = shape_other_video(m, index, &au, now_us);
    if (!is_good)
        return;
    if (!t->is_accepted) {
        if (!t->is_announced)
            counter_inc(&m->counters->rtmp_unit_early);
        return;
    }
    counter_inc(p->media == MEDIA_VIDEO ? &m->counters->rtmp_video_units
                                        : &m->counters->rtmp_audio_units);
    if (m->sink->unit(m->user, &au, now_us) != 0)
        counter_inc(&m->counters->rtmp_unit_refused);
}

static void push_packet(struct rtmp_media *m, const struct flv_packet *p, int64_t clock_us,
                        uint64_t now_us)
{
    unsigned index = track_index(p);

    if (p->kind != FLV_CONFIG && p->kind != FLV_FRAME)
        return;
    if (index >= TRACKS_MAX) {
        if (p->kind == FLV_CONFIG)
            counter_inc(&m->counters->rtmp_track_refused);
        return;
    }
    if (p->kind == FLV_CONFIG)
        push_config(m, index, p, now_us);
    else
        push_frame(m, index, p, clock_us, now_us);
}

void rtmp_media_push(struct rtmp_media *m, enum media_kind kind, uint32_t timestamp_ms,
                     struct bytes body, uint64_t now_us)
{
    struct flv_reader r;
    struct flv_packet p;
    int64_t clock_us = unwrap(m, timestamp_ms) * 1000;

    flv_reader_init(&r, kind, body);
    for (;;) {
        int result = flv_reader_next(&r, &p);

        if (result == 0)
            return;
        if (result == 1)
            push_packet(m, &p, clock_us, now_us);
        else if (result == -ENOTSUP)
            counter_inc(&m->counters->rtmp_codec_unsupported);
        else
            counter_inc(&m->counters->rtmp_unit_bad);
        if (result == -EBADMSG)
            return;
    }
}
