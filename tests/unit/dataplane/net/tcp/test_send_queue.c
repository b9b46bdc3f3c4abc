/* The queue against a plain array: random pushes, gathers and acknowledgements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <errno.h>

#include "dataplane/net/tcp/send_queue.h"

enum { BYTES = 5000, CHUNKS = 8 };

static uint8_t bytes[BYTES];
static struct blob_home home;
static struct blob blob;

static void released(struct blob *b)
{
    (void)b;
}

static void start(struct pool *pool, struct send_queue *q)
{
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i ^ i >> 8);
    blob_home_init(&home);
    blob_init(&blob, &home, bytes_of(bytes, BYTES), released, NULL);
    assert_int_equal(pool_init(pool, CHUNKS, sizeof(struct send_chunk)), 0);
    send_queue_init(q);
}

static void stop(struct pool *pool, struct send_queue *q)
{
    send_queue_clear(q, pool);
    assert_int_equal(pool->in_use, 0);
    assert_int_equal(blob.refs, 1);
    pool_fini(pool);
}

static void test_send_queue_gathers_what_was_pushed(void **state)
{
    struct pool pool;
    struct send_queue q;
    uint32_t random = 1;
    uint32_t start_seq = UINT32_MAX - 1000; /* wraps */
    uint32_t una = start_seq;
    uint32_t end = start_seq;

    (void)state;
    start(&pool, &q);
    for (int round = 0; round < 20000; round++) {
        random = random * 1664525 + 1013904223;
        uint32_t what = (random >> 8) % 3;
        uint32_t amount = (random >> 12) % 200;
        if (what == 0) { /* push bytes such that byte 'seq' is bytes[(seq - start) % BYTES] */
            uint32_t offset = (end - start_seq) % BYTES;
            amount = amount < BYTES - offset ? amount : BYTES - offset;
            struct extent e = {.blob = &blob, .offset = offset, .size = amount};
            if (send_queue_push(&q, &pool, &e, 1, end) == 0)
                end += amount;
            else
                assert_true(pool.in_use == CHUNKS);
        } else if (what == 1 && end != una) {
            una += amount % (end - una + 1);
            send_queue_ack(&q, &pool, una);
        } else if (end != una) {
            struct extent e[4];
            uint32_t seq = una + amount % (end - una);
            uint32_t got;
            unsigned count = send_queue_gather(&q, &pool, seq, end - seq, e, 4, &got);
            assert_true(count >= 1 && count <= 4 && got > 0 && got <= end - seq);
            for (unsigned i = 0; i < count; i++)
                for (uint32_t k = 0; k < e[i].size; k++, seq++)
                    assert_int_equal(extent_data(&e[i])[k], bytes[(seq - start_seq) % BYTES]);
        }
    }
    stop(&pool, &q);
}

static void test_send_queue_takes_all_or_nothing(void **state)
{
    struct pool pool;
    struct send_queue q;
    struct extent e[SEND_CHUNK_EXTENTS * CHUNKS + 1];

    (void)state;
    start(&pool, &q);
    for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++)
        e[i] = (struct extent){.blob = &blob, .offset = 0, .size = 1};
    assert_int_equal(send_queue_push(&q, &pool, e, sizeof(e) / sizeof(e[0]), 0), -ENOBUFS);
    assert_int_equal(blob.refs, 1);
    assert_int_equal(send_queue_push(&q, &pool, e, sizeof(e) / sizeof(e[0]) - 1, 0), 0);
    assert_int_equal(pool.in_use, CHUNKS);
    stop(&pool, &q);
}

static void test_send_queue_drops_references_when_acked(void **state)
{
    struct pool pool;
    struct send_queue q;
    struct extent e[3] = {{.blob = &blob, .size = 10}, {.blob = &blob}, {.blob = &blob, .size = 5}};

    (void)state;
    start(&pool, &q);
    assert_int_equal(send_queue_push(&q, &pool, e, 3, 100), 0);
    assert_int_equal(blob.refs, 3); /* nothing is kept for the empty one */
    send_queue_ack(&q, &pool, 109);
    assert_int_equal(blob.refs, 3);
    send_queue_ack(&q, &pool, 110);
    assert_int_equal(blob.refs, 2);
    send_queue_ack(&q, &pool, 115);
    assert_int_equal(blob.refs, 1);
    assert_int_equal(pool.in_use, 0);
    stop(&pool, &q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_queue_gathers_what_was_pushed),
        cmocka_unit_test(test_send_queue_takes_all_or_nothing),
        cmocka_unit_test(test_send_queue_drops_references_when_acked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
