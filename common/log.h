/* log.h - structured log lines, human or JSON, on stderr.
 *
 * log_write() copies the line into a bounded ring and returns: a background thread writes
 * it out, so that a shard never blocks on a terminal or a full disk. When the ring is full
 * the line is dropped and counted; the count is logged when there is room again.
 * Callable from any thread. Never pass a secret (stream key, token) as a field.
 *
 *   log_info("rtmp", LOG_MSG("publish accepted"), LOG_STR("channel", name), LOG_INT("track", 2));
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/bytes.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_HUMAN, LOG_FORMAT_JSON };

struct log_field {
    const char *name; /* NULL: the message itself */
    const char *text; /* NULL: 'number' is the value */
    size_t text_size; /* bytes of 'text' */
    int64_t number;
};

#define LOG_MSG(message)    ((struct log_field){NULL, (message), sizeof(message) - 1, 0})
#define LOG_STR(key, value) ((struct log_field){(key), (value), strlen(value), 0})
#define LOG_BYTES(key, value)                                                                      \
    ((struct log_field){(key), (value).ptr != NULL ? (const char *)(value).ptr : "", (value).size, \
                        0})
#define LOG_INT(key, value) ((struct log_field){(key), NULL, 0, (int64_t)(value)})

/* Starts the writer thread. 'process' names this process in each line; borrowed forever.
 * Before log_init() and after log_fini() lines are written synchronously. 0, or -errno. */
int log_init(const char *process, enum log_format format, enum log_level level);

/* Writes what is queued and stops the thread; gives up after a second when standard error takes
 * nothing. No other thread may log meanwhile. */
void log_fini(void);

/* "info" to its level and "json" to its format, as the configuration has them; an unknown word is
 * info, human. */
enum log_level log_level_of(const char *word);
enum log_format log_format_of(const char *word);

bool log_is_enabled(enum log_level level);
void log_write(enum log_level level, const char *module, const struct log_field *fields,
               size_t count);

#define LOG_AT(level, module, ...)                                                                 \
    do {                                                                                           \
        if (log_is_enabled(level))                                                                 \
            log_write((level), (module), (const struct log_field[]){__VA_ARGS__},                  \
                      sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)); \
    } while (0)

#define log_debug(module, ...) LOG_AT(LOG_LEVEL_DEBUG, module, __VA_ARGS__)
#define log_info(module, ...)  LOG_AT(LOG_LEVEL_INFO, module, __VA_ARGS__)
#define log_warn(module, ...)  LOG_AT(LOG_LEVEL_WARN, module, __VA_ARGS__)
#define log_error(module, ...) LOG_AT(LOG_LEVEL_ERROR, module, __VA_ARGS__)

#endif
