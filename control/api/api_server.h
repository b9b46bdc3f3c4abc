/* api_server.h - the control socket: a Unix stream socket that takes JSON-RPC lines from root and
 * from the user that leatd runs as.
 *
 * Each client has one line in the making and one answer on its way; the next line is read when the
 * answer is gone. A client that sends half a line, or does not read, is dropped after a while. */
#ifndef CONTROL_API_API_SERVER_H
#define CONTROL_API_API_SERVER_H

#include "control/api/rpc.h"
#include "control/loop.h"

enum {
    API_CLIENTS_MAX = 16,
    API_LINE_MAX = 16384,   /* bytes of a request, with its newline */
    API_STALL_US = 10000000 /* half a line or an unread answer may last this long */
};

struct api_server;

/* Listens at 'path' with mode 0600, replacing a socket left there; 'rpc' is borrowed. 0 or -errno.
 */
int api_server_new(struct loop *loop, const char *path, const struct rpc *rpc,
                   struct api_server **ret_server);
void api_server_free(struct api_server **server);

#endif
