/* counters.h - every counter of the data plane, defined once.
 *
 * A line COUNTER(name, unit, help) in common/counters/<module>.def yields the struct
 * member, its Prometheus export and its line in docs/COUNTERS.md. 'unit' is one of
 * total (monotonic), bytes_total, us_total, or gauge.
 *
 * Each shard owns one struct counters and is its only writer; other threads read it with
 * counter_read(). Relaxed throughout: a counter orders nothing. */
#ifndef COMMON_COUNTERS_H
#define COMMON_COUNTERS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct counters {
#define COUNTER(name, unit, help) _Atomic uint64_t name;
#include "common/counters/all.def"
#undef COUNTER
};

static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Single writer: a plain load, add and store, not a locked instruction. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, counter_read(counter) + amount, memory_order_relaxed);
}

static inline void counter_sub(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, counter_read(counter) - amount, memory_order_relaxed);
}

static inline void counter_inc(_Atomic uint64_t *counter)
{
    counter_add(counter, 1);
}

static inline void counter_dec(_Atomic uint64_t *counter)
{
    counter_sub(counter, 1);
}

enum counter_unit {
    COUNTER_UNIT_total,
    COUNTER_UNIT_bytes_total,
    COUNTER_UNIT_us_total,
    COUNTER_UNIT_gauge
};

struct counter_info {
    const char *name; /* as in the .def, without the leat_ prefix of the export */
    enum counter_unit unit;
    const char *help;
    size_t offset; /* of the member in struct counters */
};

/* All counters in definition order; '*ret_count' is their number. */
const struct counter_info *counters_table(size_t *ret_count);

/* The sum of one counter over 'count' shards' structs. */
uint64_t counters_sum(const struct counters *const *shards, size_t count,
                      const struct counter_info *info);

#endif
