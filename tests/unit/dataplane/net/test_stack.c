/* Below TCP: what a stack answers to ARP, neighbour discovery, ICMP and UDP, and what it drops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <errno.h>

#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

struct fixture {
    struct world world;
    struct world_host *host;
    struct peer peer;
    int datagrams;
    struct endpoint from;
    size_t size;
    uint8_t data[2000];
};

static struct fixture f;

static void on_datagram(void *user, const struct endpoint *local, const struct endpoint *peer,
                        struct bytes in, uint64_t now_us)
{
    (void)user;
    (void)local;
    (void)now_us;
    f.datagrams++;
    f.from = *peer;
    f.size = in.size;
    memcpy(f.data, in.ptr, in.size);
}

static const struct datagram_events datagram_events = {.datagram = on_datagram};

static void start(uint8_t family, uint16_t vlan, uint32_t offloads)
{
    const struct net_config config = {.vlan = vlan};
    const struct sim_port_config port = {.offloads = offloads};

    memset(&f, 0, offsetof(struct fixture, peer));
    f.datagrams = 0;
    world_init(&f.world, 3);
    f.host = world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", &config, &port, 4, 1 << 20);
    peer_init(&f.peer, &f.world, f.host, family);
    world_turn(&f.world);
    if (vlan == 0)
        peer_drop_all(&f.peer);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 0x99};
static const uint8_t evil_mac[6] = {2, 0, 0, 0, 0, 0x66};

/* An ARP message about the peer's address from 'mac'. */
static void arp_from(const uint8_t *mac, uint16_t operation)
{
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE] = {0};
    uint8_t *a = frame + ETHERNET_SIZE;

    memcpy(frame, f.peer.host->port->driver->info(f.peer.host->port)->mac, 6);
    memcpy(frame + 6, mac, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    store_be16(a, 1);
    store_be16(a + 2, ETHERTYPE_IPV4);
    a[4] = 6;
    a[5] = 4;
    store_be16(a + 6, operation);
    memcpy(a + 8, mac, 6);
    memcpy(a + 14, f.peer.address.addr, 4);
    memcpy(a + 24, f.peer.local.addr, 4);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
}

static void ping(size_t size)
{
    uint8_t m[1480] = {0};

    m[0] = f.peer.family == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
    for (size_t i = 4; i < size; i++)
        m[i] = (uint8_t)i;
    peer_send_ip(&f.peer, f.peer.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, m, size);
}

static void expect_pong(size_t size)
{
    struct bytes in;
    uint8_t type = f.peer.family == 4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY;

    assert_true(peer_next_ip(&f.peer, f.peer.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6, &in));
    assert_int_equal(in.ptr[0], type);
    assert_int_equal(in.size, size);
    for (size_t i = 4; i < size; i++)
        assert_int_equal(in.ptr[i], (uint8_t)i);
}

static void test_stack_answers_pings(void **state)
{
    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        start(family, 0, 0);
        ping(20);
        expect_pong(20);
        ping(1400); /* more than a header holds */
        expect_pong(1400);
        stop();
    }
}

static void test_stack_announces_itself(void **state)
{
    struct bytes frame;
    int arps = 0;

    (void)state;
    start(4, 7, 0);
    while (peer_next_frame(&f.peer, &frame)) {
        assert_int_equal(load_be16(frame.ptr + 12), ETHERTYPE_VLAN);
        assert_int_equal(load_be16(frame.ptr + 14), 7);
        arps += load_be16(frame.ptr + 16) == ETHERTYPE_ARP;
    }
    assert_int_equal(arps, 1);
    stop();
}

static void test_stack_keeps_to_its_vlan(void **state)
{
    uint8_t frame[100] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x81, 0, 0, 8, 8, 0};

    (void)state;
    start(4, 7, 0);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
    ping(20); /* untagged */
    assert_int_equal(count_of(&f.host->counters.net_rx_other_vlan), 2);
    stop();
}

static void test_stack_answers_arp(void **state)
{
    struct bytes frame;

    (void)state;
    start(4, 0, 0);
    arp_from(peer_mac, ARP_REQUEST);
    assert_true(peer_next_frame(&f.peer, &frame));
    assert_memory_equal(frame.ptr, peer_mac, 6);
    assert_int_equal(load_be16(frame.ptr + ETHERNET_SIZE + 6), ARP_REPLY);
    assert_int_equal(frame.ptr[ETHERNET_SIZE + 13], 1);
    stop();
}

