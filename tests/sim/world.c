#include "tests/sim/world.h"

#include <stdlib.h>

#include "common/check.h"
#include "dataplane/net/checksum.h"

uint64_t world_random(uint64_t *state)
{
    /* splitmix64 */
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t world_between(uint64_t *state, uint64_t low, uint64_t high)
{
    return low + world_random(state) % (high - low + 1);
}

static uint64_t host_random(void *user)
{
    return world_random(user);
}

/* The same for all worlds; built once. */
static uint8_t pattern[WORLD_PATTERN_BYTES];
static uint16_t pattern_sums[WORLD_PATTERN_BYTES / BLOB_SUM_STRIDE + 1];

static void pattern_build(void)
{
    static bool is_built;
    uint64_t random = 1;

    if (is_built)
        return;
    is_built = true;
    for (size_t i = 0; i < WORLD_PATTERN_BYTES; i += 8) {
        uint64_t word = world_random(&random);
        memcpy(pattern + i, &word, 8);
    }
    checksum_prefix_sums(pattern, WORLD_PATTERN_BYTES, pattern_sums);
}

void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.now_us = 1000000, .random = seed};
    w->wire = sim_wire_new(world_random(&w->random));
    pattern_build();
    w->pattern = pattern;
    CHECK(w->wire != NULL);
}

void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->host_count; i++) {
        struct world_host *h = &w->hosts[i];
        if (h->transport != NULL)
            h->transport->ops->free(&h->transport);
    }
    for (uint32_t i = 0; i < w->host_count; i++)
        w->hosts[i].port->driver->close(&w->hosts[i].port);
    sim_wire_free(&w->wire);
}

static void pattern_released(struct blob *b)
{
    (void)b;
}

void world_host_start(struct world_host *h)
{
    struct port_queue *queue = h->port->driver->queue(h->port, 0);

    CHECK(h->transport == NULL);
    queue->counters = &h->counters;
    CHECK(net_new(&h->config, queue, &h->env, &h->transport) == 0);
}

struct world_host *world_host_add(struct world *w, const char *addresses,
                                  const struct net_config *config,
                                  const struct sim_port_config *port, uint32_t streams_max,
                                  uint32_t send_queue_bytes_max)
{
    struct world_host *h = &w->hosts[w->host_count];
    struct sim_port_config port_config = *port;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)(w->host_count + 1)};

    CHECK(w->host_count < WORLD_HOSTS_MAX);
    w->host_count++;
    memcpy(port_config.mac, mac, sizeof(mac));
    CHECK(sim_port_new(w->wire, &port_config, &h->port) == 0);
    h->random = world_random(&w->random);
    wheel_init(&h->wheel, w->now_us);
    blob_home_init(&h->blob_home);
    blob_init(&h->pattern, &h->blob_home, bytes_of(w->pattern, WORLD_PATTERN_BYTES),
              pattern_released, NULL);
    if (world_random(&w->random) % 4 != 0)
        h->pattern.sums = pattern_sums;
    h->env = (struct transport_env){
        .counters = &h->counters,
        .wheel = &h->wheel,
        .blob_home = &h->blob_home,
        .random = host_random,
        .random_user = &h->random,
        .streams_max = streams_max,
        .send_queue_bytes_max = send_queue_bytes_max,
    };
    h->config = *config;
    CHECK(net_config_set_addresses(&h->config, addresses) == 0);
    world_host_start(h);
    return h;
}

void world_turn(struct world *w)
{
    for (int rounds = 0; rounds < 64; rounds++) {
        unsigned work = 0;
        for (uint32_t i = 0; i < w->host_count; i++) {
            struct world_host *h = &w->hosts[i];
            if (h->transport == NULL)
                continue;
            work += h->transport->ops->poll(h->transport, w->now_us, 256);
            work += wheel_poll(&h->wheel, w->now_us, 1024);
            h->transport->ops->flush(h->transport, w->now_us);
            blob_home_poll(&h->blob_home);
        }
        if (work == 0 && sim_wire_next_us(w->wire) > w->now_us)
            return;
    }
}

bool world_step(struct world *w, uint64_t until_us)
{
    uint64_t next_us = sim_wire_next_us(w->wire);

    for (uint32_t i = 0; i < w->host_count; i++) {
        uint64_t timer_us = wheel_next_us(&w->hosts[i].wheel);
        next_us = timer_us < next_us ? timer_us : next_us;
    }
    if (next_us > until_us) {
        w->now_us = until_us > w->now_us ? until_us : w->now_us;
        return false;
    }
    if (next_us > w->now_us)
        w->now_us = next_us;
    else
        w->now_us += 10; /* something is due but its budget was spent */
    world_turn(w);
    return true;
}

void world_run(struct world *w, uint64_t until_us)
{
    while (world_step(w, until_us))
        continue;
}

struct extent world_extent(struct world_host *h, uint64_t base, uint64_t offset, uint32_t size)
{
    uint32_t at = (uint32_t)((base + offset) % WORLD_PATTERN_BYTES);

    if (size > WORLD_PATTERN_BYTES - at)
        size = WORLD_PATTERN_BYTES - at;
    return (struct extent){.blob = &h->pattern, .offset = at, .size = size};
}

bool world_matches(const struct world *w, uint64_t base, uint64_t offset, struct bytes in)
{
    while (in.size > 0) {
        size_t at = (base + offset) % WORLD_PATTERN_BYTES;
        size_t size = in.size < WORLD_PATTERN_BYTES - at ? in.size : WORLD_PATTERN_BYTES - at;
        if (memcmp(w->pattern + at, in.ptr, size) != 0)
            return false;
        offset += size;
        in = bytes_from(in, size);
    }
    return true;
}
