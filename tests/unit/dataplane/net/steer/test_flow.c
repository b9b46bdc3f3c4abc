#include "dataplane/net/steer/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/net/wire.h"

static const struct siphash_key key = {.k0 = 0x0706050403020100, .k1 = 0x0f0e0d0c0b0a0908};

/* A frame being built. */
struct made {
    uint8_t bytes[256];
    size_t size;
};

static struct made made_frame(uint16_t type, bool has_vlan)
{
    struct made m = {.size = has_vlan ? 18 : 14};

    if (has_vlan)
        store_be16(m.bytes + 12, ETHERTYPE_VLAN);
    store_be16(m.bytes + m.size - 2, type);
    return m;
}

static void add(struct made *m, const void *bytes, size_t size)
{
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static struct endpoint endpoint_at(const char *address, uint16_t port)
{
    struct endpoint e;
    char text[64];

    snprintf(text, sizeof(text), "%s:%u", address, port);
    assert_int_equal(endpoint_parse(text, &e), 0);
    return e;
}

static void add_v4(struct made *m, const char *source, const char *destination, uint8_t protocol,
                   uint16_t fragment)
{
    struct endpoint from = endpoint_at(source, 1);
    struct endpoint to = endpoint_at(destination, 1);
    uint8_t h[20] = {0x45};

    store_be16(h + 6, fragment);
    h[9] = protocol;
    memcpy(h + 12, from.addr, 4);
    memcpy(h + 16, to.addr, 4);
    add(m, h, sizeof(h));
}

static void add_v6(struct made *m, uint8_t source, uint8_t destination, uint8_t next)
{
    uint8_t h[40] = {0x60, [6] = next, [8] = 0x20, 1, [24] = 0x20, 1};

    h[23] = source;
    h[39] = destination;
    add(m, h, sizeof(h));
}

static void add_ports(struct made *m, uint16_t source, uint16_t destination)
{
    uint8_t h[20] = {0};

    store_be16(h, source);
    store_be16(h + 2, destination);
    add(m, h, sizeof(h));
}

static uint32_t hash_of(const struct made *m)
{
    uint32_t hash = 0;

    assert_true(steer_frame_hash(&key, bytes_of(m->bytes, m->size), &hash));
    return hash;
}

static bool has_flow(const struct made *m)
{
    uint32_t hash;

    return steer_frame_hash(&key, bytes_of(m->bytes, m->size), &hash);
}

static struct made v4(const char *source, uint16_t source_port, const char *destination,
                      uint16_t destination_port, bool has_vlan)
{
    struct made m = made_frame(ETHERTYPE_IPV4, has_vlan);

    add_v4(&m, source, destination, PROTOCOL_TCP, 0x4000);
    add_ports(&m, source_port, destination_port);
    return m;
}

static void test_both_directions(void **state)
{
    struct made there = v4("192.0.2.1", 1000, "198.51.100.7", 80, false);
    struct made back = v4("198.51.100.7", 80, "192.0.2.1", 1000, true);
    struct made other = v4("198.51.100.7", 1000, "192.0.2.1", 80, false);
    struct endpoint one = endpoint_at("192.0.2.1", 1000);
    struct endpoint two = endpoint_at("198.51.100.7", 80);

    (void)state;
    assert_int_equal(hash_of(&there), hash_of(&back));
    assert_int_not_equal(hash_of(&there), hash_of(&other));
    assert_int_equal(steer_flow_hash(&key, &one, &two), hash_of(&there));
    assert_int_equal(steer_flow_hash(&key, &two, &one), hash_of(&there));
}

static void test_both_directions_v6(void **state)
{
    struct made there = made_frame(ETHERTYPE_IPV6, false);
    struct made back = made_frame(ETHERTYPE_IPV6, true);
    static const uint8_t hop_by_hop[8] = {PROTOCOL_UDP, 0, 1, 4};

    (void)state;
    add_v6(&there, 1, 2, PROTOCOL_UDP);
    add_ports(&there, 5000, 443);
    add_v6(&back, 2, 1, PROTOCOL_HOP_BY_HOP); /* with an extension header: the same flow */
    add(&back, hop_by_hop, sizeof(hop_by_hop));
    add_ports(&back, 443, 5000);
    assert_int_equal(hash_of(&there), hash_of(&back));
    struct made same_host = made_frame(ETHERTYPE_IPV6, false);
    struct made same_back = made_frame(ETHERTYPE_IPV6, false);
    add_v6(&same_host, 1, 1, PROTOCOL_UDP);
    add_ports(&same_host, 5000, 443);
    add_v6(&same_back, 1, 1, PROTOCOL_UDP);
    add_ports(&same_back, 443, 5000);
    assert_int_equal(hash_of(&same_host), hash_of(&same_back));
}

/* First and later fragments of one packet go the same way, by addresses. */
static void test_fragments(void **state)
{
    struct made first = made_frame(ETHERTYPE_IPV4, false);
    struct made later = made_frame(ETHERTYPE_IPV4, false);

    (void)state;
    add_v4(&first, "192.0.2.1", "198.51.100.7", PROTOCOL_UDP, 0x2000);
    add_ports(&first, 1000, 80);
    add_v4(&later, "192.0.2.1", "198.51.100.7", PROTOCOL_UDP, 0x0010);
    add_ports(&later, 1, 2);
    assert_int_equal(hash_of(&first), hash_of(&later));

    struct made first6 = made_frame(ETHERTYPE_IPV6, false);
    struct made later6 = made_frame(ETHERTYPE_IPV6, false);
    const uint8_t more[8] = {PROTOCOL_UDP, 0, 0, 1};
    const uint8_t rest[8] = {PROTOCOL_UDP, 0, 0, 0x40};
    add_v6(&first6, 1, 2, PROTOCOL_FRAGMENT);
    add(&first6, more, sizeof(more));
    add_ports(&first6, 1000, 80);
    add_v6(&later6, 1, 2, PROTOCOL_FRAGMENT);
    add(&later6, rest, sizeof(rest));
    add_ports(&later6, 1, 2);
    assert_int_equal(hash_of(&first6), hash_of(&later6));
}

/* An error about a packet of ours goes where the answers of its flow go. */
static void test_quoted_flow(void **state)
{
    struct made ours = v4("192.0.2.1", 80, "198.51.100.7", 1000, false);
    struct made error = made_frame(ETHERTYPE_IPV4, false);
    static const uint8_t too_big[8] = {3, 4};

    (void)state;
    add_v4(&error, "203.0.113.9", "192.0.2.1", PROTOCOL_ICMP, 0);
    add(&error, too_big, sizeof(too_big));
    add(&error, ours.bytes + 14, 28); /* header and 8 bytes */
    assert_int_equal(hash_of(&error), hash_of(&ours));

    struct made ours6 = made_frame(ETHERTYPE_IPV6, false);
    struct made error6 = made_frame(ETHERTYPE_IPV6, false);
    static const uint8_t too_big6[8] = {2, 0};
    add_v6(&ours6, 1, 2, PROTOCOL_TCP);
    add_ports(&ours6, 80, 1000);
    add_v6(&error6, 9, 1, PROTOCOL_ICMPV6);
    add(&error6, too_big6, sizeof(too_big6));
    add(&error6, ours6.bytes + 14, 48);
    assert_int_equal(hash_of(&error6), hash_of(&ours6));
    error6.size -= 6; /* not even the ports are quoted */
    assert_false(has_flow(&error6));
}

static void test_no_flow(void **state)
{
    struct made arp = made_frame(ETHERTYPE_ARP, false);
    struct made echo = made_frame(ETHERTYPE_IPV4, false);
    struct made solicit = made_frame(ETHERTYPE_IPV6, false);
    struct made whole = v4("192.0.2.1", 1, "198.51.100.7", 2, false);
    static const uint8_t request[8] = {8, 0};
    static const uint8_t ns[24] = {135, 0};

    (void)state;
    arp.size += 28;
    assert_false(has_flow(&arp));
    add_v4(&echo, "198.51.100.7", "192.0.2.1", PROTOCOL_ICMP, 0);
    add(&echo, request, sizeof(request));
    assert_false(has_flow(&echo));
    add_v6(&solicit, 2, 1, PROTOCOL_ICMPV6);
    add(&solicit, ns, sizeof(ns));
    assert_false(has_flow(&solicit));
    /* Cut anywhere, in memory of that size so that a sanitizer sees a read past it. */
    for (size_t size = 0; size < 38; size++) {
        uint8_t *cut = malloc(size + 1);
        uint32_t hash;
        assert_non_null(cut);
        memcpy(cut + 1, whole.bytes, size);
        assert_false(steer_frame_hash(&key, bytes_of(cut + 1, size), &hash));
        free(cut);
    }
}

/* Flows are spread evenly, and otherwise with another key. */
static void test_spread(void **state)
{
    const struct siphash_key other = {.k0 = 1, .k1 = 2};
    unsigned counts[3] = {0};
    unsigned same = 0;

    (void)state;
    for (uint16_t port = 1; port <= 3000; port++) {
        struct made m = v4("192.0.2.1", 80, "198.51.100.7", port, false);
        uint32_t shard = steer_shard(hash_of(&m), 3);
        uint32_t hash;
        assert_in_range(shard, 0, 2);
        counts[shard]++;
        assert_true(steer_frame_hash(&other, bytes_of(m.bytes, m.size), &hash));
        same += shard == steer_shard(hash, 3);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(counts[i], 900, 1100);
    assert_in_range(same, 900, 1100);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_directions), cmocka_unit_test(test_both_directions_v6),
        cmocka_unit_test(test_fragments),       cmocka_unit_test(test_quoted_flow),
        cmocka_unit_test(test_no_flow),         cmocka_unit_test(test_spread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
