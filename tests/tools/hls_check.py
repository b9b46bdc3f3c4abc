#!/usr/bin/env python3
"""Checks HLS playlists against draft-pantos-hls-rfc8216bis, low-latency rules included.

    hls_check.py files DIR             playlists saved in order, NNNN-NAME.m3u8 (full) and
                                       NNNN-NAME.delta.m3u8 (delta update of the same moment);
                                       NAME "index" is the multivariant playlist
    hls_check.py live URL [--seconds N] [--no-media]
                                       plays a live multivariant playlist with blocking reloads,
                                       fetching every part

Prints one line per violation, "MUST (section): what, where", and ends with a summary. Exit
status 1 when a MUST is violated, or a SHOULD with --strict.
"""
import argparse
import collections
import concurrent.futures
import http.client
import os
import re
import sys
import time
import urllib.parse

ROUNDING = 0.00002  # durations are printed with five decimals


class Report:
    def __init__(self):
        self.counts = collections.Counter()
        self.seen = set()

    def add(self, level, section, where, what):
        self.counts[level] += 1
        key = (level, section, what)
        if key not in self.seen and len(self.seen) < 200:
            self.seen.add(key)
            print(f"{level} ({section}): {what} [{where}]")

    def must(self, ok, section, where, what):
        if not ok:
            self.add("MUST", section, where, what)

    def should(self, ok, section, where, what):
        if not ok:
            self.add("SHOULD", section, where, what)


def parse_attributes(text):
    """An attribute list (4.2) as a dict; quoted values keep no quotes."""
    result = {}
    for name, value in re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^,]*)(?:,|$)', text):
        result[name] = value[1:-1] if value.startswith('"') else value
    return result


class Part:
    def __init__(self, attributes):
        self.uri = attributes.get("URI", "")
        self.duration = float(attributes.get("DURATION", "nan"))
        self.independent = attributes.get("INDEPENDENT") == "YES"
        self.gap = attributes.get("GAP") == "YES"

    def key(self):
        return (self.uri, self.duration, self.independent, self.gap)


class Segment:
    def __init__(self, msn):
        self.msn = msn
        self.uri = None  # None: still growing
        self.duration = 0.0
        self.parts = []
        self.date = None
        self.discontinuity = False
        self.discontinuity_number = 0
        self.map = None
        self.gap = False

    def key(self):
        return (self.uri, self.duration, self.date, self.discontinuity_number, self.map, self.gap)

    def length(self):
        return self.duration if self.uri else sum(p.duration for p in self.parts)


def parse_date(text):
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?Z", text)
    if not match:
        return None
    import datetime
    year, month, day, hour, minute, second = (int(match.group(i)) for i in range(1, 7))
    base = datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.timezone.utc)
    return base.timestamp() + float(match.group(7) or 0)


