/* config.h - the configuration, from YAML text to a checked struct. No I/O.
 *
 * One definition per key, in keys.def. An unknown key, a wrong type or a value out of range is
 * refused with "file:line: section.key: what is wrong (nearest valid name)". */
#ifndef COMMON_CONFIG_CONFIG_H
#define COMMON_CONFIG_CONFIG_H

#include "common/bytes.h"
#include "common/endpoint.h"
#include "common/limits.h"

enum {
    CONFIG_TEXT_MAX = 200,
    CONFIG_CHANNELS_MAX = 1024,
    CONFIG_ERROR_MAX = 512,
    CONFIG_BYTES_MAX = 1048576 /* bytes of a configuration file */
};

#define CONFIG_TYPE_uint        uint64_t
#define CONFIG_TYPE_bool        bool
#define CONFIG_TYPE_endpoint    struct endpoint /* family 0: off */
#define CONFIG_TYPE_duration_ms uint64_t
#define CONFIG_TYPE_bytes       uint64_t
struct config_text {
    char text[CONFIG_TEXT_MAX + 1];
};
#define CONFIG_TYPE_text      struct config_text
#define CONFIG_TYPE_choice    struct config_text
#define CONFIG_TYPE_networks  struct config_text
#define CONFIG_TYPE_addresses struct config_text

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

/* Reads the file at 'path' and parses it. 0; -EINVAL as config_parse(); -errno: 'error' says why
 * the file cannot be read. For use before a shard or an event loop runs. */
int config_read_file(const char *path, struct config *ret_cfg, char error[static CONFIG_ERROR_MAX]);

/* Whether 'name' is 1 to CHANNEL_NAME_MAX of A-Z a-z 0-9 _ -. */
bool config_channel_name_is_valid(const char *name);

/* Adds a channel, or replaces its key. -EINVAL: bad name or key; -ENOSPC. */
int config_add_channel(struct config *cfg, const char *name, const char *key);
const struct config_channel *config_find_channel(const struct config *cfg, struct bytes name);

enum config_kind {
    CONFIG_KIND_uint,
    CONFIG_KIND_bool,
    CONFIG_KIND_text,
    CONFIG_KIND_choice,
    CONFIG_KIND_networks,
    CONFIG_KIND_addresses,
    CONFIG_KIND_endpoint,
    CONFIG_KIND_duration_ms,
    CONFIG_KIND_bytes
};

/* One line of keys.def, for readers, writers and documentation. */
struct config_key {
    const char *section;
    const char *name;
    enum config_kind kind;
    const char *doc;
    size_t offset;       /* of the member in struct config */
    uint64_t number;     /* default, when it is a number or a bool */
    const char *text;    /* default, when it is a text */
    const char *choices; /* "a|b|c", of a choice */
    uint64_t min;        /* numbers: inclusive */
    uint64_t max;        /* numbers: inclusive; texts: bytes */
};

struct config_section {
    const char *name;
    const char *doc;
};

/* Both in definition order. */
const struct config_key *config_keys(size_t *ret_count);
const struct config_section *config_sections(size_t *ret_count);

/* The generated, commented configs/leat.yaml. Bytes written, or -ENOSPC. */
int config_write_default(char *out, size_t out_size);

/* What is in effect, for scripts: a line "section.key: value" for each key, and none about the
 * channels, whose keys are secrets. Bytes written, or -ENOSPC. */
int config_write_settings(const struct config *cfg, char *out, size_t out_size);

#endif
