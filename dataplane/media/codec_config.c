#include "dataplane/media/codec_config.h"

#include <errno.h>

#include "common/check.h"
#include "common/cursor.h"
#include "common/writer.h"
#include "dataplane/media/aac.h"
#include "dataplane/media/bits.h"

enum {
    AVCC_LENGTH_AT = 4, /* the byte whose low two bits are lengthSizeMinusOne */
    HVCC_LENGTH_AT = 21,
    HVCC_HEAD_SIZE = 22,
    HEVC_NAL_SPS = 33,
    AV1C_HEAD_SIZE = 4,
    VPCC_HEAD_SIZE = 4, /* version and flags */
    VPCC_RECORD_SIZE = 8,
    OPUS_RATE_HZ = 48000
};

const char *codec_name(enum codec codec)
{
    static const char *const names[] = {"none", "h264", "hevc", "av1", "vp9", "aac", "opus", "mp3"};

    return (size_t)codec < ARRAY_COUNT(names) ? names[codec] : "unknown";
}

/* Writes the codec string; ours are all shorter than CODEC_STRING_MAX. */
__attribute__((format(printf, 2, 3))) static void set_codec_string(struct track_info *info,
                                                                   const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(info->codec_string, sizeof(info->codec_string), format, args);
    va_end(args);
    CHECK(length > 0 && (size_t)length < sizeof(info->codec_string));
}

static int set_config(struct track_info *info, struct bytes config)
{
    if (config.size > sizeof(info->config))
        return -ENOSPC;
    memcpy(info->config, config.ptr, config.size);
    info->config_size = (uint32_t)config.size;
    return 0;
}

static void set_size(struct track_info *info, const struct video_format *format)
{
    info->width = format->width;
    info->height = format->height;
}

/* ISO/IEC 14496-15 5.3.3.1. '*ret_sps' is the first SPS. */
static int avcc_parse(struct bytes config, struct bytes *ret_sps)
{
    struct cursor c = cursor_of(config);
    struct bytes first = {0};

    if (cursor_u8(&c) != 1) /* configurationVersion */
        return -EBADMSG;
    cursor_skip(&c, 4); /* profile, compatibility, level, lengthSizeMinusOne */
    unsigned sps_count = cursor_u8(&c) & 0x1f;
    for (unsigned i = 0; i < sps_count; i++) {
        struct bytes sps = cursor_take(&c, cursor_be16(&c));

        if (i == 0)
            first = sps;
    }
    unsigned pps_count = cursor_u8(&c);
    for (unsigned i = 0; i < pps_count; i++)
        cursor_skip(&c, cursor_be16(&c));
    if (!cursor_is_ok(&c) || sps_count == 0 || pps_count == 0)
        return -EBADMSG;
    *ret_sps = first;
    return 0;
}

static int h264_parse(struct bytes config, struct track_info *info)
{
    struct video_format format;
    struct bytes sps;

    if (avcc_parse(config, &sps) != 0 || h264_sps_parse(sps, &format) != 0)
        return -EBADMSG;
    int error = set_config(info, config);
    if (error != 0)
        return error;
    info->config[AVCC_LENGTH_AT] |= 3;
    set_size(info, &format);
    /* RFC 6381 section 3.3: profile_idc, constraint flags, level_idc */
    set_codec_string(info, "avc1.%02x%02x%02x", config.ptr[1], config.ptr[2], config.ptr[3]);
    return 0;
}

/* ISO/IEC 14496-15 8.3.3.1. '*ret_sps' is the first SPS. */
static int hvcc_parse(struct bytes config, struct bytes *ret_sps)
{
    struct cursor c = cursor_of(config);
    struct bytes first = {0};

    /* Encoders from before the final text send version 0. */
    if (cursor_u8(&c) > 1)
        return -EBADMSG;
    cursor_skip(&c, HVCC_HEAD_SIZE - 1);
    unsigned array_count = cursor_u8(&c);
    for (unsigned i = 0; i < array_count && cursor_is_ok(&c); i++) {
        uint8_t type = cursor_u8(&c) & 0x3f;
        unsigned nal_count = cursor_be16(&c);

        for (unsigned j = 0; j < nal_count && cursor_is_ok(&c); j++) {
            struct bytes nal = cursor_take(&c, cursor_be16(&c));

            if (type == HEVC_NAL_SPS && first.size == 0)
                first = nal;
        }
    }
    if (!cursor_is_ok(&c) || first.size == 0)
        return -EBADMSG;
    *ret_sps = first;
    return 0;
}

