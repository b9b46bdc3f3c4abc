#include "dataplane/media/timeline.h"

#include "common/counters.h"
#include "tests/unit/dataplane/media/packager_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VIDEO, AUDIO };

static const int64_t WALL = 1700000000000000;

struct fixture {
    struct timeline t;
    struct counters counters;
    int64_t wall_us;
};

static int setup(void **state)
{
    static struct fixture f;
    struct track_info video = world_h264();
    struct track_info audio = world_aac(48000, 2);

    memset(&f, 0, sizeof(f));
    timeline_init(&f.t, &f.counters);
    timeline_open(&f.t, VIDEO, &video, 90000, 0);
    timeline_open(&f.t, AUDIO, &audio, 48000, 0);
    f.wall_us = WALL;
    *state = &f;
    return 0;
}

/* Stamps a unit that arrives when its time since the start says so, unless wall_us was moved. */
static enum timeline_verdict stamp(struct fixture *f, uint8_t track, int64_t dts_us, int64_t cts_us,
                                   struct timeline_stamp *s)
{
    uint8_t byte = 0xfc; /* Opus: CELT, 20 ms */
    struct access_unit au = {.track = track,
                             .is_keyframe = true,
                             .dts_us = dts_us,
                             .pts_us = dts_us + cts_us,
                             .data = bytes_of(&byte, 1)};
    return timeline_stamp(&f->t, &au, f->wall_us, s);
}

/* Stamps a unit that must be accepted; returns its dts in us since the start of the epoch. */
static int64_t at(struct fixture *f, uint8_t track, int64_t dts_us)
{
    struct timeline_stamp s;

    assert_int_equal(stamp(f, track, dts_us, 0, &s), TIMELINE_OK);
    return timeline_us(s.dts, f->t.tracks[track].timescale) - WALL;
}

static uint64_t count_of(const _Atomic uint64_t *counter)
{
    return counter_read(counter);
}

static void test_timeline_starts_at_the_wall_clock(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(at(f, VIDEO, 123456000), 0);
    assert_int_equal(at(f, AUDIO, 123466000), 10000);
    assert_int_equal(count_of(&f->counters.media_epochs), 1);
    assert_int_equal(timeline_skew_us(&f->t, 0), 0);
}

static void test_timeline_nudges_repeated_and_slightly_backward_dts(void **state)
{
    struct fixture *f = *state;
    int64_t last = -1;
    const int64_t input[] = {0, 33000, 33000, 33000, 20000, 66000, 100000};

    for (size_t i = 0; i < sizeof(input) / sizeof(input[0]); i++) {
        struct timeline_stamp s;
        assert_int_equal(stamp(f, VIDEO, input[i], 0, &s), TIMELINE_OK);
        assert_true(s.dts > last);
        assert_false(s.is_rebased);
        last = s.dts;
    }
    assert_int_equal(count_of(&f->counters.media_dts_nudged), 3);
    assert_int_equal(count_of(&f->counters.media_clock_rebased), 0);
}

/* Both tracks jump, a little apart, as interleaving has it; their offset must survive. */
static void jump(struct fixture *f, int64_t by_us)
{
    struct timeline_stamp s;
    int64_t video_us = 0, audio_us = 0, previous_video_us = -33000;
    int64_t jump_us = 0;

    for (int i = 0; i < 200; i++) {
        jump_us = i >= 100 ? by_us : 0;
        assert_int_equal(stamp(f, VIDEO, i * 33000 + jump_us, 0, &s), TIMELINE_OK);
        assert_int_equal(s.is_rebased, i == 100);
        video_us = timeline_us(s.dts, 90000) - WALL;
        assert_in_range(video_us - previous_video_us, 32000, 34000);
        previous_video_us = video_us;
        jump_us = i >= 102 ? by_us : 0; /* audio follows later, some from before the jump */
        audio_us = at(f, AUDIO, i * 33000 + 5000 + jump_us);
    }
    assert_in_range(video_us, 199 * 33000 - 2000, 199 * 33000 + 2000);
    /* Audio has 1024 samples a unit whatever its timestamps: only its drift limit matters here. */
    assert_in_range(audio_us - video_us + 50000, 0, 100000);
    assert_int_equal(count_of(&f->counters.media_clock_rebased), 1);
    assert_int_equal(count_of(&f->counters.media_clock_followed), 1);
}

