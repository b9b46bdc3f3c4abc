/* Attacks on a stack, in virtual time: what they may cost is asserted by counters, pools in use and
 * packets answered, and that an honest connection goes on meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

enum { STREAMS_MAX = 1200, BACKLOG_MAX = 64, FLOOD = 20000 };

struct attack {
    struct world world;
    struct world_host *host;
    struct peer peer;
    uint64_t random;
    struct stream *streams[STREAMS_MAX];
    uint32_t stream_count;
    uint64_t received;
    uint32_t closed;
};

static struct attack a;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    a.received += in.size;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)error;
    (void)now_us;
    a.closed++;
    for (uint32_t i = 0; i < a.stream_count; i++)
        if (a.streams[i] == s)
            a.streams[i] = NULL;
}

static const struct stream_events events = {.data = on_data, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    a.streams[a.stream_count++] = s;
    return 0;
}

static int setup(void **state)
{
    static const struct listen_events listen_events = {.accept = on_accept};
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    struct net_config config = {.backlog_max = BACKLOG_MAX};
    const struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};

    (void)state;
    memset(&a, 0, offsetof(struct attack, peer));
    memset(a.streams, 0, sizeof(a.streams));
    a.stream_count = 0;
    a.received = 0;
    a.closed = 0;
    a.random = 5;
    assert_int_equal(net_config_set_gateways(&config, "10.0.0.99"), 0);
    world_init(&a.world, 11);
    a.host = world_host_add(&a.world, "10.0.0.1/24", &config, &port, STREAMS_MAX, 1 << 17);
    peer_init(&a.peer, &a.world, a.host, 4);
    assert_int_equal(a.host->transport->ops->listen(a.host->transport, &any, &listen_events, NULL),
                     0);
    world_turn(&a.world);
    peer_drop_all(&a.peer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_fini(&a.world);
    return 0;
}

static const struct counters *counters(void)
{
    return &a.host->counters;
}

static struct net_usage usage(void)
{
    struct net_usage u;

    net_usage(a.host->transport, &u);
    return u;
}

static void connect_honest(void)
{
    const struct tcp_options options = {
        .mss = 1460, .has_shift = true, .shift = 2, .is_sack_permitted = true};

    assert_true(peer_handshake(&a.peer, &options));
    peer_drop_all(&a.peer);
}

/* The honest connection takes data and gives it, as if nothing had happened. */
static void check_honest(void)
{
    static const uint8_t words[100];
    uint64_t before = a.received;
    struct peer_segment s;
    uint32_t got = 0;

    assert_non_null(a.streams[0]);
    peer_drop_all(&a.peer);
    peer_send_data(&a.peer, TCP_ACK | TCP_PSH, bytes_of(words, sizeof(words)));
    assert_int_equal(a.received, before + sizeof(words));
    struct extent e = world_extent(a.host, 0, 0, 1000);
    assert_int_equal(stream_send(a.streams[0], &e, 1), 0);
    world_turn(&a.world);
    while (peer_next(&a.peer, &s))
        got += (uint32_t)s.payload.size;
    assert_int_equal(got, 1000);
    a.peer.rcv_nxt += 1000;
    peer_ack(&a.peer, a.peer.rcv_nxt);
    peer_drop_all(&a.peer);
}

/* A handshake from another port of the peer. False: not accepted. */
static bool connect_from(uint16_t port)
{
    const struct tcp_options options = {.mss = 1460, .has_timestamps = true, .ts_value = 7};
    uint32_t before = a.stream_count;
    struct peer_segment reply;

    peer_drop_all(&a.peer);
    peer_send(
        &a.peer,
        &(struct peer_segment){
            .seq = 1, .flags = TCP_SYN, .window = 1000, .options = options, .peer_port = port});
    if (!peer_next(&a.peer, &reply) || reply.flags != (TCP_SYN | TCP_ACK))
        return false;
    peer_send(
        &a.peer,
        &(struct peer_segment){
            .seq = 2,
            .ack = reply.seq + 1,
            .flags = TCP_ACK,
            .window = 1000,
            .options = {.has_timestamps = true, .ts_value = 8, .ts_echo = reply.options.ts_value},
            .peer_port = port,
        });
    peer_drop_all(&a.peer);
    return a.stream_count == before + 1;
}

