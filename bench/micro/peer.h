/* peer.h - many viewers in one model of a TCP receiver: as little code as can ask for parts and
 * acknowledge every second segment, or the last one after 40 ms. It reads packet headers only. Not
 * a TCP for any other use: what arrives out of order is an error that it counts, but where it loses
 * packets itself ('loss_ppm'); then up to three ranges behind a gap are kept and reported. */
#ifndef BENCH_MICRO_PEER_H
#define BENCH_MICRO_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/port/port.h"

struct viewer;

enum { PEER_VIEWERS_MAX = 200000 };

struct peer {
    struct port_queue *queue;
    struct viewer *viewers;
    uint32_t viewer_count;
    uint16_t mss;
    uint8_t mac[6];
    uint8_t server_mac[6];
    const char (*paths)[96];
    uint32_t path_count;
    uint64_t response_bytes[32]; /* of each path, learned before the run */
    uint32_t timestamp;          /* TCP timestamp clock */
    bool is_learning;            /* viewers do not ask again by themselves */
    uint32_t *owed;              /* viewers with an ACK to send later, oldest first: a ring */
    uint32_t owed_first;
    uint32_t owed_count;
    uint64_t now_us;
    uint32_t loss_ppm; /* of what comes with payload */
    uint64_t random;

    bool is_once; /* viewers do not ask again by themselves, and count their first bytes */

    uint64_t first_bytes; /* viewers that have received anything */
    uint64_t packets;     /* with payload */
    uint64_t payload_bytes;
    uint64_t responses;
    uint64_t lost;
    uint64_t disorder; /* packets that were not the next ones, resets, … */
    uint32_t established_count;
};

/* 0 or -ENOMEM. 'queue', 'paths' (path_count of them, at most 32) are borrowed. */
int peer_init(struct peer *p, struct port_queue *queue, uint32_t viewers, uint16_t mss,
              const char (*paths)[96], uint32_t path_count);
void peer_fini(struct peer *p);

/* Asks for the server's hardware address, which also tells it ours; before any peer_connect(). */
void peer_greet(struct peer *p);

/* Starts the handshake of one viewer. */
void peer_connect(struct peer *p, uint32_t viewer, uint64_t now_us);

/* Sends the viewer's next request. */
void peer_ask(struct peer *p, uint32_t viewer);

/* Forgets what the viewer has received and where in the list of paths it was. */
void peer_start_over(struct peer *p, uint32_t viewer);

/* Answers up to 'max' packets; returns how many there were. They are kept in 'packets' for the
 * caller to give back with rx_done(). */
unsigned peer_poll(struct peer *p, struct packet_in *packets, unsigned max, uint64_t now_us);

/* Payload bytes that the viewer has received. */
uint64_t peer_received(const struct peer *p, uint32_t viewer);
bool peer_is_established(const struct peer *p, uint32_t viewer);

#endif
