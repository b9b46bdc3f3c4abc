#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/config.h"

static struct config cfg; /* too large for a stack */

static int parse(const char *text, char error[static CONFIG_ERROR_MAX])
{
    return config_parse(bytes_of_str(text), "leat.yaml", &cfg, error);
}

static void assert_reads(const char *text)
{
    char error[CONFIG_ERROR_MAX];

    if (parse(text, error) != 0)
        fail_msg("refused:\n%s\n%s", text, error);
}

static void assert_refused(const char *text, const char *expected)
{
    char error[CONFIG_ERROR_MAX];

    if (parse(text, error) != -EINVAL)
        fail_msg("accepted:\n%s\nexpected: %s", text, expected);
    if (strcmp(error, expected) != 0)
        fail_msg("for:\n%s\nexpected: %s\ncame:     %s", text, expected, error);
}

static void test_config_empty_text_is_the_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "\n", "# nothing\n", "---\n", "{}\n", "http:\n"};

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        memset(&cfg, 0xff, sizeof(cfg));
        assert_reads(texts[i]);
        assert_int_equal(cfg.http_listen.port, 8080);
        assert_int_equal(cfg.rtmp_listen.port, 1935);
        assert_int_equal(cfg.management_listen.port, 9180);
        assert_int_equal(cfg.management_listen.family, 4);
        assert_int_equal(cfg.media_part, 200);
        assert_true(cfg.shards_pin);
        assert_string_equal(cfg.net_mode.text, "auto");
        assert_int_equal(cfg.channel_count, 0);
    }
}

static void test_config_reads_every_type(void **state)
{
    (void)state;
    assert_reads("shards: { count: 4, pin: false }\n"
                 "net:\n"
                 "  mode: uring\n"
                 "  send_queue: 64KiB\n"
                 "port:\n"
                 "  device: net_tap0,iface=leat0\n"
                 "  address: 192.0.2.10/24, 2001:db8::10/64\n"
                 "  gateway: \"192.0.2.1\"\n"
                 "rtmp:\n"
                 "  listen: 127.0.0.1:1936\n"
                 "http:\n"
                 "  listen: \"[::1]:80\"\n"
                 "  cors_origin: \"\"\n"
                 "  send_timeout: 1m\n"
                 "management:\n"
                 "  listen: \"\"\n"
                 "media:\n"
                 "  part: 333\n"
                 "  segment: 4s\n");
    assert_int_equal(cfg.shards_count, 4);
    assert_false(cfg.shards_pin);
    assert_string_equal(cfg.net_mode.text, "uring");
    assert_int_equal(cfg.net_send_queue, 65536);
    assert_string_equal(cfg.port_device.text, "net_tap0,iface=leat0");
    assert_string_equal(cfg.port_address.text, "192.0.2.10/24, 2001:db8::10/64");
    assert_int_equal(cfg.rtmp_listen.port, 1936);
    assert_int_equal(cfg.http_listen.family, 6);
    assert_string_equal(cfg.http_cors_origin.text, "");
    assert_int_equal(cfg.http_send_timeout, 60000);
    assert_int_equal(cfg.management_listen.family, 0);
    assert_int_equal(cfg.media_part, 333);
    assert_int_equal(cfg.media_segment, 4000);
}

