#include "dataplane/net/icmp.h"

#include "common/cursor.h"
#include "dataplane/net/checksum.h"

void icmp_reply(struct net_stack *s, const struct net_rx *rx, uint8_t type, uint8_t code,
                const uint8_t rest[static 4], struct bytes data)
{
    struct net_packet packet;
    struct extent extent;
    struct blob *blob = NULL;
    size_t ip_size = rx->family == 4 ? IPV4_SIZE : IPV6_SIZE;
    size_t inline_max = PORT_HEADER_MAX - s->l2_size - ip_size - ICMP_SIZE;
    const uint8_t *source =
        rx->is_multicast ? address_for(s, rx->family, rx->source) : rx->destination;

    if (source == NULL)
        return;
    if (data.size > inline_max)
        blob = blob_pool_get(s->control_blobs);
    size_t data_max = blob != NULL ? blob_pool_blob_size(s->control_blobs) : inline_max;
    if (data.size > data_max)
        data.size = data_max;

    size_t at = packet_write_ip(s, &packet, rx->family, source, rx->source,
                                rx->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6,
                                HOP_LIMIT_DEFAULT, ICMP_SIZE + data.size);
    uint8_t *h = packet.header + at;
    h[0] = type;
    h[1] = code;
    store_be16(h + 2, 0);
    memcpy(h + 4, rest, 4);
    uint32_t sum = (uint32_t)checksum_sum(h, ICMP_SIZE) + checksum_sum(data.ptr, data.size);
    if (rx->family == 6)
        sum += checksum_pseudo_header(source, rx->source, 6, PROTOCOL_ICMPV6) + ICMP_SIZE +
               (uint32_t)data.size;
    store_be16(h + 2, checksum_finish(sum));
    packet.out.header_size = (uint16_t)(at + ICMP_SIZE);
    packet.out.l4_size = ICMP_SIZE;
    if (blob != NULL) {
        memcpy(blob_pool_data(blob), data.ptr, data.size);
        blob->size = (uint32_t)data.size;
        extent = extent_of(blob);
        packet.out.extents = &extent;
        packet.out.extent_count = 1;
    } else if (data.size > 0) {
        memcpy(h + ICMP_SIZE, data.ptr, data.size);
        packet.out.header_size = (uint16_t)(packet.out.header_size + data.size);
    }
    (void)packet_route(s, &packet, rx->family, rx->source, true);
    blob_unref(&blob);
}

/* The upper protocol's header of an IPv6 packet, however malformed the way to it; empty: unknown.
 */
static struct bytes upper_header(const struct net_rx *rx, uint8_t *ret_protocol)
{
    struct cursor c = cursor_of(bytes_from(rx->l3, IPV6_SIZE));
    uint8_t protocol = rx->l3.ptr[6];

    for (unsigned i = 0; i < EXTENSIONS_MAX && ipv6_is_extension(protocol); i++) {
        uint8_t next = cursor_u8(&c);
        size_t length = cursor_u8(&c);
        cursor_skip(&c, protocol == PROTOCOL_FRAGMENT ? 6 : 6 + length * 8);
        protocol = next;
    }
    *ret_protocol = protocol;
    return cursor_take_rest(&c);
}

/* Errors are never answered by errors. */
static bool is_about_error(const struct net_rx *rx)
{
    uint8_t protocol = rx->protocol;
    struct bytes header = rx->payload;

    if (rx->family == 6)
        header = upper_header(rx, &protocol);
    if (header.size == 0)
        return false;
    if (rx->family == 6)
        return protocol == PROTOCOL_ICMPV6 &&
               (header.ptr[0] < ICMP6_INFORMATIONAL || header.ptr[0] == ICMP6_REDIRECT);
    switch (header.ptr[0]) {
    case ICMP_UNREACHABLE:
    case ICMP_SOURCE_QUENCH:
    case ICMP_REDIRECT:
    case ICMP_TIME_EXCEEDED:
    case ICMP_PARAMETER_PROBLEM:
        return protocol == PROTOCOL_ICMP;
    default:
        return false;
    }
}

static void icmp_error_send(struct net_stack *s, const struct net_rx *rx, uint8_t type,
                            uint8_t code, uint32_t pointer)
{
    uint8_t rest[4];
    /* RFC 1122 §3.2.2 (header and 8 bytes at least); RFC 4443 §2.4: within the minimal MTU. */
    size_t quote_max = rx->family == 4 ? IPV4_MTU_MIN - IPV4_SIZE - ICMP_SIZE
                                       : IPV6_MTU_MIN - IPV6_SIZE - ICMP_SIZE;
    struct bytes quote = rx->l3;
    /* The one error that multicasts may cause: RFC 4443 §2.4 (e.3). */
    bool is_for_multicast =
        rx->family == 6 && type == ICMP6_PARAMETER_PROBLEM && code == ICMP6_CODE_OPTION;

    if ((rx->is_multicast && !is_for_multicast) || address_is_zero(rx->family, rx->source) ||
        is_about_error(rx)) {
        NET_COUNT(s, net_icmp_withheld);
        return;
    }
    if (!rate_take(&s->icmp_rate, s->now_us)) {
        NET_COUNT(s, net_icmp_limited);
        return;
    }
    if (quote.size > quote_max)
        quote.size = quote_max;
    store_be32(rest, pointer);
    NET_COUNT(s, net_icmp_errors_sent);
    icmp_reply(s, rx, type, code, rest, quote);
}

