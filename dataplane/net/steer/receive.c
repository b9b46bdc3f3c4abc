#include "dataplane/net/steer/flow.h"
#include "dataplane/net/steer/internal.h"

/* Frames of no flow are for the stack that speaks for all (net_stack.is_leader). */
enum { LEADER = 0 };

static unsigned shard_of(const struct steer_port *p, struct bytes frame)
{
    uint32_t hash;

    return steer_frame_hash(&p->config.key, frame, &hash) ? steer_shard(hash, p->shards) : LEADER;
}

/* Gives the slots from 'freed' to 'end' back. */
static void ring_free(struct steer_queue *q, struct steer_frames *ring, uint32_t end)
{
    while (ring->freed != end) {
        uint32_t at = ring->freed & ring->mask;
        uint32_t count = end - ring->freed;
        if (count > ring->mask + 1 - at) /* up to where the slots wrap */
            count = ring->mask + 1 - at;
        if (count > PORT_BURST_MAX)
            count = PORT_BURST_MAX;
        q->driver->rx_done(q->inner, ring->slots + at, count);
        ring->freed += count;
    }
}

void steer_give_back(struct steer_queue *q)
{
    for (unsigned shard = 0; shard < q->steer->shards; shard++) {
        struct steer_frames *ring = steer_frames_of(q->steer, q->shard, shard);
        if (ring != NULL && ring->freed != ring->staged)
            /* Acquire: pairs with steer_rx_done; the frames have been read. */
            ring_free(q, ring, atomic_load_explicit(&ring->head, memory_order_acquire));
    }
}

void steer_give_back_all(struct steer_queue *q)
{
    for (unsigned shard = 0; shard < q->steer->shards; shard++) {
        struct steer_frames *ring = steer_frames_of(q->steer, q->shard, shard);
        if (ring != NULL)
            ring_free(q, ring, ring->staged);
    }
}

/* False: the ring is full. */
static bool stage(struct steer_frames *ring, const struct packet_in *packet)
{
    if (ring->staged - ring->freed > ring->mask)
        return false;
    ring->slots[ring->staged++ & ring->mask] = *packet;
    return true;
}

static void publish(struct steer_queue *q)
{
    struct steer_port *p = q->steer;

    for (unsigned shard = 0; shard < p->shards; shard++) {
        struct steer_frames *ring = steer_frames_of(p, q->shard, shard);
        if (ring == NULL ||
            ring->staged == atomic_load_explicit(&ring->tail, memory_order_relaxed)) /* our own */
            continue;
        /* Release: pairs with take_handed's acquire; the slots are there. */
        atomic_store_explicit(&ring->tail, ring->staged, memory_order_release);
        p->config.wake(p->config.wake_user, shard);
    }
}

/* What the device has, without what is for others. */
static unsigned take_own(struct steer_queue *q, struct packet_in *packets, unsigned max,
                         uint64_t now_us)
{
    struct steer_port *p = q->steer;
    struct packet_in received[PORT_BURST_MAX];
    struct packet_in dropped[PORT_BURST_MAX];
    unsigned own_count = 0;
    unsigned dropped_count = 0;

    steer_give_back(q);
    unsigned count = q->driver->rx_burst(steer_inner(q), received, max, now_us);
    q->may_have_more = count == max;
    for (unsigned i = 0; i < count; i++) {
        unsigned shard = shard_of(p, received[i].frame);
        if (shard == q->shard)
            packets[own_count++] = received[i];
        else if (!stage(steer_frames_of(p, q->shard, shard), &received[i]))
            dropped[dropped_count++] = received[i];
    }
    if (dropped_count > 0) {
        q->driver->rx_done(q->inner, dropped, dropped_count);
        counter_add(&q->base.counters->port_steer_dropped, dropped_count);
    }
    if (count > own_count + dropped_count) {
        publish(q);
        counter_add(&q->base.counters->port_steer_frames, count - own_count - dropped_count);
    }
    return own_count;
}

/* What one other shard passed on. */
static unsigned take_ring(struct steer_frames *ring, struct packet_in *packets, unsigned max)
{
    /* Acquire: pairs with publish. */
    uint32_t count = atomic_load_explicit(&ring->tail, memory_order_acquire) - ring->taken;

    if (count > max)
        count = max;
    for (uint32_t i = 0; i < count; i++) {
        packets[i] = ring->slots[ring->taken++ & ring->mask];
        __builtin_prefetch(packets[i].frame.ptr);
    }
    return count;
}

static unsigned take_handed(struct steer_queue *q, struct packet_in *packets, unsigned max)
{
    unsigned owners = q->steer->owners;
    unsigned count = 0;

    for (unsigned i = 0; i < owners && count < max; i++) {
        unsigned owner = (q->first_ring + i) % owners;
        struct steer_frames *ring = steer_frames_of(q->steer, owner, q->shard);
        if (ring != NULL)
            count += take_ring(ring, packets + count, max - count);
    }
    q->first_ring = (q->first_ring + 1) % owners;
    return count;
}

unsigned steer_rx_burst(struct port_queue *base, struct packet_in *packets, unsigned max,
                        uint64_t now_us)
{
    struct steer_queue *q = steer_queue_of(base);

    DCHECK(max <= PORT_BURST_MAX && q->burst_count == 0);
    q->burst_handed = take_handed(q, packets, max);
    q->burst_count = q->burst_handed;
    if (q->inner != NULL && q->burst_count < max)
        q->burst_count += take_own(q, packets + q->burst_count, max - q->burst_count, now_us);
    return q->burst_count;
}

void steer_rx_done(struct port_queue *base, const struct packet_in *packets, unsigned count)
{
    struct steer_queue *q = steer_queue_of(base);

    CHECK(count == q->burst_count); /* bursts are given back whole */
    if (count > q->burst_handed)
        q->driver->rx_done(q->inner, packets + q->burst_handed, count - q->burst_handed);
    for (unsigned owner = 0; q->burst_handed > 0 && owner < q->steer->owners; owner++) {
        struct steer_frames *ring = steer_frames_of(q->steer, owner, q->shard);
        /* Release: pairs with steer_give_back; our reads are over. */
        if (ring != NULL)
            atomic_store_explicit(&ring->head, ring->taken, memory_order_release);
    }
    q->burst_handed = 0;
    q->burst_count = 0;
}

bool steer_has_received(const struct steer_queue *q)
{
    if (q->may_have_more) /* all of the latest burst may have been for others */
        return true;
    for (unsigned owner = 0; owner < q->steer->owners; owner++) {
        const struct steer_frames *ring = steer_frames_of(q->steer, owner, q->shard);
        if (ring != NULL &&
            atomic_load_explicit(&ring->tail, memory_order_acquire) != ring->taken) /* publish */
            return true;
    }
    return false;
}
