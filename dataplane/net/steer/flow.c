#include "dataplane/net/steer/flow.h"

#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"

enum { FRAGMENT_BITS_V4 = 0x3fff, FRAGMENT_BITS_V6 = 0xfff9, EXTENSION_SIZE_MIN = 8 };

/* Where the two ends of a flow are named in a packet. */
struct flow {
    const uint8_t *source;
    const uint8_t *destination;
    uint16_t ports[2]; /* 0 of a fragment */
    uint8_t family;
};

/* A packet's upper layer. */
struct upper {
    struct bytes bytes;
    uint8_t protocol;
    bool is_fragment; /* so that 'bytes' may be of its middle */
};

static uint32_t hash_v4(const struct siphash_key *key, const struct flow *f)
{
    uint64_t one = (uint64_t)load_be32(f->source) << 16 | f->ports[0];
    uint64_t other = (uint64_t)load_be32(f->destination) << 16 | f->ports[1];
    const uint64_t words[2] = {one < other ? one : other, one < other ? other : one};

    return (uint32_t)siphash_words(key, words, 2);
}

static uint32_t hash_v6(const struct siphash_key *key, const struct flow *f)
{
    int order = memcmp(f->source, f->destination, 16);
    bool is_swapped = order > 0 || (order == 0 && f->ports[0] > f->ports[1]);
    uint64_t words[5];

    memcpy(words, is_swapped ? f->destination : f->source, 16);
    memcpy(words + 2, is_swapped ? f->source : f->destination, 16);
    words[4] = (uint64_t)f->ports[is_swapped] << 16 | f->ports[!is_swapped];
    return (uint32_t)siphash_words(key, words, 5);
}

static uint32_t flow_hash_of(const struct siphash_key *key, const struct flow *f)
{
    return f->family == 4 ? hash_v4(key, f) : hash_v6(key, f);
}

static bool read_v4(struct bytes packet, struct flow *f, struct upper *u)
{
    if (packet.size < IPV4_SIZE || packet.ptr[0] >> 4 != 4)
        return false;
    size_t header_size = (size_t)(packet.ptr[0] & 0x0f) * 4;
    if (header_size < IPV4_SIZE || header_size > packet.size)
        return false;
    f->family = 4;
    f->source = packet.ptr + 12;
    f->destination = packet.ptr + 16;
    u->protocol = packet.ptr[9];
    u->is_fragment = (load_be16(packet.ptr + 6) & FRAGMENT_BITS_V4) != 0;
    u->bytes = bytes_from(packet, header_size);
    return true;
}

static bool read_v6(struct bytes packet, struct flow *f, struct upper *u)
{
    if (packet.size < IPV6_SIZE || packet.ptr[0] >> 4 != 6)
        return false;
    f->family = 6;
    f->source = packet.ptr + 8;
    f->destination = packet.ptr + 24;
    u->protocol = packet.ptr[6];
    u->is_fragment = false;
    u->bytes = bytes_from(packet, IPV6_SIZE);
    for (unsigned i = 0; i < EXTENSIONS_MAX && ipv6_is_extension(u->protocol); i++) {
        const uint8_t *h = u->bytes.ptr;
        if (u->bytes.size < EXTENSION_SIZE_MIN)
            return false;
        bool is_fragment_header = u->protocol == PROTOCOL_FRAGMENT;
        size_t size = is_fragment_header ? 8 : 8 + (size_t)h[1] * 8;
        if (size > u->bytes.size)
            return false;
        if (is_fragment_header && (load_be16(h + 2) & FRAGMENT_BITS_V6) != 0) {
            u->is_fragment = true;
            return true;
        }
        u->protocol = h[0];
        u->bytes = bytes_from(u->bytes, size);
    }
    return true;
}

static bool read_packet(struct bytes packet, struct flow *f, struct upper *u)
{
    if (packet.size == 0)
        return false;
    return packet.ptr[0] >> 4 == 4 ? read_v4(packet, f, u) : read_v6(packet, f, u);
}

/* The ports; false: no flow. */
static bool read_ports(struct flow *f, const struct upper *u)
{
    f->ports[0] = 0;
    f->ports[1] = 0;
    if (u->is_fragment)
        return true;
    if ((u->protocol != PROTOCOL_TCP && u->protocol != PROTOCOL_UDP) || u->bytes.size < 4)
        return false;
    f->ports[0] = load_be16(u->bytes.ptr);
    f->ports[1] = load_be16(u->bytes.ptr + 2);
    return true;
}

/* Whether the packet is an error about another one, which it quotes. */
static bool quotes_packet(const struct flow *f, const struct upper *u)
{
    if (u->is_fragment || u->bytes.size < ICMP_SIZE)
        return false;
    uint8_t type = u->bytes.ptr[0];
    if (f->family == 6)
        return u->protocol == PROTOCOL_ICMPV6 && type < ICMP6_INFORMATIONAL;
    return u->protocol == PROTOCOL_ICMP &&
           (type == ICMP_UNREACHABLE || type == ICMP_SOURCE_QUENCH || type == ICMP_TIME_EXCEEDED ||
            type == ICMP_PARAMETER_PROBLEM);
}

bool steer_frame_hash(const struct siphash_key *key, struct bytes frame, uint32_t *ret_hash)
{
    size_t l2_size = ETHERNET_SIZE;
    struct flow flow;
    struct upper upper;

    if (frame.size < ETHERNET_SIZE + VLAN_TAG_SIZE)
        return false;
    uint16_t type = load_be16(frame.ptr + 12);
    if (type == ETHERTYPE_VLAN) {
        type = load_be16(frame.ptr + 16);
        l2_size += VLAN_TAG_SIZE;
    }
    if (type != ETHERTYPE_IPV4 && type != ETHERTYPE_IPV6)
        return false;
    if (!read_packet(bytes_from(frame, l2_size), &flow, &upper))
        return false;
    if (quotes_packet(&flow, &upper) &&
        !read_packet(bytes_from(upper.bytes, ICMP_SIZE), &flow, &upper))
        return false;
    if (!read_ports(&flow, &upper))
        return false;
    *ret_hash = flow_hash_of(key, &flow);
    return true;
}

uint32_t steer_flow_hash(const struct siphash_key *key, const struct endpoint *one,
                         const struct endpoint *other)
{
    const struct flow flow = {.source = one->addr,
                              .destination = other->addr,
                              .ports = {one->port, other->port},
                              .family = one->family};

    return flow_hash_of(key, &flow);
}
