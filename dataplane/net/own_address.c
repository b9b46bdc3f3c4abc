/* Our own addresses: those of the configuration, the link-local one and those made from router
 * advertisements (RFC 4862), each unique on the link before it is used.
 *
 * Learned ones have the interface identifier of the MAC address, as the kernel's tap interface
 * (exception.c) makes them too: docs/decisions/0012. */
#include "common/check.h"
#include "dataplane/net/icmp.h"

enum {
    DAD_INTERVAL_US = 1000000, /* RFC 4861 §10, RetransTimer */
    PREFIX_BITS = 64,          /* what an identifier of 64 bits leaves (RFC 4862 §5.5.3 d) */
    TWO_HOURS_S = 7200,
    FLAG_ON_LINK = 0x80,
    FLAG_AUTONOMOUS = 0x40
};

static uint64_t until(const struct net_stack *s, uint32_t lifetime_s)
{
    return lifetime_s == UINT32_MAX ? UINT64_MAX : s->now_us + (uint64_t)lifetime_s * 1000000;
}

static void set_state(struct net_stack *s, struct own_address *o, enum own_state state)
{
    static_assert(OWN_STATES == 4, "a gauge for each but the first");
    _Atomic uint64_t *const gauges[OWN_STATES] = {NULL, &s->counters->net_addresses_tentative,
                                                  &s->counters->net_addresses_usable,
                                                  &s->counters->net_addresses_duplicate};

    if (gauges[o->state] != NULL && s->is_leader)
        counter_dec(gauges[o->state]);
    o->state = (uint8_t)state;
    if (gauges[state] != NULL && s->is_leader)
        counter_inc(gauges[state]);
}

static void own_arm(struct net_stack *s)
{
    uint64_t next_us = UINT64_MAX;

    for (uint32_t i = 0; i < s->own_count; i++) {
        const struct own_address *o = &s->own[i];
        if (o->state == OWN_TENTATIVE && o->dad_due_us < next_us)
            next_us = o->dad_due_us;
        if (o->state != OWN_FREE && o->valid_until_us < next_us)
            next_us = o->valid_until_us;
    }
    if (next_us == UINT64_MAX)
        wheel_cancel(s->wheel, &s->own_timer);
    else
        wheel_arm(s->wheel, &s->own_timer, next_us);
}

/* The next solicitation, or the end: nobody else has it. */
static void dad_step(struct net_stack *s, struct own_address *o)
{
    if (o->dad_left == 0) {
        set_state(s, o, OWN_USABLE);
        if (s->is_leader)
            nd_announce(s, o->address.addr);
        return;
    }
    o->dad_left--;
    o->dad_due_us = s->now_us + DAD_INTERVAL_US;
    if (s->is_leader) /* the stacks of the other queues only wait as long */
        nd_solicit_own(s, o->address.addr);
}

static void own_fire(struct timer *t, uint64_t now_us)
{
    struct net_stack *s = CONTAINER_OF(t, struct net_stack, own_timer);

    s->now_us = now_us;
    for (uint32_t i = 0; i < s->own_count; i++) {
        struct own_address *o = &s->own[i];
        if (o->state == OWN_TENTATIVE && o->dad_due_us <= now_us)
            dad_step(s, o);
        if (o->state != OWN_FREE && o->valid_until_us <= now_us) {
            NET_COUNT(s, net_addresses_expired);
            set_state(s, o, OWN_FREE);
        }
    }
    own_arm(s);
}

static void own_set(struct net_stack *s, uint32_t index, const struct net_address *address)
{
    struct own_address *o = &s->own[index];
    bool has_dad = address->family == 6 && s->config.dad_transmits > 0;

    *o = (struct own_address){.address = *address,
                              .is_on_link = true,
                              .dad_left = s->config.dad_transmits,
                              .dad_due_us = s->now_us,
                              .preferred_until_us = UINT64_MAX,
                              .valid_until_us = UINT64_MAX};
    set_state(s, o, has_dad ? OWN_TENTATIVE : OWN_USABLE);
}