static void syn_forged(void)
{
    uint64_t random = world_random(&a.random);
    const uint8_t source[4] = {198, 51, (uint8_t)(random >> 8), (uint8_t)random};

    memcpy(a.peer.address.addr, source, 4);
    peer_send(&a.peer, &(struct peer_segment){.seq = (uint32_t)(random >> 32),
                                              .flags = TCP_SYN,
                                              .window = 1000,
                                              .options = {.mss = 1460},
                                              .peer_port = (uint16_t)(random >> 16 | 1)});
    peer_drop_all(&a.peer);
}

/* Half-open connections are bounded, and go away; who is not forged connects, at least 99 of 100.
 */
static void test_attack_syn_flood(void **state)
{
    const struct endpoint honest = a.peer.address;
    uint32_t connects = 0;

    (void)state;
    connect_honest();
    for (uint32_t i = 0; i < FLOOD; i++) {
        syn_forged();
        assert_in_range(usage().half_open, 0, BACKLOG_MAX);
        assert_in_range(usage().streams, 1, BACKLOG_MAX + 1 + connects);
        a.peer.address = honest;
        if (i % 100 == 0)
            connects += connect_from((uint16_t)(20000 + i / 100));
        if (i % 1000 == 0)
            check_honest();
    }
    assert_in_range(connects, FLOOD / 100 * 99 / 100, FLOOD / 100);
    assert_true(counters()->tcp_cookies_accepted > 0);
    /* 66 s in small steps: the ring of captured frames is small. */
    for (int i = 0; i < 660; i++) {
        world_run(&a.world, a.world.now_us + 100000);
        peer_drop_all(&a.peer);
    }
    assert_int_equal(usage().half_open, 0);
    assert_int_equal(usage().streams, 1 + connects);
    check_honest();
}

/* Somebody who knows the ports but not the numbers (RFC 5961): 10,000 guesses change nothing, and
 * are answered within the limit. */
static void test_attack_blind_segments(void **state)
{
    static const uint8_t flags[] = {TCP_RST, TCP_RST | TCP_ACK, TCP_SYN,          TCP_SYN | TCP_ACK,
                                    TCP_ACK, TCP_ACK | TCP_PSH, TCP_FIN | TCP_ACK};
    static const uint8_t forged[64] = {0xff};
    uint32_t answers = 0;
    struct bytes frame;

    (void)state;
    connect_honest();
    uint64_t received = a.received;
    for (uint32_t i = 0; i < 10000; i++) {
        uint64_t random = world_random(&a.random);
        /* Outside the window in number or in acknowledgement: inside both is 1 in 2^28. */
        peer_send(&a.peer, &(struct peer_segment){
                               .seq = a.peer.snd_nxt + 0x10000000 + (uint32_t)random % 0x60000000,
                               .ack = (uint32_t)(random >> 32),
                               .flags = flags[i % sizeof(flags)],
                               .window = 1,
                               .payload = bytes_of(forged, i % 2 * sizeof(forged))});
        while (peer_next_frame(&a.peer, &frame))
            answers++;
    }
    assert_int_equal(a.received, received);
    assert_int_equal(a.closed, 0);
    assert_in_range(answers, 0, 6000); /* never more than asked; see the ones with data */
    assert_true(counters()->tcp_rx_out_of_window >= 9000);
    check_honest();
}

