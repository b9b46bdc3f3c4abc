/* rules.h - what must hold between configuration keys, beyond each one's own range. */
#ifndef COMMON_CONFIG_RULES_H
#define COMMON_CONFIG_RULES_H

#include "common/config/value.h"

/* A rule that does not hold: the keys it is about ('other' may be NULL), and why. */
struct config_conflict {
    const struct config_key *key;
    const struct config_key *other;
    char what[CONFIG_WHAT_MAX];
};

/* The first rule that 'cfg' breaks, into '*ret_conflict'; false: all hold. */
bool config_find_conflict(const struct config *cfg, struct config_conflict *ret_conflict);

#endif
