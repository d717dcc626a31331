"""One network as another library runs it, for comparison; a program of its own.

    python peer.py KIND FOLDER THREADS

prints the library and its version; then, for each line that it reads, runs one pass and prints its
seconds; and at the end its peak of resident memory in bytes. FOLDER is that of `network_peers.py`:
weights.npz, levels.json and input.npy, model.onnx for the kinds that read it, and the model folder
itself for ours. What the net says goes to FOLDER/KIND.npz. All but ours import nothing of autocolor,
so any Python that has the library will do.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Pass = Callable[[], dict[str, np.ndarray]]
_POOLED = {"conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3"}


def caffe(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return ours, the model folder in Caffe."""
    from autocolor.runtime.colorizer import Colorizer

    colorizer = Colorizer(folder, backend="caffe")
    grey = np.load(folder / "input.npy")[0, 0]
    outputs = json.loads((folder / "levels.json").read_text())["heads"].values()

    def run() -> dict[str, np.ndarray]:
        values = colorizer.histograms(grey)
        return {n: np.moveaxis(v, -1, 0)[None] for n, v in zip(outputs, values, strict=True)}

    return "Caffe", run


def caffe_training(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return ours, a training step in Caffe, forward and backward, with its LMDB."""
    from autocolor.runtime.caffe_runtime import import_caffe

    net = import_caffe().Net(str(folder / "train.prototxt"), 0)  # the phase TRAIN

    def run() -> dict[str, np.ndarray]:
        net.clear_param_diffs()
        net.forward()
        net.backward()
        return {}

    return "Caffe", run


def onnxruntime(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return the ONNX model in onnxruntime."""
    import onnxruntime as library

    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    session = library.InferenceSession(
        str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    photo = np.load(folder / "input.npy")
    names = [output.name for output in session.get_outputs()]
    (name,) = [given.name for given in session.get_inputs()]
    return (
        f"onnxruntime {library.__version__}",
        lambda: dict(zip(names, session.run(names, {name: photo}), strict=True)),
    )


def opencv(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return the ONNX model in OpenCV's dnn module."""
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(str(folder / "model.onnx"))
    photo = np.load(folder / "input.npy")
    names = net.getUnconnectedOutLayersNames()

    def run() -> dict[str, np.ndarray]:
        net.setInput(photo)
        return dict(zip(names, net.forward(names), strict=True))

    return f"OpenCV {cv2.__version__}", run


class _TorchNet:
    """The network as a plain PyTorch program, in `channels_last`, with the weights of the folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch

        self.torch = torch
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        levels = json.loads((folder / "levels.json").read_text())
        self.scales: dict[str, int] = levels["scales"]
        self.heads: dict[str, str] = levels["heads"]
        stored = np.load(folder / "weights.npz")
        self.weights: dict[str, tuple[Any, Any]] = {}
        for name in {key.rpartition("/")[0] for key in stored.files}:
            kernel = torch.from_numpy(stored[f"{name}/0"])
            if kernel.dim() == 2:
                kernel = kernel[:, :, None, None]
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            self.weights[name] = (kernel, torch.from_numpy(stored[f"{name}/1"]))
        photo = torch.from_numpy(np.load(folder / "input.npy"))
        self.photo = photo.contiguous(memory_format=torch.channels_last)

    def maps(self, photo: Any) -> dict[str, Any]:
        """Return every level that the hypercolumns have."""
        functional = self.torch.nn.functional
        found = {"data": photo}
        last = photo
        names = sorted(
            (name for name in self.weights if re.fullmatch(r"conv\d_\d", name)),
            key=lambda name: name,
        ) + [name for name in ("fc6", "fc7") if name in self.weights]
        for name in names:
            kernel, bias = self.weights[name]
            last = functional.relu(
                functional.conv2d(last, kernel, bias, padding=kernel.shape[-1] // 2)
            )
            found[name] = last
            if name in _POOLED and name != names[-1]:
                last = functional.max_pool2d(last, 2)
        return {name: found[name] for name in self.scales}

    def resized(self, level: Any, size: tuple[int, int]) -> Any:
        """Return a level at the positions of the output."""
        if level.shape[2:] == size:
            return level
        return self.torch.nn.functional.interpolate(
            level, size, mode="bilinear", align_corners=False
        )

    def predictions(self, hidden: Any) -> dict[str, np.ndarray]:
        """Return the histograms of the hidden units."""
        functional = self.torch.nn.functional
        return {
            output: functional.softmax(functional.conv2d(hidden, *self.weights[name]), 1).numpy()
            for name, output in self.heads.items()
        }


def torch_concatenated(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return the net that brings all levels to one resolution and concatenates them."""
    net = _TorchNet(folder, threads)
    torch = net.torch

    def run() -> dict[str, np.ndarray]:
        with torch.inference_mode():
            maps = net.maps(net.photo)
            size = tuple(side // 4 for side in net.photo.shape[2:])
            column = torch.cat([net.resized(level, size) for level in maps.values()], 1)
            hidden = torch.nn.functional.conv2d(column, *net.weights["h_fc1"])
            return net.predictions(hidden.relu_())

    return f"PyTorch {torch.__version__.split('+')[0]}", run


def torch_projected(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return the net that projects levels at their own resolution and adds them up."""
    net = _TorchNet(folder, threads)
    torch = net.torch
    kernel, bias = net.weights["h_fc1"]
    parts: dict[int, Any] = {}
    first = 0
    widths = {name: value.shape[1] for name, value in net.maps(net.photo[..., :32, :32]).items()}
    for name, scale in net.scales.items():
        part = kernel[:, first : first + widths[name]]
        parts[scale] = torch.cat([parts[scale], part], 1) if scale in parts else part
        first += widths[name]
    parts = {
        scale: part.contiguous(memory_format=torch.channels_last) for scale, part in parts.items()
    }

    def run() -> dict[str, np.ndarray]:
        with torch.inference_mode():
            maps = net.maps(net.photo)
            size = tuple(side // 4 for side in net.photo.shape[2:])
            hidden = bias[None, :, None, None]
            for scale, part in parts.items():
                level = torch.cat(
                    [maps[name] for name in net.scales if net.scales[name] == scale], 1
                )
                if scale < 4:  # sampled first, as it is finer than the output
                    level = net.resized(level, size)
                projected = torch.nn.functional.conv2d(level, part)
                hidden = hidden + net.resized(projected, size)
            return net.predictions(hidden.relu_())

    return f"PyTorch {torch.__version__.split('+')[0]}", run


def torch_training(folder: Path, threads: int) -> tuple[str, Pass]:
    """Return a training step that samples hypercolumns with `grid_sample` and learns all layers."""
    net = _TorchNet(folder, threads)
    torch = net.torch
    functional = torch.nn.functional
    learnt = [value.requires_grad_() for pair in net.weights.values() for value in pair]
    locations = torch.from_numpy(np.load(folder / "locations.npy"))  # (N, P, 2), (y, x) in pixels
    targets = {
        output: torch.from_numpy(np.load(folder / f"target_{output}.npy"))
        for output in net.heads.values()
    }
    side = torch.tensor(net.photo.shape[2:], dtype=torch.float32)
    # grid_sample takes (x, y) in [-1, 1], which are the borders of the first and the last pixel.
    grid = (2 * (locations + 0.5) / side - 1).flip(-1)[:, None]

    def run() -> dict[str, np.ndarray]:
        for value in learnt:
            value.grad = None
        columns = [
            functional.grid_sample(
                level, grid, mode="bilinear", padding_mode="border", align_corners=False
            )[:, :, 0]
            for level in net.maps(net.photo).values()
        ]
        column = torch.cat(columns, 1).transpose(1, 2).flatten(0, 1)  # (N P, C)
        kernel, bias = net.weights["h_fc1"]
        hidden = functional.linear(column, kernel.flatten(1), bias).relu()
        loss = torch.zeros(())
        for name, output in net.heads.items():
            kernel, bias = net.weights[name]
            logits = functional.linear(hidden, kernel.flatten(1), bias)
            loss = loss + functional.cross_entropy(logits, targets[output])
        loss.backward()
        return {"loss": loss.detach().numpy()}

    return f"PyTorch {torch.__version__.split('+')[0]}", run


KINDS = {
    function.__name__: function
    for function in (
        caffe,
        caffe_training,
        onnxruntime,
        opencv,
        torch_concatenated,
        torch_projected,
        torch_training,
    )
}


def main() -> None:
    """Answer each line of the standard input with the seconds of one pass."""
    kind, name, threads = sys.argv[1:4]
    folder = Path(name)
    version, run = KINDS[kind](folder, int(threads))
    print(version, flush=True)
    values: dict[str, np.ndarray] = {}
    for _ in sys.stdin:
        start = time.perf_counter()
        values = run()
        print(time.perf_counter() - start, flush=True)
    np.savez(folder / f"{kind}.npz", allow_pickle=False, **values)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    print(1024 * int(match.group(1)) if match else 0, flush=True)


if __name__ == "__main__":
    main()
