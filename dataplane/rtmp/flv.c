#include "dataplane/rtmp/flv.h"

#include <errno.h>

#define FOURCC(a, b, c, d) ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (d))

/* FLV 10.1, E.4.2.1 and E.4.3.1. */
enum {
    AUDIO_MP3 = 2,
    AUDIO_ENHANCED = 9,
    AUDIO_AAC = 10,
    AUDIO_MP3_8K = 14,
    VIDEO_AVC = 7,
    VIDEO_HEVC = 12, /* not Adobe's, but used by encoders from before Enhanced RTMP */
    FRAME_KEY = 1,
    FRAME_COMMAND = 5,
    LEGACY_CONFIG = 0,
    LEGACY_FRAME = 1,
    LEGACY_END = 2
};

/* Enhanced RTMP v2. The first three mean the same for audio and video. */
enum {
    SEQUENCE_START = 0,
    CODED_FRAMES = 1,
    SEQUENCE_END = 2,
    VIDEO_CODED_FRAMES_X = 3,
    VIDEO_METADATA = 4,
    VIDEO_MULTITRACK = 6,
    AUDIO_MULTICHANNEL_CONFIG = 4,
    AUDIO_MULTITRACK = 5,
    MOD_EX = 7,
    MOD_EX_TIMESTAMP_OFFSET_NANO = 0,
    MULTITRACK_ONE = 0,
    MULTITRACK_MANY = 1,
    MULTITRACK_MANY_CODECS = 2
};

static enum codec codec_of_fourcc(enum media_kind media, uint32_t fourcc)
{
    static const struct {
        uint32_t fourcc;
        enum media_kind media;
        enum codec codec;
    } known[] = {
        {FOURCC('a', 'v', 'c', '1'), MEDIA_VIDEO, CODEC_H264},
        {FOURCC('h', 'v', 'c', '1'), MEDIA_VIDEO, CODEC_HEVC},
        {FOURCC('a', 'v', '0', '1'), MEDIA_VIDEO, CODEC_AV1},
        {FOURCC('v', 'p', '0', '9'), MEDIA_VIDEO, CODEC_VP9},
        {FOURCC('m', 'p', '4', 'a'), MEDIA_AUDIO, CODEC_AAC},
        {FOURCC('O', 'p', 'u', 's'), MEDIA_AUDIO, CODEC_OPUS},
        {FOURCC('.', 'm', 'p', '3'), MEDIA_AUDIO, CODEC_MP3},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].fourcc == fourcc && known[i].media == media)
            return known[i].codec;
    return CODEC_NONE;
}

void flv_reader_init(struct flv_reader *r, enum media_kind media, struct bytes body)
{
    *r = (struct flv_reader){.rest = cursor_of(body), .packet = {.media = media}};
}

static int32_t composition_time(struct cursor *c)
{
    return (int32_t)(cursor_be24(c) << 8) >> 8; /* SI24 */
}

/* The packet types that FLV defines for AVC and AAC. */
static int legacy_kind(uint8_t type, struct flv_packet *p)
{
    switch (type) {
    case LEGACY_CONFIG:
        p->kind = FLV_CONFIG;
        return 0;
    case LEGACY_FRAME:
        p->kind = FLV_FRAME;
        return 0;
    case LEGACY_END:
        p->kind = FLV_END;
        return 0;
    default:
        return -EBADMSG;
    }
}

static int legacy_video(struct flv_reader *r, uint8_t first)
{
    struct flv_packet *p = &r->packet;
    uint8_t frame_type = first >> 4;
    uint8_t id = first & 0x0f;

    if (frame_type == FRAME_COMMAND) {
        p->kind = FLV_METADATA;
        return 0;
    }
    if (id != VIDEO_AVC && id != VIDEO_HEVC)
        return -ENOTSUP;
    p->codec = id == VIDEO_AVC ? CODEC_H264 : CODEC_HEVC;
    p->is_keyframe = frame_type == FRAME_KEY;
    int error = legacy_kind(cursor_u8(&r->rest), p);
    p->composition_ms = composition_time(&r->rest);
    return error;
}

static int legacy_audio(struct flv_reader *r, uint8_t first)
{
    struct flv_packet *p = &r->packet;
    uint8_t format = first >> 4;

    p->is_keyframe = true;
    if (format == AUDIO_MP3 || format == AUDIO_MP3_8K) {
        p->codec = CODEC_MP3;
        p->kind = FLV_FRAME;
        return 0;
    }
    if (format != AUDIO_AAC)
        return -ENOTSUP;
    p->codec = CODEC_AAC;
    uint8_t type = cursor_u8(&r->rest);
    return type == LEGACY_END ? -EBADMSG : legacy_kind(type, p); /* AAC has no end of sequence */
}

/* The chain of ModEx prefixes; each names the packet type that follows it. */
static int mod_ex(struct flv_reader *r)
{
    while (r->packet_type == MOD_EX) {
        size_t size = cursor_u8(&r->rest) + 1u;

        if (size == 256)
            size = cursor_be16(&r->rest) + 1u;
        struct cursor data = cursor_sub(&r->rest, size);
        uint8_t types = cursor_u8(&r->rest);
        if (!cursor_is_ok(&r->rest))
            return -EBADMSG;
        if (types >> 4 == MOD_EX_TIMESTAMP_OFFSET_NANO) {
            uint32_t offset_ns = cursor_be24(&data);

            /* At most a millisecond: it refines the timestamp, it does not replace it. */
            if (cursor_is_ok(&data) && offset_ns < 1000000)
                r->packet.offset_ns = offset_ns;
        }
        r->packet_type = types & 0x0f;
    }
    return 0;
}

