#include "dataplane/rtmp/rtmp_server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/log.h"
#include "dataplane/core/shard.h"
#include "dataplane/link/link.h"
#include "dataplane/media/channel.h"
#include "dataplane/rtmp/rtmp_session.h"
#include "drivers/net/transport.h"

enum {
    LINGER_US = 3000000,         /* from our end of a connection to the peer's */
    PAGE_SIZE = 4096,            /* alignment of what is given back to the system */
    BUFFER_KEEP_BYTES = 1 << 20, /* of each message slot that stays in memory between messages */
    COOKIE_ADDRESS_BITS = 48
};

/* One connection, at the start of its slot's memory, which is all zero before accept. */
struct rtmp_conn {
    struct rtmp_slot *slot;
    struct stream *stream;
    struct timer timer; /* handshake, then idle, then linger */
    uint64_t last_data_us;
    bool is_closing;    /* nothing more is taken from the peer */
    bool is_paused;     /* receiving waits for the verdict */
    bool ask_failed;    /* the question could not even be asked */
    bool send_failed;   /* the stream is to be aborted */
    bool is_held;       /* publication_begin() without publication_end() */
    bool is_publishing; /* counted in rtmp_publishers */
    char name[CHANNEL_NAME_MAX + 1];
    struct publication publication;
    struct rtmp_session session;
};

/* What outlives a connection in its place. */
struct rtmp_slot {
    struct list link; /* in server->free */
    struct rtmp_server *server;
    struct rtmp_conn *conn;
    uint16_t generation; /* tells an answer to an earlier connection's question */
};

struct rtmp_server {
    struct shard *shard;
    struct channels *channels;
    struct link *link;
    struct list free;
    struct rtmp_slot *slots;
    uint8_t *memory;
    size_t memory_size;
    size_t stride;        /* bytes of memory per slot */
    size_t message_bytes; /* message_max in whole pages */
    uint64_t random_state;
};

