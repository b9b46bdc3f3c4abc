#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

enum { FLAG_MORE = 0x2000, OFFSET_MASK = 0x1fff };

/* Addresses that no packet may come from (RFC 1122 §3.2.1.3). */
static bool source_is_bad(const struct net_stack *s, const uint8_t *source)
{
    return source[0] == 0 || source[0] == 127 || source[0] >= 224 ||
           address_is_broadcast(s, source) || address_is_own(s, 4, source);
}

/* Fragments are dropped, all of them, so that none can overlap another: TCP finds its path's MTU
 * and our datagrams are small. The classes say who sends them. */
static void count_fragment(struct net_stack *s, struct bytes packet, uint16_t flags_offset)
{
    size_t offset = (size_t)(flags_offset & OFFSET_MASK) * 8;
    size_t size = load_be16(packet.ptr + 2) - (size_t)IPV4_SIZE;
    bool has_more = (flags_offset & FLAG_MORE) != 0;

    NET_COUNT(s, net_rx_fragments);
    if ((has_more && (size % 8 != 0 || size == 0)) || offset + size > UINT16_MAX - IPV4_SIZE)
        NET_COUNT(s, net_rx_fragments_bad);
    else if ((offset == 0 && size < TCP_SIZE) || offset == 8) /* RFC 1858 §3, RFC 3128 */
        NET_COUNT(s, net_rx_fragments_tiny);
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
    if (header_size < IPV4_SIZE) {
        NET_COUNT(s, net_rx_bad_header);
        return false;
    }
    if (total_size < header_size) {
        NET_COUNT(s, net_rx_bad_length);
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
    uint16_t flags_offset = load_be16(h + 6);
    if ((flags_offset & (FLAG_MORE | OFFSET_MASK)) != 0) {
        count_fragment(s, packet, flags_offset);
        return false;
    }
    return true;
}

/* Whether the packet is for us, or for us among many; counts why not. */
static bool ipv4_destination_is_ok(struct net_stack *s, struct net_rx *rx)
{
    const uint8_t *d = rx->destination;

    if (address_is_own(s, 4, d)) {
        if (!rx->is_l2_multicast)
            return true;
        NET_COUNT(s, net_rx_wrong_cast); /* RFC 1122 §3.3.6 */
        return false;
    }
    if (d[0] == 0 || d[0] == 127) {
        NET_COUNT(s, net_rx_bad_destination);
        return false;
    }
    bool is_multicast = d[0] >= 224 && d[0] < 240;
    if (!is_multicast && !address_is_broadcast(s, d)) {
        if (!exception_put(s, rx))
            NET_COUNT(s, net_rx_not_ours);
        return false;
    }
    rx->is_multicast = true;
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
    if (ipv4_destination_is_ok(s, rx))
        ip_deliver(s, rx, 9);
}
