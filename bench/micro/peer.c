#include "bench/micro/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

enum {
    ETHERNET_BYTES = 14,
    IP_BYTES = 20,
    TCP_BYTES = 20,
    TIMESTAMP_OPTION_BYTES = 12,
    HEADER_BYTES = ETHERNET_BYTES + IP_BYTES + TCP_BYTES + TIMESTAMP_OPTION_BYTES,
    SYN_OPTION_BYTES = 20,
    REQUEST_BYTES_MAX = PORT_HEADER_MAX - HEADER_BYTES,
    SERVER_PORT = 8080,
    FIRST_PORT = 10000,
    VIEWERS_PER_ADDRESS = 50000,
    FIRST_HOST = 2, /* 10.91.0.2 and on */
    WINDOW_SCALE = 10,
    DELAYED_ACK_US = 40000, /* as Linux */
    HELD_MAX = 3,           /* ranges behind a gap: as many as an ACK can tell */
    TCP_FIN = 1,
    TCP_SYN = 2,
    TCP_RST = 4,
    TCP_PSH = 8,
    TCP_ACK = 16
};

static const uint8_t peer_network[3] = {10, 91, 0};
static const uint8_t server_ip[4] = {10, 91, 0, 1};

struct range {
    uint32_t start;
    uint32_t end;
};

struct viewer {
    uint32_t send_next;
    uint32_t receive_next;
    uint32_t timestamp_echo;
    uint32_t path;
    uint64_t received;
    uint64_t response_left;
    uint64_t ack_due_us;
    struct range held[HELD_MAX]; /* the latest first */
    uint8_t held_count;
    uint8_t unacknowledged; /* packets */
    bool is_established;
    bool is_owed; /* in peer.owed */
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

static uint32_t get16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return get16(at) << 16 | get16(at + 2);
}

static uint32_t sum_words(const uint8_t *at, size_t size, uint32_t sum)
{
    for (size_t i = 0; i + 1 < size; i += 2)
        sum += get16(at + i);
    if (size % 2 != 0)
        sum += (uint32_t)at[size - 1] << 8;
    return sum;
}

static uint32_t sum_fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return ((sum & 0xffff) + (sum >> 16)) & 0xffff;
}

/* The ranges behind the gap (RFC 2018 §3), if there are any. */
static void put_sack(uint8_t *at, const struct viewer *v)
{
    if (v->held_count == 0)
        return;
    at[0] = 1;
    at[1] = 1;
    at[2] = 5;
    at[3] = (uint8_t)(2 + 8 * v->held_count);
    for (unsigned i = 0; i < v->held_count; i++) {
        put32(at + 4 + 8 * i, v->held[i].start);
        put32(at + 8 + 8 * i, v->held[i].end);
    }
}

