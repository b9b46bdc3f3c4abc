#include "tests/unit/dataplane/media/fake_packager.h"

#include <stdlib.h>

#include "common/writer.h"

struct packager {
    struct packager_sink sink;
    void *user;
    struct packaged_part open[TRACKS_MAX]; /* newest part of each track's growing segment */
    bool is_open[TRACKS_MAX];
    uint64_t segment_count;
};

uint32_t fake_part_max[TRACKS_MAX];
atomic_uint fake_segment_max_us;
atomic_uint fake_flush_count;

struct packager *packager_new(const struct packager_limits *limits,
                              const struct packager_sink *sink, void *user,
                              struct counters *counters)
{
    struct packager *p = calloc(1, sizeof(*p));

    (void)limits;
    (void)counters;
    if (p == NULL)
        return NULL;
    p->sink = *sink;
    p->user = user;
    return p;
}

void packager_free(struct packager **p)
{
    free(*p);
    *p = NULL;
}

void packager_set_counters(struct packager *p, struct counters *counters)
{
    (void)p;
    (void)counters;
}

void packager_set_segment_max(struct packager *p, uint32_t segment_max_us)
{
    (void)p;
    fake_segment_max_us = segment_max_us;
}

int packager_track(struct packager *p, uint8_t track, const struct track_info *info,
                   int64_t wall_us)
{
    (void)p;
    (void)track;
    (void)info;
    (void)wall_us;
    return 0;
}

/* moof { traf { trun } } mdat, of 'size' bytes. */
static void write_part(uint8_t *data, uint32_t size, uint32_t sample_count)
{
    struct writer w = writer_of(data, size);

    writer_be32(&w, 32);
    writer_str(&w, "moof");
    writer_be32(&w, 24);
    writer_str(&w, "traf");
    writer_be32(&w, 16);
    writer_str(&w, "trun");
    writer_be32(&w, 0);
    writer_be32(&w, sample_count);
    writer_be32(&w, size - 32);
    writer_str(&w, "mdat");
    memset(data + w.size, (int)(sample_count & 0xff), size - w.size);
}

int packager_unit(struct packager *p, const struct access_unit *au, int64_t wall_us)
{
    struct fake_command c;

    (void)wall_us;
    memcpy(&c, au->data.ptr, sizeof(c));
    if (c.kind == FAKE_INIT) {
        uint8_t init[100] = {0};
        p->sink.init(p->user, c.part.track, &c.info, c.timescale, bytes_of(init, sizeof(init)));
        return 0;
    }
    if (c.is_numbered_by_packager) {
        if (c.part.track == 0 && c.part.starts_segment)
            p->segment_count++;
        c.part.segment = p->segment_count - 1;
    }
    if (!c.part.is_gap) {
        uint8_t *data = p->sink.part_begin(p->user, c.part.track, c.size);
        if (data != NULL)
            write_part(data, c.size, c.sample_count);
        else
            c.part.is_gap = true;
    }
    p->sink.part_end(p->user, &c.part);
    p->open[c.part.track] = c.part;
    p->is_open[c.part.track] = !c.part.ends_segment;
    return 0;
}

uint32_t packager_part_max(const struct packager *p, uint8_t track)
{
    (void)p;
    return fake_part_max[track];
}

void packager_flush(struct packager *p)
{
    fake_flush_count++;
    for (uint8_t i = 0; i < TRACKS_MAX; i++) {
        if (!p->is_open[i])
            continue;
        struct packaged_part end = p->open[i];
        end.dts += end.duration;
        end.pts += end.duration;
        end.duration = 0;
        end.is_gap = true;
        end.starts_segment = false;
        end.ends_segment = true;
        p->sink.part_end(p->user, &end);
        p->is_open[i] = false;
    }
}

void packager_reset(struct packager *p)
{
    memset(p->is_open, 0, sizeof(p->is_open));
    p->segment_count = 0;
}
