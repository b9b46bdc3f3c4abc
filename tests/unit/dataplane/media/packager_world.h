/* packager_world.h - a packager with a sink that checks the promises of packager.h.
 *
 * Every part is read back by a parser that shares nothing with cmaf.c. A broken promise prints
 * what was expected and aborts, so that the unit tests, the property test and the fuzzer can all
 * use it. */
#ifndef TESTS_PACKAGER_WORLD_H
#define TESTS_PACKAGER_WORLD_H

#include "common/counters.h"
#include "dataplane/media/packager.h"

enum { WORLD_PARTS_MAX = 4096, WORLD_PART_BYTES_MAX = 1 << 20, WORLD_SEGMENTS_MAX = 4096 };

struct world_part {
    struct packaged_part part;
    uint32_t sample_count;
    uint32_t sample_max;  /* longest sample, ticks */
    int64_t first_pts_us; /* presentation time of the first sample; gaps: dts */
    int64_t end_us;
};

struct world_track {
    bool has_init;
    bool is_open; /* in a segment that has not ended */
    bool has_part;
    uint32_t timescale;
    enum media_kind kind;
    uint64_t segment;
    int64_t end_dts;
    int64_t end_us;
    uint32_t init_count;
    uint32_t sequence;
    uint64_t sample_count;
    uint64_t payload_bytes;
    uint64_t empty_count;  /* segments without any duration */
    uint64_t silent_count; /* samples of at most 8 bytes */
};

struct world {
    struct packager *packager;
    struct counters counters;
    struct packager_limits limits;
    uint64_t seed; /* printed when a promise is broken */
    struct world_track tracks[TRACKS_MAX];
    uint8_t is_discontinuous[WORLD_SEGMENTS_MAX]; /* 0: not seen, 1: no, 2: yes */
    uint8_t bytes[WORLD_PART_BYTES_MAX + (1 << 17)];
    uint32_t pending_bytes; /* of the part between part_begin() and part_end() */
    bool has_pending;
    bool was_refused;
    uint32_t refuse_every; /* every nth part_begin() finds no memory; 0: none */
    uint32_t begin_count;
    struct world_part *parts; /* the first WORLD_PARTS_MAX, when asked for */
    uint32_t part_count;
    bool keeps_parts;
    bool checks_next_unit; /* payloads carry consecutive numbers: see world_unit() */
    uint32_t next_number[TRACKS_MAX];
};

/* limits NULL: 200 ms parts, 2 s segments, at most 6 s. */
void world_init(struct world *w, const struct packager_limits *limits);
void world_fini(struct world *w);

/* Infos with a plausible configuration. */
struct track_info world_h264(void);
struct track_info world_aac(uint32_t rate_hz, uint32_t channel_count);
struct track_info world_opus(void);

/* Sends a unit of 'size' bytes, at least 12, that carries its track and a running number, which
 * the sink checks: no unit twice, none out of order. */
void world_unit(struct world *w, uint8_t track, bool is_keyframe, int64_t dts_us, int64_t cts_us,
                int64_t wall_us, uint32_t size);

void world_flush(struct world *w);

/* A repeatable random number below 'bound'. */
uint32_t world_random(uint64_t *state, uint32_t bound);

#endif
