/* Sequences of segments, time and user calls against live connections. The input is a list of
 * operations on one of LINKS connections, in numbers relative to its state:
 *
 *   0 FLAGS DSEQ16 DACK16 WINDOW16 SIZE16 SACKS…   a segment, its payload by its number
 *   1 SIZE16      data in order          2 T16         time passes: T16 ms
 *   3 SIZE16      the user sends         4             all that came is acknowledged
 *   5 / 6 / 7 / 8 pause / resume / shutdown / abort
 *   9 DSEQ16 MTU16  ICMP: packet too big, or unreachable when MTU16 is 0
 *   10 N          operations go to connection N; opens it when it is not open
 *   11            the last segment again
 *   12 DTS16      the timestamps of the peer jump
 *
 * A byte's value follows from its place in the stream, both ways. So whatever is said to the stack,
 * it must deliver, and send, the right byte at each place, each once; and all must be over at the
 * end. */
#include <stdlib.h>

#include "common/check.h"
#include "common/cursor.h"
#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { OPERATIONS_MAX = 300, LINKS = 4, PAYLOAD_MAX = 1400, RUN_MS_MAX = 200000 };

struct link {
    struct stream *stream; /* NULL: the user has none */
    bool is_open;          /* the handshake was answered */
    bool is_accepted;      /* the user was given a stream, once */
    uint16_t port;         /* the peer's */
    uint32_t irs;          /* first numbers of data */
    uint32_t iss;
    uint32_t snd_nxt; /* the peer's */
    uint32_t rcv_nxt; /* behind the highest that the host has sent */
    uint64_t received;
    uint64_t sent;
};

struct fuzz {
    struct world world;
    struct world_host *host;
    struct peer peer;
    struct link links[LINKS];
    struct link *link; /* that operations are for */
    uint16_t next_port;
    uint32_t accepts;
    uint32_t closes;
    struct peer_segment last;
    uint64_t run_ms;
};

static struct fuzz f;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    struct link *l = s->user;

    (void)now_us;
    CHECK(in.size > 0 && l->stream == s);
    CHECK(world_matches(&f.world, 0, l->received, in));
    l->received += in.size;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    struct link *l = s->user;

    (void)error;
    (void)now_us;
    f.closes++;
    if (l->stream == s)
        l->stream = NULL;
}

static const struct stream_events events = {.data = on_data, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &events;
    for (int i = 0; i < LINKS; i++)
        if (f.links[i].port == s->peer.port && f.links[i].is_open && !f.links[i].is_accepted) {
            s->user = &f.links[i];
            f.links[i].is_accepted = true;
            f.links[i].stream = s;
            f.accepts++;
            return 0;
        }
    return -1; /* of a link that has moved on, or that a stray SYN opened: its bytes are unknown */
}

/* What the host has sent: its bytes are checked, and the links know how far it is. */
static void take_frames(void)
{
    struct peer_segment s;

    while (peer_next(&f.peer, &s))
        for (int i = 0; i < LINKS; i++) {
            struct link *l = &f.links[i];
            if (!l->is_open || l->port != s.peer_port || (s.flags & (TCP_SYN | TCP_RST)) != 0)
                continue;
            uint32_t offset = s.seq - l->iss;
            if (s.payload.size > 0) {
                CHECK(offset + s.payload.size <= l->sent);
                CHECK(world_matches(&f.world, 0, offset, s.payload));
            }
            uint32_t end = s.seq + (uint32_t)s.payload.size + ((s.flags & TCP_FIN) != 0);
            if (seq_is_after(end, l->rcv_nxt))
                l->rcv_nxt = end;
        }
}

static void segment_send(struct peer_segment *s)
{
    s->peer_port = f.link->port;
    peer_send(&f.peer, s);
    take_frames();
}

/* A segment's payload: what the peer's stream has at 'seq'. */
static struct bytes payload_at(uint32_t seq, size_t size)
{
    uint32_t at = (seq - f.link->irs) % WORLD_PATTERN_BYTES;

    if (size > PAYLOAD_MAX)
        size = PAYLOAD_MAX;
    if (size > WORLD_PATTERN_BYTES - at)
        size = WORLD_PATTERN_BYTES - at;
    return bytes_of(f.world.pattern + at, size);
}

