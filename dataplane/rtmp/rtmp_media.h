/* rtmp_media.h - from RTMP media messages to tracks and access units.
 *
 * Keeps what was announced for each track, unwraps the 32-bit millisecond clock, and puts
 * every access unit into the form of media.h, or counts why not. Sans-I/O. */
#ifndef DATAPLANE_RTMP_RTMP_MEDIA_H
#define DATAPLANE_RTMP_RTMP_MEDIA_H

#include "dataplane/media/media.h"

struct counters;
struct flv_packet;

struct rtmp_track {
    bool is_used;           /* something in here differs from its zeroed state */
    bool is_accepted;       /* announced, and the sink wants its units */
    bool is_announced;      /* the sink has been told of 'info' */
    unsigned length_size;   /* of NAL lengths as the publisher sends them */
    uint32_t received_size; /* the configuration as it was received: told from a new one by it */
    uint8_t received[CODEC_CONFIG_MAX];
    struct track_info info;
};

struct rtmp_media {
    const struct media_sink *sink;
    void *user;
    struct counters *counters;
    uint8_t *scratch; /* for rewritten access units */
    size_t scratch_size;
    bool has_clock;
    uint32_t last_ms; /* the last timestamp as received … */
    int64_t clock_ms; /* … and unwrapped */
    struct rtmp_track tracks[TRACKS_MAX];
};

/* Prepares a zeroed struct. Borrows everything. 'scratch' bounds an access unit after rewriting. */
void rtmp_media_init(struct rtmp_media *m, const struct media_sink *sink, void *user,
                     struct counters *counters, uint8_t *scratch, size_t scratch_size);

/* Forgets tracks and clock: another publish begins. */
void rtmp_media_reset(struct rtmp_media *m);

/* The body of a video (MEDIA_VIDEO) or audio message. Borrows 'body' for the call. */
void rtmp_media_push(struct rtmp_media *m, enum media_kind kind, uint32_t timestamp_ms,
                     struct bytes body, uint64_t now_us);

#endif
