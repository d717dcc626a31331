"""Colorizing photos end to end, against the bare backbone and the authors' way."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from arithmetic import network_arithmetic
from convolution import AVX2, backbone, enlarged, instruction_set
from measure import Timing, environment, in_child, interleaved, speedup
from results import Benchmark, Report, Result, Settings, faster, leaner

_MEGAPIXELS_12 = (3000, 4000)


def _dense_deploy(width: float, side: int) -> Any:
    """Return the explicit deploy net of the authors' shape, on the stock engine.

    All levels are brought to stride 4, by average pooling or bilinear Deconvolution, concatenated to
    hypercolumns, and the histograms enlarged to every pixel.
    """
    from caffe import NetSpec
    from caffe import layers as L
    from caffe import params as P

    from autocolor.nets.colorization import ColorizationNet
    from autocolor.nets.vgg16 import add_vgg16, image_input, scaled_width, vgg16_levels

    net = NetSpec()
    net.data = image_input(side)
    add_vgg16(net, net.data, "fc7", width=width)
    parts = []
    for level in vgg16_levels(width=width):
        part = net[level.name]
        if level.scale < 4:
            size = 4 // level.scale
            part = L.Pooling(part, pool=P.Pooling.AVE, kernel_size=size, stride=size)
        elif level.scale > 4:
            part = enlarged(part, level.channels, level.scale // 4)
        parts.append(part)
    net.hypercolumn = L.Concat(*parts)
    net.h_fc1 = L.Convolution(net.hypercolumn, num_output=scaled_width(1024, width), kernel_size=1)
    net.h_relu1 = L.ReLU(net.h_fc1, in_place=True)
    for head in ColorizationNet().heads:
        prediction = L.Convolution(net.h_fc1, num_output=head.channels, kernel_size=1)
        net[head.output] = enlarged(L.Softmax(prediction), head.channels, 4)
    parameter = net.to_proto()
    for layer in parameter.layer:
        if layer.type == "Convolution":
            layer.convolution_param.engine = layer.convolution_param.CAFFE
            layer.convolution_param.ClearField("weight_filler")
        elif layer.type == "Pooling":
            layer.pooling_param.engine = layer.pooling_param.CAFFE
        elif layer.type == "ReLU":
            layer.relu_param.engine = layer.relu_param.CAFFE
    return parameter


@contextmanager
def random_model(
    width: float, working_side: int, levels: str = "data..fc7", engine: str = "DEFAULT"
) -> Iterator[Path]:
    """Yield a folder with a model of the paper's network and random weights.

    ``engine`` is that of its convolutions.
    """
    import caffe

    from autocolor.nets.colorization import ColorizationNet
    from autocolor.runtime.model_folder import Manifest

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = Manifest("benchmark", working_side=working_side)
        manifest.save(folder)
        deploy = ColorizationNet(levels=levels, width=width).deploy_net()
        for layer in deploy.layer:
            if layer.type == "Convolution" and engine != "DEFAULT":
                layer.convolution_param.engine = layer.convolution_param.Engine.Value(engine)
        (folder / manifest.deploy).write_text(str(deploy), encoding="utf-8")
        net = caffe.Net(str(folder / manifest.deploy), caffe.TEST)
        rng = np.random.default_rng(0)
        for layer, blobs in net.params.items():
            if not blobs[0].data.any():  # layers of ours, which have no fillers in a deploy net
                scale = blobs[0].data.shape[1] ** -0.5
                net.params[layer][0].data[...] = rng.normal(scale=scale, size=blobs[0].data.shape)
        net.save(str(folder / manifest.weights))
        del net
        yield folder


def make_photo(folder: Path, size: tuple[int, int]) -> Path:
    """Write a photo-like image: smooth noise."""
    from autocolor.imaging.images import resize, write_image

    small = np.random.default_rng(0).random((24, 32, 3), dtype=np.float32)
    path = folder / "photo.png"
    write_image(path, resize(small, size))
    return path


def _colorize(colorizer: Any, photo: Path) -> tuple[float, float]:
    """Colorize as the command does; return the seconds of the network and of all the rest."""
    from autocolor.imaging.color import lightness
    from autocolor.imaging.images import read_image, write_image

    start = time.perf_counter()
    grey = lightness(read_image(photo).rgb)
    before = time.perf_counter()
    prediction = colorizer.predict(grey)
    after = time.perf_counter()
    write_image(photo.with_name("colour.png"), prediction.colorize())
    return after - before, time.perf_counter() - start - (after - before)


def _colorize_into(parts: list[tuple[float, float]], colorizer: Any, photo: Path) -> None:
    parts.append(_colorize(colorizer, photo))


def _colorize_once(folder: Path, photo: Path) -> None:
    from autocolor.runtime.colorizer import Colorizer

    _colorize(Colorizer(folder), photo)


def _run_dense(width: float, side: int) -> Any:
    import caffe

    with tempfile.NamedTemporaryFile("w", suffix=".prototxt") as file:
        file.write(str(_dense_deploy(width, side)))
        file.flush()
        net = caffe.Net(file.name, caffe.TEST)
    net.blobs["data"].data[...] = 0.5
    net.forward()
    return net


def _run_dense_once(width: float, side: int) -> None:
    _run_dense(width, side)


def _end_to_end(settings: Settings) -> Report:
    from autocolor.runtime.colorizer import Colorizer

    width, side = (0.125, 128) if settings.quick else (1.0, 512)
    results = []
    with random_model(width, side) as folder:
        photo = make_photo(folder, (side, side))
        loads = []
        for _ in range(settings.repetitions + 1):
            start = time.perf_counter()
            colorizer = Colorizer(folder)
            loads.append(time.perf_counter() - start)
        load = Timing(tuple(loads[1:]))
        results.append(
            Result(
                "loading the model",
                load.median,
                1.0,
                "s",
                False,
                1e3 * load.median,
                1e3 * load.minimum,
                "ms",
                "the least time",
            )
        )
        vgg16 = backbone("DEFAULT", "fc7", side, fused=True, backward=False, width=width)
        dense = _run_dense(width, side)
        parts: list[tuple[float, float]] = []
        times = interleaved(
            {
                "ours": partial(_colorize_into, parts, colorizer, photo),
                "backbone": vgg16.forward,
                "dense": dense.forward,
            },
            settings.repetitions,
        )
        name = f"colorizing {side}×{side}"
        ours = 1e3 * times["ours"].median
        results += [
            Result(
                f"{name}, file to file",
                1 / speedup(times["backbone"], times["ours"]),
                1.4,
                "of the backbone's forward pass",
                False,
                ours,
                1e3 * times["backbone"].median,
                "ms",
                "the backbone alone, same engine",
            ),
            faster(
                f"{name} against the dense net",
                times["ours"],
                times["dense"],
                "explicit hypercolumns at stride 4, stock engine, forward alone",
                4,
            ),
        ]
        rest = Timing(tuple(rest for _, rest in parts[1:]))
        share = float(np.median([rest / (network + rest) for network, rest in parts[1:]]))
        results.append(
            Result(
                f"{name}, all but the network",
                share,
                0.05,
                "of the whole",
                False,
                1e3 * rest.median,
                ours,
                "ms",
                "the whole",
            )
        )
        del colorizer, vgg16, dense
        _, ours_peak = in_child(_colorize_once, folder, photo)
        _, dense_peak = in_child(_run_dense_once, width, side)
        results.append(leaner(f"{name}, peak memory", ours_peak, dense_peak, "the dense net", 4))
    size = (300, 400) if settings.quick else _MEGAPIXELS_12
    with random_model(width, 256) as folder:
        _, peak = in_child(_colorize_once, folder, make_photo(folder, size))
    results.append(
        Result(
            f"a photo of {size[1]}×{size[0]}, peak memory",
            peak / 2**30,
            3,
            "GiB",
            False,
            peak / 1e6,
            0,
            "MB",
            "nothing",
        )
    )
    return Report(
        results,
        "The paper's network (data..fc7, 12,417 channels) with random weights, which the network "
        f"sees at {side}×{side}; from a PNG file to a PNG file with `Colorizer`, loaded before. All "
        "but the network is reading, decoding the histograms, fading, lightness correction and "
        f"writing.\n\n{_bounds_note(side)}",
    )


def _bounds_note(side: int) -> str:
    """Say what the ratios of the network's time can be at most."""
    work = network_arithmetic(side)
    dense = work.whole - work.head + work.dense_head
    return (
        f"The dense net is {dense:.0f} GFLOP. Ours is {work.whole:.0f}, and with Winograd's algorithm at "
        f"its best {work.least:.0f}: where products and convolutions of both run at one speed, ours is at "
        f"most {dense / work.least:.1f} times as fast, and more only where the stock engine is slow."
    )


