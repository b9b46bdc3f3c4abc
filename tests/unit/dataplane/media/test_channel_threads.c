/* Shards as threads: publishers take one channel from each other across shards as fast as they can,
 * while every shard reads its snapshots, keeps views on parts and waits for news. Built with the
 * thread sanitizer, this is where a missing order would show. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/check.h"
#include "common/clock.h"
#include "tests/unit/dataplane/media/fake_node.h"

enum {
    RUN_US = 2000000,
    SPEED = 20, /* virtual microseconds in a real one */
    VIEWS_KEPT = 3,
    BEGIN_ONE_IN = 40, /* turns of an idle publisher */
    END_ONE_IN = 300,  /* turns of one that holds the channel */
};

struct actor {
    pthread_t thread;
    struct fake_node *node;
    struct shard *shard;
    struct fake_stream stream;
    struct channel_waiter waiter;
    struct blob *kept[VIEWS_KEPT];
    uint32_t seed;
    int begun_count;
    uint64_t generation;
    uint64_t newest_msn;
    uint64_t snapshots_read;
    int woken_count;
};

static uint64_t epoch_us;

static uint32_t draw(struct actor *a, uint32_t below)
{
    a->seed = a->seed * 1664525 + 1013904223;
    return (a->seed >> 8) % below;
}

static void on_ready(struct channel_waiter *w, uint64_t now_us)
{
    (void)now_us;
    CONTAINER_OF(w, struct actor, waiter)->woken_count++;
}

static void check_part(struct actor *a, struct object *o)
{
    uint32_t size = object_size(o);
    const uint8_t *data = object_data(o);

    CHECK(size > 40 && memcmp(data + 4, "moof", 4) == 0 && memcmp(data + 36, "mdat", 4) == 0);
    CHECK(data[40] == data[size - 1]);
    uint32_t slot = draw(a, VIEWS_KEPT);
    if (a->kept[slot] != NULL)
        CHECK(memcmp(a->kept[slot]->data + 4, "moof", 4) == 0);
    blob_unref(&a->kept[slot]);
    a->kept[slot] = object_view(a->shard->store, o);
}

static void check_track(struct actor *a, const struct track_snapshot *t)
{
    CHECK(memcmp(object_data(t->playlist), "#EXTM3U\n", 8) == 0);
    CHECK(t->segment_count > 0);
    for (uint32_t i = 0; i < t->segment_count; i++) {
        const struct segment_entry *s = &t->segments[i];
        uint64_t size = 0;
        CHECK(s->msn == t->first_msn + i);
        for (uint32_t n = 0; n < s->part_count; n++)
            size += s->parts[n].object != NULL ? object_size(s->parts[n].object) : 0;
        CHECK(size == s->size);
        CHECK(size == 0 || s->init_index < t->init_count);
    }
    const struct segment_entry *last = &t->segments[t->segment_count - 1];
    if (last->part_count > 0 && last->parts[last->part_count - 1].object != NULL)
        check_part(a, last->parts[last->part_count - 1].object);
}

static void read_channel(struct actor *a)
{
    struct channel *ch = channel_find(a->node->channels, bytes_of_str("demo"));

    if (ch == NULL)
        return;
    if (!list_is_linked(&a->waiter.link))
        channel_wait(ch, a->shard, &a->waiter);
    const struct channel_snapshot *s = channel_snapshot(ch);
    if (s == NULL)
        return;
    a->snapshots_read++;
    for (uint32_t i = 0; i < s->track_count; i++)
        check_track(a, &s->tracks[i]);
    CHECK(memcmp(object_data(s->multivariant), "#EXTM3U\n", 8) == 0);
    channel_count_bytes(ch, a->shard, 1);
    if (s->track_count > 0 && channel_generation(ch) == a->generation)
        CHECK(s->tracks[0].next_msn >= a->newest_msn); /* numbers never go back */
    a->generation = channel_generation(ch);
    a->newest_msn = s->track_count > 0 ? s->tracks[0].next_msn : 0;
}

