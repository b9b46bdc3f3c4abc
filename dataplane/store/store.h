/* store.h - the shared memory of finished media, and who may still be reading it.
 *
 * object: immutable bytes in one shard's arena, shared by all shards.
 *
 *   object_new()          OPEN    one reference; the home shard fills object_data()
 *   object_seal()         SEALED  bytes frozen, checksums cached; any shard may read
 *   last object_unref()   FREE    back to the home arena (through its return ring when the
 *                                 last reader is another shard)
 *
 * A shard never sends from an object directly: object_view() gives it its own blob, of which it
 * counts references without atomics; the view holds one reference on the object for the shard.
 *
 * Readers find objects through snapshots (channel.h) inside a quiescent-state RCU section: a
 * pointer loaded from a published snapshot stays valid until the shard's next quiescent point
 * (the end of its loop turn). Whoever keeps something longer takes a view.
 */
#ifndef DATAPLANE_STORE_STORE_H
#define DATAPLANE_STORE_STORE_H

#include "common/blob.h"
#include "common/bytes.h"

struct counters;
struct object;
struct store;       /* all shards' arenas */
struct store_shard; /* one shard's part of it: arena, view pool */

/* 'memory_bytes' is divided among 'shard_count' arenas. NULL: no memory. */
struct store *store_new(uint64_t memory_bytes, uint32_t shard_count, uint32_t views_per_shard);
void store_free(struct store **store);

/* Called once by each shard at its start. 'counters' and 'home' are borrowed. */
struct store_shard *store_shard_attach(struct store *store, uint32_t shard,
                                       struct counters *counters, struct blob_home *home);

/* All arenas' memory, for port_driver.register_memory. */
struct bytes store_memory(const struct store *store);
uint64_t store_shard_used_bytes(const struct store_shard *s);
uint64_t store_shard_size_bytes(const struct store_shard *s);

/* OPEN object of 'size' bytes with one reference, owned by the caller, on its home shard. NULL:
 * arena full or fragmented (counted): the caller evicts its oldest and tries again. */
struct object *object_new(struct store_shard *home, uint32_t size);
/* As object_new(), for what will be replaced soon (playlists): kept apart from media, in which it
 * would leave holes. */
struct object *object_new_brief(struct store_shard *home, uint32_t size);
uint8_t *object_data(struct object *o);
uint32_t object_size(const struct object *o);
/* Gives back the end of OPEN 'o': 'size' bytes remain, at most what it had. Home shard only. */
void object_trim(struct object *o, uint32_t size);
void object_seal(struct object *o);
/* Arena memory that 'o' takes: its bytes, checksums and padding. */
uint64_t object_held_bytes(const struct object *o);

/* Any shard holding a reference, or inside an RCU section in which it found 'o'. */
void object_ref(struct object *o);
/* Drops a reference, clears '*o', accepts NULL. Any shard. */
void object_unref(struct object **o);

/* This shard's blob on sealed 'o', with one reference for the caller (blob_unref it). NULL: view
 * pool empty (counted). */
struct blob *object_view(struct store_shard *reader, struct object *o);

/* Quiescent-state RCU. A shard is online while its loop runs and offline while it sleeps. */
void store_quiescent(struct store_shard *s);
void store_offline(struct store_shard *s);
void store_online(struct store_shard *s);

/* Calls free_function(argument) on this shard once every online shard has passed a quiescent
 * point after now. -ENOSPC: retire queue full (the caller keeps it and tries later). */
int store_retire(struct store_shard *s, void (*free_function)(void *argument), void *argument);

/* Takes back objects returned by other shards and runs due retirements; once per turn. */
void store_poll(struct store_shard *s);

#endif
