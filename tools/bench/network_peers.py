"""The whole network against what a user would pick instead: PyTorch, onnxruntime, OpenCV."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from arithmetic import network_arithmetic
from colorize import random_model
from measure import PassProcess, interleaved
from results import Benchmark, Report, Result, Settings, differs, faster, leaner
from training import write_lmdb

_OURS, _OURS_TRAINING = "caffe", "caffe_training"
_TITLES = {
    "onnxruntime": "the same graph",
    "opencv": "the same graph, dnn module",
    "torch_projected": "levels projected at their own resolution and added",
    "torch_concatenated": "levels enlarged and concatenated",
    "torch_training": "hypercolumns by grid_sample",
}
_BATCH, _LOCATIONS = 2, 128


def _write_inputs(folder: Path, net: Any, batch: int, side: int) -> None:
    """Write for the other libraries what is in the model folder, and random photos and targets."""
    from autocolor.nets.vgg16 import vgg16_levels
    from autocolor.runtime.caffemodel import read_caffemodel
    from autocolor.runtime.model_folder import Manifest
    from autocolor.runtime.onnx_graph import load_onnx_model

    manifest = Manifest.load(folder)
    weights = read_caffemodel(folder / manifest.weights)
    blobs = {f"{name}/{i}": blob for name in weights for i, blob in enumerate(weights[name])}
    np.savez(folder / "weights.npz", allow_pickle=False, **blobs)
    levels = {level.name: level.scale for level in vgg16_levels(net.levels, net.width)}
    heads = {f"prediction_{head.suffix}": head.output for head in net.heads}
    (folder / "levels.json").write_text(json.dumps({"scales": levels, "heads": heads}))
    rng = np.random.default_rng(0)
    np.save(folder / "input.npy", rng.random((batch, 1, side, side), np.float32))
    locations = rng.uniform(0, side - 1, (batch, _LOCATIONS, 2)).astype(np.float32)
    np.save(folder / "locations.npy", locations)
    for head in net.heads:
        histograms = rng.dirichlet(np.ones(head.channels), batch * _LOCATIONS)
        np.save(folder / f"target_{head.output}.npy", histograms.astype(np.float32))
    graph = load_onnx_model(
        folder / manifest.deploy, folder / manifest.weights, list(heads.values())
    )
    (folder / "model.onnx").write_bytes(graph.SerializeToString())


def _least_megabytes(folder: Path, net: Any, side: int) -> tuple[float, float]:
    """Return what the weights and the levels of one photo take, without which no library can do."""
    from autocolor.nets.vgg16 import vgg16_levels

    stored = np.load(folder / "weights.npz")
    weights = sum(stored[name].nbytes for name in stored.files)
    levels = vgg16_levels(net.levels, net.width)
    values = sum(level.channels * (side // level.scale) ** 2 for level in levels)
    return weights / 1e6, 4 * values / 1e6


def _largest_difference(folder: Path, kind: str) -> float:
    ours, theirs = (np.load(folder / f"{name}.npz") for name in (_OURS, kind))
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours.files)


def _compare(folder: Path, kinds: Sequence[str], settings: Settings, what: str) -> list[Result]:
    """Time the first kind, which is ours, and all others in turns; compare time and memory."""
    peers = {}
    for kind in kinds:
        own = kind in (_OURS, _OURS_TRAINING, "onnxruntime")
        python = sys.executable if own else settings.torch_python
        assert python is not None
        script = Path(__file__).with_name("peer.py")
        peers[kind] = PassProcess([python, str(script), kind, str(folder), str(settings.threads)])
    times = interleaved(peers, settings.repetitions)
    peaks = {kind: int(peer.close()) for kind, peer in peers.items()}
    results = []
    for kind in kinds[1:]:
        name = f"{what}, {peers[kind].version}, {_TITLES[kind]}"
        ours, theirs = times[kinds[0]], times[kind]
        results += [
            faster(f"{name}: time", ours, theirs, peers[kind].version, 2),
            leaner(f"{name}: peak memory", peaks[kinds[0]], peaks[kind], peers[kind].version, 2),
        ]
        if kinds[0] == _OURS:
            difference = _largest_difference(folder, kind)
            results.append(
                differs(
                    f"{name}: difference", difference, 1e-4, "of a probability", peers[kind].version
                )
            )
    return results


def _peers(settings: Settings) -> Report:
    from autocolor.nets.colorization import ColorizationNet, TrainingOptions

    width, side, crop = (0.125, 64, 64) if settings.quick else (1.0, 512, 224)
    net = ColorizationNet(levels="data..fc7", width=width)
    installed = _installed(settings.torch_python)
    with random_model(width, side, net.levels) as folder:
        _write_inputs(folder, net, 1, side)
        kinds = [_OURS, "onnxruntime"]
        kinds += ["torch_projected", "torch_concatenated"] if "torch" in installed else []
        kinds += ["opencv"] if "cv2" in installed else []
        results = _compare(folder, kinds, settings, f"{side}×{side}")
        weights, levels = _least_megabytes(folder, net, side)
        step = None
        if "torch" in installed:
            _write_inputs(folder, net, _BATCH, crop)
            # Values and gradients.
            step = 2 * (weights + _BATCH * _least_megabytes(folder, net, crop)[1])
            source = folder / "lmdb"
            source.mkdir()
            write_lmdb(source, crop)
            options = TrainingOptions(
                str(source), batch=_BATCH, crop=crop, locations=_LOCATIONS, backbone_rate=1.0
            )
            (folder / "train.prototxt").write_text(str(net.training_net(options, "train")))
            results += _compare(
                folder,
                [_OURS_TRAINING, "torch_training"],
                settings,
                f"training step of {_BATCH} × {crop}×{crop}",
            )
    return Report(
        results,
        "The paper's network (data..fc7, 12,417 channels) with the same random weights in all, each "
        "in a process of its own, in turns; histograms at stride 4, from the grey photo as an array. "
        "Peak memory is of the whole process: Python, the library and the weights are part of it. "
        f"The weights take {weights:.0f} MB and the levels of a photo {levels:.0f} MB, which all but "
        "the concatenation keep no second time; ours keeps the weights of 3 × 3 convolutions in "
        "Winograd's form as well, which is four times as large, for its speed. "
        f"The training step has {_LOCATIONS} locations an image; every layer learns, the solver's "
        "update is not counted. PyTorch runs in `channels_last`.\n\n"
        + _bounds_note(results, side, weights + levels, step),
    )


def _bounds_note(results: Sequence[Result], side: int, photo: float, training: float | None) -> str:
    """Say what stands between ours and twice the speed, and half the memory, of the others.

    `photo` and `training` are what no library can do without, in MB.
    """
    work = network_arithmetic(side)
    lines = [
        f"Of {work.whole:.0f} GFLOP, fc6, fc7, `h_fc1` and the heads are "
        f"{work.products + work.head:.0f}, products for which no library has anything quicker; the "
        f"other {work.convolutions:.0f} Winograd's algorithm makes {work.convolutions / 4:.0f} at best. "
        f"So where all run at one speed, ours is at most {work.whole / work.least:.2f} times as fast as a "
        "library that runs the same products and direct convolutions, and twice as fast only where the "
        "other's kernels are slower than a product, or its products are more. What ours lacks to that "
        "bound is in the section on convolutions. On memory: while weights are loaded, the mapped file "
        "counts beside the copy of them, so that its peak is twice the weights or that of the pass.",
    ]
    peaks = [result for result in results if result.name.endswith("peak memory")]
    for result in peaks:
        least = training if result.name.startswith("training") else photo
        if not result.met and least is not None:
            half = result.baseline / 2
            lines.append(
                f"- {result.name}: half of theirs is {half:.0f} MB. What no library can do without is "
                f"{least:.0f} MB, and the interpreter and the libraries some 100; ours has "
                f"{result.ours - least:.0f} MB beyond it."
            )
    return "\n".join([*lines[:1], "", *lines[1:]])


def _installed(python: str | None) -> list[str]:
    """Return which of the other libraries a Python has."""
    if python is None:
        return []
    find = "import importlib.util as u; print(*(n for n in ('torch', 'cv2') if u.find_spec(n)))"
    return subprocess.run(
        [python, "-c", find], capture_output=True, text=True, check=True
    ).stdout.split()


BENCHMARKS = [Benchmark("peers", "The whole network in other libraries", _peers)]
