/* Objects, views, retirement: lifetimes, checksums, and every pool exhausted in turn. The last
 * test runs writers and readers as threads; TSan watches it in its own build. */
#include "dataplane/store/store.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/counters.h"

enum { MIB = 1 << 20, GRANULE = 4096 };

struct fixture {
    struct store *store;
    struct counters counters[2];
    struct blob_home homes[2];
    struct store_shard *shards[2];
};

static struct fixture *fixture_new(uint64_t memory_bytes, uint32_t shard_count, uint32_t views)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->store = store_new(memory_bytes, shard_count, views);
    assert_non_null(f->store);
    for (uint32_t i = 0; i < shard_count; i++) {
        blob_home_init(&f->homes[i]);
        f->shards[i] = store_shard_attach(f->store, i, &f->counters[i], &f->homes[i]);
    }
    return f;
}

static void fixture_free(struct fixture *f)
{
    for (uint32_t i = 0; i < 2 && f->shards[i] != NULL; i++) {
        store_poll(f->shards[i]);
        assert_int_equal(store_shard_used_bytes(f->shards[i]), 0);
        assert_int_equal(counter_read(&f->counters[i].store_objects), 0);
        assert_int_equal(counter_read(&f->counters[i].store_views), 0);
    }
    store_free(&f->store);
    assert_null(f->store);
    free(f);
}

static struct object *make_object(struct store_shard *s, uint32_t size, uint8_t fill)
{
    struct object *o = object_new(s, size);

    if (o != NULL) {
        memset(object_data(o), fill, size);
        object_seal(o);
    }
    return o;
}

/* The definition, word by word (RFC 1071). */
static uint16_t reference_sum(const uint8_t *data, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i += 2) {
        sum += (uint32_t)(data[i] << 8 | data[i + 1]);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void test_object_caches_prefix_checksums(void **state)
{
    static const uint32_t sizes[] = {0, 1, 63, 64, 65, 128, 1000, 65536, 300001};
    struct fixture *f = fixture_new(4 * MIB, 1, 8);
    uint32_t seed = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct object *o = object_new(f->shards[0], sizes[i]);
        assert_non_null(o);
        for (uint32_t n = 0; n < sizes[i]; n++) {
            seed = seed * 1664525 + 1013904223;
            object_data(o)[n] = i % 2 == 0 ? 0xff : (uint8_t)(seed >> 24);
        }
        object_seal(o);
        struct blob *b = object_view(f->shards[0], o);
        assert_non_null(b);
        assert_int_equal(b->size, sizes[i]);
        for (uint32_t n = 0; n <= sizes[i] / BLOB_SUM_STRIDE; n++)
            assert_int_equal(b->sums[n], reference_sum(b->data, n * BLOB_SUM_STRIDE));
        blob_unref(&b);
        object_unref(&o);
    }
    fixture_free(f);
}

static void test_object_trim_gives_the_end_back(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 1, 8);
    struct object *o = object_new(f->shards[0], 100000);

    (void)state;
    assert_true(object_held_bytes(o) >= 100000);
    memset(object_data(o), 1, 5000);
    object_trim(o, 5000);
    object_seal(o);
    assert_int_equal(object_size(o), 5000);
    assert_int_equal(object_held_bytes(o), 2 * GRANULE);
    assert_int_equal(store_shard_used_bytes(f->shards[0]), 2 * GRANULE);
    struct blob *b = object_view(f->shards[0], o);
    assert_int_equal(b->sums[1], reference_sum(b->data, 64));
    blob_unref(&b);
    object_unref(&o);
    fixture_free(f);
}

static void test_object_refuses_when_the_arena_is_full(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 1, 8);
    struct object *big[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        big[i] = make_object(f->shards[0], 250000, (uint8_t)i);
    assert_non_null(big[3]);
    assert_null(object_new(f->shards[0], 250000));
    assert_int_equal(counter_read(&f->counters[0].store_arena_full), 1);
    assert_null(object_new(f->shards[0], UINT32_MAX));
    object_unref(&big[1]);
    assert_null(big[1]);
    big[1] = make_object(f->shards[0], 250000, 9); /* takes the return back by itself */
    assert_non_null(big[1]);
    for (int i = 0; i < 4; i++)
        object_unref(&big[i]);
    fixture_free(f);
}