static void test_stack_is_not_taken_over(void **state)
{
    struct bytes frame;
    struct bytes in;

    (void)state;
    start(4, 0, 0);
    ping(20);
    expect_pong(20); /* the peer's address is known now, by our own question */
    arp_from(evil_mac, ARP_REPLY);
    arp_from(evil_mac, ARP_REQUEST);
    assert_true(count_of(&f.host->counters.net_neighbour_conflicts) > 0);
    /* It asked the one it knew, who answered; its packets go there still. */
    ping(20);
    bool is_found = false;
    while (peer_next_frame(&f.peer, &frame)) {
        bool is_ip = load_be16(frame.ptr + 12) == ETHERTYPE_IPV4;
        assert_false(is_ip && memcmp(frame.ptr, evil_mac, 6) == 0);
        is_found = is_found || (is_ip && memcmp(frame.ptr, peer_mac, 6) == 0);
    }
    assert_true(is_found);
    (void)in;
    stop();
}

static void test_stack_drops_when_nobody_answers(void **state)
{
    (void)state;
    start(4, 0, 0);
    f.peer.is_mute = true;
    for (int i = 0; i < 10; i++)
        ping(20);
    struct net_usage usage;
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.pending_packets, NEIGHBOUR_PENDING_MAX);
    world_run(&f.world, f.world.now_us + 20000000);
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.pending_packets, 0);
    assert_int_equal(count_of(&f.host->counters.net_neighbour_failed), 1);
    assert_int_equal(count_of(&f.host->counters.net_neighbour_pending_dropped), 10);
    stop();
}

static void test_stack_counts_each_malformed_class(void **state)
{
    uint8_t frame[PEER_FRAME_BYTES];
    const uint8_t payload[20] = {8};
    struct counters *c = &f.host->counters;

    (void)state;
    start(4, 0, 0);
    c = &f.host->counters;
    size_t size = peer_frame_ip(&f.peer, PROTOCOL_ICMP, payload, sizeof(payload), frame);
    uint8_t *ip = frame + ETHERNET_SIZE;
    struct {
        size_t at;
        uint8_t value;
        const _Atomic uint64_t *counter;
    } cases[] = {
        {0, 0x55, &c->net_rx_bad_version}, {0, 0x44, &c->net_rx_bad_header},
        {3, 10, &c->net_rx_bad_length},    {2, 0xff, &c->net_rx_short},
        {8, 1, &c->net_rx_ip_checksum},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t saved = ip[cases[i].at];
        uint64_t before = count_of(cases[i].counter);
        ip[cases[i].at] = cases[i].value;
        peer_send_frame(&f.peer, bytes_of(frame, size));
        ip[cases[i].at] = saved;
        if (count_of(cases[i].counter) != before + 1)
            fail_msg("case %zu was not counted", i);
    }
    for (size_t cut = 1; cut < ETHERNET_SIZE + IPV4_SIZE; cut++)
        peer_send_frame(&f.peer, bytes_of(frame, cut));
    assert_int_equal(count_of(&c->net_rx_short), 1 + ETHERNET_SIZE + IPV4_SIZE - 1);

    /* Fragments, options, a martian, a stranger: with right checksums. */
    store_be16(ip + 6, 0x2000);
    store_be16(ip + 10, 0);
    uint32_t sum = 0;
    for (int i = 0; i < IPV4_SIZE; i += 2)
        sum += load_be16(ip + i);
    store_be16(ip + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    peer_send_frame(&f.peer, bytes_of(frame, size));
    assert_int_equal(count_of(&c->net_rx_fragments), 1);
    f.peer.address.addr[0] = 127;
    ping(20);
    assert_int_equal(count_of(&c->net_rx_bad_source), 1);
    f.peer.address.addr[0] = 10;
    f.peer.local.addr[3] = 50;
    ping(20);
    assert_int_equal(count_of(&c->net_rx_not_ours), 1);
    f.peer.local.addr[3] = 1;
    peer_send_ip(&f.peer, 132, payload, sizeof(payload));
    assert_int_equal(count_of(&c->net_rx_other_protocol), 1);
    stop();
}

static void udp_send_from_peer(uint16_t port, const char *text)
{
    uint8_t d[100] = {0};
    size_t size = UDP_SIZE + strlen(text);

    store_be16(d, PEER_PORT);
    store_be16(d + 2, port);
    store_be16(d + 4, (uint16_t)size);
    memcpy(d + UDP_SIZE, text, strlen(text));
    peer_send_ip(&f.peer, PROTOCOL_UDP, d, size);
}

static void test_stack_exchanges_datagrams(void **state)
{
    struct endpoint any = {.family = 6, .port = 53};
    struct bytes in;

    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        const uint32_t offloads[] = {0, PORT_OFFLOAD_UDP_CHECKSUM | PORT_OFFLOAD_RX_CHECKSUM};
        for (int i = 0; i < 2; i++) {
            start(family, 0, offloads[i]);
            const struct transport_ops *ops = f.host->transport->ops;
            assert_int_equal(ops->bind(f.host->transport, &any, &datagram_events, NULL), 0);
            assert_int_equal(ops->bind(f.host->transport, &any, &datagram_events, NULL),
                             -EADDRINUSE);
            udp_send_from_peer(53, "question");
            assert_int_equal(f.datagrams, 1);
            assert_memory_equal(f.data, "question", 8);
            assert_true(endpoint_is_equal(&f.from, &f.peer.address));

            struct extent e[2] = {world_extent(f.host, 0, 5, 7), world_extent(f.host, 0, 12, 300)};
            struct endpoint local = f.peer.local;
            local.port = 53;
            assert_int_equal(ops->send_datagram(f.host->transport, &local, &f.peer.address, e, 2),
                             0);
            world_turn(&f.world);
            assert_true(peer_next_ip(&f.peer, PROTOCOL_UDP, &in));
            assert_int_equal(in.size, UDP_SIZE + 307);
            assert_true(world_matches(&f.world, 0, 5, bytes_from(in, UDP_SIZE)));
            local.port = 54;
            assert_int_equal(ops->send_datagram(f.host->transport, &local, &f.peer.address, e, 2),
                             -EADDRNOTAVAIL);
            local.port = 53;
            e[1].size = 2000;
            assert_int_equal(ops->send_datagram(f.host->transport, &local, &f.peer.address, e, 2),
                             -EMSGSIZE);
            stop();
        }
    }
}

