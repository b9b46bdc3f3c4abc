#include "dataplane/media/channel_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    WAKE_BATCH = 1024, /* waiters called before the shard's other work gets its turn */
    KEPT_EXTRA_MAX = 60,
    PARTS_SLACK = 16 /* parts that are cut early, beside the regular ones */
};

/* --- set-up --- */

static struct window_limits window_limits_of(const struct config *config)
{
    uint32_t listed = (uint32_t)config->media_window;
    uint64_t parts = config->media_segment_max / config->media_part * 2 + PARTS_SLACK;

    /* RFC 8216 6.2.2: a segment stays available for as long as the longest playlist that listed
     * it, after it has left the playlist. Bounded, for long windows. */
    uint32_t extra = listed < KEPT_EXTRA_MAX ? listed : KEPT_EXTRA_MAX;
    return (struct window_limits){
        .listed = listed,
        .kept = listed + extra,
        .parts_max = (uint32_t)parts,
        .part_us = config->media_part * 1000,
    };
}

static struct packager_limits packager_limits_of(const struct config *config)
{
    uint64_t bytes_max = config->rtmp_message_max + 65536; /* an access unit and its head */

    return (struct packager_limits){
        .part_us = (uint32_t)config->media_part * 1000,
        .segment_us = (uint32_t)config->media_segment * 1000,
        .segment_max_us = (uint32_t)config->media_segment_max * 1000,
        .part_bytes_max = bytes_max < UINT32_MAX ? (uint32_t)bytes_max : UINT32_MAX,
    };
}

static int channel_init(struct channels *c, uint32_t index)
{
    struct channel *ch = &c->all[index];
    struct window_limits window_limits = window_limits_of(c->config);
    struct packager_limits packager_limits = packager_limits_of(c->config);

    ch->channels = c;
    ch->shards = &c->channel_shards[(size_t)index * c->shard_count];
    for (uint32_t i = 0; i < c->shard_count; i++) {
        list_init(&ch->shards[i].waiters);
        list_init(&ch->shards[i].woken);
        ch->shards[i].channel = ch;
    }
    ch->timer.fire = channel_fire_timer;
    ch->settle_timer.fire = channel_fire_settle;
    ch->retry_timer.fire = channel_fire_retry;
    list_push_back(&c->free, &ch->link);
    if (window_init(&ch->window, &window_limits) < 0 ||
        snapshots_init(&ch->snapshots, ch, ch->window.capacity) < 0)
        return -ENOMEM;
    ch->lost_inits = calloc(TRACKS_MAX, sizeof(*ch->lost_inits));
    ch->packager = packager_new(&packager_limits, &channel_packager_sink, ch, &c->unhomed);
    return ch->lost_inits == NULL || ch->packager == NULL ? -ENOMEM : 0;
}

static void channel_fini(struct channel *ch)
{
    packager_free(&ch->packager);
    free(ch->lost_inits);
    snapshots_fini(&ch->snapshots);
    window_fini(&ch->window);
}

