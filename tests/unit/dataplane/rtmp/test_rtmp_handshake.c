#include "dataplane/rtmp/rtmp_handshake.h"

#include <errno.h>

#include "tests/unit/dataplane/rtmp/rtmp_fixture.h"

enum { C0_C1_SIZE = 1 + RTMP_HANDSHAKE_SIZE, NOW_MS = 0x01020304 };

static int push(struct rtmp_handshake *h, struct bytes *in, struct writer *reply)
{
    static uint64_t random_state;
    struct rtmp_random random = {.next = fixture_random, .user = &random_state};

    if (h->received_bytes == 0)
        random_state = 1;
    return rtmp_handshake_push(h, in, NOW_MS, &random, reply);
}

/* Feeds 'hello' in pieces of 'step' bytes, then C2 and one byte more, which must be left. */
static void check_reply(struct bytes hello, size_t step, enum rtmp_handshake_kind kind,
                        uint8_t out[static RTMP_HANDSHAKE_REPLY_SIZE])
{
    struct rtmp_handshake h = {0};
    struct writer w = writer_of(out, RTMP_HANDSHAKE_REPLY_SIZE);
    uint8_t c2[RTMP_HANDSHAKE_SIZE + 1] = {0};

    for (size_t at = 0; at < hello.size; at += step) {
        struct bytes in = bytes_of(hello.ptr + at, hello.size - at < step ? hello.size - at : step);

        assert_int_equal(w.size, 0);
        assert_int_equal(push(&h, &in, &w), 0);
        assert_int_equal(in.size, 0);
    }
    assert_int_equal(w.size, RTMP_HANDSHAKE_REPLY_SIZE);
    assert_int_equal(h.kind, kind);
    assert_false(h.is_done);

    struct bytes in = bytes_of(c2, sizeof(c2));
    assert_int_equal(push(&h, &in, &w), 0);
    assert_true(h.is_done);
    assert_int_equal(in.size, 1);
}

static void test_rtmp_handshake_echoes_a_simple_c1(void **state)
{
    uint8_t hello[C0_C1_SIZE] = {3, 0, 0, 0, 9, 0, 0, 0, 0};
    uint8_t out[RTMP_HANDSHAKE_REPLY_SIZE];

    (void)state;
    for (size_t i = 9; i < sizeof(hello); i++)
        hello[i] = (uint8_t)(i * 7);
    for (size_t step = 1; step <= sizeof(hello); step += 511) {
        check_reply(bytes_of(hello, sizeof(hello)), step, RTMP_HANDSHAKE_SIMPLE, out);
        assert_int_equal(out[0], 3);
        assert_memory_equal(out + 1, "\x01\x02\x03\x04\0\0\0\0", 8);
        assert_memory_equal(out + 1 + RTMP_HANDSHAKE_SIZE, hello + 1, RTMP_HANDSHAKE_SIZE);
    }
}

static void test_rtmp_handshake_answers_digests(void **state)
{
    static const char *const names[] = {"digest0.bin", "digest1.bin"};
    uint8_t out[RTMP_HANDSHAKE_REPLY_SIZE];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct bytes vector = fixture_load(names[i]);

        assert_int_equal(vector.size, C0_C1_SIZE + RTMP_HANDSHAKE_REPLY_SIZE);
        for (size_t step = 1; step <= C0_C1_SIZE; step += 767) {
            check_reply(bytes_of(vector.ptr, C0_C1_SIZE), step,
                        i == 0 ? RTMP_HANDSHAKE_DIGEST_0 : RTMP_HANDSHAKE_DIGEST_1, out);
            assert_memory_equal(out, vector.ptr + C0_C1_SIZE, RTMP_HANDSHAKE_REPLY_SIZE);
        }
        fixture_free(&vector);
    }
}

static void test_rtmp_handshake_falls_back_when_a_digest_is_wrong(void **state)
{
    struct bytes vector = fixture_load("digest0.bin");
    uint8_t hello[C0_C1_SIZE];
    uint8_t out[RTMP_HANDSHAKE_REPLY_SIZE];

    (void)state;
    memcpy(hello, vector.ptr, sizeof(hello));
    hello[1000] ^= 1;
    check_reply(bytes_of(hello, sizeof(hello)), sizeof(hello), RTMP_HANDSHAKE_SIMPLE, out);
    assert_memory_equal(out + 1 + RTMP_HANDSHAKE_SIZE, hello + 1, RTMP_HANDSHAKE_SIZE);
    fixture_free(&vector);
}

static void test_rtmp_handshake_refuses_other_protocols(void **state)
{
    static const char *const others[] = {"GET / HTTP/1.1\r\n", "\x16\x03\x01", "\x06", "\x00"};
    uint8_t out[RTMP_HANDSHAKE_REPLY_SIZE];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct rtmp_handshake h = {0};
        struct writer w = writer_of(out, sizeof(out));
        struct bytes in = bytes_of(others[i], 1);

        assert_int_equal(push(&h, &in, &w), -EPROTONOSUPPORT);
        assert_int_equal(w.size, 0);
    }
}

static void test_rtmp_handshake_says_when_the_reply_does_not_fit(void **state)
{
    uint8_t hello[C0_C1_SIZE] = {3};
    uint8_t out[RTMP_HANDSHAKE_REPLY_SIZE - 1];
    struct rtmp_handshake h = {0};
    struct writer w = writer_of(out, sizeof(out));
    struct bytes in = bytes_of(hello, sizeof(hello));

    (void)state;
    assert_int_equal(push(&h, &in, &w), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rtmp_handshake_echoes_a_simple_c1),
        cmocka_unit_test(test_rtmp_handshake_answers_digests),
        cmocka_unit_test(test_rtmp_handshake_falls_back_when_a_digest_is_wrong),
        cmocka_unit_test(test_rtmp_handshake_refuses_other_protocols),
        cmocka_unit_test(test_rtmp_handshake_says_when_the_reply_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
