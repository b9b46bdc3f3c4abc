/* What a connection may have of its own: keepalive, user timeout, window, segment size. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

#include "tests/sim/server.h"

static struct server v;
static struct tcp_settings settings;

static const struct net_config standard = {0};
static const struct tcp_options plain = {.mss = 1460};
static const struct tcp_options full = {.mss = 1460,
                                        .has_shift = true,
                                        .shift = 7,
                                        .is_sack_permitted = true,
                                        .has_timestamps = true,
                                        .ts_value = 5000};

static void establish(const struct tcp_options *options)
{
    server_start(&v, &standard, 64);
    assert_true(peer_handshake(&v.peer, options));
    peer_drop_all(&v.peer);
    settings = (struct tcp_settings){0};
}

static struct peer_segment expect(void)
{
    struct peer_segment s;

    assert_true(peer_next(&v.peer, &s));
    return s;
}

static void expect_nothing(void)
{
    struct peer_segment s;

    assert_false(peer_next(&v.peer, &s));
}

static void test_settings_keepalive(void **state)
{
    (void)state;
    establish(&plain);
    settings = (struct tcp_settings){
        .keepalive_idle_ms = 2000, .keepalive_interval_ms = 1000, .keepalive_probes_max = 2};
    tcp_conn_use(v.stack, server_conn(&v), &settings);
    server_wait(&v, 1990000);
    expect_nothing();
    server_wait(&v, 20000);
    assert_int_equal(expect().seq, v.peer.rcv_nxt - 1);
    server_wait(&v, 1000000);
    assert_int_equal(expect().seq, v.peer.rcv_nxt - 1);
    assert_int_equal(v.closes, 0);
    server_wait(&v, 1000000);
    assert_int_equal(expect().flags, TCP_RST | TCP_ACK);
    assert_int_equal(v.error, -ETIMEDOUT);
    assert_true(server_stop(&v));

    establish(&plain);
    settings.is_keepalive_off = true;
    tcp_conn_use(v.stack, server_conn(&v), &settings);
    server_wait(&v, 7200000000);
    expect_nothing();
    assert_int_equal(v.closes, 0);
    assert_true(server_stop(&v));
}

static void test_settings_user_timeout(void **state)
{
    (void)state;
    establish(&plain);
    settings.user_timeout_ms = 3000;
    tcp_conn_use(v.stack, server_conn(&v), &settings);
    server_send(&v, 1000);
    server_wait(&v, 2990000);
    assert_int_equal(v.closes, 0);
    server_wait(&v, 20000);
    assert_int_equal(v.closes, 1);
    assert_int_equal(v.error, -ETIMEDOUT);
    struct peer_segment s;
    while (peer_next(&v.peer, &s)) /* gone without a reset */
        assert_int_equal(s.flags & TCP_RST, 0);
    assert_true(server_stop(&v));

    /* At a closed window, though its owner answers. */
    establish(&plain);
    settings.user_timeout_ms = 3000;
    tcp_conn_use(v.stack, server_conn(&v), &settings);
    v.peer.window = 0;
    peer_ack(&v.peer, v.peer.rcv_nxt);
    server_send(&v, 1000);
    for (int i = 0; i < 50 && v.closes == 0; i++) {
        server_wait(&v, 100000);
        peer_drop_all(&v.peer);
        if (v.closes == 0)
            peer_ack(&v.peer, v.peer.rcv_nxt);
    }
    assert_int_equal(v.error, -ETIMEDOUT);
    assert_true(server_stop(&v));
}

static void test_settings_of_a_listener(void **state)
{
    const struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};
    const struct endpoint other = {.family = 6, .port = 81};

    (void)state;
    server_start(&v, &standard, 64);
    settings = (struct tcp_settings){.mss_max = 1000, .receive_window_bytes = 5000};
    assert_int_equal(tcp_listener_use(v.stack, &any, &settings), 0);
    assert_int_equal(tcp_listener_use(v.stack, &other, &settings), -ENOENT);
    server_syn(&v, 0, &full);
    struct peer_segment reply = expect();
    assert_int_equal(reply.options.mss, 1000);
    assert_int_equal(reply.options.shift, 0);
    assert_int_equal(reply.window, 4940); /* of 988 each */
    v.peer.snd_nxt++;
    v.peer.has_timestamps = true;
    v.peer.ts_value = 5001;
    peer_ack(&v.peer, reply.seq + 1);
    assert_int_equal(server_conn(&v)->mss, 988);
    assert_true(server_stop(&v));
}

