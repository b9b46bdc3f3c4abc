/* channel.h - live channels: who publishes, what viewers can fetch, who waits for what.
 *
 * One channel has one home shard at a time, the one whose publisher feeds it; it alone writes.
 * For readers it publishes immutable snapshots:
 *
 *   channel_find()      any shard; the channel stays valid for the process's life (slots are
 *                       reused: compare channel_generation())
 *   channel_snapshot()  any shard, inside an RCU section (store.h); NULL: nothing to watch yet
 *
 * A new snapshot is made once per finished part, with its playlists rendered into objects, so
 * that a viewer costs no rendering. Waiting requests (LL-HLS blocking reload, preload hints, the
 * DASH segment in progress) sit on a per-shard list and are called after each new snapshot. */
#ifndef DATAPLANE_MEDIA_CHANNEL_H
#define DATAPLANE_MEDIA_CHANNEL_H

#include "common/list.h"
#include "common/wheel.h"
#include "dataplane/media/media.h"
#include "dataplane/store/store.h"

struct channel;
struct channels; /* the registry, one per process */
struct config;
struct shard;

/* One part: 'object' is its bytes (moof + mdat); NULL: a gap, to be answered with 404. */
struct part_entry {
    struct object *object;
    uint32_t duration; /* track timescale */
    bool is_independent;
};

/* One segment: its bytes are those of its parts in order. */
struct segment_entry {
    const struct part_entry *parts;
    uint32_t part_count;
    uint32_t init_index; /* in track_snapshot.inits */
    uint64_t msn;        /* media sequence number; the same in all tracks */
    uint64_t size;       /* bytes of all parts so far */
    bool is_complete;    /* false only for the last one: it still grows */
};

struct track_snapshot {
    enum media_kind kind;
    char name[16];                 /* in URLs: "video", "audio", "video2", … */
    struct object *playlist;       /* HLS media playlist, full */
    struct object *playlist_delta; /* with EXT-X-SKIP; NULL: nothing to skip yet */
    const struct segment_entry *segments;
    uint32_t segment_count;
    uint64_t first_msn;          /* of segments[0]; numbers are consecutive */
    uint64_t next_msn;           /* of the next part to come … */
    uint32_t next_part;          /* … and its index in its segment */
    struct object *const *inits; /* the init segments that the listed segments use */
    const uint32_t *init_ids;    /* number in the URL of each */
    uint32_t init_count;
};

struct channel_snapshot {
    struct object *multivariant; /* index.m3u8 */
    struct object *mpd;          /* manifest.mpd */
    uint64_t part_target_us;
    uint64_t segment_target_us;
    uint32_t track_count;
    bool is_live;  /* false in the reconnect grace: viewers wait */
    bool is_ended; /* the grace is over: the playlists have EXT-X-ENDLIST, nothing more will come,
                      waiting is in vain; the channel can be fetched for a minute more */
    struct track_snapshot tracks[TRACKS_MAX];
};

/* URLs below /live/NAME/ (no other component builds or parses them):
 *   index.m3u8  manifest.mpd
 *   TRACK.m3u8              media playlist
 *   TRACK-init-ID.mp4       init segment
 *   TRACK-MSN.m4s           segment
 *   TRACK-MSN.PART.m4s      part */
enum live_kind {
    LIVE_NONE,
    LIVE_MULTIVARIANT,
    LIVE_MPD,
    LIVE_PLAYLIST,
    LIVE_INIT,
    LIVE_SEGMENT,
    LIVE_PART
};

struct live_path {
    enum live_kind kind;
    struct bytes track;
    uint64_t number; /* MSN or init id */
    uint32_t part;
};

/* Parses what follows "/live/NAME/". kind LIVE_NONE: no such thing. Borrows. */
struct live_path live_path_parse(struct bytes path);

struct channels *channels_new(const struct config *config, struct store *store,
                              uint32_t shard_count);
