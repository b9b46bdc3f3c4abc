/* Where IPv6 addresses come from: duplicate detection, prefixes, lifetimes; routers; and the
 * reports of the groups that come with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <stdio.h>

#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

enum { SECOND = 1000000 };

static struct {
    struct world world;
    struct world_host *host;
    struct peer peer;
    const struct net_stack *stack;
} f;

static void start(uint8_t dad_transmits, bool use_slaac)
{
    const struct net_config config = {.dad_transmits = dad_transmits, .use_slaac = use_slaac};
    const struct sim_port_config port = {0};

    world_init(&f.world, 3);
    f.host = world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", &config, &port, 4, 1 << 20);
    f.stack = (const struct net_stack *)(const void *)f.host->transport;
    peer_init(&f.peer, &f.world, f.host, 6);
    world_turn(&f.world);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static void run_seconds(uint64_t seconds)
{
    world_run(&f.world, f.world.now_us + seconds * SECOND);
}

/* An ICMPv6 message to the host, from and to these addresses. */
static void send_icmp(const char *from, const char *to, const uint8_t *message, size_t size,
                      uint8_t hop_limit)
{
    struct endpoint saved[2] = {f.peer.address, f.peer.local};
    uint8_t frame[PEER_FRAME_BYTES];
    char text[2][64];

    snprintf(text[0], sizeof(text[0]), "[%s]:1", from);
    snprintf(text[1], sizeof(text[1]), "[%s]:1", to);
    assert_int_equal(endpoint_parse(text[0], &f.peer.address), 0);
    assert_int_equal(endpoint_parse(text[1], &f.peer.local), 0);
    size_t frame_size = peer_frame_ip(&f.peer, PROTOCOL_ICMPV6, message, size, frame);
    frame[ETHERNET_SIZE + 7] = hop_limit;
    f.peer.address = saved[0];
    f.peer.local = saved[1];
    peer_send_frame(&f.peer, bytes_of(frame, frame_size));
}

/* The next ICMPv6 message of 'type' that the host sent, its frame; false: none. */
static bool next_icmp(uint8_t type, struct bytes *ret_frame, size_t extensions)
{
    size_t at = ETHERNET_SIZE + IPV6_SIZE + extensions;

    while (peer_next_frame(&f.peer, ret_frame))
        if (load_be16(ret_frame->ptr + 12) == ETHERTYPE_IPV6 && ret_frame->size > at &&
            ret_frame->ptr[ETHERNET_SIZE + 6] ==
                (extensions > 0 ? PROTOCOL_HOP_BY_HOP : PROTOCOL_ICMPV6) &&
            ret_frame->ptr[at] == type)
            return true;
    return false;
}

static bool answers_ping(const char *address)
{
    const uint8_t ping[16] = {ICMP6_ECHO_REQUEST};
    struct bytes frame;

    peer_drop_all(&f.peer);
    send_icmp("2001:db8::99", address, ping, sizeof(ping), 64);
    return next_icmp(ICMP6_ECHO_REPLY, &frame, 0);
}

static void test_own_address_asks_before_use(void **state)
{
    struct bytes frame;

    (void)state;
    start(2, false);
    assert_int_equal(f.host->counters.net_addresses_tentative, 2);
    assert_true(next_icmp(ICMP6_NEIGHBOUR_SOLICIT, &frame, 0));
    const uint8_t *ip = frame.ptr + ETHERNET_SIZE;
    assert_true(address_is_zero(6, ip + 8)); /* from nobody, and without our link address */
    assert_int_equal(load_be16(ip + 4), 24);
    assert_int_equal(ip[24], 0xff);
    assert_false(answers_ping("2001:db8::1"));
    run_seconds(1);
    assert_false(answers_ping("2001:db8::1"));
    run_seconds(2);
    assert_int_equal(f.host->counters.net_addresses_usable, 3);
    assert_true(answers_ping("2001:db8::1"));
    assert_int_equal(f.host->counters.net_address_conflicts, 0);
    stop();
}

