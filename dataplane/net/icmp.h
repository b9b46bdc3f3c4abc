/* icmp.h - what ICMP (RFC 792) and ICMPv6 (RFC 4443) share. Internal to dataplane/net. */
#ifndef DATAPLANE_NET_ICMP_H
#define DATAPLANE_NET_ICMP_H

#include "dataplane/net/stack.h"

enum {
    ICMP_SIZE = 8,
    ICMP_ECHO_REPLY = 0,
    ICMP_UNREACHABLE = 3,
    ICMP_ECHO_REQUEST = 8,
    ICMP_TIME_EXCEEDED = 11,
    ICMP_SOURCE_QUENCH = 4,
    ICMP_REDIRECT = 5,
    ICMP_PARAMETER_PROBLEM = 12,
    ICMP_CODE_PROTOCOL = 2,
    ICMP_CODE_PORT = 3,
    ICMP_CODE_FRAGMENTATION_NEEDED = 4,

    ICMP6_UNREACHABLE = 1,
    ICMP6_TOO_BIG = 2,
    ICMP6_TIME_EXCEEDED = 3,
    ICMP6_PARAMETER_PROBLEM = 4,
    ICMP6_ECHO_REQUEST = 128,
    ICMP6_ECHO_REPLY = 129,
    ICMP6_MLD_QUERY = 130,
    ICMP6_MLD_REPORT_V1 = 131,
    ICMP6_MLD_REPORT_V2 = 143,
    ICMP6_ROUTER_SOLICIT = 133,
    ICMP6_ROUTER_ADVERT = 134,
    ICMP6_NEIGHBOUR_SOLICIT = 135,
    ICMP6_NEIGHBOUR_ADVERT = 136,
    ICMP6_REDIRECT = 137,
    ICMP6_CODE_PORT = 4,
    ICMP6_CODE_HEADER = 0,      /* of a parameter problem: erroneous field */
    ICMP6_CODE_NEXT_HEADER = 1, /* unrecognised */
    ICMP6_CODE_OPTION = 2,      /* unrecognised */
    ICMP6_INFORMATIONAL = 128   /* types from here on are no errors */
};

/* Answers 'rx' with a message of 'type' and 'code', the four bytes 'rest' behind its checksum,
 * and 'data' (copied; cut to what fits). */
void icmp_reply(struct net_stack *s, const struct net_rx *rx, uint8_t type, uint8_t code,
                const uint8_t rest[static 4], struct bytes data);

/* Hands what an error says about one of our own packets to its protocol; 'quoted' is what the
 * error quotes, from that packet's IP header on. */
void icmp_error(struct net_stack *s, const struct net_rx *rx, enum net_error_kind kind,
                uint32_t mtu, struct bytes quoted);

#endif
