/* What goes to the kernel's stack, what does not, and what may come from there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka wants the three above first. */
#include <cmocka.h>

#include <errno.h>

#include "dataplane/net/checksum.h"
#include "dataplane/net/icmp.h"
#include "dataplane/net/wire.h"
#include "tests/sim/peer.h"

static struct {
    struct world world;
    struct world_host *host;
    struct peer peer;
    int put_error;
    unsigned puts; /* frames that the kernel got, and the latest of them */
    uint8_t put[PEER_FRAME_BYTES];
    size_t put_size;
    unsigned gets_left; /* so often the kernel sends 'get' */
    uint8_t get[PEER_FRAME_BYTES];
    size_t get_size;
} f;

static int kernel_put(void *user, struct bytes head, struct bytes rest)
{
    (void)user;
    assert_true(head.size + rest.size <= sizeof(f.put));
    memcpy(f.put, head.ptr, head.size);
    memcpy(f.put + head.size, rest.ptr, rest.size);
    f.put_size = head.size + rest.size;
    f.puts++;
    return f.put_error;
}

static size_t kernel_get(void *user, uint8_t *buffer, size_t size)
{
    (void)user;
    if (f.gets_left == 0)
        return 0;
    f.gets_left--;
    size_t got = f.get_size < size ? f.get_size : size;
    memcpy(buffer, f.get, got);
    return got;
}

static void on_datagram(void *user, const struct endpoint *local, const struct endpoint *peer,
                        struct bytes in, uint64_t now_us)
{
    (void)user;
    (void)local;
    (void)peer;
    (void)in;
    (void)now_us;
}

static void start(uint8_t family, uint16_t vlan)
{
    static const struct datagram_events datagrams = {.datagram = on_datagram};
    static const struct listen_events streams = {0};
    const struct net_config config = {
        .vlan = vlan, .kernel_put = kernel_put, .kernel_get = kernel_get};
    const struct sim_port_config port = {0};
    struct endpoint any;

    f.put_error = 0;
    f.puts = 0;
    f.gets_left = 0;
    world_init(&f.world, 3);
    f.host = world_host_add(&f.world, "10.0.0.1/24,2001:db8::1/64", &config, &port, 4, 1 << 20);
    const struct transport_ops *ops = f.host->transport->ops;
    endpoint_parse("*:80", &any);
    assert_int_equal(ops->listen(f.host->transport, &any, &streams, NULL), 0);
    endpoint_parse("*:53", &any);
    assert_int_equal(ops->bind(f.host->transport, &any, &datagrams, NULL), 0);
    peer_init(&f.peer, &f.world, f.host, family);
    world_turn(&f.world);
    peer_drop_all(&f.peer);
}

static void stop(void)
{
    world_fini(&f.world);
    assert_int_equal(f.host->wheel.armed_count, 0);
}

static void send_l4(uint8_t protocol, uint16_t port, uint8_t flags)
{
    uint8_t l4[TCP_SIZE] = {0};

    store_be16(l4, PEER_PORT);
    store_be16(l4 + 2, port);
    if (protocol == PROTOCOL_TCP) {
        l4[12] = 0x50;
        l4[13] = flags;
    } else {
        store_be16(l4 + 4, sizeof(l4));
    }
    peer_send_ip(&f.peer, protocol, l4, sizeof(l4));
}

static void test_exception_takes_what_is_not_ours(void **state)
{
    struct bytes in;

    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        const uint8_t icmp = family == 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
        uint8_t message[16] = {family == 4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY};
        start(family, 0);
        send_l4(PROTOCOL_TCP, 22, TCP_SYN);
        assert_int_equal(f.puts, 1);
        assert_int_equal(load_be16(f.put + ETHERNET_SIZE + (family == 4 ? 20 : 40) + 2), 22);
        send_l4(PROTOCOL_TCP, 22, TCP_ACK);
        send_l4(PROTOCOL_UDP, 123, 0);
        peer_send_ip(&f.peer, 89, message, sizeof(message)); /* OSPF */
        peer_send_ip(&f.peer, icmp, message, sizeof(message));
        assert_int_equal(f.puts, 5);
        assert_false(peer_next_frame(&f.peer, &in)); /* no reset, nothing unreachable */

        /* Ours: answered here. */
        send_l4(PROTOCOL_TCP, 80, TCP_ACK);
        assert_true(peer_next_ip(&f.peer, PROTOCOL_TCP, &in));
        assert_int_equal(in.ptr[13], TCP_RST);
        send_l4(PROTOCOL_UDP, 53, 0);
        message[0] = family == 4 ? ICMP_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
        peer_send_ip(&f.peer, icmp, message, sizeof(message));
        assert_int_equal(f.puts, 6); /* the sixth: the peer said its link address */
        stop();
    }
}

