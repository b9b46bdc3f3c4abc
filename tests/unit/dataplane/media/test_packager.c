#include "dataplane/media/packager.h"

#include "tests/unit/dataplane/media/packager_world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VIDEO, AUDIO, SECOND_AUDIO };

static const int64_t WALL = 1700000000000000;

/* A publisher with video of frame_ns and audio of 1024 samples, interleaved by dts. */
struct publisher {
    struct world *w;
    int64_t frame_ns;      /* 0: no video */
    uint32_t gop;          /* frames from keyframe to keyframe */
    uint32_t rate_hz;      /* 0: no audio */
    int64_t cts_us;        /* of every frame */
    int64_t clock_us;      /* what the publisher's clock shows at media time 0 */
    int64_t audio_lead_us; /* audio is sent ahead of video by this */
    bool is_exact;         /* timestamps in us, not rounded to ms */
    int64_t frame;         /* next */
    int64_t audio;
    int64_t skip_video_until, skip_audio_until; /* media time in us */
};

static int64_t stamp_of(const struct publisher *p, int64_t us)
{
    return p->clock_us + (p->is_exact ? us : (us + 500) / 1000 * 1000);
}

/* Sends everything with a media time below 'until_us'. */
static void publish(struct publisher *p, int64_t until_us)
{
    for (;;) {
        int64_t video_us = p->frame_ns > 0 ? (p->frame * p->frame_ns + 999) / 1000 : INT64_MAX;
        int64_t audio_us = p->rate_hz > 0 ? p->audio * 1024 * 1000000 / p->rate_hz : INT64_MAX;

        if (p->rate_hz > 0 && audio_us - p->audio_lead_us <= video_us) {
            if (audio_us >= until_us)
                return;
            if (audio_us >= p->skip_audio_until)
                world_unit(p->w, AUDIO, true, stamp_of(p, audio_us), 0, WALL + audio_us, 300);
            p->audio++;
        } else {
            if (video_us >= until_us)
                return;
            bool is_keyframe = p->frame % p->gop == 0;
            if (video_us >= p->skip_video_until)
                world_unit(p->w, VIDEO, is_keyframe, stamp_of(p, video_us), p->cts_us,
                           WALL + video_us, is_keyframe ? 9000 : 1500);
            p->frame++;
        }
    }
}

static struct world world;

static void announce(uint8_t track, struct track_info info)
{
    assert_int_equal(packager_track(world.packager, track, &info, WALL), 0);
}

