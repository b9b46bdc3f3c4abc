/* config.h - the configuration, from YAML text to a checked struct. No I/O.
 *
 * One definition per key, in keys.def. An unknown key, a wrong type or a value out of range is
 * refused with "file:line: section.key: what is wrong (nearest valid name)". */
#ifndef COMMON_CONFIG_CONFIG_H
#define COMMON_CONFIG_CONFIG_H

#include "common/bytes.h"
#include "common/endpoint.h"
#include "common/limits.h"

enum { CONFIG_TEXT_MAX = 200, CONFIG_CHANNELS_MAX = 1024, CONFIG_ERROR_MAX = 512 };

#define CONFIG_TYPE_uint        uint64_t
#define CONFIG_TYPE_bool        bool
#define CONFIG_TYPE_endpoint    struct endpoint /* family 0: off */
#define CONFIG_TYPE_duration_ms uint64_t
#define CONFIG_TYPE_bytes       uint64_t
struct config_text {
    char text[CONFIG_TEXT_MAX + 1];
};
#define CONFIG_TYPE_text struct config_text

/* One `channels:` entry. The key is a secret: never logged, compared in constant time. */
struct config_channel {
    char name[CHANNEL_NAME_MAX + 1]; /* [A-Za-z0-9_-]+ */
    char key[STREAM_KEY_MAX + 1];
};

/* cfg.<section>.<name>: each KEY is a member <section>_<name>. */
struct config {
#define SECTION(section, doc)
#define KEY(section, name, type, def, min, max, doc) CONFIG_TYPE_##type section##_##name;
#include "common/config/keys.def"
#undef KEY
#undef SECTION
    struct config_channel channels[CONFIG_CHANNELS_MAX];
    size_t channel_count;
};

/* Every key at its default, no channels. */
void config_defaults(struct config *cfg);

/* Reads YAML 'text' over the defaults. 'file' names it in errors. 0; -EINVAL: 'error' says what is
 * wrong and where, '*ret_cfg' untouched. */
int config_parse(struct bytes text, const char *file, struct config *ret_cfg,
                 char error[static CONFIG_ERROR_MAX]);

/* Adds a channel, or replaces its key. -EINVAL: bad name or key; -ENOSPC. */
int config_add_channel(struct config *cfg, const char *name, const char *key);
const struct config_channel *config_find_channel(const struct config *cfg, struct bytes name);

/* The generated, commented configs/leat.yaml. Bytes written, or -ENOSPC. */
int config_write_default(char *out, size_t out_size);

#endif
