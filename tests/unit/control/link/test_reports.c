#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "control/link/reports.h"

static int setup(void **state)
{
    *state = reports_new();
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct reports *r = *state;

    reports_free(&r);
    assert_null(r);
    return 0;
}

static struct link_channel_report report_of(const char *name, enum link_channel_state channel_state)
{
    struct link_channel_report report = {.state = channel_state};

    snprintf(report.name, sizeof(report.name), "%s", name);
    return report;
}

static void test_reports_channels_come_and_go(void **state)
{
    struct reports *r = *state;
    struct link_channel_report a = report_of("a", LINK_CHANNEL_LIVE);
    struct link_channel_report b = report_of("b", LINK_CHANNEL_WAITING);
    size_t count = 0;

    assert_int_equal(reports_channel(r, &a, 1), 0);
    assert_int_equal(reports_channel(r, &b, 2), 0);
    a.connections = 5;
    assert_int_equal(reports_channel(r, &a, 3), 0);
    reports_channels(r, 3, &count);
    assert_int_equal(count, 2);
    assert_int_equal(reports_find(r, "a", 3)->connections, 5);
    assert_null(reports_find(r, "c", 3));
    a.state = LINK_CHANNEL_ENDED;
    assert_int_equal(reports_channel(r, &a, 4), 0);
    assert_int_equal(reports_channel(r, &a, 4), 0);
    assert_null(reports_find(r, "a", 4));
    assert_non_null(reports_find(r, "b", 4));
    reports_clear(r);
    reports_channels(r, 4, &count);
    assert_int_equal(count, 0);
}

static void test_reports_channels_age(void **state)
{
    struct reports *r = *state;
    struct link_channel_report a = report_of("a", LINK_CHANNEL_LIVE);
    struct link_channel_report b = report_of("b", LINK_CHANNEL_LIVE);

    reports_channel(r, &a, 0);
    reports_channel(r, &b, 1);
    assert_non_null(reports_find(r, "a", REPORTS_CHANNEL_AGE_US));
    assert_null(reports_find(r, "a", REPORTS_CHANNEL_AGE_US + 1));
    assert_non_null(reports_find(r, "b", REPORTS_CHANNEL_AGE_US + 1));
}

static void test_reports_channels_are_bounded(void **state)
{
    struct reports *r = *state;
    char name[CHANNEL_NAME_MAX];

    for (int i = 0; i < REPORTS_CHANNELS_MAX; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        struct link_channel_report report = report_of(name, LINK_CHANNEL_LIVE);
        assert_int_equal(reports_channel(r, &report, 0), 0);
    }
    struct link_channel_report one_more = report_of("more", LINK_CHANNEL_LIVE);
    assert_int_equal(reports_channel(r, &one_more, 0), -ENOSPC);
}

static void test_reports_counters_take_effect_whole(void **state)
{
    struct reports *r = *state;
    struct link_counters page = {.is_first = true, .count = 2};
    size_t count = 9;

    page.list[0].value = 10;
    assert_int_equal(reports_counters(r, &page), 0);
    reports_counter_list(r, &count);
    assert_int_equal(count, 0);
    page = (struct link_counters){.is_last = true, .count = 1};
    page.list[0].value = 30;
    assert_int_equal(reports_counters(r, &page), 0);
    const struct link_counter *list = reports_counter_list(r, &count);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].value, 10);
    assert_int_equal(list[2].value, 30);
    assert_int_equal(reports_counters(r, &page), -EPROTO); /* no first page before it */
}

static void test_reports_counters_are_bounded(void **state)
{
    struct reports *r = *state;
    struct link_counters page = {.is_first = true, .count = LINK_COUNTERS_PER_PAGE};
    int status = 0;

    for (int i = 0; i < 100 && status == 0; i++) {
        status = reports_counters(r, &page);
        page.is_first = false;
    }
    assert_int_equal(status, -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_reports_channels_come_and_go), TEST(test_reports_channels_age),
        TEST(test_reports_channels_are_bounded), TEST(test_reports_counters_take_effect_whole),
        TEST(test_reports_counters_are_bounded),
#undef TEST
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