static struct publisher begin(int64_t frame_ns, uint32_t gop, uint32_t rate_hz)
{
    world_init(&world, NULL);
    if (frame_ns > 0)
        announce(VIDEO, world_h264());
    if (rate_hz > 0)
        announce(AUDIO, world_aac(rate_hz, 2));
    return (struct publisher){.w = &world, .frame_ns = frame_ns, .gop = gop, .rate_hz = rate_hz};
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

/* Start, end and length in us of the parts of 'track' in segment 'n'; false: it has none. */
static bool segment_of(uint8_t track, uint64_t n, int64_t *ret_start_us, int64_t *ret_end_us)
{
    bool found = false;

    *ret_start_us = *ret_end_us = INT64_MIN;
    for (uint32_t i = 0; i < world.part_count; i++) {
        const struct world_part *k = &world.parts[i];
        if (k->part.track != track || k->part.segment != n)
            continue;
        if (!found)
            *ret_start_us = k->first_pts_us - WALL;
        *ret_end_us = k->end_us - WALL;
        found = true;
    }
    return found;
}

/* Every segment of both tracks starts at the same instant, audio at its first sample after it. */
static uint64_t check_boundaries(int64_t audio_frame_us)
{
    int64_t video, audio, end;
    uint64_t n = 0;

    for (; segment_of(VIDEO, n, &video, &end); n++) {
        assert_true(segment_of(AUDIO, n, &audio, &end));
        assert_in_range(audio - video + 50, 0, audio_frame_us + 100);
    }
    assert_false(segment_of(AUDIO, n, &audio, &end));
    return n;
}

static void check_parts_of(uint8_t track, int64_t low_us, int64_t high_us)
{
    for (uint32_t i = 0; i < world.part_count; i++) {
        const struct packaged_part *part = &world.parts[i].part;
        int64_t us = (int64_t)part->duration * 1000000 / world.tracks[track].timescale;
        if (part->track == track && !part->ends_segment)
            assert_in_range(us, low_us, high_us);
    }
}

static void test_packager_makes_full_parts_and_aligned_segments(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    (void)state;

    publish(&p, 20000000);
    world_flush(&world);
    assert_int_equal(check_boundaries(21334), 10);
    check_parts_of(VIDEO, 199900, 200000);
    check_parts_of(AUDIO, 192000, 192000);
    assert_int_equal(world.tracks[VIDEO].sample_count, 600);
    assert_int_equal(world.tracks[AUDIO].sample_count, (20000000LL * 48 / 1000 + 1023) / 1024);
    assert_int_equal(count_of(&world.counters.media_parts_long), 0);
    assert_int_equal(count_of(&world.counters.media_silence_frames), 0);
    for (uint32_t i = 0; i < world.part_count; i++)
        if (world.parts[i].part.track == VIDEO)
            assert_int_equal(world.parts[i].part.is_independent,
                             world.parts[i].part.starts_segment);
    world_fini(&world);
}

/* 29.97 fps: six frames are 200.2 ms. No part but a segment's last is below 85 % of the target. */
static void test_packager_meets_the_part_target_at_fractional_rates(void **state)
{
    const int64_t frame_ns[] = {33366667, 16683333, 33366667, 16683333};
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        struct publisher p = begin(frame_ns[i], i % 2 == 0 ? 60 : 120, 44100);
        p.is_exact = i >= 2;
        publish(&p, 60000000);
        assert_int_equal(packager_part_max(world.packager, VIDEO), 18000);
        assert_int_equal(packager_part_max(world.packager, AUDIO), 8192);
        world_flush(&world);
        assert_int_equal(check_boundaries(23220), 30);
        check_parts_of(VIDEO, 170000, 200000);
        world_fini(&world);
    }
}

static void test_packager_states_the_longest_part(void **state)
{
    struct publisher p = begin(41708333, 48, 44100);
    (void)state;

    publish(&p, 3000000);
    assert_in_range(packager_part_max(world.packager, VIDEO), 4 * 3730, 4 * 3770);
    assert_int_equal(packager_part_max(world.packager, 7), 0);
    world_flush(&world);
    world_fini(&world);
}

static void check_segment_lengths(uint32_t gop, int64_t low_us, int64_t high_us)
{
    struct publisher p = begin(40000000, gop, 48000);
    int64_t start, end;

    p.cts_us = 80000;
    publish(&p, 40000000);
    uint64_t count = check_boundaries(21334);
    for (uint64_t n = 0; n + 1 < count; n++) {
        assert_true(segment_of(VIDEO, n, &start, &end));
        assert_in_range(end - start + 80000, low_us, high_us);
    }
    world_flush(&world);
    world_fini(&world);
}

static void test_packager_cuts_at_keyframes_near_the_target(void **state)
{
    (void)state;
    check_segment_lengths(25, 2000000, 2000000);
    check_segment_lengths(48, 3840000, 3840000); /* 1.92 s would make the average too short */
    check_segment_lengths(75, 3000000, 3000000);
    assert_int_equal(count_of(&world.counters.media_segments_forced), 0);
}

static void test_packager_cuts_without_keyframes_at_the_limit(void **state)
{
    (void)state;
    check_segment_lengths(100000, 6000000, 6080000);
    assert_int_equal(count_of(&world.counters.media_segments_forced), 6);
}

