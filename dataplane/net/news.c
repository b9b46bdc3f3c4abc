#include "dataplane/net/stack.h"

enum news_kind { NEWS_NEIGHBOUR = 1, NEWS_ROUTER, NEWS_TOO_BIG, NEWS_UNREACHABLE };

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

void news_router(struct net_stack *s, const uint8_t *addr, uint16_t lifetime_s)
{
    struct net_news news = {.kind = NEWS_ROUTER, .family = 6, .number = lifetime_s};

    nd_router(s, addr, lifetime_s);
    memcpy(news.address[0], addr, 16);
    share(s, &news);
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

    if (now_us > s->now_us)
        s->now_us = now_us;
    switch (news->kind) {
    case NEWS_NEIGHBOUR:
        neighbour_learn(s, news->family, news->address[0], news->mac, NEIGHBOUR_ANSWERED);
        break;
    case NEWS_ROUTER:
        if (s->has_v6)
            nd_router(s, news->address[0], news->number);
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
