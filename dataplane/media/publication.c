/* Who may publish, and from which shard.
 *
 * A publication waits in its shard's list; its timer drives it, so that no answer ever comes from
 * inside publication_begin(). The registry says where the channel is:
 *
 *   nowhere          a free slot is claimed; this shard becomes its home
 *   home is here     the present publisher, if any, is put out; the hold is granted
 *   home elsewhere   TAKE is posted there. The home puts its publisher out, shows what it had
 *                    sent, and, once no retirement there refers to the channel any more, posts
 *                    GRANT with everything: from then on the channel is written here
 *
 * Messages name a waiting publication by its serial number, never by a pointer: its session may
 * be gone when the answer comes. Then the channel has arrived without a publisher, which is a
 * publisher's loss like any other. Messages between two shards keep their order, so a TAKE that
 * the old home passes on comes after the GRANT. */
#include "dataplane/media/channel_private.h"

#include <errno.h>

#include "common/log.h"

enum publication_state {
    PUBLICATION_IDLE,
    PUBLICATION_ASKING,
    PUBLICATION_TAKING,
    PUBLICATION_HELD
};

enum {
    RETRY_US = 1000,
    ANSWER_TIMEOUT_US =
        5000000 /* the home shard turns in microseconds; this is for bugs and death */
};

static void publication_leave_list(struct publication *p)
{
    wheel_cancel(&p->shard->wheel, &p->timer);
    list_remove(&p->link);
}

static void publication_refuse(struct publication *p, int error, uint64_t now_us)
{
    publication_leave_list(p);
    p->state = PUBLICATION_IDLE;
    p->channel = NULL;
    p->revoked(p, error, now_us);
}

/* The channel is homed here and has no publisher: 'p' is it. */
static void publication_grant(struct publication *p, struct channel *ch, uint64_t now_us)
{
    struct counters *counters = p->shard->counters;

    CHECK(ch->publication == NULL && ch->shard == p->shard);
    publication_leave_list(p);
    p->state = PUBLICATION_HELD;
    p->channel = ch;
    ch->publication = p;
    wheel_cancel(&ch->shard->wheel, &ch->timer);
    if (!ch->options.is_live) {
        ch->options.is_live = true;
        ch->is_dirty = true;
    }
    ch->state = CHANNEL_LIVE;
    counter_inc(&counters->channel_begins);
    counter_inc(&counters->channels_live);
    log_info("channel", LOG_MSG("publish begins"), LOG_STR("channel", ch->name),
             LOG_INT("shard", p->shard->index));
    channel_settle(ch);
    p->granted(p, now_us);
}

/* Puts the present publisher out. It ends as one that vanished, only sooner. */
static void channel_put_out(struct channel *ch, uint64_t now_us)
{
    struct publication *p = ch->publication;

    if (p == NULL)
        return;
    counter_inc(&p->shard->counters->channel_takeovers);
    log_info("channel", LOG_MSG("publisher is put out by a newer one"),
             LOG_STR("channel", ch->name));
    channel_lose_publisher(ch, now_us);
    p->state = PUBLICATION_IDLE;
    p->channel = NULL;
    p->revoked(p, -ESTALE, now_us);
}

/* An ended channel that is published to again begins a new life. */
static void channel_reopen_if_ended(struct channel *ch)
{
    if (ch->state != CHANNEL_ENDED)
        return;
    wheel_cancel(&ch->shard->wheel, &ch->timer);
    channel_clear(ch);
    channel_open(ch, ch->shard);
}

/* --- between shards --- */

static void handle_take(struct shard *s, const struct message *m);

/* What a move needs to know: args are channel, generation, serial, asking shard, registry. */
enum { ARG_CHANNEL, ARG_GENERATION, ARG_SERIAL, ARG_SHARD, ARG_CHANNELS };

static struct channel *channel_in(const struct message *m)
{
    return (struct channel *)(uintptr_t)m->args[ARG_CHANNEL];
}

static struct channels *channels_in(const struct message *m)
{
    return (struct channels *)(uintptr_t)m->args[ARG_CHANNELS];
}

static struct publication *find_waiting(struct channels_shard *own, uint64_t serial)
{
    list_for_each (node, &own->waiting) {
        struct publication *p = CONTAINER_OF(node, struct publication, link);
        if (p->serial == serial)
            return p;
    }
    return NULL;
}

/* The channel that was to be taken is no longer what it was: look it up again. */
static void handle_retry(struct shard *s, const struct message *m)
{
    struct channels_shard *own = &channels_in(m)->shards[s->index];
    struct publication *p = find_waiting(own, m->args[ARG_SERIAL]);

    if (p == NULL || p->state != PUBLICATION_TAKING)
        return;
    p->state = PUBLICATION_ASKING;
    wheel_arm(&s->wheel, &p->timer, s->now_us + RETRY_US);
}

