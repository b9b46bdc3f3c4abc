#include <errno.h>
#include <stdlib.h>

#include "common/config/config.h"
#include "common/config/value.h"

static const char head[] =
    "# leat.yaml - the configuration of Leat, with every key at its default.\n"
    "#\n"
    "# Generated from common/config/keys.def by `ninja reference`. Keep what you change and "
    "delete\n"
    "# the rest, or edit in place: a key that is not here has its default. An unknown key or a "
    "bad\n"
    "# value is refused with its line. Check a file with `leat-dp --check-config FILE`.\n"
    "#\n"
    "# Durations are written 200ms, 2s, 1m or 1h; sizes 64KiB, 512MiB, 1GiB or 1TiB; texts that\n"
    "# begin with * & or ! in quotes.\n";

static const char channels_example[] = "\n# The channels that may be published to, and their "
                                       "stream keys, which are secrets: keep this\n"
                                       "# file readable to Leat alone.\n"
                                       "#\n"
                                       "# channels:\n"
                                       "#   my-channel:\n"
                                       "#     key: a-long-random-text\n"
                                       "channels: {}\n";

static void key_write(const struct config_key *key, const struct config *cfg, struct writer *w)
{
    writer_printf(w, "  # %s (", key->doc);
    config_value_range(key, w);
    writer_printf(w, ")\n  %s: ", key->name);
    config_value_write(key, (const char *)cfg + key->offset, w);
    writer_str(w, "\n");
}

int config_write_default(char *out, size_t out_size)
{
    size_t key_count = 0;
    size_t section_count = 0;
    const struct config_key *keys = config_keys(&key_count);
    const struct config_section *sections = config_sections(&section_count);
    struct writer w = writer_of(out, out_size);
    struct config *cfg = malloc(sizeof(*cfg));

    if (cfg == NULL)
        return -ENOMEM;
    config_defaults(cfg);
    writer_str(&w, head);
    for (size_t i = 0; i < section_count; i++) {
        writer_printf(&w, "\n# %s\n%s:\n", sections[i].doc, sections[i].name);
        for (size_t k = 0; k < key_count; k++)
            if (strcmp(keys[k].section, sections[i].name) == 0)
                key_write(&keys[k], cfg, &w);
    }
    writer_str(&w, channels_example);
    free(cfg);
    return writer_is_ok(&w) ? (int)w.size : -ENOSPC;
}

int config_write_settings(const struct config *cfg, char *out, size_t out_size)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);
    struct writer w = writer_of(out, out_size);

    for (size_t i = 0; i < count; i++) {
        writer_printf(&w, "%s.%s: ", keys[i].section, keys[i].name);
        config_value_write(&keys[i], (const char *)cfg + keys[i].offset, &w);
        writer_str(&w, "\n");
    }
    return writer_is_ok(&w) ? (int)w.size : -ENOSPC;
}
