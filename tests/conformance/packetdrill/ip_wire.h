/* ip_wire.h - a packet port whose other end is raw IP: packets go in and come out one by one.
 *
 * It plays the link by itself: ARP requests and neighbour solicitations for any address but the
 * stack's own are answered, everything else below IP's payload is swallowed. One thread. */
#ifndef TESTS_CONFORMANCE_PACKETDRILL_IP_WIRE_H
#define TESTS_CONFORMANCE_PACKETDRILL_IP_WIRE_H

#include "drivers/port/port.h"

struct ip_wire;

/* A packet that the stack sent. */
struct ip_packet {
    struct list link;
    uint64_t sent_us;
    size_t size;
    uint8_t data[];
};

/* 'now_us' (borrowed) is the time that packets are stamped with; 'sent' is shown each packet that
 * ip_wire_take() will hand out. NULL: no memory. */
struct ip_wire *ip_wire_new(uint16_t mtu, const uint64_t *now_us,
                            void (*sent)(void *user, struct bytes packet), void *user);
void ip_wire_free(struct ip_wire **wire);
struct port_queue *ip_wire_queue(struct ip_wire *w);

/* Gives the stack a copy of an IP packet. -ENOMEM; -EINVAL: neither IPv4 nor IPv6. */
int ip_wire_inject(struct ip_wire *w, struct bytes packet);
bool ip_wire_has_input(const struct ip_wire *w);

/* The oldest packet that the stack sent; NULL: none. The caller frees it with free(). */
struct ip_packet *ip_wire_take(struct ip_wire *w);
bool ip_wire_has_output(const struct ip_wire *w);
void ip_wire_drop_output(struct ip_wire *w);

#endif
