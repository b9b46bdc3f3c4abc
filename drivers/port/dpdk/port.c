#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bus.h>
#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_malloc.h>

#include "common/log.h"
#include "drivers/port/dpdk/internal.h"

enum {
    RX_DESCRIPTORS = 1024,
    TX_DESCRIPTORS = 1024,
    RING_SIZE = 4096,         /* of a pair */
    EXTENTS_SOFTWARE = 16,    /* where the driver states no limit */
    SLOT_OVERHEAD = 128,      /* of a packet socket's slot: the kernel's and the link's headers */
    FRAME_BYTES_USUAL = 2048, /* of a packet socket's slot, where nothing else is asked for */
    TSO_BYTES_MAX = 65000,    /* IPv4's total length is 16 bits wide */
    PAGE_BYTES = 4096
};

static const struct port_driver dpdk_driver;

static void log_device_error(const char *what, const char *device, int error)
{
    log_error("port", LOG_BYTES(NULL, bytes_of_str(what)), LOG_STR("device", device),
              LOG_STR("error", strerror(error < 0 ? -error : error)));
}

static const struct port_info *dpdk_info(const struct port *p)
{
    return &((const struct dpdk_port *)(const void *)p)->info;
}

static struct port_queue *dpdk_queue(struct port *base, unsigned index)
{
    struct dpdk_port *p = dpdk_port_of(base);

    CHECK(index < p->queue_count);
    dpdk_adopt_thread();
    return &p->queues[index].base;
}

/* Checksum and segmentation offloads of virtual devices are software that touches the payload
 * (tap) or misses cases (its segmentation is IPv4 only): ours is cheaper, so they count as none.
 * Chaining is used wherever it exists. */
static void choose_offloads(struct dpdk_port *p, const struct rte_eth_dev_info *dev,
                            struct rte_eth_conf *conf)
{
    uint64_t tx = dev->tx_offload_capa;
    uint64_t rx = dev->rx_offload_capa;
    static const struct {
        uint64_t dpdk;
        uint32_t port;
    } tx_map[] = {
        {RTE_ETH_TX_OFFLOAD_IPV4_CKSUM, PORT_OFFLOAD_IP_CHECKSUM},
        {RTE_ETH_TX_OFFLOAD_TCP_CKSUM, PORT_OFFLOAD_TCP_CHECKSUM},
        {RTE_ETH_TX_OFFLOAD_UDP_CKSUM, PORT_OFFLOAD_UDP_CHECKSUM},
        {RTE_ETH_TX_OFFLOAD_TCP_TSO, PORT_OFFLOAD_TSO},
        {RTE_ETH_TX_OFFLOAD_MULTI_SEGS, PORT_OFFLOAD_MULTI_SEGMENT},
    };

    for (size_t i = 0; i < ARRAY_COUNT(tx_map); i++) {
        bool is_wanted = !p->is_virtual || tx_map[i].port == PORT_OFFLOAD_MULTI_SEGMENT;
        if (is_wanted && (tx & tx_map[i].dpdk) != 0) {
            conf->txmode.offloads |= tx_map[i].dpdk;
            p->info.offloads |= tx_map[i].port;
        }
    }
    /* RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE stays off: it is illegal with external buffers. */
    if ((p->info.offloads & PORT_OFFLOAD_MULTI_SEGMENT) == 0 ||
        (p->info.offloads & PORT_OFFLOAD_TCP_CHECKSUM) == 0) {
        p->info.offloads &= ~(uint32_t)PORT_OFFLOAD_TSO;
        conf->txmode.offloads &= ~(uint64_t)RTE_ETH_TX_OFFLOAD_TCP_TSO;
    }
    if (!p->is_virtual && (rx & RTE_ETH_RX_OFFLOAD_CHECKSUM) != 0) {
        conf->rxmode.offloads |= rx & RTE_ETH_RX_OFFLOAD_CHECKSUM;
        p->info.offloads |= PORT_OFFLOAD_RX_CHECKSUM;
    }
    if ((rx & RTE_ETH_RX_OFFLOAD_SCATTER) != 0)
        conf->rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER;
}

