#include "tests/sim/server.h"

#include "common/check.h"

static struct server *current; /* events of streams have no other way to it */

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    current->received_bytes += in.size;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)now_us;
    if (current->stream == s)
        current->stream = NULL;
    current->closes++;
    current->error = error;
}

static const struct stream_events events = {.data = on_data, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    current->stream = s;
    current->accepts++;
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

void server_start_on(struct server *v, const struct net_config *config,
                     const struct sim_port_config *port, uint32_t streams_max)
{
    struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};

    memset(v, 0, sizeof(*v));
    current = v;
    world_init(&v->world, 1);
    v->host =
        world_host_add(&v->world, "10.0.0.1/24,2001:db8::1/64", config, port, streams_max, 1 << 20);
    v->stack = net_stack_of(v->host->transport);
    peer_init(&v->peer, &v->world, v->host, 4);
    CHECK(v->host->transport->ops->listen(v->host->transport, &any, &listen_events, NULL) == 0);
    world_turn(&v->world);
    peer_drop_all(&v->peer);
}

void server_start(struct server *v, const struct net_config *config, uint32_t streams_max)
{
    server_start_on(v, config, &(struct sim_port_config){.offloads = PORT_OFFLOAD_MULTI_SEGMENT},
                    streams_max);
}

bool server_stop(struct server *v)
{
    world_fini(&v->world);
    return v->host->wheel.armed_count == 0 && v->host->pattern.refs == 1;
}

void server_wait(struct server *v, uint64_t us)
{
    world_run(&v->world, v->world.now_us + us);
}

struct tcp_conn *server_conn(const struct server *v)
{
    return CONTAINER_OF(v->stream, struct tcp_conn, stream);
}

void server_syn(struct server *v, uint16_t port, const struct tcp_options *options)
{
    peer_send(&v->peer, &(struct peer_segment){.seq = v->peer.snd_nxt,
                                               .flags = TCP_SYN,
                                               .window = v->peer.window,
                                               .options = *options,
                                               .peer_port = port});
}

void server_send(struct server *v, uint32_t size)
{
    struct extent e = world_extent(v->host, 0, 0, size);

    CHECK(e.size == size && stream_send(v->stream, &e, 1) == 0);
    world_turn(&v->world);
}

void server_receive(struct server *v, uint32_t size)
{
    static const uint8_t block[1460];

    CHECK(size <= sizeof(block));
    peer_send_data(&v->peer, TCP_ACK, bytes_of(block, size));
}
