/* How large packets may be: what the ends allow, what routers say (RFC 1191, 8201), and where
 * those say nothing what is found out (packetization layer path MTU discovery, RFC 4821, by
 * Linux's rules). A search begins when full segments time out again and again, as in a black
 * hole, from a size that mostly works; then larger packets are tried, one at a time, while data
 * flows without loss. */
#include "dataplane/net/stack.h"

enum {
    BASE_PAYLOAD = 1024, /* RFC 4821 §7.2 */
    FLOOR_PAYLOAD = 512, /* of what goes through everywhere (576 bytes, RFC 1122 §3.3.3) */
    BLACK_HOLE_MS = 3000,
    SEARCH_STEP_BYTES = 8, /* a nearer result is not worth a probe */
    SEARCH_AGAIN_MS = 600000,
    PROBE_WINDOW_SEGMENTS = 11 /* smaller windows would miss what a lost probe takes */
};

static uint32_t ip_size(const struct tcp_conn *c)
{
    return c->stream.peer.family == 4 ? IPV4_SIZE : IPV6_SIZE;
}

/* In front of the payload. */
static uint32_t headers_size(const struct tcp_conn *c)
{
    uint32_t options = (c->flags & CONN_HAS_TIMESTAMPS) != 0 ? TCP_TIMESTAMPS_SIZE : 0;

    return ip_size(c) + TCP_SIZE + options;
}

/* The largest packet by what the ends and the routers have said. */
static uint32_t mtu_told(const struct tcp_conn *c)
{
    uint32_t mss = c->peer_mss;

    if (c->settings->mss_max != 0 && mss > c->settings->mss_max)
        mss = c->settings->mss_max;
    mss += ip_size(c) + TCP_SIZE;
    return mss < c->path_mtu ? mss : c->path_mtu;
}

void tcp_conn_set_mss(struct tcp_conn *c)
{
    uint32_t mtu = mtu_told(c);

    if (c->search.low != 0 && mtu > c->search.low)
        mtu = c->search.low;
    /* Peers may name any value; one byte a packet would be an attack on ourselves, and on what
     * keeps record of packets (CVE-2019-11479). */
    uint32_t mtu_min = ip_size(c) + TCP_SIZE + TCP_MSS_MIN;
    c->mss = (uint16_t)((mtu > mtu_min ? mtu : mtu_min) - headers_size(c));
}

static void search_from(const struct net_stack *s, struct tcp_conn *c, uint32_t low)
{
    if (c->search.low == 0) {
        c->search.high = (uint16_t)mtu_told(c);
        c->search.since_ms = (uint32_t)(s->now_us / 1000);
    }
    c->search.low = (uint16_t)low;
    c->search.probe_bytes = 0;
    tcp_conn_set_mss(c);
}

/* A packet with so much payload, but what every IPv6 link must carry at least. */
static uint32_t mtu_for(const struct tcp_conn *c, uint32_t payload)
{
    uint32_t mtu = payload + headers_size(c);

    return c->stream.peer.family == 6 && mtu < IPV6_MTU_MIN ? IPV6_MTU_MIN : mtu;
}

void tcp_mtu_start(struct net_stack *s, struct tcp_conn *c)
{
    c->search = (struct tcp_mtu_search){0};
    tcp_conn_set_mss(c);
    if (s->config.mtu_probing == NET_MTU_PROBING_ALWAYS)
        search_from(s, c, mtu_for(c, BASE_PAYLOAD));
}

/* RFC 4821 §7.7. */
void tcp_mtu_timeout(struct net_stack *s, struct tcp_conn *c)
{
    const struct tcp_recovery *r = &c->recovery;
    const struct tcp_range *head = range_at(&s->tcp.ranges, c->ranges.head);
    uint32_t payload = BASE_PAYLOAD;

    if (s->config.mtu_probing == NET_MTU_PROBING_OFF || c->retries == 0 ||
        (r->flags & RECOVERY_HAS_RESENT) == 0 ||
        tcp_timestamp(s->now_us, c->ts_offset) - r->first_resent_ts < BLACK_HOLE_MS)
        return;
    if (c->search.low != 0 && c->search.low <= mtu_for(c, BASE_PAYLOAD))
        payload = FLOOR_PAYLOAD;
    uint32_t mtu = mtu_for(c, payload);
    uint32_t size = head->size < c->mss ? head->size : c->mss;
    if (size + headers_size(c) <= mtu) /* it is not for its size that nothing arrives */
        return;
    NET_COUNT(s, tcp_black_holes);
    search_from(s, c, mtu);
}

