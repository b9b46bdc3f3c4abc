/* live_routes.h - answering for /live/NAME/…: playlists, manifests, init segments, segments, parts;
 * at once, or when they come to be. */
#ifndef DATAPLANE_HTTP_LIVE_ROUTES_H
#define DATAPLANE_HTTP_LIVE_ROUTES_H

#include "dataplane/http/http_conn.h"

/* 'path': what follows "/live/". Only GET and HEAD come here. */
void live_route(struct http_conn *c, const struct http_request *r, struct bytes path);

/* Adds more of the segment in c->live, from where 'body' stands, and moves 'body' on. */
enum http_gather_result live_gather(struct http_conn *c, struct http_body *body,
                                    struct http_gather *g);

/* The channel has something new, or ended. */
void live_ready(struct channel_waiter *waiter, uint64_t now_us);

/* Nothing came in time. */
void live_timeout(struct http_conn *c);

#endif
