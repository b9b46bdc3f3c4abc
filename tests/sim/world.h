/* world.h - stacks on a simulated wire in virtual time, for tests of dataplane/net.
 *
 * A world owns one wire and up to WORLD_HOSTS_MAX hosts, each with a stack of its own, its own
 * wheel, counters and seeded randomness. world_step() moves time to the next thing that happens
 * (a frame, a timer) and gives every host a turn as a shard does. One thread. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "common/blob.h"
#include "common/counters.h"
#include "common/wheel.h"
#include "dataplane/net/net.h"
#include "drivers/port/sim/sim.h"

enum { WORLD_HOSTS_MAX = 4, WORLD_PATTERN_BYTES = 1 << 18 };

struct world_host {
    struct wheel wheel;
    struct blob_home blob_home;
    struct counters counters;
    struct transport_env env;
    struct port *port;
    struct net_config config;
    struct transport *transport;
    uint64_t random;
    struct blob pattern; /* WORLD_PATTERN_BYTES of the same random bytes on every host */
};

struct world {
    uint64_t now_us;
    uint64_t random;
    struct sim_wire *wire;
    struct world_host hosts[WORLD_HOSTS_MAX];
    uint32_t host_count;
    const uint8_t *pattern;
};

/* Deterministic random numbers. */
uint64_t world_random(uint64_t *state);
/* Uniform in [low, high]. */
uint64_t world_between(uint64_t *state, uint64_t low, uint64_t high);

void world_init(struct world *w, uint64_t seed);
void world_fini(struct world *w);

/* Adds a host; the port's MAC is 02:00:00:00:00:NN with NN = index + 1. 'addresses' as in
 * net_config_set_addresses(). Aborts when that fails. */
struct world_host *world_host_add(struct world *w, const char *addresses,
                                  const struct net_config *config,
                                  const struct sim_port_config *port, uint32_t streams_max,
                                  uint32_t send_queue_bytes_max);

/* Gives a host whose transport was freed a new one, with the same addresses and configuration. */
void world_host_start(struct world_host *h);

/* One turn of every host at the present time, until nothing more happens now. */
void world_turn(struct world *w);

/* Moves to the next event, at most to 'until_us', and takes a turn. False: there was none. */
bool world_step(struct world *w, uint64_t until_us);

/* Steps until 'until_us'. */
void world_run(struct world *w, uint64_t until_us);

/* An extent of 'size' bytes of host's pattern such that byte k of a stream is
 * pattern[(base + k) % WORLD_PATTERN_BYTES]; the size is cut at the pattern's end. */
struct extent world_extent(struct world_host *h, uint64_t base, uint64_t offset, uint32_t size);

/* Whether 'in' is what such a stream has at 'offset'. */
bool world_matches(const struct world *w, uint64_t base, uint64_t offset, struct bytes in);

#endif
