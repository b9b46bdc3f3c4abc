/* rtmp_server.h - publishers over RTMP on one shard: connections to sessions to channels.
 *
 * A fixed pool of rtmp.publishers_max connections; nothing is allocated after rtmp_server_new().
 * Everything runs on the shard's thread. */
#ifndef DATAPLANE_RTMP_RTMP_SERVER_H
#define DATAPLANE_RTMP_RTMP_SERVER_H

struct channels;
struct endpoint;
struct link;
struct rtmp_server;
struct shard;
struct transport;

/* Reserves memory by s->config; borrows 's', 'channels' and 'link' for the server's life. Before
 * shard_run(). 0, or -ENOMEM, or -errno of getrandom(). Returns owned. */
int rtmp_server_new(struct shard *s, struct channels *channels, struct link *link,
                    struct rtmp_server **ret_server);

/* Accepts publishers on 'local' through 't'. Errors as transport_ops.listen. */
int rtmp_server_listen(struct rtmp_server *server, struct transport *t,
                       const struct endpoint *local);

/* After the transports it listens on have been freed, which ends its connections. */
void rtmp_server_free(struct rtmp_server **server);

#endif
