"""Delivery: every URL, conditional and partial requests, blocking reloads, parts, chunked DASH segments."""
import re
import socket
import threading
import time

from harness import attributes, case, check, check_equal, ffmpeg_publish, make_clip, media_playlists, wait_until

PART_S = 0.2


def live(t, **options):
    leat = t.start(**options)
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=2)
    return leat


def tag(text, name):
    """Attributes of the last such tag."""
    lines = [line for line in text.splitlines() if line.startswith(f'#{name}:')]
    check(lines, f'no {name} in {text[-600:]}')
    return attributes(lines[-1])


def next_part(text):
    """(media sequence number, part) that the playlist does not have yet."""
    msn = int(re.search(r'#EXT-X-MEDIA-SEQUENCE:(\d+)', text)[1]) + text.count('#EXTINF')
    tail = text[text.rfind('#EXTINF'):] if '#EXTINF' in text else text
    return msn, tail.count('#EXT-X-PART:')


@case()
def deliver_every_url(t):
    leat = live(t)
    index = leat.fetch('/live/cam/index.m3u8')
    kinds = {'/live/cam/index.m3u8': 'application/vnd.apple.mpegurl', '/live/cam/manifest.mpd': 'application/dash+xml'}
    for uri in media_playlists(index.text):
        kinds[f'/live/cam/{uri}'] = 'application/vnd.apple.mpegurl'
        text = leat.fetch(f'/live/cam/{uri}').text
        for path in re.findall(r'#EXT-X-MAP:URI="([^"]+)"', text) + re.findall(r'#EXT-X-PART:.*?URI="([^"]+)"', text)[-3:] + \
                [line for line in text.splitlines() if line and not line.startswith('#')][-2:]:
            kinds[f'/live/cam/{path}'] = 'video/mp4' if 'video' in uri else 'audio/mp4'
    for path, kind in kinds.items():
        answer = leat.fetch(path, headers={'Origin': 'http://other.example'})
        check_equal(answer.status, 200, f'{path}: status')
        got = answer.headers.get('Content-Type', '').lower()
        check(got.startswith(kind), f'{path}: Content-Type: expected {kind}, got {got}')
        check(answer.headers.get('Cache-Control'), f'{path}: no Cache-Control')
        check(answer.headers.get('Date'), f'{path}: no Date')
        check(answer.headers.get('Access-Control-Allow-Origin'), f'{path}: no CORS header')
        check(answer.body, f'{path}: empty')
        head = leat.fetch(path, method='HEAD')
        check_equal(head.status, 200, f'HEAD {path}: status')
        check_equal(head.body, b'', f'HEAD {path}: body')
    t.note(f'{len(kinds)} URLs')


@case()
def deliver_pages(t):
    leat = t.start()
    for path in ('/', '/watch/cam'):
        page = leat.fetch(path)
        check_equal(page.status, 200, f'{path}: status')
        check('text/html' in page.headers.get('Content-Type', ''), f'{path}: Content-Type')
        policy = page.headers.get('Content-Security-Policy', '')
        check("script-src 'self'" in policy and 'unsafe' not in policy, f'{path}: Content-Security-Policy {policy!r}')
        check_equal(page.headers.get('X-Content-Type-Options'), 'nosniff', f'{path}: X-Content-Type-Options')
        assets = re.findall(r'(?:src|href)="(/(?:assets/|favicon)[^"]+)"', page.text)
        check(len(assets) >= 3, f'{path}: assets {assets}')
        for asset in assets:
            answer = leat.fetch(asset)
            check_equal(answer.status, 200, f'{asset}: status')
            check(answer.headers.get('ETag'), f'{asset}: no ETag')
            again = leat.fetch(asset, headers={'If-None-Match': answer.headers['ETag']})
            check_equal(again.status, 304, f'{asset}: status of If-None-Match')
    check_equal(leat.fetch('/api/channels.json').json(), {'channels': []}, 'channels without a publisher')
    for path in ('/nothing', '/watch/', '/watch/a/b', '/assets/../index.html', '/assets/%2e%2e/watch.html', '/live/cam/index.m3u8'):
        check_equal(leat.fetch(path).status, 404, f'{path}: status')
    check_equal(leat.management('/healthz').status, 200, '/healthz')
    check('leat_' in leat.management('/metrics').text, '/metrics')
    check_equal(leat.fetch('/metrics').status, 404, '/metrics on the public listener')


