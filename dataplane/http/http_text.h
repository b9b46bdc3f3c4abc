/* http_text.h - an answer that is rendered per request: text over as many small blobs as it needs.
 *
 * A server has a few of them, so that asking for texts and not reading them costs bounded memory.
 *
 *   http_text_take()     RENDERING  the caller's
 *   http_text_reply()    SENDING    the connection's, until its response is over
 *   http_text_release()  FREE       blobs returned
 */
#ifndef DATAPLANE_HTTP_HTTP_TEXT_H
#define DATAPLANE_HTTP_HTTP_TEXT_H

#include "dataplane/http/http_conn.h"

enum {
    HTTP_TEXT_COUNT = 4,       /* per server */
    HTTP_TEXT_BLOBS_MAX = 256, /* of one text: 512 KiB */
    HTTP_TEXT_PRINT_MAX = 1024
};

struct http_text {
    struct list link; /* in server.free_texts */
    struct http_server *server;
    struct blob *blobs[HTTP_TEXT_BLOBS_MAX];
    uint32_t count;
    uint64_t size;
    struct writer w; /* into the last blob */
    bool failed;     /* out of blobs, or too long: something is missing */
};

/* NULL: all in use. */
struct http_text *http_text_take(struct http_server *server);

/* Returns the text, clears '*text', accepts NULL. */
void http_text_release(struct http_text **text);

/* Adds at most HTTP_TEXT_PRINT_MAX - 1 bytes; what does not fit sets 'failed'. */
__attribute__((format(printf, 2, 3))) void http_text_printf(struct http_text *t, const char *format,
                                                            ...);

/* Bytes that can still be added for sure, as long as the pool has blobs. */
size_t http_text_room(const struct http_text *t);

/* Answers with the text, or with 503 when it failed or is NULL. Consumes it. */
void http_text_reply(struct http_text *t, struct http_conn *c, struct http_head *head);

/* Adds what the budget allows of the text in 'body', and moves 'body' on. */
enum http_gather_result http_text_gather(struct http_body *body, struct http_gather *g);

#endif
