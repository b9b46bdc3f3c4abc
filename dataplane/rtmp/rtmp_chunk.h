/* rtmp_chunk.h - RTMP chunk streams (RTMP 1.0 section 5.3): messages out of chunks, and back.
 *
 * The reader takes bytes cut anywhere and gives whole messages, one a call, so that its user
 * decides between two messages whether to go on. Partial messages lie in the slots of the
 * caller's memory: at most RTMP_PARTIAL_MAX at once, none larger than message_max. Sans-I/O. */
#ifndef DATAPLANE_RTMP_RTMP_CHUNK_H
#define DATAPLANE_RTMP_RTMP_CHUNK_H

#include "common/bytes.h"
#include "common/writer.h"

enum {
    RTMP_CHUNK_STREAMS_MAX = 32, /* chunk stream ids that one connection may use */
    RTMP_PARTIAL_MAX = 6,        /* messages whose chunks may interleave */
    RTMP_CHUNK_HEADER_MAX = 3 + 11 + 4,
    RTMP_CHUNK_SIZE_DEFAULT = 128,
    RTMP_CHUNK_SIZE_MAX = 0x7fffffff
};

/* Message type ids, section 5.4 and 7.1. */
enum {
    RTMP_SET_CHUNK_SIZE = 1,
    RTMP_ABORT = 2,
    RTMP_ACKNOWLEDGEMENT = 3,
    RTMP_USER_CONTROL = 4,
    RTMP_WINDOW_SIZE = 5,
    RTMP_PEER_BANDWIDTH = 6,
    RTMP_AUDIO = 8,
    RTMP_VIDEO = 9,
    RTMP_DATA_AMF3 = 15,
    RTMP_SHARED_OBJECT_AMF3 = 16,
    RTMP_COMMAND_AMF3 = 17,
    RTMP_DATA = 18,
    RTMP_SHARED_OBJECT = 19,
    RTMP_COMMAND = 20,
    RTMP_AGGREGATE = 22
};

struct rtmp_message {
    uint8_t type;
    uint32_t chunk_stream;
    uint32_t stream_id; /* of createStream; 0: the connection itself */
    uint32_t timestamp_ms;
    struct bytes body;
};

struct rtmp_chunk_stream {
    uint32_t id; /* 0: entry unused */
    uint32_t stream_id;
    uint32_t timestamp_ms;
    uint32_t step_ms;  /* what a type 3 chunk adds when it starts a message */
    uint32_t length;   /* of the message */
    uint32_t received; /* of it */
    uint32_t extended; /* the extended timestamp of the last type 0, 1 or 2 chunk */
    bool has_extended;
    bool is_partial; /* in the middle of a message; 'slot' is held */
    uint8_t type;
    uint8_t slot;
};

struct rtmp_chunk_reader {
    uint8_t *memory; /* RTMP_PARTIAL_MAX slots of 'slot_bytes' */
    size_t slot_bytes;
    uint32_t message_max; /* may be changed between messages; at most slot_bytes */
    uint32_t chunk_size;
    uint32_t restarted_count; /* messages given up because another began on their chunk stream */
    uint32_t touched_bytes;   /* most bytes written to any slot; the owner may reset it */

    uint8_t header[RTMP_CHUNK_HEADER_MAX];
    uint8_t header_size;
    uint32_t payload_left; /* of the chunk that 'current' is in; 0: a header comes next */
    struct rtmp_chunk_stream *current;
    uint8_t slots_used; /* bit i: slot i is held by a chunk stream */
    struct rtmp_chunk_stream streams[RTMP_CHUNK_STREAMS_MAX];
};

/* Prepares a zeroed reader. Borrows 'memory' of RTMP_PARTIAL_MAX * slot_bytes. */
void rtmp_chunk_init(struct rtmp_chunk_reader *r, uint8_t *memory, size_t slot_bytes,
                     uint32_t message_max);

/* Takes bytes off the front of '*in' up to the end of one message. 1: '*ret_message' is whole, its
 * body valid until the next call; 0: all of '*in' taken, more is needed; -EMSGSIZE: a message
 * larger than message_max; -ENOBUFS: too many chunk streams or interleaved messages; -EPROTO: a
 * chunk without the header it refers to. After an error the reader must not be used. */
int rtmp_chunk_pull(struct rtmp_chunk_reader *r, struct bytes *in,
                    struct rtmp_message *ret_message);

/* The peer's Set Chunk Size. -EPROTO: out of range. */
int rtmp_chunk_set_size(struct rtmp_chunk_reader *r, uint32_t size);

/* The peer's Abort Message: drops the partial message of that chunk stream. */
void rtmp_chunk_abort(struct rtmp_chunk_reader *r, uint32_t chunk_stream);

/* No message is in progress: the slots' memory may be given back to the system. */
static inline bool rtmp_chunk_is_idle(const struct rtmp_chunk_reader *r)
{
    return r->slots_used == 0;
}

/* Appends 'm' as chunks of at most 'chunk_size': a type 0 chunk, then type 3. 'chunk_stream' must
 * be in 2..63. */
void rtmp_chunk_write(struct writer *w, const struct rtmp_message *m, uint32_t chunk_size);

#endif
