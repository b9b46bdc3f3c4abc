#!/usr/bin/python3
"""gst_play.py URL FRAMES - plays with GStreamer's adaptivedemux2 elements until so many frames were decoded and shown.

Prints their number, the seconds between the first and the last, and the largest pause. Debian's python3, since the bindings
belong to it. A live DASH stream would start after the demuxer's own 30 s of buffering; two are enough here.
"""
import sys
import time

import gi

gi.require_version('Gst', '1.0')
from gi.repository import GLib, Gst  # noqa: E402

BUFFER_NS = 2_000_000_000


def main():
    url, wanted = sys.argv[1], int(sys.argv[2])
    Gst.init(None)
    pipeline = Gst.parse_launch(f'uridecodebin3 uri={url} caps=video/x-raw ! fakesink name=sink sync=true signal-handoffs=true')
    loop, shown, problem = GLib.MainLoop(), [], []

    def on_element(_bin, _parent, element):
        if element.get_factory().get_name() in ('hlsdemux2', 'dashdemux2'):
            element.set_property('high-watermark-time', BUFFER_NS)

    def on_frame(*_):
        shown.append(time.monotonic())
        if len(shown) == wanted:
            GLib.idle_add(loop.quit)

    def on_message(_bus, message):
        if message.type in (Gst.MessageType.ERROR, Gst.MessageType.WARNING):
            error, debug = message.parse_error() if message.type == Gst.MessageType.ERROR else message.parse_warning()
            problem.append(f'{error.message} ({debug})')
            loop.quit()
        elif message.type == Gst.MessageType.EOS:
            problem.append('end of stream')
            loop.quit()
        elif message.type == Gst.MessageType.LATENCY:
            pipeline.recalculate_latency()

    pipeline.connect('deep-element-added', on_element)
    pipeline.get_by_name('sink').connect('handoff', on_frame)
    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect('message', on_message)
    GLib.timeout_add_seconds(60, lambda: problem.append('60 s are over') or loop.quit())
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    pipeline.set_state(Gst.State.NULL)
    if problem:
        print(f'{"; ".join(problem)} after {len(shown)} frames')
        return 1
    pauses = [b - a for a, b in zip(shown, shown[1:])]
    print(f'{len(shown)} frames in {shown[-1] - shown[0]:.2f} s, longest pause {max(pauses):.2f} s')
    return 0


if __name__ == '__main__':
    sys.exit(main())
