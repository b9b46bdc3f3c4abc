"""Below HTTP, over the tap: the kernel's share of the port, VLAN, several addresses."""
import os
import re
import socket
import struct
import subprocess
import threading
import time

import harness
from harness import (TAP, TAP_OWN, TAP_PEER, Leat, case, check, check_equal, check_packets, ffmpeg_publish, make_clip,
                     probe_packets, wait_until)

KERNEL = 'leatk0'
SOL_PACKET, PACKET_AUXDATA = 263, 8


def sh(*command, inside=None, timeout=15, fails=False):
    """Runs a command, in the network namespace of process 'inside'; returns what it prints."""
    if inside:
        command = ('nsenter', f'--net=/proc/{inside.pid}/ns/net', *command)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    check(fails or done.returncode == 0, f'{" ".join(command)}: status {done.returncode}: {done.stderr.strip()}')
    return done.stdout


class Apart(Leat):
    """leat-dp with the kernel's share of the port here, and the wire's other end in a namespace of its own."""

    def start(self):
        self.peer = self.t.spawn(['unshare', '--net', 'sleep', '600'], name='peer')
        here = os.stat('/proc/self/ns/net').st_ino
        wait_until(lambda: os.stat(f'/proc/{self.peer.pid}/ns/net').st_ino != here, 5, 'a namespace for the peer')
        self.launch()
        wait_until(self.is_healthy, 20, 'leatd and leat-dp healthy')
        sh('ip', 'link', 'set', TAP, 'netns', str(self.peer.pid))
        for command in (('link', 'set', 'lo', 'up'), ('addr', 'add', f'{TAP_PEER}/24', 'dev', TAP),
                        ('addr', 'add', '2001:db8::99/64', 'nodad', 'dev', TAP), ('link', 'set', TAP, 'up')):
            sh('ip', *command, inside=self.peer)

    def get(self, url):
        return sh('curl', '-gsS', '-m', '10', '-o', '/dev/null', '-w', '%{http_code}', url, inside=self.peer, fails=True)


@case(nets=['dpdk'], needs=['curl', 'nsenter', 'ip'])
def network_kernel_exception(t):
    """A server of the kernel on Leat's own address, beside Leat, both ways and over both families."""
    leat = t.leat = Apart(t, {'cam': 'secret'}, f'port.kernel_interface={KERNEL} '
                          f'port.address="{TAP_OWN}/24,2001:db8::10/64"')
    leat.start()
    check('LOWER_UP' in sh('ip', 'link', 'show', 'dev', KERNEL), f'{KERNEL} is up')
    (t.dir / 'hello').write_text('hello' * 100000)
    t.spawn(['python3', '-m', 'http.server', '--bind', '::', '--directory', str(t.dir), '2280'], name='kernel-server')
    wait_until(lambda: leat.get(f'http://{TAP_OWN}:2280/hello') == '200', 15, "the kernel's server from the peer")
    check_equal(leat.get('http://[2001:db8::10]:2280/hello'), '200', "the kernel's server over IPv6: status")
    check_equal(leat.get(f'http://{TAP_OWN}:{leat.http_port}/time'), '200', 'Leat beside it: status')
    check_equal(leat.get(f'http://[2001:db8::10]:{leat.http_port}/time'), '200', 'Leat beside it over IPv6: status')
    body = sh('curl', '-sS', '-m', '10', f'http://{TAP_OWN}:2280/hello', inside=leat.peer)
    check_equal(len(body), 500000, 'bytes from the kernel')

    # The kernel as a client, and its ping: the answers are the kernel's.
    t.spawn(['nsenter', f'--net=/proc/{leat.peer.pid}/ns/net', 'python3', '-m', 'http.server', '--directory', str(t.dir), '2281'],
            name='peer-server')
    wait_until(lambda: subprocess.run(['curl', '-s', '-m', '2', '-o', '/dev/null', f'http://{TAP_PEER}:2281/hello']).returncode == 0,
               15, 'the peer from the kernel')
    # A port that nobody has is refused by the kernel; Leat's counters tell the two apart.
    refused = sh('curl', '-sS', '-m', '3', '-w', '%{exitcode}', f'http://{TAP_OWN}:2299/', inside=leat.peer, fails=True)
    check(refused.endswith('7'), f'a port of nobody: curl exit code 7 expected, got {refused!r}')
    counters = leat.counters()
    check_equal(counters['leat_tcp_rx_no_connection_total'], 0, 'segments that Leat refused')
    check_equal(counters['leat_net_kernel_refused_total'], 0, 'frames refused from the kernel')
    check(counters['leat_net_kernel_received_total'] > 100, 'frames went to the kernel')
    t.note(f'{counters["leat_net_kernel_received_total"]:.0f} frames to the kernel, '
           f'{counters["leat_net_kernel_sent_total"]:.0f} from it')

    # The interface, its addresses and the server's socket survive a restart of the data plane.
    before = leat.pid_dp()
    os.kill(before, 9)
    wait_until(lambda: leat.pid_dp() not in (0, before) and leat.is_healthy(), 15, 'leat-dp again')
    check(TAP_OWN in sh('ip', 'addr', 'show', 'dev', KERNEL), f'{KERNEL} kept its address')


