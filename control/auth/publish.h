/* publish.h - may this key publish to this channel? The keys are those of the configuration. */
#ifndef CONTROL_AUTH_PUBLISH_H
#define CONTROL_AUTH_PUBLISH_H

#include "common/abi/link.h"

struct config;

/* Takes the same time for every name and key: it depends on the number of channels alone, so that
 * nobody learns by measuring which channels exist or how much of a key was right. Both are at most
 * CHANNEL_NAME_MAX and STREAM_KEY_MAX bytes, as link_decode() sees to. */
enum link_verdict publish_check(const struct config *cfg, const char *name, const char *key);

#endif
