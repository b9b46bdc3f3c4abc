#include "tests/conformance/packetdrill/ip_wire.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/wire.h"

enum {
    ND_TYPE_FIRST = 130, /* multicast listener and neighbour discovery, RFC 2710, 4861, 3810 */
    ND_TYPE_LAST = 137,
    ND_SOLICITATION = 135,
    ND_ADVERTISEMENT = 136,
    MLD2_REPORT = 143,
    ND_MESSAGE_SIZE = 32, /* an advertisement with one link-layer address option */
    INPUT_MTU_MAX = 65535
};

/* A frame on its way to the stack. */
struct ip_frame {
    struct list link;
    size_t size;
    uint8_t data[];
};

struct ip_wire {
    struct port port;
    struct port_queue queue;
    struct port_info info;
    const uint64_t *now_us;
    void (*sent)(void *user, struct bytes packet);
    void *user;
    struct list input;  /* of struct ip_frame */
    struct list output; /* of struct ip_packet */
    uint8_t header[PORT_HEADER_MAX];
    bool is_begun;
};

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

static struct ip_wire *wire_of(struct port_queue *q)
{
    return CONTAINER_OF(q, struct ip_wire, queue);
}

static const struct port_info *wire_info(const struct port *p)
{
    return &((const struct ip_wire *)(const void *)p)->info;
}
static_assert(offsetof(struct ip_wire, port) == 0, "wire_info() casts");

static struct port_queue *wire_queue(struct port *p, unsigned index)
{
    CHECK(index == 0);
    return &CONTAINER_OF(p, struct ip_wire, port)->queue;
}

static unsigned wire_rx_burst(struct port_queue *q, struct packet_in *packets, unsigned max,
                              uint64_t now_us)
{
    struct ip_wire *w = wire_of(q);
    unsigned count = 0;

    (void)now_us;
    while (count < max) {
        struct list *node = list_pop_front(&w->input);
        if (node == NULL)
            break;
        struct ip_frame *f = CONTAINER_OF(node, struct ip_frame, link);
        packets[count++] = (struct packet_in){.frame = bytes_of(f->data, f->size), .handle = f};
    }
    return count;
}

static void wire_rx_done(struct port_queue *q, const struct packet_in *packets, unsigned count)
{
    (void)q;
    for (unsigned i = 0; i < count; i++)
        free(packets[i].handle);
}

static uint8_t *wire_tx_begin(struct port_queue *q, bool is_control)
{
    struct ip_wire *w = wire_of(q);

    (void)is_control;
    CHECK(!w->is_begun);
    w->is_begun = true;
    return w->header;
}

static void frame_push(struct ip_wire *w, const uint8_t *l3, size_t size, uint16_t type)
{
    struct ip_frame *f = malloc(sizeof(*f) + ETHERNET_SIZE + size);

    if (f == NULL)
        return; /* as if lost on the wire */
    memcpy(f->data, w->info.mac, 6);
    memcpy(f->data + 6, peer_mac, 6);
    store_be16(f->data + 12, type);
    memcpy(f->data + ETHERNET_SIZE, l3, size);
    f->link = (struct list){0};
    f->size = ETHERNET_SIZE + size;
    list_push_back(&w->input, &f->link);
}

static void arp_answer(struct ip_wire *w, const uint8_t *message, size_t size)
{
    static const uint8_t fixed[6] = {0, 1, 8, 0, 6, 4};
    static const uint8_t zero[4];
    uint8_t reply[ARP_SIZE];

    if (size < ARP_SIZE || load_be16(message + 6) != ARP_REQUEST)
        return;
    const uint8_t *sender = message + 14;
    const uint8_t *target = message + 24;
    /* Announcements and probes are about the stack's own address (RFC 5227). */
    if (memcmp(sender, target, 4) == 0 || memcmp(sender, zero, 4) == 0)
        return;
    memcpy(reply, fixed, sizeof(fixed));
    store_be16(reply + 6, ARP_REPLY);
    memcpy(reply + 8, peer_mac, 6);
    memcpy(reply + 14, target, 4);
    memcpy(reply + 18, message + 8, 10);
    frame_push(w, reply, sizeof(reply), ETHERTYPE_ARP);
}

/* RFC 4861 §4.4. */
static void nd_answer(struct ip_wire *w, const uint8_t *ip, size_t size)
{
    static const uint8_t zero[16];
    uint8_t reply[IPV6_SIZE + ND_MESSAGE_SIZE] = {0x60};
    uint8_t *icmp = reply + IPV6_SIZE;
    const uint8_t *source = ip + 8;
    const uint8_t *target = ip + IPV6_SIZE + 8;

    /* From nobody: the stack asks whether its own address is free (RFC 4862 §5.4). */
    if (size < IPV6_SIZE + 24 || memcmp(source, zero, sizeof(zero)) == 0)
        return;
    store_be16(reply + 4, ND_MESSAGE_SIZE);
    reply[6] = PROTOCOL_ICMPV6;
    reply[7] = 255;
    memcpy(reply + 8, target, 16);
    memcpy(reply + 24, source, 16);
    icmp[0] = ND_ADVERTISEMENT;
    icmp[4] = 0x60; /* solicited, override */
    memcpy(icmp + 8, target, 16);
    icmp[24] = 2; /* target link-layer address */
    icmp[25] = 1;
    memcpy(icmp + 26, peer_mac, 6);
    uint32_t sum = checksum_pseudo_header(target, source, 6, PROTOCOL_ICMPV6) + ND_MESSAGE_SIZE +
                   checksum_sum(icmp, ND_MESSAGE_SIZE);
    store_be16(icmp + 2, checksum_finish(sum));
    frame_push(w, reply, sizeof(reply), ETHERTYPE_IPV6);
}

