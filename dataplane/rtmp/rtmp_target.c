#include "dataplane/rtmp/rtmp_target.h"

#include <errno.h>

static const char our_app[] = "live";

/* Splits at the first 'separator', which belongs to neither; without one all is '*ret_before'. */
static void split(struct bytes text, char separator, struct bytes *ret_before,
                  struct bytes *ret_after)
{
    const uint8_t *at = text.size > 0 ? memchr(text.ptr, separator, text.size) : NULL;
    size_t before = at != NULL ? (size_t)(at - text.ptr) : text.size;

    *ret_after = bytes_from(text, before + 1);
    *ret_before = bytes_of(text.ptr, before);
}

static struct bytes trim_slashes(struct bytes path)
{
    while (path.size > 0 && path.ptr[0] == '/')
        path = bytes_from(path, 1);
    while (path.size > 0 && path.ptr[path.size - 1] == '/')
        path.size--;
    return path;
}

/* The path of 'app', split into the application and what may follow it. */
static bool split_app(struct bytes app, struct bytes *ret_query, struct bytes *ret_rest)
{
    struct bytes path;
    struct bytes first;

    split(app, '?', &path, ret_query);
    split(trim_slashes(path), '/', &first, ret_rest);
    *ret_rest = trim_slashes(*ret_rest);
    return bytes_equal_str(first, our_app);
}

bool rtmp_target_is_app(struct bytes app)
{
    struct bytes query;
    struct bytes rest;

    return split_app(app, &query, &rest);
}

static bool find_key(struct bytes query, struct bytes *ret_key)
{
    while (query.size > 0) {
        struct bytes pair;
        struct bytes name;

        split(query, '&', &pair, &query);
        split(pair, '=', &name, ret_key);
        if (bytes_equal_str(name, "key"))
            return true;
    }
    return false;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding (RFC 3986 section 2.1); a % that starts none stands for itself. */
static bool copy_key(struct bytes text, char out[static STREAM_KEY_MAX + 1])
{
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.ptr[i];

        if (c == '%' && text.size - i > 2) {
            int high = hex_digit(text.ptr[i + 1]);
            int low = hex_digit(text.ptr[i + 2]);

            if (high >= 0 && low >= 0) {
                c = (uint8_t)(high << 4 | low);
                i += 2;
            }
        }
        if (c == '\0' || size == STREAM_KEY_MAX)
            return false;
        out[size++] = (char)c;
    }
    out[size] = '\0';
    return size > 0;
}

static bool is_name(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.ptr[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            c != '_' && c != '-')
            return false;
    }
    return name.size > 0 && name.size <= CHANNEL_NAME_MAX;
}

int rtmp_target_parse(struct bytes app, struct bytes tc_url, struct bytes stream,
                      struct rtmp_target *ret_target)
{
    struct rtmp_target target;
    struct bytes app_query;
    struct bytes url_path;
    struct bytes url_query;
    struct bytes stream_query;
    struct bytes app_rest;
    struct bytes path;
    struct bytes key;

    if (!split_app(app, &app_query, &app_rest))
        return -EINVAL;
    split(tc_url, '?', &url_path, &url_query);
    split(stream, '?', &path, &stream_query);
    path = trim_slashes(path);

    bool has_key =
        find_key(stream_query, &key) || find_key(app_query, &key) || find_key(url_query, &key);
    struct bytes name = path;
    if (app_rest.size > 0) {
        name = app_rest;
        if (!has_key) {
            key = path;
            has_key = true;
        }
    }
    if (!is_name(name) || !bytes_to_str(name, target.name, sizeof(target.name)))
        return -EINVAL;
    if (!has_key || !copy_key(key, target.key))
        return -EACCES;
    *ret_target = target;
    return 0;
}
