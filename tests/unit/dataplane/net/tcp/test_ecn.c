/* Congestion marks (RFC 3168): who agrees on them, what is sent as capable of them, what comes
 * back for a mark, and what a sender does about that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "tests/sim/server.h"

enum { MSS = 1000, SETUP = TCP_ECE | TCP_CWR };

static struct server v;
static uint8_t block[MSS];

static const struct net_config defaults = {.is_unpaced = true};
static const struct tcp_options with_sack = {.mss = MSS, .is_sack_permitted = true};

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}
#define COUNTED(name) count_of(&v.host->counters.name)

static struct peer_segment expect(void)
{
    struct peer_segment s = {0};

    assert_true(peer_next(&v.peer, &s));
    return s;
}

static void expect_nothing(void)
{
    struct peer_segment s;

    assert_false(peer_next(&v.peer, &s));
}

static void start(const struct net_config *config, uint8_t family)
{
    server_start(&v, config, 64);
    peer_init(&v.peer, &v.world, v.host, family);
}

/* The flags of the answer to a SYN with 'flags' beside its own. */
static uint8_t syn(uint8_t flags, uint8_t ecn)
{
    peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                              .flags = (uint8_t)(TCP_SYN | flags),
                                              .ecn = ecn,
                                              .window = UINT16_MAX,
                                              .options = with_sack});
    struct peer_segment reply = expect();
    assert_int_equal(reply.flags & (TCP_SYN | TCP_ACK), TCP_SYN | TCP_ACK);
    assert_int_equal(reply.ecn, IP_ECN_NONE);
    v.peer.rcv_nxt = reply.seq + 1;
    return reply.flags & (uint8_t) ~(TCP_SYN | TCP_ACK);
}

/* A connection with ECN, whose round trip was 100 ms. */
static void open(const struct net_config *config, uint8_t family)
{
    start(config, family);
    assert_int_equal(syn(SETUP, 0), TCP_ECE);
    server_wait(&v, 100000);
    v.peer.snd_nxt++;
    peer_ack(&v.peer, v.peer.rcv_nxt);
    assert_int_equal(v.accepts, 1);
    assert_true((server_conn(&v)->flags & CONN_HAS_ECN) != 0);
    peer_drop_all(&v.peer);
}

static void receive(uint8_t flags, uint8_t ecn)
{
    peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                              .ack = v.peer.rcv_nxt,
                                              .flags = TCP_ACK | flags,
                                              .ecn = ecn,
                                              .window = UINT16_MAX,
                                              .payload = bytes_of(block, MSS)});
    v.peer.snd_nxt += MSS;
}

/* An acknowledgement up to segment 'count', with 'flags', and a block of [from, to). */
static void ack(uint32_t base, uint32_t count, uint8_t flags, uint32_t from, uint32_t to)
{
    struct tcp_options o = {0};

    if (from < to)
        o.sacks[o.sack_count++] =
            (struct tcp_sack_block){.start = base + from * MSS, .end = base + to * MSS};
    peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                              .ack = base + count * MSS,
                                              .flags = TCP_ACK | flags,
                                              .window = UINT16_MAX,
                                              .options = o});
}

