#include <errno.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

static bool udp_checksum_is_ok(struct net_stack *s, const struct net_rx *rx, struct bytes datagram)
{
    if (load_be16(datagram.ptr + 6) == 0) { /* none sent: not over IPv6 (RFC 8200 §8.1) */
        if (rx->family == 6)
            NET_COUNT(s, net_udp_no_checksum);
        return rx->family == 4;
    }
    if ((rx->flags & PACKET_IN_L4_CHECKSUM_GOOD) != 0)
        return true;
    uint32_t sum = checksum_pseudo_header(rx->source, rx->destination, rx->family, PROTOCOL_UDP) +
                   (uint32_t)datagram.size + checksum_sum(datagram.ptr, datagram.size);
    if ((rx->flags & PACKET_IN_L4_CHECKSUM_BAD) == 0 && checksum_fold(sum) == 0xffff)
        return true;
    NET_COUNT(s, net_udp_checksum);
    return false;
}

void udp_input(struct net_stack *s, const struct net_rx *rx)
{
    struct bytes datagram = rx->payload;

    if (datagram.size < UDP_SIZE || load_be16(datagram.ptr + 4) < UDP_SIZE ||
        load_be16(datagram.ptr + 4) > datagram.size) {
        NET_COUNT(s, net_udp_short);
        return;
    }
    datagram.size = load_be16(datagram.ptr + 4);
    if (!udp_checksum_is_ok(s, rx, datagram))
        return;
    uint16_t port = load_be16(datagram.ptr + 2);
    for (uint32_t i = 0; i < s->bind_count; i++) {
        const struct udp_bind *b = &s->binds[i];
        if (!endpoint_takes(&b->local, rx->family, rx->destination, port))
            continue;
        struct endpoint local = endpoint_of(rx->family, rx->destination, port);
        struct endpoint peer = endpoint_of(rx->family, rx->source, load_be16(datagram.ptr));
        NET_COUNT(s, net_udp_received);
        b->events->datagram(b->user, &local, &peer, bytes_from(datagram, UDP_SIZE), s->now_us);
        return;
    }
    if (exception_put(s, rx))
        return;
    NET_COUNT(s, net_udp_no_listener);
    icmp_port_unreachable(s, rx);
}

int udp_bind(struct net_stack *s, const struct endpoint *local,
             const struct datagram_events *events, void *user)
{
    if (!endpoint_is_any(local) && !address_is_configured(s, local->family, local->addr))
        return -EADDRNOTAVAIL;
    for (uint32_t i = 0; i < s->bind_count; i++)
        if (endpoint_is_equal(&s->binds[i].local, local))
            return -EADDRINUSE;
    if (s->bind_count == UDP_BINDS_MAX)
        return -ENOSPC;
    s->binds[s->bind_count++] = (struct udp_bind){.local = *local, .events = events, .user = user};
    return 0;
}

/* Our address to send from: what 'local' says, or the one for 'peer' when it says "any". */
static const uint8_t *udp_source(const struct net_stack *s, const struct endpoint *local,
                                 const struct endpoint *peer)
{
    const uint8_t *source = local->addr;

    if (endpoint_is_any(local))
        source = address_for(s, peer->family, peer->addr);
    else if (local->family != peer->family || !address_is_own(s, local->family, local->addr))
        return NULL;
    if (source == NULL)
        return NULL;
    for (uint32_t i = 0; i < s->bind_count; i++)
        if (endpoint_takes(&s->binds[i].local, peer->family, source, local->port))
            return source;
    return NULL;
}

static void udp_write_checksum(struct net_stack *s, struct net_packet *packet, uint8_t *h,
                               uint32_t pseudo_sum, uint16_t size)
{
    if ((s->info->offloads & PORT_OFFLOAD_UDP_CHECKSUM) != 0) {
        store_be16(h + 6, checksum_fold(pseudo_sum + size));
        packet->out.offloads = PORT_OFFLOAD_UDP_CHECKSUM;
        return;
    }
    uint32_t sum = pseudo_sum + size + checksum_sum(h, UDP_SIZE) +
                   checksum_extents(&s->slice_sums, packet->out.extents, packet->out.extent_count);
    uint16_t checksum = checksum_finish(sum);
    store_be16(h + 6, checksum != 0 ? checksum : 0xffff); /* RFC 768: 0 says "none" */
}

/* As packet_route(), remembering the way to the latest destination: datagrams come in bursts. */
static int udp_route(struct net_stack *s, const struct net_packet *packet,
                     const struct endpoint *peer)
{
    struct udp_way *way = &s->udp_way;
    bool is_same = way->now_us == s->now_us && way->family == peer->family &&
                   memcmp(way->addr, peer->addr, sizeof(way->addr)) == 0 &&
                   way->generation == s->neighbours.entries[way->neighbour].generation;

    if (!is_same) {
        int error = neighbour_route(s, peer->family, peer->addr, &way->neighbour);
        if (error < 0) {
            NET_COUNT(s, net_tx_no_route);
            way->family = 0;
            return error;
        }
        way->now_us = s->now_us;
        way->family = peer->family;
        memcpy(way->addr, peer->addr, sizeof(way->addr));
        way->generation = s->neighbours.entries[way->neighbour].generation;
    }
    neighbour_send(s, way->neighbour, packet, false);
    return 0;
}

int udp_send(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
             const struct extent *extents, size_t count)
{
    struct net_packet packet;
    const uint8_t *source = udp_source(s, local, peer);
    size_t ip_size = peer->family == 4 ? IPV4_SIZE : IPV6_SIZE;
    uint64_t size = UDP_SIZE;

    if (source == NULL)
        return -EADDRNOTAVAIL;
    for (size_t i = 0; i < count; i++)
        size += extents[i].size;
    if (size > s->mtu - ip_size || count > s->extents_max)
        return -EMSGSIZE;

    size_t at = packet_write_ip(s, &packet, peer->family, source, peer->addr, PROTOCOL_UDP,
                                HOP_LIMIT_DEFAULT, size);
    uint8_t *h = packet.header + at;
    store_be16(h, local->port);
    store_be16(h + 2, peer->port);
    store_be16(h + 4, (uint16_t)size);
    store_be16(h + 6, 0);
    packet.out.header_size = (uint16_t)(at + UDP_SIZE);
    packet.out.l4_size = UDP_SIZE;
    packet.out.extents = extents;
    packet.out.extent_count = (uint16_t)count;
    uint32_t pseudo = checksum_pseudo_header(source, peer->addr, peer->family, PROTOCOL_UDP);
    udp_write_checksum(s, &packet, h, pseudo, (uint16_t)size);
    NET_COUNT(s, net_udp_sent);
    return udp_route(s, &packet, peer);
}
