/* SYN cookies: what they carry, and how long, and what does not pass for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include "tests/sim/server.h"

static struct server v;

static const struct net_config crowded = {.backlog_max = 1};
static const struct tcp_options plain = {.mss = 1400};
static const struct tcp_options full = {.mss = 1460,
                                        .has_shift = true,
                                        .shift = 7,
                                        .is_sack_permitted = true,
                                        .has_timestamps = true,
                                        .ts_value = 5000};

/* A host whose only half-open place is taken. */
static void start_crowded(void)
{
    server_start(&v, &crowded, 64);
    server_syn(&v, 9, &plain);
    peer_drop_all(&v.peer);
}

static struct peer_segment expect(void)
{
    struct peer_segment s;

    assert_true(peer_next(&v.peer, &s));
    return s;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

static void test_syn_cookie_is_stateless(void **state)
{
    struct net_usage usage;

    (void)state;
    start_crowded();
    for (uint16_t port = 100; port < 200; port++)
        server_syn(&v, port, &full);
    net_usage(v.host->transport, &usage);
    assert_int_equal(usage.streams, 1);
    assert_int_equal(usage.half_open, 1);
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_sent), 100);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_carries_options(void **state)
{
    (void)state;
    start_crowded();
    assert_true(peer_handshake(&v.peer, &full));
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_accepted), 1);
    assert_int_equal(v.accepts, 1);
    const struct tcp_conn *c = server_conn(&v);
    assert_int_equal(c->peer_mss, 1460);
    assert_int_equal(c->snd_shift, 7);
    assert_int_equal(c->rcv_shift, 7);
    assert_int_equal(c->flags & (CONN_HAS_SACK | CONN_HAS_TIMESTAMPS | CONN_HAS_SCALE),
                     CONN_HAS_SACK | CONN_HAS_TIMESTAMPS | CONN_HAS_SCALE);
    assert_int_equal(c->srtt_us, 0); /* no measurement where none was possible */
    peer_drop_all(&v.peer);
    server_receive(&v, 100);
    assert_int_equal(v.received_bytes, 100);
    assert_int_equal(expect().ack, v.peer.snd_nxt);
    server_send(&v, 3000);
    assert_int_equal(expect().payload.size, 1448);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_carries_no_options(void **state)
{
    struct tcp_options scaled = {.mss = 1400, .has_shift = true, .is_sack_permitted = true};

    (void)state;
    start_crowded();
    assert_true(peer_handshake(&v.peer, &scaled)); /* no timestamps to carry the rest */
    const struct tcp_conn *c = server_conn(&v);
    assert_int_equal(c->peer_mss, 1400);
    assert_int_equal(c->flags & (CONN_HAS_SACK | CONN_HAS_TIMESTAMPS | CONN_HAS_SCALE), 0);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_rounds_segments_down(void **state)
{
    const uint16_t offers[][2] = {{0, 536},     {216, 216},   {535, 216},
                                  {1399, 1300}, {1459, 1440}, {65535, 8940}};

    (void)state;
    for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
        const struct tcp_options o = {.mss = offers[i][0]};
        start_crowded();
        assert_true(peer_handshake(&v.peer, &o));
        assert_int_equal(server_conn(&v)->peer_mss, offers[i][1]);
        assert_true(server_stop(&v));
    }
    start_crowded();
    assert_false(peer_handshake(&v.peer, &(struct tcp_options){.mss = 100}));
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_unfit), 1);
    assert_true(server_stop(&v));
}

/* SYN, then the ACK 'late_us' later, changed by 'wrong' in its acknowledgement number. */
static bool is_accepted(uint64_t late_us, uint32_t wrong)
{
    start_crowded();
    server_syn(&v, 0, &full);
    struct peer_segment reply = expect();
    server_wait(&v, late_us);
    peer_drop_all(&v.peer);
    peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt + 1,
                                              .ack = reply.seq + 1 + wrong,
                                              .flags = TCP_ACK,
                                              .window = 1000});
    bool is_ok = v.accepts == 1;
    if (!is_ok && late_us > 128000000) /* no cookies are out any more */
        assert_int_equal(expect().flags, TCP_RST);
    else if (!is_ok)
        assert_false(peer_next(&v.peer, &reply));
    assert_true(server_stop(&v));
    return is_ok;
}

