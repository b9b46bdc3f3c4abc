"""Publishers: ffmpeg, GStreamer (two RTMP implementations), real footage; keys, takeover, reconnect."""
import fractions
import subprocess
import time

from harness import (CLIPS, FOOTAGE, Failed, Skipped, attributes, case, check, check_equal, check_packets, ffmpeg_publish, make_clip,
                     media_playlists, probe_dash, probe_packets, wait_until)

WATCH_SECONDS = 6


def check_variant(index, rate, has_audio, is_steady=True):
    """The multivariant playlist says what is published."""
    lines = [line for line in index.text.splitlines() if line.startswith('#EXT-X-STREAM-INF')]
    check_equal(len(lines), 1, f'variants in {index.text!r}')
    variant = attributes(lines[0])
    codecs = variant.get('CODECS', '').split(',')
    if rate:
        check_equal(variant.get('RESOLUTION'), '640x360', 'RESOLUTION')
        got = float(variant.get('FRAME-RATE', 0))
        check(not is_steady or abs(got - float(rate)) < 0.02, f'FRAME-RATE: expected {float(rate):.3f}, got {got}')
        check(any(codec.startswith('avc1.') and len(codec) == 11 for codec in codecs), f'CODECS {codecs} without avc1.PPCCLL')
    check(('mp4a.40.2' in codecs) == has_audio, f'CODECS {codecs}')
    check(int(variant.get('BANDWIDTH', 0)) > 10000, f'BANDWIDTH {variant.get("BANDWIDTH")}')


def watch_with_ffprobe(t, leat, rate, sample_rate, seconds=WATCH_SECONDS, is_steady=True):
    """HLS live, then what DASH lists: no warning, growing dts, no gap, every packet."""
    for what, (packets, _) in (
            ('HLS', probe_packets(t, leat.url('/live/cam/index.m3u8'), seconds, ['-live_start_index', '-2'])),
            ('DASH', probe_dash(t, leat, 'cam', seconds))):
        try:
            if rate:
                check_packets(packets, 'video', seconds, float(rate), is_steady)
            if sample_rate:
                check_packets(packets, 'audio', seconds, sample_rate / 1024, is_steady)
        except Failed as why:
            raise Failed(f'{what}: {why}') from None


def publish_clip(name):
    rate, _, sample_rate, _, _ = CLIPS[name]
    rate = fractions.Fraction(rate) if rate else None

    def publish_ffmpeg(t):
        leat = t.start()
        ffmpeg_publish(t, make_clip(name), leat.rtmp())
        index = leat.wait_live(segments=2)
        check_variant(index, rate, sample_rate is not None)
        watch_with_ffprobe(t, leat, rate, sample_rate)

    publish_ffmpeg.__name__ = f'publish_ffmpeg_{name}'
    return publish_ffmpeg


for clip in CLIPS:
    if clip != 'long':
        case()(publish_clip(clip))


def publish_footage(number):
    def publish(t):
        files = sorted(FOOTAGE.glob('*.mp4'))
        if len(files) <= number:
            raise Skipped(f'no footage in {FOOTAGE}')
        leat = t.start()
        ffmpeg_publish(t, files[number], leat.rtmp())
        leat.wait_live(segments=2)
        packets, streams = probe_packets(t, leat.url('/live/cam/index.m3u8'), WATCH_SECONDS, ['-live_start_index', '-2'])
        check_packets(packets, 'video', WATCH_SECONDS, float(fractions.Fraction(streams['video']['r_frame_rate'])))
        t.note(files[number].name)

    publish.__name__ = f'publish_footage_{number + 1}'
    return publish


for file_number in range(2):
    case(nets=['uring'])(publish_footage(file_number))


def gstreamer_publish(t, sink):
    """A live source: it leaves frames out when the machine is busy."""
    return t.spawn(['gst-launch-1.0', '-q',
                    'videotestsrc', 'is-live=true', 'pattern=ball', '!', 'video/x-raw,width=640,height=360,framerate=30/1', '!',
                    'x264enc', 'tune=zerolatency', 'speed-preset=ultrafast', 'bitrate=800', 'key-int-max=60', '!', 'h264parse', '!',
                    'queue', '!', 'mux.',
                    'audiotestsrc', 'is-live=true', '!', 'audio/x-raw,rate=48000,channels=2', '!', 'avenc_aac', '!', 'aacparse', '!',
                    'queue', '!', 'mux.', 'flvmux', 'name=mux', 'streamable=true', '!', *sink], name='gstreamer')


@case(needs=['gst-launch-1.0'])
def publish_gstreamer_rtmp2sink(t):
    leat = t.start()
    gstreamer_publish(t, ['rtmp2sink', f'location={leat.rtmp()}'])
    check_variant(leat.wait_live(segments=2), 30, True, is_steady=False)
    watch_with_ffprobe(t, leat, 30, 48000, is_steady=False)


@case(nets=['uring'], needs=['gst-launch-1.0'])
def publish_gstreamer_librtmp(t):
    """rtmpsink stands on librtmp, as OBS and rtmpdump do."""
    leat = t.start()
    gstreamer_publish(t, ['rtmpsink', f'location={leat.rtmp()} live=1'])
    check_variant(leat.wait_live(segments=2), 30, True, is_steady=False)
    watch_with_ffprobe(t, leat, 30, 48000, is_steady=False)


# --- keys ---

def refused(t, leat, url):
    """Tries to publish; returns the seconds until the publisher gave up."""
    began = time.monotonic()
    publisher = ffmpeg_publish(t, make_clip('plain'), url)
    try:
        code = publisher.wait(10)
    except subprocess.TimeoutExpired:
        check(False, f'{url} was not refused within 10 s')
    check(code != 0, f'ffmpeg was not refused at {url}')
    return time.monotonic() - began


