#include <errno.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

enum {
    GROUP_BYTES_MAX = 65535, /* of segments that leave together */
    GROUP_SEGMENTS_MIN = 2,
    BURST_MAX = 64,      /* packets of one connection before another has its turn */
    FIRST_BURST_MAX = 4, /* the same for who begins while others wait */
    ROUTE_RETRY_US = 100000,
    WINDOW_VALID_US = 300000000 /* without use, RFC 7661 §4.3 */
};

void tcp_want_output(struct net_stack *s, struct tcp_conn *c)
{
    if (!list_is_linked(&c->link) && c->state != TCP_CLOSED)
        list_push_back((c->flags & CONN_BEGINS) != 0 ? &s->tcp.beginning : &s->tcp.output,
                       &c->link);
}

/* Fills the template and its constant sums for the neighbour's present address. */
static void template_build(struct net_stack *s, struct tcp_conn *c, const struct neighbour *n)
{
    struct net_packet packet;
    const struct stream *stream = &c->stream;
    bool is_v4 = stream->peer.family == 4;
    size_t at = packet_write_ip(s, &packet, stream->peer.family, stream->local.addr,
                                stream->peer.addr, PROTOCOL_TCP, tcp_hop_limit(c->settings), 0);
    packet_set_class(&packet, c->settings->traffic_class);
    uint8_t *h = packet.header + at;
    uint8_t *ip = packet.header + s->l2_size;

    memcpy(packet.header, n->mac, 6);
    memset(h, 0, TCP_SIZE);
    store_be16(h, stream->local.port);
    store_be16(h + 2, stream->peer.port);
    c->template_size = (uint8_t)(at + TCP_SIZE);
    if ((c->flags & CONN_HAS_TIMESTAMPS) != 0) {
        tcp_options_write_timestamps(0, 0, h + TCP_SIZE);
        c->template_size = (uint8_t)(c->template_size + TCP_TIMESTAMPS_SIZE);
    }
    if (is_v4) {
        store_be16(ip + 2, 0);
        store_be16(ip + 10, 0);
        c->ip_sum = checksum_sum(ip, IPV4_SIZE);
    }
    uint16_t pseudo_sum = checksum_fold(checksum_pseudo_header(
        stream->local.addr, stream->peer.addr, stream->peer.family, PROTOCOL_TCP));
    c->const_sum = (uint32_t)pseudo_sum + checksum_sum(h, (size_t)c->template_size - at);
    store_be16(h + 16, pseudo_sum);
    static_assert(ETHERNET_SIZE + VLAN_TAG_SIZE + IPV6_SIZE + TCP_SIZE + TCP_TIMESTAMPS_SIZE <=
                      TCP_TEMPLATE_MAX,
                  "the largest header fits");
    memcpy(c->template, packet.header, c->template_size);
    c->neighbour_generation = n->generation;
}

/* Makes sure that the template leads to the peer; false: its neighbour is not known yet. */
static bool conn_is_routed(struct net_stack *s, struct tcp_conn *c)
{
    const struct neighbour *n = &s->neighbours.entries[c->neighbour];

    if (n->generation == c->neighbour_generation && s->now_us < n->valid_until_us)
        return true;
    if (neighbour_route(s, c->stream.peer.family, c->stream.peer.addr, &c->neighbour) < 0)
        return false;
    n = &s->neighbours.entries[c->neighbour];
    if (!neighbour_is_usable(s, c->neighbour))
        return false;
    if (n->generation != c->neighbour_generation)
        template_build(s, c, n);
    return true;
}

/* A packet of one connection on its way out. */
struct tcp_packet {
    uint32_t seq;
    uint8_t flags;
    uint8_t option_size;   /* behind the template */
    uint16_t segment_size; /* not 0: larger than one wire packet */
    uint32_t payload_size;
    unsigned extent_count;
    struct extent extents[EXTENTS_PER_PACKET_MAX];
};

/* What is the same in all packets that a connection sends at one time, and its checksum. */
struct tcp_header {
    uint32_t sum; /* of the pseudo-header too, but for its length */
    uint32_t ts_value;
    uint32_t rcv_edge; /* before */
    uint16_t window;
};

static struct tcp_header header_begin(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_header h = {.rcv_edge = c->rcv_edge};

    h.window = tcp_receive_window(s, c);
    h.sum = checksum_add32(c->const_sum + h.window, c->rcv_nxt);
    if ((c->flags & CONN_HAS_TIMESTAMPS) != 0) {
        h.ts_value = tcp_timestamp(s->now_us, c->ts_offset);
        h.sum = checksum_add32(checksum_add32(h.sum, h.ts_value), c->ts_recent);
    }
    return h;
}

