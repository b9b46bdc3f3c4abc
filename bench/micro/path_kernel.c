#include "bench/micro/path_kernel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 18, BACKLOG = 64 };

static struct sockaddr_in address_of(uint8_t host, uint16_t port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(port),
                                .sin_addr.s_addr = htonl(0x0a5c0000u + host)};
}

static int interface_set(int fd, unsigned long request, struct ifreq *r, uint32_t address)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};

    memcpy(&r->ifr_addr, &in, sizeof(in));
    return ioctl(fd, request, r);
}

/* A TAP device with the host's addresses, up. The descriptor, or -errno. */
static int tap_open(uint8_t host)
{
    struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    const uint8_t mac[6] = {2, 0, 0, 0, 1, host};
    int tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    memcpy(r.ifr_name, "path0", sizeof("path0"));
    bool is_ok = tap >= 0 && fd >= 0 && ioctl(tap, TUNSETIFF, &r) == 0;
    r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(r.ifr_hwaddr.sa_data, mac, sizeof(mac));
    is_ok = is_ok && ioctl(fd, SIOCSIFHWADDR, &r) == 0;
    is_ok = is_ok && interface_set(fd, SIOCSIFADDR, &r, 0x0a5c0000u + host) == 0;
    is_ok = is_ok && interface_set(fd, SIOCSIFNETMASK, &r, 0xffffff00u) == 0;
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    is_ok = is_ok && ioctl(fd, SIOCSIFFLAGS, &r) == 0;
    int error = is_ok ? 0 : -errno;
    if (fd >= 0)
        close(fd);
    if (error < 0 && tap >= 0)
        close(tap);
    return error < 0 ? error : tap;
}

/* Passes a descriptor, or -errno as the byte, to the other process. */
static void fd_send(int socket, int fd)
{
    uint8_t error = fd < 0 ? (uint8_t)-fd : 0;
    struct iovec part = {.iov_base = &error, .iov_len = 1};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    }
    (void)sendmsg(socket, &message, 0);
}

static int fd_receive(int socket)
{
    uint8_t error = EPIPE;
    struct iovec part = {.iov_base = &error, .iov_len = 1};
    alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    int fd;

    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1 || error != 0)
        return -error;
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return fd;
}

/* --- the child's applications; they end with the process --- */

static void send_for_ever(uint8_t to, uint32_t flows)
{
    static char buffer[BUFFER_BYTES];
    struct pollfd fds[PATH_FLOWS_MAX];
    const struct sockaddr_in address = address_of(to, PATH_PORT);

    for (uint32_t i = 0; i < flows; i++) {
        fds[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0),
                                 .events = POLLOUT};
        if (setsockopt(fds[i].fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) < 0)
            _exit(1);
        (void)connect(fds[i].fd, (const struct sockaddr *)&address, sizeof(address));
    }
    while (poll(fds, flows, -1) > 0)
        for (uint32_t i = 0; i < flows; i++)
            if (fds[i].revents != 0 && send(fds[i].fd, buffer, sizeof(buffer), MSG_NOSIGNAL) < 0 &&
                errno != EAGAIN)
                fds[i].fd = -1; /* refused or reset: the missing bytes tell */
}

static void receive_for_ever(int listener, struct path_totals *totals)
{
    static char buffer[BUFFER_BYTES];
    struct pollfd fds[PATH_FLOWS_MAX * PATH_HOSTS_MAX] = {{.fd = listener, .events = POLLIN}};
    uint8_t hosts[PATH_FLOWS_MAX * PATH_HOSTS_MAX] = {0};
    nfds_t count = 1;

    while (poll(fds, count, -1) > 0) {
        for (nfds_t i = 1; i < count; i++) {
            ssize_t got = fds[i].revents != 0 ? recv(fds[i].fd, buffer, sizeof(buffer), 0) : 0;
            if (got > 0)
                __atomic_fetch_add(&totals->bytes[hosts[i]], (uint64_t)got, __ATOMIC_RELAXED);
            else if (fds[i].revents != 0 && errno != EAGAIN)
                fds[i].fd = -1;
        }
        struct sockaddr_in from;
        socklen_t size = sizeof(from);
        if (fds[0].revents == 0 || count == PATH_FLOWS_MAX * PATH_HOSTS_MAX)
            continue;
        int fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_NONBLOCK);
        if (fd < 0)
            continue;
        hosts[count] = (uint8_t)(ntohl(from.sin_addr.s_addr) % PATH_HOSTS_MAX);
        fds[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
}

static int listen_at(uint8_t host)
{
    const struct sockaddr_in address = address_of(host, PATH_PORT);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0)
        return -errno;
    return fd;
}

static _Noreturn void child(int control, uint8_t host, uint8_t to, uint32_t flows,
                            struct path_totals *totals)
{
    int listener = -1;
    char go;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int tap = unshare(CLONE_NEWNET) == 0 ? tap_open(host) : -errno;
    if (tap >= 0 && flows == 0) {
        listener = listen_at(host);
        tap = listener < 0 ? listener : tap;
    }
    fd_send(control, tap);
    if (tap >= 0 && read(control, &go, 1) == 1) {
        if (flows == 0)
            receive_for_ever(listener, totals);
        else
            send_for_ever(to, flows);
    }
    _exit(0);
}

int path_kernel_start(struct path_kernel *k, uint8_t host, uint8_t to, uint32_t flows,
                      struct path_totals *totals)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    k->pid = fork();
    if (k->pid == 0)
        child(pair[1], host, to, flows, totals);
    close(pair[1]);
    k->control = pair[0];
    k->tap = k->pid > 0 ? fd_receive(pair[0]) : -errno;
    return k->tap < 0 ? k->tap : 0;
}

void path_kernel_go(const struct path_kernel *k)
{
    if (write(k->control, "g", 1) != 1)
        return; /* the child is gone: nothing arrives, and the result says so */
}

void path_kernel_stop(struct path_kernel *k)
{
    if (k->pid > 0) {
        kill(k->pid, SIGKILL);
        waitpid(k->pid, NULL, 0);
        close(k->control);
        if (k->tap >= 0)
            close(k->tap);
    }
    *k = (struct path_kernel){.tap = -1, .control = -1};
}
