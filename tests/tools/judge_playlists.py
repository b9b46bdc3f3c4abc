#!/usr/bin/env python3
"""Has a program save the playlists of a channel's life, then has everybody judge them.

    judge_playlists.py DUMP_PLAYLISTS KIND      our checkers, and xmllint
    judge_playlists.py DUMP_PLAYLISTS KIND node hls-parser and m3u8-parser (tests/node);
                                                exit status 77, skipped, where they are not installed
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
NODE = os.path.join(HERE, "..", "node")


def main():
    dump, kind = sys.argv[1:3]
    with_node = sys.argv[3:] == ["node"]
    if with_node and not os.path.isdir(os.path.join(NODE, "node_modules")):
        print("not installed: run npm ci in tests/node")
        return 77
    with tempfile.TemporaryDirectory() as directory:
        if subprocess.run([dump, directory, kind], stderr=subprocess.DEVNULL).returncode != 0:
            print(f"{dump} failed")
            return 1
        if with_node:
            return subprocess.run(["node", os.path.join(NODE, "check_playlists.mjs"), directory]).returncode
        manifests = sorted(os.path.join(directory, f) for f in os.listdir(directory)
                           if f.endswith(".mpd"))
        results = [
            subprocess.run([sys.executable, os.path.join(HERE, "hls_check.py"), "files", directory,
                            "--strict"]).returncode,
            subprocess.run([sys.executable, os.path.join(HERE, "mpd_check.py"), directory]).returncode,
            subprocess.run(["xmllint", "--noout", *manifests]).returncode,
        ]
        return 1 if any(results) else 0


if __name__ == "__main__":
    sys.exit(main())
