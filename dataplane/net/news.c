#include "dataplane/net/stack.h"

enum news_kind {
    NEWS_NEIGHBOUR = 1,
    NEWS_ROUTER,
    NEWS_TOO_BIG,
    NEWS_UNREACHABLE,
    NEWS_PREFIX,
    NEWS_CONFLICT
};

static void share(struct net_stack *s, const struct net_news *news)
{
    if (s->config.share == NULL)
        return;
    if (!rate_take(&s->share_rate, s->now_us)) {
        NET_COUNT(s, net_news_limited);
        return;
    }
    NET_COUNT(s, net_news_shared);
    s->config.share(s->config.share_user, news);
}

void news_neighbour(struct net_stack *s, uint8_t family, const uint8_t *addr,
                    const uint8_t mac[static 6])
{
    struct net_news news = {.kind = NEWS_NEIGHBOUR, .family = family};

    neighbour_learn(s, family, addr, mac, NEIGHBOUR_ANSWERED);
    memcpy(news.mac, mac, sizeof(news.mac));
    memcpy(news.address[0], addr, address_size(family));
    share(s, &news);
}

void news_router(struct net_stack *s, const uint8_t *addr, uint8_t flags, uint16_t lifetime_s)
{
    struct net_news news = {
        .kind = NEWS_ROUTER, .family = 6, .number = lifetime_s, .ports = {flags}};

    router_heard(s, addr, flags, lifetime_s);
    memcpy(news.address[0], addr, 16);
    share(s, &news);
}

void news_prefix(struct net_stack *s, const struct nd_prefix *prefix)
{
    struct net_news news = {.kind = NEWS_PREFIX,
                            .family = 6,
                            .number = prefix->bits,
                            .seq = prefix->valid_s,
                            .ports = {prefix->flags}};

    own_prefix(s, prefix);
    memcpy(news.address[0], prefix->addr, 16);
    store_be32(news.address[1], prefix->preferred_s);
    share(s, &news);
}

bool news_conflict(struct net_stack *s, const uint8_t *addr)
{
    struct net_news news = {.kind = NEWS_CONFLICT, .family = 6};

    if (!own_conflict(s, addr))
        return false;
    memcpy(news.address[0], addr, 16);
    share(s, &news);
    return true;
}

bool news_icmp_error(struct net_stack *s, const struct endpoint *local, const struct endpoint *peer,
                     uint32_t seq, enum net_error_kind kind, uint16_t mtu)
{
    struct net_news news = {
        .kind = kind == NET_ERROR_TOO_BIG ? NEWS_TOO_BIG : NEWS_UNREACHABLE,
        .family = local->family,
        .number = mtu,
        .seq = seq,
        .ports = {local->port, peer->port},
    };

    if (tcp_icmp_error(s, local, peer, seq, kind, mtu))
        return true;
    memcpy(news.address[0], local->addr, 16);
    memcpy(news.address[1], peer->addr, 16);
    share(s, &news);
    return false;
}

void net_hear(struct transport *t, const struct net_news *news, uint64_t now_us)
{
    struct net_stack *s = net_stack_of(t);
    struct endpoint local = endpoint_of(news->family, news->address[0], news->ports[0]);
    struct endpoint peer = endpoint_of(news->family, news->address[1], news->ports[1]);

    struct nd_prefix prefix = {.bits = (uint8_t)news->number,
                               .flags = (uint8_t)news->ports[0],
                               .valid_s = news->seq,
                               .preferred_s = load_be32(news->address[1])};
    memcpy(prefix.addr, news->address[0], 16);
    if (now_us > s->now_us)
        s->now_us = now_us;
    switch (news->kind) {
    case NEWS_NEIGHBOUR:
        neighbour_learn(s, news->family, news->address[0], news->mac, NEIGHBOUR_ANSWERED);
        break;
    case NEWS_ROUTER:
        if (s->has_v6)
            router_heard(s, news->address[0], (uint8_t)news->ports[0], news->number);
        break;
    case NEWS_PREFIX:
        own_prefix(s, &prefix);
        break;
    case NEWS_CONFLICT:
        (void)own_conflict(s, news->address[0]);
        break;
    case NEWS_TOO_BIG:
        (void)tcp_icmp_error(s, &local, &peer, news->seq, NET_ERROR_TOO_BIG, news->number);
        break;
    case NEWS_UNREACHABLE:
        (void)tcp_icmp_error(s, &local, &peer, news->seq, NET_ERROR_UNREACHABLE, 0);
        break;
    default:
        break;
    }
}
