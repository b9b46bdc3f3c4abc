#include "common/counters.h"

static const struct counter_info table[] = {
#define COUNTER(name, unit, help)                                                                  \
    {#name, COUNTER_UNIT_##unit, help, offsetof(struct counters, name)},
#include "common/counters/all.def"
#undef COUNTER
};

const struct counter_info *counters_table(size_t *ret_count)
{
    *ret_count = sizeof(table) / sizeof(table[0]);
    return table;
}

uint64_t counters_sum(const struct counters *const *shards, size_t count,
                      const struct counter_info *info)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += counter_read(
            (const _Atomic uint64_t *)(const void *)((const char *)shards[i] + info->offset));
    return sum;
}
