"""harness.py - what the integration and fault cases stand on.

A case is a function `case(t)` marked with @case. It runs in a process of its own and, as root, in a network
namespace of its own (loopback only, gone with the process), so that cases neither see each other nor leave anything
behind. `t.start()` gives it a running leatd + leat-dp; whatever it spawns is ended with it.
"""
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import traceback
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
MEDIA = TOP / '.cache' / 'media'
FOOTAGE = pathlib.Path(os.environ.get('LEAT_FOOTAGE', TOP.parent / 'shared' / 'media'))
TAP, TAP_OWN, TAP_PEER = 'leat0', '192.0.2.10', '192.0.2.1'

CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)


# Where meson puts the programs below its build folder.
PROGRAMS = {'leatd': 'control/leatd', 'leatctl': 'control/leatctl', 'leat-dp': 'dataplane/leat-dp'}


def program(build, name):
    return pathlib.Path(build) / PROGRAMS[name]


class Failed(Exception):
    """The case failed; the text says what was expected and what came."""


class Skipped(Exception):
    """The case cannot run here; the text says why."""


CASES = []


def case(nets=('uring', 'dpdk'), needs=(), alone=False):
    """Registers a case. 'alone': it measures time, so nothing else runs beside it."""
    def register(function):
        for net in nets:
            CASES.append(Case(function, net, needs, alone))
        return function
    return register


class Case:
    def __init__(self, function, net, needs, alone):
        self.function, self.net, self.needs, self.alone = function, net, needs, alone
        self.name = f'{function.__name__}.{net}'

    def run(self, build):
        """In a child process: runs the case and returns ('ok'|'fail'|'skip', text)."""
        missing = [tool for tool in self.needs if shutil.which(tool) is None]
        if missing:
            return 'skip', f'{", ".join(missing)} not installed'
        if self.net == 'dpdk' and os.geteuid() != 0:
            return 'skip', 'the tap needs root'
        isolate()
        t = Test(self, build)
        try:
            self.function(t)
            t.stop()
            return 'ok', '; '.join(t.notes)
        except Skipped as why:
            return 'skip', str(why)
        except Failed as why:
            return 'fail', f'{why}\n{t.evidence()}'
        except Exception:
            return 'fail', f'{traceback.format_exc()}\n{t.evidence()}'
        finally:
            t.clean()


def isolate():
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.geteuid() == 0 and LIBC.unshare(CLONE_NEWNET) == 0:
        subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)


CASE_SECONDS_MAX = 180


def check(condition, text):
    if not condition:
        raise Failed(text)


def check_equal(got, expected, what):
    check(got == expected, f'{what}: expected {expected!r}, got {got!r}')


