#include "dataplane/node.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/log.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_server.h"
#include "dataplane/link/link.h"
#include "dataplane/media/channel.h"
#include "dataplane/net/net.h"
#include "dataplane/net/steer/steer.h"
#include "dataplane/rtmp/rtmp_server.h"
#include "dataplane/store/store.h"
#include "drivers/net/transport.h"
#include "drivers/net/uring/uring.h"
#include "drivers/port/dpdk/dpdk.h"
#include "drivers/port/kernel/kernel.h"

enum {
    CACHE_LINE = 64,
    PATH_SIZE_MAX = 108,     /* sockaddr_un.sun_path */
    VIEWS_PER_SHARD = 16384, /* store objects that one shard's viewers can read at once */
    RANDOM_WORDS = 32,
    START_STEPS = 3,
    REPORT_INTERVAL_US = 1000000
};

/* One shard with everything that runs on it. */
struct worker {
    struct node *node;
    pthread_t thread;
    bool is_started;
    struct shard shard;
    struct counters *counters;
    struct transport_env env; /* of both transports */
    struct transport *kernel; /* io_uring; NULL where only the port is used */
    struct transport *stack;  /* our TCP/IP; NULL in uring mode */
    struct rtmp_server *rtmp;
    struct http_server *http;
    struct timer report_timer; /* tells leatd about the channels that live here */
    uint64_t random[RANDOM_WORDS];
    uint32_t random_left;
    int errors[START_STEPS]; /* each written once, before the barrier of its step */
};

struct node {
    const struct config *config;
    enum net_mode mode;
    const char *run_dir;
    struct store *store;
    struct channels *channels;
    struct port *port;
    struct kernel_port *kernel; /* of port.kernel_interface; NULL: none */
    struct link *link;          /* shard 0 makes it; the others read it after the barrier */
    struct worker *workers;
    struct shard **shards;
    uint32_t count;
    pthread_barrier_t barrier;
    bool has_barrier;
};

int node_choose_mode(const struct config *config, enum net_mode *ret_mode, const char **ret_why)
{
    const char *mode = config->net_mode.text;
    bool has_port = config->port_device.text[0] != '\0';

    if (strcmp(mode, "uring") == 0) {
        *ret_mode = NET_MODE_URING;
        *ret_why = "net.mode says so";
        return 0;
    }
    if (strcmp(mode, "dpdk") == 0 && has_port) {
        *ret_mode = NET_MODE_DPDK;
        *ret_why = "net.mode says so";
        return 0;
    }
    if (strcmp(mode, "auto") != 0)
        return -EINVAL;
    *ret_mode = has_port ? NET_MODE_DPDK : NET_MODE_URING;
    *ret_why = has_port ? "port.device is configured" : "no port.device is configured";
    return 0;
}

/* Unpredictable words from the kernel, fetched a block at a time. */
static uint64_t worker_random(void *user)
{
    struct worker *w = user;

    if (w->random_left == 0) {
        /* Up to 256 bytes are never interrupted nor short once the kernel's pool is ready. */
        ssize_t got = getrandom(w->random, sizeof(w->random), 0);
        CHECK(got == (ssize_t)sizeof(w->random));
        w->random_left = RANDOM_WORDS;
    }
    return w->random[--w->random_left];
}

static void worker_set_env(struct worker *w)
{
    const struct config *config = w->node->config;

    w->env = (struct transport_env){
        .counters = w->counters,
        .wheel = &w->shard.wheel,
        .blob_home = &w->shard.blob_home,
        .random = worker_random,
        .random_user = w,
        .shard_index = w->shard.index,
        .streams_max = (uint32_t)config->net_streams_max,
        .send_queue_bytes_max = (uint32_t)config->net_send_queue,
    };
}

static int worker_fail(const struct worker *w, const char *what, int err)
{
    log_error("node", LOG_MSG("shard cannot start"), LOG_INT("shard", w->shard.index),
              LOG_STR("part", what), LOG_STR("error", strerror(-err)));
    return err;
}