static void test_object_refuses_when_all_headers_are_used(void **state)
{
    enum { OBJECTS = 64 * MIB / GRANULE / 2 };
    struct fixture *f = fixture_new(64 * MIB, 1, 8);
    struct object **all = calloc(OBJECTS, sizeof(struct object *));

    (void)state;
    for (int i = 0; i < OBJECTS; i++) {
        all[i] = object_new(f->shards[0], 10);
        assert_non_null(all[i]);
    }
    assert_null(object_new(f->shards[0], 10));
    assert_int_equal(counter_read(&f->counters[0].store_object_pool_empty), 1);
    for (int i = 0; i < OBJECTS; i++)
        object_unref(&all[i]);
    free(all);
    fixture_free(f);
}

static void test_view_is_one_per_shard_and_holds_the_object(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 2, 4);
    struct object *o = make_object(f->shards[0], 5000, 0x5a);

    (void)state;
    struct blob *a = object_view(f->shards[1], o);
    struct blob *again = object_view(f->shards[1], o);
    struct blob *other = object_view(f->shards[0], o);
    assert_ptr_equal(a, again);
    assert_ptr_not_equal(a, other);
    assert_int_equal(a->refs, 2);
    object_unref(&o); /* the views keep it */
    store_poll(f->shards[0]);
    assert_int_equal(a->data[4999], 0x5a);
    blob_unref(&a);
    blob_unref(&other);
    assert_int_equal(counter_read(&f->counters[0].store_objects), 1);
    blob_unref(&again);
    store_poll(f->shards[0]);
    assert_int_equal(counter_read(&f->counters[0].store_objects), 0);
    fixture_free(f);
}

/* What is remembered of a view's bytes stays true after it, and is said of no others. */
static void test_view_has_the_number_of_its_bytes(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 2, 4);
    struct object *o = make_object(f->shards[0], 5000, 1);
    struct object *far = make_object(f->shards[1], 5000, 2);

    (void)state;
    struct blob *b = object_view(f->shards[0], o);
    struct blob *other = object_view(f->shards[0], far);
    uint64_t id = b->id;
    assert_int_not_equal(id, 0);
    assert_int_not_equal(id, other->id);
    blob_unref(&b);
    b = object_view(f->shards[0], o);
    assert_int_equal(b->id, id);
    blob_unref(&b);
    object_unref(&o);
    o = make_object(f->shards[0], 5000, 3); /* the same memory */
    b = object_view(f->shards[0], o);
    assert_int_not_equal(b->id, id);
    blob_unref(&b);
    blob_unref(&other);
    object_unref(&o);
    object_unref(&far);
    fixture_free(f);
}

static void test_view_comes_back_to_life_while_its_packets_drain(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 1, 4);
    struct object *o = make_object(f->shards[0], 100, 1);

    (void)state;
    struct blob *b = object_view(f->shards[0], o);
    struct blob *seen = b;
    b->port_shared.refs = 2; /* a packet in flight */
    blob_unref(&b);
    assert_true(blob_home_poll(&f->homes[0]));
    b = object_view(f->shards[0], o);
    assert_ptr_equal(b, seen);
    assert_int_equal(b->refs, 1);
    b->port_shared.refs = 1;
    assert_false(blob_home_poll(&f->homes[0]));
    assert_int_equal(counter_read(&f->counters[0].store_views), 1);
    blob_unref(&b);
    object_unref(&o);
    fixture_free(f);
}

static void test_view_pool_runs_out_and_recovers(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 1, 3);
    struct object *objects[4];
    struct blob *views[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        objects[i] = make_object(f->shards[0], 10, 0);
        views[i] = object_view(f->shards[0], objects[i]);
    }
    assert_non_null(views[2]);
    assert_null(views[3]);
    assert_int_equal(counter_read(&f->counters[0].store_view_pool_empty), 1);
    blob_unref(&views[0]);
    views[3] = object_view(f->shards[0], objects[3]);
    assert_non_null(views[3]);
    for (int i = 0; i < 4; i++) {
        blob_unref(&views[i]);
        object_unref(&objects[i]);
    }
    fixture_free(f);
}

static void count_call(void *argument)
{
    ++*(int *)argument;
}

static void test_retire_waits_for_every_online_shard(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 2, 3);
    int freed = 0;

    (void)state;
    assert_int_equal(store_retire(f->shards[0], count_call, &freed), 0);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 0);
    store_quiescent(f->shards[0]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 0); /* shard 1 may still be reading */
    store_quiescent(f->shards[1]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 1);

    store_offline(f->shards[1]);
    assert_int_equal(store_retire(f->shards[0], count_call, &freed), 0);
    store_quiescent(f->shards[0]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 2); /* a sleeping shard holds nothing */
    store_online(f->shards[1]);
    assert_int_equal(store_retire(f->shards[0], count_call, &freed), 0);
    store_quiescent(f->shards[0]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 2);
    store_quiescent(f->shards[1]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, 3);
    fixture_free(f);
}