def wait_until(condition, seconds, what, period=0.02):
    """Polls 'condition' until it gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f'not within {seconds} s: {what}')
        time.sleep(period)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def descendants():
    """Living processes below this one, deepest last."""
    children = {}
    for entry in pathlib.Path('/proc').iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / 'stat').read_text().rpartition(')')[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [os.getpid()]
    while todo:
        todo = [pid for parent in todo for pid in children.get(parent, [])]
        found += todo
    return found


class Test:
    def __init__(self, owner, build):
        self.case, self.build, self.net = owner, pathlib.Path(build), owner.net
        self.dir = pathlib.Path(subprocess.check_output(['mktemp', '-d', '/tmp/leat-test.XXXXXX'], text=True).strip())
        self.leat = None
        self.notes = []
        self.logs = []

    def note(self, text):
        self.notes.append(text)

    def start(self, channels=None, config='', **options):
        self.leat = Leat(self, channels or {'cam': 'secret'}, config, **options)
        self.leat.start()
        return self.leat

    def spawn(self, command, name=None, **options):
        """Starts a program; its output goes to a file that is shown when the case fails."""
        name = name or pathlib.Path(command[0]).name
        log = self.dir / f'{len(self.logs)}-{name}.log'
        self.logs.append(log)
        with open(log, 'wb') as out:
            process = subprocess.Popen(command, **{'stdin': subprocess.DEVNULL, 'stdout': out, 'stderr': out, **options})
        process.log = log
        return process

    def stop(self):
        if self.leat:
            self.leat.stop()

    def clean(self):
        for _ in range(50):
            living = descendants()
            if not living:
                break
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.02)
        shutil.rmtree(self.dir, ignore_errors=True)

    def evidence(self):
        text = []
        for log in self.logs:
            with contextlib.suppress(OSError):
                lines = log.read_text(errors='replace').splitlines()[-25:]
                if lines:
                    text += [f'--- {log.name}'] + [line[:400] for line in lines]
        return '\n'.join(text)


class Leat:
    """leatd and the leat-dp below it, on ports and in a run directory of their own."""

    def __init__(self, t, channels, config, shards=1, expect_restarts=False, args=()):
        self.t, self.channels, self.expect_restarts, self.args = t, channels, expect_restarts, list(args)
        self.rtmp_port, self.http_port, self.management_port = free_port(), free_port(), free_port()
        self.host = TAP_OWN if t.net == 'dpdk' else '127.0.0.1'
        self.run_dir = t.dir / 'run'
        self.config_file = t.dir / 'leat.yaml'
        self.process = None
        self.config_file.write_text(self.yaml(config, shards))

    def yaml(self, extra, shards):
        sections = {
            'shards': {'count': shards, 'pin': 'false', 'spin_us': 0},
            'net': {'mode': self.t.net, 'streams_max': 2000},
            'rtmp': {'listen': f'"*:{self.rtmp_port}"'},
            'http': {'listen': f'"*:{self.http_port}"'},
            'management': {'listen': f'"127.0.0.1:{self.management_port}"'},
            'store': {'memory': '128MiB', 'channel_memory': '64MiB', 'channels_max': 16},
        }
        if self.t.net == 'dpdk':
            sections['port'] = {'device': f'"net_tap0,iface={TAP}"', 'address': f'"{TAP_OWN}/24"',
                                'hugepages': 'false', 'memory': '128MiB'}
        for line in extra.split():
            key, _, value = line.partition('=')
            section, _, name = key.partition('.')
            sections.setdefault(section, {})[name] = value
        lines = []
        for section, keys in sections.items():
            lines += [f'{section}:'] + [f'  {name}: {value}' for name, value in keys.items()]
        lines += ['channels:'] + [f'  {name}: {{ key: "{key}" }}' for name, key in self.channels.items()]
        return '\n'.join(lines) + '\n'

    def launch(self):
        """Starts leatd; again, when it was killed."""
        environment = dict(os.environ, LEAT_PAGES=str(TOP / 'web' / 'dist'))
        self.run_dir.mkdir(exist_ok=True)
        self.process = self.t.spawn(
            [str(program(self.t.build, 'leatd')), '--config', str(self.config_file), '--run-dir', str(self.run_dir),
             '--dp', str(program(self.t.build, 'leat-dp')), *self.args], name='leatd', env=environment)

    def start(self):
        self.launch()
        if self.t.net == 'dpdk':
            threading.Thread(target=self.keep_tap, daemon=True).start()
        wait_until(self.is_healthy, 20, 'leatd and leat-dp healthy')
        if self.t.net == 'dpdk':
            wait_until(self.is_reachable, 10, 'HTTP over the tap')

    def keep_tap(self):
        """Gives our side of the tap its address, again whenever leat-dp made it anew."""
        index = 0
        while True:
            try:
                now = socket.if_nametoindex(TAP)
                if now != index:
                    subprocess.run(['ip', 'addr', 'add', f'{TAP_PEER}/24', 'dev', TAP], stderr=subprocess.DEVNULL)
                    subprocess.run(['ip', 'link', 'set', TAP, 'up'], check=True)
                index = now
            except (OSError, subprocess.CalledProcessError):
                index = 0
            time.sleep(0.02)

    def is_healthy(self):
        check(self.process.poll() is None, f'leatd ended with {self.process.returncode}')
        try:
            return self.management('/healthz').status == 200
        except OSError:
            return False

    def is_reachable(self):
        try:
            return self.fetch('/', timeout=1).status != 0
        except OSError:
            return False

    def pid_dp(self):
        try:
            return int((self.run_dir / 'leat-dp.pid').read_text())
        except (OSError, ValueError):
            return 0

    def stop(self):
        """Ends it in order and judges how it went."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(15)
        except subprocess.TimeoutExpired:
            raise Failed('leatd did not stop within 15 s of SIGTERM') from None
        check_equal(code, 0, 'exit status of leatd')
        text = self.process.log.read_text(errors='replace')
        for sign in ('AddressSanitizer', 'LeakSanitizer', 'ThreadSanitizer', 'runtime error:', 'CHECK'):
            check(sign not in text, f'"{sign}" in the log')

    # --- asking it ---

    def url(self, path):
        return f'http://{self.host}:{self.http_port}{path}'

    def rtmp(self, name='cam', key=None):
        key = self.channels.get(name) if key is None else key
        return f'rtmp://{self.host}:{self.rtmp_port}/live/{name}' + (f'?key={key}' if key else '')

    def connection(self, timeout=15):
        return http.client.HTTPConnection(self.host, self.http_port, timeout=timeout)

    def fetch(self, path, method='GET', headers=None, timeout=15):
        return fetch(self.host, self.http_port, path, method, headers, timeout)

    def management(self, path):
        return fetch('127.0.0.1', self.management_port, path, 'GET', None, 5)

    def counters(self):
        """Every sample of /metrics by name, summed over labels."""
        values = {}
        for line in self.management('/metrics').text.splitlines():
            match = re.match(r'([A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(\S+)$', line)
            if match:
                values[match[1]] = values.get(match[1], 0) + float(match[2])
        return values

    def counter(self, name):
        values = self.counters()
        check(name in values, f'no counter {name} in /metrics')
        return values[name]

    def leatctl(self, *arguments):
        done = subprocess.run([str(program(self.t.build, 'leatctl')), '--socket', str(self.run_dir / 'leatd.sock'), *arguments],
                              capture_output=True, text=True, timeout=15)
        check_equal(done.returncode, 0, f'leatctl {" ".join(arguments)}: {done.stderr.strip()}: exit status')
        return done.stdout

    def media_requests(self):
        """How often anybody has asked for media."""
        return self.counter('leat_http_requests_part_total') + self.counter('leat_http_requests_segment_total')

    # --- the channel ---

    def playlist(self, track='video', name='cam', query=''):
        return self.fetch(f'/live/{name}/{track}.m3u8{query}')

    def wait_live(self, name='cam', seconds=30, segments=0):
        """Until the channel can be watched, with so many complete segments; returns index.m3u8."""
        def ready():
            index = self.fetch(f'/live/{name}/index.m3u8')
            if index.status != 200:
                return None
            uris = media_playlists(index.text)
            if not uris:
                return None
            media = self.fetch(f'/live/{name}/{uris[0]}')
            is_live = media.status == 200 and '#EXT-X-ENDLIST' not in media.text
            return index if is_live and media.text.count('#EXTINF') >= segments else None
        return wait_until(ready, seconds, f'channel {name} live with {segments} segments', 0.05)


