"""recording.py - a publisher's bytes, recorded from a real one and played again: cut short, or with bits flipped."""
import contextlib
import select
import socket
import struct
import time


class Recording:
    """What a publisher sent, in pieces, each with the number of the server's bytes that it had read before."""

    def __init__(self):
        self.pieces = []  # (server bytes read before, bytes)

    @property
    def size(self):
        return sum(len(piece) for _, piece in self.pieces)


def record(leat, start_publisher, seconds):
    """Stands between a publisher and the server for 'seconds'. start_publisher(port) starts it."""
    recording, answered = Recording(), 0
    with socket.create_server(('127.0.0.1', 0)) as listener:
        process = start_publisher(listener.getsockname()[1])
        client, _ = listener.accept()
        with client, socket.create_connection((leat.host, leat.rtmp_port), 5) as server:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                readable, _, _ = select.select([client, server], [], [], 0.1)
                if client in readable:
                    data = client.recv(65536)
                    if not data:
                        break
                    recording.pieces.append((answered, data))
                    server.sendall(data)
                if server in readable:
                    data = server.recv(65536)
                    if not data:
                        break
                    answered += len(data)
                    client.sendall(data)
        process.kill()
        process.wait()
    return recording


def replay(leat, recording, *, bytes_max=None, flips=(), abort=False):
    """Publishes the recording's first 'bytes_max' bytes with the given bits flipped, as the publisher did: never ahead
    of the server's answers. 'abort': ends with RST. Returns the bytes sent before the server closed."""
    flips = set(flips)
    sent = answered = 0
    bytes_max = recording.size if bytes_max is None else bytes_max
    with socket.create_connection((leat.host, leat.rtmp_port), 5) as s:
        if abort:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        with contextlib.suppress(ConnectionError, TimeoutError, BrokenPipeError):
            for wanted, piece in recording.pieces:
                answered += read_until(s, wanted - answered)
                piece = bytearray(piece[:bytes_max - sent])
                for bit in flips:
                    at = bit // 8 - sent
                    if 0 <= at < len(piece):
                        piece[at] ^= 1 << bit % 8
                s.sendall(piece)
                sent += len(piece)
                if sent >= bytes_max:
                    break
    return sent


def read_until(s, count, patience_s=0.3):
    """Reads up to 'count' bytes; gives up when none come: the server may have stopped to answer what was garbled."""
    got = 0
    while got < count:
        readable, _, _ = select.select([s], [], [], patience_s)
        if not readable:
            break
        data = s.recv(65536)
        if not data:
            raise ConnectionError
        got += len(data)
    return got
