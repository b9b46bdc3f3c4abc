#include "common/log_line.h"

#include <inttypes.h>

#include "common/check.h"
#include "common/utf8.h"

static const char *const level_words[] = {"debug", "info", "warn", "error"};

/* Kept free for the end of the line. */
static const char truncated_json[] = ",\"truncated\":true";
static const char truncated_human[] = " truncated=true";
enum { TAIL_MAX = 24 };
static_assert(sizeof(truncated_json) + 2 <= TAIL_MAX, "the tail fits what is kept for it");

/* Gregorian calendar (ISO 8601), UTC, years 1970 to 9999; gmtime_r() takes the C library's lock. */
static void time_write(struct writer *w, int64_t wall_us)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    enum { DAY_S = 86400, DAYS_IN_400_YEARS = 146097 };
    int64_t seconds = wall_us < 0 ? 0 : wall_us / 1000000;
    int64_t days = seconds / DAY_S;
    int of_day = (int)(seconds % DAY_S);
    int64_t year = 1970 + days / DAYS_IN_400_YEARS * 400;
    int month = 0;

    days %= DAYS_IN_400_YEARS;
    for (;;) {
        bool is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        int month_length = month_days[month] + (month == 1 && is_leap ? 1 : 0);
        if (month == 0 && days >= 365 + (is_leap ? 1 : 0)) {
            days -= 365 + (is_leap ? 1 : 0);
            year++;
        } else if (days >= month_length) {
            days -= month_length;
            month++;
        } else {
            break;
        }
    }
    writer_printf(w, "%04" PRId64 "-%02d-%02dT%02d:%02d:%02d.%06dZ", year, month + 1, (int)days + 1,
                  of_day / 3600, of_day / 60 % 60, of_day % 60,
                  wall_us < 0 ? 0 : (int)(wall_us % 1000000));
}

/* At most LOG_TEXT_MAX bytes of 'text', not ending inside a character. */
static struct bytes text_shown(struct bytes text)
{
    uint32_t point = 0;
    size_t shown = 0;

    if (text.size <= LOG_TEXT_MAX)
        return text;
    while (shown < LOG_TEXT_MAX) {
        size_t size = utf8_next(bytes_from(text, shown), &point);
        size = size == 0 ? 1 : size;
        if (shown + size > LOG_TEXT_MAX)
            break;
        shown += size;
    }
    return bytes_of(text.ptr, shown);
}

/* RFC 8259 section 7. A byte that is not UTF-8 becomes U+FFFD, and so does
 * NUL, which many readers refuse. */
static void json_string(struct writer *w, struct bytes text)
{
    struct bytes shown = text_shown(text);

    writer_str(w, "\"");
    for (size_t at = 0, size; at < shown.size; at += size) {
        uint32_t point = 0;
        size = utf8_next(bytes_from(shown, at), &point);
        if (size == 0 || point == 0) {
            writer_str(w, "\\ufffd");
            size = 1;
        } else if (point == '"' || point == '\\') {
            writer_printf(w, "\\%c", (char)point);
        } else if (utf8_is_control(point)) {
            writer_printf(w, "\\u%04x", (unsigned)point);
        } else {
            writer_put(w, bytes_of(shown.ptr + at, size));
        }
    }
    writer_str(w, shown.size < text.size ? "…\"" : "\"");
}

/* The characters of 'text', those that a terminal could obey as \xNN or \u{N}. */
static void human_text(struct writer *w, struct bytes text, bool is_quoted)
{
    for (size_t at = 0, size; at < text.size; at += size) {
        uint32_t point = 0;
        size = utf8_next(bytes_from(text, at), &point);
        if (size == 0) {
            writer_printf(w, "\\x%02x", text.ptr[at]);
            size = 1;
        } else if (is_quoted && (point == '"' || point == '\\')) {
            writer_printf(w, "\\%c", (char)point);
        } else if (utf8_is_control(point)) {
            writer_printf(w, point < 0x80 ? "\\x%02x" : "\\u{%x}", (unsigned)point);
        } else {
            writer_put(w, bytes_of(text.ptr + at, size));
        }
    }
}

static bool human_needs_quotes(struct bytes text)
{
    if (text.size == 0)
        return true;
    for (size_t i = 0; i < text.size; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] >= 0x7f || strchr("\"=\\", text.ptr[i]) != NULL)
            return true;
    return false;
}

static void human_value(struct writer *w, struct bytes text)
{
    struct bytes shown = text_shown(text);

    if (!human_needs_quotes(text)) {
        writer_put(w, shown);
    } else {
        writer_str(w, "\"");
        human_text(w, shown, true);
        writer_str(w, "\"");
    }
    if (shown.size < text.size)
        writer_str(w, "…");
}

static void json_field(struct writer *w, const struct log_field *f)
{
    writer_printf(w, ",\"%s\":", f->name == NULL ? "message" : f->name);
    if (f->text == NULL)
        writer_printf(w, "%" PRId64, f->number);
    else
        json_string(w, bytes_of(f->text, f->text_size));
}

static void human_field(struct writer *w, const struct log_field *f)
{
    struct bytes text = bytes_of(f->text, f->text_size);

    writer_str(w, " ");
    if (f->name == NULL) {
        human_text(w, text_shown(text), false);
        return;
    }
    writer_printf(w, "%s=", f->name);
    if (f->text == NULL)
        writer_printf(w, "%" PRId64, f->number);
    else
        human_value(w, text);
}

static void head_write(struct writer *w, const struct log_line *line, bool is_json)
{
    if (is_json) {
        writer_str(w, "{\"time\":\"");
        time_write(w, line->wall_us);
        writer_printf(w, "\",\"level\":\"%s\",\"process\":\"%.32s\",\"module\":\"%.32s\"",
                      level_words[line->level], line->process, line->module);
        return;
    }
    time_write(w, line->wall_us);
    writer_printf(w, " %-5s %.32s %.32s:", level_words[line->level], line->process, line->module);
}

size_t log_line_format(const struct log_line *line, enum log_format format,
                       const struct log_field *fields, size_t count, char out[static LOG_LINE_MAX])
{
    struct writer w = writer_of(out, LOG_LINE_MAX - TAIL_MAX);
    bool is_json = format == LOG_FORMAT_JSON;
    bool is_truncated = false;

    head_write(&w, line, is_json);
    CHECK(writer_is_ok(&w));
    for (size_t i = 0; i < count && !is_truncated; i++) {
        size_t before = w.size;
        (is_json ? json_field : human_field)(&w, &fields[i]);
        if (writer_is_ok(&w))
            continue;
        is_truncated = true;
        w.failed = false;
        w.size = before;
    }

    w.capacity = LOG_LINE_MAX;
    if (is_truncated)
        writer_str(&w, is_json ? truncated_json : truncated_human);
    writer_str(&w, is_json ? "}\n" : "\n");
    CHECK(writer_is_ok(&w));
    return w.size;
}
