#include <errno.h>
#include <stdlib.h>

#include "dataplane/net/net.h"
#include "drivers/port/sim/sim.h"
#include "tests/conformance/transport/fixture.h"

/* Our stack against itself over a seeded virtual wire, in virtual time: a plain port, one with
 * every offload, and one on a wire that loses, reorders, duplicates and corrupts. */

enum { STEP_US = 20, IDLE_STEP_MAX_US = 1000, PEER_STREAMS_MAX = 512, BUDGET = 64, DELAY_US = 50 };

struct sim {
    struct sim_wire *wire;
    struct port *ports[2];
    struct transport *peer;
    struct transport_env env; /* of the peer */
    struct counters counters;
    struct wheel wheel;
    struct blob_home home;
    struct blob_pool *blobs;
};

static int sim_set_up(const char **reason)
{
    (void)reason;
    return 0;
}

static void sim_tear_down(void)
{
}

static int sim_stack(struct port *port, const char *addresses, const struct transport_env *env,
                     struct transport **ret)
{
    struct net_config config = {.backlog_max = env->streams_max,
                                .backlog_per_source_max = env->streams_max,
                                .time_wait_ms = 100};
    struct port_queue *queue = port->driver->queue(port, 0);
    int err = net_config_set_addresses(&config, addresses);

    queue->counters = env->counters;
    return err < 0 ? err : net_new(&config, queue, env, ret);
}

static int sim_open_wire(struct fixture *f, const struct sim_impairment *wire, uint32_t offloads)
{
    struct sim *s = calloc(1, sizeof(*s));
    int err = s == NULL ? -ENOMEM : 0;

    if (err < 0)
        return err;
    f->user = s;
    f->local_addr = (struct endpoint){.family = 4, .addr = {192, 0, 2, 1}};
    f->peer_addr = (struct endpoint){.family = 4, .addr = {192, 0, 2, 2}};
    wheel_init(&s->wheel, f->now_us);
    blob_home_init(&s->home);
    s->wire = sim_wire_new(1);
    s->blobs = blob_pool_new(&s->home, FIXTURE_BLOBS, FIXTURE_BLOB_BYTES);
    for (uint8_t i = 0; i < 2 && err == 0; i++) {
        struct sim_port_config config = {.mac = {2, 0, 0, 0, 0, (uint8_t)(1 + i)},
                                         .offloads = offloads};
        err = sim_port_new(s->wire, &config, &s->ports[i]);
        if (err == 0)
            sim_impair(s->ports[i], wire);
    }
    s->env = f->env;
    s->env.counters = &s->counters;
    s->env.wheel = &s->wheel;
    s->env.blob_home = &s->home;
    s->env.streams_max = PEER_STREAMS_MAX;
    if (err == 0)
        err = sim_stack(s->ports[0], "192.0.2.1/24,2001:db8::1/64", &f->env, &f->t);
    if (err == 0)
        err = sim_stack(s->ports[1], "192.0.2.2/24,2001:db8::2/64", &s->env, &s->peer);
    if (err == 0)
        f->peer = peer_transport_new(s->peer, s->blobs);
    return err;
}

static int sim_open(struct fixture *f)
{
    static const struct sim_impairment wire = {.delay_us = DELAY_US};

    return sim_open_wire(f, &wire, PORT_OFFLOAD_MULTI_SEGMENT);
}

static int sim_open_offload(struct fixture *f)
{
    static const struct sim_impairment wire = {.delay_us = DELAY_US};

    return sim_open_wire(f, &wire,
                         PORT_OFFLOAD_IP_CHECKSUM | PORT_OFFLOAD_TCP_CHECKSUM |
                             PORT_OFFLOAD_UDP_CHECKSUM | PORT_OFFLOAD_TSO |
                             PORT_OFFLOAD_RX_CHECKSUM | PORT_OFFLOAD_MULTI_SEGMENT);
}

static int sim_open_lossy(struct fixture *f)
{
    static const struct sim_impairment wire = {.delay_us = DELAY_US,
                                               .jitter_us = 20,
                                               .loss_ppm = 10000,
                                               .reorder_ppm = 10000,
                                               .reorder_us = 200,
                                               .duplicate_ppm = 5000,
                                               .corrupt_ppm = 2000};

    return sim_open_wire(f, &wire, PORT_OFFLOAD_MULTI_SEGMENT);
}

static void sim_close(struct fixture *f)
{
    struct sim *s = f->user;

    s->ports[0]->driver->close(&s->ports[0]);
    s->ports[1]->driver->close(&s->ports[1]);
    sim_wire_free(&s->wire);
    blob_pool_free(&s->blobs);
    free(s);
    f->user = NULL;
}

static void sim_advance(struct fixture *f, bool was_idle)
{
    struct sim *s = f->user;
    uint64_t next_us = f->now_us + STEP_US;

    if (s == NULL)
        return;
    if (f->peer != NULL) {
        unsigned work = s->peer->ops->poll(s->peer, f->now_us, BUDGET);
        wheel_poll(&s->wheel, f->now_us, BUDGET);
        s->peer->ops->flush(s->peer, f->now_us);
        blob_home_poll(&s->home);
        if (was_idle && work == 0)
            next_us = f->now_us + IDLE_STEP_MAX_US;
    }
    if (s->wire != NULL && sim_wire_next_us(s->wire) < next_us)
        next_us = sim_wire_next_us(s->wire);
    if (next_us > f->now_us)
        f->now_us = next_us;
}

#define SIM_PROVIDER(id, open_function)                                                            \
    const struct provider provider_##id = {                                                        \
        .name = #id,                                                                               \
        .set_up = sim_set_up,                                                                      \
        .tear_down = sim_tear_down,                                                                \
        .open = open_function,                                                                     \
        .close = sim_close,                                                                        \
        .advance = sim_advance,                                                                    \
        .local_ipv6 = {0x20, 0x01, 0x0d, 0xb8, [15] = 1},                                          \
    }

SIM_PROVIDER(sim, sim_open);
SIM_PROVIDER(sim_offload, sim_open_offload);
SIM_PROVIDER(sim_lossy, sim_open_lossy);