class MediaPlaylist:
    """One media playlist, checked on its own while it is read."""

    def __init__(self, text, where, report):
        self.where = where
        self.report = report
        self.version = None
        self.target = None
        self.part_target = None
        self.control = {}
        self.msn = 0
        self.discontinuity_sequence = 0
        self.independent = False
        self.skipped = 0
        self.hint = None
        self.reports = {}
        self.endlist = False
        self.segments = []
        self.read(text)

    def must(self, ok, section, what):
        self.report.must(ok, section, self.where, what)

    def should(self, ok, section, what):
        self.report.should(ok, section, self.where, what)

    def read(self, text):
        lines = text.split("\n")
        self.must(lines[0] == "#EXTM3U", "4.4.1.1", "the first line is #EXTM3U")
        self.must("\r" not in text and not text.startswith("\ufeff"), "4.1", "no BOM, LF line ends")
        tags = collections.Counter(l.split(":")[0] for l in lines if l.startswith("#EXT"))
        for tag in ("VERSION", "TARGETDURATION", "MEDIA-SEQUENCE", "DISCONTINUITY-SEQUENCE",
                    "ENDLIST", "PART-INF", "SERVER-CONTROL", "INDEPENDENT-SEGMENTS", "SKIP"):
            self.must(tags["#EXT-X-" + tag] <= 1, "4.4", f"EXT-X-{tag} at most once")
        for tag in ("MEDIA", "STREAM-INF"):
            self.must(not tags["#EXT-X-" + tag], "4.4.6", "no multivariant tag in a media playlist")
        segment = None
        current_map = None
        discontinuities = 0
        for line in lines:
            if not line:
                continue
            name, _, value = line.partition(":")
            touched = True
            if segment is None: # numbered once MEDIA-SEQUENCE and SKIP are read
                segment = Segment(None)
            if line.startswith("#EXT-X-PART:"):
                segment.parts.append(Part(parse_attributes(value)))
            elif name == "#EXTINF":
                segment.duration = float(value.split(",")[0])
            elif name == "#EXT-X-PROGRAM-DATE-TIME":
                self.must(not segment.parts, "4.4.4.9", "PROGRAM-DATE-TIME before the first PART")
                segment.date = parse_date(value)
                self.must(segment.date is not None, "4.4.4.6", f"a date with milliseconds: {value}")
            elif name == "#EXT-X-DISCONTINUITY":
                self.must(not segment.parts, "4.4.4.9", "DISCONTINUITY before the first PART")
                segment.discontinuity = True
                discontinuities += 1
            elif name == "#EXT-X-MAP":
                self.must(not segment.parts, "4.4.4.9", "MAP before the first PART")
                current_map = parse_attributes(value).get("URI")
            elif name == "#EXT-X-GAP":
                segment.gap = True
            elif not line.startswith("#"):
                segment.uri = line
                self.append(segment, current_map, discontinuities)
                segment = None
                continue
            else:
                touched = False
            if not touched:
                self.read_playlist_tag(name, value)
        if segment is not None and segment.parts:
            self.append(segment, current_map, discontinuities)
        self.check()

    def append(self, segment, current_map, discontinuities):
        segment.msn = self.msn + self.skipped + len(self.segments)
        segment.map = current_map
        segment.discontinuity_number = self.discontinuity_sequence + discontinuities
        self.segments.append(segment)

    def read_playlist_tag(self, name, value):
        attributes = parse_attributes(value)
        before = not self.segments
        if name == "#EXT-X-VERSION":
            self.version = int(value)
        elif name == "#EXT-X-TARGETDURATION":
            self.target = int(value)
        elif name == "#EXT-X-MEDIA-SEQUENCE":
            self.must(before, "4.4.3.2", "MEDIA-SEQUENCE before the first segment")
            self.msn = int(value)
        elif name == "#EXT-X-DISCONTINUITY-SEQUENCE":
            self.must(before, "4.4.3.3", "DISCONTINUITY-SEQUENCE before the first segment")
            self.discontinuity_sequence = int(value)
        elif name == "#EXT-X-ENDLIST":
            self.endlist = True
        elif name == "#EXT-X-INDEPENDENT-SEGMENTS":
            self.independent = True
        elif name == "#EXT-X-PART-INF":
            self.part_target = float(attributes["PART-TARGET"])
        elif name == "#EXT-X-SERVER-CONTROL":
            self.control = attributes
        elif name == "#EXT-X-SKIP":
            self.must(before, "4.4.5.2", "SKIP before the segments that remain")
            self.skipped = int(attributes.get("SKIPPED-SEGMENTS", "0"))
            self.must(self.skipped > 0, "4.4.5.2", "SKIPPED-SEGMENTS of at least one")
        elif name == "#EXT-X-PRELOAD-HINT":
            self.must(self.hint is None, "4.4.5.3", "one PRELOAD-HINT of type PART")
            self.must(attributes.get("TYPE") == "PART", "4.4.5.3", "the hint is of a part")
            self.hint = attributes.get("URI")
        elif name == "#EXT-X-RENDITION-REPORT":
            uri = attributes.get("URI", "")
            self.must(uri and not re.match(r"[a-z]+:|/", uri), "4.4.5.4", "report URI is relative")
            self.must("LAST-MSN" in attributes, "4.4.5.4", "report has LAST-MSN")
            self.must("LAST-PART" in attributes, "4.4.5.4", "report has LAST-PART")
            self.reports[uri] = attributes

    # --- rules of one playlist ---

    def check(self):
        self.must(self.target is not None, "4.4.3.1", "TARGETDURATION is there")
        self.must((self.version or 1) >= (9 if self.skipped else 6), "8", "VERSION covers the tags")
        if self.target is None:
            return
        self.check_control()
        self.check_segments()
        self.check_parts()
        listed = {p.uri for s in self.segments for p in s.parts}
        self.must(self.hint is None or self.hint not in listed, "4.4.5.3", "the hint is of a part to come")
        self.must(not (self.endlist and self.hint), "4.4.5.3", "no PRELOAD-HINT with ENDLIST")

    def check_control(self):
        hold = self.control.get("HOLD-BACK")
        part_hold = self.control.get("PART-HOLD-BACK")
        skip = self.control.get("CAN-SKIP-UNTIL")
        self.must(hold is None or float(hold) >= 3 * self.target, "4.4.3.8",
                  "HOLD-BACK of at least three target durations")
        if skip is not None:
            self.must(float(skip) >= 6 * self.target, "4.4.3.8",
                      "CAN-SKIP-UNTIL of at least six target durations")
        self.must(not self.skipped or skip is not None, "4.4.5.2", "SKIP only with CAN-SKIP-UNTIL")
        if self.part_target is None:
            return
        self.must(part_hold is not None, "4.4.3.8", "PART-HOLD-BACK is there with PART-INF")
        if part_hold is not None:
            self.must(float(part_hold) >= 2 * self.part_target - ROUNDING, "4.4.3.8",
                      "PART-HOLD-BACK of at least two part targets")
            self.should(float(part_hold) >= 3 * self.part_target - ROUNDING, "4.4.3.8",
                        "PART-HOLD-BACK of at least three part targets")
        self.must(self.control.get("CAN-BLOCK-RELOAD") == "YES", "B.1",
                  "CAN-BLOCK-RELOAD=YES for low latency")

    def check_segments(self):
        previous = None
        for s in self.segments:
            if s.uri:
                # Rounded to the nearest integer, halves up.
                self.must(int(s.duration + 0.5) <= self.target, "4.4.3.1",
                          f"EXTINF {s.duration} rounds to at most TARGETDURATION {self.target}")
            self.must(s.map is not None or self.skipped or s.gap, "3.1.2", "fMP4 segments have a MAP")
            if previous is not None and s.map != previous.map and previous.map and s.map:
                self.should(s.discontinuity, "4.4.4.3", "DISCONTINUITY where the init segment changes")
            if previous is not None and not s.discontinuity and previous.date and s.date:
                drift = s.date - previous.date - previous.length()
                self.must(abs(drift) < max(0.1, previous.length() * 0.03), "6.2.1",
                          f"PROGRAM-DATE-TIME follows the durations (off by {drift:.3f} s)")
            previous = s

    def check_parts(self):
        if self.part_target is None:
            self.must(not any(s.parts for s in self.segments), "4.4.3.7", "PART only with PART-INF")
            return
        after = 0.0
        without_parts = False
        for s in reversed(self.segments):
            if s.uri and s.parts:
                total = sum(p.duration for p in s.parts)
                self.must(abs(total - s.duration) < 0.001 + ROUNDING * len(s.parts), "4.4.4.9",
                          f"EXTINF {s.duration} is the sum of its parts {total:.5f}")
                self.must(s.gap == all(p.gap for p in s.parts), "4.4.4.7",
                          "a segment is a gap when all its parts are")
            if s.parts:
                self.must(not without_parts, "6.2.2", "parts are removed in order")
            without_parts = without_parts or not (s.parts or s.gap)
            if s.parts and s.uri:
                self.should(after < 3 * self.target, "6.2.2",
                            "parts older than three target durations are removed")
            for i, p in enumerate(s.parts):
                self.must(p.duration <= self.part_target + ROUNDING, "4.4.4.9",
                          f"part of {p.duration} within PART-TARGET {self.part_target}")
                is_last = i + 1 == len(s.parts)
                next_is_gap = not is_last and s.parts[i + 1].gap
                if not (p.independent or p.gap or next_is_gap or is_last):
                    self.must(p.duration >= 0.85 * self.part_target - ROUNDING, "4.4.4.9",
                              f"part of {p.duration} at least 85 % of PART-TARGET {self.part_target}")
            after += s.length()

    def last_msn(self):
        return self.segments[-1].msn if self.segments else self.msn - 1

    def next_position(self):
        """(msn, part) of the next part."""
        if not self.segments:
            return (self.msn, 0)
        last = self.segments[-1]
        return (last.msn + 1, 0) if last.uri else (last.msn, len(last.parts))


