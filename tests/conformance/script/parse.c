#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/script/script.h"

enum { DEPTH_MAX = 8 };

struct parser {
    struct script *script;
    const char *at;
    const char *end;
    int line;
    int depth;
    struct script_error *error;
};

bool script_fail(struct script_error *e, int line, const char *format, ...)
{
    va_list args;

    if (e->text[0] != '\0')
        return false;
    e->line = line;
    va_start(args, format);
    (void)vsnprintf(e->text, sizeof(e->text), format, args);
    va_end(args);
    return false;
}

#define FAIL(p, ...) script_fail((p)->error, (p)->line, __VA_ARGS__)

/* --- characters --- */

static int peek(const struct parser *p)
{
    return p->at < p->end ? (unsigned char)*p->at : EOF;
}

static void step(struct parser *p)
{
    if (p->at < p->end && *p->at++ == '\n')
        p->line++;
}

static bool starts(const struct parser *p, const char *text)
{
    size_t size = strlen(text);

    return (size_t)(p->end - p->at) >= size && memcmp(p->at, text, size) == 0;
}

static void skip_line(struct parser *p)
{
    while (peek(p) != EOF && peek(p) != '\n')
        step(p);
}

static void skip_comment(struct parser *p)
{
    while (p->at < p->end && !starts(p, "*/"))
        step(p);
    if (p->at < p->end)
        p->at += 2;
}

static void skip_space(struct parser *p)
{
    for (;;) {
        if (peek(p) != EOF && isspace(peek(p)))
            step(p);
        else if (starts(p, "/*"))
            skip_comment(p);
        else if (starts(p, "//") || peek(p) == '#')
            skip_line(p);
        else
            return;
    }
}

/* Takes 'text' when it comes next. */
static bool take(struct parser *p, const char *text)
{
    skip_space(p);
    if (!starts(p, text))
        return false;
    p->at += strlen(text);
    return true;
}

static bool expect(struct parser *p, const char *text)
{
    if (take(p, text))
        return true;
    skip_space(p);
    return FAIL(p, "expected '%s' before '%.*s'", text,
                (int)(p->end - p->at < 12 ? p->end - p->at : 12), p->at);
}

static bool is_name(int c)
{
    return c != EOF && (isalnum(c) || c == '_');
}

/* A word of letters, digits and '_'; empty when none comes. */
static bool take_name(struct parser *p, char name[static SCRIPT_NAME_MAX])
{
    size_t size = 0;

    skip_space(p);
    while (is_name(peek(p)) && size + 1 < SCRIPT_NAME_MAX) {
        name[size++] = *p->at;
        step(p);
    }
    name[size] = '\0';
    return size > 0 && !is_name(peek(p));
}

/* Takes the word 'text', not the beginning of a longer one. */
static bool take_word(struct parser *p, const char *text)
{
    skip_space(p);
    if (!starts(p, text) ||
        (p->at + strlen(text) < p->end && is_name((unsigned char)p->at[strlen(text)])))
        return false;
    p->at += strlen(text);
    return true;
}

