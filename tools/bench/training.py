"""What our layers and the data cost in a training step, in time and in memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from measure import in_child, resident_bytes
from PIL import Image
from results import Benchmark, Report, Result, Settings

from autocolor.runtime.caffe_runtime import backward_layer, forward_layer, import_caffe, layer_names

_LOCATIONS = 128
_OURS = {
    "SparseHypercolumn",
    "HypercolumnTap",
    "ColorSpace",
    "ColorHistogram",
    "SoftmaxKLDivergenceLoss",
}


def write_lmdb(folder: Path, side: int) -> None:
    """Write a small LMDB of smooth random colour images, as data_prep/build_lmdb.py would."""
    from autocolor.data.lmdb_io import LmdbOptions, make_datum

    rng = np.random.default_rng(0)
    options = LmdbOptions()
    with lmdb.open(str(folder), map_size=2**28) as environment:
        with environment.begin(write=True) as transaction:
            for number in range(32):
                coarse = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize(
                    (side * 4 // 3, side), Image.Resampling.BICUBIC
                )
                datum = make_datum(image, options)
                transaction.put(f"{number:08d}".encode(), datum.SerializeToString())


def _training_net(source: str, batch: int, crop: int, levels: str, frozen: bool) -> Any:
    from autocolor.nets.colorization import ColorizationNet, TrainingOptions

    rate = 0.0 if frozen else 1.0
    options = TrainingOptions(
        source, batch=batch, crop=crop, locations=_LOCATIONS, backbone_rate=rate
    )
    return ColorizationNet("hue_chroma", levels=levels).training_net(options, "train")


def _backbone_net(source: str, batch: int, crop: int, levels: str) -> Any:
    """The same data and VGG-16-gray, and the sum of its last level as the loss."""
    from caffe import NetSpec
    from caffe import layers as L
    from caffe import params as P

    from autocolor.nets.vgg16 import add_vgg16

    net = NetSpec()
    net.image = L.Data(
        source=source,
        backend=P.Data.LMDB,
        batch_size=batch,
        transform_param=dict(crop_size=crop, scale=1 / 255, force_color=True),
    )
    net.data, net.colour = L.ColorSpace(net.image, ntop=2)
    net.silence = L.Silence(net.colour, ntop=0)
    last = add_vgg16(net, net.data, levels.rsplit("..", maxsplit=1)[-1])
    net.loss = L.Reduction(last, loss_weight=1)
    return net.to_proto()


def _with_net(describe: Callable[[str], Any], side: int, use: Callable[[Any, Any], Any]) -> Any:
    """Make the net of `describe(lmdb)` and return `use(net, description)`."""
    caffe = import_caffe()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "lmdb"
        source.mkdir()
        write_lmdb(source, side)
        description = describe(str(source))
        path = Path(folder) / "net.prototxt"
        path.write_text(str(description), encoding="utf-8")
        return use(caffe.Net(str(path), caffe.TRAIN), description)


def _layer_times(
    batch: int, crop: int, levels: str, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of whole steps, of our layers in them, and of waiting for data."""

    def use(net: Any, description: Any) -> tuple[list[float], list[float], list[float]]:
        names = layer_names(net)
        types = {layer.name: layer.type for layer in description.layer}
        ours = {i for i, name in enumerate(names) if types.get(name) in _OURS}
        data = {i for i, name in enumerate(names) if types.get(name) == "Data"}
        steps, shares, waits = [], [], []
        for number in range(rounds + 1):
            seconds = np.zeros(len(names))
            net.clear_param_diffs()
            for step, order in (
                (forward_layer, range(len(names))),
                (backward_layer, reversed(range(len(names)))),
            ):
                for i in order:
                    start = time.perf_counter()
                    step(net, i)
                    seconds[i] += time.perf_counter() - start
            if number > 0:
                steps.append(float(seconds.sum()))
                shares.append(float(sum(seconds[i] for i in ours) / seconds.sum()))
                waits.append(float(sum(seconds[i] for i in data) / seconds.sum()))
        return steps, shares, waits

    times: tuple[list[float], list[float], list[float]] = _with_net(
        lambda source: _training_net(source, batch, crop, levels, False), crop, use
    )
    return times


