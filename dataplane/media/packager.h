/* packager.h - from access units to CMAF parts, segments and init segments.
 *
 * Owns the timeline (timeline.h), which makes one clean time axis of whatever the publisher sent,
 * and writes fragments with cmaf.h. Sans-I/O: finished bytes go to the sink. One packager per
 * channel, used by the channel's home shard only. All memory is taken at packager_new(), as
 * address space: what a channel does not use costs nothing.
 *
 * Segments. A segment is an interval of the channel's time axis, the same in all tracks. Each has
 * a number, packaged_part.segment: 0 for the first after packager_new() or packager_reset(), then
 * counting up by one. Every boundary is a video IDR near the segment target (audio-only, or while
 * video is missing: the target itself; no IDR for segment_max: forced there, and not independent).
 * Other tracks cut at their first sample not before it. So a track that takes part delivers, for
 * each number in turn and skipping none, one or more part_end() calls of which the first has
 * starts_segment and the last has ends_segment. A track takes part from its first usable unit (so
 * its first segment may start late) until packager_flush() or until the publisher has been silent
 * for long; then again, once announced and from its first usable unit on. Numbers that it missed
 * in between, the first of them discontinuous, are absent. The last segment before a
 * discontinuity may differ in length from track to track.
 *
 * Gaps. Time of a track that cannot be filled with media is delivered as parts with is_gap: no
 * bytes and no part_begin() before, but with all other members valid, so that numbers and
 * durations stay aligned. (HLS: GAP=YES on the part; EXT-X-GAP on a segment that consists of
 * nothing else.) It occurs when video pauses, when audio of a codec without a known silent frame
 * pauses (AAC-LC and Opus are filled with silence), and when part_begin() had no memory. A gap
 * part with duration 0 only carries ends_segment: a boundary came after all media before it was
 * delivered; it is no part of its own and is not to be listed or counted.
 *
 * Discontinuities. is_discontinuous is set in the first part of a segment, for the same segment
 * in all tracks that take part, when the publisher came back, its clock jumped, or an init segment
 * changed. Elsewhere each part's dts is exactly the previous one's dts + duration; across a
 * discontinuity or absent numbers it may jump forward, never back. A new init() comes before the
 * first segment that needs it.
 *
 * Order. Parts of one track come in order; tracks run up to a few seconds apart, so segment N of
 * one track may start before segment N - 1 of another has ended.
 *
 * Time. tfdt is Unix time when a publish starts, and follows the publisher's clock from then on;
 * wall_us is its drift-corrected Unix time: the same linear function of the media time in all
 * tracks within a segment, so it never jitters with arrival times; between segments it is
 * corrected by at most 1 %. prft carries it as "arbitrary but consistent" (flags 8).
 *
 * Latency. A part is delivered as soon as no further sample fits, without waiting for the next
 * one, when the track's cadence is regular and the next sample cannot begin a new segment. The
 * promised duration is then kept: the next dts is moved onto it (by at most 4 ms, pts untouched).
 * A part never lasts longer than the part target, except that a single sample longer than it is a
 * part of its own (counted). Parts of a regular track are the largest whole number of frames that
 * fits: 24 fps gives 166.7 ms parts at a target of 200 ms (see packager_part_max()). */
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
    bool is_gap;         /* no bytes: see above */
    bool starts_segment;
    bool ends_segment;     /* the segment is complete with this part */
    bool is_discontinuous; /* starts_segment, and the time axis or the init segment changed before
                              it */
    uint64_t segment;      /* number, the same for the same interval in all tracks */
    int64_t dts;           /* of the first sample, track timescale, as in tfdt */
    int64_t pts;           /* of the first sample: what wall_us is the time of */
    uint32_t duration;     /* track timescale */
    int64_t wall_us;       /* Unix time of the first sample: PROGRAM-DATE-TIME, prft */
};

struct packager_sink {
    /* 'track' has a (new) init segment, valid for the parts that follow. Borrows both. */
    void (*init)(void *user, uint8_t track, const struct track_info *info, uint32_t timescale,
                 struct bytes init_segment);
    /* Room for the next part's 'size' bytes; filled before part_end(). NULL: no memory, the part
     * is lost and counted, and part_end() reports it as a gap. */
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

/* Forces a segment's end after this long from the next boundary on, instead of
 * limits.segment_max_us: what the playlists' TARGETDURATION allows. Not below the target. */
void packager_set_segment_max(struct packager *p, uint32_t segment_max_us);

/* As media_sink. 'wall_us' is Unix time at arrival. */
int packager_track(struct packager *p, uint8_t track, const struct track_info *info,
                   int64_t wall_us);
int packager_unit(struct packager *p, const struct access_unit *au, int64_t wall_us);

/* Longest part that 'track' will make at its present cadence, in its timescale; 0: not known yet,
 * or irregular (then it is the part target). What PART-TARGET should say where parts are to be
 * 85 % of it (24 fps: 4 frames of 41.7 ms). */
uint32_t packager_part_max(const struct packager *p, uint8_t track);

/* The publisher is gone: finishes all open parts and segments. What comes next starts with a
 * discontinuity. */
void packager_flush(struct packager *p);

/* Forgets all tracks; memory is kept for the next use of the channel slot. */
void packager_reset(struct packager *p);

#endif
