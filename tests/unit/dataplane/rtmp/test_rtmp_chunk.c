#include "dataplane/rtmp/rtmp_chunk.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { MESSAGE_MAX = 4096, MESSAGES_MAX = 64, BODY_KEEP = 1024 };

struct collected {
    struct rtmp_message messages[MESSAGES_MAX];
    uint8_t bodies[MESSAGES_MAX][BODY_KEEP];
    size_t count;
    int error;
};

struct fixture {
    uint8_t memory[RTMP_PARTIAL_MAX * MESSAGE_MAX];
    struct rtmp_chunk_reader reader;
    struct collected got;
};

static struct fixture *fixture_new(void)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    rtmp_chunk_init(&f->reader, f->memory, MESSAGE_MAX, MESSAGE_MAX);
    return f;
}

/* Pulls all messages out of a heap copy of 'in'. */
static void feed(struct fixture *f, struct bytes in)
{
    struct bytes copy = fixture_copy(in);
    struct bytes left = copy;
    struct rtmp_message m;

    while (f->got.error == 0) {
        int result = rtmp_chunk_pull(&f->reader, &left, &m);

        if (result == 0)
            break;
        if (result < 0) {
            f->got.error = result;
            break;
        }
        assert_true(f->got.count < MESSAGES_MAX && m.body.size <= BODY_KEEP);
        if (m.body.size > 0)
            memcpy(f->got.bodies[f->got.count], m.body.ptr, m.body.size);
        m.body.ptr = NULL;
        f->got.messages[f->got.count++] = m;
    }
    fixture_free(&copy);
}

static void check_message(const struct fixture *f, size_t i, struct rtmp_message want)
{
    const struct rtmp_message *got = &f->got.messages[i];

    assert_true(i < f->got.count);
    assert_int_equal(got->type, want.type);
    assert_int_equal(got->chunk_stream, want.chunk_stream);
    assert_int_equal(got->stream_id, want.stream_id);
    assert_int_equal(got->timestamp_ms, want.timestamp_ms);
    assert_int_equal(got->body.size, want.body.size);
    if (want.body.size > 0)
        assert_memory_equal(f->got.bodies[i], want.body.ptr, want.body.size);
}

static void put_basic(struct writer *w, unsigned format, uint32_t id)
{
    if (id < 64) {
        writer_u8(w, (uint8_t)(format << 6 | id));
    } else if (id < 320) {
        writer_u8(w, (uint8_t)(format << 6));
        writer_u8(w, (uint8_t)(id - 64));
    } else {
        writer_u8(w, (uint8_t)(format << 6 | 1));
        writer_u8(w, (uint8_t)((id - 64) & 0xff));
        writer_u8(w, (uint8_t)((id - 64) >> 8));
    }
}

/* A chunk header by hand; the extended timestamp is written when 'time' needs it. */
static void put_header(struct writer *w, unsigned format, uint32_t id, uint32_t time,
                       uint32_t length, uint8_t type, uint32_t stream_id)
{
    put_basic(w, format, id);
    if (format < 3)
        writer_be24(w, time >= 0xffffff ? 0xffffff : time);
    if (format < 2) {
        writer_be24(w, length);
        writer_u8(w, type);
    }
    if (format == 0)
        writer_be32(w, __builtin_bswap32(stream_id));
    if (time >= 0xffffff)
        writer_be32(w, time);
}

static const uint8_t *pattern(void)
{
    static uint8_t bytes[BODY_KEEP];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    return bytes;
}

