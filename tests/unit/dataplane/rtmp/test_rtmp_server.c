/* The server against a fake transport, link and channel registry; time is virtual. */
#include "dataplane/rtmp/rtmp_server.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/config/config.h"
#include "dataplane/core/shard.h"
#include "dataplane/link/link.h"
#include "dataplane/media/channel.h"
#include "dataplane/rtmp/amf0.h"
#include "dataplane/rtmp/rtmp_chunk.h"
#include "dataplane/rtmp/rtmp_handshake.h"
#include "drivers/net/transport.h"
#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { START_US = 1000000, PUBLISHERS = 2, BLOBS = 8, SENT_MAX = 16384 };

/* A stream of the fake transport, which keeps what is sent. */
struct peer {
    struct stream stream;
    uint8_t sent[SENT_MAX];
    size_t sent_size;
    bool is_paused;
    bool is_shut;
    bool is_aborted;
    bool is_full; /* refuses to queue */
    int accept_result;
};

struct fixture {
    struct config config;
    struct shard shard;
    struct counters counters;
    struct transport transport;
    const struct listen_events *listen_events;
    void *listen_user;
    struct rtmp_server *server;

    int ask_result; /* of link_ask_publish() */
    unsigned ask_count;
    char asked_name[128];
    char asked_key[256];
    link_answer_function *answer;
    uint64_t cookie;

    struct publication *held; /* between publication_begin() and _end() or revoked() */
    unsigned begin_count;
    unsigned end_count;
    unsigned track_count;
    unsigned unit_count;
};
static struct fixture *world; /* the fakes below have no other way to it */

int link_ask_publish(struct link *link, struct shard *asking, struct bytes name, struct bytes key,
                     link_answer_function *answer, uint64_t cookie)
{
    (void)link;
    (void)asking;
    world->ask_count++;
    assert_true(bytes_to_str(name, world->asked_name, sizeof(world->asked_name)));
    assert_true(bytes_to_str(key, world->asked_key, sizeof(world->asked_key)));
    world->answer = answer;
    world->cookie = cookie;
    return world->ask_result;
}

void publication_begin(struct publication *p, struct channels *c, struct shard *s,
                       struct bytes name)
{
    (void)c;
    (void)s;
    (void)name;
    assert_null(world->held);
    assert_non_null(p->granted);
    assert_non_null(p->revoked);
    world->held = p;
    world->begin_count++;
}

void publication_end(struct publication *p, uint64_t now_us)
{
    (void)now_us;
    if (world->held == p)
        world->held = NULL;
    world->end_count++;
}

int publication_track(struct publication *p, uint8_t track, const struct track_info *info,
                      uint64_t now_us)
{
    (void)track;
    (void)info;
    (void)now_us;
    assert_ptr_equal(p, world->held);
    world->track_count++;
    return 0;
}

int publication_unit(struct publication *p, const struct access_unit *au, uint64_t now_us)
{
    (void)au;
    (void)now_us;
    assert_ptr_equal(p, world->held);
    world->unit_count++;
    return 0;
}

static struct peer *peer_of(struct stream *s)
{
    return CONTAINER_OF(s, struct peer, stream);
}

static int fake_listen(struct transport *t, const struct endpoint *local,
                       const struct listen_events *events, void *user)
{
    (void)t;
    (void)local;
    world->listen_events = events;
    world->listen_user = user;
    return 0;
}

static int fake_send(struct stream *s, const struct extent *extents, size_t count)
{
    struct peer *p = peer_of(s);

    assert_false(p->is_shut);
    if (p->is_full)
        return -ENOBUFS;
    for (size_t i = 0; i < count; i++) {
        assert_true(extents[i].size <= SENT_MAX - p->sent_size);
        memcpy(p->sent + p->sent_size, extent_data(&extents[i]), extents[i].size);
        p->sent_size += extents[i].size;
    }
    return 0;
}

static void fake_shutdown(struct stream *s)
{
    peer_of(s)->is_shut = true;
}

static void fake_abort(struct stream *s)
{
    peer_of(s)->is_aborted = true;
}

static void fake_pause(struct stream *s, bool paused)
{
    assert_int_not_equal(peer_of(s)->is_paused, paused);
    peer_of(s)->is_paused = paused;
}

static const struct transport_ops ops = {
    .name = "fake",
    .listen = fake_listen,
    .send = fake_send,
    .shutdown = fake_shutdown,
    .abort = fake_abort,
    .receive_pause = fake_pause,
};