static void test_retire_queue_is_bounded(void **state)
{
    struct fixture *f = fixture_new(1 * MIB, 1, 3);
    int freed = 0, accepted = 0;

    (void)state;
    while (store_retire(f->shards[0], count_call, &freed) == 0)
        assert_true(++accepted < 1000000);
    assert_int_equal(store_retire(f->shards[0], count_call, &freed), -ENOSPC);
    assert_int_equal(counter_read(&f->counters[0].store_retire_full), 2);
    store_quiescent(f->shards[0]);
    store_poll(f->shards[0]);
    assert_int_equal(freed, accepted);
    assert_int_equal(store_retire(f->shards[0], count_call, &freed), 0);
    store_quiescent(f->shards[0]);
    fixture_free(f);
}

/* --- threads: one writer replaces a published object as fast as it can, readers follow it --- */

enum { READERS = 3, PUBLICATIONS = 20000 };

static struct {
    struct store *store;
    struct object *_Atomic published;
    atomic_bool stop;
    struct counters counters[READERS + 1];
    struct blob_home homes[READERS + 1];
} shared;

static void check_object(const uint8_t *data, uint32_t size)
{
    for (uint32_t i = 1; i < size; i++)
        if (data[i] != data[0])
            abort();
}

static void *run_reader(void *argument)
{
    uint32_t index = *(uint32_t *)argument;
    struct store_shard *s =
        store_shard_attach(shared.store, index, &shared.counters[index], &shared.homes[index]);
    struct blob *kept = NULL;

    for (uint64_t turn = 0; !atomic_load(&shared.stop); turn++) {
        struct object *o = atomic_load_explicit(&shared.published, memory_order_acquire);
        if (o != NULL) {
            check_object(object_data(o), object_size(o));
            if (turn % 7 == index) {
                if (kept != NULL)
                    check_object(kept->data, kept->size);
                blob_unref(&kept);
                kept = object_view(s, o);
            }
        }
        store_poll(s);
        store_quiescent(s);
        if (turn % 1000 == 0) {
            store_offline(s);
            sched_yield();
            store_online(s);
        }
    }
    blob_unref(&kept);
    store_offline(s);
    return NULL;
}

static void release_object(void *argument)
{
    struct object *o = argument;

    object_unref(&o);
}

static void test_readers_on_other_threads_never_see_freed_memory(void **state)
{
    pthread_t threads[READERS];
    uint32_t indexes[READERS];

    (void)state;
    shared.store = store_new(4 * MIB, READERS + 1, 4);
    for (uint32_t i = 0; i <= READERS; i++)
        blob_home_init(&shared.homes[i]);
    struct store_shard *s = store_shard_attach(shared.store, READERS, &shared.counters[READERS],
                                               &shared.homes[READERS]);
    for (uint32_t i = 0; i < READERS; i++) {
        indexes[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run_reader, &indexes[i]), 0);
    }
    for (uint32_t i = 0; i < PUBLICATIONS;) {
        struct object *o = make_object(s, 3000, (uint8_t)i);
        if (o != NULL) {
            struct object *old =
                atomic_exchange_explicit(&shared.published, o, memory_order_acq_rel);
            if (old != NULL)
                while (store_retire(s, release_object, old) < 0) {
                    store_quiescent(s);
                    store_poll(s);
                    sched_yield();
                }
            i++;
        } else {
            sched_yield();
        }
        store_poll(s);
        store_quiescent(s);
    }
    struct object *last = atomic_exchange(&shared.published, NULL);
    assert_int_equal(store_retire(s, release_object, last), 0);
    atomic_store(&shared.stop, true);
    for (uint32_t i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    store_quiescent(s);
    store_poll(s);
    assert_int_equal(store_shard_used_bytes(s), 0);
    assert_int_equal(counter_read(&shared.counters[READERS].store_returns), PUBLICATIONS);
    store_free(&shared.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_object_caches_prefix_checksums),
        cmocka_unit_test(test_object_trim_gives_the_end_back),
        cmocka_unit_test(test_object_refuses_when_the_arena_is_full),
        cmocka_unit_test(test_object_refuses_when_all_headers_are_used),
        cmocka_unit_test(test_view_is_one_per_shard_and_holds_the_object),
        cmocka_unit_test(test_view_has_the_number_of_its_bytes),
        cmocka_unit_test(test_view_comes_back_to_life_while_its_packets_drain),
        cmocka_unit_test(test_view_pool_runs_out_and_recovers),
        cmocka_unit_test(test_retire_waits_for_every_online_shard),
        cmocka_unit_test(test_retire_queue_is_bounded),
        cmocka_unit_test(test_readers_on_other_threads_never_see_freed_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
