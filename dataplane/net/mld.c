/* Multicast listener discovery: tells snooping switches and queriers which solicited-node groups
 * we listen to, MLDv2 (RFC 3810) and towards old queriers MLDv1 (RFC 2710). */
#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"

enum {
    HOP_BY_HOP_SIZE = 8, /* with a router alert (RFC 2711) */
    RECORD_SIZE = 20,    /* without sources */
    QUERY_V1_SIZE = 24,
    QUERY_V2_SIZE_MIN = 28,
    MODE_IS_EXCLUDE = 2,
    CHANGE_TO_EXCLUDE = 4,
    ROBUSTNESS = 2,                               /* reports of a change, RFC 3810 §9.1 */
    UNSOLICITED_INTERVAL_MS = 1000,               /* §9.11 */
    QUERIER_PRESENT_US = 2 * 125000000 + 10000000 /* §9.12 */
};

static const uint8_t all_mld_routers[16] = {0xff, 2, [15] = 0x16};

/* Writes IPv6, hop-by-hop and ICMPv6 headers and sends; 'message' is behind the first four bytes
 * of the ICMPv6 header, zeroed but for its contents. */
static void mld_send(struct net_stack *s, uint8_t type, const uint8_t *destination,
                     const uint8_t *message, size_t message_size)
{
    static const uint8_t unspecified[16];
    static const uint8_t alert[HOP_BY_HOP_SIZE] = {PROTOCOL_ICMPV6, 0, 5, 2, 0, 0, 1, 0};
    struct net_packet packet;
    /* RFC 3590: without a link-local address of ours yet, from nobody. */
    const uint8_t *source = address_is_own(s, 6, s->link_local) ? s->link_local : unspecified;
    size_t icmp_size = 4 + message_size;
    size_t at = packet_write_ip(s, &packet, 6, source, destination, PROTOCOL_HOP_BY_HOP, 1,
                                HOP_BY_HOP_SIZE + icmp_size);
    uint8_t *h = packet.header + at;

    DCHECK(at + HOP_BY_HOP_SIZE + icmp_size <= PORT_HEADER_MAX);
    memcpy(h, alert, HOP_BY_HOP_SIZE);
    h += HOP_BY_HOP_SIZE;
    memset(h, 0, 4);
    h[0] = type;
    memcpy(h + 4, message, message_size);
    uint32_t sum = checksum_pseudo_header(source, destination, 6, PROTOCOL_ICMPV6) +
                   (uint32_t)icmp_size + checksum_sum(h, icmp_size);
    store_be16(h + 2, checksum_finish(sum));
    packet.out.header_size = (uint16_t)(at + HOP_BY_HOP_SIZE + icmp_size);
    multicast_mac_v6(destination, packet.header);
    NET_COUNT(s, net_mld_reports);
    (void)packet_commit(s, &packet, true);
}

static void report_group(struct net_stack *s, const uint8_t *group)
{
    uint8_t message[4 + RECORD_SIZE] = {0};

    if (s->now_us < s->mld_v1_until_us) {
        memcpy(message + 4, group, 16); /* behind the maximum delay, 0 */
        mld_send(s, ICMP6_MLD_REPORT_V1, group, message, 20);
        return;
    }
    message[3] = 1; /* one record */
    message[4] = s->mld_changes_left > 0 ? CHANGE_TO_EXCLUDE : MODE_IS_EXCLUDE;
    memcpy(message + 8, group, 16);
    mld_send(s, ICMP6_MLD_REPORT_V2, all_mld_routers, message, sizeof(message));
}

static void report_all(struct net_stack *s)
{
    uint8_t groups[OWN_ADDRESSES_MAX][16];
    uint32_t count = 0;

    for (uint32_t i = 0; i < s->own_count; i++) {
        const struct own_address *o = &s->own[i];
        if (o->address.family != 6 || o->state == OWN_FREE || o->state == OWN_DUPLICATE)
            continue;
        solicited_node_group(o->address.addr, groups[count]);
        uint32_t same = 0;
        while (memcmp(groups[same], groups[count], 16) != 0)
            same++;
        if (same == count)
            report_group(s, groups[count++]);
    }
}

static void mld_arm(struct net_stack *s, uint32_t delay_ms)
{
    uint64_t random = s->env->random(s->env->random_user);
    uint64_t due_us = s->now_us + random % (delay_ms * 1000ULL + 1);

    if (!timer_is_armed(&s->mld_timer) || due_us >> WHEEL_TICK_SHIFT < s->mld_timer.deadline_tick)
        wheel_arm(s->wheel, &s->mld_timer, due_us);
}

static void mld_fire(struct timer *t, uint64_t now_us)
{
    struct net_stack *s = CONTAINER_OF(t, struct net_stack, mld_timer);

    s->now_us = now_us;
    report_all(s);
    if (s->mld_changes_left > 0 && --s->mld_changes_left > 0)
        mld_arm(s, UNSOLICITED_INTERVAL_MS);
}

void mld_join(struct net_stack *s)
{
    s->mld_timer.fire = mld_fire;
    if (!s->is_leader || !s->is_announced) /* one report for all queues, before DAD asks */
        return;
    s->mld_changes_left = ROBUSTNESS;
    mld_fire(&s->mld_timer, s->now_us);
}

/* RFC 3810 §5.1.3. */
static uint32_t maximum_delay_ms(uint16_t code)
{
    if (code < 32768)
        return code;
    return (uint32_t)((code & 0x0fff) | 0x1000) << ((code >> 12 & 7) + 3);
}

void mld_input(struct net_stack *s, const struct net_rx *rx)
{
    struct bytes m = rx->payload;

    /* RFC 3810 §5.1.14, §6.2: from the link, and none that a router passed on. */
    if (m.size < QUERY_V1_SIZE || (m.size > QUERY_V1_SIZE && m.size < QUERY_V2_SIZE_MIN) ||
        rx->hop_limit != 1 || !rx->has_router_alert || !address_is_link_local(rx->source)) {
        NET_COUNT(s, net_mld_bad);
        return;
    }
    uint16_t code = load_be16(m.ptr + 4);
    NET_COUNT(s, net_mld_queries);
    s->mld_timer.fire = mld_fire;
    if (m.size == QUERY_V1_SIZE)
        s->mld_v1_until_us = s->now_us + QUERIER_PRESENT_US;
    mld_arm(s, m.size == QUERY_V1_SIZE ? code : maximum_delay_ms(code));
}
