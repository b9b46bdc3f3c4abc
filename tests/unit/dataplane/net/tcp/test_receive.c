/* When data is acknowledged, and how much is offered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "tests/sim/server.h"

static struct server v;

static const struct tcp_options plain = {.mss = 1460};
static const struct tcp_options full = {.mss = 1460,
                                        .has_shift = true,
                                        .shift = 7,
                                        .is_sack_permitted = true,
                                        .has_timestamps = true,
                                        .ts_value = 5000};

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

/* Handshake, 'rtt_us' long; then past the quick mode, with segments of 1,000 bytes. */
static void establish_past_quick(void)
{
    server_start(&v, &(struct net_config){0}, 8);
    assert_true(peer_handshake(&v.peer, &plain));
    peer_drop_all(&v.peer);
    for (int i = 0; i < 40; i++) {
        server_wait(&v, 1000);
        server_receive(&v, 1000);
    }
    server_wait(&v, 100000);
    peer_drop_all(&v.peer);
}

static void test_receive_offers_whole_segments_first(void **state)
{
    (void)state;
    server_start(&v, &(struct net_config){0}, 8);
    server_syn(&v, 1, &plain);
    assert_int_equal(expect().window, 64240); /* 44 of 1460 */
    server_syn(&v, 2, &full);
    struct peer_segment reply = expect();
    assert_int_equal(reply.window, 65160); /* 45 of 1448 */
    assert_int_equal(reply.options.shift, 7);
    assert_true(server_stop(&v));
}

static void test_receive_acknowledges_every_second_segment(void **state)
{
    (void)state;
    establish_past_quick();
    server_receive(&v, 1000);
    expect_nothing();
    server_receive(&v, 1000);
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    server_receive(&v, 1000);
    expect_nothing();
    server_wait(&v, 39000);
    expect_nothing();
    server_wait(&v, 2000);
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    assert_true(server_stop(&v));
}

static void test_receive_answers_with_data_in_conversation(void **state)
{
    (void)state;
    server_start(&v, &(struct net_config){0}, 8);
    assert_true(peer_handshake(&v.peer, &plain));
    server_receive(&v, 100);
    peer_drop_all(&v.peer);
    server_send(&v, 200); /* at once: it is a conversation from now on */
    v.peer.rcv_nxt = expect().seq + 200;
    server_receive(&v, 100);
    expect_nothing(); /* the answer will acknowledge */
    server_send(&v, 200);
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    expect_nothing();
    assert_true(server_stop(&v));
}

static void test_receive_acknowledges_duplicates_at_once(void **state)
{
    (void)state;
    establish_past_quick();
    v.peer.snd_nxt -= 1000;
    server_receive(&v, 1000);
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    server_receive(&v, 1000); /* and what follows: quick mode again */
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    assert_true(server_stop(&v));
}

/* Half a window a round trip of 20 ms, then whole ones: the window grows, to its bound. */
static void test_receive_grows_the_window(void **state)
{
    const struct net_config config = {.receive_window_bytes = 65536,
                                      .receive_window_max_bytes = 1 << 20};
    uint32_t before = 0;

    (void)state;
    server_start(&v, &config, 8);
    server_syn(&v, 0, &full);
    struct peer_segment reply = expect();
    server_wait(&v, 20000);
    v.peer.snd_nxt++;
    v.peer.rcv_nxt = reply.seq + 1;
    v.peer.has_timestamps = true;
    v.peer.ts_value = 5001;
    peer_ack(&v.peer, v.peer.rcv_nxt);
    for (int round = 0; round < 40; round++) {
        const struct tcp_conn *c = server_conn(&v);
        uint32_t window = c->rcv_edge - c->rcv_nxt;
        for (uint32_t sent = 0; sent + 1448 <= window; sent += 1448) {
            server_receive(&v, 1448);
            peer_drop_all(&v.peer);
        }
        server_wait(&v, 20500);
        peer_drop_all(&v.peer);
        assert_true(c->rcv_budget_bytes >= before);
        before = c->rcv_budget_bytes;
    }
    assert_int_equal(before, 1 << 20);
    assert_true(counter_read(&v.host->counters.tcp_window_growths) >= 1);
    assert_true(server_stop(&v));
}

/* A user that does not consume closes the window, and opens it by much or not at all. */
static void test_receive_avoids_silly_windows(void **state)
{
    const struct net_config config = {.receive_window_bytes = 14600};

    (void)state;
    server_start(&v, &config, 8);
    assert_true(peer_handshake(&v.peer, &plain));
    struct tcp_conn *c = server_conn(&v);
    for (uint32_t held = 1460; held <= 11 * 1460; held += 1460) {
        server_receive(&v, 1460);
        tcp_conn_hold(v.stack, c, held);
        world_turn(&v.world);
    }
    server_wait(&v, 300000);
    peer_drop_all(&v.peer);
    assert_int_equal(c->rcv_edge - c->rcv_nxt, 0);
    tcp_conn_hold(v.stack, c, 14000); /* less than a segment is free */
    world_turn(&v.world);
    expect_nothing();
    tcp_conn_hold(v.stack, c, 7000);
    world_turn(&v.world);
    assert_int_equal(expect().window, 7600);
    assert_true(server_stop(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_receive_offers_whole_segments_first),
        cmocka_unit_test(test_receive_acknowledges_every_second_segment),
        cmocka_unit_test(test_receive_answers_with_data_in_conversation),
        cmocka_unit_test(test_receive_acknowledges_duplicates_at_once),
        cmocka_unit_test(test_receive_grows_the_window),
        cmocka_unit_test(test_receive_avoids_silly_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
