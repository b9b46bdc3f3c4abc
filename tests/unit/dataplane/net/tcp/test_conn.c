/* The state machine against hand-made segments, in virtual time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "dataplane/net/icmp.h"
#include "tests/sim/peer.h"

enum { STREAMS_MAX = 4, RECEIVED_MAX = 1 << 18 };

struct fixture {
    struct world world;
    struct world_host *host;
    struct peer peer;
    struct stream *stream;
    int accepts;
    int accept_result;
    int eofs;
    int sendables;
    int closes;
    int error;
    size_t received_size;
    uint8_t received[RECEIVED_MAX];
};

static struct fixture f; /* one at a time: cmocka runs tests in turn */

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    assert_true(in.size > 0 && f.received_size + in.size <= RECEIVED_MAX);
    memcpy(f.received + f.received_size, in.ptr, in.size);
    f.received_size += in.size;
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    f.sendables++;
}

static void on_eof(struct stream *s, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    f.eofs++;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    assert_ptr_equal(s, f.stream);
    (void)now_us;
    f.stream = NULL;
    f.closes++;
    f.error = error;
}

static const struct stream_events events = {
    .data = on_data, .sendable = on_sendable, .eof = on_eof, .closed = on_closed};

static int on_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    f.accepts++;
    if (f.accept_result != 0)
        return f.accept_result;
    s->events = &events;
    f.stream = s;
    return 0;
}

static const struct listen_events listen_events = {.accept = on_accept};

static void start_with(uint8_t family, const struct net_config *config)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};

    memset(&f, 0, sizeof(f));
    world_init(&f.world, 1);
    f.host =
        world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", config, &port, STREAMS_MAX, 1 << 20);
    peer_init(&f.peer, &f.world, f.host, family);
    assert_int_equal(f.host->transport->ops->listen(f.host->transport, &any, &listen_events, NULL),
                     0);
    world_turn(&f.world);
    peer_drop_all(&f.peer);
}

static void start(uint8_t family)
{
    const struct net_config config = {0};

    start_with(family, &config);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
    assert_int_equal(f.host->pattern.refs, 1);
}

static void wait_us(uint64_t us)
{
    world_run(&f.world, f.world.now_us + us);
}

static const struct tcp_options plain = {.mss = 1460};
static const struct tcp_options full = {.mss = 1460,
                                        .has_shift = true,
                                        .shift = 7,
                                        .is_sack_permitted = true,
                                        .has_timestamps = true,
                                        .ts_value = 5000};

static void establish(const struct tcp_options *options)
{
    assert_true(peer_handshake(&f.peer, options));
    assert_int_equal(f.accepts, 1);
    assert_non_null(f.stream);
    peer_drop_all(&f.peer);
}

static void host_send(uint64_t offset, uint32_t size)
{
    struct extent e = world_extent(f.host, 0, offset, size);

    assert_int_equal(e.size, size);
    assert_int_equal(stream_send(f.stream, &e, 1), 0);
    world_turn(&f.world);
}

/* The next segment from the host must be there. */
static struct peer_segment expect(void)
{
    struct peer_segment s;

    assert_true(peer_next(&f.peer, &s));
    return s;
}

static void expect_nothing(void)
{
    struct peer_segment s;

    assert_false(peer_next(&f.peer, &s));
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

static void test_conn_negotiates_options(void **state)
{
    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct peer_segment reply;
        start(family);
        peer_send(&f.peer, &(struct peer_segment){
                               .seq = 1000, .flags = TCP_SYN, .window = 1000, .options = full});
        reply = expect();
        assert_int_equal(reply.flags, TCP_SYN | TCP_ACK);
        assert_int_equal(reply.ack, 1001);
        assert_int_equal(reply.options.mss, family == 4 ? 1460 : 1440);
        assert_true(reply.options.has_shift && reply.options.is_sack_permitted);
        assert_int_equal(reply.options.ts_echo, 5000);
        stop();

        start(family);
        peer_send(&f.peer, &(struct peer_segment){
                               .seq = 1000, .flags = TCP_SYN, .window = 1000, .options = plain});
        reply = expect();
        assert_false(reply.options.has_shift || reply.options.is_sack_permitted ||
                     reply.options.has_timestamps);
        stop();
    }
}