/* A datagram to port 53 whose checksum field is 'checksum'. */
static void send_with_checksum(uint16_t checksum)
{
    uint8_t d[UDP_SIZE + 4] = {0};
    uint8_t frame[PEER_FRAME_BYTES];

    store_be16(d, PEER_PORT);
    store_be16(d + 2, 53);
    store_be16(d + 4, sizeof(d));
    size_t size = peer_frame_ip(&f.peer, PROTOCOL_UDP, d, sizeof(d), frame);
    store_be16(frame + size - sizeof(d) + 6, checksum);
    peer_send_frame(&f.peer, bytes_of(frame, size));
}

static void test_stack_keeps_the_checksum_rules(void **state)
{
    const struct endpoint any = {.family = 6, .port = 53};

    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        for (int has_offload = 0; has_offload <= 1; has_offload++) {
            start(family, 0, has_offload ? PORT_OFFLOAD_RX_CHECKSUM : 0);
            const struct transport_ops *ops = f.host->transport->ops;
            assert_int_equal(ops->bind(f.host->transport, &any, &datagram_events, NULL), 0);
            send_with_checksum(0);
            assert_int_equal(f.datagrams, family == 4);
            assert_int_equal(count_of(&f.host->counters.net_udp_no_checksum), family == 6);
            send_with_checksum(1);
            assert_int_equal(count_of(&f.host->counters.net_udp_checksum), 1);
            stop();
        }
    }
}

static void test_stack_sends_bursts_of_datagrams(void **state)
{
    const struct endpoint any = {.family = 6, .port = 53};
    struct bytes in;

    (void)state;
    start(4, 0, 0);
    const struct transport_ops *ops = f.host->transport->ops;
    assert_int_equal(ops->bind(f.host->transport, &any, &datagram_events, NULL), 0);
    udp_send_from_peer(53, "hello");
    struct endpoint local = f.peer.local;
    struct endpoint other = f.peer.address;
    local.port = 53;
    other.addr[3] = 98; /* nobody */
    for (uint32_t i = 0; i < 40; i++) {
        struct extent e = world_extent(f.host, 0, i, 100);
        assert_int_equal(ops->send_datagram(f.host->transport, &local, &f.peer.address, &e, 1), 0);
        if (i == 0) /* now the peer's link address is asked for */
            world_turn(&f.world);
        if (i % 10 == 5)
            assert_int_equal(ops->send_datagram(f.host->transport, &local, &other, &e, 1), 0);
    }
    world_turn(&f.world);
    for (uint32_t i = 0; i < 40; i++) {
        assert_true(peer_next_ip(&f.peer, PROTOCOL_UDP, &in));
        assert_true(world_matches(&f.world, 0, i, bytes_from(in, UDP_SIZE)));
    }
    assert_int_equal(count_of(&f.host->counters.net_neighbour_solicits), 2);
    stop();
}

