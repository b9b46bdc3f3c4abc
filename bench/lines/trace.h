/* trace.h - which cache lines each of two threads reads and writes.
 *
 * Everything is compiled with -fsanitize=thread (meson option 'lines'), whose calls before each
 * memory access come here instead of to the sanitizer's runtime. What libraries do inside is not
 * seen. */
#ifndef BENCH_LINES_TRACE_H
#define BENCH_LINES_TRACE_H

#include <stdint.h>

enum { TRACE_THREADS = 2 };

/* A line that one thread wrote and the other touched. */
struct trace_line {
    uintptr_t address;
    uint64_t accesses[TRACE_THREADS];
    uint64_t writes[TRACE_THREADS];
    uintptr_t read_at[TRACE_THREADS];  /* code of a read; 0: none */
    uintptr_t write_at[TRACE_THREADS]; /* code of a write; 0: none */
};

/* From here on this thread's accesses count, as those of 'thread'; until trace_end(). */
void trace_begin(unsigned thread);
void trace_end(void);

/* After both have ended: calls for each shared line. Returns how many lines there were at all; 0:
 * more than there is room for, so that nothing can be said. */
uint64_t trace_report(void (*each)(const struct trace_line *line, void *user), void *user);

#endif
