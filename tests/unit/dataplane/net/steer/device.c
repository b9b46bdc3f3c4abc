#include "tests/unit/dataplane/net/steer/device.h"

#include <string.h>

#include "common/check.h"
#include "dataplane/net/wire.h"

static struct device *device_of(struct port *p)
{
    return CONTAINER_OF(p, struct device, base);
}

static struct device_queue *queue_of(struct port_queue *q)
{
    return CONTAINER_OF(q, struct device_queue, base);
}

static const struct port_info *device_info(const struct port *p)
{
    return &((const struct device *)(const void *)p)->info;
}
static_assert(offsetof(struct device, base) == 0, "device_info() casts");

static struct port_queue *device_queue(struct port *p, unsigned index)
{
    CHECK(index < device_of(p)->info.queues);
    return &device_of(p)->queues[index].base;
}

static unsigned device_rx_burst(struct port_queue *base, struct packet_in *packets, unsigned max,
                                uint64_t now_us)
{
    struct device *d = device_of(base->port);
    struct device_queue *q = queue_of(base);
    unsigned count = 0;

    (void)now_us;
    for (unsigned i = 0; i < DEVICE_BUFFERS && count < max; i++) {
        if (q->is_taken[i])
            continue;
        size_t size = d->receive(d->user, (unsigned)(q - d->queues), q->buffers[i]);
        if (size == 0)
            break;
        q->is_taken[i] = true;
        q->taken++;
        packets[count++] =
            (struct packet_in){.frame = bytes_of(q->buffers[i], size), .handle = q->buffers[i]};
    }
    return count;
}

static void device_rx_done(struct port_queue *base, const struct packet_in *packets, unsigned count)
{
    struct device_queue *q = queue_of(base);

    for (unsigned i = 0; i < count; i++) {
        size_t index = (size_t)((uint8_t(*)[DEVICE_BUFFER_BYTES])packets[i].handle - q->buffers);
        CHECK(index < DEVICE_BUFFERS && q->is_taken[index]);
        q->is_taken[index] = false;
        q->taken--;
    }
}

static uint8_t *device_tx_begin(struct port_queue *base, bool is_control)
{
    (void)is_control;
    return device_of(base->port)->is_out_of_buffers ? NULL : queue_of(base)->header;
}

static int device_tx_commit(struct port_queue *base, const struct packet_out *packet)
{
    struct device *d = device_of(base->port);
    struct device_queue *q = queue_of(base);
    uint8_t frame[2048];
    size_t size = packet->header_size;

    memcpy(frame, q->header, size);
    for (unsigned i = 0; i < packet->extent_count; i++) {
        memcpy(frame + size, extent_data(&packet->extents[i]), packet->extents[i].size);
        size += packet->extents[i].size;
    }
    d->send(d->user, (unsigned)(q - d->queues), frame, size);
    return 0;
}

static void device_tx_cancel(struct port_queue *base)
{
    (void)base;
}

static void device_tx_flush(struct port_queue *base, uint64_t now_us)
{
    (void)now_us;
    queue_of(base)->flushes++;
}

static int device_wait_fd(struct port_queue *base)
{
    (void)base;
    return PORT_WAIT_POLL;
}

static void device_close(struct port **p)
{
    device_of(*p)->is_closed = true;
    *p = NULL;
}

static const struct port_driver device_driver = {
    .name = "device",
    .info = device_info,
    .queue = device_queue,
    .rx_burst = device_rx_burst,
    .rx_done = device_rx_done,
    .tx_begin = device_tx_begin,
    .tx_commit = device_tx_commit,
    .tx_cancel = device_tx_cancel,
    .tx_flush = device_tx_flush,
    .wait_fd = device_wait_fd,
    .close = device_close,
};

void device_init(struct device *d, unsigned queues)
{
    memset(d, 0, sizeof(*d));
    d->base.driver = &device_driver;
    d->info = (struct port_info){.mtu = 1500,
                                 .queues = (uint16_t)queues,
                                 .extents_max = 16,
                                 .offloads = PORT_OFFLOAD_TSO | PORT_OFFLOAD_MULTI_SEGMENT,
                                 .tso_bytes_max = 65000};
    for (unsigned i = 0; i < queues; i++)
        d->queues[i].base = (struct port_queue){.driver = &device_driver, .port = &d->base};
}

size_t device_frame(uint8_t frame[static DEVICE_BUFFER_BYTES], uint8_t protocol, uint8_t host,
                    uint16_t peer_port, uint32_t mark)
{
    uint8_t *ip = frame + ETHERNET_SIZE;
    const uint8_t own[4] = {192, 0, 2, 1};
    const uint8_t peer[4] = {198, 51, 100, host};

    memset(frame, 0, DEVICE_BUFFER_BYTES);
    store_be16(frame + 12, ETHERTYPE_IPV4);
    ip[0] = 0x45;
    store_be16(ip + 2, IPV4_SIZE + 24);
    ip[9] = protocol;
    memcpy(ip + 12, peer, 4);
    memcpy(ip + 16, own, 4);
    store_be16(ip + IPV4_SIZE, peer_port);
    store_be16(ip + IPV4_SIZE + 2, 80);
    store_be32(ip + IPV4_SIZE + 4, mark);
    return ETHERNET_SIZE + IPV4_SIZE + 24;
}

uint32_t device_frame_mark(const uint8_t *frame)
{
    return load_be32(frame + ETHERNET_SIZE + IPV4_SIZE + 4);
}
