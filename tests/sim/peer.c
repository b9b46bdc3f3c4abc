#include "tests/sim/peer.h"

#include <arpa/inet.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 0x99};

size_t peer_frame_ip(const struct peer *p, uint8_t protocol, const uint8_t *payload, size_t size,
                     uint8_t *out)
{
    size_t l3 = p->family == 4 ? IPV4_SIZE : IPV6_SIZE;
    uint8_t *ip = out + ETHERNET_SIZE;

    memcpy(out, p->host->port->driver->info(p->host->port)->mac, 6);
    memcpy(out + 6, peer_mac, 6);
    store_be16(out + 12, p->family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    memset(ip, 0, l3);
    if (p->family == 4) {
        ip[0] = 0x45;
        store_be16(ip + 2, (uint16_t)(l3 + size));
        ip[8] = 64;
        ip[9] = protocol;
        memcpy(ip + 12, p->address.addr, 4);
        memcpy(ip + 16, p->local.addr, 4);
        store_be16(ip + 10, checksum_finish(checksum_sum(ip, l3)));
    } else {
        store_be32(ip, 0x60000000);
        store_be16(ip + 4, (uint16_t)size);
        ip[6] = protocol;
        ip[7] = 64;
        memcpy(ip + 8, p->address.addr, 16);
        memcpy(ip + 24, p->local.addr, 16);
    }
    if (size > 0)
        memcpy(ip + l3, payload, size);

    size_t field = protocol == PROTOCOL_TCP ? 16 : protocol == PROTOCOL_UDP ? 6 : 2;
    if (field + 2 <= size) {
        uint8_t *l4 = ip + l3;
        uint32_t sum = 0;
        store_be16(l4 + field, 0);
        if (protocol != PROTOCOL_ICMP)
            sum = checksum_pseudo_header(p->address.addr, p->local.addr, p->family, protocol) +
                  (uint32_t)size;
        store_be16(l4 + field, checksum_finish(sum + checksum_sum(l4, size)));
    }
    return ETHERNET_SIZE + l3 + size;
}

static void answer_arp(struct peer *p, const uint8_t *request, uint64_t now_us)
{
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE];

    memcpy(frame, request + 6, 6);
    memcpy(frame + 6, peer_mac, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    memcpy(frame + ETHERNET_SIZE, request + ETHERNET_SIZE, 8);
    store_be16(frame + ETHERNET_SIZE + 6, ARP_REPLY);
    memcpy(frame + ETHERNET_SIZE + 8, peer_mac, 6);
    memcpy(frame + ETHERNET_SIZE + 14, p->address.addr, 4);
    memcpy(frame + ETHERNET_SIZE + 18, request + 6, 6);
    memcpy(frame + ETHERNET_SIZE + 24, request + ETHERNET_SIZE + 14, 4);
    CHECK(sim_inject(p->host->port, bytes_of(frame, sizeof(frame)), now_us) == 0);
}

static void answer_solicit(struct peer *p, uint64_t now_us)
{
    uint8_t message[32] = {ICMP6_NEIGHBOUR_ADVERT, [4] = 0x60, [24] = 2, [25] = 1};
    uint8_t frame[PEER_FRAME_BYTES];

    memcpy(message + 8, p->address.addr, 16);
    memcpy(message + 26, peer_mac, 6);
    size_t size = peer_frame_ip(p, PROTOCOL_ICMPV6, message, sizeof(message), frame);
    frame[ETHERNET_SIZE + 7] = 255;
    CHECK(sim_inject(p->host->port, bytes_of(frame, size), now_us) == 0);
}

/* True: the frame asked for the peer's link address, and its answer is on the way. */
static bool is_answered(struct peer *p, struct bytes frame, uint64_t now_us)
{
    const uint8_t *l3 = frame.ptr + ETHERNET_SIZE;
    uint16_t type = load_be16(frame.ptr + 12);

    if (p->is_mute)
        return false;
    if (type == ETHERTYPE_ARP && load_be16(l3 + 6) == ARP_REQUEST &&
        memcmp(l3 + 24, p->address.addr, 4) == 0) {
        answer_arp(p, frame.ptr, now_us);
        return true;
    }
    if (type == ETHERTYPE_IPV6 && l3[6] == PROTOCOL_ICMPV6 &&
        l3[IPV6_SIZE] == ICMP6_NEIGHBOUR_SOLICIT &&
        memcmp(l3 + IPV6_SIZE + ICMP_SIZE, p->address.addr, 16) == 0) {
        answer_solicit(p, now_us);
        return true;
    }
    return false;
}

static void on_capture(void *user, const struct port *from, struct bytes frame, uint64_t now_us)
{
    struct peer *p = user;

    if (from != p->host->port || is_answered(p, frame, now_us))
        return;
    CHECK(p->count < PEER_FRAMES_MAX);
    struct peer_frame *f = &p->frames[(p->head + p->count) % PEER_FRAMES_MAX];
    f->size = frame.size < PEER_FRAME_BYTES ? frame.size : PEER_FRAME_BYTES;
    memcpy(f->data, frame.ptr, f->size);
    p->count++;
}

void peer_init(struct peer *p, struct world *w, struct world_host *host, uint8_t family)
{
    memset(p, 0, offsetof(struct peer, frames));
    p->world = w;
    p->host = host;
    p->family = family;
    endpoint_parse(family == 4 ? "10.0.0.99:5555" : "[2001:db8::99]:5555", &p->address);
    endpoint_parse(family == 4 ? "10.0.0.1:80" : "[2001:db8::1]:80", &p->local);
    p->window = UINT16_MAX;
    p->snd_nxt = 1000;
    sim_capture(w->wire, on_capture, p);
}

void peer_send_frame(struct peer *p, struct bytes frame)
{
    CHECK(sim_inject(p->host->port, frame, p->world->now_us) == 0);
    world_turn(p->world);
}

void peer_send_ip(struct peer *p, uint8_t protocol, const uint8_t *payload, size_t size)
{
    uint8_t frame[PEER_FRAME_BYTES];

    peer_send_frame(p, bytes_of(frame, peer_frame_ip(p, protocol, payload, size, frame)));
}

static void set_ecn(const struct peer *p, uint8_t ecn, uint8_t *ip)
{
    if (p->family == 6) {
        ip[1] = (uint8_t)(ecn << 4);
        return;
    }
    ip[1] = ecn;
    store_be16(ip + 10, 0);
    store_be16(ip + 10, checksum_finish(checksum_sum(ip, IPV4_SIZE)));
}

void peer_send(struct peer *p, const struct peer_segment *segment)
{
    uint8_t frame[PEER_FRAME_BYTES];
    uint8_t l4[PEER_FRAME_BYTES - 64] = {0};
    struct tcp_options options = segment->options;
    size_t size = TCP_SIZE;

    store_be16(l4, segment->peer_port != 0 ? segment->peer_port : PEER_PORT);
    store_be16(l4 + 2, segment->local_port != 0 ? segment->local_port : PEER_HOST_PORT);
    store_be32(l4 + 4, segment->seq);
    store_be32(l4 + 8, segment->ack);
    l4[13] = segment->flags;
    store_be16(l4 + 14, segment->window);
    if (p->has_timestamps && !options.has_timestamps) {
        options.has_timestamps = true;
        options.ts_value = p->ts_value;
        options.ts_echo = p->ts_recent;
    }
    size += tcp_options_write_syn(&options, l4 + TCP_SIZE);
    size +=
        tcp_options_write_sack(options.sacks, options.sack_count, TCP_SIZE + 40 - size, l4 + size);
    l4[12] = (uint8_t)(size / 4 << 4);
    CHECK(segment->payload.size <= sizeof(l4) - size);
    if (segment->payload.size > 0)
        memcpy(l4 + size, segment->payload.ptr, segment->payload.size);
    size = peer_frame_ip(p, PROTOCOL_TCP, l4, size + segment->payload.size, frame);
    set_ecn(p, segment->ecn, frame + ETHERNET_SIZE);
    peer_send_frame(p, bytes_of(frame, size));
}

bool peer_next_frame(struct peer *p, struct bytes *ret_frame)
{
    if (p->count == 0)
        return false;
    struct peer_frame *f = &p->frames[p->head];
    p->head = (p->head + 1) % PEER_FRAMES_MAX;
    p->count--;
    *ret_frame = bytes_of(f->data, f->size);
    return true;
}

bool peer_next_ip(struct peer *p, uint8_t protocol, struct bytes *ret_payload)
{
    struct bytes frame;
    size_t l3 = p->family == 4 ? IPV4_SIZE : IPV6_SIZE;
    uint16_t type = p->family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6;

    while (peer_next_frame(p, &frame)) {
        const uint8_t *ip = frame.ptr + ETHERNET_SIZE;
        if (load_be16(frame.ptr + 12) != type || ip[p->family == 4 ? 9 : 6] != protocol)
            continue;
        if (memcmp(frame.ptr, peer_mac, 6) != 0)
            continue;
        *ret_payload = bytes_from(frame, ETHERNET_SIZE + l3);
        return true;
    }
    return false;
}

bool peer_next(struct peer *p, struct peer_segment *ret_segment)
{
    struct bytes l4;

    if (!peer_next_ip(p, PROTOCOL_TCP, &l4))
        return false;
    size_t header = (size_t)(l4.ptr[12] >> 4) * 4;
    uint32_t sum = checksum_pseudo_header(p->local.addr, p->address.addr, p->family, PROTOCOL_TCP) +
                   (uint32_t)l4.size + checksum_sum(l4.ptr, l4.size);
    CHECK(checksum_fold(sum) == 0xffff);
    bool is_v4 = p->family == 4;
    const uint8_t *ip = l4.ptr - (is_v4 ? IPV4_SIZE : IPV6_SIZE);
    CHECK(!is_v4 || checksum_sum(ip, IPV4_SIZE) == 0xffff);
    *ret_segment = (struct peer_segment){
        .seq = load_be32(l4.ptr + 4),
        .ack = load_be32(l4.ptr + 8),
        .flags = l4.ptr[13],
        .ecn = (is_v4 ? ip[1] : ip[1] >> 4) & IP_ECN_MASK,
        .window = load_be16(l4.ptr + 14),
        .payload = bytes_from(l4, header),
        .local_port = load_be16(l4.ptr),
        .peer_port = load_be16(l4.ptr + 2),
    };
    CHECK(tcp_options_parse(bytes_of(l4.ptr + TCP_SIZE, header - TCP_SIZE),
                            &ret_segment->options) == 0);
    if (ret_segment->options.has_timestamps)
        p->ts_recent = ret_segment->options.ts_value;
    return true;
}

void peer_drop_all(struct peer *p)
{
    struct bytes frame;

    while (peer_next_frame(p, &frame))
        continue;
}

bool peer_handshake(struct peer *p, const struct tcp_options *options)
{
    struct peer_segment reply;

    peer_send(p,
              &(struct peer_segment){
                  .seq = p->snd_nxt, .flags = TCP_SYN, .window = p->window, .options = *options});
    if (!peer_next(p, &reply) || reply.flags != (TCP_SYN | TCP_ACK) || reply.ack != p->snd_nxt + 1)
        return false;
    p->snd_nxt++;
    p->rcv_nxt = reply.seq + 1;
    p->has_timestamps = reply.options.has_timestamps;
    if (options->has_timestamps)
        p->ts_value = options->ts_value + 1;
    peer_ack(p, p->rcv_nxt);
    return true;
}

void peer_send_data(struct peer *p, uint8_t flags, struct bytes payload)
{
    peer_send(p, &(struct peer_segment){.seq = p->snd_nxt,
                                        .ack = p->rcv_nxt,
                                        .flags = flags,
                                        .window = p->window,
                                        .payload = payload});
    p->snd_nxt += (uint32_t)payload.size + ((flags & TCP_FIN) != 0) + ((flags & TCP_SYN) != 0);
}

void peer_ack(struct peer *p, uint32_t ack)
{
    peer_send(p, &(struct peer_segment){
                     .seq = p->snd_nxt, .ack = ack, .flags = TCP_ACK, .window = p->window});
}
