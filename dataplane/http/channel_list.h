/* channel_list.h - /api/channels.json: what is live, for the pages. */
#ifndef DATAPLANE_HTTP_CHANNEL_LIST_H
#define DATAPLANE_HTTP_CHANNEL_LIST_H

#include "common/bytes.h"

struct http_conn;

/* {"channels": [{"name", "is_live", "codecs", "tracks": [{"name", "kind", "codec", "width",
 * "height"}]}], "is_truncated": true}; what is unknown is absent, and so is "is_truncated" where
 * all channels are listed. */
void channel_list_route(struct http_conn *c);

/* The value of attribute 'name' of the first EXT-X-STREAM-INF of an HLS multivariant playlist,
 * without quotes; empty: none, or not plain printable text. */
struct bytes channel_list_attribute(struct bytes playlist, const char *name);

#endif