def tagged(destination, source, vlan, payload):
    return destination + source + struct.pack('!HH', 0x8100, vlan) + payload


def arp(operation, mac, sender, target):
    return struct.pack('!HHHBBH6s4s6s4s', 0x0806, 1, 0x0800, 6, 4, operation, mac, socket.inet_aton(sender), bytes(6),
                       socket.inet_aton(target))


@case(nets=['dpdk'], needs=['ip'])
def network_vlan_and_addresses(t):
    """Frames of the configured VLAN only, and an answer for each of several addresses."""
    leat = t.leat = Leat(t, {'cam': 'secret'}, 'port.vlan=7 port.address="192.0.2.10/24,198.51.100.10/24"')
    leat.launch()
    wait_until(leat.is_healthy, 20, 'leatd and leat-dp healthy')
    sh('ip', 'link', 'set', TAP, 'up')
    mac, everybody = bytes.fromhex('020000000099'), bytes([255] * 6)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as wire:
        wire.bind((TAP, 3))
        wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        wire.settimeout(0.2)

        def answer(vlan, sender, target):
            """The VLAN in which the answer comes; 0: none comes."""
            wire.send(tagged(everybody, mac, vlan, arp(1, mac, sender, target)))
            for _ in range(5):
                try:
                    frame, control, _, _ = wire.recvmsg(2000, 200)
                except TimeoutError:
                    return 0
                if frame[12:14] == b'\x08\x06' and frame[20:22] == b'\0\2' and frame[28:32] == socket.inet_aton(target):
                    return struct.unpack('IIIHHHH', control[0][2])[5]
                if frame[12:14] == b'\x81\0' and frame[16:18] == b'\x08\x06' and frame[24:26] == b'\0\2':
                    return struct.unpack('!H', frame[14:16])[0]
            return 0

        for sender, target in (('192.0.2.1', '192.0.2.10'), ('198.51.100.1', '198.51.100.10')):
            wait_until(lambda: answer(7, sender, target) == 7, 10, f'an answer from {target} in VLAN 7')
        check_equal(answer(8, '192.0.2.1', '192.0.2.10'), 0, 'VLAN of the answer to another VLAN')
        check_equal(answer(7, '192.0.2.1', '198.51.100.10'), 7, 'VLAN of the answer about an address of another prefix')
    check(leat.counter('leat_net_rx_other_vlan_total') >= 1, 'frames of another VLAN are counted')


