#include "common/config/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "common/check.h"
#include "common/config/nearest.h"
#include "common/utf8.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first. The empty suffix is the unit that the number is kept in. */
static const struct unit duration_units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit size_units[] = {
    {"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"", 1}};
static const struct unit no_units[] = {{"", 1}};

struct units {
    const struct unit *list;
    size_t count;
    const char *example;
};

static struct units units_of(enum config_kind kind)
{
    if (kind == CONFIG_KIND_duration_ms)
        return (struct units){duration_units, ARRAY_COUNT(duration_units),
                              "a duration such as 200ms, 2s or 1m"};
    if (kind == CONFIG_KIND_bytes)
        return (struct units){size_units, ARRAY_COUNT(size_units),
                              "a size such as 64KiB, 512MiB or 1GiB"};
    return (struct units){no_units, ARRAY_COUNT(no_units), "a whole number"};
}

void config_quote(struct bytes text, struct writer *w)
{
    enum { SHOWN_MAX = 40 };
    size_t at = 0;

    writer_str(w, "\"");
    while (at < text.size && at < SHOWN_MAX) {
        uint32_t point = 0;
        size_t size = utf8_next(bytes_from(text, at), &point);
        if (size == 0 || utf8_is_control(point))
            writer_str(w, "?");
        else
            writer_put(w, bytes_of(text.ptr + at, size));
        at += size == 0 ? 1 : size;
    }
    writer_str(w, at < text.size ? "…\"" : "\"");
}

/* "expected EXPECTED, found "TEXT"" into 'what'. Returns -EINVAL. */
static int refuse(struct bytes text, bool is_plain, const char *expected,
                  char what[static CONFIG_WHAT_MAX])
{
    struct writer w = writer_of(what, CONFIG_WHAT_MAX - 1);

    writer_printf(&w, "expected %s, found ", expected);
    if (is_plain && text.size == 0)
        writer_str(&w, "nothing");
    else
        writer_str(&w, is_plain ? "" : "the quoted text ");
    if (!is_plain || text.size > 0)
        config_quote(text, &w);
    what[w.size] = '\0';
    return -EINVAL;
}

static void number_write(uint64_t number, enum config_kind kind, struct writer *w)
{
    struct units units = units_of(kind);

    for (size_t i = 0; i < units.count; i++) {
        if (number != 0 && number % units.list[i].factor != 0)
            continue;
        if (number == 0 && i + 1 < units.count)
            continue;
        writer_printf(w, "%llu%s", (unsigned long long)(number / units.list[i].factor),
                      units.list[i].suffix);
        return;
    }
}

/* The unit of a suffix; a bare number is in the smallest unit. 0: no such unit. */
static uint64_t unit_factor(const struct units *units, struct bytes suffix)
{
    if (suffix.size == 0)
        return 1;
    for (size_t i = 0; i < units->count; i++)
        if (bytes_equal_str(suffix, units->list[i].suffix))
            return units->list[i].factor;
    return 0;
}

static int number_parse(const struct config_key *key, struct bytes text, bool is_plain,
                        uint64_t *ret_number, char what[static CONFIG_WHAT_MAX])
{
    struct units units = units_of(key->kind);
    uint64_t number = 0;
    size_t digits = 0;
    bool is_huge = false;

    for (; digits < text.size && text.ptr[digits] >= '0' && text.ptr[digits] <= '9'; digits++)
        is_huge |= __builtin_mul_overflow(number, 10u, &number) ||
                   __builtin_add_overflow(number, (uint64_t)(text.ptr[digits] - '0'), &number);
    uint64_t factor = unit_factor(&units, bytes_from(text, digits));
    if (!is_plain || digits == 0 || factor == 0)
        return refuse(text, is_plain, units.example, what);
    if (digits > 1 && text.ptr[0] == '0')
        return refuse(text, is_plain, "a number without leading zeros", what);
    is_huge |= __builtin_mul_overflow(number, factor, &number);
    if (!is_huge && number >= key->min && number <= key->max) {
        *ret_number = number;
        return 0;
    }

    struct writer w = writer_of(what, CONFIG_WHAT_MAX - 1);
    config_quote(text, &w);
    writer_str(&w, " is out of range: ");
    number_write(key->min, key->kind, &w);
    writer_str(&w, " to ");
    number_write(key->max, key->kind, &w);
    what[w.size] = '\0';
    return -EINVAL;
}

static int bool_parse(struct bytes text, bool is_plain, bool *ret_value,
                      char what[static CONFIG_WHAT_MAX])
{
    bool is_true = bytes_equal_str(text, "true");

    if (!is_plain || (!is_true && !bytes_equal_str(text, "false")))
        return refuse(text, is_plain, "true or false", what);
    *ret_value = is_true;
    return 0;
}

/* Takes the next item of a comma-separated list out of '*list', without spaces around it. */
static struct bytes list_take(struct bytes *list)
{
    const uint8_t *comma = memchr(list->ptr, ',', list->size);
    struct bytes item = bytes_of(list->ptr, comma ? (size_t)(comma - list->ptr) : list->size);

    *list = bytes_from(*list, item.size + 1);
    while (item.size > 0 && item.ptr[0] == ' ')
        item = bytes_from(item, 1);
    while (item.size > 0 && item.ptr[item.size - 1] == ' ')
        item.size--;
    return item;
}

/* The number of address bits of an IPv4 or IPv6 address; 0: it is neither. */
static unsigned address_bits(struct bytes text)
{
    char host[INET6_ADDRSTRLEN];
    uint8_t addr[16];

    if (!bytes_to_str(text, host, sizeof(host)))
        return 0;
    if (inet_pton(AF_INET, host, addr) == 1)
        return 32;
    return inet_pton(AF_INET6, host, addr) == 1 ? 128 : 0;
}

static bool is_network(struct bytes item)
{
    const uint8_t *slash = item.size > 0 ? memchr(item.ptr, '/', item.size) : NULL;
    unsigned length = 0;

    if (slash == NULL)
        return false;
    struct bytes digits = bytes_from(item, (size_t)(slash - item.ptr) + 1);
    if (digits.size == 0 || digits.size > 3)
        return false;
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.ptr[i] < '0' || digits.ptr[i] > '9')
            return false;
        length = length * 10 + (unsigned)(digits.ptr[i] - '0');
    }
    return length <= address_bits(bytes_of(item.ptr, (size_t)(slash - item.ptr)));
}