static void test_conn_delivers_and_acknowledges(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    peer_send_data(&f.peer, TCP_ACK | TCP_PSH, bytes_of_str("hello"));
    assert_int_equal(f.received_size, 5);
    assert_memory_equal(f.received, "hello", 5);
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    stop();
}

static void test_conn_delays_acknowledgements_later(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    for (int i = 0; i < 16; i++)
        peer_send_data(&f.peer, TCP_ACK, bytes_of_str("x"));
    peer_drop_all(&f.peer);
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("y"));
    expect_nothing();
    wait_us(50000);
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    stop();
}

static void test_conn_resets_what_nobody_wants(void **state)
{
    (void)state;
    start(4);
    peer_send(&f.peer,
              &(struct peer_segment){.seq = 7, .flags = TCP_SYN, .local_port = 81, .window = 9});
    struct peer_segment s = expect();
    assert_int_equal(s.flags, TCP_RST | TCP_ACK);
    assert_int_equal(s.ack, 8);
    assert_int_equal(s.seq, 0);
    peer_send(&f.peer, &(struct peer_segment){.seq = 7, .ack = 1234, .flags = TCP_ACK});
    s = expect();
    assert_int_equal(s.flags, TCP_RST);
    assert_int_equal(s.seq, 1234);
    peer_send(&f.peer, &(struct peer_segment){.seq = 7, .flags = TCP_RST});
    expect_nothing();
    stop();
}

static void test_conn_obeys_only_an_exact_reset(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    struct peer_segment rst = {.seq = f.peer.snd_nxt + 100, .flags = TCP_RST};
    peer_send(&f.peer, &rst);
    struct peer_segment s = expect();
    assert_int_equal(s.flags, TCP_ACK);
    assert_int_equal(s.ack, f.peer.snd_nxt);
    rst.seq = f.peer.snd_nxt - 100;
    peer_send(&f.peer, &rst);
    expect_nothing();
    assert_int_equal(f.closes, 0);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_bad_reset), 1);
    rst.seq = f.peer.snd_nxt;
    peer_send(&f.peer, &rst);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -ECONNRESET);
    stop();
}

static void test_conn_challenges_a_syn(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt + 5, .flags = TCP_SYN});
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    assert_int_equal(f.closes, 0);
    assert_int_equal(count_of(&f.host->counters.tcp_challenges), 1);
    stop();
}

static void test_conn_ignores_impossible_acks(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    struct peer_segment s = {.seq = f.peer.snd_nxt,
                             .ack = f.peer.rcv_nxt + 1,
                             .flags = TCP_ACK,
                             .window = 1000,
                             .payload = bytes_of_str("evil")};
    peer_send(&f.peer, &s);
    assert_int_equal(f.received_size, 0);
    assert_int_equal(expect().flags, TCP_ACK);
    s.ack = f.peer.rcv_nxt - 70000; /* older than any window it offered */
    peer_send(&f.peer, &s);
    assert_int_equal(f.received_size, 0);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_bad_ack), 2);
    stop();
}