@case()
def refuse_wrong_key(t):
    leat = t.start()
    took = [refused(t, leat, leat.rtmp(key=key)) for key in ('wrong', '', 'secret1', 'secre')]
    took.append(refused(t, leat, leat.rtmp('nosuch', key='secret')))
    check_equal(leat.fetch('/live/cam/index.m3u8').status, 404, 'index.m3u8 after refusals')
    counted = [leat.counter(f'leat_rtmp_publish_{why}_total') for why in ('wrong_key', 'bad_name', 'unknown_channel')]
    check_equal((sum(counted), counted[2]), (5, 1), f'counted refusals {counted}')
    t.note(f'refused within {max(took):.2f} s, ffmpeg\'s start included')


@case()
def refuse_while_live(t):
    """A second publisher without the key disturbs nobody."""
    leat = t.start()
    first = ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=1)
    for _ in range(3):
        refused(t, leat, leat.rtmp(key='wrong'))
    watch_with_ffprobe(t, leat, 30, 48000, 4)
    check(first.poll() is None, 'the first publisher was cut off')
    check('#EXT-X-DISCONTINUITY' not in leat.playlist().text.splitlines(), 'there is a discontinuity')


# --- takeover and reconnect ---

def sequence(playlist):
    """(first media sequence number, discontinuity sequence + discontinuities, segments)"""
    def number(tag):
        return next((int(line.partition(':')[2]) for line in playlist.splitlines() if line.startswith(f'{tag}:')), 0)

    lines = playlist.splitlines()
    return (number('#EXT-X-MEDIA-SEQUENCE'),
            number('#EXT-X-DISCONTINUITY-SEQUENCE') + lines.count('#EXT-X-DISCONTINUITY'),
            playlist.count('#EXTINF'))


def check_continues(t, leat, before, what):
    """After 'what', segment numbers went on and there is exactly one more discontinuity."""
    def went_on():
        playlist = leat.playlist()
        return playlist.status == 200 and sequence(playlist.text)[1] > before[1] and \
            sum(sequence(playlist.text)[::2]) > sum(before[::2]) and playlist.text
    text = wait_until(went_on, 12, f'the playlist goes on after {what}', 0.1)
    after = sequence(text)
    check_equal(after[1] - before[1], 1, f'new discontinuities after {what}')
    check(after[0] >= before[0], f'the media sequence went back from {before[0]} to {after[0]}')
    return text


@case()
def takeover_with_key(t):
    leat = t.start()
    first = ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=1)
    before = sequence(leat.playlist().text)
    ffmpeg_publish(t, make_clip('bframes'), leat.rtmp())
    check(first.wait(10) is not None, 'the first publisher stays')
    text = check_continues(t, leat, before, 'the takeover')
    wait_until(lambda: leat.playlist().text.rpartition('#EXT-X-DISCONTINUITY\n')[2].count('#EXTINF') >= 2, 10, 'two new segments', 0.1)
    check(text.count('#EXT-X-MAP') >= 2, 'other parameters, but no second EXT-X-MAP')
    watch_with_ffprobe_at_end(t, leat)


def watch_with_ffprobe_at_end(t, leat):
    """From the newest segment on: ffmpeg itself cannot follow a change of EXT-X-MAP."""
    packets, _ = probe_packets(t, leat.url('/live/cam/index.m3u8'), 4, ['-live_start_index', '-1'])
    check(len(packets.get('video', [])) > 40, 'no picture after it')


@case()
def reconnect_within_grace(t):
    leat = t.start()
    first = ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=2)
    before = sequence(leat.playlist().text)
    first.kill()
    time.sleep(1)
    check_equal(leat.playlist().status, 200, 'the playlist in the grace time')
    began = time.monotonic()
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    check_continues(t, leat, before, 'the return')
    t.note(f'live again {time.monotonic() - began:.1f} s after the publisher\'s start')
    watch_with_ffprobe_at_end(t, leat)


@case()
def grace_ends(t):
    """Then the playlists end, the channel is no longer listed, and a later publisher begins a new life of it."""
    leat = t.start(config='media.reconnect_grace=1s')
    first = ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=1)
    first.kill()
    began = time.monotonic()
    wait_until(lambda: '#EXT-X-ENDLIST' in leat.playlist().text, 8, 'the playlist ends after the grace time', 0.05)
    check(time.monotonic() - began > 0.8, 'the channel did not live for its grace time')
    check_equal(leat.fetch('/api/channels.json').json(), {'channels': []}, 'channels')
    before = sum(sequence(leat.playlist().text)[::2])
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=1)
    check(sequence(leat.playlist().text)[0] >= before, 'a new life of the channel repeats segment numbers')


@case(nets=['uring'])
def publish_on_many_shards(t):
    """Publishers land on any shard, viewers on any other."""
    channels = {f'cam{number}': f'key{number}' for number in range(4)}
    leat = t.start(channels=channels, shards=2)
    for name in channels:
        ffmpeg_publish(t, make_clip('plain'), leat.rtmp(name))
    for name in channels:
        leat.wait_live(name, segments=2)
    for name in channels:
        for _ in range(8):
            check_equal(leat.fetch(f'/live/{name}/index.m3u8').status, 200, f'index of {name}')
    packets, _ = probe_packets(t, leat.url('/live/cam3/index.m3u8'), 4, ['-live_start_index', '-2'])
    check_packets(packets, 'video', 4, 30)
    listed = {entry['name'] for entry in leat.fetch('/api/channels.json').json()['channels']}
    check_equal(listed, set(channels), '/api/channels.json')
    uris = media_playlists(leat.fetch('/live/cam0/index.m3u8').text)
    check(len(uris) >= 2, f'playlists {uris}')
