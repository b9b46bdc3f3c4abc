/* process.h - one process that leatd watches, by descriptor, so that a reused pid is never
 * mistaken for it. */
#ifndef CONTROL_SUPERVISE_PROCESS_H
#define CONTROL_SUPERVISE_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

enum { PROCESS_END_MAX = 96 };

struct process {
    pid_t pid;
    int pid_fd;    /* readable once it has ended; owned by whoever holds the struct */
    bool is_child; /* else it was found running: its exit status is not ours to see */
};

/* Runs argv[0] with 'argv' in a session of its own, so that a terminal's interrupt reaches leatd
 * alone, with standard input from /dev/null. It lives on when we die. 0; -errno, of fork or of
 * the execution. */
int process_spawn(char *const argv[], struct process *ret_process);

/* Sends 'signal'; does nothing when it has ended. */
void process_signal(const struct process *p, int signal);

/* Takes a child's exit status once its descriptor is readable. Writes how it ended, in words, and
 * returns 'out'. */
const char *process_reap(const struct process *p, char out[static PROCESS_END_MAX]);

#endif
