#!/usr/bin/python3
"""Draws a benchmark's JSON file: one bar chart (SVG and PNG) per metric, nothing but the file read.

usage: plot.py FILE.json OUTPUT_DIR
"""
import json
import os
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def slug(text):
    """A file name from a metric's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def draw(document, metric, results, directory):
    """One chart: a bar per case, the peer's value and the limit as marks."""
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.45 * len(results)))
    names = [r["case"] for r in results]
    # A peer's own case has its mark's colour.
    peers = {r["peer"] for r in results if "peer" in r}
    colours = ["#c2571a" if r["case"].split(": ")[-1] in peers else "#2b7a8f" for r in results]
    axes.barh(names, [r["value"] for r in results], color=colours, label="Leat")
    axes.margins(x=0.12)
    for i, r in enumerate(results):
        if "peer_value" in r:
            axes.plot([r["peer_value"]] * 2, [i - 0.4, i + 0.4], color="#c2571a", linewidth=3,
                      label=r["peer"])
        if "limit" in r:
            axes.plot([r["limit"]] * 2, [i - 0.4, i + 0.4], color="#444", linestyle=":", linewidth=2,
                      label="limit")
        axes.annotate(f" {r['value']:.4g}", (r["value"], i), va="center", fontsize=8)
    handles = dict(zip(*reversed(axes.get_legend_handles_labels())))
    axes.legend(handles.values(), handles.keys(), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric} [{results[0]['unit']}]")
    axes.set_title(f"{results[0]['scenario']}: {metric}; {document['machine']['cpu']}, commit "
                   f"{document['commit']}", fontsize=9)
    figure.tight_layout()
    base = os.path.join(directory, f"{results[0]['scenario']}-{slug(metric)}")
    for ending in ("svg", "png"):
        figure.savefig(f"{base}.{ending}", dpi=110)
    plt.close(figure)
    return base


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip().splitlines()[-1])
    with open(sys.argv[1], encoding="utf-8") as source:
        document = json.load(source)
    os.makedirs(sys.argv[2], exist_ok=True)
    groups = {}
    for result in document["results"]:
        groups.setdefault((result["scenario"], result["metric"], result["unit"]), []).append(result)
    for (_, metric, _), results in groups.items():
        print(draw(document, metric, results, sys.argv[2]) + ".{svg,png}")


if __name__ == "__main__":
    main()
