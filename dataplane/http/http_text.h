/* http_text.h - a rendered text over as many small blobs as it needs, up to one send's worth. */
#ifndef DATAPLANE_HTTP_HTTP_TEXT_H
#define DATAPLANE_HTTP_HTTP_TEXT_H

#include "dataplane/http/http_conn.h"

enum { HTTP_TEXT_BLOBS_MAX = HTTP_GATHER_MAX - 2, HTTP_TEXT_PRINT_MAX = 1024 };

struct http_text {
    struct blob_pool *pool;
    struct blob *blobs[HTTP_TEXT_BLOBS_MAX];
    size_t count;
    struct writer w; /* into the last blob */
    bool failed;     /* out of blobs, or too long: what was to be added is missing */
};

void http_text_init(struct http_text *t, struct blob_pool *pool);

/* Adds at most HTTP_TEXT_PRINT_MAX - 1 bytes; what does not fit sets 'failed'. */
__attribute__((format(printf, 2, 3))) void http_text_printf(struct http_text *t, const char *format,
                                                            ...);

/* Bytes that can still be added for sure, as long as the pool has blobs. */
size_t http_text_room(const struct http_text *t);

/* Answers with the text, or with 503 when it failed; 't' is empty afterwards. */
void http_text_reply(struct http_text *t, struct http_conn *c, struct http_head *head);

#endif
