"""Where the time of colorizing a photo goes: by part, by layer, and by function as perf sees it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from arithmetic import network_arithmetic
from colorize import make_photo, random_model
from results import Benchmark, Report, Result, Settings
from sparse_hypercolumn import BINARY

_LEAST_SHARE = 0.7  # per cent; functions below are summed
_KERNEL_NAMES = ("[kernel", "[guest.kernel", "[vdso]")


def _parts(colorizer: Any, photo: Path, rounds: int) -> dict[str, float]:
    """Median seconds of the parts of one colorization."""
    from autocolor.imaging.color import lightness
    from autocolor.imaging.images import read_image, write_image

    seconds = defaultdict(list)
    for _ in range(rounds + 1):
        start = time.perf_counter()
        grey = lightness(read_image(photo).rgb)
        read = time.perf_counter()
        prediction = colorizer.predict(grey)
        predicted = time.perf_counter()
        colour = prediction.colorize()
        decoded = time.perf_counter()
        write_image(photo.with_name("colour.png"), colour)
        seconds["reading the PNG"].append(read - start)
        seconds["the network"].append(predicted - read)
        seconds["colours from histograms"].append(decoded - predicted)
        seconds["writing the PNG"].append(time.perf_counter() - decoded)
    return {name: float(np.median(values[1:])) for name, values in seconds.items()}


def _layers(net: Any, rounds: int) -> dict[str, float]:
    """Median seconds of groups of layers of a deploy net, as it was last run."""
    from autocolor.runtime.caffe_runtime import forward_layer, layer_names

    names = layer_names(net)
    seconds = defaultdict(list)
    for _ in range(rounds + 1):
        passed: dict[str, float] = defaultdict(float)
        for i, name in enumerate(names):
            start = time.perf_counter()
            forward_layer(net, i)
            found = re.match(r"(conv\d|fc\d|pool|h_fc1)", name)
            passed[found.group() if found else "others"] += time.perf_counter() - start
        for name, value in passed.items():
            seconds[name].append(value)
    return {name: float(np.median(values[1:])) for name, values in seconds.items()}


def _function(dso: str, symbol: str) -> str:
    """Return what a row of perf's report belongs to."""
    if dso.startswith("[JIT]"):
        return "oneDNN's kernels, compiled at run time: convolutions and products"
    if any(dso.startswith(name) for name in _KERNEL_NAMES):
        return "Linux"
    if dso.startswith("libcaffe"):
        name = re.sub(r"^\[.\] ", "", symbol)
        name = re.sub(r"\(anonymous namespace\)::|caffe::|<(float|int)>", "", name)
        return f"libcaffe: `{name.split('(')[0].replace(' >', '>')}`"
    return re.sub(r"\.so.*|-[0-9a-f]{6,}.*", "", dso)


