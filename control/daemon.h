/* daemon.h - leatd: the loop and everything on it. */
#ifndef CONTROL_DAEMON_H
#define CONTROL_DAEMON_H

#include "common/config/config.h"
#include "control/api/api_server.h"
#include "control/link/link_server.h"
#include "control/link/reports.h"
#include "control/loop.h"
#include "control/run_dir.h"
#include "control/supervise/supervisor.h"

struct daemon_options {
    const char *config_file; /* NULL: defaults */
    const char *run_dir;
    const char *dataplane; /* path of leat-dp */
    const char *net_mode;  /* NULL: as configured */
};

struct daemon {
    const struct config *config;
    const struct daemon_options *options;
    struct loop loop;
    struct loop_source signals;
    struct supervisor supervisor;
    struct loop_source process; /* the supervised process's descriptor */
    struct link_server *link;
    struct link_handler link_handler;
    struct reports *reports;
    struct rpc rpc;
    struct api_server *api;
    struct timer watch_timer; /* looks for a hung data plane */
    uint64_t watched_us;      /* when it last did */
    uint64_t heard_us;        /* last sign of life of the data plane */
    uint64_t started_us;
};

/* Opens everything in the run directory and starts or adopts the data plane. 'config' and
 * 'options' are borrowed. SIGTERM, SIGINT and SIGHUP must be blocked. Errors are logged; 0 or
 * -errno. */
int daemon_init(struct daemon *d, const struct config *config,
                const struct daemon_options *options);
void daemon_fini(struct daemon *d);

/* Runs until the data plane has ended after daemon_stop() or a signal, or was left. 0 or -errno. */
int daemon_run(struct daemon *d);

/* Begins to end; 'leaves_dataplane': leat-dp goes on, for a leatd to come. */
void daemon_stop(struct daemon *d, bool leaves_dataplane);

#endif
