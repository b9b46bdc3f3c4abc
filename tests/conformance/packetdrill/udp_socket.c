/* UDP sockets over the stack's datagrams. */
#include <errno.h>
#include <stdlib.h>

#include "dataplane/net/icmp.h"
#include "tests/conformance/packetdrill/shim.h"

enum { UDP_EPHEMERAL_FIRST = 33000, UDP_PORTS_TRIED = 64 };

static bool peer_is_ok(const struct sock *s, const struct endpoint *peer)
{
    return s->peer.family == 0 || endpoint_is_equal(&s->peer, peer);
}

static void on_datagram(void *user, const struct endpoint *local, const struct endpoint *peer,
                        struct bytes in, uint64_t now_us)
{
    struct sock *s = user;

    (void)local;
    (void)now_us;
    if (!peer_is_ok(s, peer))
        return;
    struct datagram *d = malloc(sizeof(*d) + in.size);
    if (d == NULL)
        return;
    d->link = (struct list){0};
    d->peer = *peer;
    d->size = in.size;
    if (in.size > 0)
        memcpy(d->data, in.ptr, in.size);
    list_push_back(&s->datagrams, &d->link);
    sock_wake(s, EPOLLIN | EPOLLRDNORM);
}

static const struct datagram_events datagram_events = {.datagram = on_datagram};

int udp_sock_bind(struct sock *s)
{
    struct shim *sh = s->shim;
    bool is_chosen = s->local.port == 0;

    if (s->is_udp_bound)
        return 0;
    int error = shim_start(sh, s->is_bound ? &s->local : NULL);
    if (error < 0)
        return error;
    if (!s->is_bound)
        s->local = (struct endpoint){.family = s->domain == AF_INET ? 4 : 6};
    for (uint16_t i = 0; i < UDP_PORTS_TRIED; i++) {
        if (is_chosen)
            s->local.port = (uint16_t)(UDP_EPHEMERAL_FIRST + i);
        error = sh->transport->ops->bind(sh->transport, &s->local, &datagram_events, s);
        if (error != -EADDRINUSE || !is_chosen)
            break;
    }
    if (error < 0)
        return error;
    s->udp_bind = shim_stack(sh)->bind_count - 1;
    s->is_udp_bound = true;
    s->is_bound = true;
    return 0;
}

ssize_t udp_sock_receive(struct sock *s, void *buf, size_t size, int flags,
                         struct endpoint *ret_peer)
{
    if (s->error != 0) {
        int error = -s->error;
        s->error = 0;
        return error;
    }
    if (list_is_empty(&s->datagrams))
        return -EAGAIN;
    struct datagram *d = CONTAINER_OF(s->datagrams.next, struct datagram, link);
    size_t got = d->size < size ? d->size : size;
    size_t result = (flags & MSG_TRUNC) != 0 ? d->size : got;
    if (got > 0)
        memcpy(buf, d->data, got);
    *ret_peer = d->peer;
    if ((flags & MSG_PEEK) == 0) {
        list_remove(&d->link);
        free(d);
    }
    return (ssize_t)result;
}

/* A datagram may wait for the neighbour's address, so it owns its bytes. */
struct datagram_block {
    struct blob blob;
    uint8_t data[];
};

static void datagram_release(struct blob *b)
{
    free(CONTAINER_OF(b, struct datagram_block, blob));
}

ssize_t udp_sock_send(struct sock *s, const void *buf, size_t size, const struct endpoint *peer)
{
    struct shim *sh = s->shim;

    if (s->error != 0) {
        int error = -s->error;
        s->error = 0;
        return error;
    }
    if (peer == NULL)
        peer = &s->peer;
    if (peer->family == 0)
        return -EDESTADDRREQ;
    int error = udp_sock_bind(s);
    if (error < 0)
        return error;
    struct datagram_block *block = malloc(sizeof(*block) + size);
    if (block == NULL)
        return -ENOMEM;
    if (size > 0)
        memcpy(block->data, buf, size);
    blob_init(&block->blob, &sh->blob_home, bytes_of(block->data, size), datagram_release, NULL);
    struct extent e = extent_of(&block->blob);
    struct blob *b = &block->blob;
    error = sh->transport->ops->send_datagram(sh->transport, &s->local, peer, &e, size > 0);
    blob_unref(&b);
    return error < 0 ? error : (ssize_t)size;
}

void udp_sock_close(struct sock *s)
{
    if (s->is_udp_bound) /* the place stays taken; nothing matches it */
        shim_stack(s->shim)->binds[s->udp_bind] = (struct udp_bind){0};
    sock_free(s);
}

void udp_sock_icmp(struct shim *sh, struct bytes packet)
{
    bool is_v4 = packet.size > 0 && packet.ptr[0] >> 4 == 4;
    size_t ip_size = is_v4 ? IPV4_SIZE : IPV6_SIZE;
    size_t quoted_at = ip_size + ICMP_SIZE;
    const uint8_t *p = packet.ptr;

    if (packet.size < quoted_at + ip_size + 4)
        return;
    const uint8_t *quoted = p + quoted_at;
    bool is_port = is_v4 ? p[9] == PROTOCOL_ICMP && p[ip_size] == ICMP_UNREACHABLE &&
                               p[ip_size + 1] == ICMP_CODE_PORT && quoted[9] == PROTOCOL_UDP
                         : p[6] == PROTOCOL_ICMPV6 && p[ip_size] == ICMP6_UNREACHABLE &&
                               p[ip_size + 1] == ICMP6_CODE_PORT && quoted[6] == PROTOCOL_UDP;
    if (!is_port)
        return;
    uint16_t local_port = load_be16(quoted + ip_size);
    uint16_t peer_port = load_be16(quoted + ip_size + 2);
    for (struct list *n = sh->socks.next; n != &sh->socks; n = n->next) {
        struct sock *s = CONTAINER_OF(n, struct sock, link);
        if (s->kind == SOCK_UDP && s->local.port == local_port && s->peer.port == peer_port) {
            s->error = ECONNREFUSED;
            sock_wake(s, EPOLLERR);
        }
    }
}
