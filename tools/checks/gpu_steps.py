"""What tools/checks/gpu.py does on a GPU, each step in a process of its own. Needs pycaffe.

    python tools/checks/gpu_steps.py STEP REPORT.json gpu|cpu quick|whole WORK_FOLDER PHOTOS_OR_EMPTY

On the CPU, the same steps run without the kernels.
"""

from __future__ import annotations

import csv
import ctypes
import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from caffe.proto import caffe_pb2
from PIL import Image

from autocolor.core.errors import AutocolorError
from autocolor.core.files import write_atomically
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.runtime.caffe_runtime import (
    backward_layer,
    forward_layer,
    import_caffe,
    layer_names,
)
from autocolor.runtime.model_folder import Manifest

HERE = Path(__file__).resolve().parent
LAYER_TOLERANCE = 1e-4
"""Of the largest value of a blob: sums of up to 12,417 floats in another order, as engines on the CPU."""
STEP_TOLERANCE = 1e-3
"""The same through a whole net: where two values are equal but for rounding, a maximum may change."""
PHOTO_TOLERANCE = 0.1
"""Levels of 255, on average over a photo: here and there a colour is rounded the other way."""
_GIBIBYTE = 2**30


class GpuError(RuntimeError):
    """A GPU cannot be used, or gives another result; one line."""


class Cuda:
    """CUDA's runtime, as pycaffe has loaded it.

    Raises
    ------
    GpuError
        If there is none, or no GPU.
    """

    def __init__(self) -> None:
        caffe = import_caffe()
        self._library = ctypes.CDLL(caffe._caffe.__file__)
        if not hasattr(self._library, "cudaGetDeviceCount"):
            raise GpuError(
                "this Caffe is built for the CPU only (docs/building.md, docs/bundle.md)"
            )
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self.call("cudaGetDeviceCount", ctypes.byref(count))
        if count.value == 0:
            raise GpuError("CUDA finds no GPU")

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function that returns an error code."""
        code = getattr(self._library, function)(*arguments)
        if code != 0:
            raise GpuError(f"{function}: {self._library.cudaGetErrorString(code).decode()}")

    def synchronize(self) -> None:
        """Wait until the GPU has done all that it was told."""
        self.call("cudaDeviceSynchronize")

    def describe(self) -> dict[str, Any]:
        """Return the GPU's name, its memory and the versions of CUDA."""
        properties = ctypes.create_string_buffer(1 << 16)  # begins with the name
        name = "cudaGetDeviceProperties"
        self.call(name if hasattr(self._library, name) else f"{name}_v2", properties, 0)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        versions = {}
        for kind in ("Driver", "Runtime"):
            number = ctypes.c_int()
            self.call(f"cuda{kind}GetVersion", ctypes.byref(number))
            versions[kind.lower()] = f"{number.value // 1000}.{number.value % 1000 // 10}"
        return {
            "gpu": properties.value.decode(),
            "memory_gib": total.value / _GIBIBYTE,
            "free_gib": free.value / _GIBIBYTE,
            **versions,
        }

    def bandwidth(self, size: int = _GIBIBYTE, rounds: int = 20) -> float:
        """Return the bytes a second that a copy within the GPU's memory reads and writes."""
        pointers = [ctypes.c_void_p() for _ in range(2)]
        for pointer in pointers:
            self.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size))
        try:
            for number in range(rounds + 1):
                if number == 1:
                    self.synchronize()
                    start = time.perf_counter()
                device_to_device = 3
                self.call("cudaMemcpy", *pointers, ctypes.c_size_t(size), device_to_device)
            self.synchronize()
            return 2 * size * rounds / (time.perf_counter() - start)
        finally:
            for pointer in pointers:
                self.call("cudaFree", pointer)