def _colorize_many(folder: Path, photo: Path, repetitions: int) -> list[float]:
    from autocolor.runtime.colorizer import Colorizer

    colorizer = Colorizer(folder)
    return [sum(_colorize(colorizer, photo)) for _ in range(repetitions + 1)][1:]


def _by_engine(settings: Settings) -> Report:
    width, side = (0.125, 128) if settings.quick else (1.0, 512)
    results = []
    for limits in ({}, AVX2):
        instructions = instruction_set()
        if limits and instructions == "AVX2":
            break
        with environment(limits), ExitStack() as stack:
            instructions = in_child(instruction_set)[0]
            seconds: dict[str, list[float]] = {"DEFAULT": [], "ONEDNN": []}
            peaks: dict[str, list[int]] = {"DEFAULT": [], "ONEDNN": []}
            folders = {
                engine: stack.enter_context(random_model(width, side, "data..conv5_3", engine))
                for engine in seconds
            }
            photo = make_photo(folders["DEFAULT"], (side, side))
            for _ in range(3):
                for engine, folder in folders.items():
                    times, peak = in_child(_colorize_many, folder, photo, settings.repetitions)
                    seconds[engine].append(float(np.median(times)))
                    peaks[engine].append(peak)
            ours, theirs = (Timing(tuple(seconds[engine])) for engine in seconds)
            name = f"{instructions}: colorizing {side}×{side}, data..conv5_3"
            memory = [float(np.median(peaks[engine])) for engine in seconds]
            results += [
                faster(
                    f"{name}, time",
                    ours,
                    theirs,
                    "oneDNN alone",
                    1.5 if instructions == "AVX2" else 1,
                ),
                Result(
                    f"{name}, peak memory",
                    memory[0] / memory[1],
                    1,
                    "of the memory",
                    False,
                    memory[0] / 1e6,
                    memory[1] / 1e6,
                    "MB",
                    "oneDNN alone",
                ),
            ]
    return Report(
        results,
        "From a PNG file to a PNG file, in processes that take turns. AVX2 as in the section on "
        "convolutions.",
    )


BENCHMARKS = [
    Benchmark("colorize", "Colorizing a photo", _end_to_end),
    Benchmark("engines", "Colorizing a photo with one engine and the other", _by_engine),
]