def _shares(perf: str, data: Path) -> dict[str, float]:
    """Per cent of the recorded samples by what they belong to; empty if there are none."""
    report = subprocess.run(
        [
            perf,
            "report",
            "-i",
            str(data),
            "--stdio",
            "--no-children",
            "--sort",
            "dso,sym",
            "--field-separator",
            ";",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    shares: dict[str, float] = defaultdict(float)
    for line in report.stdout.splitlines():
        fields = [field.strip() for field in line.split(";", 2)]
        if len(fields) == 3 and fields[0].rstrip("%").replace(".", "", 1).isdigit():
            shares[_function(fields[1], fields[2])] += float(fields[0].rstrip("%"))
    return dict(shares)


def _measure(folder: Path, photo: Path, rounds: int, perf: str | None) -> dict[str, Any]:
    """Of this process: load, warm up, and measure; the profile is of repeated colorizing."""
    from autocolor.runtime.colorizer import Colorizer

    colorizer = Colorizer(folder)
    found: dict[str, Any] = {"parts": _parts(colorizer, photo, rounds)}
    if perf is not None:
        data = folder / "perf.data"
        command = [perf, "record", "-q", "-F", "999", "-o", str(data), "-p", str(os.getpid())]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as recorder:
            time.sleep(0.5)
            _parts(colorizer, photo, 3 * rounds)
            recorder.send_signal(signal.SIGINT)
            _, said = recorder.communicate()
        found["shares"] = _shares(perf, data)
        if not found.get("shares"):
            found["no_profile"] = f"perf recorded nothing: {' '.join(said.split())[:200]}"
    net: Any = colorizer._net
    found["layers"] = _layers(net._net, rounds)
    return found


def _table(heading: str, seconds: dict[str, float]) -> str:
    total = sum(seconds.values())
    rows = [
        f"| {name} | {1e3 * value:.1f} | {100 * value / total:.1f} % |"
        for name, value in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    return "\n".join([f"| {heading} | ms | share |", "|---|---|---|", *rows])


def _shares_table(shares: dict[str, float]) -> str:
    large = {name: share for name, share in shares.items() if share >= _LEAST_SHARE}
    rest = sum(shares.values()) - sum(large.values())
    rows = [
        f"| {name} | {share:.1f} % |"
        for name, share in [*sorted(large.items(), key=lambda item: -item[1]), ("others", rest)]
    ]
    return "\n".join(["| function | samples |", "|---|---|", *rows])


def _head_note(gflop: float, head: float, network: float) -> str:
    """Say what the head's products are of the whole; times are in seconds."""
    return (
        f"`h_fc1` and the heads are {gflop:.0f} GFLOP, that is {gflop / head:.0f} GFLOP/s with all "
        f"interpolation counted in, and {100 * head / network:.0f} % of the network; the section on "
        "the machine has what a bare product reaches. They are products, for which there is no "
        "algorithm of Winograd's, so by them alone the network takes at least "
        f"{network / (network - head):.2f} times the backbone."
    )


def _sparse_shares(perf: str, folder: Path, quick: bool) -> dict[str, float]:
    """Shares of the functions in SparseHypercolumn's forward pass."""
    data = folder / "sparse.data"
    sizes = ("64", "1", "128", "100") if quick else ("256", "4", "128", "300")
    subprocess.run(
        [perf, "record", "-q", "-F", "999", "-o", str(data), str(BINARY), *sizes, "forward layer"],
        capture_output=True,
        check=False,
    )
    return _shares(perf, data)


def _profile(settings: Settings) -> Report:
    width, side = (0.125, 128) if settings.quick else (1.0, 512)
    perf = shutil.which("perf")
    with random_model(width, side) as folder:
        photo = make_photo(folder, (side, side))
        command = [sys.executable, "-B", __file__, folder, photo, str(settings.repetitions)]
        process = subprocess.run(
            [str(word) for word in [*command, *([perf] if perf else [])]],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(process.stdout.splitlines()[-1])
        sparse = _sparse_shares(perf, folder, settings.quick) if perf else {}
    parts, layers = found["parts"], found["layers"]
    head = layers["h_fc1"]
    notes = [
        f"Colorizing {side}×{side} with `Colorizer`, medians:",
        _table("part", parts),
        "The network by layers, each timed on its own:",
        _table("layers", layers),
    ]
    if not settings.quick:
        notes.append(_head_note(network_arithmetic(side).head, head, sum(layers.values())))
    if "shares" in found:
        notes += [
            "All threads, by function (`perf record`, colorizing only):",
            _shares_table(found["shares"]),
        ]
    else:
        notes.append(
            found.get("no_profile", "`perf` is not installed here: no profile by function.")
        )
    if sparse:
        notes += [
            "SparseHypercolumn, forward, by function. `ParallelForEach<GatherOnCPU>` reads the cells and "
            "interpolates, and copying the finished rows to the output, past the caches, is `StreamCopy`. "
            "Of the first, by instruction (`perf annotate`), 69 % were the loads of cells of large maps, "
            "19 % bringing small maps into the order of channels, and 6 % their interpolation: arithmetic "
            "is not what it waits for.",
            _shares_table(sparse),
        ]
    total = sum(parts.values())
    outside = 1e3 * (total - parts["the network"])
    result = Result(
        f"h_fc1 and heads in colorizing {side}×{side}",
        100 * head / sum(layers.values()),
        None,
        "% of the network",
        False,
        1e3 * head,
        outside,
        "ms",
        "reading, colours and writing",
    )
    return Report([result], "\n\n".join(notes))


BENCHMARKS = [Benchmark("profile", "Where the time goes", _profile)]


if __name__ == "__main__":
    measured = _measure(
        Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), dict(enumerate(sys.argv)).get(4)
    )
    print(json.dumps(measured))
