#include "drivers/port/sim/sim.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"

enum {
    MTU_DEFAULT = 1500,
    EXTENTS_DEFAULT = 16,
    TSO_DEFAULT = 65000,
    TX_RESERVE = 16,
    QUEUES_MAX = 16,
    PPM = 1000000
};

struct sim_frame {
    struct list link; /* in a port's committed list, or in a queue's 'arriving' */
    uint64_t arrive_us;
    struct sim_port *from; /* NULL: injected */
    size_t size;
    uint8_t data[];
};

struct sim_queue {
    struct port_queue base;
    struct list arriving;  /* by arrive_us */
    struct list committed; /* not yet flushed */
    uint8_t header[PORT_HEADER_MAX];
    bool is_begun;
};

struct sim_port {
    struct port base;
    struct sim_wire *wire;
    struct list link; /* in wire->ports */
    struct port_info info;
    struct sim_impairment impairment;
    struct sim_stats stats;
    uint16_t path_mtu;
    uint32_t tx_packets_max;
    uint32_t tx_packets;         /* committed or on the wire, first copies only */
    struct sim_port *bottleneck; /* whose rate holds: mostly its own */
    uint64_t wire_free_us;
    uint64_t last_arrive_us;
    struct sim_queue queues[QUEUES_MAX];
};

struct sim_wire {
    struct list ports;
    uint64_t random;
    void (*capture)(void *user, const struct port *from, struct bytes frame, uint64_t now_us);
    void *capture_user;
};

static struct sim_port *sim_port_of(struct port *p)
{
    return CONTAINER_OF(p, struct sim_port, base);
}

static_assert(offsetof(struct sim_port, base) == 0, "sim_port_view() casts");

static const struct sim_port *sim_port_view(const struct port *p)
{
    return (const struct sim_port *)(const void *)p;
}

static struct sim_queue *sim_queue_of(struct port_queue *q)
{
    return CONTAINER_OF(q, struct sim_queue, base);
}

/* splitmix64 (Steele, Lea and Flood, 2014). */
static uint64_t wire_random(struct sim_wire *w)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static bool wire_chance(struct sim_wire *w, uint32_t ppm)
{
    return ppm != 0 && wire_random(w) % PPM < ppm;
}

static uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

/* The plain loop of RFC 1071, on purpose: an oracle for the stack's faster ones. */
static uint16_t ones_sum(const uint8_t *data, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++)
        sum += (i & 1) != 0 ? data[i] : (uint32_t)data[i] << 8;
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Where the parts of a frame are; 'l3' is 0 when it is not IP. */
struct layout {
    size_t l3;
    size_t l4;
    size_t end;
    uint8_t protocol;
    bool is_ipv6;
    bool is_fragment;
};

static struct layout frame_layout(const uint8_t *data, size_t size)
{
    struct layout l = {.l3 = 14};
    uint16_t type = size >= 14 ? get_be16(data + 12) : 0;

    if (type == 0x8100 && size >= 18) {
        type = get_be16(data + 16);
        l.l3 = 18;
    }
    if (type == 0x0800 && size >= l.l3 + 20) {
        l.l4 = l.l3 + (size_t)(data[l.l3] & 0x0f) * 4;
        l.end = l.l3 + get_be16(data + l.l3 + 2);
        l.protocol = data[l.l3 + 9];
        l.is_fragment = (get_be16(data + l.l3 + 6) & 0x3fff) != 0;
    } else if (type == 0x86dd && size >= l.l3 + 40) {
        l.l4 = l.l3 + 40;
        l.end = l.l4 + get_be16(data + l.l3 + 4);
        l.protocol = data[l.l3 + 6];
        l.is_ipv6 = true;
    }
    if (l.end > size || l.l4 + 8 > l.end)
        l.l3 = 0;
    return l;
}

/* The sum of pseudo-header, TCP or UDP header and payload: 0xffff when the checksum is right. */
static uint16_t l4_sum(const uint8_t *data, const struct layout *l)
{
    uint32_t sum = (uint32_t)(l->end - l->l4) + l->protocol;

    sum = l->is_ipv6 ? ones_sum(data + l->l3 + 8, 32, sum) : ones_sum(data + l->l3 + 12, 8, sum);
    return ones_sum(data + l->l4, l->end - l->l4, sum);
}