/* Sends one frame with 'payload' in it (requests are small enough). */
static void peer_send(struct peer *p, uint32_t index, uint8_t flags, struct bytes payload)
{
    struct viewer *v = &p->viewers[index];
    uint8_t *f = p->queue->driver->tx_begin(p->queue, false);
    size_t sack_bytes = v->held_count > 0 ? 4 + 8u * v->held_count : 0;
    size_t option_bytes =
        (flags & TCP_SYN) != 0 ? SYN_OPTION_BYTES : TIMESTAMP_OPTION_BYTES + sack_bytes;
    size_t tcp_size = TCP_BYTES + option_bytes + payload.size;

    if (f == NULL) {
        p->disorder++;
        return;
    }
    uint8_t *ip = f + ETHERNET_BYTES;
    uint8_t *tcp = ip + IP_BYTES;
    memset(f, 0, ETHERNET_BYTES + IP_BYTES + TCP_BYTES + option_bytes);
    memcpy(f, p->server_mac, 6);
    memcpy(f + 6, p->mac, 6);
    put16(f + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (uint32_t)(IP_BYTES + tcp_size));
    ip[6] = 0x40;
    ip[8] = 64;
    ip[9] = 6;
    memcpy(ip + 12, peer_network, 3);
    ip[15] = (uint8_t)(FIRST_HOST + index / VIEWERS_PER_ADDRESS);
    memcpy(ip + 16, server_ip, 4);
    put16(ip + 10, ~sum_fold(sum_words(ip, IP_BYTES, 0)) & 0xffff);

    put16(tcp, FIRST_PORT + index % VIEWERS_PER_ADDRESS);
    put16(tcp + 2, SERVER_PORT);
    put32(tcp + 4, v->send_next);
    put32(tcp + 8, v->receive_next);
    tcp[12] = (uint8_t)((TCP_BYTES + option_bytes) / 4 << 4);
    tcp[13] = flags;
    put16(tcp + 14, 0xffff);
    uint8_t *option = tcp + TCP_BYTES;
    if ((flags & TCP_SYN) != 0) { /* MSS, window scale, SACK permitted, timestamps */
        static const uint8_t syn_options[] = {2, 4, 0, 0, 3, 3, WINDOW_SCALE, 1, 4, 2};
        memcpy(option, syn_options, sizeof(syn_options));
        put16(option + 2, p->mss);
        option += sizeof(syn_options);
    } else {
        *option++ = 1;
        *option++ = 1;
    }
    option[0] = 8;
    option[1] = 10;
    put32(option + 2, p->timestamp);
    put32(option + 6, v->timestamp_echo);
    if ((flags & TCP_SYN) == 0)
        put_sack(option + 10, v);
    if (payload.size > 0)
        memcpy(tcp + TCP_BYTES + option_bytes, payload.ptr, payload.size);
    uint32_t sum = sum_words(ip + 12, 8, 6 + (uint32_t)tcp_size);
    put16(tcp + 16, ~sum_fold(sum_words(tcp, tcp_size, sum)) & 0xffff);

    struct packet_out out = {.header_size = (uint16_t)(ETHERNET_BYTES + IP_BYTES + tcp_size)};
    if (p->queue->driver->tx_commit(p->queue, &out) < 0)
        p->disorder++;
    v->send_next += (uint32_t)payload.size + ((flags & TCP_SYN) != 0 ? 1 : 0);
    v->unacknowledged = 0;
}

int peer_init(struct peer *p, struct port_queue *queue, uint32_t viewers, uint16_t mss,
              const char (*paths)[96], uint32_t path_count)
{
    const struct port_info *info = queue->driver->info(queue->port);

    CHECK(viewers <= PEER_VIEWERS_MAX && path_count <= 32);
    *p = (struct peer){.queue = queue,
                       .viewer_count = viewers,
                       .mss = mss,
                       .paths = paths,
                       .path_count = path_count,
                       .timestamp = 1};
    memcpy(p->mac, info->mac, 6);
    memset(p->server_mac, 0xff, 6); /* until its first answer tells */
    p->viewers = calloc(viewers, sizeof(*p->viewers));
    p->owed = calloc(viewers, sizeof(*p->owed));
    return p->viewers == NULL || p->owed == NULL ? -ENOMEM : 0;
}

void peer_fini(struct peer *p)
{
    free(p->viewers);
    free(p->owed);
    p->viewers = NULL;
    p->owed = NULL;
}

/* "Who has 10.91.0.1?", which also tells the server who we are. */
static void peer_announce(struct peer *p, uint16_t operation, uint8_t host)
{
    uint8_t *f = p->queue->driver->tx_begin(p->queue, true);

    if (f == NULL)
        return;
    memset(f, 0, 42);
    memcpy(f, operation == 1 ? (const uint8_t *)"\xff\xff\xff\xff\xff\xff" : p->server_mac, 6);
    memcpy(f + 6, p->mac, 6);
    put16(f + 12, 0x0806);
    put16(f + 14, 1);
    put16(f + 16, 0x0800);
    f[18] = 6;
    f[19] = 4;
    put16(f + 20, operation);
    memcpy(f + 22, p->mac, 6);
    memcpy(f + 28, peer_network, 3);
    f[31] = host;
    memcpy(f + 32, p->server_mac, 6);
    memcpy(f + 38, server_ip, 4);
    struct packet_out out = {.header_size = 42};
    (void)p->queue->driver->tx_commit(p->queue, &out);
}

