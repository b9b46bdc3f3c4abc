/* http_request.h - reading one HTTP/1.x request head (RFC 9112, semantics of RFC 9110). Sans-I/O.
 *
 * A head is first delimited by http_head_scan(), which can be called again and again as bytes
 * arrive, then read in one go by http_request_parse(). So how the bytes were cut into packets
 * cannot change the result. What is ambiguous is refused, not repaired: bare CR or LF, folded
 * lines, blanks before a colon, repeated or malformed Content-Length, Transfer-Encoding together
 * with Content-Length. Those are what requests are smuggled with (RFC 9112 11.2). */
#ifndef DATAPLANE_HTTP_HTTP_REQUEST_H
#define DATAPLANE_HTTP_HTTP_REQUEST_H

#include "common/bytes.h"

enum {
    HTTP_TARGET_MAX = 2048, /* bytes of the request target, as sent: 414 above */
    HTTP_FIELDS_MAX = 100   /* header lines: 431 above */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_OPTIONS,
    HTTP_OTHER /* a registered method that nothing here allows: 405 */
};

struct http_request {
    enum http_method method;
    bool is_http_1_0;
    bool is_asterisk;      /* "OPTIONS *": about the server, no path */
    bool is_keep_alive;    /* the connection may carry another request */
    bool expects_continue; /* Expect: 100-continue */
    bool has_chunked_body;
    uint64_t body_bytes; /* Content-Length; 0 without one */
    struct bytes path;   /* decoded, without dot segments; starts with '/'; in path_buffer */
    struct bytes query;  /* after '?', as sent */
    struct bytes host;
    struct bytes range; /* field values, empty when absent or repeated */
    struct bytes if_range;
    struct bytes if_match;
    struct bytes if_none_match;
    struct bytes accept_encoding;
    uint8_t path_buffer[HTTP_TARGET_MAX];
};

/* Where a scan stands. Zeroed: at the start of a head. */
struct http_head_scan {
    uint32_t scanned;    /* bytes looked at */
    uint32_t line_start; /* of the line they end in */
    uint32_t line_count;
};

/* Looks for the end of the head that 'in' starts with; each call gets the same bytes as the one
 * before, and more. 0: '*ret_size' is the head's size, or 0 while it is incomplete. Otherwise the
 * status to refuse it with: 400, 414 or 431 (no end within 'head_max' bytes). */
int http_head_scan(struct http_head_scan *scan, struct bytes in, size_t head_max, size_t *ret_size);

/* Reads a delimited head. 0: '*ret' is filled and borrows from 'head'. Otherwise the status to
 * refuse it with: 400, 414, 417, 431, 501 or 505; the connection must then be closed, since where
 * the next request starts is unknown. */
int http_request_parse(struct bytes head, struct http_request *ret);

/* The raw value of the first parameter 'name' in 'query'; false: there is none. */
bool http_query_find(struct bytes query, const char *name, struct bytes *ret_value);

/* A decimal number without sign, blanks or overflow. */
bool http_number_parse(struct bytes text, uint64_t *ret_number);

/* Percent-decodes 'text' into 'out'. Bytes written; -EINVAL: a malformed or forbidden (control
 * character, encoded slash) escape; -ENOSPC. */
int http_percent_decode(struct bytes text, uint8_t *out, size_t out_size);

/* Whether an Accept-Encoding value takes 'coding' (RFC 9110 12.5.3). */
bool http_accepts_coding(struct bytes accept_encoding, const char *coding);

/* Case-insensitive for ASCII. */
bool http_token_equal(struct bytes a, const char *b);

/* 'text' without blanks and tabs around it. */
struct bytes http_trim(struct bytes text);

/* Takes the next element of a comma-separated list, trimmed; false: none left. */
bool http_list_next(struct bytes *list, struct bytes *ret_element);

#endif
