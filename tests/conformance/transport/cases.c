#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/limits.h"
#include "tests/conformance/transport/fixture.h"

/* What every transport must do (drivers/net/transport.h). Each case opens a transport and a peer
 * of its own; nothing carries over. */

enum { BIG_BYTES = 6 << 20, QUIET_US = 50 * 1000, CHUNK = 16384 };

static const struct provider *provider;

/* One connection between the transport under test and its peer. */
struct link {
    struct fixture f;
    struct acceptor a;
    struct endpoint at; /* where the transport listens */
    int handle;         /* the peer's */
    uint64_t sent_bytes;
    uint64_t got_bytes;
    uint64_t got_hash;
    uint64_t want_bytes;
    ssize_t last; /* of the peer's receive */
};

static struct link *link_new(void)
{
    struct link *l = calloc(1, sizeof(*l));

    assert_non_null(l);
    fixture_open(&l->f, provider);
    l->a.fixture = &l->f;
    l->at = fixture_local(&l->f);
    assert_int_equal(l->f.t->ops->listen(l->f.t, &l->at, &acceptor_events, &l->a), 0);
    return l;
}

static bool is_accepted(void *user)
{
    return ((struct link *)user)->a.count >= 1;
}

static struct record *link_connect(struct link *l)
{
    unsigned before = l->a.count;

    l->handle = l->f.peer->ops->connect(l->f.peer, &l->at);
    assert_true(l->handle >= 0);
    fixture_run(&l->f, is_accepted, l, "accept event");
    return &l->a.records[before];
}

static void link_free(struct link *l)
{
    fixture_close(&l->f);
    for (unsigned i = 0; i < l->a.count; i++)
        assert_int_equal(l->a.records[i].closed_count, 1);
    free(l);
}

/* Reads what the peer has, once. */
static void peer_drain(struct link *l)
{
    uint8_t buffer[CHUNK];

    l->last = l->f.peer->ops->receive(l->f.peer, l->handle, buffer, sizeof(buffer));
    if (l->last > 0) {
        l->got_hash = hash_bytes(l->got_hash, buffer, (size_t)l->last);
        l->got_bytes += (uint64_t)l->last;
    }
}

static bool peer_has_all(void *user)
{
    struct link *l = user;

    for (int i = 0; i < 16 && l->got_bytes < l->want_bytes; i++)
        peer_drain(l);
    return l->got_bytes >= l->want_bytes;
}

static bool peer_is_at_end(void *user)
{
    struct link *l = user;

    peer_drain(l);
    return l->last == 0;
}

static bool peer_is_reset(void *user)
{
    struct link *l = user;

    peer_drain(l);
    return l->last == -ECONNRESET || l->last == -EPIPE;
}

static bool is_closed(void *user)
{
    return ((struct link *)user)->a.records[0].closed_count > 0;
}

static bool is_eof(void *user)
{
    return ((struct link *)user)->a.records[0].eof_count > 0;
}

/* The peer sends pattern bytes up to 'total' as far as it can. */
static bool peer_push(struct link *l, uint64_t total)
{
    uint8_t buffer[CHUNK];

    while (l->sent_bytes < total) {
        size_t size = total - l->sent_bytes < CHUNK ? (size_t)(total - l->sent_bytes) : CHUNK;
        for (size_t i = 0; i < size; i++)
            buffer[i] = pattern_at(l->sent_bytes + i);
        ssize_t n = l->f.peer->ops->send(l->f.peer, l->handle, bytes_of(buffer, size));
        if (n == -EAGAIN || n == -ENOTCONN)
            return false;
        assert_true(n > 0);
        l->sent_bytes += (uint64_t)n;
    }
    return true;
}

static bool transport_has_all(void *user)
{
    struct link *l = user;

    return peer_push(l, l->want_bytes) && l->a.records[0].received_bytes >= l->want_bytes;
}

