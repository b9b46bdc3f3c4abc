/* http_head.h - response heads, rendered from a small description that can also key a cache. */
#ifndef DATAPLANE_HTTP_HTTP_HEAD_H
#define DATAPLANE_HTTP_HTTP_HEAD_H

#include "common/check.h"
#include "common/writer.h"

enum http_type {
    HTTP_TYPE_NONE,
    HTTP_TYPE_TEXT,
    HTTP_TYPE_HTML,
    HTTP_TYPE_JSON,
    HTTP_TYPE_METRICS, /* Prometheus text exposition 0.0.4 */
    HTTP_TYPE_HLS,
    HTTP_TYPE_DASH,
    HTTP_TYPE_MP4_VIDEO,
    HTTP_TYPE_MP4_AUDIO,
    HTTP_TYPE_SCRIPT,
    HTTP_TYPE_STYLE,
    HTTP_TYPE_SVG,
    HTTP_TYPE_PNG,
    HTTP_TYPE_ICO,
    HTTP_TYPE_WOFF2,
    HTTP_TYPE_WEBP,
    HTTP_TYPE_BYTES,
    HTTP_TYPE_COUNT
};

enum http_cache {
    HTTP_CACHE_NO_STORE,
    HTTP_CACHE_REVALIDATE, /* no-cache: kept, but asked about before each use */
    HTTP_CACHE_MAX_AGE,    /* max_age_s */
    HTTP_CACHE_IMMUTABLE   /* max_age_s, and never asked about in that time */
};

enum http_head_flags {
    HTTP_HEAD_CHUNKED = 1 << 0,    /* body in chunks; content_length does not count */
    HTTP_HEAD_NO_LENGTH = 1 << 1,  /* no body by definition, or one that ends with the connection */
    HTTP_HEAD_CLOSE = 1 << 2,      /* Connection: close */
    HTTP_HEAD_KEEP_ALIVE = 1 << 3, /* Connection: keep-alive, for HTTP/1.0 */
    HTTP_HEAD_MEDIA = 1 << 4,      /* CORS and timing headers */
    HTTP_HEAD_RANGES = 1 << 5,     /* Accept-Ranges: bytes */
    HTTP_HEAD_ALLOW = 1 << 6,      /* Allow: what every resource here allows */
    HTTP_HEAD_PREFLIGHT = 1 << 7,  /* the answer to a CORS preflight */
    HTTP_HEAD_ENCODINGS = 1 << 8,  /* there is a compressed form and a plain one … */
    HTTP_HEAD_GZIP = 1 << 9        /* … and this is the compressed one */
};

/* All that a head depends on, beside the second and the configured origin. Compared with
 * memcmp(), so it has no padding and starts zeroed. */
struct http_head {
    uint64_t content_length; /* of this message's body */
    uint64_t range_first;    /* status 206 */
    uint64_t whole_size;     /* statuses 206 and 416 */
    uint64_t etag;           /* 0: none */
    uint32_t max_age_s;
    uint16_t status;
    uint16_t retry_after_s; /* 0: none */
    uint16_t flags;         /* enum http_head_flags */
    uint8_t type;           /* enum http_type */
    uint8_t cache;          /* enum http_cache */
};
static_assert(sizeof(struct http_head) == 48, "no padding: compared as bytes");

/* What is the same in every head for a second, or for ever. */
struct http_head_context {
    char date[32];           /* IMF-fixdate, NUL-terminated */
    const char *cors_origin; /* "": no CORS headers; borrowed */
};

/* Writes the head with its empty line. */
void http_head_write(struct writer *w, const struct http_head *head,
                     const struct http_head_context *context);

/* "Not Found"; "Unknown" for a status that nothing here sends. */
const char *http_reason(unsigned status);

/* By the file name's ending; HTTP_TYPE_BYTES when unknown. */
enum http_type http_type_of_path(struct bytes path);

#endif