/* The shard's core, by its number among those we are allowed to run on. */
static int worker_pin(const struct worker *w)
{
    const struct config *config = w->node->config;
    uint64_t wanted = config->shards_first_core + w->shard.index;
    cpu_set_t allowed;
    cpu_set_t one;

    if (!config->shards_pin)
        return 0;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
        return -errno;
    if (wanted >= (uint64_t)CPU_COUNT(&allowed)) {
        log_warn("node", LOG_MSG("fewer cores than shards: shard is not pinned"),
                 LOG_INT("shard", w->shard.index));
        return 0;
    }
    uint64_t seen = 0;
    for (size_t core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, &allowed) || seen++ != wanted)
            continue;
        CPU_ZERO(&one);
        CPU_SET(core, &one);
        return -pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
    }
    return 0;
}

/* Kernel sockets carry everything in uring mode, and the management listener (shard 0) in dpdk
 * mode. */
static int worker_open_kernel(struct worker *w)
{
    struct node *n = w->node;

    if (n->mode == NET_MODE_DPDK && w->shard.index > 0)
        return 0;
    struct uring_config config = {.zero_copy_min = (uint32_t)n->config->net_zero_copy_min};
    int err = uring_new(&config, &w->env, &w->kernel);
    return err < 0 ? err : shard_add_transport(&w->shard, w->kernel);
}

/* What another shard's stack heard. */
static void worker_hear(struct shard *s, const struct message *m)
{
    struct worker *w = CONTAINER_OF(s, struct worker, shard);
    struct net_news news;

    memcpy(&news, m->args, sizeof(news));
    if (w->stack != NULL)
        net_hear(w->stack, &news, s->now_us);
}

/* A full mailbox loses the news, as a network might: whoever needs it asks again. */
static void worker_share(void *user, const struct net_news *news)
{
    struct worker *w = user;
    struct message m = {.handle = worker_hear};

    memcpy(m.args, news, sizeof(*news));
    for (uint32_t i = 0; i < w->node->count; i++)
        if (i != w->shard.index)
            (void)shard_post(w->node->shards[i], &m);
}

static int worker_kernel_put(void *user, struct bytes head, struct bytes rest)
{
    struct worker *w = user;

    return kernel_write(w->node->kernel, w->shard.index, head, rest);
}

static size_t worker_kernel_get(void *user, uint8_t *buffer, size_t size)
{
    struct worker *w = user;

    return kernel_read(w->node->kernel, w->shard.index, buffer, size);
}

/* The stack polls the kernel's frames; this only wakes the shard. */
static unsigned worker_kernel_wake(void *user, uint64_t now_us, unsigned budget)
{
    (void)user;
    (void)now_us;
    (void)budget;
    return 0;
}

static int worker_add_kernel(struct worker *w, struct net_config *config)
{
    struct node *n = w->node;

    if (n->kernel == NULL)
        return 0;
    config->kernel_put = worker_kernel_put;
    config->kernel_get = worker_kernel_get;
    config->kernel_user = w;
    config->kernel_per_second = (uint32_t)n->config->port_kernel_rate;
    return shard_add_poller(&w->shard,
                            &(struct shard_poller){.name = "kernel",
                                                   .poll = worker_kernel_wake,
                                                   .fd = kernel_fd(n->kernel, w->shard.index)});
}

static enum net_ecn ecn_of(const char *choice)
{
    if (strcmp(choice, "on") == 0)
        return NET_ECN_ON;
    return strcmp(choice, "off") == 0 ? NET_ECN_OFF : NET_ECN_PASSIVE;
}

static int worker_open_stack(struct worker *w)
{
    struct node *n = w->node;

    if (n->mode != NET_MODE_DPDK)
        return 0;
    struct port_queue *queue = n->port->driver->queue(n->port, w->shard.index);
    queue->counters = w->counters;
    struct net_config config = {
        .vlan = (uint16_t)n->config->port_vlan,
        .dad_transmits = (uint8_t)n->config->port_dad,
        .use_slaac = n->config->port_slaac,
        .mtu = (uint16_t)n->config->port_mtu,
        .congestion = n->config->net_congestion.text,
        .bbr_max = (uint32_t)n->config->net_bbr_max,
        .ecn = ecn_of(n->config->net_ecn.text),
        .is_unpaced = !n->config->net_pacing,
        .share = n->count > 1 ? worker_share : NULL,
        .share_user = w,
    };
    int err = net_config_set_addresses(&config, n->config->port_address.text);
    if (err < 0)
        return worker_fail(w, "port.address", err);
    err = net_config_set_gateways(&config, n->config->port_gateway.text);
    if (err < 0)
        return worker_fail(w, "port.gateway", err);
    err = worker_add_kernel(w, &config);
    if (err < 0)
        return worker_fail(w, "port.kernel_interface", err);
    err = net_new(&config, queue, &w->env, &w->stack);
    return err < 0 ? err : shard_add_transport(&w->shard, w->stack);
}

