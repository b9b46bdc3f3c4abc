#include "common/check.h"
#include "dataplane/net/stack.h"

/* When to acknowledge, and how much to offer, is Linux's choice where RFCs leave one: peers and
 * their senders are tuned to it. Times in milliseconds. */
enum {
    ACK_DELAY_MIN_MS = 40,
    ACK_DELAY_MAX_MS = 200,
    ACK_DELAY_ACTIVE_MAX_MS = 500, /* of a peer that sends on, before it is known to rest */
    QUICK_ACKS_FEW = 2,
    QUICK_ACKS_MAX = 16,
    WINDOW_GROWTH_MIN_BYTES = 128, /* smaller segments do not make the window grow */
    ROUND_TRIP_DEFAULT_US = 100000,
    ROUND_SEGMENTS = 10,     /* a window's worth at first (RFC 6928) */
    STRETCH_SEGMENTS_MAX = 8 /* a burst of more is not left unacknowledged until the flush */
};

/* --- how much --- */

static uint32_t window_standard(const struct net_stack *s, const struct tcp_settings *settings)
{
    return settings->receive_window_bytes != 0 ? settings->receive_window_bytes
                                               : s->config.receive_window_bytes;
}

uint16_t tcp_receive_first_window(const struct net_stack *s, const struct tcp_settings *settings,
                                  uint32_t mss)
{
    uint32_t window = window_standard(s, settings);

    if (window > mss)
        window = window / mss * mss;
    return window < UINT16_MAX ? (uint16_t)window : UINT16_MAX; /* not scaled (RFC 7323 §2.2) */
}

uint8_t tcp_receive_shift(const struct net_stack *s, const struct tcp_settings *settings)
{
    uint32_t window_max = settings->receive_window_bytes != 0 ? settings->receive_window_bytes
                                                              : s->config.receive_window_max_bytes;
    uint8_t shift = 0;

    while (window_max >> shift > UINT16_MAX && shift < TCP_SHIFT_MAX)
        shift++;
    return shift;
}

void tcp_receive_start(struct net_stack *s, struct tcp_conn *c, uint32_t first_window)
{
    c->rcv_budget_bytes = first_window;
    c->rcv_space_bytes = window_standard(s, c->settings);
    c->round_seq = c->rcv_nxt;
    c->round_us = (uint32_t)s->now_us;
    c->round_bytes =
        first_window < ROUND_SEGMENTS * c->mss ? first_window : ROUND_SEGMENTS * c->mss;
}

/* What is free of the budget now. */
static uint32_t window_free(const struct tcp_conn *c)
{
    uint32_t budget = c->rcv_budget_bytes;
    uint32_t space = budget > c->held_bytes ? budget - c->held_bytes : 0;
    uint32_t segment = c->rcv_mss < budget ? c->rcv_mss : budget;

    /* Silly-window avoidance (RFC 9293 §3.8.6.2.2): too little is nothing. */
    if (space < budget / 2 && (space < budget / 16 || space < segment))
        return 0;
    return space;
}

uint16_t tcp_receive_window(struct net_stack *s, struct tcp_conn *c)
{
    (void)s;
    if ((c->flags & CONN_PAUSED) == 0)
        c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + window_free(c));

    /* Rounded up, since the edge must not move back (RFC 9293 §3.8.6.2.2). */
    uint32_t window = c->rcv_edge - c->rcv_nxt;
    uint32_t field = (window + (1u << c->rcv_shift) - 1) >> c->rcv_shift;
    if (field > UINT16_MAX)
        field = UINT16_MAX;
    c->rcv_edge = seq_max(c->rcv_edge, c->rcv_nxt + (field << c->rcv_shift));
    return (uint16_t)field;
}

/* The budget grows into its space by two segments for each that arrives... */
static void budget_grow(struct tcp_conn *c, uint32_t size)
{
    uint32_t growth = 2 * (c->rcv_mss > size ? c->rcv_mss : size);

    if (size < WINDOW_GROWTH_MIN_BYTES || c->rcv_budget_bytes >= c->rcv_space_bytes)
        return;
    uint32_t room = c->rcv_space_bytes - c->rcv_budget_bytes;
    c->rcv_budget_bytes += growth < room ? growth : room;
    if (c->quick_acks > 0)
        c->quick_acks |= 1;
}

