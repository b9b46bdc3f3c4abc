/* The home shard's side of a channel: the packager's parts go into the window, and after each
 * call into the packager what changed is rendered and published. */
#include "dataplane/media/channel_private.h"

#include "common/log.h"
#include "dataplane/media/dash.h"

enum {
    /* Numbers count from here, so that they stay small (DASH's startNumber has 32 bits) and yet
     * come from the clock: 2025-01-01T00:00:00Z. */
    NUMBERS_EPOCH_S = 1735689600,
    TARGET_SLACK_US = 100000,   /* TARGETDURATION covers segments longer by this than the first */
    PART_TARGET_STEP_US = 1000, /* PART-TARGET is rounded up to this */
    SHOW_SEGMENTS_MAX = 2,      /* shown after so many segment targets, whatever is missing */
    LINGER_US = 60000000,       /* how long an ended channel can still be fetched */
    RETRY_US = 10000,
    EPISODE_US = 30000000, /* evictions this close together are one lack of memory */
    RESERVE_SHIFT = 4      /* a sixteenth of the arena is kept free, for what readers hold */
};

static struct counters *counters_of(const struct channel *ch)
{
    return ch->shard->counters;
}

/* --- numbers --- */

/* Segment numbers come from the clock when a channel begins: the time since the epoch above, in
 * segment targets. They stay behind the clock, so that a data plane that was restarted, or another
 * one fed with the same stream, continues forward: the packager ends a segment no earlier than half
 * a video frame before the target, so numbers grow no faster than the clock, on average; a segment
 * cut short by a publisher's loss is followed by at least as much time without one. The rest (IDRs
 * half a frame early for hours) is counted: channel_numbers_ahead. */
static uint64_t number_from_clock(const struct channel *ch)
{
    int64_t us = ch->shard->wall_us - (int64_t)NUMBERS_EPOCH_S * 1000000;

    return us > 0 ? (uint64_t)us / ch->options.segment_us : 0;
}

/* --- memory --- */

static struct channels_shard *home_of(const struct channel *ch)
{
    return &ch->channels->shards[ch->shard->index];
}

/* Frees what no snapshot has ever shown, or that is not even waiting for one to go. */
static void free_unseen(struct channel *ch)
{
    if (ch->current != NULL || ch->retiring_count > 0)
        return;
    window_free_segments(&ch->window, ch->evicted);
    home_of(ch)->retiring_bytes -= ch->evicted_bytes;
    ch->evicted = NULL;
    ch->evicted_bytes = 0;
}

static void channel_evict(struct channel *ch, uint64_t below_msn)
{
    uint64_t held_before = ch->window.held_bytes;

    window_evict(&ch->window, below_msn, &ch->evicted);
    uint64_t freed_bytes = held_before - ch->window.held_bytes;
    ch->evicted_bytes += freed_bytes;
    home_of(ch)->retiring_bytes += freed_bytes;
    ch->is_dirty = true;
    ch->is_mpd_stale = true;
    free_unseen(ch);
}

/* As evicted, what the window took off by itself. */
static void channel_take_cast_off(struct channel *ch)
{
    while (ch->window.cast_off != NULL) {
        struct segment *s = ch->window.cast_off;
        ch->window.cast_off = s->next;
        s->next = ch->evicted;
        ch->evicted = s;
        ch->evicted_bytes += s->held_bytes;
        home_of(ch)->retiring_bytes += s->held_bytes;
    }
    free_unseen(ch);
}

/* Removes the oldest segment for want of memory, before its time if it is still listed. */
static void channel_evict_oldest(struct channel *ch)
{
    struct channels_shard *own = home_of(ch);
    uint64_t now_us = ch->shard->now_us;
    bool was_listed = window_complete_count(&ch->window) <= ch->window.limits.listed;

    channel_evict(ch, window_first_msn(&ch->window) + 1);
    if (!was_listed)
        return;
    counter_inc(&counters_of(ch)->channel_segments_evicted);
    if (own->last_eviction_us == 0 || now_us - own->last_eviction_us > EPISODE_US)
        log_warn("store",
                 LOG_MSG("media memory is short: oldest segments are removed early; raise "
                         "store.memory or store.channel_memory, or lower media.window"),
                 LOG_STR("channel", ch->name),
                 LOG_INT("used", store_shard_used_bytes(ch->shard->store)),
                 LOG_INT("size", store_shard_size_bytes(ch->shard->store)),
                 LOG_INT("channel_held", ch->window.held_bytes));
    own->last_eviction_us = now_us;
}

