#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

/* Addresses that no packet may come from (RFC 1122 §3.2.1.3). */
static bool source_is_bad(const struct net_stack *s, const uint8_t *source)
{
    return source[0] == 0 || source[0] == 127 || source[0] >= 224 ||
           address_is_broadcast(s, source) || address_is_own(s, 4, source);
}

/* Checks the header; counts why not. */
static bool ipv4_header_is_ok(struct net_stack *s, const struct net_rx *rx, struct bytes packet)
{
    const uint8_t *h = packet.ptr;

    if (packet.size < IPV4_SIZE) {
        NET_COUNT(s, net_rx_short);
        return false;
    }
    if (h[0] >> 4 != 4) {
        NET_COUNT(s, net_rx_bad_version);
        return false;
    }
    size_t header_size = (size_t)(h[0] & 0x0f) * 4;
    size_t total_size = load_be16(h + 2);
    if (header_size < IPV4_SIZE || total_size < header_size) {
        NET_COUNT(s, net_rx_bad_header);
        return false;
    }
    if (total_size > packet.size) {
        NET_COUNT(s, net_rx_short);
        return false;
    }
    bool is_good = (rx->flags & PACKET_IN_IP_CHECKSUM_GOOD) != 0;
    if ((rx->flags & PACKET_IN_IP_CHECKSUM_BAD) != 0 ||
        (!is_good && checksum_sum(h, header_size) != 0xffff)) {
        NET_COUNT(s, net_rx_ip_checksum);
        return false;
    }
    if (header_size > IPV4_SIZE) {
        NET_COUNT(s, net_rx_ip_options);
        return false;
    }
    if ((load_be16(h + 6) & 0x3fff) != 0) { /* more fragments, or an offset */
        NET_COUNT(s, net_rx_fragments);
        return false;
    }
    return true;
}

void ipv4_input(struct net_stack *s, struct net_rx *rx, struct bytes packet)
{
    if (!ipv4_header_is_ok(s, rx, packet))
        return;

    rx->family = 4;
    rx->l3 = bytes_of(packet.ptr, load_be16(packet.ptr + 2));
    rx->payload = bytes_from(rx->l3, IPV4_SIZE);
    rx->hop_limit = packet.ptr[8];
    rx->protocol = packet.ptr[9];
    rx->source = packet.ptr + 12;
    rx->destination = packet.ptr + 16;
    if (source_is_bad(s, rx->source)) {
        NET_COUNT(s, net_rx_bad_source);
        return;
    }
    if (!address_is_own(s, 4, rx->destination)) {
        bool is_multicast = rx->destination[0] >= 224 && rx->destination[0] < 240;
        if (!is_multicast && !address_is_broadcast(s, rx->destination)) {
            NET_COUNT(s, net_rx_not_ours);
            return;
        }
        rx->is_multicast = true;
    }
    switch (rx->protocol) {
    case PROTOCOL_TCP:
        tcp_input(s, rx);
        break;
    case PROTOCOL_UDP:
        udp_input(s, rx);
        break;
    case PROTOCOL_ICMP:
        icmp_input(s, rx);
        break;
    default:
        NET_COUNT(s, net_rx_other_protocol);
    }
}
