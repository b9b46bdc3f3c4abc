/* unix_socket.h - listening on a Unix socket that is ours alone, and who is at its other end. */
#ifndef CONTROL_UNIX_SOCKET_H
#define CONTROL_UNIX_SOCKET_H

#include <sys/types.h>

/* Listens at 'path' with a socket of 'type' (SOCK_STREAM, SOCK_SEQPACKET) and mode 0600, replacing
 * a socket left there by a process that died. The descriptor, non-blocking; -ENAMETOOLONG;
 * -EEXIST: something that is no socket is there; -errno. */
int unix_listen(const char *path, int type);

/* The pid of the process that connected 'fd' when it is root's or runs as we do; -EPERM; -errno. */
pid_t unix_peer(int fd);

#endif