/* The channel of this shard whose oldest complete segment is the oldest; NULL: none has one. */
static struct channel *shard_oldest_channel(struct channels_shard *own)
{
    struct channel *oldest = NULL;
    int64_t oldest_us = INT64_MAX;

    list_for_each (node, &own->homed) {
        struct channel *ch = CONTAINER_OF(node, struct channel, link);
        int64_t wall_us = window_oldest_wall_us(&ch->window);
        if (wall_us < oldest_us) {
            oldest = ch;
            oldest_us = wall_us;
        }
    }
    return oldest;
}

/* Evicts until 'size' more bytes leave the arena its reserve. What is evicted comes back only
 * after a grace period: the reserve is what is used meanwhile. */
static void shard_make_room(struct channel *ch, uint64_t size)
{
    struct channels_shard *own = home_of(ch);
    struct store_shard *store = ch->shard->store;
    uint64_t arena_bytes = store_shard_size_bytes(store);
    uint64_t limit_bytes = arena_bytes - (arena_bytes >> RESERVE_SHIFT);

    while (store_shard_used_bytes(store) + size > limit_bytes + own->retiring_bytes) {
        struct channel *oldest = shard_oldest_channel(own);
        if (oldest == NULL)
            return;
        channel_evict_oldest(oldest);
        if (oldest != ch)
            channel_settle(oldest);
    }
}

/* An object on the home shard; NULL: no memory, even after evicting. */
static struct object *channel_object(struct channel *ch, uint64_t size)
{
    const struct config *config = ch->channels->config;

    /* What could never be had must not push out everything else. */
    if (size > store_shard_size_bytes(ch->shard->store) / 4 || size > config->store_channel_memory)
        return NULL;
    while (ch->window.held_bytes + size > config->store_channel_memory) {
        if (window_oldest_wall_us(&ch->window) == INT64_MAX)
            return NULL;
        channel_evict_oldest(ch);
    }
    shard_make_room(ch, size);
    struct object *o = object_new(ch->shard->store, (uint32_t)size);
    struct channel *oldest = o == NULL ? shard_oldest_channel(home_of(ch)) : NULL;
    if (oldest != NULL) {
        /* There is memory, in pieces. This part is lost, the next one may not be. */
        channel_evict_oldest(oldest);
        if (oldest != ch)
            channel_settle(oldest);
    }
    return o;
}

/* --- the packager's sink --- */

static bool channel_store_init(struct channel *ch, uint8_t track)
{
    struct channel_init *init = &ch->lost_inits[track];
    struct object *o = channel_object(ch, init->size);

    if (o == NULL)
        return false;
    memcpy(object_data(o), init->bytes, init->size);
    object_seal(o);
    window_set_init(&ch->window, track, &init->info, init->timescale, o);
    init->size = 0;
    ch->is_multivariant_stale = true;
    return true;
}

static void feed_init(void *user, uint8_t track, const struct track_info *info, uint32_t timescale,
                      struct bytes init_segment)
{
    struct channel *ch = user;
    struct channel_init *init = &ch->lost_inits[track];

    CHECK(init_segment.size > 0 && init_segment.size <= CHANNEL_INIT_BYTES_MAX);
    init->info = *info;
    init->timescale = timescale;
    init->size = (uint32_t)init_segment.size;
    memcpy(init->bytes, init_segment.ptr, init_segment.size);
    (void)channel_store_init(ch, track); /* else: tried again before the track's next part */
}

static uint8_t *feed_part_begin(void *user, uint8_t track, uint32_t size)
{
    struct channel *ch = user;

    object_unref(&ch->staging[track]);
    if (ch->lost_inits[track].size == 0 || channel_store_init(ch, track))
        ch->staging[track] = channel_object(ch, size);
    if (ch->staging[track] != NULL)
        return object_data(ch->staging[track]);
    counter_inc(&counters_of(ch)->channel_parts_without_memory);
    return NULL;
}

