/* limits.h - bounds that are part of the design, not of a configuration. */
#ifndef COMMON_LIMITS_H
#define COMMON_LIMITS_H

enum {
    SHARDS_MAX = 128,
    CHANNEL_NAME_MAX = 64,    /* bytes, without the NUL */
    STREAM_KEY_MAX = 128,     /* bytes, without the NUL */
    TRACKS_MAX = 8,           /* per channel */
    CODEC_CONFIG_MAX = 4096,  /* bytes of avcC, hvcC, av1C, AudioSpecificConfig, … */
    CODEC_STRING_MAX = 64,    /* RFC 6381, with the NUL */
    EXTENTS_PER_SEND_MAX = 64 /* extents in one stream_send() */
};

#endif
