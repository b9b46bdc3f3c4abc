#include "control/link/reports.h"

#include <errno.h>
#include <stdlib.h>

struct reports {
    struct reports_channel channels[REPORTS_CHANNELS_MAX];
    size_t channel_count;
    struct link_counter counters[REPORTS_COUNTERS_MAX]; /* the last whole set */
    size_t counter_count;
    struct link_counter arriving[REPORTS_COUNTERS_MAX]; /* the pages of the next set */
    size_t arriving_count;
    bool is_arriving;
};

struct reports *reports_new(void)
{
    return calloc(1, sizeof(struct reports));
}

void reports_free(struct reports **r)
{
    free(*r);
    *r = NULL;
}

void reports_clear(struct reports *r)
{
    r->channel_count = 0;
    r->counter_count = 0;
    r->is_arriving = false;
}

static void channel_remove(struct reports *r, size_t index)
{
    r->channel_count--;
    if (index != r->channel_count)
        r->channels[index] = r->channels[r->channel_count];
}

static size_t channel_index(const struct reports *r, const char *name)
{
    size_t i = 0;

    while (i < r->channel_count && strcmp(r->channels[i].report.name, name) != 0)
        i++;
    return i;
}

int reports_channel(struct reports *r, const struct link_channel_report *report, uint64_t now_us)
{
    size_t i = channel_index(r, report->name);

    if (report->state == LINK_CHANNEL_ENDED) {
        if (i < r->channel_count)
            channel_remove(r, i);
        return 0;
    }
    if (i == REPORTS_CHANNELS_MAX)
        return -ENOSPC;
    if (i == r->channel_count)
        r->channel_count++;
    r->channels[i] = (struct reports_channel){.report = *report, .heard_us = now_us};
    return 0;
}

int reports_counters(struct reports *r, const struct link_counters *page)
{
    if (page->is_first) {
        r->arriving_count = 0;
        r->is_arriving = true;
    }
    if (!r->is_arriving || page->count > REPORTS_COUNTERS_MAX - r->arriving_count) {
        r->is_arriving = false;
        return -EPROTO;
    }
    memcpy(r->arriving + r->arriving_count, page->list, page->count * sizeof(page->list[0]));
    r->arriving_count += page->count;
    if (page->is_last) {
        memcpy(r->counters, r->arriving, r->arriving_count * sizeof(r->arriving[0]));
        r->counter_count = r->arriving_count;
        r->is_arriving = false;
    }
    return 0;
}

const struct reports_channel *reports_channels(struct reports *r, uint64_t now_us,
                                               size_t *ret_count)
{
    for (size_t i = r->channel_count; i > 0; i--)
        if (now_us - r->channels[i - 1].heard_us > REPORTS_CHANNEL_AGE_US)
            channel_remove(r, i - 1);
    *ret_count = r->channel_count;
    return r->channels;
}

const struct link_channel_report *reports_find(struct reports *r, const char *name, uint64_t now_us)
{
    size_t count = 0;
    const struct reports_channel *channels = reports_channels(r, now_us, &count);
    size_t i = channel_index(r, name);

    return i == count ? NULL : &channels[i].report;
}

const struct link_counter *reports_counter_list(const struct reports *r, size_t *ret_count)
{
    *ret_count = r->counter_count;
    return r->counters;
}