/* Zeroed memory on cache lines; pages that are never used cost nothing. */
static void *alloc_lines(size_t count, size_t size)
{
    void *memory = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static void free_lines(void *memory, size_t count, size_t size)
{
    if (memory != NULL)
        munmap(memory, count * size);
}

struct channels *channels_new(const struct config *config, struct store *store,
                              uint32_t shard_count)
{
    CHECK(shard_count > 0 && shard_count <= SHARDS_MAX);
    struct channels *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->config = config;
    c->store = store;
    c->shard_count = shard_count;
    c->count = (uint32_t)config->store_channels_max;
    c->bucket_mask = 1;
    while (c->bucket_mask < c->count)
        c->bucket_mask = c->bucket_mask * 2 + 1;
    atomic_flag_clear(&c->lock);
    list_init(&c->free);
    c->shards = alloc_lines(shard_count, sizeof(*c->shards));
    c->all = alloc_lines(c->count, sizeof(*c->all));
    c->channel_shards = alloc_lines((size_t)c->count * shard_count, sizeof(*c->channel_shards));
    c->buckets = calloc((size_t)c->bucket_mask + 1, sizeof(*c->buckets));
    bool is_ok =
        c->shards != NULL && c->all != NULL && c->channel_shards != NULL && c->buckets != NULL;
    for (uint32_t i = 0; i < c->count && is_ok; i++)
        is_ok = channel_init(c, i) == 0;
    if (!is_ok)
        channels_free(&c);
    return c;
}

void channels_free(struct channels **pc)
{
    struct channels *c = *pc;

    *pc = NULL;
    if (c == NULL)
        return;
    for (uint32_t i = 0; i < c->count && c->all != NULL; i++)
        channel_fini(&c->all[i]);
    free(c->buckets);
    free_lines(c->channel_shards, (size_t)c->count * c->shard_count, sizeof(*c->channel_shards));
    free_lines(c->all, c->count, sizeof(*c->all));
    free_lines(c->shards, c->shard_count, sizeof(*c->shards));
    free(c);
}

static void channel_fire_wake(struct timer *t, uint64_t now_us);

int channels_attach(struct channels *c, struct shard *s)
{
    if (s->index >= c->shard_count || c->shards[s->index].shard != NULL)
        return -EINVAL;
    struct channels_shard *own = &c->shards[s->index];

    own->shard = s;
    list_init(&own->homed);
    list_init(&own->waiting);
    for (uint32_t i = 0; i < c->count; i++) {
        struct channel_shard *cs = &c->all[i].shards[s->index];
        cs->shard = s;
        cs->wake_timer.fire = channel_fire_wake;
    }
    return 0;
}

/* --- registry --- */

/* FNV-1a; who chooses channel names is the operator, not the public. */
static uint32_t hash_name(struct bytes name)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ name.ptr[i]) * 16777619u;
    return hash;
}

static struct channel *_Atomic *bucket_of(struct channels *c, struct bytes name)
{
    return &c->buckets[hash_name(name) & c->bucket_mask];
}

/* Readers walk a bucket without a lock: a slot that is unlinked keeps its 'next' and its name
 * until a grace period has passed, so that a walk in progress finds its end. */
struct channel *channels_lookup(struct channels *c, struct bytes name)
{
    /* Acquire: pairs with the release in channels_link(). */
    struct channel *ch = atomic_load_explicit(bucket_of(c, name), memory_order_acquire);

    while (ch != NULL && !bytes_equal_str(name, ch->name))
        ch = atomic_load_explicit(&ch->next, memory_order_acquire);
    return ch;
}

void channels_link(struct channels *c, struct channel *ch, struct bytes name)
{
    struct channel *_Atomic *bucket = bucket_of(c, name);
    bool fits = bytes_to_str(name, ch->name, sizeof(ch->name));

    CHECK(fits);
    atomic_store_explicit(&ch->next, atomic_load_explicit(bucket, memory_order_relaxed),
                          memory_order_relaxed);
    /* Release: the name and 'next' before the slot can be found. */
    atomic_store_explicit(bucket, ch, memory_order_release);
}

void channels_unlink(struct channels *c, struct channel *ch)
{
    struct channel *_Atomic *link = bucket_of(c, bytes_of_str(ch->name));
    struct channel *at = atomic_load_explicit(link, memory_order_relaxed);

    while (at != ch) {
        CHECK(at != NULL);
        link = &at->next;
        at = atomic_load_explicit(link, memory_order_relaxed);
    }
    atomic_store_explicit(link, atomic_load_explicit(&ch->next, memory_order_relaxed),
                          memory_order_release);
}

struct channel *channel_find(struct channels *c, struct bytes name)
{
    return channels_lookup(c, name);
}

void channels_each(struct channels *c,
                   void (*each)(void *user, const char *name,
                                const struct channel_snapshot *snapshot),
                   void *user)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct channel_snapshot *snapshot = channel_snapshot(&c->all[i]);
        if (snapshot != NULL && !snapshot->is_ended)
            each(user, c->all[i].name, snapshot);
    }
}

const char *channel_name(const struct channel *ch)
{
    return ch->name;
}

uint64_t channel_generation(const struct channel *ch)
{
    return atomic_load_explicit(&ch->generation, memory_order_relaxed);
}

