/* What this stack does not take goes to the kernel's, and what that sends goes out of the port:
 * a kernel's sshd or bird on our addresses keeps working.
 *
 * Nothing of a stream or datagram that is ours goes there, nor comes from there: the kernel has no
 * socket for it and would answer with a reset. ARP requests and neighbour solicitations for our
 * addresses are answered here alone, answers and router advertisements are for both. */
#include <errno.h>

#include "dataplane/net/stack.h"

enum {
    KERNEL_FRAMES_PER_TURN = 64, /* each way: a write costs microseconds that viewers wait for */
    KERNEL_BLOBS = 128           /* frames from the kernel that the port has not sent yet */
};

int exception_init(struct net_stack *s)
{
    if (s->config.kernel_put == NULL)
        return 0;
    s->kernel_rate.per_second =
        s->config.kernel_per_second != 0 ? s->config.kernel_per_second : NET_KERNEL_PER_SECOND;
    s->kernel_blobs =
        blob_pool_new(s->env->blob_home, KERNEL_BLOBS, (uint32_t)ETHERNET_SIZE + s->mtu);
    if (s->kernel_blobs == NULL)
        return -ENOMEM;
    if (s->driver->register_memory == NULL)
        return 0;
    return s->driver->register_memory(s->queue->port, blob_pool_memory(s->kernel_blobs));
}

bool exception_put(struct net_stack *s, const struct net_rx *rx)
{
    if (s->config.kernel_put == NULL)
        return false;
    if (s->kernel_puts_left == 0 || !rate_take(&s->kernel_rate, s->now_us)) {
        NET_COUNT(s, net_kernel_limited);
        return true;
    }
    s->kernel_puts_left--;
    /* Without the VLAN tag: the kernel's interface is in the VLAN. */
    struct bytes macs = bytes_of(rx->frame.ptr, 12);
    struct bytes rest = bytes_from(rx->frame, rx->l2_size - 2u);
    if (s->config.kernel_put(s->config.kernel_user, macs, rest) < 0)
        NET_COUNT(s, net_kernel_dropped);
    else
        NET_COUNT(s, net_kernel_received);
    return true;
}

bool exception_is_ours(const struct net_stack *s, uint8_t protocol, const struct endpoint *local)
{
    if (protocol == PROTOCOL_TCP)
        for (uint32_t i = 0; i < s->tcp.listener_count; i++)
            if (endpoint_takes(&s->tcp.listeners[i].local, local->family, local->addr, local->port))
                return true;
    if (protocol == PROTOCOL_UDP)
        for (uint32_t i = 0; i < s->bind_count; i++)
            if (endpoint_takes(&s->binds[i].local, local->family, local->addr, local->port))
                return true;
    return false;
}

/* Whether the kernel may send this frame: from the port's own MAC, not from a port of ours. */
static bool kernel_may_send(const struct net_stack *s, struct bytes frame)
{
    const uint8_t *h = frame.ptr;

    if (frame.size < ETHERNET_SIZE || frame.size > (size_t)ETHERNET_SIZE + s->mtu ||
        memcmp(h + 6, s->info->mac, 6) != 0)
        return false;
    uint16_t type = load_be16(h + 12);
    const uint8_t *ip = h + ETHERNET_SIZE;
    struct endpoint local;
    uint8_t protocol;
    if (type == ETHERTYPE_IPV4 && frame.size >= ETHERNET_SIZE + IPV4_SIZE + 4) {
        size_t l4 = (size_t)(ip[0] & 0x0f) * 4;
        if (l4 < IPV4_SIZE || frame.size < ETHERNET_SIZE + l4 + 2)
            return false;
        protocol = ip[9];
        local = endpoint_of(4, ip + 12, load_be16(ip + l4));
    } else if (type == ETHERTYPE_IPV6 && frame.size >= ETHERNET_SIZE + IPV6_SIZE + 4) {
        protocol = ip[6];
        local = endpoint_of(6, ip + 8, load_be16(ip + IPV6_SIZE));
    } else {
        return true;
    }
    return !exception_is_ours(s, protocol, &local);
}

static void kernel_forward(struct net_stack *s, struct blob *blob)
{
    struct bytes frame = bytes_of(blob_pool_data(blob), blob->size);
    struct net_packet packet;
    struct extent extent = extent_of(blob);

    size_t at = packet_write_ethernet(s, &packet, frame.ptr, load_be16(frame.ptr + 12));
    /* As much as the header holds: some devices want all headers in the first piece. */
    struct bytes rest = bytes_from(frame, ETHERNET_SIZE);
    size_t copied = rest.size < PORT_HEADER_MAX - at ? rest.size : PORT_HEADER_MAX - at;
    memcpy(packet.header + at, rest.ptr, copied);
    packet.out.header_size = (uint16_t)(at + copied);
    if (copied < rest.size) {
        extent.offset += (uint32_t)(ETHERNET_SIZE + copied);
        extent.size -= (uint32_t)(ETHERNET_SIZE + copied);
        packet.out.extents = &extent;
        packet.out.extent_count = 1;
    }
    if (packet_commit(s, &packet, false) < 0)
        NET_COUNT(s, net_kernel_dropped);
    else
        NET_COUNT(s, net_kernel_sent);
}

unsigned exception_poll(struct net_stack *s)
{
    unsigned count = 0;

    if (s->config.kernel_put == NULL)
        return 0;
    s->kernel_puts_left = KERNEL_FRAMES_PER_TURN;
    while (count < KERNEL_FRAMES_PER_TURN) {
        struct blob *blob = blob_pool_get(s->kernel_blobs);
        if (blob == NULL) /* the rest waits in the kernel's queue, which is bounded */
            break;
        size_t size = s->config.kernel_get(s->config.kernel_user, blob_pool_data(blob),
                                           blob_pool_blob_size(s->kernel_blobs));
        blob->size = (uint32_t)size;
        if (size > 0 && !kernel_may_send(s, bytes_of(blob_pool_data(blob), size)))
            NET_COUNT(s, net_kernel_refused);
        else if (size > 0)
            kernel_forward(s, blob);
        blob_unref(&blob);
        if (size == 0)
            break;
        count++;
    }
    return count;
}
