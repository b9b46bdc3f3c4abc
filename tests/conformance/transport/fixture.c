#include "tests/conformance/transport/fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { RUN_LIMIT_US = 5 * 1000 * 1000, TURN_BUDGET = 64, FIRST_PORT = 21000 };

static uint16_t next_port = FIRST_PORT;

static uint64_t fixture_random(void *user)
{
    struct fixture *f = user;

    f->random_state ^= f->random_state << 13;
    f->random_state ^= f->random_state >> 7;
    f->random_state ^= f->random_state << 17;
    return f->random_state;
}

void fixture_open(struct fixture *f, const struct provider *provider)
{
    memset(f, 0, sizeof(*f));
    f->provider = provider;
    f->now_us = 1000000;
    f->random_state = 88172645463325252u;
    blob_home_init(&f->home);
    f->blobs = blob_pool_new(&f->home, FIXTURE_BLOBS, FIXTURE_BLOB_BYTES);
    assert_non_null(f->blobs);
    f->env = (struct transport_env){
        .counters = &f->counters,
        .wheel = &f->wheel,
        .blob_home = &f->home,
        .random = fixture_random,
        .random_user = f,
        .streams_max = FIXTURE_STREAMS_MAX,
        .send_queue_bytes_max = FIXTURE_QUEUE_BYTES_MAX,
    };
    provider->advance(f, false); /* sets the clock */
    wheel_init(&f->wheel, f->now_us);
    assert_int_equal(provider->open(f), 0);
}

void fixture_close(struct fixture *f)
{
    f->peer->ops->free(&f->peer);
    f->t->ops->free(&f->t);
    f->provider->close(f);
    for (unsigned i = 0; i < 100 && blob_home_poll(&f->home); i++)
        f->provider->advance(f, true);
    assert_int_equal(blob_pool_in_use(f->blobs), 0);
    assert_int_equal(f->wheel.armed_count, 0);
    blob_pool_free(&f->blobs);
}

unsigned fixture_turn(struct fixture *f)
{
    unsigned work = f->t->ops->poll(f->t, f->now_us, TURN_BUDGET);

    wheel_poll(&f->wheel, f->now_us, TURN_BUDGET);
    f->t->ops->flush(f->t, f->now_us);
    blob_home_poll(&f->home);
    f->provider->advance(f, work == 0);
    return work;
}

void fixture_run(struct fixture *f, bool (*is_done)(void *user), void *user, const char *what)
{
    uint64_t start_us = f->now_us;

    while (!is_done(user)) {
        if (f->now_us - start_us > RUN_LIMIT_US)
            fail_msg("%s: still waiting for: %s", f->provider->name, what);
        fixture_turn(f);
    }
}

void fixture_idle(struct fixture *f, uint64_t us)
{
    uint64_t start_us = f->now_us;

    while (f->now_us - start_us < us)
        fixture_turn(f);
}

static struct endpoint with_port(struct endpoint e)
{
    e.port = next_port++;
    return e;
}

struct endpoint fixture_local(struct fixture *f)
{
    return with_port(f->local_addr);
}

struct endpoint fixture_peer(struct fixture *f)
{
    return with_port(f->peer_addr);
}

struct blob *fixture_blob(struct fixture *f, uint64_t at, uint32_t size)
{
    struct blob *b = blob_pool_get(f->blobs);

    assert_non_null(b);
    assert_true(size <= FIXTURE_BLOB_BYTES);
    for (uint32_t i = 0; i < size; i++)
        blob_pool_data(b)[i] = pattern_at(at + i);
    b->size = size;
    return b;
}

uint64_t pattern_hash(uint64_t size)
{
    uint64_t hash = 0;

    for (uint64_t i = 0; i < size; i++) {
        uint8_t byte = pattern_at(i);
        hash = hash_bytes(hash, &byte, 1);
    }
    return hash;
}

static void record_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct record *r = s->user;

    (void)now_us;
    assert_int_equal(r->closed_count, 0);
    assert_int_equal(r->eof_count, 0);
    assert_false(r->is_paused);
    assert_true(in.size > 0);
    r->data_count++;
    r->received_bytes += in.size;
    r->received_hash = hash_bytes(r->received_hash, in.ptr, in.size);
    if (r->is_pause_on_data) {
        r->is_paused = true;
        stream_receive_pause(s, true);
    }
    if (r->is_abort_on_data) {
        stream_abort(s);
        assert_int_equal(r->closed_count, 0);
    }
    for (size_t done = 0; r->is_echo && done < in.size;) {
        size_t size = in.size - done < FIXTURE_BLOB_BYTES ? in.size - done : FIXTURE_BLOB_BYTES;
        struct blob *b = blob_pool_get(r->fixture->blobs);
        assert_non_null(b);
        memcpy(blob_pool_data(b), in.ptr + done, size);
        b->size = (uint32_t)size;
        struct extent e = extent_of(b);
        assert_int_equal(stream_send(s, &e, 1), 0);
        blob_unref(&b);
        done += size;
    }
}

static void record_sendable(struct stream *s, uint64_t now_us)
{
    struct record *r = s->user;

    (void)now_us;
    assert_int_equal(r->closed_count, 0);
    assert_true(s->queued_bytes <= s->low_water_bytes);
    r->sendable_count++;
}

static void record_eof(struct stream *s, uint64_t now_us)
{
    struct record *r = s->user;

    (void)now_us;
    assert_int_equal(r->closed_count, 0);
    r->eof_count++;
    assert_int_equal(r->eof_count, 1);
    if (r->is_shutdown_on_eof)
        stream_shutdown(s);
}

static void record_closed(struct stream *s, int error, uint64_t now_us)
{
    struct record *r = s->user;

    (void)now_us;
    r->closed_count++;
    assert_int_equal(r->closed_count, 1);
    r->error = error;
    r->stream = NULL;
}

const struct stream_events record_events = {
    .data = record_data,
    .sendable = record_sendable,
    .eof = record_eof,
    .closed = record_closed,
};

static int acceptor_accept(void *user, struct stream *s, uint64_t now_us)
{
    struct acceptor *a = user;

    (void)now_us;
    if (a->is_refusing)
        return -ECONNREFUSED;
    assert_true(a->count < sizeof(a->records) / sizeof(a->records[0]));
    struct record *r = &a->records[a->count++];
    *r = a->initial;
    r->fixture = a->fixture;
    r->stream = s;
    s->events = &record_events;
    s->user = r;
    return 0;
}

const struct listen_events acceptor_events = {.accept = acceptor_accept};
