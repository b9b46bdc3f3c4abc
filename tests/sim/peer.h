/* peer.h - a hand-driven peer: raw segments to one host of a world, and what comes back.
 *
 * It answers ARP and neighbour solicitations for its address by itself; everything else waits to
 * be read. IPv4 10.0.0.99 or IPv6 2001:db8::99, MAC 02:00:00:00:00:99. */
#ifndef TESTS_SIM_PEER_H
#define TESTS_SIM_PEER_H

#include "dataplane/net/tcp/tcp.h"
#include "tests/sim/world.h"

enum { PEER_FRAMES_MAX = 4096, PEER_FRAME_BYTES = 2048, PEER_PORT = 5555, PEER_HOST_PORT = 80 };

struct peer_frame {
    size_t size;
    uint8_t data[PEER_FRAME_BYTES];
};

struct peer {
    struct world *world;
    struct world_host *host;
    uint8_t family;
    bool is_mute;            /* does not answer ARP or neighbour solicitations */
    struct endpoint address; /* of the peer, with PEER_PORT */
    struct endpoint local;   /* of the host, with PEER_HOST_PORT */
    uint32_t head;           /* in 'frames' */
    uint32_t count;
    /* For segments: set by hand or by peer_handshake(). */
    uint32_t snd_nxt;
    uint32_t rcv_nxt;
    uint16_t window;
    bool has_timestamps;
    uint32_t ts_value;
    uint32_t ts_recent;
    struct peer_frame frames[PEER_FRAMES_MAX]; /* that the host sent, a ring */
};

/* A TCP segment in either direction. */
struct peer_segment {
    uint32_t seq;
    uint32_t ack;
    uint8_t flags;
    uint8_t ecn; /* IP's field */
    uint16_t window;
    struct tcp_options options;
    struct bytes payload;
    uint16_t local_port; /* the host's; 0 in a sent one: PEER_HOST_PORT */
    uint16_t peer_port;  /* 0 in a sent one: PEER_PORT */
};

/* 'host' is the world's one, at 10.0.0.1/24 or 2001:db8::1/64. */
void peer_init(struct peer *p, struct world *w, struct world_host *host, uint8_t family);

/* The IP and L4 checksums are filled in; for a UDP, TCP or ICMP payload behind Ethernet and IP
 * headers that this writes. Returns the frame's size. */
size_t peer_frame_ip(const struct peer *p, uint8_t protocol, const uint8_t *payload, size_t size,
                     uint8_t *out);
/* Sends a raw frame and lets the host take it. */
void peer_send_frame(struct peer *p, struct bytes frame);
void peer_send_ip(struct peer *p, uint8_t protocol, const uint8_t *payload, size_t size);
void peer_send(struct peer *p, const struct peer_segment *segment);

/* The next frame that the host sent; false: none. Valid until the peer sends again. */
bool peer_next_frame(struct peer *p, struct bytes *ret_frame);
/* The next TCP segment to this peer, other frames being skipped. */
bool peer_next(struct peer *p, struct peer_segment *ret_segment);
/* The next packet of 'protocol': its payload behind the IP header. */
bool peer_next_ip(struct peer *p, uint8_t protocol, struct bytes *ret_payload);
void peer_drop_all(struct peer *p);

/* SYN, SYN and ACK, ACK with the given options; true when the host answered. Leaves snd_nxt and
 * rcv_nxt ready. */
bool peer_handshake(struct peer *p, const struct tcp_options *options);
/* A segment at snd_nxt that acknowledges rcv_nxt; advances snd_nxt. */
void peer_send_data(struct peer *p, uint8_t flags, struct bytes payload);
/* An ACK of 'ack'. */
void peer_ack(struct peer *p, uint32_t ack);

#endif
