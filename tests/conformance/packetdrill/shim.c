#include "tests/conformance/packetdrill/shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    START_US = 5000000, /* duplicate address detection and solicitations are over by then */
    STREAMS_MAX = 64,
    SEND_QUEUE_MAX = 64 << 20,
    ROUNDS_MAX = 256,
    ALONE_MS = 500,   /* of real time; packetdrill gives up after 1,000 */
    SETTLE_MS = 1000, /* of real time, for a thread that never calls again */
    MTU_DEFAULT = 1500
};

/* --- time and the stack --- */

struct net_stack *shim_stack(struct shim *sh)
{
    return net_stack_of(sh->transport);
}

static void stack_step(struct shim *sh)
{
    for (int round = 0; round < ROUNDS_MAX; round++) {
        unsigned work = sh->transport->ops->poll(sh->transport, sh->stack_us, 256);

        work += wheel_poll(&sh->wheel, sh->stack_us, 256);
        sh->transport->ops->flush(sh->transport, sh->stack_us);
        blob_home_poll(&sh->blob_home);
        if (work == 0 && !ip_wire_has_input(sh->wire))
            return;
    }
}

static bool is_driver(const struct shim *sh)
{
    return pthread_equal(pthread_self(), sh->driver) != 0;
}

static bool is_settled(const struct shim *sh)
{
    if (sh->away_count > 0)
        return false;
    for (const struct list *n = sh->waiters.next; n != &sh->waiters; n = n->next)
        if (((const struct waiter *)(const void *)n)->seen != sh->generation)
            return false;
    return true;
}
static_assert(offsetof(struct waiter, link) == 0, "is_settled() casts");

/* Lets blocked calls see what changed, before time goes on without them. */
static void settle(struct shim *sh)
{
    struct timespec until;

    if (!is_driver(sh))
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += SETTLE_MS / 1000;
    while (!is_settled(sh))
        if (pthread_cond_timedwait(&sh->settled, &sh->lock, &until) == ETIMEDOUT) {
            sh->away_count = 0;
            return;
        }
}

void shim_pump(struct shim *sh)
{
    if (sh->transport != NULL) {
        sh->stack_us = sh->now_us + START_US;
        stack_step(sh);
        for (struct list *n = sh->socks.next; n != &sh->socks;) {
            struct sock *s = CONTAINER_OF(n, struct sock, link);
            n = n->next;
            if (s->kind == SOCK_TCP)
                tcp_sock_step(s); /* may free it */
        }
        stack_step(sh);
    }
    sh->generation++;
    pthread_cond_broadcast(&sh->changed);
    settle(sh);
}

uint64_t shim_next_us(struct shim *sh)
{
    uint64_t next_us = UINT64_MAX;

    if (sh->transport != NULL) {
        uint64_t wheel_us = wheel_next_us(&sh->wheel);
        if (wheel_us != UINT64_MAX)
            next_us = wheel_us > START_US ? wheel_us - START_US : 0;
    }
    for (struct list *n = sh->waiters.next; n != &sh->waiters; n = n->next) {
        const struct waiter *w = CONTAINER_OF(n, struct waiter, link);
        if (w->deadline_us < next_us)
            next_us = w->deadline_us;
    }
    return next_us;
}

void shim_advance(struct shim *sh, uint64_t until_us)
{
    uint64_t next_us;

    while ((next_us = shim_next_us(sh)) <= until_us) {
        sh->now_us = next_us > sh->now_us ? next_us : sh->now_us + 1;
        shim_pump(sh);
        if (sh->now_us >= until_us)
            break;
    }
    if (until_us > sh->now_us)
        sh->now_us = until_us;
    if (sh->transport != NULL) {
        sh->stack_us = sh->now_us + START_US;
        stack_step(sh);
    }
}

/* This thread is back. */
static void away_remove(struct shim *sh)
{
    for (unsigned i = 0; i < sh->away_count; i++)
        if (pthread_equal(sh->away[i], pthread_self()) != 0) {
            sh->away[i] = sh->away[--sh->away_count];
            pthread_cond_broadcast(&sh->settled);
            return;
        }
}

/* Sleeps until something changes. A call with a time-out may be all that the script still waits
 * for: when the driver has not come back for long, time moves here. */
