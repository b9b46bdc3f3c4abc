#!/usr/bin/env python3
"""Checks saved DASH manifests (NNNN-manifest.mpd, in order) of one live presentation: each by
itself (ISO/IEC 23009-1, low latency by DASH-IF IOP part 4), and each against the one before.

    mpd_check.py DIR

Prints one line per violation and a summary; exit status 1 when there is one.
"""
import collections
import datetime
import os
import re
import sys
import xml.etree.ElementTree as ET

NS = "{urn:mpeg:dash:schema:mpd:2011}"
RESOLUTION = 0.002  # of dates: milliseconds


class Report:
    def __init__(self):
        self.count = 0
        self.seen = set()

    def must(self, ok, section, where, what):
        if ok:
            return
        self.count += 1
        if (section, what) not in self.seen and len(self.seen) < 100:
            self.seen.add((section, what))
            print(f"MUST ({section}): {what} [{where}]")


def duration(text):
    match = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", text or "")
    return float(match.group(1)) if match else None


def date(text):
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(
            tzinfo=datetime.timezone.utc).timestamp()
    except (TypeError, ValueError):
        return None


def expand(timeline):
    """[(t, d)] of a SegmentTimeline (5.3.9.6)."""
    result = []
    at = 0
    for s in timeline.findall(NS + "S"):
        at = int(s.get("t", at))
        for _ in range(int(s.get("r", "0")) + 1):
            result.append((at, int(s.get("d"))))
            at += int(s.get("d"))
    return result


class Manifest:
    def __init__(self, path, report):
        self.where = os.path.basename(path)
        self.report = report
        self.root = ET.parse(path).getroot()
        self.is_static = self.root.get("type") == "static"
        self.start = date(self.root.get("availabilityStartTime"))
        self.published = date(self.root.get("publishTime"))
        self.segments = {}  # (track, number) -> (period id, t, d, timescale, presentation seconds)
        self.inits = {}
        self.period_starts = {}
        self.check()

    def must(self, ok, section, what):
        self.report.must(ok, section, self.where, what)

    def check(self):
        self.must(self.root.tag == NS + "MPD", "5.3.1", "the root is an MPD")
        if not self.is_static:
            for name in ("minimumUpdatePeriod", "timeShiftBufferDepth", "suggestedPresentationDelay",
                         "minBufferTime"):
                self.must(duration(self.root.get(name)) is not None, "5.3.1.2", f"{name} is there")
            self.must(self.start is not None and self.published is not None, "5.3.1.2",
                      "availabilityStartTime and publishTime are there")
            timing = self.root.findall(NS + "UTCTiming")
            self.must(len(timing) == 1, "5.8.4.11", "one UTCTiming, so that clients do not drift")
            latency = self.root.find(f"{NS}ServiceDescription/{NS}Latency")
            self.must(latency is not None, "IOP 9.X.4", "a latency target")
        else:
            self.must(duration(self.root.get("mediaPresentationDuration")) is not None, "5.3.1.2",
                      "a static presentation has a duration")
        periods = self.root.findall(NS + "Period")
        self.must(bool(periods), "5.3.2", "there is a period")
        previous_start = -1.0
        for period in periods:
            start = duration(period.get("start"))
            self.must(start is not None and start > previous_start, "5.3.2.1", "periods ascend")
            previous_start = start
            self.period_starts[period.get("id")] = start
            self.check_period(period, start)
        numbers = collections.defaultdict(list)
        for track, number in self.segments:
            numbers[track].append(number)
        for track, found in numbers.items():
            found.sort()
            self.must(found == list(range(found[0], found[0] + len(found))), "5.3.9.5.3",
                      f"the numbers of {track} are consecutive over all periods")

    def check_period(self, period, start):
        sets = period.findall(NS + "AdaptationSet")
        self.must(bool(sets), "5.3.3", "a period has an adaptation set")
        for adaptation in sets:
            template = adaptation.find(NS + "SegmentTemplate")
            representation = adaptation.find(NS + "Representation")
            track = representation.get("id")
            timescale = int(template.get("timescale"))
            offset = int(template.get("presentationTimeOffset", "0"))
            number = int(template.get("startNumber"))
            self.must(number < 2**32, "5.3.9.2.2", "startNumber is an unsigned int")
            self.must("$Number$" in template.get("media"), "5.3.9.4.4", "$Number$ in media")
            self.must(int(representation.get("bandwidth")) > 0, "5.3.5.2", "bandwidth")
            self.must(bool(representation.get("codecs")), "5.3.7.2", "codecs")
            self.inits[(period.get("id"), track)] = template.get("initialization")
            timeline = expand(template.find(NS + "SegmentTimeline"))
            self.must(bool(timeline), "5.3.9.6", "a timeline is not empty")
            expected = None
            for t, d in timeline:
                self.must(d > 0, "5.3.9.6.2", "durations are positive")
                self.must(expected is None or t == expected, "5.3.9.6.1",
                          f"no gap and no overlap within a period of {track}")
                expected = t + d
                seconds = start + (t - offset) / timescale
                self.segments[(track, number)] = (period.get("id"), t, d, timescale, seconds)
                number += 1
            # A sample of the first segment may precede the period by less than a frame or two.
            self.must(timeline[0][0] >= offset - timescale * 0.1 or number > 0, "5.3.9.6.3",
                      "media does not begin before its period")
            if not self.is_static:
                self.check_live_set(adaptation, template, timeline, timescale, start, offset)

    def check_live_set(self, adaptation, template, timeline, timescale, start, offset):
        early = template.get("availabilityTimeOffset")
        self.must(early is not None and template.get("availabilityTimeComplete") == "false",
                  "5.3.9.5.4", "segments can be had before they are complete")
        if early is not None:
            last = max(d for _, d in timeline) / timescale
            self.must(0 < float(early) < max(last, 2.0), "5.3.9.5.4",
                      f"availabilityTimeOffset {early} lies within a segment of {last:.3f} s")
        reference = adaptation.find(NS + "ProducerReferenceTime")
        self.must(reference is not None, "5.12", "ProducerReferenceTime")
        if reference is not None:
            wall = date(reference.get("wallClockTime"))
            media = self.start + start + (int(reference.get("presentationTime")) - offset) / timescale
            self.must(wall is not None and abs(wall - media) < 0.05, "5.12",
                      f"the reference time agrees with the timeline ({wall - media:+.3f} s)")


