/* steer.h - a port with a queue for every shard, over a port that has fewer, or whose queues do not
 * keep a flow's frames together (all but cards with receive-side scaling).
 *
 * The first shards each own a queue pair of the device, as many as it has. An owner polls its
 * queue, hashes each frame's flow (flow.h) and passes those of other shards on over rings in
 * bursts; frames of no flow (ARP, neighbour discovery, echoes) are shard 0's. The frames stay in
 * the device's buffers, which their owner gives back once the other shard is done with them. A
 * shard without a queue pair copies what it sends into a ring to the owner of one.
 *
 * Every ring has one writer and one reader, is bounded, and drops (counted) what does not fit: a
 * shard that no longer polls costs the others nothing. What one shard writes into a ring another
 * sees on its next turn; 'wake' sees to it that there is one. */
#ifndef DATAPLANE_NET_STEER_STEER_H
#define DATAPLANE_NET_STEER_STEER_H

#include "dataplane/net/siphash.h"
#include "drivers/port/port.h"

struct steer_config {
    unsigned shards; /* at least the queues of the device */
    struct siphash_key key;
    /* Wakes a shard, if it sleeps; called on any other shard, once a burst. */
    void (*wake)(void *user, unsigned shard);
    void *wake_user;
};

/* Consumes '*inner' (and nulls it) on success: closing '*ret' closes it. 0 or -ENOMEM. Open and
 * close on the thread that starts and joins the shards. */
int steer_open(const struct steer_config *config, struct port **inner, struct port **ret);

#endif