static void waiter_sleep(struct shim *sh, struct waiter *w)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)ALONE_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    int error = pthread_cond_timedwait(&sh->changed, &sh->lock, &until);
    if (error == ETIMEDOUT && w->deadline_us != UINT64_MAX && w->seen == sh->generation) {
        uint64_t next_us = shim_next_us(sh);
        shim_advance(sh, next_us > sh->now_us ? next_us : sh->now_us + 1);
    }
}

bool shim_wait(struct shim *sh, uint64_t deadline_us)
{
    if (deadline_us <= sh->now_us)
        return false;
    if (is_driver(sh)) {
        uint64_t next_us = shim_next_us(sh);
        if (next_us == UINT64_MAX && deadline_us == UINT64_MAX)
            return false;
        shim_advance(sh, next_us < deadline_us ? next_us : deadline_us);
        return true;
    }
    away_remove(sh);
    struct waiter w = {.seen = sh->generation, .deadline_us = deadline_us};
    list_push_back(&sh->waiters, &w.link);
    pthread_cond_broadcast(&sh->settled);
    while (w.seen == sh->generation)
        waiter_sleep(sh, &w);
    list_remove(&w.link);
    /* Until the next shim_wait() or the thread's next call, time waits for it. */
    if (sh->away_count < SHIM_AWAY_MAX)
        sh->away[sh->away_count++] = pthread_self();
    return true;
}

void shim_enter(struct shim *sh)
{
    pthread_mutex_lock(&sh->lock);
    away_remove(sh);
}

ssize_t shim_leave(struct shim *sh, ssize_t result)
{
    pthread_mutex_unlock(&sh->lock);
    if (result >= 0)
        return result;
    errno = (int)-result;
    return -1;
}

/* --- making one --- */

