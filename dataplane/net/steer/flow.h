/* flow.h - which flow a frame belongs to, as one keyed hash for both of its directions, so that an
 * ICMP error finds the flow whose packet it quotes. */
#ifndef DATAPLANE_NET_STEER_FLOW_H
#define DATAPLANE_NET_STEER_FLOW_H

#include "common/bytes.h"
#include "common/endpoint.h"
#include "dataplane/net/siphash.h"

/* The hash of the TCP or UDP flow of 'frame' (Ethernet, perhaps one VLAN tag); of a fragment, of
 * its addresses alone. False: of no flow (ARP, neighbour discovery, echoes, anything malformed). */
bool steer_frame_hash(const struct siphash_key *key, struct bytes frame, uint32_t *ret_hash);

/* What steer_frame_hash() says of whole packets between the two. */
uint32_t steer_flow_hash(const struct siphash_key *key, const struct endpoint *one,
                         const struct endpoint *other);

/* One of 'shards' for a hash. */
static inline uint32_t steer_shard(uint32_t hash, uint32_t shards)
{
    return (uint32_t)((uint64_t)hash * shards >> 32);
}

#endif
