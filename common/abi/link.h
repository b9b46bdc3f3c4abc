/* link.h - messages between leat-dp and leatd, one per SOCK_SEQPACKET packet. No I/O.
 *
 * The data plane connects. Both sides say HELLO first and close the connection when the other's
 * version differs. Then
 *
 *   leat-dp  PUBLISH  may this key publish to this channel?  answered by one
 *   leatd    VERDICT  with the question's request id, within its deadline or not at all
 *   leat-dp  CHANNEL  what one channel does, about once a second and when it ends
 *   leat-dp  COUNTERS all counters about once a second, in pages
 *   leatd    STOP     end the process in good order
 *
 * Layout: be16 type, be16 zero, be32 request id, body; numbers big-endian; a text is its length
 * in one byte and its bytes. A message with anything missing or left over is refused: neither
 * side trusts the other with its memory. */
#ifndef COMMON_ABI_LINK_H
#define COMMON_ABI_LINK_H

#include "common/bytes.h"
#include "common/limits.h"

enum {
    LINK_VERSION = 1,
    LINK_MESSAGE_MAX = 8192, /* bytes */
    LINK_BUILD_MAX = 32,     /* bytes of texts, without the NUL */
    LINK_COUNTER_NAME_MAX = 48,
    LINK_COUNTERS_PER_PAGE = 128
};
#define LINK_SOCKET_NAME "link.sock"   /* in the run directory; leatd listens */
#define LINK_BUILD       "leat 0.1.0"  /* which program greets; for people */
#define LINK_PID_NAME    "leat-dp.pid" /* locked with flock() by a running leat-dp */

enum link_type {
    LINK_HELLO = 1,
    LINK_PUBLISH,
    LINK_VERDICT,
    LINK_CHANNEL,
    LINK_COUNTERS,
    LINK_STOP
};

enum link_verdict {
    LINK_ALLOWED,
    LINK_WRONG_KEY,
    LINK_UNKNOWN_CHANNEL,
    LINK_UNAVAILABLE /* no answer in time, or leatd is not there, or it cannot say */
};

struct link_hello {
    uint16_t version;
    uint32_t pid;
    char build[LINK_BUILD_MAX + 1];
};

struct link_question {
    uint32_t deadline_ms; /* from now; a later answer is useless */
    char name[CHANNEL_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1]; /* secret */
};

enum link_channel_state { LINK_CHANNEL_ENDED, LINK_CHANNEL_LIVE, LINK_CHANNEL_WAITING };

struct link_track_report {
    char name[16];                /* as in URLs */
    char codec[CODEC_STRING_MAX]; /* RFC 6381 */
    uint32_t width;               /* pixels; 0: not video */
    uint32_t height;
    uint32_t sample_rate_hz; /* 0: not audio */
    uint32_t channel_count;
    uint64_t bitrate_bps; /* measured; 0: not known */
};

struct link_channel_report {
    char name[CHANNEL_NAME_MAX + 1];
    enum link_channel_state state; /* WAITING: its publisher is gone, its grace time runs */
    uint32_t shard;                /* its home */
    int64_t started_us;            /* Unix time of the first publish */
    uint64_t connections;          /* connections that fetched in the last seconds */
    uint64_t bytes_in;             /* of media, once its segment is complete */
    uint64_t bytes_out;
    uint32_t track_count;
    struct link_track_report tracks[TRACKS_MAX];
};

struct link_counter {
    uint8_t unit; /* enum counter_unit */
    char name[LINK_COUNTER_NAME_MAX + 1];
    uint64_t value;
};

/* One page; the receiver has all counters with the page whose 'is_last' is set. */
struct link_counters {
    bool is_first;
    bool is_last;
    uint32_t count;
    struct link_counter list[LINK_COUNTERS_PER_PAGE];
};

struct link_message {
    enum link_type type;
    uint32_t request_id; /* PUBLISH and VERDICT; others 0 */
    union {
        struct link_hello hello;
        struct link_question question;
        enum link_verdict verdict;
        struct link_channel_report channel;
        struct link_counters counters;
    };
};

/* Writes 'm', which must be within its bounds, into 'out'; returns its bytes. */
size_t link_encode(const struct link_message *m, uint8_t out[static LINK_MESSAGE_MAX]);

/* Reads one packet. -EPROTO: not a message of this version, '*ret_message' undefined. A HELLO of
 * another version is read as far as its version, the rest empty. */
int link_decode(struct bytes packet, struct link_message *ret_message);

const char *link_verdict_name(enum link_verdict verdict);
const char *link_channel_state_name(enum link_channel_state state);

#endif
