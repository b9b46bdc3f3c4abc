#include <stdio.h>
#include <string.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/tcp/options.h"
#include "dataplane/net/wire.h"
#include "tests/conformance/script/run.h"

enum {
    FLAG_FIN = 1,
    FLAG_SYN = 2,
    FLAG_ACK = 16,
    SERVER_PORT = 8080, /* packetdrill's, ours and theirs */
    CLIENT_PORT_FIRST = 50000,
    WINDOW_DEFAULT = 65535,
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_MSS = 2,
    OPTION_SHIFT = 3,
    OPTION_SACK_OK = 4,
    OPTION_SACK = 5,
    OPTION_STAMPS = 8
};

static size_t ip_size(const struct run *r)
{
    return r->family == 4 ? IPV4_SIZE : IPV6_SIZE;
}

/* --- numbers of the script and of the stack --- */

static uint32_t to_live(const struct run_conn *c, uint32_t script)
{
    return script - c->script_isn + c->live_isn;
}

static uint32_t to_script(const struct run_conn *c, uint32_t live)
{
    return live - c->live_isn + c->script_isn;
}

static uint32_t stamp_to_live(const struct run_conn *c, uint32_t script)
{
    for (int i = c->stamp_count; i > 0; i--)
        if (c->stamps[i - 1].script == script)
            return c->stamps[i - 1].live;
    /* One that the stack has not sent: as far from the latest as in the script. */
    if (c->stamp_count > 0 && script != 0)
        return c->stamps[c->stamp_count - 1].live + (script - c->stamps[c->stamp_count - 1].script);
    return script;
}

static void stamp_learn(struct run_conn *c, uint32_t script, uint32_t live)
{
    if (c->stamp_count == RUN_STAMPS_MAX) {
        memmove(c->stamps, c->stamps + 1, sizeof(c->stamps) - sizeof(c->stamps[0]));
        c->stamp_count--;
    }
    c->stamps[c->stamp_count].script = script;
    c->stamps[c->stamp_count++].live = live;
}

/* --- building --- */

/* Writes the options; their size, padded, or SIZE_MAX: too many. */
static size_t options_build(const struct run_conn *c, const struct script_packet *p, uint8_t *out)
{
    uint8_t bytes[TCP_OPTIONS_MAX + 64] = {0};
    size_t size = 0;

    for (int i = 0; i < p->option_count; i++) {
        const struct script_option *o = &p->options[i];
        uint8_t *at = bytes + size;
        if (size > TCP_OPTIONS_MAX)
            return SIZE_MAX;
        at[0] = o->kind;
        switch (o->kind) {
        case OPTION_END:
        case OPTION_NOP:
            size++;
            continue;
        case OPTION_MSS:
            at[1] = 4;
            store_be16(at + 2, (uint16_t)o->value[0]);
            break;
        case OPTION_SHIFT:
            at[1] = 3;
            at[2] = (uint8_t)o->value[0];
            break;
        case OPTION_SACK_OK:
            at[1] = 2;
            break;
        case OPTION_SACK:
            at[1] = (uint8_t)(2 + 8 * o->sack_count);
            for (int b = 0; b < 2 * o->sack_count; b++)
                store_be32(at + 2 + 4 * b, to_live(c, o->sacks[b]));
            break;
        case OPTION_STAMPS:
            at[1] = 10;
            store_be32(at + 2, o->value[0]);
            store_be32(at + 6, stamp_to_live(c, o->value[1]));
            break;
        default:
            at[1] = (uint8_t)o->value[0];
            break;
        }
        size += at[1];
    }
    size = (size + 3) / 4 * 4;
    if (size > TCP_OPTIONS_MAX)
        return SIZE_MAX;
    memcpy(out, bytes, size);
    return size;
}

/* An IP header from 'source' to 'destination' for 'size' bytes. */
static void ip_build(const struct run *r, uint8_t *out, const uint8_t *source,
                     const uint8_t *destination, uint8_t protocol, size_t size, int ecn)
{
    memset(out, 0, ip_size(r));
    if (r->family == 4) {
        out[0] = 0x45;
        out[1] = (uint8_t)ecn;
        store_be16(out + 2, (uint16_t)(IPV4_SIZE + size));
        out[8] = 255;
        out[9] = protocol;
        memcpy(out + 12, source, 4);
        memcpy(out + 16, destination, 4);
        store_be16(out + 10, checksum_finish(checksum_sum(out, IPV4_SIZE)));
        return;
    }
    out[0] = 0x60;
    out[1] = (uint8_t)(ecn << 4);
    store_be16(out + 4, (uint16_t)size);
    out[6] = protocol;
    out[7] = 255;
    memcpy(out + 8, source, 16);
    memcpy(out + 24, destination, 16);
}