static int setup(void **state)
{
    struct fixture *f =
        aligned_alloc(_Alignof(struct fixture), sizeof(*f)); /* as its shard wants */
    struct endpoint local;

    assert_non_null(f);
    memset(f, 0, sizeof(*f));
    world = f;
    config_defaults(&f->config);
    f->config.rtmp_publishers_max = PUBLISHERS;
    f->shard.config = &f->config;
    f->shard.counters = &f->counters;
    f->shard.now_us = START_US;
    wheel_init(&f->shard.wheel, START_US);
    blob_home_init(&f->shard.blob_home);
    f->shard.small_blobs = blob_pool_new(&f->shard.blob_home, BLOBS, 1024);
    f->transport.ops = &ops;
    assert_int_equal(rtmp_server_new(&f->shard, NULL, NULL, &f->server), 0);
    assert_int_equal(endpoint_parse("127.0.0.1:1935", &local), 0);
    assert_int_equal(rtmp_server_listen(f->server, &f->transport, &local), 0);
    *state = f;
    return 0;
}

/* All buffers are back. */
static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(blob_pool_in_use(f->shard.small_blobs), 0);
    assert_int_equal(f->shard.wheel.armed_count, 0);
    assert_int_equal(counter_read(&f->counters.rtmp_connections), 0);
    assert_int_equal(counter_read(&f->counters.rtmp_publishers), 0);
    rtmp_server_free(&f->server);
    assert_null(f->server);
    blob_pool_free(&f->shard.small_blobs);
    free(f);
    return 0;
}

static struct peer *peer_open(struct fixture *f)
{
    struct peer *p = calloc(1, sizeof(*p));

    p->stream.transport = &f->transport;
    p->accept_result = f->listen_events->accept(f->listen_user, &p->stream, f->shard.now_us);
    return p;
}

static void peer_data(struct fixture *f, struct peer *p, struct bytes in)
{
    struct bytes copy = fixture_copy(in);

    p->stream.events->data(&p->stream, copy, f->shard.now_us);
    fixture_free(&copy);
}

/* The transport's last event. */
static void peer_close(struct fixture *f, struct peer **pp, int error)
{
    struct peer *p = *pp;

    *pp = NULL;
    p->stream.events->closed(&p->stream, error, f->shard.now_us);
    free(p);
}

/* Time passes. */
static void pass(struct fixture *f, uint64_t us)
{
    f->shard.now_us += us;
    wheel_poll(&f->shard.wheel, f->shard.now_us, 1000);
}

/* Handshake, connect and publish of cam?key=k1, in one go. */
static void peer_ask(struct fixture *f, struct peer *p)
{
    uint8_t wire[4096] = {3};
    uint8_t body[256];
    struct writer out = writer_of(wire, sizeof(wire));
    struct writer w = writer_of(body, sizeof(body));

    out.size = 1 + 2 * RTMP_HANDSHAKE_SIZE;
    amf0_write_text(&w, "connect");
    amf0_write_number(&w, 1);
    amf0_write_object(&w);
    amf0_write_name(&w, "app");
    amf0_write_text(&w, "live");
    amf0_write_end(&w);
    struct rtmp_message m = {.type = RTMP_COMMAND, .chunk_stream = 3, .body = writer_bytes(&w)};
    rtmp_chunk_write(&out, &m, RTMP_CHUNK_SIZE_DEFAULT);

    w = writer_of(body, sizeof(body));
    amf0_write_text(&w, "publish");
    amf0_write_number(&w, 5);
    amf0_write_null(&w);
    amf0_write_text(&w, "cam?key=k1");
    m = (struct rtmp_message){
        .type = RTMP_COMMAND, .chunk_stream = 3, .stream_id = 1, .body = writer_bytes(&w)};
    rtmp_chunk_write(&out, &m, RTMP_CHUNK_SIZE_DEFAULT);
    assert_true(writer_is_ok(&out));
    peer_data(f, p, writer_bytes(&out));
}

static void peer_audio(struct fixture *f, struct peer *p)
{
    static const uint8_t wire[] = {4,    0,    0, 0,    0,    0, 4, 8, 1,    0, 0,
                                   0,    0xaf, 0, 0x12, 0x10, /* configuration */
                                   0x44, 0,    0, 23,   0,    0, 3, 8, 0xaf, 1, 0x21};

    peer_data(f, p, bytes_of(wire, sizeof(wire)));
}

