#!/usr/bin/env python3
"""Packages media encoded by ffmpeg, and has readers that we did not write judge the fragments.

    check_fragments.py PACKAGE_UNITS [CASE…]

For each case: ffprobe must read every track without a warning and see each sample once, with a strictly
increasing dts, every pts where the encoder had it and the same bytes; the ends of all parts must meet;
ffmpeg must decode it without an error; mp4box.js (tests/node) must agree, unless it is not installed.
Prints a line "ok CASE" or "not ok CASE: …" each; exit status 77 when ffmpeg lacks an encoder for all.
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
NODE = HERE.parents[1] / "node"
sys.path.insert(0, str(HERE))
import units  # noqa: E402

SECONDS = 5
PART_MS = 200


def video(rate, codec, *options):
    return ["-f", "lavfi", "-i", f"testsrc2=size=320x180:rate={rate}", "-c:v", codec, *options]


def audio(rate, channels, codec="aac"):
    source = f"sine=frequency=440:sample_rate={rate}"
    return ["-f", "lavfi", "-i", source, "-ac", str(channels), "-ar", str(rate), "-c:a", codec]


def both(video_arguments, audio_arguments):
    """Inputs come before codecs on ffmpeg's command line."""
    inputs = video_arguments[:4] + audio_arguments[:4]
    return inputs + video_arguments[4:] + audio_arguments[4:]


def x264(rate, *options):
    return video(rate, "libx264", "-preset", "veryfast", *options)


X264_PLAIN = ["-bf", "0"]
X264_B = ["-bf", "2", "-b_strategy", "0"]
CASES = {
    "h264_24000_1001": both(x264("24000/1001", "-g", "48", *X264_PLAIN), audio(44100, 1)),
    "h264_30000_1001": both(x264("30000/1001", "-g", "60", *X264_B), audio(48000, 2)),
    "h264_60000_1001": both(x264("60000/1001", "-g", "120", *X264_PLAIN), audio(44100, 2)),
    "h264_25_b_frames": both(x264("25", "-g", "50", *X264_B), audio(48000, 1)),
    "h264_30_open_gop": both(x264("30", "-g", "60", "-x264-params", "open-gop=1"), audio(48000, 2)),
    "h264_60_short_gop": both(x264("60", "-g", "30", *X264_B), audio(48000, 2)),
    "aac_alone": audio(44100, 2),
    "h264_alone": x264("30", "-g", "60", *X264_B),
    "hevc": both(video("30", "libx265", "-preset", "ultrafast", "-g", "60", "-tag:v", "hvc1",
                       "-x265-params", "log-level=error:bframes=2"), audio(48000, 2)),
    "vp9_opus": both(video("30", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "60",
                           "-auto-alt-ref", "0"), audio(48000, 2, "libopus")),
    "av1_opus": both(video("25", "libaom-av1", "-cpu-used", "8", "-usage", "realtime", "-g", "50"),
                     audio(48000, 1, "libopus")),
}
ENCODERS = {"hevc": ["libx265"], "vp9_opus": ["libvpx-vp9", "libopus"],
            "av1_opus": ["libaom-av1", "libopus"]}


class Failure(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Failure(message)


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)


def check_parts(parts, track):
    own = [p for p in parts if p["track"] == track]
    limit = own[0]["timescale"] * PART_MS // 1000
    for a, b in zip(own, own[1:]):
        require(b["dts"] == a["dts"] + a["duration"], f"track {track}: gap at {b['dts']}")
        require(a["ends"] == b["starts"], f"track {track}: segment boundary at {b['dts']}")
    for p in own:
        require(p["duration"] <= limit, f"track {track}: part of {p['duration']}, limit {limit}")
        # Only the end of the publish may come after its last part was given away.
        require(not p["gap"] or p is own[-1] and p["duration"] == 0, f"track {track}: gap part")
    return own


def check_samples(name, track, packets, log_samples, timescale, origin):
    """packets: (dts, pts, size, digest) as a reader saw them; `origin`: axis time of 0."""
    require(len(packets) == len(log_samples), f"{name}: {len(packets)} of {len(log_samples)} samples")
    previous = None
    for (dts, pts, size, digest), (sent_dts, cts, _, data) in zip(packets, log_samples):
        require(previous is None or dts > previous, f"{name}: dts {dts} after {previous}")
        previous = dts
        require(size == len(data), f"{name}: size at dts {dts}")
        if digest is not None:
            require(digest == hashlib.md5(data).hexdigest(), f"{name}: bytes at dts {dts}")
        want = units.milliseconds(sent_dts) + units.milliseconds(cts)
        have = pts * 1e6 / timescale - origin
        # Whole milliseconds; audio stays on its sample count; a moved dts moves pts at most so far.
        require(abs(have - want) <= 4100, f"{name}: pts off by {have - want} us at dts {dts}")


def ffprobe_packets(path):
    found = run("ffprobe", "-v", "warning", "-show_packets", "-show_data_hash", "md5", "-of", "json", path)
    require(found.stderr == "", f"ffprobe: {found.stderr.strip()[:300]}")
    return [(int(p["dts"]), int(p["pts"]), int(p["size"]), p["data_hash"].split(":")[1])
            for p in json.loads(found.stdout)["packets"]]