def check_update(old, new, report):
    where = new.where

    def must(ok, section, what):
        report.must(ok, section, where, what)

    if new.is_static:
        return
    must(not old.is_static, "5.4", "a presentation that ended does not go on")
    must(new.start == old.start, "5.4", "availabilityStartTime does not change")
    must(new.published >= old.published, "5.4", "publishTime never goes back")
    for name, start in new.period_starts.items():
        before = old.period_starts.get(name)
        must(before is None or abs(before - start) < RESOLUTION, "5.4", "a period's start stays")
    for key, init in new.inits.items():
        must(old.inits.get(key, init) == init, "5.4", "a period's init segment stays")
    newest = {}
    for track, number in old.segments:
        newest[track] = max(number, newest.get(track, 0))
    for key, (period, t, d, timescale, seconds) in new.segments.items():
        before = old.segments.get(key)
        if before is None:
            continue
        must((period, t) == before[:2], "5.4", f"segment {key[1]} keeps its period and time")
        if key[1] < newest[key[0]]:
            must(d == before[2] or abs(d - before[2]) / timescale < 0.001, "5.4",
                 f"segment {key[1]} keeps its duration once the next one has begun")


def main():
    directory = sys.argv[1]
    report = Report()
    previous = None
    count = 0
    for entry in sorted(os.listdir(directory)):
        if not entry.endswith(".mpd"):
            continue
        count += 1
        manifest = Manifest(os.path.join(directory, entry), report)
        if previous is not None:
            check_update(previous, manifest, report)
        previous = manifest
    print(f"{count} manifests: {report.count} MUST violated")
    return 1 if report.count or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