static size_t round_to_page(size_t size)
{
    return (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

/* splitmix64: the handshake needs bytes that look random, not secrets. */
static uint64_t next_random(void *user)
{
    struct rtmp_server *server = user;
    uint64_t z = server->random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static struct rtmp_conn *conn_of(void *user)
{
    return user;
}

static struct shard *shard_of(const struct rtmp_conn *c)
{
    return c->slot->server->shard;
}

static struct counters *counters_of(const struct rtmp_conn *c)
{
    return shard_of(c)->counters;
}

/* ------------------------------------------------------------------- closing */

static void publication_release(struct rtmp_conn *c, uint64_t now_us)
{
    if (c->is_publishing) {
        c->is_publishing = false;
        counter_dec(&counters_of(c)->rtmp_publishers);
    }
    if (c->is_held) {
        c->is_held = false;
        publication_end(&c->publication, now_us);
    }
}

static void log_end(const struct rtmp_conn *c, const char *reason)
{
    char peer[ENDPOINT_TEXT_MAX];

    log_info("rtmp", LOG_MSG("connection over"), LOG_STR("channel", c->name),
             LOG_STR("peer", endpoint_format(&c->stream->peer, peer)), LOG_STR("reason", reason));
}

/* Ends the connection in order: what is queued goes out, and the peer gets time to close, since a
 * reset could overtake the status that tells it why. */
static void conn_close(struct rtmp_conn *c, uint64_t now_us)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    publication_release(c, now_us);
    if (c->is_paused) {
        c->is_paused = false;
        stream_receive_pause(c->stream, false);
    }
    stream_shutdown(c->stream);
    wheel_arm(&shard_of(c)->wheel, &c->timer, now_us + LINGER_US);
}

static void conn_abort(struct rtmp_conn *c, uint64_t now_us)
{
    c->is_closing = true;
    publication_release(c, now_us);
    wheel_cancel(&shard_of(c)->wheel, &c->timer);
    stream_abort(c->stream);
}

static void conn_release(struct rtmp_conn *c)
{
    struct rtmp_slot *slot = c->slot;
    struct rtmp_server *server = slot->server;

    wheel_cancel(&server->shard->wheel, &c->timer);
    counter_dec(&server->shard->counters->rtmp_connections);
    slot->generation++;
    /* Gives the pages back; they read as zero from now on, as a new connection wants them. Locked
     * memory stays where it is. */
    if (madvise(c, server->stride, MADV_DONTNEED) != 0)
        memset(c, 0, sizeof(*c));
    list_push_front(&server->free, &slot->link);
}

/* Large keyframes pass through at most every few seconds: gives back what they took. */
static void conn_trim(struct rtmp_conn *c)
{
    struct rtmp_chunk_reader *r = &c->session.reader;

    if (r->touched_bytes <= BUFFER_KEEP_BYTES || !rtmp_chunk_is_idle(r))
        return;
    for (size_t i = 0; i < RTMP_PARTIAL_MAX; i++)
        (void)madvise(r->memory + i * r->slot_bytes + BUFFER_KEEP_BYTES,
                      r->slot_bytes - BUFFER_KEEP_BYTES, MADV_DONTNEED);
    r->touched_bytes = 0;
}

/* After every call into the session: does what its events could not do from inside. */
static void conn_settle(struct rtmp_conn *c, int result, uint64_t now_us)
{
    if (c->is_closing)
        return;
    if (c->send_failed) {
        counter_inc(&counters_of(c)->rtmp_send_failed);
        log_end(c, "no buffers for replies");
        conn_abort(c, now_us);
        return;
    }
    if (result == -ESHUTDOWN || result == -EPROTONOSUPPORT) {
        log_end(c, c->session.reason);
        conn_close(c, now_us);
        return;
    }
    if (result != 0) {
        log_end(c, c->session.reason);
        conn_abort(c, now_us);
        return;
    }
    if (c->ask_failed) {
        counter_inc(&counters_of(c)->rtmp_publish_unavailable);
        rtmp_session_refuse(&c->session, RTMP_REFUSED_UNAVAILABLE);
        log_end(c, "the stream key could not be checked");
        conn_close(c, now_us);
        return;
    }
    bool must_pause = c->session.state == RTMP_SESSION_ASKING;
    if (must_pause != c->is_paused) {
        c->is_paused = must_pause;
        stream_receive_pause(c->stream, must_pause);
    }
    conn_trim(c);
}

/* ------------------------------------------------------------ session events */

static void on_send(void *user, struct bytes out)
{
    struct rtmp_conn *c = conn_of(user);
    struct blob_pool *pool = shard_of(c)->small_blobs;

    while (out.size > 0 && !c->send_failed) {
        struct blob *b = blob_pool_get(pool);

        if (b == NULL) {
            c->send_failed = true;
            return;
        }
        uint32_t room = blob_pool_blob_size(pool);
        b->size = out.size < room ? (uint32_t)out.size : room;
        memcpy(blob_pool_data(b), out.ptr, b->size);
        out = bytes_from(out, b->size);
        struct extent e = extent_of(b);
        if (stream_send(c->stream, &e, 1) != 0)
            c->send_failed = true;
        blob_unref(&b);
    }
}

static uint64_t cookie_of(const struct rtmp_slot *slot)
{
    return (uint64_t)(uintptr_t)slot | (uint64_t)slot->generation << COOKIE_ADDRESS_BITS;
}

static void on_verdict(struct shard *s, uint64_t cookie, enum link_verdict verdict);

static void on_publish(void *user, const struct rtmp_target *target, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(user);
    struct rtmp_server *server = c->slot->server;

    (void)now_us;
    memcpy(c->name, target->name, sizeof(c->name));
    int error = link_ask_publish(server->link, server->shard, bytes_of_str(target->name),
                                 bytes_of_str(target->key), on_verdict, cookie_of(c->slot));
    c->ask_failed = error != 0;
}

static void on_unpublish(void *user, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(user);
    const struct config *config = shard_of(c)->config;

    char peer[ENDPOINT_TEXT_MAX];

    log_info("rtmp", LOG_MSG("unpublished"), LOG_STR("channel", c->name),
             LOG_STR("peer", endpoint_format(&c->stream->peer, peer)));
    publication_release(c, now_us);
    wheel_arm(&shard_of(c)->wheel, &c->timer,
              now_us + config->rtmp_handshake_timeout * UINT64_C(1000));
}

static int on_track(void *user, uint8_t track, const struct track_info *info, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(user);

    return c->is_held ? publication_track(&c->publication, track, info, now_us) : -ESHUTDOWN;
}

static int on_unit(void *user, const struct access_unit *au, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(user);

    return c->is_held ? publication_unit(&c->publication, au, now_us) : -ESHUTDOWN;
}

static void on_metadata(void *user, struct bytes name, struct bytes value)
{
    struct rtmp_conn *c = conn_of(user);

    log_debug("rtmp", LOG_MSG("metadata"), LOG_STR("channel", c->name), LOG_BYTES("name", name),
              LOG_BYTES("value", value));
}

static const struct rtmp_session_events session_events = {
    .send = on_send,
    .publish = on_publish,
    .unpublish = on_unpublish,
    .media = {.track = on_track, .unit = on_unit, .metadata = on_metadata},
};

/* ------------------------------------------------------- verdict and the hold */

static void refuse(struct rtmp_conn *c, enum rtmp_refusal why, const char *reason, uint64_t now_us)
{
    rtmp_session_refuse(&c->session, why);
    log_end(c, reason);
    conn_close(c, now_us);
}

static void on_granted(struct publication *p, uint64_t now_us)
{
    struct rtmp_conn *c = CONTAINER_OF(p, struct rtmp_conn, publication);
    const struct config *config = shard_of(c)->config;
    char peer[ENDPOINT_TEXT_MAX];

    c->is_publishing = true;
    counter_inc(&counters_of(c)->rtmp_publishers);
    log_info("rtmp", LOG_MSG("publishing"), LOG_STR("channel", c->name),
             LOG_STR("peer", endpoint_format(&c->stream->peer, peer)),
             LOG_STR("encoder", c->session.encoder));
    c->last_data_us = now_us;
    wheel_arm(&shard_of(c)->wheel, &c->timer, now_us + config->rtmp_idle_timeout * UINT64_C(1000));
    int result = rtmp_session_grant(&c->session, now_us);
    conn_settle(c, result, now_us);
}

static void on_revoked(struct publication *p, int error, uint64_t now_us)
{
    struct rtmp_conn *c = CONTAINER_OF(p, struct rtmp_conn, publication);
    struct counters *counters = counters_of(c);

    c->is_held = false;
    if (error == -ESTALE)
        counter_inc(&counters->rtmp_publish_taken_over);
    else if (error == -ENOSPC)
        counter_inc(&counters->rtmp_publish_no_room);
    else
        counter_inc(&counters->rtmp_publish_unavailable);

    if (c->session.state == RTMP_SESSION_PUBLISHING) {
        const char *reason = error == -ESTALE ? "taken over by a newer publisher with the right key"
                                              : "the channel has been closed";

        rtmp_session_end(&c->session, reason);
        log_end(c, reason);
        conn_close(c, now_us);
    } else if (c->session.state == RTMP_SESSION_ASKING) {
        refuse(c,
               error == -ESTALE   ? RTMP_REFUSED_OVERTAKEN
               : error == -ENOSPC ? RTMP_REFUSED_NO_ROOM
                                  : RTMP_REFUSED_UNAVAILABLE,
               error == -ENOSPC ? "no room for another channel" : "the channel is not to be had",
               now_us);
    }
}

static void on_verdict(struct shard *s, uint64_t cookie, enum link_verdict verdict)
{
    struct rtmp_slot *slot =
        (struct rtmp_slot *)(uintptr_t)(cookie & ((UINT64_C(1) << COOKIE_ADDRESS_BITS) - 1));
    struct rtmp_conn *c = slot->conn;
    struct counters *counters = s->counters;

    /* Answers to connections that are gone, or going. */
    if (cookie_of(slot) != cookie || c->is_closing || c->session.state != RTMP_SESSION_ASKING ||
        c->is_held)
        return;
    switch (verdict) {
    case LINK_ALLOWED:
        c->publication.granted = on_granted;
        c->publication.revoked = on_revoked;
        c->is_held = true;
        publication_begin(&c->publication, slot->server->channels, s, bytes_of_str(c->name));
        return;
    case LINK_WRONG_KEY:
        counter_inc(&counters->rtmp_publish_wrong_key);
        refuse(c, RTMP_REFUSED_KEY, "wrong stream key", s->now_us);
        return;
    case LINK_UNKNOWN_CHANNEL:
        counter_inc(&counters->rtmp_publish_unknown_channel);
        refuse(c, RTMP_REFUSED_KEY, "no such channel", s->now_us);
        return;
    case LINK_UNAVAILABLE:
        break;
    }
    counter_inc(&counters->rtmp_publish_unavailable);
    refuse(c, RTMP_REFUSED_UNAVAILABLE, "the stream key could not be checked", s->now_us);
}

/* -------------------------------------------------------------- stream events */

static void on_timer(struct timer *t, uint64_t now_us)
{
    struct rtmp_conn *c = CONTAINER_OF(t, struct rtmp_conn, timer);
    const struct config *config = shard_of(c)->config;

    if (c->is_closing) {
        counter_inc(&counters_of(c)->rtmp_linger_timeout);
        conn_abort(c, now_us);
        return;
    }
    if (c->session.state != RTMP_SESSION_PUBLISHING) {
        counter_inc(&counters_of(c)->rtmp_handshake_timeout);
        log_end(c, "not publishing in time");
        conn_abort(c, now_us);
        return;
    }
    uint64_t deadline_us = c->last_data_us + config->rtmp_idle_timeout * UINT64_C(1000);
    if (now_us < deadline_us) {
        wheel_arm(&shard_of(c)->wheel, t, deadline_us);
        return;
    }
    counter_inc(&counters_of(c)->rtmp_idle_timeout);
    log_end(c, "publisher silent");
    conn_abort(c, now_us);
}

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(s->user);

    c->last_data_us = now_us;
    if (c->is_closing)
        return;
    int result = rtmp_session_push(&c->session, in, now_us);
    conn_settle(c, result, now_us);
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    (void)s;
    (void)now_us;
}

static void on_eof(struct stream *s, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(s->user);

    if (c->is_closing)
        return;
    log_end(c, "closed by the publisher");
    conn_close(c, now_us);
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    struct rtmp_conn *c = conn_of(s->user);

    if (!c->is_closing)
        log_end(c, error == -ETIMEDOUT ? "connection timed out" : "connection lost");
    publication_release(c, now_us);
    conn_release(c);
}

static const struct stream_events stream_events = {
    .data = on_data,
    .sendable = on_sendable,
    .eof = on_eof,
    .closed = on_closed,
};

static int on_accept(void *user, struct stream *stream, uint64_t now_us)
{
    struct rtmp_server *server = user;
    struct shard *s = server->shard;
    struct list *node = list_pop_front(&server->free);

    if (node == NULL) {
        counter_inc(&s->counters->rtmp_refused_full);
        return -ENOBUFS;
    }
    struct rtmp_slot *slot = CONTAINER_OF(node, struct rtmp_slot, link);
    struct rtmp_conn *c = slot->conn;
    uint8_t *buffers = (uint8_t *)c + round_to_page(sizeof(*c));
    struct rtmp_session_memory memory = {
        .hold = buffers,
        .scratch = buffers + RTMP_HOLD_SIZE,
        .slots = buffers + RTMP_HOLD_SIZE + server->message_bytes,
        .message_max = (uint32_t)server->message_bytes,
    };
    struct rtmp_random random = {.next = next_random, .user = server};

    counter_inc(&s->counters->rtmp_accepted);
    counter_inc(&s->counters->rtmp_connections);
    c->slot = slot;
    c->stream = stream;
    c->timer.fire = on_timer;
    c->last_data_us = now_us;
    rtmp_session_init(&c->session, &session_events, c, s->counters, &random, &memory);
    stream->events = &stream_events;
    stream->user = c;
    wheel_arm(&s->wheel, &c->timer, now_us + s->config->rtmp_handshake_timeout * UINT64_C(1000));
    return 0;
}

/* -------------------------------------------------------------------- server */

int rtmp_server_new(struct shard *s, struct channels *channels, struct link *link,
                    struct rtmp_server **ret_server)
{
    size_t count = s->config->rtmp_publishers_max;
    struct rtmp_server *server = calloc(1, sizeof(*server));
    int error = -ENOMEM;

    if (server == NULL)
        return -ENOMEM;
    server->shard = s;
    server->channels = channels;
    server->link = link;
    server->message_bytes = round_to_page(s->config->rtmp_message_max);
    server->stride = round_to_page(sizeof(struct rtmp_conn)) + RTMP_HOLD_SIZE +
                     (1 + RTMP_PARTIAL_MAX) * server->message_bytes;
    server->memory_size = count * server->stride;
    list_init(&server->free);
    if (getrandom(&server->random_state, sizeof(server->random_state), 0) !=
        sizeof(server->random_state)) {
        error = -errno;
        goto fail;
    }
    server->slots = calloc(count, sizeof(*server->slots));
    if (server->slots == NULL)
        goto fail;
    server->memory = mmap(NULL, server->memory_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (server->memory == MAP_FAILED)
        goto fail;
    for (size_t i = 0; i < count; i++) {
        struct rtmp_slot *slot = &server->slots[i];

        CHECK((uint64_t)(uintptr_t)slot >> COOKIE_ADDRESS_BITS == 0);
        slot->server = server;
        slot->conn = (struct rtmp_conn *)(void *)(server->memory + i * server->stride);
        list_push_back(&server->free, &slot->link);
    }
    *ret_server = server;
    return 0;

fail:
    free(server->slots);
    free(server);
    return error;
}

int rtmp_server_listen(struct rtmp_server *server, struct transport *t,
                       const struct endpoint *local)
{
    static const struct listen_events listen_events = {.accept = on_accept};

    return t->ops->listen(t, local, &listen_events, server);
}

void rtmp_server_free(struct rtmp_server **pserver)
{
    struct rtmp_server *server = *pserver;

    *pserver = NULL;
    if (server == NULL)
        return;
    munmap(server->memory, server->memory_size);
    free(server->slots);
    free(server);
}
