/* Whole frames into a stack that listens and has an established connection, between time,
 * the user's calls and exhaustion. The input is a list of commands:
 *
 *   0 SIZE16 frame…            as it is
 *   1 SIZE8 l4…  PROTOCOL      behind good Ethernet and IP headers, checksums filled in
 *   2 FLAGS DSEQ16 DACK16 WINDOW16 OPTIONS8 SIZE8 bytes…   a segment of the connection
 *   3 T16                      time passes: T16 * 1 ms
 *   4 SIZE16                   the user sends
 *   5 / 6 / 7 / 8              pause / resume / shutdown / abort
 *   9                          the peer starts anew (another handshake)
 *   10 FAMILY                  the peer speaks IPv4 or IPv6 from now on
 */
#include <stdlib.h>

#include "common/check.h"
#include "common/cursor.h"
#include "tests/sim/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { COMMANDS_MAX = 200, STREAMS_MAX = 4 };

struct fuzz {
    struct world world;
    struct world_host *host;
    struct peer peer;
    struct stream *streams[STREAMS_MAX];
    uint32_t closes;
    uint32_t accepts;
    uint64_t received;
};

static struct fuzz f;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    CHECK(in.size > 0);
    for (size_t i = 0; i < in.size; i++) /* read all: a sanitizer looks on */
        f.received += in.ptr[i];
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)error;
    (void)now_us;
    f.closes++;
    for (int i = 0; i < STREAMS_MAX; i++)
        if (f.streams[i] == s)
            f.streams[i] = NULL;
}

static const struct stream_events events = {.data = on_data, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    f.accepts++;
    for (int i = 0; i < STREAMS_MAX; i++)
        if (f.streams[i] == NULL) {
            f.streams[i] = s;
            return 0;
        }
    CHECK(false);
    return -1;
}

static struct stream *any_stream(void)
{
    for (int i = 0; i < STREAMS_MAX; i++)
        if (f.streams[i] != NULL)
            return f.streams[i];
    return NULL;
}

static void handshake(void)
{
    const struct tcp_options options = {.mss = 1000,
                                        .has_shift = true,
                                        .shift = 2,
                                        .is_sack_permitted = true,
                                        .has_timestamps = true,
                                        .ts_value = 100};
    peer_drop_all(&f.peer);
    (void)peer_handshake(&f.peer, &options);
    peer_drop_all(&f.peer);
}

/* A number near 'base': the input's 16 bits, signed. */
static uint32_t near_to(uint32_t base, struct cursor *c)
{
    int32_t delta = (int16_t)cursor_be16(c);

    return base + (uint32_t)delta;
}

static void segment(struct cursor *c)
{
    struct peer_segment s = {.flags = cursor_u8(c)};

    s.seq = near_to(f.peer.snd_nxt, c);
    s.ack = near_to(f.peer.rcv_nxt, c);
    s.window = cursor_be16(c);
    uint8_t options = cursor_u8(c);
    s.options.is_sack_permitted = (options & 1) != 0;
    s.options.sack_count = (options >> 1) % 4;
    for (unsigned i = 0; i < s.options.sack_count; i++) {
        s.options.sacks[i].start = near_to(f.peer.rcv_nxt, c);
        s.options.sacks[i].end = s.options.sacks[i].start + cursor_be16(c);
    }
    s.payload = cursor_take(c, cursor_u8(c));
    if ((options & 0x80) != 0)
        f.peer.ts_value += 10;
    f.peer.has_timestamps = (options & 0x40) == 0;
    peer_send(&f.peer, &s);
    if ((options & 0x20) != 0)
        f.peer.snd_nxt = s.seq + (uint32_t)s.payload.size + ((s.flags & TCP_FIN) != 0);
    struct peer_segment reply;
    while (peer_next(&f.peer, &reply))
        if (reply.local_port == PEER_HOST_PORT && (options & 0x10) != 0)
            f.peer.rcv_nxt = reply.seq + (uint32_t)reply.payload.size;
}

static void user_send(uint32_t size)
{
    struct stream *s = any_stream();

    if (s == NULL)
        return;
    struct extent e = world_extent(f.host, 0, size, size + 1);
    (void)stream_send(s, &e, 1);
}

static void command(struct cursor *c)
{
    struct stream *s = any_stream();
    struct bytes in;

    unsigned code = cursor_u8(c) % 11u;
    switch (code) {
    case 0:
        in = cursor_take(c, cursor_be16(c) % 1600);
        if (in.size > 0)
            peer_send_frame(&f.peer, in);
        break;
    case 1:
        in = cursor_take(c, cursor_u8(c));
        peer_send_ip(&f.peer, cursor_u8(c), in.ptr, in.size);
        break;
    case 2:
        segment(c);
        break;
    case 3:
        world_run(&f.world, f.world.now_us + cursor_be16(c) * 1000u);
        break;
    case 4:
        user_send(cursor_be16(c));
        break;
    case 5:
    case 6:
        if (s != NULL)
            stream_receive_pause(s, code == 5);
        break;
    case 7:
        if (s != NULL)
            stream_shutdown(s);
        break;
    case 8:
        if (s != NULL)
            stream_abort(s);
        break;
    case 9:
        handshake();
        break;
    default:
        f.peer.family = (cursor_u8(c) & 1) != 0 ? 6 : 4;
        endpoint_parse(f.peer.family == 4 ? "10.0.0.99:5555" : "[2001:db8::99]:5555",
                       &f.peer.address);
        endpoint_parse(f.peer.family == 4 ? "10.0.0.1:80" : "[2001:db8::1]:80", &f.peer.local);
        break;
    }
    world_turn(&f.world);
    peer_drop_all(&f.peer);
}

static void check_baseline(void)
{
    struct net_usage u;
    uint64_t waited_us = f.world.now_us + 3600u * 1000000ull;

    /* Everything ends by itself: keepalives find nobody. */
    f.peer.is_mute = true;
    while (f.world.now_us < waited_us && world_step(&f.world, waited_us))
        peer_drop_all(&f.peer);
    net_usage(f.host->transport, &u);
    CHECK(u.half_open == 0 && u.time_waits == 0 && u.pending_packets == 0);
    CHECK(u.streams == 0 && u.extent_chunks == 0 && u.ranges == 0 && u.reassembly_buffers == 0);
    CHECK(f.closes == f.accepts);
    CHECK(f.host->wheel.armed_count == 0);
    CHECK(f.host->pattern.refs == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    const struct net_config config = {.receive_window_bytes = 8192,
                                      .reassembly_buffers_max = 6,
                                      .extent_chunks_max = 12,
                                      .backlog_max = 2};
    static const struct listen_events listen_events = {.accept = on_accept};
    struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};
    struct cursor c = cursor_of(bytes_of(data, size));

    memset(f.streams, 0, sizeof(f.streams));
    f.closes = 0;
    f.accepts = 0;
    f.received = 0;
    world_init(&f.world, 7);
    f.host = world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", &config, &port, STREAMS_MAX,
                            1 << 17);
    peer_init(&f.peer, &f.world, f.host, 4);
    CHECK(f.host->transport->ops->listen(f.host->transport, &any, &listen_events, NULL) == 0);
    world_turn(&f.world);
    handshake();
    for (int i = 0; i < COMMANDS_MAX && cursor_left(&c) > 0; i++)
        command(&c);
    check_baseline();
    world_fini(&f.world);
    return 0;
}