/* True: it was about the link, and is done with. */
static bool link_takes(struct ip_wire *w, const uint8_t *l3, size_t size, uint16_t type)
{
    if (type == ETHERTYPE_ARP) {
        arp_answer(w, l3, size);
        return true;
    }
    if (type == ETHERTYPE_IPV4)
        return size < IPV4_SIZE;
    if (type != ETHERTYPE_IPV6 || size < IPV6_SIZE)
        return true;
    if (l3[6] == PROTOCOL_HOP_BY_HOP)
        return true; /* multicast listener reports */
    if (l3[6] != PROTOCOL_ICMPV6 || size < IPV6_SIZE + 4)
        return false;
    uint8_t icmp_type = l3[IPV6_SIZE];
    if (icmp_type == ND_SOLICITATION)
        nd_answer(w, l3, size);
    return (icmp_type >= ND_TYPE_FIRST && icmp_type <= ND_TYPE_LAST) || icmp_type == MLD2_REPORT;
}

static int wire_tx_commit(struct port_queue *q, const struct packet_out *packet)
{
    struct ip_wire *w = wire_of(q);
    size_t size = packet->header_size;

    CHECK(w->is_begun && packet->header_size >= packet->l2_size);
    w->is_begun = false;
    for (unsigned i = 0; i < packet->extent_count; i++)
        size += packet->extents[i].size;
    size_t l3_size = size - packet->l2_size;
    if (l3_size > w->info.mtu)
        return -EMSGSIZE;
    struct ip_packet *p = malloc(sizeof(*p) + l3_size);
    if (p == NULL)
        return -ENOBUFS;
    size_t at = (size_t)(packet->header_size - packet->l2_size);
    memcpy(p->data, w->header + packet->l2_size, at);
    for (unsigned i = 0; i < packet->extent_count; i++) {
        memcpy(p->data + at, extent_data(&packet->extents[i]), packet->extents[i].size);
        at += packet->extents[i].size;
    }
    p->link = (struct list){0};
    p->size = l3_size;
    p->sent_us = *w->now_us;
    if (link_takes(w, p->data, l3_size, load_be16(w->header + packet->l2_size - 2))) {
        free(p);
        return 0;
    }
    list_push_back(&w->output, &p->link);
    w->sent(w->user, bytes_of(p->data, l3_size));
    return 0;
}

static void wire_tx_cancel(struct port_queue *q)
{
    wire_of(q)->is_begun = false;
}

static void wire_tx_flush(struct port_queue *q, uint64_t now_us)
{
    (void)q;
    (void)now_us;
}

static int wire_wait_fd(struct port_queue *q)
{
    (void)q;
    return -1;
}

static void wire_close(struct port **p)
{
    *p = NULL;
}

static const struct port_driver wire_driver = {
    .name = "ip_wire",
    .info = wire_info,
    .queue = wire_queue,
    .rx_burst = wire_rx_burst,
    .rx_done = wire_rx_done,
    .tx_begin = wire_tx_begin,
    .tx_commit = wire_tx_commit,
    .tx_cancel = wire_tx_cancel,
    .tx_flush = wire_tx_flush,
    .wait_fd = wire_wait_fd,
    .close = wire_close,
};

struct ip_wire *ip_wire_new(uint16_t mtu, const uint64_t *now_us,
                            void (*sent)(void *user, struct bytes packet), void *user)
{
    struct ip_wire *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->port.driver = &wire_driver;
    w->queue.driver = &wire_driver;
    w->queue.port = &w->port;
    w->info = (struct port_info){.mac = {2, 0, 0, 0, 0, 1},
                                 .mtu = mtu,
                                 .offloads = PORT_OFFLOAD_MULTI_SEGMENT,
                                 .extents_max = 16,
                                 .queues = 1};
    w->now_us = now_us;
    w->sent = sent;
    w->user = user;
    list_init(&w->input);
    list_init(&w->output);
    return w;
}

void ip_wire_drop_output(struct ip_wire *w)
{
    struct ip_packet *p;

    while ((p = ip_wire_take(w)) != NULL)
        free(p);
}

void ip_wire_free(struct ip_wire **wire)
{
    struct ip_wire *w = *wire;
    struct list *node;

    *wire = NULL;
    if (w == NULL)
        return;
    while ((node = list_pop_front(&w->input)) != NULL)
        free(CONTAINER_OF(node, struct ip_frame, link));
    ip_wire_drop_output(w);
    free(w);
}

struct port_queue *ip_wire_queue(struct ip_wire *w)
{
    return &w->queue;
}

int ip_wire_inject(struct ip_wire *w, struct bytes packet)
{
    if (packet.size == 0 || packet.size > INPUT_MTU_MAX)
        return -EINVAL;
    uint8_t version = packet.ptr[0] >> 4;
    if (version != 4 && version != 6)
        return -EINVAL;
    frame_push(w, packet.ptr, packet.size, version == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    return 0;
}

bool ip_wire_has_input(const struct ip_wire *w)
{
    return !list_is_empty(&w->input);
}

struct ip_packet *ip_wire_take(struct ip_wire *w)
{
    struct list *node = list_pop_front(&w->output);

    return node == NULL ? NULL : CONTAINER_OF(node, struct ip_packet, link);
}

bool ip_wire_has_output(const struct ip_wire *w)
{
    return !list_is_empty(&w->output);
}