const struct channel_snapshot *channel_snapshot(const struct channel *ch)
{
    /* Acquire: pairs with the release in publish(). */
    return atomic_load_explicit(&ch->snapshot, memory_order_acquire);
}

const struct track_snapshot *snapshot_track(const struct channel_snapshot *s, struct bytes name)
{
    for (uint32_t i = 0; i < s->track_count; i++)
        if (bytes_equal_str(name, s->tracks[i].name))
            return &s->tracks[i];
    return NULL;
}

void channel_count_bytes(struct channel *ch, struct shard *s, uint64_t bytes)
{
    counter_add(&ch->shards[s->index].sent_bytes, bytes);
}

uint64_t channel_sent_bytes(const struct channel *ch)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ch->channels->shard_count; i++)
        sum += counter_read(&ch->shards[i].sent_bytes);
    return sum - counter_read(&ch->sent_bytes_before);
}

/* --- waiters ---
 *
 * A waiter looks at the snapshot, is not content, and waits. Between the two the home shard may
 * have published without seeing a waiter. So: the home shard stores 'sequence', then loads
 * 'is_waiting'; this shard stores 'is_waiting', then loads 'sequence' (all seq_cst): one of them
 * sees the other. When the sequence is newer than what this shard was last told of, the waiter
 * may have missed it, and is called once for nothing at worst. */

static void channel_call_woken(struct channel_shard *cs)
{
    struct list *node;
    uint32_t called = 0;

    while (called < WAKE_BATCH && (node = list_pop_front(&cs->woken)) != NULL) {
        struct channel_waiter *w = CONTAINER_OF(node, struct channel_waiter, link);
        counter_inc(&cs->shard->counters->channel_wakes);
        w->ready(w, cs->shard->now_us);
        called++;
    }
    if (!list_is_empty(&cs->woken))
        wheel_arm(&cs->shard->wheel, &cs->wake_timer, cs->shard->now_us);
}

static void channel_wake_here(struct channel_shard *cs)
{
    cs->woken_sequence = atomic_load_explicit(&cs->channel->sequence, memory_order_seq_cst);
    list_splice(&cs->woken, &cs->waiters);
    channel_call_woken(cs);
}

static void channel_fire_wake(struct timer *t, uint64_t now_us)
{
    (void)now_us;
    channel_wake_here(CONTAINER_OF(t, struct channel_shard, wake_timer));
}

static void channel_handle_wake(struct shard *s, const struct message *m)
{
    struct channel *ch = (struct channel *)(uintptr_t)m->args[0];

    channel_wake_here(&ch->shards[s->index]);
}

void channel_wake(struct channel *ch)
{
    const struct message wake = {.handle = channel_handle_wake, .args = {(uintptr_t)ch}};

    for (uint32_t i = 0; i < ch->channels->shard_count; i++) {
        struct channel_shard *cs = &ch->shards[i];
        if (!atomic_load_explicit(&cs->is_waiting, memory_order_seq_cst))
            continue;
        /* Before the message: who waits after it is woken may set it again. */
        atomic_store_explicit(&cs->is_waiting, false, memory_order_seq_cst);
        if (shard_post(ch->shard->all[i], &wake) == 0)
            continue;
        atomic_store_explicit(&cs->is_waiting, true, memory_order_seq_cst);
        counter_inc(&ch->shard->counters->mailbox_full);
        wheel_arm(&ch->shard->wheel, &ch->retry_timer, ch->shard->now_us + 1000);
    }
}

void channel_wait(struct channel *ch, struct shard *s, struct channel_waiter *w)
{
    struct channel_shard *cs = &ch->shards[s->index];

    list_push_back(&cs->waiters, &w->link);
    if (!atomic_load_explicit(&cs->is_waiting, memory_order_relaxed))
        atomic_store_explicit(&cs->is_waiting, true, memory_order_seq_cst);
    if (atomic_load_explicit(&ch->sequence, memory_order_seq_cst) != cs->woken_sequence &&
        !timer_is_armed(&cs->wake_timer))
        wheel_arm(&s->wheel, &cs->wake_timer, s->now_us);
}

void channel_wait_cancel(struct channel_waiter *w)
{
    list_remove(&w->link);
}