/* Segments of one packet beside the header. */
static uint16_t extents_max(const struct rte_eth_dev_info *dev)
{
    uint16_t segments = dev->tx_desc_lim.nb_seg_max;
    uint16_t mtu_segments = dev->tx_desc_lim.nb_mtu_seg_max;

    if (mtu_segments != 0 && (segments == 0 || mtu_segments < segments))
        segments = mtu_segments;
    if (segments < 2 || segments > EXTENTS_SOFTWARE + 1)
        return EXTENTS_SOFTWARE;
    return (uint16_t)(segments - 1);
}

/* As many queue pairs as wanted, or as there are. Receive-side scaling keeps all frames of a flow
 * on one queue; what spreads the frames of other devices (the kernel, a hypervisor) may change its
 * mind about a flow, or give a full queue's frames to another one: docs/decisions/0015. */
static int choose_queues(struct dpdk_port *p, const struct rte_eth_dev_info *dev,
                         struct rte_eth_conf *conf, const char *device)
{
    uint64_t hash =
        dev->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    /* The kernel spreads frames over all queues that these have: each must be polled. */
    bool is_spread_over_all = strcmp(dev->driver_name, "net_af_packet") == 0 ||
                              strcmp(dev->driver_name, "net_af_xdp") == 0;
    uint16_t pairs =
        dev->max_rx_queues < dev->max_tx_queues ? dev->max_rx_queues : dev->max_tx_queues;

    if (is_spread_over_all && pairs > p->queue_count) {
        log_error("port", LOG_MSG("port.device asks for more queues than there are shards"),
                  LOG_STR("device", device), LOG_INT("queues", pairs),
                  LOG_INT("shards", p->queue_count));
        return -EINVAL;
    }
    if (p->queue_count > pairs)
        p->queue_count = pairs;
    p->info.keeps_flows = p->queue_count == 1 || (!p->is_virtual && hash != 0);
    if (p->queue_count == 1 || !p->info.keeps_flows)
        return 0;
    conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    conf->rx_adv_conf.rss_conf.rss_hf = hash;
    return 0;
}

static int set_up_queues(struct dpdk_port *p, const struct dpdk_config *config,
                         const struct rte_eth_dev_info *dev)
{
    int node = rte_eth_dev_socket_id(p->port_id);
    unsigned socket = node < 0 ? 0 : (unsigned)node;
    uint16_t rx_descriptors = RX_DESCRIPTORS;
    uint16_t tx_descriptors = TX_DESCRIPTORS;
    unsigned sharers = p->queue_count * (p->pair == NULL ? 1 : 2);
    /* EAL and drivers need some of it for themselves. */
    uint64_t bytes = config->memory_bytes / 10 * 8 / sharers;
    /* A ring passes packets on as they are: frames of its MTU are never made. */
    uint16_t frame_bytes = p->pair != NULL ? 0 : p->frame_bytes_max;
    if (p->slot_bytes > frame_bytes) /* a packet socket wants buffers for whole slots */
        frame_bytes = (uint16_t)p->slot_bytes;
    bool is_af_xdp = strcmp(dev->driver_name, "net_af_xdp") == 0;
    int err = rte_eth_dev_adjust_nb_rx_tx_desc(p->port_id, &rx_descriptors, &tx_descriptors);

    if (err < 0)
        return err;
    for (unsigned i = 0; i < p->queue_count && err == 0; i++) {
        struct dpdk_queue *q = &p->queues[i];
        struct rte_eth_rxconf rx = dev->default_rxconf;
        struct rte_eth_txconf tx = dev->default_txconf;
        *q = (struct dpdk_queue){
            .base = {.driver = &dpdk_driver, .port = &p->base},
            .dpdk = p,
            .port_id = p->port_id,
            .queue_id = (uint16_t)i,
            .is_chaining = (p->info.offloads & PORT_OFFLOAD_MULTI_SEGMENT) != 0,
            .is_keeping = !p->is_tap,
            .is_beating = p->is_bond,
        };
        rx.offloads = 0; /* those of the port apply */
        tx.offloads = 0;
        err = dpdk_pools_new(q, bytes, frame_bytes, socket);
        if (err == 0 && is_af_xdp && q->frames->nb_mem_chunks != 1)
            err = -ENOMEM; /* it gives the kernel the first chunk only */
        if (err == 0)
            err = rte_eth_rx_queue_setup(p->port_id, (uint16_t)i, rx_descriptors, socket, &rx,
                                         q->frames);
        if (err == 0)
            err = rte_eth_tx_queue_setup(p->port_id, (uint16_t)i, tx_descriptors, socket, &tx);
    }
    return err;
}

