#include "dataplane/media/cmaf.h"

#include "common/check.h"

#include <errno.h>

enum {
    TRACK_ID = 1,
    BOX_HEAD_BYTES = 8,
    FULL_BOX_HEAD_BYTES = 12,
    /* Sample flags, 14496-12 8.8.3.1: sample_depends_on, sample_is_non_sync_sample. */
    SAMPLE_FLAGS_SYNC = 2 << 24,
    SAMPLE_FLAGS_DEPENDENT = 1 << 24 | 1 << 16,
    /* tf_flags and tr_flags, 8.8.7.1 and 8.8.8.1. */
    TFHD_DEFAULT_DURATION = 0x8,
    TFHD_DEFAULT_FLAGS = 0x20,
    TFHD_BASE_IS_MOOF = 0x20000,
    TRUN_DATA_OFFSET = 0x1,
    TRUN_FIRST_FLAGS = 0x4,
    TRUN_DURATION = 0x100,
    TRUN_SIZE = 0x200,
    TRUN_FLAGS = 0x400,
    TRUN_CTS = 0x800,
    PRFT_ARBITRARY = 8,
    MPEG4_ES = 3,
    MPEG4_DECODER_CONFIG = 4,
    MPEG4_DECODER_SPECIFIC = 5,
    MPEG4_SL_CONFIG = 6,
    OPUS_HEAD_BYTES = 19
};

/* Seconds from 1900 (NTP) to 1970 (Unix). */
static const int64_t NTP_UNIX_OFFSET_S = 2208988800;

/* --- boxes --- */

/* Starts a box; returns where its size is to be patched by box_end(). */
static size_t box_begin(struct writer *w, const char type[static 4])
{
    size_t at = w->size;

    writer_be32(w, 0);
    writer_put(w, bytes_of(type, 4));
    return at;
}

static size_t full_box_begin(struct writer *w, const char type[static 4], uint8_t version,
                             uint32_t flags)
{
    size_t at = box_begin(w, type);

    writer_u8(w, version);
    writer_be24(w, flags);
    return at;
}

static void box_end(struct writer *w, size_t at)
{
    writer_patch_be32(w, at, (uint32_t)(w->size - at));
}

static void put_zeros(struct writer *w, size_t count)
{
    uint8_t *at = writer_reserve(w, count);

    if (at != NULL)
        memset(at, 0, count);
}

/* The unity matrix of mvhd and tkhd, 16.16 and 2.30 fixed point. */
static void put_matrix(struct writer *w)
{
    static const uint32_t matrix[9] = {0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000};

    for (size_t i = 0; i < ARRAY_COUNT(matrix); i++)
        writer_be32(w, matrix[i]);
}

/* --- sample entries --- */

/* An MPEG-4 descriptor's tag and size, in the four-byte form of 14496-1 8.3.3. */
static void put_descriptor(struct writer *w, uint8_t tag, uint32_t size)
{
    writer_u8(w, tag);
    for (int shift = 21; shift > 0; shift -= 7)
        writer_u8(w, (uint8_t)(0x80 | (size >> shift & 0x7f)));
    writer_u8(w, size & 0x7f);
}

static void put_esds(struct writer *w, struct bytes config)
{
    enum { DESCRIPTOR_HEAD = 5, DECODER_CONFIG_FIXED = 13, ES_FIXED = 3, SL_SIZE = 1 };
    uint32_t specific_size = (uint32_t)config.size;
    uint32_t decoder_size = DECODER_CONFIG_FIXED + DESCRIPTOR_HEAD + specific_size;
    uint32_t es_size = ES_FIXED + DESCRIPTOR_HEAD + decoder_size + DESCRIPTOR_HEAD + SL_SIZE;
    size_t at = full_box_begin(w, "esds", 0, 0);

    put_descriptor(w, MPEG4_ES, es_size);
    writer_be16(w, 0); /* ES_ID: 0 in a file */
    writer_u8(w, 0);
    put_descriptor(w, MPEG4_DECODER_CONFIG, decoder_size);
    writer_u8(w, 0x40);       /* objectTypeIndication: ISO/IEC 14496-3 */
    writer_u8(w, 5 << 2 | 1); /* streamType audio, reserved bit */
    writer_be24(w, 0);        /* bufferSizeDB, maxBitrate, avgBitrate: unknown */
    writer_be32(w, 0);
    writer_be32(w, 0);
    put_descriptor(w, MPEG4_DECODER_SPECIFIC, specific_size);
    writer_put(w, config);
    put_descriptor(w, MPEG4_SL_CONFIG, SL_SIZE);
    writer_u8(w, 2); /* predefined: MP4 */
    box_end(w, at);
}

