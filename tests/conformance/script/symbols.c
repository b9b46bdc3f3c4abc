#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tests/conformance/script/script.h"

/* POLLRDHUP and its like need more than C17; _GNU_SOURCE is set for the project. */
#define SYMBOL(name)                                                                               \
    {                                                                                              \
#name, (int64_t)(name)                                                                     \
    }

static const struct {
    const char *name;
    int64_t value;
} symbols[] = {
    {"true", 1},
    {"false", 0},
    {"NULL", 0},
    {"TCP_CM_INQ", 36},
    {"EPOLLEXCLUSIVE", 1 << 28},
    SYMBOL(AF_INET),
    SYMBOL(AF_INET6),
    SYMBOL(AF_UNSPEC),
    SYMBOL(PF_INET),
    SYMBOL(PF_INET6),
    SYMBOL(SOCK_STREAM),
    SYMBOL(SOCK_DGRAM),
    SYMBOL(SOCK_RAW),
    SYMBOL(SOCK_NONBLOCK),
    SYMBOL(SOCK_CLOEXEC),
    SYMBOL(IPPROTO_IP),
    SYMBOL(IPPROTO_IPV6),
    SYMBOL(IPPROTO_TCP),
    SYMBOL(IPPROTO_UDP),
    SYMBOL(IPPROTO_ICMP),
    {"SOL_IP", IPPROTO_IP},
    {"SOL_IPV6", IPPROTO_IPV6},
    {"SOL_TCP", IPPROTO_TCP},
    {"SOL_UDP", IPPROTO_UDP},
    SYMBOL(SOL_SOCKET),
    SYMBOL(SO_REUSEADDR),
    SYMBOL(SO_REUSEPORT),
    SYMBOL(SO_KEEPALIVE),
    SYMBOL(SO_BROADCAST),
    SYMBOL(SO_OOBINLINE),
    SYMBOL(SO_PRIORITY),
    SYMBOL(SO_LINGER),
    SYMBOL(SO_SNDBUF),
    SYMBOL(SO_RCVBUF),
    SYMBOL(SO_SNDBUFFORCE),
    SYMBOL(SO_RCVBUFFORCE),
    SYMBOL(SO_RCVLOWAT),
    SYMBOL(SO_SNDLOWAT),
    SYMBOL(SO_RCVTIMEO),
    SYMBOL(SO_SNDTIMEO),
    SYMBOL(SO_ERROR),
    SYMBOL(SO_TYPE),
    SYMBOL(SO_PROTOCOL),
    SYMBOL(SO_DOMAIN),
    SYMBOL(SO_ACCEPTCONN),
    SYMBOL(SO_MAX_PACING_RATE),
    SYMBOL(SO_ZEROCOPY),
    SYMBOL(SO_MARK),
    SYMBOL(SO_TIMESTAMPING),
    SYMBOL(SO_DEBUG),
    SYMBOL(SO_DONTROUTE),
    SYMBOL(TCP_NODELAY),
    SYMBOL(TCP_CORK),
    SYMBOL(TCP_MAXSEG),
    SYMBOL(TCP_KEEPIDLE),
    SYMBOL(TCP_KEEPINTVL),
    SYMBOL(TCP_KEEPCNT),
    SYMBOL(TCP_SYNCNT),
    SYMBOL(TCP_LINGER2),
    SYMBOL(TCP_DEFER_ACCEPT),
    SYMBOL(TCP_WINDOW_CLAMP),
    SYMBOL(TCP_INFO),
    SYMBOL(TCP_QUICKACK),
    SYMBOL(TCP_CONGESTION),
    SYMBOL(TCP_USER_TIMEOUT),
    SYMBOL(TCP_NOTSENT_LOWAT),
    SYMBOL(TCP_FASTOPEN),
    SYMBOL(TCP_FASTOPEN_CONNECT),
    SYMBOL(TCP_INQ),
    SYMBOL(TCP_TIMESTAMP),
    SYMBOL(TCP_REPAIR),
    SYMBOL(TCP_SAVE_SYN),
    SYMBOL(IP_TOS),
    SYMBOL(IP_TTL),
    SYMBOL(IP_MTU_DISCOVER),
    SYMBOL(IP_RECVERR),
    SYMBOL(IP_FREEBIND),
    SYMBOL(IP_MTU),
    SYMBOL(IP_PMTUDISC_DONT),
    SYMBOL(IP_PMTUDISC_WANT),
    SYMBOL(IP_PMTUDISC_DO),
    SYMBOL(IP_PMTUDISC_PROBE),
    SYMBOL(IPV6_V6ONLY),
    SYMBOL(IPV6_TCLASS),
    SYMBOL(IPV6_UNICAST_HOPS),
    SYMBOL(IPV6_RECVERR),
    SYMBOL(IPV6_MTU_DISCOVER),
    SYMBOL(IPV6_MTU),
    SYMBOL(F_GETFL),
    SYMBOL(F_SETFL),
    SYMBOL(F_GETFD),
    SYMBOL(F_SETFD),
    SYMBOL(O_RDWR),
    SYMBOL(O_NONBLOCK),
    SYMBOL(O_RDONLY),
    SYMBOL(O_WRONLY),
    SYMBOL(FIONREAD),
    SYMBOL(FIONBIO),
    SYMBOL(SIOCINQ),
    SYMBOL(SIOCOUTQ),
    SYMBOL(SIOCOUTQNSD),
    SYMBOL(SHUT_RD),
    SYMBOL(SHUT_WR),
    SYMBOL(SHUT_RDWR),
    SYMBOL(MSG_PEEK),
    SYMBOL(MSG_DONTWAIT),
    SYMBOL(MSG_MORE),
    SYMBOL(MSG_WAITALL),
    SYMBOL(MSG_TRUNC),
    SYMBOL(MSG_CTRUNC),
    SYMBOL(MSG_EOR),
    SYMBOL(MSG_OOB),
    SYMBOL(MSG_ERRQUEUE),
    SYMBOL(MSG_NOSIGNAL),
    SYMBOL(MSG_ZEROCOPY),
    SYMBOL(MSG_FASTOPEN),
    SYMBOL(POLLIN),
    SYMBOL(POLLPRI),
    SYMBOL(POLLOUT),
    SYMBOL(POLLERR),
    SYMBOL(POLLHUP),
    SYMBOL(POLLNVAL),
    SYMBOL(POLLRDNORM),
    SYMBOL(POLLWRNORM),
    SYMBOL(POLLRDHUP),
    SYMBOL(EPOLLIN),
    SYMBOL(EPOLLPRI),
    SYMBOL(EPOLLOUT),
    SYMBOL(EPOLLERR),
    SYMBOL(EPOLLHUP),
    SYMBOL(EPOLLRDHUP),
    SYMBOL(EPOLLRDNORM),
    SYMBOL(EPOLLWRNORM),
    SYMBOL(EPOLLET),
    SYMBOL(EPOLLONESHOT),
    SYMBOL(EPOLL_CTL_ADD),
    SYMBOL(EPOLL_CTL_MOD),
    SYMBOL(EPOLL_CTL_DEL),
    SYMBOL(SPLICE_F_NONBLOCK),
    SYMBOL(SPLICE_F_MORE),
    SYMBOL(SPLICE_F_MOVE),
    {"TCP_ESTABLISHED", 1},
    {"TCP_SYN_SENT", 2},
    {"TCP_SYN_RECV", 3},
    {"TCP_FIN_WAIT1", 4},
    {"TCP_FIN_WAIT2", 5},
    {"TCP_TIME_WAIT", 6},
    {"TCP_CLOSE", 7},
    {"TCP_CLOSE_WAIT", 8},
    {"TCP_LAST_ACK", 9},
    {"TCP_LISTEN", 10},
    {"TCP_CLOSING", 11},
    SYMBOL(TCP_CA_Open),
    SYMBOL(TCP_CA_Disorder),
    SYMBOL(TCP_CA_CWR),
    SYMBOL(TCP_CA_Recovery),
    SYMBOL(TCP_CA_Loss),
    SYMBOL(TCPI_OPT_TIMESTAMPS),
    SYMBOL(TCPI_OPT_SACK),
    SYMBOL(TCPI_OPT_WSCALE),
    SYMBOL(TCPI_OPT_ECN),
};