/* As the listener's own key says, where connections are the stack's. */
static int worker_set_congestion(struct worker *w, const struct endpoint *local,
                                 const struct config_text *name)
{
    if (w->stack == NULL || name->text[0] == '\0')
        return 0;
    return net_listener_set_congestion(w->stack, local, name->text);
}

static int worker_listen(struct worker *w)
{
    const struct config *config = w->node->config;
    struct transport *public = w->stack != NULL ? w->stack : w->kernel;
    int err = 0;

    if (config->rtmp_listen.family != 0)
        err = rtmp_server_listen(w->rtmp, public, &config->rtmp_listen);
    if (err < 0)
        return worker_fail(w, "rtmp.listen", err);
    if (config->rtmp_listen.family != 0)
        err = worker_set_congestion(w, &config->rtmp_listen, &config->rtmp_congestion);
    if (err < 0)
        return worker_fail(w, "rtmp.congestion", err);
    if (config->http_listen.family != 0)
        err = http_server_listen(w->http, public, &config->http_listen, HTTP_PUBLIC);
    if (err < 0)
        return worker_fail(w, "http.listen", err);
    if (config->http_listen.family != 0)
        err = worker_set_congestion(w, &config->http_listen, &config->http_congestion);
    if (err < 0)
        return worker_fail(w, "http.congestion", err);
    if (w->shard.index == 0 && config->management_listen.family != 0)
        err = http_server_listen(w->http, w->kernel, &config->management_listen, HTTP_MANAGEMENT);
    return err < 0 ? worker_fail(w, "management.listen", err) : 0;
}

/* Everything that belongs to the shard, on its own thread. */
static int worker_open(struct worker *w)
{
    struct node *n = w->node;
    struct shard *s = &w->shard;
    int err = worker_pin(w);

    if (err < 0)
        return worker_fail(w, "core", err);
    err = shard_init(s, s->index, n->count, n->shards, n->config, w->counters);
    if (err < 0)
        return worker_fail(w, "shard", err);
    s->store = store_shard_attach(n->store, s->index, w->counters, &s->blob_home);
    err = channels_attach(n->channels, s);
    if (err < 0)
        return worker_fail(w, "channels", err);
    worker_set_env(w);
    err = worker_open_kernel(w);
    if (err < 0)
        return worker_fail(w, "io_uring", err);
    err = worker_open_stack(w);
    if (err < 0)
        return worker_fail(w, "TCP/IP stack", err);
    if (n->port != NULL && n->port->driver->register_memory != NULL) {
        err = n->port->driver->register_memory(n->port, blob_pool_memory(s->small_blobs));
        if (err < 0)
            return worker_fail(w, "port memory", err);
    }
    if (s->index > 0)
        return 0;
    char path[PATH_SIZE_MAX];
    if (snprintf(path, sizeof(path), "%s/link.sock", n->run_dir) >= (int)sizeof(path))
        return worker_fail(w, "link (run directory path too long)", -ENAMETOOLONG);
    err = link_new(s, path, &n->link);
    return err < 0 ? worker_fail(w, "link", err) : 0;
}

static void worker_report_channel(void *user, const struct link_channel_report *report)
{
    struct worker *w = user;

    link_report_channel(w->node->link, &w->shard, report);
}

static void worker_report(struct timer *t, uint64_t now_us)
{
    struct worker *w = CONTAINER_OF(t, struct worker, report_timer);

    channels_report(w->node->channels, &w->shard, worker_report_channel, w);
    wheel_arm(&w->shard.wheel, t, now_us + REPORT_INTERVAL_US);
}

