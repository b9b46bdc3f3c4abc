/* timeline.h - one clean time axis for all tracks of a channel.
 *
 * Publishers' timestamps jump, wrap, stand still, drift and are rounded to milliseconds. The
 * timeline gives each access unit a dts on an axis that starts at Unix time and follows the
 * publisher's clock: strictly increasing per track, continuous across jumps, one origin for all
 * tracks. Sans-I/O; no allocation; every departure from what the publisher said is counted.
 *
 *   case                                        what happens
 *   dts repeats or goes back by < 200 ms        moved to just after its predecessor
 *   dts goes back further, or ahead by > 1 s    rebased: continues where the track was; the other
 *                                               tracks follow onto the same new offset
 *   ahead by > 1 s and so is the wall clock     the publisher was silent: a hole up to 10 s; from
 *                                               there on, a new epoch at the wall clock
 *   back, after real silence of > 2 s           a new epoch at the wall clock
 *   composition offset beyond 10 s              taken as 0
 *   audio within 40 ms of its sample count      placed exactly at the sample count
 *   audio further ahead                         a hole of whole frames is reported
 *   audio further behind                        the unit is dropped; rebased if it never ends
 *   a unit before what was already promised     the same
 *
 * Time units: axis, input and wall clock in us; stamps in ticks of the track's timescale. */
#ifndef DATAPLANE_MEDIA_TIMELINE_H
#define DATAPLANE_MEDIA_TIMELINE_H

#include "dataplane/media/media.h"

struct counters;

enum {
    TIMELINE_BACK_US = 200000,         /* a smaller step back is jitter */
    TIMELINE_AHEAD_US = 1000000,       /* a larger step ahead of all tracks needs a witness: */
    TIMELINE_FORWARD_US = 10000000,    /* up to this it is silence when the wall clock agrees */
    TIMELINE_SILENCE_US = 2000000,     /* a jump after this much real time starts a new epoch */
    TIMELINE_AUDIO_SNAP_US = 40000,    /* audio stays on its sample count within this */
    TIMELINE_HOLE_US = 1000000,        /* video: a longer pause is a hole, not a long frame */
    TIMELINE_FRAME_US = 40000,         /* a video frame, when nothing better is known */
    TIMELINE_LATE_US = 2000000,        /* a track behind its promise for this long is rebased */
    TIMELINE_CTS_MAX_US = 10000000,    /* larger composition offsets are nonsense */
    TIMELINE_EPOCH_MARGIN_US = 100000, /* least step of the axis from one epoch to the next */
    TIMELINE_DRIFT_WINDOW_US = 4000000,
    TIMELINE_DRIFT_DEADBAND_US = 20000,
    TIMELINE_CADENCE_COUNT = 8 /* intervals that must agree before one is predicted */
};

enum timeline_verdict {
    TIMELINE_OK,
    TIMELINE_DROP,  /* late or unusable: counted */
    TIMELINE_EPOCH, /* long silence: call timeline_end_epoch(), then stamp the unit again */
};

struct timeline_stamp {
    int64_t dts;       /* ticks; greater than the track's previous one */
    int32_t cts;       /* ticks: pts - dts */
    uint32_t hole;     /* ticks before 'dts' that the previous sample does not cover */
    uint32_t duration; /* ticks, when the unit says so itself; else 0 */
    bool is_rebased;   /* the publisher's clock broke before this unit */
};

/* One track; all-zero is a track that is not open. */
struct timeline_track {
    bool is_open;
    bool is_exact; /* audio with known samples per unit: dts counts samples */
    enum codec codec;
    uint32_t timescale;
    uint32_t frame_samples;
    uint32_t unit_ticks; /* is_exact: of the last unit */

    bool has_offset;
    bool has_last;
    bool is_promised;  /* next_dts was given away: the next unit starts there */
    int64_t offset_us; /* axis = publisher's clock + offset */
    int64_t last_us;   /* axis time of the last unit, as the publisher said */
    int64_t last_dts;  /* of the last unit */
    int64_t next_dts;  /* promised or exact: where the next unit starts */
    int64_t floor_dts; /* end of the previous epoch */
    int64_t late_us;   /* dropped in a row as late */
    uint32_t interval_us[TIMELINE_CADENCE_COUNT];
    uint32_t interval_count; /* total, the last TIMELINE_CADENCE_COUNT are kept */
};

struct timeline {
    struct counters *counters;
    struct timeline_track tracks[TRACKS_MAX];
    bool is_running;     /* false: the next unit starts an epoch */
    int64_t offset_us;   /* newest offset of any track */
    int64_t front_us;    /* latest axis time of any track in this epoch */
    int64_t end_us;      /* latest end of any track in the epochs before */
    int64_t skew_us;     /* wall clock = axis + skew */
    int64_t drift_us;    /* smallest wall clock - (axis + skew) at arrival in the present window */
    int64_t window_us;   /* axis time at which the window began */
    int64_t measured_us; /* drift_us of the last whole window, less what was corrected since */
};

/* Clears 't' and borrows 'counters' until the next call of this or timeline_set_counters(). */
void timeline_init(struct timeline *t, struct counters *counters);
void timeline_set_counters(struct timeline *t, struct counters *counters);

/* (Re)opens a track with ticks of 'timescale'. Its time goes on, not before 'start_us'. */
void timeline_open(struct timeline *t, uint8_t track, const struct track_info *info,
                   uint32_t timescale, int64_t start_us);
void timeline_close(struct timeline *t, uint8_t track);

/* Stamps the next unit of an open track. '*ret_stamp' is written with TIMELINE_OK only. */
enum timeline_verdict timeline_stamp(struct timeline *t, const struct access_unit *au,
                                     int64_t wall_us, struct timeline_stamp *ret_stamp);

/* How long a unit lasts at the present cadence, in ticks; 0: cannot be told. */
uint32_t timeline_expected(const struct timeline *t, uint8_t track);

/* The last unit's end has been given away as 'end_dts': the next unit starts there. */
void timeline_promise(struct timeline *t, uint8_t track, int64_t end_dts);

/* The track's time was filled up to 'until_dts': no unit may lie before. */
void timeline_reserve(struct timeline *t, uint8_t track, int64_t until_dts);

/* Where the track is, in axis us: the end of what was stamped or promised. */
int64_t timeline_end_us(const struct timeline *t, uint8_t track);

/* The publisher is gone: the next unit starts a new epoch, later than all that was stamped. */
void timeline_end_epoch(struct timeline *t);

/* Correction of wall_us to be used for the next 'span_us' of media: moves towards what was
 * measured by at most 1 % of the span. */
int64_t timeline_skew_us(struct timeline *t, int64_t span_us);

int64_t timeline_ticks(int64_t axis_us, uint32_t timescale); /* rounded to nearest */
int64_t timeline_us(int64_t ticks, uint32_t timescale);      /* rounded to nearest */

/* Samples at 48 kHz of an Opus packet by its TOC (RFC 6716 3.1); 0: malformed. */
uint32_t timeline_opus_samples(struct bytes packet);

#endif
