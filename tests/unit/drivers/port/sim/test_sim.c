#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <stdint.h>

#include "drivers/port/sim/sim.h"

enum { FRAMES = 200 };

struct pair {
    struct sim_wire *wire;
    struct port *a;
    struct port *b;
};

static void pair_new(struct pair *p, uint64_t seed, const struct sim_port_config *from)
{
    struct sim_port_config config = *from;

    p->wire = sim_wire_new(seed);
    assert_non_null(p->wire);
    memcpy(config.mac, "\2\0\0\0\0\1", 6);
    assert_int_equal(sim_port_new(p->wire, &config, &p->a), 0);
    memcpy(config.mac, "\2\0\0\0\0\2", 6);
    assert_int_equal(sim_port_new(p->wire, &config, &p->b), 0);
}

static void pair_free(struct pair *p)
{
    p->a->driver->close(&p->a);
    p->b->driver->close(&p->b);
    sim_wire_free(&p->wire);
}

static bool send_frame(struct port *from, uint8_t number, uint64_t now_us)
{
    struct port_queue *q = from->driver->queue(from, 0);
    uint8_t *h = from->driver->tx_begin(q, false);

    if (h == NULL)
        return false;
    memset(h, 0, 60);
    memcpy(h, "\2\0\0\0\0\2\2\0\0\0\0\1", 12);
    h[20] = number;
    assert_int_equal(
        from->driver->tx_commit(q, &(struct packet_out){.header_size = 60, .l2_size = 14}), 0);
    from->driver->tx_flush(q, now_us);
    return true;
}

/* Everything that has arrived by 'now_us'; the numbers of the frames in 'out'. */
static unsigned receive(struct port *to, uint64_t now_us, uint8_t *out)
{
    struct port_queue *q = to->driver->queue(to, 0);
    struct packet_in packets[PORT_BURST_MAX];
    unsigned count = 0;
    unsigned got;

    while ((got = to->driver->rx_burst(q, packets, PORT_BURST_MAX, now_us)) > 0) {
        for (unsigned i = 0; i < got; i++)
            out[count++] = packets[i].frame.ptr[20];
        to->driver->rx_done(q, packets, got);
    }
    return count;
}

static void test_sim_delivers_when_time_has_come(void **state)
{
    const struct sim_port_config config = {0};
    struct pair p;
    uint8_t out[8];

    (void)state;
    pair_new(&p, 1, &config);
    sim_impair(p.a, &(struct sim_impairment){.delay_us = 500});
    assert_true(send_frame(p.a, 9, 1000));
    assert_int_equal(sim_wire_next_us(p.wire), 1500);
    assert_int_equal(receive(p.b, 1499, out), 0);
    assert_int_equal(receive(p.b, 1500, out), 1);
    assert_int_equal(out[0], 9);
    assert_int_equal(sim_wire_next_us(p.wire), UINT64_MAX);
    pair_free(&p);
}

static unsigned impaired_run(uint64_t seed, uint8_t *out)
{
    const struct sim_port_config config = {0};
    struct pair p;

    pair_new(&p, seed, &config);
    sim_impair(p.a, &(struct sim_impairment){.loss_ppm = 200000,
                                             .duplicate_ppm = 100000,
                                             .reorder_ppm = 200000,
                                             .reorder_us = 1000,
                                             .delay_us = 100,
                                             .jitter_us = 50});
    for (uint8_t i = 0; i < FRAMES; i++)
        assert_true(send_frame(p.a, i, i * 100u));
    unsigned count = receive(p.b, 10000000, out);
    const struct sim_stats *stats = sim_port_stats(p.a);
    assert_int_equal(count, FRAMES - stats->lost + stats->duplicated);
    assert_in_range(stats->lost, 20, 60);
    assert_in_range(stats->duplicated, 5, 40);
    assert_in_range(stats->reordered, 15, 60);
    pair_free(&p);
    return count;
}

static void test_sim_repeats_itself(void **state)
{
    uint8_t one[2 * FRAMES];
    uint8_t two[2 * FRAMES];

    (void)state;
    unsigned count = impaired_run(5, one);
    assert_int_equal(impaired_run(5, two), count);
    assert_memory_equal(one, two, count);
    (void)impaired_run(6, two);
    assert_memory_not_equal(one, two, 100);
}

static void test_sim_runs_out_of_packets(void **state)
{
    const struct sim_port_config config = {.tx_packets_max = 3};
    struct pair p;
    uint8_t out[8];

    (void)state;
    pair_new(&p, 1, &config);
    for (uint8_t i = 0; i < 3; i++)
        assert_true(send_frame(p.a, i, 0));
    assert_false(send_frame(p.a, 4, 0));
    struct port_queue *q = p.a->driver->queue(p.a, 0);
    assert_non_null(p.a->driver->tx_begin(q, true)); /* the reserve */
    p.a->driver->tx_cancel(q);
    assert_int_equal(receive(p.b, 0, out), 3);
    assert_true(send_frame(p.a, 5, 0));
    pair_free(&p);
}

static void test_sim_limits_the_rate(void **state)
{
    const struct sim_port_config config = {0};
    struct pair p;
    uint8_t out[FRAMES];

    (void)state;
    pair_new(&p, 1, &config);
    sim_impair(p.a,
               &(struct sim_impairment){.rate_bps = 480000, .queue_bytes = 300}); /* 1 ms each */
    for (uint8_t i = 0; i < 20; i++)
        assert_true(send_frame(p.a, i, 0));
    assert_in_range(sim_port_stats(p.a)->lost, 13, 15);
    assert_int_equal(receive(p.b, 1000, out), 1);
    assert_int_equal(receive(p.b, 3000, out), 2);
    pair_free(&p);
}

static void test_sim_shares_a_rate(void **state)
{
    const struct sim_impairment slow = {.rate_bps = 480000}; /* 1 ms each */
    const struct sim_port_config config = {0};
    struct port *other;
    struct pair p;
    uint8_t out[FRAMES];

    (void)state;
    pair_new(&p, 1, &config);
    sim_impair(p.a, &slow);
    assert_int_equal(sim_port_new(p.wire, &config, &other), 0);
    sim_share_rate(other, p.a);
    assert_true(send_frame(p.a, 0, 0));
    assert_true(send_frame(other, 1, 0));
    assert_true(send_frame(p.a, 2, 0));
    assert_int_equal(receive(p.b, 1999, out), 1);
    assert_int_equal(receive(p.b, 2999, out), 1);
    assert_int_equal(out[0], 1); /* the other's, in its turn */
    assert_int_equal(receive(p.b, 3000, out), 1);
    other->driver->close(&other);
    pair_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_delivers_when_time_has_come),
        cmocka_unit_test(test_sim_repeats_itself),
        cmocka_unit_test(test_sim_runs_out_of_packets),
        cmocka_unit_test(test_sim_limits_the_rate),
        cmocka_unit_test(test_sim_shares_a_rate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