void icmp_port_unreachable(struct net_stack *s, const struct net_rx *rx)
{
    if (rx->family == 4)
        icmp_error_send(s, rx, ICMP_UNREACHABLE, ICMP_CODE_PORT, 0);
    else
        icmp_error_send(s, rx, ICMP6_UNREACHABLE, ICMP6_CODE_PORT, 0);
}

void icmp_protocol_unreachable(struct net_stack *s, const struct net_rx *rx, size_t at)
{
    if (rx->family == 4)
        icmp_error_send(s, rx, ICMP_UNREACHABLE, ICMP_CODE_PROTOCOL, 0);
    else /* RFC 8200 §4 */
        icmp6_parameter_problem(s, rx, ICMP6_CODE_NEXT_HEADER, at);
}

void icmp6_parameter_problem(struct net_stack *s, const struct net_rx *rx, uint8_t code, size_t at)
{
    icmp_error_send(s, rx, ICMP6_PARAMETER_PROBLEM, code, (uint32_t)at);
}

void icmp_error(struct net_stack *s, const struct net_rx *rx, enum net_error_kind kind,
                uint32_t mtu, struct bytes quoted)
{
    struct cursor c = cursor_of(quoted);
    uint8_t protocol;
    struct bytes source;
    struct bytes destination;

    if (rx->family == 4) {
        uint8_t first = cursor_u8(&c);
        cursor_skip(&c, 8);
        protocol = cursor_u8(&c);
        cursor_skip(&c, 2);
        source = cursor_take(&c, 4);
        destination = cursor_take(&c, 4);
        if (first != 0x45) /* we send no options */
            protocol = PROTOCOL_NONE;
    } else {
        cursor_skip(&c, 6);
        protocol = cursor_u8(&c);
        cursor_skip(&c, 1);
        source = cursor_take(&c, 16);
        destination = cursor_take(&c, 16);
    }
    uint16_t local_port = cursor_be16(&c);
    uint16_t peer_port = cursor_be16(&c);
    uint32_t seq = cursor_be32(&c);
    if (!cursor_is_ok(&c) || protocol != PROTOCOL_TCP ||
        !address_is_own(s, rx->family, source.ptr)) {
        if (!exception_put(s, rx))
            NET_COUNT(s, net_icmp_ignored);
        return;
    }
    struct endpoint local = endpoint_of(rx->family, source.ptr, local_port);
    struct endpoint peer = endpoint_of(rx->family, destination.ptr, peer_port);
    uint16_t mtu_16 = mtu > UINT16_MAX ? UINT16_MAX : (uint16_t)mtu;
    if (!news_icmp_error(s, &local, &peer, seq, kind, mtu_16) && !exception_put(s, rx))
        NET_COUNT(s, net_icmp_ignored);
}

void icmp_input(struct net_stack *s, const struct net_rx *rx)
{
    struct bytes message = rx->payload;

    if (message.size < ICMP_SIZE) {
        NET_COUNT(s, net_icmp_bad);
        return;
    }
    if (checksum_sum(message.ptr, message.size) != 0xffff) {
        NET_COUNT(s, net_icmp_checksum);
        return;
    }
    uint8_t code = message.ptr[1];
    struct bytes data = bytes_from(message, ICMP_SIZE);
    switch (message.ptr[0]) {
    case ICMP_ECHO_REQUEST:
        if (rx->is_multicast) {
            NET_COUNT(s, net_icmp_ignored);
            return;
        }
        NET_COUNT(s, net_icmp_echoes);
        icmp_reply(s, rx, ICMP_ECHO_REPLY, 0, message.ptr + 4, data);
        return;
    case ICMP_UNREACHABLE:
        if (code == ICMP_CODE_FRAGMENTATION_NEEDED)
            icmp_error(s, rx, NET_ERROR_TOO_BIG, load_be16(message.ptr + 6), data);
        else
            icmp_error(s, rx, NET_ERROR_UNREACHABLE, 0, data);
        return;
    default:
        if (!exception_put(s, rx))
            NET_COUNT(s, net_icmp_ignored);
    }
}
