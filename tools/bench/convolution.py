"""Convolutions of VGG-16-gray: all our algorithms, oneDNN alone, the stock engine, PyTorch."""

from __future__ import annotations

import ctypes
import statistics
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import PassProcess, Timing, environment, in_child, interleaved
from results import Benchmark, Report, Settings, differs, faster

_STOCK, _ONEDNN, _FASTEST = "CAFFE", "ONEDNN", "DEFAULT"
_NAMES = {_STOCK: "stock engine", _ONEDNN: "oneDNN alone", _FASTEST: "ours"}
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2"}
_CASES = (("conv5_3", 512, False), ("conv5_3", 256, True), ("fc7", 512, False), ("fc7", 256, True))
_TARGETS = {
    ("AVX2", "conv5_3", False, _ONEDNN): 1.9,
    ("AVX2", "conv5_3", False, "torch"): 2.0,
    ("AVX2", "conv5_3", True, _ONEDNN): 1.7,
    ("AVX2", "conv5_3", True, "torch"): 1.8,
    ("AVX-512", "conv5_3", False, _ONEDNN): 1.0,
    ("AVX-512", "conv5_3", True, _ONEDNN): 1.0,
}

# Bits of dnnl_cpu_isa_t that every processor with the name has.
_ISAS = ((0x0FC7, "AVX-512 with AMX"), (0x0027, "AVX-512"), (0x0007, "AVX2"), (0x0001, "SSE 4.1"))


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


def instruction_set() -> str:
    """Return the instructions that convolutions use: ``AVX2``, ``AVX-512`` and so on."""
    return onednn_instructions().split(", ")[1].split(" (")[0]


def backbone(
    engine: str, last: str, side: int, *, fused: bool, backward: bool, width: float = 1
) -> Any:
    """Return VGG-16-gray up to a level with random weights and input, on one engine.

    That is CAFFE, ONEDNN or DEFAULT; where it can, ReLUs may be `fused` into the convolutions. With
    `backward` all gradients are computed and weights learnt. `width` is a factor on the channels.
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


def enlarged(bottom: Any, channels: int, factor: int) -> Any:
    """Return the layer that enlarges a blob bilinearly in stock Caffe."""
    from caffe import layers as L

    return L.Deconvolution(
        bottom,
        convolution_param=dict(
            num_output=channels,
            group=channels,
            kernel_size=2 * factor,
            stride=factor,
            pad=factor // 2,
            bias_term=False,
            weight_filler=dict(type="bilinear"),
        ),
    )


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


def _layer_times(nets: Mapping[str, Any], repetitions: int) -> dict[str, Timing]:
    """Return the forward times of the layers, by engine and layer."""
    from autocolor.runtime.caffe_runtime import layer_names

    work: dict[str, Callable[[], object]] = {}
    for engine, net in nets.items():
        for name in layer_names(net):
            work[f"{engine} {name}"] = partial(net.forward, start=name, end=name)
    return interleaved(work, repetitions)


def _memory_note(ratios: Mapping[str, float]) -> str:
    """Say what memory costs the convolutions, by how many times as long conv4_2 takes as conv3_2."""
    found = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    return (
        "\nconv3_2 and conv4_2 are the same multiplications, on 256 and 512 channels; conv4_2 takes so "
        f"many times as long: {found}. As Winograd's algorithm transforms them, the weights of conv4_2 "
        "are 38 MB and those of conv3_2 are 9.\n"
    )


def _layer_table(nets: Mapping[str, Any], times: Mapping[str, Timing]) -> str:
    """Return a table of the forward times of the layers, in ms."""
    from autocolor.runtime.caffe_runtime import layer_names

    lines = [
        f"| layer | {' | '.join(_NAMES[engine] for engine in nets)} |\n",
        f"|---{'|---' * len(nets)}|\n",
    ]
    for name in layer_names(nets[_STOCK]):
        shown = [times.get(f"{engine} {name}") for engine in nets]
        if max(1e3 * time.median for time in shown if time) >= 0.1:
            cells = [f"{1e3 * time.median:.1f}" if time else "in the convolution" for time in shown]
            lines.append(f"| {name} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _compare(settings: Settings, torch_python: str | None) -> Report:
    """Compare the engines with the instructions that this process may use."""
    results = []
    short = instruction_set()
    notes = [f"\n### {onednn_instructions()}\n"]
    width = 0.125 if settings.quick else 1.0
    for last, side, backward in _CASES:
        side = 64 if settings.quick else side
        nets = {
            engine: backbone(
                engine,
                last,
                side,
                backward=backward,
                width=width,
                fused=engine != _STOCK and not backward,
            )
            for engine in _NAMES
        }
        work: dict[str, Callable[[], object]] = {
            engine: _pass(net, last, backward) for engine, net in nets.items()
        }
        peer = None
        if torch_python and last == "conv5_3":
            script = Path(__file__).with_name("torch_backbone.py")
            kind = "backward" if backward else "forward"
            words = (script, side, kind, width, settings.threads)
            peer = PassProcess([torch_python, *map(str, words)])
            work[peer.version] = peer
        times = interleaved(work, settings.repetitions)
        label = f"data..{last}, {'forward + backward' if backward else 'forward'}, {side}×{side}"
        for other, timing in times.items():
            if other == _FASTEST:
                continue
            kind = "torch" if peer is not None and other == peer.version else other
            results.append(
                faster(
                    f"{short}: {label}, {_NAMES.get(other, other)}",
                    times[_FASTEST],
                    timing,
                    _NAMES.get(other, f"{other}, channels_last"),
                    _TARGETS.get((short, last, backward, kind)),
                )
            )
        if peer is not None:
            peer.close()
        name = f"{short}: {label}, difference of any blob"
        difference = _difference(nets[_STOCK], nets[_FASTEST])
        results.append(differs(name, difference, 1e-4, "of the largest value", _NAMES[_STOCK]))
        if not backward:
            repetitions = statistics.median_low([1, 3, settings.repetitions])
            notes.append(f"\nForward at {side}×{side}, ms a layer:\n\n")
            layers = _layer_times(nets, repetitions)
            notes.append(_layer_table(nets, layers))
            if last == "conv5_3":
                ratios = {
                    _NAMES[engine]: layers[f"{engine} conv4_2"].median
                    / layers[f"{engine} conv3_2"].median
                    for engine in nets
                }
                notes.append(_memory_note(ratios))
    return Report(results, "".join(notes))


def _compare_all(settings: Settings) -> Report:
    reports = []
    # The second time held down to AVX2, as most laptops have it, where this machine has more.
    for limits in ({}, AVX2):
        if limits and instruction_set() == "AVX2":
            break
        with environment(limits):
            reports.append(in_child(_compare, settings, settings.torch_python)[0])
    notes = (
        "Forward passes run in a TEST net with ReLUs fused, as `autocolor` runs them; forward + "
        "backward in a TRAIN net in which every layer learns, with the ReLU layers, as `caffe train` "
        "runs it; every gradient is computed, that of the input too. The stock side is Caffe's own "
        "code throughout, that of oneDNN alone has our pooling. AVX2 means that `ONEDNN_MAX_CPU_ISA` "
        "and `OPENBLAS_CORETYPE` (and `ATEN_CPU_CAPABILITY` for PyTorch) hold the libraries down to "
        "it. Gradients are compared layer by layer in the unit tests: through the whole net, a "
        "maximum that is equal to its neighbour but for rounding sends a gradient another way.\n"
    )
    return Report(
        [result for report in reports for result in report.results],
        notes + "".join(report.notes for report in reports),
    )


BENCHMARKS = [Benchmark("convolution", "Convolutions", _compare_all)]
