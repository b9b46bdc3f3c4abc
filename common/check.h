/* check.h - assertions. CHECK ships in every build and aborts with file, line and
 * expression: it guards what *we* could get wrong, never what a peer sends. DCHECK is for
 * hot paths and exists only in debug and sanitizer builds. */
#ifndef COMMON_CHECK_H
#define COMMON_CHECK_H

#include <assert.h> /* static_assert */

/* Prints "check failed" with its arguments to stderr and aborts. */
_Noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(expression), 0))                                                    \
            check_failed(__FILE__, __LINE__, #expression);                                         \
    } while (0)

#ifdef LEAT_DEBUG
#define DCHECK(expression) CHECK(expression)
#else
#define DCHECK(expression)                                                                         \
    do {                                                                                           \
        if (0)                                                                                     \
            (void)(expression);                                                                    \
    } while (0)
#endif

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of 'type' whose 'member' is at 'pointer'. */
#define CONTAINER_OF(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
