/* log_line.h - the text of one log line. No I/O, no clock.
 *
 * Whatever bytes a field holds, the line is one line of valid UTF-8, and in JSON one valid
 * object. */
#ifndef COMMON_LOG_LINE_H
#define COMMON_LOG_LINE_H

#include "common/log.h"
#include "common/writer.h"

enum {
    LOG_LINE_MAX =
        1016,          /* bytes with the newline: with its length and sequence 1 KiB in the ring */
    LOG_TEXT_MAX = 256 /* bytes of one field's text that are shown */
};

struct log_line {
    int64_t wall_us;
    const char *process;
    const char *module;
    enum log_level level;
};

/* Writes the line with its newline into 'out'; returns its bytes. Fields that do not fit are left
 * out, and the line says so. */
size_t log_line_format(const struct log_line *line, enum log_format format,
                       const struct log_field *fields, size_t count, char out[static LOG_LINE_MAX]);

#endif
