/* channel_private.h - inside of a channel, shared by the files that implement channel.h:
 *
 *   channel.c        the registry: names to slots, snapshots, waiters
 *   channel_feed.c   the home shard: from the packager's parts to published snapshots
 *   publication.c    who may publish, and from which shard
 *   channel_report.c what the operator is told, and the viewers it counts
 *   live_path.c      URLs
 *
 * Life of a slot, by its home shard:
 *
 *   FREE    in channels.free; no name
 *   LIVE    a publisher holds it
 *   GRACE   the publisher is gone; 'timer' runs until media.reconnect_grace is over
 *   ENDED   playlists end; 'timer' runs until nobody needs them any more; a new publisher
 *           starts a new generation
 *   CLOSING no longer to be found; its last snapshots are being retired */
#ifndef DATAPLANE_MEDIA_CHANNEL_PRIVATE_H
#define DATAPLANE_MEDIA_CHANNEL_PRIVATE_H

#include <stdatomic.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/media/channel.h"
#include "dataplane/media/packager.h"
#include "dataplane/media/snapshot.h"
#include "dataplane/media/window.h"

enum channel_state { CHANNEL_FREE, CHANNEL_LIVE, CHANNEL_GRACE, CHANNEL_ENDED, CHANNEL_CLOSING };

enum {
    CACHE_LINE = 64,
    CHANNEL_INIT_BYTES_MAX = 8192, /* larger init segments do not come (cmaf.h) */
    CHANNEL_MOVING = 1 << 30       /* in channel.home: on its way to that shard */
};

/* What one shard has of a channel. */
struct channel_shard {
    /* Whether the home shard must wake this one after a snapshot. Set by this shard, cleared by
     * the home shard when it posts the wake. */
    _Alignas(CACHE_LINE) atomic_bool is_waiting;
    struct list waiters;     /* for the next snapshot */
    struct list woken;       /* being called, in batches */
    uint64_t woken_sequence; /* newest snapshot of which this shard was told */
    struct timer wake_timer; /* a wake that could not be posted, or that this shard owes itself */
    struct channel *channel;
    struct shard *shard; /* once attached */
    _Atomic uint64_t sent_bytes;
    /* Connections that fetched in the present interval and in the one before, at index slot % 2:
     * the slot in the high half, their count in the low one. Written by this shard. */
    _Atomic uint64_t viewers[2];
};

/* An init segment that could not be stored for want of memory, kept to try again. */
struct channel_init {
    struct track_info info;
    uint32_t timescale;
    uint32_t size; /* 0: none */
    uint8_t bytes[CHANNEL_INIT_BYTES_MAX];
};

struct channel {
    /* Read by all shards; written by the home shard. */
    _Alignas(CACHE_LINE) const struct channel_snapshot *_Atomic snapshot;
    _Atomic uint64_t sequence;          /* counts snapshots */
    _Atomic uint64_t generation;        /* counts the slot's lives */
    _Atomic uint32_t home;              /* shard index, | CHANNEL_MOVING */
    _Atomic uint64_t sent_bytes_before; /* by earlier lives of the slot */
    struct channel *_Atomic next;       /* in its bucket */
    char name[CHANNEL_NAME_MAX + 1];    /* written before it is linked */
    struct channels *channels;
    struct channel_shard *shards; /* one per shard */

    /* Home shard only. */
    _Alignas(CACHE_LINE) struct shard *shard;
    enum channel_state state;
    struct publication *publication; /* NULL: none */
    struct timer timer;
    struct timer settle_timer; /* the window has changed in this turn */
    struct timer retry_timer;  /* for what could not be done at once */
    struct list link;          /* in channels_shard.homed; of a FREE slot: in channels.free */
    struct packager *packager;
    struct window window;
    struct snapshots snapshots;
    struct snapshot *current;   /* the published one */
    struct snapshot *unretired; /* replaced, but the retire queue was full */
    struct segment *evicted;    /* since the current snapshot: freed with it */
    uint64_t evicted_bytes;
    uint32_t retiring_count; /* snapshots that some shard may still be reading */
    struct object *multivariant;
    struct object *mpd;
    struct object *staging[TRACKS_MAX]; /* the part that the packager is filling */
    struct channel_init *lost_inits;    /* TRACKS_MAX of them */
    struct manifest_options options;
    uint64_t first_part_us; /* 0: none yet */
    bool is_shown;          /* options are fixed */
    bool is_dirty;          /* the window is ahead of the current snapshot */
    bool is_mpd_stale;
    bool is_multivariant_stale;

    /* A move to another shard that waits until nothing here refers to this shard. */
    bool is_leaving;
    uint32_t leaving_to;
    uint64_t leaving_serial;
};

struct channels_shard {
    _Alignas(CACHE_LINE) struct shard *shard;
    struct list homed;
    struct list waiting; /* publications that want an answer */
    uint64_t next_serial;
    uint64_t retiring_bytes;   /* evicted, not yet back in the arena */
    uint64_t last_eviction_us; /* for want of memory; 0: never */
};

struct channels {
    const struct config *config;
    struct store *store;
    uint32_t shard_count;
    uint32_t count; /* of slots */
    uint32_t bucket_mask;
    struct channels_shard *shards;
    struct channel *all;
    struct channel_shard *channel_shards;
    struct channel *_Atomic *buckets;
    struct counters unhomed; /* where the packagers of free slots would count */
    /* Guards linking, unlinking and the free list: for less than a microsecond, at the begin and
     * the end of channels, never on the way to a viewer. */
    atomic_flag lock;
    struct list free;
};

/* --- channel.c --- */

static inline void channels_lock(struct channels *c)
{
    /* Acquire: pairs with the release in channels_unlock(). */
    while (atomic_flag_test_and_set_explicit(&c->lock, memory_order_acquire))
        continue;
}

static inline void channels_unlock(struct channels *c)
{
    atomic_flag_clear_explicit(&c->lock, memory_order_release);
}

struct channel *channels_lookup(struct channels *c, struct bytes name);
/* Under the lock. */
void channels_link(struct channels *c, struct channel *ch, struct bytes name);
void channels_unlink(struct channels *c, struct channel *ch);
/* Tells every shard that has waiters of a new snapshot. Home shard. */
void channel_wake(struct channel *ch);

/* --- channel_feed.c --- */

/* The packager's sink; its user is the channel. */
extern const struct packager_sink channel_packager_sink;

/* A new generation begins on this shard: empty window, numbers from the clock. */
void channel_open(struct channel *ch, struct shard *s);
/* Shows what has changed, if anything has. */
void channel_settle(struct channel *ch);
/* The same at the end of the shard's turn: one snapshot for all the units that came in it. To be
 * called after each call into the packager. */
void channel_settle_soon(struct channel *ch);
void channel_fire_settle(struct timer *t, uint64_t now_us);
/* The publisher is gone: all that it sent is shown, and the grace time starts. */
void channel_lose_publisher(struct channel *ch, uint64_t now_us);
/* Nothing is shown any more; the window is emptied. */
void channel_clear(struct channel *ch);
void channel_fire_timer(struct timer *t, uint64_t now_us);
void channel_fire_retry(struct timer *t, uint64_t now_us);

/* --- publication.c --- */

/* Hands the channel to the shard that it is leaving to, once nothing holds it back. */
void channel_try_leave(struct channel *ch);

#endif