static void test_ecn_is_agreed_on(void **state)
{
    static const struct {
        enum net_ecn config;
        uint8_t flags;
        uint8_t ecn;
        uint8_t answer;
    } cases[] = {
        {NET_ECN_PASSIVE, SETUP, 0, TCP_ECE},
        {NET_ECN_ON, SETUP, 0, TCP_ECE},
        {NET_ECN_OFF, SETUP, 0, 0},
        {NET_ECN_PASSIVE, 0, 0, 0},
        {NET_ECN_PASSIVE, TCP_ECE, 0, 0},
        {NET_ECN_PASSIVE, TCP_CWR, 0, 0},
        {NET_ECN_PASSIVE, SETUP, IP_ECN_ECT0, 0}, /* somebody rewrites the field */
        {NET_ECN_PASSIVE, SETUP, IP_ECN_CE, 0},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        size_t at = i / 2;
        start(&(struct net_config){.ecn = cases[at].config}, i % 2 == 0 ? 4 : 6);
        assert_int_equal(syn(cases[at].flags, cases[at].ecn), cases[at].answer);
        v.peer.snd_nxt++;
        peer_ack(&v.peer, v.peer.rcv_nxt);
        assert_int_equal(v.accepts, 1);
        assert_int_equal(COUNTED(tcp_ecn_connections), cases[at].answer != 0);
        peer_drop_all(&v.peer);
        server_send(&v, MSS);
        assert_int_equal(expect().ecn, cases[at].answer != 0 ? IP_ECN_ECT0 : IP_ECN_NONE);
        /* And nothing of it where it was not agreed on. */
        peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                                  .ack = v.peer.rcv_nxt + MSS,
                                                  .flags = TCP_ACK | TCP_ECE,
                                                  .window = UINT16_MAX});
        assert_int_equal(COUNTED(tcp_ecn_reductions), cases[at].answer != 0);
        assert_true(server_stop(&v));
    }
}

/* A peer whose SYNs get through only without (§6.1.1.1). */
static void test_ecn_is_withdrawn(void **state)
{
    (void)state;
    start(&defaults, 4);
    assert_int_equal(syn(SETUP, 0), TCP_ECE);
    assert_int_equal(syn(0, 0), 0);
    assert_int_equal(syn(SETUP, 0), 0);
    v.peer.snd_nxt++;
    peer_ack(&v.peer, v.peer.rcv_nxt);
    assert_int_equal(server_conn(&v)->flags & CONN_HAS_ECN, 0);
    assert_true(server_stop(&v));
}

static void test_ecn_survives_a_cookie(void **state)
{
    const struct net_config crowded = {.backlog_max = 1};
    struct tcp_options full = {.mss = 1460, .has_timestamps = true, .ts_value = 5000};

    (void)state;
    for (int asks = 0; asks < 2; asks++)
        for (int stamps = 0; stamps < 2; stamps++) {
            start(&crowded, 4);
            server_syn(&v, 9, &with_sack);
            peer_drop_all(&v.peer);
            full.has_timestamps = stamps != 0;
            peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt++,
                                                      .flags = TCP_SYN | (asks ? SETUP : 0),
                                                      .window = UINT16_MAX,
                                                      .options = full});
            struct peer_segment reply = expect();
            bool is_agreed = asks && stamps; /* which carry it */
            assert_int_equal(reply.flags, TCP_SYN | TCP_ACK | (is_agreed ? TCP_ECE : 0));
            v.peer.has_timestamps = stamps != 0;
            v.peer.ts_value = 5001;
            peer_ack(&v.peer, reply.seq + 1);
            assert_int_equal(COUNTED(tcp_cookies_accepted), 1);
            assert_int_equal(server_conn(&v)->flags & CONN_HAS_ECN, is_agreed ? CONN_HAS_ECN : 0);
            assert_true(server_stop(&v));
        }
}

static void test_ecn_marks_new_data_alone(void **state)
{
    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        open(&defaults, family);
        uint32_t base = v.peer.rcv_nxt;
        server_send(&v, 10 * MSS);
        for (int i = 0; i < 10; i++)
            assert_int_equal(expect().ecn, IP_ECN_ECT0);
        receive(0, 0);
        assert_int_equal(expect().ecn, IP_ECN_NONE); /* a pure ACK (§6.1.4) */
        ack(base, 0, 0, 1, 10);
        struct peer_segment again = expect();
        assert_int_equal(again.seq, base);
        assert_int_equal(again.payload.size, MSS);
        assert_int_equal(again.ecn, IP_ECN_NONE); /* §6.1.5 */
        ack(base, 10, 0, 0, 0);
        server_wait(&v, 65000000);
        assert_int_equal(expect().ecn, IP_ECN_NONE); /* keepalive */
        stream_shutdown(v.stream);
        world_turn(&v.world);
        struct peer_segment fin = expect();
        assert_int_equal(fin.flags, TCP_FIN | TCP_ACK);
        assert_int_equal(fin.ecn, IP_ECN_NONE);
        world_fini(&v.world);
    }
}

