#include "dataplane/net/neighbour.h"

#include <errno.h>

#include "common/check.h"
#include "dataplane/net/stack.h"

enum {
    PENDING_EXTENTS_MAX = 4,
    REACHABLE_US = 30000000, /* RFC 4861 §10, as are the next three */
    DELAY_US = 5000000,
    RETRANSMIT_US = 1000000,
    PROBES_MAX = 3
};

struct pending_packet {
    uint32_t next;
    uint8_t is_control;
    struct net_packet packet;
    struct extent extents[PENDING_EXTENTS_MAX];
};

static void neighbours_fire(struct timer *t, uint64_t now_us);

int neighbours_init(struct neighbours *n, struct net_stack *stack)
{
    n->stack = stack;
    n->timer.fire = neighbours_fire;
    for (int i = 0; i < NEIGHBOURS_MAX; i++)
        n->entries[i].pending_head = POOL_NONE;
    return pool_init(&n->pending, NEIGHBOUR_PENDING_POOL, sizeof(struct pending_packet));
}

static void pending_free(struct neighbours *n, uint32_t index)
{
    struct pending_packet *p = pool_at(&n->pending, index);

    for (unsigned i = 0; i < p->packet.out.extent_count; i++)
        blob_unref(&p->extents[i].blob);
    pool_put(&n->pending, index);
}

static uint32_t pending_pop(struct neighbours *n, struct neighbour *e)
{
    uint32_t index = e->pending_head;

    if (index != POOL_NONE) {
        e->pending_head = ((struct pending_packet *)pool_at(&n->pending, index))->next;
        e->pending_count--;
    }
    return index;
}

static void pending_drop_all(struct neighbours *n, struct neighbour *e)
{
    for (uint32_t index; (index = pending_pop(n, e)) != POOL_NONE;) {
        NET_COUNT(n->stack, net_neighbour_pending_dropped);
        pending_free(n, index);
    }
}

void neighbours_fini(struct neighbours *n)
{
    if (n->stack == NULL)
        return;
    wheel_cancel(n->stack->wheel, &n->timer);
    for (int i = 0; i < NEIGHBOURS_MAX && n->pending.memory != NULL; i++)
        pending_drop_all(n, &n->entries[i]);
    pool_fini(&n->pending);
}

/* Keeps the latest NEIGHBOUR_PENDING_MAX packets (RFC 1122 §2.3.2.2: at least the latest). */
static void pending_push(struct neighbours *n, struct neighbour *e, const struct net_packet *packet,
                         bool is_control)
{
    if (packet->out.extent_count > PENDING_EXTENTS_MAX) {
        NET_COUNT(n->stack, net_neighbour_pending_dropped);
        return;
    }
    if (e->pending_count == NEIGHBOUR_PENDING_MAX) {
        NET_COUNT(n->stack, net_neighbour_pending_dropped);
        pending_free(n, pending_pop(n, e));
    }
    uint32_t index = pool_get(&n->pending);
    if (index == POOL_NONE) {
        NET_COUNT(n->stack, net_neighbour_pending_dropped);
        return;
    }
    struct pending_packet *p = pool_at(&n->pending, index);
    *p = (struct pending_packet){.next = POOL_NONE, .is_control = is_control, .packet = *packet};
    for (unsigned i = 0; i < packet->out.extent_count; i++) {
        p->extents[i] = packet->out.extents[i];
        blob_ref(p->extents[i].blob);
    }
    p->packet.out.extents = p->extents;

    uint32_t *link = &e->pending_head;
    while (*link != POOL_NONE)
        link = &((struct pending_packet *)pool_at(&n->pending, *link))->next;
    *link = index;
    e->pending_count++;
}

static void pending_send_all(struct neighbours *n, struct neighbour *e)
{
    for (uint32_t index; (index = pending_pop(n, e)) != POOL_NONE;) {
        struct pending_packet *p = pool_at(&n->pending, index);

        memcpy(p->packet.header, e->mac, 6);
        (void)packet_commit(n->stack, &p->packet, p->is_control != 0);
        pending_free(n, index);
    }
}

/* Asks for 'e': everybody, or with a known address, its owner. False: above the rate, so that
 * silence means nothing. */
static bool neighbour_ask(struct net_stack *s, const struct neighbour *e)
{
    const uint8_t *mac = e->state == NEIGHBOUR_PROBE ? e->mac : NULL;

    if (!rate_take(&s->solicit_rate, s->now_us)) {
        NET_COUNT(s, net_neighbour_solicits_limited);
        return false;
    }
    NET_COUNT(s, net_neighbour_solicits);
    if (e->family == 4)
        arp_request(s, e->addr, mac);
    else
        nd_solicit(s, e->addr, mac);
    return true;
}

static void neighbour_arm(struct net_stack *s, struct neighbour *e, uint64_t deadline_us)
{
    struct timer *t = &s->neighbours.timer;

    e->deadline_us = deadline_us;
    if (!timer_is_armed(t) || deadline_us >> WHEEL_TICK_SHIFT < t->deadline_tick)
        wheel_arm(s->wheel, t, deadline_us);
}

