#include "dataplane/net/net.h"

#include <errno.h>
#include <stdlib.h>

#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    FLUSH_PACKETS_MAX = 256, /* in one turn of the loop, so that input has its turn too */
    ICMP_PER_SECOND = 200,
    SOLICITS_PER_SECOND = 100,
    CONFLICTS_PER_SECOND = 10,
    CHALLENGES_PER_SECOND = 1000,
    RESETS_PER_SECOND = 1000,
    SHARES_PER_SECOND = 1000,
    CONTROL_BLOB_BYTES = 2048,
    WINDOW_BYTES = 65536, /* Linux's tcp_rmem: half of the default, and the maximum */
    WINDOW_MAX_BYTES = 6 << 20,
    REASSEMBLY_SHARE_MIN = 160,
    REASSEMBLY_SHARE_MAX = 3072 /* holds the largest window */
};

bool rate_take(struct rate *r, uint64_t now_us)
{
    uint64_t elapsed_us = now_us - r->filled_us;
    uint64_t earned = elapsed_us >= 1000000 ? r->per_second : elapsed_us * r->per_second / 1000000;

    if (earned > 0) {
        r->tokens =
            earned + r->tokens < r->per_second ? r->tokens + (uint32_t)earned : r->per_second;
        r->filled_us = now_us;
    }
    if (r->tokens == 0)
        return false;
    r->tokens--;
    return true;
}

/* Fires only to end the shard's sleep: poll() does the work. */
static void kick_fire(struct timer *t, uint64_t now_us)
{
    struct net_stack *s = CONTAINER_OF(t, struct net_stack, kick);

    s->now_us = now_us;
}

void net_kick(struct net_stack *s)
{
    if (!timer_is_armed(&s->kick))
        wheel_arm(s->wheel, &s->kick, s->now_us);
}

static uint32_t or_default(uint32_t value, uint32_t standard)
{
    return value != 0 ? value : standard;
}

static void config_fill(struct net_config *c, uint32_t streams)
{
    c->congestion = c->congestion != NULL ? c->congestion : "cubic";
    c->bbr_max = or_default(c->bbr_max, streams);
    c->receive_window_max_bytes = or_default(c->receive_window_max_bytes,
                                             or_default(c->receive_window_bytes, WINDOW_MAX_BYTES));
    c->receive_window_bytes = or_default(c->receive_window_bytes, WINDOW_BYTES);
    if (c->receive_window_max_bytes < c->receive_window_bytes)
        c->receive_window_max_bytes = c->receive_window_bytes;
    c->backlog_max = or_default(c->backlog_max, streams / 4 > 0 ? streams / 4 : 1);
    uint32_t per_source = c->backlog_max / 8 > 8 ? c->backlog_max / 8 : 8;
    c->backlog_per_source_max = or_default(c->backlog_per_source_max, per_source);
    if (c->backlog_per_source_max > UINT16_MAX)
        c->backlog_per_source_max = UINT16_MAX;
    c->extent_chunks_max = or_default(c->extent_chunks_max, 2 * streams + 1024);
    c->reassembly_buffers_max = or_default(c->reassembly_buffers_max, streams / 4 + 1024);
    uint32_t share = c->reassembly_buffers_max / 8;
    share = share < REASSEMBLY_SHARE_MIN ? REASSEMBLY_SHARE_MIN : share;
    share = share > REASSEMBLY_SHARE_MAX ? REASSEMBLY_SHARE_MAX : share;
    c->reassembly_per_stream_max = or_default(c->reassembly_per_stream_max, share);
    c->keepalive_idle_ms = or_default(c->keepalive_idle_ms, 60000);
    c->keepalive_interval_ms = or_default(c->keepalive_interval_ms, 10000);
    c->keepalive_probes_max = or_default(c->keepalive_probes_max, 6);
    c->retransmits_max = or_default(c->retransmits_max, 10);
    c->time_wait_ms = or_default(c->time_wait_ms, 60000);
    c->persisting_max = or_default(c->persisting_max, streams / 8 > 16 ? streams / 8 : 16);
    c->persist_ms = or_default(c->persist_ms, 30000);
}

