/* http_route.c - which path means what, on each listener. */
#include <inttypes.h>

#include "common/counters.h"
#include "dataplane/core/shard.h"
#include "dataplane/http/channel_list.h"
#include "dataplane/http/http_conn.h"
#include "dataplane/http/http_date.h"
#include "dataplane/http/http_pages.h"
#include "dataplane/http/live_routes.h"
#include "dataplane/http/management_routes.h"

/* What follows 'prefix' in 'path'; false: it does not start with it. */
static bool path_after(struct bytes path, const char *prefix, struct bytes *ret_rest)
{
    size_t size = strlen(prefix);

    if (path.size < size || memcmp(path.ptr, prefix, size) != 0)
        return false;
    *ret_rest = bytes_from(path, size);
    return true;
}

/* The clock for DASH players: ISO/IEC 23009-1 5.8.4.11, "urn:mpeg:dash:utc:http-iso:2014". */
static void time_route(struct http_conn *c)
{
    char iso[HTTP_ISO_SIZE];
    struct http_head head = {
        .type = HTTP_TYPE_TEXT,
        .cache = HTTP_CACHE_NO_STORE,
        .flags = HTTP_HEAD_MEDIA,
    };
    struct blob *blob = blob_pool_get(c->server->shard->small_blobs);

    counter_inc(&http_conn_counters(c)->http_requests_api);
    if (blob == NULL) {
        counter_inc(&http_conn_counters(c)->http_out_of_blobs);
        http_conn_abort(c);
        return;
    }
    http_iso_write(c->server->shard->wall_us, iso);
    memcpy(blob_pool_data(blob), iso, sizeof(iso));
    blob->size = sizeof(iso);
    http_reply_blob(c, NULL, &head, blob);
    blob_unref(&blob);
}

static void public_route(struct http_conn *c, const struct http_request *r)
{
    struct bytes rest;

    if (path_after(r->path, "/live/", &rest)) {
        live_route(c, r, rest);
    } else if (bytes_equal_str(r->path, "/time")) {
        time_route(c);
    } else if (bytes_equal_str(r->path, "/api/channels.json")) {
        counter_inc(&http_conn_counters(c)->http_requests_api);
        channel_list_route(c);
    } else {
        http_pages_route(c, r);
    }
}

/* OPTIONS, of any path or "*": what is allowed, and the answer to a browser's preflight. */
static void options_route(struct http_conn *c)
{
    struct http_head head = {
        .status = 204,
        .cache = HTTP_CACHE_NO_STORE,
        .flags = HTTP_HEAD_NO_LENGTH | HTTP_HEAD_ALLOW,
    };

    if (c->role == HTTP_PUBLIC)
        head.flags |= HTTP_HEAD_MEDIA | HTTP_HEAD_PREFLIGHT;
    http_reply_empty(c, &head);
}

void http_route(struct http_conn *c, const struct http_request *r)
{
    if (r->method == HTTP_OPTIONS) {
        options_route(c);
        return;
    }
    if (r->method == HTTP_OTHER) {
        counter_inc(&http_conn_counters(c)->http_methods_refused);
        http_reply_text(c, 405, 0, "Only GET, HEAD and OPTIONS are allowed.");
        return;
    }
    if (c->role == HTTP_MANAGEMENT)
        management_route(c, r);
    else
        public_route(c, r);
}