class Answer:
    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    @property
    def text(self):
        return self.body.decode('utf-8', 'replace')

    def json(self):
        return json.loads(self.body)


def fetch(host, port, path, method, headers, timeout):
    began = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        body = response.read()
        return Answer(response.status, response.headers, body, time.monotonic() - began)
    finally:
        connection.close()


def media_playlists(index):
    """URIs of a multivariant playlist, variants first."""
    variants = [line for line in index.splitlines() if line and not line.startswith('#')]
    return variants + [uri for uri in re.findall(r'#EXT-X-MEDIA:.*?URI="([^"]+)"', index) if uri not in variants]


def attributes(line):
    """The attribute list of an HLS tag."""
    return {name: value.strip('"') for name, value in re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)', line.partition(':')[2])}


# --- media ---

# name: (frame rate, B-frames, sample rate, channels, seconds); rate or sample rate None: no such track.
CLIPS = {
    'plain': ('30', 0, 48000, 2, 40),
    'bframes': ('24000/1001', 3, 44100, 1, 40),
    'ntsc': ('30000/1001', 2, 48000, 2, 40),
    'fast': ('60000/1001', 0, 44100, 2, 40),
    'mono': ('25', 0, 48000, 1, 40),
    'video_only': ('30', 0, None, 0, 40),
    'audio_only': (None, 0, 48000, 2, 40),
    'long': ('30', 0, 48000, 2, 150),
}


def make_clip(name):
    """Makes a clip once: a moving picture and a tone, IDRs two seconds apart."""
    rate, bframes, sample_rate, channels, seconds = CLIPS[name]
    path = MEDIA / f'{name}.flv'
    if path.exists():
        return path
    MEDIA.mkdir(parents=True, exist_ok=True)
    command = ['ffmpeg', '-v', 'error', '-y', '-nostdin']
    if rate:
        numerator, _, denominator = rate.partition('/')
        gop = round(2 * int(numerator) / int(denominator or 1))
        command += ['-f', 'lavfi', '-i', f'testsrc2=size=640x360:rate={rate}']
    if sample_rate:
        command += ['-f', 'lavfi', '-i', f'sine=frequency=440:sample_rate={sample_rate}']
    if rate:
        command += ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', '-b:v', '800k', '-bf', str(bframes),
                    '-b_strategy', '0', '-g', str(gop), '-keyint_min', str(gop), '-sc_threshold', '0']
    if sample_rate:
        command += ['-c:a', 'aac', '-b:a', '96k', '-ac', str(channels)]
    part = path.with_suffix(f'.{os.getpid()}.flv')
    subprocess.run([*command, '-t', str(seconds), '-f', 'flv', str(part)], check=True)
    part.rename(path)
    return path