static void feed_count_part(struct channel *ch, const struct packaged_part *part, unsigned flags)
{
    struct counters *counters = counters_of(ch);
    const struct window_track *t = &ch->window.tracks[part->track];
    int64_t duration_us = t->timescale > 0 ? window_to_us(part->duration, t->timescale) : 0;

    if ((flags & WINDOW_PART_DROPPED) != 0)
        counter_inc(&counters->channel_parts_dropped);
    if (ch->is_shown && !part->is_gap && duration_us > (int64_t)ch->options.part_target_us)
        counter_inc(&counters->channel_parts_too_long);
    if ((flags & WINDOW_SEGMENT_ENDED) != 0) {
        const struct segment *s = window_segment(t, t->count - 1);
        counter_inc(&counters->channel_segments);
        if (ch->is_shown &&
            segment_duration_us(s) >= (int64_t)ch->options.target_duration_s * 1000000 + 500000)
            counter_inc(&counters->channel_segments_too_long);
    }
    if ((flags & WINDOW_SEGMENT_STARTED) == 0)
        return;
    if (!part->is_independent && !part->is_gap)
        counter_inc(&counters->channel_segments_dependent);
    if (t->next_msn > number_from_clock(ch) + 2)
        counter_inc(&counters->channel_numbers_ahead);
}

static void feed_part_end(void *user, const struct packaged_part *part)
{
    struct channel *ch = user;
    struct object *o = ch->staging[part->track];

    ch->staging[part->track] = NULL;
    if (o != NULL && part->is_gap)
        object_unref(&o);
    if (o != NULL) {
        object_seal(o);
        counter_inc(&counters_of(ch)->channel_parts);
        counter_add(&counters_of(ch)->channel_part_bytes, object_size(o));
    }
    unsigned flags = window_add_part(&ch->window, part, o);

    if (ch->first_part_us == 0)
        ch->first_part_us = ch->shard->now_us;
    ch->is_dirty = true;
    if ((flags & (WINDOW_SEGMENT_STARTED | WINDOW_SEGMENT_ENDED)) != 0) {
        ch->is_mpd_stale = true;
        ch->is_multivariant_stale = true;
    }
    feed_count_part(ch, part, flags);
    if (ch->window.cast_off != NULL)
        channel_take_cast_off(ch);
    while (window_complete_count(&ch->window) > ch->window.limits.kept)
        channel_evict(ch, window_first_msn(&ch->window) + 1);
}

const struct packager_sink channel_packager_sink = {
    .init = feed_init,
    .part_begin = feed_part_begin,
    .part_end = feed_part_end,
};

/* --- publishing snapshots --- */

static void release_snapshot(void *argument)
{
    struct snapshot *snap = argument;
    struct channel *ch = snap->channel;

    window_free_segments(&ch->window, snap->evicted);
    home_of(ch)->retiring_bytes -= snap->evicted_bytes;
    snap->evicted = NULL;
    snap->evicted_bytes = 0;
    snapshot_give(&ch->snapshots, snap);
    CHECK(ch->retiring_count > 0);
    ch->retiring_count--;
    channel_try_leave(ch);
}

static void retry_later(struct channel *ch)
{
    if (!timer_is_armed(&ch->retry_timer))
        wheel_arm(&ch->shard->wheel, &ch->retry_timer, ch->shard->now_us + RETRY_US);
}

/* Retires what was replaced, oldest first, so that a segment outlives every snapshot it is in. */
static void retire_replaced(struct channel *ch)
{
    while (ch->unretired != NULL) {
        struct snapshot *snap = ch->unretired;
        if (store_retire(ch->shard->store, release_snapshot, snap) < 0) {
            retry_later(ch);
            return;
        }
        ch->unretired = snap->next;
    }
}