void channels_free(struct channels **c);
/* Called once on each shard's thread before it runs. 0 or -errno. */
int channels_attach(struct channels *c, struct shard *s);

/* NULL: not live (never published, or its grace time is over). Any shard. */
struct channel *channel_find(struct channels *c, struct bytes name);
/* Calls 'each' for every channel that can be watched (ended ones are left out), with its name and
 * snapshot. RCU section. */
void channels_each(struct channels *c,
                   void (*each)(void *user, const char *name,
                                const struct channel_snapshot *snapshot),
                   void *user);
const char *channel_name(const struct channel *ch);
uint64_t channel_generation(const struct channel *ch);
const struct channel_snapshot *channel_snapshot(const struct channel *ch);
const struct track_snapshot *snapshot_track(const struct channel_snapshot *s, struct bytes name);

/* A request that waits for something new. */
struct channel_waiter {
    struct list link;
    /* After a new snapshot, or when the channel ended: look again (channel_find may be NULL
     * now). Taken off the list before; may wait again. */
    void (*ready)(struct channel_waiter *w, uint64_t now_us);
};

/* On the waiter's shard. */
void channel_wait(struct channel *ch, struct shard *s, struct channel_waiter *w);
void channel_wait_cancel(struct channel_waiter *w);

/* Viewer accounting: bytes sent to viewers of the channel from shard 's', on that shard. */
void channel_count_bytes(struct channel *ch, struct shard *s, uint64_t bytes);
/* The sum over all shards since the channel's present generation began. Any shard. */
uint64_t channel_sent_bytes(const struct channel *ch);
/* A connection fetches from the channel, on shard 's'. '*slot' is the connection's memory, 0 at
 * first: it is counted once in an interval of CHANNEL_VIEWERS_US. */
void channel_count_viewer(struct channel *ch, struct shard *s, uint32_t *slot);

enum { CHANNEL_VIEWERS_US = 5000000 };

/* Calls 'each' with the state of every channel that 's' is home of, on that shard. */
struct link_channel_report;
void channels_report(struct channels *c, struct shard *s,
                     void (*each)(void *user, const struct link_channel_report *report),
                     void *user);

/* --- publishing --- */

/* A publisher's hold on a channel, embedded in its session and zeroed before its first use.
 *
 *   publication_begin()   WAITING  until the channel's home shard has answered
 *   granted()             HELD     media may be sent
 *   revoked() or
 *   publication_end()     IDLE     may begin again, or be freed */
struct publication {
    struct channel *channel;
    struct shard *shard;
    uint64_t cookie;
    /* The hold was granted; media may be sent. On p->shard. */
    void (*granted)(struct publication *p, uint64_t now_us);
    /* Refused (-ENOSPC: channels_max, -ETIMEDOUT) or taken over by a newer publisher with the right
     * key (-ESTALE): the session must end. p is no longer held. On p->shard. */
    void (*revoked)(struct publication *p, int error, uint64_t now_us);

    /* Used by channel.c only. */
    uint32_t state;
    uint64_t serial; /* names this hold in messages between shards */
    uint64_t deadline_us;
    struct channels *channels;
    struct list link; /* while WAITING */
    struct timer timer;
    char name[CHANNEL_NAME_MAX + 1];
};

/* The right key was shown: publish to 'name' from shard 's'. Takes the channel over from a present
 * publisher, across shards. Answer by granted() or revoked(), never from inside the call. */
void publication_begin(struct publication *p, struct channels *c, struct shard *s,
                       struct bytes name);
/* The session ended (by itself or by a lost connection): the grace time starts. Idempotent. */
void publication_end(struct publication *p, uint64_t now_us);

/* Media of a HELD publication, as in media_sink; -ESTALE: it is not held. */
int publication_track(struct publication *p, uint8_t track, const struct track_info *info,
                      uint64_t now_us);
int publication_unit(struct publication *p, const struct access_unit *au, uint64_t now_us);

#endif
