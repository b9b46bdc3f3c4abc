#include "control/api/methods.h"

#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/counters.h"
#include "common/log.h"
#include "control/daemon.h"

/* The names in 'params' must be among 'allowed', a NULL-terminated list. */
static bool params_check(const json_t *params, const char *const *allowed, struct rpc_error *error)
{
    /* jansson's iteration wants a json_t that is not const, and does not change it. */
    union {
        const json_t *in;
        json_t *out;
    } object = {.in = params};
    const char *name;
    json_t *value;

    json_object_foreach(object.out, name, value)
    {
        size_t i = 0;
        while (allowed[i] != NULL && strcmp(allowed[i], name) != 0)
            i++;
        if (allowed[i] != NULL)
            continue;
        rpc_fail(error, RPC_INVALID_PARAMS, "there is no parameter \"%.64s\"", name);
        return false;
    }
    return true;
}

static const char *const no_params[] = {NULL};

static json_int_t seconds_since(const struct daemon *d, uint64_t start_us)
{
    return (json_int_t)((d->loop.now_us - start_us) / 1000000);
}

static json_t *listener_json(const struct endpoint *e)
{
    char text[ENDPOINT_TEXT_MAX];

    return e->family == 0 ? json_null() : json_string(endpoint_format(e, text));
}

static json_t *dataplane_json(const struct daemon *d)
{
    const struct supervisor *s = &d->supervisor;
    bool is_there = s->process.pid != 0;
    const char *last_end = s->last_end[0] != '\0' ? s->last_end : NULL;

    return json_pack(
        "{s:s, s:o, s:o, s:I, s:b, s:s?, s:s}", "state", supervisor_state_name(s->state), "pid",
        is_there ? json_integer(s->process.pid) : json_null(), "uptime_s",
        is_there ? json_integer(seconds_since(d, s->started_us)) : json_null(), "starts",
        (json_int_t)s->starts, "adopted", is_there && !s->process.is_child, "last_end", last_end,
        "link", link_server_is_attached(d->link) ? "attached" : "waiting");
}

static json_t *call_status(void *user, const json_t *params, struct rpc_error *error)
{
    struct daemon *d = user;
    size_t live_count = 0;

    if (!params_check(params, no_params, error))
        return NULL;
    (void)reports_channels(d->reports, d->loop.now_us, &live_count);
    return json_pack("{s:s, s:I, s:I, s:s, s:s?, s:o, s:{s:o, s:o, s:o}, s:{s:I, s:I}}", "version",
                     LINK_BUILD, "pid", (json_int_t)getpid(), "uptime_s",
                     seconds_since(d, d->started_us), "run_dir", d->options->run_dir, "config",
                     d->options->config_file, "dataplane", dataplane_json(d), "listeners", "rtmp",
                     listener_json(&d->config->rtmp_listen), "http",
                     listener_json(&d->config->http_listen), "management",
                     listener_json(&d->config->management_listen), "channels", "configured",
                     (json_int_t)d->config->channel_count, "live", (json_int_t)live_count);
}

static json_t *track_json(const struct link_track_report *t)
{
    json_t *track = json_pack("{s:s, s:s, s:I}", "name", t->name, "codec", t->codec, "bitrate_bps",
                              (json_int_t)t->bitrate_bps);

    if (t->width != 0) {
        json_object_set_new(track, "width", json_integer(t->width));
        json_object_set_new(track, "height", json_integer(t->height));
    }
    if (t->sample_rate_hz != 0) {
        json_object_set_new(track, "sample_rate_hz", json_integer(t->sample_rate_hz));
        json_object_set_new(track, "channels", json_integer(t->channel_count));
    }
    return track;
}

/* 'r' NULL: configured, but not live. */
static json_t *channel_json(const char *name, const struct link_channel_report *r)
{
    if (r == NULL)
        return json_pack("{s:s, s:s, s:b}", "name", name, "state", "offline", "configured", 1);
    json_t *tracks = json_array();
    for (uint32_t i = 0; i < r->track_count; i++)
        json_array_append_new(tracks, track_json(&r->tracks[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "name", name, "state",
                     link_channel_state_name(r->state), "started_us", (json_int_t)r->started_us,
                     "connections", (json_int_t)r->connections, "bytes_in", (json_int_t)r->bytes_in,
                     "bytes_out", (json_int_t)r->bytes_out, "shard", (json_int_t)r->shard, "tracks",
                     tracks);
}

static json_t *call_channels(void *user, const json_t *params, struct rpc_error *error)
{
    struct daemon *d = user;
    uint64_t now_us = d->loop.now_us;
    size_t live_count = 0;

    if (!params_check(params, no_params, error))
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < d->config->channel_count; i++) {
        const char *name = d->config->channels[i].name;
        json_array_append_new(list, channel_json(name, reports_find(d->reports, name, now_us)));
    }
    const struct reports_channel *live = reports_channels(d->reports, now_us, &live_count);
    for (size_t i = 0; i < live_count; i++)
        if (config_find_channel(d->config, bytes_of_str(live[i].report.name)) == NULL)
            json_array_append_new(list, channel_json(live[i].report.name, &live[i].report));
    return list;
}

static const char *unit_name(uint8_t unit)
{
    static const char *const names[] = {"total", "bytes", "us", "gauge"};

    return unit < ARRAY_COUNT(names) ? names[unit] : "unknown";
}

static json_t *call_counters(void *user, const json_t *params, struct rpc_error *error)
{
    struct daemon *d = user;
    size_t count = 0;
    const struct link_counter *counters = reports_counter_list(d->reports, &count);

    if (!params_check(params, no_params, error))
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:I}", "name", counters[i].name, "unit",
                                              unit_name(counters[i].unit), "value",
                                              (json_int_t)counters[i].value));
    return list;
}

/* The answer goes out while the data plane ends; the connection closes when all has ended. */
static json_t *call_stop(void *user, const json_t *params, struct rpc_error *error)
{
    static const char *const allowed[] = {"leave_dataplane", NULL};
    struct daemon *d = user;
    const json_t *leave = json_object_get(params, "leave_dataplane");

    if (!params_check(params, allowed, error))
        return NULL;
    if (leave != NULL && !json_is_boolean(leave)) {
        rpc_fail(error, RPC_INVALID_PARAMS, "\"leave_dataplane\" must be true or false");
        return NULL;
    }
    bool leaves_dataplane = json_is_true(leave);
    log_info("control", LOG_MSG("stopping: asked over the control socket"),
             LOG_INT("leaves_dataplane", leaves_dataplane));
    daemon_stop(d, leaves_dataplane);
    return json_pack("{s:b, s:b}", "stopping", 1, "dataplane_left", leaves_dataplane);
}

const struct rpc_method api_methods[] = {
    {"status", call_status},
    {"channels", call_channels},
    {"counters", call_counters},
    {"stop", call_stop},
    {NULL, NULL},
};
