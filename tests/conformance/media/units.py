"""Encodes test material with ffmpeg and turns the MP4 that it writes into a log of access units
(see tests/tools/package_units.c), with timestamps rounded to milliseconds as RTMP does."""

import struct
import subprocess

CODECS = {b"avc1": 1, b"hvc1": 2, b"av01": 3, b"vp09": 4, b"mp4a": 5, b"Opus": 6}
START_WALL_US = 1_700_000_000_000_000


def encode(path, arguments):
    """Runs ffmpeg with `arguments`, the output in MP4 at `path`."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *arguments, "-f", "mp4", str(path)]
    subprocess.run(command, check=True, timeout=300)


def boxes(data, start=0, end=None):
    """Yields (type, body start, body end) of the boxes in data[start:end]."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1:
            size = struct.unpack_from(">Q", data, start + 8)[0]
            head = 16
        size = size or end - start
        yield kind, start + head, start + size
        start += size


def find(data, path, start=0, end=None):
    """Body range of the first box at `path`, a list of types."""
    for kind, body, stop in boxes(data, start, end):
        if kind == path[0]:
            return (body, stop) if len(path) == 1 else find(data, path[1:], body, stop)
    return None


def table(data, stbl, kind, row):
    """Rows of a stbl table of fixed-size entries after version, flags and count."""
    at = find(data, [kind], *stbl)
    if at is None:
        return []
    count = struct.unpack_from(">I", data, at[0] + 4)[0]
    size = struct.calcsize(row)
    return [struct.unpack_from(row, data, at[0] + 8 + i * size) for i in range(count)]


def aac_config(esds):
    """The DecoderSpecificInfo (tag 5) in an esds body."""
    at = 4

    def head(at):
        tag, size = esds[at], 0
        at += 1
        while esds[at] & 0x80:
            size = size << 7 | esds[at] & 0x7F
            at += 1
        return tag, size << 7 | esds[at] & 0x7F, at + 1

    while at < len(esds):
        tag, size, at = head(at)
        if tag == 5:
            return esds[at : at + size]
        at += {3: 3, 4: 13}.get(tag, size)
    raise ValueError("no decoder configuration in esds")


def opus_head(dops):
    channels, preskip, rate, gain, family = struct.unpack_from(">xBHIhB", dops)
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, preskip, rate, gain, family) + dops[11:]


def sample_entry(data, stbl):
    """(codec, width, height, rate, channels, config) of the only sample entry."""
    at = find(data, [b"stsd"], *stbl)[0] + 8
    kind, body, end = next(boxes(data, at))
    if kind in (b"mp4a", b"Opus"):
        channels, rate = struct.unpack_from(">H6xI", data, body + 16)
        child = find(data, [b"esds" if kind == b"mp4a" else b"dOps"], body + 28, end)
        config = data[child[0] : child[1]]
        config = aac_config(config) if kind == b"mp4a" else opus_head(config)
        return CODECS[kind], 0, 0, rate >> 16, channels, config
    width, height = struct.unpack_from(">HH", data, body + 24)
    name = {b"avc1": b"avcC", b"hvc1": b"hvcC", b"av01": b"av1C", b"vp09": b"vpcC"}[kind]
    child = find(data, [name], body + 78, end)
    return CODECS[kind], width, height, 0, 0, data[child[0] : child[1]]


def samples(data, stbl, timescale):
    """Yields (dts_s, cts_s, is_sync, bytes) in order."""
    sizes = find(data, [b"stsz"], *stbl)[0]
    fixed, count = struct.unpack_from(">II", data, sizes + 4)
    size = [fixed or struct.unpack_from(">I", data, sizes + 12 + 4 * i)[0] for i in range(count)]
    durations = [d for n, d in table(data, stbl, b"stts", ">II") for _ in range(n)]
    offsets = [o for n, o in table(data, stbl, b"ctts", ">Ii") for _ in range(n)]
    sync = {n for (n,) in table(data, stbl, b"stss", ">I")}
    chunks = [o for (o,) in table(data, stbl, b"stco", ">I")]
    runs = table(data, stbl, b"stsc", ">III")
    index, dts = 0, 0
    for number, offset in enumerate(chunks, 1):
        per_chunk = [n for first, n, _ in runs if first <= number][-1]
        for _ in range(per_chunk):
            is_sync = not sync or index + 1 in sync
            cts = offsets[index] if offsets else 0
            yield dts / timescale, cts / timescale, is_sync, data[offset : offset + size[index]]
            offset += size[index]
            dts += durations[index]
            index += 1


def milliseconds(seconds):
    return round(seconds * 1000) * 1000


def write_log(mp4_path, log_path, keep=lambda is_video, dts: True):
    """Writes the log of the units that `keep` wants; returns one dictionary a track."""
    data = open(mp4_path, "rb").read()
    moov = find(data, [b"moov"])
    tracks, units, out = [], [], bytearray()
    for kind, body, end in boxes(data, *moov):
        if kind != b"trak":
            continue
        mdhd = find(data, [b"mdia", b"mdhd"], body, end)[0]
        version = data[mdhd]
        timescale = struct.unpack_from(">I", data, mdhd + (20 if version else 12))[0]
        stbl = find(data, [b"mdia", b"minf", b"stbl"], body, end)
        codec, width, height, rate, channels, config = sample_entry(data, stbl)
        number = len(tracks)
        frame = 1024 if codec == 5 else 0
        out += struct.pack(">cBBBIIIIII", b"T", number, 1 if width else 2, codec, width, height,
                           rate, channels, frame, len(config)) + config
        listed = [s for s in samples(data, stbl, timescale) if keep(width > 0, s[0])]
        tracks.append({"track": number, "is_video": width > 0, "rate": rate, "codec": codec,
                       "samples": listed})
        units += [(dts, cts, number, sync, payload) for dts, cts, sync, payload in listed]
    for dts, cts, number, is_sync, payload in sorted(units, key=lambda u: (u[0], u[2])):
        dts_us = milliseconds(dts)
        out += struct.pack(">cBBqqqI", b"U", number, is_sync, dts_us, dts_us + milliseconds(cts),
                           START_WALL_US + round(dts * 1e6), len(payload)) + payload
    open(log_path, "wb").write(out)
    return tracks
