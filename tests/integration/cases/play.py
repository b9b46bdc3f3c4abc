"""Players that are not browsers: GStreamer's own HLS and DASH, curl. (ffprobe watches in publish.py.)"""
import subprocess
import time

from harness import case, check, check_equal, ffmpeg_publish, make_clip

FRAMES = 150


def play_gstreamer(t, path):
    leat = t.start()
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=3)
    began = time.monotonic()
    player = t.spawn(['gst-launch-1.0', '-q', 'uridecodebin3', f'uri={leat.url(path)}', 'caps=video/x-raw', '!',
                      'identity', f'eos-after={FRAMES}', '!', 'fakesink', 'sync=true'], name='gstreamer')
    try:
        code = player.wait(40)
    except subprocess.TimeoutExpired:
        check(False, f'GStreamer did not play {FRAMES} frames in 40 s')
    output = player.log.read_text()
    check_equal(code, 0, f'status of GStreamer: {output[-500:]}')
    check('ERROR' not in output and 'WARNING' not in output, output[-500:])
    t.note(f'{FRAMES} frames in {time.monotonic() - began:.1f} s')


@case(needs=['gst-launch-1.0'])
def play_gstreamer_hls(t):
    play_gstreamer(t, '/live/cam/index.m3u8')


@case(needs=['gst-launch-1.0'])
def play_gstreamer_dash(t):
    play_gstreamer(t, '/live/cam/manifest.mpd')


@case(needs=['curl'])
def play_curl(t):
    """curl over one connection: keep-alive, HEAD, compression not asked for, no complaint."""
    leat = t.start()
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=1)
    urls = [leat.url(path) for path in ('/live/cam/index.m3u8', '/live/cam/video.m3u8', '/live/cam/manifest.mpd', '/')]
    done = subprocess.run(['curl', '-sSf', '-w', '%{http_code} %{num_connects}\\n', *sum((['-o', '/dev/null', url] for url in urls), [])],
                          capture_output=True, text=True, timeout=30)
    check_equal(done.returncode, 0, f'curl: {done.stderr}')
    check_equal(done.stdout.split(), ['200', '1'] + ['200', '0'] * 3, 'status and new connections of each request')
