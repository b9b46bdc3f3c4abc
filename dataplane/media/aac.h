/* aac.h - AudioSpecificConfig and ADTS headers. */
#ifndef DATAPLANE_MEDIA_AAC_H
#define DATAPLANE_MEDIA_AAC_H

#include "common/bytes.h"

enum { ADTS_HEADER_SIZE = 7, ADTS_HEADER_CRC_SIZE = 9 };

/* ISO/IEC 14496-3 1.6.2.1. Rate and samples are those of the decoder's output: with SBR signalled
 * twice those of the core. */
struct aac_config {
    uint8_t object_type; /* 2: LC; 5: SBR, 29: SBR and PS, when signalled explicitly; … */
    uint32_t sample_rate_hz;
    uint32_t channel_count;
    uint32_t frame_samples; /* of one access unit */
};

/* -EBADMSG: truncated or with reserved values; '*ret_config' untouched. */
int aac_config_parse(struct bytes config, struct aac_config *ret_config);

/* ISO/IEC 14496-3 1.A.2.2. */
struct adts_header {
    uint8_t object_type;
    uint32_t sample_rate_hz;
    uint32_t channel_count; /* 0: in a program_config_element of the frame */
    uint32_t header_size;
    uint32_t frame_size; /* with the header */
};

/* -EBADMSG: 'data' does not start with an ADTS header, or one with impossible sizes. */
int adts_parse(struct bytes data, struct adts_header *ret_header);

#endif
