/* fake_node.h - a store, channels and a few shards in virtual time, turned by the test, and a
 * publisher that sends a regular stream. */
#ifndef TESTS_FAKE_NODE_H
#define TESTS_FAKE_NODE_H

#include "common/config/config.h"
#include "dataplane/core/shard.h"
#include "dataplane/media/channel.h"
#include "dataplane/store/store.h"
#include "tests/unit/dataplane/media/fake_packager.h"

enum { FAKE_SHARDS_MAX = 3, FAKE_STREAMS_MAX = 16 };

struct fake_stream;

#define FAKE_START_WALL_US INT64_C(1790000000000000) /* 2026-09-21T14:13:20Z */

struct fake_node {
    struct config config;
    uint32_t shard_count;
    struct shard shards[FAKE_SHARDS_MAX];
    struct shard *all[FAKE_SHARDS_MAX];
    struct counters counters[FAKE_SHARDS_MAX];
    struct store *store;
    struct channels *channels;
    struct fake_stream *streams[FAKE_STREAMS_MAX]; /* to be ended with the node */
    uint32_t stream_count;
};

/* Defaults, then 'adjust' (may be NULL) changes the configuration. */
struct fake_node *fake_node_new(uint32_t shard_count, void (*adjust)(struct config *config));
/* Ends all streams, waits until their channels are gone, and checks that nothing is left. */
void fake_node_free(struct fake_node *n);
/* One turn of each shard. */
void fake_node_turn(struct fake_node *n);
/* Turns until 'us' have passed, in steps of 'step_us'. */
void fake_node_pass(struct fake_node *n, uint64_t us, uint64_t step_us);
uint64_t fake_node_counter(const struct fake_node *n, size_t offset);
#define NODE_COUNTER(n, name) fake_node_counter((n), offsetof(struct counters, name))

/* A publisher: video of 30 fps with parts of 'part_us', and audio. */
struct fake_stream {
    struct publication publication;
    bool has_video;
    bool has_audio;
    uint32_t part_us;
    uint32_t parts_per_segment;
    uint32_t video_bytes; /* per part */
    uint32_t audio_bytes;
    uint32_t audio_rate_hz;
    /* where it is */
    int64_t media_us;
    uint64_t segment;
    uint32_t part;
    bool is_discontinuous; /* the next segment */
    bool is_numbered_by_packager;
    /* what happened */
    int granted_count;
    int revoked_count;
    int revoked_error;
};

/* Zeroed, then with video, audio, parts of 200 ms and ten of them in a segment. */
void fake_stream_init(struct fake_stream *f);
void fake_stream_begin(struct fake_stream *f, struct fake_node *n, uint32_t shard,
                       const char *name);
/* As fake_stream_begin(), without a turn of the shards. */
void fake_stream_ask(struct fake_stream *f, struct fake_node *n, uint32_t shard, const char *name);
/* Sends the init segments. */
void fake_stream_announce(struct fake_stream *f);
/* One part of each track. */
void fake_stream_send_parts(struct fake_stream *f);
/* One part of each track, then time passes by its duration. */
void fake_stream_part(struct fake_stream *f, struct fake_node *n);
void fake_stream_parts(struct fake_stream *f, struct fake_node *n, uint32_t count);
void fake_stream_send(struct fake_stream *f, const struct fake_command *command);

#endif
