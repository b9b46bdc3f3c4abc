/* IP headers, extension headers and fragments: what is dropped, which counter says so, and which
 * ICMP error goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

static struct {
    struct world world;
    struct world_host *host;
    struct peer peer;
    uint8_t frame[PEER_FRAME_BYTES];
    size_t size;
} f;

static void start(uint8_t family)
{
    const struct net_config config = {0};
    const struct sim_port_config port = {0};

    world_init(&f.world, 3);
    f.host = world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", &config, &port, 4, 1 << 20);
    peer_init(&f.peer, &f.world, f.host, family);
    world_turn(&f.world);
    peer_drop_all(&f.peer);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static uint64_t *counter_at(size_t offset)
{
    return (uint64_t *)(void *)((char *)&f.host->counters + offset);
}

/* The IPv4 header of f.frame with its checksum made right. */
static void seal_v4(void)
{
    uint8_t *ip = f.frame + ETHERNET_SIZE;
    size_t size = (size_t)(ip[0] & 0x0f) * 4;

    store_be16(ip + 10, 0);
    store_be16(ip + 10, checksum_finish(checksum_sum(ip, size)));
}

static void send_frame(void)
{
    peer_send_frame(&f.peer, bytes_of(f.frame, f.size));
}

#define COUNTER_OF(name) offsetof(struct counters, name), #name

/* Sends f.frame and wants the counter to have grown by one. */
static void expect_counted(size_t offset, const char *name, const char *what)
{
    uint64_t before = *counter_at(offset);

    send_frame();
    if (*counter_at(offset) != before + 1)
        fail_msg("%s: %s grew by %d instead of 1", what, name, (int)(*counter_at(offset) - before));
}

/* The next ICMP message of the host: its type and code as 0xTTCC; 0: none. */
static unsigned next_icmp(struct bytes *ret_message)
{
    uint8_t protocol = f.peer.family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;

    while (peer_next_ip(&f.peer, protocol, ret_message))
        if (f.peer.family == 4 || ret_message->ptr[0] < ICMP6_ROUTER_SOLICIT)
            return (unsigned)ret_message->ptr[0] << 8 | ret_message->ptr[1];
    return 0;
}

static void test_ipv4_counts_each_class(void **state)
{
    /* Bytes to change in the IPv4 header; checksums are right. */
    static const struct {
        const char *what;
        uint8_t at, value;
        size_t counter;
        const char *name;
    } cases[] = {
        {"version 5", 0, 0x55, COUNTER_OF(net_rx_bad_version)},
        {"header of 16 bytes", 0, 0x44, COUNTER_OF(net_rx_bad_header)},
        {"total below the header", 3, 19, COUNTER_OF(net_rx_bad_length)},
        {"total beyond the frame", 3, 200, COUNTER_OF(net_rx_short)},
        {"options", 0, 0x46, COUNTER_OF(net_rx_ip_options)},
        {"TTL 0", 8, 0, COUNTER_OF(net_rx_hop_limit_zero)},
        {"first fragment", 6, 0x20, COUNTER_OF(net_rx_fragments)},
        {"later fragment", 7, 0x20, COUNTER_OF(net_rx_fragments)},
        {"offset of 8 bytes", 7, 1, COUNTER_OF(net_rx_fragments_tiny)},
        {"past 65,535 bytes", 6, 0x1f, COUNTER_OF(net_rx_fragments)},
        {"source 0/8", 12, 0, COUNTER_OF(net_rx_bad_source)},
        {"source 127/8", 12, 127, COUNTER_OF(net_rx_bad_source)},
        {"source multicast", 12, 224, COUNTER_OF(net_rx_bad_source)},
        {"source broadcast", 15, 255, COUNTER_OF(net_rx_bad_source)},
        {"source our own", 15, 1, COUNTER_OF(net_rx_bad_source)},
        {"destination 0/8", 16, 0, COUNTER_OF(net_rx_bad_destination)},
        {"destination 127/8", 16, 127, COUNTER_OF(net_rx_bad_destination)},
        {"destination of another", 19, 77, COUNTER_OF(net_rx_not_ours)},
        {"protocol 132", 9, 132, COUNTER_OF(net_rx_other_protocol)},
    };
    uint8_t payload[40] = {ICMP_ECHO_REQUEST};

    (void)state;
    start(4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.size = peer_frame_ip(&f.peer, PROTOCOL_ICMP, payload, sizeof(payload), f.frame);
        f.frame[ETHERNET_SIZE + cases[i].at] = cases[i].value;
        seal_v4();
        expect_counted(cases[i].counter, cases[i].name, cases[i].what);
    }
    f.size = peer_frame_ip(&f.peer, PROTOCOL_ICMP, payload, sizeof(payload), f.frame);
    f.frame[ETHERNET_SIZE + 11] ^= 1;
    expect_counted(COUNTER_OF(net_rx_ip_checksum), "checksum");
    f.size = peer_frame_ip(&f.peer, PROTOCOL_ICMP, payload, sizeof(payload), f.frame);
    memset(f.frame, 0xff, 6);
    expect_counted(COUNTER_OF(net_rx_wrong_cast), "unicast packet, broadcast frame");
    stop();
}