/* 'is_sent': a packet with that header has gone, 'is_data': and carried data. */
static void header_end(struct net_stack *s, struct tcp_conn *c, const struct tcp_header *h,
                       bool is_sent, bool is_data)
{
    if (!is_sent) {
        c->rcv_edge = h->rcv_edge; /* nobody was told */
        return;
    }
    tcp_receive_acknowledged(s, c, is_data);
    c->last_sent_us = s->now_us;
}

/* Says what there is to say of ECN. Only new data is sent as capable of it: neither pure ACKs
 * (RFC 3168 §6.1.4) nor retransmissions (§6.1.5) nor probes (§6.1.6). Returns the IP field. */
static uint8_t write_ecn(const struct tcp_conn *c, const struct tcp_packet *p, uint8_t *ip,
                         uint8_t *ret_flags)
{
    bool is_v4 = c->stream.peer.family == 4;

    if ((c->flags & CONN_ECE_DUE) != 0)
        *ret_flags |= TCP_ECE;
    if (p->payload_size == 0 || seq_is_before(p->seq, c->snd_nxt))
        return IP_ECN_NONE;
    if ((c->flags & CONN_CWR_DUE) != 0)
        *ret_flags |= TCP_CWR;
    ip[1] |= (uint8_t)(is_v4 ? IP_ECN_ECT0 : IP_ECN_ECT0 << 4);
    return IP_ECN_ECT0;
}

static void write_ip_length(struct tcp_conn *c, uint8_t *ip, size_t l3_payload_size, uint8_t ecn)
{
    if (c->stream.peer.family == 4) {
        uint16_t total = (uint16_t)(IPV4_SIZE + l3_payload_size);
        store_be16(ip + 2, total);
        store_be16(ip + 10, checksum_finish((uint32_t)c->ip_sum + total + ecn));
    } else {
        store_be16(ip + 4, (uint16_t)l3_payload_size);
    }
}

/* The checksum field, where 'sum' is that of the header; what the card does about it goes to 'out'.
 * The sum is not read back from the header, which was just written in other widths: that stalls. */
static uint16_t tcp_checksum(struct net_stack *s, const struct tcp_conn *c,
                             const struct tcp_packet *p, uint32_t sum, struct packet_out *out)
{
    uint32_t length = out->l4_size + p->payload_size;
    uint32_t pseudo_sum = load_be16(c->template + out->l2_size + out->l3_size + 16);

    if (p->segment_size != 0) {
        /* The card puts each segment's length in itself. */
        out->offloads = PORT_OFFLOAD_TSO | PORT_OFFLOAD_TCP_CHECKSUM |
                        (out->is_ipv6 ? 0u : (uint32_t)PORT_OFFLOAD_IP_CHECKSUM);
        out->segment_size = p->segment_size;
        return (uint16_t)pseudo_sum;
    }
    if ((s->info->offloads & PORT_OFFLOAD_TCP_CHECKSUM) != 0) {
        out->offloads = PORT_OFFLOAD_TCP_CHECKSUM;
        return checksum_fold(pseudo_sum + length);
    }
    return checksum_finish(sum + length +
                           checksum_extents(&s->slice_sums, p->extents, p->extent_count));
}

/* Writes the header at what tx_begin() returned, and commits. 0 or -errno of the port. */
static int packet_put(struct net_stack *s, struct tcp_conn *c, const struct tcp_header *common,
                      const struct tcp_packet *p, const uint8_t *options)
{
    uint8_t *header = s->driver->tx_begin(s->queue, p->payload_size == 0);

    if (header == NULL) {
        NET_COUNT(s, net_tx_no_packet);
        return -ENOBUFS;
    }
    bool is_v6 = c->stream.peer.family != 4;
    struct packet_out out = {
        .extents = p->extents,
        .extent_count = (uint16_t)p->extent_count,
        .header_size = (uint16_t)(c->template_size + p->option_size),
        .l2_size = s->l2_size,
        .l3_size = is_v6 ? IPV6_SIZE : IPV4_SIZE,
        .is_ipv6 = is_v6,
    };
    uint8_t *ip = header + out.l2_size;
    uint8_t *tcp = ip + out.l3_size;
    out.l4_size = (uint8_t)(out.header_size - out.l2_size - out.l3_size);
    static_assert((int)TCP_TEMPLATE_MAX <= (int)PORT_HEADER_MAX, "all of it is copied, for speed");
    memcpy(header, c->template, TCP_TEMPLATE_MAX);
    uint8_t flags = p->flags;
    uint8_t ecn = (c->flags & CONN_HAS_ECN) != 0 ? write_ecn(c, p, ip, &flags) : 0;
    uint16_t offset_flags = (uint16_t)(out.l4_size / 4 << 12 | flags);
    uint32_t sum = checksum_add32(common->sum + offset_flags, p->seq);
    store_be32(tcp + 4, p->seq);
    store_be32(tcp + 8, c->rcv_nxt);
    store_be16(tcp + 12, offset_flags);
    store_be16(tcp + 14, common->window);
    if ((c->flags & CONN_HAS_TIMESTAMPS) != 0) {
        store_be32(tcp + TCP_SIZE + 4, common->ts_value);
        store_be32(tcp + TCP_SIZE + 8, c->ts_recent);
    }
    if (p->option_size > 0) {
        memcpy(header + c->template_size, options, p->option_size);
        sum += checksum_sum(options, p->option_size);
    }
    write_ip_length(c, ip, out.l4_size + p->payload_size, ecn);
    store_be16(tcp + 16, tcp_checksum(s, c, p, sum, &out));
    int error = s->driver->tx_commit(s->queue, &out);
    if (error == -ENOBUFS)
        return error;
    /* What the port refused as too long counts as lost on the way. */
    NET_COUNT(s, tcp_segments_sent);
    return 0;
}