/* fe80::/64 and the modified EUI-64 of the MAC address, RFC 4291 appendix A. */
static void link_local_make(struct net_stack *s)
{
    const uint8_t *mac = s->info->mac;
    const uint8_t addr[16] = {0xfe,        0x80,   0,      0,    0,    0,      0,      0,
                              mac[0] ^ 2u, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};

    memcpy(s->link_local, addr, sizeof(addr));
}

static int config_check(const struct net_config *c, uint16_t mtu)
{
    if (c->address_count == 0 || c->address_count > NET_ADDRESSES_MAX)
        return -EINVAL;
    if (c->use_slaac && mtu < IPV6_MTU_MIN)
        return -EINVAL;
    for (uint32_t i = 0; i < c->address_count; i++)
        if (mtu < (c->addresses[i].family == 6 ? IPV6_MTU_MIN : IPV4_MTU_MIN))
            return -EINVAL;
    return 0;
}

static struct siphash_key key_make(const struct transport_env *env)
{
    struct siphash_key key = {.k0 = env->random(env->random_user)};

    key.k1 = env->random(env->random_user);
    return key;
}

static void stack_init(struct net_stack *s, struct port_queue *queue,
                       const struct transport_env *env)
{
    s->base.ops = &net_transport_ops;
    s->driver = queue->driver;
    s->queue = queue;
    s->info = queue->driver->info(queue->port);
    s->env = env;
    s->counters = env->counters;
    s->wheel = env->wheel;
    /* The wheel's time: the shard's first poll() tells the exact one. */
    s->now_us = env->wheel->tick << WHEEL_TICK_SHIFT;
    s->kick.fire = kick_fire;
    s->extents_max = s->info->extents_max < EXTENTS_PER_PACKET_MAX ? s->info->extents_max
                                                                   : EXTENTS_PER_PACKET_MAX;
    s->flow_key = key_make(env);
    s->isn_key = key_make(env);
    s->icmp_rate.per_second = ICMP_PER_SECOND;
    s->solicit_rate.per_second = SOLICITS_PER_SECOND;
    s->conflict_rate.per_second = CONFLICTS_PER_SECOND;
    s->reset_rate.per_second = RESETS_PER_SECOND;
    s->share_rate.per_second = SHARES_PER_SECOND;
    /* Not a number that outsiders could count along (RFC 5961 §7, CVE-2016-5696). */
    s->challenge_rate.per_second =
        CHALLENGES_PER_SECOND / 2 +
        (uint32_t)(env->random(env->random_user) % CHALLENGES_PER_SECOND);
}

static void stack_fini(struct net_stack *s)
{
    wheel_cancel(s->wheel, &s->kick);
    wheel_cancel(s->wheel, &s->solicit);
    wheel_cancel(s->wheel, &s->own_timer);
    wheel_cancel(s->wheel, &s->mld_timer);
    neighbours_fini(&s->neighbours);
    tcp_fini(s);
    blob_pool_free(&s->control_blobs);
    blob_pool_free(&s->kernel_blobs);
    free(s);
}

int net_new(const struct net_config *config, struct port_queue *queue,
            const struct transport_env *env, struct transport **ret)
{
    struct net_stack *s = aligned_alloc(alignof(struct net_stack), sizeof(*s));
    int error;

    if (s == NULL)
        return -ENOMEM;
    memset(s, 0, sizeof(*s));
    CHECK(env->streams_max > 0 && env->random != NULL && env->wheel != NULL);
    stack_init(s, queue, env);
    s->config = *config;
    config_fill(&s->config, env->streams_max);
    s->mtu = config->mtu != 0 && config->mtu < s->info->mtu ? config->mtu : s->info->mtu;
    s->l2_size = ETHERNET_SIZE + (config->vlan != 0 ? VLAN_TAG_SIZE : 0);
    for (uint32_t i = 0; i < config->address_count && i < NET_ADDRESSES_MAX; i++)
        s->has_v6 = s->has_v6 || config->addresses[i].family == 6;
    s->has_v6 = s->has_v6 || config->use_slaac;
    s->is_leader = env->shard_index == 0;
    link_local_make(s);

    error = config_check(config, s->mtu);
    if (error == 0)
        own_init(s);
    if (error == 0)
        error = neighbours_init(&s->neighbours, s);
    if (error == 0)
        error = tcp_init(s);
    if (error == 0) {
        s->control_blobs = blob_pool_new(env->blob_home, CONTROL_BLOBS, CONTROL_BLOB_BYTES);
        error = s->control_blobs == NULL ? -ENOMEM : 0;
    }
    if (error == 0 && s->driver->register_memory != NULL)
        error = s->driver->register_memory(queue->port, blob_pool_memory(s->control_blobs));
    if (error == 0)
        error = exception_init(s);
    if (error < 0) {
        stack_fini(s);
        return error;
    }
    *ret = &s->base;
    return 0;
}