static size_t l4_checksum_offset(uint8_t protocol)
{
    return protocol == 6 ? 16 : 6;
}

/* What a card does on transmit for the offloads that the packet asked for. */
static void fill_checksums(uint8_t *data, size_t size, uint32_t offloads)
{
    struct layout l = frame_layout(data, size);

    if (l.l3 == 0)
        return;
    if (!l.is_ipv6 && (offloads & PORT_OFFLOAD_IP_CHECKSUM) != 0) {
        put_be16(data + l.l3 + 10, 0);
        put_be16(data + l.l3 + 10, (uint16_t)~ones_sum(data + l.l3, l.l4 - l.l3, 0));
    }
    if ((l.protocol == 6 && (offloads & PORT_OFFLOAD_TCP_CHECKSUM) != 0) ||
        (l.protocol == 17 && (offloads & PORT_OFFLOAD_UDP_CHECKSUM) != 0)) {
        uint8_t *field = data + l.l4 + l4_checksum_offset(l.protocol);
        put_be16(field, 0);
        uint16_t sum = (uint16_t)~l4_sum(data, &l);
        put_be16(field, sum == 0 && l.protocol == 17 ? 0xffff : sum);
    }
}

static uint32_t rx_flags(const struct sim_port *p, const uint8_t *data, size_t size)
{
    struct layout l = frame_layout(data, size);
    uint32_t flags = 0;

    if ((p->info.offloads & PORT_OFFLOAD_RX_CHECKSUM) == 0 || l.l3 == 0)
        return 0;
    if (!l.is_ipv6)
        flags |= ones_sum(data + l.l3, l.l4 - l.l3, 0) == 0xffff ? PACKET_IN_IP_CHECKSUM_GOOD
                                                                 : PACKET_IN_IP_CHECKSUM_BAD;
    if (!l.is_fragment && (l.protocol == 6 || l.protocol == 17))
        flags |=
            l4_sum(data, &l) == 0xffff ? PACKET_IN_L4_CHECKSUM_GOOD : PACKET_IN_L4_CHECKSUM_BAD;
    return flags;
}

static struct sim_frame *frame_new(struct sim_port *from, const uint8_t *data, size_t size)
{
    struct sim_frame *f = malloc(sizeof(*f) + size);

    if (f == NULL)
        return NULL;
    *f = (struct sim_frame){.from = from, .size = size};
    memcpy(f->data, data, size);
    return f;
}

static void frame_free(struct sim_frame *f)
{
    list_remove(&f->link);
    free(f);
}

static void queue_insert(struct sim_queue *q, struct sim_frame *f)
{
    struct list *at = &q->arriving;

    while (at->prev != &q->arriving &&
           CONTAINER_OF(at->prev, struct sim_frame, link)->arrive_us > f->arrive_us)
        at = at->prev;
    list_insert_before(at, &f->link);
}

/* The same queue for both directions of a flow; what is not TCP or UDP goes to queue 0. */
static struct sim_queue *port_steer(struct sim_port *p, const struct sim_frame *f)
{
    struct layout l = frame_layout(f->data, f->size);
    uint32_t hash = 0;

    if (p->info.queues == 1 || l.l3 == 0 || (l.protocol != 6 && l.protocol != 17))
        return &p->queues[0];
    size_t addresses = l.l3 + (l.is_ipv6 ? 8 : 12);
    for (size_t i = addresses; i < l.l3 + (l.is_ipv6 ? 40 : 20); i += 2)
        hash += get_be16(f->data + i);
    hash += (uint32_t)get_be16(f->data + l.l4) + get_be16(f->data + l.l4 + 2);
    return &p->queues[hash % p->info.queues];
}

static bool port_takes(const struct sim_port *p, const struct sim_frame *f)
{
    return f->size >= 14 && ((f->data[0] & 1) != 0 || memcmp(f->data, p->info.mac, 6) == 0);
}

