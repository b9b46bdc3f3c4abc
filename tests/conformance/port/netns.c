#include "tests/conformance/port/netns.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool run(const char *command)
{
    return system(command) == 0;
}

bool netns_enter(void)
{
    return geteuid() == 0 && unshare(CLONE_NEWNET) == 0 && run("ip link set lo up");
}

/* The kernel leaves checksums to a device that never computes them, unless told not to. */
static bool switch_off_offloads(const char *device)
{
    static const uint32_t commands[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool is_off = fd >= 0;

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && is_off; i++) {
        struct ethtool_value value = {.cmd = commands[i]};
        struct ifreq request = {.ifr_data = (char *)&value};
        snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", device);
        is_off = ioctl(fd, SIOCETHTOOL, &request) == 0;
    }
    close(fd);
    return is_off;
}

bool netns_make_veth(void)
{
    return run("ip link add leatk type veth peer name leatd") &&
           run("sysctl -q -w net.ipv6.conf.leatd.disable_ipv6=1") && run("ip link set leatd up") &&
           run("ip link set leatk up") && switch_off_offloads("leatk");
}

bool netns_configure(void)
{
    return run("ip address add 10.99.0.1/24 dev leatk") &&
           run("ip -6 address add fd99::1/64 dev leatk nodad") && run("ip link set leatk up");
}