static void handle_grant(struct shard *s, const struct message *m)
{
    struct channel *ch = channel_in(m);
    struct channels_shard *own = &ch->channels->shards[s->index];

    ch->shard = s;
    packager_set_counters(ch->packager, s->counters);
    own->retiring_bytes += ch->evicted_bytes;
    list_push_back(&own->homed, &ch->link);
    counter_inc(&s->counters->channels_homed);
    counter_inc(&s->counters->channel_moves);
    /* Release: pairs with the acquire in publication_step(). */
    atomic_store_explicit(&ch->home, s->index, memory_order_release);

    struct publication *p = find_waiting(own, m->args[ARG_SERIAL]);
    if (p != NULL && p->state == PUBLICATION_TAKING) {
        channel_reopen_if_ended(ch);
        publication_grant(p, ch, s->now_us);
        return;
    }
    wheel_arm(&s->wheel, &ch->timer,
              s->now_us + ch->channels->config->media_reconnect_grace * 1000);
}

void channel_try_leave(struct channel *ch)
{
    struct shard *from = ch->shard;

    if (!ch->is_leaving || ch->retiring_count > 0 || (ch->is_dirty && ch->is_shown))
        return;
    const struct message grant = {
        .handle = handle_grant,
        .args = {[ARG_CHANNEL] = (uintptr_t)ch, [ARG_SERIAL] = ch->leaving_serial},
    };
    uint32_t to = ch->leaving_to;

    /* All of it before the post: from then on the other shard writes. */
    wheel_cancel(&from->wheel, &ch->timer);
    wheel_cancel(&from->wheel, &ch->settle_timer);
    wheel_cancel(&from->wheel, &ch->retry_timer);
    list_remove(&ch->link);
    ch->is_leaving = false;
    ch->channels->shards[from->index].retiring_bytes -= ch->evicted_bytes;
    atomic_store_explicit(&ch->home, to | CHANNEL_MOVING, memory_order_release);
    if (shard_post(from->all[to], &grant) == 0) {
        counter_dec(&from->counters->channels_homed);
        return;
    }
    counter_inc(&from->counters->mailbox_full);
    atomic_store_explicit(&ch->home, from->index, memory_order_release);
    ch->channels->shards[from->index].retiring_bytes += ch->evicted_bytes;
    ch->is_leaving = true;
    list_push_back(&ch->channels->shards[from->index].homed, &ch->link);
    wheel_arm(&from->wheel, &ch->retry_timer, from->now_us + RETRY_US);
    wheel_arm(&from->wheel, &ch->timer,
              from->now_us + ch->channels->config->media_reconnect_grace * 1000);
}

static void post_retry(struct shard *s, const struct message *take)
{
    struct message retry = *take;

    retry.handle = handle_retry;
    if (shard_post(s->all[take->args[ARG_SHARD]], &retry) < 0)
        counter_inc(&s->counters->mailbox_full); /* it times out */
}

static void handle_take(struct shard *s, const struct message *m)
{
    struct channel *ch = channel_in(m);
    uint32_t home = atomic_load_explicit(&ch->home, memory_order_acquire);

    if (channel_generation(ch) != m->args[ARG_GENERATION]) {
        post_retry(s, m);
        return;
    }
    if (home != s->index) { /* it has moved on: behind the GRANT, in order */
        if (shard_post(s->all[home & ~(uint32_t)CHANNEL_MOVING], m) < 0)
            counter_inc(&s->counters->mailbox_full);
        return;
    }
    if (ch->state == CHANNEL_FREE || ch->state == CHANNEL_CLOSING) {
        post_retry(s, m);
        return;
    }
    channel_put_out(ch, s->now_us);
    channel_reopen_if_ended(ch);
    if (m->args[ARG_SHARD] == s->index) { /* passed on, and moved here meanwhile */
        struct publication *p = find_waiting(&ch->channels->shards[s->index], m->args[ARG_SERIAL]);
        if (p != NULL && p->state == PUBLICATION_TAKING)
            publication_grant(p, ch, s->now_us);
        return;
    }
    ch->is_leaving = true; /* a newer one replaces one that has not left yet */
    ch->leaving_to = (uint32_t)m->args[ARG_SHARD];
    ch->leaving_serial = m->args[ARG_SERIAL];
    channel_try_leave(ch);
}

/* --- a waiting publication, step by step --- */