@case()
def deliver_partial_and_conditional(t):
    leat = live(t)
    text = leat.playlist().text
    path = '/live/cam/' + [line for line in text.splitlines() if line and not line.startswith('#')][-1]
    whole = leat.fetch(path)
    size = len(whole.body)
    for wanted, part in (('bytes=0-99', whole.body[:100]), ('bytes=100-', whole.body[100:]), ('bytes=-50', whole.body[-50:]),
                         (f'bytes={size - 1}-{size + 1000}', whole.body[-1:])):
        answer = leat.fetch(path, headers={'Range': wanted})
        check_equal(answer.status, 206, f'{wanted}: status')
        check(answer.body == part, f'{wanted}: other bytes')
        check(answer.headers.get('Content-Range', '').endswith(f'/{size}'), f'{wanted}: {answer.headers.get("Content-Range")}')
    check_equal(leat.fetch(path, headers={'Range': f'bytes={size}-'}).status, 416, 'a range past the end: status')
    check_equal(leat.fetch(path, headers={'Range': 'bytes=x-y'}).status, 200, 'a malformed range is ignored: status')
    tag_value = whole.headers.get('ETag')
    check(tag_value, 'no ETag')
    same = leat.fetch(path, headers={'If-None-Match': tag_value})
    check_equal((same.status, same.body), (304, b''), 'If-None-Match')
    check_equal(leat.fetch(path, headers={'If-None-Match': '"other"'}).status, 200, 'another ETag: status')


def raw(leat, request, seconds=5):
    """Sends bytes, returns all that comes until the server closes or 'seconds' pass without a byte."""
    with socket.create_connection((leat.host, leat.http_port), 10) as s:
        s.sendall(request)
        s.settimeout(seconds)
        got = b''
        try:
            while chunk := s.recv(65536):
                got += chunk
        except TimeoutError:
            pass
        return got


@case()
def deliver_raw_http(t):
    leat = live(t)
    one = b'GET /live/cam/index.m3u8 HTTP/1.1\r\nHost: x\r\n\r\n'
    last = b'GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    got = raw(leat, one + one + last)
    check_equal([line.split()[1] for line in re.findall(rb'HTTP/1\.1 \d+[^\r]*', got)], [b'200', b'200', b'404'], 'pipelined answers')
    check_equal(raw(leat, b'GET / HTTP/1.0\r\n\r\n').split()[1], b'200', 'HTTP/1.0')
    for bad in (b'GET\r\n\r\n', b'GET / HTTP/1.1\r\n\r\n', b'GET / HTTP/1.1\r\nHost x\r\n\r\n', b'\x16\x03\x01\x02\x00\x01\x00\r\n\r\n',
                b'GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n'):
        answer = raw(leat, bad)
        check(answer == b'' or answer.split()[1] in (b'400', b'501', b'505'), f'{bad!r}: {answer[:60]!r}')
    check_equal(raw(leat, b'GET / HTTP/1.1\r\nHost: x\r\nX: ' + b'a' * 20000 + b'\r\n\r\n').split()[1], b'431', 'a long head')
    check_equal(raw(leat, b'DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n').split()[1], b'405', 'DELETE')
    check_equal(leat.fetch('/live/cam/index.m3u8').status, 200, 'a good request after the bad ones')


