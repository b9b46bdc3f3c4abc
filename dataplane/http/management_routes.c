#include "dataplane/http/management_routes.h"

#include <inttypes.h>
#include <sys/resource.h>

#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_conn.h"
#include "dataplane/http/http_text.h"

enum { NAME_MAX_BYTES = 96, CHANNEL_LINE_MAX = 256 };

static uint64_t shard_counter(const struct shard *s, const struct counter_info *info)
{
    return counter_read(
        (const _Atomic uint64_t *)(const void *)((const char *)s->counters + info->offset));
}

static uint64_t counter_total(const struct shard *s, const struct counter_info *info)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->count; i++)
        sum += shard_counter(s->all[i], info);
    return sum;
}

/* The name for Prometheus: base units, and the unit at the end. "shard_busy_us" in us becomes
 * leat_shard_busy_seconds_total. */
static void metric_name(const struct counter_info *info, char out[static NAME_MAX_BYTES])
{
    static const char *const endings[] = {[COUNTER_UNIT_total] = "_total",
                                          [COUNTER_UNIT_bytes_total] = "_bytes_total",
                                          [COUNTER_UNIT_us_total] = "_seconds_total",
                                          [COUNTER_UNIT_gauge] = ""};
    static const char *const own_endings[] = {[COUNTER_UNIT_total] = "_total",
                                              [COUNTER_UNIT_bytes_total] = "_bytes",
                                              [COUNTER_UNIT_us_total] = "_us",
                                              [COUNTER_UNIT_gauge] = ""};
    const char *own = own_endings[info->unit];
    size_t size = strlen(info->name);
    size_t own_size = strlen(own);

    if (own_size > 0 && size > own_size && strcmp(info->name + size - own_size, own) == 0)
        size -= own_size;
    snprintf(out, NAME_MAX_BYTES, "leat_%.*s%s", (int)size, info->name, endings[info->unit]);
}

static void write_help(struct http_text *t, const char *name, const char *type, const char *help)
{
    http_text_printf(t, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_seconds(struct http_text *t, const char *name, const char *labels, uint64_t us)
{
    http_text_printf(t, "%s%s %" PRIu64 ".%06" PRIu64 "\n", name, labels, us / 1000000,
                     us % 1000000);
}

/* Times and what the port carried are told per shard, since a sum would hide the one that is full;
 * the rest as sums. */
static void write_counter(struct http_text *t, const struct shard *s,
                          const struct counter_info *info)
{
    char name[NAME_MAX_BYTES];

    metric_name(info, name);
    bool is_time = info->unit == COUNTER_UNIT_us_total;
    write_help(t, name, info->unit == COUNTER_UNIT_gauge ? "gauge" : "counter", info->help);
    if (!is_time && strncmp(info->name, "port_", 5) != 0) {
        http_text_printf(t, "%s %" PRIu64 "\n", name, counter_total(s, info));
        return;
    }
    for (uint32_t i = 0; i < s->count; i++) {
        uint64_t value = shard_counter(s->all[i], info);
        char labels[32];
        snprintf(labels, sizeof(labels), "{shard=\"%" PRIu32 "\"}", i);
        if (is_time)
            write_seconds(t, name, labels, value);
        else
            http_text_printf(t, "%s%s %" PRIu64 "\n", name, labels, value);
    }
}

static uint64_t timeval_us(struct timeval tv)
{
    return (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
}

static void write_process(struct http_text *t, const struct http_server *server)
{
    struct rusage usage;

    write_help(t, "leat_build_info", "gauge", "Version of this build");
    http_text_printf(t, "leat_build_info{version=\"%s\"} 1\n", LEAT_VERSION);
    write_help(t, "leat_shards", "gauge", "Shards of this data plane");
    http_text_printf(t, "leat_shards %" PRIu32 "\n", server->shard->count);
    write_help(t, "process_start_time_seconds", "gauge", "When the process started, Unix time");
    write_seconds(t, "process_start_time_seconds", "", (uint64_t)server->started_wall_us);
    if (getrusage(RUSAGE_SELF, &usage) < 0)
        return;
    write_help(t, "process_cpu_seconds_total", "counter", "User and system time of the process");
    write_seconds(t, "process_cpu_seconds_total", "",
                  timeval_us(usage.ru_utime) + timeval_us(usage.ru_stime));
    write_help(t, "process_resident_memory_max_bytes", "gauge",
               "Most memory that the process has had resident");
    http_text_printf(t, "process_resident_memory_max_bytes %" PRIu64 "\n",
                     (uint64_t)usage.ru_maxrss * 1024);
}

/* Channel names are [A-Za-z0-9_-]: no escaping in labels. */
static void write_channel(void *user, const char *name, const struct channel_snapshot *s)
{
    struct http_text *t = user;

    if (http_text_room(t) >= CHANNEL_LINE_MAX)
        http_text_printf(t, "leat_channel_is_live{channel=\"%s\"} %d\n", name, s->is_live ? 1 : 0);
}

static void write_metrics(struct http_text *t, const struct http_server *server)
{
    size_t count;
    const struct counter_info *table = counters_table(&count);

    write_process(t, server);
    for (size_t i = 0; i < count; i++)
        write_counter(t, server->shard, &table[i]);
    write_help(t, "leat_channel_is_live", "gauge",
               "1: a publisher feeds the channel; 0: it is awaited back");
    channels_each(server->channels, write_channel, t);
}

static void metrics_route(struct http_conn *c)
{
    struct http_text *t = http_text_take(c->server);
    struct http_head head = {.type = HTTP_TYPE_METRICS, .cache = HTTP_CACHE_NO_STORE};

    if (t != NULL)
        write_metrics(t, c->server);
    http_text_reply(t, c, &head);
}

void management_route(struct http_conn *c, const struct http_request *r)
{
    counter_inc(&http_conn_counters(c)->http_requests_management);
    if (bytes_equal_str(r->path, "/metrics"))
        metrics_route(c);
    else if (bytes_equal_str(r->path, "/healthz"))
        http_reply_text(c, 200, 0, "ok");
    else
        http_reply_text(c, 404, 0, "Here are /metrics and /healthz.");
}
