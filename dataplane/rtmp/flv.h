/* flv.h - bodies of RTMP audio and video messages: FLV 10.1 tags and Enhanced RTMP v2.
 *
 * One message holds one packet, or with Enhanced RTMP's multitrack one for each of several
 * tracks. flv_reader_next() gives them in order; it knows the envelope only, not the codecs.
 * Payloads are borrowed from the body. */
#ifndef DATAPLANE_RTMP_FLV_H
#define DATAPLANE_RTMP_FLV_H

#include "common/cursor.h"
#include "dataplane/media/media.h"

enum flv_packet_kind {
    FLV_CONFIG,  /* 'data' is the decoder configuration */
    FLV_FRAME,   /* 'data' is one access unit as the codec's mapping carries it */
    FLV_END,     /* end of sequence; no data */
    FLV_METADATA /* colour information, channel layout, seek commands: nothing to decode */
};

struct flv_packet {
    enum media_kind media;
    enum codec codec;
    enum flv_packet_kind kind;
    uint8_t track_id;       /* 0 outside multitrack messages */
    bool is_keyframe;       /* video: as the envelope says */
    int32_t composition_ms; /* pts - dts */
    uint32_t offset_ns;     /* TimestampOffsetNano: to be added to the message's timestamp */
    struct bytes data;
};

struct flv_reader {
    struct cursor rest;
    struct flv_packet packet; /* what the tracks of a message have in common */
    uint8_t packet_type;      /* Enhanced RTMP's VideoPacketType or AudioPacketType */
    uint8_t multitrack_type;
    bool is_enhanced;
    bool is_multitrack;
    bool is_begun;
    bool is_over;
};

/* 'body' is that of a video (MEDIA_VIDEO) or audio message; borrowed. */
void flv_reader_init(struct flv_reader *r, enum media_kind media, struct bytes body);

/* 1: '*ret_packet' is filled; 0: no more; -EBADMSG: truncated or malformed, the rest of the message
 * is lost; -ENOTSUP: a codec that is not known here, the next call goes on with the next track. */
int flv_reader_next(struct flv_reader *r, struct flv_packet *ret_packet);

#endif
