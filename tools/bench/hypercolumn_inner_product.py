"""Dense h_fc1 and heads against explicit upsampling, concatenation and 1x1 convolutions."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from convolution import enlarged
from measure import in_child, interleaved, resident_bytes, speedup
from results import Benchmark, Report, Result, Settings

from autocolor.runtime.caffe_runtime import import_caffe

_HIDDEN, _BINS = 1024, 32


def _levels(last: str) -> Any:
    from autocolor.nets.vgg16 import vgg16_levels

    return vgg16_levels(f"data..{last}")


def _inputs(net: Any, levels: Any, side: int) -> None:
    from caffe import layers as L

    for level in levels:
        size = side // level.scale
        net[level.name] = L.Input(shape=dict(dim=[1, level.channels, size, size]))


def _explicit(side: int, stride: int, last: str) -> Any:
    """The dense graph as one writes it: all levels at the output's resolution, then convolutions."""
    from caffe import NetSpec
    from caffe import layers as L
    from caffe import params as P

    net, levels = NetSpec(), _levels(last)
    _inputs(net, levels, side)
    at_stride = []
    for level in levels:
        name, bottom = f"{level.name}_at_stride", net[level.name]
        if level.scale > stride:
            net[name] = enlarged(bottom, level.channels, level.scale // stride)
        elif level.scale * 2 == stride:  # the mean of the 2x2 cells around the output's position
            net[name] = L.Pooling(bottom, pool=P.Pooling.AVE, kernel_size=2, stride=2)
        elif level.scale < stride:  # the same 2x2 cells; weights are set below
            net[name] = L.Convolution(
                bottom,
                num_output=level.channels,
                group=level.channels,
                bias_term=False,
                kernel_size=stride // level.scale,
                stride=stride // level.scale,
            )
        at_stride.append(net[name] if name in net.tops else bottom)
    net.hypercolumn = L.Concat(*at_stride)
    net.h_fc1 = L.Convolution(net.hypercolumn, num_output=_HIDDEN, kernel_size=1)
    net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
    for head in "hc":
        net[f"prediction_{head}"] = L.Convolution(net.h_fc1, num_output=_BINS, kernel_size=1)
    return net.to_proto()


def _fused(side: int, stride: int, last: str) -> Any:
    from caffe import NetSpec
    from caffe import layers as L

    from autocolor.nets.vgg16 import geometry

    net, levels = NetSpec(), _levels(last)
    _inputs(net, levels, side)
    weights = []
    for head in "hc":
        names = [f"prediction_{head}_weight", f"prediction_{head}_bias"]
        net[names[0]], net[names[1]] = L.InnerProductWeights(
            ntop=2,
            name=f"prediction_{head}",
            inner_product_weights_param=dict(num_output=_BINS, num_input=_HIDDEN),
        )
        weights += [net[name] for name in names]
    net.prediction_h, net.prediction_c = L.HypercolumnInnerProduct(
        *(net[level.name] for level in levels),
        *weights,
        name="h_fc1",
        ntop=2,
        hypercolumn_inner_product_param=dict(
            num_output=_HIDDEN, stride=stride, heads=2, **geometry(levels)
        ),
    )
    return net.to_proto()


def _load(kind: str, side: int, stride: int, last: str) -> Any:
    """Return a net with the same features and weights, whatever its kind."""
    caffe = import_caffe()
    description = {"explicit": _explicit, "fused": _fused}[kind](side, stride, last)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.prototxt"
        path.write_text(str(description), encoding="utf-8")
        net = caffe.Net(str(path), caffe.TEST)
    rng = np.random.default_rng(0)
    for level in _levels(last):
        blob = net.blobs[level.name].data
        rng.random(out=blob.reshape(-1), dtype=np.float32)
    for name in ("h_fc1", "prediction_h", "prediction_c"):
        for blob in net.params[name]:
            flat = blob.data.reshape(-1)
            rng.standard_normal(out=flat, dtype=np.float32)
            flat *= 0.02
    for level in _levels(last):
        name = f"{level.name}_at_stride"
        if 2 * level.scale < stride and name in net.params:
            kernel = net.params[name][0].data
            kernel[...] = 0
            kernel[:, :, 1:3, 1:3] = 0.25
    return net


def _compare(side: int, stride: int, last: str, rounds: int) -> tuple[Any, float]:
    nets = {kind: _load(kind, side, stride, last) for kind in ("explicit", "fused")}
    timings = interleaved({kind: net.forward for kind, net in nets.items()}, rounds)
    # Deconvolution pads with zeros, our layer clamps: compare where neither matters.
    border = _levels(last)[-1].scale // stride
    worst = 0.0
    for name in ("prediction_h", "prediction_c"):
        ours, theirs = (
            nets[kind].blobs[name].data[..., border:-border, border:-border]
            for kind in ("fused", "explicit")
        )
        worst = max(worst, float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
    return timings, worst


def _memory(kind: str, side: int, stride: int, last: str) -> int:
    """Resident bytes before the forward pass: the features, the weights and the libraries."""
    net = _load(kind, side, stride, last)
    before: int = resident_bytes()
    net.forward()
    return before


def _inner_product(settings: Settings) -> Report:
    results, notes = [], []
    # side, stride, last level, times faster, times less memory
    cases = [(256, 1, "conv5_3", 10.0, 10.0), (512, 4, "fc7", 4.0, 6.0)]
    for side, stride, last, faster, leaner in cases:
        rounds = 1 if settings.quick else min(settings.repetitions, 5)
        if settings.quick:
            side, last = 96, "conv4_1"
        (timings, worst), _ = in_child(_compare, side, stride, last, rounds)
        if not worst <= 1e-4:
            raise ArithmeticError(f"stride {stride}: outputs differ by {worst:.2g} of the largest")
        peaks = {}
        for kind in ("explicit", "fused"):
            before, peak = in_child(_memory, kind, side, stride, last)
            peaks[kind] = (peak - before) / 1e6
        what = f"h_fc1 and heads at stride {stride} on {side}×{side}"
        results += [
            Result(
                f"{what}, time",
                speedup(timings["explicit"], timings["fused"]),
                faster,
                "times faster",
                True,
                timings["fused"].median,
                timings["explicit"].median,
                "s",
                "upsample, concatenate, convolve",
            ),
            Result(
                f"{what}, memory",
                peaks["explicit"] / peaks["fused"],
                leaner,
                "times less memory",
                True,
                peaks["fused"],
                peaks["explicit"],
                "MB",
                "upsample, concatenate, convolve",
            ),
        ]
        notes.append(
            f"data … {last} at stride {stride} on {side}×{side}: outputs differ by {worst:.1e} of the "
            "largest; least times "
            f"{timings['fused'].minimum:.3g} and {timings['explicit'].minimum:.3g} s."
        )
    return Report(
        results,
        "The other side is stock Caffe: bilinear `Deconvolution` of the coarser levels, pooling of "
        "the finer ones, `Concat`, 1×1 `Convolution` with ReLU to 1,024 channels and to two "
        "histograms of 32 bins. Ours is one `HypercolumnInnerProduct` with `heads: 2`, which has no "
        "1,024-channel map. Memory is the growth of the resident peak in one forward pass, in a process "
        "of its own, once features and weights are there.\n\n" + "\n\n".join(notes),
    )


BENCHMARKS = [Benchmark("hypercolumn_inner_product", "HypercolumnInnerProduct", _inner_product)]