static void test_conn_reorders_with_sack(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    uint32_t base = f.peer.snd_nxt;
    struct peer_segment s = {.seq = base + 3,
                             .ack = f.peer.rcv_nxt,
                             .flags = TCP_ACK,
                             .window = 1000,
                             .payload = bytes_of_str("def")};
    peer_send(&f.peer, &s);
    struct peer_segment reply = expect();
    assert_int_equal(reply.ack, base);
    assert_int_equal(reply.options.sack_count, 1);
    assert_int_equal(reply.options.sacks[0].start, base + 3);
    assert_int_equal(reply.options.sacks[0].end, base + 6);
    s.seq = base + 9;
    s.payload = bytes_of_str("jkl");
    peer_send(&f.peer, &s);
    reply = expect();
    assert_int_equal(reply.options.sack_count, 2);
    assert_int_equal(reply.options.sacks[0].start, base + 9); /* the latest first */
    assert_int_equal(f.received_size, 0);
    s.seq = base;
    s.payload = bytes_of_str("abcdefghi");
    peer_send(&f.peer, &s);
    assert_int_equal(expect().ack, base + 12);
    assert_int_equal(f.received_size, 12);
    assert_memory_equal(f.received, "abcdefghijkl", 12);
    stop();
}

static void test_conn_reports_duplicates(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    uint32_t base = f.peer.snd_nxt;
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("abc"));
    peer_drop_all(&f.peer);
    peer_send(&f.peer, &(struct peer_segment){.seq = base,
                                              .ack = f.peer.rcv_nxt,
                                              .flags = TCP_ACK,
                                              .window = 1000,
                                              .payload = bytes_of_str("abc")});
    struct peer_segment reply = expect();
    assert_int_equal(reply.options.sack_count, 1);
    assert_int_equal(reply.options.sacks[0].start, base);
    assert_int_equal(reply.options.sacks[0].end, base + 3);
    assert_int_equal(f.received_size, 3);
    stop();
}

static void test_conn_closes_after_its_peer(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    peer_send_data(&f.peer, TCP_ACK | TCP_FIN, bytes_of_str("bye"));
    assert_int_equal(f.received_size, 3);
    assert_int_equal(f.eofs, 1);
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    host_send(0, 100); /* half-closed: ours is open */
    assert_int_equal(expect().payload.size, 100);
    stream_shutdown(f.stream);
    assert_int_equal(
        stream_send(f.stream, &(struct extent){.blob = &f.host->pattern, .size = 1}, 1), -EPIPE);
    world_turn(&f.world);
    struct peer_segment fin = expect();
    assert_int_equal(fin.flags & TCP_FIN, TCP_FIN);
    assert_int_equal(f.closes, 0);
    peer_ack(&f.peer, fin.seq + 1);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, 0);
    stop();
}

static void test_conn_waits_after_closing_first(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    stream_shutdown(f.stream);
    world_turn(&f.world);
    struct peer_segment fin = expect();
    assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
    peer_ack(&f.peer, fin.seq + 1);
    f.peer.rcv_nxt = fin.seq + 1;
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("late"));
    assert_int_equal(f.received_size, 4);
    peer_drop_all(&f.peer);
    peer_send_data(&f.peer, TCP_ACK | TCP_FIN, (struct bytes){0});
    assert_int_equal(f.eofs, 1);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, 0);
    assert_int_equal(expect().ack, f.peer.snd_nxt);

    struct net_usage usage;
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.time_waits, 1);
    assert_int_equal(usage.streams, 0);
    /* The FIN again: the ACK was lost. */
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt - 1,
                                              .ack = f.peer.rcv_nxt,
                                              .flags = TCP_ACK | TCP_FIN,
                                              .window = 1000});
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    /* A reset does not end the wait (RFC 1337), a newer SYN does. */
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt, .flags = TCP_RST});
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.time_waits, 1);
    peer_drop_all(&f.peer);
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt + 100000,
                                              .flags = TCP_SYN,
                                              .options = {.has_timestamps = true, .ts_value = 1}});
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.time_waits, 1); /* nor does an older one, */
    f.peer.has_timestamps = false;
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt + 100000, .flags = TCP_SYN});
    f.peer.has_timestamps = true;
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.time_waits, 1); /* nor one that does not say */
    peer_drop_all(&f.peer);
    struct tcp_options newer = full;
    newer.ts_value = f.peer.ts_value + 10;
    f.peer.snd_nxt += 100000;
    assert_true(peer_handshake(&f.peer, &newer));
    assert_int_equal(f.accepts, 2);
    assert_int_equal(count_of(&f.host->counters.tcp_time_waits_reused), 1);
    stop();
}

