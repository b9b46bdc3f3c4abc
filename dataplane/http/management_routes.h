/* management_routes.h - /metrics and /healthz, for the operator. */
#ifndef DATAPLANE_HTTP_MANAGEMENT_ROUTES_H
#define DATAPLANE_HTTP_MANAGEMENT_ROUTES_H

struct http_conn;
struct http_request;

/* Only GET and HEAD come here. */
void management_route(struct http_conn *c, const struct http_request *r);

#endif
