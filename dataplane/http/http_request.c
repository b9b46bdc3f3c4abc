#include "dataplane/http/http_request.h"

#include <errno.h>

#include "common/check.h"

/* Longest request line around the target: a method, two blanks, the version. */
enum { REQUEST_LINE_EXTRA_MAX = 32, METHOD_MAX = 16 };

/* What a byte may be part of. */
enum char_class {
    CHAR_TOKEN = 1 << 0,  /* RFC 9110 5.6.2 */
    CHAR_VALUE = 1 << 1,  /* of a field: VCHAR, obs-text, blank, tab (RFC 9110 5.5) */
    CHAR_TARGET = 1 << 2, /* visible ASCII without '#': what URLs are made of, generously */
    CHAR_HOST = 1 << 3    /* RFC 3986 3.2.2, with port; no userinfo */
};

/* clang-format off */
static const uint8_t char_classes[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0, /* 0x00 */
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* 0x10 */
     2, 15,  6,  3, 15, 15, 15, 15, 14, 14, 15, 15, 14, 15, 15,  6, /* 0x20 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14, 14,  6, 14,  6,  6, /* 0x30 */
     6, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 0x40 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 14,  6, 14,  7, 15, /* 0x50 */
     7, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, /* 0x60 */
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,  6,  7,  6, 15,  0, /* 0x70 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0x80 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0x90 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xa0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xb0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xc0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xd0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xe0 */
     2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2, /* 0xf0 */
};
/* clang-format on */

/* Whether all of 'b' is of 'class'. */
static bool all_are(struct bytes b, enum char_class class)
{
    uint8_t common = (uint8_t) class;

    for (size_t i = 0; i < b.size; i++)
        common &= char_classes[b.ptr[i]];
    return common != 0;
}

static bool is_token(struct bytes b)
{
    return b.size > 0 && all_are(b, CHAR_TOKEN);
}