static void fill_info(struct dpdk_port *p, const struct rte_eth_dev_info *dev, uint16_t mtu)
{
    struct rte_ether_addr mac;

    (void)rte_eth_macaddr_get(p->port_id, &mac);
    memcpy(p->info.mac, mac.addr_bytes, sizeof(p->info.mac));
    /* The kernel's end of a tap has the address that DPDK reports for ours. */
    if (p->is_tap)
        p->info.mac[5] ^= 1;
    p->info.mtu = mtu;
    p->info.queues = (uint16_t)p->queue_count;
    p->info.extents_max = extents_max(dev);
    if ((p->info.offloads & PORT_OFFLOAD_TSO) != 0)
        p->info.tso_bytes_max = TSO_BYTES_MAX;
}

/* DPDK holds a device to the longest frame that it states too (tap and af_packet: 1,500 and no
 * more), counting the Ethernet header and CRC where the device does not say otherwise. */
static uint16_t mtu_max(const struct rte_eth_dev_info *dev)
{
    uint32_t overhead = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

    if (dev->max_mtu != UINT16_MAX && dev->max_rx_pktlen > dev->max_mtu)
        overhead = dev->max_rx_pktlen - dev->max_mtu;
    if (dev->max_rx_pktlen < overhead || dev->max_rx_pktlen - overhead > dev->max_mtu)
        return dev->max_mtu;
    return (uint16_t)(dev->max_rx_pktlen - overhead);
}

/* The slots of packet sockets, whose size decides what they carry: DPDK's driver knows it and does
 * not tell. 0: another device, or too small for more than usual. */
static uint32_t slot_bytes(const struct rte_eth_dev_info *dev, const char *device)
{
    static const char argument[] = "framesz=";
    const char *at = strstr(device, argument);

    if (strcmp(dev->driver_name, "net_af_packet") != 0 || at == NULL)
        return 0;
    unsigned long bytes = strtoul(at + sizeof(argument) - 1, NULL, 10);
    return bytes > FRAME_BYTES_USUAL && bytes <= UINT16_MAX - RTE_PKTMBUF_HEADROOM ? (uint32_t)bytes
                                                                                   : 0;
}