/* Gives a copy of 'f' to each other port that takes it. */
static void wire_deliver(struct sim_wire *w, struct sim_port *from, const struct sim_frame *f,
                         uint64_t arrive_us)
{
    list_for_each (node, &w->ports) {
        struct sim_port *to = CONTAINER_OF(node, struct sim_port, link);

        if (to == from || !port_takes(to, f))
            continue;
        struct sim_frame *copy = frame_new(from, f->data, f->size);
        if (copy == NULL)
            continue;
        copy->arrive_us = arrive_us;
        from->tx_packets++;
        queue_insert(port_steer(to, copy), copy);
    }
}

/* Bytes that wait for the rate. */
static uint64_t port_queued(const struct sim_port *from, uint64_t now_us)
{
    const struct sim_port *p = from->bottleneck;

    if (p->impairment.rate_bps == 0 || p->wire_free_us <= now_us)
        return 0;
    return (p->wire_free_us - now_us) * p->impairment.rate_bps / 8000000;
}

/* When the last bit of a frame of 'size' leaves; false: the queue before the rate is full. */
static bool port_departure(struct sim_port *from, size_t size, uint64_t now_us, uint64_t *ret_us)
{
    struct sim_port *p = from->bottleneck;
    const struct sim_impairment *i = &p->impairment;

    *ret_us = now_us;
    if (i->rate_bps == 0)
        return true;
    uint64_t start = p->wire_free_us > now_us ? p->wire_free_us : now_us;
    if (i->queue_bytes != 0 && port_queued(from, now_us) > i->queue_bytes)
        return false;
    p->wire_free_us = start + (size * 8000000 + i->rate_bps - 1) / i->rate_bps;
    *ret_us = p->wire_free_us;
    return true;
}

/* Marks an ECN-capable packet as a router does that has to choose between that and dropping it
 * (RFC 3168 §5). */
static void frame_mark(struct sim_port *p, struct sim_frame *f)
{
    struct layout l = frame_layout(f->data, f->size);
    uint8_t *ip = f->data + l.l3;
    unsigned shift = l.is_ipv6 ? 4 : 0;

    if (l.l3 == 0 || (ip[1] >> shift & 3) == 0)
        return;
    ip[1] |= (uint8_t)(3u << shift);
    p->stats.marked++;
    if (!l.is_ipv6) {
        put_be16(ip + 10, 0);
        put_be16(ip + 10, (uint16_t)~ones_sum(ip, l.l4 - l.l3, 0));
    }
}

static void port_transmit(struct sim_port *p, struct sim_frame *f, uint64_t now_us)
{
    struct sim_wire *w = p->wire;
    const struct sim_impairment *i = &p->impairment;

    p->stats.sent++;
    p->stats.bytes += f->size;
    if (w->capture != NULL)
        w->capture(w->capture_user, &p->base, bytes_of(f->data, f->size), now_us);
    uint64_t departs;
    uint64_t queued = port_queued(p, now_us);
    size_t l2_size = f->size > 18 && get_be16(f->data + 12) == 0x8100 ? 18 : 14;
    bool is_too_big = p->path_mtu != 0 && f->size > p->path_mtu + l2_size;
    if (!port_departure(p, f->size, now_us, &departs) || is_too_big ||
        wire_chance(w, i->loss_ppm)) {
        p->stats.lost++;
        return;
    }
    uint32_t mark_bytes = p->bottleneck->impairment.mark_bytes;
    if (wire_chance(w, i->mark_ppm) || (mark_bytes != 0 && queued > mark_bytes))
        frame_mark(p, f);
    bool is_arp = f->size > l2_size && get_be16(f->data + l2_size - 2) == 0x0806;
    if (f->size > 14 && wire_chance(w, i->corrupt_ppm) && !is_arp) {
        uint64_t bit = wire_random(w) % ((f->size - 14) * 8);
        f->data[14 + bit / 8] ^= (uint8_t)(1u << (bit % 8));
        p->stats.corrupted++;
    }

    uint64_t arrive = departs + i->delay_us;
    if (i->jitter_us != 0)
        arrive += wire_random(w) % (i->jitter_us + 1);
    if (arrive < p->last_arrive_us)
        arrive = p->last_arrive_us;
    if (wire_chance(w, i->reorder_ppm)) {
        arrive += wire_random(w) % (i->reorder_us + 1);
        p->stats.reordered++;
    } else {
        p->last_arrive_us = arrive;
    }
    wire_deliver(w, p, f, arrive);
    if (wire_chance(w, i->duplicate_ppm)) {
        p->stats.duplicated++;
        wire_deliver(w, p, f, arrive + wire_random(w) % 1000);
    }
}