@case(nets=['dpdk'], needs=['ip', 'ethtool', 'curl'])
def network_bond(t):
    """A bond of two af_packet members, active-backup, in a bridge with the viewer."""
    for one, other in (('va0', 'va1'), ('vb0', 'vb1')):
        sh('ip', 'link', 'add', one, 'type', 'veth', 'peer', 'name', other)
    sh('ip', 'link', 'add', 'bridge0', 'type', 'bridge')
    for name in ('va1', 'vb1'):
        sh('ip', 'link', 'set', name, 'master', 'bridge0')
    for name in ('va0', 'va1', 'vb0', 'vb1', 'bridge0'):
        sh('ip', 'link', 'set', name, 'up')
        sh('ethtool', '-K', name, 'tx', 'off') # veth leaves checksums to a card that is not there
    sh('ip', 'addr', 'add', f'{TAP_PEER}/24', 'dev', 'bridge0')
    leat = t.leat = Leat(t, {'cam': 'secret'}, 'port.device="net_bonding0,mode=1,slave=net_af_packet0,slave=net_af_packet1" '
                         'port.memory=160MiB')
    text = leat.config_file.read_text()
    options = '--vdev=net_af_packet0,iface=va0 --vdev=net_af_packet1,iface=vb0'
    leat.config_file.write_text(text.replace('port:\n', f'port:\n  options: "{options}"\n', 1))
    leat.launch()
    wait_until(leat.is_healthy, 20, 'leatd and leat-dp healthy')
    wait_until(leat.is_reachable, 10, 'HTTP over the bond')


def over_shards(leat, name):
    """A counter of each shard, in order."""
    lines = re.findall(rf'^{name}\{{shard="(\d+)"\}} (\d+)', leat.management('/metrics').text, re.M)
    return [int(value) for _, value in sorted(lines)]


def sent_by_shards(leat):
    """Bytes of each of two shards; one that sends through the other's queue copies what it sends, and the other counts it too."""
    sent = over_shards(leat, 'leat_port_tx_bytes_total')
    if over_shards(leat, 'leat_port_steer_sent_total')[1] > 0:
        copied = over_shards(leat, 'leat_port_tx_copied_bytes_total')[1]
        sent = [sent[0] - copied, copied]
    return sent