void peer_greet(struct peer *p)
{
    for (uint32_t i = 0; i < p->viewer_count; i += VIEWERS_PER_ADDRESS)
        peer_announce(p, 1, (uint8_t)(FIRST_HOST + i / VIEWERS_PER_ADDRESS));
}

void peer_connect(struct peer *p, uint32_t viewer, uint64_t now_us)
{
    struct viewer *v = &p->viewers[viewer];

    p->timestamp = (uint32_t)(now_us / 1000) + 1;
    *v = (struct viewer){.send_next = viewer * 7919, .path = viewer % p->path_count};
    peer_send(p, viewer, TCP_SYN, (struct bytes){0});
}

void peer_ask(struct peer *p, uint32_t viewer)
{
    struct viewer *v = &p->viewers[viewer];
    char request[REQUEST_BYTES_MAX];
    int size =
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost:b\r\n\r\n", p->paths[v->path]);

    CHECK(size > 0 && (size_t)size < sizeof(request));
    v->response_left = p->response_bytes[v->path];
    v->path = (v->path + 1) % p->path_count;
    peer_send(p, viewer, TCP_ACK | TCP_PSH, bytes_of(request, (size_t)size));
}

void peer_start_over(struct peer *p, uint32_t viewer)
{
    p->viewers[viewer].received = 0;
    p->viewers[viewer].path = 0;
}

static void peer_take_arp(struct peer *p, const uint8_t *f)
{
    memcpy(p->server_mac, f + 22, 6);
    if (get16(f + 20) == 1)
        peer_announce(p, 2, f[41]);
}

/* RFC 9293 §3.8.6.3: a segment without a successor is acknowledged too. */
static void ack_later(struct peer *p, uint32_t index)
{
    struct viewer *v = &p->viewers[index];

    if (v->is_owed)
        return;
    v->is_owed = true;
    v->ack_due_us = p->now_us + DELAYED_ACK_US;
    p->owed[(p->owed_first + p->owed_count++) % p->viewer_count] = index;
}

static void ack_owed(struct peer *p)
{
    while (p->owed_count > 0) {
        uint32_t index = p->owed[p->owed_first];
        struct viewer *v = &p->viewers[index];

        if (v->ack_due_us > p->now_us)
            return;
        v->is_owed = false;
        p->owed_first = (p->owed_first + 1) % p->viewer_count;
        p->owed_count--;
        if (v->unacknowledged > 0)
            peer_send(p, index, TCP_ACK, (struct bytes){0});
    }
}

static void held_remove(struct viewer *v, unsigned i)
{
    v->held_count--;
    memmove(&v->held[i], &v->held[i + 1], (v->held_count - i) * sizeof(v->held[0]));
}

/* Keeps what came behind a gap; false: there is no room for one more range. */
static bool held_add(struct viewer *v, uint32_t start, uint32_t end)
{
    for (unsigned i = 0; i < v->held_count;) {
        struct range *r = &v->held[i];
        if ((int32_t)(start - r->end) > 0 || (int32_t)(r->start - end) > 0) {
            i++;
            continue;
        }
        start = (int32_t)(r->start - start) < 0 ? r->start : start;
        end = (int32_t)(r->end - end) > 0 ? r->end : end;
        held_remove(v, i);
    }
    if (v->held_count == HELD_MAX)
        return false;
    memmove(&v->held[1], &v->held[0], v->held_count * sizeof(v->held[0]));
    v->held[0] = (struct range){.start = start, .end = end};
    v->held_count++;
    return true;
}

/* How many bytes more are in order now that 'next' is the first that is missing. */
static uint32_t held_take(struct viewer *v, uint32_t next)
{
    for (unsigned i = 0; i < v->held_count; i++) {
        struct range r = v->held[i];
        if ((int32_t)(r.start - next) > 0)
            continue;
        held_remove(v, i);
        return (int32_t)(r.end - next) > 0 ? r.end - next : 0;
    }
    return 0;
}

