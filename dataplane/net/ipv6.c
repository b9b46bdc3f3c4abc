#include "dataplane/net/stack.h"

static bool is_solicited_node(const struct net_stack *s, const uint8_t *d)
{
    static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};

    if (memcmp(d, prefix, sizeof(prefix)) != 0)
        return false;
    for (uint32_t i = 0; i < s->own_count; i++)
        if (s->own[i].address.family == 6 && s->own[i].state != OWN_FREE &&
            memcmp(s->own[i].address.addr + 13, d + 13, 3) == 0)
            return true;
    return false;
}

static bool is_our_multicast(const struct net_stack *s, const uint8_t *d)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

    return memcmp(d, all_nodes, 16) == 0 || is_solicited_node(s, d);
}

/* Checks the fixed header; counts why not. */
static bool ipv6_header_is_ok(struct net_stack *s, struct bytes packet)
{
    if (!s->has_v6) {
        NET_COUNT(s, net_rx_not_ours);
        return false;
    }
    if (packet.size < IPV6_SIZE) {
        NET_COUNT(s, net_rx_short);
        return false;
    }
    if (packet.ptr[0] >> 4 != 6) {
        NET_COUNT(s, net_rx_bad_version);
        return false;
    }
    if (load_be16(packet.ptr + 4) > packet.size - IPV6_SIZE) {
        NET_COUNT(s, net_rx_short);
        return false;
    }
    return true;
}

/* Addresses that nobody sends from (RFC 4291 §2.7, §2.5.3, §2.5.5.2); "unspecified" is for ND. */
static bool source_is_bad(const struct net_stack *s, const uint8_t *source)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    static const uint8_t loopback[16] = {[15] = 1};

    return source[0] == 0xff || memcmp(source, mapped, sizeof(mapped)) == 0 ||
           memcmp(source, loopback, 16) == 0 || address_is_own(s, 6, source);
}

/* Whether the packet is for us, or for us among many; counts why not. */
static bool ipv6_destination_is_ok(struct net_stack *s, struct net_rx *rx)
{
    static const uint8_t loopback[16] = {[15] = 1};
    const uint8_t *d = rx->destination;

    if (address_is_own(s, 6, d)) {
        if (!rx->is_l2_multicast)
            return true;
        NET_COUNT(s, net_rx_wrong_cast);
        return false;
    }
    if (address_is_zero(6, d) || memcmp(d, loopback, 16) == 0) {
        NET_COUNT(s, net_rx_bad_destination);
        return false;
    }
    if (!is_our_multicast(s, d)) {
        if (!exception_put(s, rx))
            NET_COUNT(s, net_rx_not_ours);
        return false;
    }
    rx->is_multicast = true;
    return true;
}

void ipv6_input(struct net_stack *s, struct net_rx *rx, struct bytes packet)
{
    size_t next_header_at = 6;

    if (!ipv6_header_is_ok(s, packet))
        return;

    rx->family = 6;
    rx->l3 = bytes_of(packet.ptr, IPV6_SIZE + (size_t)load_be16(packet.ptr + 4));
    rx->payload = bytes_from(rx->l3, IPV6_SIZE);
    rx->protocol = packet.ptr[6];
    rx->hop_limit = packet.ptr[7];
    rx->source = packet.ptr + 8;
    rx->destination = packet.ptr + 24;
    if (source_is_bad(s, rx->source)) {
        NET_COUNT(s, net_rx_bad_source);
        return;
    }
    if (!ipv6_destination_is_ok(s, rx))
        return;
    if (ipv6_is_extension(rx->protocol) && ipv6_extensions(s, rx, &next_header_at) < 0)
        return;
    if (address_is_zero(6, rx->source) && rx->protocol != PROTOCOL_ICMPV6) {
        NET_COUNT(s, net_rx_bad_source);
        return;
    }
    ip_deliver(s, rx, next_header_at);
}