/* The servers, once shard 0 has made the link. */
static int worker_serve(struct worker *w)
{
    struct node *n = w->node;
    int err = rtmp_server_new(&w->shard, n->channels, n->link, &w->rtmp);

    if (err < 0)
        return worker_fail(w, "RTMP server", err);
    err = http_server_new(&w->shard, n->channels, &w->http);
    if (err < 0)
        return worker_fail(w, "HTTP server", err);
    w->report_timer.fire = worker_report;
    wheel_arm(&w->shard.wheel, &w->report_timer, w->shard.now_us + REPORT_INTERVAL_US);
    return 0;
}

/* The first error of any worker in 'step'; 0: all went well. */
static int node_step_error(const struct node *n, size_t step)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->workers[i].errors[step] < 0)
            return n->workers[i].errors[step];
    return 0;
}

static void worker_close(struct worker *w)
{
    if (w->stack != NULL)
        w->stack->ops->free(&w->stack);
    if (w->kernel != NULL)
        w->kernel->ops->free(&w->kernel);
    http_server_free(&w->http);
    rtmp_server_free(&w->rtmp);
}

/* All workers start in lockstep: after the barrier of a step each sees the same errors, so that a
 * failure of one ends all. */
static void *worker_main(void *argument)
{
    struct worker *w = argument;
    int (*const steps[START_STEPS])(struct worker *) = {worker_open, worker_serve, worker_listen};
    int err = 0;

    for (size_t step = 0; step < START_STEPS && err == 0; step++) {
        w->errors[step] = steps[step](w);
        pthread_barrier_wait(&w->node->barrier);
        err = node_step_error(w->node, step);
    }
    if (err == 0)
        shard_run(&w->shard);
    worker_close(w);
    return NULL;
}

/* The kernel's share of the port. */
static int node_open_kernel(struct node *n)
{
    const struct config *config = n->config;
    const struct port_info *info = n->port->driver->info(n->port);
    struct kernel_config kernel = {.name = config->port_kernel_interface.text, .mtu = info->mtu};
    struct net_config net = {0};

    if (kernel.name[0] == '\0')
        return 0;
    int err = net_config_set_addresses(&net, config->port_address.text);
    if (err < 0)
        return err;
    memcpy(kernel.mac, info->mac, sizeof(kernel.mac));
    for (uint32_t i = 0; i < net.address_count; i++) {
        const struct net_address *a = &net.addresses[i];
        kernel.addresses[i] =
            (struct kernel_address){.family = a->family, .prefix_bits = a->prefix_bits};
        memcpy(kernel.addresses[i].addr, a->addr, sizeof(a->addr));
    }
    kernel.address_count = net.address_count;
    return kernel_open(&kernel, n->count, &n->kernel);
}

static void node_wake(void *user, unsigned shard)
{
    struct node *n = user;

    shard_wake(n->shards[shard]);
}

/* Makes the port one with a queue for every shard, where it is not. */
static int node_steer_port(struct node *n)
{
    const struct port_info *info = n->port->driver->info(n->port);
    struct steer_config steer = {.shards = n->count, .wake = node_wake, .wake_user = n};
    struct port *device = n->port;

    if (info->queues == n->count && info->keeps_flows)
        return 0;
    log_info("node", LOG_MSG("connections are spread over the shards by software"),
             LOG_STR("device", n->config->port_device.text), LOG_INT("queues", info->queues),
             LOG_INT("shards", n->count));
    ssize_t got = getrandom(&steer.key, sizeof(steer.key), 0);
    CHECK(got == (ssize_t)sizeof(steer.key));
    return steer_open(&steer, &device, &n->port);
}

