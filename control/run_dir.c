#include "control/run_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/abi/link.h"

enum { PATH_SIZE = 256 };

void run_dir_default(char out[static RUN_DIR_MAX])
{
    const char *xdg = getenv("XDG_RUNTIME_DIR");

    if (geteuid() == 0) {
        snprintf(out, RUN_DIR_MAX, "/run/leat");
        return;
    }
    if (xdg != NULL && xdg[0] == '/' &&
        snprintf(out, RUN_DIR_MAX, "%s/leat", xdg) < (int)RUN_DIR_MAX)
        return;
    snprintf(out, RUN_DIR_MAX, "/tmp/leat-%u", (unsigned)geteuid());
}

int run_dir_prepare(const char *dir)
{
    struct stat st;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (lstat(dir, &st) < 0)
        return -errno;
    bool is_ours = S_ISDIR(st.st_mode) && st.st_uid == geteuid();
    return is_ours && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 ? 0 : -EPERM;
}

int run_dir_lock(const char *dir)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof(path), "%s/%s", dir, RUN_DIR_LOCK);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

/* 1: someone has the lock; 0: nobody; -errno. Takes and drops a shared lock: only leatd, which
 * is the caller, starts a process that wants an exclusive one. */
static int file_is_locked(int fd)
{
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return flock(fd, LOCK_UN) < 0 ? -errno : 0;
    return errno == EWOULDBLOCK ? 1 : -errno;
}

/* The pid in the file, or 0. */
static pid_t file_pid(int fd)
{
    char text[16] = "";
    char *end = NULL;
    ssize_t size = pread(fd, text, sizeof(text) - 1, 0);

    if (size <= 0)
        return 0;
    long pid = strtol(text, &end, 10);
    return *end == '\n' && pid > 1 ? (pid_t)pid : 0;
}

int run_dir_find_dataplane(const char *dir, pid_t *ret_pid, int *ret_pid_fd)
{
    char path[PATH_SIZE];
    int pid_fd = -1;

    snprintf(path, sizeof(path), "%s/%s", dir, LINK_PID_NAME);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    int status = file_is_locked(fd);
    if (status == 0)
        status = -ESRCH;
    if (status < 0)
        goto out;

    status = -EAGAIN;
    pid_t pid = file_pid(fd);
    if (pid == 0)
        goto out;
    pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* The lock is still held by the process that wrote this pid, so that it was alive when the
     * descriptor was made, and the descriptor is its. */
    if (pid_fd >= 0 && file_is_locked(fd) == 1 && file_pid(fd) == pid) {
        *ret_pid = pid;
        *ret_pid_fd = pid_fd;
        status = 0;
    } else if (pid_fd >= 0) {
        close(pid_fd);
    }

out:
    close(fd);
    return status;
}