static const struct port_info *sim_info(const struct port *p)
{
    return &sim_port_view(p)->info;
}

static struct port_queue *sim_queue(struct port *p, unsigned index)
{
    struct sim_port *port = sim_port_of(p);

    return index < port->info.queues ? &port->queues[index].base : NULL;
}

static unsigned sim_rx_burst(struct port_queue *q, struct packet_in *packets, unsigned max,
                             uint64_t now_us)
{
    struct sim_queue *queue = sim_queue_of(q);
    unsigned count = 0;

    while (count < max && !list_is_empty(&queue->arriving)) {
        struct sim_frame *f = CONTAINER_OF(queue->arriving.next, struct sim_frame, link);
        if (f->arrive_us > now_us)
            break;
        list_remove(&f->link);
        packets[count++] = (struct packet_in){
            .frame = bytes_of(f->data, f->size),
            .flags = rx_flags(sim_port_of(q->port), f->data, f->size),
            .handle = f,
        };
    }
    return count;
}

static void sim_rx_done(struct port_queue *q, const struct packet_in *packets, unsigned count)
{
    (void)q;
    for (unsigned i = 0; i < count; i++) {
        struct sim_frame *f = packets[i].handle;

        if (f->from != NULL)
            f->from->tx_packets--;
        frame_free(f);
    }
}

static uint8_t *sim_tx_begin(struct port_queue *q, bool is_control)
{
    struct sim_queue *queue = sim_queue_of(q);
    struct sim_port *p = sim_port_of(q->port);
    uint32_t max = p->tx_packets_max + (is_control ? TX_RESERVE : 0);

    CHECK(!queue->is_begun);
    if (p->tx_packets_max != 0 && p->tx_packets >= max)
        return NULL;
    queue->is_begun = true;
    return queue->header;
}

static int queue_commit_frame(struct sim_queue *q, struct sim_port *p, const uint8_t *data,
                              size_t size, size_t l2_size)
{
    if (size > l2_size + p->info.mtu) {
        p->stats.oversized++;
        return -EMSGSIZE;
    }
    struct sim_frame *f = frame_new(p, data, size);
    if (f == NULL)
        return -ENOBUFS;
    p->tx_packets++;
    list_push_back(&q->committed, &f->link);
    return 0;
}

/* Cuts one big frame into wire packets as a card with TSO does. */
static int queue_commit_segments(struct sim_queue *q, struct sim_port *p, uint8_t *data,
                                 size_t size, const struct packet_out *packet)
{
    enum { FLAG_FIN = 1, FLAG_PSH = 8 };
    size_t header = (size_t)packet->l2_size + packet->l3_size + packet->l4_size;
    size_t l3 = packet->l2_size;
    size_t l4 = l3 + packet->l3_size;
    uint8_t flags = data[l4 + 13];
    uint32_t seq = (uint32_t)get_be16(data + l4 + 4) << 16 | get_be16(data + l4 + 6);
    uint16_t id = packet->is_ipv6 ? 0 : get_be16(data + l3 + 4);
    uint8_t *segment = malloc(header + packet->segment_size);
    int error = segment == NULL ? -ENOBUFS : 0;

    for (size_t at = header; at < size && error == 0; at += packet->segment_size) {
        size_t payload = size - at < packet->segment_size ? size - at : packet->segment_size;
        uint32_t segment_seq = seq + (uint32_t)(at - header);
        memcpy(segment, data, header);
        memcpy(segment + header, data + at, payload);
        if (packet->is_ipv6) {
            put_be16(segment + l3 + 4, (uint32_t)(packet->l4_size + payload));
        } else {
            put_be16(segment + l3 + 2, (uint32_t)(header - l3 + payload));
            put_be16(segment + l3 + 4, id++);
        }
        put_be16(segment + l4 + 4, segment_seq >> 16);
        put_be16(segment + l4 + 6, segment_seq & 0xffff);
        if (at + payload < size)
            segment[l4 + 13] = (uint8_t)(flags & ~(FLAG_FIN | FLAG_PSH));
        fill_checksums(segment, header + payload,
                       PORT_OFFLOAD_IP_CHECKSUM | PORT_OFFLOAD_TCP_CHECKSUM);
        error = queue_commit_frame(q, p, segment, header + payload, packet->l2_size);
    }
    free(segment);
    return error;
}

