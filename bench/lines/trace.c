#include "bench/lines/trace.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "common/check.h"

enum { LINE_SHIFT = 6, SLOT_BITS = 20, SLOTS = 1 << SLOT_BITS };

/* What one thread did to a line; open addressing, by address. */
struct slot {
    uintptr_t line; /* number + 1; 0: empty */
    uint64_t accesses;
    uint64_t writes;
    uintptr_t read_at;
    uintptr_t write_at;
};

static struct slot slots[TRACE_THREADS][SLOTS];
static uint64_t used[TRACE_THREADS];
static __thread int tracing = -1; /* the thread's number */

static struct slot *slot_of(unsigned thread, uintptr_t line)
{
    size_t at = (size_t)(line * 0x9e3779b97f4a7c15u >> (64 - SLOT_BITS));

    while (slots[thread][at].line != 0 && slots[thread][at].line != line + 1)
        at = (at + 1) % SLOTS;
    return &slots[thread][at];
}

static void touch_line(unsigned thread, uintptr_t line, bool is_write, uintptr_t code)
{
    struct slot *s = slot_of(thread, line);

    if (s->line == 0) {
        if (used[thread] >= SLOTS / 2) { /* trace_report() tells */
            used[thread] = SLOTS;
            return;
        }
        used[thread]++;
        s->line = line + 1;
    }
    s->accesses++;
    s->writes += is_write;
    if (is_write)
        s->write_at = code;
    else
        s->read_at = code;
}

static void touch(const volatile void *address, size_t size, bool is_write, const void *code)
{
    if (__builtin_expect(tracing < 0 || size == 0, 1))
        return;
    uintptr_t first = (uintptr_t)address >> LINE_SHIFT;
    uintptr_t last = ((uintptr_t)address + size - 1) >> LINE_SHIFT;
    for (uintptr_t line = first; line <= last; line++)
        touch_line((unsigned)tracing, line, is_write, (uintptr_t)code);
}

void trace_begin(unsigned thread)
{
    CHECK(thread < TRACE_THREADS);
    tracing = (int)thread;
}

void trace_end(void)
{
    tracing = -1;
}

uint64_t trace_report(void (*each)(const struct trace_line *line, void *user), void *user)
{
    for (unsigned thread = 0; thread < TRACE_THREADS; thread++)
        if (used[thread] >= SLOTS)
            return 0;
    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *one = &slots[0][i];
        if (one->line == 0)
            continue;
        const struct slot *other = slot_of(1, one->line - 1);
        if (other->line == 0 || (one->writes == 0 && other->writes == 0))
            continue;
        struct trace_line line = {.address = (one->line - 1) << LINE_SHIFT,
                                  .accesses = {one->accesses, other->accesses},
                                  .writes = {one->writes, other->writes},
                                  .read_at = {one->read_at, other->read_at},
                                  .write_at = {one->write_at, other->write_at}};
        each(&line, user);
    }
    return used[0] + used[1];
}

/* --- what the compiler calls --- */

#define CALLER __builtin_return_address(0)

void __tsan_init(void);
void __tsan_func_entry(void *caller);
void __tsan_func_exit(void);
void __tsan_read_range(void *address, size_t size);
void __tsan_write_range(void *address, size_t size);
void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_signal_fence(int order);
void *__wrap_memcpy(void *to, const void *from, size_t size);
void *__wrap_memmove(void *to, const void *from, size_t size);
void *__wrap_memset(void *to, int value, size_t size);
int __wrap_memcmp(const void *one, const void *other, size_t size);
void *__real_memcpy(void *to, const void *from, size_t size);
void *__real_memmove(void *to, const void *from, size_t size);
void *__real_memset(void *to, int value, size_t size);
int __real_memcmp(const void *one, const void *other, size_t size);

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

void __tsan_read_range(void *address, size_t size)
{
    touch(address, size, false, CALLER);
}

void __tsan_write_range(void *address, size_t size)
{
    touch(address, size, true, CALLER);
}

void *__wrap_memcpy(void *to, const void *from, size_t size)
{
    touch(from, size, false, CALLER);
    touch(to, size, true, CALLER);
    return __real_memcpy(to, from, size);
}

