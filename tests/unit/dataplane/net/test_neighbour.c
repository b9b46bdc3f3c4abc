/* The neighbour cache under attack: spoofed answers, announcements, scans, exhausted rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

enum { SECOND = 1000000 };

static struct {
    struct world world;
    struct world_host *host;
    struct peer peer;
} f;

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 0x99};
static const uint8_t evil_mac[6] = {2, 0, 0, 0, 0, 0x66};

static void start(uint8_t family)
{
    const struct net_config config = {0};
    const struct sim_port_config port = {0};

    world_init(&f.world, 3);
    f.host = world_host_add(&f.world, "10.0.0.1/16,2001:db8::1/64", &config, &port, 4, 1 << 20);
    peer_init(&f.peer, &f.world, f.host, family);
    world_turn(&f.world);
    peer_drop_all(&f.peer);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static void arp(uint16_t operation, const uint8_t *mac, const uint8_t *sender,
                const uint8_t *target)
{
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE] = {0};
    uint8_t *a = frame + ETHERNET_SIZE;

    memset(frame, 0xff, 6);
    memcpy(frame + 6, mac, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    store_be16(a, 1);
    store_be16(a + 2, ETHERTYPE_IPV4);
    a[4] = 6;
    a[5] = 4;
    store_be16(a + 6, operation);
    memcpy(a + 8, mac, 6);
    memcpy(a + 14, sender, 4);
    memcpy(a + 24, target, 4);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
}

/* The MAC that a ping's answer goes to. */
static void expect_answer_to(const uint8_t *mac)
{
    const uint8_t ping[16] = {f.peer.family == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST};
    uint8_t protocol = f.peer.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
    size_t l3 = f.peer.family == 4 ? IPV4_SIZE : IPV6_SIZE;
    struct bytes frame;

    peer_drop_all(&f.peer);
    peer_send_ip(&f.peer, protocol, ping, sizeof(ping));
    while (peer_next_frame(&f.peer, &frame)) {
        uint8_t type = frame.ptr[ETHERNET_SIZE + l3];
        if (load_be16(frame.ptr + 12) == ETHERTYPE_ARP ||
            frame.ptr[ETHERNET_SIZE + (f.peer.family == 4 ? 9 : 6)] != protocol ||
            (type != ICMP_ECHO_REPLY && type != ICMP6_ECHO_REPLY))
            continue;
        assert_memory_equal(frame.ptr, mac, 6);
        return;
    }
    fail_msg("no answer to the ping");
}

static void test_neighbour_is_not_taken_by_announcements(void **state)
{
    const uint8_t everybody[4] = {0};

    (void)state;
    start(4);
    expect_answer_to(peer_mac);
    for (int i = 0; i < 50; i++) {
        arp(ARP_REQUEST, evil_mac, f.peer.address.addr, f.peer.address.addr);
        arp(ARP_REPLY, evil_mac, f.peer.address.addr, f.peer.local.addr);
        arp(ARP_REPLY, evil_mac, f.peer.address.addr, everybody);
        expect_answer_to(peer_mac);
    }
    assert_int_equal(f.host->counters.net_neighbour_conflicts, 150);
    stop();
}

/* Whom a router's address moved to (VRRP) is believed once the old one is silent. */
static void test_neighbour_follows_a_move(void **state)
{
    (void)state;
    start(4);
    expect_answer_to(peer_mac);
    f.peer.is_mute = true;
    arp(ARP_REQUEST, evil_mac, f.peer.address.addr, f.peer.address.addr);
    expect_answer_to(peer_mac);
    world_run(&f.world, f.world.now_us + 4 * SECOND);
    assert_int_equal(f.host->counters.net_neighbour_failed, 1);
    const uint8_t ping[16] = {ICMP_ECHO_REQUEST};
    peer_send_ip(&f.peer, PROTOCOL_ICMP, ping, sizeof(ping));
    arp(ARP_REPLY, evil_mac, f.peer.address.addr, f.peer.local.addr);
    expect_answer_to(evil_mac);
    stop();
}

/* A scan of the link, either way, does not push out whom we talk to. */
static void test_neighbour_cache_survives_scans(void **state)
{
    uint8_t sender[4] = {10, 0};
    const uint8_t ping[16] = {ICMP_ECHO_REQUEST};

    (void)state;
    start(4);
    expect_answer_to(peer_mac);
    uint64_t solicits = f.host->counters.net_neighbour_solicits;
    for (int i = 0; i < 20000; i++) {
        sender[2] = (uint8_t)(1 + i % 250);
        sender[3] = (uint8_t)(1 + i / 250);
        arp(ARP_REQUEST, evil_mac, sender, f.peer.local.addr);
        peer_drop_all(&f.peer);
    }
    assert_true(f.host->counters.net_neighbour_refused + f.host->counters.net_neighbour_evicted >
                20000 - NEIGHBOURS_MAX - 1);
    expect_answer_to(peer_mac);
    assert_int_equal(f.host->counters.net_neighbour_solicits, solicits); /* still known */

    struct endpoint saved = f.peer.address;
    for (int i = 0; i < 5000; i++) { /* answers to addresses that nobody has */
        f.peer.address.addr[1] = 0;
        f.peer.address.addr[2] = (uint8_t)(1 + i % 250);
        f.peer.address.addr[3] = (uint8_t)(100 + i / 250);
        peer_send_ip(&f.peer, PROTOCOL_ICMP, ping, sizeof(ping));
        peer_drop_all(&f.peer);
        if (i % 50 == 0)
            f.world.now_us += SECOND / 2; /* whom we use is REACHABLE for 30 s */
        if (i % 50 == 0 && i < 2000) {
            f.peer.address = saved;
            expect_answer_to(peer_mac);
        }
    }
    struct net_usage usage;
    net_usage(f.host->transport, &usage);
    assert_true(usage.pending_packets <= NEIGHBOUR_PENDING_POOL);
    stop();
}

