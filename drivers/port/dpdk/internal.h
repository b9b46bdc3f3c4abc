/* internal.h - what the files of this folder share; nobody else includes it. */
#ifndef DRIVERS_PORT_DPDK_INTERNAL_H
#define DRIVERS_PORT_DPDK_INTERNAL_H

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "common/check.h"
#include "common/counters.h"
#include "drivers/port/dpdk/dpdk.h"

enum {
    DPDK_QUEUES_MAX = 128,
    DPDK_RANGES_MAX = 1 + 4 * DPDK_QUEUES_MAX, /* the store's, and each shard's pools */
    DPDK_TX_PENDING_MAX = 1024, /* committed and not yet taken by the device, per queue */
    DPDK_STASH_MAX = 32,
    DPDK_ETHERNET_SIZE = 18 /* Ethernet and VLAN */
};

/* An interval of memory that the device can read. */
struct dpdk_range {
    uintptr_t start;
    uintptr_t end;
};

struct dpdk_port;

/* Buffers taken from a pool together, so that their cache lines come together. */
struct dpdk_stash {
    uint32_t count;
    struct rte_mbuf *mbufs[DPDK_STASH_MAX];
};

struct dpdk_queue {
    struct port_queue base;
    struct dpdk_port *dpdk;
    uint16_t port_id;
    uint16_t queue_id;
    bool is_chaining;              /* payload in place */
    bool is_keeping;               /* what the device does not take waits for the next flush */
    bool is_beating;               /* wants bursts while idle: LACP goes out with them */
    bool reads_headers;            /* multi-segment frames: the first segment only */
    struct rte_mempool *headers;   /* PORT_HEADER_MAX bytes each */
    struct rte_mempool *externals; /* no bytes of their own */
    struct rte_mempool *frames;    /* whole frames: receive, and copies */
    struct rte_mempool *reserve;   /* whole frames, for control packets when the rest is gone */
    struct rte_mbuf *begun;        /* between tx_begin and tx_commit */
    struct dpdk_stash header_stash;
    struct dpdk_stash external_stash;
    uint32_t pending_count;
    bool has_offloads; /* among the pending */
    struct rte_mbuf *pending[DPDK_TX_PENDING_MAX];
};

struct dpdk_port {
    struct port base;
    struct port_info info;
    uint16_t port_id;
    bool is_virtual; /* no DMA: all memory will do */
    bool is_tap;
    bool is_bond;
    uint16_t frame_bytes_max;
    uint32_t slot_bytes; /* of a packet socket that carries jumbo frames; else 0 */
    struct dpdk_range ranges[DPDK_RANGES_MAX];
    uint32_t range_count;
    struct dpdk_port *pair;                       /* the other of dpdk_open_pair() */
    struct rte_ring *rings[DPDK_PAIR_QUEUES_MAX]; /* of a pair: what each queue receives */
    bool is_closed;                               /* the other end of the pair is still open */
    unsigned queue_count;
    struct dpdk_queue *queues;
};

static inline struct dpdk_queue *dpdk_queue_of(struct port_queue *q)
{
    return CONTAINER_OF(q, struct dpdk_queue, base);
}

static inline struct dpdk_port *dpdk_port_of(struct port *p)
{
    return CONTAINER_OF(p, struct dpdk_port, base);
}

/* eal.c: gives the calling thread an lcore id, so that it has mempool caches of its own. */
void dpdk_adopt_thread(void);
/* Whether 'device' names a PCI device. */
bool dpdk_is_pci(const char *device);

/* pools.c: the queue's pools within 'bytes'. 0 or -ENOMEM. */
int dpdk_pools_new(struct dpdk_queue *q, uint64_t bytes, uint16_t frame_bytes, unsigned socket);
void dpdk_pools_free(struct dpdk_queue *q);

/* transmit.c: gives back the buffers that the queue holds in advance. */
void dpdk_tx_release(struct dpdk_queue *q);

/* receive.c */
unsigned dpdk_rx_burst(struct port_queue *base, struct packet_in *packets, unsigned max,
                       uint64_t now_us);
void dpdk_rx_done(struct port_queue *base, const struct packet_in *packets, unsigned count);

/* transmit.c */
uint8_t *dpdk_tx_begin(struct port_queue *base, bool is_control);
int dpdk_tx_commit(struct port_queue *base, const struct packet_out *packet);
void dpdk_tx_cancel(struct port_queue *base);
void dpdk_tx_flush(struct port_queue *base, uint64_t now_us);

#endif
