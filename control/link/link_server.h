/* link_server.h - leatd's end of the link: listens in the run directory, talks to one leat-dp.
 *
 *   LISTENING  nobody is connected, or someone who has not greeted yet
 *   ATTACHED   greeted: questions are answered, reports come in
 *
 * A new connection replaces one that has not greeted; an attached one stays until it ends. */
#ifndef CONTROL_LINK_LINK_SERVER_H
#define CONTROL_LINK_LINK_SERVER_H

#include <sys/types.h>

#include "common/abi/link.h"
#include "control/loop.h"

/* What the link needs from the rest of leatd. Called on the loop. */
struct link_handler {
    void *user;
    enum link_verdict (*may_publish)(void *user, const char *name, const char *key);
    void (*channel)(void *user, const struct link_channel_report *report, uint64_t now_us);
    void (*counters)(void *user, const struct link_counters *page, uint64_t now_us);
    void (*attached)(void *user, pid_t pid, uint64_t now_us);
    void (*detached)(void *user, uint64_t now_us);
    /* A data plane that speaks another version: it has to go. */
    void (*incompatible)(void *user, pid_t pid, uint64_t now_us);
};

struct link_server;

/* Listens at 'path', replacing a socket left there. 'handler' is borrowed. 0 or -errno. */
int link_server_new(struct loop *loop, const char *path, const struct link_handler *handler,
                    struct link_server **ret_server);
void link_server_free(struct link_server **server);

bool link_server_is_attached(const struct link_server *server);

/* When the data plane last said anything; 0: it is not attached. */
uint64_t link_server_heard_us(const struct link_server *server);

/* Asks the data plane to end in good order; false: it is not attached, or takes no message. */
bool link_server_stop_peer(struct link_server *server);

#endif
