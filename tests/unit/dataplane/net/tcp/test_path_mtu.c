/* The search for a path MTU that no router tells of (RFC 4821), against a path that swallows
 * what is too large. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "tests/sim/server.h"

enum { TOTAL_BYTES = 1000000, HEADERS = 40, RTT_US = 10000, ROUNDS_MAX = 5000 };

static struct server v;
static bool arrived[TOTAL_BYTES];

static const struct tcp_options with_sack = {.mss = 1460, .is_sack_permitted = true};
static const struct tcp_options without_sack = {.mss = 1460};

/* A segment has arrived: acknowledges it as a receiver with or without SACK would. */
static void path_deliver(uint32_t base, const struct peer_segment *segment, bool has_sack)
{
    uint32_t from = segment->seq - base;
    uint32_t end = from + (uint32_t)segment->payload.size;
    uint32_t next = v.peer.rcv_nxt - base;
    struct peer_segment reply = {.seq = v.peer.snd_nxt, .flags = TCP_ACK, .window = 65535};

    assert_true(end <= TOTAL_BYTES);
    for (uint32_t i = from; i < end; i++)
        arrived[i] = true;
    while (next < TOTAL_BYTES && arrived[next])
        next++;
    v.peer.rcv_nxt = base + next;
    reply.ack = base + next;
    if (has_sack && from > next) {
        while (arrived[from - 1])
            from--;
        while (end < TOTAL_BYTES && arrived[end])
            end++;
        reply.options.sack_count = 1;
        reply.options.sacks[0] = (struct tcp_sack_block){.start = base + from, .end = base + end};
    }
    peer_send(&v.peer, &reply);
}

/* Sends everything over a path of 'mtu'. */
static void path_transfer(const struct tcp_options *options, uint32_t mtu)
{
    uint32_t queued = 0;

    memset(arrived, 0, sizeof(arrived));
    assert_true(peer_handshake(&v.peer, options));
    peer_drop_all(&v.peer);
    uint32_t base = v.peer.rcv_nxt;
    for (int round = 0; v.peer.rcv_nxt - base < TOTAL_BYTES; round++) {
        struct peer_segment segments[PEER_FRAMES_MAX];
        unsigned count = 0;
        struct peer_segment segment;

        assert_true(round < ROUNDS_MAX && v.closes == 0);
        while (queued < TOTAL_BYTES && v.stream->queued_bytes < 50000) {
            server_send(&v, 10000);
            queued += 10000;
        }
        server_wait(&v, RTT_US);
        while (peer_next(&v.peer, &segment))
            if (segment.payload.size + HEADERS <= mtu)
                segments[count++] = segment;
        for (unsigned i = 0; i < count; i++) {
            path_deliver(base, &segments[i], options->is_sack_permitted);
            server_wait(&v, 10);
        }
    }
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

static void start(enum net_mtu_probing probing)
{
    const struct net_config config = {.mtu_probing = probing, .is_unpaced = true};

    server_start(&v, &config, 64);
}

static void test_path_mtu_gets_out_of_a_black_hole(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        start(NET_MTU_PROBING_BLACK_HOLE);
        path_transfer(i == 0 ? &with_sack : &without_sack, 1300);
        assert_int_equal(count_of(&v.host->counters.tcp_black_holes), 1);
        assert_in_range(server_conn(&v)->mss, 1300 - HEADERS - 8, 1300 - HEADERS);
        /* Probes that failed were no congestion, and cost no timeout; a recovery may have begun
         * before the first, by a small segment that got through. */
        assert_in_range(count_of(&v.host->counters.tcp_timeouts), 3, 6);
        assert_in_range(count_of(&v.host->counters.tcp_fast_recoveries), 0, 1);
        assert_true(count_of(&v.host->counters.tcp_mtu_probes) >
                    count_of(&v.host->counters.tcp_mtu_probes_acked));
        assert_true(server_stop(&v));
    }
}

static void test_path_mtu_falls_to_the_floor(void **state)
{
    (void)state;
    start(NET_MTU_PROBING_BLACK_HOLE);
    path_transfer(&with_sack, 576);
    assert_int_equal(count_of(&v.host->counters.tcp_black_holes), 2);
    assert_in_range(server_conn(&v)->mss, 512, 576 - HEADERS);
    assert_true(server_stop(&v));
}

static void test_path_mtu_off(void **state)
{
    (void)state;
    start(NET_MTU_PROBING_OFF);
    assert_true(peer_handshake(&v.peer, &with_sack));
    server_send(&v, 5000);
    for (int i = 0; i < 20; i++) {
        server_wait(&v, 1000000);
        peer_drop_all(&v.peer);
    }
    assert_int_equal(server_conn(&v)->mss, 1460);
    assert_int_equal(count_of(&v.host->counters.tcp_black_holes), 0);
    assert_true(server_stop(&v));
}

static void test_path_mtu_always_finds_the_largest(void **state)
{
    (void)state;
    start(NET_MTU_PROBING_ALWAYS);
    path_transfer(&with_sack, 1500);
    assert_in_range(server_conn(&v)->mss, 1453, 1460);
    assert_int_equal(count_of(&v.host->counters.tcp_mtu_probes),
                     count_of(&v.host->counters.tcp_mtu_probes_acked));
    assert_int_equal(count_of(&v.host->counters.tcp_retransmits), 0);
    assert_true(server_stop(&v));
}

/* RFC 4821 §7.2: the path may change; ten minutes later larger packets are tried again. */
static void test_path_mtu_searches_again(void **state)
{
    (void)state;
    start(NET_MTU_PROBING_ALWAYS);
    path_transfer(&with_sack, 1300);
    assert_in_range(server_conn(&v)->mss, 1252, 1260);
    struct tcp_mtu_search *search = &server_conn(&v)->search;
    uint64_t before = count_of(&v.host->counters.tcp_mtu_probes);
    search->since_ms -= 600000;
    for (int i = 0; i < 2; i++) { /* the first turn begins the search, the second probes */
        struct peer_segment segment;
        server_send(&v, 20000);
        while (peer_next(&v.peer, &segment))
            if (segment.payload.size > 0)
                v.peer.rcv_nxt = segment.seq + (uint32_t)segment.payload.size;
        peer_ack(&v.peer, v.peer.rcv_nxt);
    }
    assert_int_equal(count_of(&v.host->counters.tcp_mtu_probes), before + 1);
    assert_true(server_stop(&v));
}

/* What a router says bounds the search. */
static void test_path_mtu_minds_routers(void **state)
{
    (void)state;
    start(NET_MTU_PROBING_ALWAYS);
    assert_true(peer_handshake(&v.peer, &with_sack));
    server_send(&v, 2000);
    struct tcp_conn *c = server_conn(&v);
    assert_int_equal(c->mss, 1024);
    tcp_mtu_told(v.stack, c, 1200);
    assert_int_equal(c->mss, 1024);
    assert_int_equal(c->ranges.lost_bytes, 0); /* nothing in flight was too large */
    tcp_mtu_told(v.stack, c, 800);
    assert_int_equal(c->mss, 760);
    assert_int_equal(c->ranges.lost_bytes, 2000);
    assert_true(server_stop(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_mtu_gets_out_of_a_black_hole),
        cmocka_unit_test(test_path_mtu_falls_to_the_floor),
        cmocka_unit_test(test_path_mtu_off),
        cmocka_unit_test(test_path_mtu_always_finds_the_largest),
        cmocka_unit_test(test_path_mtu_searches_again),
        cmocka_unit_test(test_path_mtu_minds_routers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