/* Sends one packet. 0 or -errno of the port. */
static int packet_emit(struct net_stack *s, struct tcp_conn *c, const struct tcp_packet *p,
                       const uint8_t *options)
{
    struct tcp_header header = header_begin(s, c);
    int error = packet_put(s, c, &header, p, options);

    header_end(s, c, &header, error == 0, false);
    return error;
}

/* Sends at most 'size' bytes from 'seq', and the FIN when they reach it, in one packet of segments
 * of at most 'mss'. The peer's stack is asked to hand them on when the queue ends with them, or
 * when 'is_pushed'. Returns how many sequence numbers went out; 0: the port has no room. */
static uint32_t data_put(struct net_stack *s, struct tcp_conn *c, const struct tcp_header *header,
                         uint32_t seq, uint32_t size, uint32_t mss, bool is_pushed)
{
    struct tcp_packet p;
    uint32_t data = c->snd_end - seq;
    bool is_fin_due = (c->flags & CONN_FIN_QUEUED) != 0;

    if (data > size)
        data = size;
    p.seq = seq;
    p.flags = TCP_ACK;
    p.option_size = 0;
    p.extent_count = 0;
    p.payload_size = 0;
    if (data > 0)
        p.extent_count = send_queue_gather(&c->queue, &s->tcp.chunks, seq, data, p.extents,
                                           s->extents_max, &p.payload_size);
    p.segment_size = (uint16_t)(p.payload_size > mss ? mss : 0);
    uint32_t end = seq + p.payload_size;
    uint32_t fin = 0;
    if (is_pushed && p.payload_size == data)
        p.flags |= TCP_PSH;
    if (end == c->snd_end) {
        if (p.payload_size > 0 &&
            (c->flags & (CONN_MORE_COMES | CONN_SEND_ANYWAY)) != CONN_MORE_COMES)
            p.flags |= TCP_PSH;
        if (is_fin_due && size > p.payload_size) {
            p.flags |= TCP_FIN;
            fin = 1;
        }
    }
    if (packet_put(s, c, header, &p, NULL) < 0)
        return 0;
    counter_add(&s->counters->tcp_bytes_sent, p.payload_size);
    return p.payload_size + fin;
}

/* The same, as the only packet now. */
static uint32_t data_emit(struct net_stack *s, struct tcp_conn *c, uint32_t seq, uint32_t size,
                          uint32_t mss, bool is_pushed)
{
    struct tcp_header header = header_begin(s, c);
    uint32_t sent = data_put(s, c, &header, seq, size, mss, is_pushed);

    header_end(s, c, &header, sent > 0, seq != c->snd_end);
    return sent;
}

void tcp_send_ack(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_packet p = {.seq = c->snd_nxt, .flags = TCP_ACK};
    uint8_t options[TCP_OPTIONS_MAX];
    struct tcp_sack_block blocks[TCP_SACK_BLOCKS_MAX];
    unsigned count = 0;

    if (c->state < TCP_ESTABLISHED || !conn_is_routed(s, c))
        return;
    if ((c->flags & CONN_HAS_SACK) != 0) {
        if (c->duplicate.start != c->duplicate.end)
            blocks[count++] = c->duplicate;
        c->duplicate = (struct tcp_sack_block){0};
        count += reassembly_blocks(&c->reassembly, &s->tcp.buffers, c->rcv_nxt, blocks + count,
                                   TCP_SACK_BLOCKS_MAX - count);
        size_t used = (c->flags & CONN_HAS_TIMESTAMPS) != 0 ? TCP_TIMESTAMPS_SIZE : 0;
        p.option_size =
            (uint8_t)tcp_options_write_sack(blocks, count, TCP_OPTIONS_MAX - used, options);
    }
    if (packet_emit(s, c, &p, options) < 0) {
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
    }
}

