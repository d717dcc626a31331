"""How time and memory of SparseHypercolumn grow with locations, image side and batch."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from measure import Timing
from results import Benchmark, Report, Result, Settings
from sparse_hypercolumn import BINARY


def _run(
    side: int, images: int, locations: int, rounds: int, *options: str
) -> tuple[dict[str, float], float]:
    """Least seconds of the layer's passes, and peak resident bytes."""
    command = [str(value) for value in (BINARY, side, images, locations, rounds, "layer", *options)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        # The peak of this process is inherited over exec, and is far below the binary's own.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    seconds = {
        name.split()[0]: Timing(tuple(times)).minimum for name, times in json.loads(out).items()
    }
    return seconds, 1024 * usage.ru_maxrss


def _exponent(sizes: list[float], values: list[float]) -> float:
    """Slope of the least-squares line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _plot(path: Path, curves: dict[str, dict[str, tuple[list[float], list[float]]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.6), squeeze=False)
    for axis, (variable, lines) in zip(axes[0], curves.items(), strict=True):
        for name, (sizes, values) in lines.items():
            unit = "MB" if name == "memory" else "ms"
            label = f"{name} [{unit}]: exponent {_exponent(sizes, values):.2f}"
            axis.loglog(sizes, values, "o-", label=label)
        axis.set_xlabel(variable)
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _growth(settings: Settings) -> Report:
    rounds = settings.repetitions
    locations = [32, 128] if settings.quick else [32, 64, 128, 256, 512, 1024, 2048]
    sides = [64, 128] if settings.quick else [128, 256, 512, 1024, 2048]
    batches = [1, 2] if settings.quick else [1, 2, 4, 8]
    side = 64 if settings.quick else 256
    # Arguments of _run, and the size that the cost should be at most linear in.
    series = {
        "locations an image": [(float(p), (side, 1, p)) for p in locations],
        "pixels an image": [(float(s * s), (s, 1, 128)) for s in sides],
        "images a batch": [(float(n), (side, n, 128)) for n in batches],
    }
    curves: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    results = []
    for variable, points in series.items():
        sizes = [size for size, _ in points]
        lines: dict[str, list[float]] = {"forward": [], "backward": [], "memory": []}
        for _, (a, n, p) in points:
            _, peak = _run(a, n, p, 1)  # before: the data that empty the caches would count
            seconds, _ = _run(a, n, p, rounds, "cold")
            lines["forward"].append(1e3 * seconds["forward"])
            lines["backward"].append(1e3 * seconds["backward"])
            lines["memory"].append(peak / 1e6)
        curves[variable] = {name: (sizes, values) for name, values in lines.items()}
        for name, values in lines.items():
            results.append(
                Result(
                    f"growth of {name} with {variable}",
                    _exponent(sizes, values),
                    1.05,
                    "fitted exponent",
                    False,
                    values[-1],
                    values[0],
                    "MB" if name == "memory" else "ms",
                    f"the first of {sizes[0]:.0f} … {sizes[-1]:.0f}",
                )
            )
    _plot(settings.figures / "growth.png", curves)
    return Report(
        results,
        "SparseHypercolumn on 12,417 channels; least times over the rounds, each pass with 1 GiB of other "
        "data in the caches, as in a training, where other layers run in between (one image alone would stay "
        "in a large cache, eight would not). Where not varied: one image "
        f"of {side}×{side} and 128 locations. Memory is that of the whole process, features and their "
        "gradients included. Below an exponent of 1 a constant part shows: backward, all maps are "
        "written whatever the locations.\n\nNo cost can grow faster than linearly, by design: a location "
        "reads four cells of each map, whatever the others do, and images share nothing, each block of "
        "an image's channels being a piece of work of its own; only the sorting of locations is n log n, "
        "which does not show. With images there is no constant part to lower the exponent, so it is 1 "
        "but for what memory costs: the maps of eight images have eight times the pages, whose "
        "table, 0.15 MB for one image, no longer fits the caches nearby. An exponent of 1.05 is an image "
        "that costs a tenth more among eight than alone.",
        {"growth.png": "Time and memory against locations, pixels and images"},
    )


BENCHMARKS = [Benchmark("growth", "Cost growth", _growth)]