/* RFC 4862 §5.4.3, §5.4.4: an advertisement of it, or somebody who asks for it too. */
static void test_own_address_gives_way(void **state)
{
    (void)state;
    for (int is_solicit = 0; is_solicit <= 1; is_solicit++) {
        uint8_t message[24] = {is_solicit ? ICMP6_NEIGHBOUR_SOLICIT : ICMP6_NEIGHBOUR_ADVERT};
        start(1, false);
        memcpy(message + 8, f.peer.local.addr, 16);
        if (is_solicit)
            send_icmp("::", "ff02::1:ff00:1", message, sizeof(message), 255);
        else
            send_icmp("2001:db8::1", "ff02::1", message, sizeof(message), 255);
        assert_int_equal(f.host->counters.net_address_conflicts, 1);
        run_seconds(5);
        assert_int_equal(f.host->counters.net_addresses_duplicate, 1);
        assert_int_equal(f.host->counters.net_addresses_usable, 2); /* IPv4, link-local */
        assert_false(answers_ping("2001:db8::1"));
        assert_null(address_for(f.stack, 6, f.peer.address.addr));
        stop();
    }
}

/* The network may give us our own question back. */
static void test_own_address_ignores_its_echo(void **state)
{
    struct bytes frame;
    uint8_t copy[200];

    (void)state;
    start(1, false);
    assert_true(next_icmp(ICMP6_NEIGHBOUR_SOLICIT, &frame, 0));
    assert_true(frame.size <= sizeof(copy));
    memcpy(copy, frame.ptr, frame.size);
    peer_send_frame(&f.peer, bytes_of(copy, frame.size));
    run_seconds(2);
    assert_int_equal(f.host->counters.net_addresses_usable, 3);
    stop();
}

/* Once it is in use nobody takes it away. */
static void test_own_address_in_use_is_kept(void **state)
{
    uint8_t message[24] = {ICMP6_NEIGHBOUR_ADVERT, [4] = 0x20};

    (void)state;
    start(0, false);
    memcpy(message + 8, f.peer.local.addr, 16);
    send_icmp("2001:db8::66", "ff02::1", message, sizeof(message), 255);
    assert_int_equal(f.host->counters.net_address_conflicts, 1);
    assert_true(answers_ping("2001:db8::1"));
    stop();
}

struct prefix {
    uint8_t number; /* 2001:db8:NN::/64 */
    uint8_t bits;
    uint8_t flags;
    uint32_t valid_s;
    uint32_t preferred_s;
};

static void advertise(const char *router, uint8_t flags, uint16_t lifetime_s,
                      const struct prefix *prefixes, size_t count)
{
    uint8_t m[16 + 10 * 32] = {ICMP6_ROUTER_ADVERT, [4] = 64, [5] = flags};

    store_be16(m + 6, lifetime_s);
    for (size_t i = 0; i < count; i++) {
        uint8_t *o = m + 16 + i * 32;
        o[0] = 3;
        o[1] = 4;
        o[2] = prefixes[i].bits;
        o[3] = prefixes[i].flags;
        store_be32(o + 4, prefixes[i].valid_s);
        store_be32(o + 8, prefixes[i].preferred_s);
        memcpy(o + 16, (const uint8_t[]){0x20, 1, 0xd, 0xb8, 0, prefixes[i].number}, 6);
    }
    send_icmp(router, "ff02::1", m, 16 + count * 32, 255);
}

static void test_own_address_is_made_from_a_prefix(void **state)
{
    const struct prefix two[] = {{5, 64, 0xc0, 10000, 5000}, {6, 64, 0xc0, 10000, 5000}};
    const uint8_t far[16] = {0x20, 1, 0xd, 0xb8, 0, 6, [15] = 1};

    (void)state;
    start(1, true);
    run_seconds(2);
    advertise("fe80::99", 0, 1800, two, 2);
    assert_int_equal(f.host->counters.net_addresses_learned, 2);
    assert_false(answers_ping("2001:db8:5:0:0:ff:fe00:1"));
    run_seconds(2);
    assert_true(answers_ping("2001:db8:5::ff:fe00:1"));
    assert_true(answers_ping("2001:db8:6::ff:fe00:1"));
    assert_int_equal(address_for(f.stack, 6, far)[5], 6);
    assert_true(address_is_on_link(f.stack, 6, far));
    stop();
}

