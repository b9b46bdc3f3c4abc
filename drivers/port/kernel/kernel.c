#include "drivers/port/kernel/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>

#include "common/check.h"
#include "common/log.h"

struct kernel_port {
    unsigned queue_count;
    int fds[KERNEL_QUEUES_MAX];
};

static int log_failure(const struct kernel_config *config, const char *what, int error)
{
    log_error("port", LOG_BYTES(NULL, bytes_of_str(what)), LOG_STR("interface", config->name),
              LOG_STR("error", strerror(error)));
    return -error;
}

static struct ifreq request_for(const struct kernel_config *config)
{
    struct ifreq r = {0};

    memcpy(r.ifr_name, config->name, strlen(config->name));
    return r;
}

static int queue_open(const struct kernel_config *config, int *ret_fd)
{
    struct ifreq r = request_for(config);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return log_failure(config, "port.kernel_interface needs /dev/net/tun", errno);
    r.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE;
    if (ioctl(fd, TUNSETIFF, &r) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0) {
        int error = errno;
        close(fd);
        return log_failure(
            config,
            error == EINVAL  ? "port.kernel_interface exists, but is no tap with several queues: "
                               "remove it, or make it with ip tuntap add mode tap multi_queue"
            : error == EBUSY ? "port.kernel_interface is in use by another process"
                             : "port.kernel_interface cannot be made: CAP_NET_ADMIN is needed",
            error);
    }
    *ret_fd = fd;
    return 0;
}

/* An address for the interface, without duplicate address detection: we do that. */
static int address_set(int netlink, int index, const struct kernel_address *a)
{
    uint16_t size = a->family == 4 ? 4 : 16;
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg address;
        uint8_t attributes[2 * (RTA_LENGTH(0) + 16)];
    } m = {
        .header = {.nlmsg_type = RTM_NEWADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE},
        .address = {.ifa_family = a->family == 4 ? AF_INET : AF_INET6,
                    .ifa_prefixlen = a->prefix_bits,
                    .ifa_flags = IFA_F_NODAD | IFA_F_PERMANENT,
                    .ifa_index = (unsigned)index},
    };
    uint8_t *at = m.attributes;
    const uint16_t types[] = {IFA_ADDRESS, IFA_LOCAL};

    for (int i = 0; i < 2; i++) {
        const struct rtattr attribute = {.rta_len = (uint16_t)(RTA_LENGTH(0) + size),
                                         .rta_type = types[i]};
        memcpy(at, &attribute, sizeof(attribute));
        memcpy(at + RTA_LENGTH(0), a->addr, size);
        at += RTA_LENGTH(0) + size;
    }
    m.header.nlmsg_len = (uint32_t)(at - (uint8_t *)&m);
    if (send(netlink, &m, m.header.nlmsg_len, 0) < 0)
        return -errno;

    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        uint8_t rest[512];
    } reply;
    ssize_t got = recv(netlink, &reply, sizeof(reply), 0);
    if (got < 0)
        return -errno;
    if ((size_t)got < sizeof(reply.header) + sizeof(reply.error) ||
        reply.header.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return reply.error.error;
}

static int interface_set(const struct kernel_config *config)
{
    struct ifreq r = request_for(config);
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    int err = control < 0 || netlink < 0 ? -errno : 0;

    r.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    memcpy(r.ifr_hwaddr.sa_data, config->mac, sizeof(config->mac));
    if (err == 0 && ioctl(control, SIOCSIFHWADDR, &r) < 0)
        err = log_failure(config, "port.kernel_interface cannot have the port's MAC", errno);
    r = request_for(config);
    r.ifr_mtu = config->mtu;
    if (err == 0 && ioctl(control, SIOCSIFMTU, &r) < 0)
        err = log_failure(config, "port.kernel_interface cannot have port.mtu", errno);
    r = request_for(config);
    if (err == 0 && ioctl(control, SIOCGIFFLAGS, &r) < 0)
        err = -errno;
    r.ifr_flags |= IFF_UP;
    if (err == 0 && ioctl(control, SIOCSIFFLAGS, &r) < 0)
        err = log_failure(config, "port.kernel_interface cannot be brought up", errno);
    r = request_for(config);
    if (err == 0 && ioctl(control, SIOCGIFINDEX, &r) < 0)
        err = -errno;
    for (uint32_t i = 0; i < config->address_count && err == 0; i++) {
        err = address_set(netlink, r.ifr_ifindex, &config->addresses[i]);
        if (err < 0)
            (void)log_failure(config, "port.kernel_interface does not take an address", -err);
    }
    if (control >= 0)
        close(control);
    if (netlink >= 0)
        close(netlink);
    return err;
}

int kernel_open(const struct kernel_config *config, unsigned queues, struct kernel_port **ret)
{
    size_t length = strlen(config->name);
    int err = 0;

    CHECK(queues >= 1 && queues <= KERNEL_QUEUES_MAX);
    CHECK(config->address_count <= KERNEL_ADDRESSES_MAX);
    if (length == 0 || length > KERNEL_NAME_MAX || strpbrk(config->name, "/ %") != NULL)
        return log_failure(config, "port.kernel_interface is no name of an interface", EINVAL);
    struct kernel_port *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return -ENOMEM;
    while (k->queue_count < queues && err == 0) {
        err = queue_open(config, &k->fds[k->queue_count]);
        k->queue_count += err == 0;
    }
    if (err == 0)
        err = interface_set(config);
    if (err < 0) {
        kernel_close(&k);
        return err;
    }
    *ret = k;
    return 0;
}

void kernel_close(struct kernel_port **pk)
{
    struct kernel_port *k = *pk;

    *pk = NULL;
    if (k == NULL)
        return;
    for (unsigned i = 0; i < k->queue_count; i++)
        close(k->fds[i]);
    free(k);
}

int kernel_write(struct kernel_port *k, unsigned queue, struct bytes head, struct bytes rest)
{
    /* iovec is not const-correct; writev() only reads. */
    const struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)head.ptr, .iov_len = head.size},
        {.iov_base = (void *)(uintptr_t)rest.ptr, .iov_len = rest.size},
    };

    DCHECK(queue < k->queue_count);
    return writev(k->fds[queue], parts, 2) < 0 ? -errno : 0;
}

size_t kernel_read(struct kernel_port *k, unsigned queue, uint8_t *buffer, size_t size)
{
    DCHECK(queue < k->queue_count);
    ssize_t got = read(k->fds[queue], buffer, size);
    return got > 0 ? (size_t)got : 0;
}

int kernel_fd(const struct kernel_port *k, unsigned queue)
{
    DCHECK(queue < k->queue_count);
    return k->fds[queue];
}
