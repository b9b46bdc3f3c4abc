/* http_world.h - an HTTP server with all that it needs, in virtual time: a shard without a loop,
 * the real store, channels made by hand, and a transport whose peers are buffers of the test. */
#ifndef TESTS_HTTP_WORLD_H
#define TESTS_HTTP_WORLD_H

#include "common/config/config.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_server.h"
#include "dataplane/media/channel.h"
#include "dataplane/store/store.h"
#include "drivers/net/transport.h"

enum { PEERS_MAX = 64, PEER_EXTENTS_MAX = 256 };

/* The far end of one stream. */
struct peer {
    struct stream stream; /* the near end, as the server sees it */
    struct world *world;
    struct extent queue[PEER_EXTENTS_MAX];
    uint32_t queue_count;
    uint32_t queue_bytes_max;
    uint64_t takes; /* bytes that the peer takes from now on; UINT64_MAX: all */
    uint8_t *got;   /* what it took; owned */
    size_t got_size;
    size_t read_size; /* of these, what peer_response() has passed */
    bool was_above;   /* the low-water mark */
    bool is_open;
    bool is_paused;
    bool is_shutdown; /* by the server */
    bool is_aborted;  /* by the server */
    bool is_closed;   /* the closed event was delivered */
};

struct world {
    struct shard shard;
    struct shard *all[1];
    struct counters counters;
    struct config config;
    struct store *store;
    uint32_t views; /* of store objects that can be sent at once */
    struct channels *channels;
    struct http_server *server;
    struct transport transport;
    const struct listen_events *listen_events[2];
    void *listen_user[2];
    unsigned listen_count;
    struct peer peers[PEERS_MAX];
};

/* world_new() sets the defaults; change w->config and w->views, then call world_start(). */
struct world *world_new(void);
void world_start(struct world *w);
void world_free(struct world **w);

/* Lets time pass, with everything that falls into it. */
void world_run(struct world *w, uint64_t us);

/* A connection to the public (0) or management (1) listener; NULL: refused. */
struct peer *world_connect(struct world *w, unsigned listener);

void peer_send(struct peer *p, const void *data, size_t size);
void peer_send_str(struct peer *p, const char *text);
void peer_eof(struct peer *p);
void peer_reset(struct peer *p);
/* Everything that came and was not passed yet, NUL-terminated; marks it as passed. */
const char *peer_take(struct peer *p);

/* --- channels made by hand --- */

/* Starts a channel with tracks "video" and "audio", without any media: no snapshot yet. */
struct channel *fake_channel_start(struct world *w, const char *name);
/* A new part of 'size' bytes in both tracks; 'ends_segment': with it the segment is complete. Wakes
 * who waits. */
void fake_channel_part(struct channel *ch, uint32_t size, bool ends_segment);
/* Completes the growing segment as it is, without another part. */
void fake_channel_end_segment(struct channel *ch);
/* Drops the oldest segment. */
void fake_channel_evict(struct channel *ch);
void fake_channel_set_live(struct channel *ch, bool is_live);
void fake_channel_end(struct channel *ch);
/* The byte at 'offset' of a part. */
uint8_t fake_part_byte(uint64_t msn, uint32_t part, uint32_t offset);
uint32_t fake_channel_waiters(const struct channel *ch);
uint64_t fake_channel_bytes(const struct channel *ch);

#endif
