#include "control/supervise/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child, between fork and exec: async-signal-safe calls only. */
static _Noreturn void child_exec(char *const argv[], int error_fd)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDONLY);

    sigemptyset(&none);
    if (null_fd >= 0)
        dup2(null_fd, STDIN_FILENO);
    if (null_fd > STDERR_FILENO)
        close(null_fd);
    setsid();
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(argv[0], argv);

    int err = errno;
    ssize_t ignored = write(error_fd, &err, sizeof(err));
    (void)ignored;
    _exit(127);
}

int process_spawn(char *const argv[], struct process *ret_process)
{
    int fds[2]; /* closed by a successful exec, else carries its errno */
    int err = 0;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t pid = fork();
    if (pid == 0)
        child_exec(argv, fds[1]);
    if (pid < 0)
        err = errno;
    close(fds[1]);
    ssize_t size = pid < 0 ? 0 : read(fds[0], &err, sizeof(err));
    close(fds[0]);
    if (pid < 0)
        return -err;

    /* The child is not waited for yet: the pid is its. */
    int pid_fd = size == 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pid_fd >= 0) {
        *ret_process = (struct process){.pid = pid, .pid_fd = pid_fd, .is_child = true};
        return 0;
    }
    err = size == 0 ? errno : err;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return -err;
}

void process_signal(const struct process *p, int signal)
{
    (void)syscall(SYS_pidfd_send_signal, p->pid_fd, signal, NULL, 0);
}

const char *process_reap(const struct process *p, char out[static PROCESS_END_MAX])
{
    siginfo_t info = {0};

    if (!p->is_child || waitid(P_PIDFD, (id_t)p->pid_fd, &info, WEXITED) < 0)
        snprintf(out, PROCESS_END_MAX, "ended; it was not our child, so how is not known");
    else if (info.si_code == CLD_EXITED)
        snprintf(out, PROCESS_END_MAX, "exited with status %d", info.si_status);
    else
        snprintf(out, PROCESS_END_MAX, "killed by signal %d (%s)%s", info.si_status,
                 strsignal(info.si_status), info.si_code == CLD_DUMPED ? ", core dumped" : "");
    return out;
}
