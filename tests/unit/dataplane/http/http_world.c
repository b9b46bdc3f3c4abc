#include "tests/unit/dataplane/http/http_world.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "tests/unit/dataplane/http/fake_channel.h"

enum { SMALL_BLOB_SIZE = 2048, VIEWS = 1024, STEP_US = 500 };

static struct peer *peer_of(struct stream *s)
{
    return CONTAINER_OF(s, struct peer, stream);
}

/* --- the transport --- */

static int fake_listen(struct transport *t, const struct endpoint *local,
                       const struct listen_events *events, void *user)
{
    struct world *w = CONTAINER_OF(t, struct world, transport);

    (void)local;
    CHECK(w->listen_count < ARRAY_COUNT(w->listen_events));
    w->listen_events[w->listen_count] = events;
    w->listen_user[w->listen_count++] = user;
    return 0;
}

static int fake_send(struct stream *s, const struct extent *extents, size_t count)
{
    struct peer *p = peer_of(s);
    uint64_t bytes = 0;

    CHECK(count > 0 && count <= EXTENTS_PER_SEND_MAX);
    if (p->is_shutdown || p->is_aborted)
        return -EPIPE;
    for (size_t i = 0; i < count; i++) {
        CHECK(extents[i].size > 0);
        CHECK(extents[i].offset <= extents[i].blob->size);
        CHECK(extents[i].size <= extents[i].blob->size - extents[i].offset);
        bytes += extents[i].size;
    }
    if (p->queue_count + count > PEER_EXTENTS_MAX || s->queued_bytes + bytes > p->queue_bytes_max)
        return -ENOBUFS;
    for (size_t i = 0; i < count; i++) {
        p->queue[p->queue_count] = extents[i];
        blob_ref(p->queue[p->queue_count++].blob);
    }
    s->queued_bytes += (uint32_t)bytes;
    return 0;
}

static void fake_shutdown(struct stream *s)
{
    peer_of(s)->is_shutdown = true;
}

static void fake_abort(struct stream *s)
{
    peer_of(s)->is_aborted = true;
}

static void fake_pause(struct stream *s, bool paused)
{
    CHECK(peer_of(s)->is_paused != paused);
    peer_of(s)->is_paused = paused;
}

static const struct transport_ops fake_ops = {
    .name = "fake",
    .listen = fake_listen,
    .send = fake_send,
    .shutdown = fake_shutdown,
    .abort = fake_abort,
    .receive_pause = fake_pause,
};

/* The peer takes 'size' bytes off the front of the queue. */
static void peer_drain(struct peer *p, uint64_t size)
{
    uint32_t done = 0;

    while (size > 0 && done < p->queue_count) {
        struct extent *e = &p->queue[done];
        uint32_t part = size < e->size ? (uint32_t)size : e->size;
        p->got = realloc(p->got, p->got_size + part + 1);
        CHECK(p->got != NULL);
        memcpy(p->got + p->got_size, extent_data(e), part);
        p->got_size += part;
        p->stream.queued_bytes -= part;
        size -= part;
        e->offset += part;
        e->size -= part;
        if (e->size > 0)
            break;
        blob_unref(&e->blob);
        done++;
    }
    memmove(p->queue, p->queue + done, (p->queue_count - done) * sizeof(struct extent));
    p->queue_count -= done;
}

static void peer_close(struct peer *p, int error)
{
    for (uint32_t i = 0; i < p->queue_count; i++)
        blob_unref(&p->queue[i].blob);
    p->queue_count = 0;
    p->stream.queued_bytes = 0;
    p->is_closed = true;
    p->stream.events->closed(&p->stream, error, p->world->shard.now_us);
}

static void peer_poll(struct peer *p)
{
    struct stream *s = &p->stream;

    if (!p->is_open || p->is_closed)
        return;
    if (p->is_aborted) {
        peer_close(p, -ECONNABORTED);
        return;
    }
    p->was_above |= s->queued_bytes > s->low_water_bytes;
    uint64_t size = s->queued_bytes < p->takes ? s->queued_bytes : p->takes;
    peer_drain(p, size);
    if (p->takes != UINT64_MAX)
        p->takes -= size;
    if (p->was_above && s->queued_bytes <= s->low_water_bytes) {
        p->was_above = false;
        s->events->sendable(s, p->world->shard.now_us);
    }
}

/* --- the world --- */

struct world *world_new(void)
{
    struct world *w = aligned_alloc(_Alignof(struct world), sizeof(*w)); /* as its shard wants */

    CHECK(w != NULL);
    memset(w, 0, sizeof(*w));
    w->views = VIEWS;
    config_defaults(&w->config);
    w->config.net_streams_max = PEERS_MAX;
    w->config.net_small_blobs = 2048;
    w->config.http_head_buffers = 16;
    memcpy(w->config.http_pages.text, "/nonexistent", sizeof("/nonexistent"));
    return w;
}