void tcp_send_probe(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_packet p = {.seq = c->snd_una - 1, .flags = TCP_ACK};

    if (conn_is_routed(s, c))
        (void)packet_emit(s, c, &p, NULL);
}

void tcp_challenge(struct net_stack *s, struct tcp_conn *c)
{
    bool is_too_soon =
        c->challenged_us != 0 && s->now_us - c->challenged_us < TCP_CHALLENGE_INTERVAL_US;

    if (is_too_soon || !rate_take(&s->challenge_rate, s->now_us)) {
        NET_COUNT(s, tcp_challenges_limited);
        return;
    }
    c->challenged_us = s->now_us;
    NET_COUNT(s, tcp_challenges);
    tcp_send_ack(s, c);
}

enum output_result {
    OUTPUT_DONE,   /* nothing more that may go now */
    OUTPUT_MORE,   /* the budget is spent */
    OUTPUT_BLOCKED /* the port is out of packets */
};

static uint32_t cwnd_room(const struct tcp_conn *c)
{
    uint32_t in_flight = tcp_in_flight(c);

    return c->congestion.cwnd_bytes > in_flight ? c->congestion.cwnd_bytes - in_flight : 0;
}

/* What one connection may send in one turn, and what held it back. */
struct output_turn {
    unsigned *budget;    /* packets */
    uint32_t paced_left; /* bytes */
    bool is_limited;     /* by the congestion window */
    bool is_paced;
};

/* What goes with a transmission of 'size' bytes that ranges do not know of yet. */
static struct tcp_rate_mark rate_mark(const struct net_stack *s, struct tcp_conn *c, uint32_t size,
                                      bool *ret_is_limited)
{
    const struct tcp_model_ops *model = c->congestion.ops->model;
    uint32_t in_flight = tcp_in_flight(c);
    struct tcp_rate_mark mark = {.delivered_bytes = c->delivered_bytes,
                                 .marked_bytes = c->ranges.marked_bytes,
                                 .in_flight_bytes = in_flight + size};

    *ret_is_limited = model != NULL && model->sent(&c->congestion, s->now_us, in_flight, &mark);
    return mark;
}

/* How much of the lost 'range' may go in one group: to the end of the one it was first sent in. */
static uint32_t resend_bytes_max(const struct tcp_conn *c, const struct tcp_range *range)
{
    uint32_t bytes = range->size < c->mss ? range->size : c->mss;
    uint32_t room = cwnd_room(c);

    if (range->group_bytes > 0) {
        uint32_t left = range->group_bytes - (range->seq - range->group_seq) % range->group_bytes;
        bytes = left < range->size ? left : range->size;
    }
    return bytes > room ? room / c->mss * c->mss : bytes;
}

/* Sends again what is lost, oldest first. */
static enum output_result output_lost(struct net_stack *s, struct tcp_conn *c,
                                      struct output_turn *turn)
{
    struct pool *pool = &s->tcp.ranges;
    uint32_t group_begin = c->snd_una;
    uint32_t group_end = c->snd_una;
    uint32_t index;

    while ((index = ranges_next_lost(&c->ranges, pool)) != POOL_NONE) {
        struct tcp_range *range = range_at(pool, index);
        bool has_fin = range->seq + range->size == c->snd_end + 1;
        uint32_t size = range->size <= c->mss + (has_fin ? 1u : 0u) ? range->size : c->mss;
        bool is_head = index == c->ranges.head;
        bool is_limited;

        if (*turn->budget == 0)
            return OUTPUT_MORE;
        if (cwnd_room(c) < size)
            return OUTPUT_DONE;
        if (turn->paced_left < size) {
            turn->is_paced = true;
            return OUTPUT_DONE;
        }
        if (!seq_is_before(range->seq, group_end)) {
            group_begin = range->seq;
            group_end = range->seq + resend_bytes_max(c, range);
        }
        bool is_pushed = range->seq + size == group_end && size != group_end - group_begin;
        if (!ranges_split(&c->ranges, pool, index, size))
            return OUTPUT_DONE; /* the timer tries again when ranges have come back */
        uint32_t sent = data_emit(s, c, range->seq, size, c->mss, is_pushed);
        if (sent == 0)
            return OUTPUT_BLOCKED;
        /* Fewer when the extents were many. */
        if (!ranges_split(&c->ranges, pool, index, sent))
            return OUTPUT_DONE;
        struct tcp_rate_mark mark = rate_mark(s, c, sent, &is_limited);
        range_resent(&c->ranges, pool, index, s->now_us, &mark, is_limited);
        --*turn->budget;
        turn->paced_left -= sent < turn->paced_left ? sent : turn->paced_left;
        tcp_recovery_sent(s, c, sent, true);
        if (c->deadlines_us[TCP_TIMER_RETRANSMIT] == 0 ||
            (is_head && c->pending != TCP_PENDING_REORDER))
            tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + tcp_timer_rto_us(c));
    }
    return OUTPUT_DONE;
}