static void test_ecn_no_mark_on_window_probe(void **state)
{
    (void)state;
    open(&defaults, 4);
    peer_send(&v.peer, &(struct peer_segment){
                           .seq = v.peer.snd_nxt, .ack = v.peer.rcv_nxt, .flags = TCP_ACK});
    server_send(&v, MSS);
    expect_nothing();
    server_wait(&v, 1000000);
    assert_int_equal(expect().ecn, IP_ECN_NONE); /* §6.1.6 */
    world_fini(&v.world);
}

static void test_ecn_echoes_until_reaction(void **state)
{
    (void)state;
    open(&defaults, 4);
    receive(0, IP_ECN_ECT0);
    assert_int_equal(expect().flags, TCP_ACK);
    receive(0, IP_ECN_CE);
    assert_int_equal(expect().flags, TCP_ACK | TCP_ECE);
    for (int i = 0; i < 3; i++) {
        receive(0, IP_ECN_ECT0);
        assert_int_equal(expect().flags, TCP_ACK | TCP_ECE);
    }
    server_send(&v, MSS); /* data carries it as well */
    assert_int_equal(expect().flags, TCP_ACK | TCP_PSH | TCP_ECE);
    v.peer.rcv_nxt += MSS;
    receive(TCP_CWR, IP_ECN_ECT0);
    assert_int_equal(expect().flags, TCP_ACK);
    receive(TCP_CWR, IP_ECN_CE); /* a reaction to the last one, and a new one */
    assert_int_equal(expect().flags, TCP_ACK | TCP_ECE);
    receive(TCP_CWR, IP_ECN_ECT0);
    assert_int_equal(expect().flags, TCP_ACK);
    assert_int_equal(COUNTED(tcp_ecn_marks), 2);
    assert_true(server_stop(&v));
}

static void test_ecn_marked_data_that_waits_for_a_gap(void **state)
{
    (void)state;
    open(&defaults, 4);
    v.peer.snd_nxt += MSS;
    receive(0, IP_ECN_CE);
    assert_int_equal(expect().flags, TCP_ACK | TCP_ECE);
    assert_true(server_stop(&v));
}

/* What was there already says nothing about the path now (§6.1.5). */
static void test_ecn_ignores_marks_on_old_data(void **state)
{
    (void)state;
    open(&defaults, 4);
    receive(0, IP_ECN_ECT0);
    (void)expect();
    v.peer.snd_nxt -= MSS;
    receive(0, IP_ECN_CE);
    assert_int_equal(expect().flags, TCP_ACK);
    assert_int_equal(COUNTED(tcp_ecn_marks), 0);
    assert_true(server_stop(&v));
}

static void test_ecn_reduces_once_a_window(void **state)
{
    (void)state;
    open(&defaults, 4);
    uint32_t base = v.peer.rcv_nxt;
    server_send(&v, 40 * MSS);
    for (int i = 0; i < 10; i++)
        assert_int_equal(expect().flags & TCP_CWR, 0);
    server_wait(&v, 100000);
    uint32_t reactions = 0;
    for (uint32_t i = 1; i <= 10; i++) {
        struct peer_segment s;
        ack(base, i, TCP_ECE, 0, 0);
        while (peer_next(&v.peer, &s)) {
            if ((s.flags & TCP_CWR) == 0)
                continue;
            assert_int_equal(s.seq, base + 10 * MSS); /* the first new data */
            assert_int_equal(s.ecn, IP_ECN_ECT0);
            reactions++;
        }
    }
    assert_int_equal(reactions, 1);
    const struct tcp_conn *c = server_conn(&v);
    assert_int_equal(COUNTED(tcp_ecn_echoes), 10);
    assert_int_equal(COUNTED(tcp_ecn_reductions), 1);
    assert_int_equal(c->congestion.ssthresh_bytes, 7 * MSS);
    assert_int_equal(c->recovery.phase, TCP_PHASE_REDUCING);
    server_wait(&v, 100000);
    ack(base, 12, 0, 0, 0); /* behind the one with CWR */
    assert_int_equal(c->recovery.phase, TCP_PHASE_OPEN);
    assert_int_equal(c->congestion.cwnd_bytes / MSS, 7);
    ack(base, 13, TCP_ECE, 0, 0); /* the next window's */
    assert_int_equal(COUNTED(tcp_ecn_reductions), 2);
    assert_int_equal(COUNTED(tcp_retransmits), 0);
    ack(base, (c->snd_nxt - base) / MSS, 0, 0, 0);
    ack(base, (c->snd_nxt - base) / MSS, 0, 0, 0); /* behind the second with CWR */
    assert_int_equal(c->recovery.phase, TCP_PHASE_OPEN);
    ack(base, 12, TCP_ECE, 12, 13); /* late, and of what was reacted to */
    assert_int_equal(COUNTED(tcp_ecn_reductions), 2);
    peer_drop_all(&v.peer);
    world_fini(&v.world);
}