void own_init(struct net_stack *s)
{
    struct net_address link_local = {.family = 6, .prefix_bits = PREFIX_BITS};

    s->own_timer.fire = own_fire;
    while (s->own_count < s->config.address_count) {
        own_set(s, s->own_count, &s->config.addresses[s->own_count]);
        s->own_count++;
    }
    memcpy(link_local.addr, s->link_local, 16);
    if (s->has_v6)
        own_set(s, s->own_count++, &link_local);
    s->own_fixed = s->own_count;
}

void own_start(struct net_stack *s)
{
    for (uint32_t i = 0; i < s->own_fixed; i++) {
        struct own_address *o = &s->own[i];
        if (o->state == OWN_TENTATIVE)
            dad_step(s, o);
        else if (!s->is_leader) /* once for all queues */
            continue;
        else if (o->address.family == 4)
            arp_announce(s, o->address.addr);
        else
            nd_announce(s, o->address.addr);
    }
    own_arm(s);
}

bool own_conflict(struct net_stack *s, const uint8_t *addr)
{
    for (uint32_t i = 0; i < s->own_count; i++) {
        struct own_address *o = &s->own[i];
        if (o->state != OWN_TENTATIVE || memcmp(o->address.addr, addr, 16) != 0)
            continue;
        NET_COUNT(s, net_address_conflicts);
        set_state(s, o, OWN_DUPLICATE); /* RFC 4862 §5.4.5: never used */
        own_arm(s);
        return true;
    }
    return false;
}

static struct own_address *own_find_learned(struct net_stack *s, const uint8_t *prefix)
{
    for (uint32_t i = s->own_fixed; i < s->own_count; i++)
        if (s->own[i].state != OWN_FREE && memcmp(s->own[i].address.addr, prefix, 8) == 0)
            return &s->own[i];
    return NULL;
}

/* RFC 4862 §5.5.3 e: nobody may cut a lifetime short of two hours. */
static void own_renew(struct net_stack *s, struct own_address *o, const struct nd_prefix *p)
{
    uint64_t two_hours_us = s->now_us + TWO_HOURS_S * 1000000ULL;
    uint64_t valid_us = until(s, p->valid_s);

    o->preferred_until_us = until(s, p->preferred_s);
    if (valid_us > two_hours_us || valid_us > o->valid_until_us)
        o->valid_until_us = valid_us;
    else if (o->valid_until_us > two_hours_us)
        o->valid_until_us = two_hours_us;
}

/* A slot for a learned address; NULL: as many as there may be. */
static struct own_address *own_slot(struct net_stack *s)
{
    for (uint32_t i = s->own_fixed; i < s->own_count; i++)
        if (s->own[i].state == OWN_FREE)
            return &s->own[i];
    if (s->own_count == s->own_fixed + OWN_LEARNED_MAX)
        return NULL;
    return &s->own[s->own_count++];
}

void own_prefix(struct net_stack *s, const struct nd_prefix *p)
{
    struct net_address address = {.family = 6, .prefix_bits = PREFIX_BITS};

    if ((p->flags & FLAG_AUTONOMOUS) == 0 || !s->config.use_slaac)
        return;
    if (p->preferred_s > p->valid_s || p->bits != PREFIX_BITS || p->addr[0] == 0xff ||
        address_is_link_local(p->addr) || address_is_zero(6, p->addr)) {
        NET_COUNT(s, net_prefixes_bad);
        return;
    }
    struct own_address *o = own_find_learned(s, p->addr);
    if (o != NULL) {
        own_renew(s, o, p);
        own_arm(s);
        return;
    }
    memcpy(address.addr, p->addr, 8);
    memcpy(address.addr + 8, s->link_local + 8, 8);
    if (p->valid_s == 0 || address_is_configured(s, 6, address.addr))
        return;
    o = own_slot(s);
    if (o == NULL) {
        NET_COUNT(s, net_prefixes_refused);
        return;
    }
    NET_COUNT(s, net_addresses_learned);
    own_set(s, (uint32_t)(o - s->own), &address);
    o->is_on_link = (p->flags & FLAG_ON_LINK) != 0;
    o->preferred_until_us = until(s, p->preferred_s);
    o->valid_until_us = until(s, p->valid_s);
    mld_join(s);
    own_arm(s);
}