/* Overlapping, tiny and endless fragments (RFC 1858, RFC 3128, teardrop, ping of death): none
 * reaches a listener, and nothing of them is kept. */
static void test_ipv4_fragment_attacks_find_nothing(void **state)
{
    static const struct {
        uint16_t flags_offset, size;
    } fragments[] = {
        {0x2000, 8},   {0x0001, 32},  {0x2000, 24},   {0x2001, 24}, {0x0002, 40},
        {0x2000, 100}, {0x3fff, 104}, {0x1fff, 1000}, {0x2003, 0},
    };
    uint8_t segment[1000] = {0};
    struct net_usage before;
    struct net_usage after;
    struct bytes message;

    (void)state;
    start(4);
    net_usage(f.host->transport, &before);
    segment[12] = 0x50;
    segment[13] = TCP_SYN;
    store_be16(segment + 2, PEER_HOST_PORT);
    for (int round = 0; round < 100; round++) {
        for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++) {
            f.size = peer_frame_ip(&f.peer, PROTOCOL_TCP, segment, fragments[i].size, f.frame);
            store_be16(f.frame + ETHERNET_SIZE + 6, fragments[i].flags_offset);
            seal_v4();
            send_frame();
        }
    }
    net_usage(f.host->transport, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(f.host->counters.net_rx_fragments, 900);
    assert_int_equal(f.host->counters.net_rx_fragments_tiny, 300); /* 1, 2 and 4 */
    assert_int_equal(f.host->counters.net_rx_fragments_bad, 400);  /* the last four */
    assert_int_equal(f.host->counters.tcp_segments_received, 0);
    assert_int_equal(next_icmp(&message), 0);
    stop();
}

static void test_ipv4_names_unknown_protocols(void **state)
{
    uint8_t payload[40] = {0};
    struct bytes message;

    (void)state;
    start(4);
    peer_send_ip(&f.peer, 132, payload, sizeof(payload));
    assert_int_equal(next_icmp(&message), ICMP_UNREACHABLE << 8 | ICMP_CODE_PROTOCOL);
    assert_int_equal(message.ptr[ICMP_SIZE + 9], 132);
    /* Not when it came to many, nor when it is an error itself. */
    f.peer.local.addr[3] = 255;
    peer_send_ip(&f.peer, 132, payload, sizeof(payload));
    assert_int_equal(next_icmp(&message), 0);
    assert_int_equal(f.host->counters.net_icmp_withheld, 1);
    stop();
}

/* An IPv6 packet of 'size' bytes behind the fixed header, the first of 'type'. */
static void frame_v6(uint8_t type, const uint8_t *payload, size_t size)
{
    f.size = peer_frame_ip(&f.peer, type, payload, size, f.frame);
    memcpy(f.frame + ETHERNET_SIZE + IPV6_SIZE, payload, size); /* no checksum was wanted */
}