static int addresses_check(const struct config_key *key, struct bytes text, bool is_plain,
                           char what[static CONFIG_WHAT_MAX])
{
    bool has_length = key->kind == CONFIG_KIND_networks;

    while (text.size > 0) {
        struct bytes item = list_take(&text);
        if (has_length ? !is_network(item) : address_bits(item) == 0)
            return refuse(item, is_plain,
                          has_length ? "addresses with prefix length such as 192.0.2.10/24"
                                     : "addresses such as 192.0.2.1 or 2001:db8::1",
                          what);
    }
    return 0;
}

static int choice_check(const struct config_key *key, struct bytes text, bool is_plain,
                        char what[static CONFIG_WHAT_MAX])
{
    struct nearest nearest = nearest_of(text);
    struct bytes rest = bytes_of_str(key->choices);

    while (rest.size > 0) {
        const uint8_t *bar = memchr(rest.ptr, '|', rest.size);
        struct bytes word = bytes_of(rest.ptr, bar ? (size_t)(bar - rest.ptr) : rest.size);
        rest = bytes_from(rest, word.size + 1);
        if (bytes_equal(word, text))
            return 0;
        nearest_offer(&nearest, word);
    }

    char expected[CONFIG_WHAT_MAX / 2];
    struct bytes word = nearest.best;
    bool may_be_empty = key->choices[0] == '|';
    snprintf(expected, sizeof(expected), "%sone of %s (the nearest is %.*s)",
             may_be_empty ? "\"\" or " : "", key->choices + may_be_empty, (int)word.size,
             (const char *)word.ptr);
    return refuse(text, is_plain, expected, what);
}

static int text_parse(const struct config_key *key, struct bytes text, bool is_plain,
                      struct config_text *ret_text, char what[static CONFIG_WHAT_MAX])
{
    uint32_t point = 0;

    if (is_plain && (text.size == 0 || bytes_equal_str(text, "~") || bytes_equal_str(text, "null")))
        return refuse(text, is_plain, "a text (\"\" for an empty one)", what);
    for (size_t at = 0, size; at < text.size; at += size) {
        size = utf8_next(bytes_from(text, at), &point);
        if (size == 0 || utf8_is_control(point))
            return refuse(text, is_plain, "a text without control characters", what);
    }
    if (key->kind == CONFIG_KIND_choice) {
        if (choice_check(key, text, is_plain, what) < 0)
            return -EINVAL;
    } else if (text.size > key->max) {
        snprintf(what, CONFIG_WHAT_MAX, "is %zu bytes long; at most %llu are allowed", text.size,
                 (unsigned long long)key->max);
        return -EINVAL;
    }
    if ((key->kind == CONFIG_KIND_networks || key->kind == CONFIG_KIND_addresses) &&
        addresses_check(key, text, is_plain, what) < 0)
        return -EINVAL;
    CHECK(bytes_to_str(text, ret_text->text, sizeof(ret_text->text)));
    return 0;
}

