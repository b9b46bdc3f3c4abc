#include "control/unix_socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/bytes.h"

enum { BACKLOG = 16 };

/* Removes a socket that is in the way, and nothing else. 0 or -EEXIST. */
static int path_clear(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return -EEXIST;
    unlink(path);
    return 0;
}

int unix_listen(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!bytes_to_str(bytes_of_str(path), address.sun_path, sizeof(address.sun_path)))
        return -ENAMETOOLONG;
    int err = path_clear(path);
    if (err < 0)
        return err;
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    mode_t mask = umask(0177); /* ours alone from the moment it exists */
    err = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    umask(mask);
    if (err == 0 && listen(fd, BACKLOG) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

pid_t unix_peer(int fd)
{
    struct ucred ucred;
    socklen_t size = sizeof(ucred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &size) < 0)
        return -errno;
    return ucred.uid == 0 || ucred.uid == geteuid() ? ucred.pid : -EPERM;
}