static uint16_t l4_checksum(const struct run *r, const uint8_t *l4, size_t size, uint8_t protocol)
{
    uint32_t pseudo = checksum_pseudo_header(r->remote, r->local, r->family, protocol);

    return checksum_finish(pseudo + (uint32_t)size + checksum_sum(l4, size));
}

static void conn_begin(struct run *r, const struct script_packet *p)
{
    r->conn = (struct run_conn){
        .phase = CONN_OPEN,
        .local_port = SERVER_PORT,
        .remote_port = (uint16_t)(CLIENT_PORT_FIRST + r->ports_used++),
        .remote_isn = p->seq,
    };
}

static size_t tcp_build(struct run *r, const struct script_packet *p, int line)
{
    struct run_conn *c = &r->conn;
    uint8_t *tcp = r->packet + ip_size(r);

    if (c->phase == CONN_LISTENING || c->phase == CONN_NONE)
        conn_begin(r, p);
    if (c->phase == CONN_CONNECTING)
        return script_fail(r->error, line, "the SYN of connect() comes first: say '> S …'");
    bool is_syn = (p->flags & (FLAG_SYN | FLAG_ACK)) == FLAG_SYN;
    if (is_syn && p->seq != c->remote_isn)
        c->is_isn_stale = true; /* between the same endpoints, another connection */
    if ((p->flags & FLAG_SYN) != 0)
        c->remote_isn = p->seq;
    memset(tcp, 0, TCP_SIZE);
    size_t options = options_build(c, p, tcp + TCP_SIZE);
    if (options == SIZE_MAX)
        return script_fail(r->error, line, "more than 40 bytes of TCP options");
    size_t size = TCP_SIZE + options + p->size;
    if (size + ip_size(r) > UINT16_MAX)
        return script_fail(r->error, line, "the packet is too large");
    store_be16(tcp, c->remote_port);
    store_be16(tcp + 2, c->local_port);
    store_be32(tcp + 4, p->seq);
    if (p->has_ack)
        store_be32(tcp + 8, to_live(c, p->ack));
    tcp[12] = (uint8_t)((TCP_SIZE + options) / 4 << 4 | p->flags >> 8);
    tcp[13] = (uint8_t)p->flags;
    store_be16(tcp + 14, p->has_window ? p->window : WINDOW_DEFAULT);
    store_be16(tcp + 18, p->urgent);
    memset(tcp + TCP_SIZE + options, 0, p->size);
    ip_build(r, r->packet, r->remote, r->local, PROTOCOL_TCP, size, p->ecn);
    store_be16(tcp + 16, l4_checksum(r, tcp, size, PROTOCOL_TCP));
    return ip_size(r) + size;
}

static size_t udp_build(struct run *r, const struct script_packet *p)
{
    uint8_t *udp = r->packet + ip_size(r);
    size_t size = UDP_SIZE + p->size;

    memset(udp, 0, size);
    store_be16(udp, r->conn.remote_port != 0 ? r->conn.remote_port : SERVER_PORT);
    store_be16(udp + 2, r->conn.local_port != 0 ? r->conn.local_port : SERVER_PORT);
    store_be16(udp + 4, (uint16_t)size);
    ip_build(r, r->packet, r->remote, r->local, PROTOCOL_UDP, size, p->ecn);
    store_be16(udp + 6, l4_checksum(r, udp, size, PROTOCOL_UDP));
    return ip_size(r) + size;
}

/* An error about a packet that the stack sent: its IP header and 8 bytes more. */
static size_t icmp_build(struct run *r, const struct script_packet *p)
{
    uint8_t *icmp = r->packet + ip_size(r);
    uint8_t *quoted = icmp + 8;
    uint8_t *l4 = quoted + ip_size(r);
    size_t size = 8 + ip_size(r) + 20;
    bool is_udp = r->tcp_fd < 0;

    memset(icmp, 0, size);
    icmp[0] = p->icmp_type;
    icmp[1] = p->icmp_code;
    store_be32(icmp + 4, p->icmp_mtu);
    ip_build(r, quoted, r->local, r->remote, is_udp ? PROTOCOL_UDP : PROTOCOL_TCP,
             (is_udp ? 8u : 20u) + p->size, 0);
    store_be16(l4, r->conn.local_port);
    store_be16(l4 + 2, r->conn.remote_port);
    if (is_udp)
        store_be16(l4 + 4, (uint16_t)(8 + p->size));
    else
        store_be32(l4 + 4, to_live(&r->conn, p->seq));
    uint8_t protocol = r->family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
    ip_build(r, r->packet, r->remote, r->local, protocol, size, 0);
    store_be16(icmp + 2, r->family == 4 ? checksum_finish(checksum_sum(icmp, size))
                                        : l4_checksum(r, icmp, size, protocol));
    return ip_size(r) + size;
}