/* When the rate leaves no probe, silence is no proof: the entry stays. */
static void test_neighbour_outlives_an_exhausted_rate(void **state)
{
    const uint8_t ping[16] = {ICMP_ECHO_REQUEST};

    (void)state;
    start(4);
    expect_answer_to(peer_mac);
    struct endpoint saved = f.peer.address;
    for (int i = 0; i < 600; i++) {
        f.peer.address.addr[2] = (uint8_t)(1 + i % 250);
        f.peer.address.addr[3] = (uint8_t)(1 + i / 250);
        peer_send_ip(&f.peer, PROTOCOL_ICMP, ping, sizeof(ping)); /* each wants a question */
        f.peer.address = saved;
        arp(ARP_REPLY, evil_mac, f.peer.address.addr, f.peer.local.addr);
        peer_drop_all(&f.peer);
        f.world.now_us += 1000; /* 1,000 questions a second are ten times the rate */
        if (i % 20 == 0)
            expect_answer_to(peer_mac);
    }
    assert_true(f.host->counters.net_neighbour_solicits_limited > 100);
    stop();
}

static void send_nd(const uint8_t *message, size_t size, uint8_t hop_limit, uint8_t code)
{
    uint8_t frame[PEER_FRAME_BYTES];
    uint8_t copy[64];

    memcpy(copy, message, size);
    copy[1] = code;
    size_t frame_size = peer_frame_ip(&f.peer, PROTOCOL_ICMPV6, copy, size, frame);
    frame[ETHERNET_SIZE + 7] = hop_limit;
    peer_send_frame(&f.peer, bytes_of(frame, frame_size));
}

/* RFC 4861 §7.1.1, §7.1.2, clause by clause. */
static void test_neighbour_discovery_is_validated(void **state)
{
    uint8_t solicit[32] = {ICMP6_NEIGHBOUR_SOLICIT, [24] = 1, [25] = 1, [26] = 2, [31] = 0x99};
    uint8_t advert[32] = {
        ICMP6_NEIGHBOUR_ADVERT, [4] = 0x60, [24] = 2, [25] = 1, [26] = 2, [31] = 0x66};
    const _Atomic uint64_t *bad = &f.host->counters.net_nd_bad;
    uint64_t expected = 0;

    (void)state;
    start(6);
    bad = &f.host->counters.net_nd_bad;
    memcpy(solicit + 8, f.peer.local.addr, 16);
    memcpy(advert + 8, f.peer.address.addr, 16);
    uint8_t *const messages[] = {solicit, advert};
    for (int i = 0; i < 2; i++) {
        uint8_t *m = messages[i];
        send_nd(m, 32, 255, 0);
        assert_int_equal(*bad, expected);
        send_nd(m, 32, 254, 0); /* forwarded */
        send_nd(m, 32, 255, 1); /* code */
        send_nd(m, 23, 255, 0); /* short */
        m[25] = 0;              /* an option of no length */
        send_nd(m, 32, 255, 0);
        m[25] = 2; /* an option beyond the end */
        send_nd(m, 32, 255, 0);
        m[25] = 1;
        uint8_t saved = m[8];
        m[8] = 0xff; /* a multicast target */
        send_nd(m, 32, 255, 0);
        m[8] = saved;
        m[26] = 3; /* a multicast link address */
        send_nd(m, 32, 255, 0);
        m[26] = 2;
        expected += 7;
        assert_int_equal(*bad, expected);
    }
    memset(f.peer.address.addr, 0, 16);
    send_nd(solicit, 32, 255, 0); /* from nobody, yet with a link address */
    send_nd(solicit, 24, 255, 0); /* from nobody, to us alone */
    assert_int_equal(*bad, expected + 2);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_neighbour_is_not_taken_by_announcements),
        cmocka_unit_test(test_neighbour_follows_a_move),
        cmocka_unit_test(test_neighbour_cache_survives_scans),
        cmocka_unit_test(test_neighbour_outlives_an_exhausted_rate),
        cmocka_unit_test(test_neighbour_discovery_is_validated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
