/* TCP_INFO: the connection's state in Linux's units, which are packets for windows; and what the
 * stack does not count for itself, taken from the packets. */
#include <linux/tcp.h>

#include "tests/conformance/packetdrill/shim.h"

enum { SSTHRESH_INFINITE = 0x7fffffff, REORDERING_DEFAULT = 3 };

/* struct tcp_info as it is since Linux 6.7, which the headers here may not know yet. */
enum {
    INFO_RECEIVE_WINDOW_AT = offsetof(struct tcp_info, tcpi_snd_wnd) + 4,
    INFO_TIMEOUTS_AT = INFO_RECEIVE_WINDOW_AT + 8, /* behind tcpi_rehash */
    INFO_SIZE = INFO_TIMEOUTS_AT + 8
};
static_assert(sizeof(struct tcp_info) <= INFO_SIZE, "it holds what the headers know");

static uint32_t packets(uint32_t bytes, uint32_t mss)
{
    return mss == 0 ? 0 : (bytes + mss - 1) / mss;
}

static_assert((int)TCP_PHASE_LOSS == TCP_CA_Loss && (int)TCP_PHASE_REDUCING == TCP_CA_CWR,
              "phases have Linux's numbers");

static uint8_t info_options(const struct tcp_conn *c)
{
    return (uint8_t)(((c->flags & CONN_HAS_TIMESTAMPS) != 0 ? TCPI_OPT_TIMESTAMPS : 0) |
                     ((c->flags & CONN_HAS_SACK) != 0 ? TCPI_OPT_SACK : 0) |
                     ((c->flags & CONN_HAS_SCALE) != 0 ? TCPI_OPT_WSCALE : 0) |
                     ((c->flags & CONN_HAS_ECN) != 0 ? TCPI_OPT_ECN : 0) |
                     ((c->flags & CONN_ECN_SEEN) != 0 ? TCPI_OPT_ECN_SEEN : 0));
}

/* --- what passes on the wire --- */

/* A TCP packet: who owns it, and where its data is. False: none of a socket's. */
struct seen {
    struct sock *sock;
    uint32_t seq;
    uint32_t payload_size;
    bool has_ack;
};

static bool seen_parse(struct shim *sh, struct bytes packet, bool is_sent, struct seen *ret)
{
    bool is_v4 = packet.size >= IPV4_SIZE && packet.ptr[0] >> 4 == 4;
    size_t ip_size = is_v4 ? IPV4_SIZE : IPV6_SIZE;
    uint8_t family = is_v4 ? 4 : 6;

    if (packet.size < ip_size + TCP_SIZE || packet.ptr[is_v4 ? 9 : 6] != PROTOCOL_TCP)
        return false;
    const uint8_t *source = packet.ptr + (is_v4 ? 12 : 8);
    const uint8_t *tcp = packet.ptr + ip_size;
    size_t header_size = ip_size + (size_t)(tcp[12] >> 4) * 4;
    struct endpoint from = endpoint_of(family, source, load_be16(tcp));
    struct endpoint to = endpoint_of(family, source + (is_v4 ? 4 : 16), load_be16(tcp + 2));
    const struct endpoint *local = is_sent ? &from : &to;
    const struct endpoint *peer = is_sent ? &to : &from;

    for (struct list *n = sh->socks.next; n != &sh->socks; n = n->next) {
        struct sock *s = CONTAINER_OF(n, struct sock, link);
        if (s->kind != SOCK_TCP || s->stream == NULL || !endpoint_is_equal(&s->peer, peer) ||
            !endpoint_is_equal(&s->stream->local, local))
            continue;
        *ret = (struct seen){
            .sock = s,
            .seq = load_be32(tcp + 4),
            .has_ack = (tcp[13] & TCP_ACK) != 0,
            .payload_size = (uint32_t)(packet.size > header_size ? packet.size - header_size : 0)};
        return true;
    }
    return false;
}

void stats_sent(void *user, struct bytes packet)
{
    struct shim *sh = user;
    struct seen seen;

    if (!seen_parse(sh, packet, true, &seen))
        return;
    struct sock_stats *t = &seen.sock->stats;
    uint32_t end = seen.seq + seen.payload_size;
    t->segments_out++;
    if (seen.payload_size == 0)
        return;
    if (t->data_segments_out > 0 && seq_is_before(seen.seq, t->sent_edge))
        t->bytes_resent += seen.payload_size;
    if (t->data_segments_out == 0 || seq_is_after(end, t->sent_edge))
        t->sent_edge = end;
    t->data_segments_out++;
    t->bytes_sent += seen.payload_size;
    t->data_sent_us = sh->now_us;
}