/* The transport sends pattern bytes up to 'total' as far as its queue takes them. */
static bool transport_push(struct link *l, struct record *r, uint64_t total)
{
    while (l->sent_bytes < total) {
        uint32_t size = total - l->sent_bytes < CHUNK ? (uint32_t)(total - l->sent_bytes) : CHUNK;
        if (blob_pool_in_use(l->f.blobs) >= FIXTURE_BLOBS)
            return false;
        struct blob *b = fixture_blob(&l->f, l->sent_bytes, size);
        struct extent e = extent_of(b);
        int err = stream_send(r->stream, &e, 1);
        blob_unref(&b);
        if (err == -ENOBUFS)
            return false;
        assert_int_equal(err, 0);
        l->sent_bytes += size;
    }
    return true;
}

static bool peer_has_all_pushed(void *user)
{
    struct link *l = user;

    (void)transport_push(l, &l->a.records[0], l->want_bytes);
    return peer_has_all(l);
}

static void test_echo(void **state)
{
    struct link *l = link_new();

    (void)state;
    l->a.initial.is_echo = true;
    struct record *r = link_connect(l);
    assert_int_equal(r->stream->local.port, l->at.port);
    assert_int_equal(r->stream->local.family, l->at.family);
    assert_int_equal(r->stream->peer.family, l->at.family);
    assert_true(r->stream->peer.port != 0);
    l->want_bytes = 1000;
    assert_true(peer_push(l, 1000) || !is_closed(l));
    fixture_run(&l->f, transport_has_all, l, "request");
    fixture_run(&l->f, peer_has_all, l, "echo");
    assert_int_equal(l->got_bytes, 1000);
    assert_true(l->got_hash == pattern_hash(1000));
    link_free(l);
}

static void test_big_send(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    l->want_bytes = BIG_BYTES;
    fixture_run(&l->f, peer_has_all_pushed, l, "all bytes at the peer");
    assert_int_equal(l->got_bytes, BIG_BYTES);
    assert_true(l->got_hash == pattern_hash(BIG_BYTES));
    assert_int_equal(r->closed_count, 0);
    link_free(l);
}

static void test_big_receive(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    l->want_bytes = BIG_BYTES;
    fixture_run(&l->f, transport_has_all, l, "all bytes at the transport");
    assert_int_equal(r->received_bytes, BIG_BYTES);
    assert_true(r->received_hash == pattern_hash(BIG_BYTES));
    link_free(l);
}

/* Blobs of odd sizes, extents that start and end within them, 64 in one call. */
static void test_many_extents(void **state)
{
    struct link *l = link_new();
    struct blob *blobs[EXTENTS_PER_SEND_MAX];
    struct extent extents[EXTENTS_PER_SEND_MAX];
    uint64_t at = 0;

    (void)state;
    struct record *r = link_connect(l);
    for (unsigned round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < EXTENTS_PER_SEND_MAX; i++) {
            uint32_t size = 1 + (i * 37 + round * 11) % 1500;
            uint32_t skip = i % 7;
            blobs[i] = fixture_blob(&l->f, at - skip, size + skip + i % 3);
            extents[i] = (struct extent){.blob = blobs[i], .offset = skip, .size = size};
            at += size;
        }
        assert_int_equal(stream_send(r->stream, extents, EXTENTS_PER_SEND_MAX), 0);
        for (uint32_t i = 0; i < EXTENTS_PER_SEND_MAX; i++)
            blob_unref(&blobs[i]);
    }
    l->want_bytes = at;
    fixture_run(&l->f, peer_has_all, l, "all extents");
    assert_int_equal(l->got_bytes, at);
    assert_true(l->got_hash == pattern_hash(at));
    link_free(l);
}

static bool is_sendable_again(void *user)
{
    struct link *l = user;

    peer_drain(l);
    return l->a.records[0].sendable_count > 0;
}

/* A peer that does not read fills a bounded queue; when it reads again, one sendable event says
 * that there is room, and nothing is lost. */