/* RFC 9293 §3.7.4: whether a segment that is not full waits. */
static bool nagle_holds(const struct tcp_conn *c)
{
    if ((c->flags & (CONN_SEND_ANYWAY | CONN_FIN_QUEUED)) != 0)
        return false;
    if (c->nagle == TCP_NAGLE_CORKED)
        return true;
    return seq_is_after(c->snd_small, c->snd_una) && !seq_is_after(c->snd_small, c->snd_nxt);
}

void tcp_conn_set_nagle(struct net_stack *s, struct tcp_conn *c, enum tcp_nagle nagle)
{
    if (c->state == TCP_CLOSED)
        return;
    c->nagle = (uint8_t)nagle;
    tcp_want_output(s, c);
}

/* How many bytes make a group at most: what is sent in about a millisecond, all there is when the
 * path is short, and not more than half of the window (as Linux sizes what it hands to a card's
 * segmentation offload). */
static uint32_t group_bytes_max(const struct net_stack *s, const struct tcp_conn *c)
{
    const struct tcp_congestion *g = &c->congestion;
    uint32_t rtt_step = c->min_rtt_us >> 9;
    uint64_t bytes = rtt_step < 32 ? GROUP_BYTES_MAX >> rtt_step : 0;

    if (s->info->tso_bytes_max > c->mss)
        return s->info->tso_bytes_max / c->mss * c->mss;
    if (c->srtt_us > 0) {
        uint32_t percent = g->cwnd_bytes < g->ssthresh_bytes / 2 ? 200 : 120; /* the pacing rate */
        bytes += (uint64_t)g->cwnd_bytes * percent / 100 * 1000 / c->srtt_us;
    }
    if (bytes > GROUP_BYTES_MAX)
        bytes = GROUP_BYTES_MAX;
    uint32_t segments = (uint32_t)bytes / c->mss;
    uint32_t half = g->cwnd_bytes / c->mss / 2;
    if (segments < GROUP_SEGMENTS_MIN)
        segments = GROUP_SEGMENTS_MIN;
    if (segments > half)
        segments = half > 0 ? half : 1;
    return segments * c->mss;
}

/* How many new bytes may go now as one group of segments (a FIN counts one); 0: none. */
static uint32_t output_allowance(struct net_stack *s, struct tcp_conn *c, struct output_turn *turn)
{
    uint32_t limit = c->mss;
    bool is_fin_due = (c->flags & (CONN_FIN_QUEUED | CONN_FIN_SENT)) == CONN_FIN_QUEUED;
    uint32_t unsent = seq_is_before(c->snd_nxt, c->snd_end) ? c->snd_end - c->snd_nxt : 0;
    uint32_t wanted = unsent + (is_fin_due ? 1 : 0);
    uint32_t used = c->snd_nxt - c->snd_una;
    uint32_t window = c->snd_wnd > used ? c->snd_wnd - used : 0;
    uint32_t room = cwnd_room(c);

    if (wanted == 0)
        return 0;
    /* A card may repeat CWR in each packet that it makes of a segment: that one goes alone. */
    if (unsent > c->mss && (c->flags & CONN_CWR_DUE) == 0) {
        limit = GROUP_SEGMENTS_MIN * (uint32_t)c->mss;
        bool is_window_small = c->congestion.cwnd_bytes < 2 * limit;
        if (is_window_small || (unsent > limit && room > limit)) /* else it is as much */
            limit = group_bytes_max(s, c);
    }
    uint32_t data = unsent < limit ? unsent : limit;
    if (data > room) {
        turn->is_limited = true;
        data = room / c->mss * c->mss; /* whole segments */
    }
    if (data > turn->paced_left) {
        turn->is_paced = true;
        data = turn->paced_left / c->mss * c->mss;
    }
    if (data == 0 && unsent > 0)
        return 0;
    /* The FIN rides on the last data; the congestion window counts bytes. */
    uint32_t size = data == unsent ? wanted : data;
    if (size > window)
        size = window;
    /* Sender's silly-window avoidance (RFC 9293 §3.8.6.2.1): full segments, all there is, or
     * half of the largest window seen. */
    if (size > c->mss && (size < wanted || (c->nagle != TCP_NAGLE_OFF && nagle_holds(c))))
        size = size / c->mss * c->mss;
    if (size < c->mss && size < wanted && size < c->snd_wnd_max / 2 &&
        (c->flags & CONN_SEND_ANYWAY) == 0)
        return 0;
    if (size < c->mss && c->nagle != TCP_NAGLE_OFF && nagle_holds(c))
        return 0;
    return size;
}

