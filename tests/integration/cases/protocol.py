"""HTTP/1.1 as curl and hostile or clumsy peers speak it: framing, limits, slow readers, slow writers."""
import re
import socket
import subprocess
import threading
import time

from harness import case, check, check_equal, ffmpeg_publish, make_clip, wait_until

GET = b'GET /time HTTP/1.1\r\nHost: a\r\n\r\n'


def connect(leat, receive_buffer=None, timeout=15):
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(timeout)
    s.connect((leat.host, leat.http_port))
    return s


def read_all(s):
    """Everything until the peer closes."""
    got = b''
    try:
        while chunk := s.recv(1 << 16):
            got += chunk
    except ConnectionResetError:
        pass
    return got


def statuses(got):
    return [int(code) for code in re.findall(rb'(?:^|\n|Z)HTTP/1\.1 (\d\d\d) ', got)]


def curl(leat, *arguments):
    done = subprocess.run(['curl', '-sS', '-m', '15', *arguments], capture_output=True, timeout=30)
    check_equal(done.returncode, 0, f'curl {" ".join(arguments)}: {done.stderr.decode()}: exit status')
    return done.stdout.decode('utf-8', 'replace')


def last_segment(leat):
    text = leat.playlist().text
    return '/live/cam/' + [line for line in text.splitlines() if line and not line.startswith('#')][-1]


def live(t, **options):
    leat = t.start(**options)
    leat.publisher = ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=2)
    return leat


@case(needs=['curl'])
def protocol_curl(t):
    """What curl makes of us: versions, methods, bodies, ranges, conditions, connection reuse."""
    leat = live(t)
    url, segment = leat.url('/time'), leat.url(last_segment(leat))
    code = ('-o', '/dev/null', '-w', '%{http_code}')
    for arguments, status in (((), '200'), (('-I',), '200'), (('--http1.0',), '200'), (('-X', 'OPTIONS'), '204'),
                              (('-X', 'DELETE'), '405'), (('-d', 'a=b'), '405'), (('-T', '/proc/self/status'), '405'),
                              (('-X', 'BREW'), '501'), (('-H', 'Host:'), '400'), (('-H', 'X: ' + 'x' * 9000), '431'),
                              (('-X', 'GET', '-d', 'x' * 2000, '-H', 'Expect: 100-continue'), '200'),
                              (('-X', 'GET', '-d', 'x', '-H', 'Transfer-Encoding: chunked'), '200')):
        check_equal(curl(leat, *code, *arguments, url), status, f'curl {arguments}: status')
    check_equal(curl(leat, *code, leat.url('/' + 'a' * 3000)), '414', 'a long path: status')
    check_equal(curl(leat, *code, '--path-as-is', leat.url('/../../etc/passwd')), '400', 'a path above the root: status')
    check_equal(curl(leat, *code, '--path-as-is', leat.url('/x/%2e%2e/time')), '200', 'a path with dots: status')

    count = curl(leat, '-o', '/dev/null', '-o', '/dev/null', '-o', '/dev/null', '-w', '%{num_connects}', url, url, url)
    check_equal(count, '100', 'connections that three requests needed')

    whole = subprocess.run(['curl', '-s', segment], capture_output=True).stdout
    for wanted, part in (('0-9', whole[:10]), ('1000-', whole[1000:]), ('-7', whole[-7:])):
        got = subprocess.run(['curl', '-s', '-r', wanted, segment], capture_output=True).stdout
        check(got == part, f'range {wanted}: {len(got)} bytes, expected {len(part)}')
    tag = t.dir / 'etag'
    check_equal(curl(leat, *code, '--etag-save', str(tag), segment), '200', 'the first time: status')
    check_equal(curl(leat, *code, '--etag-compare', str(tag), segment), '304', 'with its ETag: status')


