#include <errno.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/stack.h"

enum {
    TS_RECENT_AGE_MAX_S = 24 * 24 * 3600, /* RFC 7323 §5.5 */
    NONSENSE_FLAGS = TCP_FIN | TCP_SYN | TCP_RST
};

static bool checksum_is_ok(const struct net_rx *rx)
{
    if ((rx->flags & PACKET_IN_L4_CHECKSUM_GOOD) != 0)
        return true;
    if ((rx->flags & PACKET_IN_L4_CHECKSUM_BAD) != 0)
        return false;
    uint32_t sum = checksum_pseudo_header(rx->source, rx->destination, rx->family, PROTOCOL_TCP) +
                   (uint32_t)rx->payload.size + checksum_sum(rx->payload.ptr, rx->payload.size);
    return checksum_fold(sum) == 0xffff;
}

/* Reads the header; false: dropped and counted. */
static bool segment_parse(struct net_stack *s, const struct net_rx *rx,
                          struct tcp_segment *ret_segment)
{
    const uint8_t *h = rx->payload.ptr;
    struct tcp_segment *segment = ret_segment;

    if (rx->payload.size < TCP_SIZE) {
        NET_COUNT(s, tcp_rx_short);
        return false;
    }
    size_t header_size = (size_t)(h[12] >> 4) * 4;
    if (header_size < TCP_SIZE || header_size > rx->payload.size) {
        NET_COUNT(s, tcp_rx_bad_header);
        return false;
    }
    if (!checksum_is_ok(rx)) {
        NET_COUNT(s, tcp_rx_checksum);
        return false;
    }
    segment->flags = h[13];
    segment->ecn = net_rx_ecn(rx);
    /* None, or more than one of SYN, FIN and RST: no implementation sends that. */
    unsigned kinds = segment->flags & NONSENSE_FLAGS;
    if ((segment->flags & (NONSENSE_FLAGS | TCP_ACK)) == 0 || (kinds & (kinds - 1)) != 0) {
        NET_COUNT(s, tcp_rx_bad_flags);
        return false;
    }
    if (tcp_options_parse(bytes_of(h + TCP_SIZE, header_size - TCP_SIZE), &segment->options) < 0) {
        NET_COUNT(s, tcp_rx_bad_options);
        return false;
    }
    segment->seq = load_be32(h + 4);
    segment->ack = load_be32(h + 8);
    segment->raw_window = load_be16(h + 14);
    segment->window = segment->raw_window;
    segment->payload = bytes_from(rx->payload, header_size);
    segment->end = segment->seq + (uint32_t)segment->payload.size +
                   ((segment->flags & TCP_SYN) != 0) + ((segment->flags & TCP_FIN) != 0);
    return true;
}

/* --- becoming established --- */

static void established(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    c->snd_wnd = segment->window;
    c->snd_wnd_max = segment->window;
    c->snd_wl1 = segment->seq;
    c->snd_wl2 = segment->ack;
    c->snd_una = segment->ack;
    c->delivered = c->rcv_nxt;
    if (c->retries == 0) {
        tcp_timer_sample(c, (uint32_t)(s->now_us - c->last_sent_us));
        tcp_timer_sample_min(c, c->srtt_us, s->now_us);
    } else if (c->retries > 1) { /* RFC 5681 §3.1 says after one; Linux forgives the first */
        c->congestion.cwnd_bytes = c->mss;
    }
    c->retries = 0;
    c->backoff = 0;
    c->soft_error = 0;
    c->last_sent_us = s->now_us;
    tcp_timer_clear(c, TCP_TIMER_RETRANSMIT);
    c->received_us = s->now_us;
    tcp_timer_keepalive_start(s, c);
    c->state = (c->flags & CONN_FIN_QUEUED) != 0 ? TCP_FIN_WAIT_1 : TCP_ESTABLISHED;
    tcp_conn_begin_congestion(s, c);
    tcp_half_open_end(s, c);
    neighbour_confirm(s, c->neighbour);
    NET_COUNT(s, tcp_established);
    if ((c->flags & CONN_HAS_ECN) != 0)
        NET_COUNT(s, tcp_ecn_connections);
    tcp_want_output(s, c);
}