/* ISO/IEC 14496-15 annex E.3. */
static void hevc_codec_string(struct bytes config, struct track_info *info)
{
    struct cursor c = cursor_of(bytes_from(config, 1));
    struct writer w = writer_of(info->codec_string, sizeof(info->codec_string) - 1);
    static const char *const spaces[] = {"", "A", "B", "C"};

    uint8_t profile = cursor_u8(&c);
    uint32_t compatibility = cursor_be32(&c);
    struct bytes constraints = cursor_take(&c, 6);
    uint8_t level = cursor_u8(&c);

    uint32_t reversed = 0;
    for (unsigned i = 0; i < 32; i++)
        reversed |= (compatibility >> i & 1) << (31 - i);
    while (constraints.size > 0 && constraints.ptr[constraints.size - 1] == 0)
        constraints.size--; /* trailing zero bytes are left out */

    writer_printf(&w, "hvc1.%s%u.%X.%c%u", spaces[profile >> 6], profile & 0x1fu, reversed,
                  profile & 0x20 ? 'H' : 'L', level);
    for (size_t i = 0; i < constraints.size; i++)
        writer_printf(&w, ".%X", constraints.ptr[i]);
    CHECK(writer_is_ok(&w));
    info->codec_string[w.size] = '\0';
}

static int hevc_parse(struct bytes config, struct track_info *info)
{
    struct video_format format;
    struct bytes sps;

    if (hvcc_parse(config, &sps) != 0 || hevc_sps_parse(sps, &format) != 0)
        return -EBADMSG;
    int error = set_config(info, config);
    if (error != 0)
        return error;
    info->config[0] = 1;
    info->config[HVCC_LENGTH_AT] |= 3;
    set_size(info, &format);
    hevc_codec_string(config, info);
    return 0;
}

/* AV1-ISOBMFF 2.3.3; the codec string is that of section 5. */
static int av1_parse(struct bytes config, struct track_info *info)
{
    struct bits b = bits_of(config);
    struct video_format format;
    struct bytes obu;
    struct bytes payload;

    if (bits_take(&b, 8) != 0x81) /* marker, version */
        return -EBADMSG;
    uint32_t profile = bits_take(&b, 3);
    uint32_t level = bits_take(&b, 5);
    uint32_t tier = bits_flag(&b);
    uint32_t is_high_depth = bits_flag(&b);
    uint32_t is_twelve_bit = bits_flag(&b);
    bits_skip(&b, 5 + 8); /* chroma, initial_presentation_delay */
    if (b.failed)
        return -EBADMSG;
    struct bytes obus = bytes_from(config, AV1C_HEAD_SIZE);
    if (av1_find_sequence(obus, &obu, &payload)) {
        if (av1_sequence_parse(payload, &format) != 0)
            return -EBADMSG;
        set_size(info, &format);
    }
    set_codec_string(info, "av01.%u.%02u%c.%02u", profile, level, tier ? 'H' : 'M',
                     is_high_depth ? (is_twelve_bit ? 12u : 10u) : 8u);
    return set_config(info, config);
}

/* VP Codec ISO Media File Format Binding, with or without the FullBox's version and flags. */
static int vp9_parse(struct bytes config, struct track_info *info)
{
    static const uint8_t full_box[VPCC_HEAD_SIZE] = {1, 0, 0, 0};
    struct bytes record = config;
    struct writer w = writer_of(info->config, sizeof(info->config));

    if (config.size >= VPCC_HEAD_SIZE + VPCC_RECORD_SIZE &&
        memcmp(config.ptr, full_box, VPCC_HEAD_SIZE) == 0)
        record = bytes_from(config, VPCC_HEAD_SIZE);
    if (record.size < VPCC_RECORD_SIZE || record.ptr[0] > 3)
        return -EBADMSG;
    writer_put(&w, bytes_of(full_box, VPCC_HEAD_SIZE));
    writer_put(&w, record);
    if (!writer_is_ok(&w))
        return -ENOSPC;
    info->config_size = (uint32_t)w.size;
    set_codec_string(info, "vp09.%02u.%02u.%02u", record.ptr[0], record.ptr[1],
                     (unsigned)(record.ptr[2] >> 4));
    return 0;
}

static int aac_parse(struct bytes config, struct track_info *info)
{
    struct aac_config aac;

    if (aac_config_parse(config, &aac) != 0)
        return -EBADMSG;
    info->sample_rate_hz = aac.sample_rate_hz;
    info->channel_count = aac.channel_count;
    info->frame_samples = aac.frame_samples;
    set_codec_string(info, "mp4a.40.%u", aac.object_type);
    return set_config(info, config);
}

/* RFC 7845 section 5.1. */
static int opus_parse(struct bytes config, struct track_info *info)
{
    struct cursor c = cursor_of(config);

    if (!bytes_equal_str(cursor_take(&c, 8), "OpusHead"))
        return -EBADMSG;
    uint8_t version = cursor_u8(&c);
    uint8_t channels = cursor_u8(&c);
    cursor_skip(&c, 2 + 4 + 2); /* pre-skip, input rate, gain */
    uint8_t family = cursor_u8(&c);
    if (family != 0)
        cursor_skip(&c, 2u + channels); /* stream counts, mapping */
    if (!cursor_is_ok(&c) || version >> 4 != 0 || channels == 0 || (family == 0 && channels > 2))
        return -EBADMSG;
    info->sample_rate_hz = OPUS_RATE_HZ;
    info->channel_count = channels;
    set_codec_string(info, "opus");
    return set_config(info, config);
}