def _step_memory(kind: str, batch: int, crop: int, levels: str) -> None:
    def use(net: Any, _: Any) -> None:
        net.forward()
        net.backward()

    def describe(source: str) -> Any:
        if kind == "backbone":
            return _backbone_net(source, batch, crop, levels)
        return _training_net(source, batch, crop, levels, False)

    _with_net(describe, crop, use)


def _frozen_growth(batch: int, crop: int, levels: str) -> tuple[int, int]:
    """Bytes that the backward pass adds with a frozen backbone, and those of the head's gradients."""

    def use(net: Any, _: Any) -> tuple[int, int]:
        net.forward()
        before = resident_bytes()
        net.backward()
        head = sum(
            4 * blob.count
            for name in ("h_fc1", "prediction_h", "prediction_c")
            for blob in net.params[name]
        )
        return resident_bytes() - before, head

    growth: tuple[int, int] = _with_net(
        lambda source: _training_net(source, batch, crop, levels, True), crop, use
    )
    return growth


def _level_values(crop: int, levels: str) -> int:
    """Values of all levels of one image."""
    from autocolor.nets.vgg16 import vgg16_levels

    return sum(level.channels * (crop // level.scale) ** 2 for level in vgg16_levels(levels))


def _training(settings: Settings) -> Report:
    crop, levels = (64, "data..conv4_1") if settings.quick else (224, "data..fc7")
    rounds = min(settings.repetitions, 5)
    (steps, shares, waits), _ = in_child(_layer_times, 2, crop, levels, rounds)
    step, share, wait = (statistics.median(values) for values in (steps, shares, waits))
    peaks = {
        (kind, batch): in_child(_step_memory, kind, batch, crop, levels)[1]
        for kind in ("backbone", "training")
        for batch in (1, 3)
    }
    image = {kind: (peaks[kind, 3] - peaks[kind, 1]) / 2e6 for kind in ("backbone", "training")}
    (growth, head), _ = in_child(_frozen_growth, 2, crop, levels)
    parts = (("hypercolumn, targets and losses", share, 5.0), ("waiting for data", wait, 3.0))
    results = [
        *(
            Result(
                f"{what} in a training step",
                100 * part,
                limit,
                "% of the step",
                False,
                1e3 * part * step,
                1e3 * step,
                "ms",
                "forward and backward of all layers",
            )
            for what, part, limit in parts
        ),
        Result(
            "training memory beyond the bare backbone, an image",
            image["training"] - image["backbone"],
            13.0,
            "MB",
            False,
            image["training"],
            image["backbone"],
            "MB",
            "the backbone alone",
        ),
        Result(
            "memory of the backward pass, backbone frozen",
            growth / head,
            1.2,
            "of the head's gradients",
            False,
            growth / 1e6,
            head / 1e6,
            "MB",
            "gradients of h_fc1 and heads",
        ),
    ]
    columns = 12417 if levels.endswith("fc7") else 0
    return Report(
        results,
        f"VGG-16-gray, levels {levels}, crops of {crop}×{crop}, {_LOCATIONS} locations an image, two "
        "images a batch, from an LMDB of JPEG with Caffe's own prefetching. Every layer's forward and "
        "backward pass is timed; the solver's update is not counted. Memory an image is half of the "
        "difference between the peaks of one step with three images and with one.\n\n"
        + (
            f"The hypercolumns and their gradients are {8 * _LOCATIONS * columns / 1e6:.1f} MB an image. With "
            "SparseHypercolumn in the place of HypercolumnTap layers, Caffe's `Split` would keep "
            f"{8 * _level_values(crop, levels) / 1e6:.1f} MB more, two further gradients of every level."
            if columns
            else ""
        ),
    )


BENCHMARKS = [Benchmark("training_step", "Training step", _training)]