static void test_slow_reader(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    r->stream->low_water_bytes = 256 * 1024;
    for (int turns = 0; turns < 200;) {
        /* Until the queue stays full. */
        turns = transport_push(l, r, UINT64_MAX) ? 0 : turns + 1;
        assert_true(r->stream->queued_bytes <= FIXTURE_QUEUE_BYTES_MAX);
        assert_true(l->sent_bytes < 64u << 20);
        r->sendable_count = 0;
        fixture_turn(&l->f);
    }
    assert_true(r->stream->queued_bytes > FIXTURE_QUEUE_BYTES_MAX - 2 * CHUNK);
    assert_int_equal(r->sendable_count, 0);
    fixture_run(&l->f, is_sendable_again, l, "sendable event");
    l->want_bytes = l->sent_bytes;
    fixture_run(&l->f, peer_has_all, l, "the rest");
    assert_int_equal(r->sendable_count, 1);
    assert_true(l->got_hash == pattern_hash(l->sent_bytes));
    link_free(l);
}

static void test_peer_half_close(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    l->want_bytes = 5000;
    fixture_run(&l->f, transport_has_all, l, "request");
    l->f.peer->ops->shutdown(l->f.peer, l->handle);
    fixture_run(&l->f, is_eof, l, "eof event");
    assert_int_equal(r->received_bytes, 5000);
    assert_int_equal(r->closed_count, 0);

    l->sent_bytes = 0;
    assert_true(transport_push(l, r, 300000));
    stream_shutdown(r->stream);
    l->want_bytes = 300000;
    fixture_run(&l->f, peer_has_all, l, "answer after eof");
    fixture_run(&l->f, peer_is_at_end, l, "FIN after the answer");
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->error, 0);
    assert_true(l->got_hash == pattern_hash(300000));
    link_free(l);
}

static void test_own_half_close(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    assert_true(transport_push(l, r, 200000));
    stream_shutdown(r->stream);
    struct blob *b = fixture_blob(&l->f, 0, 10);
    struct extent e = extent_of(b);
    assert_int_equal(stream_send(r->stream, &e, 1), -EPIPE);
    blob_unref(&b);
    l->want_bytes = 200000;
    fixture_run(&l->f, peer_has_all, l, "queued bytes");
    fixture_run(&l->f, peer_is_at_end, l, "FIN behind them");
    assert_int_equal(r->closed_count, 0);

    l->sent_bytes = 0;
    l->want_bytes = 50000;
    fixture_run(&l->f, transport_has_all, l, "bytes after our FIN");
    assert_true(r->received_hash == pattern_hash(50000));
    l->f.peer->ops->shutdown(l->f.peer, l->handle);
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->eof_count, 1);
    assert_int_equal(r->error, 0);
    link_free(l);
}

static void test_shutdown_on_eof(void **state)
{
    struct link *l = link_new();

    (void)state;
    l->a.initial.is_shutdown_on_eof = true;
    struct record *r = link_connect(l);
    l->f.peer->ops->shutdown(l->f.peer, l->handle);
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->error, 0);
    fixture_run(&l->f, peer_is_at_end, l, "FIN");
    link_free(l);
}

static void test_abort(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    assert_true(transport_push(l, r, 100000));
    struct stream *s = r->stream;
    stream_abort(s);
    assert_int_equal(r->closed_count, 0);
    stream_abort(s); /* twice does no harm */
    assert_true(stream_send(s, NULL, 0) == -EPIPE);
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->error, -ECONNABORTED);
    fixture_run(&l->f, peer_is_reset, l, "reset at the peer");
    fixture_idle(&l->f, QUIET_US);
    assert_int_equal(r->closed_count, 1);
    link_free(l);
}

static void test_abort_in_data(void **state)
{
    struct link *l = link_new();

    (void)state;
    l->a.initial.is_abort_on_data = true;
    struct record *r = link_connect(l);
    assert_true(peer_push(l, 100000) || l->sent_bytes > 0);
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->data_count, 1);
    assert_int_equal(r->error, -ECONNABORTED);
    link_free(l);
}

static void test_peer_reset(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    l->want_bytes = 100;
    fixture_run(&l->f, transport_has_all, l, "request");
    l->f.peer->ops->reset(l->f.peer, l->handle);
    fixture_run(&l->f, is_closed, l, "closed event");
    assert_int_equal(r->error, -ECONNRESET);
    link_free(l);
}

