#include "control/ctl/print.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "control/ctl/table.h"

enum { TEXT_MAX = 64 };

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "-" : text;
}

static json_int_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* "3d4h", "5m12s", "8s" */
static const char *duration_format(json_int_t seconds, char out[static TEXT_MAX])
{
    if (seconds >= 86400)
        snprintf(out, TEXT_MAX, "%" PRId64 "d%" PRId64 "h", (int64_t)seconds / 86400,
                 (int64_t)seconds / 3600 % 24);
    else if (seconds >= 3600)
        snprintf(out, TEXT_MAX, "%" PRId64 "h%" PRId64 "m", (int64_t)seconds / 3600,
                 (int64_t)seconds / 60 % 60);
    else if (seconds >= 60)
        snprintf(out, TEXT_MAX, "%" PRId64 "m%" PRId64 "s", (int64_t)seconds / 60,
                 (int64_t)seconds % 60);
    else
        snprintf(out, TEXT_MAX, "%" PRId64 "s", (int64_t)seconds);
    return out;
}

/* "950 B", "1.4 MiB" */
static const char *size_format(json_int_t bytes, char out[static TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    snprintf(out, TEXT_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

static void process_rows(struct table *t, const json_t *status)
{
    const json_t *dp = json_object_get(status, "dataplane");
    char up[TEXT_MAX];

    table_cell(t, "leatd");
    table_cell(t, "running, pid %" PRId64 ", up %s, %s", (int64_t)number_of(status, "pid"),
               duration_format(number_of(status, "uptime_s"), up), text_of(status, "version"));
    table_cell(t, "leat-dp");
    if (json_is_integer(json_object_get(dp, "pid")))
        table_cell(t, "%s%s, pid %" PRId64 ", up %s, link %s", text_of(dp, "state"),
                   json_is_true(json_object_get(dp, "adopted")) ? " (adopted)" : "",
                   (int64_t)number_of(dp, "pid"), duration_format(number_of(dp, "uptime_s"), up),
                   text_of(dp, "link"));
    else
        table_cell(t, "%s, not running", text_of(dp, "state"));
    table_cell(t, "starts");
    table_cell(t, "%" PRId64, (int64_t)number_of(dp, "starts"));
    if (json_is_string(json_object_get(dp, "last_end"))) {
        table_cell(t, "last end");
        table_cell(t, "%s", text_of(dp, "last_end"));
    }
}

void print_status(FILE *out, const json_t *result)
{
    static const char *const listeners[] = {"rtmp", "http", "management"};
    const json_t *addresses = json_object_get(result, "listeners");
    const json_t *channels = json_object_get(result, "channels");
    struct table t;

    table_init(&t, 2, 0);
    process_rows(&t, result);
    for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
        table_cell(&t, "%s", listeners[i]);
        table_cell(&t, "%s", text_of(addresses, listeners[i]));
    }
    table_cell(&t, "channels");
    table_cell(&t, "%" PRId64 " configured, %" PRId64 " live",
               (int64_t)number_of(channels, "configured"), (int64_t)number_of(channels, "live"));
    table_cell(&t, "run dir");
    table_cell(&t, "%s", text_of(result, "run_dir"));
    table_cell(&t, "config");
    table_cell(&t, "%s", text_of(result, "config"));
    table_print(&t, out);
    table_fini(&t);
}

/* "avc1.64001f 1280x720 2.5 Mb/s, mp4a.40.2 48 kHz" */
static void tracks_cell(struct table *t, const json_t *channel)
{
    const json_t *tracks = json_object_get(channel, "tracks");
    char text[TABLE_CELL_MAX] = "";
    size_t size = 0;

    for (size_t i = 0; i < json_array_size(tracks) && size + 1 < sizeof(text); i++) {
        const json_t *track = json_array_get(tracks, i);
        char detail[TEXT_MAX] = "";
        if (json_is_integer(json_object_get(track, "width")))
            snprintf(detail, sizeof(detail), " %" PRId64 "x%" PRId64,
                     (int64_t)number_of(track, "width"), (int64_t)number_of(track, "height"));
        else if (json_is_integer(json_object_get(track, "sample_rate_hz")))
            snprintf(detail, sizeof(detail), " %g kHz",
                     (double)number_of(track, "sample_rate_hz") / 1000);
        int added = snprintf(text + size, sizeof(text) - size, "%s%s%s", i > 0 ? ", " : "",
                             text_of(track, "codec"), detail);
        size += added > 0 ? (size_t)added : 0;
    }
    table_cell(t, "%s", text[0] == '\0' ? "-" : text);
}

static void channel_row(struct table *t, const json_t *channel)
{
    char text[TEXT_MAX];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    table_cell(t, "%s", text_of(channel, "name"));
    table_cell(t, "%s", text_of(channel, "state"));
    if (!json_is_integer(json_object_get(channel, "connections"))) {
        for (int i = 0; i < 5; i++)
            table_cell(t, "-");
        return;
    }
    json_int_t started_s = number_of(channel, "started_us") / 1000000;
    table_cell(t, "%" PRId64, (int64_t)number_of(channel, "connections"));
    table_cell(t, "%s", size_format(number_of(channel, "bytes_in"), text));
    table_cell(t, "%s", size_format(number_of(channel, "bytes_out"), text));
    table_cell(t, "%s", duration_format(now.tv_sec > started_s ? now.tv_sec - started_s : 0, text));
    tracks_cell(t, channel);
}

void print_channels(FILE *out, const json_t *result)
{
    static const char *const head[] = {"NAME", "STATE", "CONNS", "IN", "OUT", "UP", "TRACKS"};
    enum { COLUMNS = sizeof(head) / sizeof(head[0]), RIGHT = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 };
    struct table t;

    if (json_array_size(result) == 0) {
        fputs("no channels: add one to the configuration, or start with --publish NAME=KEY\n", out);
        return;
    }
    table_init(&t, COLUMNS, RIGHT);
    for (size_t i = 0; i < COLUMNS; i++)
        table_cell(&t, "%s", head[i]);
    for (size_t i = 0; i < json_array_size(result); i++)
        channel_row(&t, json_array_get(result, i));
    table_print(&t, out);
    table_fini(&t);
}

void print_counters(FILE *out, const json_t *result)
{
    struct table t;

    if (json_array_size(result) == 0) {
        fputs("no counters: the data plane has not reported yet\n", out);
        return;
    }
    table_init(&t, 3, 1 << 1);
    table_cell(&t, "COUNTER");
    table_cell(&t, "VALUE");
    table_cell(&t, "UNIT");
    for (size_t i = 0; i < json_array_size(result); i++) {
        const json_t *counter = json_array_get(result, i);
        table_cell(&t, "%s", text_of(counter, "name"));
        table_cell(&t, "%" PRId64, (int64_t)number_of(counter, "value"));
        table_cell(&t, "%s", text_of(counter, "unit"));
    }
    table_print(&t, out);
    table_fini(&t);
}

void print_stop(FILE *out, const json_t *result)
{
    bool is_left = json_is_true(json_object_get(result, "dataplane_left"));

    fputs(is_left ? "leatd stopped; leat-dp goes on\n" : "stopped\n", out);
}
