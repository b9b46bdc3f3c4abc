#include "dataplane/net/stack.h"

/* Whether the frame is for us, as the VLAN and its destination say. '*ret_type' and
 * '*ret_l2_size' are what its headers say. */
static bool ethernet_accepts(struct net_stack *s, struct bytes frame, uint16_t *ret_type,
                             size_t *ret_l2_size)
{
    const uint8_t *h = frame.ptr;
    uint16_t type = load_be16(h + 12);
    uint16_t vlan = 0;
    size_t l2_size = ETHERNET_SIZE;

    if ((h[0] & 1) == 0 && memcmp(h, s->info->mac, 6) != 0) {
        NET_COUNT(s, net_rx_other_mac);
        return false;
    }
    if ((h[6] & 1) != 0) {
        NET_COUNT(s, net_rx_bad_source);
        return false;
    }
    if (type == ETHERTYPE_VLAN) {
        if (frame.size < ETHERNET_SIZE + VLAN_TAG_SIZE) {
            NET_COUNT(s, net_rx_short);
            return false;
        }
        vlan = load_be16(h + 14) & 0x0fff; /* 0: a priority tag, else untagged */
        type = load_be16(h + 16);
        l2_size += VLAN_TAG_SIZE;
    }
    if (vlan != s->config.vlan) {
        NET_COUNT(s, net_rx_other_vlan);
        return false;
    }
    *ret_type = type;
    *ret_l2_size = l2_size;
    return true;
}

void ethernet_input(struct net_stack *s, const struct packet_in *packet)
{
    struct net_rx rx = {.frame = packet->frame, .flags = packet->flags};
    uint16_t type;
    size_t l2_size;

    NET_COUNT(s, net_rx_packets);
    if (packet->frame.size < ETHERNET_SIZE) {
        NET_COUNT(s, net_rx_short);
        return;
    }
    if (!ethernet_accepts(s, packet->frame, &type, &l2_size))
        return;

    struct bytes payload = bytes_from(packet->frame, l2_size);
    rx.l2_size = (uint8_t)l2_size;
    rx.source_mac = packet->frame.ptr + 6;
    rx.is_l2_multicast = (packet->frame.ptr[0] & 1) != 0;
    rx.is_multicast = rx.is_l2_multicast;
    switch (type) {
    case ETHERTYPE_IPV4:
        ipv4_input(s, &rx, payload);
        break;
    case ETHERTYPE_IPV6:
        ipv6_input(s, &rx, payload);
        break;
    case ETHERTYPE_ARP:
        arp_input(s, &rx, payload);
        break;
    default:
        if (!exception_put(s, &rx))
            NET_COUNT(s, net_rx_other_type);
    }
}
