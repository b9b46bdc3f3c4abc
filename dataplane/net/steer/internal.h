/* internal.h - what the files of this folder share; nobody else includes it. */
#ifndef DATAPLANE_NET_STEER_INTERNAL_H
#define DATAPLANE_NET_STEER_INTERNAL_H

#include "common/check.h"
#include "common/counters.h"
#include "common/limits.h"
#include "dataplane/net/steer/ring.h"
#include "dataplane/net/steer/steer.h"

struct steer_port;

/* Of one shard, which alone touches it. */
struct steer_queue {
    _Alignas(STEER_LINE) struct port_queue base;
    struct steer_port *steer;
    struct port_queue *inner; /* the device's queue pair; NULL: it has none for this shard */
    const struct port_driver *driver; /* of 'inner' */
    unsigned shard;
    unsigned burst_handed; /* of the burst under way, those that other shards passed on */
    unsigned burst_count;
    bool may_have_more;  /* the device's latest burst was full */
    unsigned first_ring; /* where the next burst begins to look */
};

struct steer_port {
    struct port base;
    struct port_info info;
    struct steer_config config;
    struct port *inner;
    unsigned shards;
    unsigned owners;               /* shards with a queue pair of the device: the first ones */
    struct steer_queue *queues;    /* [shards] */
    struct steer_frames **frames;  /* [owner * shards + shard]; NULL where they are the same */
    struct steer_outbox *outboxes; /* [shards - owners] */
    uint8_t *memory;               /* of the frames in outboxes */
    size_t memory_bytes;
};

static inline struct steer_queue *steer_queue_of(struct port_queue *q)
{
    return CONTAINER_OF(q, struct steer_queue, base);
}

static inline struct steer_frames *steer_frames_of(const struct steer_port *p, unsigned owner,
                                                   unsigned shard)
{
    return p->frames[owner * p->shards + shard];
}

static inline struct steer_outbox *steer_outbox_of(const struct steer_port *p, unsigned shard)
{
    return &p->outboxes[shard - p->owners];
}

/* Which shard sends for 'shard', which has no queue pair. */
static inline unsigned steer_owner_of(const struct steer_port *p, unsigned shard)
{
    return shard % p->owners;
}

/* The device's queue, which counts where ours does. */
static inline struct port_queue *steer_inner(struct steer_queue *q)
{
    q->inner->counters = q->base.counters;
    return q->inner;
}

/* --- receive.c --- */

unsigned steer_rx_burst(struct port_queue *base, struct packet_in *packets, unsigned max,
                        uint64_t now_us);
void steer_rx_done(struct port_queue *base, const struct packet_in *packets, unsigned count);
/* Gives the frames that others are done with back to the device. */
void steer_give_back(struct steer_queue *q);
/* All frames, whoever has them: no shard runs any more. */
void steer_give_back_all(struct steer_queue *q);
bool steer_has_received(const struct steer_queue *q);

/* --- transmit.c --- */

uint8_t *steer_tx_begin(struct port_queue *base, bool is_control);
int steer_tx_commit(struct port_queue *base, const struct packet_out *packet);
void steer_tx_cancel(struct port_queue *base);
void steer_tx_flush(struct port_queue *base, uint64_t now_us);
bool steer_has_to_send(const struct steer_queue *q);
/* Whether an outbox that was full is no more. */
bool steer_has_room_again(const struct steer_queue *q);
bool steer_is_blocked(const struct port_queue *base);

#endif
