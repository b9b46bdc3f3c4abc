#include <errno.h>

#include "dataplane/net/steer/internal.h"

/* A shard with a queue pair hands everything on to it. One without writes whole frames into its
 * outbox: a copy, so that no reference to its blobs ever crosses; devices with fewer queue pairs
 * than shards copy anyway, but for bonds. */

enum {
    OUTBOX_RESERVE = 32, /* slots for control frames */
    OUTBOX_BURST = 64,   /* published together */
    OUTBOX_TURN = 256    /* sent for another shard in one turn */
};

static struct steer_slot *slot_at(const struct steer_outbox *box, uint32_t index)
{
    return &box->slots[index & box->mask];
}

/* Whether a frame more fits. */
static bool outbox_has_room(const struct steer_outbox *box, uint32_t head, bool is_control)
{
    uint32_t room = box->mask + 1 - (is_control ? 0 : OUTBOX_RESERVE);

    return box->staged - head < room;
}

static uint8_t *outbox_begin(struct steer_queue *q, bool is_control)
{
    struct steer_outbox *box = steer_outbox_of(q->steer, q->shard);

    DCHECK(!box->is_begun);
    if (!outbox_has_room(box, box->head_seen, is_control))
        /* Acquire: pairs with outbox_reclaim; the slot has been sent. */
        box->head_seen = atomic_load_explicit(&box->head, memory_order_acquire);
    box->is_full = !outbox_has_room(box, box->head_seen, is_control);
    if (box->is_full) {
        counter_inc(&q->base.counters->port_tx_no_buffer);
        return NULL;
    }
    box->is_begun = true;
    return slot_at(box, box->staged)->data;
}

static void outbox_publish(struct steer_queue *q)
{
    struct steer_port *p = q->steer;
    struct steer_outbox *box = steer_outbox_of(p, q->shard);

    if (box->staged == atomic_load_explicit(&box->tail, memory_order_relaxed)) /* our own */
        return;
    /* Release: pairs with outbox_send's acquire; the slots are there. */
    atomic_store_explicit(&box->tail, box->staged, memory_order_release);
    p->config.wake(p->config.wake_user, steer_owner_of(p, q->shard));
}

static int outbox_commit(struct steer_queue *q, const struct packet_out *packet)
{
    struct steer_outbox *box = steer_outbox_of(q->steer, q->shard);
    struct steer_slot *slot = slot_at(box, box->staged);
    uint32_t size = packet->header_size;

    DCHECK(box->is_begun && size <= PORT_HEADER_MAX && packet->segment_size == 0);
    box->is_begun = false;
    for (uint16_t i = 0; i < packet->extent_count; i++) {
        const struct extent *e = &packet->extents[i];
        if (e->size > box->slot_bytes - size) {
            counter_inc(&q->base.counters->port_tx_refused);
            return -EMSGSIZE;
        }
        memcpy(slot->data + size, extent_data(e), e->size);
        size += e->size;
    }
    slot->out = *packet;
    slot->out.extents = NULL;
    slot->out.extent_count = 0;
    slot->size = size;
    box->staged++;
    counter_inc(&q->base.counters->port_steer_sent);
    counter_add(&q->base.counters->port_tx_copied_bytes, size - packet->header_size);
    if (box->staged % OUTBOX_BURST == 0)
        outbox_publish(q);
    return 0;
}

/* False: the device has no buffer. What it refuses is dropped, and counted by it. */
static bool slot_send(struct steer_queue *q, struct steer_slot *slot)
{
    struct packet_out out = slot->out;
    struct extent rest = {
        .blob = &slot->blob, .offset = out.header_size, .size = slot->size - out.header_size};
    uint8_t *header = q->driver->tx_begin(steer_inner(q), false);

    if (header == NULL)
        return false;
    memcpy(header, slot->data, out.header_size);
    if (rest.size > 0) {
        out.extents = &rest;
        out.extent_count = 1;
    }
    (void)q->driver->tx_commit(q->inner, &out);
    return true;
}

/* Slots that no buffer of the device points into any more are the writer's again. */
static void outbox_reclaim(struct steer_port *p, unsigned shard)
{
    struct steer_outbox *box = steer_outbox_of(p, shard);
    uint32_t was = atomic_load_explicit(&box->head, memory_order_relaxed); /* our own */
    uint32_t head = was;

    while (head != box->sent && !blob_is_in_packets(&slot_at(box, head)->blob))
        head++;
    if (head == was)
        return;
    /* Release: pairs with outbox_begin's acquire. */
    atomic_store_explicit(&box->head, head, memory_order_release);
    p->config.wake(p->config.wake_user, shard); /* it may wait for room */
}

static void outbox_send(struct steer_queue *q, struct steer_outbox *box)
{
    /* Acquire: pairs with outbox_publish. */
    uint32_t tail = atomic_load_explicit(&box->tail, memory_order_acquire);
    unsigned count = 0;

    while (box->sent != tail && count < OUTBOX_TURN && slot_send(q, slot_at(box, box->sent))) {
        box->sent++;
        count++;
    }
}

uint8_t *steer_tx_begin(struct port_queue *base, bool is_control)
{
    struct steer_queue *q = steer_queue_of(base);

    return q->inner != NULL ? q->driver->tx_begin(steer_inner(q), is_control)
                            : outbox_begin(q, is_control);
}

int steer_tx_commit(struct port_queue *base, const struct packet_out *packet)
{
    struct steer_queue *q = steer_queue_of(base);

    return q->inner != NULL ? q->driver->tx_commit(q->inner, packet) : outbox_commit(q, packet);
}

void steer_tx_cancel(struct port_queue *base)
{
    struct steer_queue *q = steer_queue_of(base);

    if (q->inner != NULL)
        q->driver->tx_cancel(q->inner);
    else
        steer_outbox_of(q->steer, q->shard)->is_begun = false;
}

void steer_tx_flush(struct port_queue *base, uint64_t now_us)
{
    struct steer_queue *q = steer_queue_of(base);
    struct steer_port *p = q->steer;

    if (q->inner == NULL) {
        outbox_publish(q);
        return;
    }
    for (unsigned shard = q->shard + p->owners; shard < p->shards; shard += p->owners)
        outbox_send(q, steer_outbox_of(p, shard));
    q->driver->tx_flush(steer_inner(q), now_us);
    for (unsigned shard = q->shard + p->owners; shard < p->shards; shard += p->owners)
        outbox_reclaim(p, shard);
}

bool steer_has_to_send(const struct steer_queue *q)
{
    const struct steer_port *p = q->steer;

    if (q->inner == NULL)
        return false;
    for (unsigned shard = q->shard + p->owners; shard < p->shards; shard += p->owners) {
        const struct steer_outbox *box = steer_outbox_of(p, shard);
        if (atomic_load_explicit(&box->tail, memory_order_acquire) != box->sent) /* publish */
            return true;
    }
    return false;
}

bool steer_has_room_again(const struct steer_queue *q)
{
    if (q->inner != NULL)
        return false;
    const struct steer_outbox *box = steer_outbox_of(q->steer, q->shard);
    return box->is_full && /* acquire: pairs with outbox_reclaim */
           outbox_has_room(box, atomic_load_explicit(&box->head, memory_order_acquire), false);
}

bool steer_is_blocked(const struct port_queue *base)
{
    const struct steer_queue *q = (const struct steer_queue *)(const void *)base;

    return q->inner == NULL && steer_outbox_of(q->steer, q->shard)->is_full;
}
