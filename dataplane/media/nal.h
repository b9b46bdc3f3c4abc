/* nal.h - H.264 and HEVC access units as NAL units with lengths, and the ways to get there. */
#ifndef DATAPLANE_MEDIA_NAL_H
#define DATAPLANE_MEDIA_NAL_H

#include "common/bytes.h"
#include "common/writer.h"
#include "dataplane/media/media.h"

enum nal_form {
    NAL_LENGTHS, /* each NAL unit follows its size in 1 to 4 bytes, ISO/IEC 14496-15 */
    NAL_ANNEX_B, /* each follows a start code, ISO/IEC 14496-10 annex B */
    NAL_BROKEN   /* neither */
};

struct nal_summary {
    enum nal_form form;
    uint32_t unit_count;
    bool has_random_access; /* IDR (H.264), IRAP (HEVC): decoding can start here */
    bool has_picture;       /* any slice at all */
    bool has_empty;         /* NAL units of no bytes, which decoders choke on */
};

/* Looks through 'data', whose lengths have 'length_size' bytes (1 to 4), if it has lengths. */
struct nal_summary nal_inspect(enum codec codec, struct bytes data, unsigned length_size);

/* Rewrites what nal_inspect() found to be in 'form' with 4-byte lengths. Empty NAL units are left
 * out. 0; -ENOSPC: no room in 'w'. */
int nal_rewrite(struct bytes data, enum nal_form form, unsigned length_size, struct writer *w);

#endif