static void test_timeline_takes_out_a_backward_jump(void **state)
{
    jump(*state, -3600000000);
}

static void test_timeline_takes_out_a_forward_jump(void **state)
{
    jump(*state, 86400000000);
}

static void test_timeline_takes_out_a_wrap_of_32_bit_milliseconds(void **state)
{
    jump(*state, -(1LL << 32) * 1000);
}

static void test_timeline_reports_real_silence_as_a_hole(void **state)
{
    struct fixture *f = *state;
    struct timeline_stamp s;

    for (int i = 0; i < 20; i++)
        at(f, VIDEO, i * 40000);
    timeline_promise(&f->t, VIDEO, timeline_ticks(WALL + 800000, 90000));
    f->wall_us += 3800000; /* three seconds passed for everybody */
    assert_int_equal(stamp(f, VIDEO, 3800000, 0, &s), TIMELINE_OK);
    assert_int_equal(s.hole, 3 * 90000);
    assert_false(s.is_rebased);
    assert_int_equal(count_of(&f->counters.media_holes), 1);
}

static void test_timeline_asks_for_an_epoch_after_long_silence(void **state)
{
    struct fixture *f = *state;
    struct timeline_stamp s;

    at(f, VIDEO, 0);
    f->wall_us += 30000000;
    assert_int_equal(stamp(f, VIDEO, 30000000, 0, &s), TIMELINE_EPOCH);
    timeline_end_epoch(&f->t);
    assert_int_equal(at(f, VIDEO, 30000000), 30000000);
    f->wall_us += 3000000;
    assert_int_equal(stamp(f, VIDEO, 0, 0, &s), TIMELINE_EPOCH); /* encoder restarted */
}

static void test_timeline_epoch_never_goes_back(void **state)
{
    struct fixture *f = *state;

    at(f, VIDEO, 0);
    at(f, AUDIO, 900000);
    timeline_end_epoch(&f->t);
    f->wall_us -= 5000000; /* the wall clock was set back */
    int64_t start_us = at(f, AUDIO, 77);
    assert_true(start_us >= 900000 + 21333);
    assert_int_equal(timeline_skew_us(&f->t, 0), f->wall_us - WALL - start_us);
}

static void test_timeline_keeps_composition_offsets(void **state)
{
    struct fixture *f = *state;
    struct timeline_stamp s;

    assert_int_equal(stamp(f, VIDEO, 0, 80000, &s), TIMELINE_OK);
    assert_int_equal(s.cts, 7200);
    assert_int_equal(stamp(f, VIDEO, 40000, -20000, &s), TIMELINE_OK);
    assert_int_equal(s.cts, -1800);
    assert_int_equal(stamp(f, VIDEO, 80000, 11000000, &s), TIMELINE_OK);
    assert_int_equal(s.cts, 0);
    assert_int_equal(count_of(&f->counters.media_pts_invalid), 1);
    /* A promise moves the dts and leaves the pts. */
    timeline_promise(&f->t, VIDEO, s.dts + 3510);
    assert_int_equal(stamp(f, VIDEO, 120000, 40000, &s), TIMELINE_OK);
    assert_int_equal(s.dts + s.cts, timeline_ticks(WALL + 160000, 90000));
    assert_int_equal(s.cts, 3600 + 90);
}

static void test_timeline_predicts_a_regular_cadence_only(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 9; i++) {
        assert_int_equal(timeline_expected(&f->t, VIDEO), 0);
        at(f, VIDEO, (i * 100100 / 3 + 500) / 1000 * 1000); /* 29.97 fps in whole ms */
    }
    assert_in_range(timeline_expected(&f->t, VIDEO), 2950, 3050);
    at(f, VIDEO, 500000);
    assert_int_equal(timeline_expected(&f->t, VIDEO), 0);
}

static void test_timeline_variable_frame_rate_is_kept(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 7;
    int64_t us = 0;

    for (int i = 0; i < 500; i++) {
        assert_int_equal(at(f, VIDEO, us), us);
        us += 1000 * (1 + world_random(&seed, 400));
    }
    assert_int_equal(count_of(&f->counters.media_dts_nudged), 0);
}

