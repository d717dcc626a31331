"""Convolutions of VGG-16-gray: the oneDNN engine against the stock one."""

from __future__ import annotations

import ctypes
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
from measure import interleaved, speedup
from results import Benchmark, Report, Result, Settings

_STOCK, _ONEDNN = "CAFFE", "ONEDNN"

# Bits of dnnl_cpu_isa_t that every processor with the name has.
_ISAS = (
    (0x0FC7, "AVX-512 with AMX"),
    (0x0027, "AVX-512"),
    (0x0007, "AVX2"),
    (0x0001, "SSE 4.1"),
)


def onednn_instructions() -> str:
    """Return oneDNN's version and the instruction set that it uses on this machine."""

    class Version(ctypes.Structure):
        _fields_ = [(name, ctypes.c_int) for name in ("major", "minor", "patch")]

    library = ctypes.CDLL("libdnnl.so.2")
    library.dnnl_version.restype = ctypes.POINTER(Version)
    version = library.dnnl_version().contents
    isa = library.dnnl_get_effective_cpu_isa()
    name = next((name for bits, name in _ISAS if isa & bits == bits), "no vectors")
    return f"oneDNN {version.major}.{version.minor}.{version.patch}, {name} (0x{isa:x})"


def backbone(
    engine: str, last: str, side: int, *, fused: bool, backward: bool, width: float = 1
) -> Any:
    """Return VGG-16-gray up to a level with random weights and input, on one engine.

    Parameters
    ----------
    engine : {"CAFFE", "ONEDNN"}
    last : str
        Level, such as ``fc7``.
    side : int
        Of the input, in pixels.
    fused : bool
        Whether ReLUs are in the convolutions, where the engine can.
    backward : bool
        Whether all gradients are computed and weights learnt, as in training.
    width : float
        Factor on the channels.
    """
    import caffe
    from caffe.proto import caffe_pb2

    from autocolor.nets.vgg16 import vgg16_gray_features
    from autocolor.runtime.fusion import fuse_relus

    parameter = vgg16_gray_features(last, width)
    parameter.layer[0].input_param.shape[0].dim[2:] = [side, side]
    parameter.force_backward = backward
    for layer in parameter.layer:
        if layer.type == "Convolution":
            layer.convolution_param.engine = getattr(caffe_pb2.ConvolutionParameter, engine)
            layer.convolution_param.ClearField("weight_filler")
        elif engine == _STOCK and layer.type == "Pooling":
            layer.pooling_param.engine = caffe_pb2.PoolingParameter.CAFFE
        elif engine == _STOCK and layer.type == "ReLU":
            layer.relu_param.engine = caffe_pb2.ReLUParameter.CAFFE
    if fused:
        fuse_relus(parameter)
    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(str(parameter))
        file.flush()
        net = caffe.Net(file.name, caffe.TRAIN if backward else caffe.TEST)
    rng = np.random.default_rng(0)
    for weight, bias in net.params.values():
        fan_in = np.prod(weight.shape[1:])
        weight.data[...] = rng.standard_normal(weight.shape, np.float32) * np.sqrt(2 / fan_in)
        bias.data[...] = 0.01
    net.blobs["data"].data[...] = rng.random(net.blobs["data"].shape, np.float32)
    return net


def _pass(net: Any, last: str, backward: bool) -> Callable[[], None]:
    def run() -> None:
        net.forward()
        if backward:
            net.blobs[last].diff[...] = 1e-3
            net.backward()

    return run


def _difference(stock: Any, ours: Any) -> float:
    """Return the largest difference of any blob, relative to the blob's largest value."""
    for net in (stock, ours):
        net.forward()
    pairs = [(stock.blobs[name].data, ours.blobs[name].data) for name in ours.blobs]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def _layer_table(stock: Any, ours: Any, repetitions: int) -> str:
    """Return a table of the forward times of the layers, in ms."""
    lines = ["| layer | stock | oneDNN |\n|---|---|---|\n"]
    work = {}
    for number, net in enumerate((stock, ours)):
        for name in net._layer_names:
            work[f"{number} {name}"] = lambda net=net, name=name: net.forward(start=name, end=name)
    times = interleaved(work, repetitions)
    for name in stock._layer_names:
        mine = times.get(f"1 {name}")
        shown = f"{1e3 * mine.median:.1f}" if mine else "in the convolution"
        theirs = 1e3 * times[f"0 {name}"].median
        if theirs >= 0.1:
            lines.append(f"| {name} | {theirs:.1f} | {shown} |\n")
    return "".join(lines)


def _compare(settings: Settings) -> Report:
    results = []
    notes = [
        f"{onednn_instructions()}. Forward passes run in a TEST net with ReLUs fused, as "
        "`autocolor` runs them; forward + backward in a TRAIN net in which every layer learns, with "
        "the ReLU layers, as `caffe train` runs it. The stock side is Caffe's own code throughout. "
        "Gradients are compared layer by layer in the unit tests: through the whole net, a maximum "
        "that is equal to its neighbour but for rounding sends a gradient another way.\n"
    ]
    width = 0.125 if settings.quick else 1.0
    cases = [("fc7", 512, False, 2.0), ("fc7", 256, True, 1.7),
             ("conv5_3", 512, False, None), ("conv5_3", 256, True, None)]  # fmt: skip
    for last, side, backward, target in cases:
        side = 64 if settings.quick else side
        nets = {
            engine: backbone(engine, last, side, backward=backward, width=width,
                             fused=engine == _ONEDNN and not backward)
            for engine in (_STOCK, _ONEDNN)
        }  # fmt: skip
        times = interleaved(
            {engine: _pass(net, last, backward) for engine, net in nets.items()},
            settings.repetitions,
        )
        label = f"data..{last}, {'forward + backward' if backward else 'forward'}, {side}×{side}"
        results.append(
            Result(label, speedup(times[_STOCK], times[_ONEDNN]), target, "times faster", True,
                   1e3 * times[_ONEDNN].median, 1e3 * times[_STOCK].median, "ms", "stock engine")
        )  # fmt: skip
        difference = _difference(nets[_STOCK], nets[_ONEDNN])
        results.append(
            Result(f"{label}, difference of any blob", difference, 1e-4, "of the largest value", False,
                   difference, 0, "", "stock engine")
        )  # fmt: skip
        if not backward:
            repetitions = statistics.median_low([1, 3, settings.repetitions])
            notes.append(f"\nForward at {side}×{side}, ms a layer:\n\n")
            notes.append(_layer_table(nets[_STOCK], nets[_ONEDNN], repetitions))
    return Report(results, "".join(notes))


def benchmarks() -> list[Benchmark]:
    """Return the benchmarks of this module."""
    return [Benchmark("convolution", "Convolutions on oneDNN", _compare)]