size_t packet_build(struct run *r, const struct script_packet *p, int line)
{
    switch (p->protocol) {
    case PACKET_TCP:
        return tcp_build(r, p, line);
    case PACKET_UDP:
        return udp_build(r, p);
    case PACKET_ICMP:
        return icmp_build(r, p);
    }
    return 0;
}

/* --- matching --- */

static uint8_t protocol_of(const uint8_t *packet)
{
    return packet[0] >> 4 == 4 ? packet[9] : packet[6];
}

bool packet_is_ours(const struct run *r, bool wants_icmp, const uint8_t *packet, size_t size)
{
    const uint8_t *l4 = packet + ip_size(r);
    const uint8_t *destination = packet + (r->family == 4 ? 16 : 24);

    if (packet[0] >> 4 != r->family || size < ip_size(r) + 8 ||
        memcmp(destination, r->remote, r->family == 4 ? 4 : 16) != 0)
        return false;
    uint8_t protocol = protocol_of(packet);
    if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6)
        return wants_icmp;
    if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP)
        return false;
    if (r->conn.phase == CONN_CONNECTING)
        return load_be16(l4 + 2) == r->conn.remote_port;
    return load_be16(l4) == r->conn.local_port && load_be16(l4 + 2) == r->conn.remote_port;
}

size_t packet_payload(const uint8_t *packet, size_t size)
{
    size_t l3 = packet[0] >> 4 == 4 ? IPV4_SIZE : IPV6_SIZE;

    if (protocol_of(packet) == PROTOCOL_UDP)
        return size - l3 - UDP_SIZE;
    if (protocol_of(packet) != PROTOCOL_TCP)
        return 0;
    return size - l3 - (size_t)(packet[l3 + 12] >> 4) * 4;
}

static void flags_print(unsigned flags, char out[static 12])
{
    static const char letters[] = "FSRP.UEWA";
    size_t size = 0;

    for (unsigned i = 0; i < 9; i++)
        if ((flags & 1u << i) != 0)
            out[size++] = letters[i];
    out[size] = '\0';
}

static bool options_fail(struct run *r, int line, const char *what, uint32_t wanted, uint32_t got)
{
    return script_fail(r->error, line, "TCP option %s: expected %u, got %u", what, wanted, got);
}

static bool option_check(struct run *r, const struct script_option *o, const uint8_t *at, int line)
{
    uint8_t kind = at[0];

    if (kind != o->kind)
        return script_fail(r->error, line, "TCP option: expected kind %u, got %u", o->kind, kind);
    if (kind == OPTION_MSS && load_be16(at + 2) != o->value[0])
        return options_fail(r, line, "mss", o->value[0], load_be16(at + 2));
    if (kind == OPTION_SHIFT && at[2] != o->value[0])
        return options_fail(r, line, "wscale", o->value[0], at[2]);
    if (kind == OPTION_STAMPS) {
        stamp_learn(&r->conn, o->value[0], load_be32(at + 2));
        return load_be32(at + 6) == o->value[1] ||
               options_fail(r, line, "TS ecr", o->value[1], load_be32(at + 6));
    }
    if (kind != OPTION_SACK)
        return true;
    if (at[1] != 2 + 8 * o->sack_count)
        return options_fail(r, line, "sack blocks", o->sack_count, (at[1] - 2u) / 8);
    for (int i = 0; i < 2 * o->sack_count; i++)
        if (load_be32(at + 2 + 4 * i) != o->sacks[i])
            return options_fail(r, line, "sack", o->sacks[i], load_be32(at + 2 + 4 * i));
    return true;
}