/* A paused stream gets no data event and holds the peer back; resumed, it gets every byte. */
static void test_pause(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    stream_receive_pause(r->stream, true);
    r->is_paused = true; /* the handler asserts that nothing comes */
    uint64_t before = 0;
    for (unsigned turns = 0; turns < 300; turns++) {
        before = l->sent_bytes;
        (void)peer_push(l, 64u << 20);
        turns = l->sent_bytes > before ? 0 : turns;
        fixture_turn(&l->f);
    }
    assert_true(l->sent_bytes < 32u << 20);
    r->is_paused = false;
    stream_receive_pause(r->stream, false);
    l->want_bytes = l->sent_bytes;
    fixture_run(&l->f, transport_has_all, l, "all bytes once resumed");
    assert_true(r->received_hash == pattern_hash(l->want_bytes));
    link_free(l);
}

/* Paused from within each data event and resumed from outside. */
static void test_pause_in_data(void **state)
{
    struct link *l = link_new();

    (void)state;
    l->a.initial.is_pause_on_data = true;
    struct record *r = link_connect(l);
    l->want_bytes = 300000;
    for (int i = 0; i < 20000 && !transport_has_all(l); i++) {
        fixture_turn(&l->f);
        if (r->is_paused) {
            r->is_paused = false;
            stream_receive_pause(r->stream, false);
        }
    }
    assert_int_equal(r->received_bytes, 300000);
    assert_true(r->received_hash == pattern_hash(300000));
    l->f.peer->ops->shutdown(l->f.peer, l->handle);
    if (r->is_paused) {
        r->is_paused = false;
        stream_receive_pause(r->stream, false);
    }
    fixture_run(&l->f, is_eof, l, "eof event");
    link_free(l);
}

static void test_queue_full(void **state)
{
    struct link *l = link_new();
    struct extent extents[EXTENTS_PER_SEND_MAX];

    (void)state;
    struct record *r = link_connect(l);
    struct blob *b = fixture_blob(&l->f, 0, CHUNK);
    for (size_t i = 0; i < EXTENTS_PER_SEND_MAX; i++)
        extents[i] = extent_of(b);
    /* 64 * 16 KiB fill the queue exactly; one more byte does not go in. */
    assert_int_equal(stream_send(r->stream, extents, EXTENTS_PER_SEND_MAX - 1), 0);
    assert_int_equal(r->stream->queued_bytes, FIXTURE_QUEUE_BYTES_MAX - CHUNK);
    uint32_t refs = b->refs;
    assert_int_equal(stream_send(r->stream, extents, 2), -ENOBUFS);
    assert_int_equal(r->stream->queued_bytes, FIXTURE_QUEUE_BYTES_MAX - CHUNK);
    assert_int_equal(b->refs, refs);
    assert_int_equal(stream_send(r->stream, extents, 1), 0);
    assert_int_equal(stream_send(r->stream, extents, 1), -ENOBUFS);
    blob_unref(&b);
    l->want_bytes = FIXTURE_QUEUE_BYTES_MAX;
    fixture_run(&l->f, peer_has_all, l, "what was queued");
    fixture_idle(&l->f, QUIET_US);
    peer_drain(l);
    assert_int_equal(l->got_bytes, FIXTURE_QUEUE_BYTES_MAX);
    link_free(l);
}

struct crowd {
    struct link *l;
    int handles[FIXTURE_STREAMS_MAX + 8];
    unsigned count;
    unsigned accepted_min;
    unsigned closed_min;
    bool is_answered[FIXTURE_STREAMS_MAX + 8];
};

static bool crowd_is_accepted(void *user)
{
    struct crowd *c = user;

    return c->l->a.count >= c->accepted_min;
}

static bool crowd_is_answered(void *user)
{
    struct crowd *c = user;
    uint8_t buffer[64];
    bool is_all = true;

    for (unsigned i = 0; i < c->count; i++) {
        if (!c->is_answered[i])
            c->is_answered[i] =
                c->l->f.peer->ops->receive(c->l->f.peer, c->handles[i], buffer, sizeof(buffer)) > 0;
        is_all = is_all && c->is_answered[i];
    }
    return is_all;
}