/* Tells the user. False: refused or already over. */
static bool establish_tell(struct net_stack *s, struct tcp_conn *c)
{
    struct stream *stream = &c->stream;

    if ((c->flags & CONN_IS_PASSIVE) == 0) {
        if (stream->events->sendable != NULL)
            stream->events->sendable(stream, s->now_us);
        return c->state != TCP_CLOSED;
    }
    const struct tcp_listener *l = &s->tcp.listeners[c->listener];
    if (l->events->accept(l->user, stream, s->now_us) < 0) {
        NET_COUNT(s, tcp_accepts_refused);
        if (c->state != TCP_CLOSED)
            tcp_conn_reset(s, c, -ECONNABORTED);
        return false;
    }
    CHECK(stream->events != NULL && stream->events->data != NULL && stream->events->closed != NULL);
    c->flags |= CONN_IS_USERS;
    return c->state != TCP_CLOSED;
}

static void syn_take(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    c->irs = segment->seq;
    c->rcv_nxt = segment->seq + 1;
    c->delivered = c->rcv_nxt;
    c->last_ack = c->rcv_nxt;
    /* An active opener has offered this much in its SYN. */
    c->rcv_edge = c->rcv_nxt;
    c->round_seq = c->rcv_nxt;
    if (c->state == TCP_SYN_SENT)
        c->rcv_edge += c->rcv_budget_bytes;
    tcp_conn_take_options(s, c, &segment->options);
    tcp_ecn_negotiate(s, c, segment);
}

/* RFC 9293 §3.10.7.3. */
static void syn_sent_input(struct net_stack *s, struct tcp_conn *c, const struct net_rx *rx,
                           const struct tcp_segment *segment)
{
    bool has_ack = (segment->flags & TCP_ACK) != 0;
    bool is_ack_ok = has_ack && segment->ack == c->snd_nxt;

    if (has_ack && !is_ack_ok) {
        NET_COUNT(s, tcp_rx_bad_ack);
        tcp_send_reset(s, rx, segment);
        return;
    }
    if ((segment->flags & TCP_RST) != 0) {
        if (is_ack_ok)
            tcp_conn_close(s, c, -ECONNREFUSED);
        else
            NET_COUNT(s, tcp_rx_bad_reset);
        return;
    }
    if ((segment->flags & TCP_SYN) == 0) {
        NET_COUNT(s, tcp_rx_bad_flags);
        return;
    }
    syn_take(s, c, segment);
    if (!is_ack_ok) { /* simultaneous open */
        c->state = TCP_SYN_RECEIVED;
        tcp_send_syn(s, c);
        return;
    }
    established(s, c, segment);
    c->flags |= CONN_ACK_NOW;
    (void)establish_tell(s, c); /* its answer may carry the ACK; what it carries is ignored */
}

/* The listener for 'local'; TCP_LISTENERS_MAX: none. */
static uint32_t listener_find(const struct net_stack *s, const struct endpoint *local)
{
    for (uint32_t i = 0; i < s->tcp.listener_count; i++)
        if (endpoint_takes(&s->tcp.listeners[i].local, local->family, local->addr, local->port))
            return i;
    return TCP_LISTENERS_MAX;
}

static struct tcp_conn *passive_new(struct net_stack *s, const struct endpoint *local,
                                    const struct endpoint *peer, uint32_t listener)
{
    struct tcp_conn *c = tcp_conn_new(s, local, peer, TCP_SYN_RECEIVED);

    if (c == NULL)
        return NULL;
    c->listener = (uint8_t)listener;
    c->flags |= CONN_IS_PASSIVE;
    if (s->tcp.listeners[listener].settings != NULL)
        c->settings = s->tcp.listeners[listener].settings;
    if (s->tcp.listeners[listener].congestion != NULL)
        tcp_conn_use_congestion(s, c, s->tcp.listeners[listener].congestion);
    return c;
}

