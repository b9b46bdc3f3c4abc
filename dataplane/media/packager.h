/* packager.h - from access units to CMAF parts, segments and init segments.
 *
 * Owns the timeline (timeline.h), which makes one clean time axis of whatever the publisher sent,
 * and writes fragments with cmaf.h. Sans-I/O: finished bytes go to the sink. One packager per
 * channel, used by the channel's home shard only. All memory is taken at packager_new().
 *
 * Segment boundaries are the same instant in all tracks: a video IDR near the segment target
 * (audio-only: the target itself). A part never lasts longer than the part target, except that a
 * single sample longer than it is a part of its own (counted). */
#ifndef DATAPLANE_MEDIA_PACKAGER_H
#define DATAPLANE_MEDIA_PACKAGER_H

#include "dataplane/media/media.h"

struct counters;
struct packager;

struct packager_limits {
    uint32_t part_us;
    uint32_t segment_us;
    uint32_t segment_max_us;
    uint32_t part_bytes_max; /* staging per track: a part that would exceed it is cut early */
};

/* A finished part: one moof + mdat, with a prft before it in a segment's first part. */
struct packaged_part {
    uint8_t track;
    bool is_independent; /* starts with a sync sample */
    bool starts_segment;
    bool ends_segment;     /* the segment is complete with this part */
    bool is_discontinuous; /* starts_segment, and the time axis or the init segment changed before
                              it */
    int64_t dts;           /* of the first sample, track timescale, as in tfdt */
    uint32_t duration;     /* track timescale */
    int64_t wall_us;       /* Unix time of the first sample: PROGRAM-DATE-TIME, prft */
};

struct packager_sink {
    /* 'track' has a (new) init segment, valid for the parts that follow. Borrows both. */
    void (*init)(void *user, uint8_t track, const struct track_info *info, uint32_t timescale,
                 struct bytes init_segment);
    /* Room for the next part's 'size' bytes; filled before part_end(). NULL: no memory, the part
     * is lost and counted, and the next one is discontinuous. */
    uint8_t *(*part_begin)(void *user, uint8_t track, uint32_t size);
    void (*part_end)(void *user, const struct packaged_part *part);
};

/* NULL: no memory. 'sink' and 'counters' are borrowed. Returns owned. */
struct packager *packager_new(const struct packager_limits *limits,
                              const struct packager_sink *sink, void *user,
                              struct counters *counters);
void packager_free(struct packager **p);

/* The home shard has changed (publisher came back elsewhere): count there from now on. */
void packager_set_counters(struct packager *p, struct counters *counters);

/* As media_sink. 'wall_us' is Unix time at arrival. */
int packager_track(struct packager *p, uint8_t track, const struct track_info *info,
                   int64_t wall_us);
int packager_unit(struct packager *p, const struct access_unit *au, int64_t wall_us);

/* The publisher is gone: finishes all open parts and segments. What comes next starts with a
 * discontinuity. */
void packager_flush(struct packager *p);

/* Forgets all tracks; memory is kept for the next use of the channel slot. */
void packager_reset(struct packager *p);

#endif
