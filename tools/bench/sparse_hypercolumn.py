"""SparseHypercolumn against the textbook's loop and against the memory it must touch."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from measure import Timing, speedup
from results import Benchmark, Report, Result, Settings

BINARY = Path(__file__).resolve().parents[2] / "build" / "bin" / "autocolor_bench"


def layer_timings(
    side: int, images: int, locations: int, rounds: int, contestants: str = ""
) -> dict[str, Timing]:
    """Run ``autocolor_bench``; see ``layers_bench.cpp``."""
    command = [str(value) for value in (BINARY, side, images, locations, rounds, contestants)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name: Timing(tuple(seconds)) for name, seconds in json.loads(out).items()}


def _sparse_hypercolumn(settings: Settings) -> Report:
    side, images = (64, 1) if settings.quick else (256, 4)
    timings = layer_timings(side, images, 128, settings.repetitions)
    results = []
    for direction, target in (("forward", 4.0), ("backward", 2.0)):
        ours = timings[f"{direction} layer"]
        for name, ratio, unit, wanted in (
            ("textbook", speedup(timings[f"{direction} textbook"], ours), "times faster", target),
            ("limit", speedup(timings[f"{direction} limit"], ours), "of the limit's speed", 0.6),
        ):
            baseline = timings[f"{direction} {name}"]
            what = "textbook loop, one thread" if name == "textbook" else "touching memory only"
            results.append(
                Result(
                    f"SparseHypercolumn {direction}, {name}",
                    ratio,
                    wanted,
                    unit,
                    True,
                    1e3 * ours.median,
                    1e3 * baseline.median,
                    "ms",
                    what,
                )
            )
    least = ", ".join(f"{name} {1e3 * timing.minimum:.1f}" for name, timing in timings.items())
    return Report(
        results,
        f"12,417 channels of VGG-16 on {images} images of {side}×{side}, 128 locations each; C++ of "
        "the library's own flags (`tools/bench/layers_bench.cpp`). The textbook takes the locations "
        "outside and the channels inside and fills the gradients with zeros first. The limit touches "
        "each cache line once, in ascending order, and writes the output; backward it fills each map "
        "with `memset` and touches the lines while they are in the cache. It has as many threads as "
        "the layer, which goes past the caches where it writes (non-temporal stores), as `memset` "
        f"does not.\n\nLeast times, in ms: {least}.\n\n"
        "What the forward pass lacks to the limit: the limit goes through one map after the other, so "
        "that a page of memory is looked up once and neighbouring lines come by themselves. The layer "
        "writes hypercolumns, whose channels lie side by side, so it must read one location of 16 maps "
        "at a time, each in another page; and 9,728 of the 12,417 channels, of small maps, pass through "
        "the first-level cache twice, to lie side by side. The section on where the time goes has the "
        "shares. The textbook's loop waits for the same lines in one thread; so where two threads share "
        "a core, or the memory of both, the layer cannot be twice as fast by its second one.",
    )


BENCHMARKS = [Benchmark("sparse_hypercolumn", "SparseHypercolumn", _sparse_hypercolumn)]
