/* Decoder configurations, codec headers and NAL units. The first byte chooses. */
#include <stdlib.h>

#include "common/check.h"
#include "dataplane/media/aac.h"
#include "dataplane/media/codec_config.h"
#include "dataplane/media/nal.h"

enum { NAL_SCRATCH_SIZE = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was accepted is accepted again as it was stored, and says the same. */
static void check_config(enum codec codec, struct bytes config)
{
    static struct track_info info;
    static struct track_info again;
    struct video_format f = {0};

    if (codec_config_parse(codec, config, &info) != 0)
        return;
    CHECK(info.codec == codec && info.config_size <= CODEC_CONFIG_MAX);
    CHECK(memchr(info.codec_string, '\0', sizeof(info.codec_string)) != NULL);
    CHECK(codec_config_parse(codec, bytes_of(info.config, info.config_size), &again) == 0);
    CHECK(memcmp(&info, &again, sizeof(info)) == 0);
    if (info.kind == MEDIA_AUDIO) {
        CHECK(info.sample_rate_hz > 0 && info.channel_count > 0);
        return;
    }
    if (codec_config_format(&info, &f) == 0)
        CHECK(f.width == info.width && f.height == info.height);
    if (codec == CODEC_H264 || codec == CODEC_HEVC)
        CHECK(codec_config_length_size(codec, bytes_of(info.config, info.config_size)) == 4);
    if (codec_config_complete(&info, config) == 1)
        CHECK(codec_config_is_complete(&info) && codec_config_complete(&info, config) == 0);
}

static void check_nal(enum codec codec, struct bytes data, unsigned length_size)
{
    static uint8_t out[NAL_SCRATCH_SIZE];
    struct writer w = writer_of(out, sizeof(out));
    struct nal_summary s = nal_inspect(codec, data, length_size);

    if (s.form == NAL_BROKEN || nal_rewrite(data, s.form, length_size, &w) != 0)
        return;
    if (!s.has_picture) /* handed on to nobody, and a first unit of one byte looks like a code */
        return;
    struct nal_summary after = nal_inspect(codec, writer_bytes(&w), 4);
    CHECK(after.form == NAL_LENGTHS && after.unit_count == s.unit_count);
    CHECK(after.has_random_access == s.has_random_access && !after.has_empty);
}

static void check_headers(struct bytes b)
{
    struct video_format f;
    struct adts_header adts;
    static struct track_info info;

    (void)h264_sps_parse(b, &f);
    (void)hevc_sps_parse(b, &f);
    (void)av1_sequence_parse(b, &f);
    (void)vp9_keyframe_parse(b, &f);
    (void)codec_config_parse_mp3(b, &info);
    CHECK(av1_skip_delimiters(b).size <= b.size);
    if (adts_parse(b, &adts) == 0)
        CHECK(adts.header_size <= adts.frame_size && adts.sample_rate_hz > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct bytes rest = bytes_of(data + 1, size - 1);

    switch (data[0] & 0x0f) {
    case CODEC_H264:
    case CODEC_HEVC:
    case CODEC_AV1:
    case CODEC_VP9:
    case CODEC_AAC:
    case CODEC_OPUS:
        check_config((enum codec)(data[0] & 0x0f), rest);
        break;
    case 8:
        check_nal(CODEC_H264, rest, (data[0] >> 4 & 3u) + 1);
        break;
    case 9:
        check_nal(CODEC_HEVC, rest, (data[0] >> 4 & 3u) + 1);
        break;
    default:
        check_headers(rest);
        break;
    }
    return 0;
}
