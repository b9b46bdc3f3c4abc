/* cmaf.h - writes fragmented MP4: init segments and the heads of fragments.
 *
 * ISO/IEC 14496-12 (file format), 23000-19 (CMAF); sample entries by 14496-15 (H.264, HEVC),
 * 14496-14 (AAC), the AV1, VP9 and Opus in ISO BMFF bindings. One track per file, always number 1.
 * Sans-I/O and without state: everything goes into a caller's writer. */
#ifndef DATAPLANE_MEDIA_CMAF_H
#define DATAPLANE_MEDIA_CMAF_H

#include "common/writer.h"
#include "dataplane/media/media.h"

enum { CMAF_INIT_BYTES_MAX = 1024 + CODEC_CONFIG_MAX };

struct cmaf_sample {
    uint32_t size;     /* bytes */
    uint32_t duration; /* timescale */
    int32_t cts;       /* composition offset, timescale; may be negative */
    bool is_sync;
};

/* Producer Reference Time (14496-12 8.16.5): what time it was at a point of the media. */
struct cmaf_reference {
    int64_t wall_us;    /* Unix time */
    int64_t media_time; /* presentation time, timescale */
};

struct cmaf_fragment {
    uint32_t sequence; /* of moofs in the track, from 1 */
    int64_t dts;       /* tfdt: of the first sample, timescale */
    const struct cmaf_sample *samples;
    uint32_t sample_count;  /* at least 1 */
    uint32_t payload_bytes; /* sum of the samples' sizes: mdat's content, to follow the head */
    bool is_video;
    const struct cmaf_reference *reference; /* NULL: no prft */
};

/* Appends ftyp and moov. -EINVAL: configuration, size or rate that the sample entry cannot carry;
 * -ENOTSUP: codec without a CMAF binding here; -ENOSPC: no room. 'w' is then to be discarded. */
int cmaf_init_write(struct writer *w, const struct track_info *info, uint32_t timescale);

/* Bytes that cmaf_fragment_write() will append. */
uint32_t cmaf_fragment_head_size(const struct cmaf_fragment *f);

/* Appends [prft] moof and mdat's header; the samples' bytes are to follow in order. */
void cmaf_fragment_write(struct writer *w, const struct cmaf_fragment *f);

#endif