# --- rules between playlists ---

def check_update(old, new, report):
    """6.2.1: what may change between two versions of one playlist."""
    where = new.where

    def must(ok, section, what):
        report.must(ok, section, where, what)

    must(not old.endlist or new.endlist, "6.2.1", "ENDLIST is final")
    must(new.target == old.target, "6.2.1", "TARGETDURATION does not change")
    must(new.part_target == old.part_target, "6.2.1", "PART-TARGET does not change")
    must(new.version == old.version, "6.2.1", "VERSION does not change")
    must(new.control == old.control, "6.2.1", "SERVER-CONTROL does not change")
    must(new.msn >= old.msn, "6.2.1", "MEDIA-SEQUENCE never goes back")
    must(new.last_msn() >= old.last_msn(), "6.2.1", "segments are appended, not taken back")
    must(new.next_position() >= old.next_position(), "6.2.1", "parts are appended, not taken back")
    old_by_msn = {s.msn: s for s in old.segments}
    for s in new.segments:
        before = old_by_msn.get(s.msn)
        if before is None:
            continue
        if before.uri:
            must(before.key() == s.key(), "6.2.1", f"a listed segment does not change ({s.msn})")
        common = min(len(before.parts), len(s.parts))
        must([p.key() for p in before.parts[:common]] == [p.key() for p in s.parts[:common]],
             "6.2.1", f"a listed part does not change ({s.msn})")
        if not s.uri:
            must(len(s.parts) >= len(before.parts), "6.2.1", "parts of a growing segment stay")
    removed = [s for s in old.segments if s.msn < new.msn]
    gone = sum(1 for s in removed if s.discontinuity)
    if new.msn <= old.last_msn():
        must(new.discontinuity_sequence == old.discontinuity_sequence + gone, "6.2.2",
             "DISCONTINUITY-SEQUENCE counts the discontinuities removed")
        kept = sum(s.length() for s in new.segments)
        must(not removed or kept >= 3 * new.target - ROUNDING, "6.2.2",
             "a playlist keeps three target durations")
    if old.hint and new.next_position() > old.next_position():
        msn, index = old.next_position()
        for s in new.segments:
            if s.msn == msn and len(s.parts) > index:
                must(s.parts[index].uri == old.hint, "4.4.5.3", "the hinted part is the next one")