class Step:
    """One step's surroundings: which device, which sizes, where its files may be."""

    def __init__(self, device: str, is_quick: bool, work: Path, photos: Path | None) -> None:
        self.caffe = import_caffe(device)
        self.device = device
        self.is_quick = is_quick
        self.work = work
        self.photos = photos
        self.cuda = Cuda() if device == "gpu" else None

    def use(self, device: str) -> None:
        """Let Caffe compute on ``cpu`` or ``gpu``; in a rehearsal, on the CPU all the same."""
        if device == "gpu" and self.device == "gpu":
            self.caffe.set_mode_gpu()
        else:
            self.caffe.set_mode_cpu()

    def synchronize(self) -> None:
        """Wait for the GPU, if there is one."""
        if self.cuda is not None:
            self.cuda.synchronize()

    def net(self, parameter: Any, phase: str) -> Any:
        """Return the net of a description, with random weights where it has no fillers."""
        path = self.work / f"{parameter.name}.prototxt"
        path.write_text(str(parameter), encoding="utf-8")
        net = self.caffe.Net(str(path), getattr(self.caffe, phase))
        rng = np.random.default_rng(0)
        for blobs in net.params.values():
            for blob in blobs:
                if not blob.data.any():
                    fan_in = max(1, blob.data[0].size)
                    blob.data[...] = rng.normal(0, (2 / fan_in) ** 0.5, blob.data.shape)
        return net


def with_inputs(parameter: Any, crop: int) -> tuple[Any, int]:
    """Put ``Input`` layers in the place of data and of random locations.

    Returns
    -------
    net, crop
        Of the locations: they are in [-0.5, crop - 0.5].
    """
    for layer in parameter.layer:
        if layer.type == "Data":
            shape = [layer.data_param.batch_size, 3, crop, crop]
        elif layer.type == "DummyData":
            shape = list(layer.dummy_data_param.shape[0].dim)
        else:
            continue
        fresh = caffe_pb2.LayerParameter(name=layer.name, type="Input", top=list(layer.top))
        fresh.input_param.shape.add(dim=shape)
        layer.CopyFrom(fresh)
    return parameter, crop


def fill_inputs(net: Any, parameter: Any, crop: int) -> None:
    """Fill the inputs of a net with random images and locations, those of one seed."""
    rng = np.random.default_rng(1)
    for layer in parameter.layer:
        if layer.type == "Input":
            blob = net.blobs[layer.top[0]]
            low, high = (-0.5, crop - 0.5) if layer.name == "locations" else (0, 1)
            blob.data[...] = rng.uniform(low, high, blob.data.shape)


def training_net(
    variant: str, levels: str, width: float, sizes: tuple[int, int, int]
) -> tuple[Any, int]:
    """Return a training net without chance, of (images, crop, locations)."""
    images, crop, locations = sizes
    options = TrainingOptions("", images, crop, locations, dropout=0)
    network = ColorizationNet(variant, levels=levels, width=width)
    return with_inputs(network.training_net(options, "train"), crop)


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the largest difference of two arrays, as a part of the largest value of `theirs`."""
    if not np.isfinite(ours).all():
        return float("inf")
    largest = float(np.abs(theirs).max(initial=0))
    gap = float(np.abs(ours - theirs).max(initial=0))
    return gap / largest if largest else gap


def _arrays(net: Any, index: int) -> tuple[list[Any], list[Any], list[Any]]:
    """Return the bottoms, the tops and the parameters of a layer."""
    bottoms = [net._blobs[i] for i in net._bottom_ids(index)]
    tops = [net._blobs[i] for i in net._top_ids(index)]
    return bottoms, tops, list(net.layers[index].blobs)


def _forward_both(step: Step, net: Any, index: int) -> float:
    """Run a layer on the CPU and on the GPU, from the same input; leave the CPU's output."""
    bottoms, tops, _ = _arrays(net, index)
    before = [blob.data.copy() for blob in bottoms]
    step.use("cpu")
    forward_layer(net, index)
    expected = [blob.data.copy() for blob in tops]
    for blob, data in zip(bottoms, before, strict=True):
        blob.data[...] = data
    step.use("gpu")
    forward_layer(net, index)
    gaps = [difference(blob.data, data) for blob, data in zip(tops, expected, strict=True)]
    for blob, data in zip(tops, expected, strict=True):
        blob.data[...] = data
    return max(gaps, default=0.0)