/* All header forms, ids of one, two and three bytes, interleaving, extended timestamps. */
static size_t compose(uint8_t *out, size_t out_size, struct rtmp_message *want)
{
    struct writer w = writer_of(out, out_size);
    const uint8_t *body = pattern();
    size_t n = 0;

    put_header(&w, 0, 3, 1000, 300, RTMP_VIDEO, 1);
    writer_put(&w, bytes_of(body, 128));
    put_header(&w, 0, 70, 0x01000002, 200, RTMP_AUDIO, 1); /* extended, interleaved */
    writer_put(&w, bytes_of(body + 7, 128));
    put_header(&w, 3, 3, 0, 0, 0, 0);
    writer_put(&w, bytes_of(body + 128, 128));
    put_header(&w, 3, 70, 0x01000002, 0, 0, 0); /* repeats the extended timestamp */
    writer_put(&w, bytes_of(body + 7 + 128, 72));
    want[n++] = (struct rtmp_message){RTMP_AUDIO, 70, 1, 0x01000002, bytes_of(body + 7, 200)};
    put_header(&w, 3, 3, 0, 0, 0, 0);
    writer_put(&w, bytes_of(body + 256, 44));
    want[n++] = (struct rtmp_message){RTMP_VIDEO, 3, 1, 1000, bytes_of(body, 300)};

    put_header(&w, 1, 3, 40, 5, RTMP_VIDEO, 0); /* delta, new length */
    writer_put(&w, bytes_of(body, 5));
    want[n++] = (struct rtmp_message){RTMP_VIDEO, 3, 1, 1040, bytes_of(body, 5)};
    put_header(&w, 2, 3, 33, 0, 0, 0); /* delta alone */
    writer_put(&w, bytes_of(body + 9, 5));
    want[n++] = (struct rtmp_message){RTMP_VIDEO, 3, 1, 1073, bytes_of(body + 9, 5)};
    put_header(&w, 3, 3, 0, 0, 0, 0); /* everything as before */
    writer_put(&w, bytes_of(body + 8, 5));
    want[n++] = (struct rtmp_message){RTMP_VIDEO, 3, 1, 1106, bytes_of(body + 8, 5)};

    put_header(&w, 0, 65599, 7, 0, RTMP_DATA, 2); /* empty */
    want[n++] = (struct rtmp_message){RTMP_DATA, 65599, 2, 7, {0}};
    put_header(&w, 3, 65599, 0, 0, 0, 0); /* a type 0 timestamp is also the step */
    want[n++] = (struct rtmp_message){RTMP_DATA, 65599, 2, 14, {0}};
    put_header(&w, 1, 320, 0x02000000, 3, RTMP_DATA, 0); /* opened with type 1, extended delta */
    writer_put(&w, bytes_of(body, 3));
    want[n++] = (struct rtmp_message){RTMP_DATA, 320, 0, 0x02000000, bytes_of(body, 3)};
    assert_true(writer_is_ok(&w));
    assert_int_equal(n, 8);
    return w.size;
}

static void test_rtmp_chunk_reassembles_at_every_split(void **state)
{
    uint8_t wire[2048];
    struct rtmp_message want[8];
    size_t size = compose(wire, sizeof(wire), want);

    (void)state;
    for (size_t split = 0; split <= size; split++) {
        struct fixture *f = fixture_new();

        feed(f, bytes_of(wire, split));
        feed(f, bytes_of(wire + split, size - split));
        assert_int_equal(f->got.error, 0);
        assert_int_equal(f->got.count, 8);
        for (size_t i = 0; i < 8; i++)
            check_message(f, i, want[i]);
        assert_true(rtmp_chunk_is_idle(&f->reader));
        free(f);
    }
}

static void test_rtmp_chunk_reassembles_byte_by_byte(void **state)
{
    uint8_t wire[2048];
    struct rtmp_message want[8];
    size_t size = compose(wire, sizeof(wire), want);
    struct fixture *f = fixture_new();

    (void)state;
    for (size_t i = 0; i < size; i++)
        feed(f, bytes_of(wire + i, 1));
    assert_int_equal(f->got.count, 8);
    for (size_t i = 0; i < 8; i++)
        check_message(f, i, want[i]);
    free(f);
}

/* Some senders leave the extended timestamp out of type 3 chunks. At chunk size 1 the four bytes
 * that tell reach over chunks and messages. */