def apply_delta(old, delta, report):
    """6.2.5.1: the full list of segments that 'delta' stands for, given 'old'."""
    old_by_msn = {s.msn: s for s in old.segments}
    segments = []
    for msn in range(delta.msn, delta.msn + delta.skipped):
        s = old_by_msn.get(msn)
        report.must(s is not None, "6.2.5.1", delta.where, "what is skipped was listed before")
        if s is not None:
            segments.append(s)
    number = delta.discontinuity_sequence
    current_map = None
    for s in segments + delta.segments:
        number += 1 if s.discontinuity else 0
        s.discontinuity_number = number
        s.map = s.map or current_map
        current_map = s.map
    return segments + delta.segments


def check_delta(full, delta, report):
    """The delta update of the same moment as 'full'."""
    if delta.skipped == 0:
        report.add("MUST", "6.2.5.1", delta.where, "a delta update skips something")
        return
    boundary = float(full.control["CAN-SKIP-UNTIL"])
    after = sum(s.length() for s in full.segments[delta.skipped:])
    report.must(after >= boundary - ROUNDING, "6.2.5.1", delta.where,
                "only segments beyond the skip boundary are skipped")
    merged = apply_delta(full, delta, report)
    report.must([s.msn for s in merged] == [s.msn for s in full.segments], "6.2.5.1", delta.where,
                "a delta update yields the full playlist")
    for a, b in zip(merged, full.segments):
        report.must(a.uri == b.uri and a.duration == b.duration and
                    [p.key() for p in a.parts] == [p.key() for p in b.parts], "6.2.5.1",
                    delta.where, "a delta update yields the same segments")
    report.must(delta.hint == full.hint and delta.discontinuity_sequence ==
                full.discontinuity_sequence, "4.4.5.2", delta.where,
                "a delta update differs in nothing but the skipped segments")