static int sim_tx_commit(struct port_queue *q, const struct packet_out *packet)
{
    struct sim_queue *queue = sim_queue_of(q);
    struct sim_port *p = sim_port_of(q->port);
    size_t size = packet->header_size;
    int error;

    CHECK(queue->is_begun);
    CHECK(packet->header_size <= PORT_HEADER_MAX && packet->extent_count <= p->info.extents_max);
    CHECK((packet->offloads & ~p->info.offloads) == 0);
    queue->is_begun = false;
    for (unsigned i = 0; i < packet->extent_count; i++)
        size += packet->extents[i].size;
    uint8_t *data = malloc(size);
    if (data == NULL)
        return -ENOBUFS;
    memcpy(data, queue->header, packet->header_size);
    size_t at = packet->header_size;
    for (unsigned i = 0; i < packet->extent_count; i++) {
        const struct extent *e = &packet->extents[i];
        CHECK(e->size <= e->blob->size && e->offset <= e->blob->size - e->size);
        memcpy(data + at, extent_data(e), e->size);
        at += e->size;
    }
    if (packet->segment_size != 0) {
        CHECK((p->info.offloads & PORT_OFFLOAD_TSO) != 0);
        CHECK(size - packet->header_size <= p->info.tso_bytes_max);
        error = queue_commit_segments(queue, p, data, size, packet);
    } else {
        fill_checksums(data, size, packet->offloads);
        error =
            queue_commit_frame(queue, p, data, size, packet->l2_size != 0 ? packet->l2_size : 18);
    }
    free(data);
    return error;
}

static void sim_tx_cancel(struct port_queue *q)
{
    CHECK(sim_queue_of(q)->is_begun);
    sim_queue_of(q)->is_begun = false;
}

static void sim_tx_flush(struct port_queue *q, uint64_t now_us)
{
    struct sim_queue *queue = sim_queue_of(q);
    struct sim_port *p = sim_port_of(q->port);

    for (struct list *node; (node = list_pop_front(&queue->committed)) != NULL;) {
        struct sim_frame *f = CONTAINER_OF(node, struct sim_frame, link);
        port_transmit(p, f, now_us);
        p->tx_packets--;
        free(f);
    }
}

static int sim_wait_fd(struct port_queue *q)
{
    (void)q;
    return -1;
}

static void frames_drop(struct list *frames)
{
    for (struct list *node; (node = list_pop_front(frames)) != NULL;) {
        struct sim_frame *f = CONTAINER_OF(node, struct sim_frame, link);
        if (f->from != NULL)
            f->from->tx_packets--;
        free(f);
    }
}

static void sim_close(struct port **pp)
{
    struct port *base = *pp;

    *pp = NULL;
    if (base == NULL)
        return;
    struct sim_port *p = sim_port_of(base);
    for (unsigned i = 0; i < p->info.queues; i++) {
        frames_drop(&p->queues[i].arriving);
        frames_drop(&p->queues[i].committed);
    }
    /* Frames of ours that others have yet to receive must not point here. */
    list_for_each (node, &p->wire->ports) {
        struct sim_port *to = CONTAINER_OF(node, struct sim_port, link);
        for (unsigned i = 0; i < to->info.queues; i++)
            list_for_each (frame, &to->queues[i].arriving)
                if (CONTAINER_OF(frame, struct sim_frame, link)->from == p)
                    CONTAINER_OF(frame, struct sim_frame, link)->from = NULL;
    }
    list_remove(&p->link);
    free(p);
}