/* Long: a table with one case for each kind of fault. */
static void test_config_refuses_with_line_key_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"htpt:\n  listen: \"*:80\"\n",
         "leat.yaml:1: htpt: there is no such section; the nearest is http"},
        {"media:\n  window: 10\n  segmnet: 2s\n",
         "leat.yaml:3: media.segmnet: there is no such key; the nearest is segment"},
        {"http:\n  reconnect_grace: 2s\n",
         "leat.yaml:2: http.reconnect_grace: there is no such key; the nearest is "
         "media.reconnect_grace"},
        {"shards:\n  pin: no\n", "leat.yaml:2: shards.pin: expected true or false, found \"no\""},
        {"shards:\n  pin: 1\n", "leat.yaml:2: shards.pin: expected true or false, found \"1\""},
        {"shards:\n  count: \"2\"\n",
         "leat.yaml:2: shards.count: expected a whole number, found the quoted text \"2\""},
        {"shards:\n  count: 0\n", "leat.yaml:2: shards.count: \"0\" is out of range: 1 to 128"},
        {"shards:\n  count: 010\n",
         "leat.yaml:2: shards.count: expected a number without leading zeros, found \"010\""},
        {"shards:\n  count: 0x10\n",
         "leat.yaml:2: shards.count: expected a whole number, found \"0x10\""},
        {"shards:\n  count:\n",
         "leat.yaml:2: shards.count: expected a whole number, found nothing"},
        {"shards:\n  count: [1]\n", "leat.yaml:2: shards.count: expected one value, found a list"},
        {"shards:\n  count: {a: 1}\n",
         "leat.yaml:2: shards.count: expected one value, found a map"},
        {"media:\n  part: 200KiB\n",
         "leat.yaml:2: media.part: expected a duration such as 200ms, 2s "
         "or 1m, found \"200KiB\""},
        {"media:\n  part: 1h\n", "leat.yaml:2: media.part: \"1h\" is out of range: 50ms to 2s"},
        {"store:\n  memory: 64KB\n",
         "leat.yaml:2: store.memory: expected a size such as 64KiB, 512MiB "
         "or 1GiB, found \"64KB\""},
        {"store:\n  memory: 99999999999999999999\n",
         "leat.yaml:2: store.memory: \"99999999999999999999\" is out of range: 8MiB to 16TiB"},
        {"net:\n  mode: urign\n", "leat.yaml:2: net.mode: expected one of auto|uring|dpdk (the "
                                  "nearest is uring), found \"urign\""},
        {"http:\n  congestion: vegas\n", "leat.yaml:2: http.congestion: expected \"\" or one of "
                                         "cubic|reno|bbr (the nearest is reno), "
                                         "found \"vegas\""},
        {"http:\n  listen: 8080\n",
         "leat.yaml:2: http.listen: expected an address and port such as \"*:8080\", "
         "\"127.0.0.1:9180\" or \"[::1]:80\" (\"\" for none), found \"8080\""},
        {"http:\n  listen: *:80\n",
         "leat.yaml:2: a value that begins with * is a YAML alias: put it in quotes"},
        {"port:\n  address: 192.0.2.1\n",
         "leat.yaml:2: port.address: expected addresses with prefix length such as 192.0.2.10/24, "
         "found \"192.0.2.1\""},
        {"port:\n  address: 192.0.2.1/33\n",
         "leat.yaml:2: port.address: expected addresses with prefix length such as 192.0.2.10/24, "
         "found \"192.0.2.1/33\""},
        {"http:\n  cors_origin: \"a\\r\\nSet-Cookie: x\"\n",
         "leat.yaml:2: http.cors_origin: expected a text without control characters, found the "
         "quoted text \"a??Set-Cookie: x\""},
        {"http:\n  cors_origin: ~\n", "leat.yaml:2: http.cors_origin: expected a text (\"\" for an "
                                      "empty one), found \"~\""},
        {"media:\n  part: 100ms\n  part: 200ms\n",
         "leat.yaml:3: media.part: is already given on line 2"},
        {"media:\n  part: 100ms\nmedia:\n  window: 8\n",
         "leat.yaml:3: media: is already given on line 1"},
        {"- a\n", "leat.yaml:1: expected sections such as \"http:\" at the left margin"},
        {"http: 5\n", "leat.yaml:1: http: expected keys and values below the section's name"},
        {"http: {}\n---\nrtmp: {}\n",
         "leat.yaml:2: there is a second YAML document; a file holds one"},
        {"http:\n  ? [a]\n  : b\n",
         "leat.yaml:2: http: a name must be a simple word, not a list or a map"},
        {"http:\n  cors_origin: !!str x\n",
         "leat.yaml:2: a value that begins with ! is a YAML tag: put it in quotes"},
        {"http:\n\tlisten: 1\n", "leat.yaml:2: tab character may not be used as indentation"},
        {"http: {}\nmedia: {\n", "leat.yaml:3: did not find expected node content"},
        {"http: {}\n# \xff\n", "leat.yaml:2: this line is not UTF-8 text"},
        {"http: {}\n# \x01\n", "leat.yaml:2: this line has a control character"},
        {"media:\n  segment: 500ms\n  part: 500ms\n",
         "leat.yaml:3: media.part: must be less than media.segment, which is 500ms"},
        {"control:\n  restart_min: 6s\n",
         "leat.yaml:2: control.restart_min: must be at most control.restart_max, which is 5s"},
        {"http:\n  listen: 127.0.0.1:1935\n",
         "leat.yaml:2: http.listen: must not overlap rtmp.listen, which is \"*:1935\""},
        {"net:\n  mode: dpdk\n", "leat.yaml:2: port.device: must be set when net.mode is dpdk"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_refused(cases[i].text, cases[i].error);
}

