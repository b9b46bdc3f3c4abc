#include "dataplane/http/http_head.h"

#include <inttypes.h>

#include "dataplane/http/http_conditional.h"

static const char *const type_text[HTTP_TYPE_COUNT] = {
    [HTTP_TYPE_TEXT] = "text/plain; charset=utf-8",
    [HTTP_TYPE_HTML] = "text/html; charset=utf-8",
    [HTTP_TYPE_JSON] = "application/json",
    [HTTP_TYPE_METRICS] = "text/plain; version=0.0.4; charset=utf-8",
    [HTTP_TYPE_HLS] = "application/vnd.apple.mpegurl",
    [HTTP_TYPE_DASH] = "application/dash+xml",
    [HTTP_TYPE_MP4_VIDEO] = "video/mp4",
    [HTTP_TYPE_MP4_AUDIO] = "audio/mp4",
    [HTTP_TYPE_SCRIPT] = "text/javascript; charset=utf-8",
    [HTTP_TYPE_STYLE] = "text/css; charset=utf-8",
    [HTTP_TYPE_SVG] = "image/svg+xml",
    [HTTP_TYPE_PNG] = "image/png",
    [HTTP_TYPE_ICO] = "image/x-icon",
    [HTTP_TYPE_WOFF2] = "font/woff2",
    [HTTP_TYPE_WEBP] = "image/webp",
    [HTTP_TYPE_BYTES] = "application/octet-stream",
};

/* Everything from the own origin; workers and media from blobs, because players make both. */
static const char page_policy[] =
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; media-src 'self' blob:; "
    "worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n";

static const char allow_text[] = "GET, HEAD, OPTIONS";

enum { PREFLIGHT_MAX_AGE_S = 86400 };

const char *http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *reason;
    } table[] = {
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (table[i].status == status)
            return table[i].reason;
    return "Unknown";
}

static bool ends_with(struct bytes path, const char *ending)
{
    size_t size = strlen(ending);

    return path.size >= size && bytes_equal_str(bytes_from(path, path.size - size), ending);
}

enum http_type http_type_of_path(struct bytes path)
{
    static const struct {
        const char *ending;
        enum http_type type;
    } table[] = {
        {".html", HTTP_TYPE_HTML},        {".js", HTTP_TYPE_SCRIPT},   {".mjs", HTTP_TYPE_SCRIPT},
        {".css", HTTP_TYPE_STYLE},        {".json", HTTP_TYPE_JSON},   {".map", HTTP_TYPE_JSON},
        {".svg", HTTP_TYPE_SVG},          {".png", HTTP_TYPE_PNG},     {".ico", HTTP_TYPE_ICO},
        {".webp", HTTP_TYPE_WEBP},        {".woff2", HTTP_TYPE_WOFF2}, {".txt", HTTP_TYPE_TEXT},
        {".webmanifest", HTTP_TYPE_JSON},
    };

    for (size_t i = 0; i < ARRAY_COUNT(table); i++)
        if (ends_with(path, table[i].ending))
            return table[i].type;
    return HTTP_TYPE_BYTES;
}

static void write_cache_control(struct writer *w, const struct http_head *head)
{
    switch ((enum http_cache)head->cache) {
    case HTTP_CACHE_NO_STORE:
        writer_str(w, "Cache-Control: no-store\r\n");
        break;
    case HTTP_CACHE_REVALIDATE:
        writer_str(w, "Cache-Control: no-cache\r\n");
        break;
    case HTTP_CACHE_MAX_AGE:
        writer_printf(w, "Cache-Control: public, max-age=%" PRIu32 "\r\n", head->max_age_s);
        break;
    case HTTP_CACHE_IMMUTABLE:
        writer_printf(w, "Cache-Control: public, max-age=%" PRIu32 ", immutable\r\n",
                      head->max_age_s);
        break;
    }
}

static void write_cors(struct writer *w, const struct http_head *head, const char *origin)
{
    if (origin[0] == '\0')
        return;
    writer_printf(w, "Access-Control-Allow-Origin: %s\r\n", origin);
    if (strcmp(origin, "*") != 0)
        writer_str(w, "Vary: Origin\r\n");
    if ((head->flags & HTTP_HEAD_PREFLIGHT) != 0) {
        writer_printf(w,
                      "Access-Control-Allow-Methods: %s\r\n"
                      "Access-Control-Allow-Headers: Range, If-Match, If-None-Match, If-Range, "
                      "Cache-Control, Content-Type\r\n"
                      "Access-Control-Max-Age: %d\r\n",
                      allow_text, PREFLIGHT_MAX_AGE_S);
        return;
    }
    writer_printf(w,
                  "Access-Control-Expose-Headers: Accept-Ranges, Age, Cache-Control, "
                  "Content-Length, Content-Range, Date, ETag, Retry-After\r\n"
                  "Timing-Allow-Origin: %s\r\n",
                  origin);
}

static void write_framing(struct writer *w, const struct http_head *head)
{
    if ((head->flags & HTTP_HEAD_CHUNKED) != 0)
        writer_str(w, "Transfer-Encoding: chunked\r\n");
    else if ((head->flags & HTTP_HEAD_NO_LENGTH) == 0)
        writer_printf(w, "Content-Length: %" PRIu64 "\r\n", head->content_length);
    if (head->status == 206)
        writer_printf(w, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                      head->range_first, head->range_first + head->content_length - 1,
                      head->whole_size);
    if (head->status == 416)
        writer_printf(w, "Content-Range: bytes */%" PRIu64 "\r\n", head->whole_size);
    if ((head->flags & HTTP_HEAD_ENCODINGS) != 0)
        writer_str(w, "Vary: Accept-Encoding\r\n");
    if ((head->flags & HTTP_HEAD_GZIP) != 0)
        writer_str(w, "Content-Encoding: gzip\r\n");
    if ((head->flags & HTTP_HEAD_RANGES) != 0)
        writer_str(w, "Accept-Ranges: bytes\r\n");
    if ((head->flags & HTTP_HEAD_CLOSE) != 0)
        writer_str(w, "Connection: close\r\n");
    else if ((head->flags & HTTP_HEAD_KEEP_ALIVE) != 0)
        writer_str(w, "Connection: keep-alive\r\n");
}

void http_head_write(struct writer *w, const struct http_head *head,
                     const struct http_head_context *context)
{
    DCHECK(head->type < HTTP_TYPE_COUNT);

    writer_printf(w, "HTTP/1.1 %u %s\r\nDate: %s\r\nServer: leat\r\n", (unsigned)head->status,
                  http_reason(head->status), context->date);
    if (type_text[head->type] != NULL)
        writer_printf(w, "Content-Type: %s\r\nX-Content-Type-Options: nosniff\r\n",
                      type_text[head->type]);
    write_framing(w, head);
    write_cache_control(w, head);
    if (head->etag != 0) {
        uint8_t etag[HTTP_ETAG_SIZE];
        http_etag_write(head->etag, etag);
        writer_str(w, "ETag: ");
        writer_put(w, bytes_of(etag, sizeof(etag)));
        writer_str(w, "\r\n");
    }
    if (head->retry_after_s != 0)
        writer_printf(w, "Retry-After: %u\r\n", (unsigned)head->retry_after_s);
    if ((head->flags & HTTP_HEAD_ALLOW) != 0)
        writer_printf(w, "Allow: %s\r\n", allow_text);
    if ((head->flags & HTTP_HEAD_MEDIA) != 0)
        write_cors(w, head, context->cors_origin);
    if (head->type == HTTP_TYPE_HTML)
        writer_str(w, page_policy);
    writer_str(w, "\r\n");
}