static void test_packager_handles_b_frames(void **state)
{
    /* Decode order I P B B P B B …, presentation two frames later. */
    static const int64_t offsets[] = {2, 4, 1, 1};
    (void)state;
    world_init(&world, NULL);
    announce(VIDEO, world_h264());
    announce(AUDIO, world_aac(48000, 2));
    for (int i = 0, a = 0; i < 624; i++) {
        int64_t cts = i % 52 == 0 ? 2 : offsets[(i % 52 - 1) % 3 + 1];
        world_unit(&world, VIDEO, i % 52 == 0, i * 40000, cts * 40000, WALL + i * 40000, 2000);
        for (; a * 1024 / 48 <= i * 40; a++)
            world_unit(&world, AUDIO, true, a * 1024 / 48 * 1000, 0, WALL + i * 40000, 200);
    }
    world_flush(&world);
    assert_int_equal(check_boundaries(21334), 12);
    check_parts_of(VIDEO, 200000, 200000);
    world_fini(&world);
}

static void test_packager_packages_audio_alone(void **state)
{
    struct publisher p = begin(0, 0, 44100);
    int64_t start, end;
    (void)state;

    publish(&p, 20000000);
    world_flush(&world);
    for (uint64_t n = 0; n < 10; n++) { /* exactly on average */
        assert_true(segment_of(AUDIO, n, &start, &end));
        assert_in_range(start - (int64_t)n * 2000000 + 50, 0, 23400);
    }
    assert_int_equal(world.tracks[AUDIO].sample_count, 862);
    world_fini(&world);
}

static void test_packager_packages_video_alone(void **state)
{
    struct publisher p = begin(33333333, 30, 0);
    (void)state;

    publish(&p, 10000000);
    world_flush(&world);
    assert_int_equal(world.tracks[VIDEO].sample_count, 300);
    assert_int_equal(world.tracks[VIDEO].segment, 4);
    check_parts_of(VIDEO, 199900, 200000);
    world_fini(&world);
}

/* Audio that runs ahead of video waits near a boundary, so that both cut at the same instant. */
static void test_packager_aligns_audio_that_leads(void **state)
{
    (void)state;
    for (int64_t lead_us = 0; lead_us <= 900000; lead_us += 300000) {
        struct publisher p = begin(33333333, 60, 48000);
        p.audio_lead_us = lead_us;
        publish(&p, 20000000);
        world_flush(&world);
        check_boundaries(21334);
        world_fini(&world);
    }
}

static void test_packager_aligns_audio_that_lags(void **state)
{
    (void)state;
    for (int64_t lag_us = 300000; lag_us <= 1500000; lag_us += 400000) {
        struct publisher p = begin(33333333, 60, 48000);
        p.audio_lead_us = -lag_us;
        publish(&p, 20000000);
        world_flush(&world);
        check_boundaries(21334);
        assert_int_equal(count_of(&world.counters.media_silence_frames), 0);
        world_fini(&world);
    }
}

static void test_packager_fills_missing_audio_with_silence(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    (void)state;

    publish(&p, 5000000);
    p.skip_audio_until = 15000000;
    publish(&p, 20000000);
    world_flush(&world);
    assert_int_equal(check_boundaries(21334), 10);
    assert_in_range(world.tracks[AUDIO].silent_count, 466, 471);
    assert_int_equal(count_of(&world.counters.media_silence_frames),
                     world.tracks[AUDIO].silent_count);
    assert_int_equal(count_of(&world.counters.media_tracks_paused), 1);
    assert_int_equal(count_of(&world.counters.media_gap_parts), 0);
    assert_int_equal(world.tracks[VIDEO].sample_count, 600);
    world_fini(&world);
}

static void test_packager_reports_gaps_where_silence_is_unknown(void **state)
{
    struct publisher p = begin(33333333, 60, 0);
    struct track_info surround = world_aac(48000, 6);
    (void)state;

    announce(AUDIO, surround);
    p.rate_hz = 48000;
    publish(&p, 5000000);
    p.skip_audio_until = 15000000;
    publish(&p, 20000000);
    world_flush(&world);
    assert_int_equal(check_boundaries(200000), 10);
    assert_int_equal(world.tracks[AUDIO].silent_count, 0);
    assert_in_range(count_of(&world.counters.media_gap_parts), 48, 60);
    world_fini(&world);
}