void world_start(struct world *w)
{
    struct shard *s = &w->shard;
    struct endpoint any = {.family = 6};

    w->all[0] = s;
    s->index = 1; /* the first one logs what pages it found */
    s->count = 1;
    s->all = w->all;
    s->counters = &w->counters;
    s->config = &w->config;
    s->now_us = 1000000;
    s->wall_us = 1700000000000000;
    wheel_init(&s->wheel, s->now_us);
    blob_home_init(&s->blob_home);
    s->small_blobs =
        blob_pool_new(&s->blob_home, (uint32_t)w->config.net_small_blobs, SMALL_BLOB_SIZE);
    w->store = store_new(64 << 20, 1, w->views);
    CHECK(s->small_blobs != NULL && w->store != NULL);
    s->store = store_shard_attach(w->store, 0, &w->counters, &s->blob_home);
    w->channels = fake_channels_new(w);
    w->transport.ops = &fake_ops;
    CHECK(http_server_new(s, w->channels, &w->server) == 0);
    CHECK(http_server_listen(w->server, &w->transport, &any, HTTP_PUBLIC) == 0);
    CHECK(http_server_listen(w->server, &w->transport, &any, HTTP_MANAGEMENT) == 0);
}

void world_free(struct world **pw)
{
    struct world *w = *pw;

    *pw = NULL;
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        if (w->peers[i].is_open && !w->peers[i].is_closed)
            peer_close(&w->peers[i], 0);
        free(w->peers[i].got);
    }
    CHECK(w->shard.wheel.armed_count == 0);
    CHECK(counter_read(&w->counters.http_connections) == 0);
    CHECK(counter_read(&w->counters.http_waiting) == 0);
    http_server_free(&w->server);
    CHECK(blob_pool_in_use(w->shard.small_blobs) == 0);
    fake_channels_free(&w->channels);
    store_quiescent(w->shard.store);
    store_poll(w->shard.store);
    CHECK(store_shard_used_bytes(w->shard.store) == 0);
    store_free(&w->store);
    blob_pool_free(&w->shard.small_blobs);
    free(w);
}

void world_run(struct world *w, uint64_t us)
{
    uint64_t end_us = w->shard.now_us + us;

    do {
        uint64_t next_us = wheel_next_us(&w->shard.wheel);
        uint64_t step_us = w->shard.now_us + STEP_US;
        if (next_us > step_us && us > 100 * STEP_US)
            step_us = next_us; /* nothing but timers can happen in a long pause */
        if (step_us > end_us)
            step_us = end_us;
        w->shard.wall_us += (int64_t)(step_us - w->shard.now_us);
        w->shard.now_us = step_us;
        for (unsigned i = 0; i < PEERS_MAX; i++)
            peer_poll(&w->peers[i]);
        wheel_poll(&w->shard.wheel, w->shard.now_us, 1000);
        blob_home_poll(&w->shard.blob_home);
        store_quiescent(w->shard.store);
        store_poll(w->shard.store);
    } while (w->shard.now_us < end_us);
}

struct peer *world_connect(struct world *w, unsigned listener)
{
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        struct peer *p = &w->peers[i];
        if (p->is_open && !p->is_closed)
            continue;
        free(p->got);
        *p = (struct peer){
            .stream.transport = &w->transport,
            .world = w,
            .queue_bytes_max = (uint32_t)w->config.net_send_queue,
            .takes = UINT64_MAX,
        };
        if (w->listen_events[listener]->accept(w->listen_user[listener], &p->stream,
                                               w->shard.now_us) < 0)
            return NULL;
        p->is_open = true;
        return p;
    }
    return NULL;
}

void peer_send(struct peer *p, const void *data, size_t size)
{
    /* A copy of its own, so that a read past the end is found. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    CHECK(copy != NULL);
    if (p->is_closed || p->is_aborted || size == 0) {
        free(copy);
        return;
    }
    memcpy(copy, data, size);
    p->stream.events->data(&p->stream, bytes_of(copy, size), p->world->shard.now_us);
    free(copy);
}

void peer_send_str(struct peer *p, const char *text)
{
    peer_send(p, text, strlen(text));
}

void peer_eof(struct peer *p)
{
    if (!p->is_closed && !p->is_aborted)
        p->stream.events->eof(&p->stream, p->world->shard.now_us);
}

void peer_reset(struct peer *p)
{
    if (!p->is_closed)
        peer_close(p, -ECONNRESET);
}

const char *peer_take(struct peer *p)
{
    p->got = realloc(p->got, p->got_size + 1);
    CHECK(p->got != NULL);
    p->got[p->got_size] = '\0';
    const char *text = (const char *)p->got + p->read_size;
    p->read_size = p->got_size;
    return text;
}