static void test_rtmp_chunk_accepts_missing_extended_timestamps(void **state)
{
    static const uint32_t chunk_sizes[] = {1, 2, 3, 4, 5, 128};
    const uint8_t *body = pattern();

    (void)state;
    for (size_t s = 0; s < 6; s++) {
        struct fixture *f = fixture_new();
        uint8_t wire[1024];
        struct writer w = writer_of(wire, sizeof(wire));

        assert_int_equal(rtmp_chunk_set_size(&f->reader, chunk_sizes[s]), 0);
        for (unsigned m = 0; m < 2; m++) {
            put_header(&w, 0, 4, 0x01020304, 9, RTMP_AUDIO, 1);
            for (size_t at = 0; at < 9; at += chunk_sizes[s]) {
                if (at > 0)
                    put_basic(&w, 3, 4);
                writer_put(&w,
                           bytes_of(body + at, 9 - at < chunk_sizes[s] ? 9 - at : chunk_sizes[s]));
            }
        }
        put_header(&w, 0, 5, 1, 8, RTMP_VIDEO, 1); /* brings the bytes that were waited for */
        for (size_t at = 0; at < 8; at += chunk_sizes[s]) {
            if (at > 0)
                put_basic(&w, 3, 5);
            writer_put(&w, bytes_of(body + at, 8 - at < chunk_sizes[s] ? 8 - at : chunk_sizes[s]));
        }
        for (size_t i = 0; i < w.size; i++)
            feed(f, bytes_of(wire + i, 1));
        assert_int_equal(f->got.error, 0);
        assert_int_equal(f->got.count, 3);
        for (size_t i = 0; i < 2; i++)
            check_message(f, i,
                          (struct rtmp_message){RTMP_AUDIO, 4, 1, 0x01020304, bytes_of(body, 9)});
        check_message(f, 2, (struct rtmp_message){RTMP_VIDEO, 5, 1, 1, bytes_of(body, 8)});
        free(f);
    }
}

static void test_rtmp_chunk_reads_what_it_writes(void **state)
{
    static const uint32_t times[] = {0, 1, 0xfffffe, 0xffffff, 0x1000000, 0xffffffff};
    static const uint32_t chunk_sizes[] = {1, 127, 128, 4096};

    (void)state;
    for (size_t t = 0; t < 6; t++) {
        for (size_t s = 0; s < 4; s++) {
            struct fixture *f = fixture_new();
            uint8_t wire[8192];
            struct writer w = writer_of(wire, sizeof(wire));
            struct rtmp_message m = {RTMP_COMMAND, 3, 1, times[t], bytes_of(pattern(), 1000)};

            rtmp_chunk_write(&w, &m, chunk_sizes[s]);
            assert_true(writer_is_ok(&w));
            assert_int_equal(rtmp_chunk_set_size(&f->reader, chunk_sizes[s]), 0);
            feed(f, writer_bytes(&w));
            assert_int_equal(f->got.count, 1);
            check_message(f, 0, m);
            free(f);
        }
    }
}

static void test_rtmp_chunk_drops_an_aborted_message(void **state)
{
    struct fixture *f = fixture_new();
    uint8_t wire[512];
    struct writer w = writer_of(wire, sizeof(wire));

    (void)state;
    put_header(&w, 0, 3, 0, 200, RTMP_VIDEO, 1);
    writer_put(&w, bytes_of(pattern(), 128));
    feed(f, writer_bytes(&w));
    assert_false(rtmp_chunk_is_idle(&f->reader));
    rtmp_chunk_abort(&f->reader, 3);
    rtmp_chunk_abort(&f->reader, 99);
    assert_true(rtmp_chunk_is_idle(&f->reader));

    w = writer_of(wire, sizeof(wire));
    put_header(&w, 1, 3, 10, 2, RTMP_VIDEO, 1);
    writer_put(&w, bytes_of("ok", 2));
    feed(f, writer_bytes(&w));
    assert_int_equal(f->got.count, 1);
    check_message(f, 0, (struct rtmp_message){RTMP_VIDEO, 3, 1, 10, bytes_of("ok", 2)});
    free(f);
}

