#include <errno.h>

#include "drivers/port/dpdk/internal.h"

/* What lets a packet point into a blob: see common/blob.h. */
static_assert(sizeof(struct blob_port_shared) == sizeof(struct rte_mbuf_ext_shared_info) &&
                  offsetof(struct blob_port_shared, free_function) ==
                      offsetof(struct rte_mbuf_ext_shared_info, free_cb) &&
                  offsetof(struct blob_port_shared, free_argument) ==
                      offsetof(struct rte_mbuf_ext_shared_info, fcb_opaque) &&
                  offsetof(struct blob_port_shared, refs) ==
                      offsetof(struct rte_mbuf_ext_shared_info, refcnt),
              "blob_port_shared is rte_mbuf_ext_shared_info");

/* A buffer, whose second line and first bytes of data are on their way into the cache. NULL: the
 * pool is empty. */
static struct rte_mbuf *stash_get(struct dpdk_stash *stash, struct rte_mempool *pool)
{
    if (stash->count == 0) {
        if (rte_pktmbuf_alloc_bulk(pool, stash->mbufs, DPDK_STASH_MAX) != 0)
            return rte_pktmbuf_alloc(pool);
        stash->count = DPDK_STASH_MAX;
        for (unsigned i = 0; i < DPDK_STASH_MAX; i++) {
            __builtin_prefetch(&stash->mbufs[i]->next, 1);
            __builtin_prefetch(rte_pktmbuf_mtod(stash->mbufs[i], char *), 1);
            __builtin_prefetch(rte_pktmbuf_mtod_offset(stash->mbufs[i], char *, 64), 1);
        }
    }
    return stash->mbufs[--stash->count];
}

uint8_t *dpdk_tx_begin(struct port_queue *base, bool is_control)
{
    struct dpdk_queue *q = dpdk_queue_of(base);

    DCHECK(q->begun == NULL);
    q->begun =
        q->is_chaining ? stash_get(&q->header_stash, q->headers) : rte_pktmbuf_alloc(q->frames);
    if (__builtin_expect(q->begun == NULL, 0)) {
        counter_inc(&base->counters->port_tx_no_buffer);
        if (is_control)
            q->begun = rte_pktmbuf_alloc(q->reserve);
        if (q->begun == NULL)
            return NULL;
    }
    return rte_pktmbuf_mtod(q->begun, uint8_t *);
}

void dpdk_tx_cancel(struct port_queue *base)
{
    struct dpdk_queue *q = dpdk_queue_of(base);

    DCHECK(q->begun != NULL);
    rte_pktmbuf_free(q->begun);
    q->begun = NULL;
}

static bool is_reachable(const struct dpdk_port *p, const struct extent *e)
{
    uintptr_t start = (uintptr_t)extent_data(e);

    if (p->is_virtual)
        return true;
    for (uint32_t i = 0; i < p->range_count; i++)
        if (start >= p->ranges[i].start && start + e->size <= p->ranges[i].end)
            return true;
    return false;
}

void dpdk_tx_release(struct dpdk_queue *q)
{
    rte_pktmbuf_free_bulk(q->header_stash.mbufs, q->header_stash.count);
    rte_pktmbuf_free_bulk(q->external_stash.mbufs, q->external_stash.count);
    q->header_stash.count = 0;
    q->external_stash.count = 0;
}

/* A buffer that points at the extent, counted in its blob. NULL: none left. */
static struct rte_mbuf *attach(struct dpdk_queue *q, const struct extent *e)
{
    struct rte_mbuf *m = stash_get(&q->external_stash, q->externals);

    if (m == NULL)
        return NULL;
    struct rte_mbuf_ext_shared_info *shared =
        (struct rte_mbuf_ext_shared_info *)(void *)&e->blob->port_shared;
    /* mbufs are not const-correct: the device only reads. Ports have IOVA as VA (dpdk_open). */
    void *data = (void *)(uintptr_t)extent_data(e);
    rte_pktmbuf_attach_extbuf(m, data, (rte_iova_t)(uintptr_t)data, (uint16_t)e->size, shared);
    rte_mbuf_ext_refcnt_update(shared, 1);
    m->data_len = (uint16_t)e->size;
    return m;
}

/* A buffer with a copy of the extent, at most a frame's worth. NULL: none left. */
static struct rte_mbuf *copy(struct dpdk_queue *q, const struct extent *e)
{
    struct rte_mbuf *m = rte_pktmbuf_alloc(q->frames);

    if (m == NULL || e->size > rte_pktmbuf_tailroom(m)) {
        rte_pktmbuf_free(m);
        return NULL;
    }
    memcpy(rte_pktmbuf_mtod(m, void *), extent_data(e), e->size);
    m->data_len = (uint16_t)e->size;
    counter_add(&q->base.counters->port_tx_copied_bytes, e->size);
    return m;
}

/* Appends the payload as further segments. On failure 'head' is still a valid chain. */
static int chain_payload(struct dpdk_queue *q, struct rte_mbuf *head, const struct packet_out *out)
{
    struct rte_mbuf *tail = head;

    if (out->extent_count > q->dpdk->info.extents_max)
        return -EMSGSIZE;
    for (uint16_t i = 0; i < out->extent_count; i++) {
        const struct extent *e = &out->extents[i];
        if (e->size > UINT16_MAX)
            return -EMSGSIZE;
        struct rte_mbuf *m = is_reachable(q->dpdk, e) ? attach(q, e) : copy(q, e);
        if (m == NULL)
            return -ENOBUFS;
        tail->next = m;
        tail = m;
        head->nb_segs++;
        head->pkt_len += m->data_len;
    }
    return 0;
}

