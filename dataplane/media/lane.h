/* lane.h - one track inside the packager: the samples that wait to become parts, and their bytes.
 *
 *   LANE_ABSENT  not announced; may remember the previous publish
 *   LANE_READY   announced; waits for its first usable unit (video: a keyframe)
 *   LANE_LIVE    takes part in every segment, with media or gaps
 *
 * A queue with contiguous bytes in a fixed buffer, nothing more: packager.c decides. */
#ifndef DATAPLANE_MEDIA_LANE_H
#define DATAPLANE_MEDIA_LANE_H

#include "dataplane/media/media.h"

enum { LANE_SAMPLES_MAX = 1024, LANE_SILENCE_BYTES_MAX = 16 };

enum lane_state { LANE_ABSENT, LANE_READY, LANE_LIVE };

struct lane_sample {
    int64_t dts; /* ticks */
    int32_t cts;
    uint32_t size;
    uint32_t duration; /* 0: until the next one */
    bool is_sync;
};

struct lane {
    enum lane_state state;
    uint8_t track;
    bool is_video;
    bool has_init;   /* 'info' was given to the sink */
    bool has_change; /* 'change' replaces 'info' at the next segment */
    bool is_muted;   /* the new configuration cannot be packaged: units are ignored */
    bool needs_keyframe;
    bool is_paused;       /* its time is being filled */
    bool starts_anywhere; /* the next part's dts need not be end_dts */
    bool has_part;        /* 'segment' has parts already */
    bool has_ended;       /* 'segment' has its last part, and no next one is known */
    uint64_t segment;     /* in which the next part lies */
    int32_t keyframe_cts; /* of the last keyframe: how far pts runs ahead of dts at a boundary */
    int64_t end_dts;      /* of what was delivered: the next part's dts */
    uint32_t sequence;    /* of the last moof */
    uint32_t timescale;
    struct track_info info;
    struct track_info change;

    uint8_t *staging;
    uint32_t staging_size;
    uint32_t data_start; /* the queued samples' bytes in staging */
    uint32_t data_size;
    uint32_t first; /* of the queued samples */
    uint32_t count;
    struct lane_sample samples[LANE_SAMPLES_MAX];
};

static inline struct lane_sample *lane_at(struct lane *l, uint32_t index)
{
    return &l->samples[l->first + index];
}

/* Whether another sample with 'size' bytes can be queued. */
bool lane_has_room(const struct lane *l, uint32_t size);

/* Appends a sample, of which the bytes follow by lane_append(); there must be room. */
void lane_push(struct lane *l, const struct lane_sample *s);
/* Copies the newest sample's bytes in. */
void lane_append(struct lane *l, struct bytes data);

/* The staged bytes of the first 'count' samples. */
struct bytes lane_bytes(const struct lane *l, uint32_t count);
/* Drops the first 'count' samples, whose bytes are staged. */
void lane_drop(struct lane *l, uint32_t count);
void lane_clear(struct lane *l);

/* A packet that decodes to silence, for at most 'ticks' of a track like 'info'. Returns its
 * duration in ticks; 0: none is known for this codec and layout. */
uint32_t lane_silence(const struct track_info *info, uint32_t ticks,
                      uint8_t out[static LANE_SILENCE_BYTES_MAX], uint32_t *ret_size);

#endif
