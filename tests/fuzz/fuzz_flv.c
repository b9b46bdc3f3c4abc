/* A run of audio and video messages into one publish: FLV and Enhanced RTMP envelopes, and what
 * becomes of their payloads. Each message: a byte (bit 0: video; the rest: milliseconds since the
 * last), two bytes of size, the body. */
#include <stdlib.h>

#include "common/check.h"
#include "common/counters.h"
#include "common/cursor.h"
#include "dataplane/rtmp/rtmp_media.h"

enum { SCRATCH_SIZE = 4096 }; /* small, so that rewriting runs out of it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum codec codecs[TRACKS_MAX];

static int on_track(void *user, uint8_t track, const struct track_info *info, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    CHECK(track < TRACKS_MAX && info->config_size <= CODEC_CONFIG_MAX);
    CHECK(info->kind == (track % 2 == 0 ? MEDIA_VIDEO : MEDIA_AUDIO));
    if (info->kind == MEDIA_VIDEO)
        CHECK(info->width > 0 && info->height > 0);
    else
        CHECK(info->sample_rate_hz > 0 && info->channel_count > 0);
    codecs[track] = info->codec;
    return 0;
}

/* H.264 and HEVC must come out as NAL units with 4-byte lengths, none of them empty. */
static int on_unit(void *user, const struct access_unit *au, uint64_t now_us)
{
    struct cursor c = cursor_of(au->data);

    (void)user;
    (void)now_us;
    CHECK(au->track < TRACKS_MAX && au->data.size > 0);
    if (codecs[au->track] != CODEC_H264 && codecs[au->track] != CODEC_HEVC)
        return 0;
    while (cursor_left(&c) > 0) {
        uint32_t nal_bytes = cursor_be32(&c);

        CHECK(nal_bytes > 0);
        cursor_skip(&c, nal_bytes);
    }
    CHECK(cursor_is_ok(&c));
    return 0;
}

static const struct media_sink sink = {.track = on_track, .unit = on_unit};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t scratch[SCRATCH_SIZE];
    static struct rtmp_media media;
    static struct counters counters;
    struct cursor c = cursor_of(bytes_of(data, size));
    uint32_t timestamp_ms = 0xffffff00; /* about to wrap */

    rtmp_media_init(&media, &sink, NULL, &counters, scratch, sizeof(scratch));
    while (cursor_left(&c) >= 3) {
        uint8_t head = cursor_u8(&c);
        size_t body_bytes = cursor_be16(&c);

        if (body_bytes > cursor_left(&c))
            body_bytes = cursor_left(&c);
        struct bytes body = cursor_take(&c, body_bytes);
        uint8_t *copy = malloc(body.size + 1); /* a read past the body is seen */
        CHECK(copy != NULL);
        if (body.size > 0)
            memcpy(copy, body.ptr, body.size);
        timestamp_ms += head >> 1;
        rtmp_media_push(&media, head & 1 ? MEDIA_VIDEO : MEDIA_AUDIO, timestamp_ms,
                        bytes_of(copy, body.size), 0);
        free(copy);
    }
    return 0;
}
