#include "common/abi/link.h"
#include "dataplane/media/channel_private.h"

/* Intervals are numbered from 1: a connection's 0 is "never counted". */
static uint32_t slot_of(uint64_t now_us)
{
    return (uint32_t)(now_us / CHANNEL_VIEWERS_US) + 1;
}

void channel_count_viewer(struct channel *ch, struct shard *s, uint32_t *slot)
{
    uint32_t now_slot = slot_of(s->now_us);
    _Atomic uint64_t *viewers = &ch->shards[s->index].viewers[now_slot % 2];

    if (*slot == now_slot)
        return;
    *slot = now_slot;
    uint64_t counted = counter_read(viewers);
    if (counted >> 32 != now_slot)
        counted = (uint64_t)now_slot << 32;
    /* Relaxed: orders nothing; this shard is the only writer. */
    atomic_store_explicit(viewers, counted + 1, memory_order_relaxed);
}

/* Of one interval, over all shards. */
static uint64_t viewers_in_slot(const struct channel *ch, uint32_t slot)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < ch->channels->shard_count; i++) {
        uint64_t counted = counter_read(&ch->shards[i].viewers[slot % 2]);
        if (counted >> 32 == slot)
            sum += (uint32_t)counted;
    }
    return sum;
}

/* The present interval is not over: the one before it tells more, unless viewers are coming. */
static uint64_t viewers_count(const struct channel *ch, uint64_t now_us)
{
    uint32_t slot = slot_of(now_us);
    uint64_t present = viewers_in_slot(ch, slot);
    uint64_t before = viewers_in_slot(ch, slot - 1);

    return present > before ? present : before;
}

static enum link_channel_state report_state(enum channel_state state)
{
    if (state == CHANNEL_LIVE)
        return LINK_CHANNEL_LIVE;
    return state == CHANNEL_GRACE ? LINK_CHANNEL_WAITING : LINK_CHANNEL_ENDED;
}

static struct link_track_report track_report(const struct window_track *t)
{
    struct link_track_report report = {
        .width = t->kind == MEDIA_VIDEO ? t->info.width : 0,
        .height = t->kind == MEDIA_VIDEO ? t->info.height : 0,
        .sample_rate_hz = t->kind == MEDIA_AUDIO ? t->info.sample_rate_hz : 0,
        .channel_count = t->kind == MEDIA_AUDIO ? t->info.channel_count : 0,
        .bitrate_bps = t->complete_us == 0 ? 0 : t->complete_bytes * 8 * 1000000 / t->complete_us,
    };

    (void)bytes_to_str(bytes_of_str(t->name), report.name, sizeof(report.name));
    (void)bytes_to_str(bytes_of_str(t->info.codec_string), report.codec, sizeof(report.codec));
    return report;
}

static struct link_channel_report channel_report(const struct channel *ch)
{
    struct link_channel_report report = {
        .state = report_state(ch->state),
        .shard = ch->shard->index,
        .started_us = ch->window.start_wall_us,
        .connections = viewers_count(ch, ch->shard->now_us),
        .bytes_out = channel_sent_bytes(ch),
    };

    (void)bytes_to_str(bytes_of_str(ch->name), report.name, sizeof(report.name));
    for (uint32_t i = 0; i < TRACKS_MAX; i++) {
        const struct window_track *t = &ch->window.tracks[i];
        if (t->kind == MEDIA_NONE)
            continue;
        report.bytes_in += t->complete_bytes;
        report.tracks[report.track_count++] = track_report(t);
    }
    return report;
}

void channels_report(struct channels *c, struct shard *s,
                     void (*each)(void *user, const struct link_channel_report *report), void *user)
{
    list_for_each (node, &c->shards[s->index].homed) {
        struct channel *ch = CONTAINER_OF(node, struct channel, link);
        struct link_channel_report report = channel_report(ch);
        each(user, &report);
    }
}