void *__wrap_memmove(void *to, const void *from, size_t size)
{
    touch(from, size, false, CALLER);
    touch(to, size, true, CALLER);
    return __real_memmove(to, from, size);
}

void *__wrap_memset(void *to, int value, size_t size)
{
    touch(to, size, true, CALLER);
    return __real_memset(to, value, size);
}

int __wrap_memcmp(const void *one, const void *other, size_t size)
{
    touch(one, size, false, CALLER);
    touch(other, size, false, CALLER);
    return __real_memcmp(one, other, size);
}

#define PLAIN(name, size, is_write)                                                                \
    void __tsan_##name(void *address);                                                             \
    void __tsan_##name(void *address)                                                              \
    {                                                                                              \
        touch(address, size, is_write, CALLER);                                                    \
    }

PLAIN(read1, 1, false)
PLAIN(read2, 2, false)
PLAIN(read4, 4, false)
PLAIN(read8, 8, false)
PLAIN(read16, 16, false)
PLAIN(write1, 1, true)
PLAIN(write2, 2, true)
PLAIN(write4, 4, true)
PLAIN(write8, 8, true)
PLAIN(write16, 16, true)
PLAIN(unaligned_read2, 2, false)
PLAIN(unaligned_read4, 4, false)
PLAIN(unaligned_read8, 8, false)
PLAIN(unaligned_read16, 16, false)
PLAIN(unaligned_write2, 2, true)
PLAIN(unaligned_write4, 4, true)
PLAIN(unaligned_write8, 8, true)
PLAIN(unaligned_write16, 16, true)

/* Sequentially consistent whatever was asked: stronger is never wrong. */
#define FETCH(type, bits, operation, builtin)                                                      \
    type __tsan_atomic##bits##_##operation(volatile type *address, type value, int order);         \
    type __tsan_atomic##bits##_##operation(volatile type *address, type value, int order)          \
    {                                                                                              \
        (void)order;                                                                               \
        touch(address, sizeof(type), true, CALLER);                                                \
        return builtin(address, value, __ATOMIC_SEQ_CST);                                          \
    }

#define COMPARE(type, bits, name)                                                                  \
    int __tsan_atomic##bits##_##name(volatile type *address, type *expected, type value,           \
                                     int order, int failure_order);                                \
    int __tsan_atomic##bits##_##name(volatile type *address, type *expected, type value,           \
                                     int order, int failure_order)                                 \
    {                                                                                              \
        (void)order;                                                                               \
        (void)failure_order;                                                                       \
        touch(address, sizeof(type), true, CALLER);                                                \
        return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST,      \
                                           __ATOMIC_SEQ_CST);                                      \
    }

#define ATOMICS(type, bits)                                                                        \
    type __tsan_atomic##bits##_load(const volatile type *address, int order);                      \
    type __tsan_atomic##bits##_load(const volatile type *address, int order)                       \
    {                                                                                              \
        (void)order;                                                                               \
        touch(address, sizeof(type), false, CALLER);                                               \
        return __atomic_load_n(address, __ATOMIC_SEQ_CST);                                         \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order);               \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int order)                \
    {                                                                                              \
        (void)order;                                                                               \
        touch(address, sizeof(type), true, CALLER);                                                \
        __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                        \
    }                                                                                              \
    FETCH(type, bits, exchange, __atomic_exchange_n)                                               \
    FETCH(type, bits, fetch_add, __atomic_fetch_add)                                               \
    FETCH(type, bits, fetch_sub, __atomic_fetch_sub)                                               \
    FETCH(type, bits, fetch_and, __atomic_fetch_and)                                               \
    FETCH(type, bits, fetch_or, __atomic_fetch_or)                                                 \
    FETCH(type, bits, fetch_xor, __atomic_fetch_xor)                                               \
    COMPARE(type, bits, compare_exchange_strong)                                                   \
    COMPARE(type, bits, compare_exchange_weak)

ATOMICS(uint8_t, 8)
ATOMICS(uint16_t, 16)
ATOMICS(uint32_t, 32)
ATOMICS(uint64_t, 64)

void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void __tsan_atomic_signal_fence(int order)
{
    (void)order;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}