def publishes_and_plays(t, leat):
    """Two shards: one has the publisher, viewers are on both, and each plays without a gap."""
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=2)
    home = int(re.search(r'publish begins channel=cam shard=(\d)', leat.process.log.read_text())[1])

    # A connection is on either shard: of 24, some are on each, but once in eight million runs.
    text = leat.playlist().text
    path = '/live/cam/' + [line for line in text.splitlines() if line and not line.startswith('#')][0]
    before = sent_by_shards(leat)
    whole = leat.fetch(path).body
    for _ in range(23):
        check(leat.fetch(path).body == whole, 'the same bytes on every connection')
    served = [(after - was) // len(whole) for was, after in zip(before, sent_by_shards(leat))]
    check(len(served) == 2 and min(served) > 0, f'segments that each shard has sent: {served}')
    packets, _ = probe_packets(t, leat.url('/live/cam/index.m3u8'), 4)
    check_packets(packets, 'video', 4, 30)
    t.note(f'publisher on shard {home}, segments sent by each shard {served}, '
           f'frames passed on {over_shards(leat, "leat_port_steer_frames_total")}')


@case(nets=['dpdk'])
def network_shards_tap(t):
    """Two shards over a tap: the kernel's queues, steered."""
    publishes_and_plays(t, t.start(shards=2))
    check_equal(t.leat.counter('leat_port_steer_dropped_total'), 0, 'frames that a shard did not take')


class Wired(Leat):
    """leat-dp on one end of a veth pair, the test on the other."""

    mtu = 1500

    def start(self):
        sh('ip', 'link', 'add', 'wire0', 'type', 'veth', 'peer', 'name', 'wire1')
        for name in ('wire0', 'wire1'):
            sh('ip', 'link', 'set', name, 'mtu', str(self.mtu), 'up')
            sh('ethtool', '-K', name, 'tx', 'off') # veth leaves checksums to a card that is not there
        sh('ip', 'addr', 'add', f'{TAP_PEER}/24', 'dev', 'wire1')
        self.launch()
        wait_until(self.is_healthy, 20, 'leatd and leat-dp healthy')
        wait_until(self.is_reachable, 10, 'HTTP over the wire')


def wired(t, device, config='', mtu=1500, **options):
    t.leat = Wired(t, {'cam': 'secret'}, f'port.device="{device}" port.mtu={mtu} {config}', **options)
    t.leat.mtu = mtu
    t.leat.start()
    return t.leat


@case(nets=['dpdk'], needs=['ethtool'])
def network_shards_af_packet(t):
    """Two shards over two packet sockets, between which the kernel spreads flows its own way."""
    leat = wired(t, 'net_af_packet0,iface=wire0,qpairs=2', shards=2)
    publishes_and_plays(t, leat)
    check(sum(over_shards(leat, 'leat_port_steer_frames_total')) > 0, 'frames are passed on')


@case(nets=['dpdk'], needs=['ethtool'])
def network_shards_one_queue(t):
    """Two shards over a device with a single queue: one receives and sends for both."""
    leat = wired(t, 'net_af_packet0,iface=wire0', shards=2)
    publishes_and_plays(t, leat)
    frames, sent = over_shards(leat, 'leat_port_steer_frames_total'), over_shards(leat, 'leat_port_steer_sent_total')
    check(frames[0] > 0 and frames[1] == 0, f'the first shard passes frames on: {frames}')
    check(sent[0] == 0 and sent[1] > 0, f'the second sends through the first: {sent}')


@case(nets=['dpdk'], needs=['ethtool'])
def network_shards_af_xdp(t):
    """As above over an XDP socket."""
    publishes_and_plays(t, wired(t, 'net_af_xdp0,iface=wire0', shards=2))


# IEEE 802.1AX §6.4.2: state bits of an actor or partner.
LACP_SYNCHRONISED, LACP_COLLECTING, LACP_DISTRIBUTING, LACP_DEFAULTED = 8, 16, 32, 64
LACP_UP = LACP_SYNCHRONISED | LACP_COLLECTING | LACP_DISTRIBUTING


class LacpWatch(threading.Thread):
    """Keeps the latest states that come in at an end of a wire: (the sender's own, its partner's)."""

    def __init__(self, interface):
        super().__init__(daemon=True)
        self.states = 0, 0
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.wire.bind((interface, 3))
        self.start()

    def run(self):
        while True:
            frame = self.wire.recv(2000)
            # Slow protocols, LACP, version 1; actor information, then partner information.
            if frame[12:16] == b'\x88\x09\x01\x01' and frame[16:18] == b'\x01\x14' and frame[36:38] == b'\x02\x14':
                self.states = frame[32], frame[52]

    def is_up(self):
        own, partner = self.states
        return own & LACP_UP == LACP_UP and own & LACP_DEFAULTED == 0 and partner & LACP_SYNCHRONISED


def bonded(t, name, members, address, extra=''):
    """A data plane on a bond by LACP (802.3ad) of two interfaces."""
    folder = t.dir / name
    folder.mkdir()
    ports = ','.join(f'slave=net_af_packet{i}' for i in range(len(members)))
    leat = Leat(t, {'cam': 'secret'}, f'port.device="net_bonding0,mode=4,{ports}" port.address="{address}/24" '
                f'port.memory=160MiB {extra}')
    options = ' '.join(f'--vdev=net_af_packet{i},iface={member}' for i, member in enumerate(members))
    text = leat.config_file.read_text()
    leat.config_file, leat.run_dir, leat.host = folder / 'leat.yaml', folder / 'run', address
    leat.config_file.write_text(text.replace('port:\n', f'port:\n  options: "{options}"\n', 1))
    leat.launch()
    return leat


@case(nets=['dpdk'], needs=['ip', 'ethtool'])
def network_bond_lacp(t):
    """Two bonds that talk LACP to each other over two wires: both come up, and carry."""
    for one, other in (('va0', 'va1'), ('vb0', 'vb1')):
        sh('ip', 'link', 'add', one, 'type', 'veth', 'peer', 'name', other)
    for name in ('va0', 'va1', 'vb0', 'vb1'):
        sh('ip', 'link', 'set', name, 'up')
        sh('ethtool', '-K', name, 'tx', 'off') # veth leaves checksums to a card that is not there
    watches = [LacpWatch(end) for end in ('va0', 'va1', 'vb0', 'vb1')]
    # The far end is a data plane too, by which the kernel here reaches the near one.
    far = bonded(t, 'far', ('va1', 'vb1'), TAP_PEER, f'port.kernel_interface={KERNEL}')
    leat = t.leat = bonded(t, 'near', ('va0', 'vb0'), TAP_OWN)
    for end in (far, leat):
        wait_until(end.is_healthy, 40, 'leatd and leat-dp healthy')
    for watch in watches:
        wait_until(watch.is_up, 40, 'both ends of each wire synchronised, collecting and distributing')
    wait_until(leat.is_reachable, 10, 'HTTP over the bond')
    for _ in range(20):
        check_equal(leat.fetch('/watch/cam').status, 200, 'a page over the bond: status')
    far.stop()


def bytes_per_frame(leat, fetch):
    """What 'fetch' returns, and the mean size of the frames that went out for it."""
    before = leat.counters()
    body = fetch()
    after = leat.counters()
    frames, size = (after[f'leat_port_tx_{what}_total'] - before[f'leat_port_tx_{what}_total'] for what in ('frames', 'bytes'))
    return body, size / frames


@case(nets=['dpdk'], needs=['ethtool', 'nsenter', 'ip', 'curl'])
def network_jumbo(t):
    """Frames of 9,000 bytes to a viewer on the link; to one behind a router with a small link, as large as its errors allow."""
    leat = wired(t, 'net_af_packet0,iface=wire0,framesz=16384,blocksz=16384', f'port.memory=512MiB port.gateway={TAP_PEER}',
                 mtu=9000)
    peer = t.spawn(['unshare', '--net', 'sleep', '600'], name='peer')
    here = os.stat('/proc/self/ns/net').st_ino
    wait_until(lambda: os.stat(f'/proc/{peer.pid}/ns/net').st_ino != here, 5, 'a namespace for the viewer')
    sh('ip', 'link', 'add', 'far0', 'type', 'veth', 'peer', 'name', 'far1', 'netns', str(peer.pid))
    sh('ip', 'addr', 'add', '198.51.100.1/24', 'dev', 'far0')
    sh('ip', 'link', 'set', 'far0', 'mtu', '1400', 'up') # the narrow place; the viewer does not know of it
    for command in (('link', 'set', 'far1', 'mtu', '9000', 'up'), ('addr', 'add', '198.51.100.2/24', 'dev', 'far1'),
                    ('route', 'add', 'default', 'via', '198.51.100.1')):
        sh('ip', *command, inside=peer)
    for end in ('wire1', 'far0'): # not at our end of the wire, where the kernel sees frames too
        with open(f'/proc/sys/net/ipv4/conf/{end}/forwarding', 'w') as forward:
            forward.write('1')

    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=2)
    text = leat.playlist().text
    path = '/live/cam/' + [line for line in text.splitlines() if line and not line.startswith('#')][0]
    whole, near = bytes_per_frame(leat, lambda: leat.fetch(path).body)
    check(near > 4000, f'frames to the near viewer are large: {near:.0f} bytes')
    file = t.dir / 'far.m4s'
    _, far = bytes_per_frame(leat, lambda: sh('curl', '-gsS', '-m', '20', '-o', str(file), leat.url(path), inside=peer, timeout=30))
    check(file.read_bytes() == whole, 'the same bytes through the router')
    check(far < near / 2, f'frames to the far viewer, those that were too large included: {far:.0f} bytes')
    check_equal(leat.counter('leat_net_path_mtu_reductions_total'), 1, 'paths found to be narrow')
    t.note(f'{near:.0f} bytes a frame on the link, {far:.0f} through the router')


@case(nets=['dpdk'])
def network_refuses_mtu(t):
    """An MTU that the device does not carry is refused at the start, in so many words."""
    leat = t.leat = Leat(t, {'cam': 'secret'}, 'port.mtu=9000')
    done = subprocess.run([str(harness.program(t.build, 'leat-dp')), '--config', str(leat.config_file), '--run-dir', str(t.dir)],
                          capture_output=True, text=True, timeout=20)
    t.leat = None
    check_equal(done.returncode, 1, 'exit status of leat-dp')
    check('does not carry port.mtu' in done.stderr and 'most=150' in done.stderr, f'says why: {done.stderr[-500:]}')
