/* Linked into leat-dp-alloc with --wrap: makes the LEAT_FAIL_ALLOC-th allocation that our own code
 * asks for fail (1 is the first), and says so on stderr. What libraries allocate inside themselves
 * is not wrapped and does not count. */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);

static bool must_fail(const char *what)
{
    static atomic_ulong calls;
    const char *wanted = getenv("LEAT_FAIL_ALLOC");

    if (wanted == NULL || atomic_fetch_add(&calls, 1) + 1 != strtoul(wanted, NULL, 10))
        return false;
    fprintf(stderr, "alloc_wrap: this %s fails\n", what);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return must_fail("malloc") ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return must_fail("calloc") ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return must_fail("aligned_alloc") ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    return must_fail("mmap") ? MAP_FAILED
                             : __real_mmap(address, size, protection, flags, fd, offset);
}
