#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

uint8_t tcp_hop_limit(const struct tcp_settings *settings)
{
    return settings->hop_limit != 0 ? settings->hop_limit : HOP_LIMIT_DEFAULT;
}

void tcp_send_control(struct net_stack *s, const struct tcp_control *control)
{
    struct net_packet packet;
    uint8_t family = control->peer.family;
    size_t size = TCP_SIZE + control->options_size;
    const struct tcp_settings *settings =
        control->settings != NULL ? control->settings : &s->tcp.settings;
    size_t at = packet_write_ip(s, &packet, family, control->local.addr, control->peer.addr,
                                PROTOCOL_TCP, tcp_hop_limit(settings), size);
    uint8_t *h = packet.header + at;

    store_be16(h, control->local.port);
    store_be16(h + 2, control->peer.port);
    store_be32(h + 4, control->seq);
    store_be32(h + 8, control->ack);
    h[12] = (uint8_t)(size / 4 << 4);
    h[13] = control->flags;
    store_be16(h + 14, control->window);
    store_be32(h + 16, 0); /* checksum and urgent pointer */
    if (settings->traffic_class != 0)
        packet_set_class(&packet, settings->traffic_class);
    if (control->options_size > 0)
        memcpy(h + TCP_SIZE, control->options, control->options_size);
    uint32_t sum =
        checksum_pseudo_header(control->local.addr, control->peer.addr, family, PROTOCOL_TCP) +
        (uint32_t)size + checksum_sum(h, size);
    store_be16(h + 16, checksum_finish(sum));
    packet.out.header_size = (uint16_t)(at + size);
    packet.out.l4_size = (uint8_t)size;
    NET_COUNT(s, tcp_segments_sent);
    (void)packet_route(s, &packet, family, control->peer.addr, true);
}

void tcp_send_reset(struct net_stack *s, const struct net_rx *rx, const struct tcp_segment *segment)
{
    struct tcp_control control = {
        .local = endpoint_of(rx->family, rx->destination, load_be16(rx->payload.ptr + 2)),
        .peer = endpoint_of(rx->family, rx->source, load_be16(rx->payload.ptr)),
        .flags = TCP_RST,
    };

    if ((segment->flags & TCP_RST) != 0)
        return;
    if (!rate_take(&s->reset_rate, s->now_us)) {
        NET_COUNT(s, tcp_resets_limited);
        return;
    }
    if ((segment->flags & TCP_ACK) != 0) {
        control.seq = segment->ack;
    } else {
        control.ack = segment->end;
        control.flags |= TCP_ACK;
    }
    NET_COUNT(s, tcp_resets_sent);
    tcp_send_control(s, &control);
}

void tcp_send_syn(struct net_stack *s, struct tcp_conn *c)
{
    uint8_t options[TCP_OPTIONS_MAX];
    bool is_reply = c->state == TCP_SYN_RECEIVED;
    uint16_t mss = tcp_advertised_mss(s, c->stream.peer.family, c->settings);
    uint32_t payload_max = mss; /* of a segment with the options that are certain by now */
    /* A reply takes up what the peer offered. */
    struct tcp_options o = {
        .mss = mss,
        .is_sack_permitted = !is_reply || (c->flags & CONN_HAS_SACK) != 0,
        .has_timestamps = !is_reply || (c->flags & CONN_HAS_TIMESTAMPS) != 0,
        .ts_value = tcp_timestamp(s->now_us, c->ts_offset),
        .ts_echo = is_reply ? c->ts_recent : 0,
        .has_shift = !is_reply || (c->flags & CONN_HAS_SCALE) != 0,
        .shift = tcp_receive_shift(s, c->settings),
    };
    if (is_reply && o.has_timestamps)
        payload_max -= TCP_TIMESTAMPS_SIZE;
    uint16_t window = tcp_receive_first_window(s, c->settings, payload_max);
    tcp_receive_start(s, c, window);
    if (is_reply)
        c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + window);
    uint8_t flags = (uint8_t)((is_reply ? TCP_SYN | TCP_ACK : TCP_SYN) | tcp_ecn_syn_flags(s, c));
    tcp_send_control(s, &(struct tcp_control){.local = c->stream.local,
                                              .peer = c->stream.peer,
                                              .seq = c->iss,
                                              .ack = is_reply ? c->rcv_nxt : 0,
                                              .flags = flags,
                                              .window = window,
                                              .settings = c->settings,
                                              .options = options,
                                              .options_size = tcp_options_write_syn(&o, options)});
}