/* A reset inside the window but not at its edge is challenged, at a limited rate. */
static void test_attack_resets_in_window(void **state)
{
    uint32_t answers = 0;
    struct bytes frame;

    (void)state;
    connect_honest();
    for (uint32_t i = 1; i <= 10000; i++) {
        peer_send(&a.peer, &(struct peer_segment){.seq = a.peer.snd_nxt + i,
                                                  .ack = a.peer.rcv_nxt,
                                                  .flags = TCP_RST | TCP_ACK});
        while (peer_next_frame(&a.peer, &frame))
            answers++;
    }
    assert_int_equal(counters()->tcp_rx_bad_reset, 10000);
    assert_int_equal(counters()->tcp_resets_received, 0);
    assert_in_range(answers, 1, 2000);
    check_honest();
}

/* Duplicate and old acknowledgements by the thousand are not answered one by one. */
static void test_attack_ack_storm(void **state)
{
    uint32_t answers = 0;
    struct bytes frame;

    (void)state;
    connect_honest();
    for (uint32_t i = 0; i < 10000; i++) {
        peer_send(&a.peer, &(struct peer_segment){.seq = a.peer.snd_nxt - 1 - i,
                                                  .ack = a.peer.rcv_nxt + (i % 2) * 100000,
                                                  .flags = TCP_ACK,
                                                  .window = a.peer.window});
        while (peer_next_frame(&a.peer, &frame))
            answers++;
    }
    assert_in_range(answers, 0, 100);
    check_honest();
}

/* A thousand readers that close their window over a full queue: they hold what they queued, are
 * probed seldom, and those who vanish are given up. */
static void test_attack_zero_windows(void **state)
{
    enum { READERS = 1000 };
    const struct tcp_options options = {.mss = 1460};

    (void)state;
    connect_honest();
    for (uint16_t i = 0; i < READERS; i++) {
        uint16_t port = (uint16_t)(20000 + i);
        struct peer_segment reply;
        peer_send(&a.peer, &(struct peer_segment){
                               .seq = 1, .flags = TCP_SYN, .options = options, .peer_port = port});
        assert_true(peer_next(&a.peer, &reply));
        peer_send(&a.peer,
                  &(struct peer_segment){
                      .seq = 2, .ack = reply.seq + 1, .flags = TCP_ACK, .peer_port = port});
        struct extent e = world_extent(a.host, 0, 0, 100000);
        assert_int_equal(stream_send(a.streams[1 + i], &e, 1), 0);
        /* Their probes do not all come at once: the ring of captured frames is small. */
        world_run(&a.world, a.world.now_us + 2000);
        peer_drop_all(&a.peer);
    }
    assert_int_equal(usage().streams, READERS + 1);
    check_honest();
    uint64_t sent = counters()->tcp_segments_sent;
    for (int i = 0; i < 60000; i++) {
        world_run(&a.world, a.world.now_us + 1000);
        peer_drop_all(&a.peer);
    }
    assert_in_range(counters()->tcp_segments_sent - sent, 1, 12 * READERS); /* in a minute */
    check_honest();
    a.peer.is_mute = true;
    uint64_t end_us = a.world.now_us + 3600u * 1000000ull;
    while (a.world.now_us < end_us && world_step(&a.world, end_us))
        peer_drop_all(&a.peer);
    assert_int_equal(usage().streams, 0);
    assert_int_equal(usage().extent_chunks, 0);
    assert_int_equal(a.host->pattern.refs, 1);
    assert_int_equal(a.host->wheel.armed_count, 0);
}

/* ICMP errors about numbers that are not in flight (RFC 5927). */
static void test_attack_icmp_forgery(void **state)
{
    uint8_t m[ICMP_SIZE + IPV4_SIZE + 8] = {ICMP_UNREACHABLE};
    uint8_t *ip = m + ICMP_SIZE;

    (void)state;
    connect_honest();
    ip[0] = 0x45;
    store_be16(ip + 2, 1500);
    ip[9] = PROTOCOL_TCP;
    memcpy(ip + 12, a.peer.local.addr, 4);
    memcpy(ip + 16, a.peer.address.addr, 4);
    store_be16(ip + IPV4_SIZE, PEER_HOST_PORT);
    store_be16(ip + IPV4_SIZE + 2, PEER_PORT);
    for (uint32_t i = 0; i < 1000; i++) {
        m[1] = (uint8_t)(i % 16);
        store_be16(m + 6, m[1] == ICMP_CODE_FRAGMENTATION_NEEDED ? 600 : 0);
        store_be32(ip + IPV4_SIZE + 4,
                   a.peer.rcv_nxt + 1 + (uint32_t)world_random(&a.random) % 0x7fffffff);
        peer_send_ip(&a.peer, PROTOCOL_ICMP, m, sizeof(m));
        peer_drop_all(&a.peer);
    }
    assert_int_equal(counters()->net_path_mtu_reductions, 0);
    assert_true(counters()->net_icmp_ignored >= 900);
    check_honest();
}