static bool is_lost(struct peer *p)
{
    if (p->loss_ppm == 0 || p->is_learning)
        return false;
    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    bool is_lost = (p->random >> 33) % 1000000 < p->loss_ppm;
    p->lost += is_lost;
    return is_lost;
}

static void viewer_take_disorder(struct peer *p, uint32_t index, uint32_t seq, uint32_t size)
{
    struct viewer *v = &p->viewers[index];

    if (p->loss_ppm == 0)
        p->disorder++;
    else if ((int32_t)(seq - v->receive_next) > 0)
        p->packets += held_add(v, seq, seq + size);
    peer_send(p, index, TCP_ACK, (struct bytes){0});
}

static void viewer_take_data(struct peer *p, uint32_t index, uint32_t size)
{
    struct viewer *v = &p->viewers[index];
    bool fills_gap = v->held_count > 0;

    p->packets++;
    if (fills_gap)
        size += held_take(v, v->receive_next + size);
    p->payload_bytes += size;
    p->first_bytes += v->received == 0;
    v->receive_next += size;
    v->received += size;
    v->unacknowledged++;
    v->response_left -= size < v->response_left ? size : v->response_left;
    if (v->response_left == 0 && !p->is_learning && !p->is_once) {
        p->responses++;
        peer_ask(p, index);
    } else if (v->unacknowledged >= 2 || p->is_learning || fills_gap) {
        peer_send(p, index, TCP_ACK, (struct bytes){0});
    } else {
        ack_later(p, index);
    }
}

static void peer_take(struct peer *p, struct bytes frame)
{
    const uint8_t *f = frame.ptr;

    if (frame.size >= 42 && get16(f + 12) == 0x0806) {
        peer_take_arp(p, f);
        return;
    }
    if (frame.size < ETHERNET_BYTES + IP_BYTES + TCP_BYTES || get16(f + 12) != 0x0800)
        return;
    const uint8_t *ip = f + ETHERNET_BYTES;
    const uint8_t *tcp = ip + IP_BYTES;
    uint32_t index =
        get16(tcp + 2) - FIRST_PORT + (ip[19] - (uint32_t)FIRST_HOST) * VIEWERS_PER_ADDRESS;
    uint32_t tcp_header = (uint32_t)(tcp[12] >> 4) * 4;
    uint32_t payload = get16(ip + 2) - IP_BYTES - tcp_header;
    if (index >= p->viewer_count)
        return;
    struct viewer *v = &p->viewers[index];
    if (tcp_header == TCP_BYTES + TIMESTAMP_OPTION_BYTES)
        v->timestamp_echo = get32(tcp + TCP_BYTES + 4);
    if ((tcp[13] & TCP_SYN) != 0) {
        v->receive_next = get32(tcp + 4) + 1;
        p->established_count += v->is_established ? 0 : 1;
        v->is_established = true;
        peer_send(p, index, TCP_ACK, (struct bytes){0});
    } else if ((tcp[13] & (TCP_RST | TCP_FIN)) != 0) {
        p->disorder++;
    } else if (payload > 0 && is_lost(p)) {
        return;
    } else if (payload > 0 && get32(tcp + 4) == v->receive_next) {
        viewer_take_data(p, index, payload);
    } else if (payload > 0) {
        viewer_take_disorder(p, index, get32(tcp + 4), payload);
    } else if (get32(tcp + 4) == v->receive_next - 1) { /* a keepalive probe */
        peer_send(p, index, TCP_ACK, (struct bytes){0});
    }
}

unsigned peer_poll(struct peer *p, struct packet_in *packets, unsigned max, uint64_t now_us)
{
    p->now_us = now_us;
    p->timestamp = (uint32_t)(now_us / 1000) + 1;
    ack_owed(p);
    unsigned count = p->queue->driver->rx_burst(p->queue, packets, max, now_us);
    for (unsigned i = 0; i < count; i++)
        peer_take(p, packets[i].frame);
    return count;
}

uint64_t peer_received(const struct peer *p, uint32_t viewer)
{
    return p->viewers[viewer].received;
}

bool peer_is_established(const struct peer *p, uint32_t viewer)
{
    return p->viewers[viewer].is_established;
}