static bool options_check(struct run *r, const struct script_packet *p, const uint8_t *at,
                          size_t size, int line)
{
    int count = 0;

    if (p->has_any_options)
        return true;
    for (size_t i = 0; i < size; count++) {
        size_t length = at[i] <= OPTION_NOP ? 1 : i + 1 < size ? at[i + 1] : 0;
        if (length == 0 || i + length > size)
            return script_fail(r->error, line, "the packet's TCP options are malformed");
        if (count == p->option_count)
            return script_fail(r->error, line,
                               "more TCP options than expected, the next of kind %u", at[i]);
        if (!option_check(r, &p->options[count], at + i, line))
            return false;
        i += length;
    }
    return count == p->option_count ||
           script_fail(r->error, line, "expected %u TCP options, got %d", p->option_count, count);
}

static bool number_check(struct run *r, int line, const char *what, uint32_t wanted, uint32_t got)
{
    return wanted == got ||
           script_fail(r->error, line, "%s: expected %u, got %u", what, wanted, got);
}

static bool checksum_check(struct run *r, const uint8_t *packet, size_t size, int line)
{
    const uint8_t *l4 = packet + ip_size(r);
    size_t addresses = r->family == 4 ? 12 : 8;
    size_t address = r->family == 4 ? 4 : 16;
    uint8_t protocol = protocol_of(packet);
    uint32_t sum = (uint32_t)checksum_sum(l4, size - ip_size(r));

    if (protocol != PROTOCOL_ICMP)
        sum += checksum_pseudo_header(packet + addresses, packet + addresses + address, r->family,
                                      protocol) +
               (uint32_t)(size - ip_size(r));
    return checksum_fold(sum) == 0xffff || script_fail(r->error, line, "the checksum is wrong");
}

static bool ip_check(struct run *r, const struct script_packet *p, const uint8_t *packet, int line)
{
    uint8_t tos = r->family == 4 ? packet[1] : (uint8_t)(packet[0] << 4 | packet[1] >> 4);
    unsigned ecn = tos & 3u;

    if (p->has_tos && !number_check(r, line, "TOS", p->tos, tos))
        return false;
    if (p->has_ttl && !number_check(r, line, "TTL", p->ttl, packet[r->family == 4 ? 8 : 7]))
        return false;

    if (p->ecn == ECN_ANY)
        return true;
    if (p->ecn == ECN_ECT01)
        return ecn == ECN_ECT0 || ecn == ECN_ECT1 ||
               script_fail(r->error, line, "ECN field: expected 1 or 2, got %u", ecn);
    return number_check(r, line, "ECN field", (uint32_t)p->ecn, ecn);
}

/* What the first packets tell about the connection. */
static void conn_learn(struct run *r, const struct script_packet *p, const uint8_t *packet)
{
    struct run_conn *c = &r->conn;
    const uint8_t *l4 = packet + ip_size(r);

    if (c->phase == CONN_CONNECTING) {
        c->phase = CONN_OPEN;
        c->local_port = load_be16(l4);
        memcpy(r->local, packet + (r->family == 4 ? 12 : 8), r->family == 4 ? 4 : 16);
    }
    if ((!c->is_isn_known || c->is_isn_stale) && protocol_of(packet) == PROTOCOL_TCP &&
        (l4[13] & FLAG_SYN) != 0) {
        c->is_isn_known = true;
        c->is_isn_stale = false;
        c->script_isn = p->seq;
        c->live_isn = load_be32(l4 + 4);
    }
}

static bool tcp_check(struct run *r, const struct script_packet *p, const uint8_t *tcp,
                      size_t payload, int line)
{
    unsigned flags = (tcp[12] & 0x0fu) << 8 | tcp[13];
    char wanted[12];
    char got[12];

    if (flags != p->flags) {
        flags_print(p->flags, wanted);
        flags_print(flags, got);
        return script_fail(r->error, line, "flags: expected %s, got %s", wanted, got);
    }
    /* A reset may have a number of the peer's choosing: then the script's is that one. */
    uint32_t seq =
        r->conn.is_isn_known ? to_script(&r->conn, load_be32(tcp + 4)) : load_be32(tcp + 4);
    if (!number_check(r, line, "seq", p->seq, seq) ||
        !number_check(r, line, "payload", p->size, (uint32_t)payload))
        return false;
    if ((flags & FLAG_ACK) != 0 && !number_check(r, line, "ack", p->ack, load_be32(tcp + 8)))
        return false;
    if (p->has_window && !number_check(r, line, "win", p->window, load_be16(tcp + 14)))
        return false;
    return options_check(r, p, tcp + TCP_SIZE, (size_t)(tcp[12] >> 4) * 4 - TCP_SIZE, line);
}

