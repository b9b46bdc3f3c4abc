#!/usr/bin/env python3
"""Publishes an MP4 file by Enhanced RTMP v2, in real time: what no packaged encoder can do yet.

    ertmp_publish.py [--fast] [--multitrack] FILE.mp4 rtmp://HOST[:PORT]/live/NAME?key=KEY

Takes H.264, HEVC, AV1 and VP9 video, AAC and Opus audio, all of them by FourCC, with nanosecond
offsets (ModEx) where a timestamp is no whole millisecond. --multitrack wraps every packet into a
multitrack message with its track id; further tracks of a kind always are. --fast does not wait.
Exits with 1 and the server's status when publishing is refused.
"""
import argparse
import pathlib
import re
import socket
import struct
import sys
import time
import urllib.parse

CHUNK_SIZE = 4096
AUDIO, VIDEO, COMMAND = 8, 9, 20
SEQUENCE_START, CODED_FRAMES, MOD_EX = 0, 1, 7
MULTITRACK = {AUDIO: 5, VIDEO: 6}


# MP4


def boxes(data):
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from('>I4s', data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from('>Q', data, at + 8)[0], 16
        elif size == 0:
            size = len(data) - at
        yield kind, data[at + head:at + size]
        at += size


def find(data, *path):
    for kind in path:
        data = next(body for name, body in boxes(data) if name == kind)
    return data


def table(body, form):
    size = struct.calcsize(form)
    count = struct.unpack_from('>I', body, 4)[0]
    return [struct.unpack_from(form, body, 8 + i * size) for i in range(count)]


def optional(stbl, kind, form):
    return next((table(body, form) for name, body in boxes(stbl) if name == kind), None)


def opus_head(dops):
    _, channels, skip, rate, gain, family = struct.unpack_from('>BBHIhB', dops)
    return b'OpusHead' + struct.pack('<BBHIhB', 1, channels, skip, rate, gain, family) + dops[11:]


def audio_specific_config(esds):
    at = 4
    while True:  # descriptors nest; each begins with a tag and a length of up to four bytes
        tag, at, size = esds[at], at + 1, 0
        while True:
            size, more, at = size << 7 | esds[at] & 0x7f, esds[at] & 0x80, at + 1
            if not more:
                break
        if tag == 5:
            return esds[at:at + size]
        at += {3: 3, 4: 13}[tag]


class Track:
    """One track: fourcc, config, and samples as (dts, pts, is_key, offset, size), in seconds."""

    def __init__(self, trak):
        mdia = find(trak, b'mdia')
        mdhd = find(mdia, b'mdhd')
        timescale = struct.unpack_from('>I', mdhd, 20 if mdhd[0] else 12)[0]
        self.kind = {b'vide': VIDEO, b'soun': AUDIO}.get(find(mdia, b'hdlr')[8:12])
        stbl = find(mdia, b'minf', b'stbl')
        entry, body = next(boxes(find(stbl, b'stsd')[8:]))
        inner = dict(boxes(body[78 if self.kind == VIDEO else 28:]))
        self.fourcc = entry
        if entry == b'mp4a':
            self.config = audio_specific_config(inner[b'esds'])
        elif entry == b'Opus':
            self.config = opus_head(inner[b'dOps'])
        elif entry == b'vp09':
            self.config = inner[b'vpcC'][4:]
        else:
            self.config = inner[{b'avc1': b'avcC', b'hvc1': b'hvcC', b'av01': b'av1C'}[entry]]
        self.samples = list(self.read_samples(stbl, timescale))

    def read_samples(self, stbl, timescale):
        stsz = find(stbl, b'stsz')
        fixed, count = struct.unpack_from('>II', stsz, 4)
        sizes = [fixed] * count if fixed else struct.unpack_from(f'>{count}I', stsz, 12)
        steps = [d for n, d in table(find(stbl, b'stts'), '>II') for _ in range(n)]
        shifts = optional(stbl, b'ctts', '>Ii')
        shifts = [d for n, d in shifts for _ in range(n)] if shifts else [0] * count
        keys = optional(stbl, b'stss', '>I')
        keys = {n for n, in keys} if keys else range(1, count + 1)
        chunks = optional(stbl, b'stco', '>I') or optional(stbl, b'co64', '>Q')
        runs = table(find(stbl, b'stsc'), '>III')
        number, dts = 0, 0
        for i, (first, per_chunk, _) in enumerate(runs):
            last = runs[i + 1][0] if i + 1 < len(runs) else len(chunks) + 1
            for chunk in range(first, last):
                at = chunks[chunk - 1][0]
                for _ in range(per_chunk):
                    yield (dts / timescale, (dts + shifts[number]) / timescale,
                           number + 1 in keys, at, sizes[number])
                    at += sizes[number]
                    dts += steps[number]
                    number += 1


# RTMP


def amf(value):
    if value is None:
        return b'\x05'
    if isinstance(value, bool):
        return b'\x01' + bytes([value])
    if isinstance(value, (int, float)):
        return b'\x00' + struct.pack('>d', value)
    if isinstance(value, str):
        return b'\x02' + struct.pack('>H', len(value)) + value.encode()
    if isinstance(value, list):
        return b'\x0a' + struct.pack('>I', len(value)) + b''.join(map(amf, value))
    members = (struct.pack('>H', len(k)) + k.encode() + amf(v) for k, v in value.items())
    return b'\x03' + b''.join(members) + b'\0\0\x09'


class Connection:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url)
        _, app, self.name = parts.path.split('/', 2)
        self.name += '?' + parts.query if parts.query else ''
        self.socket = socket.create_connection((parts.hostname, parts.port or 1935), timeout=10)
        self.socket.sendall(b'\x03' + bytes(8) + b'leat' * 382)
        reply = self.receive_exactly(1 + 2 * 1536)
        self.socket.sendall(reply[1:1537])
        self.send(2, 1, struct.pack('>I', CHUNK_SIZE))
        self.command(0, 'connect', 1, {'app': app, 'tcUrl': f'rtmp://{parts.netloc}/{app}',
                                       'fourCcList': ['av01', 'hvc1', 'vp09', 'Opus'],
                                       'capsEx': 14})
        self.wait_for(b'NetConnection.Connect.Success')
        self.command(0, 'createStream', 2, None)
        self.command(1, 'publish', 3, None, self.name, 'live')
        self.wait_for(b'NetStream.Publish.Start')

    def receive_exactly(self, size):
        data = b''
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                sys.exit('the server closed the connection')
            data += piece
        return data

    def wait_for(self, code):
        """Looks for the code in the bytes; commands are too short to be chunked in the middle of it."""
        data = b''
        while code not in data:
            piece = self.socket.recv(65536)
            data += piece
            if not piece or b'error' in data:
                found = re.search(rb'description\x02..([ -~]+)', data, re.S)
                sys.exit('refused' + (': ' + found[1].decode() if found else ''))

    def send(self, chunk_stream, kind, body, milliseconds=0, stream=0):
        extended = struct.pack('>I', milliseconds) if milliseconds >= 0xffffff else b''
        head = bytes([chunk_stream]) + min(milliseconds, 0xffffff).to_bytes(3, 'big')
        head += len(body).to_bytes(3, 'big') + bytes([kind]) + struct.pack('<I', stream) + extended
        out = head + body[:CHUNK_SIZE]
        for at in range(CHUNK_SIZE, len(body), CHUNK_SIZE):
            out += bytes([0xc0 | chunk_stream]) + extended + body[at:at + CHUNK_SIZE]
        self.socket.sendall(out)

    def close(self):
        """Waits for the server's end: unread bytes would turn ours into a reset."""
        self.command(1, 'deleteStream', 0, None, 1)
        self.socket.shutdown(socket.SHUT_WR)
        while self.socket.recv(65536):
            pass

    def command(self, stream, *values):
        self.send(3, COMMAND, b''.join(map(amf, values)), stream=stream)


