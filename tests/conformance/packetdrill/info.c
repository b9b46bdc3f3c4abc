/* TCP_INFO: the connection's state in Linux's units, which are packets for windows. */
#include <linux/tcp.h>

#include "tests/conformance/packetdrill/shim.h"

enum { SSTHRESH_INFINITE = 0x7fffffff, REORDERING_DEFAULT = 3 };

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

static uint32_t since_ms(uint64_t now_us, uint64_t then_us)
{
    return now_us > then_us ? (uint32_t)((now_us - then_us) / 1000) : 0;
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
    info->tcpi_unacked = packets(c->snd_nxt - c->snd_una, mss);
    info->tcpi_sacked = packets(c->ranges.sacked_bytes + c->recovery.dupack_bytes, mss);
    info->tcpi_lost = packets(c->ranges.lost_bytes, mss);
    info->tcpi_retrans = packets(c->ranges.resent_bytes, mss);
    info->tcpi_last_data_sent = since_ms(stack->now_us, c->last_sent_us);
    info->tcpi_last_data_recv = since_ms(stack->now_us, c->received_us);
    info->tcpi_last_ack_recv = since_ms(stack->now_us, c->received_us);
    info->tcpi_pmtu = c->path_mtu;
    info->tcpi_rtt = c->srtt_us;
    info->tcpi_rttvar = c->mdev_us / 4;
    info->tcpi_snd_ssthresh = c->congestion.ssthresh_bytes == UINT32_MAX
                                  ? SSTHRESH_INFINITE
                                  : c->congestion.ssthresh_bytes / mss;
    info->tcpi_snd_cwnd = c->congestion.cwnd_bytes / mss;
    uint32_t ip_size = c->stream.peer.family == 4 ? IPV4_SIZE : IPV6_SIZE;
    info->tcpi_advmss = c->path_mtu - TCP_SIZE - ip_size;
    info->tcpi_reordering = c->recovery.reordering;
    info->tcpi_total_retrans = c->retransmits;
    info->tcpi_min_rtt = c->min_rtt_us;
    info->tcpi_dsack_dups = c->duplicates_told;
    info->tcpi_delivered = packets(c->delivered_bytes, mss);
    info->tcpi_rcv_space = c->rcv_budget_bytes;
    info->tcpi_bytes_acked = c->snd_una - c->iss;
    info->tcpi_bytes_received = c->rcv_nxt - c->irs - 1;
    info->tcpi_notsent_bytes = seq_is_before(c->snd_nxt, c->snd_end) ? c->snd_end - c->snd_nxt : 0;
    info->tcpi_snd_wnd = c->snd_wnd;
}

void info_get(struct sock *s, void *value, socklen_t *size)
{
    const struct tcp_conn *c = tcp_sock_conn(s);
    struct tcp_info info = {.tcpi_state = (uint8_t)tcp_sock_state(s)};

    if (s->is_listening) { /* as Linux: what waits, and how much may */
        info.tcpi_unacked = s->accepted_count;
        info.tcpi_sacked = s->backlog;
    } else if (c != NULL && c->state != TCP_CLOSED) {
        info_fill(shim_stack(s->shim), c, &info);
    } else {
        info.tcpi_snd_ssthresh = SSTHRESH_INFINITE;
        info.tcpi_snd_cwnd = 10;
        info.tcpi_reordering = REORDERING_DEFAULT;
    }
    *size = *size < sizeof(info) ? *size : (socklen_t)sizeof(info);
    memcpy(value, &info, *size);
}