static void announce(struct net_stack *s)
{
    s->is_announced = true;
    if (s->has_v6)
        mld_join(s); /* before DAD: RFC 4862 §5.4.2 */
    own_start(s);
    if (s->has_v6)
        nd_start(s);
}

unsigned net_poll(struct transport *t, uint64_t now_us, unsigned budget)
{
    struct net_stack *s = net_stack_of(t);
    struct packet_in packets[PORT_BURST_MAX];
    unsigned done = 0;

    s->now_us = now_us;
    if (!s->is_announced)
        announce(s);
    done += tcp_deliver_closed(s);
    done += tcp_deliver_resumed(s);
    done += exception_poll(s);
    while (done < budget) {
        unsigned want = budget - done < PORT_BURST_MAX ? budget - done : PORT_BURST_MAX;
        unsigned got = s->driver->rx_burst(s->queue, packets, want, now_us);

        for (unsigned i = 0; i < got; i++)
            ethernet_input(s, &packets[i]);
        if (got > 0)
            s->driver->rx_done(s->queue, packets, got);
        done += got;
        if (got < want)
            break;
    }
    done += tcp_deliver_closed(s);
    /* Output that waits for packets or budget is work too: the shard must not sleep on it, unless
     * it is woken when it can go on. */
    bool is_blocked = s->driver->is_blocked != NULL && s->driver->is_blocked(s->queue);
    if (tcp_has_output(s) && !is_blocked)
        done++;
    if (list_is_empty(&s->tcp.closed) && list_is_empty(&s->tcp.resumed))
        wheel_cancel(s->wheel, &s->kick);
    return done;
}

void net_flush(struct transport *t, uint64_t now_us)
{
    struct net_stack *s = net_stack_of(t);

    s->now_us = now_us;
    (void)tcp_output_all(s, FLUSH_PACKETS_MAX);
    s->driver->tx_flush(s->queue, now_us);
}

int net_wait_fd(struct transport *t)
{
    struct net_stack *s = net_stack_of(t);

    return s->driver->wait_fd(s->queue);
}

bool net_has_work(const struct transport *t)
{
    const struct net_stack *s = (const struct net_stack *)(const void *)t;

    return s->driver->has_work != NULL && s->driver->has_work(s->queue);
}

void net_free(struct transport **pt)
{
    struct transport *t = *pt;

    *pt = NULL;
    if (t == NULL)
        return;
    struct net_stack *s = net_stack_of(t);
    for (uint32_t i = 0; i < s->tcp.conns.fresh; i++) {
        struct tcp_conn *c = pool_at(&s->tcp.conns, i);
        /* A free item's first word is the pool's, and 'state' was left TCP_CLOSED. */
        if (c->state != TCP_CLOSED)
            tcp_conn_reset(s, c, -ECONNABORTED);
    }
    while (tcp_deliver_closed(s) > 0)
        continue;
    s->driver->tx_flush(s->queue, s->now_us);
    stack_fini(s);
}

void net_usage(const struct transport *t, struct net_usage *ret_usage)
{
    const struct net_stack *s = (const struct net_stack *)(const void *)t;

    *ret_usage = (struct net_usage){
        .streams = s->tcp.conns.in_use,
        .half_open = s->tcp.half_open,
        .time_waits = s->tcp.time_wait_pool.in_use,
        .extent_chunks = s->tcp.chunks.in_use,
        .ranges = s->tcp.ranges.in_use,
        .reassembly_buffers = s->tcp.buffers.in_use,
        .bbrs = s->tcp.bbrs.in_use,
        .pending_packets = s->neighbours.pending.in_use,
    };
}
