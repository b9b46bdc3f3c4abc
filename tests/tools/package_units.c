/* package_units - runs a log of access units through the packager, for tests with real media.
 *
 *   package_units LOG OUTDIR [PART_MS SEGMENT_MS]
 *
 * LOG, big-endian records as tests/integration/media/units.py writes them:
 *   'T' track:1 kind:1 codec:1 width:4 height:4 rate:4 channels:4 frame_samples:4 size:4 config
 *   'U' track:1 keyframe:1 dts_us:8 pts_us:8 wall_us:8 size:4 data
 *   'F' (flush)
 * Writes OUTDIR/TRACK.mp4 (the newest init segment and all parts after it), and one line of JSON
 * per part on standard output; counters that are not 0 go to standard error. */
#include "common/check.h"
#include "common/counters.h"
#include "common/cursor.h"
#include "dataplane/media/packager.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PART_MAX = 32 << 20 };

struct output {
    const char *directory;
    FILE *files[TRACKS_MAX];
    uint32_t timescales[TRACKS_MAX];
    uint8_t *part;
    uint32_t part_size;
};

static void on_init(void *user, uint8_t track, const struct track_info *info, uint32_t timescale,
                    struct bytes init_segment)
{
    struct output *o = user;
    char path[512];

    (void)info;
    if (o->files[track] != NULL)
        fclose(o->files[track]);
    snprintf(path, sizeof(path), "%s/%u.mp4", o->directory, track);
    o->files[track] = fopen(path, "wb");
    CHECK(o->files[track] != NULL);
    o->timescales[track] = timescale;
    CHECK(fwrite(init_segment.ptr, 1, init_segment.size, o->files[track]) == init_segment.size);
}

static uint8_t *on_part_begin(void *user, uint8_t track, uint32_t size)
{
    struct output *o = user;

    (void)track;
    CHECK(size <= PART_MAX);
    o->part_size = size;
    return o->part;
}

static void on_part_end(void *user, const struct packaged_part *part)
{
    struct output *o = user;

    if (!part->is_gap)
        CHECK(fwrite(o->part, 1, o->part_size, o->files[part->track]) == o->part_size);
    printf("{\"track\":%u,\"segment\":%" PRIu64 ",\"dts\":%" PRId64 ",\"duration\":%u,"
           "\"timescale\":%u,\"wall_us\":%" PRId64 ",\"independent\":%d,\"gap\":%d,\"starts\":%d,"
           "\"ends\":%d,\"discontinuous\":%d,\"size\":%u}\n",
           part->track, part->segment, part->dts, part->duration, o->timescales[part->track],
           part->wall_us, part->is_independent, part->is_gap, part->starts_segment,
           part->ends_segment, part->is_discontinuous, part->is_gap ? 0 : o->part_size);
}

static struct bytes read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL && fseek(f, 0, SEEK_END) == 0);
    long size = ftell(f);
    CHECK(size >= 0 && fseek(f, 0, SEEK_SET) == 0);
    uint8_t *data = malloc((size_t)size + 1);
    CHECK(data != NULL && fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    return bytes_of(data, (size_t)size);
}

static int replay(struct packager *p, struct bytes log)
{
    struct cursor c = cursor_of(log);

    while (cursor_left(&c) > 0) {
        uint8_t type = cursor_u8(&c);
        if (type == 'T') {
            struct track_info info = {0};
            uint8_t track = cursor_u8(&c);
            info.kind = cursor_u8(&c);
            info.codec = cursor_u8(&c);
            info.width = cursor_be32(&c);
            info.height = cursor_be32(&c);
            info.sample_rate_hz = cursor_be32(&c);
            info.channel_count = cursor_be32(&c);
            info.frame_samples = cursor_be32(&c);
            info.config_size = cursor_be32(&c);
            struct bytes config = cursor_take(&c, info.config_size);
            if (!cursor_is_ok(&c) || config.size > sizeof(info.config))
                return -EINVAL;
            memcpy(info.config, config.ptr, config.size);
            if (packager_track(p, track, &info, 0) != 0)
                return -ENOTSUP;
        } else if (type == 'U') {
            struct access_unit au = {.track = cursor_u8(&c)};
            au.is_keyframe = cursor_u8(&c) != 0;
            au.dts_us = (int64_t)cursor_be64(&c);
            au.pts_us = (int64_t)cursor_be64(&c);
            int64_t wall_us = (int64_t)cursor_be64(&c);
            au.data = cursor_take(&c, cursor_be32(&c));
            if (!cursor_is_ok(&c))
                return -EINVAL;
            (void)packager_unit(p, &au, wall_us);
        } else if (type == 'F') {
            packager_flush(p);
        } else {
            return -EINVAL;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct counters counters;
    struct output o = {.part = malloc(PART_MAX)};
    const struct packager_sink sink = {on_init, on_part_begin, on_part_end};
    struct packager_limits limits = {200000, 2000000, 10000000, PART_MAX / 2};

    if (argc != 3 && argc != 5) {
        fprintf(stderr, "usage: package_units LOG OUTDIR [PART_MS SEGMENT_MS]\n");
        return 2;
    }
    if (argc == 5) {
        limits.part_us = (uint32_t)atoi(argv[3]) * 1000;
        limits.segment_us = (uint32_t)atoi(argv[4]) * 1000;
    }
    o.directory = argv[2];
    CHECK(o.part != NULL);
    struct packager *p = packager_new(&limits, &sink, &o, &counters);
    CHECK(p != NULL);
    struct bytes log = read_file(argv[1]);
    int error = replay(p, log);
    packager_flush(p);
    packager_free(&p);

    size_t count;
    const struct counter_info *table = counters_table(&count);
    const struct counters *all[] = {&counters};
    for (size_t i = 0; i < count; i++) {
        uint64_t value = counters_sum(all, 1, &table[i]);
        if (value > 0)
            fprintf(stderr, "%s %" PRIu64 "\n", table[i].name, value);
    }
    for (size_t i = 0; i < TRACKS_MAX; i++)
        if (o.files[i] != NULL)
            fclose(o.files[i]);
    free((void *)(uintptr_t)log.ptr);
    free(o.part);
    if (error != 0)
        fprintf(stderr, "package_units: malformed log (%d)\n", error);
    return error != 0;
}