def packet(track, number, packet_type, is_key, body, nanoseconds, is_multitrack):
    """An ExVideoTagHeader or ExAudioTagHeader with its body."""
    first = 0x80 | (1 if is_key else 2) << 4 if track.kind == VIDEO else 0x90
    inner = MULTITRACK[track.kind] if is_multitrack else packet_type
    out = bytes([first | (MOD_EX if nanoseconds else inner)])
    if nanoseconds:
        out += bytes([2]) + nanoseconds.to_bytes(3, 'big') + bytes([inner])
    if is_multitrack:
        return out + bytes([packet_type]) + track.fourcc + bytes([number]) + body
    return out + track.fourcc + body


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--fast', action='store_true', help='do not wait for real time')
    parser.add_argument('--multitrack', action='store_true', help='multitrack messages for all')
    parser.add_argument('file', type=pathlib.Path)
    parser.add_argument('url')
    args = parser.parse_args()
    data = args.file.read_bytes()
    tracks = [Track(body) for kind, body in boxes(find(data, b'moov')) if kind == b'trak']
    tracks = [t for t in tracks if t.kind]
    numbers = [sum(1 for other in tracks[:i] if other.kind == t.kind) for i, t in enumerate(tracks)]
    connection = Connection(args.url)

    def send(i, seconds, packet_type, is_key, body):
        track, number = tracks[i], numbers[i]
        nanoseconds = round(seconds * 1e9)
        out = packet(track, number, packet_type, is_key, body, nanoseconds % 1000000,
                     args.multitrack or number > 0)
        connection.send(4 + track.kind, track.kind, out, nanoseconds // 1000000, 1)

    for i, track in enumerate(tracks):
        send(i, 0, SEQUENCE_START, True, track.config)
    order = sorted((sample, i) for i, t in enumerate(tracks) for sample in t.samples)
    start = time.monotonic()
    for (dts, pts, is_key, at, size), i in order:
        if not args.fast:
            time.sleep(max(0, start + dts - time.monotonic()))
        body = data[at:at + size]
        if tracks[i].fourcc in (b'avc1', b'hvc1'):
            body = (round((pts - dts) * 1000) & 0xffffff).to_bytes(3, 'big') + body
        send(i, dts, CODED_FRAMES, is_key, body)
    connection.close()


if __name__ == '__main__':
    main()