/* Configures and starts the ethdev p->port_id. 0 or -errno, logged. */
static int port_start(struct dpdk_port *p, const struct dpdk_config *config, uint16_t mtu)
{
    struct rte_eth_dev_info dev;
    struct rte_eth_conf conf = {.rxmode = {.mtu = mtu}};
    int err = rte_eth_dev_info_get(p->port_id, &dev);

    if (err < 0) {
        log_device_error("the device does not describe itself", config->device, err);
        return -EIO;
    }
    p->is_bond = strcmp(dev.driver_name, "net_bonding") == 0;
    /* A bond has no bus of its own: what holds for its members holds for it. */
    p->is_virtual = !p->is_bond && (dev.device == NULL ||
                                    strcmp(rte_bus_name(rte_dev_bus(dev.device)), "vdev") == 0);
    p->is_tap = strcmp(dev.driver_name, "net_tap") == 0;
    p->frame_bytes_max = (uint16_t)(mtu > UINT16_MAX - DPDK_ETHERNET_SIZE - RTE_PKTMBUF_HEADROOM
                                        ? UINT16_MAX - RTE_PKTMBUF_HEADROOM
                                        : mtu + DPDK_ETHERNET_SIZE);
    p->slot_bytes = slot_bytes(&dev, config->device);
    uint16_t most = p->slot_bytes > 0 ? (uint16_t)(p->slot_bytes - SLOT_OVERHEAD) : mtu_max(&dev);
    if (mtu > most || mtu < dev.min_mtu) {
        log_error("port", LOG_MSG("the device does not carry port.mtu"),
                  LOG_STR("device", config->device), LOG_INT("mtu", mtu),
                  LOG_INT("least", dev.min_mtu), LOG_INT("most", most));
        return -ENOTSUP;
    }
    if (p->slot_bytes > 0 && mtu > mtu_max(&dev))
        conf.rxmode.mtu = mtu_max(&dev); /* all that its driver would admit to */
    choose_offloads(p, &dev, &conf);
    err = choose_queues(p, &dev, &conf, config->device);
    if (err < 0)
        return err;
    /* tap has a descriptor that polls readable; without this flag it keeps none. */
    conf.intr_conf.rxq = p->is_tap;
    p->queues = calloc(p->queue_count, sizeof(*p->queues));
    if (p->queues == NULL)
        return -ENOMEM;

    err = rte_eth_dev_configure(p->port_id, (uint16_t)p->queue_count, (uint16_t)p->queue_count,
                                &conf);
    if (err == 0)
        err = set_up_queues(p, config, &dev);
    if (err == 0)
        err = rte_eth_dev_start(p->port_id);
    if (err < 0) {
        log_device_error("the device cannot be started", config->device, err);
        return err == -ENOMEM ? err : -EIO;
    }
    /* Neighbour discovery; not all need it, but a bond by LACP drops even broadcasts without, and
     * some members know no other way. */
    if (rte_eth_allmulticast_enable(p->port_id) < 0 && p->is_bond)
        (void)rte_eth_promiscuous_enable(p->port_id);
    fill_info(p, &dev, mtu);
    return 0;
}

static void port_free(struct dpdk_port *p)
{
    struct rte_eth_dev_info dev;
    bool has_device = rte_eth_dev_info_get(p->port_id, &dev) == 0;

    for (unsigned i = 0; p->queues != NULL && i < p->queue_count; i++) {
        struct dpdk_queue *q = &p->queues[i];
        rte_pktmbuf_free(q->begun);
        rte_pktmbuf_free_bulk(q->pending, q->pending_count);
        dpdk_tx_release(q);
    }
    (void)rte_eth_dev_stop(p->port_id);
    if (has_device && p->rings[0] == NULL && dev.device != NULL)
        (void)rte_dev_remove(dev.device); /* closes it too */
    else
        (void)rte_eth_dev_close(p->port_id);
    for (unsigned i = 0; p->rings[0] != NULL && i < p->queue_count; i++) {
        struct rte_mbuf *m;
        while (rte_ring_dequeue(p->rings[i], (void **)&m) == 0)
            rte_pktmbuf_free(m);
    }
}

static void port_free_memory(struct dpdk_port *p)
{
    for (unsigned i = 0; p->queues != NULL && i < p->queue_count; i++)
        dpdk_pools_free(&p->queues[i]);
    for (unsigned i = 0; i < DPDK_PAIR_QUEUES_MAX; i++)
        rte_ring_free(p->rings[i]); /* accepts NULL */
    free(p->queues);
    free(p);
}

