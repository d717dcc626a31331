"""What the machine itself can do: the rates that bound everything else."""

from __future__ import annotations

import numpy as np
from measure import Timing, interleaved
from results import Benchmark, Report, Result, Settings


def _milliseconds(timing: Timing) -> tuple[float, float, str]:
    return 1e3 * timing.median, 1e3 * timing.minimum, "ms"


def _rates(settings: Settings) -> Report:
    side = 256 if settings.quick else 2048
    rng = np.random.default_rng(0)
    a, b = (rng.random((side, side), dtype=np.float32) for _ in range(2))
    product = np.empty_like(a)
    source = np.zeros((1 if settings.quick else 64) * 2**20, np.float32)
    copy = np.ones_like(source)
    timings = interleaved(
        {"product": lambda: np.matmul(a, b, out=product), "copy": lambda: np.copyto(copy, source)},
        settings.repetitions,
    )
    seconds = timings["product"].median
    rate = 2 * side**3 / seconds / 1e9
    copied = 2 * source.nbytes / timings["copy"].median / 1e9
    rows = (
        ("matrix product of float32", rate, "GFLOP/s", timings["product"]),
        ("copying memory, one thread", copied, "GB/s", timings["copy"]),
    )
    return Report(
        [
            Result(name, value, None, unit, True, *_milliseconds(timing), "the least time")
            for name, value, unit, timing in rows
        ],
        f"NumPy's product of two {side}×{side} matrices (its own OpenBLAS), and a copy of "
        f"{source.nbytes / 2**20:.0f} MiB, read and written bytes counted.",
    )


BENCHMARKS = [Benchmark("machine", "The machine", _rates)]
