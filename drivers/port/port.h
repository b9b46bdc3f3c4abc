/* port.h - a packet port: frames in and out, in bursts, without copying payload.
 *
 * Drivers: dpdk (any ethdev) and sim (seeded virtual wire for tests). A port has one queue
 * pair per shard; a queue is used by its shard alone. */
#ifndef DRIVERS_PORT_PORT_H
#define DRIVERS_PORT_PORT_H

#include "common/blob.h"
#include "common/bytes.h"

struct counters;
struct endpoint;
struct port;
struct port_queue;

enum { PORT_HEADER_MAX = 128, PORT_BURST_MAX = 64 };

/* What wait_fd() says of a queue without a descriptor. */
enum {
    PORT_WAIT_POLL = -1, /* must be polled */
    PORT_WAIT_WOKEN = -2 /* whoever has something for it wakes its shard */
};

enum port_offload {
    PORT_OFFLOAD_IP_CHECKSUM = 1 << 0,  /* IPv4 header */
    PORT_OFFLOAD_TCP_CHECKSUM = 1 << 1, /* pseudo-header sum is in the packet */
    PORT_OFFLOAD_UDP_CHECKSUM = 1 << 2,
    PORT_OFFLOAD_TSO = 1 << 3,
    PORT_OFFLOAD_RX_CHECKSUM = 1 << 4,  /* packet_in.flags tells what was checked */
    PORT_OFFLOAD_MULTI_SEGMENT = 1 << 5 /* payload extents are sent in place; else copied */
};

struct port_info {
    uint8_t mac[6];
    uint16_t mtu;         /* of the IP packet: 1500 */
    uint32_t offloads;    /* enum port_offload, those in effect */
    uint16_t extents_max; /* per packet, beside the header */
    uint16_t queues;
    bool keeps_flows;       /* all frames of a flow come out of the same queue */
    uint32_t tso_bytes_max; /* payload of one segmentation-offload packet; 0: none */
};

enum packet_in_flags {
    PACKET_IN_IP_CHECKSUM_GOOD = 1 << 0,
    PACKET_IN_IP_CHECKSUM_BAD = 1 << 1,
    PACKET_IN_L4_CHECKSUM_GOOD = 1 << 2,
    PACKET_IN_L4_CHECKSUM_BAD = 1 << 3
};

struct packet_in {
    struct bytes frame; /* from the Ethernet header on, contiguous */
    uint32_t flags;     /* enum packet_in_flags */
    void *handle;       /* the driver's; given back by rx_done */
};

/* What goes with a frame to be sent. Zeroed: no offload. */
struct packet_out {
    const struct extent *extents; /* payload after the header; borrowed for the call */
    uint16_t extent_count;
    uint16_t header_size; /* bytes written at what tx_begin returned */
    uint8_t l2_size;      /* Ethernet + VLAN */
    uint8_t l3_size;      /* IP header with options */
    uint8_t l4_size;      /* TCP header with options, or 8 */
    uint8_t is_ipv6;
    uint16_t segment_size; /* TSO: payload per wire packet; 0: send as it is */
    uint32_t offloads;     /* those wanted for this packet: a subset of port_info.offloads */
};

struct port_driver {
    const char *name;
    const struct port_info *(*info)(const struct port *p);
    struct port_queue *(*queue)(struct port *p, unsigned index);

    /* Up to 'max' (<= PORT_BURST_MAX) frames. They stay valid until rx_done(). */
    unsigned (*rx_burst)(struct port_queue *q, struct packet_in *packets, unsigned max,
                         uint64_t now_us);
    void (*rx_done)(struct port_queue *q, const struct packet_in *packets, unsigned count);

    /* Room for a frame's header of up to PORT_HEADER_MAX bytes (for control packets: the whole
     * frame up to that size). NULL: out of packets (counted); 'is_control' may use a reserve that
     * data may not. Each tx_begin is followed by one tx_commit or tx_cancel. */
    uint8_t *(*tx_begin)(struct port_queue *q, bool is_control);
    /* Takes the packet; holds the extents' blobs by itself for as long as needed. The driver may
     * read them until then, so the caller needs no reference beyond the call. Falls back to
     * copying where the port cannot chain. 0, or -EMSGSIZE, -ENOBUFS: dropped and counted. */
    int (*tx_commit)(struct port_queue *q, const struct packet_out *packet);
    void (*tx_cancel)(struct port_queue *q);
    /* Hands everything committed to the wire; what the wire does not take is dropped and counted.
     */
    void (*tx_flush)(struct port_queue *q, uint64_t now_us);

    /* Makes a range usable for zero-copy extents (DMA mapping). 0 or -errno. NULL: not needed. */
    int (*register_memory)(struct port *p, struct bytes memory);
    /* Readable when rx_burst may have something; or PORT_WAIT_POLL, PORT_WAIT_WOKEN. */
    int (*wait_fd)(struct port_queue *q);
    /* Whether other shards have handed something over: asked when the shard is marked asleep.
     * NULL: none ever does. */
    bool (*has_work)(const struct port_queue *q);
    /* Whether the latest tx_begin found no room, which another shard makes: has_work() tells once
     * it has. NULL: no. */
    bool (*is_blocked)(const struct port_queue *q);
    /* Whether the frames of a flow come out of this queue. NULL: all do, or nobody knows. */
    bool (*takes_flow)(const struct port_queue *q, const struct endpoint *local,
                       const struct endpoint *peer);
    void (*close)(struct port **p);
};

/* The common head of every driver's port and queue. */
struct port {
    const struct port_driver *driver;
};

struct port_queue {
    const struct port_driver *driver;
    struct port *port;
    struct counters *counters; /* set by the shard that uses the queue, before its first burst */
};

#endif