static void test_packager_goes_on_without_video(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    int64_t start, end;
    uint64_t last = 0;
    (void)state;

    publish(&p, 5000000);
    p.skip_video_until = 13000000;
    publish(&p, 20000000);
    world_flush(&world);
    for (uint64_t n = 0; segment_of(AUDIO, n, &start, &end); n++) {
        assert_true(segment_of(VIDEO, n, &start, &end));
        last = n;
    }
    assert_in_range(last, 8, 9);
    assert_int_equal(world.tracks[AUDIO].sample_count, 938);
    assert_int_equal(world.tracks[VIDEO].sample_count, 360);
    assert_int_equal(world.tracks[AUDIO].silent_count, 0);
    assert_true(count_of(&world.counters.media_gap_parts) >= 30);
    world_fini(&world);
}

static void test_packager_lets_a_track_join_late(void **state)
{
    struct publisher p = begin(33333333, 60, 0);
    int64_t start, end, video;
    (void)state;

    publish(&p, 7100000);
    announce(AUDIO, world_aac(48000, 2));
    p.rate_hz = 48000;
    p.audio = 7100000 * 48 / 1000 / 1024 + 1;
    publish(&p, 14000000);
    world_flush(&world);
    assert_false(segment_of(AUDIO, 2, &start, &end));
    assert_true(segment_of(AUDIO, 3, &start, &end));
    assert_in_range(start, 7100000, 7130000);
    for (uint64_t n = 4; n < 7; n++) {
        assert_true(segment_of(AUDIO, n, &start, &end) && segment_of(VIDEO, n, &video, &end));
        assert_in_range(start - video + 50, 0, 21500);
    }
    assert_int_equal(count_of(&world.counters.media_tracks_joined), 1);
    world_fini(&world);
}

static void test_packager_starts_with_audio_when_video_does_not_come(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    (void)state;

    p.skip_video_until = 5000000;
    publish(&p, 12000000);
    world_flush(&world);
    assert_int_equal(world.tracks[AUDIO].sample_count, 563);
    assert_int_equal(world.tracks[VIDEO].sample_count, 360 - 180); /* from the keyframe at 6 s */
    world_fini(&world);
}

/* The segment in which 'track' first is discontinuous from 'from' on. */
static uint64_t discontinuity_after(uint8_t track, uint64_t from)
{
    for (uint32_t i = 0; i < world.part_count; i++) {
        const struct packaged_part *part = &world.parts[i].part;
        if (part->track == track && part->segment >= from && part->is_discontinuous)
            return part->segment;
    }
    return 0;
}

static void test_packager_heals_clock_jumps(void **state)
{
    const int64_t jumps[] = {-3000000, 100000000, -4294967296000, 1500000};
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        struct publisher p = begin(33333333, 60, 48000);
        publish(&p, 5000000);
        p.clock_us += jumps[i];
        publish(&p, 14000000);
        world_flush(&world);
        assert_int_equal(count_of(&world.counters.media_clock_rebased), 1);
        assert_int_equal(count_of(&world.counters.media_discontinuities), 1);
        assert_int_equal(check_boundaries(45000), 7);
        assert_int_equal(discontinuity_after(VIDEO, 0), discontinuity_after(AUDIO, 0));
        assert_int_equal(world.tracks[VIDEO].sample_count, 420);
        world_fini(&world);
    }
}

static void test_packager_changes_the_video_codec(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    struct track_info info = world_h264();
    (void)state;

    publish(&p, 5000000);
    announce(VIDEO, info); /* the same again: nothing happens */
    info.width = 640;
    announce(VIDEO, info);
    p.frame = 180; /* encoders start a new configuration with a keyframe, here at 6 s */
    publish(&p, 12000000);
    world_flush(&world);
    assert_int_equal(world.tracks[VIDEO].init_count, 2);
    assert_int_equal(count_of(&world.counters.media_codec_changes), 1);
    assert_int_equal(discontinuity_after(VIDEO, 0), 3);
    assert_int_equal(discontinuity_after(AUDIO, 0), 3);
    world_fini(&world);
}