static void sequence_begin(struct tcp_conn *c, uint32_t iss)
{
    c->iss = iss;
    c->snd_una = iss;
    c->snd_nxt = iss + 1;
    c->snd_end = iss + 1;
    c->snd_small = iss;
    c->recovery.recover = iss;
}

static void conn_input(struct net_stack *s, struct tcp_conn *c, const struct net_rx *rx,
                       struct tcp_segment *segment);

/* An ACK to a listener: welcome when it brings back a cookie. */
static void cookie_input(struct net_stack *s, const struct net_rx *rx, struct tcp_segment *segment,
                         const struct endpoint *local, const struct endpoint *peer,
                         uint32_t listener)
{
    struct tcp_segment syn;

    int error = tcp_cookie_check(s, segment, local, peer, &syn);
    if (error < 0) {
        NET_COUNT(s, tcp_rx_no_connection);
        /* While cookies are out this may be data that overtook the ACK which brings one back, or
         * outlived it: a reset would end a good connection, silence has the first byte sent again.
         */
        if (error == -ENOENT)
            tcp_send_reset(s, rx, segment);
        return;
    }
    struct tcp_conn *c = passive_new(s, local, peer, listener);
    if (c == NULL)
        return;
    sequence_begin(c, segment->ack - 1);
    syn_take(s, c, &syn);
    uint32_t payload_max = tcp_advertised_mss(s, peer->family, c->settings) -
                           (syn.options.has_timestamps ? TCP_TIMESTAMPS_SIZE : 0u);
    uint16_t window = tcp_receive_first_window(s, c->settings, payload_max);
    tcp_receive_start(s, c, window);
    c->rcv_edge = c->rcv_nxt + window;
    c->retries = 1; /* when the SYN-ACK left is not known: no round-trip sample */
    conn_input(s, c, rx, segment);
}

/* A SYN is answered without being remembered when too many are: of all, or of its source. */
static bool must_send_cookie(struct net_stack *s, const struct endpoint *peer)
{
    if (s->tcp.half_open >= s->config.backlog_max) {
        NET_COUNT(s, tcp_backlog_full);
        return true;
    }
    if (*tcp_half_open_source(s, peer) >= s->config.backlog_per_source_max) {
        NET_COUNT(s, tcp_backlog_source_full);
        return true;
    }
    return false;
}

static void listen_input(struct net_stack *s, const struct net_rx *rx, struct tcp_segment *segment,
                         const struct endpoint *local, const struct endpoint *peer,
                         uint32_t iss_after)
{
    uint32_t listener = listener_find(s, local);
    uint8_t kind = segment->flags & (TCP_SYN | TCP_ACK | TCP_RST);

    if (listener < TCP_LISTENERS_MAX && kind == TCP_ACK && peer->port != 0) {
        cookie_input(s, rx, segment, local, peer, listener);
        return;
    }
    if (listener == TCP_LISTENERS_MAX || kind != TCP_SYN) {
        NET_COUNT(s, tcp_rx_no_connection);
        tcp_send_reset(s, rx, segment);
        return;
    }
    if (peer->port == 0) {
        NET_COUNT(s, tcp_rx_bad_header);
        return;
    }
    bool is_full = s->tcp.conns.in_use == s->tcp.conns.count; /* tcp_conn_new() counts that */
    if (!is_full && must_send_cookie(s, peer)) {
        const struct tcp_settings *settings = s->tcp.listeners[listener].settings;
        tcp_cookie_send(s, segment, local, peer, settings != NULL ? settings : &s->tcp.settings);
        return;
    }
    struct tcp_conn *c = passive_new(s, local, peer, listener);
    if (c == NULL)
        return;
    /* Behind what the previous connection of these endpoints used (RFC 6191 §2). */
    if (iss_after != 0 && !seq_is_after(c->iss, iss_after))
        sequence_begin(c, iss_after + UINT16_MAX);
    c->flags |= CONN_IS_HALF_OPEN;
    s->tcp.half_open++;
    ++*tcp_half_open_source(s, peer);
    syn_take(s, c, segment);
    tcp_timer_set(s, c, TCP_TIMER_RETRANSMIT, s->now_us + tcp_timer_rto_us(c));
    tcp_send_syn(s, c);
}