int codec_config_parse(enum codec codec, struct bytes config, struct track_info *ret_info)
{
    struct track_info info = {.codec = codec, .kind = MEDIA_VIDEO};
    int error = -ENOTSUP;

    switch (codec) {
    case CODEC_H264:
        error = h264_parse(config, &info);
        break;
    case CODEC_HEVC:
        error = hevc_parse(config, &info);
        break;
    case CODEC_AV1:
        error = av1_parse(config, &info);
        break;
    case CODEC_VP9:
        error = vp9_parse(config, &info);
        break;
    case CODEC_AAC:
        info.kind = MEDIA_AUDIO;
        error = aac_parse(config, &info);
        break;
    case CODEC_OPUS:
        info.kind = MEDIA_AUDIO;
        error = opus_parse(config, &info);
        break;
    case CODEC_NONE:
    case CODEC_MP3:
        break;
    }
    if (error == 0)
        *ret_info = info;
    return error;
}

bool codec_config_is_complete(const struct track_info *info)
{
    return info->kind == MEDIA_AUDIO || (info->width > 0 && info->height > 0);
}

/* Puts 'obu' into an av1C in place of what OBUs it had. */
static int av1_complete(struct track_info *info, struct bytes keyframe)
{
    struct writer w = writer_of(info->config, sizeof(info->config));
    struct video_format format;
    struct bytes obu;
    struct bytes payload;
    struct bytes old_obu = {0};
    struct bytes old_payload;

    if (!av1_find_sequence(keyframe, &obu, &payload) || av1_sequence_parse(payload, &format) != 0)
        return -EBADMSG;
    struct bytes old = bytes_of(info->config, info->config_size);
    if (av1_find_sequence(bytes_from(old, AV1C_HEAD_SIZE), &old_obu, &old_payload) &&
        bytes_equal(payload, old_payload))
        return 0;
    w.size = AV1C_HEAD_SIZE;
    writer_put(&w, obu);
    if (!writer_is_ok(&w))
        return -EBADMSG;
    info->config_size = (uint32_t)w.size;
    set_size(info, &format);
    return 1;
}

int codec_config_complete(struct track_info *info, struct bytes keyframe)
{
    struct video_format format;

    if (info->codec == CODEC_AV1)
        return av1_complete(info, keyframe);
    if (info->codec != CODEC_VP9)
        return 0;
    if (vp9_keyframe_parse(keyframe, &format) != 0)
        return -EBADMSG;
    if (format.width == info->width && format.height == info->height)
        return 0;
    set_size(info, &format);
    return 1;
}

unsigned codec_config_length_size(enum codec codec, struct bytes config)
{
    size_t at = codec == CODEC_H264 ? AVCC_LENGTH_AT : HVCC_LENGTH_AT;

    return at < config.size ? (config.ptr[at] & 3u) + 1 : 4;
}

int codec_config_format(const struct track_info *info, struct video_format *ret_format)
{
    struct bytes config = bytes_of(info->config, info->config_size);
    struct bytes found;
    struct bytes payload;

    if (info->kind != MEDIA_VIDEO || !codec_config_is_complete(info))
        return -EBADMSG;
    if (info->codec == CODEC_H264 && avcc_parse(config, &found) == 0)
        return h264_sps_parse(found, ret_format);
    if (info->codec == CODEC_HEVC && hvcc_parse(config, &found) == 0)
        return hevc_sps_parse(found, ret_format);
    if (info->codec == CODEC_AV1 &&
        av1_find_sequence(bytes_from(config, AV1C_HEAD_SIZE), &found, &payload))
        return av1_sequence_parse(payload, ret_format);
    *ret_format = (struct video_format){.width = info->width, .height = info->height};
    return 0;
}

int codec_config_parse_mp3(struct bytes frame, struct track_info *ret_info)
{
    static const uint16_t rates[3] = {44100, 48000, 32000};
    struct bits b = bits_of(frame);
    enum { VERSION_2_5 = 0, VERSION_RESERVED = 1, VERSION_1 = 3, LAYER_3 = 1, MODE_MONO = 3 };

    if (bits_take(&b, 11) != 0x7ff)
        return -EBADMSG;
    uint32_t version = bits_take(&b, 2);
    uint32_t layer = bits_take(&b, 2);
    bits_skip(&b, 1 + 4); /* protection, bitrate */
    uint32_t rate = bits_take(&b, 2);
    bits_skip(&b, 2); /* padding, private */
    uint32_t mode = bits_take(&b, 2);
    if (b.failed || version == VERSION_RESERVED || layer != LAYER_3 || rate == 3)
        return -EBADMSG;
    *ret_info = (struct track_info){
        .kind = MEDIA_AUDIO,
        .codec = CODEC_MP3,
        .sample_rate_hz = (uint32_t)rates[rate] >> (version == VERSION_1     ? 0
                                                    : version == VERSION_2_5 ? 2
                                                                             : 1),
        .channel_count = mode == MODE_MONO ? 1 : 2,
        .frame_samples = version == VERSION_1 ? 1152 : 576,
    };
    set_codec_string(ret_info, "mp4a.6B"); /* RFC 6381 section 3.3: object type 0x6b */
    return 0;
}
