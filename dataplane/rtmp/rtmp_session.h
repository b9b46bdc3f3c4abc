/* rtmp_session.h - one publisher's connection, without its socket.
 *
 *   rtmp_session_init()     SHAKING     until C2 is in
 *                           OPEN        commands; media is ignored
 *   publish event           ASKING      what arrives is held back, unread
 *   rtmp_session_grant()    PUBLISHING  media goes to the sink
 *   unpublish event         OPEN        the publisher ended it and may start another
 *   rtmp_session_refuse(),  OVER        takes nothing more; close when all is sent
 *   rtmp_session_end(), or any error
 *
 * Sans-I/O: bytes and 'now' in; bytes, events, tracks and access units out. No call may be made
 * on the session from inside its events. */
#ifndef DATAPLANE_RTMP_RTMP_SESSION_H
#define DATAPLANE_RTMP_RTMP_SESSION_H

#include "dataplane/rtmp/rtmp_chunk.h"
#include "dataplane/rtmp/rtmp_handshake.h"
#include "dataplane/rtmp/rtmp_media.h"
#include "dataplane/rtmp/rtmp_target.h"

enum {
    RTMP_HOLD_SIZE = 256 * 1024,  /* bytes that may arrive while ASKING */
    RTMP_COMMAND_MAX = 64 * 1024, /* largest message before publishing is granted */
    RTMP_APP_MAX = 512,           /* bytes of app and of tcUrl, each */
    RTMP_ENCODER_MAX = 64         /* bytes kept of what the client calls itself */
};

struct rtmp_session_events {
    /* Bytes for the peer; borrowed for the call. */
    void (*send)(void *user, struct bytes out);
    /* The peer wants to publish. Answer with rtmp_session_grant() or rtmp_session_refuse() later;
     * meanwhile feed as little as possible. Borrows 'target'. */
    void (*publish)(void *user, const struct rtmp_target *target, uint64_t now_us);
    /* The peer stopped publishing; the connection stays. */
    void (*unpublish)(void *user, uint64_t now_us);
    struct media_sink media;
};

enum rtmp_session_state {
    RTMP_SESSION_SHAKING,
    RTMP_SESSION_OPEN,
    RTMP_SESSION_ASKING,
    RTMP_SESSION_PUBLISHING,
    RTMP_SESSION_OVER
};

/* Why a publish is refused. A wrong key and an unknown channel look the same to the peer. */
enum rtmp_refusal {
    RTMP_REFUSED_KEY,
    RTMP_REFUSED_UNAVAILABLE,
    RTMP_REFUSED_NO_ROOM,
    RTMP_REFUSED_OVERTAKEN
};

/* Memory that the session borrows; untouched parts cost nothing when it comes from mmap. */
struct rtmp_session_memory {
    uint8_t *slots;   /* RTMP_PARTIAL_MAX * message_max */
    uint8_t *scratch; /* message_max */
    uint8_t *hold;    /* RTMP_HOLD_SIZE */
    uint32_t message_max;
};

struct rtmp_session {
    const struct rtmp_session_events *events;
    void *user;
    struct counters *counters;
    struct rtmp_random random;
    struct rtmp_session_memory memory;
    enum rtmp_session_state state;
    const char *reason; /* why it is OVER, for the log; NULL before */

    uint32_t received_bytes; /* wraps, as the acknowledgement's sequence number does */
    uint32_t acknowledged_bytes;
    uint32_t ack_window_bytes;
    uint32_t stream_count;   /* createStream commands answered */
    uint32_t publish_stream; /* message stream of the publish command */
    uint32_t hold_bytes;
    size_t app_size;
    size_t tc_url_size;
    uint8_t app[RTMP_APP_MAX];
    uint8_t tc_url[RTMP_APP_MAX];
    char encoder[RTMP_ENCODER_MAX + 1]; /* printable */
    bool is_connected;
    struct rtmp_handshake handshake;
    struct rtmp_chunk_reader reader;
    struct rtmp_media media;
};

/* Prepares a zeroed session. Borrows everything. */
void rtmp_session_init(struct rtmp_session *s, const struct rtmp_session_events *events, void *user,
                       struct counters *counters, const struct rtmp_random *random,
                       const struct rtmp_session_memory *memory);

/* Takes all of 'in'. 0; -ESHUTDOWN: over in an orderly way, and the peer has been told why; any
 * other negative errno: over because the peer broke the protocol or a limit, counted, s->reason
 * says what. After an error the session is OVER. */
int rtmp_session_push(struct rtmp_session *s, struct bytes in, uint64_t now_us);

/* While ASKING: tells the peer to start and works through what was held back. Returns as
 * rtmp_session_push(). */
int rtmp_session_grant(struct rtmp_session *s, uint64_t now_us);

/* While ASKING: tells the peer no. The session is OVER. */
void rtmp_session_refuse(struct rtmp_session *s, enum rtmp_refusal why);

/* While PUBLISHING: tells the peer that the publish is over. The session is OVER. 'reason' is a
 * string constant, told to the peer. */
void rtmp_session_end(struct rtmp_session *s, const char *reason);

#endif
