/* value.h - one configuration value: its text to its type, and back. No I/O. */
#ifndef COMMON_CONFIG_VALUE_H
#define COMMON_CONFIG_VALUE_H

#include "common/config/config.h"
#include "common/writer.h"

enum { CONFIG_WHAT_MAX = 320 };

/* Reads 'text' as the type of 'key' into '*ret_value', the member of struct config. 'is_plain': it
 * was not quoted; only plain scalars are numbers, bools, and so on. -EINVAL: 'what' says what is
 * wrong with it, '*ret_value' is untouched. */
int config_value_parse(const struct config_key *key, struct bytes text, bool is_plain,
                       void *ret_value, char what[static CONFIG_WHAT_MAX]);

/* Puts the default of 'key' into '*ret_value'. */
void config_value_default(const struct config_key *key, void *ret_value);

/* Writes the value as YAML that config_value_parse() reads back to the same. */
void config_value_write(const struct config_key *key, const void *value, struct writer *w);

/* What may be written for 'key', in words: "200ms, 50ms to 2s". */
void config_value_range(const struct config_key *key, struct writer *w);

/* Writes 'text' in quotes, shortened and with control characters replaced, for a message. */
void config_quote(struct bytes text, struct writer *w);

#endif