static void publish(struct actor *a)
{
    struct fake_stream *f = &a->stream;

    if (f->granted_count < a->begun_count && f->revoked_count < a->begun_count)
        return; /* waits for an answer */
    if (f->granted_count > f->revoked_count) {
        if (f->part == 0 && f->segment == 0)
            fake_stream_announce(f);
        fake_stream_send_parts(f);
        if (draw(a, END_ONE_IN) != 0)
            return;
        publication_end(&f->publication, a->shard->now_us);
        f->revoked_count++; /* by ourselves */
        return;
    }
    if (draw(a, BEGIN_ONE_IN) != 0)
        return;
    f->part = 0;
    f->segment = 0;
    f->is_discontinuous = true;
    f->media_us = a->shard->wall_us;
    f->granted_count = 0;
    f->revoked_count = 0;
    a->begun_count = 1;
    publication_begin(&f->publication, a->node->channels, a->shard, bytes_of_str("demo"));
}

static void turn(struct actor *a)
{
    struct shard *s = a->shard;
    struct message m;

    s->now_us = epoch_us + (clock_monotonic_us() - epoch_us) * SPEED;
    s->wall_us = FAKE_START_WALL_US + (int64_t)(s->now_us - epoch_us);
    publish(a);
    read_channel(a);
    while (mailbox_take(&s->mailbox, &m))
        m.handle(s, &m);
    wheel_poll(&s->wheel, s->now_us, 1000);
    store_poll(s->store);
    store_quiescent(s->store);
}

static void *run_actor(void *argument)
{
    struct actor *a = argument;

    while (clock_monotonic_us() - epoch_us < RUN_US) {
        turn(a);
        if (draw(a, 10) == 0) {
            store_offline(a->shard->store);
            sched_yield();
            store_online(a->shard->store);
        }
    }
    for (int i = 0; i < VIEWS_KEPT; i++)
        blob_unref(&a->kept[i]);
    channel_wait_cancel(&a->waiter);
    store_offline(a->shard->store);
    return NULL;
}

static void test_channel_is_read_everywhere_while_it_moves(void **state)
{
    static struct actor actors[FAKE_SHARDS_MAX];
    struct fake_node *n = fake_node_new(FAKE_SHARDS_MAX, NULL);
    uint64_t latest_us = 0;

    (void)state;
    epoch_us = clock_monotonic_us(); /* when virtual time begins */
    for (uint32_t i = 0; i < FAKE_SHARDS_MAX; i++) {
        actors[i] = (struct actor){.node = n, .shard = &n->shards[i], .seed = i + 1};
        n->shards[i].now_us = epoch_us;
        wheel_init(&n->shards[i].wheel, epoch_us);
        fake_stream_init(&actors[i].stream);
        actors[i].stream.is_numbered_by_packager = true;
        actors[i].stream.video_bytes = 5000;
        actors[i].waiter.ready = on_ready;
    }
    for (uint32_t i = 0; i < FAKE_SHARDS_MAX; i++)
        assert_int_equal(pthread_create(&actors[i].thread, NULL, run_actor, &actors[i]), 0);
    for (uint32_t i = 0; i < FAKE_SHARDS_MAX; i++) {
        pthread_join(actors[i].thread, NULL);
        assert_true(actors[i].snapshots_read > 0);
        assert_true(actors[i].woken_count > 0);
        if (n->shards[i].now_us > latest_us)
            latest_us = n->shards[i].now_us;
    }
    assert_true(NODE_COUNTER(n, channel_moves) > 3);
    assert_true(NODE_COUNTER(n, channel_takeovers) > 3);
    for (uint32_t i = 0; i < FAKE_SHARDS_MAX; i++) {
        n->shards[i].now_us = latest_us;
        store_online(n->shards[i].store);
        publication_end(&actors[i].stream.publication, latest_us);
    }
    fake_node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_is_read_everywhere_while_it_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