static bool crowd_is_closed(void *user)
{
    struct crowd *c = user;
    unsigned closed = 0;

    for (unsigned i = 0; i < c->l->a.count; i++)
        closed += c->l->a.records[i].closed_count;
    return closed >= c->closed_min;
}

static void crowd_connect(struct crowd *c, unsigned count)
{
    for (c->count = 0; c->count < count; c->count++) {
        c->handles[c->count] = c->l->f.peer->ops->connect(c->l->f.peer, &c->l->at);
        assert_true(c->handles[c->count] >= 0);
    }
}

/* Several generations of as many connections as there are streams. */
static void test_many_connections(void **state)
{
    struct crowd c = {.l = link_new()};
    struct peer *p = c.l->f.peer;

    (void)state;
    c.l->a.initial.is_echo = true;
    c.l->a.initial.is_shutdown_on_eof = true;
    for (unsigned generation = 1; generation <= 5; generation++) {
        memset(c.is_answered, 0, sizeof(c.is_answered));
        crowd_connect(&c, FIXTURE_STREAMS_MAX - 4);
        c.accepted_min = generation * c.count;
        fixture_run(&c.l->f, crowd_is_accepted, &c, "all accepted");
        for (unsigned i = 0; i < c.count; i++)
            assert_int_equal(p->ops->send(p, c.handles[i], bytes_of_str("hello")), 5);
        fixture_run(&c.l->f, crowd_is_answered, &c, "all answered");
        for (unsigned i = 0; i < c.count; i++)
            p->ops->close(p, c.handles[i]);
        c.closed_min = generation * c.count;
        fixture_run(&c.l->f, crowd_is_closed, &c, "all closed");
    }
    link_free(c.l);
}

/* With every stream in use, nobody else gets in and nobody inside notices; a stream that ends
 * makes room. */
static void test_streams_exhausted(void **state)
{
    struct crowd c = {.l = link_new()};
    struct peer *p = c.l->f.peer;

    (void)state;
    c.l->a.initial.is_echo = true;
    crowd_connect(&c, FIXTURE_STREAMS_MAX);
    c.accepted_min = FIXTURE_STREAMS_MAX;
    fixture_run(&c.l->f, crowd_is_accepted, &c, "all accepted");
    int outside = p->ops->connect(p, &c.l->at);
    fixture_idle(&c.l->f, QUIET_US);
    assert_int_equal(c.l->a.count, FIXTURE_STREAMS_MAX);
    for (unsigned i = 0; i < c.count; i++)
        assert_int_equal(p->ops->send(p, c.handles[i], bytes_of_str("still here")), 10);
    fixture_run(&c.l->f, crowd_is_answered, &c, "all answered");
    if (outside >= 0)
        p->ops->reset(p, outside);

    stream_abort(c.l->a.records[3].stream);
    c.closed_min = 1;
    fixture_run(&c.l->f, crowd_is_closed, &c, "one closed");
    fixture_idle(&c.l->f, QUIET_US);
    assert_true(p->ops->connect(p, &c.l->at) >= 0);
    c.accepted_min = FIXTURE_STREAMS_MAX + 1;
    fixture_run(&c.l->f, crowd_is_accepted, &c, "one more accepted");
    link_free(c.l);
}

static void test_accept_refused(void **state)
{
    struct link *l = link_new();

    (void)state;
    l->a.is_refusing = true;
    l->handle = l->f.peer->ops->connect(l->f.peer, &l->at);
    assert_true(l->handle >= 0);
    fixture_run(&l->f, peer_is_reset, l, "reset at the peer");
    l->a.is_refusing = false;
    (void)link_connect(l);
    link_free(l);
}

static bool is_record_closed(void *user)
{
    return ((struct record *)user)->closed_count > 0;
}

static bool is_record_sendable(void *user)
{
    return ((struct record *)user)->sendable_count > 0;
}

static bool peer_accepted(void *user)
{
    struct link *l = user;

    l->handle = l->f.peer->ops->accept(l->f.peer);
    return l->handle >= 0;
}