static bool take_number(struct parser *p, int64_t *ret)
{
    bool is_negative = take(p, "-");
    unsigned base = 10;
    uint64_t value = 0;
    bool is_any = false;

    skip_space(p);
    if (starts(p, "0x") || starts(p, "0X")) {
        base = 16;
        p->at += 2;
    }
    for (; isxdigit(peek(p) == EOF ? 0 : peek(p)); step(p)) {
        int c = tolower(peek(p));
        unsigned digit = c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0');
        if (digit >= base)
            break;
        if (value > (uint64_t)INT64_MAX / 16)
            return FAIL(p, "the number is too large");
        value = value * base + digit;
        is_any = true;
    }
    if (!is_any)
        return FAIL(p, "expected a number");
    *ret = is_negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool take_u32(struct parser *p, uint32_t *ret)
{
    int64_t value;

    if (!take_number(p, &value))
        return false;
    if (value < 0 || value > UINT32_MAX)
        return FAIL(p, "expected a number of 32 bits");
    *ret = (uint32_t)value;
    return true;
}

static bool take_seconds(struct parser *p, int64_t *ret_us)
{
    int64_t us = 0;
    int64_t unit = 1000000;
    bool is_any = false;

    for (; isdigit(peek(p) == EOF ? 0 : peek(p)); step(p), is_any = true) {
        if (us > 1000000)
            return FAIL(p, "the time is too long");
        us = us * 10 + (peek(p) - '0');
    }
    us *= 1000000;
    if (peek(p) == '.' && !starts(p, "...")) {
        step(p);
        for (; isdigit(peek(p) == EOF ? 0 : peek(p)); step(p), is_any = true)
            us += (peek(p) - '0') * (unit /= 10);
    }
    *ret_us = us;
    return is_any || FAIL(p, "expected a time");
}

/* --- arguments --- */

static struct value *value_new(struct parser *p, enum value_kind kind)
{
    if (p->script->value_count == SCRIPT_VALUES_MAX) {
        FAIL(p, "more than %d values", SCRIPT_VALUES_MAX);
        return NULL;
    }
    struct value *v = &p->script->values[p->script->value_count++];
    *v = (struct value){.kind = kind};
    return v;
}

static struct value *parse_value(struct parser *p);

/* Values up to 'close', by commas; those of a struct may be "name = value". */
static bool parse_values(struct parser *p, const char *close, const struct value **ret)
{
    const struct value **link = ret;

    *ret = NULL;
    if (take(p, close))
        return true;
    do {
        char name[SCRIPT_NAME_MAX] = "";
        const char *back = p->at;
        int line = p->line;

        bool is_member = take_name(p, name);
        if (is_member && take(p, "(")) { /* msg_iov(1)=[…]: the count says nothing new */
            while (peek(p) != EOF && peek(p) != ')')
                step(p);
            is_member = take(p, ")");
        }
        if (is_member)
            is_member = take(p, "=");
        if (!is_member) {
            p->at = back;
            p->line = line;
            name[0] = '\0';
        }
        struct value *v = parse_value(p);
        if (v == NULL)
            return false;
        memcpy(v->name, name, sizeof(v->name));
        *link = v;
        link = &v->next;
    } while (take(p, ","));
    return expect(p, close);
}

static struct value *parse_string(struct parser *p)
{
    struct value *v = value_new(p, VALUE_STRING);

    step(p);
    const char *begin = p->at;
    while (peek(p) != EOF && peek(p) != '"' && peek(p) != '\n')
        step(p);
    if (peek(p) != '"' || v == NULL) {
        FAIL(p, "the string does not end");
        return NULL;
    }
    v->text = begin;
    v->text_size = (size_t)(p->at - begin);
    step(p);
    return v;
}

static bool take_operand(struct parser *p, int64_t *ret)
{
    char name[SCRIPT_NAME_MAX];

    skip_space(p);
    if (take(p, "~")) {
        bool is_ok = take_operand(p, ret);
        *ret = ~*ret;
        return is_ok;
    }
    if (peek(p) == '-' || (peek(p) != EOF && isdigit(peek(p))))
        return take_number(p, ret);
    if (!take_name(p, name))
        return FAIL(p, "expected a value before '%.*s'",
                    (int)(p->end - p->at < 12 ? p->end - p->at : 12), p->at);
    int64_t value;
    if (strcmp(name, "htons") == 0 || strcmp(name, "htonl") == 0)
        return expect(p, "(") && take_number(p, ret) && expect(p, ")");
    if (!symbol_find(name, &value))
        return FAIL(p, "the constant '%s' is not known", name);
    *ret = value;
    return true;
}

static struct value *parse_value(struct parser *p)
{
    const char *close = NULL;
    struct value *v = NULL;

    skip_space(p);
    if (take(p, "..."))
        return value_new(p, VALUE_ELLIPSIS);
    if (peek(p) == '"')
        return parse_string(p);
    if (peek(p) == '[')
        close = "]";
    else if (peek(p) == '{')
        close = "}";
    if (close != NULL) {
        v = value_new(p, *close == ']' ? VALUE_LIST : VALUE_STRUCT);
        step(p);
        if (v == NULL || ++p->depth > DEPTH_MAX) {
            FAIL(p, "nested too deeply");
            return NULL;
        }
        bool is_ok = parse_values(p, close, &v->child);
        p->depth--;
        return is_ok ? v : NULL;
    }
    v = value_new(p, VALUE_NUMBER);
    if (v == NULL || !take_operand(p, &v->number))
        return NULL;
    while (take(p, "|")) {
        int64_t more = 0;
        if (!take_operand(p, &more))
            return NULL;
        v->number |= more;
    }
    return v;
}

/* --- packets --- */

static bool take_flags(struct parser *p, struct script_packet *packet)
{
    static const char letters[] = "FSRP.UEWA"; /* from FIN up; A: the reserved bit of RFC 7560 */
    bool is_any = false;

    skip_space(p);
    for (;; is_any = true) {
        int c = peek(p);
        const char *found = c == EOF || c == '\0' ? NULL : strchr(letters, c);
        if (c == '-' && !is_any) {
            step(p);
            return true;
        }
        if (found == NULL)
            return is_any || FAIL(p, "expected TCP flags (FSRP.UEW)");
        packet->flags |= (uint16_t)(1u << (found - letters));
        step(p);
    }
}

static bool take_range(struct parser *p, uint32_t *ret_seq, uint32_t *ret_size)
{
    uint32_t end = 0;

    if (!take_u32(p, ret_seq) || !expect(p, ":") || !take_u32(p, &end) || !expect(p, "(") ||
        !take_u32(p, ret_size) || !expect(p, ")"))
        return false;
    if (end - *ret_seq != *ret_size)
        return FAIL(p, "%u:%u is not %u bytes", *ret_seq, end, *ret_size);
    return *ret_size <= UINT16_MAX * 64 || FAIL(p, "the packet is too large");
}

static bool parse_sacks(struct parser *p, struct script_option *o)
{
    skip_space(p);
    while (peek(p) != EOF && isdigit(peek(p))) {
        if (o->sack_count == SCRIPT_SACKS_MAX)
            return FAIL(p, "more than %d SACK blocks", SCRIPT_SACKS_MAX);
        if (!take_u32(p, &o->sacks[2 * o->sack_count]) || !expect(p, ":") ||
            !take_u32(p, &o->sacks[2 * o->sack_count + 1]))
            return false;
        o->sack_count++;
        (void)take(p, ","); /* between blocks; what follows decides */
        skip_space(p);
    }
    return o->sack_count > 0 || FAIL(p, "expected a SACK block");
}

/* One option. '*ret_is_more': a comma was taken with it. */
static bool parse_option(struct parser *p, struct script_option *o)
{
    if (take_word(p, "mss")) {
        o->kind = 2;
        return take_u32(p, &o->value[0]);
    }
    if (take_word(p, "nop")) {
        o->kind = 1;
        return true;
    }
    if (take_word(p, "eol")) {
        o->kind = 0;
        return true;
    }
    if (take_word(p, "wscale")) {
        o->kind = 3;
        return take_u32(p, &o->value[0]);
    }
    if (take_word(p, "sackOK")) {
        o->kind = 4;
        return true;
    }
    if (take_word(p, "sack")) {
        o->kind = 5;
        return parse_sacks(p, o);
    }
    if (take_word(p, "TS")) {
        o->kind = 8;
        return expect(p, "val") && take_u32(p, &o->value[0]) && expect(p, "ecr") &&
               take_u32(p, &o->value[1]);
    }
    if (take_word(p, "unknown")) { /* kind and length, filled with zeros */
        uint32_t kind = 0;
        bool is_ok = take_u32(p, &kind) && take_u32(p, &o->value[0]) && kind > 8 && kind < 256 &&
                     o->value[0] >= 2 && o->value[0] <= 40;
        o->kind = (uint8_t)kind;
        return is_ok || FAIL(p, "unknown KIND LENGTH, a kind of 9 to 255 and a length of 2 to 40");
    }
    return FAIL(p, "expected a TCP option: mss, nop, eol, wscale, sackOK, sack, TS, unknown");
}

static bool parse_options(struct parser *p, struct script_packet *packet)
{
    if (!take(p, "<"))
        return true;
    if (take(p, "...")) {
        packet->has_any_options = true;
        return expect(p, ">");
    }
    while (!take(p, ">")) {
        if (packet->option_count == SCRIPT_TCP_OPTIONS_MAX)
            return FAIL(p, "more than %d TCP options", SCRIPT_TCP_OPTIONS_MAX);
        if (!parse_option(p, &packet->options[packet->option_count++]))
            return false;
        (void)take(p, ",");
    }
    return true;
}

static bool parse_icmp(struct parser *p, struct script_packet *packet)
{
    /* Type and code over IPv4 (RFC 792, 1191) and IPv6 (RFC 4443). */
    static const struct {
        const char *name;
        uint8_t type[2];
        uint8_t code[2];
    } kinds[] = {
        {"net_unreachable", {3, 1}, {0, 0}},
        {"host_unreachable", {3, 1}, {1, 3}},
        {"protocol_unreachable", {3, 4}, {2, 1}},
        {"port_unreachable", {3, 1}, {3, 4}},
        {"admin_prohibited", {3, 1}, {13, 1}},
        {"frag_needed", {3, 2}, {4, 0}},
        {"packet_too_big", {3, 2}, {4, 0}},
        {"ttl_exceeded", {11, 3}, {0, 0}},
        {"source_quench", {4, 4}, {0, 0}},
        {"source_route_failed", {3, 1}, {5, 5}},
        {"net_unknown", {3, 1}, {6, 0}},
        {"host_unknown", {3, 1}, {7, 3}},
        {"source_host_isolated", {3, 1}, {8, 0}},
        {"net_prohibited", {3, 1}, {9, 1}},
        {"host_prohibited", {3, 1}, {10, 1}},
        {"net_unreachable_for_tos", {3, 1}, {11, 0}},
        {"packet_filtered", {3, 1}, {13, 1}},
        {"host_unreachable_for_tos", {3, 1}, {12, 3}},
        {"precedence_cutoff", {3, 1}, {15, 1}},
        {"precedence_violation", {3, 1}, {14, 1}},
        {"redirect", {5, 137}, {0, 0}},
        {"time_exceeded", {11, 3}, {0, 0}},
        {"parameter_problem", {12, 4}, {0, 0}},
        {"echo_reply", {0, 129}, {0, 0}},
        {"timestamp_reply", {14, 255}, {0, 0}},
        {"echo_request", {8, 128}, {0, 0}},
        {"timestamp_request", {13, 255}, {0, 0}},
        {"information_request", {15, 255}, {0, 0}},
        {"information_reply", {16, 255}, {0, 0}},
        {"address_mask_request", {17, 255}, {0, 0}},
        {"address_mask_reply", {18, 255}, {0, 0}},
    };
    char name[SCRIPT_NAME_MAX];
    unsigned number = 0;

    packet->protocol = PACKET_ICMP;
    (void)take_word(p, "unreachable");
    packet->icmp_type = p->script->is_ipv6 ? 1 : 3;
    if (!take_name(p, name))
        return FAIL(p, "expected the kind of the ICMP error");
    if (sscanf(name, "type_%3u", &number) == 1) {
        packet->icmp_type = (uint8_t)number;
        if (!take_name(p, name))
            return FAIL(p, "expected the code of the ICMP message");
    }
    if (sscanf(name, "code_%3u", &number) == 1) {
        packet->icmp_code = (uint8_t)number;
        return true;
    }
    size_t i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[i].name, name) != 0)
        i++;
    if (i == sizeof(kinds) / sizeof(kinds[0]))
        return FAIL(p, "the ICMP error '%s' is not known", name);
    packet->icmp_type = kinds[i].type[p->script->is_ipv6];
    packet->icmp_code = kinds[i].code[p->script->is_ipv6];
    if (take_word(p, "mtu") && !take_u32(p, &packet->icmp_mtu))
        return false;
    return !take(p, "[") || (take_range(p, &packet->seq, &packet->size) && expect(p, "]"));
}