static void test_ecn_tells_of_reactions_to_losses(void **state)
{
    (void)state;
    open(&defaults, 4);
    uint32_t base = v.peer.rcv_nxt;
    server_send(&v, 40 * MSS);
    peer_drop_all(&v.peer);
    ack(base, 0, 0, 1, 4);
    struct peer_segment again = expect();
    assert_int_equal(again.seq, base);
    assert_int_equal(again.flags & TCP_CWR, 0); /* §6.1.5 */
    ack(base, 10, 0, 0, 0);
    struct peer_segment s = expect();
    assert_int_equal(s.seq, base + 10 * MSS);
    assert_true((s.flags & TCP_CWR) != 0);
    while (peer_next(&v.peer, &s))
        assert_int_equal(s.flags & TCP_CWR, 0);
    /* And a timeout's. */
    server_wait(&v, 3000000);
    peer_drop_all(&v.peer);
    uint32_t sent = (server_conn(&v)->snd_nxt - base) / MSS;
    ack(base, 11, 0, 0, 0); /* what was sent again; new data shall tell about the rest */
    s = expect();
    assert_int_equal(s.seq, base + sent * MSS);
    assert_true((s.flags & TCP_CWR) != 0);
    peer_drop_all(&v.peer);
    world_fini(&v.world);
}

static void test_ecn_reaction_goes_alone(void **state)
{
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT | PORT_OFFLOAD_TSO |
                                                     PORT_OFFLOAD_TCP_CHECKSUM |
                                                     PORT_OFFLOAD_IP_CHECKSUM};

    (void)state;
    server_start_on(&v, &defaults, &port, 64);
    assert_int_equal(syn(SETUP, 0), TCP_ECE);
    server_wait(&v, 100000);
    v.peer.snd_nxt++;
    peer_ack(&v.peer, v.peer.rcv_nxt);
    uint32_t base = v.peer.rcv_nxt;
    peer_drop_all(&v.peer);
    server_send(&v, 60 * MSS);
    for (int i = 0; i < 10; i++)
        assert_int_equal(expect().ecn, IP_ECN_ECT0);
    ack(base, 8, TCP_ECE, 0, 0);
    for (uint32_t i = 10; i < 15; i++) { /* 7 in flight */
        struct peer_segment s = expect();
        assert_int_equal(s.seq, base + i * MSS);
        assert_int_equal(s.flags & TCP_CWR, i == 10 ? TCP_CWR : 0);
        assert_int_equal(s.ecn, IP_ECN_ECT0);
    }
    peer_drop_all(&v.peer);
    world_fini(&v.world);
}

/* --- connections that we open --- */

static int opened;
static struct stream *client;

static void on_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)in;
    (void)now_us;
}

static void on_sendable(struct stream *s, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    opened++;
}

static void on_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)s;
    (void)error;
    (void)now_us;
    client = NULL;
}

static const struct stream_events client_events = {
    .data = on_data, .sendable = on_sendable, .closed = on_closed};

