/* snapshot.h - the immutable picture of a channel that all shards read.
 *
 *   snapshot_take()            FILLING    home shard; filled from the window
 *   published by the channel   PUBLISHED  read by all shards in RCU sections
 *   store_retire()             RETIRING   replaced; some shard may still be reading it
 *   snapshot_give()            FREE       its playlists and the segments evicted since are let go
 *
 * A snapshot holds references on its playlists. Segments are held by the window, which frees one
 * only together with the last snapshot that shows it ('evicted'). */
#ifndef DATAPLANE_MEDIA_SNAPSHOT_H
#define DATAPLANE_MEDIA_SNAPSHOT_H

#include "dataplane/media/hls.h"
#include "dataplane/media/window.h"

/* The channel is read at its old picture while every shard passes a quiescent point. */
enum { SNAPSHOTS_PER_CHANNEL = 8 };

struct snapshot {
    struct channel_snapshot shown; /* what readers get a pointer to */
    struct channel *channel;
    struct segment *evicted; /* to be freed with it */
    uint64_t evicted_bytes;  /* held by those */
    struct snapshot *next;
    struct segment_entry *entries[TRACKS_MAX]; /* snapshots.capacity each */
    struct object **inits[TRACKS_MAX];
    uint32_t *init_ids[TRACKS_MAX];
};

/* One channel's pool of them. */
struct snapshots {
    struct snapshot all[SNAPSHOTS_PER_CHANNEL];
    struct snapshot *free;
    uint32_t capacity; /* segments per track */
    void *memory;
    size_t memory_bytes;
};

/* 0 or -ENOMEM. */
int snapshots_init(struct snapshots *pool, struct channel *channel, uint32_t capacity);
void snapshots_fini(struct snapshots *pool);

/* NULL: all in use. */
struct snapshot *snapshot_take(struct snapshots *pool);
/* Releases what it holds, except 'evicted', which must have been freed. */
void snapshot_give(struct snapshots *pool, struct snapshot *snap);

/* Renders the playlists of 'w' and lists its segments. 'multivariant' and 'mpd' get a reference
 * each. -ENOMEM: no media memory for a playlist; 'snap' is to be given back. */
int snapshot_fill(struct snapshot *snap, const struct window *w,
                  const struct manifest_options *options, struct store_shard *store,
                  struct object *multivariant, struct object *mpd);

#endif