/* 'sent' bytes from snd_nxt went out. */
static void new_sent(struct net_stack *s, struct tcp_conn *c, uint32_t sent)
{
    bool is_limited;
    struct tcp_rate_mark mark = rate_mark(s, c, sent, &is_limited);

    c->ranges.join_us = c->srtt_us / TCP_RANGES_FINE;
    ranges_sent(&c->ranges, &s->tcp.ranges, c->snd_nxt, sent, s->now_us, &mark, is_limited);
    c->snd_nxt += sent;
    if (c->snd_nxt == c->snd_end + 1)
        c->flags |= CONN_FIN_SENT;
    c->flags &= ~(uint32_t)(CONN_SEND_ANYWAY | CONN_CWR_DUE);
    tcp_recovery_sent(s, c, sent, false);
}

/* 'size' new bytes have left, up to 'end'. */
static void small_note(struct tcp_conn *c, uint32_t end, uint32_t size)
{
    if (size != c->mss && size % c->mss != 0)
        c->snd_small = end;
}

/* Sends 'size' new bytes, segment by segment where the port does not cut them itself. The last of
 * several is pushed: a receiver that gathers them (GRO) need not wait for more. */
static enum output_result output_group(struct net_stack *s, struct tcp_conn *c,
                                       struct output_turn *turn, uint32_t size)
{
    uint32_t begin = c->snd_nxt;
    uint32_t segment = s->info->tso_bytes_max > c->mss ? size : c->mss;
    uint32_t fin = begin + size == c->snd_end + 1 ? 1 : 0; /* rides on the last segment */
    bool is_data = begin != c->snd_end;
    enum output_result result = OUTPUT_DONE;
    uint32_t sent = 0;

    if (!ranges_have_room(&c->ranges, &s->tcp.ranges)) {
        NET_COUNT(s, tcp_no_range_left); /* an ACK, or the timer, comes back here */
        return OUTPUT_MORE;
    }
    struct tcp_header header = header_begin(s, c);
    while (sent < size) {
        uint32_t left = size - sent;
        uint32_t part = left <= segment + fin ? left : segment;
        uint32_t put = 0;
        if (*turn->budget > 0)
            put =
                data_put(s, c, &header, begin + sent, part, c->mss, size > c->mss && part == left);
        if (put == 0) {
            result = *turn->budget == 0 ? OUTPUT_MORE : OUTPUT_BLOCKED;
            break;
        }
        sent += put;
        --*turn->budget;
        small_note(c, begin + sent, put);
    }
    header_end(s, c, &header, sent > 0, is_data);
    if (sent == 0)
        return result;
    new_sent(s, c, sent);
    turn->paced_left -= sent < turn->paced_left ? sent : turn->paced_left;
    struct tcp_range *tail = range_at(&s->tcp.ranges, c->ranges.tail);
    if (sent == size && tail->seq == begin) {
        tail->group_seq = begin;
        tail->group_bytes = (uint16_t)(size < GROUP_BYTES_MAX ? size : GROUP_BYTES_MAX);
    }
    return result;
}

static enum output_result output_new(struct net_stack *s, struct tcp_conn *c,
                                     struct output_turn *turn)
{
    enum output_result result = OUTPUT_DONE;
    uint32_t size;

    while (result == OUTPUT_DONE && (size = output_allowance(s, c, turn)) > 0)
        result = output_group(s, c, turn, size);
    return result;
}

/* Tries a larger packet when one is due (RFC 4821). False: nothing else goes before it does. */
static bool output_mtu_probe(struct net_stack *s, struct tcp_conn *c, struct output_turn *turn)
{
    uint32_t size = tcp_mtu_probe_due(s, c);

    if (size == 0 || *turn->budget == 0 || turn->paced_left < size ||
        !ranges_have_room(&c->ranges, &s->tcp.ranges))
        return true;
    if (cwnd_room(c) < size) {
        turn->is_limited = true;
        return c->snd_una == c->snd_nxt;
    }
    uint32_t sent = data_emit(s, c, c->snd_nxt, size, size, false);
    if (sent == 0)
        return true;
    if (sent > c->mss) /* fewer when the extents were many */
        tcp_mtu_probe_sent(s, c, sent);
    new_sent(s, c, sent);
    --*turn->budget;
    turn->paced_left -= sent < turn->paced_left ? sent : turn->paced_left;
    return true;
}