def check_renditions(playlists, report):
    """6.2.4 and B.1: playlists of one moment, by name."""
    by_msn = collections.defaultdict(list)
    for name, playlist in playlists.items():
        for s in playlist.segments:
            by_msn[s.msn].append((name, s, playlist))
        if not playlist.endlist:
            others = {n + ".m3u8" for n in playlists if n != name}
            report.must(others <= set(playlist.reports), "B.1", playlist.where,
                        "a RENDITION-REPORT for every other rendition")
    for msn, entries in by_msn.items():
        name0, s0, p0 = entries[0]
        for name, s, p in entries[1:]:
            report.must(s.discontinuity_number == s0.discontinuity_number, "6.2.4", p.where,
                        f"segment {msn} has one discontinuity number in {name0} and {name}")
            report.must(p.target == p0.target, "6.2.4", p.where, "one TARGETDURATION for all")
            if s.date and s0.date and not s.gap and not s0.gap and msn > p.msn and msn > p0.msn:
                limit = (p.part_target or 1) + 0.05
                report.must(abs(s.date - s0.date) <= limit, "6.2.4", p.where,
                            f"segment {msn} starts at one time in {name0} and {name} "
                            f"({s.date - s0.date:+.3f} s)")


def check_multivariant(text, where, report):
    """Names of the media playlists that it lists."""
    names = []
    groups = set()
    used_groups = set()
    variant = None
    report.must(text.startswith("#EXTM3U\n"), "4.4.1.1", where, "the first line is #EXTM3U")
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        attributes = parse_attributes(value)
        if name == "#EXT-X-MEDIA":
            for key in ("TYPE", "GROUP-ID", "NAME"):
                report.must(key in attributes, "4.4.6.1", where, f"EXT-X-MEDIA has {key}")
            if attributes.get("TYPE") == "AUDIO":
                report.should("CHANNELS" in attributes, "4.4.6.1", where, "audio has CHANNELS")
            if attributes.get("DEFAULT") == "YES":
                report.must(attributes.get("AUTOSELECT") == "YES", "4.4.6.1", where,
                            "DEFAULT implies AUTOSELECT")
            groups.add(attributes.get("GROUP-ID"))
            names.append(attributes.get("URI"))
        elif name == "#EXT-X-STREAM-INF":
            variant = attributes
            report.must(int(attributes.get("BANDWIDTH", "0")) > 0, "4.4.6.2", where, "BANDWIDTH")
            report.should("CODECS" in attributes, "4.4.6.2", where, "CODECS")
            report.should("AVERAGE-BANDWIDTH" in attributes, "4.4.6.2", where, "AVERAGE-BANDWIDTH")
            codecs = attributes.get("CODECS", "")
            if re.search(r"avc1|hvc1|hev1|av01|vp09", codecs):
                report.should("RESOLUTION" in attributes, "4.4.6.2", where, "RESOLUTION of video")
                report.should("FRAME-RATE" in attributes, "4.4.6.2", where, "FRAME-RATE of video")
            average = int(attributes.get("AVERAGE-BANDWIDTH", "0"))
            report.must(average <= int(attributes.get("BANDWIDTH", "0")), "4.4.6.2", where,
                        "AVERAGE-BANDWIDTH within BANDWIDTH")
            if "AUDIO" in attributes:
                used_groups.add(attributes["AUDIO"])
        elif line and not line.startswith("#"):
            report.must(variant is not None, "4.4.6.2", where, "a URI follows STREAM-INF")
            variant = None
            names.append(line)
        report.must(name not in ("#EXTINF", "#EXT-X-TARGETDURATION"), "4.4.6", where,
                    "no media playlist tag in a multivariant playlist")
    report.must(used_groups <= groups, "4.4.6.2", where, "a named group exists")
    report.must(bool(names), "4.4.6", where, "something to play")
    return names


