"""Players that are not browsers: GStreamer's own HLS and DASH, curl. (ffprobe watches in publish.py.)"""
import subprocess

from harness import TOP, case, check, check_equal, ffmpeg_publish, make_clip

FRAMES = 300


def play_gstreamer(t, path):
    leat = t.start()
    ffmpeg_publish(t, make_clip('plain'), leat.rtmp())
    leat.wait_live(segments=3)
    player = t.spawn(['/usr/bin/python3', str(TOP / 'tests' / 'integration' / 'gst_play.py'), leat.url(path), str(FRAMES)],
                     name='gstreamer')
    code = player.wait(80)
    words = player.log.read_text().strip()
    check_equal(code, 0, f'status of GStreamer: {words[-500:]}')
    t.note(words)


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
