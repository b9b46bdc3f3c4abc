#include "dataplane/media/utc.h"

#include <stdio.h>

enum { DAYS_PER_400_YEARS = 146097, DAYS_TO_MARCH_0000 = 719468 };

const char *utc_format(int64_t wall_us, char out[static UTC_TEXT_MAX])
{
    const int64_t last_us = INT64_C(253402300799999999); /* 9999-12-31T23:59:59.999999Z */

    if (wall_us < 0)
        wall_us = 0;
    if (wall_us > last_us)
        wall_us = last_us;
    uint64_t ms = (uint64_t)wall_us / 1000;
    uint32_t day_ms = (uint32_t)(ms % 86400000);

    /* The civil date, counted in years that begin in March, so that the leap day comes last. */
    uint32_t days = (uint32_t)(ms / 86400000) + DAYS_TO_MARCH_0000;
    uint32_t era = days / DAYS_PER_400_YEARS;
    uint32_t era_day = days % DAYS_PER_400_YEARS;
    uint32_t era_year = (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    uint32_t year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    uint32_t march_month = (5 * year_day + 2) / 153;
    uint32_t day = year_day - (153 * march_month + 2) / 5 + 1;
    uint32_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    uint32_t year = era * 400 + era_year + (month <= 2 ? 1 : 0);

    snprintf(out, UTC_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", year % 10000, month % 100,
             day % 100, day_ms / 3600000, day_ms / 60000 % 60, day_ms / 1000 % 60, day_ms % 1000);
    return out;
}
