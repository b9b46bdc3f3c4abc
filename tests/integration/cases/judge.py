"""What a live channel serves, judged by readers that others wrote and by our checkers of the rules."""
import json
import re
import subprocess
import sys
import time

from harness import TOP, case, check, check_equal, ffmpeg_publish, make_clip, media_playlists

ROUNDS = 12


def judge(what, *command):
    """Runs a judge; what it printed is the evidence when it objects."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          check=False)
    check_equal(done.returncode, 0, f'{what}: {(done.stdout + done.stderr)[-1500:]}\nstatus')
    return done.stdout


def live(t):
    leat = t.start()
    ffmpeg_publish(t, make_clip('bframes'), leat.rtmp())
    leat.wait_live(segments=2)
    return leat


@case()
def judge_playlists(t):
    leat = live(t)
    for number in range(ROUNDS):
        index = leat.fetch('/live/cam/index.m3u8').text
        (t.dir / f'{number:04}-index.m3u8').write_text(index)
        for uri in media_playlists(index):
            (t.dir / f'{number:04}-{uri}').write_text(leat.fetch(f'/live/cam/{uri}').text)
        (t.dir / f'{number:04}.mpd').write_text(leat.fetch('/live/cam/manifest.mpd').text)
        time.sleep(0.31)  # another part each time, and segments in between
    judge('hls-parser and m3u8-parser', 'node', TOP / 'tests/node/check_playlists.mjs', t.dir)
    judge('mpd_check', sys.executable, TOP / 'tests/tools/mpd_check.py', t.dir)
    t.note(judge('hls_check', sys.executable, TOP / 'tests/tools/hls_check.py', 'live', leat.url('/live/cam/index.m3u8'), '--seconds',
                 '8').strip().splitlines()[-1])


@case()
def judge_fragments(t):
    leat = live(t)
    files = []
    for uri in media_playlists(leat.fetch('/live/cam/index.m3u8').text):
        text = leat.fetch(f'/live/cam/{uri}').text
        init = re.findall(r'#EXT-X-MAP:URI="([^"]+)"', text)[-1]
        segments = [line for line in text.splitlines() if line and not line.startswith('#')]
        path = t.dir / uri.replace('.m3u8', '.mp4')
        path.write_bytes(b''.join(leat.fetch(f'/live/cam/{name}').body for name in [init, *segments]))
        files.append(path)
    check_equal(len(files), 2, 'tracks')
    for line in judge('mp4box.js', 'node', TOP / 'tests/node/read_fragments.mjs', *files).splitlines():
        seen = json.loads(line)
        check_equal(seen['complaints'], [], f'{seen["path"]}: complaints')
        check_equal(seen['unknown'], [], f'{seen["path"]}: unknown boxes')
        check(len(seen['samples']) > 50, f'{seen["path"]}: {len(seen["samples"])} samples')
        times = [sample[0] for sample in seen['samples']]
        check(times == sorted(set(times)), f'{seen["path"]}: dts not increasing')
    for path in files:
        done = subprocess.run(['ffprobe', '-v', 'warning', '-count_packets', '-show_entries', 'stream=codec_name,nb_read_packets',
                               '-of', 'csv', str(path)], capture_output=True, text=True, timeout=60, check=False)
        check_equal(done.stderr.strip(), '', f'{path}: ffprobe says')
