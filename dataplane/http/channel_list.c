#include "dataplane/http/channel_list.h"

#include <inttypes.h>

#include "common/check.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/http_conn.h"
#include "dataplane/http/http_text.h"
#include "dataplane/store/store.h"

enum {
    ENTRY_BYTES_MAX = 1536, /* of one channel, with all its tracks */
    ATTRIBUTE_MAX = 256
};

struct listing {
    struct http_text *text;
    bool has_entries;
    bool is_truncated;
};

static bool is_plain(struct bytes value)
{
    for (size_t i = 0; i < value.size; i++)
        if (value.ptr[i] < 0x20 || value.ptr[i] >= 0x7f || value.ptr[i] == '"' ||
            value.ptr[i] == '\\')
            return false;
    return value.size <= ATTRIBUTE_MAX;
}

static const uint8_t *find(struct bytes in, struct bytes what)
{
    return in.size == 0 ? NULL : memmem(in.ptr, in.size, what.ptr, what.size);
}

struct bytes channel_list_attribute(struct bytes playlist, const char *name)
{
    static const char tag[] = "#EXT-X-STREAM-INF:";
    const uint8_t *start = find(playlist, bytes_of(tag, sizeof(tag) - 1));

    if (start == NULL)
        return (struct bytes){0};
    struct bytes line = bytes_from(playlist, (size_t)(start - playlist.ptr) + sizeof(tag) - 1);
    const uint8_t *end = find(line, bytes_of_str("\n"));
    if (end != NULL)
        line.size = (size_t)(end - line.ptr);

    /* NAME=value or NAME="value", separated by commas outside quotes (RFC 8216 4.2). */
    while (line.size > 0) {
        const uint8_t *equals = find(line, bytes_of_str("="));
        if (equals == NULL)
            break;
        struct bytes key = bytes_of(line.ptr, (size_t)(equals - line.ptr));
        struct bytes value = bytes_from(line, key.size + 1);
        bool is_quoted = value.size > 0 && value.ptr[0] == '"';
        if (is_quoted)
            value = bytes_from(value, 1);
        const uint8_t *stop = find(value, bytes_of_str(is_quoted ? "\"" : ","));
        struct bytes text = value;
        if (stop != NULL)
            text.size = (size_t)(stop - value.ptr);
        if (bytes_equal_str(key, name))
            return is_plain(text) ? text : (struct bytes){0};
        line = bytes_from(value, text.size + (is_quoted ? 2 : 1));
    }
    return (struct bytes){0};
}

static void write_attribute(struct http_text *t, const char *key, struct bytes value)
{
    if (value.size > 0)
        http_text_printf(t, ",\"%s\":\"%.*s\"", key, (int)value.size, (const char *)value.ptr);
}

static const char *kind_name(enum media_kind kind)
{
    switch (kind) {
    case MEDIA_VIDEO:
        return "video";
    case MEDIA_AUDIO:
        return "audio";
    case MEDIA_NONE:
        break;
    }
    return "none";
}

static bool is_audio_codec(struct bytes codec)
{
    static const char *const audio[] = {"mp4a", "Opus", "opus", "ac-3", "ec-3", "fLaC"};

    for (size_t i = 0; i < ARRAY_COUNT(audio); i++)
        if (codec.size >= 4 && memcmp(codec.ptr, audio[i], 4) == 0)
            return true;
    return false;
}

/* The first codec of 'kind' in a CODECS value; empty: none. */
static struct bytes codec_of(struct bytes codecs, enum media_kind kind)
{
    struct bytes codec;

    while (http_list_next(&codecs, &codec))
        if (is_audio_codec(codec) == (kind == MEDIA_AUDIO))
            return codec;
    return (struct bytes){0};
}

/* The playlist's first variant tells codec and size of the first track of each kind; of the
 * others only their names are known here. */
static void list_track(struct http_text *t, const struct track_snapshot *track, bool is_first,
                       struct bytes codecs, struct bytes resolution)
{
    http_text_printf(t, "{\"name\":\"%s\",\"kind\":\"%s\"", track->name, kind_name(track->kind));
    if (is_first) {
        uint64_t width;
        uint64_t height;
        write_attribute(t, "codec", codec_of(codecs, track->kind));
        const uint8_t *x = find(resolution, bytes_of_str("x"));
        if (track->kind == MEDIA_VIDEO && x != NULL &&
            http_number_parse(bytes_of(resolution.ptr, (size_t)(x - resolution.ptr)), &width) &&
            http_number_parse(bytes_from(resolution, (size_t)(x - resolution.ptr) + 1), &height))
            http_text_printf(t, ",\"width\":%" PRIu64 ",\"height\":%" PRIu64, width, height);
    }
    http_text_printf(t, "}");
}

/* Channel and track names are [A-Za-z0-9_-]: nothing in them needs escaping. */
static void list_channel(void *user, const char *name, const struct channel_snapshot *s)
{
    struct listing *listing = user;
    struct http_text *t = listing->text;
    struct bytes codecs = {0};
    struct bytes resolution = {0};
    bool is_kind_seen[MEDIA_AUDIO + 1] = {false};

    if (http_text_room(t) < 2 * ENTRY_BYTES_MAX) {
        listing->is_truncated = true;
        return;
    }
    if (s->multivariant != NULL) {
        struct bytes playlist =
            bytes_of(object_data(s->multivariant), object_size(s->multivariant));
        codecs = channel_list_attribute(playlist, "CODECS");
        resolution = channel_list_attribute(playlist, "RESOLUTION");
    }
    http_text_printf(t, "%s{\"name\":\"%s\",\"is_live\":%s", listing->has_entries ? "," : "", name,
                     s->is_live ? "true" : "false");
    listing->has_entries = true;
    write_attribute(t, "codecs", codecs);
    http_text_printf(t, ",\"tracks\":[");
    for (uint32_t i = 0; i < s->track_count; i++) {
        const struct track_snapshot *track = &s->tracks[i];
        if (i > 0)
            http_text_printf(t, ",");
        list_track(t, track, !is_kind_seen[track->kind], codecs, resolution);
        is_kind_seen[track->kind] = true;
    }
    http_text_printf(t, "]}");
}

void channel_list_route(struct http_conn *c)
{
    struct listing listing = {.text = http_text_take(c->server)};
    struct http_head head = {
        .type = HTTP_TYPE_JSON,
        .cache = HTTP_CACHE_MAX_AGE,
        .max_age_s = 1,
        .flags = HTTP_HEAD_MEDIA,
    };

    if (listing.text != NULL) {
        http_text_printf(listing.text, "{\"channels\":[");
        channels_each(c->server->channels, list_channel, &listing);
        http_text_printf(listing.text, "]%s}\n",
                         listing.is_truncated ? ",\"is_truncated\":true" : "");
    }
    http_text_reply(listing.text, c, &head);
}
