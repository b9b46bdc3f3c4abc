"""What every benchmark scenario reports: a table for people, one JSON file for plots and comparison.

JSON: {"machine", "commit", "versions", "results": [{"scenario", "case", "metric", "value", "unit"
[, "peer", "peer_value", "ratio"] [, "limit"]}]}. "ratio" is value / peer_value. Nothing is averaged
or rounded in the file; a result that could not be measured is absent, and said so on stderr.
"""
import json
import os
import platform
import subprocess
import sys


def first_line(command):
    """The first line that a command prints (stdout or stderr); None when it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else None


def machine():
    """What the numbers depend on."""
    model, mhz = "unknown", None
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        for line in cpuinfo:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            elif name.strip() == "cpu MHz":
                mhz = float(value)
    return {
        "cpu": model,
        "mhz": mhz,
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
    }


def commit():
    """The commit measured, with "+" when the tree differs from it."""
    here = os.path.dirname(os.path.abspath(__file__))
    head = first_line(["git", "-C", here, "rev-parse", "--short=12", "HEAD"]) or "unknown"
    dirty = first_line(["git", "-C", here, "status", "--porcelain", "--untracked-files=no"])
    return head + ("+" if dirty else "")


class Report:
    """Results of one scenario."""

    def __init__(self, scenario):
        self.scenario = scenario
        self.results = []
        self.versions = {}

    def version(self, name, command):
        """Records a peer's version, from the first line of 'command'."""
        line = first_line(command)
        if line is not None:
            self.versions[name] = line

    def add(self, case, metric, value, unit, peer=None, peer_value=None, limit=None):
        """Adds one measured value; 'peer_value' and 'limit' are in the same unit."""
        result = {"scenario": self.scenario, "case": case, "metric": metric, "value": value, "unit": unit}
        if peer is not None and peer_value:
            result.update(peer=peer, peer_value=peer_value, ratio=value / peer_value)
        if limit is not None:
            result["limit"] = limit
        self.results.append(result)

    def value(self, case, metric):
        """A value added before; None when there is none."""
        for result in self.results:
            if result["case"] == case and result["metric"] == metric:
                return result["value"]
        return None

    def finish(self, json_file=None):
        """Prints the table; with 'json_file' also writes it there."""
        rows = [("case", "metric", "value", "unit", "peer", "ratio", "limit")]
        for r in self.results:
            peer = f"{r['peer']} {r['peer_value']:.4g}" if "peer" in r else ""
            ratio = f"{r['ratio']:.3g}x" if "ratio" in r else ""
            limit = f"{r['limit']:.4g}" if "limit" in r else ""
            rows.append((r["case"], r["metric"], f"{r['value']:.4g}", r["unit"], peer, ratio, limit))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if json_file is None:
            return
        document = {"machine": machine(), "commit": commit(), "versions": self.versions,
                    "results": self.results}
        temporary = json_file + ".tmp"
        with open(temporary, "w", encoding="utf-8") as out:
            json.dump(document, out, indent=1)
            out.write("\n")
        os.replace(temporary, json_file)


def warn(text):
    """Says on stderr what could not be measured."""
    print(f"bench: {text}", file=sys.stderr)
