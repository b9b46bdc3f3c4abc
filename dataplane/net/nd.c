/* Neighbour discovery, RFC 4861: solicitations, advertisements, and routers, as far as a host
 * with static addresses needs them. */
#include "common/check.h"
#include "common/cursor.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"

enum {
    OPTION_SOURCE_MAC = 1,
    OPTION_TARGET_MAC = 2,
    HOP_LIMIT_ND = 255,
    FLAG_SOLICITED = 0x40,
    FLAG_OVERRIDE = 0x20,
    SOLICITS_MAX = 3,
    SOLICIT_INTERVAL_US = 4000000
};

static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
static const uint8_t all_routers[16] = {0xff, 2, [15] = 2};

/* A message of type, flags, 'target' (NULL: none) and our MAC as option 'option', to
 * 'destination' at 'mac' (NULL: its multicast MAC). */
static void nd_send(struct net_stack *s, uint8_t type, uint8_t flags, const uint8_t *source,
                    const uint8_t *destination, const uint8_t *mac, const uint8_t *target,
                    uint8_t option)
{
    struct net_packet packet;
    size_t size = ICMP_SIZE + (target != NULL ? 16u : 0u) + 8;
    size_t at =
        packet_write_ip(s, &packet, 6, source, destination, PROTOCOL_ICMPV6, HOP_LIMIT_ND, size);
    uint8_t *h = packet.header + at;

    static_assert(ETHERNET_SIZE + VLAN_TAG_SIZE + IPV6_SIZE + ICMP_SIZE + 16 + 8 <= PORT_HEADER_MAX,
                  "an advertisement fits a header");
    memset(h, 0, size);
    h[0] = type;
    h[4] = flags;
    if (target != NULL)
        memcpy(h + ICMP_SIZE, target, 16);
    h[size - 8] = option;
    h[size - 7] = 1; /* in units of eight bytes */
    memcpy(h + size - 6, s->info->mac, 6);
    uint32_t sum = checksum_pseudo_header(source, destination, 6, PROTOCOL_ICMPV6) +
                   (uint32_t)size + checksum_sum(h, size);
    store_be16(h + 2, checksum_finish(sum));
    packet.out.header_size = (uint16_t)(at + size);
    packet.out.l4_size = ICMP_SIZE;
    if (mac != NULL)
        memcpy(packet.header, mac, 6);
    else
        multicast_mac_v6(destination, packet.header);
    (void)packet_commit(s, &packet, true);
}

void nd_solicit(struct net_stack *s, const uint8_t *target, const uint8_t *mac)
{
    uint8_t group[16] = {0xff, 2, [11] = 1, [12] = 0xff};
    const uint8_t *source = address_for(s, 6, target);

    if (source == NULL)
        return;
    memcpy(group + 13, target + 13, 3);
    nd_send(s, ICMP6_NEIGHBOUR_SOLICIT, 0, source, mac != NULL ? target : group, mac, target,
            OPTION_SOURCE_MAC);
}

void nd_announce(struct net_stack *s, const uint8_t *address)
{
    nd_send(s, ICMP6_NEIGHBOUR_ADVERT, FLAG_OVERRIDE, address, all_nodes, NULL, address,
            OPTION_TARGET_MAC);
}

static void solicit_fire(struct timer *t, uint64_t now_us)
{
    struct net_stack *s = CONTAINER_OF(t, struct net_stack, solicit);

    s->now_us = now_us;
    if (s->learned_router.family != 0 || s->solicits_sent >= SOLICITS_MAX)
        return;
    s->solicits_sent++;
    nd_send(s, ICMP6_ROUTER_SOLICIT, 0, s->link_local, all_routers, NULL, NULL, OPTION_SOURCE_MAC);
    wheel_arm(s->wheel, t, now_us + SOLICIT_INTERVAL_US);
}

void nd_start(struct net_stack *s)
{
    s->solicit.fire = solicit_fire;
    if (s->config.gateway_v6.family == 0)
        solicit_fire(&s->solicit, s->now_us);
}

/* The link address in the options of a message, NULL when it has none; '*ret_is_ok' false:
 * malformed. */
static const uint8_t *option_find(struct cursor *c, uint8_t wanted, bool *ret_is_ok)
{
    const uint8_t *mac = NULL;

    while (cursor_left(c) > 0) {
        uint8_t type = cursor_u8(c);
        uint8_t length = cursor_u8(c);
        if (length == 0)
            c->failed = true; /* RFC 4861 §4.6: would never end */
        struct bytes value = cursor_take(c, (size_t)length * 8 - (length != 0 ? 2 : 0));
        if (type == wanted && value.size == 6)
            mac = value.ptr;
    }
    *ret_is_ok = cursor_is_ok(c) && (mac == NULL || (mac[0] & 1) == 0);
    return mac;
}

