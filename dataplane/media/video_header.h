/* video_header.h - picture size and frame rate out of the codecs' own headers. */
#ifndef DATAPLANE_MEDIA_VIDEO_HEADER_H
#define DATAPLANE_MEDIA_VIDEO_HEADER_H

#include "common/bytes.h"

enum { VIDEO_SIDE_MAX = 16384 }; /* pixels */

struct video_format {
    uint32_t width; /* after cropping, pixels */
    uint32_t height;
    uint32_t rate_num; /* frames per second as a fraction; 0/0: the header does not say */
    uint32_t rate_den;
};

/* A sequence parameter set with its NAL header: ISO/IEC 14496-10 7.3.2.1.1 and E.1.1. -EBADMSG: not
 * one, malformed, or a size of 0 or above VIDEO_SIDE_MAX; '*ret_format' untouched. The others below
 * fail in the same way. */
int h264_sps_parse(struct bytes nal, struct video_format *ret_format);

/* ISO/IEC 23008-2 7.3.2.2 and E.2.1. */
int hevc_sps_parse(struct bytes nal, struct video_format *ret_format);

/* The payload of a sequence header OBU: AV1 specification 5.5.1. */
int av1_sequence_parse(struct bytes payload, struct video_format *ret_format);

/* Finds the first sequence header in a run of OBUs (AV1 5.3). True: '*ret_obu' is the whole OBU,
 * '*ret_payload' what is in it; both borrowed. */
bool av1_find_sequence(struct bytes obus, struct bytes *ret_obu, struct bytes *ret_payload);

/* 'obus' without temporal delimiters at its start. */
struct bytes av1_skip_delimiters(struct bytes obus);

/* The uncompressed header of a VP9 key frame (VP9 6.2); -EBADMSG also for any other frame. */
int vp9_keyframe_parse(struct bytes frame, struct video_format *ret_format);

/* Whether the (super)frame starts with a key frame. */
bool vp9_is_keyframe(struct bytes frame);

#endif
