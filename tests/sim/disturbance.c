#include "tests/sim/disturbance.h"

#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/tcp/tcp.h"
#include "dataplane/net/wire.h"

enum {
    TIMES_MAX = 4,
    FORGERIES_MAX = 40,
    STALL_US_MAX = 5000000,
    SPIKE_US_MAX = 2000000,
    FRAME_MAX = 2048
};

/* The router that will not pass 'frame' on says so (RFC 1191, RFC 8201). */
static void too_big_reply(struct disturbance *d, struct port *to, struct bytes frame,
                          size_t l2_size, uint64_t now_us)
{
    uint8_t reply[160];
    const uint8_t *ip = frame.ptr + l2_size;
    uint8_t *h = reply + l2_size;
    bool is_v6 = ip[0] >> 4 == 6;
    size_t ip_size = is_v6 ? IPV6_SIZE : IPV4_SIZE;
    size_t size = ICMP_SIZE + ip_size + 8;
    uint8_t *m = h + ip_size;

    memset(reply, 0, sizeof(reply));
    memcpy(reply, frame.ptr, l2_size);
    memcpy(reply, frame.ptr + 6, 6);
    memcpy(reply + 6, frame.ptr, 6);
    memcpy(h, ip, ip_size);
    memcpy(m + ICMP_SIZE, ip, ip_size + 8);
    if (is_v6) {
        store_be16(h + 4, (uint16_t)size);
        h[6] = PROTOCOL_ICMPV6;
        memcpy(h + 8, ip + 24, 16);
        memcpy(h + 24, ip + 8, 16);
        m[0] = ICMP6_TOO_BIG;
        store_be32(m + 4, d->path_mtu);
        uint32_t sum = checksum_pseudo_header(h + 8, h + 24, 6, PROTOCOL_ICMPV6) + (uint32_t)size;
        store_be16(m + 2, checksum_finish(sum + checksum_sum(m, size)));
    } else {
        store_be16(h + 2, (uint16_t)(IPV4_SIZE + size));
        h[9] = PROTOCOL_ICMP;
        memcpy(h + 12, ip + 16, 4);
        memcpy(h + 16, ip + 12, 4);
        store_be16(h + 10, 0);
        store_be16(h + 10, checksum_finish(checksum_sum(h, IPV4_SIZE)));
        m[0] = ICMP_UNREACHABLE;
        m[1] = ICMP_CODE_FRAGMENTATION_NEEDED;
        store_be16(m + 6, d->path_mtu);
        store_be16(m + 2, checksum_finish(checksum_sum(m, size)));
    }
    sim_inject(to, bytes_of(reply, l2_size + ip_size + size), now_us + 500);
}

/* A copy of a TCP frame on its way to 'to', with good checksums but numbers and flags that somebody
 * guessed: RFC 5961's blind attacker. */
static void forge(struct disturbance *d, struct port *to, struct bytes frame, size_t l2_size,
                  uint64_t now_us)
{
    static const uint8_t flags[] = {TCP_RST, TCP_RST | TCP_ACK, TCP_SYN,          TCP_SYN | TCP_ACK,
                                    TCP_ACK, TCP_ACK | TCP_PSH, TCP_ACK | TCP_FIN};
    uint8_t copy[FRAME_MAX];
    uint8_t *ip = copy + l2_size;

    memcpy(copy, frame.ptr, frame.size);
    bool is_v6 = ip[0] >> 4 == 6;
    size_t l3_size = is_v6 ? IPV6_SIZE : IPV4_SIZE;
    size_t l4_size =
        is_v6 ? load_be16(ip + 4) : (size_t)load_be16(ip + 2) - l3_size; /* we send no options */
    uint8_t *h = ip + l3_size;
    store_be32(h + 4, (uint32_t)world_random(&d->random));
    store_be32(h + 8, (uint32_t)world_random(&d->random));
    h[12] = TCP_SIZE / 4 << 4; /* the options become data */
    h[13] = flags[world_random(&d->random) % sizeof(flags)];
    store_be16(h + 14, (uint16_t)world_random(&d->random));
    store_be16(h + 16, 0);
    uint32_t sum = checksum_pseudo_header(ip + (is_v6 ? 8 : 12), ip + (is_v6 ? 24 : 16),
                                          is_v6 ? 6 : 4, PROTOCOL_TCP);
    store_be16(h + 16, checksum_finish(sum + (uint32_t)l4_size + checksum_sum(h, l4_size)));
    sim_inject(to, bytes_of(copy, frame.size), now_us + world_between(&d->random, 0, 50000));
    d->forgeries_left--;
}