bool packet_join(struct run *r, uint8_t *packet, size_t *size, const uint8_t *next,
                 size_t next_size, bool is_last, int line)
{
    enum { FLAG_CWR = 0x80, JOIN_FLAGS = 0x76 }; /* ECE, URG, ACK, RST, SYN */
    uint8_t *first = packet + ip_size(r);
    const uint8_t *l4 = next + ip_size(r);
    uint32_t seq = load_be32(first + 4);
    uint32_t part = (uint32_t)packet_payload(packet, *size);

    if (!checksum_check(r, next, next_size, line))
        return false;
    /* What 'packet' stands for so far ends where the next one begins. */
    if (!number_check(r, line, "data offset", first[12] >> 4, l4[12] >> 4) ||
        !number_check(r, line, "flags", first[13] & JOIN_FLAGS, l4[13] & JOIN_FLAGS) ||
        !number_check(r, line, "ack", load_be32(first + 8), load_be32(l4 + 8)) ||
        !number_check(r, line, "window", load_be16(first + 14), load_be16(l4 + 14)) ||
        !number_check(r, line, "start", r->join_seq != 0 ? r->join_seq : seq + part,
                      load_be32(l4 + 4)))
        return false;
    uint32_t next_part = (uint32_t)packet_payload(next, next_size);
    if (!is_last && !number_check(r, line, "segment size", part, next_part))
        return false;
    r->join_seq = load_be32(l4 + 4) + next_part;
    uint8_t cwr = first[13] & FLAG_CWR;
    memcpy(packet, next, next_size);
    *size = next_size;
    store_be32(first + 4, seq);
    first[13] = (uint8_t)((first[13] & ~FLAG_CWR) | cwr);
    return true;
}

bool packet_check(struct run *r, const struct script_packet *p, const uint8_t *packet, size_t size,
                  size_t payload, int line)
{
    static const uint8_t protocols[][2] = {[PACKET_TCP] = {PROTOCOL_TCP, PROTOCOL_TCP},
                                           [PACKET_UDP] = {PROTOCOL_UDP, PROTOCOL_UDP},
                                           [PACKET_ICMP] = {PROTOCOL_ICMP, PROTOCOL_ICMPV6}};
    const uint8_t *l4 = packet + ip_size(r);

    if (!number_check(r, line, "IP protocol", protocols[p->protocol][r->family == 6],
                      protocol_of(packet)))
        return false;
    /* Those that stand for several are not whole any more. */
    if (payload == packet_payload(packet, size) && !checksum_check(r, packet, size, line))
        return false;
    conn_learn(r, p, packet);
    if (!ip_check(r, p, packet, line))
        return false;
    switch (p->protocol) {
    case PACKET_TCP:
        return tcp_check(r, p, l4, payload, line);
    case PACKET_UDP:
        return number_check(r, line, "payload", p->size, (uint32_t)payload);
    case PACKET_ICMP:
        return number_check(r, line, "ICMP type", p->icmp_type, l4[0]) &&
               number_check(r, line, "ICMP code", p->icmp_code, l4[1]);
    }
    return false;
}

void packet_print(const struct run *r, const uint8_t *packet, size_t size, char *out,
                  size_t out_size)
{
    const uint8_t *l4 = packet + ip_size(r);
    uint8_t protocol = protocol_of(packet);
    struct tcp_options o = {0};
    char flags[12];
    size_t at;

    if (protocol != PROTOCOL_TCP) {
        (void)snprintf(out, out_size, "protocol %u, %u %u", protocol, l4[0], l4[1]);
        return;
    }
    uint32_t payload = (uint32_t)packet_payload(packet, size);
    uint32_t seq = to_script(&r->conn, load_be32(l4 + 4));
    flags_print((l4[12] & 0x0fu) << 8 | l4[13], flags);
    at = (size_t)snprintf(out, out_size, "%s %u:%u(%u) ack %u win %u", flags, seq, seq + payload,
                          payload, load_be32(l4 + 8), load_be16(l4 + 14));
    (void)tcp_options_parse(bytes_of(l4 + TCP_SIZE, (size_t)(l4[12] >> 4) * 4 - TCP_SIZE), &o);
    if (o.mss != 0 && at < out_size)
        at += (size_t)snprintf(out + at, out_size - at, " mss %u", o.mss);
    if (o.has_timestamps && at < out_size)
        at += (size_t)snprintf(out + at, out_size - at, " TS ecr %u", o.ts_echo);
    for (unsigned i = 0; i < o.sack_count && at < out_size; i++)
        at += (size_t)snprintf(out + at, out_size - at, " sack %u:%u", o.sacks[i].start,
                               o.sacks[i].end);
}