/* Long: its table. */
static void test_ipv6_bounds_extension_headers(void **state)
{
    enum {
        HBH = PROTOCOL_HOP_BY_HOP,
        RH = PROTOCOL_ROUTING,
        FH = PROTOCOL_FRAGMENT,
        DST = PROTOCOL_DESTINATION_OPTIONS,
        UDP = PROTOCOL_UDP
    };
    enum { PROBLEM = ICMP6_PARAMETER_PROBLEM << 8 };
    static const struct {
        const char *what;
        uint8_t type;
        uint8_t size;
        uint8_t bytes[40];
        size_t counter;
        const char *name;
        unsigned icmp; /* 0xTTCC, 0: none */
        unsigned pointer;
    } cases[] = {
        {"good options, then UDP without listener",
         HBH,
         24,
         {DST, 0, 1, 4, [8] = UDP, 0, 1, 4, [16] = 1, 1, 1, 1, 0, 8},
         COUNTER_OF(net_udp_no_checksum),
         0,
         0},
        {"skippable unknown option", DST, 16, {UDP, 0, 0x1e, 4}, COUNTER_OF(net_udp_short), 0, 0},
        {"option 01: discard",
         DST,
         16,
         {UDP, 0, 0x5e, 4},
         COUNTER_OF(net_rx_extension_options),
         0,
         0},
        {"option 10: tell",
         HBH,
         16,
         {UDP, 0, 1, 0, 0x9e, 2},
         COUNTER_OF(net_rx_extension_options),
         PROBLEM | ICMP6_CODE_OPTION,
         44},
        {"option 11: tell",
         DST,
         16,
         {UDP, 0, 0xde, 4},
         COUNTER_OF(net_rx_extension_options),
         PROBLEM | ICMP6_CODE_OPTION,
         42},
        {"option beyond its header",
         DST,
         16,
         {UDP, 0, 0x1e, 5},
         COUNTER_OF(net_rx_extension_bad),
         0,
         0},
        {"option cut at its length",
         DST,
         16,
         {UDP, 0, 0, 0, 0, 0, 0, 0x1e},
         COUNTER_OF(net_rx_extension_bad),
         0,
         0},
        {"padding of nine",
         DST,
         24,
         {UDP, 1, 1, 7, [11] = 0x1e, 3},
         COUNTER_OF(net_rx_extension_limit),
         0,
         0},
        {"header beyond the packet", DST, 16, {UDP, 2, 1, 4}, COUNTER_OF(net_rx_short), 0, 0},
        {"hop-by-hop second",
         DST,
         24,
         {HBH, 0, 1, 4, [8] = UDP, 0, 1, 4},
         COUNTER_OF(net_rx_extension_order),
         PROBLEM | ICMP6_CODE_NEXT_HEADER,
         40},
        {"source route",
         RH,
         32,
         {UDP, 2, 0, 1},
         COUNTER_OF(net_rx_source_routes),
         PROBLEM | ICMP6_CODE_HEADER,
         42},
        {"spent source route", RH, 32, {UDP, 2, 0, 0}, COUNTER_OF(net_udp_short), 0, 0},
        {"atomic fragment", FH, 16, {UDP, 0, 0, 0, 1, 2, 3, 4}, COUNTER_OF(net_udp_short), 0, 0},
        {"first fragment", FH, 40, {UDP, 0, 0, 1, 1, 2, 3, 4}, COUNTER_OF(net_rx_fragments), 0, 0},
        {"tiny first fragment", FH, 16, {UDP, 0, 0, 1}, COUNTER_OF(net_rx_fragments_tiny), 0, 0},
        {"overlapping fragment", FH, 16, {UDP, 0, 0, 8}, COUNTER_OF(net_rx_fragments_tiny), 0, 0},
        {"odd fragment", FH, 15, {UDP, 0, 0, 1}, COUNTER_OF(net_rx_fragments_bad), 0, 0},
        {"fragment past 65,535",
         FH,
         16,
         {UDP, 0, 0xff, 0xf8},
         COUNTER_OF(net_rx_fragments_bad),
         0,
         0},
        {"unknown next header",
         DST,
         16,
         {200, 0, 1, 4},
         COUNTER_OF(net_rx_other_protocol),
         PROBLEM | ICMP6_CODE_NEXT_HEADER,
         40},
        {"no next header",
         DST,
         16,
         {PROTOCOL_NONE, 0, 1, 4},
         COUNTER_OF(net_rx_other_protocol),
         0,
         0},
        {"about an ICMPv6 error",
         DST,
         16,
         {PROTOCOL_ICMPV6, 0, 0xde, 4, [8] = ICMP6_UNREACHABLE},
         COUNTER_OF(net_icmp_withheld),
         0,
         0},
        {"about an echo request",
         DST,
         16,
         {PROTOCOL_ICMPV6, 0, 0xde, 4, [8] = ICMP6_ECHO_REQUEST},
         COUNTER_OF(net_rx_extension_options),
         PROBLEM | ICMP6_CODE_OPTION,
         42},
    };
    struct bytes message;

    (void)state;
    start(6);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        frame_v6(cases[i].type, cases[i].bytes, cases[i].size);
        expect_counted(cases[i].counter, cases[i].name, cases[i].what);
        unsigned icmp = next_icmp(&message);
        if (icmp != cases[i].icmp)
            fail_msg("%s: ICMP %04x instead of %04x", cases[i].what, icmp, cases[i].icmp);
        if (icmp != 0 && load_be32(message.ptr + 4) != cases[i].pointer)
            fail_msg("%s: points to %u instead of %u", cases[i].what, load_be32(message.ptr + 4),
                     cases[i].pointer);
    }
    stop();
}

