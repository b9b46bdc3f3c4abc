#!/usr/bin/env python3
"""The checker itself: each kind of damage to a good playlist must be found.

    test_hls_check.py DUMP_PLAYLISTS
"""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hls_check


class Quiet(hls_check.Report):
    def add(self, level, section, where, what):
        self.counts[section] += 1


DAMAGE = [  # what to change, and the section that must complain
    ("4.4.1.1", lambda t: t[1:]),
    ("4.4.3.1", lambda t: t.replace("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:1")),
    ("4.4.3.8", lambda t: t.replace("HOLD-BACK=6,", "HOLD-BACK=5,")),
    ("4.4.3.8", lambda t: t.replace("CAN-SKIP-UNTIL=12", "CAN-SKIP-UNTIL=11")),
    ("4.4.3.8", lambda t: t.replace("PART-HOLD-BACK=0.60000,", "")),
    ("B.1", lambda t: t.replace("CAN-BLOCK-RELOAD=YES,", "")),
    ("4.4.3.7", lambda t: re.sub(r"#EXT-X-PART-INF.*\n", "", t)),
    ("3.1.2", lambda t: re.sub(r"#EXT-X-MAP.*\n", "", t)),
    ("4.4.4.9", lambda t: t.replace("DURATION=0.20000", "DURATION=0.20100", 3)),
    ("4.4.4.9", lambda t: t.replace("DURATION=0.20000", "DURATION=0.10000")),
    ("6.2.1", lambda t: t.replace(":28.000Z", ":29.000Z")),
    ("4.4.5.3", lambda t: t + "#EXT-X-ENDLIST\n"),
    ("4.4.5.3", lambda t: re.sub(r"(PRELOAD-HINT.*)\.5\.m4s", r"\1.4.m4s", t)),
    ("4.4", lambda t: t.replace("#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n")),
    ("8", lambda t: t.replace("#EXT-X-VERSION:9", "#EXT-X-VERSION:5")),
    ("4.4.5.4", lambda t: t.replace(",LAST-PART=4", "")),
    ("4.4.4.9", lambda t: re.sub(r"(#EXT-X-PROGRAM.*\n)(#EXT-X-PART.*\n)", r"\2\1", t)),
]
UPDATES = [  # damage to the later of two playlists
    ("6.2.1", lambda t: t.replace("#EXT-X-TARGETDURATION:2", "#EXT-X-TARGETDURATION:3")),
    ("6.2.1", lambda t: t.replace("#EXTINF:2.00000", "#EXTINF:1.99900", 4)),
    ("6.2.1", lambda t: re.sub(r"(MEDIA-SEQUENCE:)(\d+)", lambda m: f"{m[1]}{int(m[2]) - 1}", t)),
    ("6.2.1", lambda t: t.replace(".2.m4s", ".7.m4s")),
    ("6.2.2", lambda t: re.sub(r"(DISCONTINUITY-SEQUENCE:\d+)", r"\g<1>9", t)),
]


def main():
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run([sys.argv[1], directory, "plain"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

        def read(moment):
            with open(os.path.join(directory, f"{moment:05}-video.m3u8"), encoding="utf-8") as f:
                return f.read()

        good = read(46)
        before = hls_check.MediaPlaylist(read(45), "before", Quiet())
        failures = 0
        for damage, is_update in [(d, False) for d in DAMAGE] + [(d, True) for d in UPDATES]:
            section, change = damage
            bad = change(good)
            report = Quiet()
            playlist = hls_check.MediaPlaylist(bad, "damaged", report)
            if is_update:
                hls_check.check_update(before, playlist, report)
            if bad == good or report.counts[section] == 0:
                number = (UPDATES if is_update else DAMAGE).index(damage)
                print(f"not found: {section} ({'update ' if is_update else ''}damage {number}, "
                      f"{'unchanged' if bad == good else dict(report.counts)})")
                failures += 1
        report = Quiet()
        hls_check.check_update(before, hls_check.MediaPlaylist(good, "good", report), report)
        if report.counts:
            print(f"complaints of a good playlist: {dict(report.counts)}")
            failures += 1
    print(f"{len(DAMAGE) + len(UPDATES)} kinds of damage, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
