/* media.h - what ingest hands to the timeline: tracks and access units. */
#ifndef DATAPLANE_MEDIA_MEDIA_H
#define DATAPLANE_MEDIA_MEDIA_H

#include "common/bytes.h"
#include "common/limits.h"

enum media_kind { MEDIA_NONE, MEDIA_VIDEO, MEDIA_AUDIO };

enum codec {
    CODEC_NONE,
    CODEC_H264, /* config: AVCDecoderConfigurationRecord, ISO/IEC 14496-15 5.3.3.1 */
    CODEC_HEVC, /* config: HEVCDecoderConfigurationRecord, 14496-15 8.3.3.1 */
    CODEC_AV1,  /* config: AV1CodecConfigurationRecord, AV1-ISOBMFF 2.3 */
    CODEC_VP9,  /* config: VPCodecConfigurationRecord (with version and flags) */
    CODEC_AAC,  /* config: AudioSpecificConfig, 14496-3 1.6.2.1 */
    CODEC_OPUS, /* config: OpusHead (RFC 7845 5.1), as Enhanced RTMP carries it */
    CODEC_MP3   /* no config; accepted, not packaged */
};

/* One elementary stream as announced by the publisher. Filled by the ingest's parser. */
struct track_info {
    enum media_kind kind;
    enum codec codec;
    uint32_t width; /* video: coded picture after cropping, pixels */
    uint32_t height;
    uint32_t sample_rate_hz; /* audio */
    uint32_t channel_count;
    uint32_t frame_samples; /* audio: samples per access unit; 0: varies */
    uint32_t config_size;
    uint8_t config[CODEC_CONFIG_MAX];    /* decoder configuration as noted at enum codec */
    char codec_string[CODEC_STRING_MAX]; /* RFC 6381: "avc1.64001f", "mp4a.40.2", … */
};

/* One coded picture or audio frame. H.264 and HEVC: NAL units with 4-byte lengths; AV1: OBUs
 * of one temporal unit without temporal delimiters; VP9: one (super)frame; AAC: one raw
 * frame; Opus: one packet. */
struct access_unit {
    uint8_t track;     /* index of the track in the publish, < TRACKS_MAX */
    bool is_keyframe;  /* video: IDR/IRAP or key frame; audio: true */
    int64_t dts_us;    /* publisher's clock, unsanitised: may jump, wrap, stand still */
    int64_t pts_us;    /* dts + composition offset */
    struct bytes data; /* borrowed for the call */
};

/* Where an ingest session sends what it parsed. All calls on the shard of the session. */
struct media_sink {
    /* A track appeared or its configuration changed. -ENOSPC: index too large, -ENOTSUP: codec
     * that cannot be packaged (counted; its units are then ignored). Borrows 'info'. */
    int (*track)(void *user, uint8_t track, const struct track_info *info, uint64_t now_us);
    int (*unit)(void *user, const struct access_unit *au, uint64_t now_us);
    /* Name/value pairs of onMetaData that a person might want to see; borrowed. */
    void (*metadata)(void *user, struct bytes name, struct bytes value);
};

#endif