static void test_packager_changes_the_audio_codec(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    (void)state;

    publish(&p, 5000000);
    announce(AUDIO, world_aac(44100, 2));
    p.audio = 5000000LL * 441 / 10000 / 1024;
    p.rate_hz = 44100;
    publish(&p, 12000000);
    world_flush(&world);
    assert_int_equal(world.tracks[AUDIO].init_count, 2);
    assert_int_equal(world.tracks[AUDIO].timescale, 44100);
    assert_int_equal(discontinuity_after(AUDIO, 0), 3); /* with the keyframe at 6 s */
    assert_int_equal(discontinuity_after(VIDEO, 0), 3);
    assert_int_equal(world.tracks[VIDEO].sample_count, 360);
    assert_in_range(count_of(&world.counters.media_units_between_codecs), 40, 46);
    world_fini(&world);
}

static void test_packager_changes_the_codec_of_audio_alone(void **state)
{
    struct publisher p = begin(0, 0, 48000);
    (void)state;

    publish(&p, 5000000);
    announce(AUDIO, world_aac(44100, 1));
    p.audio = 5000000LL * 441 / 10000 / 1024 + 1;
    p.rate_hz = 44100;
    publish(&p, 8000000);
    world_flush(&world);
    assert_int_equal(world.tracks[AUDIO].init_count, 2);
    assert_int_equal(count_of(&world.counters.media_units_between_codecs), 0);
    assert_int_equal(discontinuity_after(AUDIO, 0), 3);
    world_fini(&world);
}

static void test_packager_continues_after_a_reconnect(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    int64_t before, after, end;
    (void)state;

    publish(&p, 5000000);
    world_flush(&world);
    assert_true(segment_of(VIDEO, 2, &before, &end));
    /* Units without a track are ignored; the same configuration needs no new init segment. */
    world_unit(&world, VIDEO, true, 0, 0, WALL, 100);
    announce(VIDEO, world_h264());
    announce(AUDIO, world_aac(48000, 2));
    struct publisher again = p;
    again.frame = 360; /* on air again at 12 s, with a clock that starts at 0 */
    again.audio = 12000000 * 48 / 1000 / 1024 + 1;
    again.clock_us = -12000000;
    publish(&again, 18000000);
    world_flush(&world);
    assert_int_equal(world.tracks[VIDEO].init_count, 1);
    assert_int_equal(discontinuity_after(VIDEO, 0), 3);
    assert_int_equal(discontinuity_after(AUDIO, 0), 3);
    assert_true(segment_of(VIDEO, 3, &after, &end));
    assert_in_range(after, 11990000, 12010000);
    assert_int_equal(count_of(&world.counters.media_units_without_track), 1);
    world_fini(&world);
}

static void test_packager_starts_anew_after_long_silence(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    int64_t start, end;
    (void)state;

    publish(&p, 5000000);
    p.skip_audio_until = p.skip_video_until = 40000000;
    publish(&p, 46000000);
    world_flush(&world);
    assert_int_equal(discontinuity_after(VIDEO, 0), 3);
    assert_true(segment_of(VIDEO, 3, &start, &end));
    assert_in_range(start, 39990000, 40010000);
    assert_true(segment_of(AUDIO, 3, &start, &end));
    assert_int_equal(count_of(&world.counters.media_epochs), 2);
    world_fini(&world);
}

static void test_packager_survives_lost_parts(void **state)
{
    (void)state;
    for (uint32_t every = 1; every < 12; every++) {
        struct publisher p = begin(33333333, 60, 48000);
        world.refuse_every = every;
        publish(&p, 10000000);
        world_flush(&world);
        assert_int_equal(check_boundaries(230000), 5);
        assert_int_equal(count_of(&world.counters.media_parts_without_memory),
                         world.begin_count / every);
        world_fini(&world);
    }
}