static uint8_t to_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool http_token_equal(struct bytes a, const char *b)
{
    size_t size = strlen(b);

    if (a.size != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if (to_lower(a.ptr[i]) != to_lower((uint8_t)b[i]))
            return false;
    return true;
}

struct bytes http_trim(struct bytes text)
{
    while (text.size > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
        text = bytes_of(text.ptr + 1, text.size - 1);
    while (text.size > 0 && (text.ptr[text.size - 1] == ' ' || text.ptr[text.size - 1] == '\t'))
        text.size--;
    return text;
}

/* The bytes of '*b' before 'separator'; '*b' then starts after it. All of '*b', which becomes
 * empty, when it holds none. */
static struct bytes split_at(struct bytes *b, uint8_t separator)
{
    struct bytes all = *b;
    const uint8_t *at = all.size > 0 ? memchr(all.ptr, separator, all.size) : NULL;

    if (at == NULL) {
        *b = (struct bytes){0};
        return all;
    }
    size_t size = (size_t)(at - all.ptr);
    *b = bytes_from(all, size + 1);
    return bytes_of(all.ptr, size);
}

bool http_list_next(struct bytes *list, struct bytes *ret_element)
{
    while (list->size > 0) {
        struct bytes element = http_trim(split_at(list, ','));
        if (element.size > 0) {
            *ret_element = element;
            return true;
        }
    }
    return false;
}

bool http_number_parse(struct bytes text, uint64_t *ret_number)
{
    uint64_t number = 0;

    if (text.size == 0)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(text.ptr[i] - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *ret_number = number;
    return true;
}

bool http_query_find(struct bytes query, const char *name, struct bytes *ret_value)
{
    while (query.size > 0) {
        struct bytes value = split_at(&query, '&');
        struct bytes key = split_at(&value, '=');
        if (bytes_equal_str(key, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* "q=0", "q=0.0" and so on: not wanted at all. */
static bool is_weight_zero(struct bytes parameters)
{
    while (parameters.size > 0) {
        struct bytes value = http_trim(split_at(&parameters, ';'));
        struct bytes name = split_at(&value, '=');
        if (!http_token_equal(name, "q"))
            continue;
        for (size_t i = 0; i < value.size; i++)
            if (value.ptr[i] != '0' && value.ptr[i] != '.')
                return false;
        return true;
    }
    return false;
}

bool http_accepts_coding(struct bytes accept_encoding, const char *coding)
{
    struct bytes element;
    bool is_any_accepted = false;

    while (http_list_next(&accept_encoding, &element)) {
        struct bytes parameters = element;
        struct bytes name = http_trim(split_at(&parameters, ';'));
        if (http_token_equal(name, coding))
            return !is_weight_zero(parameters);
        if (bytes_equal_str(name, "*"))
            is_any_accepted = !is_weight_zero(parameters);
    }
    return is_any_accepted;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = to_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int http_percent_decode(struct bytes text, uint8_t *out, size_t out_size)
{
    size_t written = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.ptr[i];
        if (c == '%') {
            if (text.size - i < 3)
                return -EINVAL;
            int high = hex_value(text.ptr[i + 1]);
            int low = hex_value(text.ptr[i + 2]);
            if (high < 0 || low < 0)
                return -EINVAL;
            c = (uint8_t)(high << 4 | low);
            if (c < 0x20 || c == 0x7f || c == '/')
                return -EINVAL;
            i += 2;
        }
        if (written == out_size)
            return -ENOSPC;
        out[written++] = c;
    }
    return (int)written;
}

/* RFC 3986 5.2.4 in place, on an absolute path. Climbing above the root is refused there, not
 * ignored: nobody does it by mistake. */
static int remove_dot_segments(uint8_t *path, size_t *size)
{
    size_t out = 0;
    size_t in = 0;

    while (in < *size) { /* path[in] is '/' */
        size_t end = in + 1;
        while (end < *size && path[end] != '/')
            end++;
        struct bytes segment = bytes_of(path + in + 1, end - in - 1);
        bool is_last = end == *size;
        if (bytes_equal_str(segment, "..")) {
            if (out == 0)
                return -EINVAL;
            while (path[--out] != '/')
                ;
            if (is_last)
                path[out++] = '/';
        } else if (bytes_equal_str(segment, ".")) {
            if (is_last)
                path[out++] = '/';
        } else {
            memmove(path + out, path + in, end - in);
            out += end - in;
        }
        in = end;
    }
    *size = out;
    return 0;
}

int http_head_scan(struct http_head_scan *scan, struct bytes in, size_t head_max, size_t *ret_size)
{
    size_t end = in.size < head_max ? in.size : head_max;

    *ret_size = 0;
    if (end > 0 && (char_classes[in.ptr[0]] & CHAR_TOKEN) == 0)
        return 400; /* not HTTP at all: say so now, not after a timeout */
    while (scan->scanned < end) {
        const uint8_t *feed = memchr(in.ptr + scan->scanned, '\n', end - scan->scanned);
        size_t line_end = feed != NULL ? (size_t)(feed - in.ptr) : end;
        if (scan->line_count == 0 && line_end > HTTP_TARGET_MAX + REQUEST_LINE_EXTRA_MAX)
            return 414;
        scan->scanned = (uint32_t)line_end;
        if (feed == NULL)
            break;
        if (line_end == 0 || in.ptr[line_end - 1] != '\r')
            return 400;
        bool is_empty = line_end - 1 == scan->line_start;
        scan->scanned = (uint32_t)line_end + 1;
        scan->line_start = scan->scanned;
        scan->line_count++;
        if (is_empty) {
            *ret_size = scan->scanned;
            return 0;
        }
    }
    return in.size >= head_max ? 431 : 0;
}

static int parse_method(struct bytes name, enum http_method *ret_method)
{
    static const char *const others[] = {"POST",    "PUT",   "DELETE", "PATCH",
                                         "CONNECT", "TRACE", NULL};

    if (!is_token(name) || name.size > METHOD_MAX)
        return 400;
    if (bytes_equal_str(name, "GET")) {
        *ret_method = HTTP_GET;
        return 0;
    }
    if (bytes_equal_str(name, "HEAD")) {
        *ret_method = HTTP_HEAD;
        return 0;
    }
    if (bytes_equal_str(name, "OPTIONS")) {
        *ret_method = HTTP_OPTIONS;
        return 0;
    }
    *ret_method = HTTP_OTHER;
    for (size_t i = 0; others[i] != NULL; i++)
        if (bytes_equal_str(name, others[i]))
            return 0;
    return 501; /* RFC 9110 15.6.2 */
}

/* RFC 9112 2.3. Any later 1.x is spoken to as 1.1 (RFC 9110 2.5). */
static int parse_version(struct bytes text, bool *ret_is_1_0)
{
    if (text.size != 8 || memcmp(text.ptr, "HTTP/", 5) != 0 || text.ptr[6] != '.' ||
        text.ptr[5] < '0' || text.ptr[5] > '9' || text.ptr[7] < '0' || text.ptr[7] > '9')
        return 400;
    if (text.ptr[5] != '1')
        return 505;
    *ret_is_1_0 = text.ptr[7] == '0';
    return 0;
}

/* Takes scheme and authority off an absolute-form target (RFC 9112 3.2.2). */
static int strip_authority(struct bytes *target)
{
    static const char *const schemes[] = {"http://", "https://", NULL};

    for (size_t i = 0; schemes[i] != NULL; i++) {
        size_t size = strlen(schemes[i]);
        if (target->size <= size || !http_token_equal(bytes_of(target->ptr, size), schemes[i]))
            continue;
        struct bytes rest = bytes_from(*target, size);
        size_t host_size = 0;
        while (host_size < rest.size && rest.ptr[host_size] != '/' && rest.ptr[host_size] != '?')
            host_size++;
        if (host_size == 0)
            return 400;
        *target = bytes_from(rest, host_size);
        return 0;
    }
    return 400;
}

static int parse_target(struct bytes target, struct http_request *r)
{
    if (target.size > HTTP_TARGET_MAX)
        return 414;
    if (target.size == 0)
        return 400;
    if (!all_are(target, CHAR_TARGET))
        return 400;
    if (bytes_equal_str(target, "*")) {
        r->is_asterisk = true;
        return r->method == HTTP_OPTIONS ? 0 : 400;
    }
    if (r->method == HTTP_OTHER && target.ptr[0] != '/')
        return 0; /* CONNECT's authority-form among others: refused by its method */
    if (target.ptr[0] != '/') {
        int status = strip_authority(&target);
        if (status != 0)
            return status;
    }

    struct bytes raw_path = split_at(&target, '?');
    r->query = target;
    if (raw_path.size == 0) /* "http://host" and "http://host?query" */
        raw_path = bytes_of_str("/");
    int size = http_percent_decode(raw_path, r->path_buffer, sizeof(r->path_buffer));
    if (size < 0)
        return 400;
    size_t path_size = (size_t)size;
    if (remove_dot_segments(r->path_buffer, &path_size) < 0)
        return 400;
    r->path = bytes_of(r->path_buffer, path_size);
    return 0;
}

/* What has been seen of the fields that may come only once. */
struct field_state {
    bool has_host;
    bool has_length;
    bool has_encoding;
    bool has_range;
    bool has_if_range;
    bool has_if_match;
    bool has_if_none_match;
    bool has_accept_encoding;
    bool says_close;
    bool says_keep_alive;
};

static int read_transfer_encoding(struct bytes value, struct http_request *r)
{
    struct bytes coding;

    while (http_list_next(&value, &coding)) {
        if (r->has_chunked_body)
            return 400; /* chunked must be last, and once (RFC 9112 6.1) */
        if (!http_token_equal(coding, "chunked"))
            return 501;
        r->has_chunked_body = true;
    }
    return r->has_chunked_body ? 0 : 400;
}

static void read_connection(struct bytes value, struct field_state *f)
{
    struct bytes option;

    while (http_list_next(&value, &option)) {
        f->says_close |= http_token_equal(option, "close");
        f->says_keep_alive |= http_token_equal(option, "keep-alive");
    }
}

/* Keeps a field that is only of use when sent once; a second one makes it absent. */
static void read_single(struct bytes value, bool *seen, struct bytes *ret_value)
{
    *ret_value = *seen ? (struct bytes){0} : value;
    *seen = true;
}

/* The fields that mean something here. */
enum field {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONNECTION,
    FIELD_EXPECT,
    FIELD_RANGE,
    FIELD_IF_RANGE,
    FIELD_IF_MATCH,
    FIELD_IF_NONE_MATCH,
    FIELD_ACCEPT_ENCODING
};

static enum field field_if(struct bytes name, const char *wanted, enum field field)
{
    return http_token_equal(name, wanted) ? field : FIELD_OTHER;
}

/* By size first: most fields of a browser's request then need no comparison. */
static enum field field_of(struct bytes name)
{
    switch (name.size) {
    case 4:
        return field_if(name, "host", FIELD_HOST);
    case 5:
        return field_if(name, "range", FIELD_RANGE);
    case 6:
        return field_if(name, "expect", FIELD_EXPECT);
    case 8:
        return to_lower(name.ptr[3]) == 'r' ? field_if(name, "if-range", FIELD_IF_RANGE)
                                            : field_if(name, "if-match", FIELD_IF_MATCH);
    case 10:
        return field_if(name, "connection", FIELD_CONNECTION);
    case 13:
        return field_if(name, "if-none-match", FIELD_IF_NONE_MATCH);
    case 14:
        return field_if(name, "content-length", FIELD_CONTENT_LENGTH);
    case 15:
        return field_if(name, "accept-encoding", FIELD_ACCEPT_ENCODING);
    case 17:
        return field_if(name, "transfer-encoding", FIELD_TRANSFER_ENCODING);
    default:
        return FIELD_OTHER;
    }
}

static int read_field(struct bytes name, struct bytes value, struct field_state *f,
                      struct http_request *r)
{
    switch (field_of(name)) {
    case FIELD_OTHER:
        break;
    case FIELD_HOST: /* RFC 9112 3.2: exactly one, well formed */
        if (f->has_host || !all_are(value, CHAR_HOST))
            return 400;
        f->has_host = true;
        r->host = value;
        break;
    case FIELD_CONTENT_LENGTH:
        if (f->has_length || !http_number_parse(value, &r->body_bytes))
            return 400;
        f->has_length = true;
        break;
    case FIELD_TRANSFER_ENCODING:
        f->has_encoding = true;
        return read_transfer_encoding(value, r);
    case FIELD_CONNECTION:
        read_connection(value, f);
        break;
    case FIELD_EXPECT:
        if (!http_token_equal(value, "100-continue"))
            return 417;
        r->expects_continue = true;
        break;
    case FIELD_RANGE:
        read_single(value, &f->has_range, &r->range);
        break;
    case FIELD_IF_RANGE:
        read_single(value, &f->has_if_range, &r->if_range);
        break;
    case FIELD_IF_MATCH:
        read_single(value, &f->has_if_match, &r->if_match);
        break;
    case FIELD_IF_NONE_MATCH:
        read_single(value, &f->has_if_none_match, &r->if_none_match);
        break;
    case FIELD_ACCEPT_ENCODING:
        read_single(value, &f->has_accept_encoding, &r->accept_encoding);
        break;
    }
    return 0;
}

/* RFC 9112 5: no blank before the colon, no folding, no control characters in the value. */
static int parse_field(struct bytes line, struct field_state *f, struct http_request *r)
{
    if (memchr(line.ptr, ':', line.size) == NULL)
        return 400;
    struct bytes value = line;
    struct bytes name = split_at(&value, ':');
    if (!is_token(name)) /* catches a leading blank too: obs-fold */
        return 400;
    value = http_trim(value);
    if (!all_are(value, CHAR_VALUE))
        return 400;
    return read_field(name, value, f, r);
}

/* Takes the next line without its CRLF; the head was delimited, so there is one. */
static struct bytes take_line(struct bytes *head)
{
    struct bytes line = split_at(head, '\n');

    CHECK(line.size > 0 && line.ptr[line.size - 1] == '\r');
    line.size--;
    return line;
}

static int parse_request_line(struct bytes line, struct http_request *r)
{
    struct bytes rest = line;
    struct bytes method = split_at(&rest, ' ');
    struct bytes target = split_at(&rest, ' ');

    int status = parse_version(rest, &r->is_http_1_0);
    if (status != 0)
        return status;
    status = parse_method(method, &r->method);
    if (status != 0)
        return status;
    return parse_target(target, r);
}

/* What only all fields together tell. */
static int check_framing(const struct field_state *f, struct http_request *r)
{
    if (!r->is_http_1_0 && !f->has_host)
        return 400;
    if (f->has_encoding && (f->has_length || r->is_http_1_0))
        return 400; /* RFC 9112 6.1: the classic smuggling attempts */
    r->is_keep_alive = r->is_http_1_0 ? f->says_keep_alive && !f->says_close : !f->says_close;
    if (r->is_http_1_0)
        r->expects_continue = false; /* RFC 9110 10.1.1 */
    if (r->body_bytes == 0 && !r->has_chunked_body)
        r->expects_continue = false;
    return 0;
}

int http_request_parse(struct bytes head, struct http_request *ret)
{
    struct field_state fields = {0};
    unsigned field_count = 0;

    /* Everything but the path buffer, which parse_target() fills as far as it is used. */
    memset(ret, 0, offsetof(struct http_request, path_buffer));
    int status = parse_request_line(take_line(&head), ret);
    if (status != 0)
        return status;
    for (;;) {
        struct bytes line = take_line(&head);
        if (line.size == 0)
            break;
        if (++field_count > HTTP_FIELDS_MAX)
            return 431;
        status = parse_field(line, &fields, ret);
        if (status != 0)
            return status;
    }
    return check_framing(&fields, ret);
}