static int copy_payload(struct dpdk_queue *q, struct rte_mbuf *head, const struct packet_out *out)
{
    for (uint16_t i = 0; i < out->extent_count; i++) {
        const struct extent *e = &out->extents[i];
        char *to = e->size > UINT16_MAX ? NULL : rte_pktmbuf_append(head, (uint16_t)e->size);
        if (to == NULL)
            return -EMSGSIZE;
        memcpy(to, extent_data(e), e->size);
    }
    counter_add(&q->base.counters->port_tx_copied_bytes, head->pkt_len - out->header_size);
    return 0;
}

static void set_offloads(struct rte_mbuf *m, const struct packet_out *out)
{
    uint64_t flags = out->is_ipv6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;

    if ((out->offloads & PORT_OFFLOAD_IP_CHECKSUM) != 0 && !out->is_ipv6)
        flags |= RTE_MBUF_F_TX_IP_CKSUM;
    if ((out->offloads & PORT_OFFLOAD_TCP_CHECKSUM) != 0)
        flags |= RTE_MBUF_F_TX_TCP_CKSUM;
    if ((out->offloads & PORT_OFFLOAD_UDP_CHECKSUM) != 0)
        flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    if ((out->offloads & PORT_OFFLOAD_TSO) != 0 && out->segment_size != 0)
        flags |= RTE_MBUF_F_TX_TCP_SEG;
    m->tx_offload =
        rte_mbuf_tx_offload(out->l2_size, out->l3_size, out->l4_size, out->segment_size, 0, 0, 0);
    m->ol_flags |= flags;
}

/* Drops the oldest: its bytes are sent again by their streams. */
static void drop_pending(struct dpdk_queue *q, uint32_t count)
{
    rte_pktmbuf_free_bulk(q->pending, count);
    q->pending_count -= count;
    memmove(q->pending, q->pending + count, q->pending_count * sizeof(q->pending[0]));
    counter_add(&q->base.counters->port_tx_dropped, count);
}

/* Offers what is pending to the device; what it does not take stays. */
static void send_pending(struct dpdk_queue *q)
{
    uint32_t done = 0;

    while (done < q->pending_count) {
        struct rte_mbuf **first = q->pending + done;
        uint16_t count = (uint16_t)(q->pending_count - done);
        /* Some devices want their own pseudo-header sums (rte_eth_tx_prepare). */
        if (q->has_offloads) {
            uint16_t ready = rte_eth_tx_prepare(q->port_id, q->queue_id, first, count);
            if (ready == 0) {
                rte_pktmbuf_free(*first);
                counter_inc(&q->base.counters->port_tx_refused);
                done++;
                continue;
            }
            count = ready;
        }
        uint16_t sent = rte_eth_tx_burst(q->port_id, q->queue_id, first, count);
        done += sent;
        if (sent == 0)
            break;
    }
    q->pending_count -= done;
    if (q->pending_count == 0)
        q->has_offloads = false;
    else if (done > 0)
        memmove(q->pending, q->pending + done, q->pending_count * sizeof(q->pending[0]));
}

int dpdk_tx_commit(struct port_queue *base, const struct packet_out *packet)
{
    struct dpdk_queue *q = dpdk_queue_of(base);
    struct rte_mbuf *m = q->begun;

    DCHECK(m != NULL && packet->header_size <= PORT_HEADER_MAX);
    q->begun = NULL;
    m->data_len = packet->header_size;
    m->pkt_len = packet->header_size;
    int err = q->is_chaining ? chain_payload(q, m, packet) : copy_payload(q, m, packet);
    if (err == 0 && packet->segment_size == 0 && m->pkt_len > q->dpdk->frame_bytes_max)
        err = -EMSGSIZE;
    if (err == 0 && q->pending_count == DPDK_TX_PENDING_MAX) {
        send_pending(q);
        if (q->pending_count == DPDK_TX_PENDING_MAX)
            err = -ENOBUFS;
    }
    if (__builtin_expect(err < 0, 0)) {
        rte_pktmbuf_free(m);
        counter_inc(err == -EMSGSIZE ? &base->counters->port_tx_refused
                                     : &base->counters->port_tx_dropped);
        return err;
    }
    if (packet->offloads != 0) {
        set_offloads(m, packet);
        q->has_offloads = true;
    }
    counter_inc(&base->counters->port_tx_frames);
    counter_add(&base->counters->port_tx_bytes, m->pkt_len);
    q->pending[q->pending_count++] = m;
    if (q->pending_count % PORT_BURST_MAX == 0)
        send_pending(q);
    return 0;
}

void dpdk_tx_flush(struct port_queue *base, uint64_t now_us)
{
    struct dpdk_queue *q = dpdk_queue_of(base);

    (void)now_us;
    if (q->pending_count == 0) {
        if (q->is_beating)
            (void)rte_eth_tx_burst(q->port_id, q->queue_id, NULL, 0);
        return;
    }
    send_pending(q);
    /* Nothing would wake the shard to try again. */
    if (q->pending_count > 0 && !q->is_keeping)
        drop_pending(q, q->pending_count);
}
