#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"

void icmp6_input(struct net_stack *s, const struct net_rx *rx)
{
    struct bytes message = rx->payload;

    if (message.size < ICMP_SIZE) {
        NET_COUNT(s, net_icmp_bad);
        return;
    }
    uint32_t sum = checksum_pseudo_header(rx->source, rx->destination, 6, PROTOCOL_ICMPV6) +
                   (uint32_t)message.size + checksum_sum(message.ptr, message.size);
    if (checksum_fold(sum) != 0xffff) {
        NET_COUNT(s, net_icmp_checksum);
        return;
    }
    struct bytes data = bytes_from(message, ICMP_SIZE);
    switch (message.ptr[0]) {
    case ICMP6_ECHO_REQUEST:
        if (address_is_zero(6, rx->source)) {
            NET_COUNT(s, net_icmp_ignored);
            return;
        }
        NET_COUNT(s, net_icmp_echoes);
        icmp_reply(s, rx, ICMP6_ECHO_REPLY, 0, message.ptr + 4, data);
        return;
    case ICMP6_ROUTER_ADVERT:
    case ICMP6_NEIGHBOUR_SOLICIT:
    case ICMP6_NEIGHBOUR_ADVERT:
        nd_input(s, rx);
        return;
    case ICMP6_MLD_QUERY:
        mld_input(s, rx);
        return;
    case ICMP6_TOO_BIG:
        icmp_error(s, rx, NET_ERROR_TOO_BIG, load_be32(message.ptr + 4), data);
        return;
    case ICMP6_UNREACHABLE:
    case ICMP6_PARAMETER_PROBLEM:
        icmp_error(s, rx, NET_ERROR_UNREACHABLE, 0, data);
        return;
    default:
        if (!exception_put(s, rx))
            NET_COUNT(s, net_icmp_ignored);
    }
}