int tcp_send_tail_probe(struct net_stack *s, struct tcp_conn *c)
{
    struct pool *pool = &s->tcp.ranges;
    uint32_t used = c->snd_nxt - c->snd_una;
    uint32_t size = c->snd_end - c->snd_nxt < c->mss ? c->snd_end - c->snd_nxt : c->mss;

    if (!conn_is_routed(s, c))
        return 0;
    if (seq_is_before(c->snd_nxt, c->snd_end) && used + size <= c->snd_wnd) {
        uint32_t sent = ranges_have_room(&c->ranges, pool)
                            ? data_emit(s, c, c->snd_nxt, size, c->mss, false)
                            : 0;
        if (sent > 0) {
            new_sent(s, c, sent);
            small_note(c, c->snd_nxt, sent);
        }
        return sent > 0 ? 1 : 0;
    }
    struct tcp_range *tail = range_at(pool, c->ranges.tail);
    uint32_t last = c->mss + (tail->seq + tail->size == c->snd_end + 1 ? 1u : 0u);
    if (tail->size > last && !ranges_split(&c->ranges, pool, c->ranges.tail, tail->size - last))
        return 0;
    tail = range_at(pool, c->ranges.tail);
    if (data_emit(s, c, tail->seq, tail->size, c->mss, false) == 0)
        return 0;
    bool is_limited;
    struct tcp_rate_mark mark = rate_mark(s, c, 0, &is_limited);
    range_probed(tail, s->now_us, &mark);
    tcp_recovery_sent(s, c, tail->size, true);
    return 2;
}

/* How the window is used decides whether it may grow: by the most that was in flight in a round
 * trip, and whether it held us back (RFC 7661 §4.1, Linux). */
static void usage_note(struct tcp_conn *c, bool is_limited)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    bool was_limited = (c->flags & CONN_CWND_LIMITED) != 0;

    if (seq_is_before(c->snd_una, c->usage_end) && !is_limited &&
        (was_limited || flight <= c->usage_bytes_max))
        return;
    c->flags &= ~(uint32_t)CONN_CWND_LIMITED;
    if (is_limited)
        c->flags |= CONN_CWND_LIMITED;
    c->usage_bytes_max = flight;
    c->usage_end = c->snd_nxt;
}

/* The window after a pause of 'idle_us', by Linux's rule: half for each timeout that passed, not
 * below the initial window (RFC 2861). */
static uint32_t window_decayed(const struct tcp_conn *c, uint64_t idle_us)
{
    uint32_t initial = tcp_initial_window(c->mss);
    uint32_t cwnd = c->congestion.cwnd_bytes;

    for (; idle_us >= c->rto_us && cwnd > initial; idle_us -= c->rto_us)
        cwnd /= 2;
    return cwnd > initial ? cwnd : initial;
}

/* Back from idle, the path may have changed. A window that was in use stays valid for five
 * minutes, then halves for each five more (RFC 7661 §4.3, §4.4.1); see docs/decisions. */
static void restart_after_idle(struct net_stack *s, struct tcp_conn *c)
{
    uint64_t idle_us = s->now_us - c->last_sent_us;
    uint32_t initial = tcp_initial_window(c->mss);
    uint32_t cwnd = c->congestion.cwnd_bytes;

    if (c->snd_una != c->snd_nxt || idle_us < c->rto_us)
        return;
    c->congestion.ops->restarted(&c->congestion, idle_us);
    if (cwnd <= initial || c->congestion.ops->model != NULL)
        return;
    uint32_t after = cwnd;
    if (s->config.idle_restart == NET_IDLE_RESTART_DECAY)
        after = window_decayed(c, idle_us);
    else
        for (; idle_us >= WINDOW_VALID_US && after > initial; idle_us -= WINDOW_VALID_US)
            after = after / 2 > initial ? after / 2 : initial;
    if (after == cwnd)
        return;
    uint32_t keep = cwnd / 4 * 3;
    if (c->congestion.ssthresh_bytes < keep)
        c->congestion.ssthresh_bytes = keep;
    c->congestion.cwnd_bytes = after;
    NET_COUNT(s, tcp_idle_restarts);
}

static bool has_unsent(const struct tcp_conn *c)
{
    bool is_fin_due = (c->flags & (CONN_FIN_QUEUED | CONN_FIN_SENT)) == CONN_FIN_QUEUED;

    return is_fin_due || seq_is_before(c->snd_nxt, c->snd_end);
}

void tcp_note_shortage(const struct net_stack *s, struct tcp_conn *c)
{
    const struct tcp_model_ops *model = c->congestion.ops->model;

    if (model == NULL || c->state < TCP_ESTABLISHED || has_unsent(c) ||
        s->now_us < c->paced_until_us || cwnd_room(c) == 0 ||
        c->ranges.lost_bytes > c->ranges.resent_bytes)
        return;
    model->ran_out(&c->congestion, c->delivered_bytes + tcp_in_flight(c));
}

/* What is lost first, unless new data shall tell whether anything is (RFC 5682). */
static enum output_result output_data(struct net_stack *s, struct tcp_conn *c, unsigned *budget)
{
    struct tcp_recovery *r = &c->recovery;
    uint32_t nxt_before = c->snd_nxt;
    uint32_t paced = tcp_pacing_allowance(s, c);
    struct output_turn turn = {.budget = budget, .paced_left = paced};
    enum output_result result = OUTPUT_DONE;