static void test_timeline_snaps_rounded_audio_to_its_sample_count(void **state)
{
    struct fixture *f = *state;
    struct track_info audio = world_aac(44100, 2);
    struct timeline_stamp s, previous = {0};

    timeline_open(&f->t, AUDIO, &audio, 44100, 0);
    for (int64_t i = 0; i < 60 * 60 * 44100 / 1024; i++) { /* an hour */
        int64_t ms = (i * 1024 * 1000 + 22050) / 44100;
        f->wall_us = WALL + ms * 1000;
        assert_int_equal(stamp(f, AUDIO, ms * 1000, 0, &s), TIMELINE_OK);
        assert_true(i == 0 || s.dts == previous.dts + 1024);
        previous = s;
    }
    assert_int_equal(count_of(&f->counters.media_audio_resyncs), 0);
}

/* A sound card that is off by some parts per million against the encoder's clock. */
static void drift(struct fixture *f, int64_t ppm)
{
    for (int64_t i = 0; i < 60 * 60 * 48000 / 1024; i++) {
        struct timeline_stamp s;
        int64_t us = i * 1024 * 1000 / 48;
        us += us * ppm / 1000000;
        f->wall_us = WALL + us;
        if (stamp(f, AUDIO, us, 0, &s) == TIMELINE_OK)
            assert_in_range(timeline_us(s.dts, 48000) - WALL - us + 62000, 0, 124000);
    }
}

static void test_timeline_resyncs_audio_that_falls_short(void **state)
{
    struct fixture *f = *state;

    drift(f, 100); /* 360 ms in an hour, 40 and more at a time */
    assert_in_range(count_of(&f->counters.media_audio_resyncs), 6, 10);
    assert_int_equal(count_of(&f->counters.media_audio_overlaps), 0);
}

static void test_timeline_drops_audio_that_is_too_much(void **state)
{
    struct fixture *f = *state;

    drift(f, -100);
    assert_in_range(count_of(&f->counters.media_audio_overlaps), 14, 18);
    assert_int_equal(count_of(&f->counters.media_audio_resyncs), 0);
    assert_int_equal(count_of(&f->counters.media_clock_rebased), 0);
}

static void test_timeline_heals_a_track_that_stays_late(void **state)
{
    struct fixture *f = *state;
    struct timeline_stamp s;
    int dropped = 0;

    at(f, VIDEO, 0);
    at(f, AUDIO, 0);
    timeline_reserve(&f->t, AUDIO, timeline_ticks(WALL + 3000000, 48000));
    for (int i = 0; i < 200; i++) {
        at(f, VIDEO, (i + 1) * 20000);
        if (stamp(f, AUDIO, 21333 + i * 20000, 0, &s) == TIMELINE_OK)
            break;
        dropped++;
    }
    assert_in_range(dropped, 80, 110); /* two seconds' worth */
    assert_true(s.is_rebased);
    assert_int_equal(s.dts, timeline_ticks(WALL + 3000000, 48000));
}

static void test_timeline_refuses_times_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    struct timeline_stamp s;
    const int64_t bad[] = {INT64_MIN, INT64_MAX, (1LL << 52) + 1, -(1LL << 60)};

    for (size_t i = 0; i < 4; i++)
        assert_int_equal(stamp(f, VIDEO, bad[i], 0, &s), TIMELINE_DROP);
    assert_int_equal(count_of(&f->counters.media_units_invalid), 4);
    f->wall_us = INT64_MAX;
    assert_int_equal(stamp(f, VIDEO, 1LL << 52, 0, &s), TIMELINE_OK);
    f->wall_us = INT64_MIN;
    assert_int_equal(stamp(f, VIDEO, (1LL << 52) - 10, 0, &s), TIMELINE_OK);
}

/* Arrival jitter of up to 300 ms must not move the wall clock of the media. */
static void test_timeline_skew_ignores_jitter(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 11;

    at(f, VIDEO, 0);
    for (int64_t i = 1; i < 9000; i++) {
        f->wall_us = WALL + i * 33333 + world_random(&seed, 300) * 1000;
        at(f, VIDEO, i * 33333);
        if (i % 60 == 0)
            assert_in_range(timeline_skew_us(&f->t, 2000000), 0, 20000);
    }
}

