/* The checks in %{ … }%: "assert EXPRESSION[, message]" lines, in the part of Python that scripts
 * use: integers, names, and or not, comparisons, + - * / // %, parentheses. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "tests/conformance/script/script.h"

enum { CODE_DEPTH_MAX = 16 };

struct code {
    const char *at;
    const char *end;
    bool (*lookup)(void *user, const char *name, int64_t *ret);
    void *user;
    int line;
    int depth;
    struct script_error *error;
    char seen[160]; /* names met and their values, for the message */
    size_t seen_size;
};

static int64_t code_or(struct code *c);

static void code_space(struct code *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\\'))
        c->at++;
}

static bool code_take(struct code *c, const char *text)
{
    size_t size = strlen(text);

    code_space(c);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, text, size) != 0)
        return false;
    if (isalpha((unsigned char)text[0]) && c->at + size < c->end &&
        (isalnum((unsigned char)c->at[size]) || c->at[size] == '_'))
        return false;
    c->at += size;
    return true;
}

static int64_t code_name(struct code *c)
{
    char name[SCRIPT_NAME_MAX] = "";
    int64_t value = 0;
    size_t size = 0;

    while (c->at < c->end && (isalnum((unsigned char)*c->at) || *c->at == '_') &&
           size + 1 < sizeof(name))
        name[size++] = *c->at++;
    if (size == 0 || (!c->lookup(c->user, name, &value) && !symbol_find(name, &value)))
        script_fail(c->error, c->line, "'%s' is not known in a check", name);
    int more = snprintf(c->seen + c->seen_size, sizeof(c->seen) - c->seen_size, " %s=%lld", name,
                        (long long)value);
    if (more > 0 && (size_t)more < sizeof(c->seen) - c->seen_size)
        c->seen_size += (size_t)more;
    return value;
}

static int64_t code_atom(struct code *c)
{
    int64_t value = 0;

    if (++c->depth > CODE_DEPTH_MAX) {
        script_fail(c->error, c->line, "a check is nested too deeply");
        c->at = c->end;
    } else if (code_take(c, "(")) {
        value = code_or(c);
        if (!code_take(c, ")"))
            script_fail(c->error, c->line, "expected ')' in a check");
    } else if (code_take(c, "-")) {
        value = -code_atom(c);
    } else if (code_take(c, "True")) {
        value = 1;
    } else if (!code_take(c, "False")) {
        code_space(c);
        if (c->at < c->end && isdigit((unsigned char)*c->at))
            while (c->at < c->end && isdigit((unsigned char)*c->at) && value < INT64_MAX / 16)
                value = value * 10 + (*c->at++ - '0');
        else
            value = code_name(c);
    }
    c->depth--;
    return value;
}

static int64_t code_product(struct code *c)
{
    int64_t left = code_atom(c);

    for (;;) {
        bool is_product = code_take(c, "*");
        bool is_quotient = !is_product && (code_take(c, "//") || code_take(c, "/"));
        bool is_rest = !is_product && !is_quotient && code_take(c, "%");
        if (!is_product && !is_quotient && !is_rest)
            return left;
        int64_t right = code_atom(c);
        if (is_product)
            left = (int64_t)((uint64_t)left * (uint64_t)right);
        else if (right <= 0)
            script_fail(c->error, c->line, "division by %lld in a check", (long long)right);
        else
            left = is_quotient ? left / right : left % right;
    }
}

static int64_t code_sum(struct code *c)
{
    int64_t left = code_product(c);

    for (;;) {
        if (code_take(c, "+"))
            left = (int64_t)((uint64_t)left + (uint64_t)code_product(c));
        else if (code_take(c, "-"))
            left = (int64_t)((uint64_t)left - (uint64_t)code_product(c));
        else
            return left;
    }
}

static int64_t code_compare(struct code *c)
{
    if (code_take(c, "not"))
        return code_compare(c) == 0;
    int64_t left = code_sum(c);
    bool result = left != 0;
    bool is_any = false;

    for (;; is_any = true) { /* a < b < c, as Python */
        static const char *const operators[] = {"==", "!=", "<=", ">=", "<", ">"};
        size_t i = 0;
        while (i < sizeof(operators) / sizeof(operators[0]) && !code_take(c, operators[i]))
            i++;
        if (i == sizeof(operators) / sizeof(operators[0]))
            return is_any ? result : left;
        int64_t right = code_sum(c);
        const bool holds[] = {left == right, left != right, left <= right, left >= right,
                              left<right, left> right};
        result = holds[i] && (result || !is_any);
        left = right;
    }
}

static int64_t code_and(struct code *c)
{
    int64_t left = code_compare(c);

    while (code_take(c, "and")) {
        int64_t right = code_compare(c);
        left = left != 0 && right != 0;
    }
    return left;
}

static int64_t code_or(struct code *c)
{
    int64_t left = code_and(c);

    while (code_take(c, "or")) {
        int64_t right = code_and(c);
        left = left != 0 || right != 0;
    }
    return left;
}

bool code_check(const char *code, size_t size,
                bool (*lookup)(void *user, const char *name, int64_t *ret), void *user, int line,
                struct script_error *e)
{
    struct code c = {.end = code, .lookup = lookup, .user = user, .line = line, .error = e};
    const char *last = code + size;

    while (c.end < last && e->text[0] == '\0') {
        c.at = c.end;
        while (c.end < last && *c.end != '\n' && *c.end != ';')
            c.end++;
        const char *next = c.end < last ? c.end + 1 : last;
        const char *begin = c.at;
        c.seen_size = 0;
        c.seen[0] = '\0';
        if (code_take(&c, "assert") && code_or(&c) == 0)
            script_fail(e, c.line, "does not hold: %.*s (%s )", (int)(c.end - begin), begin,
                        c.seen);
        else if (c.at == begin && !code_take(&c, "print") && !code_take(&c, "#")) {
            code_space(&c);
            if (c.at < c.end)
                script_fail(e, c.line, "only assert is understood here: %.*s", (int)(c.end - begin),
                            begin);
        }
        c.line += c.end < last && *c.end == '\n';
        c.end = next;
    }
    return e->text[0] == '\0';
}
