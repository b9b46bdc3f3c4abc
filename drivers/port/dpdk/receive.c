#include "drivers/port/dpdk/internal.h"

static uint32_t packet_flags(const struct rte_mbuf *m)
{
    uint64_t ip = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    uint64_t l4 = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    uint32_t flags = 0;

    if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
        flags |= PACKET_IN_IP_CHECKSUM_GOOD;
    else if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD)
        flags |= PACKET_IN_IP_CHECKSUM_BAD;
    if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
        flags |= PACKET_IN_L4_CHECKSUM_GOOD;
    else if (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
        flags |= PACKET_IN_L4_CHECKSUM_BAD;
    return flags;
}

/* A contiguous copy of a chained frame; consumes it. NULL: no buffer, or it is too long. */
static struct rte_mbuf *make_contiguous(struct dpdk_queue *q, struct rte_mbuf *m)
{
    struct rte_mbuf *copy = NULL;

    if (m->pkt_len <= q->dpdk->frame_bytes_max)
        copy = rte_pktmbuf_alloc(q->frames);
    char *to = copy == NULL ? NULL : rte_pktmbuf_append(copy, (uint16_t)m->pkt_len);
    if (to != NULL) {
        for (const struct rte_mbuf *s = m; s != NULL; s = s->next) {
            memcpy(to, rte_pktmbuf_mtod(s, const char *), s->data_len);
            to += s->data_len;
        }
        copy->ol_flags = m->ol_flags;
    } else {
        rte_pktmbuf_free(copy);
        copy = NULL;
    }
    rte_pktmbuf_free(m);
    return copy;
}

/* Makes a frame what the stack expects: contiguous, with its VLAN tag. NULL: dropped, counted. */
static struct rte_mbuf *normalise(struct dpdk_queue *q, struct rte_mbuf *m)
{
    if (m->nb_segs > 1 && !q->reads_headers)
        m = make_contiguous(q, m);
    /* af_packet: the kernel takes the tag out of the frame, asked or not. */
    if (m != NULL && (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0 && rte_vlan_insert(&m) < 0) {
        rte_pktmbuf_free(m);
        m = NULL;
    }
    if (m == NULL)
        counter_inc(&q->base.counters->port_rx_dropped);
    return m;
}

unsigned dpdk_rx_burst(struct port_queue *base, struct packet_in *packets, unsigned max,
                       uint64_t now_us)
{
    struct dpdk_queue *q = dpdk_queue_of(base);
    struct rte_mbuf *mbufs[PORT_BURST_MAX];
    uint64_t bytes = 0;
    unsigned count = 0;

    (void)now_us;
    DCHECK(max <= PORT_BURST_MAX);
    unsigned received = rte_eth_rx_burst(q->port_id, q->queue_id, mbufs, (uint16_t)max);
    if (received == 0)
        return 0;
    for (unsigned i = 0; i < received; i++) {
        struct rte_mbuf *m = mbufs[i];
        if (i + 1 < received) { /* headers with options may end in the second line */
            rte_prefetch0(rte_pktmbuf_mtod(mbufs[i + 1], void *));
            rte_prefetch0(rte_pktmbuf_mtod_offset(mbufs[i + 1], void *, 64));
        }
        bytes += m->pkt_len;
        if (m->nb_segs > 1 || (m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0)
            m = normalise(q, m);
        if (m == NULL)
            continue;
        packets[count++] = (struct packet_in){
            .frame = bytes_of(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len),
            .flags = packet_flags(m),
            .handle = m,
        };
    }
    counter_add(&base->counters->port_rx_frames, received);
    counter_add(&base->counters->port_rx_bytes, bytes);
    return count;
}

void dpdk_rx_done(struct port_queue *base, const struct packet_in *packets, unsigned count)
{
    struct rte_mbuf *mbufs[PORT_BURST_MAX];

    (void)base;
    DCHECK(count <= PORT_BURST_MAX);
    for (unsigned i = 0; i < count; i++)
        mbufs[i] = packets[i].handle;
    rte_pktmbuf_free_bulk(mbufs, count);
}