static void test_own_address_ignores_other_prefixes(void **state)
{
    const struct prefix bad[] = {{5, 63, 0xc0, 10000, 5000}, {5, 64, 0xc0, 5000, 10000}};
    const struct prefix quiet[] = {{5, 64, 0x80, 10000, 5000}, {5, 64, 0xc0, 0, 0}};
    struct prefix many[8];

    (void)state;
    start(0, true);
    advertise("fe80::99", 0, 1800, bad, 2);
    assert_int_equal(f.host->counters.net_prefixes_bad, 2);
    advertise("fe80::99", 0, 1800, quiet, 2); /* not for addresses; already over */
    assert_int_equal(f.host->counters.net_addresses_learned, 0);
    for (uint8_t i = 0; i < 8; i++)
        many[i] = (struct prefix){(uint8_t)(i + 1), 64, 0xc0, 10000, 5000};
    advertise("fe80::99", 0, 1800, many, 8);
    assert_int_equal(f.host->counters.net_addresses_learned, OWN_LEARNED_MAX);
    assert_int_equal(f.host->counters.net_prefixes_refused, 8 - OWN_LEARNED_MAX);
    stop();
    start(0, false);
    advertise("fe80::99", 0, 1800, many, 1);
    assert_int_equal(f.host->counters.net_addresses_learned, 0);
    stop();
}

static void test_own_address_keeps_two_hours(void **state)
{
    const struct prefix long_one = {5, 64, 0xc0, 20000, 10000};
    const struct prefix short_one = {5, 64, 0xc0, 1, 0};
    const struct prefix middle = {5, 64, 0xc0, 7300, 0};
    const uint8_t near[16] = {0x20, 1, 0xd, 0xb8, 0, 5, [15] = 1};
    const uint8_t far[16] = {0x20, 1, 0xd, 0xb8, 0, 9, [15] = 1};

    (void)state;
    start(0, true);
    advertise("fe80::99", 0, 1800, &long_one, 1);
    advertise("fe80::99", 0, 1800, &short_one, 1); /* cut to two hours, deprecated at once */
    run_seconds(7100);
    assert_true(answers_ping("2001:db8:5::ff:fe00:1"));
    assert_int_equal(address_for(f.stack, 6, near)[5], 5);
    assert_int_equal(address_for(f.stack, 6, far)[5], 0); /* another is preferred */
    advertise("fe80::99", 0, 1800, &short_one, 1);        /* below two hours already: ignored */
    run_seconds(90);
    assert_true(answers_ping("2001:db8:5::ff:fe00:1"));
    advertise("fe80::99", 0, 1800, &middle, 1); /* longer than what is left: taken */
    run_seconds(7200);
    assert_true(answers_ping("2001:db8:5::ff:fe00:1"));
    run_seconds(200);
    assert_false(answers_ping("2001:db8:5::ff:fe00:1"));
    assert_int_equal(f.host->counters.net_addresses_expired, 1);
    assert_int_equal(f.host->counters.net_addresses_usable, 3);
    stop();
}

static void expect_router(uint8_t last)
{
    const uint8_t *r = router_for(f.stack, 6);

    assert_int_equal(r == NULL ? 0 : r[15], last);
}

static void test_router_is_chosen_by_preference_and_life(void **state)
{
    enum { LOW = 3 << 3, HIGH = 1 << 3, RESERVED = 2 << 3 };

    (void)state;
    start(0, false);
    expect_router(0);
    advertise("fe80::1:1", LOW, 100, NULL, 0);
    expect_router(1);
    advertise("fe80::1:2", RESERVED, 50, NULL, 0); /* counts as medium */
    expect_router(2);
    advertise("fe80::1:3", HIGH, 30, NULL, 0);
    advertise("fe80::1:4", 0, 100, NULL, 0);
    expect_router(3);
    advertise("fe80::1:5", HIGH, 100, NULL, 0); /* one too many */
    assert_int_equal(f.host->counters.net_routers_refused, 1);
    router_silent((struct net_stack *)(void *)f.host->transport, router_for(f.stack, 6));
    expect_router(2);
    advertise("fe80::1:3", HIGH, 30, NULL, 0);
    expect_router(3);
    advertise("fe80::1:3", HIGH, 0, NULL, 0); /* it resigns */
    expect_router(2);
    run_seconds(60);
    f.peer.count = 0;
    assert_false(answers_ping("2001:db8::7"));
    expect_router(4);
    run_seconds(100);
    assert_false(answers_ping("2001:db8::7"));
    expect_router(0);
    advertise("2001:db8::99", 0, 100, NULL, 0); /* not from a link-local address */
    assert_int_equal(f.host->counters.net_nd_bad, 1);
    stop();
}