static void test_rtmp_chunk_counts_a_restarted_message(void **state)
{
    struct fixture *f = fixture_new();
    uint8_t wire[512];
    struct writer w = writer_of(wire, sizeof(wire));

    (void)state;
    put_header(&w, 0, 3, 0, 200, RTMP_VIDEO, 1);
    writer_put(&w, bytes_of(pattern(), 128));
    put_header(&w, 0, 3, 5, 2, RTMP_VIDEO, 1);
    writer_put(&w, bytes_of("ok", 2));
    feed(f, writer_bytes(&w));
    assert_int_equal(f->got.count, 1);
    assert_int_equal(f->reader.restarted_count, 1);
    free(f);
}

static void test_rtmp_chunk_refuses_what_exceeds_its_bounds(void **state)
{
    uint8_t wire[2048];
    struct fixture *f = fixture_new();
    struct writer w = writer_of(wire, sizeof(wire));

    (void)state;
    put_header(&w, 0, 3, 0, MESSAGE_MAX + 1, RTMP_VIDEO, 1);
    feed(f, writer_bytes(&w));
    assert_int_equal(f->got.error, -EMSGSIZE);
    free(f);

    f = fixture_new(); /* one more interleaved message than there are slots */
    w = writer_of(wire, sizeof(wire));
    for (uint32_t id = 0; id <= RTMP_PARTIAL_MAX; id++) {
        put_header(&w, 0, 3 + id, 0, 200, RTMP_VIDEO, 1);
        writer_put(&w, bytes_of(pattern(), 128));
    }
    feed(f, writer_bytes(&w));
    assert_int_equal(f->got.error, -ENOBUFS);
    free(f);

    f = fixture_new(); /* one more chunk stream than there are entries */
    w = writer_of(wire, sizeof(wire));
    for (uint32_t id = 0; id <= RTMP_CHUNK_STREAMS_MAX; id++) {
        put_header(&w, 0, 3 + id, 0, 1, RTMP_VIDEO, 1);
        writer_u8(&w, 0);
    }
    feed(f, writer_bytes(&w));
    assert_int_equal(f->got.count, RTMP_CHUNK_STREAMS_MAX);
    assert_int_equal(f->got.error, -ENOBUFS);
    free(f);
}

static void test_rtmp_chunk_refuses_headers_without_a_past(void **state)
{
    (void)state;
    for (unsigned format = 2; format <= 3; format++) {
        uint8_t wire[16] = {(uint8_t)(format << 6 | 3)};
        struct fixture *f = fixture_new();

        feed(f, bytes_of(wire, sizeof(wire)));
        assert_int_equal(f->got.error, -EPROTO);
        free(f);
    }
    struct fixture *f = fixture_new();
    assert_int_equal(rtmp_chunk_set_size(&f->reader, 0), -EPROTO);
    assert_int_equal(rtmp_chunk_set_size(&f->reader, 0x80000000), -EPROTO);
    assert_int_equal(rtmp_chunk_set_size(&f->reader, 0x7fffffff), 0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rtmp_chunk_reassembles_at_every_split),
        cmocka_unit_test(test_rtmp_chunk_reassembles_byte_by_byte),
        cmocka_unit_test(test_rtmp_chunk_accepts_missing_extended_timestamps),
        cmocka_unit_test(test_rtmp_chunk_reads_what_it_writes),
        cmocka_unit_test(test_rtmp_chunk_drops_an_aborted_message),
        cmocka_unit_test(test_rtmp_chunk_counts_a_restarted_message),
        cmocka_unit_test(test_rtmp_chunk_refuses_what_exceeds_its_bounds),
        cmocka_unit_test(test_rtmp_chunk_refuses_headers_without_a_past),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