static void link_open(struct link *l, uint8_t choice)
{
    const struct tcp_options options = {.mss = (choice & 1) != 0 ? 1000 : 88,
                                        .has_shift = (choice & 2) != 0,
                                        .shift = 3,
                                        .is_sack_permitted = (choice & 4) != 0,
                                        .has_timestamps = (choice & 8) != 0,
                                        .ts_value = f.peer.ts_value};
    const uint8_t asking = (choice & 16) != 0 ? TCP_ECE | TCP_CWR : 0;
    struct peer_segment reply;

    peer_drop_all(&f.peer);
    *l = (struct link){.port = f.next_port++, .irs = (uint32_t)choice << 24 | 0xfff000};
    l->snd_nxt = l->irs;
    peer_send(&f.peer, &(struct peer_segment){.seq = l->irs - 1,
                                              .flags = TCP_SYN | asking,
                                              .window = UINT16_MAX,
                                              .options = options,
                                              .peer_port = l->port});
    f.peer.has_timestamps = false;
    while (!l->is_open && peer_next(&f.peer, &reply)) {
        if (reply.peer_port != l->port || (reply.flags & ~TCP_ECE) != (TCP_SYN | TCP_ACK))
            continue;
        l->is_open = true;
        l->iss = reply.seq + 1;
        l->rcv_nxt = l->iss;
        f.peer.has_timestamps = reply.options.has_timestamps;
    }
    if (l->is_open)
        segment_send(&(struct peer_segment){
            .seq = l->snd_nxt, .ack = l->rcv_nxt, .flags = TCP_ACK, .window = UINT16_MAX});
}

static uint32_t near_to(uint32_t base, struct cursor *c)
{
    int32_t delta = (int16_t)cursor_be16(c);

    return base + (uint32_t)delta;
}

static void segment(struct cursor *c)
{
    struct peer_segment s = {.flags = cursor_u8(c)};

    s.seq = near_to(f.link->snd_nxt, c);
    s.ack = near_to(f.link->rcv_nxt, c);
    s.window = cursor_be16(c);
    uint16_t size = cursor_be16(c);
    /* Before its first byte the peer has nothing to say. */
    if (seq_is_before(s.seq, f.link->irs))
        size = 0;
    s.payload = payload_at(s.seq, size % (PAYLOAD_MAX + 1));
    s.options.sack_count = (uint8_t)(size >> 14);
    s.ecn = size >> 12 & IP_ECN_MASK;
    for (unsigned i = 0; i < s.options.sack_count; i++) {
        s.options.sacks[i].start = near_to(f.link->rcv_nxt, c);
        s.options.sacks[i].end = s.options.sacks[i].start + cursor_be16(c) % 4096;
    }
    f.last = s;
    segment_send(&s);
}

static void data_in_order(uint16_t size)
{
    struct peer_segment s = {.seq = f.link->snd_nxt,
                             .ack = f.link->rcv_nxt,
                             .flags = TCP_ACK | TCP_PSH,
                             .window = UINT16_MAX};

    s.payload = payload_at(s.seq, size);
    f.link->snd_nxt += (uint32_t)s.payload.size;
    f.last = s;
    segment_send(&s);
}

static void icmp(struct cursor *c)
{
    uint8_t m[ICMP_SIZE + IPV4_SIZE + 8] = {ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED};
    uint8_t *ip = m + ICMP_SIZE;

    ip[0] = 0x45;
    store_be16(ip + 2, 1500);
    ip[9] = PROTOCOL_TCP;
    memcpy(ip + 12, f.peer.local.addr, 4);
    memcpy(ip + 16, f.peer.address.addr, 4);
    store_be16(ip + IPV4_SIZE, PEER_HOST_PORT);
    store_be16(ip + IPV4_SIZE + 2, f.link->port);
    store_be32(ip + IPV4_SIZE + 4, near_to(f.link->rcv_nxt, c));
    store_be16(m + 6, cursor_be16(c));
    if (m[6] == 0 && m[7] == 0)
        m[1] = 1; /* host unreachable */
    peer_send_ip(&f.peer, PROTOCOL_ICMP, m, sizeof(m));
}

static void user_send(uint32_t size)
{
    struct extent e = world_extent(f.host, 0, f.link->sent, size + 1);

    if (stream_send(f.link->stream, &e, 1) == 0)
        f.link->sent += e.size;
}