/* Somebody else claims the peer's address; frames go on to where they went. */
static void test_attack_arp_spoof(void **state)
{
    static const uint8_t thief[6] = {2, 0, 0, 0, 0, 0x66};
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE] = {0};

    (void)state;
    connect_honest();
    memcpy(frame, a.host->port->driver->info(a.host->port)->mac, 6);
    memcpy(frame + 6, thief, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    uint8_t *arp = frame + ETHERNET_SIZE;
    store_be16(arp, 1);
    store_be16(arp + 2, ETHERTYPE_IPV4);
    arp[4] = 6;
    arp[5] = 4;
    memcpy(arp + 8, thief, 6);
    memcpy(arp + 14, a.peer.address.addr, 4);
    memcpy(arp + 18, frame, 6);
    memcpy(arp + 24, a.peer.local.addr, 4);
    for (uint32_t i = 0; i < 100; i++) {
        store_be16(arp + 6, i % 2 == 0 ? ARP_REPLY : ARP_REQUEST);
        peer_send_frame(&a.peer, bytes_of(frame, sizeof(frame)));
        check_honest(); /* looks at what comes to the peer's link address alone */
    }
    assert_true(counters()->net_neighbour_conflicts >= 1);
}

/* Fragments, overlapping ones among them: none is kept, none is delivered. */
static void test_attack_fragment_overlap(void **state)
{
    uint8_t payload[64] = {0};
    uint8_t frame[256];

    (void)state;
    connect_honest();
    for (uint32_t i = 0; i < 1000; i++) {
        size_t size = peer_frame_ip(&a.peer, PROTOCOL_TCP, payload, sizeof(payload), frame);
        uint8_t *ip = frame + ETHERNET_SIZE;
        store_be16(ip + 6, (uint16_t)(0x2000 | (i % 9))); /* more to come, at 0 to 64 */
        store_be16(ip + 10, 0);
        store_be16(ip + 10, checksum_finish(checksum_sum(ip, IPV4_SIZE)));
        peer_send_frame(&a.peer, bytes_of(frame, size));
    }
    assert_int_equal(counters()->net_rx_fragments, 1000);
    assert_false(a.peer.count > 0);
    check_honest();
}

/* An announced MSS of 1 does not make a packet of each byte. */
static void test_attack_tiny_mss(void **state)
{
    const struct tcp_options options = {.mss = 1};
    struct peer_segment s;
    uint32_t packets = 0;

    (void)state;
    assert_true(peer_handshake(&a.peer, &options));
    peer_drop_all(&a.peer);
    struct extent e = world_extent(a.host, 0, 0, 5000);
    assert_int_equal(stream_send(a.streams[0], &e, 1), 0);
    world_turn(&a.world);
    while (peer_next(&a.peer, &s)) {
        packets++;
        assert_true(s.payload.size >= 36);
    }
    assert_in_range(packets, 1, 5000 / 36 + 1);
}

#define ATTACK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ATTACK(test_attack_syn_flood),        ATTACK(test_attack_blind_segments),
        ATTACK(test_attack_resets_in_window), ATTACK(test_attack_ack_storm),
        ATTACK(test_attack_zero_windows),     ATTACK(test_attack_icmp_forgery),
        ATTACK(test_attack_arp_spoof),        ATTACK(test_attack_fragment_overlap),
        ATTACK(test_attack_tiny_mss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
