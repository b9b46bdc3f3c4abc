#include "control/auth/publish.h"

#include <string.h>

#include "common/check.h"
#include "common/config/config.h"

/* Keeps the compiler from seeing through 'value' and ending a loop early. */
static inline uint8_t opaque(uint8_t value)
{
    __asm__ volatile("" : "+r"(value));
    return value;
}

/* 0 when the first 'size' bytes are the same, else not 0. */
static uint8_t difference(const char *a, const char *b, size_t size)
{
    uint8_t bits = 0;

    for (size_t i = 0; i < size; i++)
        bits = (uint8_t)(bits | (uint8_t)(a[i] ^ b[i]));
    return opaque(bits);
}

/* 0xff when 'bits' is 0, else 0. */
static uint8_t mask_of_zero(uint8_t bits)
{
    return opaque((uint8_t)((((uint32_t)bits - 1) >> 8) & 0xff));
}

enum link_verdict publish_check(const struct config *cfg, const char *name, const char *key)
{
    char name_padded[CHANNEL_NAME_MAX + 1] = {0};
    char key_padded[STREAM_KEY_MAX + 1] = {0};
    char key_wanted[STREAM_KEY_MAX + 1] = {0};
    uint8_t is_known = 0;

    CHECK(bytes_to_str(bytes_of_str(name), name_padded, sizeof(name_padded)));
    CHECK(bytes_to_str(bytes_of_str(key), key_padded, sizeof(key_padded)));
    /* The configuration's texts are padded with zeros too: config_add_channel(). */
    for (size_t i = 0; i < cfg->channel_count; i++) {
        const struct config_channel *channel = &cfg->channels[i];
        uint8_t mask = mask_of_zero(difference(channel->name, name_padded, sizeof(name_padded)));
        is_known |= mask;
        for (size_t k = 0; k < sizeof(key_wanted); k++)
            key_wanted[k] = (char)(key_wanted[k] | (channel->key[k] & (char)mask));
    }
    uint8_t is_wrong = difference(key_wanted, key_padded, sizeof(key_wanted));

    explicit_bzero(key_padded, sizeof(key_padded));
    explicit_bzero(key_wanted, sizeof(key_wanted));
    if (is_known == 0)
        return LINK_UNKNOWN_CHANNEL;
    return is_wrong == 0 ? LINK_ALLOWED : LINK_WRONG_KEY;
}