static void test_packager_makes_long_samples_parts_of_their_own(void **state)
{
    struct publisher p = begin(500000000, 4, 0); /* two pictures a second */
    (void)state;

    publish(&p, 20000000);
    world_flush(&world);
    assert_int_equal(world.tracks[VIDEO].sample_count, 40);
    assert_in_range(count_of(&world.counters.media_parts_long), 39, 40);
    assert_int_equal(world.tracks[VIDEO].segment, 9);
    world_fini(&world);
}

static void test_packager_bounds_units_and_staging(void **state)
{
    const struct packager_limits limits = {200000, 2000000, 6000000, 20000};
    (void)state;

    world_init(&world, &limits);
    announce(VIDEO, world_h264());
    for (int i = 0; i < 300; i++)
        world_unit(&world, VIDEO, i % 60 == 0, i * 33333, 0, WALL + i * 33333,
                   i == 100 ? 20001 : 7000);
    world_flush(&world);
    assert_int_equal(count_of(&world.counters.media_units_oversized), 1);
    assert_int_equal(count_of(&world.counters.media_units_without_keyframe), 19);
    assert_int_equal(world.tracks[VIDEO].sample_count, 280);
    assert_true(count_of(&world.counters.media_parts_cut_by_size) > 50);
    world_fini(&world);
}

static void test_packager_refuses_what_cmaf_cannot_carry(void **state)
{
    struct track_info info = world_aac(44100, 2);
    (void)state;

    world_init(&world, NULL);
    info.codec = CODEC_MP3;
    assert_int_equal(packager_track(world.packager, 0, &info, WALL), -ENOTSUP);
    info = world_h264();
    info.config[0] = 2;
    assert_int_equal(packager_track(world.packager, 0, &info, WALL), -ENOTSUP);
    info = world_aac(0, 2);
    assert_int_equal(packager_track(world.packager, 0, &info, WALL), -ENOTSUP);
    assert_int_equal(packager_track(world.packager, TRACKS_MAX, &info, WALL), -ENOSPC);
    world_unit(&world, 0, true, 0, 0, WALL, 100);
    assert_int_equal(count_of(&world.counters.media_tracks_unsupported), 3);
    assert_int_equal(count_of(&world.counters.media_units_without_track), 1);
    world_flush(&world);
    world_fini(&world);
}

/* wall_us - dts is constant within a segment and moves by at most 1 % between segments,
 * whatever the arrival times. */
static void test_packager_wall_clock_is_linear(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    int64_t skew[64];
    bool seen[64] = {false};
    (void)state;

    publish(&p, 60000000);
    world_flush(&world);
    for (uint32_t i = 0; i < world.part_count; i++) {
        const struct world_part *k = &world.parts[i];
        uint64_t n = k->part.segment;
        int64_t here = k->part.wall_us - k->first_pts_us;
        if (seen[n])
            assert_in_range(here - skew[n] + 2, 0, 4);
        else if (n > 0)
            assert_in_range(here - skew[n - 1] + 20000, 0, 40000);
        skew[n] = here;
        seen[n] = true;
    }
    world_fini(&world);
}

static void test_packager_reset_forgets(void **state)
{
    struct publisher p = begin(33333333, 60, 48000);
    (void)state;

    publish(&p, 5000000);
    packager_flush(world.packager);
    packager_reset(world.packager);
    memset(world.tracks, 0, sizeof(world.tracks));
    memset(world.is_discontinuous, 0, sizeof(world.is_discontinuous));
    announce(AUDIO, world_opus());
    for (int i = 0; i < 500; i++) {
        struct access_unit au = {AUDIO, true, i * 20000, i * 20000, bytes_of("\xfc\xff\xfe", 3)};
        packager_unit(world.packager, &au, WALL + i * 20000);
    }
    world_flush(&world);
    assert_int_equal(world.tracks[AUDIO].segment, 4);
    assert_int_equal(world.tracks[AUDIO].sample_count, 500);
    assert_int_equal(world.tracks[AUDIO].timescale, 48000);
    world_fini(&world);
}

/* Random publishers with jittered arrival, drops, pauses and jumps: the sink checks every part;
 * here, that tracks have the same segments and that nothing is lost without a count. */
