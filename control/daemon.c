#include "control/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "control/api/methods.h"
#include "control/auth/publish.h"

enum { WATCH_INTERVAL_US = 1000000, PATH_SIZE = 256 };

/* --- the link's view of us --- */

static enum link_verdict on_may_publish(void *user, const char *name, const char *key)
{
    const struct daemon *d = user;

    return publish_check(d->config, name, key);
}

static void on_channel(void *user, const struct link_channel_report *report, uint64_t now_us)
{
    struct daemon *d = user;

    d->heard_us = now_us;
    if (reports_channel(d->reports, report, now_us) < 0)
        log_warn("link", LOG_MSG("too many channels: report dropped"),
                 LOG_STR("channel", report->name));
}

static void on_counters(void *user, const struct link_counters *page, uint64_t now_us)
{
    struct daemon *d = user;

    d->heard_us = now_us;
    if (reports_counters(d->reports, page) < 0)
        log_warn("link", LOG_MSG("counters out of order, or too many: dropped"));
}

static void on_attached(void *user, pid_t pid, uint64_t now_us)
{
    struct daemon *d = user;

    d->heard_us = now_us;
    if (pid != d->supervisor.process.pid)
        log_warn("link", LOG_MSG("this is not the process that we supervise"), LOG_INT("pid", pid),
                 LOG_INT("supervised", d->supervisor.process.pid));
}

static void on_detached(void *user, uint64_t now_us)
{
    struct daemon *d = user;

    d->heard_us = now_us;
    reports_clear(d->reports);
}

static void on_incompatible(void *user, pid_t pid, uint64_t now_us)
{
    struct daemon *d = user;

    if (pid == d->supervisor.process.pid)
        supervisor_replace(&d->supervisor, now_us);
}

/* --- the supervisor's hands --- */

static int on_find(void *user, struct process *ret_process)
{
    const struct daemon *d = user;
    struct process p = {.is_child = false};
    int status = run_dir_find_dataplane(d->options->run_dir, &p.pid, &p.pid_fd);

    if (status == 0)
        *ret_process = p;
    return status;
}

static int on_spawn(void *user, struct process *ret_process)
{
    const struct daemon *d = user;
    const struct daemon_options *o = d->options;
    /* execv() takes char *, and does not write to it (POSIX, rationale of exec). */
    const char *args[8] = {o->dataplane, "--run-dir", o->run_dir};
    size_t count = 3;
    union {
        const char *const *in;
        char *const *out;
    } argv = {.in = args};

    if (o->config_file != NULL) {
        args[count++] = "--config";
        args[count++] = o->config_file;
    }
    if (o->net_mode != NULL) {
        args[count++] = "--net";
        args[count++] = o->net_mode;
    }
    CHECK(count < ARRAY_COUNT(args)); /* the last one stays NULL */
    return process_spawn(argv.out, ret_process);
}

static void on_signal_process(void *user, const struct process *p, int signal)
{
    (void)user;
    process_signal(p, signal);
}

static bool on_ask_to_stop(void *user)
{
    struct daemon *d = user;

    return link_server_stop_peer(d->link);
}

static void on_process_ended(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct daemon *d = CONTAINER_OF(source, struct daemon, process);
    char how[PROCESS_END_MAX];

    (void)events;
    process_reap(&d->supervisor.process, how);
    loop_remove(&d->loop, &d->process);
    supervisor_ended(&d->supervisor, how, now_us);
}

static void on_started(void *user, uint64_t now_us)
{
    struct daemon *d = user;

    d->heard_us = now_us;
    d->process.fd = d->supervisor.process.pid_fd;
    /* Without it we would never know that the process ended. */
    CHECK(loop_add(&d->loop, &d->process, EPOLLIN) == 0);
}

static void on_stopped(void *user)
{
    struct daemon *d = user;

    d->loop.stop = true;
}

static const struct supervisor_ops supervisor_ops = {
    .find = on_find,
    .spawn = on_spawn,
    .signal = on_signal_process,
    .ask_to_stop = on_ask_to_stop,
    .started = on_started,
    .stopped = on_stopped,
};

/* Kills a data plane that has said nothing for too long. When we were held up ourselves, what it
 * said meanwhile may still be unread: it gets another chance. */
