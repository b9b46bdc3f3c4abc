/* A whole RTMP connection. The first byte says how: bit 0, the handshake has been done; bit 1, the
 * publish is refused; the high four bits, the size of the pieces that the rest comes in. */
#include <stdlib.h>

#include "common/check.h"
#include "common/counters.h"
#include "dataplane/rtmp/rtmp_session.h"

enum { MESSAGE_MAX = RTMP_COMMAND_MAX, HAS_SHAKEN = 1, IS_REFUSED = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t sum;

/* Reads every byte, so that a sanitizer can object. */
static void touch(struct bytes b)
{
    for (size_t i = 0; i < b.size; i++)
        sum = (uint8_t)(sum + b.ptr[i]);
}

static void on_send(void *user, struct bytes out)
{
    (void)user;
    touch(out);
}

static void on_publish(void *user, const struct rtmp_target *target, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    CHECK(strlen(target->name) > 0 && strlen(target->name) <= CHANNEL_NAME_MAX);
    CHECK(strlen(target->key) > 0 && strlen(target->key) <= STREAM_KEY_MAX);
}

static void on_unpublish(void *user, uint64_t now_us)
{
    (void)user;
    (void)now_us;
}

static int on_track(void *user, uint8_t track, const struct track_info *info, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    CHECK(track < TRACKS_MAX && info->config_size <= CODEC_CONFIG_MAX);
    CHECK(memchr(info->codec_string, '\0', sizeof(info->codec_string)) != NULL);
    return info->codec == CODEC_MP3 ? -1 : 0;
}

static int on_unit(void *user, const struct access_unit *au, uint64_t now_us)
{
    (void)user;
    (void)now_us;
    CHECK(au->track < TRACKS_MAX && au->data.size > 0);
    touch(au->data);
    return 0;
}

static void on_metadata(void *user, struct bytes name, struct bytes value)
{
    (void)user;
    touch(name);
    touch(value);
}

static uint64_t next_random(void *user)
{
    (void)user;
    return 0x0123456789abcdef;
}

static const struct rtmp_session_events events = {
    .send = on_send,
    .publish = on_publish,
    .unpublish = on_unpublish,
    .media = {.track = on_track, .unit = on_unit, .metadata = on_metadata},
};

static int settle(struct rtmp_session *s, int result, uint8_t options)
{
    while (result == 0 && s->state == RTMP_SESSION_ASKING) {
        if (options & IS_REFUSED) {
            rtmp_session_refuse(s, RTMP_REFUSED_KEY);
            return -1;
        }
        result = rtmp_session_grant(s, 0);
    }
    CHECK((result != 0) == (s->state == RTMP_SESSION_OVER));
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t hello[1 + 2 * RTMP_HANDSHAKE_SIZE] = {3};
    static uint8_t *memory;
    static struct rtmp_session s;
    static struct counters counters;
    struct rtmp_random random = {.next = next_random};
    int result = 0;

    if (size == 0)
        return 0;
    if (memory == NULL)
        memory = malloc((RTMP_PARTIAL_MAX + 1) * MESSAGE_MAX + RTMP_HOLD_SIZE);
    CHECK(memory != NULL);
    struct rtmp_session_memory buffers = {
        .hold = memory,
        .scratch = memory + RTMP_HOLD_SIZE,
        .slots = memory + RTMP_HOLD_SIZE + MESSAGE_MAX,
        .message_max = MESSAGE_MAX,
    };
    memset(&s, 0, sizeof(s));
    rtmp_session_init(&s, &events, NULL, &counters, &random, &buffers);

    uint8_t options = data[0];
    struct bytes rest = bytes_of(data + 1, size - 1);
    size_t step = options >> 4 == 0 ? rest.size : (size_t)1 << (options >> 4);
    if (options & HAS_SHAKEN)
        result = rtmp_session_push(&s, bytes_of(hello, sizeof(hello)), 0);
    while (result == 0 && rest.size > 0) {
        struct bytes piece = bytes_of(rest.ptr, rest.size < step ? rest.size : step);

        rest = bytes_from(rest, piece.size);
        result = settle(&s, rtmp_session_push(&s, piece, 0), options);
    }
    return 0;
}