static int node_open_port(struct node *n)
{
    const struct config *config = n->config;

    if (n->mode != NET_MODE_DPDK)
        return 0;
    struct dpdk_config dpdk = {
        .device = config->port_device.text,
        .options = config->port_options.text,
        .memory_bytes = config->port_memory,
        .use_hugepages = config->port_hugepages,
    };
    int err = dpdk_init(&dpdk);
    if (err == 0)
        err = dpdk_open(&dpdk, n->count, (uint16_t)config->port_mtu, &n->port);
    if (err == 0)
        err = node_steer_port(n);
    if (err == 0 && n->port->driver->register_memory != NULL)
        err = n->port->driver->register_memory(n->port, store_memory(n->store));
    if (err < 0)
        log_error("node", LOG_MSG("packet port cannot be opened"),
                  LOG_STR("device", config->port_device.text), LOG_STR("error", strerror(-err)));
    return err == 0 ? node_open_kernel(n) : err;
}

/* Zeroed memory that shares no cache line. NULL: none. */
static void *lines_new(size_t size)
{
    size_t whole = (size + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    void *memory = aligned_alloc(CACHE_LINE, whole);

    return memory == NULL ? NULL : memset(memory, 0, whole);
}

int node_new(const struct config *config, enum net_mode mode, const char *run_dir,
             struct node **ret_node)
{
    struct node *n = calloc(1, sizeof(*n));
    int err = -ENOMEM;

    if (n == NULL)
        goto fail;
    n->config = config;
    n->mode = mode;
    n->run_dir = run_dir;
    n->count = (uint32_t)config->shards_count;
    n->workers = lines_new(n->count * sizeof(*n->workers));
    n->shards = calloc(n->count, sizeof(struct shard *));
    if (n->workers == NULL || n->shards == NULL)
        goto fail;
    for (uint32_t i = 0; i < n->count; i++) {
        struct worker *w = &n->workers[i];
        w->node = n;
        w->shard.index = i;
        w->counters = lines_new(sizeof(struct counters));
        if (w->counters == NULL)
            goto fail;
        n->shards[i] = &w->shard;
    }
    n->store = store_new(config->store_memory, n->count, VIEWS_PER_SHARD);
    if (n->store == NULL)
        goto fail;
    n->channels = channels_new(config, n->store, n->count);
    if (n->channels == NULL)
        goto fail;
    err = node_open_port(n);
    if (err < 0)
        goto fail;
    *ret_node = n;
    return 0;

fail:
    log_error("node", LOG_MSG("cannot start"), LOG_STR("error", strerror(-err)));
    node_free(&n);
    return err;
}

int node_start(struct node *n)
{
    int err = -pthread_barrier_init(&n->barrier, NULL, n->count + 1);

    if (err < 0)
        return err;
    n->has_barrier = true;
    for (uint32_t i = 0; i < n->count; i++) {
        struct worker *w = &n->workers[i];
        err = pthread_create(&w->thread, NULL, worker_main, w);
        CHECK(err == 0); /* a thread short, the barrier would never open */
        w->is_started = true;
    }
    for (size_t step = 0; step < START_STEPS && err == 0; step++) {
        pthread_barrier_wait(&n->barrier);
        err = node_step_error(n, step);
    }
    if (err < 0)
        node_stop(n);
    return err;
}

void node_stop(struct node *n)
{
    for (uint32_t i = 0; i < n->count; i++)
        if (n->workers[i].is_started && n->shards[i]->small_blobs != NULL) /* initialised */
            shard_stop(&n->workers[i].shard);
    for (uint32_t i = 0; i < n->count; i++) {
        if (n->workers[i].is_started)
            pthread_join(n->workers[i].thread, NULL);
        n->workers[i].is_started = false;
    }
    link_free(&n->link); /* only now: any shard may have been asking through it */
}

void node_free(struct node **pn)
{
    struct node *n = *pn;

    *pn = NULL;
    if (n == NULL)
        return;
    channels_free(&n->channels);
    for (uint32_t i = 0; n->workers != NULL && i < n->count; i++)
        shard_fini(&n->workers[i].shard);
    if (n->port != NULL)
        n->port->driver->close(&n->port);
    kernel_close(&n->kernel);
    store_free(&n->store);
    for (uint32_t i = 0; n->workers != NULL && i < n->count; i++)
        free(n->workers[i].counters);
    if (n->has_barrier)
        pthread_barrier_destroy(&n->barrier);
    free(n->shards);
    free(n->workers);
    free(n);
}