static void dpdk_close(struct port **pp)
{
    if (*pp == NULL)
        return;
    struct dpdk_port *p = dpdk_port_of(*pp);
    struct dpdk_port *pair = p->pair;

    *pp = NULL;
    port_free(p);
    if (pair == NULL) {
        port_free_memory(p);
        return;
    }
    /* Each end of a pair may hold the other's buffers: pools go with the last. */
    p->pair = NULL;
    p->is_closed = true;
    if (pair->is_closed) {
        port_free_memory(pair);
        port_free_memory(p);
    } else {
        pair->pair = p;
    }
}

/* Finds the port that the device brought; a device probed at start has it already. */
static int find_port(const char *device, uint16_t *ret_port_id)
{
    struct rte_dev_iterator iterator;
    char name[RTE_ETH_NAME_MAX_LEN];
    size_t length = strcspn(device, ",");

    if (length >= sizeof(name))
        return -EINVAL;
    memcpy(name, device, length);
    name[length] = '\0';
    uint16_t id;
    RTE_ETH_FOREACH_MATCHING_DEV(id, name, &iterator)
    {
        rte_eth_iterator_cleanup(&iterator);
        *ret_port_id = id;
        return 0;
    }
    return -ENODEV;
}

int dpdk_open(const struct dpdk_config *config, unsigned queues, uint16_t mtu, struct port **ret)
{
    uint16_t port_id = 0;

    CHECK(queues >= 1 && queues <= DPDK_QUEUES_MAX);
    dpdk_adopt_thread();
    int err = find_port(config->device, &port_id);
    if (err == -ENODEV && !dpdk_is_pci(config->device)) {
        err = rte_dev_probe(config->device);
        if (err == 0)
            err = find_port(config->device, &port_id);
    }
    if (err < 0) {
        log_error("port", LOG_MSG("no such device, or no driver for it"),
                  LOG_STR("device", config->device));
        return -ENODEV;
    }

    struct dpdk_port *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    p->base.driver = &dpdk_driver;
    p->port_id = port_id;
    p->queue_count = queues;
    err = port_start(p, config, mtu);
    if (err < 0) {
        port_free(p);
        port_free_memory(p);
        return err;
    }
    *ret = &p->base;
    return 0;
}

static struct dpdk_port *pair_half_open(struct rte_ring *in[], struct rte_ring *out[],
                                        unsigned queues, unsigned index)
{
    char name[RTE_ETH_NAME_MAX_LEN];
    struct dpdk_port *p = calloc(1, sizeof(*p));

    snprintf(name, sizeof(name), "leat_pair%u", index);
    int port_id = rte_eth_from_rings(name, in, queues, out, queues, 0);
    if (p == NULL || port_id < 0) {
        free(p);
        return NULL;
    }
    p->base.driver = &dpdk_driver;
    p->port_id = (uint16_t)port_id;
    p->queue_count = queues;
    memcpy(p->rings, in, queues * sizeof(p->rings[0]));
    return p;
}

int dpdk_open_pair(const struct dpdk_config *config, unsigned queues, uint16_t mtu,
                   bool second_reads_headers, struct port *ret[static 2])
{
    struct rte_ring *rings[2][DPDK_PAIR_QUEUES_MAX];
    struct dpdk_port *p[2];
    int err = 0;

    CHECK(queues >= 1 && queues <= DPDK_PAIR_QUEUES_MAX);
    dpdk_adopt_thread();
    for (unsigned i = 0; i < 2 * queues; i++) {
        char name[RTE_RING_NAMESIZE];
        snprintf(name, sizeof(name), "leat_pair_ring%u", i);
        struct rte_ring *ring = rte_ring_create(name, RING_SIZE, 0, RING_F_SP_ENQ | RING_F_SC_DEQ);
        if (ring == NULL)
            return -ENOMEM; /* of a measuring process, which ends */
        rings[i % 2][i / 2] = ring;
    }
    for (unsigned i = 0; i < 2; i++) {
        p[i] = pair_half_open(rings[i], rings[1 - i], queues, i);
        if (p[i] == NULL)
            return -ENOMEM;
    }
    for (unsigned i = 0; i < 2 && err == 0; i++) {
        p[i]->pair = p[1 - i];
        err = port_start(p[i], config, mtu);
    }
    if (err < 0)
        return err;
    for (unsigned i = 0; i < queues; i++)
        p[1]->queues[i].reads_headers = second_reads_headers;
    ret[0] = &p[0]->base;
    ret[1] = &p[1]->base;
    return 0;
}

