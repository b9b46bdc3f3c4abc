#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    DELAYED_ACK_US = 40000,
    STRETCH_SEGMENTS_MAX = 8 /* a burst of more is not left unacknowledged until the flush */
};

uint16_t tcp_receive_window(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t offered = s->config.receive_window_bytes;

    offered = offered > c->held_bytes ? offered - c->held_bytes : 0;
    if ((c->flags & CONN_PAUSED) == 0)
        c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + offered);

    /* Rounded up, since the edge must not move back (RFC 9293 §3.8.6.2.2). */
    uint32_t window = c->rcv_edge - c->rcv_nxt;
    uint32_t field = (window + (1u << c->rcv_shift) - 1) >> c->rcv_shift;
    if (field > UINT16_MAX)
        field = UINT16_MAX;
    c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + (field << c->rcv_shift));
    return (uint16_t)field;
}

void tcp_conn_hold(struct net_stack *s, struct tcp_conn *c, uint32_t bytes)
{
    uint32_t offered = s->config.receive_window_bytes;
    uint32_t window = c->rcv_edge - c->rcv_nxt;

    c->held_bytes = bytes;
    offered = offered > bytes ? offered - bytes : 0;
    /* Receiver's silly-window avoidance (RFC 9293 §3.8.6.2.2), and twice what is left: as Linux. */
    if (offered >= 2 * window && offered - window >= c->rcv_mss) {
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
    }
}

/* Where the data received in order ends: before a FIN. */
static uint32_t data_end(const struct tcp_conn *c)
{
    return (c->flags & CONN_FIN_RECEIVED) != 0 ? c->rcv_nxt - 1 : c->rcv_nxt;
}

void tcp_receive_drain(struct net_stack *s, struct tcp_conn *c)
{
    struct bytes data;
    uint32_t index;

    while (c->state != TCP_CLOSED && (c->flags & CONN_PAUSED) == 0 && c->delivered != data_end(c)) {
        index = reassembly_pop(&c->reassembly, &s->tcp.buffers, c->delivered, &data);
        CHECK(index != POOL_NONE);
        c->delivered += (uint32_t)data.size;
        counter_add(&s->counters->tcp_bytes_received, data.size);
        c->stream.events->data(&c->stream, data, s->now_us);
        pool_put(&s->tcp.buffers, index);
    }
    if (c->state == TCP_CLOSED || (c->flags & CONN_PAUSED) != 0)
        return;
    if ((c->flags & (CONN_FIN_RECEIVED | CONN_EOF_TOLD)) == CONN_FIN_RECEIVED) {
        c->flags |= CONN_EOF_TOLD;
        if (c->stream.events->eof != NULL)
            c->stream.events->eof(&c->stream, s->now_us);
    }
    bool is_over = c->state == TCP_TIME_WAIT || (c->state == TCP_LAST_ACK && tcp_fin_is_acked(c));
    if (is_over)
        tcp_conn_finish(s, c);
}

unsigned tcp_deliver_resumed(struct net_stack *s)
{
    unsigned count = 0;
    struct list due;

    list_init(&due);
    list_splice(&due, &s->tcp.resumed);
    for (struct list *node; (node = list_pop_front(&due)) != NULL; count++) {
        struct tcp_conn *c = CONTAINER_OF(node, struct tcp_conn, resumed_link);

        tcp_receive_drain(s, c);
        if (c->state == TCP_CLOSED)
            continue;
        c->flags |= CONN_ACK_NOW; /* the window is open again */
        tcp_want_output(s, c);
    }
    return count;
}

/* The FIN is next in order. */
static void fin_receive(struct net_stack *s, struct tcp_conn *c)
{
    c->rcv_nxt++;
    c->flags |= CONN_FIN_RECEIVED;
    tcp_send_ack(s, c); /* at once: the connection may be gone before the next flush */
    switch (c->state) {
    case TCP_ESTABLISHED:
        c->state = TCP_CLOSE_WAIT;
        break;
    case TCP_FIN_WAIT_1:
        c->state = tcp_fin_is_acked(c) ? TCP_TIME_WAIT : TCP_CLOSING;
        break;
    case TCP_FIN_WAIT_2:
        tcp_timer_clear(c, TCP_TIMER_LIFETIME);
        c->state = TCP_TIME_WAIT;
        break;
    default:
        CHECK(false);
    }
}

