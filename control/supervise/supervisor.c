#include "control/supervise/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/log.h"

static void pause_begin(struct supervisor *s, uint64_t pause_us, uint64_t now_us)
{
    s->state = SUPERVISOR_PAUSED;
    wheel_arm(s->wheel, &s->timer, now_us + pause_us);
}

static void restart_later(struct supervisor *s, uint64_t now_us)
{
    pause_begin(s, s->pause_us, now_us);
    s->pause_us *= 2;
    if (s->pause_us > s->restart_max_us)
        s->pause_us = s->restart_max_us;
}

static void running_begin(struct supervisor *s, uint64_t now_us)
{
    s->state = SUPERVISOR_RUNNING;
    s->started_us = now_us;
    s->ops->started(s->user, now_us);
}

/* The pause is over: there is a process to adopt, or one to start. */
static void process_bring_up(struct supervisor *s, uint64_t now_us)
{
    int status = s->ops->find(s->user, &s->process);

    if (status == 0) {
        log_info("supervise", LOG_MSG("adopted the running data plane"),
                 LOG_INT("pid", s->process.pid));
        running_begin(s, now_us);
        return;
    }
    if (status == -EAGAIN) {
        pause_begin(s, SUPERVISOR_LOOK_US, now_us);
        return;
    }
    if (status == -ESRCH)
        status = s->ops->spawn(s->user, &s->process);
    if (status == 0) {
        s->starts++;
        log_info("supervise", LOG_MSG("started the data plane"), LOG_INT("pid", s->process.pid));
        running_begin(s, now_us);
        return;
    }
    snprintf(s->last_end, sizeof(s->last_end), "cannot be started: %s", strerror(-status));
    log_error("supervise", LOG_MSG("cannot start the data plane"),
              LOG_STR("error", strerror(-status)), LOG_INT("retry_ms", s->pause_us / 1000));
    restart_later(s, now_us);
}

static void stopped_reached(struct supervisor *s)
{
    s->state = SUPERVISOR_STOPPED;
    wheel_cancel(s->wheel, &s->timer);
    s->ops->stopped(s->user);
}

/* ENDING: what was asked so far was not enough. */
static void end_harder(struct supervisor *s, uint64_t now_us)
{
    if (s->signals_sent == 0) {
        s->ops->signal(s->user, &s->process, SIGTERM);
        wheel_arm(s->wheel, &s->timer, now_us + s->stop_timeout_us);
    } else if (s->signals_sent == 1) {
        log_warn("supervise", LOG_MSG("data plane does not end: killing it"),
                 LOG_INT("pid", s->process.pid));
        s->ops->signal(s->user, &s->process, SIGKILL);
        wheel_arm(s->wheel, &s->timer, now_us + s->stop_timeout_us);
    } else if (s->is_final) {
        log_error("supervise", LOG_MSG("data plane cannot even be killed: leaving it"),
                  LOG_INT("pid", s->process.pid));
        stopped_reached(s);
    }
    s->signals_sent++;
}

static void ending_begin(struct supervisor *s, bool is_final, uint64_t now_us)
{
    s->state = SUPERVISOR_ENDING;
    s->is_final = is_final;
    s->signals_sent = 0;
    if (s->ops->ask_to_stop(s->user))
        wheel_arm(s->wheel, &s->timer, now_us + SUPERVISOR_ASK_US);
    else
        end_harder(s, now_us);
}

/* We have no process, but one that we know nothing of may be starting or running there: it has to
 * end too. */
static void stop_without_process(struct supervisor *s, uint64_t now_us)
{
    int status = s->ops->find(s->user, &s->process);

    if (status == 0) {
        running_begin(s, now_us);
        ending_begin(s, true, now_us);
    } else if (status == -EAGAIN && now_us < s->look_until_us) {
        pause_begin(s, SUPERVISOR_LOOK_US, now_us);
    } else {
        stopped_reached(s);
    }
}

static void timer_fired(struct timer *t, uint64_t now_us)
{
    struct supervisor *s = CONTAINER_OF(t, struct supervisor, timer);

    if (s->state == SUPERVISOR_PAUSED && s->is_final)
        stop_without_process(s, now_us);
    else if (s->state == SUPERVISOR_PAUSED)
        process_bring_up(s, now_us);
    else if (s->state == SUPERVISOR_ENDING)
        end_harder(s, now_us);
}

void supervisor_init(struct supervisor *s, const struct supervisor_ops *ops, void *user,
                     struct wheel *wheel)
{
    CHECK(s->restart_min_us > 0 && s->restart_min_us <= s->restart_max_us);
    s->ops = ops;
    s->user = user;
    s->wheel = wheel;
    s->timer.fire = timer_fired;
    s->state = SUPERVISOR_PAUSED;
    s->pause_us = s->restart_min_us;
}

void supervisor_start(struct supervisor *s, uint64_t now_us)
{
    CHECK(s->state == SUPERVISOR_PAUSED && s->process.pid == 0);
    process_bring_up(s, now_us);
}

void supervisor_ended(struct supervisor *s, const char *how, uint64_t now_us)
{
    bool was_ending = s->state == SUPERVISOR_ENDING;

    CHECK(s->process.pid != 0);
    snprintf(s->last_end, sizeof(s->last_end), "%s", how);
    if (now_us - s->started_us >= SUPERVISOR_HEALTHY_US || was_ending)
        s->pause_us = s->restart_min_us;
    if (was_ending && s->is_final) {
        log_info("supervise", LOG_MSG("data plane ended"), LOG_INT("pid", s->process.pid),
                 LOG_STR("how", how));
        s->process = (struct process){.pid_fd = -1};
        stopped_reached(s);
        return;
    }
    log_warn("supervise", LOG_MSG("data plane ended: restarting it"),
             LOG_INT("pid", s->process.pid), LOG_STR("how", how),
             LOG_INT("pause_ms", s->pause_us / 1000));
    s->process = (struct process){.pid_fd = -1};
    restart_later(s, now_us);
}

void supervisor_kill(struct supervisor *s)
{
    if (s->state == SUPERVISOR_RUNNING)
        s->ops->signal(s->user, &s->process, SIGKILL);
}

void supervisor_replace(struct supervisor *s, uint64_t now_us)
{
    if (s->state == SUPERVISOR_RUNNING)
        ending_begin(s, false, now_us);
}

void supervisor_stop(struct supervisor *s, uint64_t now_us)
{
    switch (s->state) {
    case SUPERVISOR_PAUSED:
        s->is_final = true;
        s->look_until_us = now_us + s->stop_timeout_us;
        stop_without_process(s, now_us);
        break;
    case SUPERVISOR_RUNNING:
        ending_begin(s, true, now_us);
        break;
    case SUPERVISOR_ENDING:
        s->is_final = true;
        break;
    case SUPERVISOR_STOPPED:
        break;
    }
}

void supervisor_leave(struct supervisor *s)
{
    wheel_cancel(s->wheel, &s->timer);
    s->state = SUPERVISOR_STOPPED;
}

const char *supervisor_state_name(enum supervisor_state state)
{
    static const char *const names[] = {"paused", "running", "ending", "stopped"};

    return names[state];
}
