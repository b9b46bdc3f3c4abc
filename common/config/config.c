#include "common/config/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config/value.h"

#define INIT_uint(def, low, high)        .number = (def), .min = (low), .max = (high)
#define INIT_duration_ms(def, low, high) INIT_uint(def, low, high)
#define INIT_bytes(def, low, high)       INIT_uint(def, low, high)
#define INIT_bool(def, low, high)        INIT_uint(def, low, high)
#define INIT_text(def, low, high)        .text = (def), .max = (high)
#define INIT_networks(def, low, high)    INIT_text(def, low, high)
#define INIT_addresses(def, low, high)   INIT_text(def, low, high)
#define INIT_endpoint(def, low, high)    INIT_text(def, low, high)
#define INIT_choice(def, words, high)    .text = (def), .choices = (words)

#define SECTION(section, doc)
#define KEY(section_, name_, type, def, min_, max_, doc_)                                          \
    {.section = #section_,                                                                         \
     .name = #name_,                                                                               \
     .kind = CONFIG_KIND_##type,                                                                   \
     .doc = (doc_),                                                                                \
     .offset = offsetof(struct config, section_##_##name_),                                        \
     INIT_##type(def, min_, max_)},
static const struct config_key keys[] = {
#include "common/config/keys.def"
};
#undef KEY
#undef SECTION

#define SECTION(section, doc) {#section, doc},
#define KEY(section, name, type, def, min, max, doc)
static const struct config_section sections[] = {
#include "common/config/keys.def"
};
#undef KEY
#undef SECTION

const struct config_key *config_keys(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(keys);
    return keys;
}

const struct config_section *config_sections(size_t *ret_count)
{
    *ret_count = ARRAY_COUNT(sections);
    return sections;
}

void config_defaults(struct config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        config_value_default(&keys[i], (char *)cfg + keys[i].offset);
}

bool config_channel_name_is_valid(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > CHANNEL_NAME_MAX)
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == size;
}

/* Printable ASCII without space: what fits into a URL's query and OBS's stream key field. */
static bool key_is_valid(const char *key)
{
    size_t size = strlen(key);

    if (size == 0 || size > STREAM_KEY_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (key[i] <= ' ' || key[i] > '~')
            return false;
    return true;
}

static ptrdiff_t channel_index(const struct config *cfg, struct bytes name)
{
    for (size_t i = 0; i < cfg->channel_count; i++)
        if (bytes_equal_str(name, cfg->channels[i].name))
            return (ptrdiff_t)i;
    return -1;
}

int config_add_channel(struct config *cfg, const char *name, const char *key)
{
    if (!config_channel_name_is_valid(name) || !key_is_valid(key))
        return -EINVAL;
    ptrdiff_t index = channel_index(cfg, bytes_of_str(name));
    if (index < 0) {
        if (cfg->channel_count == CONFIG_CHANNELS_MAX)
            return -ENOSPC;
        index = (ptrdiff_t)cfg->channel_count++;
    }
    struct config_channel *channel = &cfg->channels[index];
    memset(channel, 0, sizeof(*channel));
    CHECK(bytes_to_str(bytes_of_str(name), channel->name, sizeof(channel->name)));
    CHECK(bytes_to_str(bytes_of_str(key), channel->key, sizeof(channel->key)));
    return 0;
}

const struct config_channel *config_find_channel(const struct config *cfg, struct bytes name)
{
    ptrdiff_t index = channel_index(cfg, name);

    return index < 0 ? NULL : &cfg->channels[index];
}

/* Reads at most 'capacity' bytes of the file. Bytes read or -errno. */
static ssize_t file_read(const char *path, char *data, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t got = 1;

    if (fd < 0)
        return -errno;
    while (size < capacity && got > 0) {
        got = read(fd, data + size, capacity - size);
        if (got > 0)
            size += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int error = got < 0 ? errno : 0;
    close(fd);
    return error != 0 ? -error : (ssize_t)size;
}

int config_read_file(const char *path, struct config *ret_cfg, char error[static CONFIG_ERROR_MAX])
{
    char *data = malloc(CONFIG_BYTES_MAX + 1);
    int status = -ENOMEM;

    if (data != NULL) {
        ssize_t size = file_read(path, data, CONFIG_BYTES_MAX + 1);
        status = size < 0 ? (int)size : 0;
        if (size >= 0) {
            status = config_parse(bytes_of(data, (size_t)size), path, ret_cfg, error);
            explicit_bzero(data, (size_t)size); /* it holds stream keys */
            free(data);
            return status;
        }
    }
    snprintf(error, CONFIG_ERROR_MAX, "%s: cannot read: %s", path, strerror(-status));
    free(data);
    return status;
}
