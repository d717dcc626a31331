"""The network in onnxruntime against the same network in Caffe."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
from colorize import random_model
from measure import Timing, in_child, interleaved, resident_bytes
from results import Benchmark, Report, Result, Settings, differs, faster, leaner

_LEVELS = "data..conv5_3"


def _grey(side: int) -> np.ndarray:
    return np.random.default_rng(0).random((side, side), dtype=np.float32)


def _resident(folder: Path, backend: str, side: int) -> int:
    """Return what a process holds that has loaded a model and colorized once."""
    from autocolor.runtime.colorizer import Colorizer

    colorizer = Colorizer(folder, backend=backend)
    colorizer.histograms(_grey(side))
    return resident_bytes()


def _onnx(settings: Settings) -> Report:
    from autocolor.runtime.colorizer import Colorizer

    width, sides = (0.125, (64,)) if settings.quick else (1.0, (256, 512))
    results = []
    with random_model(width, max(sides), _LEVELS) as folder:
        colorizers, loads = {}, {}
        for backend in ("caffe", "onnx"):
            seconds = []
            for _ in range(settings.repetitions + 1):
                start = time.perf_counter()
                colorizers[backend] = Colorizer(folder, backend=backend)
                seconds.append(time.perf_counter() - start)
            loads[backend] = Timing(tuple(seconds[1:]))
        results.append(
            Result(
                "loading the model with onnxruntime",
                loads["onnx"].median,
                None,
                "s",
                False,
                1e3 * loads["onnx"].median,
                1e3 * loads["caffe"].median,
                "ms",
                "with Caffe",
            )
        )
        for side in sides:
            grey = _grey(side)
            times = interleaved(
                {
                    name: partial(colorizer.histograms, grey)
                    for name, colorizer in colorizers.items()
                },
                settings.repetitions,
            )
            found, expected = (colorizers[name].histograms(grey) for name in ("onnx", "caffe"))
            difference = max(
                float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)
            )
            name = f"histograms with onnxruntime, {side}×{side}"
            results += [
                faster(name, times["onnx"], times["caffe"], "Caffe with oneDNN's engine"),
                differs(f"{name}, difference", difference, 1e-4, "of a probability", "Caffe"),
            ]
            (onnx_held, onnx_peak), (caffe_held, caffe_peak) = (
                in_child(_resident, folder, backend, side) for backend in ("onnx", "caffe")
            )
            results += [
                leaner(f"{name}, {what} memory", ours, caffe, "Caffe")
                for what, ours, caffe in (
                    ("resident", onnx_held, caffe_held),
                    ("peak", onnx_peak, caffe_peak),
                )
            ]
    return Report(
        results,
        f"The network {_LEVELS} of a colorizer with random weights, in one process: the ONNX graph "
        "that `autocolor --backend onnx` makes of a model folder against the deploy net in Caffe, "
        "in turns. Memory is of a process that has run the network once: Python and the libraries "
        "are part of it.",
    )


BENCHMARKS = [Benchmark("onnx", "onnxruntime instead of Caffe", _onnx)]