static void publication_take_from(struct publication *p, struct channel *ch, uint32_t home,
                                  uint64_t generation)
{
    const struct message take = {
        .handle = handle_take,
        .args = {[ARG_CHANNEL] = (uintptr_t)ch,
                 [ARG_GENERATION] = generation,
                 [ARG_SERIAL] = p->serial,
                 [ARG_SHARD] = p->shard->index,
                 [ARG_CHANNELS] = (uintptr_t)p->channels},
    };

    if ((home & CHANNEL_MOVING) != 0 || shard_post(p->shard->all[home], &take) < 0) {
        wheel_arm(&p->shard->wheel, &p->timer, p->shard->now_us + RETRY_US);
        return;
    }
    p->state = PUBLICATION_TAKING;
    wheel_arm(&p->shard->wheel, &p->timer, p->deadline_us);
}

/* A free slot becomes the channel, homed here. NULL: none is free. Under the lock. */
static struct channel *claim_slot(struct publication *p)
{
    struct channels *c = p->channels;
    struct list *node = list_pop_front(&c->free);

    if (node == NULL)
        return NULL;
    struct channel *ch = CONTAINER_OF(node, struct channel, link);
    channel_open(ch, p->shard);
    atomic_store_explicit(&ch->home, p->shard->index, memory_order_release);
    channels_link(c, ch, bytes_of_str(p->name));
    return ch;
}

static void publication_step(struct publication *p, uint64_t now_us)
{
    struct channels *c = p->channels;
    struct channels_shard *own = &c->shards[p->shard->index];
    bool is_new = false;

    channels_lock(c);
    struct channel *ch = channels_lookup(c, bytes_of_str(p->name));
    if (ch == NULL) {
        ch = claim_slot(p);
        is_new = ch != NULL;
    }
    uint64_t generation = ch == NULL ? 0 : channel_generation(ch);
    /* Acquire: pairs with the release where a channel arrives. */
    uint32_t home = ch == NULL ? 0 : atomic_load_explicit(&ch->home, memory_order_acquire);
    channels_unlock(c);

    if (ch == NULL) {
        counter_inc(&p->shard->counters->channel_refusals);
        publication_refuse(p, -ENOSPC, now_us);
        return;
    }
    if (home != p->shard->index) {
        publication_take_from(p, ch, home, generation);
        return;
    }
    if (is_new) {
        list_push_back(&own->homed, &ch->link);
        counter_inc(&p->shard->counters->channels_homed);
    } else {
        ch->is_leaving = false; /* a newer publisher is here: stay */
        channel_put_out(ch, now_us);
        channel_reopen_if_ended(ch);
    }
    publication_grant(p, ch, now_us);
}

static void publication_fire(struct timer *t, uint64_t now_us)
{
    struct publication *p = CONTAINER_OF(t, struct publication, timer);

    if (now_us >= p->deadline_us) {
        counter_inc(&p->shard->counters->channel_timeouts);
        publication_refuse(p, -ETIMEDOUT, now_us);
    } else if (p->state == PUBLICATION_ASKING) {
        publication_step(p, now_us);
    } else {
        wheel_arm(&p->shard->wheel, &p->timer, p->deadline_us);
    }
}

void publication_begin(struct publication *p, struct channels *c, struct shard *s,
                       struct bytes name)
{
    CHECK(p->state == PUBLICATION_IDLE);
    struct channels_shard *own = &c->shards[s->index];

    p->channels = c;
    p->shard = s;
    p->channel = NULL;
    p->state = PUBLICATION_ASKING;
    p->serial = ++own->next_serial;
    p->deadline_us = s->now_us + ANSWER_TIMEOUT_US;
    p->timer = (struct timer){.fire = publication_fire};
    bool fits = name.size > 0 && bytes_to_str(name, p->name, sizeof(p->name));
    CHECK(fits); /* whoever knows the key knows the name */
    list_push_back(&own->waiting, &p->link);
    wheel_arm(&s->wheel, &p->timer, s->now_us);
}

void publication_end(struct publication *p, uint64_t now_us)
{
    uint32_t state = p->state;

    p->state = PUBLICATION_IDLE;
    if (state == PUBLICATION_IDLE)
        return;
    if (state == PUBLICATION_HELD)
        channel_lose_publisher(p->channel, now_us);
    else
        publication_leave_list(p);
    p->channel = NULL;
}

int publication_track(struct publication *p, uint8_t track, const struct track_info *info,
                      uint64_t now_us)
{
    (void)now_us;
    if (p->state != PUBLICATION_HELD)
        return -ESTALE;
    int err = packager_track(p->channel->packager, track, info, p->shard->wall_us);
    channel_settle_soon(p->channel);
    return err;
}

int publication_unit(struct publication *p, const struct access_unit *au, uint64_t now_us)
{
    (void)now_us;
    if (p->state != PUBLICATION_HELD)
        return -ESTALE;
    int err = packager_unit(p->channel->packager, au, p->shard->wall_us);
    channel_settle_soon(p->channel);
    return err;
}