static const struct {
    const char *name;
    int value;
} errors[] = {
    SYMBOL(EPERM),           SYMBOL(ENOENT),          SYMBOL(EINTR),        SYMBOL(EIO),
    SYMBOL(EBADF),           SYMBOL(EAGAIN),          SYMBOL(ENOMEM),       SYMBOL(EACCES),
    SYMBOL(EFAULT),          SYMBOL(EEXIST),          SYMBOL(EINVAL),       SYMBOL(EMFILE),
    SYMBOL(ENOTTY),          SYMBOL(ENOSPC),          SYMBOL(EPIPE),        SYMBOL(EDOM),
    SYMBOL(EWOULDBLOCK),     SYMBOL(EDESTADDRREQ),    SYMBOL(EMSGSIZE),     SYMBOL(ENOPROTOOPT),
    SYMBOL(EPROTONOSUPPORT), SYMBOL(ESOCKTNOSUPPORT), SYMBOL(EOPNOTSUPP),   SYMBOL(EAFNOSUPPORT),
    SYMBOL(EADDRINUSE),      SYMBOL(EADDRNOTAVAIL),   SYMBOL(ENETUNREACH),  SYMBOL(ECONNABORTED),
    SYMBOL(ECONNRESET),      SYMBOL(ENOBUFS),         SYMBOL(EISCONN),      SYMBOL(ENOTCONN),
    SYMBOL(ETIMEDOUT),       SYMBOL(ECONNREFUSED),    SYMBOL(EHOSTUNREACH), SYMBOL(EALREADY),
    SYMBOL(EINPROGRESS),     SYMBOL(ENOTSOCK),        SYMBOL(EPROTO),       SYMBOL(EHOSTDOWN),
};

bool symbol_find(const char *name, int64_t *ret)
{
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++)
        if (strcmp(symbols[i].name, name) == 0) {
            *ret = symbols[i].value;
            return true;
        }
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(errors[i].name, name) == 0) {
            *ret = errors[i].value;
            return true;
        }
    return false;
}

const char *errno_name(int error)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].value == error)
            return errors[i].name;
    return error == 0 ? "no error" : "?";
}
