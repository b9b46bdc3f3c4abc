#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log_line.h"
#include "common/mpsc.h"

enum {
    RING_LINES = 1024,
    POLL_MS = 100,
    FINI_MS_MAX = 1000,
    /* Writes of at most this are atomic on a pipe (POSIX), so that the lines of two processes that
     * share one do not mix; and do not block after poll() said that there is room. */
    BATCH_MAX = 4096
};
static_assert((int)BATCH_MAX <= (int)PIPE_BUF, "a batch is one atomic write");

struct ring_line {
    uint32_t size;
    char text[LOG_LINE_MAX];
};

/* One per process. The ring lives on after log_fini(): a late line must not find it freed. */
static struct {
    const char *process;
    enum log_format format;
    _Atomic enum log_level level;
    struct mpsc *ring;
    pthread_t thread;
    sem_t wake; /* one post per line, and one to stop */
    /* Release in log_init(), acquire in log_write(): the ring is there. */
    atomic_bool is_running;
    atomic_bool is_stopping;      /* relaxed: the semaphore orders it */
    atomic_uint_fast64_t dropped; /* relaxed: only counts */
} logger = {.process = "leat", .level = LOG_LEVEL_INFO};

bool log_is_enabled(enum log_level level)
{
    return level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

enum log_level log_level_of(const char *word)
{
    if (strcmp(word, "debug") == 0)
        return LOG_LEVEL_DEBUG;
    if (strcmp(word, "warn") == 0)
        return LOG_LEVEL_WARN;
    return strcmp(word, "error") == 0 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
}

enum log_format log_format_of(const char *word)
{
    return strcmp(word, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_HUMAN;
}

/* Writes all of it, unless standard error is broken or, while stopping, takes nothing. */
static void output_write(const char *data, size_t size)
{
    int waited_ms = 0;

    while (size > 0) {
        struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
        int ready = poll(&fd, 1, POLL_MS);
        if (ready == 0) {
            waited_ms += POLL_MS;
            bool is_stopping = atomic_load_explicit(&logger.is_stopping, memory_order_relaxed);
            if (is_stopping && waited_ms >= FINI_MS_MAX)
                return;
            continue;
        }
        ssize_t written = write(STDERR_FILENO, data, size);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
}

/* Says how many lines were lost since it was last said. Returns the line's bytes, or 0. */
static size_t dropped_format(char out[static LOG_LINE_MAX])
{
    uint64_t dropped = atomic_exchange_explicit(&logger.dropped, 0, memory_order_relaxed);
    const struct log_field fields[] = {LOG_MSG("lines dropped: the log ring was full"),
                                       LOG_INT("count", dropped)};
    struct log_line line = {.wall_us = clock_wall_us(),
                            .process = logger.process,
                            .module = "log",
                            .level = LOG_LEVEL_WARN};

    if (dropped == 0)
        return 0;
    return log_line_format(&line, logger.format, fields, ARRAY_COUNT(fields), out);
}

/* Writes out what is in the ring, in batches of whole lines. */
static void ring_drain(void)
{
    char batch[BATCH_MAX];
    struct ring_line line;
    size_t size = 0;

    while (mpsc_pop(logger.ring, &line)) {
        if (size + line.size > sizeof(batch)) {
            output_write(batch, size);
            size = 0;
        }
        memcpy(batch + size, line.text, line.size);
        size += line.size;
    }
    output_write(batch, size);
    line.size = (uint32_t)dropped_format(line.text);
    output_write(line.text, line.size);
}

static void *writer_run(void *unused)
{
    (void)unused;
    while (!atomic_load_explicit(&logger.is_stopping, memory_order_relaxed)) {
        while (sem_wait(&logger.wake) != 0) /* EINTR */
            ;
        ring_drain();
    }
    ring_drain();
    return NULL;
}

int log_init(const char *process, enum log_format format, enum log_level level)
{
    sigset_t all;
    sigset_t before;

    CHECK(!atomic_load_explicit(&logger.is_running, memory_order_relaxed));
    logger.process = process;
    logger.format = format;
    atomic_store_explicit(&logger.level, level, memory_order_relaxed);
    atomic_store_explicit(&logger.is_stopping, false, memory_order_relaxed);
    if (logger.ring == NULL) {
        logger.ring = mpsc_new(RING_LINES, sizeof(struct ring_line));
        if (logger.ring == NULL)
            return -ENOMEM;
        CHECK(sem_init(&logger.wake, 0, 0) == 0);
    }
    /* No signal is handled on the writer's thread, and SIGPIPE must not end the process when
     * whoever read its standard error is gone. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&logger.thread, NULL, writer_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return -error;
    atomic_store_explicit(&logger.is_running, true, memory_order_release);
    return 0;
}

void log_fini(void)
{
    if (!atomic_exchange_explicit(&logger.is_running, false, memory_order_acq_rel))
        return;
    atomic_store_explicit(&logger.is_stopping, true, memory_order_relaxed);
    sem_post(&logger.wake);
    pthread_join(logger.thread, NULL);
}

void log_write(enum log_level level, const char *module, const struct log_field *fields,
               size_t count)
{
    struct log_line head = {
        .wall_us = clock_wall_us(), .process = logger.process, .module = module, .level = level};
    struct ring_line line;

    line.size = (uint32_t)log_line_format(&head, logger.format, fields, count, line.text);
    if (!atomic_load_explicit(&logger.is_running, memory_order_acquire)) {
        ssize_t ignored = write(STDERR_FILENO, line.text, line.size);
        (void)ignored; /* nowhere to report it to */
        return;
    }
    if (mpsc_push(logger.ring, &line))
        sem_post(&logger.wake);
    else
        atomic_fetch_add_explicit(&logger.dropped, 1, memory_order_relaxed);
}
