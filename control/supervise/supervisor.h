/* supervisor.h - keeps one process running. No I/O: processes are behind 'supervisor_ops', time
 * comes from the wheel.
 *
 *   PAUSED     no process; the timer looks for one in the run directory and starts one if there
 *              is none
 *   RUNNING    there is a process: started by us, or found running and adopted
 *   ENDING     it was asked to end; the timer asks harder
 *   STOPPED    no process, and none will be started
 *
 * A process that ended is restarted after a pause, which doubles from 'restart_min' to
 * 'restart_max' and falls back once a process ran for SUPERVISOR_HEALTHY_US. */
#ifndef CONTROL_SUPERVISE_SUPERVISOR_H
#define CONTROL_SUPERVISE_SUPERVISOR_H

#include "common/wheel.h"
#include "control/supervise/process.h"

enum {
    SUPERVISOR_HEALTHY_US = 10000000,
    SUPERVISOR_ASK_US = 1000000, /* a polite request is followed by SIGTERM after this */
    SUPERVISOR_LOOK_US = 50000   /* while another process is starting or ending */
};

enum supervisor_state {
    SUPERVISOR_PAUSED,
    SUPERVISOR_RUNNING,
    SUPERVISOR_ENDING,
    SUPERVISOR_STOPPED
};

struct supervisor_ops {
    /* The process that runs already. 0; -ESRCH: none; -EAGAIN: look again; -errno. */
    int (*find)(void *user, struct process *ret_process);
    int (*spawn)(void *user, struct process *ret_process); /* 0 or -errno */
    void (*signal)(void *user, const struct process *p, int signal);
    bool (*ask_to_stop)(void *user);              /* false: it cannot be asked */
    void (*started)(void *user, uint64_t now_us); /* s->process is there: watch it */
    void (*stopped)(void *user);                  /* STOPPED was reached */
};

struct supervisor {
    const struct supervisor_ops *ops;
    void *user;
    struct wheel *wheel;
    struct timer timer;
    enum supervisor_state state;
    struct process process; /* pid 0: none */
    bool is_final;          /* on the way to STOPPED; ENDING without it: to be replaced */
    uint64_t look_until_us; /* PAUSED and is_final */
    unsigned signals_sent;  /* ENDING */
    uint64_t restart_min_us;
    uint64_t restart_max_us;
    uint64_t stop_timeout_us;
    uint64_t pause_us; /* the next one */
    uint64_t started_us;
    uint64_t starts;                /* by us; adoptions are not counted */
    char last_end[PROCESS_END_MAX]; /* how the process before this one ended; "": there was none */
};

/* The three times must be set by the caller in a zeroed 's' before. */
void supervisor_init(struct supervisor *s, const struct supervisor_ops *ops, void *user,
                     struct wheel *wheel);

/* Adopts or starts a process. */
void supervisor_start(struct supervisor *s, uint64_t now_us);

/* s->process ended, in words 'how'; its descriptor is the caller's to close. */
void supervisor_ended(struct supervisor *s, const char *how, uint64_t now_us);

/* The process is beyond asking: kills it; it will be restarted. */
void supervisor_kill(struct supervisor *s);

/* Ends the process in good order and starts another. */
void supervisor_replace(struct supervisor *s, uint64_t now_us);

/* Ends the process for good; ops->stopped() is called when it has, maybe from inside the call. */
void supervisor_stop(struct supervisor *s, uint64_t now_us);

/* Lets go of the process without ending it. */
void supervisor_leave(struct supervisor *s);

const char *supervisor_state_name(enum supervisor_state state);

#endif