static void test_settings_congestion_of_a_listener(void **state)
{
    const struct endpoint any = {.family = 6, .port = PEER_HOST_PORT};
    const struct endpoint other = {.family = 6, .port = 81};
    const struct net_config crowded = {.backlog_max = 1};

    (void)state;
    for (int has_cookie = 0; has_cookie < 2; has_cookie++) {
        server_start(&v, has_cookie ? &crowded : &standard, 64);
        struct transport *t = v.host->transport;
        assert_int_equal(net_listener_set_congestion(t, &any, "vegas"), -ENOENT);
        assert_int_equal(net_listener_set_congestion(t, &other, "reno"), -ENOENT);
        if (has_cookie)
            server_syn(&v, 9, &full);
        peer_drop_all(&v.peer);
        assert_true(peer_handshake(&v.peer, &full));
        assert_ptr_equal(server_conn(&v)->congestion.ops, &tcp_cubic);
        assert_int_equal(net_listener_set_congestion(t, &any, "reno"), 0);
        assert_ptr_equal(server_conn(&v)->congestion.ops, &tcp_cubic); /* as it was */
        stream_abort(v.stream);
        world_turn(&v.world);
        peer_drop_all(&v.peer);
        v.peer.snd_nxt += 100000;
        assert_true(peer_handshake(&v.peer, &full));
        assert_ptr_equal(server_conn(&v)->congestion.ops, &tcp_reno);
        assert_int_equal(server_conn(&v)->congestion.cwnd_bytes, 10 * server_conn(&v)->mss);
        assert_int_equal(counter_read(&v.host->counters.tcp_cookies_accepted), 2 * has_cookie);
        assert_true(server_stop(&v));
    }
}

static void test_settings_orphan(void **state)
{
    (void)state;
    establish(&plain);
    tcp_conn_orphan(v.stack, server_conn(&v));
    stream_shutdown(v.stream);
    world_turn(&v.world);
    struct peer_segment fin = expect();
    peer_ack(&v.peer, fin.seq + 1);
    v.peer.rcv_nxt = fin.seq + 1;
    server_receive(&v, 10); /* nobody will read it */
    struct peer_segment reset = expect();
    assert_int_equal(reset.flags, TCP_RST);
    assert_int_equal(reset.seq, fin.seq + 1);
    assert_int_equal(v.closes, 1);
    assert_int_equal(v.received_bytes, 0);
    assert_true(server_stop(&v));
}

/* Half closed: a user that still receives waits as long as its peer likes, an orphan does not. */
static void test_settings_fin_wait_2(void **state)
{
    (void)state;
    establish(&plain);
    settings = (struct tcp_settings){.is_keepalive_off = true, .fin_wait_2_ms = 5000};
    tcp_conn_use(v.stack, server_conn(&v), &settings);
    stream_shutdown(v.stream);
    world_turn(&v.world);
    struct peer_segment fin = expect();
    peer_ack(&v.peer, fin.seq + 1);
    v.peer.rcv_nxt = fin.seq + 1;
    server_wait(&v, 600000000);
    expect_nothing();
    assert_int_equal(v.closes, 0);
    assert_int_equal(server_conn(&v)->state, TCP_FIN_WAIT_2);

    world_turn(&v.world); /* the stack's clock stood still */
    tcp_conn_orphan(v.stack, server_conn(&v));
    server_wait(&v, 4990000);
    assert_int_equal(v.closes, 0);
    server_wait(&v, 20000);
    assert_int_equal(v.closes, 1);
    assert_int_equal(v.error, 0);
    assert_int_equal(v.host->counters.tcp_fin_waits_expired, 1);
    expect_nothing();
    assert_true(server_stop(&v));
}

static void test_settings_info(void **state)
{
    struct tcp_conn_info info;

    (void)state;
    establish(&full);
    server_send(&v, 1000);
    server_receive(&v, 200);
    tcp_conn_info(v.stack, server_conn(&v), &info);
    assert_int_equal(info.state, TCP_ESTABLISHED);
    assert_int_equal(info.mss, 1448);
    assert_int_equal(info.advertised_mss, 1460);
    assert_int_equal(info.unacked_bytes, 1000);
    assert_int_equal(info.unsent_bytes, 0);
    assert_int_equal(info.bytes_received, 201);
    assert_int_equal(info.snd_shift, 7);
    assert_true(info.has_sack && info.has_timestamps);
    assert_true(server_stop(&v));
}

/* Above the bound, peers that keep their window closed for long are reset. */
static void test_settings_bound_closed_windows(void **state)
{
    const struct net_config config = {.persisting_max = 1, .persist_ms = 5000};

    (void)state;
    server_start(&v, &config, 64);
    for (uint16_t i = 0; i < 2; i++) {
        struct peer_segment reply;
        v.peer.snd_nxt = 1000;
        server_syn(&v, (uint16_t)(7000 + i), &plain);
        reply = expect();
        peer_send(&v.peer, &(struct peer_segment){.seq = 1001,
                                                  .ack = reply.seq + 1,
                                                  .flags = TCP_ACK,
                                                  .peer_port = (uint16_t)(7000 + i)});
        server_send(&v, 1000);
    }
    assert_int_equal(v.accepts, 2);
    server_wait(&v, 4000000);
    assert_int_equal(v.stack->tcp.persisting, 2);
    assert_int_equal(v.closes, 0);
    server_wait(&v, 20000000);
    assert_int_equal(v.closes, 1);
    assert_int_equal(v.stack->tcp.persisting, 1);
    assert_int_equal(counter_read(&v.host->counters.tcp_persists_reset), 1);
    assert_true(server_stop(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_keepalive),
        cmocka_unit_test(test_settings_user_timeout),
        cmocka_unit_test(test_settings_of_a_listener),
        cmocka_unit_test(test_settings_congestion_of_a_listener),
        cmocka_unit_test(test_settings_orphan),
        cmocka_unit_test(test_settings_fin_wait_2),
        cmocka_unit_test(test_settings_info),
        cmocka_unit_test(test_settings_bound_closed_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