void stats_received(struct shim *sh, struct bytes packet)
{
    struct seen seen;

    if (!seen_parse(sh, packet, false, &seen))
        return;
    struct sock_stats *t = &seen.sock->stats;
    t->segments_in++;
    if (seen.has_ack)
        t->ack_received_us = sh->now_us;
    if (seen.payload_size > 0) {
        const struct tcp_conn *c = tcp_sock_conn(seen.sock);
        t->data_segments_in++;
        t->disordered_in += c->state >= TCP_ESTABLISHED && seq_is_after(seen.seq, c->rcv_nxt);
        t->data_received_us = sh->now_us;
    }
}

void stats_begin(struct sock *s)
{
    s->stats.data_sent_us = s->shim->now_us;
    s->stats.data_received_us = s->shim->now_us;
}

static enum sock_limit limit_of(const struct sock *s, const struct tcp_conn *c)
{
    uint32_t unsent = tcp_sock_unsent_bytes(c);
    uint32_t used = c->snd_nxt - c->snd_una;
    bool is_cwnd_full = tcp_in_flight(c) + c->mss > c->congestion.cwnd_bytes;
    uint32_t segment = unsent < c->mss ? unsent : c->mss;

    if (s->stream->queued_bytes == 0)
        return LIMIT_IDLE;
    if (unsent > 0 && !is_cwnd_full && used + segment > c->snd_wnd)
        return LIMIT_WINDOW;
    return unsent == 0 && !is_cwnd_full && s->is_nospace ? LIMIT_BUFFER : LIMIT_NETWORK;
}

static void limit_account(struct sock *s)
{
    struct sock_stats *t = &s->stats;

    t->limited_us[t->limit] += s->shim->now_us - t->limit_us;
    t->limit_us = s->shim->now_us;
}

void stats_step(struct sock *s)
{
    limit_account(s);
    s->stats.limit = limit_of(s, tcp_sock_conn(s));
}

/* --- what the connection knows --- */

static uint32_t since_ms(uint64_t now_us, uint64_t then_us)
{
    return now_us > then_us ? (uint32_t)((now_us - then_us) / 1000) : 0;
}

/* Packets of those in flight whose flags under 'mask' are 'flags'. */
static uint32_t packets_in_flight(const struct net_stack *stack, const struct tcp_conn *c,
                                  unsigned mask, unsigned flags)
{
    const struct pool *pool = &stack->tcp.ranges;
    uint32_t count = 0;

    for (const struct tcp_range *r = range_at(pool, c->ranges.head); r != NULL;
         r = range_at(pool, r->next))
        if ((r->flags & mask) == flags)
            count += packets(r->size, c->mss);
    return count;
}

/* Linux's rate, also where nothing is paced. */
static uint64_t pacing_rate(const struct tcp_conn *c)
{
    uint32_t flight = c->snd_nxt - c->snd_una;
    uint64_t window = c->congestion.cwnd_bytes > flight ? c->congestion.cwnd_bytes : flight;

    if (c->srtt_us == 0)
        return UINT64_MAX;
    bool is_slow_start = c->congestion.cwnd_bytes < c->congestion.ssthresh_bytes / 2;
    return window * (is_slow_start ? 2000000 : 1200000) / c->srtt_us;
}

static void stats_fill(const struct sock *s, struct tcp_info *info)
{
    const struct sock_stats *t = &s->stats;
    const uint64_t *limited = t->limited_us;
    uint64_t now_us = s->shim->now_us;

    info->tcpi_last_data_sent = since_ms(now_us, t->data_sent_us);
    info->tcpi_last_data_recv = since_ms(now_us, t->data_received_us);
    info->tcpi_last_ack_recv = since_ms(now_us, t->ack_received_us);
    info->tcpi_segs_out = t->segments_out;
    info->tcpi_segs_in = t->segments_in;
    info->tcpi_data_segs_out = t->data_segments_out;
    info->tcpi_data_segs_in = t->data_segments_in;
    info->tcpi_rcv_ooopack = t->disordered_in;
    info->tcpi_bytes_sent = t->bytes_sent;
    info->tcpi_bytes_retrans = t->bytes_resent;
    info->tcpi_busy_time = limited[LIMIT_NETWORK] + limited[LIMIT_WINDOW] + limited[LIMIT_BUFFER];
    info->tcpi_rwnd_limited = limited[LIMIT_WINDOW];
    info->tcpi_sndbuf_limited = limited[LIMIT_BUFFER];
}