static bool parse_byte(struct parser *p, bool *ret_has, uint8_t *ret)
{
    uint32_t number = 0;

    *ret_has = true;
    if (!take_u32(p, &number) || number > UINT8_MAX)
        return FAIL(p, "expected a number of 8 bits");
    *ret = (uint8_t)number;
    return true;
}

/* "[ect0]", "[tos 0x10]", "[ttl 5]", several with commas; and what ICMP quotes, which may stand
 * here as well as behind: "[1:1001(1000)]". */
static bool parse_ip(struct parser *p, struct script_packet *packet)
{
    static const struct {
        const char *name;
        int ecn;
    } names[] = {{"noecn", ECN_NONE},
                 {"ect01", ECN_ECT01},
                 {"ect0", ECN_ECT0},
                 {"ect1", ECN_ECT1},
                 {"ce", ECN_CE}};

    packet->ecn = packet->is_inbound ? ECN_NONE : ECN_ANY;
    if (!take(p, "["))
        return true;
    skip_space(p);
    if (peek(p) != EOF && isdigit(peek(p)))
        return take_range(p, &packet->seq, &packet->size) && expect(p, "]");
    do {
        size_t i = 0;
        while (i < sizeof(names) / sizeof(names[0]) && !take_word(p, names[i].name))
            i++;
        bool is_ok = true;
        if (i < sizeof(names) / sizeof(names[0]))
            packet->ecn = names[i].ecn;
        else if (take_word(p, "tos"))
            is_ok = parse_byte(p, &packet->has_tos, &packet->tos);
        else if (take_word(p, "ttl"))
            is_ok = parse_byte(p, &packet->has_ttl, &packet->ttl);
        else
            return FAIL(p, "expected noecn, ect0, ect1, ect01, ce, tos or ttl");
        if (!is_ok)
            return false;
    } while (take(p, ","));
    return expect(p, "]");
}