# --- programs ---

def ffmpeg_publish(t, source, url, *, copy=True, loop=False, output=()):
    command = ['ffmpeg', '-v', 'warning', '-nostdin', '-re']
    if loop:
        command += ['-stream_loop', '-1']
    command += ['-i', str(source)] + (['-c', 'copy'] if copy else []) + [*output, '-f', 'flv', url]
    return t.spawn(command, name='publish')


# ffmpeg 5.1 reads EXT-X-MAP again after each reload of a live playlist, whoever made it (its own muxer's output too).
FFMPEG_SAYS_ALWAYS = re.compile(r'Found duplicated MOOV Atom. Skipped it$')


def probe_packets(t, url, seconds, arguments=()):
    """Reads 'seconds' of a live stream with ffprobe. Returns (packets by stream, streams); fails on any warning."""
    done = subprocess.run(
        ['ffprobe', '-v', 'repeat+warning', *arguments, '-show_packets', '-show_streams', '-of', 'json',
         '-read_intervals', f'%+{seconds}', url],
        capture_output=True, text=True, timeout=seconds + 40)
    check(done.returncode == 0, f'ffprobe {url}: status {done.returncode}: {done.stderr[-800:]}')
    warnings = [line for line in done.stderr.splitlines() if line.strip() and not FFMPEG_SAYS_ALWAYS.search(line)]
    check(not warnings, f'ffprobe {url} warns: ' + '\n'.join(warnings[:8]))
    data = json.loads(done.stdout)
    packets = {}
    for packet in data['packets']:
        packets.setdefault(packet['codec_type'], []).append(packet)
    return packets, {stream['codec_type']: stream for stream in data['streams']}


def probe_dash(t, leat, name, seconds):
    """Fetches what the MPD lists, each track's init segment and segments in a row, and reads that with ffprobe; ffmpeg 5.1 itself
    plays a live SegmentTimeline from the start again whenever its refresh sees a new segment. Returns as probe_packets()."""
    mpd = xml.etree.ElementTree.fromstring(leat.fetch(f'/live/{name}/manifest.mpd').body)
    xmlns = {'d': 'urn:mpeg:dash:schema:mpd:2011'}
    packets, streams = {}, {}
    for adaptation in mpd.findall('d:Period[last()]/d:AdaptationSet', xmlns):
        template = adaptation.find('.//d:SegmentTemplate', xmlns)
        steps = [int(s.get('d')) for s in template.findall('.//d:S', xmlns) for _ in range(int(s.get('r', 0)) + 1)]
        first, wanted = int(template.get('startNumber')), seconds * int(template.get('timescale'))
        body = leat.fetch(f'/live/{name}/{template.get("initialization")}').body
        number = len(steps) - 1 # the newest; it is being made, so the fetch ends with it
        while number > 0 and sum(steps[number:]) < wanted:
            number -= 1
        for index in range(number, len(steps)):
            answer = leat.fetch(f'/live/{name}/' + template.get('media').replace('$Number$', str(first + index)))
            check_equal(answer.status, 200, f'segment {first + index} of the MPD: status')
            body += answer.body
        file = t.dir / f'{name}-{adaptation.get("contentType")}.mp4'
        file.write_bytes(body)
        more_packets, more_streams = probe_packets(t, str(file), seconds)
        packets.update(more_packets)
        streams.update(more_streams)
    return packets, streams


def check_packets(packets, kind, seconds, per_second, is_steady=True):
    """Strictly growing dts; of a steady source also no gap, and as many packets as the time wants."""
    check(kind in packets, f'no {kind} packets')
    dts = [float(packet['dts_time']) for packet in packets[kind]]
    steps = [b - a for a, b in zip(dts, dts[1:])]
    check(min(steps) > 0, f'{kind}: dts goes back by {-min(steps):.4f} s')
    if not is_steady:
        return
    check(max(steps) < 2.5 / per_second, f'{kind}: gap of {max(steps):.3f} s at {dts[steps.index(max(steps))]:.3f}')
    check(dts[-1] - dts[0] > seconds - 1, f'{kind}: {dts[-1] - dts[0]:.2f} s of {seconds}')
    rate = (len(dts) - 1) / (dts[-1] - dts[0])
    check(abs(rate / per_second - 1) < 0.03, f'{kind}: {rate:.2f} packets a second instead of {per_second:.2f}')