static void info_fill(const struct net_stack *stack, const struct tcp_conn *c,
                      struct tcp_info *info)
{
    uint32_t mss = c->mss;

    info->tcpi_ca_state = c->recovery.phase;
    info->tcpi_retransmits = c->retries;
    info->tcpi_probes = c->probes;
    info->tcpi_backoff = c->backoff;
    info->tcpi_options = info_options(c);
    info->tcpi_snd_wscale = c->snd_shift & 15u;
    info->tcpi_rcv_wscale = c->rcv_shift & 15u;
    info->tcpi_rto = (uint32_t)tcp_timer_rto_us(c);
    info->tcpi_snd_mss = mss;
    info->tcpi_rcv_mss = c->rcv_mss;
    info->tcpi_ato = c->ack_delay_ms * 1000u;
    info->tcpi_unacked = packets_in_flight(stack, c, 0, 0);
    info->tcpi_sacked = packets_in_flight(stack, c, RANGE_SACKED, RANGE_SACKED) +
                        packets(c->recovery.dupack_bytes, mss);
    info->tcpi_lost = packets_in_flight(stack, c, RANGE_LOST, RANGE_LOST);
    info->tcpi_retrans = packets_in_flight(stack, c, RANGE_RESENT, RANGE_RESENT);
    info->tcpi_pmtu = c->path_mtu;
    info->tcpi_rtt = c->srtt_us;
    info->tcpi_rttvar = c->mdev_us / 4;
    info->tcpi_snd_ssthresh = c->congestion.ssthresh_bytes == UINT32_MAX
                                  ? SSTHRESH_INFINITE
                                  : c->congestion.ssthresh_bytes / mss;
    info->tcpi_snd_cwnd = c->congestion.cwnd_bytes / mss;
    info->tcpi_advmss = tcp_advertised_mss(stack, c->stream.peer.family, c->settings);
    info->tcpi_reordering = c->recovery.reordering;
    info->tcpi_reord_seen = c->recovery.reorderings;
    info->tcpi_total_retrans = c->retransmits;
    info->tcpi_min_rtt = c->min_rtt_us;
    info->tcpi_dsack_dups = c->duplicates_told;
    info->tcpi_delivered = 1 + packets(c->delivered_bytes, mss); /* the SYN too */
    info->tcpi_rcv_ssthresh = c->rcv_budget_bytes;
    info->tcpi_rcv_space = c->round_bytes;
    info->tcpi_pacing_rate = pacing_rate(c);
    info->tcpi_max_pacing_rate = UINT64_MAX;
    bool is_passive = (c->flags & CONN_IS_PASSIVE) != 0; /* then without the SYN */
    info->tcpi_bytes_acked = c->snd_una - c->iss - (is_passive ? 1 : 0);
    info->tcpi_bytes_received = c->rcv_nxt - c->irs - 1;
    info->tcpi_notsent_bytes = tcp_sock_unsent_bytes(c);
    info->tcpi_snd_wnd = c->snd_wnd;
}

void info_get(struct sock *s, void *value, socklen_t *size)
{
    const struct tcp_conn *c = tcp_sock_conn(s);
    struct tcp_info info = {.tcpi_state = (uint8_t)tcp_sock_state(s)};
    uint8_t all[INFO_SIZE] = {0};

    if (s->is_listening) { /* as Linux: what waits, and how much may */
        info.tcpi_unacked = s->accepted_count;
        info.tcpi_sacked = s->backlog;
    } else if (c != NULL && c->state != TCP_CLOSED) {
        info_fill(shim_stack(s->shim), c, &info);
        limit_account(s);
        stats_fill(s, &info);
    } else {
        info.tcpi_snd_ssthresh = SSTHRESH_INFINITE;
        info.tcpi_snd_cwnd = 10;
        info.tcpi_reordering = REORDERING_DEFAULT;
    }
    memcpy(all, &info, sizeof(info));
    if (c != NULL && c->state >= TCP_ESTABLISHED) {
        uint32_t window = c->rcv_edge - c->last_ack;
        memcpy(all + INFO_RECEIVE_WINDOW_AT, &window, sizeof(window));
    }
    *size = *size < sizeof(all) ? *size : (socklen_t)sizeof(all);
    memcpy(value, all, *size);
}