/* ... and the space with what the user consumes in a round trip: twice that, and more while the
 * sender accelerates, so that it is never the window that holds it back (Linux's dynamic
 * right-sizing; Fisk and Feng, 2001). */
static void space_adapt(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t rtt_us = c->srtt_us != 0 ? c->srtt_us : ROUND_TRIP_DEFAULT_US;
    uint32_t consumed = c->delivered - c->held_bytes;
    uint32_t bytes = consumed - c->round_seq;

    if (c->settings->receive_window_bytes != 0 || (uint32_t)s->now_us - c->round_us < rtt_us)
        return;
    c->round_seq = consumed;
    c->round_us = (uint32_t)s->now_us;
    if ((int32_t)bytes <= 0 || bytes <= c->round_bytes)
        return;
    uint64_t space = 2 * (uint64_t)bytes + 16 * c->rcv_mss;
    space += 2 * (space * (bytes - c->round_bytes) / (c->round_bytes > 0 ? c->round_bytes : 1));
    if (space > s->config.receive_window_max_bytes)
        space = s->config.receive_window_max_bytes;
    if (space > c->rcv_space_bytes) {
        c->rcv_space_bytes = (uint32_t)space;
        c->rcv_budget_bytes = (uint32_t)space;
        NET_COUNT(s, tcp_window_growths);
    }
    c->round_bytes = bytes;
}

void tcp_conn_hold(struct net_stack *s, struct tcp_conn *c, uint32_t bytes)
{
    uint32_t window = c->rcv_edge - c->rcv_nxt;
    bool is_read = bytes < c->held_bytes;
    bool is_short = (c->flags & CONN_ACK_PUSHED_AGAIN) != 0 ||
                    (c->flags & (CONN_ACK_PUSHED | CONN_PING_PONG)) == CONN_ACK_PUSHED;

    c->held_bytes = bytes;
    if (!is_read || c->state < TCP_ESTABLISHED)
        return;
    space_adapt(s, c);
    uint32_t offered = window_free(c);
    bool is_opened = offered > 0 && offered >= 2 * window;
    /* The reader has all there is, and the sender's data ended: it may be waiting. */
    bool is_due = c->deadlines_us[TCP_TIMER_DELAYED_ACK] != 0 &&
                  (c->rcv_nxt - c->last_ack > c->rcv_mss || (is_short && bytes == 0));
    if (is_opened || is_due) {
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
    }
}

/* --- when --- */

/* Linux's quick mode: enough acknowledgements at once to open the sender's window. */
static void quick_acks_raise(struct tcp_conn *c)
{
    uint32_t segments = (c->rcv_edge - c->rcv_nxt) / (2 * c->rcv_mss);

    if (segments < 2)
        segments = 2;
    if (segments > QUICK_ACKS_MAX)
        segments = QUICK_ACKS_MAX;
    if (segments > c->quick_acks)
        c->quick_acks = (uint8_t)segments;
}

void tcp_receive_repeated(struct tcp_conn *c)
{
    quick_acks_raise(c);
    c->flags &= ~(uint32_t)CONN_PING_PONG;
    c->ack_delay_ms = ACK_DELAY_MIN_MS;
}

void tcp_receive_quicken(struct tcp_conn *c)
{
    if (c->ack_delay_ms == 0) /* the first data begins like that anyway */
        return;
    if (c->quick_acks < QUICK_ACKS_FEW)
        c->quick_acks = QUICK_ACKS_FEW;
    c->flags &= ~(uint32_t)CONN_PING_PONG;
    c->ack_delay_ms = ACK_DELAY_MIN_MS;
}

void tcp_conn_set_quick_ack(struct net_stack *s, struct tcp_conn *c, bool is_quick)
{
    if (c->state < TCP_ESTABLISHED)
        return;
    if (!is_quick) {
        c->flags |= CONN_PING_PONG;
        return;
    }
    c->flags &= ~(uint32_t)CONN_PING_PONG;
    if (c->rcv_nxt != c->last_ack)
        tcp_send_ack(s, c);
}

