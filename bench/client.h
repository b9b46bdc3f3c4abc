/* client.h - an HTTP load client on kernel sockets: many keep-alive connections, each asking for
 * the next path of a list as soon as it has the whole last answer. Bodies are discarded in the
 * kernel (MSG_TRUNC), so that the client costs as little as a kernel client can. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <stdint.h>

#include "common/endpoint.h"

struct client_options {
    struct endpoint server;
    uint32_t connections;
    uint32_t seconds; /* measured, after one second of warm-up */
    const char *const *paths;
    uint32_t path_count;
};

struct client_result {
    uint64_t connected;
    uint64_t responses; /* complete, status 200, within the measured time */
    uint64_t errors;    /* other statuses, malformed answers, lost connections */
    uint64_t body_bytes;
    uint64_t elapsed_us;
    uint64_t latency_p50_us; /* request to last byte */
    uint64_t latency_p99_us;
};

/* 0, or -errno when not even one connection could be made. */
int client_run(const struct client_options *options, struct client_result *ret_result);

#endif