static void publish(struct channel *ch, struct snapshot *snap)
{
    struct snapshot *replaced = ch->current;

    ch->current = snap;
    /* Release: pairs with the acquire in channel_snapshot(). */
    atomic_store_explicit(&ch->snapshot, snap == NULL ? NULL : &snap->shown, memory_order_release);
    /* seq_cst: see "waiters" in channel.c. */
    atomic_fetch_add_explicit(&ch->sequence, 1, memory_order_seq_cst);
    if (replaced != NULL) {
        struct snapshot **last = &ch->unretired;
        while (*last != NULL)
            last = &(*last)->next;
        *last = replaced;
        replaced->next = NULL;
        replaced->evicted = ch->evicted;
        replaced->evicted_bytes = ch->evicted_bytes;
        ch->evicted = NULL;
        ch->evicted_bytes = 0;
        ch->retiring_count++;
    }
    free_unseen(ch);
    retire_replaced(ch);
    channel_wake(ch);
}

/* Renders into a new object; NULL: no memory. */
static struct object *render_multivariant(struct channel *ch)
{
    struct object *o = object_new_brief(ch->shard->store, hls_multivariant_bytes_max(&ch->window));

    if (o == NULL)
        return NULL;
    struct writer out = writer_of(object_data(o), object_size(o));
    hls_render_multivariant(&out, &ch->window);
    CHECK(writer_is_ok(&out)); /* hls_multivariant_bytes_max() is too small */
    object_trim(o, (uint32_t)out.size);
    object_seal(o);
    return o;
}

static struct object *render_mpd(struct channel *ch)
{
    struct object *o = object_new_brief(ch->shard->store, dash_bytes_max(&ch->window));

    if (o == NULL)
        return NULL;
    struct writer out = writer_of(object_data(o), object_size(o));
    window_freeze_periods(&ch->window);
    dash_render(&out, &ch->window, &ch->options, ch->shard->wall_us);
    CHECK(writer_is_ok(&out)); /* dash_bytes_max() is too small */
    object_trim(o, (uint32_t)out.size);
    object_seal(o);
    return o;
}

static bool refresh(struct object **manifest, bool *is_stale,
                    struct object *(*render)(struct channel *), struct channel *ch)
{
    if (!*is_stale && *manifest != NULL)
        return true;
    struct object *fresh = render(ch);
    if (fresh == NULL)
        return false;
    object_unref(manifest);
    *manifest = fresh;
    *is_stale = false;
    return true;
}

static void channel_publish(struct channel *ch)
{
    struct snapshot *snap = snapshot_take(&ch->snapshots);

    if (snap != NULL &&
        refresh(&ch->multivariant, &ch->is_multivariant_stale, render_multivariant, ch) &&
        refresh(&ch->mpd, &ch->is_mpd_stale, render_mpd, ch) &&
        snapshot_fill(snap, &ch->window, &ch->options, ch->shard->store, ch->multivariant,
                      ch->mpd) == 0) {
        ch->is_dirty = false;
        if (dash_holds_back(&ch->window, &ch->options, ch->shard->wall_us))
            ch->is_mpd_stale = true;
        counter_inc(&counters_of(ch)->channel_snapshots);
        publish(ch, snap);
        return;
    }
    if (snap != NULL)
        snapshot_give(&ch->snapshots, snap);
    counter_inc(&counters_of(ch)->channel_snapshots_deferred);
    retry_later(ch);
}

/* --- when a channel is first shown --- */

/* The longest complete segment in us; 0: some track has none yet. */
static int64_t longest_segment_us(const struct window *w)
{
    int64_t longest_us = 0;

    for (size_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &w->tracks[i];
        if (t->kind == MEDIA_NONE)
            continue;
        if (t->count == 0 || !window_segment(t, 0)->is_complete)
            return 0;
        for (uint32_t n = 0; n < t->count; n++) {
            int64_t us = segment_duration_us(window_segment(t, n));
            if (us > longest_us)
                longest_us = us;
        }
    }
    return longest_us;
}

/* PART-TARGET: as configured; less when the cadence of every track gives shorter parts, since
 * parts should be at least 85 % of it (bis 4.4.4.9). */