static bool parse_packet(struct parser *p, struct script_event *event)
{
    struct script_packet *packet = &event->packet;

    event->kind = EVENT_PACKET;
    if (!parse_ip(p, packet))
        return false;
    if (take_word(p, "icmp"))
        return parse_icmp(p, packet);
    if (take_word(p, "udp")) {
        packet->protocol = PACKET_UDP;
        return expect(p, "(") && take_u32(p, &packet->size) && expect(p, ")") &&
               (packet->size <= 65507 || FAIL(p, "the datagram is too large"));
    }
    if (!take_flags(p, packet))
        return false;
    skip_space(p);
    if (peek(p) != EOF && isdigit(peek(p)) && !take_range(p, &packet->seq, &packet->size))
        return false;
    if (take_word(p, "ack")) {
        packet->has_ack = true;
        if (!take_u32(p, &packet->ack))
            return false;
    }
    if (take_word(p, "win")) {
        uint32_t window = 0;
        packet->has_window = true;
        if (!take_u32(p, &window) || window > UINT16_MAX)
            return FAIL(p, "the window field has 16 bits");
        packet->window = (uint16_t)window;
    }
    if (take_word(p, "urg")) {
        uint32_t urgent = 0;
        if (!take_u32(p, &urgent) || urgent > UINT16_MAX)
            return FAIL(p, "the urgent pointer has 16 bits");
        packet->urgent = (uint16_t)urgent;
    }
    return parse_options(p, packet);
}