def _backward_both(step: Step, net: Any, index: int, rng: np.random.Generator) -> float:
    """The same for the gradients of the bottoms and of the parameters, from random gradients of the tops."""
    bottoms, tops, parameters = _arrays(net, index)
    gradients = [rng.normal(size=blob.diff.shape).astype(np.float32) for blob in tops]
    if net.layers[index].type.endswith("Loss"):
        gradients = [blob.diff.copy() for blob in tops]  # the weight of the loss
    found = []
    for device in ("cpu", "gpu"):
        step.use(device)
        for blob in (*bottoms, *parameters):
            blob.diff[...] = 0
        for blob, gradient in zip(tops, gradients, strict=True):
            blob.diff[...] = gradient
        backward_layer(net, index)
        found.append([blob.diff.copy() for blob in (*bottoms, *parameters)])
    return max((difference(b, a) for a, b in zip(*found, strict=True)), default=0.0)


def layers(step: Step) -> dict[str, Any]:
    """Compare every layer of our networks on the GPU with the CPU, forward and backward."""
    width = 0.05 if step.is_quick else 0.25
    sizes = (2, 64, 16)
    nets = {
        "hue_chroma_train": training_net("hue_chroma", "data..fc7", width, sizes),
        "lab_joint_train": training_net("lab_joint", "conv4_1..conv5_3", width, sizes),
        "lab_l2_train": training_net("lab_l2", "data..conv5_3", width, sizes),
    }
    test = ColorizationNet("hue_chroma", "data..fc7", width=width).training_net(
        TrainingOptions("", *sizes), "test"
    )
    test.name = "hue_chroma_test"
    nets["hue_chroma_test"] = with_inputs(test, sizes[1])
    deploy = ColorizationNet("hue_chroma", "data..fc7", width=width).deploy_net()
    nets["deploy"] = deploy, sizes[1]
    rows: dict[str, dict[str, float]] = {}
    for name, (parameter, crop) in nets.items():
        parameter.name = name
        is_training = name.endswith("train")
        step.use("cpu")
        net = step.net(parameter, "TRAIN" if is_training else "TEST")
        fill_inputs(net, parameter, crop)
        forward = [_forward_both(step, net, index) for index in range(len(layer_names(net)))]
        rng = np.random.default_rng(2)
        for index in reversed(range(len(forward))):
            row = rows.setdefault(net.layers[index].type, {"forward": 0.0, "backward": 0.0})
            row["forward"] = max(row["forward"], forward[index])
            if is_training:
                row["backward"] = max(row["backward"], _backward_both(step, net, index, rng))
    wrong = [
        f"{kind} {way} ({gap:.2g})"
        for kind, row in sorted(rows.items())
        for way, gap in row.items()
        if not gap <= LAYER_TOLERANCE
    ]
    report = {"largest_differences": rows, "tolerance": LAYER_TOLERANCE}
    if wrong:
        report["failed"] = f"differ between GPU and CPU: {', '.join(wrong)}"
    return report


def training_step(step: Step) -> dict[str, Any]:
    """Compare the losses and the gradient of every weight of one whole training step."""
    width = 0.05 if step.is_quick else 0.25
    parameter, crop = training_net("hue_chroma", "data..fc7", width, (2, 64, 16))
    step.use("cpu")
    net = step.net(parameter, "TRAIN")
    fill_inputs(net, parameter, crop)
    found = []
    for device in ("cpu", "gpu"):
        step.use(device)
        net.clear_param_diffs()
        losses = {name: float(value) for name, value in net.forward().items() if value.size == 1}
        net.backward()
        gradients = {
            f"{name}[{number}]": blob.diff.copy()
            for name, blobs in net.params.items()
            for number, blob in enumerate(blobs)
        }
        found.append((losses, gradients))
    (losses, expected), (gpu_losses, gradients) = found
    gaps = {name: difference(gradients[name], expected[name]) for name in expected}
    gaps |= {
        name: difference(np.array(gpu_losses[name]), np.array(value))
        for name, value in losses.items()
    }
    wrong = [f"{name} ({gap:.2g})" for name, gap in gaps.items() if not gap <= STEP_TOLERANCE]
    report: dict[str, Any] = {
        "losses": losses,
        "losses_gpu": gpu_losses,
        "largest_difference": max(gaps.values()),
        "tolerance": STEP_TOLERANCE,
        "weights": len(expected),
    }
    if wrong:
        report["failed"] = f"differ between GPU and CPU: {', '.join(wrong)}"
    return report