/* --- synchronized states, RFC 9293 §3.10.7.4 --- */

/* An answer to a segment that is not acceptable. One that carries data always gets it, others
 * seldom: two confused ends must not answer each other for ever. */
static void reject(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    if ((segment->flags & TCP_RST) != 0)
        return;
    if (segment->payload.size == 0 || (segment->flags & TCP_SYN) != 0) {
        if (c->challenged_us != 0 && s->now_us - c->challenged_us < TCP_CHALLENGE_INTERVAL_US) {
            NET_COUNT(s, tcp_challenges_limited);
            return;
        }
        c->challenged_us = s->now_us;
    }
    tcp_send_ack(s, c);
}

/* Protection against wrapped sequence numbers, RFC 7323 §5. */
static bool paws_is_ok(const struct net_stack *s, const struct tcp_conn *c,
                       const struct tcp_segment *segment)
{
    if ((c->flags & CONN_HAS_TIMESTAMPS) == 0 || !segment->options.has_timestamps)
        return true;
    if (!seq_is_before(segment->options.ts_value, c->ts_recent))
        return true;
    return s->now_us - c->ts_recent_us > (uint64_t)TS_RECENT_AGE_MAX_S * 1000000;
}

static bool sequence_is_ok(const struct tcp_conn *c, const struct tcp_segment *segment)
{
    uint32_t window = c->rcv_edge - c->rcv_nxt;
    uint32_t last = segment->end - 1;

    if (segment->end == segment->seq)
        return segment->seq - c->rcv_nxt < window || segment->seq == c->rcv_nxt;
    return window > 0 && (segment->seq - c->rcv_nxt < window || last - c->rcv_nxt < window);
}

/* A segment for a closed window is taken for its acknowledgement alone. */
static void closed_window_strip(struct net_stack *s, struct tcp_conn *c,
                                struct tcp_segment *segment)
{
    if (c->rcv_edge != c->rcv_nxt || segment->seq != c->rcv_nxt || segment->end == segment->seq)
        return;
    NET_COUNT(s, tcp_rx_beyond_window);
    segment->payload = (struct bytes){0};
    segment->flags &= (uint8_t)~TCP_FIN;
    if ((segment->flags & TCP_SYN) == 0)
        segment->end = segment->seq;
    tcp_send_ack(s, c);
}

static void reset_input(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    if (segment->seq != c->rcv_nxt) { /* RFC 5961 §3.2 */
        NET_COUNT(s, tcp_rx_bad_reset);
        tcp_challenge(s, c);
        return;
    }
    /* Everything was exchanged, and waits for a paused user: nothing left to reset (RFC 1337). */
    if ((c->flags & CONN_FIN_RECEIVED) != 0 && tcp_fin_is_acked(c))
        return;
    NET_COUNT(s, tcp_resets_received);
    bool is_refused = c->state == TCP_SYN_RECEIVED && (c->flags & CONN_IS_PASSIVE) == 0;
    tcp_conn_close(s, c, is_refused ? -ECONNREFUSED : -ECONNRESET);
}

/* Whether the acknowledgement is one that we can have caused (RFC 5961 §5.2). */
static bool ack_is_ok(struct net_stack *s, struct tcp_conn *c, const struct tcp_segment *segment)
{
    if (seq_is_after(segment->ack, c->snd_nxt) ||
        seq_is_before(segment->ack, c->snd_una - c->snd_wnd_max)) {
        NET_COUNT(s, tcp_rx_bad_ack);
        tcp_challenge(s, c);
        return false;
    }
    return true;
}

/* Moves the state on when our FIN is acknowledged. */
static void fin_acked(struct net_stack *s, struct tcp_conn *c)
{
    if (!tcp_fin_is_acked(c))
        return;
    switch (c->state) {
    case TCP_FIN_WAIT_1:
        c->state = TCP_FIN_WAIT_2;
        tcp_timer_fin_wait_start(s, c);
        break;
    case TCP_CLOSING:
    case TCP_LAST_ACK:
        tcp_conn_finish(s, c);
        break;
    default:
        break;
    }
}

