#include "dataplane/media/channel.h"

enum { DIGITS_MAX = 19 }; /* of numbers that fit 64 bits whatever their digits */

/* "TRACK" is what track names are made of: no dash and no dot, so that both separate. */
static bool is_track_name(struct bytes b)
{
    if (b.size == 0 || b.size > 15)
        return false;
    for (size_t i = 0; i < b.size; i++) {
        uint8_t c = b.ptr[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

/* A decimal number without leading zeros, so that each thing has one URL. */
static bool read_number(struct bytes b, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (b.size == 0 || b.size > DIGITS_MAX || (b.size > 1 && b.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < b.size; i++) {
        if (b.ptr[i] < '0' || b.ptr[i] > '9')
            return false;
        number = number * 10 + (uint64_t)(b.ptr[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* Cuts 'suffix' off the end of '*b'; false, '*b' untouched, when it does not end so. */
static bool cut_suffix(struct bytes *b, const char *suffix)
{
    size_t size = strlen(suffix);

    if (b->size < size || memcmp(b->ptr + b->size - size, suffix, size) != 0)
        return false;
    b->size -= size;
    return true;
}

/* Cuts '*head' at the first 'separator'; the rest goes to '*ret_tail'. */
static bool split_at(struct bytes *head, char separator, struct bytes *ret_tail)
{
    const uint8_t *at = head->size > 0 ? memchr(head->ptr, separator, head->size) : NULL;

    if (at == NULL)
        return false;
    size_t size = (size_t)(at - head->ptr);
    *ret_tail = bytes_from(*head, size + 1);
    head->size = size;
    return true;
}

static struct live_path parse_media(struct bytes rest)
{
    struct live_path path = {.kind = LIVE_SEGMENT, .track = rest};
    struct bytes number;
    struct bytes part_text;
    uint64_t part = 0;

    if (!split_at(&path.track, '-', &number))
        return (struct live_path){0};
    if (split_at(&number, '.', &part_text)) {
        path.kind = LIVE_PART;
        if (!read_number(part_text, &part) || part > UINT32_MAX)
            return (struct live_path){0};
        path.part = (uint32_t)part;
    }
    if (!is_track_name(path.track) || !read_number(number, &path.number))
        return (struct live_path){0};
    return path;
}

static struct live_path parse_init(struct bytes rest)
{
    struct live_path path = {.kind = LIVE_INIT, .track = rest};
    struct bytes tail;
    struct bytes number;

    if (!split_at(&path.track, '-', &tail) || !split_at(&tail, '-', &number) ||
        !bytes_equal_str(tail, "init") || !is_track_name(path.track) ||
        !read_number(number, &path.number))
        return (struct live_path){0};
    return path;
}

struct live_path live_path_parse(struct bytes path)
{
    struct bytes rest = path;

    if (bytes_equal_str(path, "index.m3u8"))
        return (struct live_path){.kind = LIVE_MULTIVARIANT};
    if (bytes_equal_str(path, "manifest.mpd"))
        return (struct live_path){.kind = LIVE_MPD};
    if (cut_suffix(&rest, ".m3u8"))
        return is_track_name(rest) ? (struct live_path){.kind = LIVE_PLAYLIST, .track = rest}
                                   : (struct live_path){0};
    if (cut_suffix(&rest, ".m4s"))
        return parse_media(rest);
    if (cut_suffix(&rest, ".mp4"))
        return parse_init(rest);
    return (struct live_path){0};
}
