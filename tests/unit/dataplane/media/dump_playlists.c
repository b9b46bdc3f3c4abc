/* Plays a channel's life in virtual time and saves every playlist and manifest that it shows, for
 * tests/tools/hls_check.py, tests/node and tests/tools/mpd_check.py to judge.
 *
 *   dump_playlists DIRECTORY [ntsc|audio|plain]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/dataplane/media/fake_node.h"

static const char *directory;
static unsigned moment;
static const struct channel_snapshot *last_saved;

static void save(const char *name, const char *suffix, struct object *o)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%05u-%s.%s", directory, moment, name, suffix);
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(object_data(o), 1, object_size(o), f) != object_size(o)) {
        perror(path);
        exit(1);
    }
    fclose(f);
}

static void save_snapshot(struct fake_node *n)
{
    struct channel *ch = channel_find(n->channels, bytes_of_str("demo"));
    const struct channel_snapshot *s = ch != NULL ? channel_snapshot(ch) : NULL;

    if (s == NULL || s == last_saved)
        return;
    last_saved = s;
    moment++;
    save("index", "m3u8", s->multivariant);
    save("manifest", "mpd", s->mpd);
    for (uint32_t i = 0; i < s->track_count; i++) {
        save(s->tracks[i].name, "m3u8", s->tracks[i].playlist);
        if (s->tracks[i].playlist_delta != NULL)
            save(s->tracks[i].name, "delta.m3u8", s->tracks[i].playlist_delta);
    }
}

static void parts(struct fake_stream *f, struct fake_node *n, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        fake_stream_part(f, n);
        save_snapshot(n);
    }
}

static void pass(struct fake_node *n, uint64_t us)
{
    for (uint64_t passed = 0; passed < us; passed += 100000) {
        fake_node_pass(n, 100000, 50000);
        save_snapshot(n);
    }
}

/* Another connection of the same publisher. */
static void come_back(struct fake_stream *f, const struct fake_stream *before, struct fake_node *n,
                      uint32_t shard)
{
    fake_stream_init(f);
    f->part_us = before->part_us;
    f->parts_per_segment = before->parts_per_segment;
    f->has_video = before->has_video;
    f->audio_rate_hz = before->audio_rate_hz == 48000 ? 44100 : 48000; /* new settings, too */
    fake_stream_begin(f, n, shard, "demo");
    fake_node_pass(n, 20000, 1000);
    f->segment = before->part == 0 ? before->segment : before->segment + 1;
    f->is_discontinuous = true;
    fake_stream_announce(f);
}

int main(int argc, char **argv)
{
    static struct fake_stream f[4];
    const char *kind = argc > 2 ? argv[2] : "plain";

    if (argc < 2) {
        fprintf(stderr, "usage: dump_playlists DIRECTORY [ntsc|audio|plain]\n");
        return 1;
    }
    directory = argv[1];
    struct fake_node *n = fake_node_new(2, NULL);
    fake_stream_init(&f[0]);
    if (strcmp(kind, "ntsc") == 0) { /* 5 frames of 29.97 fps; 12 parts in a segment */
        f[0].part_us = 167000;
        f[0].parts_per_segment = 12;
        fake_part_max[0] = 15030;
        fake_part_max[1] = 8016;
    }
    f[0].has_video = strcmp(kind, "audio") != 0;
    fake_stream_begin(&f[0], n, 0, "demo");
    fake_stream_announce(&f[0]);
    parts(&f[0], n, 204);

    /* Gone in the middle of a segment, and back on another shard. */
    publication_end(&f[0].publication, n->all[0]->now_us);
    save_snapshot(n);
    pass(n, 3000000);
    come_back(&f[1], &f[0], n, 1);
    parts(&f[1], n, 97);
    /* Put out by itself, twice in a row, then long enough for both to leave the playlist. */
    come_back(&f[2], &f[1], n, 1);
    parts(&f[2], n, 3);
    come_back(&f[3], &f[2], n, 0);
    parts(&f[3], n, 300);

    publication_end(&f[3].publication, n->all[0]->now_us);
    pass(n, 31000000);
    fake_node_free(n);
    printf("%u moments\n", moment);
    return moment > 100 ? 0 : 1;
}