static void timestamp_take(struct net_stack *s, struct tcp_conn *c,
                           const struct tcp_segment *segment)
{
    /* RFC 7323 §4.3 (2): of the segment that the next ACK will be for. */
    if ((c->flags & CONN_HAS_TIMESTAMPS) == 0 || !segment->options.has_timestamps ||
        seq_is_after(segment->seq, c->last_ack) || !paws_is_ok(s, c, segment))
        return;
    c->ts_recent = segment->options.ts_value;
    c->ts_recent_us = s->now_us;
}

/* The checks before the acknowledgement; false: the segment is done with. */
static bool synchronized_accepts(struct net_stack *s, struct tcp_conn *c,
                                 struct tcp_segment *segment)
{
    if (!paws_is_ok(s, c, segment) && (segment->flags & TCP_RST) == 0) {
        NET_COUNT(s, tcp_rx_paws);
        reject(s, c, segment);
        return false;
    }
    closed_window_strip(s, c, segment);
    if (!sequence_is_ok(c, segment)) {
        NET_COUNT(s, tcp_rx_out_of_window);
        if (segment->payload.size > 0 && seq_is_before(segment->seq, c->rcv_nxt)) {
            c->duplicate = (struct tcp_sack_block){.start = segment->seq,
                                                   .end = seq_min(segment->end, c->rcv_nxt)};
            tcp_receive_repeated(c);
        }
        /* A keepalive or window probe is a sign of life all the same. */
        if (segment->end == c->rcv_nxt - 1 && segment->ack == c->snd_nxt)
            c->received_us = s->now_us;
        reject(s, c, segment);
        return false;
    }
    if ((segment->flags & TCP_RST) != 0) {
        reset_input(s, c, segment);
        return false;
    }
    if ((segment->flags & TCP_SYN) != 0) { /* RFC 5961 §4.2 */
        NET_COUNT(s, tcp_rx_bad_flags);
        tcp_challenge(s, c);
        return false;
    }
    if ((segment->flags & TCP_ACK) == 0) {
        NET_COUNT(s, tcp_rx_bad_flags);
        return false;
    }
    return true;
}

/* A SYN in SYN_RECEIVED. True: go on with the rest of the segment. */
static bool syn_received_syn(struct net_stack *s, struct tcp_conn *c, struct tcp_segment *segment)
{
    if ((segment->flags & TCP_SYN) == 0 || segment->seq != c->irs)
        return true;
    if ((c->flags & CONN_HAS_ECN) != 0) /* one that does not ask for it, or not back, ends it */
        tcp_ecn_negotiate(s, c, segment);
    if ((segment->flags & TCP_ACK) == 0) { /* again: ours was lost */
        tcp_send_syn(s, c);
        return false;
    }
    /* The other half of a simultaneous open. */
    segment->flags &= (uint8_t)~TCP_SYN;
    segment->seq++;
    return true;
}

static void conn_input(struct net_stack *s, struct tcp_conn *c, const struct net_rx *rx,
                       struct tcp_segment *segment)
{
    if (c->state == TCP_SYN_SENT) {
        syn_sent_input(s, c, rx, segment);
        return;
    }
    if (c->state == TCP_SYN_RECEIVED && !syn_received_syn(s, c, segment))
        return;
    if ((segment->flags & TCP_SYN) == 0)
        segment->window = (uint32_t)segment->raw_window << c->snd_shift;
    if (!synchronized_accepts(s, c, segment))
        return;

    if (c->state == TCP_SYN_RECEIVED) {
        if (segment->ack != c->snd_nxt) {
            NET_COUNT(s, tcp_rx_bad_ack);
            tcp_send_reset(s, rx, segment);
            return;
        }
        established(s, c, segment);
        if (!establish_tell(s, c))
            return;
    } else if (!ack_is_ok(s, c, segment)) {
        return;
    }
    c->received_us = s->now_us;
    c->probes = 0;
    timestamp_take(s, c, segment);
    tcp_ack(s, c, segment);
    if (c->state != TCP_CLOSED)
        fin_acked(s, c);
    if (c->state == TCP_CLOSED)
        return;
    bool is_more = seq_is_after(segment->seq + (uint32_t)segment->payload.size, c->rcv_nxt);
    if ((c->flags & CONN_IS_ORPHAN) != 0 && is_more && segment->payload.size > 0) {
        NET_COUNT(s, tcp_orphans_reset);
        tcp_send_reset(s, rx, segment);
        tcp_conn_close(s, c, -ECONNABORTED);
        return;
    }
    tcp_receive(s, c, segment);
}

