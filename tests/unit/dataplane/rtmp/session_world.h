/* session_world.h - a session with a client made of single messages, and all that it says. */
#ifndef TESTS_SESSION_WORLD_H
#define TESTS_SESSION_WORLD_H

#include "common/counters.h"
#include "dataplane/rtmp/rtmp_session.h"

enum { WORLD_MESSAGE_MAX = 1 << 18, WORLD_SENT_MAX = 1 << 16 };

struct world {
    struct rtmp_session session;
    struct counters counters;
    struct rtmp_chunk_reader reply_reader;
    uint64_t random_state;
    bool must_grant; /* as soon as the call that asked has returned */
    int result;      /* of the last call into the session */

    unsigned publish_count;
    unsigned unpublish_count;
    struct rtmp_target target; /* of the last publish event */
    unsigned track_count;
    unsigned video_count;
    unsigned audio_count;
    unsigned metadata_count;
    int64_t last_dts_us;
    uint64_t hash; /* over everything that the sink got */
    size_t sent_size;
    size_t sent_read; /* by world_next() */

    /* Kept by world_reset(). */
    uint8_t *slots;
    uint8_t *scratch;
    uint8_t *hold;
    uint8_t *reply_memory;
    uint8_t sent[WORLD_SENT_MAX]; /* by the session */
};

struct world *world_new(void);
/* As it was when new, without new memory. */
void world_reset(struct world *w);
void world_free(struct world **w);

/* Feeds bytes, and grants when asked and w->must_grant. */
void world_push(struct world *w, struct bytes in);

/* Handshake and connect to 'app'; drops the answers. */
void world_shake(struct world *w);
void world_connect(struct world *w, const char *app);

/* One message from the client, in chunks of 128 bytes. */
void world_message(struct world *w, uint8_t type, uint32_t timestamp_ms, struct bytes body);
/* A command with a null object and one string, or none when 'text' is NULL. */
void world_command(struct world *w, const char *name, double transaction, const char *text);

/* The next message that the session sent. False: there is none. */
bool world_next(struct world *w, struct rtmp_message *ret_message);
/* Reads the session's messages up to a command of that name and checks the code in its information
 * object; an empty code is not looked for. */
void world_expect(struct world *w, const char *name, const char *code);
void world_drop_replies(struct world *w);

#endif
