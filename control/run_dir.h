/* run_dir.h - the run directory: where it is, whose it is, and who runs in it.
 *
 *   DIR/leatd.lock   locked by a running leatd
 *   DIR/leatd.sock   the control socket
 *   DIR/link.sock    the link: leatd listens, leat-dp connects
 *   DIR/leat-dp.pid  locked by a running leat-dp, which writes its pid into it
 */
#ifndef CONTROL_RUN_DIR_H
#define CONTROL_RUN_DIR_H

#include <stddef.h>
#include <sys/types.h>

enum { RUN_DIR_MAX = 80 }; /* with the NUL; a socket's path in it must fit sun_path */

#define RUN_DIR_CONTROL_SOCKET "leatd.sock"
#define RUN_DIR_LOCK           "leatd.lock"

/* /run/leat for root, else $XDG_RUNTIME_DIR/leat, else /tmp/leat-UID. */
void run_dir_default(char out[static RUN_DIR_MAX]);

/* Makes it with mode 0700 if it is not there. -EPERM: it is someone else's, a symbolic link, or
 * others may write to it; 0; -errno. */
int run_dir_prepare(const char *dir);

/* Takes DIR/leatd.lock for this process's life. The descriptor, which the caller keeps open;
 * -EWOULDBLOCK: another leatd has it; -errno. */
int run_dir_lock(const char *dir);

/* The leat-dp that runs in the directory, if one does: '*ret_pid' and '*ret_pid_fd', owned by the
 * caller. The descriptor is of the very process that holds the lock, even when pids are reused.
 * -ESRCH: none runs; -EAGAIN: one is starting or ending, ask again; -errno. */
int run_dir_find_dataplane(const char *dir, pid_t *ret_pid, int *ret_pid_fd);

#endif
