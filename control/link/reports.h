/* reports.h - what the data plane last said: its channels and counters. No I/O. */
#ifndef CONTROL_LINK_REPORTS_H
#define CONTROL_LINK_REPORTS_H

#include "common/abi/link.h"
#include "common/config/config.h"

enum {
    REPORTS_CHANNELS_MAX = CONFIG_CHANNELS_MAX,
    REPORTS_COUNTERS_MAX = 1024,
    REPORTS_CHANNEL_AGE_US = 5000000 /* five missed reports: it is gone */
};

struct reports_channel {
    struct link_channel_report report;
    uint64_t heard_us;
};

struct reports;

struct reports *reports_new(void); /* NULL: no memory */
void reports_free(struct reports **r);

/* The data plane is another one, or gone: nothing is known. */
void reports_clear(struct reports *r);

/* -ENOSPC: too many channels; dropped. */
int reports_channel(struct reports *r, const struct link_channel_report *report, uint64_t now_us);

/* Pages take effect together, with the last one. -EPROTO: pages out of order, or too many. */
int reports_counters(struct reports *r, const struct link_counters *page);

/* The live channels, in no order, without those not heard of for REPORTS_CHANNEL_AGE_US. Borrowed
 * until the next call. */
const struct reports_channel *reports_channels(struct reports *r, uint64_t now_us,
                                               size_t *ret_count);
const struct link_channel_report *reports_find(struct reports *r, const char *name,
                                               uint64_t now_us);
const struct link_counter *reports_counter_list(const struct reports *r, size_t *ret_count);

#endif
