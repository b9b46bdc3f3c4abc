#include "dataplane/net/stack.h"

enum { DEFEND_INTERVAL_US = 10000000 };

static const uint8_t broadcast_mac[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void arp_send(struct net_stack *s, uint16_t operation, const uint8_t *to_mac,
                     const uint8_t *sender, const uint8_t *target_mac, const uint8_t *target)
{
    struct net_packet packet;
    size_t at = packet_write_ethernet(s, &packet, to_mac, ETHERTYPE_ARP);
    uint8_t *h = packet.header + at;

    store_be16(h, 1); /* Ethernet */
    store_be16(h + 2, ETHERTYPE_IPV4);
    h[4] = 6;
    h[5] = 4;
    store_be16(h + 6, operation);
    memcpy(h + 8, s->info->mac, 6);
    memcpy(h + 14, sender, 4);
    memcpy(h + 18, target_mac, 6);
    memcpy(h + 24, target, 4);
    packet.out.header_size = (uint16_t)(at + ARP_SIZE);
    (void)packet_commit(s, &packet, true);
}

void arp_request(struct net_stack *s, const uint8_t *target, const uint8_t *mac)
{
    static const uint8_t nobody[6];
    const uint8_t *sender = address_for(s, 4, target);

    if (sender != NULL)
        arp_send(s, ARP_REQUEST, mac != NULL ? mac : broadcast_mac, sender,
                 mac != NULL ? mac : nobody, target);
}

void arp_announce(struct net_stack *s, const uint8_t *address)
{
    static const uint8_t nobody[6];

    arp_send(s, ARP_REQUEST, broadcast_mac, address, nobody, address); /* RFC 5227 §2.3 */
}

/* Somebody else claims an address of ours: we say that it is not so, but do not quarrel
 * (RFC 5227 §2.4 b). */
static void defend(struct net_stack *s, const uint8_t *address)
{
    if (s->defended_us != 0 && s->now_us - s->defended_us < DEFEND_INTERVAL_US)
        return;
    s->defended_us = s->now_us;
    arp_announce(s, address);
}

void arp_input(struct net_stack *s, const struct net_rx *rx, struct bytes message)
{
    const uint8_t *h = message.ptr;

    if (message.size < ARP_SIZE) {
        NET_COUNT(s, net_arp_bad);
        return;
    }
    uint16_t operation = load_be16(h + 6);
    const uint8_t *sender_mac = h + 8;
    const uint8_t *sender = h + 14;
    const uint8_t *target = h + 24;
    if (load_be16(h) != 1 || load_be16(h + 2) != ETHERTYPE_IPV4 || h[4] != 6 || h[5] != 4 ||
        (operation != ARP_REQUEST && operation != ARP_REPLY) || (sender_mac[0] & 1) != 0) {
        NET_COUNT(s, net_arp_bad);
        return;
    }
    if (address_is_own(s, 4, sender)) {
        NET_COUNT(s, net_address_conflicts);
        defend(s, sender);
        return;
    }
    bool is_probe = address_is_zero(4, sender); /* RFC 5227 §2.1.1: answer, but learn nothing */
    if (!is_probe && (!address_is_on_link(s, 4, sender) || address_is_broadcast(s, sender))) {
        NET_COUNT(s, net_arp_bad);
        return;
    }

    bool is_for_us = address_is_own(s, 4, target);
    if (operation == ARP_REPLY) {
        if (is_for_us && !is_probe)
            news_neighbour(s, 4, sender, sender_mac);
        else if (!is_probe)
            neighbour_learn(s, 4, sender, sender_mac, NEIGHBOUR_CLAIMED);
        (void)exception_put(s, rx); /* the kernel may have asked */
        return;
    }
    if (!is_for_us) {
        if (!is_probe && memcmp(sender, target, 4) == 0) /* an announcement */
            neighbour_learn(s, 4, sender, sender_mac, NEIGHBOUR_CLAIMED);
        (void)exception_put(s, rx); /* it may have addresses that we do not have */
        return;
    }
    NET_COUNT(s, net_arp_requests);
    if (!is_probe)
        neighbour_learn(s, 4, sender, sender_mac, NEIGHBOUR_SEEN);
    arp_send(s, ARP_REPLY, sender_mac, target, sender_mac, sender);
}