static struct peer_segment connect_begin(enum net_ecn ecn)
{
    const struct net_config config = {.ecn = ecn, .is_unpaced = true};

    start(&config, 4);
    opened = 0;
    client = v.host->transport->ops->connect(v.host->transport, &v.peer.address, &client_events,
                                             NULL, v.world.now_us);
    assert_non_null(client);
    world_turn(&v.world);
    return expect();
}

static void answer(const struct peer_segment *first, uint8_t flags)
{
    peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                              .ack = first->seq + 1,
                                              .flags = TCP_SYN | TCP_ACK | flags,
                                              .window = UINT16_MAX,
                                              .options = with_sack,
                                              .local_port = first->local_port});
}

static bool is_agreed(void)
{
    assert_int_equal(opened, 1);
    return (((struct tcp_conn *)(void *)client)->flags & CONN_HAS_ECN) != 0;
}

static void test_ecn_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(connect_begin(NET_ECN_PASSIVE).flags, TCP_SYN);
    world_fini(&v.world);
    assert_int_equal(connect_begin(NET_ECN_OFF).flags, TCP_SYN);
    world_fini(&v.world);
    for (int i = 0; i < 3; i++) {
        const uint8_t answers[] = {TCP_ECE, 0, SETUP /* reflected by something on the way */};
        struct peer_segment first = connect_begin(NET_ECN_ON);
        assert_int_equal(first.flags, TCP_SYN | SETUP);
        assert_int_equal(first.ecn, IP_ECN_NONE);
        answer(&first, answers[i]);
        assert_int_equal(is_agreed(), i == 0);
        struct peer_segment s = expect();
        assert_int_equal(s.flags, TCP_ACK);
        assert_int_equal(s.ecn, IP_ECN_NONE);
        world_fini(&v.world);
    }
    struct peer_segment first = connect_begin(NET_ECN_PASSIVE);
    answer(&first, TCP_ECE); /* not asked */
    assert_false(is_agreed());
    world_fini(&v.world);
}

static void test_ecn_is_given_up(void **state)
{
    struct peer_segment s;

    (void)state;
    struct peer_segment first = connect_begin(NET_ECN_ON);
    assert_int_equal(COUNTED(tcp_ecn_fallbacks), 0);
    server_wait(&v, 1100000);
    assert_int_equal(expect().flags, TCP_SYN);
    server_wait(&v, 2100000);
    assert_int_equal(expect().flags, TCP_SYN);
    assert_int_equal(COUNTED(tcp_ecn_fallbacks), 1);
    answer(&first, TCP_ECE); /* to the first one, late: the peer has had another kind as well */
    assert_false(is_agreed());
    while (peer_next(&v.peer, &s))
        continue;
    world_fini(&v.world);
}

static void test_ecn_simultaneous_open(void **state)
{
    (void)state;
    for (int asks = 0; asks < 2; asks++) {
        struct peer_segment first = connect_begin(NET_ECN_ON);
        peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt,
                                                  .flags = TCP_SYN | (asks ? SETUP : 0),
                                                  .window = UINT16_MAX,
                                                  .options = with_sack,
                                                  .local_port = first.local_port});
        assert_int_equal(expect().flags, TCP_SYN | TCP_ACK | (asks ? TCP_ECE : 0));
        answer(&first, asks ? TCP_ECE : 0);
        assert_int_equal(is_agreed(), asks);
        world_fini(&v.world);
    }
}

/* --- both ends --- */

struct transfer {
    struct world world;
    struct world_host *sender;
    uint64_t received;
    uint64_t sent;
};

static struct transfer t;

static void on_transfer_data(struct stream *s, struct bytes in, uint64_t now_us)
{
    (void)s;
    (void)now_us;
    assert_true(world_matches(&t.world, 0, t.received, in));
    t.received += in.size;
}

static void on_transfer_closed(struct stream *s, int error, uint64_t now_us)
{
    (void)s;
    (void)error;
    (void)now_us;
}

