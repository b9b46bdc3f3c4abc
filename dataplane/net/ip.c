#include "dataplane/net/stack.h"

void ip_deliver(struct net_stack *s, const struct net_rx *rx, size_t next_header_at)
{
    uint8_t icmp = rx->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;

    if (rx->hop_limit == 0) /* a host takes it all the same: RFC 1122 §3.2.1.7, RFC 8200 §3 */
        NET_COUNT(s, net_rx_hop_limit_zero);
    if (rx->protocol == PROTOCOL_TCP) {
        tcp_input(s, rx);
    } else if (rx->protocol == PROTOCOL_UDP) {
        udp_input(s, rx);
    } else if (rx->protocol == icmp) {
        if (rx->family == 4)
            icmp_input(s, rx);
        else
            icmp6_input(s, rx);
    } else if (!exception_put(s, rx)) {
        NET_COUNT(s, net_rx_other_protocol);
        if (rx->protocol != PROTOCOL_NONE || rx->family == 4)
            icmp_protocol_unreachable(s, rx, next_header_at);
    }
}
