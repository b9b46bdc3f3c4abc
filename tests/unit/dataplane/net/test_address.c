#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <errno.h>

#include "dataplane/net/stack.h"

static void test_address_reads_lists(void **state)
{
    struct net_config c = {0};

    (void)state;
    assert_int_equal(net_config_set_addresses(&c, "192.0.2.10/24,2001:db8::10/64"), 0);
    assert_int_equal(c.address_count, 2);
    assert_int_equal(c.addresses[0].family, 4);
    assert_int_equal(c.addresses[0].prefix_bits, 24);
    assert_int_equal(c.addresses[0].addr[3], 10);
    assert_int_equal(c.addresses[1].family, 6);
    assert_int_equal(c.addresses[1].addr[15], 0x10);
    assert_int_equal(net_config_set_gateways(&c, "192.0.2.1,fe80::1"), 0);
    assert_int_equal(c.gateway_v4.addr[3], 1);
    assert_int_equal(c.gateway_v6.addr[0], 0xfe);
    assert_int_equal(net_config_set_gateways(&c, ""), 0);
    assert_int_equal(c.gateway_v4.family, 0);
}

static void test_address_refuses_nonsense(void **state)
{
    static const char *const bad[] = {"",
                                      "192.0.2.10",
                                      "192.0.2.10/",
                                      "192.0.2.10/33",
                                      "192.0.2.10/0",
                                      "192.0.2/24",
                                      "192.0.2.10/24,",
                                      "2001:db8::/129",
                                      "10.0.0.1/8x",
                                      "224.0.0.1/4",
                                      "127.0.0.1/8",
                                      "0.0.0.0/24",
                                      "ff02::1/64",
                                      "::/64",
                                      "10.0.0.1/ 8",
                                      "10.0.0.1/+8",
                                      "10.0.0.1/24;1.1.1.1/24"};
    struct net_config c = {.address_count = 7};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (net_config_set_addresses(&c, bad[i]) != -EINVAL || c.address_count != 7)
            fail_msg("taken: \"%s\"", bad[i]);
    assert_int_equal(net_config_set_addresses(&c, "10.0.0.1/8,10.0.0.2/8,10.0.0.3/8,10.0.0.4/8,"
                                                  "10.0.0.5/8,10.0.0.6/8,10.0.0.7/8,10.0.0.8/8,"
                                                  "10.0.0.9/8"),
                     -ENOSPC);
    assert_int_equal(net_config_set_gateways(&c, "10.0.0.1,10.0.0.2"), -EINVAL);
    assert_int_equal(net_config_set_gateways(&c, "10.0.0.1/8"), -EINVAL);
    assert_int_equal(net_config_set_gateways(&c, "10.0.0.1,"), -EINVAL);
}

static void test_address_knows_its_link(void **state)
{
    static struct net_stack s;
    const uint8_t near[4] = {192, 0, 2, 130};
    const uint8_t far[4] = {192, 0, 3, 1};
    const uint8_t last[4] = {192, 0, 2, 255};
    const uint8_t all[4] = {255, 255, 255, 255};
    static struct counters counters;

    (void)state;
    s.counters = &counters;
    assert_int_equal(net_config_set_addresses(&s.config, "10.9.9.9/30,192.0.2.10/25"), 0);
    own_init(&s);
    assert_false(address_is_on_link(&s, 4, near));
    assert_int_equal(net_config_set_addresses(&s.config, "10.9.9.9/30,192.0.2.10/24"), 0);
    s.own_count = 0;
    own_init(&s);
    assert_true(address_is_on_link(&s, 4, near));
    assert_false(address_is_on_link(&s, 4, far));
    assert_true(address_is_broadcast(&s, last));
    assert_true(address_is_broadcast(&s, all));
    assert_false(address_is_broadcast(&s, near));
    assert_int_equal(address_for(&s, 4, near)[0], 192); /* the one of the same prefix */
    assert_int_equal(address_for(&s, 4, far)[0], 10);
    assert_null(address_for(&s, 6, far));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_reads_lists),
        cmocka_unit_test(test_address_refuses_nonsense),
        cmocka_unit_test(test_address_knows_its_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