static uint32_t *recent_slot(struct net_stack *s, const struct net_rx *rx)
{
    /* The end of an IPv6 address is where hosts differ. */
    uint64_t key = load_be32(rx->source + address_size(rx->family) - 4);

    key = key << 32 | load_be32(rx->payload.ptr); /* the ports */
    return &s->tcp.recent[key * 0x9e3779b97f4a7c15u >> (64 - TCP_RECENT_BITS)];
}

/* Whether the segment is between the ends of 'c', which may be any. */
static bool conn_takes(const struct tcp_conn *c, const struct net_rx *rx)
{
    const struct stream *s = &c->stream;

    return c->state != TCP_CLOSED && s->peer.family == rx->family &&
           s->peer.port == load_be16(rx->payload.ptr) &&
           s->local.port == load_be16(rx->payload.ptr + 2) &&
           address_is_equal(rx->family, s->peer.addr, rx->source) &&
           address_is_equal(rx->family, s->local.addr, rx->destination);
}

void tcp_input(struct net_stack *s, const struct net_rx *rx)
{
    struct tcp_segment segment;
    uint32_t iss_after = 0;

    NET_COUNT(s, tcp_segments_received);
    if (rx->is_multicast) {
        NET_COUNT(s, tcp_rx_multicast);
        return;
    }
    if (!segment_parse(s, rx, &segment))
        return;

    uint32_t *recent = recent_slot(s, rx);
    struct tcp_conn *c = pool_at(&s->tcp.conns, *recent);
    if (conn_takes(c, rx)) {
        conn_input(s, c, rx, &segment);
        return;
    }
    struct endpoint local =
        endpoint_of(rx->family, rx->destination, load_be16(rx->payload.ptr + 2));
    struct endpoint peer = endpoint_of(rx->family, rx->source, load_be16(rx->payload.ptr));
    uint32_t hash = flow_hash(&s->flow_key, &local, &peer);
    c = tcp_conn_find(s, &local, &peer, hash);
    if (c != NULL) {
        *recent = pool_index(&s->tcp.conns, c);
        conn_input(s, c, rx, &segment);
        return;
    }
    uint32_t waiting = tcp_time_wait_find(s, &local, &peer, hash);
    if (waiting != POOL_NONE && !tcp_time_wait_input(s, waiting, rx, &segment, &iss_after))
        return;
    if (!exception_is_ours(s, PROTOCOL_TCP, &local) && exception_put(s, rx))
        return;
    listen_input(s, rx, &segment, &local, &peer, iss_after);
}

bool tcp_icmp_error(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
                    uint32_t seq, enum net_error_kind kind, uint16_t mtu)
{
    struct tcp_conn *c = tcp_conn_find(s, local, peer, flow_hash(&s->flow_key, local, peer));

    if (c == NULL)
        return false;
    /* About something that is in flight now, or a forgery (RFC 5927 §4). */
    if (seq_is_before(seq, c->snd_una) || !seq_is_before(seq, c->snd_nxt)) {
        NET_COUNT(s, net_icmp_ignored);
        return true;
    }
    if (kind == NET_ERROR_UNREACHABLE) {
        NET_COUNT(s, net_icmp_unreachables);
        if (c->state == TCP_SYN_SENT) { /* nothing to lose yet: told at once (RFC 1122 §4.2.3.5) */
            tcp_conn_close(s, c, -EHOSTUNREACH);
            return true;
        }
        c->soft_error = -EHOSTUNREACH; /* RFC 1122 §4.2.3.9: a hint, should it time out */
        return true;
    }
    tcp_mtu_told(s, c, mtu);
    return true;
}