/* dOps holds what OpusHead does (RFC 7845 5.1), big-endian and without the magic. */
static void put_dops(struct writer *w, struct bytes opus_head)
{
    const uint8_t *h = opus_head.ptr;
    size_t at = box_begin(w, "dOps");

    writer_u8(w, 0);    /* Version */
    writer_u8(w, h[9]); /* OutputChannelCount */
    for (size_t i = 10; i < 18; i += i == 12 ? 4 : 2) {
        /* PreSkip, InputSampleRate, OutputGain */
        size_t size = i == 12 ? 4 : 2;
        for (size_t j = size; j > 0; j--)
            writer_u8(w, h[i + j - 1]);
    }
    writer_u8(w, h[18]); /* ChannelMappingFamily, then its table when it is not 0 */
    writer_put(w, bytes_from(opus_head, OPUS_HEAD_BYTES));
    box_end(w, at);
}

static void put_config_box(struct writer *w, const char type[static 4], struct bytes config)
{
    size_t at = box_begin(w, type);

    writer_put(w, config);
    box_end(w, at);
}

static void put_video_entry(struct writer *w, const struct track_info *info, const char *entry,
                            const char *config_box)
{
    size_t at = box_begin(w, entry);

    put_zeros(w, 6);
    writer_be16(w, 1); /* data_reference_index */
    put_zeros(w, 16);
    writer_be16(w, (uint16_t)info->width);
    writer_be16(w, (uint16_t)info->height);
    writer_be32(w, 72 << 16); /* resolution, both ways */
    writer_be32(w, 72 << 16);
    writer_be32(w, 0);
    writer_be16(w, 1); /* frame_count */
    put_zeros(w, 32);  /* compressorname */
    writer_be16(w, 0x18);
    writer_be16(w, 0xffff);
    put_config_box(w, config_box, bytes_of(info->config, info->config_size));
    box_end(w, at);
}

static void put_audio_entry(struct writer *w, const struct track_info *info)
{
    struct bytes config = bytes_of(info->config, info->config_size);
    size_t at = box_begin(w, info->codec == CODEC_OPUS ? "Opus" : "mp4a");

    put_zeros(w, 6);
    writer_be16(w, 1); /* data_reference_index */
    put_zeros(w, 8);
    writer_be16(w, (uint16_t)info->channel_count);
    writer_be16(w, 16); /* samplesize */
    writer_be32(w, 0);
    /* 16.16; a rate that does not fit is left to the decoder's configuration. */
    writer_be32(w, info->sample_rate_hz > UINT16_MAX ? 0 : info->sample_rate_hz << 16);
    if (info->codec == CODEC_OPUS)
        put_dops(w, config);
    else
        put_esds(w, config);
    box_end(w, at);
}

static void put_sample_entry(struct writer *w, const struct track_info *info)
{
    switch (info->codec) {
    case CODEC_H264:
        put_video_entry(w, info, "avc1", "avcC");
        break;
    case CODEC_HEVC:
        put_video_entry(w, info, "hvc1", "hvcC");
        break;
    case CODEC_AV1:
        put_video_entry(w, info, "av01", "av1C");
        break;
    case CODEC_VP9:
        put_video_entry(w, info, "vp09", "vpcC");
        break;
    case CODEC_AAC:
    case CODEC_OPUS:
        put_audio_entry(w, info);
        break;
    case CODEC_NONE:
    case CODEC_MP3:
        CHECK(false); /* refused by cmaf_init_write() */
    }
}

/* --- init segment --- */

static void put_ftyp(struct writer *w)
{
    size_t at = box_begin(w, "ftyp");

    writer_str(w, "iso6");
    writer_be32(w, 0);
    writer_str(w, "iso6cmfcmp41");
    box_end(w, at);
}