/* The group of the next report; 'type' of its record, 0: MLDv1. */
static bool next_report(uint8_t *ret_type, const uint8_t **ret_group)
{
    struct bytes frame;
    size_t at = ETHERNET_SIZE + IPV6_SIZE + 8;

    while (peer_next_frame(&f.peer, &frame)) {
        const uint8_t *ip = frame.ptr + ETHERNET_SIZE;
        if (load_be16(frame.ptr + 12) != ETHERTYPE_IPV6 || ip[6] != PROTOCOL_HOP_BY_HOP)
            continue;
        assert_int_equal(ip[7], 1);                       /* hop limit */
        assert_int_equal(load_be32(ip + 40), 0x3a000502); /* router alert */
        bool is_v1 = frame.ptr[at] == ICMP6_MLD_REPORT_V1;
        assert_true(is_v1 || frame.ptr[at] == ICMP6_MLD_REPORT_V2);
        *ret_type = is_v1 ? 0 : frame.ptr[at + 8];
        *ret_group = frame.ptr + at + (is_v1 ? 8 : 12);
        return true;
    }
    return false;
}

static void expect_reports(uint8_t type)
{
    const uint8_t *group = NULL;
    uint8_t got = 99;

    assert_true(next_report(&got, &group)); /* of 2001:db8::1 and the link-local address */
    assert_int_equal(got, type);
    assert_int_equal(load_be32(group + 12), 0xff000001);
    assert_false(next_report(&got, &group)); /* both in one group here */
}

/* A query behind a hop-by-hop header with or without a router alert. */
static void query(size_t size, uint16_t code, bool has_alert)
{
    struct endpoint saved[2] = {f.peer.address, f.peer.local};
    uint8_t m[8 + 28] = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0, ICMP6_MLD_QUERY};
    uint8_t frame[PEER_FRAME_BYTES];

    if (!has_alert)
        m[2] = 1;
    if (!has_alert)
        m[3] = 4;
    store_be16(m + 12, code);
    endpoint_parse("[fe80::99]:1", &f.peer.address);
    endpoint_parse("[ff02::1]:1", &f.peer.local);
    /* The checksum: written for the bare message, then moved behind the extension header. */
    size_t bare = peer_frame_ip(&f.peer, PROTOCOL_ICMPV6, m + 8, size, frame);
    memcpy(m + 8, frame + ETHERNET_SIZE + IPV6_SIZE, size);
    (void)bare;
    size_t frame_size = peer_frame_ip(&f.peer, PROTOCOL_HOP_BY_HOP, m, 8 + size, frame);
    memcpy(frame + ETHERNET_SIZE + IPV6_SIZE, m, 8 + size);
    frame[ETHERNET_SIZE + 7] = 1;
    f.peer.address = saved[0];
    f.peer.local = saved[1];
    peer_send_frame(&f.peer, bytes_of(frame, frame_size));
}

static void test_mld_reports_joins_and_answers_queries(void **state)
{
    const uint8_t *group;
    uint8_t type;

    (void)state;
    start(0, false);
    expect_reports(4); /* joined, told twice */
    run_seconds(2);
    expect_reports(4);
    run_seconds(100);
    assert_false(next_report(&type, &group));
    query(28, 5000, true);
    query(28, 5000, true); /* one answer for both */
    run_seconds(6);
    expect_reports(2);
    query(28, 5000, false);
    query(26, 5000, true);
    assert_int_equal(f.host->counters.net_mld_bad, 2);
    run_seconds(6);
    assert_false(next_report(&type, &group));
    query(24, 1000, true); /* an old querier */
    run_seconds(2);
    expect_reports(0);
    run_seconds(300);
    query(28, 1000, true);
    run_seconds(2);
    expect_reports(2);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_address_asks_before_use),
        cmocka_unit_test(test_own_address_gives_way),
        cmocka_unit_test(test_own_address_ignores_its_echo),
        cmocka_unit_test(test_own_address_in_use_is_kept),
        cmocka_unit_test(test_own_address_is_made_from_a_prefix),
        cmocka_unit_test(test_own_address_ignores_other_prefixes),
        cmocka_unit_test(test_own_address_keeps_two_hours),
        cmocka_unit_test(test_router_is_chosen_by_preference_and_life),
        cmocka_unit_test(test_mld_reports_joins_and_answers_queries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