/* --- events --- */

static bool parse_time(struct parser *p, struct script_time *t)
{
    skip_space(p);
    if (take(p, "*")) {
        t->kind = TIME_ANY;
        return true;
    }
    t->kind = take(p, "+") ? TIME_AFTER : TIME_AT;
    if (!take_seconds(p, &t->begin_us))
        return false;
    t->end_us = t->begin_us;
    if (take(p, "...")) {
        skip_space(p);
        t->is_blocking = true;
    } else if (starts(p, "~")) {
        p->at++;
        t->is_range = true;
    } else {
        return true;
    }
    (void)take(p, "+");
    if (!take_seconds(p, &t->end_us))
        return false;
    return t->end_us >= t->begin_us || FAIL(p, "the time ends before it begins");
}

static bool parse_call(struct parser *p, struct script_event *event)
{
    char name[SCRIPT_NAME_MAX];
    int64_t error = 0;

    event->kind = EVENT_CALL;
    if (!take_name(p, event->call))
        return FAIL(p, "expected '<', '>', '%%{' or a call");
    if (!expect(p, "(") || !parse_values(p, ")", &event->arguments) || !expect(p, "="))
        return false;
    if (take(p, "...")) {
        event->has_any_result = true;
        return true;
    }
    if (!take_operand(p, &event->result))
        return false;
    skip_space(p);
    if (peek(p) == 'E') {
        if (!take_name(p, name) || !symbol_find(name, &error))
            return FAIL(p, "the errno '%s' is not known", name);
        event->error = (int)error;
    }
    if (take(p, "(")) { /* what strerror() says */
        while (peek(p) != EOF && peek(p) != ')')
            step(p);
        return expect(p, ")");
    }
    return true;
}