@case()
def protocol_pipelining(t):
    """Many requests in one write, and one byte at a time, are answered in order."""
    leat = t.start()
    count = 100
    with connect(leat) as s:
        requests = b''.join(b'GET /n%d HTTP/1.1\r\nHost: a\r\n\r\n' % i if i % 3 else GET for i in range(count))
        for at in range(0, len(requests), 3000):
            s.sendall(requests[at:at + 3000])
        s.sendall(b'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        check_equal(statuses(read_all(s))[:count], [404 if i % 3 else 200 for i in range(count)], 'answers')
    with connect(leat) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b'GET /time HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n':
            s.sendall(bytes([byte]))
            time.sleep(0.001)
        check_equal(statuses(read_all(s)), [200], 'a request byte by byte')


@case()
def protocol_smuggling(t):
    """A request whose end two readers could see in two places is refused, and nothing after it is read."""
    leat = t.start()
    line = b'POST /time HTTP/1.1\r\nHost: a\r\n'
    attacks = [
        line + b'Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG',
        line + b'Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG',
        line + b'Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde',
        line + b'Content-Length: 5, 5\r\n\r\nabcde',
        line + b'Content-Length: +5\r\n\r\nabcde',
        line + b'Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n',
        line + b'Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n',
        line + b'Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n',
        line + b'X: y\r\n Content-Length: 5\r\n\r\nabcde',
        line + b'X: y\rContent-Length: 5\r\n\r\nabcde',
        b'GET /time HTTP/1.1\nHost: a\n\n',
        b'GET /time HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
        b'GET /time HTTP/1.1\r\nHost: a\x00\r\n\r\n',
        b'GET /time\tHTTP/1.1\r\nHost: a\r\n\r\n',
    ]
    for attack in attacks:
        with connect(leat) as s:
            s.sendall(attack + GET)
            got = statuses(read_all(s))
            check(len(got) == 1 and got[0] in (400, 501), f'{attack!r}: answers {got}')
    check(leat.counter('leat_http_bad_requests_total') >= len(attacks) - 2, 'refusals are counted')


@case()
def protocol_slow_writers(t):
    """Heads that never end are given up after head_timeout; others do not notice."""
    leat = t.start(config='http.head_timeout=1s http.head_buffers=32')
    slow = [connect(leat) for _ in range(100)]
    for s in slow:
        s.sendall(b'GET /time HTTP/1.1\r\nX: ')
    began = time.monotonic()
    for _ in range(20):
        check_equal(leat.fetch('/time').status, 200, 'a good request meanwhile')
    while time.monotonic() - began < 1.5:
        for s in slow:
            try:
                s.sendall(b'x')
            except OSError:
                pass
        time.sleep(0.1)
    for s in slow:
        got = statuses(read_all(s))
        check(got in ([408], []), f'a slow request: answers {got}')
        s.close()
    late = leat.counter('leat_http_head_timeouts_total') + leat.counter('leat_http_heads_evicted_total')
    check_equal(late, 100, 'slow requests counted')


def resident_bytes(pid):
    with open(f'/proc/{pid}/statm') as statm:
        return int(statm.read().split()[1]) * 4096


@case()
def protocol_slow_readers(t):
    """Viewers that ask and never read are dropped after send_timeout, cost no memory, and hurt nobody."""
    leat = live(t, config='http.send_timeout=2s media.segment=1s')
    path = last_segment(leat).encode()
    before = resident_bytes(leat.pid_dp())
    dead = []
    for _ in range(50):
        s = connect(leat, receive_buffer=4096)
        s.sendall((b'GET ' + path + b' HTTP/1.1\r\nHost: a\r\n\r\n') * 20)
        dead.append(s)
    waits = []
    for _ in range(10):
        began = time.monotonic()
        check_equal(leat.fetch(last_segment(leat)).status, 200, 'a good viewer meanwhile')
        waits.append(time.monotonic() - began)
    wait_until(lambda: leat.counter('leat_http_slow_viewers_dropped_total') >= 50, 15, 'all dead viewers dropped', 0.2)
    grown = resident_bytes(leat.pid_dp()) - before
    check(grown < 48 << 20, f'memory grew by {grown >> 20} MiB')
    check(max(waits) < 1, f'good viewers waited {waits}')
    for s in dead:
        s.close()
    t.note(f'memory grew by {grown >> 10} KiB, good viewers waited {max(waits) * 1000:.0f} ms at most')


@case()
def protocol_blocked_request_times_out(t):
    """The publisher vanishes while a viewer waits for the next part: 503 in time, which says why."""
    leat = live(t, config='media.segment=1s')
    leat.publisher.kill()
    leat.publisher.wait()
    time.sleep(0.5)
    text = leat.playlist().text
    msn = int(re.search(r'#EXT-X-MEDIA-SEQUENCE:(\d+)', text)[1]) + text.count('#EXTINF')
    answer = leat.playlist(query=f'?_HLS_msn={msn}&_HLS_part=0')
    check_equal(answer.status, 503, 'status')
    check(answer.headers.get('Retry-After'), 'no Retry-After')
    check('stalled' in answer.text, f'it says {answer.text!r}')
    check(2 < answer.seconds < 7, f'after {answer.seconds:.1f} s')
    t.note(f'after {answer.seconds:.1f} s: {answer.text.strip()}')


@case()
def protocol_connection_limit(t):
    """At net.streams_max new connections are refused, those open keep working."""
    leat = t.start(config='net.streams_max=100')
    held, served, refused = [], 0, 0
    for _ in range(112):
        try:
            held.append(connect(leat, timeout=0.5))
        except OSError:
            refused += 1
    for s in held:
        s.settimeout(1)
        try:
            s.sendall(GET)
            served += s.recv(4096).startswith(b'HTTP/1.1 200')
        except OSError:
            pass
    refused += len(held) - served
    check(served >= 80 and refused >= 10, f'{served} of 112 were served, {refused} refused')
    for s in held:
        s.close()

    def is_served():
        try:
            return leat.fetch('/time', timeout=1).status == 200
        except OSError:
            return False

    wait_until(is_served, 10, 'a new connection after the others are gone')


@case(nets=('uring',))
def protocol_ipv6(t):
    leat = t.start()
    with socket.create_connection(('::1', leat.http_port), 5) as s:
        s.sendall(b'GET /time HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n')
        check_equal(statuses(read_all(s)), [200], 'over IPv6')


@case()
def protocol_half_close_and_resets(t):
    """A peer that sends FIN after its request gets the answer; ones that reset leave nothing behind."""
    leat = live(t)
    with connect(leat) as s:
        s.sendall(GET + GET)
        s.shutdown(socket.SHUT_WR)
        check_equal(statuses(read_all(s)), [200, 200], 'after FIN')
    path = last_segment(leat).encode()

    def reset_soon(delay):
        s = connect(leat)
        s.sendall(b'GET ' + path + b' HTTP/1.1\r\nHost: a\r\n\r\n')
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\0\0\0\0\0\0\0')
        time.sleep(delay)
        s.close()

    threads = [threading.Thread(target=reset_soon, args=(i * 0.0005,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: leat.counter('leat_http_connections') <= 2, 10, 'connections gone', 0.2)
    check_equal(leat.fetch(path.decode()).status, 200, 'afterwards')