static int solicit_input(struct net_stack *s, const struct net_rx *rx, struct cursor *c)
{
    const uint8_t *target = cursor_take(c, 16).ptr;
    bool is_ok;
    const uint8_t *mac = option_find(c, OPTION_SOURCE_MAC, &is_ok);
    bool is_dad = address_is_zero(6, rx->source);

    if (!is_ok || target[0] == 0xff || (is_dad && mac != NULL))
        return -1;
    if (!address_is_own(s, 6, target)) {
        (void)exception_put(s, rx);
        return 0;
    }
    if (is_dad) { /* somebody else wants it: RFC 4862 §5.4.3 */
        NET_COUNT(s, net_address_conflicts);
        nd_announce(s, target);
        return 0;
    }
    if (!address_is_on_link(s, 6, rx->source))
        return -1;
    if (mac != NULL)
        neighbour_learn(s, 6, rx->source, mac, NEIGHBOUR_SEEN);
    nd_send(s, ICMP6_NEIGHBOUR_ADVERT, FLAG_SOLICITED | FLAG_OVERRIDE, target, rx->source,
            mac != NULL ? mac : rx->source_mac, target, OPTION_TARGET_MAC);
    return 0;
}

static int advert_input(struct net_stack *s, const struct net_rx *rx, struct cursor *c)
{
    uint8_t flags = rx->payload.ptr[4];
    const uint8_t *target = cursor_take(c, 16).ptr;
    bool is_ok;
    const uint8_t *mac = option_find(c, OPTION_TARGET_MAC, &is_ok);
    bool is_solicited = (flags & FLAG_SOLICITED) != 0;

    if (!is_ok || target[0] == 0xff || (rx->is_multicast && is_solicited))
        return -1;
    if (address_is_own(s, 6, target)) {
        NET_COUNT(s, net_address_conflicts);
        return 0;
    }
    (void)exception_put(s, rx);
    if (!is_solicited) {
        NET_COUNT(s, net_neighbour_unsolicited);
        return 0;
    }
    /* An answer to a unicast probe may leave its address out (RFC 4861 §7.2.4). */
    news_neighbour(s, 6, target, mac != NULL ? mac : rx->source_mac);
    return 0;
}

void nd_router(struct net_stack *s, const uint8_t *addr, uint16_t lifetime_s)
{
    bool is_same = s->learned_router.family != 0 && memcmp(s->learned_router.addr, addr, 16) == 0;
    bool is_expired = s->learned_router.family == 0 || s->now_us >= s->learned_router_until_us;

    if (lifetime_s == 0) {
        if (is_same)
            s->learned_router = (struct net_address){0};
        return;
    }
    if (!is_same && !is_expired) /* the first one stays while it lasts */
        return;
    s->learned_router = (struct net_address){.family = 6};
    memcpy(s->learned_router.addr, addr, 16);
    s->learned_router_until_us = s->now_us + (uint64_t)lifetime_s * 1000000;
    wheel_cancel(s->wheel, &s->solicit);
}

static int router_input(struct net_stack *s, const struct net_rx *rx, struct cursor *c)
{
    bool is_ok;

    cursor_skip(c, 8); /* reachable and retransmit time: ours stand */
    (void)option_find(c, OPTION_SOURCE_MAC, &is_ok);
    if (!is_ok || !address_is_link_local(rx->source))
        return -1;
    (void)exception_put(s, rx);
    news_router(s, rx->source, load_be16(rx->payload.ptr + 6));
    return 0;
}

void nd_input(struct net_stack *s, const struct net_rx *rx)
{
    struct cursor c = cursor_of(bytes_from(rx->payload, ICMP_SIZE));
    uint8_t type = rx->payload.ptr[0];
    int error = -1;

    /* 255: no router can have forwarded it (RFC 4861 §3.1); never in fragments (RFC 6980 §5). */
    if (rx->hop_limit == HOP_LIMIT_ND && rx->payload.ptr[1] == 0 && !rx->has_fragment) {
        if (type == ICMP6_ROUTER_ADVERT)
            error = cursor_left(&c) < 8 ? -1 : router_input(s, rx, &c);
        else if (cursor_left(&c) >= 16)
            error = type == ICMP6_NEIGHBOUR_SOLICIT ? solicit_input(s, rx, &c)
                                                    : advert_input(s, rx, &c);
    }
    if (error < 0)
        NET_COUNT(s, net_nd_bad);
}