static void test_conn_closes_at_the_same_time(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    stream_shutdown(f.stream);
    world_turn(&f.world);
    struct peer_segment fin = expect();
    peer_send_data(&f.peer, TCP_ACK | TCP_FIN, (struct bytes){0}); /* does not know of ours */
    assert_int_equal(f.eofs, 1);
    assert_int_equal(f.closes, 0);
    assert_int_equal(expect().ack, f.peer.snd_nxt);
    peer_ack(&f.peer, fin.seq + 1);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, 0);
    stop();
}

static void host_connect(void)
{
    struct endpoint to = f.peer.address;

    f.stream =
        f.host->transport->ops->connect(f.host->transport, &to, &events, NULL, f.world.now_us);
    assert_non_null(f.stream);
    world_turn(&f.world);
}

static void test_conn_connects(void **state)
{
    (void)state;
    start(6);
    host_connect();
    struct peer_segment syn = expect();
    assert_int_equal(syn.flags, TCP_SYN);
    peer_send(&f.peer, &(struct peer_segment){.seq = 500,
                                              .ack = syn.seq + 1,
                                              .flags = TCP_SYN | TCP_ACK,
                                              .window = 9000,
                                              .options = plain,
                                              .local_port = syn.local_port});
    assert_int_equal(f.sendables, 1);
    struct peer_segment ack = expect();
    assert_int_equal(ack.flags, TCP_ACK);
    assert_int_equal(ack.ack, 501);
    stop();
}

static void test_conn_opens_at_the_same_time(void **state)
{
    (void)state;
    start(4);
    host_connect();
    struct peer_segment syn = expect();
    struct peer_segment s = {.seq = 500,
                             .flags = TCP_SYN,
                             .window = 9000,
                             .options = plain,
                             .local_port = syn.local_port};
    peer_send(&f.peer, &s);
    struct peer_segment reply = expect();
    assert_int_equal(reply.flags, TCP_SYN | TCP_ACK);
    assert_int_equal(reply.seq, syn.seq);
    assert_int_equal(reply.ack, 501);
    assert_int_equal(f.sendables, 0);
    s.flags = TCP_SYN | TCP_ACK;
    s.ack = syn.seq + 1;
    peer_send(&f.peer, &s);
    assert_int_equal(f.sendables, 1);
    assert_int_equal(f.closes, 0);
    stop();
}

static void test_conn_is_refused(void **state)
{
    (void)state;
    start(4);
    host_connect();
    struct peer_segment syn = expect();
    struct peer_segment rst = {.ack = syn.seq + 2, /* not ours */
                               .flags = TCP_RST | TCP_ACK,
                               .local_port = syn.local_port};
    peer_send(&f.peer, &rst);
    assert_int_equal(f.closes, 0);
    rst.ack = syn.seq + 1;
    peer_send(&f.peer, &rst);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -ECONNREFUSED);
    stop();
}

static void test_conn_gives_up_connecting(void **state)
{
    (void)state;
    start(4);
    f.peer.is_mute = true;
    host_connect();
    wait_us(130000000);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -EHOSTUNREACH);
    stop();

    start(4);
    host_connect();
    for (int tries = 0; tries < 7; tries++) {
        assert_int_equal(expect().flags, TCP_SYN);
        wait_us((1000000u << tries) + 10000);
    }
    assert_int_equal(f.error, -ETIMEDOUT);
    stop();
}

