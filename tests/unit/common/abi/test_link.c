#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/abi/link.h"
#include "common/check.h"

static struct link_message example(enum link_type type)
{
    struct link_message m;

    memset(&m, 0, sizeof(m));
    m.type = type;
    switch (type) {
    case LINK_HELLO:
        m.hello = (struct link_hello){.version = LINK_VERSION, .pid = 4711, .build = LINK_BUILD};
        break;
    case LINK_PUBLISH:
        m.request_id = 0xdeadbeef;
        m.question.deadline_ms = 2000;
        memset(m.question.name, 'n', CHANNEL_NAME_MAX);
        memset(m.question.key, 'k', STREAM_KEY_MAX);
        break;
    case LINK_VERDICT:
        m.request_id = 7;
        m.verdict = LINK_WRONG_KEY;
        break;
    case LINK_CHANNEL:
        m.channel = (struct link_channel_report){.name = "demo",
                                                 .state = LINK_CHANNEL_LIVE,
                                                 .shard = 3,
                                                 .started_us = -1,
                                                 .connections = UINT64_MAX,
                                                 .bytes_in = 1,
                                                 .bytes_out = 2,
                                                 .track_count = TRACKS_MAX};
        for (int i = 0; i < TRACKS_MAX; i++)
            m.channel.tracks[i] = (struct link_track_report){
                .name = "video12345678", .codec = "avc1.64001f", .width = 1280, .bitrate_bps = 9};
        break;
    case LINK_COUNTERS:
        m.counters.is_last = true;
        m.counters.count = LINK_COUNTERS_PER_PAGE;
        for (int i = 0; i < LINK_COUNTERS_PER_PAGE; i++) {
            memset(m.counters.list[i].name, 'c', LINK_COUNTER_NAME_MAX);
            m.counters.list[i].value = (uint64_t)i << 56;
            m.counters.list[i].unit = 3;
        }
        break;
    case LINK_STOP:
        break;
    }
    return m;
}

static const enum link_type types[] = {LINK_HELLO,   LINK_PUBLISH,  LINK_VERDICT,
                                       LINK_CHANNEL, LINK_COUNTERS, LINK_STOP};

static void test_link_every_message_reads_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct link_message m = example(types[i]);
        struct link_message again;
        uint8_t packet[LINK_MESSAGE_MAX];
        memset(&again, 0, sizeof(again));
        size_t size = link_encode(&m, packet);
        assert_in_range(size, 8, LINK_MESSAGE_MAX);
        assert_int_equal(link_decode(bytes_of(packet, size), &again), 0);
        assert_memory_equal(&m, &again, sizeof(m));
    }
}

/* Neither a shorter nor a longer packet is taken for the message. */
static void test_link_refuses_wrong_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        struct link_message m = example(types[i]);
        struct link_message again;
        uint8_t packet[LINK_MESSAGE_MAX + 1];
        size_t size = link_encode(&m, packet);
        for (size_t cut = 0; cut < size; cut++)
            if (link_decode(bytes_of(packet, cut), &again) != -EPROTO)
                fail_msg("type %d cut to %zu of %zu bytes was accepted", types[i], cut, size);
        packet[size] = 0;
        assert_int_equal(link_decode(bytes_of(packet, size + 1), &again), -EPROTO);
    }
}

static void test_link_refuses_values_out_of_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        enum link_type type;
        size_t at;
        uint8_t byte;
    } cases[] = {
        {"no such type", LINK_STOP, 1, 7},
        {"type 0", LINK_STOP, 1, 0},
        {"reserved bits", LINK_STOP, 3, 1},
        {"no such verdict", LINK_VERDICT, 8, 4},
        {"no such state", LINK_CHANNEL, 8 + 5, 3},
        {"NUL in a text", LINK_CHANNEL, 8 + 2, 0},
        {"too many tracks", LINK_CHANNEL, 8 + 5 + 1 + 4 + 32, TRACKS_MAX + 1},
        {"is_last that is no bool", LINK_COUNTERS, 9, 2},
        {"too many counters", LINK_COUNTERS, 11, LINK_COUNTERS_PER_PAGE + 1},
        {"long name", LINK_PUBLISH, 12, CHANNEL_NAME_MAX + 1},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct link_message m = example(cases[i].type);
        struct link_message again;
        uint8_t packet[LINK_MESSAGE_MAX];
        size_t size = link_encode(&m, packet);
        packet[cases[i].at] = cases[i].byte;
        if (link_decode(bytes_of(packet, size), &again) != -EPROTO)
            fail_msg("accepted: %s", cases[i].what);
    }
}

static void test_link_reads_the_version_of_any_hello(void **state)
{
    (void)state;
    static const uint8_t packet[] = {0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 'f', 'u', 't', 'u', 'r', 'e'};
    struct link_message m;

    assert_int_equal(link_decode(bytes_of(packet, sizeof(packet)), &m), 0);
    assert_int_equal(m.hello.version, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_every_message_reads_back),
        cmocka_unit_test(test_link_refuses_wrong_sizes),
        cmocka_unit_test(test_link_refuses_values_out_of_bounds),
        cmocka_unit_test(test_link_reads_the_version_of_any_hello),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