/* The delay follows the time between segments. */
static void ack_delay_adapt(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t now_ms = (uint32_t)(s->now_us / 1000);
    uint32_t gap_ms = now_ms - c->data_received_ms;
    uint32_t rto_ms = c->rto_us / 1000;

    c->data_received_ms = now_ms;
    if (c->ack_delay_ms == 0) {
        quick_acks_raise(c);
        c->ack_delay_ms = ACK_DELAY_MIN_MS;
    } else if (gap_ms <= ACK_DELAY_MIN_MS / 2) {
        c->ack_delay_ms = (uint16_t)(c->ack_delay_ms / 2 + ACK_DELAY_MIN_MS / 2);
    } else if (gap_ms < c->ack_delay_ms) {
        uint32_t delay_ms = c->ack_delay_ms / 2u + gap_ms;
        c->ack_delay_ms = (uint16_t)(delay_ms < rto_ms ? delay_ms : rto_ms);
    } else if (gap_ms > rto_ms) {
        quick_acks_raise(c); /* the sender starts anew */
    }
}

static void ack_delay(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t delay_ms = c->ack_delay_ms;
    uint64_t pending_us = c->deadlines_us[TCP_TIMER_DELAYED_ACK];

    if (delay_ms > ACK_DELAY_MIN_MS) {
        uint32_t max_ms = (c->flags & (CONN_PING_PONG | CONN_ACK_PUSHED)) != 0
                              ? ACK_DELAY_MAX_MS
                              : ACK_DELAY_ACTIVE_MAX_MS;
        uint32_t rtt_ms = c->srtt_us / 1000;
        if (c->srtt_us != 0 && rtt_ms < ACK_DELAY_MIN_MS)
            rtt_ms = ACK_DELAY_MIN_MS;
        if (c->srtt_us != 0 && rtt_ms < max_ms)
            max_ms = rtt_ms;
        if (delay_ms > max_ms)
            delay_ms = max_ms;
    }
    if (delay_ms > ACK_DELAY_MAX_MS)
        delay_ms = ACK_DELAY_MAX_MS;
    if (pending_us != 0 && pending_us <= s->now_us + (uint64_t)delay_ms * 1000 / 4) {
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
        return;
    }
    if (pending_us == 0 || s->now_us + (uint64_t)delay_ms * 1000 < pending_us)
        tcp_timer_set(s, c, TCP_TIMER_DELAYED_ACK, s->now_us + (uint64_t)delay_ms * 1000);
}

void tcp_receive_ack_expired(struct net_stack *s, struct tcp_conn *c)
{
    uint32_t rto_ms = c->rto_us / 1000;

    if ((c->flags & CONN_PING_PONG) != 0) {
        c->flags &= ~(uint32_t)CONN_PING_PONG; /* no answer came after all */
        c->ack_delay_ms = ACK_DELAY_MIN_MS;
    } else {
        uint32_t delay_ms = 2u * c->ack_delay_ms;
        c->ack_delay_ms = (uint16_t)(delay_ms < rto_ms ? delay_ms : rto_ms);
    }
    tcp_send_ack(s, c);
}

void tcp_receive_acknowledged(struct net_stack *s, struct tcp_conn *c, bool is_data)
{
    c->flags &= ~(uint32_t)(CONN_ACK_NOW | CONN_ACK_PUSHED | CONN_ACK_PUSHED_AGAIN);
    c->last_ack = c->rcv_nxt;
    tcp_timer_clear(c, TCP_TIMER_DELAYED_ACK);
    if (c->unacked_bytes > 0 && c->quick_acks > 0 && --c->quick_acks == 0)
        c->ack_delay_ms = ACK_DELAY_MIN_MS;
    c->unacked_bytes = 0;
    /* An answer so soon after the question: a conversation. */
    if (is_data && (uint32_t)(s->now_us / 1000) - c->data_received_ms < c->ack_delay_ms)
        c->flags |= CONN_PING_PONG;
}