def check_node(path, own, track):
    if not (NODE / "node_modules").is_dir():
        return
    found = run("node", NODE / "read_fragments.mjs", path)
    require(found.returncode == 0, f"mp4box: {found.stderr[:300]}")
    seen = json.loads(found.stdout)
    require(not seen["complaints"] and not seen["unknown"], f"mp4box: {seen['complaints']}")
    require(seen["moofCount"] == sum(1 for p in own if p["size"] > 0), "mp4box: number of moofs")
    require(seen["prftCount"] == 1 + own[-1]["segment"] - own[0]["segment"], "mp4box: number of prfts")
    samples = seen["samples"]
    require(sum(s[2] for s in samples) == sum(p["duration"] for p in own), "mp4box: durations")
    for (dts, _, duration, *_), after in zip(samples, samples[1:]):
        require(dts + duration == after[0], f"mp4box: dts {after[0]}")
    if track["is_video"]:
        starts = {p["dts"] for p in own if p["independent"]}
        syncs = [s[0] for s in samples if s[3]]
        require(starts <= set(syncs), "mp4box: sync samples")
        require(len(syncs) == sum(1 for s in track["samples"] if s[2]), "mp4box: number of sync samples")


def check_case(program, arguments, directory):
    units.encode(directory / "in.mp4", [*arguments, "-t", str(SECONDS)])
    tracks = units.write_log(directory / "in.mp4", directory / "log")
    packaged = run(program, directory / "log", directory)
    require(packaged.returncode == 0, f"package_units: {packaged.stderr[:300]}")
    parts = [json.loads(line) for line in packaged.stdout.splitlines()]
    segments = {}
    for number, track in enumerate(tracks):
        own = check_parts(parts, number)
        segments[number] = [p["segment"] for p in own if p["starts"]]
        path = directory / f"{number}.mp4"
        packets = ffprobe_packets(path)
        dropped = len(track["samples"]) - len(packets)
        # Audio that precedes the first picture's presentation is not packaged.
        require(0 <= dropped <= (0 if track["is_video"] else 6), f"{dropped} samples of {number} missing")
        check_samples(f"track {number}", track, packets, track["samples"][dropped:], own[0]["timescale"],
                      units.START_WALL_US)
        if track["is_video"]:
            require(all(p["independent"] for p in own if p["starts"]), "segment without a keyframe")
        decoded = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-f", "null", "-")
        require(decoded.returncode == 0 and decoded.stderr == "", f"ffmpeg: {decoded.stderr[:300]}")
        check_node(path, own, track)
    require(len({tuple(s) for s in segments.values()}) == 1, f"segments differ: {segments}")


def check_silence(program, directory):
    """Audio that pauses is filled with frames that real decoders take for silence."""
    for codec, rate in (("aac", 44100), ("aac", 48000), ("libopus", 48000)):
        for channels in (1, 2):
            units.encode(directory / "in.mp4",
                         [*both(x264("25", "-g", "50", "-bf", "0"), audio(rate, channels, codec)), "-t", "12"])
            units.write_log(directory / "in.mp4", directory / "log",
                            keep=lambda is_video, dts: is_video or not 2 <= dts < 10)
            packaged = run(program, directory / "log", directory)
            require("media_silence_frames" in packaged.stderr, f"{codec}: no silence")
            found = run("ffmpeg", "-v", "error", "-nostdin", "-i", directory / "1.mp4", "-af",
                        "atrim=start=1700000003:end=1700000009,astats=metadata=0", "-f", "s16le", "-")
            raw = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", str(directory / "1.mp4"),
                                  "-f", "s16le", "-"], capture_output=True, timeout=60)
            require(found.stderr == "" and raw.stderr == b"", f"{codec}: {raw.stderr[:300]}")
            step = rate * channels * 2
            middle = raw.stdout[3 * step:9 * step]
            require(len(middle) == 6 * step and max(middle, default=0) == 0, f"{codec} {channels}: not silent")
            require(any(raw.stdout[:step]) and any(raw.stdout[-step:]), f"{codec}: no tone around the pause")


def main():
    program, wanted = sys.argv[1], sys.argv[2:]
    listed = run("ffmpeg", "-hide_banner", "-encoders").stdout
    failed = 0
    if not (NODE / "node_modules").is_dir():
        print("skip mp4box: run npm ci in tests/node")
    for name in wanted or [*CASES, "silence"]:
        missing = [e for e in ENCODERS.get(name, ["libx264"]) if e not in listed]
        if missing:
            print(f"skip {name}: this ffmpeg lacks {' '.join(missing)}")
            continue
        with tempfile.TemporaryDirectory() as directory:
            try:
                if name == "silence":
                    check_silence(program, pathlib.Path(directory))
                else:
                    check_case(program, CASES[name], pathlib.Path(directory))
                print(f"ok {name}", flush=True)
            except (Failure, subprocess.CalledProcessError) as error:
                failed += 1
                print(f"not ok {name}: {error}", flush=True)
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
