/* Any sequence of tracks, units, flushes and resets keeps the promises of packager.h. */
#include "common/cursor.h"
#include "tests/unit/dataplane/media/packager_world.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct track_info info_of(uint8_t choice)
{
    static const uint32_t rates[] = {44100, 48000, 8000, 96000};
    struct track_info info;

    switch (choice & 7) {
    case 0:
    case 1:
        info = world_h264();
        info.width = 320 + (choice >> 3) * 16u;
        break;
    case 2:
    case 3:
        info = world_aac(rates[choice >> 3 & 3], 1 + (choice >> 5));
        break;
    case 4:
        info = world_aac(48000, 2);
        info.frame_samples = 0;
        break;
    case 5:
        info = world_opus();
        info.config[18] = choice >> 7;
        info.config_size += info.config[18] != 0 ? 4 : 0;
        break;
    case 6:
        info = world_h264();
        info.codec = (enum codec)(choice >> 3 & 7);
        break;
    default:
        info = world_aac(choice >> 3, 2);
        break;
    }
    return info;
}

static int64_t sign_extend16(uint16_t value)
{
    return (int64_t)value - (value >= 0x8000 ? 0x10000 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world w;
    struct cursor c = cursor_of(bytes_of(data, size));
    struct packager_limits limits = {200000, 2000000, 6000000, 65536};
    int64_t dts_us[TRACKS_MAX] = {0};
    int64_t wall_us = 1700000000000000;

    uint8_t setup = cursor_u8(&c);
    limits.part_us = 50000u << (setup & 3);
    limits.segment_us = 500000u << (setup >> 2 & 3);
    limits.segment_max_us = limits.segment_us * (1 + (setup >> 4 & 3));
    world_init(&w, &limits);
    w.keeps_parts = false;
    w.refuse_every = setup >> 6 == 3 ? 7 : 0;
    while (cursor_left(&c) > 0) {
        uint8_t op = cursor_u8(&c);
        uint8_t track = op >> 3 & 3;
        struct track_info info;

        switch (op & 7) {
        case 0:
            info = info_of(cursor_u8(&c));
            (void)packager_track(w.packager, op >> 5 == 7 ? op : track, &info, wall_us);
            break;
        case 1: /* the publisher's clock jumps */
            dts_us[track] = (int64_t)(cursor_be64(&c) << (op >> 5));
            break;
        case 2:
            dts_us[track] += sign_extend16(cursor_be16(&c)) * 1000;
            break;
        case 3:
            wall_us += sign_extend16(cursor_be16(&c)) * 1000;
            break;
        case 4:
            if (op >> 5 == 0)
                world_flush(&w);
            if (op >> 5 == 1) {
                world_flush(&w);
                packager_reset(w.packager);
                memset(w.tracks, 0, sizeof(w.tracks));
                memset(w.is_discontinuous, 0, sizeof(w.is_discontinuous));
            }
            break;
        default: { /* a run of units: count, step in ms, cts */
            uint8_t count = cursor_u8(&c) & 63;
            int64_t step_us = cursor_u8(&c) * 1000;
            int64_t cts_us = sign_extend16(cursor_be16(&c)) * 1000;
            for (unsigned i = 0; i < count; i++) {
                bool is_keyframe = (op & 7) == 5 ? i == 0 : (op & 7) == 6;
                world_unit(&w, track, is_keyframe, dts_us[track], cts_us, wall_us,
                           12 + (i * 977u) % 4000);
                dts_us[track] = (int64_t)((uint64_t)dts_us[track] + (uint64_t)step_us);
                wall_us += step_us;
            }
        }
        }
    }
    world_flush(&w);
    world_fini(&w);
    return 0;
}
