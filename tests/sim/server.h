/* server.h - a listening host and a hand-driven peer, for unit tests of TCP: takes what comes and
 * keeps count. One at a time. */
#ifndef TESTS_SIM_SERVER_H
#define TESTS_SIM_SERVER_H

#include "dataplane/net/stack.h"
#include "tests/sim/peer.h"

struct server {
    struct world world;
    struct world_host *host;
    struct peer peer;
    struct net_stack *stack;
    struct stream *stream; /* accepted last; NULL: it was closed */
    int accepts;
    int closes;
    int error; /* of the latest close */
    size_t received_bytes;
};

/* IPv4, listening on PEER_HOST_PORT. */
void server_start(struct server *v, const struct net_config *config, uint32_t streams_max);
/* The same on a port with other offloads. */
void server_start_on(struct server *v, const struct net_config *config,
                     const struct sim_port_config *port, uint32_t streams_max);
/* False: a timer or a blob was left behind. */
bool server_stop(struct server *v);
void server_wait(struct server *v, uint64_t us);
struct tcp_conn *server_conn(const struct server *v);

/* A SYN from a port of the peer. */
void server_syn(struct server *v, uint16_t port, const struct tcp_options *options);
/* The host sends 'size' bytes of its pattern. */
void server_send(struct server *v, uint32_t size);
/* In-order data of 'size' bytes, at most one segment, from the peer. */
void server_receive(struct server *v, uint32_t size);

#endif
