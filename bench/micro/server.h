/* server.h - a whole viewer-side server on one shard, or on two, without threads: store, channel
 * with a few seconds of synthetic media, HTTP, and our TCP/IP on a given port queue. */
#ifndef BENCH_MICRO_SERVER_H
#define BENCH_MICRO_SERVER_H

#include <stdint.h>

#include "common/config/config.h"
#include "dataplane/core/shard.h"
#include "drivers/net/transport.h"
#include "drivers/port/port.h"

enum { SERVER_PATHS_MAX = 32, SERVER_PATH_BYTES = 96 };

struct server {
    _Alignas(64) struct config config;
    struct shard shard;
    struct shard *all[2];
    struct server *second; /* NULL: one shard */
    bool is_second;        /* store and channels are the first's */
    struct counters counters;
    struct store *store;
    struct channels *channels;
    struct transport_env env;
    struct transport *transport;
    struct http_server *http;
    struct publication *publication;
    uint64_t random_state;
    uint8_t *frame;
    uint32_t frame_bytes;
    uint32_t frames_fed;
    uint32_t path_count; /* of the parts that can be fetched */
    char paths[SERVER_PATHS_MAX][SERVER_PATH_BYTES];
};

/* Starts a zeroed server on 10.91.0.1:8080 with parts of about 'part_bytes'; its 'paths' are those
 * of the parts, or of the media playlist alone. With 'second' set, that is a zeroed server which
 * becomes a shard of the same data plane, on the port's second queue. 0 or -errno (on stderr). */
int server_open(struct server *s, struct port *port, uint32_t viewers, uint32_t part_bytes,
                bool has_playlist);

/* The path of the part that comes next: asking for it waits. */
void server_next_path(struct server *s, char path[static SERVER_PATH_BYTES]);
/* The media of one more part arrives. 0 or -errno. */
int server_feed_part(struct server *s);
void server_close(struct server *s);

#endif