static void test_conn_drops_old_timestamps(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    f.peer.ts_value += 1000;
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("new"));
    peer_drop_all(&f.peer);
    f.peer.ts_value -= 500;
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("old"));
    assert_int_equal(f.received_size, 3);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_paws), 1);
    assert_int_equal(expect().ack, f.peer.snd_nxt - 3);
    stop();
}

static void test_conn_closes_its_window_when_paused(void **state)
{
    static uint8_t block[1460];
    const struct net_config config = {.receive_window_bytes = 10220};

    (void)state;
    start_with(4, &config);
    establish(&plain);
    stream_receive_pause(f.stream, true);
    uint32_t base = f.peer.snd_nxt;
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)i;
    for (int i = 0; i < 8; i++)
        peer_send_data(&f.peer, TCP_ACK, bytes_of(block, sizeof(block)));
    assert_int_equal(f.received_size, 0);
    struct peer_segment s;
    struct peer_segment last = expect();
    while (peer_next(&f.peer, &s))
        last = s;
    assert_int_equal(last.ack, base + 10220);
    assert_int_equal(last.window, 0);
    /* A probe is answered, its byte is not taken. */
    peer_send(&f.peer, &(struct peer_segment){.seq = base + 10220,
                                              .ack = f.peer.rcv_nxt,
                                              .flags = TCP_ACK,
                                              .window = 1000,
                                              .payload = bytes_of_str("p")});
    assert_int_equal(expect().ack, base + 10220);
    stream_receive_pause(f.stream, false);
    assert_int_equal(f.received_size, 0); /* never from inside the call */
    world_turn(&f.world);
    assert_int_equal(f.received_size, 10220);
    assert_int_equal(f.received[9999], block[9999 % 1460]);
    assert_int_equal(expect().window, 10220);
    stop();
}

static void test_conn_probes_a_closed_window(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    f.peer.window = 0;
    peer_ack(&f.peer, f.peer.rcv_nxt);
    host_send(0, 5000);
    expect_nothing();
    wait_us(2000000);
    struct peer_segment probe = expect();
    assert_int_equal(probe.seq, f.peer.rcv_nxt - 1);
    assert_int_equal(probe.payload.size, 0);
    for (int i = 0; i < 100; i++) { /* as long as it answers, the connection lives */
        peer_ack(&f.peer, f.peer.rcv_nxt);
        peer_drop_all(&f.peer);
        wait_us(60000000);
        peer_drop_all(&f.peer);
    }
    assert_int_equal(f.closes, 0);
    f.peer.window = 20000;
    peer_ack(&f.peer, f.peer.rcv_nxt);
    assert_int_equal(expect().payload.size, 1460);
    stop();
}

/* Who closed its window and is gone from the link too cannot be probed, and is given up. */
static void test_conn_gives_up_a_closed_window(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    f.peer.window = 0;
    peer_ack(&f.peer, f.peer.rcv_nxt);
    host_send(0, 5000);
    f.peer.is_mute = true;
    wait_us(60 * 1000000ull); /* its link address is doubted, and lost */
    peer_drop_all(&f.peer);
    peer_ack(&f.peer, f.peer.rcv_nxt);
    wait_us(2 * 3600 * 1000000ull);
    assert_int_equal(f.closes, 1);
    assert_int_equal(counter_read(&f.host->counters.tcp_retransmits_exhausted), 1);
    stop();
}

static void test_conn_retransmits_after_a_timeout(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    host_send(0, 1000);
    struct peer_segment first = expect();
    uint64_t sent_us = f.world.now_us;
    for (int tries = 1; tries <= 10; tries++) {
        struct peer_segment again = {0};
        while (!peer_next(&f.peer, &again) && f.closes == 0)
            world_step(&f.world, f.world.now_us + 1000000);
        assert_int_equal(again.seq, first.seq);
        assert_int_equal(again.payload.size, 1000);
        assert_true(f.world.now_us >= sent_us + 200000);
    }
    wait_us(300000000);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -ETIMEDOUT);
    stop();
}