static void random_publish(uint64_t seed)
{
    static const int64_t frames_ns[] = {16666667, 16683333, 20000000, 33333333,
                                        33366667, 40000000, 41708333, 100000000};
    static const uint32_t rates[] = {8000, 22050, 44100, 48000};
    struct publisher p;
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;

    int64_t frame_ns = frames_ns[world_random(&state, 8)];
    uint32_t gop = 10 + world_random(&state, 120);
    p = begin(frame_ns, gop, rates[world_random(&state, 4)]);
    world.seed = seed;
    p.cts_us = world_random(&state, 3) * 40000;
    p.audio_lead_us = (int64_t)world_random(&state, 1500000) - 750000;
    p.is_exact = world_random(&state, 2) == 0;
    for (int64_t us = 0; us < 30000000; us += 1000000) {
        publish(&p, us);
        switch (world_random(&state, 12)) {
        case 0:
            p.skip_audio_until = us + world_random(&state, 6000000);
            break;
        case 1:
            p.skip_video_until = us + world_random(&state, 6000000);
            break;
        case 2:
            p.clock_us += (int64_t)world_random(&state, 40000000) - 20000000;
            break;
        case 3:
            world.refuse_every = world_random(&state, 3) == 0 ? 1 + world_random(&state, 9) : 0;
            break;
        default:
            break;
        }
    }
    world_flush(&world);
    if (count_of(&world.counters.media_epochs) == 1 && world.tracks[VIDEO].has_part)
        assert_int_equal(world.tracks[VIDEO].segment, world.tracks[AUDIO].segment);
    assert_int_equal(world.tracks[VIDEO].init_count, 1);
    if (world.tracks[VIDEO].empty_count + world.tracks[AUDIO].empty_count > 0)
        fail_msg("seed %lu: empty segment", (unsigned long)seed);
    world_fini(&world);
}

static void test_packager_keeps_its_promises_for_random_publishers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++)
        random_publish(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packager_makes_full_parts_and_aligned_segments),
        cmocka_unit_test(test_packager_meets_the_part_target_at_fractional_rates),
        cmocka_unit_test(test_packager_states_the_longest_part),
        cmocka_unit_test(test_packager_cuts_at_keyframes_near_the_target),
        cmocka_unit_test(test_packager_cuts_without_keyframes_at_the_limit),
        cmocka_unit_test(test_packager_handles_b_frames),
        cmocka_unit_test(test_packager_packages_audio_alone),
        cmocka_unit_test(test_packager_packages_video_alone),
        cmocka_unit_test(test_packager_aligns_audio_that_leads),
        cmocka_unit_test(test_packager_aligns_audio_that_lags),
        cmocka_unit_test(test_packager_fills_missing_audio_with_silence),
        cmocka_unit_test(test_packager_reports_gaps_where_silence_is_unknown),
        cmocka_unit_test(test_packager_goes_on_without_video),
        cmocka_unit_test(test_packager_lets_a_track_join_late),
        cmocka_unit_test(test_packager_starts_with_audio_when_video_does_not_come),
        cmocka_unit_test(test_packager_heals_clock_jumps),
        cmocka_unit_test(test_packager_changes_the_video_codec),
        cmocka_unit_test(test_packager_changes_the_audio_codec),
        cmocka_unit_test(test_packager_changes_the_codec_of_audio_alone),
        cmocka_unit_test(test_packager_continues_after_a_reconnect),
        cmocka_unit_test(test_packager_starts_anew_after_long_silence),
        cmocka_unit_test(test_packager_survives_lost_parts),
        cmocka_unit_test(test_packager_makes_long_samples_parts_of_their_own),
        cmocka_unit_test(test_packager_bounds_units_and_staging),
        cmocka_unit_test(test_packager_refuses_what_cmaf_cannot_carry),
        cmocka_unit_test(test_packager_wall_clock_is_linear),
        cmocka_unit_test(test_packager_reset_forgets),
        cmocka_unit_test(test_packager_keeps_its_promises_for_random_publishers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
