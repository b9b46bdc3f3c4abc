/* A configuration file of any bytes is read, or refused with a message that names the file; what is
 * read keeps the rules, and its values can be written and read again. */
#include <string.h>

#include "common/check.h"
#include "common/config/config.h"
#include "common/config/rules.h"
#include "common/config/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void values_check(const struct config *cfg)
{
    size_t count = 0;
    const struct config_key *keys = config_keys(&count);

    for (size_t i = 0; i < count; i++) {
        char text[2 * CONFIG_TEXT_MAX + 8];
        struct writer w = writer_of(text, sizeof(text));
        config_value_write(&keys[i], (const char *)cfg + keys[i].offset, &w);
        CHECK(writer_is_ok(&w) && w.size > 0);
    }
    for (size_t i = 0; i < cfg->channel_count; i++) {
        CHECK(config_channel_name_is_valid(cfg->channels[i].name));
        CHECK(cfg->channels[i].key[0] != '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config cfg;
    char error[CONFIG_ERROR_MAX];
    struct config_conflict conflict;
    int status = config_parse(bytes_of(data, size), "f", &cfg, error);

    CHECK(status == 0 ? error[0] == '\0' : strncmp(error, "f:", 2) == 0);
    if (status == 0) {
        CHECK(!config_find_conflict(&cfg, &conflict));
        values_check(&cfg);
    }
    return 0;
}
