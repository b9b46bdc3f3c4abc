/* ring.h - what passes between two shards: one writes, one reads. Internal to dataplane/net/steer.
 *
 * Cache lines are grouped by who writes them. Indexes only grow; a slot is index & mask. */
#ifndef DATAPLANE_NET_STEER_RING_H
#define DATAPLANE_NET_STEER_RING_H

#include <stdatomic.h>

#include "common/blob.h"
#include "drivers/port/port.h"

enum { STEER_LINE = 64 };

/* Received frames, from the owner of a device's queue to the shard of their flow:
 *
 *   freed <= head <= taken <= tail <= freed + capacity
 *
 * The reader moves 'head' when it is done with frames, so the writer, who never overwrites a slot
 * before it has freed it, finds there what to give back to the device. */
struct steer_frames {
    _Alignas(STEER_LINE) atomic_uint tail; /* writer: there for the reader */
    uint32_t staged;                       /* writer: written, not yet published */
    uint32_t freed;                        /* writer: given back to the device */
    _Alignas(STEER_LINE) atomic_uint head; /* reader: done with */
    uint32_t taken;                        /* reader: given to the stack */
    _Alignas(STEER_LINE) uint32_t mask;    /* nobody from here on */
    struct packet_in *slots;
};

/* A frame to be sent, in the slot's own memory. 'blob' is what the device's buffers point into; it
 * is the reader's alone, 'out' and 'size' are the writer's. */
struct steer_slot {
    struct blob blob;
    _Alignas(STEER_LINE) struct packet_out out; /* no extents */
    uint32_t size;
    uint8_t *data;
};

/* Frames to be sent, from a shard without a queue pair to the owner of one:
 *
 *   head <= sent <= tail <= staged <= head + capacity */
struct steer_outbox {
    _Alignas(STEER_LINE) atomic_uint tail; /* writer: there for the reader */
    uint32_t staged;                       /* writer: written, not yet published */
    uint32_t head_seen;                    /* writer: what it last read of 'head' */
    bool is_begun;                         /* writer: between tx_begin and tx_commit */
    bool is_full;                          /* writer: the latest frame had no room */
    _Alignas(STEER_LINE) atomic_uint head; /* reader: the device is done with */
    uint32_t sent;                         /* reader: given to the device */
    _Alignas(STEER_LINE) uint32_t mask;    /* nobody from here on */
    uint32_t slot_bytes;
    struct steer_slot *slots;
    uint8_t *memory; /* of the slots' data */
    size_t memory_bytes;
};

#endif
