"""docs/architecture.svg: the floors of the library, drawn from the list that the imports are held to."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

# What a box says below its name; "" is the library's __init__.
CONTENTS = {
    "core": "arrays, files, downloads, processes, errors",
    "imaging": "images in files, colour spaces, edge-aware filter",
    "data": "lists, downloads, splits, LMDBs",
    "histograms": "bins, and colours from histograms",
    "runtime": "model folders; Caffe, onnxruntime",
    "control": "references, hints, biases, samples",
    "nets": "prototxt, weights",
    "evaluation": "errors, metrics, reports",
    "video": "frames, smoothed in time",
    "": "load_model, the public names",
    "training": "solvers, snapshots, ranks, heads",
    "web": "the page of autocolor serve",
    "batch": "files to files",
    "baselines": "methods compared with",
    "cli": "the command autocolor",
    "paper": "tables and figures of the paper",
}
WIDTH, HEIGHT, MARGIN, GAP = 960, 54, 20, 12
RISE = HEIGHT + 16


def draw(floors: Sequence[Sequence[str]]) -> str:
    """Return the SVG of `floors`, from the ground up, a box a package."""
    total = 2 * MARGIN + len(floors) * RISE + HEIGHT - RISE
    boxes = []
    for level, packages in enumerate(floors):
        top = total - MARGIN - level * RISE - HEIGHT
        width = (WIDTH - 2 * MARGIN - GAP * (len(packages) - 1)) / len(packages)
        for place, package in enumerate(packages):
            left = MARGIN + place * (width + GAP)
            middle = left + width / 2
            boxes += [
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{HEIGHT}"/>',
                f'<text class="name" x="{middle:.0f}" y="{top + 23}">{package or "autocolor"}</text>',
                f'<text x="{middle:.0f}" y="{top + 42}">{escape(CONTENTS[package])}</text>',
            ]
    style = (
        "rect{fill:#eef3fa;stroke:#5b7aa8;rx:5}text{font:13px sans-serif;fill:#333;"
        "text-anchor:middle}.name{font-weight:bold;fill:#1d3557}.ground{fill:#fff;stroke:none}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" role="img">',
            "<title>The packages of autocolor: each imports only from floors below its own</title>",
            f"<style>{style}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{total}"/>',
            *boxes,
            "</svg>\n",
        ]
    )