static void test_conn_retransmits_after_three_duplicates(void **state)
{
    (void)state;
    start(4);
    establish(&plain); /* no SACK: NewReno */
    host_send(0, 14600);
    struct peer_segment first = expect();
    peer_drop_all(&f.peer);
    peer_ack(&f.peer, first.seq);
    peer_ack(&f.peer, first.seq);
    expect_nothing();
    peer_ack(&f.peer, first.seq);
    struct peer_segment again = expect();
    assert_int_equal(again.seq, first.seq);
    assert_int_equal(again.payload.size, 1460);
    /* A partial ACK brings the next hole (RFC 6582). */
    peer_ack(&f.peer, first.seq + 2920);
    again = expect();
    assert_int_equal(again.seq, first.seq + 2920);
    peer_ack(&f.peer, first.seq + 14600);
    assert_int_equal(f.stream->queued_bytes, 0);
    assert_int_equal(f.sendables, 1);
    stop();
}

static void test_conn_retransmits_holes_only(void **state)
{
    (void)state;
    start(4);
    establish(&full);
    host_send(0, 14480); /* 10 of 1448 */
    struct peer_segment first = expect();
    peer_drop_all(&f.peer);
    /* 0 and 4 are lost. */
    struct tcp_options o = {.sack_count = 2,
                            .sacks = {{first.seq + 5 * 1448, first.seq + 10 * 1448},
                                      {first.seq + 1448, first.seq + 4 * 1448}}};
    peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt,
                                              .ack = first.seq,
                                              .flags = TCP_ACK,
                                              .window = 1000,
                                              .options = o});
    assert_int_equal(expect().seq, first.seq);
    /* Both may go: far less is in flight than the window allows. */
    struct peer_segment second = expect();
    assert_int_equal(second.seq, first.seq + 4 * 1448);
    assert_int_equal(second.payload.size, 1448);
    expect_nothing();
    peer_ack(&f.peer, first.seq + 14480);
    assert_int_equal(f.stream->queued_bytes, 0);
    stop();
}

static void test_conn_notices_a_silent_peer(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    wait_us(61000000);
    struct peer_segment probe = expect();
    assert_int_equal(probe.seq, f.peer.rcv_nxt - 1);
    peer_ack(&f.peer, f.peer.rcv_nxt);
    wait_us(55000000);
    assert_int_equal(f.closes, 0);
    wait_us(120000000);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -ETIMEDOUT);
    stop();
}

static void syn_from(uint16_t port)
{
    peer_send(
        &f.peer,
        &(struct peer_segment){
            .seq = 100, .flags = TCP_SYN, .window = 1000, .options = plain, .peer_port = port});
}

static void test_conn_bounds_half_open(void **state)
{
    const struct net_config config = {.backlog_max = 2};

    (void)state;
    start_with(4, &config);
    for (uint16_t port = 1; port <= 10; port++)
        syn_from(port);
    assert_int_equal(count_of(&f.host->counters.tcp_backlog_full), 8);
    struct net_usage usage;
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.half_open, 2);
    wait_us(120000000); /* they expire, without a word to the user */
    net_usage(f.host->transport, &usage);
    assert_int_equal(usage.streams, 0);
    assert_int_equal(f.accepts, 0);
    assert_int_equal(f.closes, 0);
    stop();
}

static void test_conn_refuses_when_full(void **state)
{
    const struct net_config config = {.backlog_max = 100};

    (void)state;
    start_with(4, &config);
    establish(&plain);
    for (uint16_t port = 1; port <= 10; port++)
        syn_from(port);
    assert_int_equal(count_of(&f.host->counters.tcp_no_connection_left), 10 - (STREAMS_MAX - 1));
    peer_drop_all(&f.peer);
    peer_send_data(&f.peer, TCP_ACK, bytes_of_str("works")); /* who is in, stays in */
    assert_int_equal(f.received_size, 5);
    stop();
}

