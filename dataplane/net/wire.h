/* wire.h - header layouts and constants of the protocols below TCP, and big-endian access. */
#ifndef DATAPLANE_NET_WIRE_H
#define DATAPLANE_NET_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    ETHERNET_SIZE = 14,
    VLAN_TAG_SIZE = 4,
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_ARP = 0x0806,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_IPV6 = 0x86dd,

    ARP_SIZE = 28, /* Ethernet and IPv4, RFC 826 */
    ARP_REQUEST = 1,
    ARP_REPLY = 2,

    IPV4_SIZE = 20,
    IPV6_SIZE = 40,
    IPV4_MTU_MIN = 576, /* what we accept as a path MTU: RFC 1191 allows less, attackers use it */
    IPV6_MTU_MIN = 1280,
    HOP_LIMIT_DEFAULT = 64,
    IP_ECN_MASK = 3, /* RFC 3168 §5: the lowest bits of IPv4's second octet, and of IPv6's class */
    IP_ECN_NONE = 0,
    IP_ECN_ECT0 = 2,
    IP_ECN_CE = 3,

    PROTOCOL_HOP_BY_HOP = 0,
    PROTOCOL_ICMP = 1,
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
    PROTOCOL_ROUTING = 43,
    PROTOCOL_FRAGMENT = 44,
    PROTOCOL_ICMPV6 = 58,
    PROTOCOL_NONE = 59,
    PROTOCOL_DESTINATION_OPTIONS = 60,

    EXTENSIONS_MAX = 8, /* IPv6 extension headers of one packet, as RFC 8504 §5.3 suggests */

    UDP_SIZE = 8,
    TCP_SIZE = 20
};

/* Those whose length is known, and that lead to another header (RFC 8200 §4). */
static inline bool ipv6_is_extension(uint8_t protocol)
{
    return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING ||
           protocol == PROTOCOL_FRAGMENT || protocol == PROTOCOL_DESTINATION_OPTIONS;
}

static inline uint16_t load_be16(const uint8_t *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof(value));
    return __builtin_bswap16(value);
}

static inline uint32_t load_be32(const uint8_t *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof(value));
    return __builtin_bswap32(value);
}

static inline void store_be16(uint8_t *p, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(p, &value, sizeof(value));
}

static inline void store_be32(uint8_t *p, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(p, &value, sizeof(value));
}

#endif
