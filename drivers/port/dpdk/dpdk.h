/* dpdk.h - packet ports over DPDK 22.11 ethdevs (drivers/port/port.h).
 *
 * Payload goes out without being copied: each packet is a small header buffer followed by buffers
 * that point into the extents' blobs (common/blob.h, blob_port_shared). Devices that cannot chain
 * get one contiguous frame instead; extents in memory that a device cannot reach are copied.
 *
 * Only this folder includes DPDK's headers. */
#ifndef DRIVERS_PORT_DPDK_DPDK_H
#define DRIVERS_PORT_DPDK_DPDK_H

#include "drivers/port/port.h"

struct dpdk_config {
    const char *device;    /* PCI address, or vdev with arguments: "net_tap0,iface=leat0" */
    const char *options;   /* more EAL arguments, space separated; NULL or "": none */
    uint64_t memory_bytes; /* for packets */
    bool use_hugepages;    /* false: for trying only */
};

/* Starts DPDK's EAL, once a process: later calls do nothing. The caller keeps its CPU affinity, and
 * no other thread is pinned. 0; -EINVAL: bad device or options; -ENOMEM: no hugepages, or not
 * enough memory; -EIO: anything else. Each is logged with what to do. */
int dpdk_init(const struct dpdk_config *config);

/* Opens config->device with 'queues' queue pairs, or as many as it has: info() tells, and whether
 * each flow keeps to one of them. '*ret' is owned: close it with driver->close(). 0; -ENODEV: no
 * such device; -EINVAL: it insists on more queues; -ENOTSUP: it does not carry that MTU; -ENOMEM:
 * config->memory_bytes is too small; -EIO. Each is logged. */
int dpdk_open(const struct dpdk_config *config, unsigned queues, uint16_t mtu, struct port **ret);

enum { DPDK_PAIR_QUEUES_MAX = 2 };

/* Opens two ports of so many queues joined back to back by software rings: what one sends on a
 * queue, the other receives on the same, without a device between. For measuring the stack alone. A
 * port that 'reads_headers' gets only the header buffer of each packet in packet_in.frame. Errors
 * as dpdk_open. */
int dpdk_open_pair(const struct dpdk_config *config, unsigned queues, uint16_t mtu,
                   bool second_reads_headers, struct port *ret[static 2]);

#endif