static void neighbour_set_state(struct net_stack *s, struct neighbour *e,
                                enum neighbour_state state)
{
    e->state = (uint8_t)state;
    e->probes = 0;
    e->deadline_us = 0;
    e->valid_until_us = 0;
    switch (state) {
    case NEIGHBOUR_REACHABLE:
        e->valid_until_us = s->now_us + REACHABLE_US;
        break;
    case NEIGHBOUR_DELAY:
        neighbour_arm(s, e, s->now_us + DELAY_US);
        e->valid_until_us = e->deadline_us;
        break;
    case NEIGHBOUR_INCOMPLETE:
    case NEIGHBOUR_PROBE:
        neighbour_arm(s, e, s->now_us + RETRANSMIT_US);
        if (state == NEIGHBOUR_PROBE)
            e->valid_until_us = s->now_us + PROBES_MAX * RETRANSMIT_US;
        e->probes = neighbour_ask(s, e);
        break;
    case NEIGHBOUR_FREE:
        e->generation = ++s->neighbours.generation;
        break;
    case NEIGHBOUR_STALE:
        break;
    }
}

static void neighbour_fail(struct net_stack *s, struct neighbour *e)
{
    NET_COUNT(s, net_neighbour_failed);
    if (e->family == 6)
        router_silent(s, e->addr);
    pending_drop_all(&s->neighbours, e);
    neighbour_set_state(s, e, NEIGHBOUR_FREE);
    e->family = 0;
}

static void neighbour_tick(struct net_stack *s, struct neighbour *e)
{
    if (e->state == NEIGHBOUR_DELAY) {
        neighbour_set_state(s, e, NEIGHBOUR_PROBE);
        return;
    }
    if (e->probes >= PROBES_MAX) {
        neighbour_fail(s, e);
        return;
    }
    e->deadline_us = s->now_us + RETRANSMIT_US;
    /* An entry being resolved gives up all the same: nobody may hold its packets for ever. */
    if (neighbour_ask(s, e) || e->state == NEIGHBOUR_INCOMPLETE)
        e->probes++;
}

static void neighbours_fire(struct timer *t, uint64_t now_us)
{
    struct neighbours *n = CONTAINER_OF(t, struct neighbours, timer);
    uint64_t next_us = UINT64_MAX;

    n->stack->now_us = now_us;
    for (int i = 0; i < NEIGHBOURS_MAX; i++) {
        struct neighbour *e = &n->entries[i];

        if (e->deadline_us != 0 && e->deadline_us <= now_us)
            neighbour_tick(n->stack, e);
        if (e->deadline_us != 0 && e->deadline_us < next_us)
            next_us = e->deadline_us;
    }
    if (next_us != UINT64_MAX)
        wheel_arm(n->stack->wheel, t, next_us);
}

static struct neighbour *neighbour_set(struct net_stack *s, uint8_t family, const uint8_t *addr)
{
    uint64_t words[3] = {0, 0, family};

    memcpy(words, addr, address_size(family));
    uint64_t hash = siphash_words(&s->flow_key, words, 3);
    return &s->neighbours.entries[hash % NEIGHBOUR_SETS * NEIGHBOUR_WAYS];
}

static struct neighbour *neighbour_find(struct net_stack *s, uint8_t family, const uint8_t *addr)
{
    struct neighbour *set = neighbour_set(s, family, addr);

    for (int way = 0; way < NEIGHBOUR_WAYS; way++)
        if (set[way].family == family && memcmp(set[way].addr, addr, address_size(family)) == 0)
            return &set[way];
    return NULL;
}

/* How much would be lost with 'e', least first. */
static unsigned neighbour_worth(const struct neighbour *e)
{
    if (e->state == NEIGHBOUR_FREE)
        return 0;
    if (e->used_us == 0) /* spoke to us; we never had anything for it */
        return 1;
    if (e->state == NEIGHBOUR_INCOMPLETE)
        return 2;
    return e->state == NEIGHBOUR_STALE ? 3 : 4;
}

/* An entry for 'addr', taken from the least worthy of its set, and of these the least recently
 * used. NULL: that one is worth more than who merely spoke to us. */
static struct neighbour *neighbour_new(struct net_stack *s, uint8_t family, const uint8_t *addr,
                                       bool is_wanted)
{
    struct neighbour *set = neighbour_set(s, family, addr);
    struct neighbour *e = &set[0];

    for (int way = 1; way < NEIGHBOUR_WAYS; way++) {
        unsigned worth = neighbour_worth(&set[way]);
        unsigned least = neighbour_worth(e);
        if (worth < least || (worth == least && set[way].used_us < e->used_us))
            e = &set[way];
    }
    if (!is_wanted && neighbour_worth(e) > 1) {
        NET_COUNT(s, net_neighbour_refused);
        return NULL;
    }
    if (e->state != NEIGHBOUR_FREE) {
        NET_COUNT(s, net_neighbour_evicted);
        pending_drop_all(&s->neighbours, e);
    }
    neighbour_set_state(s, e, NEIGHBOUR_FREE);
    memset(e->addr, 0, sizeof(e->addr));
    memcpy(e->addr, addr, address_size(family));
    e->family = family;
    e->used_us = is_wanted ? s->now_us : 0;
    return e;
}

