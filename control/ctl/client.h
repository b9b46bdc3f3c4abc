/* client.h - leatctl's end of the control socket. Blocks, within bounds. */
#ifndef CONTROL_CTL_CLIENT_H
#define CONTROL_CTL_CLIENT_H

#include <jansson.h>

enum { CLIENT_ANSWER_MAX = 64 << 20 }; /* bytes; a bound, not a size */

struct client {
    int fd;
};

/* 0 or -errno: -ENOENT and -ECONNREFUSED mean that no leatd is there. */
int client_connect(struct client *c, const char *path);
void client_close(struct client *c);

/* Calls 'method' with 'params', consumed, or NULL. '*ret_answer': the whole answer object, owned
 * by the caller. 0; -ETIMEDOUT; -EPROTO: it was no answer; -errno. */
int client_call(struct client *c, const char *method, json_t *params, json_t **ret_answer);

/* Waits until the other side closes. 0 or -ETIMEDOUT. */
int client_wait_close(struct client *c, unsigned timeout_s);

#endif