    if (tcp_recovery_may_resend(c))
        result = output_lost(s, c, &turn);
    bool may_go = c->search.low == 0 || output_mtu_probe(s, c, &turn);
    if (result == OUTPUT_DONE && !turn.is_paced && may_go)
        result = output_new(s, c, &turn);
    if (!tcp_recovery_may_resend(c) && !seq_is_after(c->snd_nxt, r->recover) &&
        result == OUTPUT_DONE && !turn.is_paced) { /* there is none that may go */
        r->flags &= (uint16_t) ~(RECOVERY_FRTO | RECOVERY_NEW_ONLY);
        result = output_lost(s, c, &turn);
    }
    if (turn.paced_left != paced)
        tcp_pacing_sent(s, c, paced - turn.paced_left);
    if (turn.is_paced)
        tcp_pacing_hold(s, c);
    if (c->snd_nxt == nxt_before)
        return result;
    /* A fraction of a segment is no room. */
    usage_note(c, turn.is_limited || tcp_in_flight(c) + c->mss > c->congestion.cwnd_bytes);
    if (nxt_before == c->snd_una || c->pending == TCP_PENDING_PROBE ||
        c->deadlines_us[TCP_TIMER_RETRANSMIT] == 0 || tcp_timer_may_probe(c))
        tcp_timer_rearm(s, c);
    return result;
}

static enum output_result conn_output(struct net_stack *s, struct tcp_conn *c, unsigned *budget)
{
    enum output_result result = OUTPUT_DONE;
    bool may_send =
        c->state >= TCP_ESTABLISHED && c->state != TCP_TIME_WAIT && c->state != TCP_FIN_WAIT_2;

    if (c->state < TCP_ESTABLISHED)
        return OUTPUT_DONE;
    if (may_send && (has_unsent(c) || c->ranges.lost_bytes > 0)) {
        if (!conn_is_routed(s, c)) {
            if (c->deadlines_us[TCP_TIMER_RETRANSMIT] == 0)
                tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + ROUTE_RETRY_US);
            return OUTPUT_DONE;
        }
        restart_after_idle(s, c);
        result = output_data(s, c, budget);
        /* Nothing in flight that an ACK would come for, yet something to send: the window is
         * closed, or too small. Probe it (RFC 9293 §3.8.6.1). */
        if (result == OUTPUT_DONE && has_unsent(c) && c->snd_una == c->snd_nxt &&
            c->deadlines_us[TCP_TIMER_RETRANSMIT] == 0)
            tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + tcp_timer_rto_us(c));
    }
    if ((c->flags & CONN_ACK_NOW) != 0 && result != OUTPUT_BLOCKED)
        tcp_send_ack(s, c);
    return result;
}

/* Gives the connections of 'list' a turn of up to 'most' packets each. Returns how many were sent;
 * 'ret_is_blocked': the port is out of packets. Who is not done is put where tcp_want_output()
 * does. */
static unsigned output_list(struct net_stack *s, struct list *list, unsigned budget, unsigned most,
                            bool *ret_is_blocked)
{
    struct list due;
    unsigned sent = 0;

    list_init(&due);
    list_splice(&due, list);
    while (sent < budget && !*ret_is_blocked) {
        struct list *node = list_pop_front(&due);
        if (node == NULL)
            return sent;
        struct tcp_conn *c = CONTAINER_OF(node, struct tcp_conn, link);
        bool is_alone = list_is_empty(&due) && list_is_empty(&s->tcp.output);
        unsigned turn = is_alone ? BURST_MAX : most;
        turn = turn < budget - sent ? turn : budget - sent;
        unsigned left = turn;
        c->flags &= ~(uint32_t)CONN_BEGINS;
        enum output_result result = conn_output(s, c, &left);
        sent += turn - left;
        if (result != OUTPUT_DONE)
            tcp_want_output(s, c);
        *ret_is_blocked = result == OUTPUT_BLOCKED;
    }
    /* Who had no turn comes first next time. */
    list_splice(&due, list);
    list_splice(list, &due);
    return sent;
}

/* A part that is finished makes thousands begin at once: nobody's whole window goes before
 * another's first packets, and the others keep a quarter of the budget. */
unsigned tcp_output_all(struct net_stack *s, unsigned budget)
{
    bool is_blocked = false;
    unsigned sent =
        output_list(s, &s->tcp.beginning, budget - budget / 4, FIRST_BURST_MAX, &is_blocked);

    return sent + output_list(s, &s->tcp.output, budget - sent, BURST_MAX, &is_blocked);
}

bool tcp_has_output(const struct net_stack *s)
{
    return !list_is_empty(&s->tcp.output) || !list_is_empty(&s->tcp.beginning);
}