static void watch_fired(struct timer *t, uint64_t now_us)
{
    struct daemon *d = CONTAINER_OF(t, struct daemon, watch_timer);
    uint64_t timeout_us = d->config->control_hang_timeout * 1000;
    bool was_late = now_us - d->watched_us > 3 * (uint64_t)WATCH_INTERVAL_US;

    d->watched_us = now_us;
    wheel_arm(&d->loop.wheel, &d->watch_timer, now_us + WATCH_INTERVAL_US);
    if (was_late)
        d->heard_us = now_us;
    if (timeout_us == 0 || d->supervisor.state != SUPERVISOR_RUNNING ||
        now_us - d->heard_us <= timeout_us)
        return;
    log_error("supervise", LOG_MSG("data plane says nothing: killing it"),
              LOG_INT("pid", d->supervisor.process.pid),
              LOG_INT("silent_ms", (now_us - d->heard_us) / 1000));
    d->heard_us = now_us;
    supervisor_kill(&d->supervisor);
}

/* --- beginning and end --- */

static void on_signal(struct loop_source *source, uint32_t events, uint64_t now_us)
{
    struct daemon *d = CONTAINER_OF(source, struct daemon, signals);
    struct signalfd_siginfo info;

    (void)events;
    (void)now_us;
    if (read(d->signals.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    log_info("control", LOG_MSG("stopping"), LOG_INT("signal", info.ssi_signo));
    daemon_stop(d, false);
}

static int signals_init(struct daemon *d)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    d->signals = (struct loop_source){.ready = on_signal};
    d->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return d->signals.fd < 0 ? -errno : loop_add(&d->loop, &d->signals, EPOLLIN);
}

static void supervisor_prepare(struct daemon *d)
{
    d->process = (struct loop_source){.fd = -1, .ready = on_process_ended};
    d->supervisor = (struct supervisor){
        .restart_min_us = d->config->control_restart_min * 1000,
        .restart_max_us = d->config->control_restart_max * 1000,
        .stop_timeout_us = d->config->control_stop_timeout * 1000,
    };
    supervisor_init(&d->supervisor, &supervisor_ops, d, &d->loop.wheel);
}

static int link_init(struct daemon *d)
{
    char path[PATH_SIZE];

    d->link_handler = (struct link_handler){
        .user = d,
        .may_publish = on_may_publish,
        .channel = on_channel,
        .counters = on_counters,
        .attached = on_attached,
        .detached = on_detached,
        .incompatible = on_incompatible,
    };
    snprintf(path, sizeof(path), "%s/%s", d->options->run_dir, LINK_SOCKET_NAME);
    return link_server_new(&d->loop, path, &d->link_handler, &d->link);
}

static int api_init(struct daemon *d)
{
    char path[PATH_SIZE];

    d->rpc = (struct rpc){.methods = api_methods, .user = d};
    if (d->config->control_socket.text[0] != '\0')
        snprintf(path, sizeof(path), "%s", d->config->control_socket.text);
    else
        snprintf(path, sizeof(path), "%s/%s", d->options->run_dir, RUN_DIR_CONTROL_SOCKET);
    return api_server_new(&d->loop, path, &d->rpc, &d->api);
}

static int fail(const char *what, int err)
{
    log_error("control", LOG_MSG("cannot start"), LOG_STR("part", what),
              LOG_STR("error", strerror(-err)));
    return err;
}

int daemon_init(struct daemon *d, const struct config *config, const struct daemon_options *options)
{
    *d = (struct daemon){.config = config, .options = options};
    d->loop.epoll_fd = -1;
    d->signals.fd = -1;
    int err = loop_init(&d->loop);
    if (err < 0)
        return fail("event loop", err);
    d->started_us = d->loop.now_us;
    supervisor_prepare(d);
    d->reports = reports_new();
    if (d->reports == NULL)
        return fail("reports", -ENOMEM);
    err = signals_init(d);
    if (err < 0)
        return fail("signals", err);
    err = link_init(d);
    if (err < 0)
        return fail("link socket", err);
    err = api_init(d);
    if (err < 0)
        return fail("control socket", err);

    d->watch_timer.fire = watch_fired;
    d->watched_us = d->loop.now_us;
    wheel_arm(&d->loop.wheel, &d->watch_timer, d->loop.now_us + WATCH_INTERVAL_US);
    supervisor_start(&d->supervisor, d->loop.now_us);
    return 0;
}

void daemon_fini(struct daemon *d)
{
    if (d->loop.epoll_fd < 0)
        return;
    api_server_free(&d->api);
    link_server_free(&d->link);
    loop_remove(&d->loop, &d->process);
    loop_remove(&d->loop, &d->signals);
    reports_free(&d->reports);
    loop_fini(&d->loop);
}

int daemon_run(struct daemon *d)
{
    return loop_run(&d->loop);
}

void daemon_stop(struct daemon *d, bool leaves_dataplane)
{
    if (!leaves_dataplane) {
        supervisor_stop(&d->supervisor, d->loop.now_us);
        return;
    }
    supervisor_leave(&d->supervisor);
    d->loop.stop = true;
}
