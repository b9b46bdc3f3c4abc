#include "tools/reference/reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/config/value.h"
#include "common/counters.h"

static const char configuration_head[] =
    "# Configuration\n"
    "\n"
    "Generated from `common/config/keys.def` by `ninja reference`; do not edit. One YAML file, "
    "given to `leatd` with\n"
    "`--config`; `configs/leat.yaml` has every key at its default. `leat-dp --check-config FILE` "
    "reads a file and says what is\n"
    "wrong with it: file, line, key, reason, and the nearest valid name.\n"
    "\n"
    "- Durations: `200ms`, `2s`, `1m`, `1h`; a bare number is milliseconds.\n"
    "- Sizes: `64KiB`, `512MiB`, `1GiB`, `1TiB`; a bare number is bytes.\n"
    "- Booleans are `true` and `false`, nothing else. Numbers are decimal, and not quoted.\n"
    "- Addresses: `\"*:8080\"` (all, IPv4 and IPv6), `\"127.0.0.1:80\"`, `\"[::1]:80\"`, `\"\"` "
    "for none. Quote what begins with `*`,\n"
    "  `&` or `!`.\n"
    "- YAML's anchors, aliases, tags and second documents are refused.\n";

static const char configuration_channels[] =
    "\n## channels\n"
    "\n"
    "The channels that may be published to: a map of names to what belongs to them. A name is 1 to "
    "64 of `A-Z a-z 0-9 _ -`.\n"
    "\n"
    "| key | type | meaning |\n"
    "|---|---|---|\n"
    "| `key` | text, 1 to 128 printable ASCII characters without spaces | The stream key. A "
    "secret: keep the file readable to Leat "
    "alone. |\n"
    "\n"
    "```yaml\n"
    "channels:\n"
    "  my-channel:\n"
    "    key: a-long-random-text\n"
    "```\n"
    "\n"
    "## Between keys\n"
    "\n"
    "- `media.part` is less than `media.segment`, and that at most `media.segment_max`.\n"
    "- `control.restart_min` is at most `control.restart_max`.\n"
    "- No two of `rtmp.listen`, `http.listen` and `management.listen` have the same port at the "
    "same address; `*` is every address.\n"
    "- `net.mode: dpdk` needs `port.device`, and that needs `port.address`.\n";

static const char *kind_word(enum config_kind kind)
{
    static const char *const words[] = {
        [CONFIG_KIND_uint] = "number",       [CONFIG_KIND_bool] = "boolean",
        [CONFIG_KIND_text] = "text",         [CONFIG_KIND_choice] = "choice",
        [CONFIG_KIND_networks] = "networks", [CONFIG_KIND_addresses] = "addresses",
        [CONFIG_KIND_endpoint] = "address",  [CONFIG_KIND_duration_ms] = "duration",
        [CONFIG_KIND_bytes] = "size"};

    return words[kind];
}

static void key_write(const struct config_key *key, const struct config *cfg, struct writer *w)
{
    writer_printf(w, "| `%s` | %s | `", key->name, kind_word(key->kind));
    config_value_write(key, (const char *)cfg + key->offset, w);
    writer_str(w, "` | ");
    config_value_range(key, w);
    writer_printf(w, " | %s |\n", key->doc);
}

static int configuration_write(char *out, size_t out_size)
{
    struct writer w = writer_of(out, out_size);
    size_t key_count = 0;
    size_t section_count = 0;
    const struct config_key *keys = config_keys(&key_count);
    const struct config_section *sections = config_sections(&section_count);
    struct config *cfg = malloc(sizeof(*cfg));

    if (cfg == NULL)
        return -ENOMEM;
    config_defaults(cfg);
    writer_str(&w, configuration_head);
    for (size_t s = 0; s < section_count; s++) {
        writer_printf(&w, "\n## %s\n\n%s.\n\n", sections[s].name, sections[s].doc);
        writer_str(&w, "| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n");
        for (size_t k = 0; k < key_count; k++)
            if (strcmp(keys[k].section, sections[s].name) == 0)
                key_write(&keys[k], cfg, &w);
    }
    writer_str(&w, configuration_channels);
    free(cfg);
    return writer_is_ok(&w) ? (int)w.size : -ENOSPC;
}

static const char counters_head[] =
    "# Counters\n"
    "\n"
    "Generated from `common/counters/*.def` by `ninja reference`; do not edit. `leatctl counters` "
    "shows them by the names below;\n"
    "`/metrics` exports each as `leat_NAME` with the ending of its unit: events `_total`, bytes "
    "`_bytes_total`, microseconds\n"
    "`_seconds_total`, gauges none. Times are told by shard, everything else as the sum over the "
    "shards.\n"
    "\n"
    "| counter | unit | meaning |\n"
    "|---|---|---|\n";

static int counters_write(char *out, size_t out_size)
{
    static const char *const units[] = {[COUNTER_UNIT_total] = "events",
                                        [COUNTER_UNIT_bytes_total] = "bytes",
                                        [COUNTER_UNIT_us_total] = "microseconds",
                                        [COUNTER_UNIT_gauge] = "gauge"};
    struct writer w = writer_of(out, out_size);
    size_t count = 0;
    const struct counter_info *table = counters_table(&count);

    writer_str(&w, counters_head);
    for (size_t i = 0; i < count; i++)
        writer_printf(&w, "| `%s` | %s | %s |\n", table[i].name, units[table[i].unit],
                      table[i].help);
    return writer_is_ok(&w) ? (int)w.size : -ENOSPC;
}

const struct reference_file reference_files[] = {
    {"configs/leat.yaml", config_write_default},
    {"docs/CONFIGURATION.md", configuration_write},
    {"docs/COUNTERS.md", counters_write},
    {NULL, NULL},
};