static void put_mvhd(struct writer *w, uint32_t timescale)
{
    size_t at = full_box_begin(w, "mvhd", 0, 0);

    put_zeros(w, 8); /* creation and modification time */
    writer_be32(w, timescale);
    writer_be32(w, 0);       /* duration: fragmented */
    writer_be32(w, 0x10000); /* rate 1.0 */
    writer_be16(w, 0x100);   /* volume 1.0 */
    put_zeros(w, 10);
    put_matrix(w);
    put_zeros(w, 24);
    writer_be32(w, TRACK_ID + 1); /* next_track_ID */
    box_end(w, at);
}

static void put_tkhd(struct writer *w, const struct track_info *info)
{
    bool is_video = info->kind == MEDIA_VIDEO;
    size_t at = full_box_begin(w, "tkhd", 0, 3 /* enabled, in movie */);

    put_zeros(w, 8);
    writer_be32(w, TRACK_ID);
    put_zeros(w, 4 + 4 + 8); /* reserved, duration, reserved */
    writer_be16(w, 0);       /* layer */
    writer_be16(w, 0);       /* alternate_group */
    writer_be16(w, is_video ? 0 : 0x100);
    writer_be16(w, 0);
    put_matrix(w);
    writer_be32(w, is_video ? info->width << 16 : 0);
    writer_be32(w, is_video ? info->height << 16 : 0);
    box_end(w, at);
}

static void put_mdhd_hdlr(struct writer *w, bool is_video, uint32_t timescale)
{
    size_t at = full_box_begin(w, "mdhd", 0, 0);

    put_zeros(w, 8);
    writer_be32(w, timescale);
    writer_be32(w, 0);
    writer_be16(w, 0x55c4); /* language: und */
    writer_be16(w, 0);
    box_end(w, at);

    at = full_box_begin(w, "hdlr", 0, 0);
    writer_be32(w, 0);
    writer_str(w, is_video ? "vide" : "soun");
    put_zeros(w, 12);
    writer_str(w, is_video ? "video" : "audio");
    writer_u8(w, 0);
    box_end(w, at);
}

static void put_minf(struct writer *w, const struct track_info *info)
{
    size_t minf = box_begin(w, "minf");
    size_t at;

    if (info->kind == MEDIA_VIDEO) {
        at = full_box_begin(w, "vmhd", 0, 1);
        put_zeros(w, 8);
    } else {
        at = full_box_begin(w, "smhd", 0, 0);
        put_zeros(w, 4);
    }
    box_end(w, at);

    size_t dinf = box_begin(w, "dinf");
    size_t dref = full_box_begin(w, "dref", 0, 0);
    writer_be32(w, 1);
    at = full_box_begin(w, "url ", 0, 1 /* in this file */);
    box_end(w, at);
    box_end(w, dref);
    box_end(w, dinf);

    size_t stbl = box_begin(w, "stbl");
    at = full_box_begin(w, "stsd", 0, 0);
    writer_be32(w, 1);
    put_sample_entry(w, info);
    box_end(w, at);
    static const char tables[][5] = {"stts", "stsc", "stsz", "stco"};
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        at = full_box_begin(w, tables[i], 0, 0);
        put_zeros(w, i == 2 ? 8 : 4); /* empty: samples are in fragments */
        box_end(w, at);
    }
    box_end(w, stbl);
    box_end(w, minf);
}

static uint32_t default_flags(bool is_video)
{
    return is_video ? SAMPLE_FLAGS_DEPENDENT : SAMPLE_FLAGS_SYNC;
}

static void put_mvex(struct writer *w, bool is_video)
{
    size_t mvex = box_begin(w, "mvex");
    size_t at = full_box_begin(w, "trex", 0, 0);

    writer_be32(w, TRACK_ID);
    writer_be32(w, 1); /* sample description index */
    put_zeros(w, 8);   /* default duration and size: in each fragment */
    writer_be32(w, default_flags(is_video));
    box_end(w, at);
    box_end(w, mvex);
}