# --- saved files ---

def check_files(directory, report):
    moments = collections.defaultdict(dict)
    for entry in sorted(os.listdir(directory)):
        match = re.fullmatch(r"(\d+)-([a-z0-9]+)(\.delta)?\.m3u8", entry)
        if match:
            moments[int(match.group(1))][match.group(2) + (match.group(3) or "")] = entry
    previous = {}
    count = 0
    for moment in sorted(moments):
        playlists = {}
        for name, entry in moments[moment].items():
            count += 1
            with open(os.path.join(directory, entry), encoding="utf-8") as f:
                text = f.read()
            if name == "index":
                check_multivariant(text, entry, report)
            else:
                playlists[name] = MediaPlaylist(text, entry, report)
        full = {n: p for n, p in playlists.items() if not n.endswith(".delta")}
        for name, playlist in full.items():
            if name in previous:
                check_update(previous[name], playlist, report)
            if name + ".delta" in playlists:
                check_delta(playlist, playlists[name + ".delta"], report)
        check_renditions(full, report)
        previous.update(full)
    report.must(count > 0, "-", directory, "there are playlists to check")
    return count


# --- a live server ---

class Client:
    """One keep-alive connection."""

    def __init__(self, url):
        self.base = urllib.parse.urlsplit(url)
        self.connection = None

    def get(self, url, timeout=30):
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(self.base.hostname, self.base.port or 80,
                                                             timeout=timeout)
            try:
                parts = urllib.parse.urlsplit(url)
                path = parts.path + ("?" + parts.query if parts.query else "")
                self.connection.request("GET", path)
                response = self.connection.getresponse()
                return response.status, response.headers, response.read()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                self.connection = None
                if attempt == 1:
                    raise


def watch_rendition(url, deadline, with_media, report):
    """Reloads one media playlist, blocking, until the deadline. Returns the last one and the
    bit rates of its segments."""
    client = Client(url)
    media = Client(url)
    name = url.rsplit("/", 1)[1]
    status, headers, body = client.get(url)
    report.must(status == 200, "6.2.5.2", name, f"the playlist can be had ({status})")
    report.must(headers.get("Content-Type", "").split(";")[0] in
                ("application/vnd.apple.mpegurl", "audio/mpegurl"), "4", name, "content type")
    report.must(headers.get("Access-Control-Allow-Origin") is not None, "-", name, "CORS header")
    current = MediaPlaylist(body.decode(), name, report)
    fetched = set()
    rates = []
    turns = 0

    status, _, _ = client.get(f"{url}?_HLS_msn={current.last_msn() + 1000}")
    report.must(status == 400, "6.2.5.2", name, f"400 for a far-future request ({status})")

    while time.time() < deadline and not current.endlist:
        msn, part = current.next_position()
        query = f"?_HLS_msn={msn}&_HLS_part={part}" + ("&_HLS_skip=YES" if turns % 2 else "")
        started = time.time()
        status, _, body = client.get(url + query)
        took = time.time() - started
        where = f"{name}{query}"
        report.must(status == 200, "6.2.5.2", where, f"a blocking reload is answered ({status})")
        if status != 200:
            time.sleep(0.5)
            continue
        new = MediaPlaylist(body.decode(), where, report)
        if new.skipped:
            segments = apply_delta(current, new, report)
            new.segments = segments
            new.skipped = 0
        report.must(new.endlist or new.next_position() > (msn, part), "6.2.5.2", where,
                    "the answer holds what was asked for")
        report.must(took < 3 * current.target, "6.2.5.2", where, f"answered in time ({took:.2f} s)")
        report.should(len(new.segments) == 0 or turns == 0 or
                      new.next_position() <= (msn, part + 2) or new.next_position()[0] > msn,
                      "6.2.5.2", where, "one part at a time")
        check_update(current, new, report)
        current = new
        turns += 1
        if with_media:
            fetch_parts(media, url, current, fetched, rates, report)
    report.must(turns > 2, "6.2.5.2", name, "the playlist moves on")
    return name, current, rates, turns