/* The ACK with the cookie was lost, and the first data came after the second. */
static void test_syn_cookie_waits_for_the_first_data(void **state)
{
    static const uint8_t data[100];
    struct peer_segment reply;

    (void)state;
    start_crowded();
    server_syn(&v, 0, &full);
    reply = expect();
    for (uint32_t offset = 100; offset <= 100; offset -= 100) {
        peer_send(&v.peer, &(struct peer_segment){.seq = v.peer.snd_nxt + 1 + offset,
                                                  .ack = reply.seq + 1,
                                                  .flags = TCP_ACK,
                                                  .window = 1000,
                                                  .options = {.has_timestamps = true,
                                                              .ts_value = 5001,
                                                              .ts_echo = reply.options.ts_value},
                                                  .payload = bytes_of(data, sizeof(data))});
        assert_int_equal(v.accepts, offset == 0);
    }
    assert_int_equal(v.received_bytes, 100);
    assert_int_equal(expect().flags & TCP_RST, 0);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_believes_what_it_made(void **state)
{
    (void)state;
    assert_true(is_accepted(0, 0));
    assert_true(is_accepted(50000000, 0));
    assert_false(is_accepted(200000000, 0)); /* its secret is gone */
    for (uint32_t bit = 0; bit < 32; bit++)
        assert_false(is_accepted(0, 1u << bit));
}

static void test_syn_cookie_takes_no_guesses_in_peace(void **state)
{
    (void)state;
    server_start(&v, &(struct net_config){0}, 64);
    peer_send(&v.peer,
              &(struct peer_segment){.seq = 1, .ack = 1, .flags = TCP_ACK, .window = 1000});
    assert_int_equal(expect().flags, TCP_RST);
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_bad), 0);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_bounds_each_source(void **state)
{
    const struct net_config config = {.backlog_max = 32, .backlog_per_source_max = 3};
    struct net_usage usage;

    (void)state;
    server_start(&v, &config, 64);
    for (uint16_t port = 100; port < 110; port++)
        server_syn(&v, port, &plain);
    net_usage(v.host->transport, &usage);
    assert_int_equal(usage.half_open, 3);
    assert_int_equal(count_of(&v.host->counters.tcp_backlog_source_full), 7);
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_sent), 7);
    peer_drop_all(&v.peer);
    /* Another source is not its neighbour's victim. */
    v.peer.address.addr[3] = 98;
    server_syn(&v, 100, &plain);
    net_usage(v.host->transport, &usage);
    assert_int_equal(usage.half_open, 4);
    server_wait(&v, 120000000); /* all expire, and the counts with them */
    v.peer.address.addr[3] = 99;
    server_syn(&v, 100, &plain);
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_sent), 7);
    assert_true(server_stop(&v));
}

static void test_syn_cookie_refuses_when_full(void **state)
{
    (void)state;
    server_start(&v, &crowded, 1);
    server_syn(&v, 9, &plain);
    peer_drop_all(&v.peer);
    assert_false(peer_handshake(&v.peer, &full)); /* no place: no promise */
    assert_int_equal(count_of(&v.host->counters.tcp_cookies_sent), 0);
    assert_int_equal(count_of(&v.host->counters.tcp_no_connection_left), 1);
    assert_true(server_stop(&v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syn_cookie_is_stateless),
        cmocka_unit_test(test_syn_cookie_carries_options),
        cmocka_unit_test(test_syn_cookie_carries_no_options),
        cmocka_unit_test(test_syn_cookie_rounds_segments_down),
        cmocka_unit_test(test_syn_cookie_believes_what_it_made),
        cmocka_unit_test(test_syn_cookie_waits_for_the_first_data),
        cmocka_unit_test(test_syn_cookie_takes_no_guesses_in_peace),
        cmocka_unit_test(test_syn_cookie_bounds_each_source),
        cmocka_unit_test(test_syn_cookie_refuses_when_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