static void test_connect(void **state)
{
    struct link *l = link_new();
    struct record *r = &l->a.records[l->a.count++];
    struct endpoint at = fixture_peer(&l->f);

    (void)state;
    assert_int_equal(l->f.peer->ops->listen(l->f.peer, &at), 0);
    r->fixture = &l->f;
    r->stream = l->f.t->ops->connect(l->f.t, &at, &record_events, r, l->f.now_us);
    assert_non_null(r->stream);
    assert_int_equal(r->sendable_count, 0);
    fixture_run(&l->f, is_record_sendable, r, "established");
    assert_true(endpoint_is_equal(&r->stream->peer, &at));
    fixture_run(&l->f, peer_accepted, l, "accepted by the peer");
    l->want_bytes = 100000;
    fixture_run(&l->f, peer_has_all_pushed, l, "bytes at the peer");
    l->sent_bytes = 0;
    fixture_run(&l->f, transport_has_all, l, "bytes back");
    assert_true(r->received_hash == pattern_hash(100000));
    stream_shutdown(r->stream);
    fixture_run(&l->f, peer_is_at_end, l, "FIN");
    l->f.peer->ops->close(l->f.peer, l->handle);
    fixture_run(&l->f, is_record_closed, r, "closed event");
    assert_int_equal(r->error, 0);
    link_free(l);
}

static void test_connect_refused(void **state)
{
    struct link *l = link_new();
    struct record *r = &l->a.records[l->a.count++];
    struct endpoint nobody = fixture_peer(&l->f);

    (void)state;
    r->fixture = &l->f;
    r->stream = l->f.t->ops->connect(l->f.t, &nobody, &record_events, r, l->f.now_us);
    assert_non_null(r->stream);
    fixture_run(&l->f, is_record_closed, r, "closed event");
    assert_int_equal(r->error, -ECONNREFUSED);
    assert_int_equal(r->sendable_count, 0);
    link_free(l);
}

static void test_listen_errors(void **state)
{
    struct link *l = link_new();

    (void)state;
    assert_int_equal(l->f.t->ops->listen(l->f.t, &l->at, &acceptor_events, &l->a), -EADDRINUSE);
    struct endpoint foreign = {.family = 4, .addr = {198, 51, 100, 77}, .port = l->at.port};
    assert_int_equal(l->f.t->ops->listen(l->f.t, &foreign, &acceptor_events, &l->a),
                     -EADDRNOTAVAIL);
    link_free(l);
}

/* "*:port" takes IPv4 and IPv6. */
static void test_listen_any(void **state)
{
    struct link *l = link_new();
    struct endpoint any = {.family = 6, .port = fixture_local(&l->f).port};

    (void)state;
    assert_int_equal(l->f.t->ops->listen(l->f.t, &any, &acceptor_events, &l->a), 0);
    l->at.port = any.port;
    struct record *r = link_connect(l);
    assert_int_equal(r->stream->peer.family, 4);
    if (provider->local_ipv6[15] != 0) {
        struct crowd c = {.l = l, .accepted_min = 2};
        struct endpoint six = {.family = 6, .port = any.port};
        memcpy(six.addr, provider->local_ipv6, sizeof(six.addr));
        assert_true(l->f.peer->ops->connect(l->f.peer, &six) >= 0);
        fixture_run(&l->f, crowd_is_accepted, &c, "accept event over IPv6");
        assert_int_equal(l->a.records[1].stream->peer.family, 6);
    }
    link_free(l);
}

struct datagrams {
    struct link *l;
    struct endpoint local;
    struct endpoint from;
    unsigned count;
    size_t size;
    uint64_t hash;
    int handle;
    uint8_t buffer[4096];
    ssize_t got;
    struct endpoint got_from;
};

static void datagram_in(void *user, const struct endpoint *local, const struct endpoint *peer,
                        struct bytes in, uint64_t now_us)
{
    struct datagrams *d = user;

    (void)now_us;
    assert_int_equal(local->port, d->local.port);
    d->from = *peer;
    d->count++;
    d->size = in.size;
    d->hash = hash_bytes(0, in.ptr, in.size);
}

static const struct datagram_events datagram_events = {.datagram = datagram_in};