static int endpoint_value_parse(struct bytes text, bool is_plain, struct endpoint *ret_endpoint,
                                char what[static CONFIG_WHAT_MAX])
{
    char host[ENDPOINT_TEXT_MAX];
    struct endpoint e = {0};

    if (!is_plain && text.size == 0) {
        *ret_endpoint = e;
        return 0;
    }
    if (!bytes_to_str(text, host, sizeof(host)) || endpoint_parse(host, &e) < 0 || e.port == 0)
        return refuse(text, is_plain,
                      "an address and port such as \"*:8080\", \"127.0.0.1:9180\" or "
                      "\"[::1]:80\" (\"\" for none)",
                      what);
    *ret_endpoint = e;
    return 0;
}

int config_value_parse(const struct config_key *key, struct bytes text, bool is_plain,
                       void *ret_value, char what[static CONFIG_WHAT_MAX])
{
    switch (key->kind) {
    case CONFIG_KIND_uint:
    case CONFIG_KIND_duration_ms:
    case CONFIG_KIND_bytes:
        return number_parse(key, text, is_plain, ret_value, what);
    case CONFIG_KIND_bool:
        return bool_parse(text, is_plain, ret_value, what);
    case CONFIG_KIND_endpoint:
        return endpoint_value_parse(text, is_plain, ret_value, what);
    case CONFIG_KIND_text:
    case CONFIG_KIND_choice:
    case CONFIG_KIND_networks:
    case CONFIG_KIND_addresses:
        return text_parse(key, text, is_plain, ret_value, what);
    }
    check_failed(__FILE__, __LINE__, "the key's kind is known");
}

static bool kind_is_text(enum config_kind kind)
{
    return kind == CONFIG_KIND_text || kind == CONFIG_KIND_choice || kind == CONFIG_KIND_networks ||
           kind == CONFIG_KIND_addresses;
}

void config_value_default(const struct config_key *key, void *ret_value)
{
    if (kind_is_text(key->kind)) {
        struct config_text *text = ret_value;
        *text = (struct config_text){0};
        CHECK(bytes_to_str(bytes_of_str(key->text), text->text, sizeof(text->text)));
    } else if (key->kind == CONFIG_KIND_endpoint) {
        struct endpoint *e = ret_value;
        *e = (struct endpoint){0};
        CHECK(key->text[0] == '\0' || endpoint_parse(key->text, e) == 0);
    } else if (key->kind == CONFIG_KIND_bool) {
        *(bool *)ret_value = key->number != 0;
    } else {
        *(uint64_t *)ret_value = key->number;
    }
}

static void text_write(const char *text, struct writer *w)
{
    writer_str(w, "\"");
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            writer_str(w, "\\");
        writer_put(w, bytes_of(text, 1));
    }
    writer_str(w, "\"");
}

void config_value_write(const struct config_key *key, const void *value, struct writer *w)
{
    if (key->kind == CONFIG_KIND_choice && ((const struct config_text *)value)->text[0] != '\0') {
        writer_str(w, ((const struct config_text *)value)->text);
    } else if (kind_is_text(key->kind)) {
        text_write(((const struct config_text *)value)->text, w);
    } else if (key->kind == CONFIG_KIND_endpoint) {
        const struct endpoint *e = value;
        char text[ENDPOINT_TEXT_MAX] = "";
        if (e->family == 6 && endpoint_is_any(e))
            snprintf(text, sizeof(text), "*:%u", e->port);
        else if (e->family != 0)
            endpoint_format(e, text);
        text_write(text, w);
    } else if (key->kind == CONFIG_KIND_bool) {
        writer_str(w, *(const bool *)value ? "true" : "false");
    } else {
        number_write(*(const uint64_t *)value, key->kind, w);
    }
}

void config_value_range(const struct config_key *key, struct writer *w)
{
    switch (key->kind) {
    case CONFIG_KIND_uint:
    case CONFIG_KIND_duration_ms:
    case CONFIG_KIND_bytes:
        number_write(key->min, key->kind, w);
        writer_str(w, " to ");
        number_write(key->max, key->kind, w);
        break;
    case CONFIG_KIND_bool:
        writer_str(w, "true or false");
        break;
    case CONFIG_KIND_choice:
        if (key->choices[0] == '|')
            writer_str(w, "\"\"");
        for (const char *at = key->choices; *at != '\0'; at++) {
            if (*at == '|')
                writer_str(w, ", ");
            else
                writer_put(w, bytes_of(at, 1));
        }
        break;
    case CONFIG_KIND_endpoint:
        writer_str(w, "address:port, \"\" for none");
        break;
    case CONFIG_KIND_text:
    case CONFIG_KIND_networks:
    case CONFIG_KIND_addresses:
        writer_printf(w, "text, at most %llu bytes", (unsigned long long)key->max);
        break;
    }
}
