#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/check.h"
#include "common/config/config.h"
#include "control/auth/publish.h"

static struct config cfg;

static void test_publish_knows_right_and_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *key;
        enum link_verdict verdict;
    } cases[] = {
        {"demo", "s3cret", LINK_ALLOWED},        {"other", "x", LINK_ALLOWED},
        {"demo", "s3cre", LINK_WRONG_KEY},       {"demo", "s3crett", LINK_WRONG_KEY},
        {"demo", "S3cret", LINK_WRONG_KEY},      {"demo", "", LINK_WRONG_KEY},
        {"demo", "x", LINK_WRONG_KEY}, /* another channel's */
        {"dem", "s3cret", LINK_UNKNOWN_CHANNEL}, {"demoo", "s3cret", LINK_UNKNOWN_CHANNEL},
        {"", "", LINK_UNKNOWN_CHANNEL},          {"nobody", "", LINK_UNKNOWN_CHANNEL},
    };

    config_defaults(&cfg);
    assert_int_equal(config_add_channel(&cfg, "demo", "s3cret"), 0);
    assert_int_equal(config_add_channel(&cfg, "other", "x"), 0);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        enum link_verdict verdict = publish_check(&cfg, cases[i].name, cases[i].key);
        if (verdict != cases[i].verdict)
            fail_msg("%s with key \"%s\": expected %s, came %s", cases[i].name, cases[i].key,
                     link_verdict_name(cases[i].verdict), link_verdict_name(verdict));
    }
}

static void test_publish_without_channels_knows_nobody(void **state)
{
    (void)state;
    config_defaults(&cfg);
    assert_int_equal(publish_check(&cfg, "", ""), LINK_UNKNOWN_CHANNEL);
    assert_int_equal(publish_check(&cfg, "demo", "k"), LINK_UNKNOWN_CHANNEL);
}

static void test_publish_takes_the_longest_name_and_key(void **state)
{
    (void)state;
    char name[CHANNEL_NAME_MAX + 1];
    char key[STREAM_KEY_MAX + 1];

    memset(name, 'n', CHANNEL_NAME_MAX);
    name[CHANNEL_NAME_MAX] = '\0';
    memset(key, 'k', STREAM_KEY_MAX);
    key[STREAM_KEY_MAX] = '\0';
    config_defaults(&cfg);
    assert_int_equal(config_add_channel(&cfg, name, key), 0);
    assert_int_equal(publish_check(&cfg, name, key), LINK_ALLOWED);
    key[STREAM_KEY_MAX - 1] = 'x';
    assert_int_equal(publish_check(&cfg, name, key), LINK_WRONG_KEY);
}

/* A shorter key that replaced a longer one leaves nothing of it. */
static void test_publish_uses_the_replaced_key(void **state)
{
    (void)state;
    config_defaults(&cfg);
    assert_int_equal(config_add_channel(&cfg, "demo", "a-long-key"), 0);
    assert_int_equal(config_add_channel(&cfg, "demo", "short"), 0);
    assert_int_equal(publish_check(&cfg, "demo", "short"), LINK_ALLOWED);
    assert_int_equal(publish_check(&cfg, "demo", "a-long-key"), LINK_WRONG_KEY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish_knows_right_and_wrong),
        cmocka_unit_test(test_publish_without_channels_knows_nobody),
        cmocka_unit_test(test_publish_takes_the_longest_name_and_key),
        cmocka_unit_test(test_publish_uses_the_replaced_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