static void peer_publish(struct fixture *f, struct peer *p)
{
    peer_ask(f, p);
    f->answer(&f->shard, f->cookie, LINK_ALLOWED);
    assert_non_null(f->held);
    f->held->granted(f->held, f->shard.now_us);
}

static bool peer_was_told(const struct peer *p, const char *text)
{
    return memmem(p->sent, p->sent_size, text, strlen(text)) != NULL;
}

static void test_rtmp_server_publishes_after_the_verdict(void **state)
{
    struct fixture *f = *state;
    struct peer *p = peer_open(f);

    peer_ask(f, p);
    assert_int_equal(f->ask_count, 1);
    assert_string_equal(f->asked_name, "cam");
    assert_string_equal(f->asked_key, "k1");
    assert_true(p->is_paused);
    peer_audio(f, p); /* was under way already: held */
    assert_int_equal(f->track_count, 0);
    f->answer(&f->shard, f->cookie, LINK_ALLOWED);
    assert_int_equal(f->begin_count, 1);
    assert_false(peer_was_told(p, "NetStream.Publish.Start"));
    assert_true(p->is_paused);
    f->held->granted(f->held, f->shard.now_us);
    assert_true(peer_was_told(p, "NetStream.Publish.Start"));
    assert_false(p->is_paused);
    assert_int_equal(f->track_count, 1);
    assert_int_equal(f->unit_count, 1);
    peer_audio(f, p);
    assert_int_equal(f->unit_count, 2);
    assert_int_equal(counter_read(&f->counters.rtmp_publishers), 1);
    peer_close(f, &p, -ECONNRESET);
    assert_int_equal(f->end_count, 1);
    assert_null(f->held);
}

static void check_refusal(struct fixture *f, enum link_verdict verdict, const char *code)
{
    struct peer *p = peer_open(f);

    peer_ask(f, p);
    f->answer(&f->shard, f->cookie, verdict);
    assert_true(peer_was_told(p, code));
    assert_false(peer_was_told(p, "Publish.Start"));
    assert_true(p->is_shut);
    assert_false(p->is_paused); /* what still comes is thrown away */
    peer_audio(f, p);
    assert_int_equal(f->track_count, 0);
    assert_int_equal(f->begin_count, 0);
    peer_close(f, &p, 0);
}

static void test_rtmp_server_refuses(void **state)
{
    struct fixture *f = *state;

    check_refusal(f, LINK_WRONG_KEY, "NetStream.Publish.BadName");
    check_refusal(f, LINK_UNKNOWN_CHANNEL, "NetStream.Publish.BadName");
    check_refusal(f, LINK_UNAVAILABLE, "NetStream.Failed");
    assert_int_equal(counter_read(&f->counters.rtmp_publish_wrong_key), 1);
    assert_int_equal(counter_read(&f->counters.rtmp_publish_unknown_channel), 1);
    assert_int_equal(counter_read(&f->counters.rtmp_publish_unavailable), 1);

    f->ask_result = -ENOBUFS;
    struct peer *p = peer_open(f);
    peer_ask(f, p);
    assert_true(peer_was_told(p, "NetStream.Failed"));
    assert_true(p->is_shut);
    assert_int_equal(counter_read(&f->counters.rtmp_publish_unavailable), 2);
    peer_close(f, &p, 0);
}

/* Nothing that the peer is told tells an unknown channel from a wrong key. */
static void test_rtmp_server_does_not_reveal_channels(void **state)
{
    struct fixture *f = *state;
    struct peer *wrong = peer_open(f);
    peer_ask(f, wrong);
    f->answer(&f->shard, f->cookie, LINK_WRONG_KEY);
    struct peer *unknown = peer_open(f);
    peer_ask(f, unknown);
    f->answer(&f->shard, f->cookie, LINK_UNKNOWN_CHANNEL);

    size_t shake = RTMP_HANDSHAKE_REPLY_SIZE; /* random */
    assert_int_equal(wrong->sent_size, unknown->sent_size);
    assert_memory_equal(wrong->sent + shake, unknown->sent + shake, wrong->sent_size - shake);
    peer_close(f, &wrong, 0);
    peer_close(f, &unknown, 0);
}