/* The address on the link to send to for 'destination'; NULL: no route. */
static const uint8_t *next_hop(const struct net_stack *s, uint8_t family,
                               const uint8_t *destination)
{
    if (address_is_on_link(s, family, destination))
        return destination;
    return router_for(s, family);
}

int neighbour_route(struct net_stack *s, uint8_t family, const uint8_t *destination,
                    uint32_t *ret_index)
{
    const uint8_t *hop = next_hop(s, family, destination);

    if (hop == NULL || address_is_own(s, family, hop))
        return -EHOSTUNREACH;
    struct neighbour *e = neighbour_find(s, family, hop);
    if (e == NULL) {
        e = neighbour_new(s, family, hop, true);
        neighbour_set_state(s, e, NEIGHBOUR_INCOMPLETE);
    }
    *ret_index = (uint32_t)(e - s->neighbours.entries);
    return 0;
}

bool neighbour_is_usable(struct net_stack *s, uint32_t index)
{
    struct neighbour *e = &s->neighbours.entries[index];

    e->used_us = s->now_us;
    if (e->state == NEIGHBOUR_REACHABLE && s->now_us >= e->valid_until_us)
        neighbour_set_state(s, e, NEIGHBOUR_STALE);
    if (e->state == NEIGHBOUR_STALE)
        neighbour_set_state(s, e, NEIGHBOUR_DELAY);
    return e->state >= NEIGHBOUR_REACHABLE;
}

void neighbour_confirm(struct net_stack *s, uint32_t index)
{
    struct neighbour *e = &s->neighbours.entries[index];

    if (e->state == NEIGHBOUR_REACHABLE) {
        /* Not at each ACK: all connections behind one router share this line. */
        if (e->valid_until_us < s->now_us + REACHABLE_US / 2)
            e->valid_until_us = s->now_us + REACHABLE_US;
    } else if (e->state >= NEIGHBOUR_STALE) {
        neighbour_set_state(s, e, NEIGHBOUR_REACHABLE);
    }
}

void neighbour_doubt(struct net_stack *s, uint32_t index)
{
    struct neighbour *e = &s->neighbours.entries[index];

    if (e->state == NEIGHBOUR_REACHABLE)
        neighbour_set_state(s, e, NEIGHBOUR_STALE); /* the next packet starts the question */
}

void neighbour_send(struct net_stack *s, uint32_t index, const struct net_packet *packet,
                    bool is_control)
{
    struct neighbour *e = &s->neighbours.entries[index];

    if (!neighbour_is_usable(s, index)) {
        pending_push(&s->neighbours, e, packet, is_control);
        return;
    }
    uint8_t *header = s->driver->tx_begin(s->queue, is_control);
    if (header == NULL) {
        NET_COUNT(s, net_tx_no_packet);
        return;
    }
    memcpy(header, packet->header, packet->out.header_size);
    memcpy(header, e->mac, 6);
    (void)s->driver->tx_commit(s->queue, &packet->out);
}

static void neighbour_set_mac(struct net_stack *s, struct neighbour *e, const uint8_t *mac)
{
    memcpy(e->mac, mac, 6);
    e->generation = ++s->neighbours.generation;
}

void neighbour_learn(struct net_stack *s, uint8_t family, const uint8_t *addr,
                     const uint8_t mac[static 6], enum neighbour_news news)
{
    struct neighbour *e = neighbour_find(s, family, addr);

    if (e == NULL) {
        /* Who asked us will want an answer: keep what it said, unconfirmed. */
        if (news != NEIGHBOUR_SEEN) {
            NET_COUNT(s, net_neighbour_unsolicited);
            return;
        }
        e = neighbour_new(s, family, addr, false);
        if (e == NULL)
            return;
        neighbour_set_mac(s, e, mac);
        neighbour_set_state(s, e, NEIGHBOUR_STALE);
        return;
    }
    if (e->state == NEIGHBOUR_INCOMPLETE) {
        if (news == NEIGHBOUR_CLAIMED) /* the answer that we asked for is on its way */
            return;
        neighbour_set_mac(s, e, mac);
        neighbour_set_state(s, e, news == NEIGHBOUR_SEEN ? NEIGHBOUR_STALE : NEIGHBOUR_REACHABLE);
        pending_send_all(&s->neighbours, e);
        return;
    }
    bool is_asked = e->state == NEIGHBOUR_PROBE;
    if (memcmp(e->mac, mac, 6) == 0) {
        if (is_asked && news == NEIGHBOUR_ANSWERED)
            neighbour_set_state(s, e, NEIGHBOUR_REACHABLE);
        return;
    }
    NET_COUNT(s, net_neighbour_conflicts);
    /* Perhaps it moved, perhaps somebody lies: whom we know is asked, but not at any rate. */
    if (!is_asked && rate_take(&s->conflict_rate, s->now_us))
        neighbour_set_state(s, e, NEIGHBOUR_PROBE);
}
