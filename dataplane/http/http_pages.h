/* http_pages.h - the built web pages, read once at the start into store objects. */
#ifndef DATAPLANE_HTTP_HTTP_PAGES_H
#define DATAPLANE_HTTP_HTTP_PAGES_H

#include "dataplane/http/http_conn.h"

enum {
    HTTP_PAGES_MAX = 256,            /* files */
    HTTP_PAGE_BYTES_MAX = 4 << 20,   /* of one file */
    HTTP_PAGES_BYTES_MAX = 16 << 20, /* of all */
    HTTP_PAGE_PATH_MAX = 128         /* "/assets/…" with the NUL */
};

/* Reads every regular file of the pages directory and of its assets/ folder. A file X.gz is the
 * compressed form of X, for clients that take it. No such directory, or files beyond the limits or
 * the store's memory: logged, and answered with 503. 0 or -ENOMEM. */
int http_pages_new(struct shard *s, struct http_pages **ret_pages);
void http_pages_free(struct http_pages **pages);

/* Answers for "/", "/watch/NAME" and every file by its path; 404 for anything else. */
void http_pages_route(struct http_conn *c, const struct http_request *r);

#endif