def _times(step: Step, run: Callable[[], None], rounds: int) -> float:
    """Return the seconds of one run, of many in a row."""
    run()
    step.synchronize()
    start = time.perf_counter()
    for _ in range(rounds):
        run()
    step.synchronize()
    return (time.perf_counter() - start) / rounds


def _big_nets(step: Step) -> Iterator[tuple[str, Any, bool]]:
    """Yield the training net and the deploy net at the sizes of docs/performance.md."""
    from kernel_traffic import IMAGES, LOCATIONS

    side, width = (64, 0.05) if step.is_quick else (256, 1.0)
    parameter, crop = training_net("hue_chroma", "data..fc7", width, (IMAGES, side, LOCATIONS))
    deploy = ColorizationNet("hue_chroma", "data..fc7", width=width).deploy_net()
    deploy.name = "deploy"
    deploy.layer[0].input_param.shape[0].dim[:] = [1, 1, side, side]
    step.use("gpu")
    for described, is_training in ((parameter, True), (deploy, False)):
        net = step.net(described, "TRAIN" if is_training else "TEST")
        fill_inputs(net, described, crop)
        net.forward()
        if is_training:
            net.backward()
        yield described.name, net, is_training


# Layer and direction -> the kernels of kernel_traffic.py that are in one pass of all layers of it.
_KERNELS = {
    ("HypercolumnTap", "forward"): ("LocateCells", "GatherHypercolumn"),
    ("HypercolumnTap", "backward"): ("zero-fill and ScatterHypercolumn",),
    ("ColorSpace", "forward"): ("SplitColor",),
    ("ColorHistogram", "forward"): ("WindowHistogram", "WindowHistogram"),
    ("SoftmaxKLDivergenceLoss", "forward"): ("SoftmaxDivergence", "SoftmaxDivergence"),
    ("SoftmaxKLDivergenceLoss", "backward"): (
        "SoftmaxDivergenceGradient",
        "SoftmaxDivergenceGradient",
    ),
}


def kernels(step: Step) -> dict[str, Any]:
    """Time every layer at full size, and compare ours with the time that their bytes take."""
    from kernel_traffic import kernel_traffic

    bandwidth = step.cuda.bandwidth() if step.cuda else None
    seconds: dict[tuple[str, str, str], float] = defaultdict(float)
    for name, net, is_training in _big_nets(step):
        for index in range(len(layer_names(net))):
            kind = net.layers[index].type
            rounds = 1 if step.is_quick else 20
            seconds[name, kind, "forward"] += _times(
                step, partial(forward_layer, net, index), rounds
            )
            if is_training:
                seconds[name, kind, "backward"] += _times(
                    step, partial(backward_layer, net, index), rounds
                )
    side = 64 if step.is_quick else 256
    traffic = {
        name.split(",")[0].split(" (")[0]: size for name, size in kernel_traffic(side).items()
    }
    rows = []
    for (name, kind, way), taken in sorted(seconds.items(), key=lambda item: -item[1]):
        row: dict[str, Any] = {"net": name, "layers": kind, "pass": way, "us": 1e6 * taken}
        least = sum(traffic[kernel] for kernel in _KERNELS.get((kind, way), ()))
        if least and bandwidth and name != "deploy":
            row |= {"bytes": least, "roofline_us": 1e6 * least / bandwidth}
            row["of_roofline"] = least / bandwidth / taken
        rows.append(row)
    return {"copy_bytes_per_second": bandwidth, "side": side, "layers": rows}


def kernels_once(step: Step) -> dict[str, Any]:
    """Run both nets of `kernels` once, for a profiler."""
    return {"nets": [name for name, _, _ in _big_nets(step)]}