/* Whether the configuration is at least as long as its fixed part, and of the known version. */
static bool config_is_plausible(const struct track_info *info)
{
    const uint8_t *c = info->config;

    switch (info->codec) {
    case CODEC_H264:
        return info->config_size >= 7 && c[0] == 1;
    case CODEC_HEVC:
        return info->config_size >= 23 && c[0] == 1;
    case CODEC_AV1:
        return info->config_size >= 4 && c[0] == 0x81;
    case CODEC_VP9:
        return info->config_size >= 12 && c[0] == 1;
    case CODEC_AAC:
        return info->config_size >= 2;
    case CODEC_OPUS: /* RFC 7845 5.1.1: a mapping table unless family 0 */
        return info->config_size >= OPUS_HEAD_BYTES && memcmp(c, "OpusHead", 8) == 0 && c[9] > 0 &&
               info->config_size == OPUS_HEAD_BYTES + (c[18] == 0 ? 0u : 2u + c[9]);
    case CODEC_NONE:
    case CODEC_MP3:
        break;
    }
    return false;
}

int cmaf_init_write(struct writer *w, const struct track_info *info, uint32_t timescale)
{
    bool is_video = info->kind == MEDIA_VIDEO;
    bool has_video_codec = info->codec == CODEC_H264 || info->codec == CODEC_HEVC ||
                           info->codec == CODEC_AV1 || info->codec == CODEC_VP9;
    bool has_audio_codec = info->codec == CODEC_AAC || info->codec == CODEC_OPUS;

    if (!has_video_codec && !has_audio_codec)
        return -ENOTSUP;
    if (is_video != has_video_codec || (!is_video && info->kind != MEDIA_AUDIO))
        return -EINVAL;
    if (timescale == 0 || info->config_size > sizeof(info->config) || !config_is_plausible(info))
        return -EINVAL;
    if (is_video && (info->width == 0 || info->width > UINT16_MAX || info->height == 0 ||
                     info->height > UINT16_MAX))
        return -EINVAL;
    if (!is_video && (info->channel_count == 0 || info->channel_count > UINT8_MAX))
        return -EINVAL;

    put_ftyp(w);
    size_t moov = box_begin(w, "moov");
    put_mvhd(w, timescale);
    size_t trak = box_begin(w, "trak");
    put_tkhd(w, info);
    size_t mdia = box_begin(w, "mdia");
    put_mdhd_hdlr(w, is_video, timescale);
    put_minf(w, info);
    box_end(w, mdia);
    box_end(w, trak);
    put_mvex(w, is_video);
    box_end(w, moov);
    return writer_is_ok(w) ? 0 : -ENOSPC;
}

/* --- fragments --- */

/* Which optional fields this fragment's tfhd and trun have. */
struct layout {
    uint32_t tfhd_flags;
    uint32_t trun_flags;
};

static uint32_t sample_flags(const struct cmaf_sample *s)
{
    return s->is_sync ? SAMPLE_FLAGS_SYNC : SAMPLE_FLAGS_DEPENDENT;
}

static struct layout layout_of(const struct cmaf_fragment *f)
{
    struct layout l = {TFHD_BASE_IS_MOOF | TFHD_DEFAULT_FLAGS, TRUN_DATA_OFFSET | TRUN_SIZE};
    const struct cmaf_sample *first = &f->samples[0];
    bool has_same_duration = true;
    bool has_default_flags = true; /* all but the first */

    for (uint32_t i = 0; i < f->sample_count; i++) {
        const struct cmaf_sample *s = &f->samples[i];

        has_same_duration &= s->duration == first->duration;
        has_default_flags &= i == 0 || sample_flags(s) == default_flags(f->is_video);
        if (s->cts != 0)
            l.trun_flags |= TRUN_CTS;
    }
    if (has_same_duration)
        l.tfhd_flags |= TFHD_DEFAULT_DURATION;
    else
        l.trun_flags |= TRUN_DURATION;
    if (!has_default_flags)
        l.trun_flags |= TRUN_FLAGS;
    else if (sample_flags(first) != default_flags(f->is_video))
        l.trun_flags |= TRUN_FIRST_FLAGS;
    return l;
}

static uint32_t prft_size(const struct cmaf_fragment *f)
{
    return f->reference == NULL ? 0 : FULL_BOX_HEAD_BYTES + 4 + 8 + 8;
}