/* What an in-order segment brings in acknowledgements (RFC 9293 §3.8.6.3, RFC 5681 §4.2). */
static void ack_schedule(struct net_stack *s, struct tcp_conn *c, uint32_t size)
{
    bool is_quick = c->quick_acks > 0 && (c->flags & CONN_PING_PONG) == 0;

    c->unacked_bytes += size;
    if (c->unacked_bytes >= STRETCH_SEGMENTS_MAX * c->rcv_mss) {
        tcp_send_ack(s, c);
        return;
    }
    if (is_quick || c->rcv_nxt - c->last_ack > c->rcv_mss) {
        c->flags |= CONN_ACK_NOW;
        tcp_want_output(s, c);
        return;
    }
    ack_delay(s, c);
}

/* What a segment of 'size' bytes, the largest so far, says of the peer's. */
static uint32_t rcv_mss_of(const struct net_stack *s, const struct tcp_conn *c, uint32_t size)
{
    uint32_t advertised = tcp_advertised_mss(s, c->stream.peer.family, c->settings);

    return size < advertised ? size : advertised;
}

/* A segment of 'size' bytes arrived in order. */
static void segment_measure(struct net_stack *s, struct tcp_conn *c, uint32_t size)
{
    if (size >= c->rcv_mss)
        c->rcv_mss = rcv_mss_of(s, c, size);
    else
        c->flags |= (c->flags & CONN_ACK_PUSHED) != 0 ? CONN_ACK_PUSHED_AGAIN : CONN_ACK_PUSHED;
    ack_delay_adapt(s, c);
    budget_grow(c, size);
}

/* --- what --- */

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
        space_adapt(s, c);
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
    c->duplicate = (struct tcp_sack_block){0}; /* nothing is sent again after this, as Linux */
    /* The user's answer, likely its own FIN, may carry the ACK; when we closed first, it goes at
     * once: the connection may be gone before the next flush. */
    bool may_wait = c->state == TCP_ESTABLISHED && c->ack_delay_ms != 0 &&
                    (c->flags & CONN_ACK_NOW) == 0 && c->rcv_nxt - c->last_ack <= c->rcv_mss;
    c->flags |= CONN_PING_PONG;
    if (may_wait)
        ack_delay(s, c);
    else
        tcp_send_ack(s, c);
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
        segment_measure(s, c, (uint32_t)data.size);
        ack_schedule(s, c, size);
        return;
    }
    c->rcv_nxt += (uint32_t)data.size;
    c->delivered = c->rcv_nxt;
    segment_measure(s, c, (uint32_t)data.size);
    ack_schedule(s, c, (uint32_t)data.size);
    counter_add(&s->counters->tcp_bytes_received, data.size);
    c->stream.events->data(&c->stream, data, s->now_us);
    if (c->state == TCP_CLOSED)
        return;
    space_adapt(s, c);
    if (!has_more)
        return;
    /* What was there already, though not all of the segment: RFC 2883 §4.1.1. */
    if (c->duplicate.start == c->duplicate.end)
        (void)reassembly_covered(&c->reassembly, buffers, c->rcv_nxt, &c->duplicate);
    /* A gap is filled: say so at once (RFC 5681 §4.2). */
    reassembly_trim(&c->reassembly, buffers, c->rcv_nxt);
    c->rcv_nxt = reassembly_edge(&c->reassembly, buffers, c->rcv_nxt);
    c->flags |= CONN_ACK_NOW;
    tcp_want_output(s, c);
}

static void out_of_order(struct net_stack *s, struct tcp_conn *c, uint32_t seq, struct bytes data)
{
    uint32_t end = seq + (uint32_t)data.size;

    NET_COUNT(s, tcp_out_of_order);
    if (data.size > c->rcv_mss)
        c->rcv_mss = rcv_mss_of(s, c, (uint32_t)data.size);
    /* All of it was there already (RFC 2883 §4.1.2). */
    if (data.size > 0 && !seq_is_before(reassembly_edge(&c->reassembly, &s->tcp.buffers, seq), end))
        c->duplicate = (struct tcp_sack_block){.start = seq, .end = end};
    if (data.size > 0 && !reassembly_add(&c->reassembly, &s->tcp.buffers, seq, data,
                                         s->config.reassembly_per_stream_max))
        NET_COUNT(s, tcp_no_buffer_left);
    reassembly_note(&c->reassembly, &s->tcp.buffers, seq);
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
    if ((c->flags & CONN_HAS_ECN) != 0 && data.size > 0)
        tcp_ecn_receive(s, c, segment);
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