static void test_conn_resets_when_its_user_refuses(void **state)
{
    (void)state;
    start(4);
    f.accept_result = -EBUSY;
    assert_true(peer_handshake(&f.peer, &plain));
    assert_int_equal(expect().flags & TCP_RST, TCP_RST);
    assert_int_equal(f.closes, 0);
    stop();
}

static void test_conn_aborts(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    host_send(0, 3000);
    peer_drop_all(&f.peer);
    stream_abort(f.stream);
    assert_int_equal(f.closes, 0); /* from the next poll */
    assert_int_equal(f.host->pattern.refs, 1);
    world_turn(&f.world);
    assert_int_equal(f.closes, 1);
    assert_int_equal(f.error, -ECONNABORTED);
    assert_int_equal(expect().flags, TCP_RST | TCP_ACK);
    stop();
}

/* ICMP "fragmentation needed" that quotes a segment at 'seq'. */
static void too_big(uint32_t seq, uint16_t mtu)
{
    uint8_t m[ICMP_SIZE + IPV4_SIZE + 8] = {ICMP_UNREACHABLE, ICMP_CODE_FRAGMENTATION_NEEDED};
    uint8_t *ip = m + ICMP_SIZE;

    store_be16(m + 6, mtu);
    ip[0] = 0x45;
    ip[9] = PROTOCOL_TCP;
    memcpy(ip + 12, f.peer.local.addr, 4);
    memcpy(ip + 16, f.peer.address.addr, 4);
    store_be16(ip + 20, PEER_HOST_PORT);
    store_be16(ip + 22, PEER_PORT);
    store_be32(ip + 24, seq);
    peer_send_ip(&f.peer, PROTOCOL_ICMP, m, sizeof(m));
}

static void test_conn_adapts_to_the_path(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    host_send(0, 2920);
    struct peer_segment first = expect();
    peer_drop_all(&f.peer);
    too_big(first.seq - 100, 1000); /* not in flight: a forgery */
    too_big(first.seq + 2920, 1000);
    too_big(first.seq, 1500); /* no news */
    expect_nothing();
    assert_int_equal(count_of(&f.host->counters.net_path_mtu_reductions), 0);
    too_big(first.seq, 1000);
    struct peer_segment again = expect();
    assert_int_equal(again.seq, first.seq);
    assert_int_equal(again.payload.size, 960);
    too_big(first.seq, 68); /* not below our floor */
    assert_int_equal(count_of(&f.host->counters.net_path_mtu_reductions), 2);
    peer_drop_all(&f.peer);
    peer_ack(&f.peer, first.seq + 2920);
    host_send(2920, 1000);
    assert_int_equal(expect().payload.size, 536);
    stop();
}

static void test_conn_respects_segment_sizes(void **state)
{
    (void)state;
    start(4);
    establish(&(struct tcp_options){.mss = 500});
    host_send(0, 1200);
    assert_int_equal(expect().payload.size, 500);
    assert_int_equal(expect().payload.size, 500);
    struct peer_segment last = expect();
    assert_int_equal(last.payload.size, 200);
    assert_int_equal(last.flags & TCP_PSH, TCP_PSH);
    stop();

    start(4);
    establish(&(struct tcp_options){.mss = 1}); /* an attack on our packet rate */
    host_send(0, 1000);
    assert_int_equal(expect().payload.size, TCP_MSS_MIN);
    stop();
}