static uint32_t moof_size(const struct cmaf_fragment *f, const struct layout *l)
{
    uint32_t fields = TRUN_DURATION | TRUN_SIZE | TRUN_FLAGS | TRUN_CTS;
    uint32_t sample_bytes = 4 * (uint32_t)__builtin_popcount(l->trun_flags & fields);
    uint32_t tfhd =
        FULL_BOX_HEAD_BYTES + 4 + 4 + ((l->tfhd_flags & TFHD_DEFAULT_DURATION) != 0 ? 4u : 0);
    uint32_t trun = FULL_BOX_HEAD_BYTES + 4 + 4 +
                    ((l->trun_flags & TRUN_FIRST_FLAGS) != 0 ? 4u : 0) +
                    f->sample_count * sample_bytes;
    uint32_t mfhd = FULL_BOX_HEAD_BYTES + 4;
    uint32_t tfdt = FULL_BOX_HEAD_BYTES + 8;

    return BOX_HEAD_BYTES + mfhd + BOX_HEAD_BYTES + tfhd + tfdt + trun;
}

uint32_t cmaf_fragment_head_size(const struct cmaf_fragment *f)
{
    struct layout l = layout_of(f);

    return prft_size(f) + moof_size(f, &l) + BOX_HEAD_BYTES;
}

static void put_prft(struct writer *w, const struct cmaf_reference *r)
{
    uint64_t wall_us = r->wall_us < 0 ? 0 : (uint64_t)r->wall_us;
    size_t at = full_box_begin(w, "prft", 1, PRFT_ARBITRARY);

    writer_be32(w, TRACK_ID);
    writer_be32(w, (uint32_t)(wall_us / 1000000 + (uint64_t)NTP_UNIX_OFFSET_S));
    writer_be32(w, (uint32_t)((wall_us % 1000000 << 32) / 1000000));
    writer_be64(w, (uint64_t)r->media_time);
    box_end(w, at);
}

static void put_trun(struct writer *w, const struct cmaf_fragment *f, const struct layout *l,
                     uint32_t data_offset)
{
    size_t at = full_box_begin(w, "trun", 1, l->trun_flags);

    writer_be32(w, f->sample_count);
    writer_be32(w, data_offset);
    if ((l->trun_flags & TRUN_FIRST_FLAGS) != 0)
        writer_be32(w, sample_flags(&f->samples[0]));
    for (uint32_t i = 0; i < f->sample_count; i++) {
        const struct cmaf_sample *s = &f->samples[i];

        if ((l->trun_flags & TRUN_DURATION) != 0)
            writer_be32(w, s->duration);
        writer_be32(w, s->size);
        if ((l->trun_flags & TRUN_FLAGS) != 0)
            writer_be32(w, sample_flags(s));
        if ((l->trun_flags & TRUN_CTS) != 0)
            writer_be32(w, (uint32_t)s->cts);
    }
    box_end(w, at);
}

void cmaf_fragment_write(struct writer *w, const struct cmaf_fragment *f)
{
    CHECK(f->sample_count > 0);
    struct layout l = layout_of(f);
    uint32_t moof_bytes = moof_size(f, &l);

    if (f->reference != NULL)
        put_prft(w, f->reference);

    size_t moof = box_begin(w, "moof");
    size_t at = full_box_begin(w, "mfhd", 0, 0);
    writer_be32(w, f->sequence);
    box_end(w, at);

    size_t traf = box_begin(w, "traf");
    at = full_box_begin(w, "tfhd", 0, l.tfhd_flags);
    writer_be32(w, TRACK_ID);
    if ((l.tfhd_flags & TFHD_DEFAULT_DURATION) != 0)
        writer_be32(w, f->samples[0].duration);
    writer_be32(w, default_flags(f->is_video));
    box_end(w, at);
    at = full_box_begin(w, "tfdt", 1, 0);
    writer_be64(w, (uint64_t)f->dts);
    box_end(w, at);
    put_trun(w, f, &l, moof_bytes + BOX_HEAD_BYTES);
    box_end(w, traf);
    box_end(w, moof);
    DCHECK(!writer_is_ok(w) || w->size - moof == moof_bytes);

    writer_be32(w, BOX_HEAD_BYTES + f->payload_bytes);
    writer_str(w, "mdat");
}