static void time_pass(uint16_t ms)
{
    uint64_t end_us = f.world.now_us + ms * 1000u;

    f.run_ms += ms;
    if (f.run_ms > RUN_MS_MAX)
        return;
    while (world_step(&f.world, end_us))
        take_frames();
}

/* What a user may do who has a stream. */
static void user_call(unsigned code, uint16_t size)
{
    if (f.link->stream == NULL)
        return;
    if (code == 3)
        user_send(size);
    else if (code == 5 || code == 6)
        stream_receive_pause(f.link->stream, code == 5);
    else if (code == 7)
        stream_shutdown(f.link->stream);
    else if (code == 8)
        stream_abort(f.link->stream);
}

static void operation(struct cursor *c)
{
    unsigned code = cursor_u8(c) % 13u;

    switch (code) {
    case 0:
        segment(c);
        break;
    case 1:
        data_in_order(cursor_be16(c));
        break;
    case 2:
        time_pass(cursor_be16(c));
        break;
    case 4:
        segment_send(&(struct peer_segment){.seq = f.link->snd_nxt,
                                            .ack = f.link->rcv_nxt,
                                            .flags = TCP_ACK,
                                            .window = UINT16_MAX});
        break;
    case 9:
        icmp(c);
        break;
    case 10: {
        uint8_t choice = cursor_u8(c);
        f.link = &f.links[choice % LINKS];
        if (f.link->stream == NULL)
            link_open(f.link, choice >> 2);
        break;
    }
    case 11:
        segment_send(&f.last);
        break;
    case 12:
        f.peer.ts_value = near_to(f.peer.ts_value, c);
        break;
    default:
        user_call(code, code == 3 ? cursor_be16(c) : 0);
    }
    world_turn(&f.world);
    take_frames();
}

/* Everything ends by itself: keepalives find nobody. But the users must take what is left: a stream
 * that is closed on both sides waits with its data for one who paused. */
static void check_baseline(void)
{
    uint64_t end_us = f.world.now_us + 2 * 3600u * 1000000ull;
    struct net_usage u;

    for (int i = 0; i < LINKS; i++)
        if (f.links[i].stream != NULL)
            stream_receive_pause(f.links[i].stream, false);
    f.peer.is_mute = true;
    while (f.world.now_us < end_us && world_step(&f.world, end_us))
        peer_drop_all(&f.peer);
    net_usage(f.host->transport, &u);
    CHECK(u.streams == 0 && u.half_open == 0 && u.time_waits == 0 && u.pending_packets == 0);
    CHECK(u.extent_chunks == 0 && u.ranges == 0 && u.reassembly_buffers == 0 && u.bbrs == 0);
    CHECK(f.closes == f.accepts);
    CHECK(f.host->wheel.armed_count == 0);
    CHECK(f.host->pattern.refs == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct listen_events listen_events = {.accept = on_accept};
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    const struct net_config config = {.congestion = size % 2 == 0 ? "cubic" : "bbr",
                                      .bbr_max = 2,
                                      .receive_window_bytes = 8192,
                                      .reassembly_buffers_max = 8,
                                      .extent_chunks_max = 16};
    struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};
    struct cursor c = cursor_of(bytes_of(data, size));

    memset(&f, 0, offsetof(struct fuzz, peer));
    memset(f.links, 0, sizeof(f.links));
    f.next_port = PEER_PORT;
    f.accepts = 0;
    f.closes = 0;
    f.run_ms = 0;
    f.last = (struct peer_segment){.flags = TCP_ACK};
    world_init(&f.world, 9);
    f.host = world_host_add(&f.world, "10.0.0.1/24", &config, &port, 8, 1 << 17);
    peer_init(&f.peer, &f.world, f.host, 4);
    f.peer.ts_value = 1000;
    CHECK(f.host->transport->ops->listen(f.host->transport, &any, &listen_events, NULL) == 0);
    world_turn(&f.world);
    f.link = &f.links[0];
    link_open(f.link, 31);
    for (int i = 0; i < OPERATIONS_MAX && cursor_left(&c) > 0; i++)
        operation(&c);
    check_baseline();
    world_fini(&f.world);
    return 0;
}
