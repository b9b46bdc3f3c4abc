/* fake_packager.h - a packager that does as it is told: access units carry commands, each of
 * which becomes one call of the sink. */
#ifndef TESTS_FAKE_PACKAGER_H
#define TESTS_FAKE_PACKAGER_H

#include <stdatomic.h>

#include "dataplane/media/packager.h"

enum fake_kind { FAKE_INIT, FAKE_PART };

struct fake_command {
    enum fake_kind kind;
    struct packaged_part part; /* FAKE_PART; 'track' also of FAKE_INIT */
    uint32_t size;             /* bytes of the part, at least FAKE_PART_BYTES_MIN */
    uint32_t sample_count;
    bool is_numbered_by_packager; /* part.segment is ignored; track 0 starts the segments */
    struct track_info info;       /* FAKE_INIT */
    uint32_t timescale;
};

enum { FAKE_PART_BYTES_MIN = 64 };

extern uint32_t fake_part_max[TRACKS_MAX]; /* what packager_part_max() says */
extern atomic_uint fake_segment_max_us;    /* what packager_set_segment_max() was told last */
extern atomic_uint fake_flush_count;

#endif