static void test_config_reads_channels(void **state)
{
    (void)state;
    assert_reads("channels:\n"
                 "  demo:\n"
                 "    key: s3cret\n"
                 "  Other_1-x: { key: \"123\" }\n"
                 "  on: { key: no }\n");
    assert_int_equal(cfg.channel_count, 3);
    const struct config_channel *demo = config_find_channel(&cfg, bytes_of_str("demo"));
    assert_non_null(demo);
    assert_string_equal(demo->key, "s3cret");
    assert_string_equal(config_find_channel(&cfg, bytes_of_str("on"))->key, "no");
    assert_null(config_find_channel(&cfg, bytes_of_str("dem")));
    assert_reads("channels:\n");
    assert_reads("channels: {}\n");
    assert_int_equal(cfg.channel_count, 0);
}

/* Messages about channels never show what was written as a key. */
static void test_config_refuses_channels_without_showing_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } cases[] = {
        {"channels:\n  demo: s3cret\n",
         "leat.yaml:2: channels.demo: expected \"key: …\" below the channel's name"},
        {"channels:\n  demo: [s3cret]\n",
         "leat.yaml:2: channels.demo: expected \"key: …\" below the channel's name"},
        {"channels:\n  demo:\n",
         "leat.yaml:2: channels.demo: has no key: nobody could publish to it"},
        {"channels:\n  demo: {}\n",
         "leat.yaml:2: channels.demo: has no key: nobody could publish to it"},
        {"channels:\n  demo:\n    kye: s3cret\n",
         "leat.yaml:3: channels.demo.kye: there is no such key; the nearest is key"},
        {"channels:\n  demo:\n    key: s3cret 2\n",
         "leat.yaml:2: channels.demo: its key must be printable ASCII without spaces"},
        {"channels:\n  demo:\n    key: \"\"\n",
         "leat.yaml:2: channels.demo: its key must be printable ASCII without spaces"},
        {"channels:\n  demo:\n    key:\n",
         "leat.yaml:3: channels.demo.key: must be a text of 1 to 128 bytes"},
        {"channels:\n  demo:\n    key: a\n    key: b\n",
         "leat.yaml:4: channels.demo.key: is given twice"},
        {"channels:\n  demo: { key: a }\n  demo: { key: b }\n",
         "leat.yaml:3: channels.demo: is given twice"},
        {"channels:\n  a/b: { key: a }\n",
         "leat.yaml:2: channels.a/b: a channel's name is 1 to 64 of A-Z a-z 0-9 _ -"},
        {"channels:\n  \"\": { key: a }\n",
         "leat.yaml:2: channels.: a channel's name is 1 to 64 of A-Z a-z 0-9 _ -"},
        {"channels: {}\nchannels: {}\n", "leat.yaml:2: channels: is already given on line 1"},
        {"channels: [demo]\n",
         "leat.yaml:1: channels: expected \"NAME: { key: … }\" below channels"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_refused(cases[i].text, cases[i].error);
}

static void test_config_bounds_the_number_of_channels(void **state)
{
    (void)state;
    char error[CONFIG_ERROR_MAX];
    size_t capacity = 65536;
    char *text = malloc(capacity);
    assert_non_null(text);
    int size = snprintf(text, capacity, "channels:\n");

    for (int i = 0; i < CONFIG_CHANNELS_MAX; i++)
        size += snprintf(text + size, capacity - (size_t)size, "  c%d: { key: k }\n", i);
    assert_int_equal(parse(text, error), 0);
    assert_int_equal(cfg.channel_count, CONFIG_CHANNELS_MAX);
    assert_int_equal(config_add_channel(&cfg, "one-more", "k"), -ENOSPC);
    assert_int_equal(config_add_channel(&cfg, "c7", "new"), 0);
    assert_string_equal(config_find_channel(&cfg, bytes_of_str("c7"))->key, "new");
    snprintf(text + size, capacity - (size_t)size, "  one-more: { key: k }\n");
    assert_int_equal(parse(text, error), -EINVAL);
    assert_non_null(strstr(error, "leat.yaml:1026: channels.one-more: there are more than 1024"));
    free(text);
}

static void test_config_failure_leaves_the_old_one(void **state)
{
    (void)state;
    char error[CONFIG_ERROR_MAX];

    assert_reads("media:\n  window: 9\n");
    assert_int_equal(parse("media:\n  window: 10\n  nope: 1\n", error), -EINVAL);
    assert_int_equal(cfg.media_window, 9);
}

static void test_config_add_channel_checks_name_and_key(void **state)
{
    (void)state;
    char long_text[STREAM_KEY_MAX + 2];

    config_defaults(&cfg);
    memset(long_text, 'a', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    assert_int_equal(config_add_channel(&cfg, "", "k"), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "a b", "k"), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "../x", "k"), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, long_text, "k"), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "a", ""), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "a", "k\n"), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "a", long_text), -EINVAL);
    assert_int_equal(config_add_channel(&cfg, "a", long_text + 1), 0);
    assert_int_equal(cfg.channel_count, 1);
}