/* RFC 4821 §7.3 and §7.4. */
uint32_t tcp_mtu_probe_due(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_mtu_search *search = &c->search;
    uint32_t told = mtu_told(c);
    uint32_t high = search->high < told ? search->high : told;
    uint32_t now_ms = (uint32_t)(s->now_us / 1000);

    if (search->low == 0 || search->probe_bytes != 0 || c->recovery.phase != TCP_PHASE_OPEN ||
        c->congestion.cwnd_bytes < (uint32_t)PROBE_WINDOW_SEGMENTS * c->mss ||
        !seq_is_before(c->snd_nxt, c->snd_end))
        return 0;
    if (high < (uint32_t)search->low + SEARCH_STEP_BYTES) {
        if (now_ms - search->since_ms >= SEARCH_AGAIN_MS) { /* the path may be another by now */
            search->high = (uint16_t)told;
            search->since_ms = now_ms;
        }
        return 0;
    }
    uint32_t size = (high + search->low) / 2 - headers_size(c);
    /* With enough behind it to tell of its loss. */
    uint32_t needed = size + (c->recovery.reordering + 1u) * c->mss;
    if (c->snd_end - c->snd_nxt < needed || c->snd_nxt - c->snd_una + needed > c->snd_wnd)
        return 0;
    return size;
}

void tcp_mtu_probe_sent(struct net_stack *s, struct tcp_conn *c, uint32_t size)
{
    NET_COUNT(s, tcp_mtu_probes);
    c->search.probe_seq = c->snd_nxt;
    c->search.probe_bytes = (uint16_t)size;
}

void tcp_mtu_probe_ack(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_mtu_search *search = &c->search;

    if (seq_is_before(c->snd_una, search->probe_seq + search->probe_bytes))
        return;
    NET_COUNT(s, tcp_mtu_probes_acked);
    search_from(s, c, search->probe_bytes + headers_size(c));
}

bool tcp_mtu_probe_lost(struct net_stack *s, struct tcp_conn *c)
{
    struct tcp_mtu_search *search = &c->search;
    struct pool *pool = &s->tcp.ranges;
    uint32_t end = search->probe_seq + search->probe_bytes;

    if (search->probe_bytes == 0 || c->recovery.phase >= TCP_PHASE_REDUCING ||
        c->snd_una != search->probe_seq || c->ranges.lost_bytes > search->probe_bytes ||
        !ranges_split(&c->ranges, pool, c->ranges.head, search->probe_bytes))
        return false;
    for (uint32_t i = c->ranges.head; i != POOL_NONE; i = range_at(pool, i)->next) {
        const struct tcp_range *range = range_at(pool, i);
        if (!seq_is_before(range->seq, end))
            break;
        if ((range->flags & RANGE_SACKED) == 0)
            range_mark_lost(&c->ranges, pool, i);
    }
    search->high = (uint16_t)(search->probe_bytes + headers_size(c) - 1);
    search->probe_bytes = 0;
    return true;
}

/* A router says that packets above 'mtu' do not pass (RFC 1191 §6, RFC 8201 §4). */
void tcp_mtu_told(struct net_stack *s, struct tcp_conn *c, uint16_t mtu)
{
    uint16_t mtu_min = c->stream.peer.family == 4 ? IPV4_MTU_MIN : IPV6_MTU_MIN;
    uint16_t mss_before = c->mss;

    if (mtu < mtu_min) /* also 0, from routers older than RFC 1191 */
        mtu = mtu_min;
    if (mtu >= c->path_mtu) {
        NET_COUNT(s, net_icmp_ignored);
        return;
    }
    NET_COUNT(s, net_path_mtu_reductions);
    c->path_mtu = mtu;
    tcp_conn_set_mss(c);
    /* Not congestion: everything goes again in smaller packets, at the same rate. */
    if (c->state >= TCP_ESTABLISHED && c->mss < mss_before)
        tcp_recovery_resize(s, c);
}