static uint64_t part_target_us(const struct channel *ch)
{
    uint64_t longest_us = 0;

    for (uint8_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &ch->window.tracks[i];
        if (t->kind == MEDIA_NONE)
            continue;
        uint32_t part_max = packager_part_max(ch->packager, i);
        uint64_t us = (uint64_t)window_to_us(part_max, t->timescale);
        if (us == 0)
            return ch->options.part_us;
        if (us > longest_us)
            longest_us = us;
    }
    longest_us = (longest_us / PART_TARGET_STEP_US + 1) * PART_TARGET_STEP_US;
    return longest_us < ch->options.part_us ? longest_us : ch->options.part_us;
}

/* A channel is shown once its first segment is complete in all tracks, which says how long its
 * segments are: TARGETDURATION must never change, and a needlessly long one costs players that do
 * not know parts three times as much delay. When that takes too long, the configured maximum is
 * the only safe choice. */
static bool channel_can_be_shown(struct channel *ch)
{
    uint64_t waited_us = ch->shard->now_us - ch->first_part_us;
    int64_t longest_us = longest_segment_us(&ch->window);

    if (longest_us == 0) {
        if (ch->first_part_us == 0 || waited_us < SHOW_SEGMENTS_MAX * ch->options.segment_us ||
            ch->window.period_count == 0)
            return false;
        longest_us = (int64_t)ch->channels->config->media_segment_max * 1000;
    } else {
        longest_us -= TARGET_SLACK_US;
    }
    if (longest_us < (int64_t)ch->options.segment_us)
        longest_us = (int64_t)ch->options.segment_us;
    ch->options.target_duration_s = (uint32_t)((longest_us + 999999) / 1000000);
    ch->options.part_target_us = part_target_us(ch);
    packager_set_segment_max(ch->packager,
                             ch->options.target_duration_s * 1000000 + 3 * TARGET_SLACK_US);
    log_info("channel", LOG_MSG("can be watched"), LOG_STR("channel", ch->name),
             LOG_INT("target_duration_s", ch->options.target_duration_s),
             LOG_INT("part_target_us", ch->options.part_target_us),
             LOG_INT("first_number", ch->window.base_msn));
    return true;
}

void channel_settle(struct channel *ch)
{
    if (!ch->is_dirty)
        return;
    if (!ch->is_shown)
        ch->is_shown = channel_can_be_shown(ch);
    if (ch->is_shown)
        channel_publish(ch);
}

void channel_settle_soon(struct channel *ch)
{
    if (ch->is_dirty && !timer_is_armed(&ch->settle_timer))
        wheel_arm(&ch->shard->wheel, &ch->settle_timer, ch->shard->now_us);
}

void channel_fire_settle(struct timer *t, uint64_t now_us)
{
    (void)now_us;
    channel_settle(CONTAINER_OF(t, struct channel, settle_timer));
}

void channel_fire_retry(struct timer *t, uint64_t now_us)
{
    struct channel *ch = CONTAINER_OF(t, struct channel, retry_timer);

    (void)now_us;
    retire_replaced(ch);
    if (ch->is_dirty && ch->is_shown)
        shard_make_room(ch, hls_multivariant_bytes_max(&ch->window));
    channel_settle(ch);
    channel_wake(ch);
    channel_try_leave(ch);
}

/* --- begin and end --- */

