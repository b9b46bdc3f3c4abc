/* Socket options. */
#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>

#include "tests/conformance/packetdrill/shim.h"

enum { FOR_TCP = 1 << SOCK_TCP, FOR_UDP = 1 << SOCK_UDP, FOR_BOTH = FOR_TCP | FOR_UDP };

/* Option names that collide with those of linux/tcp.h or are newer than the C library. */
enum { OPTION_IP_MTU = 14, OPTION_IPV6_MTU = 24 };

/* Linux's. */
enum {
    BUFFER_MAX = 212992, /* net.core.wmem_max and rmem_max */
    FIN_WAIT_2_S = 60,
    LINGER2_MAX_S = 120,
    RTO_MAX_S = 120,
    DEFER_MAX_S = 30000
};

struct option_rule {
    int level;
    int name;
    enum sock_number number;
    int standard;
    int min;
    int max;
    unsigned kinds;
    bool is_boolean;
};

static const struct option_rule rules[] = {
    {SOL_SOCKET, SO_REUSEADDR, NUMBER_REUSEADDR, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {SOL_SOCKET, SO_REUSEPORT, NUMBER_REUSEPORT, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {SOL_SOCKET, SO_KEEPALIVE, NUMBER_KEEPALIVE, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {SOL_SOCKET, SO_BROADCAST, NUMBER_BROADCAST, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {SOL_SOCKET, SO_OOBINLINE, NUMBER_OOBINLINE, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {SOL_SOCKET, SO_PRIORITY, NUMBER_PRIORITY, 0, 0, 6, FOR_BOTH, false},
    {SOL_SOCKET, SO_SNDBUF, NUMBER_SNDBUF, 0, INT_MIN, INT_MAX, FOR_BOTH, false},
    {SOL_SOCKET, SO_SNDBUFFORCE, NUMBER_SNDBUF, 0, INT_MIN, INT_MAX, FOR_BOTH, false},
    {SOL_SOCKET, SO_RCVBUF, NUMBER_RCVBUF, 0, INT_MIN, INT_MAX, FOR_BOTH, false},
    {SOL_SOCKET, SO_RCVBUFFORCE, NUMBER_RCVBUF, 0, INT_MIN, INT_MAX, FOR_BOTH, false},
    {SOL_SOCKET, SO_RCVLOWAT, NUMBER_RCVLOWAT, 1, INT_MIN, INT_MAX, FOR_BOTH, false},
    {SOL_SOCKET, SO_MAX_PACING_RATE, NUMBER_PACING_RATE, -1, INT_MIN, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_NODELAY, NUMBER_NODELAY, 0, INT_MIN, INT_MAX, FOR_TCP, true},
    {IPPROTO_TCP, TCP_CORK, NUMBER_CORK, 0, INT_MIN, INT_MAX, FOR_TCP, true},
    {IPPROTO_TCP, TCP_MAXSEG, NUMBER_MAXSEG, 0, 88, 32767, FOR_TCP, false},
    {IPPROTO_TCP, TCP_KEEPIDLE, NUMBER_KEEPIDLE, 7200, 1, 32767, FOR_TCP, false},
    {IPPROTO_TCP, TCP_KEEPINTVL, NUMBER_KEEPINTVL, 75, 1, 32767, FOR_TCP, false},
    {IPPROTO_TCP, TCP_KEEPCNT, NUMBER_KEEPCNT, 9, 1, 127, FOR_TCP, false},
    {IPPROTO_TCP, TCP_SYNCNT, NUMBER_SYNCNT, 6, 1, 127, FOR_TCP, false},
    {IPPROTO_TCP, TCP_LINGER2, NUMBER_LINGER2, 60, INT_MIN, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, NUMBER_DEFER_ACCEPT, 0, INT_MIN, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_WINDOW_CLAMP, NUMBER_WINDOW_CLAMP, 0, 0, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_QUICKACK, NUMBER_QUICKACK, 1, INT_MIN, INT_MAX, FOR_TCP, true},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, NUMBER_USER_TIMEOUT, 0, 0, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_NOTSENT_LOWAT, NUMBER_NOTSENT_LOWAT, 0, INT_MIN, INT_MAX, FOR_TCP, false},
    {IPPROTO_TCP, TCP_INQ, NUMBER_INQ, 0, 0, 1, FOR_TCP, false},
    {IPPROTO_IP, IP_TOS, NUMBER_TOS, 0, 0, 255, FOR_BOTH, false},
    {IPPROTO_IP, IP_TTL, NUMBER_TTL, -1, -1, 255, FOR_BOTH, false},
    {IPPROTO_IP, IP_MTU_DISCOVER, NUMBER_MTU_DISCOVER, IP_PMTUDISC_WANT, 0, 5, FOR_BOTH, false},
    {IPPROTO_IP, IP_RECVERR, NUMBER_RECVERR, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {IPPROTO_IP, IP_FREEBIND, NUMBER_FREEBIND, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {IPPROTO_IPV6, IPV6_V6ONLY, NUMBER_V6ONLY, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {IPPROTO_IPV6, IPV6_TCLASS, NUMBER_TCLASS, 0, -1, 255, FOR_BOTH, false},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, NUMBER_HOPS, -1, -1, 255, FOR_BOTH, false},
    {IPPROTO_IPV6, IPV6_RECVERR, NUMBER_RECVERR, 0, INT_MIN, INT_MAX, FOR_BOTH, true},
    {IPPROTO_IPV6, IPV6_MTU_DISCOVER, NUMBER_MTU_DISCOVER, IP_PMTUDISC_WANT, 0, 5, FOR_BOTH, false},
};

enum { RULES = sizeof(rules) / sizeof(rules[0]) };

void options_init(struct sock *s)
{
    for (int i = 0; i < RULES; i++)
        s->numbers[rules[i].number] = rules[i].standard;
}

static const struct option_rule *rule_find(const struct sock *s, int level, int name)
{
    for (int i = 0; i < RULES; i++)
        if (rules[i].level == level && rules[i].name == name &&
            (rules[i].kinds & (1u << s->kind)) != 0)
            return &rules[i];
    return NULL;
}

/* What the numbers mean to an open connection. */
static void number_apply(struct sock *s, enum sock_number number)
{
    struct tcp_conn *c = tcp_sock_conn(s);

    if (s->kind == SOCK_TCP && s->is_listening)
        tcp_sock_listener_apply(s);
    if (s->kind != SOCK_TCP || c == NULL || c->state == TCP_CLOSED)
        return;
    if (number == NUMBER_QUICKACK)
        tcp_conn_set_quick_ack(shim_stack(s->shim), c, s->numbers[number] != 0);
    else
        tcp_sock_apply(s);
    if (number == NUMBER_NODELAY && s->numbers[number] != 0)
        tcp_sock_push(s);
}

/* TCP_DEFER_ACCEPT in seconds, as Linux keeps it: to the end of the last retransmission of its
 * SYN-ACK that begins before. */
static int defer_accept_fit(int seconds)
{
    int period = seconds > 0 ? 1 : 0;

    for (int timeout = 2; period < seconds; timeout *= 2)
        period += timeout < RTO_MAX_S ? timeout : RTO_MAX_S;
    return period;
}

/* Linux keeps some values other than they were set. */
static int number_fit(const struct sock *s, enum sock_number number, int value)
{
    switch ((int)number) {
    case NUMBER_RCVLOWAT:
        return value < 0 ? INT_MAX : value > 0 ? value : 1;
    case NUMBER_TOS:
    case NUMBER_TCLASS: /* ECN's bits are TCP's (RFC 3168 §5) */
        return s->kind == SOCK_TCP && value > 0 ? value & ~3 : value;
    case NUMBER_LINGER2:
        return value < 0               ? -1
               : value == 0            ? FIN_WAIT_2_S
               : value < LINGER2_MAX_S ? value
                                       : LINGER2_MAX_S;
    case NUMBER_DEFER_ACCEPT:
        return defer_accept_fit(value < DEFER_MAX_S ? value : DEFER_MAX_S);
    default:
        return value;
    }
}

static int number_set(struct sock *s, const struct option_rule *rule, const void *value,
                      socklen_t size)
{
    int number;

    if (rule->level == IPPROTO_IP && size >= 1 && size < sizeof(number))
        number = *(const uint8_t *)value; /* as Linux */
    else if (size < sizeof(number))
        return -EINVAL;
    else
        memcpy(&number, value, sizeof(number));
    bool is_default = rule->number == NUMBER_MAXSEG && number == 0;
    if (rule->number == NUMBER_TTL && number == 0)
        return -EINVAL;
    if ((number < rule->min || number > rule->max) && !is_default)
        return -EINVAL;
    if (rule->is_boolean)
        number = number != 0;
    if (rule->number == NUMBER_SNDBUF || rule->number == NUMBER_RCVBUF) {
        /* Linux doubles it, for its own overhead, and has limits. */
        if (rule->name == SO_SNDBUF || rule->name == SO_RCVBUF)
            number = number < 0 || number > BUFFER_MAX ? BUFFER_MAX : number;
        int min = rule->number == NUMBER_SNDBUF ? 4608 : 2304;
        number = number < 0 || number > INT_MAX / 2 ? INT_MAX : 2 * number;
        if (number < min)
            number = min;
    }
    number = number_fit(s, rule->number, number);
    s->numbers[rule->number] = number;
    number_apply(s, rule->number);
    return 0;
}

static int timeout_set(uint64_t *timeout_us, const void *value, socklen_t size)
{
    struct timeval tv;

    if (size < sizeof(tv))
        return -EINVAL;
    memcpy(&tv, value, sizeof(tv));
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    *timeout_us = tv.tv_sec < 0 ? 0 : (uint64_t)tv.tv_sec * 1000000 + (uint64_t)tv.tv_usec;
    return 0;
}

static int congestion_set(struct sock *s, const char *value, socklen_t size)
{
    char name[16] = {0}; /* TCP_CA_NAME_MAX */
    memcpy(name, value, size < sizeof(name) ? size : sizeof(name) - 1);
    const struct tcp_congestion_ops *found = tcp_congestion_find(name);

    if (found == NULL)
        return -ENOENT;
    s->congestion = found->name;
    struct tcp_conn *c = tcp_sock_conn(s);
    return c != NULL ? tcp_conn_set_congestion(c, name) : 0;
}

int options_set(struct sock *s, int level, int name, const void *value, socklen_t size)
{
    if (value == NULL)
        return -EFAULT;
    if (level == SOL_SOCKET && name == SO_LINGER) {
        if (size < sizeof(s->linger))
            return -EINVAL;
        memcpy(&s->linger, value, sizeof(s->linger));
        return 0;
    }
    if (level == SOL_SOCKET && name == SO_RCVTIMEO)
        return timeout_set(&s->receive_timeout_us, value, size);
    if (level == SOL_SOCKET && name == SO_SNDTIMEO)
        return timeout_set(&s->send_timeout_us, value, size);
    if (level == IPPROTO_TCP && name == TCP_CONGESTION && s->kind == SOCK_TCP)
        return congestion_set(s, value, size);
    const struct option_rule *rule = rule_find(s, level, name);
    return rule == NULL ? -ENOPROTOOPT : number_set(s, rule, value, size);
}

static void copy_out(const void *from, socklen_t have, void *value, socklen_t *size)
{
    *size = *size < have ? *size : have;
    memcpy(value, from, *size);
}

static bool fixed_get(struct sock *s, int name, int *ret)
{
    switch (name) {
    case SO_ERROR:
        *ret = s->error;
        s->error = 0;
        return true;
    case SO_TYPE:
        *ret = s->kind == SOCK_TCP ? SOCK_STREAM : SOCK_DGRAM;
        return true;
    case SO_PROTOCOL:
        *ret = s->kind == SOCK_TCP ? IPPROTO_TCP : IPPROTO_UDP;
        return true;
    case SO_DOMAIN:
        *ret = s->domain;
        return true;
    case SO_ACCEPTCONN:
        *ret = s->is_listening;
        return true;
    default:
        return false;
    }
}

/* Options whose value is the connection's when there is one. */
static int number_get(const struct sock *s, enum sock_number number)
{
    const struct tcp_conn *c = tcp_sock_conn(s);

    switch ((int)number) {
    case NUMBER_MAXSEG:
        if (c != NULL && c->state >= TCP_ESTABLISHED)
            return c->mss;
        return s->numbers[number] != 0 ? s->numbers[number] : TCP_MSS_DEFAULT_V4;
    case NUMBER_SNDBUF:
        if (s->kind == SOCK_TCP)
            return (int)tcp_sock_send_buffer(s);
        return s->numbers[number] != 0 ? s->numbers[number] : 212992;
    case NUMBER_RCVBUF:
        return s->numbers[number] != 0 ? s->numbers[number] : s->kind == SOCK_TCP ? 131072 : 212992;
    case NUMBER_QUICKACK:
        return c != NULL ? (c->flags & CONN_PING_PONG) == 0 : s->numbers[number];
    case NUMBER_TTL:
    case NUMBER_HOPS:
        return s->numbers[number] >= 0 ? s->numbers[number] : HOP_LIMIT_DEFAULT;
    default:
        return s->numbers[number];
    }
}

/* SO_MEMINFO: linux/sock_diag.h. packetdrill asks for it before each check of TCP_INFO. */
static void memory_get(const struct sock *s, void *value, socklen_t *size)
{
    enum { RECEIVED, RECEIVE_BUFFER, SENT, SEND_BUFFER, FORWARD, QUEUED, COUNT = 9 };
    uint32_t bytes[COUNT] = {[RECEIVED] = (uint32_t)s->received.size,
                             [RECEIVE_BUFFER] = (uint32_t)number_get(s, NUMBER_RCVBUF),
                             [SEND_BUFFER] = (uint32_t)number_get(s, NUMBER_SNDBUF),
                             [QUEUED] = s->stream != NULL ? s->stream->queued_bytes : 0};

    copy_out(bytes, sizeof(bytes), value, size);
}

int options_get(struct sock *s, int level, int name, void *value, socklen_t *size)
{
    const struct tcp_conn *c = tcp_sock_conn(s);
    int number = 0;

    if (value == NULL || size == NULL)
        return -EFAULT;
    if ((int)*size < 0)
        return -EINVAL;
    if (level == IPPROTO_TCP && name == TCP_INFO && s->kind == SOCK_TCP) {
        info_get(s, value, size);
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_CC_INFO && s->kind == SOCK_TCP) {
        *size = 0; /* as of those that have nothing to tell, CUBIC and Reno among them */
        return 0;
    }
    if (level == SOL_SOCKET && name == SO_MEMINFO) {
        memory_get(s, value, size);
        return 0;
    }
    if (level == IPPROTO_TCP && name == TCP_CONGESTION && s->kind == SOCK_TCP) {
        char text[16] = {0}; /* TCP_CA_NAME_MAX */
        const char *standard = s->shim->config.congestion;
        standard = standard != NULL ? standard : "cubic";
        snprintf(text, sizeof(text), "%s", s->congestion != NULL ? s->congestion : standard);
        copy_out(text, sizeof(text), value, size);
        return 0;
    }
    if (level == SOL_SOCKET && name == SO_LINGER) {
        copy_out(&s->linger, sizeof(s->linger), value, size);
        return 0;
    }
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        uint64_t us = name == SO_RCVTIMEO ? s->receive_timeout_us : s->send_timeout_us;
        struct timeval tv = {.tv_sec = (time_t)(us / 1000000),
                             .tv_usec = (suseconds_t)(us % 1000000)};
        copy_out(&tv, sizeof(tv), value, size);
        return 0;
    }
    const struct option_rule *rule = rule_find(s, level, name);
    if (level == SOL_SOCKET && fixed_get(s, name, &number)) {
        copy_out(&number, sizeof(number), value, size);
        return 0;
    }
    if ((level == IPPROTO_IP && name == OPTION_IP_MTU) ||
        (level == IPPROTO_IPV6 && name == OPTION_IPV6_MTU)) {
        if (c == NULL)
            return -ENOTCONN;
        number = c->path_mtu;
    } else if (rule == NULL) {
        return -ENOPROTOOPT;
    } else {
        number = number_get(s, rule->number);
    }
    copy_out(&number, sizeof(number), value, size);
    return 0;
}