static void test_conn_counts_nonsense(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    const uint8_t flags[] = {0, TCP_SYN | TCP_FIN, TCP_SYN | TCP_RST, TCP_FIN | TCP_RST};
    for (size_t i = 0; i < sizeof(flags); i++)
        peer_send(&f.peer, &(struct peer_segment){.seq = f.peer.snd_nxt, .flags = flags[i]});
    assert_int_equal(count_of(&f.host->counters.tcp_rx_bad_flags), 4);
    uint8_t segment[24] = {0};
    store_be16(segment, PEER_PORT);
    store_be16(segment + 2, PEER_HOST_PORT);
    segment[12] = 0x40;
    segment[13] = TCP_ACK;
    peer_send_ip(&f.peer, PROTOCOL_TCP, segment, 20); /* header of 16 */
    segment[12] = 0x70;
    peer_send_ip(&f.peer, PROTOCOL_TCP, segment, 24); /* of 28 */
    peer_send_ip(&f.peer, PROTOCOL_TCP, segment, 19);
    segment[12] = 0x60;
    segment[20] = 2;
    segment[21] = 9; /* an option longer than all of them */
    peer_send_ip(&f.peer, PROTOCOL_TCP, segment, 24);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_bad_header), 2);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_short), 1);
    assert_int_equal(count_of(&f.host->counters.tcp_rx_bad_options), 1);
    peer_send_data(&f.peer, TCP_ACK | TCP_URG, bytes_of_str("urgent")); /* in line */
    assert_int_equal(f.received_size, 6);
    stop();
}

static void test_conn_bounds_what_is_queued(void **state)
{
    (void)state;
    start(4);
    establish(&plain);
    struct extent e = extent_of(&f.host->pattern); /* 256 KiB */
    for (int i = 0; i < 4; i++)
        assert_int_equal(stream_send(f.stream, &e, 1), 0);
    assert_int_equal(stream_send(f.stream, &e, 1), -ENOBUFS);
    assert_int_equal(f.stream->queued_bytes, 1 << 20);
    assert_int_equal(f.host->pattern.refs, 5);
    stream_abort(f.stream);
    assert_int_equal(f.host->pattern.refs, 1);
    world_turn(&f.world);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_negotiates_options),
        cmocka_unit_test(test_conn_delivers_and_acknowledges),
        cmocka_unit_test(test_conn_delays_acknowledgements_later),
        cmocka_unit_test(test_conn_resets_what_nobody_wants),
        cmocka_unit_test(test_conn_obeys_only_an_exact_reset),
        cmocka_unit_test(test_conn_challenges_a_syn),
        cmocka_unit_test(test_conn_ignores_impossible_acks),
        cmocka_unit_test(test_conn_reorders_with_sack),
        cmocka_unit_test(test_conn_reports_duplicates),
        cmocka_unit_test(test_conn_closes_after_its_peer),
        cmocka_unit_test(test_conn_waits_after_closing_first),
        cmocka_unit_test(test_conn_closes_at_the_same_time),
        cmocka_unit_test(test_conn_connects),
        cmocka_unit_test(test_conn_opens_at_the_same_time),
        cmocka_unit_test(test_conn_is_refused),
        cmocka_unit_test(test_conn_gives_up_connecting),
        cmocka_unit_test(test_conn_drops_old_timestamps),
        cmocka_unit_test(test_conn_closes_its_window_when_paused),
        cmocka_unit_test(test_conn_probes_a_closed_window),
        cmocka_unit_test(test_conn_gives_up_a_closed_window),
        cmocka_unit_test(test_conn_retransmits_after_a_timeout),
        cmocka_unit_test(test_conn_retransmits_after_three_duplicates),
        cmocka_unit_test(test_conn_retransmits_holes_only),
        cmocka_unit_test(test_conn_notices_a_silent_peer),
        cmocka_unit_test(test_conn_bounds_half_open),
        cmocka_unit_test(test_conn_refuses_when_full),
        cmocka_unit_test(test_conn_resets_when_its_user_refuses),
        cmocka_unit_test(test_conn_aborts),
        cmocka_unit_test(test_conn_adapts_to_the_path),
        cmocka_unit_test(test_conn_respects_segment_sizes),
        cmocka_unit_test(test_conn_counts_nonsense),
        cmocka_unit_test(test_conn_bounds_what_is_queued),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
