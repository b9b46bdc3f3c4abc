#include "common/cursor.h"
#include "dataplane/net/stack.h"

enum { EXTENSIONS_MAX = 8 };

static bool is_solicited_node(const struct net_stack *s, const uint8_t *d)
{
    static const uint8_t prefix[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};

    if (memcmp(d, prefix, sizeof(prefix)) != 0)
        return false;
    if (memcmp(d + 13, s->link_local + 13, 3) == 0)
        return true;
    for (uint32_t i = 0; i < s->config.address_count; i++)
        if (s->config.addresses[i].family == 6 &&
            memcmp(s->config.addresses[i].addr + 13, d + 13, 3) == 0)
            return true;
    return false;
}

static bool is_our_multicast(const struct net_stack *s, const uint8_t *d)
{
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

    return memcmp(d, all_nodes, 16) == 0 || is_solicited_node(s, d);
}

/* One extension header at the cursor; 0, or -1: drop, counted. */
static int extension_skip(struct net_stack *s, struct cursor *c, uint8_t *protocol)
{
    uint8_t type = *protocol;
    uint8_t next = cursor_u8(c);
    uint8_t length = cursor_u8(c);

    if (type == PROTOCOL_FRAGMENT) {
        /* An atomic fragment (RFC 6946) is a whole packet. */
        if ((cursor_be16(c) & 0xfff9) != 0) {
            NET_COUNT(s, net_rx_fragments);
            return -1;
        }
        cursor_skip(c, 4);
    } else {
        struct bytes rest = cursor_take(c, 6 + (size_t)length * 8);
        /* A source route with hops left asks us to forward: we do not. */
        if (type == PROTOCOL_ROUTING && rest.size >= 2 && rest.ptr[1] != 0) {
            NET_COUNT(s, net_rx_ip_options);
            return -1;
        }
    }
    if (!cursor_is_ok(c)) {
        NET_COUNT(s, net_rx_short);
        return -1;
    }
    *protocol = next;
    return 0;
}

/* Walks the extension headers (RFC 8200 §4), a bounded number of them. */
static int extensions_skip(struct net_stack *s, struct net_rx *rx)
{
    struct cursor c = cursor_of(rx->payload);

    for (unsigned count = 0;; count++) {
        switch (rx->protocol) {
        case PROTOCOL_HOP_BY_HOP:
        case PROTOCOL_ROUTING:
        case PROTOCOL_FRAGMENT:
        case PROTOCOL_DESTINATION_OPTIONS:
            break;
        default:
            rx->payload = cursor_take_rest(&c);
            return 0;
        }
        if (count == EXTENSIONS_MAX || (rx->protocol == PROTOCOL_HOP_BY_HOP && count > 0)) {
            NET_COUNT(s, net_rx_ip_options);
            return -1;
        }
        if (extension_skip(s, &c, &rx->protocol) < 0)
            return -1;
    }
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

void ipv6_input(struct net_stack *s, struct net_rx *rx, struct bytes packet)
{
    if (!ipv6_header_is_ok(s, packet))
        return;

    rx->family = 6;
    rx->l3 = bytes_of(packet.ptr, IPV6_SIZE + (size_t)load_be16(packet.ptr + 4));
    rx->payload = bytes_from(rx->l3, IPV6_SIZE);
    rx->protocol = packet.ptr[6];
    rx->hop_limit = packet.ptr[7];
    rx->source = packet.ptr + 8;
    rx->destination = packet.ptr + 24;
    if (rx->source[0] == 0xff || address_is_own(s, 6, rx->source)) {
        NET_COUNT(s, net_rx_bad_source);
        return;
    }
    if (!address_is_own(s, 6, rx->destination)) {
        if (!is_our_multicast(s, rx->destination)) {
            NET_COUNT(s, net_rx_not_ours);
            return;
        }
        rx->is_multicast = true;
    }
    if (extensions_skip(s, rx) < 0)
        return;
    switch (rx->protocol) {
    case PROTOCOL_TCP:
        tcp_input(s, rx);
        break;
    case PROTOCOL_UDP:
        udp_input(s, rx);
        break;
    case PROTOCOL_ICMPV6:
        icmp6_input(s, rx);
        break;
    default:
        NET_COUNT(s, net_rx_other_protocol);
    }
}
