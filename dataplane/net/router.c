/* Default routers: the configured ones, else those that advertise themselves (RFC 4861 §6.3),
 * the most preferred (RFC 4191 §3.2) that answers. */
#include "dataplane/net/stack.h"

/* RFC 4191 §2.1: 01 is high, 11 low, 00 medium, as is the reserved 10. */
static int preference_of(uint8_t flags)
{
    unsigned bits = flags >> 3 & 3;

    return bits == 1 ? 1 : bits == 3 ? -1 : 0;
}

static bool is_live(const struct net_stack *s, const struct router *r)
{
    return s->now_us < r->until_us;
}

void router_heard(struct net_stack *s, const uint8_t *addr, uint8_t flags, uint16_t lifetime_s)
{
    struct router *to = NULL;

    for (unsigned i = 0; i < ROUTERS_MAX; i++) {
        struct router *r = &s->routers[i];
        if (is_live(s, r) && memcmp(r->addr, addr, 16) == 0) {
            to = r;
            break;
        }
        if (to == NULL && !is_live(s, r))
            to = r;
    }
    if (to == NULL) {
        if (lifetime_s > 0)
            NET_COUNT(s, net_routers_refused);
        return;
    }
    memcpy(to->addr, addr, 16);
    to->until_us = lifetime_s == 0 ? 0 : s->now_us + (uint64_t)lifetime_s * 1000000;
    to->preference = (int8_t)preference_of(flags);
    to->is_silent = false;
    if (lifetime_s > 0)
        wheel_cancel(s->wheel, &s->solicit);
}

void router_silent(struct net_stack *s, const uint8_t *addr)
{
    for (unsigned i = 0; i < ROUTERS_MAX; i++)
        if (memcmp(s->routers[i].addr, addr, 16) == 0)
            s->routers[i].is_silent = true;
}

const uint8_t *router_for(const struct net_stack *s, uint8_t family)
{
    const struct router *best = NULL;

    if (family == 4)
        return s->config.gateway_v4.family != 0 ? s->config.gateway_v4.addr : NULL;
    if (s->config.gateway_v6.family != 0)
        return s->config.gateway_v6.addr;
    for (unsigned i = 0; i < ROUTERS_MAX; i++) {
        const struct router *r = &s->routers[i];
        if (!is_live(s, r))
            continue;
        bool is_better = best == NULL || (best->is_silent && !r->is_silent) ||
                         (best->is_silent == r->is_silent && r->preference > best->preference);
        if (is_better)
            best = r;
    }
    return best != NULL ? best->addr : NULL;
}
