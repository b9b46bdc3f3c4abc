#include "common/config/rules.h"

#include <stdio.h>

#include "common/check.h"

/* For two numbers of the same kind: 'key' <= 'other', or < when 'is_strict'. */
struct order_rule {
    const char *section;
    const char *name;
    const char *other_name; /* in the same section */
    bool is_strict;
};

static const struct order_rule order_rules[] = {
    {"media", "part", "segment", true},
    {"media", "segment", "segment_max", false},
    {"control", "restart_min", "restart_max", false},
};

static const char *const listeners[][2] = {
    {"rtmp", "listen"},
    {"http", "listen"},
    {"management", "listen"},
};

static const struct config_key *key_of(const char *section, const char *name)
{
    size_t count = 0;
    size_t i = 0;
    const struct config_key *keys = config_keys(&count);

    while (i < count && (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].name, name) != 0))
        i++;
    CHECK(i < count); /* a rule names a key that exists */
    return &keys[i];
}

static const void *value_of(const struct config *cfg, const struct config_key *key)
{
    return (const char *)cfg + key->offset;
}

/* "must be RELATION SECTION.NAME, which is VALUE". */
static void conflict_say(struct config_conflict *c, const char *relation, const struct config *cfg)
{
    struct writer w = writer_of(c->what, sizeof(c->what) - 1);

    writer_printf(&w, "must %s %s.%s, which is ", relation, c->other->section, c->other->name);
    config_value_write(c->other, value_of(cfg, c->other), &w);
    c->what[w.size] = '\0';
}

static bool orders_conflict(const struct config *cfg, struct config_conflict *ret_conflict)
{
    for (size_t i = 0; i < ARRAY_COUNT(order_rules); i++) {
        const struct order_rule *rule = &order_rules[i];
        const struct config_key *low = key_of(rule->section, rule->name);
        const struct config_key *high = key_of(rule->section, rule->other_name);
        uint64_t a = *(const uint64_t *)value_of(cfg, low);
        uint64_t b = *(const uint64_t *)value_of(cfg, high);
        if (a < b || (a == b && !rule->is_strict))
            continue;
        *ret_conflict = (struct config_conflict){.key = low, .other = high};
        conflict_say(ret_conflict, rule->is_strict ? "be less than" : "be at most", cfg);
        return true;
    }
    return false;
}

/* Two sockets cannot have one port at the same address; the any address includes all. */
static bool endpoints_overlap(const struct endpoint *a, const struct endpoint *b)
{
    if (a->family == 0 || b->family == 0 || a->port != b->port)
        return false;
    return endpoint_is_equal(a, b) || endpoint_is_any(a) || endpoint_is_any(b);
}

static bool listeners_conflict(const struct config *cfg, struct config_conflict *ret_conflict)
{
    for (size_t i = 0; i < ARRAY_COUNT(listeners); i++) {
        for (size_t j = 0; j < i; j++) {
            const struct config_key *a = key_of(listeners[i][0], listeners[i][1]);
            const struct config_key *b = key_of(listeners[j][0], listeners[j][1]);
            if (!endpoints_overlap(value_of(cfg, a), value_of(cfg, b)))
                continue;
            *ret_conflict = (struct config_conflict){.key = a, .other = b};
            conflict_say(ret_conflict, "not overlap", cfg);
            return true;
        }
    }
    return false;
}

static bool port_conflicts(const struct config *cfg, struct config_conflict *ret_conflict)
{
    bool has_device = cfg->port_device.text[0] != '\0';
    bool has_address = cfg->port_address.text[0] != '\0';
    const char *what = NULL;
    const struct config_key *key = key_of("port", "device");
    const struct config_key *other = NULL;

    if (strcmp(cfg->net_mode.text, "dpdk") == 0 && !has_device) {
        what = "must be set when net.mode is dpdk";
        other = key_of("net", "mode");
    } else if (has_device && !has_address) {
        what = "must be set when port.device is: the stack has no other source of addresses";
        key = key_of("port", "address");
        other = key_of("port", "device");
    }
    if (what == NULL)
        return false;
    *ret_conflict = (struct config_conflict){.key = key, .other = other};
    snprintf(ret_conflict->what, sizeof(ret_conflict->what), "%s", what);
    return true;
}

bool config_find_conflict(const struct config *cfg, struct config_conflict *ret_conflict)
{
    return orders_conflict(cfg, ret_conflict) || listeners_conflict(cfg, ret_conflict) ||
           port_conflicts(cfg, ret_conflict);
}
