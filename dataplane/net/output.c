#include <errno.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

size_t packet_write_ethernet(struct net_stack *s, struct net_packet *packet, const uint8_t *mac,
                             uint16_t type)
{
    uint8_t *h = packet->header;

    memcpy(h, mac, 6);
    memcpy(h + 6, s->info->mac, 6);
    if (s->config.vlan != 0) {
        store_be16(h + 12, ETHERTYPE_VLAN);
        store_be16(h + 14, s->config.vlan);
    }
    store_be16(h + s->l2_size - 2, type);
    packet->out = (struct packet_out){.l2_size = s->l2_size, .header_size = s->l2_size};
    return s->l2_size;
}

static void write_ipv4(uint8_t *h, const uint8_t *source, const uint8_t *destination,
                       uint8_t protocol, uint8_t hop_limit, size_t payload_size)
{
    h[0] = 0x45;
    h[1] = 0;
    store_be16(h + 2, (uint16_t)(IPV4_SIZE + payload_size));
    store_be16(h + 4, 0);      /* atomic datagram: the id means nothing (RFC 6864 §4.1) */
    store_be16(h + 6, 0x4000); /* do not fragment */
    h[8] = hop_limit;
    h[9] = protocol;
    store_be16(h + 10, 0);
    memcpy(h + 12, source, 4);
    memcpy(h + 16, destination, 4);
    store_be16(h + 10, checksum_finish(checksum_sum(h, IPV4_SIZE)));
}

static void write_ipv6(uint8_t *h, const uint8_t *source, const uint8_t *destination,
                       uint8_t protocol, uint8_t hop_limit, size_t payload_size)
{
    store_be32(h, 0x60000000);
    store_be16(h + 4, (uint16_t)payload_size);
    h[6] = protocol;
    h[7] = hop_limit;
    memcpy(h + 8, source, 16);
    memcpy(h + 24, destination, 16);
}

size_t packet_write_ip(struct net_stack *s, struct net_packet *packet, uint8_t family,
                       const uint8_t *source, const uint8_t *destination, uint8_t protocol,
                       uint8_t hop_limit, size_t payload_size)
{
    static const uint8_t nobody[6];
    size_t at =
        packet_write_ethernet(s, packet, nobody, family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);

    if (family == 4) {
        write_ipv4(packet->header + at, source, destination, protocol, hop_limit, payload_size);
        packet->out.l3_size = IPV4_SIZE;
    } else {
        write_ipv6(packet->header + at, source, destination, protocol, hop_limit, payload_size);
        packet->out.l3_size = IPV6_SIZE;
        packet->out.is_ipv6 = 1;
    }
    packet->out.header_size = (uint16_t)(at + packet->out.l3_size);
    return packet->out.header_size;
}

void packet_set_class(struct net_packet *packet, uint8_t traffic_class)
{
    uint8_t *ip = packet->header + packet->out.header_size - packet->out.l3_size;

    if (packet->out.is_ipv6) {
        store_be16(ip, (uint16_t)(0x6000 | traffic_class << 4));
        return;
    }
    ip[1] = traffic_class;
    store_be16(ip + 10, 0);
    store_be16(ip + 10, checksum_finish(checksum_sum(ip, IPV4_SIZE)));
}

int packet_commit(struct net_stack *s, const struct net_packet *packet, bool is_control)
{
    uint8_t *header = s->driver->tx_begin(s->queue, is_control);

    if (header == NULL) {
        NET_COUNT(s, net_tx_no_packet);
        return -ENOBUFS;
    }
    memcpy(header, packet->header, packet->out.header_size);
    return s->driver->tx_commit(s->queue, &packet->out);
}

int packet_route(struct net_stack *s, const struct net_packet *packet, uint8_t family,
                 const uint8_t *destination, bool is_control)
{
    uint32_t index;
    int error = neighbour_route(s, family, destination, &index);

    if (error < 0) {
        NET_COUNT(s, net_tx_no_route);
        return error;
    }
    neighbour_send(s, index, packet, is_control);
    return 0;
}

void multicast_mac_v6(const uint8_t *addr, uint8_t ret_mac[static 6])
{
    ret_mac[0] = 0x33;
    ret_mac[1] = 0x33;
    memcpy(ret_mac + 2, addr + 12, 4);
}
