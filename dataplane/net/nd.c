/* Neighbour discovery, RFC 4861: solicitations, advertisements, and routers, as far as a host
 * needs them. */
#include "common/check.h"
#include "common/cursor.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"

enum {
    OPTION_SOURCE_MAC = 1,
    OPTION_TARGET_MAC = 2,
    OPTION_PREFIX = 3,
    OPTION_PREFIX_SIZE = 30, /* behind type and length */
    PREFIXES_PER_MESSAGE_MAX = 8,
    HOP_LIMIT_ND = 255,
    FLAG_SOLICITED = 0x40,
    FLAG_OVERRIDE = 0x20,
    SOLICITS_MAX = 3,
    SOLICIT_INTERVAL_US = 4000000
};

static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
static const uint8_t all_routers[16] = {0xff, 2, [15] = 2};

/* A message of type, flags, 'target' (NULL: none) and our MAC as option 'option' (0: none), to
 * 'destination' at 'mac' (NULL: its multicast MAC). */
static void nd_send(struct net_stack *s, uint8_t type, uint8_t flags, const uint8_t *source,
                    const uint8_t *destination, const uint8_t *mac, const uint8_t *target,
                    uint8_t option)
{
    struct net_packet packet;
    size_t size = ICMP_SIZE + (target != NULL ? 16u : 0u) + (option != 0 ? 8u : 0u);
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
    if (option != 0) {
        h[size - 8] = option;
        h[size - 7] = 1; /* in units of eight bytes */
        memcpy(h + size - 6, s->info->mac, 6);
    }
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

void solicited_node_group(const uint8_t *address, uint8_t ret_group[static 16])
{
    static const uint8_t prefix[13] = {0xff, 2, [11] = 1, [12] = 0xff};

    memcpy(ret_group, prefix, sizeof(prefix));
    memcpy(ret_group + 13, address + 13, 3);
}

void nd_solicit(struct net_stack *s, const uint8_t *target, const uint8_t *mac)
{
    uint8_t group[16];
    const uint8_t *source = address_for(s, 6, target);

    if (source == NULL)
        return;
    solicited_node_group(target, group);
    nd_send(s, ICMP6_NEIGHBOUR_SOLICIT, 0, source, mac != NULL ? target : group, mac, target,
            OPTION_SOURCE_MAC);
}

void nd_solicit_own(struct net_stack *s, const uint8_t *address)
{
    static const uint8_t unspecified[16];
    uint8_t group[16];

    solicited_node_group(address, group);
    nd_send(s, ICMP6_NEIGHBOUR_SOLICIT, 0, unspecified, group, NULL, address, 0);
}

void nd_announce(struct net_stack *s, const uint8_t *address)
{
    nd_send(s, ICMP6_NEIGHBOUR_ADVERT, FLAG_OVERRIDE, address, all_nodes, NULL, address,
            OPTION_TARGET_MAC);
}

static void solicit_fire(struct timer *t, uint64_t now_us)
{
    struct net_stack *s = CONTAINER_OF(t, struct net_stack, solicit);

    static const uint8_t unspecified[16];
    bool has_source = address_is_own(s, 6, s->link_local);

    s->now_us = now_us;
    if (s->solicits_sent >= SOLICITS_MAX)
        return;
    s->solicits_sent++;
    nd_send(s, ICMP6_ROUTER_SOLICIT, 0, has_source ? s->link_local : unspecified, all_routers, NULL,
            NULL, has_source ? OPTION_SOURCE_MAC : 0);
    wheel_arm(s->wheel, t, now_us + SOLICIT_INTERVAL_US);
}

void nd_start(struct net_stack *s)
{
    s->solicit.fire = solicit_fire;
    if (s->is_leader && (s->config.gateway_v6.family == 0 || s->config.use_slaac))
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

    if (!is_ok || target[0] == 0xff || (is_dad && (mac != NULL || !rx->is_multicast)))
        return -1;
    bool is_echo = memcmp(rx->source_mac, s->info->mac, 6) == 0; /* of our own question */
    if (is_dad && !is_echo && news_conflict(s, target)) /* both want it: RFC 4862 §5.4.3 */
        return 0;
    if (!address_is_own(s, 6, target)) {
        if (!address_is_configured(s, 6, target))
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
    if (news_conflict(s, target))
        return 0;
    if (address_is_configured(s, 6, target)) {
        NET_COUNT(s, net_address_conflicts);
        return 0;
    }
    (void)exception_put(s, rx);
    if (!is_solicited) {
        if (mac != NULL)
            neighbour_learn(s, 6, target, mac, NEIGHBOUR_CLAIMED);
        else
            NET_COUNT(s, net_neighbour_unsolicited);
        return 0;
    }
    /* An answer to a unicast probe may leave its address out (RFC 4861 §7.2.4). */
    news_neighbour(s, 6, target, mac != NULL ? mac : rx->source_mac);
    return 0;
}

/* The prefixes of an advertisement whose options were found well-formed. */
static void take_prefixes(struct net_stack *s, struct cursor c)
{
    unsigned count = 0;

    while (cursor_left(&c) > 0) {
        uint8_t type = cursor_u8(&c);
        struct bytes value = cursor_take(&c, (size_t)cursor_u8(&c) * 8 - 2);
        if (type != OPTION_PREFIX || value.size != OPTION_PREFIX_SIZE)
            continue;
        if (++count > PREFIXES_PER_MESSAGE_MAX) {
            NET_COUNT(s, net_prefixes_refused);
            return;
        }
        struct nd_prefix prefix = {.bits = value.ptr[0],
                                   .flags = value.ptr[1],
                                   .valid_s = load_be32(value.ptr + 2),
                                   .preferred_s = load_be32(value.ptr + 6)};
        memcpy(prefix.addr, value.ptr + 14, 16);
        news_prefix(s, &prefix);
    }
}

static int router_input(struct net_stack *s, const struct net_rx *rx, struct cursor *c)
{
    bool is_ok;

    cursor_skip(c, 8); /* reachable and retransmit time: ours stand */
    struct cursor options = *c;
    const uint8_t *mac = option_find(c, OPTION_SOURCE_MAC, &is_ok);
    if (!is_ok || !address_is_link_local(rx->source))
        return -1;
    NET_COUNT(s, net_router_adverts);
    if (mac != NULL)
        neighbour_learn(s, 6, rx->source, mac, NEIGHBOUR_SEEN);
    (void)exception_put(s, rx);
    news_router(s, rx->source, rx->payload.ptr[5], load_be16(rx->payload.ptr + 6));
    if (s->config.use_slaac)
        take_prefixes(s, options);
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