static uint64_t shim_random(void *user)
{
    /* splitmix64: scripts must not depend on a number, and a failure must repeat. */
    uint64_t *state = user;
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int shim_start(struct shim *sh, const struct endpoint *local)
{
    if (sh->transport != NULL)
        return 0;
    if (local != NULL && !endpoint_is_any(local) && local->family != 0)
        memcpy(sh->local[local->family == 6].addr, local->addr, 16);
    sh->config.addresses[0] = sh->local[0];
    sh->config.addresses[1] = sh->local[1];
    sh->config.address_count = 2;
    sh->stack_us = sh->now_us;
    wheel_init(&sh->wheel, sh->stack_us);
    blob_home_init(&sh->blob_home);
    sh->env = (struct transport_env){
        .counters = &sh->counters,
        .wheel = &sh->wheel,
        .blob_home = &sh->blob_home,
        .random = shim_random,
        .random_user = &sh->random,
        .streams_max = STREAMS_MAX,
        .send_queue_bytes_max = SEND_QUEUE_MAX,
    };
    sh->wire = ip_wire_new(sh->mtu, &sh->now_us, stats_sent, sh);
    if (sh->wire == NULL)
        return -ENOMEM;
    ip_wire_queue(sh->wire)->counters = &sh->counters;
    int error = net_new(&sh->config, ip_wire_queue(sh->wire), &sh->env, &sh->transport);
    if (error < 0)
        return error;
    if (sh->has_backlog)
        shim_stack(sh)->config.backlog_max = sh->backlog;
    for (uint64_t end_us = sh->now_us + START_US; sh->stack_us < end_us; sh->stack_us += 10000)
        stack_step(sh);
    sh->stack_us = sh->now_us + START_US;
    stack_step(sh);
    ip_wire_drop_output(sh->wire);
    return 0;
}

static bool address_set(struct net_address *a, const char *text)
{
    uint8_t family = strchr(text, ':') != NULL ? 6 : 4;

    memset(a->addr, 0, sizeof(a->addr));
    return family == a->family && inet_pton(family == 6 ? AF_INET6 : AF_INET, text, a->addr) == 1;
}

static bool flag_set(struct shim *sh, const char *key, const char *value)
{
    if (strcmp(key, "local_ip") == 0)
        return address_set(&sh->local[strchr(value, ':') != NULL], value);
    if (strcmp(key, "mtu") == 0) {
        unsigned long mtu = strtoul(value, NULL, 10);
        sh->mtu = (uint16_t)mtu;
        return mtu >= IPV6_MTU_MIN && mtu <= 9000;
    }
    if (strcmp(key, "congestion") == 0) {
        const struct tcp_congestion_ops *found = tcp_congestion_find(value);
        sh->config.congestion = found != NULL ? found->name : NULL;
        return found != NULL;
    }
    if (strcmp(key, "mtu_probing") == 0) {
        static const enum net_mtu_probing modes[] = {
            NET_MTU_PROBING_OFF, NET_MTU_PROBING_BLACK_HOLE, NET_MTU_PROBING_ALWAYS};
        unsigned long mode = strtoul(value, NULL, 10);
        if (mode < 3)
            sh->config.mtu_probing = modes[mode];
        return mode < 3;
    }
    if (strcmp(key, "backlog") == 0) {
        sh->has_backlog = true;
        sh->backlog = (uint32_t)strtoul(value, NULL, 10);
        return true;
    }
    if (strcmp(key, "ecn") == 0) {
        sh->config.ecn = strcmp(value, "on") == 0    ? NET_ECN_ON
                         : strcmp(value, "off") == 0 ? NET_ECN_OFF
                                                     : NET_ECN_PASSIVE;
        return sh->config.ecn != NET_ECN_PASSIVE || strcmp(value, "passive") == 0;
    }
    return false;
}

/* "key=value,key=value". */
static bool flags_parse(struct shim *sh, const char *flags)
{
    while (flags != NULL && *flags != '\0') {
        size_t size = strcspn(flags, ", ");
        char pair[96] = {0};

        if (size >= sizeof(pair))
            return false;
        memcpy(pair, flags, size);
        flags += size + (flags[size] != '\0');
        char *value = strchr(pair, '=');
        if (size == 0)
            continue;
        if (value != NULL)
            *value++ = '\0';
        if (value == NULL || !flag_set(sh, pair, value)) {
            fprintf(stderr,
                    "libleat_packetdrill: flag '%s' is not one of local_ip=, mtu=, "
                    "congestion=, mtu_probing=, backlog=, ecn=, or its value is wrong\n",
                    pair);
            return false;
        }
    }
    return true;
}

struct shim *shim_new(const char *flags)
{
    struct shim *sh = calloc(1, sizeof(*sh));

    if (sh == NULL)
        return NULL;
    pthread_mutex_init(&sh->lock, NULL);
    pthread_cond_init(&sh->changed, NULL);
    pthread_cond_init(&sh->settled, NULL);
    sh->driver = pthread_self();
    sh->generation = 1;
    list_init(&sh->waiters);
    list_init(&sh->socks);
    sh->now_us = 1000000000;
    sh->random = 1;
    sh->mtu = MTU_DEFAULT;
    sh->local[0] = (struct net_address){.addr = {192, 168, 0, 1}, .family = 4, .prefix_bits = 16};
    sh->local[1] = (struct net_address){.family = 6, .prefix_bits = 48};
    (void)address_set(&sh->local[1], "fd3d:fa7b:d17d::1");
    sh->config.idle_restart = NET_IDLE_RESTART_DECAY; /* Linux's standard, as is: */
    sh->config.is_unpaced = true;
    sh->config.mtu_probing = NET_MTU_PROBING_OFF;
    CHECK(net_config_set_gateways(&sh->config, "192.168.255.254,fd3d:fa7b:d17d:8888::") == 0);
    sh->config.keepalive_idle_ms = 7200000; /* as Linux; off unless a socket asks */
    if (!flags_parse(sh, flags))
        shim_free(&sh);
    return sh;
}

void shim_free(struct shim **shim)
{
    struct shim *sh = *shim;
    struct list *node;

    *shim = NULL;
    if (sh == NULL)
        return;
    if (sh->transport != NULL)
        sh->transport->ops->free(&sh->transport);
    while ((node = sh->socks.next) != &sh->socks)
        sock_free(CONTAINER_OF(node, struct sock, link));
    ip_wire_free(&sh->wire);
    pthread_cond_destroy(&sh->settled);
    pthread_cond_destroy(&sh->changed);
    pthread_mutex_destroy(&sh->lock);
    free(sh);
}