static bool parse_code(struct parser *p, struct script_event *event)
{
    event->kind = EVENT_CODE;
    event->code = p->at;
    while (p->at < p->end && !starts(p, "}%"))
        step(p);
    event->code_size = (size_t)(p->at - event->code);
    return expect(p, "}%");
}

/* `a shell command`: there is no kernel to set up. */
static bool skip_command(struct parser *p)
{
    step(p);
    while (peek(p) != EOF && peek(p) != '`')
        step(p);
    return expect(p, "`");
}

static bool parse_setting(struct parser *p)
{
    struct script_setting *s = &p->script->settings[p->script->setting_count];
    size_t size = 0;

    if (p->script->setting_count == SCRIPT_OPTIONS_MAX)
        return FAIL(p, "more than %d settings", SCRIPT_OPTIONS_MAX);
    if (!take_name(p, s->name))
        return FAIL(p, "expected a setting's name");
    if (peek(p) == '=') {
        step(p);
        while (peek(p) != EOF && !isspace(peek(p)) && size + 1 < sizeof(s->value)) {
            s->value[size++] = *p->at;
            step(p);
        }
    }
    s->value[size] = '\0';
    p->script->setting_count++;
    if (strcmp(s->name, "ip_version") == 0)
        p->script->is_ipv6 = strcmp(s->value, "ipv6") == 0;
    return true;
}

static bool parse_event(struct parser *p)
{
    struct script *s = p->script;
    struct script_event event = {.line = p->line};

    if (peek(p) == '`')
        return skip_command(p);
    if (take(p, "--"))
        return parse_setting(p);
    bool has_time = peek(p) == '+' || peek(p) == '*' || peek(p) == '.' || isdigit(peek(p));
    event.time.kind = TIME_AFTER;
    if (has_time && !parse_time(p, &event.time))
        return false;
    skip_space(p);
    if (peek(p) == '`')
        return skip_command(p);
    bool is_ok;
    if (take(p, "<")) {
        event.packet.is_inbound = true;
        is_ok = parse_packet(p, &event);
    } else if (take(p, ">")) {
        is_ok = parse_packet(p, &event);
    } else if (take(p, "%{")) {
        is_ok = parse_code(p, &event);
    } else {
        is_ok = parse_call(p, &event);
    }
    if (!is_ok)
        return false;
    (void)take(p, ";");
    if (s->event_count == SCRIPT_EVENTS_MAX)
        return FAIL(p, "more than %d events", SCRIPT_EVENTS_MAX);
    s->events[s->event_count++] = event;
    return true;
}

bool script_parse(struct script *s, const char *text, size_t size, struct script_error *e)
{
    struct parser p = {.script = s, .at = text, .end = text + size, .line = 1, .error = e};

    s->text = text;
    s->size = size;
    s->events = calloc(SCRIPT_EVENTS_MAX, sizeof(s->events[0]));
    s->values = calloc(SCRIPT_VALUES_MAX, sizeof(s->values[0]));
    if (s->events == NULL || s->values == NULL)
        return script_fail(e, 0, "out of memory");
    if (size > SCRIPT_BYTES_MAX)
        return script_fail(e, 0, "longer than %d bytes", SCRIPT_BYTES_MAX);
    for (skip_space(&p); p.at < p.end; skip_space(&p))
        if (!parse_event(&p))
            return script_fail(e, p.line, "not understood");
    return true;
}

void script_free(struct script *s)
{
    free(s->events);
    free(s->values);
    *s = (struct script){0};
}

const char *script_setting(const struct script *s, const char *name)
{
    for (int i = 0; i < s->setting_count; i++)
        if (strcmp(s->settings[i].name, name) == 0)
            return s->settings[i].value;
    return NULL;
}