static const struct port_driver sim_driver = {
    .name = "sim",
    .info = sim_info,
    .queue = sim_queue,
    .rx_burst = sim_rx_burst,
    .rx_done = sim_rx_done,
    .tx_begin = sim_tx_begin,
    .tx_commit = sim_tx_commit,
    .tx_cancel = sim_tx_cancel,
    .tx_flush = sim_tx_flush,
    .wait_fd = sim_wait_fd,
    .close = sim_close,
};

struct sim_wire *sim_wire_new(uint64_t seed)
{
    struct sim_wire *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->random = seed;
    list_init(&w->ports);
    return w;
}

void sim_wire_free(struct sim_wire **pw)
{
    struct sim_wire *w = *pw;

    *pw = NULL;
    if (w == NULL)
        return;
    CHECK(list_is_empty(&w->ports));
    free(w);
}

int sim_port_new(struct sim_wire *wire, const struct sim_port_config *config, struct port **ret)
{
    struct sim_port *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    CHECK(config->queues <= QUEUES_MAX);
    p->base.driver = &sim_driver;
    p->wire = wire;
    p->bottleneck = p;
    p->tx_packets_max = config->tx_packets_max;
    p->info = (struct port_info){
        .mtu = config->mtu != 0 ? config->mtu : MTU_DEFAULT,
        .offloads = config->offloads,
        .extents_max = config->extents_max != 0 ? config->extents_max : EXTENTS_DEFAULT,
        .queues = config->queues != 0 ? config->queues : 1,
        .keeps_flows = true,
    };
    if ((config->offloads & PORT_OFFLOAD_TSO) != 0)
        p->info.tso_bytes_max = config->tso_bytes_max != 0 ? config->tso_bytes_max : TSO_DEFAULT;
    memcpy(p->info.mac, config->mac, sizeof(p->info.mac));
    for (unsigned i = 0; i < p->info.queues; i++) {
        p->queues[i].base = (struct port_queue){.driver = &sim_driver, .port = &p->base};
        list_init(&p->queues[i].arriving);
        list_init(&p->queues[i].committed);
    }
    list_push_back(&wire->ports, &p->link);
    *ret = &p->base;
    return 0;
}

void sim_impair(struct port *from, const struct sim_impairment *impairment)
{
    sim_port_of(from)->impairment = *impairment;
}

void sim_share_rate(struct port *from, struct port *of)
{
    sim_port_of(from)->bottleneck = sim_port_of(of);
}

void sim_path_mtu(struct port *from, uint16_t mtu)
{
    sim_port_of(from)->path_mtu = mtu;
}

const struct sim_stats *sim_port_stats(const struct port *p)
{
    return &sim_port_view(p)->stats;
}

uint64_t sim_wire_next_us(const struct sim_wire *wire)
{
    uint64_t next = UINT64_MAX;

    list_for_each (node, &wire->ports) {
        const struct sim_port *p = CONTAINER_OF(node, struct sim_port, link);
        for (unsigned i = 0; i < p->info.queues; i++) {
            const struct list *arriving = &p->queues[i].arriving;
            if (list_is_empty(arriving))
                continue;
            uint64_t at = CONTAINER_OF(arriving->next, struct sim_frame, link)->arrive_us;
            next = at < next ? at : next;
        }
    }
    return next;
}

int sim_inject(struct port *to, struct bytes frame, uint64_t at_us)
{
    struct sim_frame *f = frame_new(NULL, frame.ptr, frame.size);

    if (f == NULL)
        return -ENOMEM;
    f->arrive_us = at_us;
    queue_insert(port_steer(sim_port_of(to), f), f);
    return 0;
}

void sim_capture(struct sim_wire *wire,
                 void (*capture)(void *user, const struct port *from, struct bytes frame,
                                 uint64_t now_us),
                 void *user)
{
    wire->capture = capture;
    wire->capture_user = user;
}
