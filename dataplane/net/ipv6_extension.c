/* IPv6 extension headers (RFC 8200 §4) within the bounds that RFC 8504 §5.3 allows a host to set.
 */
#include "common/cursor.h"
#include "dataplane/net/icmp.h"

enum {
    EXTENSION_BYTES_MAX = 512, /* of all extension headers of one packet */
    OPTIONS_MAX = 8,           /* in one header, padding aside */
    PADDING_MAX = 7,           /* in a row: more never aligns anything */
    OPTION_PAD1 = 0,
    OPTION_PADN = 1,
    OPTION_ROUTER_ALERT = 5,
    FRAGMENT_MORE = 1
};

static size_t offset_in(const struct net_rx *rx, const uint8_t *at)
{
    return (size_t)(at - rx->l3.ptr);
}

/* What to do about an option that we do not know: the two highest bits say (RFC 8200 §4.2). */
static int option_unknown(struct net_stack *s, const struct net_rx *rx, const uint8_t *option)
{
    unsigned action = option[0] >> 6;

    if (action == 0)
        return 0;
    NET_COUNT(s, net_rx_extension_options);
    if (action == 2 || (action == 3 && !rx->is_multicast))
        icmp6_parameter_problem(s, rx, ICMP6_CODE_OPTION, offset_in(rx, option));
    return -1;
}

/* The options of a hop-by-hop or destination header. 0, or -1: drop, counted. */
static int options_check(struct net_stack *s, struct net_rx *rx, struct bytes options)
{
    struct cursor c = cursor_of(options);
    unsigned count = 0;
    size_t padding = 0;

    while (cursor_left(&c) > 0) {
        const uint8_t *option = c.ptr;
        uint8_t type = cursor_u8(&c);
        size_t size = type == OPTION_PAD1 ? 0 : cursor_u8(&c);
        cursor_skip(&c, size);
        if (!cursor_is_ok(&c)) {
            NET_COUNT(s, net_rx_extension_bad);
            return -1;
        }
        if (type == OPTION_PAD1 || type == OPTION_PADN) {
            padding += type == OPTION_PAD1 ? 1 : 2 + size;
        } else {
            padding = 0;
            count++;
        }
        if (padding > PADDING_MAX || count > OPTIONS_MAX) {
            NET_COUNT(s, net_rx_extension_limit);
            return -1;
        }
        if (type == OPTION_ROUTER_ALERT)
            rx->has_router_alert = true;
        else if (type > OPTION_PADN && option_unknown(s, rx, option) < 0)
            return -1;
    }
    return 0;
}

/* A fragment header at 'h' before 'rest' bytes. 0: a whole packet (RFC 6946). */
static int fragment_check(struct net_stack *s, struct net_rx *rx, const uint8_t *h, size_t rest)
{
    uint16_t flags_offset = load_be16(h + 2);
    size_t offset = flags_offset & 0xfff8;
    bool has_more = (flags_offset & FRAGMENT_MORE) != 0;

    rx->has_fragment = true;
    if (offset == 0 && !has_more)
        return 0;
    NET_COUNT(s, net_rx_fragments);
    if ((has_more && (rest % 8 != 0 || rest == 0)) || offset + rest > UINT16_MAX)
        NET_COUNT(s, net_rx_fragments_bad);
    else if ((offset == 0 && rest < TCP_SIZE) || offset == 8) /* RFC 7112 §5 */
        NET_COUNT(s, net_rx_fragments_tiny);
    return -1;
}

/* One header of 'type', whole, before 'rest' bytes. 0, or -1: drop, counted. */
static int extension_check(struct net_stack *s, struct net_rx *rx, uint8_t type,
                           struct bytes header, size_t rest)
{
    if (type == PROTOCOL_FRAGMENT)
        return fragment_check(s, rx, header.ptr, rest);
    if (type != PROTOCOL_ROUTING)
        return options_check(s, rx, bytes_from(header, 2));
    /* A source route with hops left asks us to forward, which we do not (RFC 8200 §4.4). */
    if (header.ptr[3] == 0)
        return 0;
    NET_COUNT(s, net_rx_source_routes);
    icmp6_parameter_problem(s, rx, ICMP6_CODE_HEADER, offset_in(rx, header.ptr + 2));
    return -1;
}

int ipv6_extensions(struct net_stack *s, struct net_rx *rx, size_t *ret_next_header_at)
{
    struct cursor c = cursor_of(rx->payload);
    size_t next_header_at = 6;

    for (unsigned count = 0; ipv6_is_extension(rx->protocol); count++) {
        uint8_t type = rx->protocol;
        if (count > 0 && type == PROTOCOL_HOP_BY_HOP) { /* first or nowhere: RFC 8200 §4.1 */
            NET_COUNT(s, net_rx_extension_order);
            icmp6_parameter_problem(s, rx, ICMP6_CODE_NEXT_HEADER, next_header_at);
            return -1;
        }
        bool has_length = cursor_left(&c) >= 8 && type != PROTOCOL_FRAGMENT;
        struct bytes header = cursor_take(&c, has_length ? 8 + (size_t)c.ptr[1] * 8 : 8);
        if (!cursor_is_ok(&c)) {
            NET_COUNT(s, net_rx_short);
            return -1;
        }
        if (count == EXTENSIONS_MAX ||
            offset_in(rx, header.ptr) + header.size > IPV6_SIZE + EXTENSION_BYTES_MAX) {
            NET_COUNT(s, net_rx_extension_limit);
            return -1;
        }
        if (extension_check(s, rx, type, header, cursor_left(&c)) < 0)
            return -1;
        rx->protocol = header.ptr[0];
        next_header_at = offset_in(rx, header.ptr);
    }
    rx->payload = cursor_take_rest(&c);
    *ret_next_header_at = next_header_at;
    return 0;
}