static void test_rtmp_server_ignores_late_answers(void **state)
{
    struct fixture *f = *state;
    struct peer *p = peer_open(f);

    peer_ask(f, p);
    uint64_t old_cookie = f->cookie;
    peer_close(f, &p, -ECONNRESET);
    f->answer(&f->shard, old_cookie, LINK_ALLOWED); /* nobody there */
    p = peer_open(f);                               /* the same place */
    peer_ask(f, p);
    assert_int_not_equal(f->cookie, old_cookie);
    f->answer(&f->shard, old_cookie, LINK_ALLOWED);
    assert_int_equal(f->begin_count, 0);
    f->answer(&f->shard, f->cookie, LINK_ALLOWED);
    f->answer(&f->shard, f->cookie, LINK_ALLOWED); /* twice */
    assert_int_equal(f->begin_count, 1);
    peer_close(f, &p, 0); /* before the hold is granted */
    assert_int_equal(f->end_count, 1);
}

static void test_rtmp_server_ends_a_publisher_that_is_taken_over(void **state)
{
    struct fixture *f = *state;
    struct peer *p = peer_open(f);

    peer_publish(f, p);
    struct publication *held = f->held;
    f->held = NULL;
    held->revoked(held, -ESTALE, f->shard.now_us);
    assert_true(peer_was_told(p, "NetStream.Unpublish"));
    assert_true(p->is_shut);
    assert_int_equal(f->end_count, 0);
    assert_int_equal(counter_read(&f->counters.rtmp_publish_taken_over), 1);
    assert_int_equal(counter_read(&f->counters.rtmp_publishers), 0);
    peer_audio(f, p);
    assert_int_equal(f->track_count, 0);
    peer_close(f, &p, 0);

    static const int errors[] = {-ENOSPC, -ETIMEDOUT, -ESTALE}; /* instead of a grant */
    for (size_t i = 0; i < 3; i++) {
        p = peer_open(f);
        peer_ask(f, p);
        f->answer(&f->shard, f->cookie, LINK_ALLOWED);
        held = f->held;
        f->held = NULL;
        held->revoked(held, errors[i], f->shard.now_us);
        assert_true(peer_was_told(p, errors[i] == -ESTALE ? "BadName" : "NetStream.Failed"));
        assert_true(p->is_shut);
        peer_close(f, &p, 0);
    }
    assert_int_equal(counter_read(&f->counters.rtmp_publish_no_room), 1);
}

static void test_rtmp_server_times_out(void **state)
{
    struct fixture *f = *state;
    const struct config *c = &f->config;
    struct peer *p = peer_open(f);

    pass(f, c->rtmp_handshake_timeout * 1000 - 1000);
    assert_false(p->is_aborted);
    pass(f, 2000);
    assert_true(p->is_aborted);
    assert_int_equal(counter_read(&f->counters.rtmp_handshake_timeout), 1);
    peer_close(f, &p, -ECONNABORTED);

    p = peer_open(f);
    peer_publish(f, p);
    for (unsigned i = 0; i < 5; i++) { /* data keep it alive */
        pass(f, c->rtmp_idle_timeout * 1000 - 1000);
        peer_audio(f, p);
    }
    assert_false(p->is_aborted);
    pass(f, c->rtmp_idle_timeout * 1000 + 1000);
    assert_true(p->is_aborted);
    assert_int_equal(f->end_count, 1);
    assert_int_equal(counter_read(&f->counters.rtmp_idle_timeout), 1);
    peer_close(f, &p, -ECONNABORTED);

    p = peer_open(f); /* told no, and does not close */
    peer_ask(f, p);
    f->answer(&f->shard, f->cookie, LINK_WRONG_KEY);
    pass(f, 10000000);
    assert_true(p->is_aborted);
    assert_int_equal(counter_read(&f->counters.rtmp_linger_timeout), 1);
    peer_close(f, &p, -ECONNABORTED);
}

static void test_rtmp_server_closes_in_order(void **state)
{
    struct fixture *f = *state;
    struct peer *p = peer_open(f);

    peer_publish(f, p);
    p->stream.events->eof(&p->stream, f->shard.now_us);
    assert_true(p->is_shut);
    assert_int_equal(f->end_count, 1);
    peer_close(f, &p, 0);

    p = peer_open(f); /* unpublishes, then has to publish again in time */
    peer_publish(f, p);
    static const uint8_t close_stream[] = {
        3,   0,   0,   0,   0,   0,   23,  20,  1, 0, 0, 0, 2, 0, 11, 'c', 'l', 'o',
        's', 'e', 'S', 't', 'r', 'e', 'a', 'm', 0, 0, 0, 0, 0, 0, 0,  0,   0};
    peer_data(f, p, bytes_of(close_stream, sizeof(close_stream)));
    assert_int_equal(f->end_count, 2);
    assert_false(p->is_shut);
    pass(f, f->config.rtmp_handshake_timeout * 1000 + 1000);
    assert_true(p->is_aborted);
    peer_close(f, &p, -ECONNABORTED);

    p = peer_open(f);
    peer_data(f, p, bytes_of_str("GET / HTTP/1.1\r\n\r\n"));
    assert_true(p->is_shut);
    peer_close(f, &p, 0);
}