/* Shards register their pools at the same time, each before its first frame. */
static pthread_mutex_t register_lock = PTHREAD_MUTEX_INITIALIZER;

static int register_range(struct dpdk_port *p, uintptr_t start, uintptr_t end)
{
    struct rte_eth_dev_info dev;

    if (p->range_count == DPDK_RANGES_MAX)
        return -ENOSPC;
    /* The device reads only; DPDK's interface is not const-correct. */
    void *at = (void *)start;
    if (rte_extmem_register(at, end - start, NULL, 0, PAGE_BYTES) < 0)
        return -rte_errno;
    int err = 0;
    uint16_t id = p->is_bond ? (uint16_t)rte_eth_find_next(0) : p->port_id;
    while (id < RTE_MAX_ETHPORTS && err == 0) { /* of a bond: its members, all other ports */
        err = rte_eth_dev_info_get(id, &dev);
        if (err == 0 && rte_dev_dma_map(dev.device, at, start, end - start) < 0 &&
            rte_errno != ENOTSUP)
            err = -rte_errno;
        id = p->is_bond ? (uint16_t)rte_eth_find_next((uint16_t)(id + 1)) : RTE_MAX_ETHPORTS;
    }
    if (err < 0) {
        (void)rte_extmem_unregister(at, end - start);
        return err;
    }
    p->ranges[p->range_count++] = (struct dpdk_range){.start = start, .end = end};
    return 0;
}

/* Where payload may be sent from in place. Devices with DMA must be able to reach it by its virtual
 * address; where DPDK runs on physical addresses (no IOMMU), payload is copied. */
static int dpdk_register_memory(struct port *base, struct bytes memory)
{
    struct dpdk_port *p = dpdk_port_of(base);
    uintptr_t start = ((uintptr_t)memory.ptr + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1);
    uintptr_t end = ((uintptr_t)memory.ptr + memory.size) & ~(uintptr_t)(PAGE_BYTES - 1);

    if (p->is_virtual)
        return 0;
    if (end <= start)
        return -EINVAL;
    if (rte_eal_iova_mode() != RTE_IOVA_VA) {
        log_warn("port", LOG_MSG("no IOMMU: payload is copied into packets"));
        return 0;
    }
    pthread_mutex_lock(&register_lock);
    int err = register_range(p, start, end);
    pthread_mutex_unlock(&register_lock);
    return err;
}

static int dpdk_wait_fd(struct port_queue *base)
{
    struct dpdk_queue *q = dpdk_queue_of(base);

    /* A tap's descriptor is readable while frames wait. Interrupts of other devices must be armed
     * before each sleep, which this interface has no call for: they are polled. */
    return q->dpdk->is_tap ? rte_eth_dev_rx_intr_ctl_q_get_fd(q->port_id, q->queue_id)
                           : PORT_WAIT_POLL;
}

static const struct port_driver dpdk_driver = {
    .name = "dpdk",
    .info = dpdk_info,
    .queue = dpdk_queue,
    .rx_burst = dpdk_rx_burst,
    .rx_done = dpdk_rx_done,
    .tx_begin = dpdk_tx_begin,
    .tx_commit = dpdk_tx_commit,
    .tx_cancel = dpdk_tx_cancel,
    .tx_flush = dpdk_tx_flush,
    .register_memory = dpdk_register_memory,
    .wait_fd = dpdk_wait_fd,
    .close = dpdk_close,
};