static int enhanced_begin(struct flv_reader *r, uint8_t first)
{
    struct flv_packet *p = &r->packet;
    bool is_video = p->media == MEDIA_VIDEO;
    uint8_t multitrack = is_video ? VIDEO_MULTITRACK : AUDIO_MULTITRACK;
    uint8_t frame_type = is_video ? first >> 4 & 7 : 0;

    r->is_enhanced = true;
    r->packet_type = first & 0x0f;
    p->is_keyframe = !is_video || frame_type == FRAME_KEY;
    int error = mod_ex(r);
    if (error != 0)
        return error;
    if (frame_type == FRAME_COMMAND && r->packet_type != VIDEO_METADATA) {
        p->kind = FLV_METADATA;
        r->is_enhanced = false; /* no FourCC, no body */
        return 0;
    }
    if (r->packet_type == multitrack) {
        uint8_t types = cursor_u8(&r->rest);

        r->is_multitrack = true;
        r->multitrack_type = types >> 4;
        r->packet_type = types & 0x0f;
        if (r->packet_type == multitrack || r->packet_type == MOD_EX ||
            r->multitrack_type > MULTITRACK_MANY_CODECS)
            return -EBADMSG;
    }
    if (!r->is_multitrack || r->multitrack_type != MULTITRACK_MANY_CODECS)
        p->codec = codec_of_fourcc(p->media, cursor_be32(&r->rest));
    return cursor_is_ok(&r->rest) ? 0 : -EBADMSG;
}

/* One track's payload in 'body', by the packet type. */
static int enhanced_payload(const struct flv_reader *r, struct flv_packet *p, struct cursor *body)
{
    bool is_video = p->media == MEDIA_VIDEO;

    if (p->codec == CODEC_NONE)
        return -ENOTSUP;
    switch (r->packet_type) {
    case SEQUENCE_START:
        p->kind = FLV_CONFIG;
        break;
    case CODED_FRAMES:
        p->kind = FLV_FRAME;
        if (p->codec == CODEC_H264 || p->codec == CODEC_HEVC)
            p->composition_ms = composition_time(body);
        break;
    case SEQUENCE_END:
        p->kind = FLV_END;
        break;
    case VIDEO_CODED_FRAMES_X:
        if (!is_video)
            return -EBADMSG;
        p->kind = FLV_FRAME;
        break;
    case VIDEO_METADATA: /* the same value as AUDIO_MULTICHANNEL_CONFIG */
        p->kind = FLV_METADATA;
        break;
    default: /* MPEG2TSSequenceStart and what may come later */
        return -ENOTSUP;
    }
    p->data = cursor_take_rest(body);
    return cursor_is_ok(body) ? 1 : -EBADMSG;
}

static int enhanced_next(struct flv_reader *r, struct flv_packet *ret_packet)
{
    struct flv_packet p = r->packet;
    struct cursor body = r->rest;

    if (r->is_multitrack) {
        if (r->multitrack_type == MULTITRACK_MANY_CODECS)
            p.codec = codec_of_fourcc(p.media, cursor_be32(&r->rest));
        p.track_id = cursor_u8(&r->rest);
        if (r->multitrack_type == MULTITRACK_ONE)
            body = cursor_sub(&r->rest, cursor_left(&r->rest));
        else
            body = cursor_sub(&r->rest, cursor_be24(&r->rest));
        r->is_over = cursor_left(&r->rest) == 0;
        if (!cursor_is_ok(&r->rest))
            return -EBADMSG;
    } else {
        r->is_over = true;
    }
    int result = enhanced_payload(r, &p, &body);
    if (result == 1)
        *ret_packet = p;
    return result;
}

/* Reads what all packets of the message share. */
static int begin(struct flv_reader *r)
{
    uint8_t first = cursor_u8(&r->rest);
    bool is_video = r->packet.media == MEDIA_VIDEO;

    if (!cursor_is_ok(&r->rest))
        return -EBADMSG;
    if (is_video ? first >> 7 != 0 : first >> 4 == AUDIO_ENHANCED)
        return enhanced_begin(r, first);
    return is_video ? legacy_video(r, first) : legacy_audio(r, first);
}

int flv_reader_next(struct flv_reader *r, struct flv_packet *ret_packet)
{
    int result;

    if (r->is_over)
        return 0;
    if (!r->is_begun) {
        r->is_begun = true;
        result = begin(r);
        if (result != 0) {
            r->is_over = true;
            return result;
        }
    }
    if (r->is_enhanced) {
        result = enhanced_next(r, ret_packet);
        r->is_over |= result == -EBADMSG;
        return result;
    }
    r->is_over = true;
    r->packet.data = cursor_take_rest(&r->rest);
    if (!cursor_is_ok(&r->rest))
        return -EBADMSG;
    *ret_packet = r->packet;
    return 1;
}