static void test_stack_says_that_nobody_listens(void **state)
{
    struct bytes in;

    (void)state;
    start(4, 0, 0);
    udp_send_from_peer(99, "anyone?");
    assert_true(peer_next_ip(&f.peer, PROTOCOL_ICMP, &in));
    assert_int_equal(in.ptr[0], ICMP_UNREACHABLE);
    assert_int_equal(in.ptr[1], ICMP_CODE_PORT);
    for (int i = 0; i < 1000; i++) {
        udp_send_from_peer(99, "anyone?");
        peer_drop_all(&f.peer);
    }
    assert_true(count_of(&f.host->counters.net_icmp_limited) > 700);
    stop();
}

static int closed_error; /* of the latest closed event; 1: none came */

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    closed_error = error;
}

static void test_stack_learns_a_router(void **state)
{
    uint8_t advert[16] = {ICMP6_ROUTER_ADVERT, [4] = 64, [6] = 0, [7] = 100};
    uint8_t frame[PEER_FRAME_BYTES];
    struct endpoint far;

    (void)state;
    start(6, 0, 0);
    endpoint_parse("[2001:db8:ffff::1]:80", &far);
    static const struct stream_events no_events = {.closed = on_closed};
    const struct transport_ops *ops = f.host->transport->ops;
    closed_error = 1;
    assert_non_null(ops->connect(f.host->transport, &far, &no_events, NULL, f.world.now_us));
    assert_int_equal(closed_error, 1); /* not from inside the call */
    world_turn(&f.world);
    assert_int_equal(closed_error, -EHOSTUNREACH);

    struct endpoint saved = f.peer.address;
    endpoint_parse("[fe80::99]:1", &f.peer.address);
    size_t size = peer_frame_ip(&f.peer, PROTOCOL_ICMPV6, advert, sizeof(advert), frame);
    frame[ETHERNET_SIZE + 7] = 64; /* may come from anywhere */
    peer_send_frame(&f.peer, bytes_of(frame, size));
    assert_int_equal(count_of(&f.host->counters.net_nd_bad), 1);
    frame[ETHERNET_SIZE + 7] = 255;
    peer_send_frame(&f.peer, bytes_of(frame, size));
    struct stream *s = ops->connect(f.host->transport, &far, &no_events, NULL, f.world.now_us);
    assert_non_null(s);
    world_turn(&f.world);
    struct bytes in;
    assert_true(peer_next_ip(&f.peer, PROTOCOL_TCP, &in)); /* to the router's link address */
    (void)saved;
    world_fini(&f.world);
}

static void on_share(void *user, const struct net_news *news)
{
    struct world_host *other = user;

    net_hear(other->transport, news, f.world.now_us);
}

/* Two queues of one port: the answer to what the second asked arrives at the first. */
static void test_stack_hears_what_others_learn(void **state)
{
    struct net_config config = {0};
    const struct sim_port_config port = {0};

    (void)state;
    start(4, 0, 0);
    f.peer.is_mute = true;
    ping(20);
    struct net_usage usage;
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.pending_packets, 1);

    config.share = on_share;
    config.share_user = f.host;
    struct world_host *first = world_host_add(&f.world, "10.0.0.1/24", &config, &port, 4, 1 << 20);
    struct world_host *second = f.host;
    f.peer.host = first;
    arp_from(peer_mac, ARP_REPLY);
    f.peer.host = second;
    world_turn(&f.world);
    net_usage(second->transport, &usage);
    assert_int_equal(usage.pending_packets, 0);
    ping(20);
    expect_pong(20);
    assert_int_equal(count_of(&first->counters.net_news_shared), 1);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stack_answers_pings),
        cmocka_unit_test(test_stack_announces_itself),
        cmocka_unit_test(test_stack_keeps_to_its_vlan),
        cmocka_unit_test(test_stack_answers_arp),
        cmocka_unit_test(test_stack_is_not_taken_over),
        cmocka_unit_test(test_stack_drops_when_nobody_answers),
        cmocka_unit_test(test_stack_counts_each_malformed_class),
        cmocka_unit_test(test_stack_exchanges_datagrams),
        cmocka_unit_test(test_stack_keeps_the_checksum_rules),
        cmocka_unit_test(test_stack_sends_bursts_of_datagrams),
        cmocka_unit_test(test_stack_says_that_nobody_listens),
        cmocka_unit_test(test_stack_learns_a_router),
        cmocka_unit_test(test_stack_hears_what_others_learn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