static const struct stream_events sink_events = {.data = on_transfer_data,
                                                 .closed = on_transfer_closed};

static int on_transfer_accept(void *user, struct stream *s, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    s->events = &sink_events;
    return 0;
}

static const struct listen_events sink = {.accept = on_transfer_accept};

static void on_room(struct stream *s, uint64_t now_us)
{
    (void)now_us;
    while (s->queued_bytes < 400000) {
        struct extent e = world_extent(t.sender, 0, t.sent, 100000);
        if (stream_send(s, &e, 1) < 0)
            break;
        t.sent += e.size;
    }
}

static const struct stream_events source_events = {
    .data = on_transfer_data, .sendable = on_room, .closed = on_transfer_closed};

/* 10 Mb/s and 20 ms, with a queue that marks above 15,000 bytes and drops above 60,000. */
static void test_ecn_keeps_a_queue_short_without_loss(void **state)
{
    const struct sim_impairment path = {
        .rate_bps = 10000000, .delay_us = 10000, .queue_bytes = 60000, .mark_bytes = 15000};
    const struct sim_port_config port = {.offloads = PORT_OFFLOAD_MULTI_SEGMENT};
    struct endpoint to;

    (void)state;
    for (int is_on = 0; is_on < 2; is_on++) {
        const struct net_config config = {.ecn = is_on ? NET_ECN_ON : NET_ECN_OFF};
        memset(&t, 0, sizeof(t));
        world_init(&t.world, 7);
        struct world_host *a = world_host_add(&t.world, "10.0.0.1/24", &config, &port, 4, 1 << 20);
        t.sender = world_host_add(&t.world, "10.0.0.2/24", &config, &port, 4, 1 << 20);
        sim_impair(t.sender->port, &path);
        sim_impair(a->port, &(struct sim_impairment){.delay_us = 10000});
        endpoint_parse("10.0.0.1:7000", &to);
        assert_int_equal(a->transport->ops->listen(a->transport, &to, &sink, NULL), 0);
        struct stream *s = t.sender->transport->ops->connect(t.sender->transport, &to,
                                                             &source_events, NULL, t.world.now_us);
        assert_non_null(s);
        s->low_water_bytes = 200000;
        world_turn(&t.world);
        world_run(&t.world, t.world.now_us + 10000000);
        uint64_t goodput_bps = t.received * 8 / 10;
        uint64_t lost = sim_port_stats(t.sender->port)->lost;
        uint64_t resent = count_of(&t.sender->counters.tcp_retransmits);
        if (goodput_bps < 8900000)
            fail_msg("%lu b/s with%s marks", goodput_bps, is_on ? "" : "out");
        assert_int_equal(lost > 0, !is_on);
        assert_int_equal(resent > 0, !is_on);
        assert_int_equal(count_of(&a->counters.tcp_ecn_marks),
                         sim_port_stats(t.sender->port)->marked);
        assert_int_equal(count_of(&t.sender->counters.tcp_ecn_reductions) > 2, is_on);
        world_fini(&t.world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ecn_is_agreed_on),
        cmocka_unit_test(test_ecn_is_withdrawn),
        cmocka_unit_test(test_ecn_survives_a_cookie),
        cmocka_unit_test(test_ecn_marks_new_data_alone),
        cmocka_unit_test(test_ecn_no_mark_on_window_probe),
        cmocka_unit_test(test_ecn_echoes_until_reaction),
        cmocka_unit_test(test_ecn_marked_data_that_waits_for_a_gap),
        cmocka_unit_test(test_ecn_ignores_marks_on_old_data),
        cmocka_unit_test(test_ecn_reduces_once_a_window),
        cmocka_unit_test(test_ecn_tells_of_reactions_to_losses),
        cmocka_unit_test(test_ecn_reaction_goes_alone),
        cmocka_unit_test(test_ecn_is_asked_for),
        cmocka_unit_test(test_ecn_is_given_up),
        cmocka_unit_test(test_ecn_simultaneous_open),
        cmocka_unit_test(test_ecn_keeps_a_queue_short_without_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