static void test_rtmp_server_refuses_when_full(void **state)
{
    struct fixture *f = *state;
    struct peer *peers[PUBLISHERS];

    for (size_t i = 0; i < PUBLISHERS; i++) {
        peers[i] = peer_open(f);
        assert_int_equal(peers[i]->accept_result, 0);
    }
    struct peer *one_more = peer_open(f);
    assert_int_equal(one_more->accept_result, -ENOBUFS);
    assert_int_equal(counter_read(&f->counters.rtmp_refused_full), 1);
    free(one_more);
    peer_close(f, &peers[0], 0);
    peers[0] = peer_open(f);
    assert_int_equal(peers[0]->accept_result, 0);
    for (size_t i = 0; i < PUBLISHERS; i++)
        peer_close(f, &peers[i], 0);
}

/* No buffer, or no room in the stream's queue, for a reply: the connection ends, nothing leaks. */
static void test_rtmp_server_aborts_when_it_cannot_answer(void **state)
{
    struct fixture *f = *state;
    struct peer *p = peer_open(f);

    p->is_full = true;
    peer_ask(f, p);
    assert_true(p->is_aborted);
    peer_close(f, &p, -ECONNABORTED);

    struct blob *taken[BLOBS];
    for (size_t i = 0; i < BLOBS; i++)
        taken[i] = blob_pool_get(f->shard.small_blobs);
    p = peer_open(f);
    peer_ask(f, p);
    assert_true(p->is_aborted);
    assert_int_equal(counter_read(&f->counters.rtmp_send_failed), 2);
    peer_close(f, &p, -ECONNABORTED);
    for (size_t i = 0; i < BLOBS; i++)
        blob_unref(&taken[i]);
    assert_null(f->held);
}

/* The fifth second of a publisher is as good as its first: large messages leave nothing behind. */
static void test_rtmp_server_takes_large_messages(void **state)
{
    enum { SIZE = 6 << 20 };
    struct fixture *f = *state;
    struct peer *p = peer_open(f);
    uint8_t *wire = calloc(1, SIZE + 64);
    struct writer out = writer_of(wire, SIZE + 64);

    peer_publish(f, p);
    writer_put(&out, bytes_of("\x02\0\0\0\0\0\4\1\0\0\0\0\x7f\xff\xff\xff", 16)); /* chunk size */
    writer_put(&out, bytes_of("\x06\0\0\0\x60\0\0\x09\1\0\0\0\x17\1\0\0\0", 17));
    out.size += SIZE - 5;
    for (unsigned i = 0; i < 3; i++)
        peer_data(f, p, i == 0 ? writer_bytes(&out) : bytes_from(writer_bytes(&out), 16));
    assert_false(p->is_aborted);
    assert_int_equal(counter_read(&f->counters.rtmp_unit_early), 3); /* no configuration */
    peer_close(f, &p, 0);
    free(wire);
}

static void test_rtmp_server_new_fails_without_memory(void **state)
{
    struct fixture *f = *state;
    struct rtmp_server *server = NULL;

    f->config.rtmp_message_max = UINT64_C(1) << 45; /* address space ends before */
    assert_int_equal(rtmp_server_new(&f->shard, NULL, NULL, &server), -ENOMEM);
    assert_null(server);
    rtmp_server_free(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rtmp_server_publishes_after_the_verdict),
        TEST(test_rtmp_server_refuses),
        TEST(test_rtmp_server_does_not_reveal_channels),
        TEST(test_rtmp_server_ignores_late_answers),
        TEST(test_rtmp_server_ends_a_publisher_that_is_taken_over),
        TEST(test_rtmp_server_times_out),
        TEST(test_rtmp_server_closes_in_order),
        TEST(test_rtmp_server_refuses_when_full),
        TEST(test_rtmp_server_aborts_when_it_cannot_answer),
        TEST(test_rtmp_server_takes_large_messages),
        TEST(test_rtmp_server_new_fails_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