def fetch_parts(client, url, playlist, fetched, rates, report):
    for s in playlist.segments[-2:]:
        for p in s.parts:
            if p.uri in fetched or p.gap:
                continue
            fetched.add(p.uri)
            status, _, body = client.get(urllib.parse.urljoin(url, p.uri))
            report.must(status == 200 and len(body) > 0, "6.2.2", p.uri,
                        f"a listed part can be had ({status})")
        if s.uri and s.uri not in fetched and not s.gap and s.duration > 0:
            fetched.add(s.uri)
            status, headers, body = client.get(urllib.parse.urljoin(url, s.uri))
            report.must(status == 200, "6.2.2", s.uri, f"a listed segment can be had ({status})")
            rates.append(len(body) * 8 / s.duration)
    first = playlist.segments[0]
    if first.uri and first.uri not in fetched and not first.gap:
        fetched.add(first.uri)
        status, _, _ = client.get(urllib.parse.urljoin(url, first.uri))
        report.must(status == 200, "6.2.2", first.uri, f"the oldest segment can be had ({status})")


def check_live(url, seconds, with_media, report):
    client = Client(url)
    status, _, body = client.get(url)
    report.must(status == 200, "4", url, f"the multivariant playlist can be had ({status})")
    if status != 200:
        return 0
    names = check_multivariant(body.decode(), "index.m3u8", report)
    deadline = time.time() + seconds
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        jobs = [pool.submit(watch_rendition, urllib.parse.urljoin(url, n), deadline, with_media,
                            report) for n in names]
        results = [j.result() for j in jobs]
    check_renditions({n.rsplit(".", 1)[0]: p for n, p, _, _ in results}, report)
    status, _, body = client.get(url)
    check_bandwidth(body.decode(), {n: r for n, _, r, _ in results}, report)
    return sum(turns for _, _, _, turns in results)


def check_bandwidth(text, rates, report):
    """4.4.6.2: the peak and the average are those of the segments."""
    audio = max((max(r) for n, r in rates.items() if n.startswith("audio") and r), default=0)
    variant = None
    for line in text.split("\n"):
        if line.startswith("#EXT-X-STREAM-INF:"):
            variant = parse_attributes(line.partition(":")[2])
        elif line and not line.startswith("#") and variant and rates.get(line):
            peak = max(rates[line]) + (audio if "AUDIO" in variant else 0)
            report.must(int(variant["BANDWIDTH"]) >= peak * 0.99, "4.4.6.2", line,
                        f"BANDWIDTH {variant['BANDWIDTH']} covers the measured {peak:.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("files", "live"))
    parser.add_argument("target")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--no-media", action="store_true")
    parser.add_argument("--strict", action="store_true", help="SHOULD counts as well")
    options = parser.parse_args()
    report = Report()
    if options.mode == "files":
        count = check_files(options.target, report)
    else:
        count = check_live(options.target, options.seconds, not options.no_media, report)
    print(f"{count} playlists: {report.counts['MUST']} MUST, {report.counts['SHOULD']} SHOULD violated")
    failed = report.counts["MUST"] or (options.strict and report.counts["SHOULD"]) or count == 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