static void test_timeline_skew_follows_drift_slowly(void **state)
{
    struct fixture *f = *state;
    int64_t previous = 0;

    at(f, VIDEO, 0);
    for (int64_t i = 1; i < 60000; i++) { /* the publisher's clock is 100 ppm slow */
        f->wall_us = WALL + i * 40000 + i * 4;
        at(f, VIDEO, i * 40000);
        if (i % 50 != 0)
            continue;
        int64_t skew = timeline_skew_us(&f->t, 2000000);
        assert_in_range(skew - previous, 0, 20000);
        previous = skew;
    }
    assert_in_range(previous, 240000 - 25000, 240000);
}

/* A publisher that starts with a burst: its first unit came latest. */
static void test_timeline_skew_recovers_from_a_burst(void **state)
{
    struct fixture *f = *state;

    for (int64_t i = 0; i < 3000; i++) {
        int64_t live_us = WALL + i * 40000 - 400000;
        f->wall_us = live_us > WALL ? live_us : WALL;
        at(f, VIDEO, i * 40000);
        if (i % 50 == 49)
            timeline_skew_us(&f->t, 2000000);
    }
    assert_in_range(-timeline_skew_us(&f->t, 0), 380000, 400000);
}

static void test_timeline_ticks_are_exact(void **state)
{
    (void)state;
    assert_int_equal(timeline_ticks(1700000000000000, 90000), 153000000000000);
    assert_int_equal(timeline_ticks(-1, 90000), 0);
    assert_int_equal(timeline_ticks(-1000000, 44100), -44100);
    uint64_t seed = 3;
    for (int i = 0; i < 10000; i++) {
        int64_t ticks = (int64_t)world_random(&seed, 1u << 31) << 17;
        assert_int_equal(timeline_ticks(timeline_us(ticks, 48000), 48000), ticks);
        assert_int_equal(timeline_ticks(timeline_us(ticks, 44100), 44100), ticks);
    }
}

static void test_timeline_opus_packets_say_their_length(void **state)
{
    static const struct {
        uint8_t toc, count;
        uint32_t samples;
    } cases[] = {{0x00, 0, 480},  {0x18, 0, 2880},     {0x80, 0, 120},     {0xf8, 0, 960},
                 {0xf9, 0, 1920}, {0xfb, 3, 2880},     {0xfb, 0x83, 2880}, {0xfb, 0, 0},
                 {0x1b, 3, 0},    {0x83, 48, 48 * 120}};
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint8_t packet[] = {cases[i].toc, cases[i].count};
        assert_int_equal(timeline_opus_samples(bytes_of(packet, 2)), cases[i].samples);
    }
    assert_int_equal(timeline_opus_samples((struct bytes){0}), 0);
    assert_int_equal(timeline_opus_samples(bytes_of("\xfb", 1)), 0);
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_timeline_starts_at_the_wall_clock),
        CASE(test_timeline_nudges_repeated_and_slightly_backward_dts),
        CASE(test_timeline_takes_out_a_backward_jump),
        CASE(test_timeline_takes_out_a_forward_jump),
        CASE(test_timeline_takes_out_a_wrap_of_32_bit_milliseconds),
        CASE(test_timeline_reports_real_silence_as_a_hole),
        CASE(test_timeline_asks_for_an_epoch_after_long_silence),
        CASE(test_timeline_epoch_never_goes_back),
        CASE(test_timeline_keeps_composition_offsets),
        CASE(test_timeline_predicts_a_regular_cadence_only),
        CASE(test_timeline_variable_frame_rate_is_kept),
        CASE(test_timeline_snaps_rounded_audio_to_its_sample_count),
        CASE(test_timeline_resyncs_audio_that_falls_short),
        CASE(test_timeline_drops_audio_that_is_too_much),
        CASE(test_timeline_heals_a_track_that_stays_late),
        CASE(test_timeline_refuses_times_that_cannot_be),
        CASE(test_timeline_skew_ignores_jitter),
        CASE(test_timeline_skew_follows_drift_slowly),
        CASE(test_timeline_skew_recovers_from_a_burst),
        CASE(test_timeline_ticks_are_exact),
        CASE(test_timeline_opus_packets_say_their_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
