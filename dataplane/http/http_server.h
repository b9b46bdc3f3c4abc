/* http_server.h - HTTP/1.1 for one shard: live media, pages and, on its own listener, management.
 *
 * All memory is taken in http_server_new(). A viewer's connection costs one struct http_conn (and
 * the transport's stream); a buffer for its request head is borrowed only while a head is
 * incomplete. Media is sent as extents of store objects, never copied. */
#ifndef DATAPLANE_HTTP_HTTP_SERVER_H
#define DATAPLANE_HTTP_HTTP_SERVER_H

struct channels;
struct endpoint;
struct http_server;
struct shard;
struct transport;

enum http_role {
    HTTP_PUBLIC,    /* live media, pages, the list of channels, the time */
    HTTP_MANAGEMENT /* metrics and health */
};

/* On the shard's thread, after its store, small blobs and configuration are set, before it runs.
 * Reads the built pages from their directory; their absence is logged, not an error. Borrows 's'
 * and 'channels'. -ENOMEM. */
int http_server_new(struct shard *s, struct channels *channels, struct http_server **ret_server);

/* 0; errors as transport_ops.listen, -ENOSPC also for too many listeners. */
int http_server_listen(struct http_server *server, struct transport *t,
                       const struct endpoint *local, enum http_role role);

/* After the transports that it listens on were freed. */
void http_server_free(struct http_server **server);

#endif