def profile(step: Step) -> dict[str, Any]:
    """Time every kernel of ours by Nsight Compute, where it is there."""
    tool = find_cuda_tool("ncu")
    if tool is None:
        return {"skipped": "ncu (Nsight Compute) is not on this machine"}
    if step.device == "cpu":
        return {"skipped": f"no GPU; it would run {tool}"}
    report = step.work / "once.json"
    own = [
        sys.executable,
        __file__,
        "kernels_once",
        str(report),
        step.device,
        "quick" if step.is_quick else "whole",
        str(step.work),
        "",
    ]
    metrics = "gpu__time_duration.sum,dram__bytes.sum,launch__registers_per_thread"
    done = subprocess.run(
        [
            tool,
            "--csv",
            "--metrics",
            metrics,
            "--clock-control",
            "none",
            "-k",
            "regex:ParallelFor|Hypercolumn",
            "--target-processes",
            "all",
            *own,
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    rows = read_ncu(done.stdout)
    if done.returncode != 0 or not rows:
        last = (done.stdout + done.stderr).strip().splitlines()[-3:]
        return {"failed": f"ncu ended with {done.returncode}: {' '.join(last)}"}
    return {"kernels": rows}


def read_ncu(text: str) -> dict[str, dict[str, float]]:
    """Sum up what ``ncu --csv`` prints: kernel -> its launches, and of each metric the sum.

    Lines that are not of the table are passed over.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    found: dict[str, dict[str, float]] = {}
    for row in csv.DictReader(line for line in lines[start:] if line.startswith('"')):
        name = row["Kernel Name"]
        inner = re.search(r"ParallelFor\w*<(.*)>\(", name)
        name = (inner[1] if inner else name).replace("caffe::", "").strip()
        totals = found.setdefault(name, {"launches": 0})
        metric = f"{row['Metric Name']} [{row['Metric Unit']}]"
        totals[metric] = totals.get(metric, 0) + float(row["Metric Value"].replace(",", ""))
        totals["launches"] += metric.startswith("gpu__time")
    return found


def find_cuda_tool(name: str) -> str | None:
    """Return where a tool of the CUDA toolkit is."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


def write_lmdb(folder: Path, side: int, count: int) -> None:
    """Write an LMDB of smooth random photos."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    with (
        lmdb.open(str(folder), map_size=2**30) as environment,
        environment.begin(write=True) as out,
    ):
        for number in range(count):
            stream = io.BytesIO()
            random_photo(rng, side, side * 4 // 3).save(stream, "JPEG", quality=95)
            datum = caffe_pb2.Datum(encoded=True, data=stream.getvalue(), label=0)
            out.put(f"{number:08d}".encode(), datum.SerializeToString())


def random_photo(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    """Return a smooth picture of random colours."""
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def train(step: Step) -> dict[str, Any]:
    """Run ``caffe train`` from an LMDB of JPEG: 12,417 channels, fc6 and fc7 of random weights."""
    side, crop, batch, width = (80, 64, 2, 0.05) if step.is_quick else (256, 224, 8, 1.0)
    iterations, display = (4, 2) if step.is_quick else (60, 20)
    write_lmdb(step.work / "lmdb", side, 16 if step.is_quick else 128)
    options = TrainingOptions(str(step.work / "lmdb"), batch, crop)
    net = step.work / "train.prototxt"
    network = ColorizationNet("hue_chroma", "data..fc7", width=width)
    net.write_text(str(network.training_net(options, "train")), encoding="utf-8")
    solver = step.work / "solver.prototxt"
    solver.write_text(
        f'train_net: "{net}" base_lr: 0.001 momentum: 0.9 lr_policy: "fixed" max_iter: {iterations}'
        f' display: {display} snapshot_after_train: false random_seed: 1 snapshot_prefix: "{net}"'
        f" solver_mode: {step.device.upper()}\n",
        encoding="utf-8",
    )
    device = ["-gpu", "0"] if step.device == "gpu" else []
    done = subprocess.run(
        [str(program("caffe")), "train", "-solver", str(solver), *device],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "GLOG_minloglevel": "0"},
    )
    rows = re.findall(r"Iteration (\d+) \((\S+) iter/s.*loss = (\S+)", done.stderr)
    losses = [float(loss) for _, _, loss in rows]
    report: dict[str, Any] = {
        "losses": losses,
        "images_a_second": batch * float(rows[-1][1]) if rows else None,
        "channels": sum(level.channels for level in _levels(width)),
        "batch": batch,
        "crop": crop,
    }
    if done.returncode != 0 or len(rows) < 2 or not np.isfinite(losses).all():
        last = done.stderr.strip().splitlines()[-1:]
        report["failed"] = f"caffe train ended with {done.returncode}: {' '.join(last)}"
    return report


def _levels(width: float) -> Any:
    from autocolor.nets.vgg16 import vgg16_levels

    return vgg16_levels("data..fc7", width)


def program(name: str) -> Path:
    """Return where a program of ours is: in the bundle of this file, or in the build."""
    root = HERE.parent
    folder = root / "bin" if (root / "bundle.json").is_file() else root.parent / "build" / "bin"
    return folder / name


def colorize(step: Step) -> dict[str, Any]:
    """Run ``autocolor`` on photos on the GPU and on the CPU; a model of random weights will do."""
    width = 0.05 if step.is_quick else 1.0
    model, photos = step.work / "model", step.photos
    model.mkdir()
    manifest = Manifest("random", levels="data..conv5_3")
    deploy = ColorizationNet("hue_chroma", "data..conv5_3", width=width).deploy_net()
    deploy.name = "model"
    step.use("cpu")
    step.net(deploy, "TEST").save(str(model / manifest.weights))
    (model / manifest.deploy).write_text(str(deploy), encoding="utf-8")
    manifest.save(model)
    if photos is None:
        photos = step.work / "photos"
        photos.mkdir()
        rng = np.random.default_rng(3)
        for number in range(1 if step.is_quick else 8):
            side = 96 if step.is_quick else 512
            random_photo(rng, side, side * 4 // 3).save(photos / f"{number}.jpg", quality=95)
    report: dict[str, Any] = {}
    outputs = []
    for device in dict.fromkeys((step.device, "cpu")):
        out = step.work / f"out_{device}"
        start = time.perf_counter()
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "autocolor.cli",
                "--model",
                str(model),
                "--device",
                device,
                str(photos),
                "-o",
                str(out),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        report[f"seconds_{device}"] = time.perf_counter() - start
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-1:]
            report["failed"] = f"autocolor --device {device} ended with {done.returncode}: {last}"
            return report
        outputs.append(sorted(out.iterdir()))
    report["photos"] = len(outputs[0])
    gaps = [
        np.abs(np.asarray(Image.open(a), np.float32) - np.asarray(Image.open(b), np.float32)).mean()
        for a, b in zip(outputs[0], outputs[-1], strict=True)
    ]
    report["mean_difference"] = float(max(gaps))
    if report["mean_difference"] > PHOTO_TOLERANCE:
        report["failed"] = f"the photos of GPU and CPU differ by {max(gaps):.2g} levels of 255"
    return report


def device(step: Step) -> dict[str, Any]:
    """Say which GPU this is."""
    assert step.cuda is not None
    return step.cuda.describe()


STEPS: dict[str, Callable[[Step], dict[str, Any]]] = {
    function.__name__: function
    for function in (device, layers, training_step, kernels, kernels_once, profile, train, colorize)
}


def main() -> int:
    """Run the step that the arguments name; returns the exit status."""
    name, report, device_name, size, work, photos = sys.argv[1:7]
    Path(work).mkdir(parents=True, exist_ok=True)
    sys.path.append(
        str(HERE.parent / "bench")
    )  # kernel_traffic; in a bundle it is beside this file
    try:
        step = Step(device_name, size == "quick", Path(work), Path(photos) if photos else None)
        found = STEPS[name](step)
    except (AutocolorError, GpuError, OSError, ValueError) as error:
        found = {"failed": " ".join(str(error).split())}
    write_atomically(Path(report), json.dumps(found))
    return 1 if "failed" in found else 0


if __name__ == "__main__":
    sys.exit(main())