static void test_config_default_file_reads_back_as_the_defaults(void **state)
{
    (void)state;
    static char text[65536];
    static struct config defaults;
    int size = config_write_default(text, sizeof(text));

    assert_true(size > 0 && (size_t)size < sizeof(text));
    text[size] = '\0';
    assert_reads(text);
    config_defaults(&defaults);
    assert_memory_equal(&cfg, &defaults, sizeof(cfg));
    assert_int_equal(config_write_default(text, (size_t)size - 1), -ENOSPC);
}

static void test_config_settings_are_those_in_effect(void **state)
{
    (void)state;
    static const char file[] = "port: { memory: 96MiB }\nchannels:\n  a: { key: hidden }\n";
    static char text[65536];
    char error[CONFIG_ERROR_MAX];

    assert_int_equal(config_parse(bytes_of_str(file), "f", &cfg, error), 0);
    int size = config_write_settings(&cfg, text, sizeof(text));
    assert_true(size > 0 && (size_t)size < sizeof(text));
    text[size] = '\0';
    assert_non_null(strstr(text, "\nport.memory: 96MiB\n"));
    assert_non_null(strstr(text, "\nport.hugepages: true\n"));
    assert_null(strstr(text, "hidden"));
    assert_int_equal(config_write_settings(&cfg, text, (size_t)size - 1), -ENOSPC);
}

/* Every prefix and every single-byte change of a file is read or refused with a message. */
static void test_config_survives_damage(void **state)
{
    (void)state;
    static const char whole[] = "net: { mode: uring }\nchannels:\n  a:\n    key: \"k\\\"\"\n"
                                "media:\n  part: 200ms # x\n";
    char error[CONFIG_ERROR_MAX];
    char text[sizeof(whole)];

    for (size_t size = 0; size < sizeof(whole); size++)
        if (config_parse(bytes_of(whole, size), "f", &cfg, error) != 0)
            assert_int_equal(strncmp(error, "f:", 2), 0);
    for (size_t at = 0; at + 1 < sizeof(whole); at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            memcpy(text, whole, sizeof(whole));
            text[at] = (char)byte;
            if (config_parse(bytes_of(text, sizeof(text) - 1), "f", &cfg, error) != 0)
                assert_int_equal(strncmp(error, "f:", 2), 0);
        }
    }
}

static void test_config_read_file_names_the_file(void **state)
{
    (void)state;
    char path[] = "/tmp/leat-test-config-XXXXXX";
    char error[CONFIG_ERROR_MAX];
    char expected[CONFIG_ERROR_MAX];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "media:\n  window: 3\n", 19), 19);
    close(fd);
    assert_int_equal(config_read_file(path, &cfg, error), -EINVAL);
    snprintf(expected, sizeof(expected), "%s:2: media.window: \"3\" is out of range: 4 to 10000",
             path);
    assert_string_equal(error, expected);
    unlink(path);
    assert_int_equal(config_read_file(path, &cfg, error), -ENOENT);
    snprintf(expected, sizeof(expected), "%s: cannot read: No such file or directory", path);
    assert_string_equal(error, expected);
    assert_int_equal(config_read_file("/", &cfg, error), -EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_empty_text_is_the_defaults),
        cmocka_unit_test(test_config_reads_every_type),
        cmocka_unit_test(test_config_refuses_with_line_key_and_reason),
        cmocka_unit_test(test_config_reads_channels),
        cmocka_unit_test(test_config_refuses_channels_without_showing_keys),
        cmocka_unit_test(test_config_bounds_the_number_of_channels),
        cmocka_unit_test(test_config_failure_leaves_the_old_one),
        cmocka_unit_test(test_config_add_channel_checks_name_and_key),
        cmocka_unit_test(test_config_default_file_reads_back_as_the_defaults),
        cmocka_unit_test(test_config_settings_are_those_in_effect),
        cmocka_unit_test(test_config_survives_damage),
        cmocka_unit_test(test_config_read_file_names_the_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