static bool is_tcp(struct bytes frame, size_t l2_size)
{
    const uint8_t *ip = frame.ptr + l2_size;

    if (frame.size < l2_size + IPV6_SIZE + TCP_SIZE)
        return false;
    if (ip[0] >> 4 == 6)
        return ip[6] == PROTOCOL_TCP;
    return ip[0] == 0x45 && ip[9] == PROTOCOL_TCP && l2_size + load_be16(ip + 2) <= frame.size;
}

static void on_capture(void *user, const struct port *from, struct bytes frame, uint64_t now_us)
{
    struct disturbance *d = user;
    size_t l2_size = frame.size > 18 && load_be16(frame.ptr + 12) == ETHERTYPE_VLAN ? 18 : 14;
    unsigned side = from == d->ports[1];

    if (d->path_mtu != 0 && frame.size > l2_size + d->path_mtu)
        too_big_reply(d, d->ports[side], frame, l2_size, now_us);
    if ((d->kinds & DISTURBANCE_FORGERY) != 0 && d->forgeries_left > 0 && frame.size <= FRAME_MAX &&
        is_tcp(frame, l2_size) && world_random(&d->random) % 8 == 0)
        forge(d, d->ports[1 - side], frame, l2_size, now_us);
}

void disturbance_init(struct disturbance *d, struct world *world, struct port *const ports[2],
                      const struct sim_impairment normal[2], uint64_t seed, bool is_v6)
{
    *d = (struct disturbance){
        .world = world,
        .ports = {ports[0], ports[1]},
        .normal = {normal[0], normal[1]},
        .random = seed,
        .mtu_min = is_v6 ? IPV6_MTU_MIN : IPV4_MTU_MIN,
    };
    for (int i = 0; i < 2; i++)
        sim_impair(ports[i], &normal[i]);
    sim_capture(world->wire, on_capture, d);
}

void disturbance_begin(struct disturbance *d, uint32_t kinds)
{
    d->kinds = kinds;
    d->forgeries_left = FORGERIES_MAX;
    d->left = (uint32_t)world_between(&d->random, 1, TIMES_MAX);
    d->next_us = d->world->now_us + world_between(&d->random, 0, 1000000);
}

static void restore(struct disturbance *d)
{
    d->is_active = false;
    for (int i = 0; i < 2; i++)
        sim_impair(d->ports[i], &d->normal[i]);
}

static void stall(struct disturbance *d)
{
    const struct sim_impairment cut = {.loss_ppm = 1000000};
    uint64_t ways = world_between(&d->random, 1, 3);

    for (unsigned i = 0; i < 2; i++)
        if ((ways >> i & 1) != 0)
            sim_impair(d->ports[i], &cut);
    d->next_us = d->world->now_us + world_between(&d->random, 1000, STALL_US_MAX);
}

static void spike(struct disturbance *d)
{
    for (int i = 0; i < 2; i++) {
        struct sim_impairment slow = d->normal[i];
        slow.delay_us += world_between(&d->random, 0, SPIKE_US_MAX);
        sim_impair(d->ports[i], &slow);
    }
    d->next_us = d->world->now_us + world_between(&d->random, 1000, SPIKE_US_MAX);
}

static void narrow(struct disturbance *d)
{
    uint64_t high = d->path_mtu != 0 ? d->path_mtu : 1480;

    d->path_mtu = (uint16_t)world_between(&d->random, d->mtu_min, high);
    for (int i = 0; i < 2; i++)
        sim_path_mtu(d->ports[i], d->path_mtu);
}

void disturbance_step(struct disturbance *d)
{
    if (d->world->now_us < d->next_us || (d->left == 0 && !d->is_active))
        return;
    if (d->is_active) {
        restore(d);
        d->next_us = d->world->now_us + world_between(&d->random, 1000, 1000000);
        return;
    }
    d->left--;
    if ((d->kinds & DISTURBANCE_NARROW) != 0 && world_random(&d->random) % 2 == 0)
        narrow(d);
    uint32_t kinds = d->kinds & (DISTURBANCE_STALL | DISTURBANCE_SPIKE);
    bool may_both = kinds == (DISTURBANCE_STALL | DISTURBANCE_SPIKE);
    d->is_active = kinds != 0;
    if (kinds == DISTURBANCE_STALL || (may_both && world_random(&d->random) % 2 == 0))
        stall(d);
    else if (kinds != 0)
        spike(d);
    else
        d->next_us = d->world->now_us + world_between(&d->random, 1000, 1000000);
}

void disturbance_end(struct disturbance *d)
{
    restore(d);
    d->left = 0;
    d->forgeries_left = 0;
}