/* What an in-order segment brings in acknowledgements (RFC 9293 §3.8.6.3, RFC 5681 §4.2). */
static void ack_schedule(struct net_stack *s, struct tcp_conn *c, uint32_t size)
{
    if (size > c->rcv_mss)
        c->rcv_mss = size;
    c->unacked_bytes += size;
    if (c->unacked_bytes >= STRETCH_SEGMENTS_MAX * c->rcv_mss) {
        tcp_send_ack(s, c);
        return;
    }
    if (c->quick_acks > 0)
        c->quick_acks--;
    else if (c->unacked_bytes < 2 * c->rcv_mss) {
        if (c->deadlines_us[TCP_TIMER_DELAYED_ACK] == 0)
            tcp_timer_set(s, c, TCP_TIMER_DELAYED_ACK, s->now_us + DELAYED_ACK_US);
        return;
    }
    c->flags |= CONN_ACK_NOW;
    tcp_want_output(s, c);
}

/* Data at rcv_nxt. */
static void in_order(struct net_stack *s, struct tcp_conn *c, struct bytes data)
{
    struct pool *buffers = &s->tcp.buffers;
    bool has_more = c->reassembly.head != POOL_NONE && c->delivered == c->rcv_nxt;
    bool must_wait = (c->flags & CONN_PAUSED) != 0 || c->delivered != c->rcv_nxt;

    if (must_wait) {
        (void)reassembly_add(&c->reassembly, buffers, c->rcv_nxt, data,
                             s->config.reassembly_per_stream_max);
        uint32_t edge = reassembly_edge(&c->reassembly, buffers, c->rcv_nxt);
        if (edge == c->rcv_nxt) {
            NET_COUNT(s, tcp_no_buffer_left);
            return;
        }
        uint32_t size = edge - c->rcv_nxt;
        c->rcv_nxt = edge;
        ack_schedule(s, c, size);
        return;
    }
    c->rcv_nxt += (uint32_t)data.size;
    c->delivered = c->rcv_nxt;
    ack_schedule(s, c, (uint32_t)data.size);
    counter_add(&s->counters->tcp_bytes_received, data.size);
    c->stream.events->data(&c->stream, data, s->now_us);
    if (c->state == TCP_CLOSED || !has_more)
        return;
    /* A gap is filled: say so at once (RFC 5681 §4.2). */
    reassembly_trim(&c->reassembly, buffers, c->rcv_nxt);
    c->rcv_nxt = reassembly_edge(&c->reassembly, buffers, c->rcv_nxt);
    c->flags |= CONN_ACK_NOW;
    tcp_want_output(s, c);
}

static void out_of_order(struct net_stack *s, struct tcp_conn *c, uint32_t seq, struct bytes data)
{
    NET_COUNT(s, tcp_out_of_order);
    if (data.size > 0 && !reassembly_add(&c->reassembly, &s->tcp.buffers, seq, data,
                                         s->config.reassembly_per_stream_max))
        NET_COUNT(s, tcp_no_buffer_left);
    c->recent_seq = seq;
    tcp_send_ack(s, c); /* the duplicate that tells the sender; never delayed */
}

void tcp_receive(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    struct bytes data = segment->payload;
    uint32_t seq = segment->seq;
    bool has_fin = (segment->flags & TCP_FIN) != 0;
    bool may_receive =
        c->state == TCP_ESTABLISHED || c->state == TCP_FIN_WAIT_1 || c->state == TCP_FIN_WAIT_2;

    if (!may_receive || (data.size == 0 && !has_fin))
        return;
    if (seq_is_before(seq, c->rcv_nxt)) {
        uint32_t known = c->rcv_nxt - seq;
        c->duplicate = (struct tcp_sack_block){.start = seq, .end = c->rcv_nxt};
        data = bytes_from(data, known);
        seq = c->rcv_nxt;
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
    }
    uint32_t window = c->rcv_edge - seq;
    if (data.size + (has_fin ? 1 : 0) > window) {
        NET_COUNT(s, tcp_rx_beyond_window);
        has_fin = false;
        if (data.size > window)
            data.size = window;
    }
    if (has_fin) {
        c->flags |= CONN_FIN_KNOWN;
        c->fin_seq = seq + (uint32_t)data.size;
    }
    if (seq != c->rcv_nxt) {
        out_of_order(s, c, seq, data);
        return;
    }
    if (data.size > 0)
        in_order(s, c, data);
    if (c->state == TCP_CLOSED)
        return;
    /* The user may have shut down or paused meanwhile: states are looked at anew. */
    if ((c->flags & (CONN_FIN_KNOWN | CONN_FIN_RECEIVED)) == CONN_FIN_KNOWN &&
        c->rcv_nxt == c->fin_seq)
        fin_receive(s, c);
    tcp_receive_drain(s, c);
}