void channel_open(struct channel *ch, struct shard *s)
{
    const struct config *config = ch->channels->config;
    uint64_t past_last = ch->window.next_msn;

    ch->shard = s;
    ch->state = CHANNEL_LIVE;
    ch->options = (struct manifest_options){
        .part_us = config->media_part * 1000,
        .segment_us = config->media_segment * 1000,
        .is_live = true,
    };
    uint64_t base_msn = number_from_clock(ch);
    /* The slot's last channel may have been this one, and the clock may have been set back. */
    if (base_msn < past_last && past_last - base_msn < 1000000)
        base_msn = past_last;
    window_reset(&ch->window, base_msn);
    packager_reset(ch->packager);
    packager_set_counters(ch->packager, s->counters);
    packager_set_segment_max(ch->packager, (uint32_t)config->media_segment_max * 1000);
    for (size_t i = 0; i < TRACKS_MAX; i++)
        ch->lost_inits[i].size = 0;
    ch->first_part_us = 0;
    ch->is_shown = false;
    ch->is_dirty = false;
    ch->is_mpd_stale = true;
    ch->is_multivariant_stale = true;
    atomic_store_explicit(&ch->sent_bytes_before,
                          channel_sent_bytes(ch) +
                              atomic_load_explicit(&ch->sent_bytes_before, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&ch->generation, 1, memory_order_relaxed);
}

void channel_clear(struct channel *ch)
{
    uint64_t held_bytes = ch->window.held_bytes;

    window_evict_all(&ch->window, &ch->evicted);
    ch->evicted_bytes += held_bytes;
    home_of(ch)->retiring_bytes += held_bytes;
    object_unref(&ch->multivariant);
    object_unref(&ch->mpd);
    for (size_t i = 0; i < TRACKS_MAX; i++) {
        object_unref(&ch->staging[i]);
        object_unref(&ch->window.tracks[i].init);
    }
    ch->is_shown = false;
    ch->is_dirty = false;
    publish(ch, NULL);
}

void channel_lose_publisher(struct channel *ch, uint64_t now_us)
{
    ch->publication = NULL;
    ch->state = CHANNEL_GRACE;
    ch->options.is_live = false;
    packager_flush(ch->packager);
    ch->is_dirty = true;
    ch->is_mpd_stale = true;
    counter_inc(&counters_of(ch)->channel_losses);
    counter_dec(&counters_of(ch)->channels_live);
    wheel_arm(&ch->shard->wheel, &ch->timer,
              now_us + ch->channels->config->media_reconnect_grace * 1000);
    log_info("channel", LOG_MSG("publisher is gone"), LOG_STR("channel", ch->name),
             LOG_INT("grace_ms", ch->channels->config->media_reconnect_grace));
    channel_settle(ch);
}

/* Nobody can be reading the slot any more: another channel may have it. */
static void free_slot(void *argument)
{
    struct channel *ch = argument;
    struct channels *c = ch->channels;

    channels_lock(c);
    list_push_back(&c->free, &ch->link);
    channels_unlock(c);
}

/* First the channel can no longer be found … */
static void channel_close(struct channel *ch, uint64_t now_us)
{
    struct channels *c = ch->channels;

    channels_lock(c);
    channels_unlink(c, ch);
    channels_unlock(c);
    atomic_fetch_add_explicit(&ch->generation, 1, memory_order_relaxed);
    ch->state = CHANNEL_CLOSING;
    channel_clear(ch);
    wheel_arm(&ch->shard->wheel, &ch->timer, now_us);
}

/* … then its last snapshots are let go, then the slot is free. */
static void channel_finish_close(struct channel *ch, uint64_t now_us)
{
    if (ch->retiring_count > 0 || store_retire(ch->shard->store, free_slot, ch) < 0) {
        wheel_arm(&ch->shard->wheel, &ch->timer, now_us + RETRY_US);
        return;
    }
    wheel_cancel(&ch->shard->wheel, &ch->settle_timer);
    wheel_cancel(&ch->shard->wheel, &ch->retry_timer);
    counter_dec(&counters_of(ch)->channels_homed);
    list_remove(&ch->link);
    ch->state = CHANNEL_FREE;
}

void channel_fire_timer(struct timer *t, uint64_t now_us)
{
    struct channel *ch = CONTAINER_OF(t, struct channel, timer);

    if (ch->is_leaving) { /* to a publisher: not the time to end */
        wheel_arm(&ch->shard->wheel, &ch->timer, now_us + RETRY_US);
        return;
    }
    if (ch->state == CHANNEL_ENDED) {
        channel_close(ch, now_us);
        return;
    }
    if (ch->state == CHANNEL_CLOSING) {
        channel_finish_close(ch, now_us);
        return;
    }
    CHECK(ch->state == CHANNEL_GRACE);
    ch->state = CHANNEL_ENDED;
    ch->options.is_ended = true;
    ch->is_dirty = true;
    ch->is_mpd_stale = true;
    counter_inc(&counters_of(ch)->channel_ends);
    log_info("channel", LOG_MSG("ended"), LOG_STR("channel", ch->name));
    wheel_arm(&ch->shard->wheel, &ch->timer, now_us + (ch->is_shown ? LINGER_US : 0));
    channel_settle(ch);
}