/* Datagrams may be lost: the peer asks again until the answer comes. */
static bool datagram_arrived(void *user)
{
    struct datagrams *d = user;
    uint8_t data[1000];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = pattern_at(i);
    if (d->count == 0)
        (void)d->l->f.peer->ops->send_to(d->l->f.peer, d->handle, &d->local,
                                         bytes_of(data, sizeof(data)));
    return d->count > 0;
}

static bool datagram_returned(void *user)
{
    struct datagrams *d = user;
    struct fixture *f = &d->l->f;
    struct blob *b = fixture_blob(f, 0, 1200);
    struct extent e[3] = {{b, 0, 500}, {b, 500, 1}, {b, 501, 699}};

    d->got =
        f->peer->ops->receive_from(f->peer, d->handle, &d->got_from, d->buffer, sizeof(d->buffer));
    if (d->got < 0)
        assert_int_equal(f->t->ops->send_datagram(f->t, &d->local, &d->from, e, 3), 0);
    blob_unref(&b);
    return d->got >= 0;
}

static void test_datagrams(void **state)
{
    struct datagrams d = {.l = link_new()};
    struct fixture *f = &d.l->f;
    struct endpoint at = fixture_peer(f);

    (void)state;
    d.local = fixture_local(f);
    struct blob *b = fixture_blob(f, 0, 10);
    struct extent e = extent_of(b);
    assert_int_equal(f->t->ops->send_datagram(f->t, &d.local, &at, &e, 1), -EADDRNOTAVAIL);
    blob_unref(&b);
    assert_int_equal(f->t->ops->bind(f->t, &d.local, &datagram_events, &d), 0);
    d.handle = f->peer->ops->bind(f->peer, &at);
    assert_true(d.handle >= 0);
    fixture_run(f, datagram_arrived, &d, "datagram");
    assert_int_equal(d.size, 1000);
    assert_true(d.hash == pattern_hash(1000));
    assert_true(endpoint_is_equal(&d.from, &at));
    fixture_run(f, datagram_returned, &d, "answer");
    assert_int_equal(d.got, 1200);
    assert_true(hash_bytes(0, d.buffer, 1200) == pattern_hash(1200));
    assert_true(endpoint_is_equal(&d.got_from, &d.local));
    link_free(d.l);
}

/* Freeing a transport ends its streams with one closed event each. */
static void test_free_closes(void **state)
{
    struct link *l = link_new();

    (void)state;
    struct record *r = link_connect(l);
    assert_true(transport_push(l, r, 500000));
    link_free(l); /* asserts the closed event and that every blob came back */
}

static const struct CMUnitTest cases[] = {
    cmocka_unit_test(test_echo),
    cmocka_unit_test(test_big_send),
    cmocka_unit_test(test_big_receive),
    cmocka_unit_test(test_many_extents),
    cmocka_unit_test(test_slow_reader),
    cmocka_unit_test(test_peer_half_close),
    cmocka_unit_test(test_own_half_close),
    cmocka_unit_test(test_shutdown_on_eof),
    cmocka_unit_test(test_abort),
    cmocka_unit_test(test_abort_in_data),
    cmocka_unit_test(test_peer_reset),
    cmocka_unit_test(test_pause),
    cmocka_unit_test(test_pause_in_data),
    cmocka_unit_test(test_queue_full),
    cmocka_unit_test(test_many_connections),
    cmocka_unit_test(test_streams_exhausted),
    cmocka_unit_test(test_accept_refused),
    cmocka_unit_test(test_connect),
    cmocka_unit_test(test_connect_refused),
    cmocka_unit_test(test_listen_errors),
    cmocka_unit_test(test_listen_any),
    cmocka_unit_test(test_datagrams),
    cmocka_unit_test(test_free_closes),
};

int cases_run(const struct provider *p)
{
    const char *reason = "";

    provider = p;
    int err = p->set_up(&reason);
    if (err == -ENOTSUP) {
        printf("skipped: %s: %s\n", p->name, reason);
        return 77;
    }
    if (err < 0) {
        printf("%s cannot be set up: %s\n", p->name, reason);
        return 1;
    }
    int failed = cmocka_run_group_tests_name(p->name, cases, NULL, NULL);
    p->tear_down();
    return failed;
}