@case()
def blocking_reload(t):
    """A reload for the next part comes back with it, about when it is made."""
    leat = live(t)
    text = leat.playlist().text
    waits = []
    for _ in range(20):
        msn, part = next_part(text)
        answer = leat.playlist(query=f'?_HLS_msn={msn}&_HLS_part={part}')
        check_equal(answer.status, 200, f'_HLS_msn={msn}&_HLS_part={part}: status')
        text = answer.text
        check(next_part(text) > (msn, part), f'asked for {msn}.{part}, the playlist ends before {next_part(text)}')
        waits.append(answer.seconds)
    waits.sort()
    check(waits[len(waits) // 2] < 3 * PART_S, f'waits {waits}')
    t.note(f'median {waits[len(waits) // 2] * 1000:.0f} ms, longest {waits[-1] * 1000:.0f} ms at {PART_S * 1000:.0f} ms parts')

    msn, _ = next_part(text)
    check_equal(leat.playlist(query=f'?_HLS_msn={msn + 50}').status, 400, 'a far future: status')
    check_equal(leat.playlist(query=f'?_HLS_msn={msn}&_HLS_part=x').status, 400, 'a malformed part: status')
    check_equal(leat.playlist(query='?_HLS_part=1').status, 400, '_HLS_part without _HLS_msn: status')
    check_equal(leat.playlist(query=f'?_HLS_msn={msn - 1}').status, 200, 'the past: status')


@case()
def blocking_part(t):
    """The hinted part is answered when it exists, complete."""
    leat = live(t)
    for _ in range(5):
        text = leat.playlist().text
        hint = tag(text, 'EXT-X-PRELOAD-HINT')
        check_equal(hint.get('TYPE'), 'PART', 'hint type')
        answer = leat.fetch(f'/live/cam/{hint["URI"]}')
        check_equal(answer.status, 200, f'{hint["URI"]}: status')
        check(answer.body[4:8] in (b'moof', b'styp', b'prft', b'emsg'), f'{hint["URI"]} starts with {answer.body[:16]!r}')
        check(hint['URI'] in leat.playlist().text, f'{hint["URI"]} was answered but is not in the playlist')


@case()
def delta_update(t):
    leat = live(t, config='media.segment=1s media.window=30')
    wait_until(lambda: leat.playlist().text.count('#EXTINF') >= 14, 40, '14 segments', 0.2)
    full, delta = leat.playlist().text, leat.playlist(query='?_HLS_skip=YES').text
    control = tag(full, 'EXT-X-SERVER-CONTROL')
    check('CAN-SKIP-UNTIL' in control, f'{control}')
    skipped = int(tag(delta, 'EXT-X-SKIP')['SKIPPED-SEGMENTS'])
    check(skipped > 0 and '#EXT-X-MAP' not in delta.split('#EXT-X-SKIP')[0], f'delta: {delta[:400]}')
    check(abs(full.count('#EXTINF') - skipped - delta.count('#EXTINF')) <= 1, 'the delta does not add up')
    t.note(f'{len(full)} bytes in full, {len(delta)} as a delta')


@case()
def dash_segment_in_progress(t):
    """The segment being made is sent in chunks as its parts are finished."""
    leat = live(t)
    mpd = leat.fetch('/live/cam/manifest.mpd').text
    for wanted in ('type="dynamic"', 'availabilityTimeOffset=', 'UTCTiming', 'ServiceDescription', 'SegmentTemplate', 'ProducerReferenceTime'):
        check(wanted in mpd, f'no {wanted} in the MPD')
    msn, _ = next_part(leat.playlist().text)
    connection = leat.connection()
    connection.request('GET', f'/live/cam/video-{msn + 1}.m4s')
    response = connection.getresponse()
    check_equal(response.status, 200, 'status')
    check_equal(response.headers.get('Transfer-Encoding'), 'chunked', 'Transfer-Encoding')
    arrivals, body, began = [], b'', time.monotonic()
    while chunk := response.read1(1 << 20):
        arrivals.append(time.monotonic() - began)
        body += chunk
    check(arrivals[-1] - arrivals[0] > 1, f'came all at once: {arrivals}')
    check(body == leat.fetch(f'/live/cam/video-{msn + 1}.m4s').body, 'other bytes than those of the finished segment')
    t.note(f'{body.count(b"moof")} fragments in {arrivals[-1] - arrivals[0]:.2f} s')


@case()
def many_viewers_wait(t):
    """Hundreds of viewers blocked on one part all get it."""
    leat = live(t)
    statuses, count = [], 150

    def wait_for_part():
        msn, part = next_part(leat.playlist().text)
        statuses.append(leat.playlist(query=f'?_HLS_msn={msn}&_HLS_part={part}').status)

    threads = [threading.Thread(target=wait_for_part) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    check_equal(statuses.count(200), count, 'viewers that got their playlist')