static void test_ipv6_bounds_the_number_of_headers_and_options(void **state)
{
    uint8_t chain[9 * 8];
    uint8_t options[1000] = {PROTOCOL_UDP, 123};

    (void)state;
    start(6);
    for (size_t count = 8; count <= 9; count++) {
        memset(chain, 0, sizeof(chain));
        for (size_t i = 0; i < count; i++) {
            chain[i * 8] = i + 1 < count ? PROTOCOL_DESTINATION_OPTIONS : PROTOCOL_UDP;
            chain[i * 8 + 2] = 1;
            chain[i * 8 + 3] = 4;
        }
        frame_v6(PROTOCOL_DESTINATION_OPTIONS, chain, count * 8);
        if (count == 8)
            expect_counted(COUNTER_OF(net_udp_short), "eight headers");
        else
            expect_counted(COUNTER_OF(net_rx_extension_limit), "nine headers");
    }
    options[1] = 3; /* 32 bytes: ten options of two bytes and one of eight */
    for (size_t i = 2; i < 22; i += 2)
        options[i] = 0x1e;
    options[22] = 0x1e;
    options[23] = 8;
    frame_v6(PROTOCOL_DESTINATION_OPTIONS, options, 40);
    expect_counted(COUNTER_OF(net_rx_extension_limit), "eleven options");
    memset(options + 2, 0, sizeof(options) - 2);
    options[1] = 64; /* 520 bytes */
    options[2] = 0x1e;
    options[3] = 255;
    frame_v6(PROTOCOL_DESTINATION_OPTIONS, options, 600);
    expect_counted(COUNTER_OF(net_rx_extension_limit), "520 bytes of headers");
    stop();
}

static void test_ipv6_refuses_impossible_addresses(void **state)
{
    static const struct {
        const char *source, *destination;
        size_t counter;
        const char *name;
    } cases[] = {
        {"[ff02::1]:1", "[2001:db8::1]:1", COUNTER_OF(net_rx_bad_source)},
        {"[::1]:1", "[2001:db8::1]:1", COUNTER_OF(net_rx_bad_source)},
        {"[2001:db8::1]:1", "[2001:db8::1]:1", COUNTER_OF(net_rx_bad_source)},
        {"[2001:db8::99]:1", "[::1]:1", COUNTER_OF(net_rx_bad_destination)},
        {"[2001:db8::99]:1", "[2001:db8::2]:1", COUNTER_OF(net_rx_not_ours)},
        {"[2001:db8::99]:1", "[ff02::5]:1", COUNTER_OF(net_rx_not_ours)},
    };
    uint8_t payload[16] = {0};

    (void)state;
    start(6);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        endpoint_parse(cases[i].source, &f.peer.address);
        endpoint_parse(cases[i].destination, &f.peer.local);
        frame_v6(PROTOCOL_UDP, payload, sizeof(payload));
        expect_counted(cases[i].counter, cases[i].name, cases[i].source);
    }
    memset(f.peer.address.addr, 0, 16);
    endpoint_parse("[2001:db8::1]:1", &f.peer.local);
    frame_v6(PROTOCOL_UDP, payload, sizeof(payload));
    expect_counted(COUNTER_OF(net_rx_bad_source), "unspecified source");
    stop();
}

/* Neighbour discovery behind a fragment header is not heard (RFC 6980). */
static void test_ipv6_hears_no_fragmented_discovery(void **state)
{
    uint8_t message[48] = {PROTOCOL_ICMPV6, [8] = ICMP6_NEIGHBOUR_SOLICIT};
    uint32_t sum;

    (void)state;
    start(6);
    memcpy(message + 16, f.peer.local.addr, 16);
    message[32] = 1;
    message[33] = 1;
    memcpy(message + 34, (const uint8_t[]){2, 0, 0, 0, 0, 0x99}, 6);
    sum = checksum_pseudo_header(f.peer.address.addr, f.peer.local.addr, 6, PROTOCOL_ICMPV6) + 32 +
          checksum_sum(message + 8, 32);
    store_be16(message + 10, checksum_finish(sum));
    frame_v6(PROTOCOL_FRAGMENT, message, 40);
    f.frame[ETHERNET_SIZE + 7] = 255;
    expect_counted(COUNTER_OF(net_nd_bad), "solicitation in an atomic fragment");
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4_counts_each_class),
        cmocka_unit_test(test_ipv4_fragment_attacks_find_nothing),
        cmocka_unit_test(test_ipv4_names_unknown_protocols),
        cmocka_unit_test(test_ipv6_bounds_extension_headers),
        cmocka_unit_test(test_ipv6_bounds_the_number_of_headers_and_options),
        cmocka_unit_test(test_ipv6_refuses_impossible_addresses),
        cmocka_unit_test(test_ipv6_hears_no_fragmented_discovery),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