static void test_exception_shares_address_resolution(void **state)
{
    uint8_t frame[ETHERNET_SIZE + ARP_SIZE] = {0};
    uint8_t *a = frame + ETHERNET_SIZE;
    struct bytes in;

    (void)state;
    start(4, 0);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, (const uint8_t[]){2, 0, 0, 0, 0, 0x99}, 6);
    store_be16(frame + 12, ETHERTYPE_ARP);
    store_be16(a, 1);
    store_be16(a + 2, ETHERTYPE_IPV4);
    a[4] = 6;
    a[5] = 4;
    store_be16(a + 6, ARP_REQUEST);
    memcpy(a + 8, frame + 6, 6);
    memcpy(a + 14, f.peer.address.addr, 4);
    memcpy(a + 24, f.peer.local.addr, 4);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
    assert_int_equal(f.puts, 0); /* one answer is enough */
    assert_true(peer_next_frame(&f.peer, &in));
    a[27] = 7; /* perhaps an address of the kernel's own */
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
    assert_int_equal(f.puts, 1);
    a[27] = 1;
    store_be16(a + 6, ARP_REPLY);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
    assert_int_equal(f.puts, 2);
    assert_int_equal(f.put_size, sizeof(frame));
    stop();
}

static void test_exception_is_bounded(void **state)
{
    (void)state;
    start(4, 0);
    for (int i = 0; i < 30000; i++)
        send_l4(PROTOCOL_UDP, 123, 0);
    assert_int_equal(f.puts, NET_KERNEL_PER_SECOND);
    assert_int_equal(f.host->counters.net_kernel_limited, 30000 - NET_KERNEL_PER_SECOND);
    f.world.now_us += 1000000;
    f.put_error = -EAGAIN;
    send_l4(PROTOCOL_UDP, 123, 0);
    assert_int_equal(f.host->counters.net_kernel_dropped, 1);
    stop();
}

/* A frame as the kernel sends it: from local port 'port'. */
static void kernel_frame(uint8_t protocol, uint16_t port, size_t size)
{
    uint8_t *ip = f.get + ETHERNET_SIZE;

    memset(f.get, 0, sizeof(f.get));
    memcpy(f.get, (const uint8_t[]){2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1}, 12);
    store_be16(f.get + 12, f.peer.family == 4 ? ETHERTYPE_IPV4 : ETHERTYPE_IPV6);
    f.get_size = ETHERNET_SIZE + size;
    if (f.peer.family == 4) {
        ip[0] = 0x45;
        store_be16(ip + 2, (uint16_t)size);
        ip[9] = protocol;
        memcpy(ip + 12, f.peer.local.addr, 4);
        store_be16(ip + IPV4_SIZE, port);
    } else {
        ip[0] = 0x60;
        ip[6] = protocol;
        memcpy(ip + 8, f.peer.local.addr, 16);
        store_be16(ip + IPV6_SIZE, port);
    }
    for (size_t i = 60; i < size; i++)
        ip[i] = (uint8_t)i;
    f.gets_left = 1;
    world_turn(&f.world);
}

static void test_exception_sends_for_the_kernel(void **state)
{
    static const size_t sizes[] = {60, 114, 115, 800, 1500};
    struct bytes out;

    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        start(family, 0);
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            kernel_frame(PROTOCOL_TCP, 22, sizes[i]);
            assert_true(peer_next_frame(&f.peer, &out));
            assert_int_equal(out.size, f.get_size);
            assert_memory_equal(out.ptr, f.get, f.get_size);
        }
        assert_int_equal(f.host->counters.net_kernel_sent, 5);
        stop();
    }
}

static void test_exception_refuses_what_would_hurt_us(void **state)
{
    struct bytes out;

    (void)state;
    for (uint8_t family = 4; family <= 6; family += 2) {
        start(family, 0);
        kernel_frame(PROTOCOL_TCP, 80, 60);
        kernel_frame(PROTOCOL_UDP, 53, 60);
        kernel_frame(PROTOCOL_TCP, 22, 60);
        assert_true(peer_next_frame(&f.peer, &out)); /* the third */
        assert_false(peer_next_frame(&f.peer, &out));
        f.get[11] = 7; /* another MAC */
        f.gets_left = 1;
        world_turn(&f.world);
        for (f.get_size = 1; f.get_size < ETHERNET_SIZE; f.get_size++) {
            f.gets_left = 1;
            world_turn(&f.world);
        }
        assert_int_equal(f.host->counters.net_kernel_refused, 3 + ETHERNET_SIZE - 1);
        assert_int_equal(f.host->counters.net_kernel_sent, 1);
        stop();
    }
}

static void test_exception_keeps_the_vlan_to_itself(void **state)
{
    uint8_t frame[64] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x99, 0x81, 0, 0, 7, 0x88, 0xcc, 1, 2};
    struct bytes out;

    (void)state;
    start(4, 7);
    peer_send_frame(&f.peer, bytes_of(frame, sizeof(frame)));
    assert_int_equal(f.puts, 1);
    assert_int_equal(f.put_size, sizeof(frame) - VLAN_TAG_SIZE);
    assert_int_equal(load_be16(f.put + 12), 0x88cc);
    assert_int_equal(f.put[15], 2);
    kernel_frame(PROTOCOL_TCP, 22, 100);
    assert_true(peer_next_frame(&f.peer, &out));
    assert_int_equal(out.size, f.get_size + VLAN_TAG_SIZE);
    assert_int_equal(load_be16(out.ptr + 14), 7);
    assert_memory_equal(out.ptr + 16, f.get + 12, f.get_size - 12);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exception_takes_what_is_not_ours),
        cmocka_unit_test(test_exception_shares_address_resolution),
        cmocka_unit_test(test_exception_is_bounded),
        cmocka_unit_test(test_exception_sends_for_the_kernel),
        cmocka_unit_test(test_exception_refuses_what_would_hurt_us),
        cmocka_unit_test(test_exception_keeps_the_vlan_to_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
