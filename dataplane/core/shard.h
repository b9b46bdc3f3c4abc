/* shard.h - one loop, one core: poll transports, mailbox, timers, flush.
 *
 * Everything a connection needs lives in its shard. 'now_us' is read once per turn and never
 * goes backwards. An idle shard spins for a while, then sleeps in epoll until a descriptor,
 * its mailbox or its next timer wakes it. */
#ifndef DATAPLANE_CORE_SHARD_H
#define DATAPLANE_CORE_SHARD_H

#include "common/blob.h"
#include "common/counters.h"
#include "common/limits.h"
#include "common/wheel.h"
#include "dataplane/core/mailbox.h"

struct config;
struct shard;
struct store_shard;
struct transport;

enum { SHARD_POLLERS_MAX = 16 };

/* Something that the loop polls beside the transports: the link, a drain. */
struct shard_poller {
    const char *name;
    /* Up to 'budget' units of work; returns how many were done. */
    unsigned (*poll)(void *user, uint64_t now_us, unsigned budget);
    void *user;
    int fd; /* wakes the shard when readable; -1: none */
};

struct shard {
    uint32_t index;
    uint32_t count; /* of all shards */
    uint64_t now_us;
    int64_t wall_us; /* Unix time, read with now_us */
    struct wheel wheel;
    struct blob_home blob_home;
    struct blob_pool *small_blobs;
    struct counters *counters;
    struct store_shard *store;
    /* From here on what other shards read, and nobody writes while it runs; see struct mailbox. */
    _Alignas(64) struct mailbox mailbox;
    const struct config *config;
    struct shard *const *all; /* 'count' of them, to post to */

    struct transport *transports[2];
    uint32_t transport_count;
    struct shard_poller pollers[SHARD_POLLERS_MAX];
    uint32_t poller_count;
    int epoll_fd;
    uint32_t spin_us;
    bool must_poll; /* some transport has no wait_fd */
    atomic_bool stop;
};

/* Prepares a zeroed shard: its wheel, mailbox, small blobs, epoll. 0 or -errno. */
int shard_init(struct shard *s, uint32_t index, uint32_t count, struct shard *const *all,
               const struct config *config, struct counters *counters);
void shard_fini(struct shard *s);

/* Both before shard_run(), on the thread that calls it. 0, -ENOSPC or -errno of epoll. */
int shard_add_transport(struct shard *s, struct transport *t);
int shard_add_poller(struct shard *s, const struct shard_poller *poller);

/* The two halves of the loop, for those who drive a shard themselves (tests, benchmarks). A turn
 * returns how much there was to do; it never sleeps. */
void shard_read_clocks(struct shard *s);
unsigned shard_turn(struct shard *s);

/* Runs until shard_stop(). */
void shard_run(struct shard *s);

/* Any thread. */
void shard_stop(struct shard *s);

/* Any thread: something was handed over that a transport's has_work() sees. */
void shard_wake(struct shard *s);

/* Sends 'm' (copied) to shard 'to'; from any thread. -ENOBUFS: its mailbox is full. */
int shard_post(struct shard *to, const struct message *m);

#endif
