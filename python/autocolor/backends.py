"""What runs a network: Caffe, or onnxruntime where Caffe is not built."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from autocolor.checks import FloatArray

BACKENDS = ("auto", "caffe", "onnx")

_DEVICE = re.compile(r"cpu|gpu(?::(\d+))?")


class BackendError(RuntimeError):
    """What should run the network is not there, or cannot use the device asked for."""


class HistogramNet(Protocol):
    """Anything that predicts colour from lightness."""

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Return the outputs of the variant (see :attr:`autocolor.model_folder.Manifest.outputs`).

        Parameters
        ----------
        lightness : (H, W) float32 array in [0, 1]
            Both sides are multiples of 32.

        Returns
        -------
        tuple of (C, H / stride, W / stride) float arrays
            Histograms sum to 1 over C. Cell (j, i) belongs to pixel
            (j * stride + (stride - 1)/2, i * stride + (stride - 1)/2).
        """


def gpu_number(device: str) -> int | None:
    """Return the number of the GPU that ``gpu`` or ``gpu:1`` means, None for ``cpu``.

    Raises
    ------
    ValueError
        On any other device.
    """
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise ValueError(f"device: expected 'cpu', 'gpu' or 'gpu:NUMBER', received {device!r}")
    return None if device == "cpu" else int(match.group(1) or 0)


def choose_backend(backend: str = "auto") -> str:
    """Return ``caffe`` or ``onnx``: of ``auto`` Caffe where it is built, and else onnxruntime.

    Raises
    ------
    ValueError
        If `backend` is none of :data:`BACKENDS`.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(BACKENDS)}, received {backend!r}")
    if backend != "auto":
        return backend
    from autocolor.caffe_runtime import caffe_is_built

    return "caffe" if caffe_is_built() else "onnx"


def load_net(
    deploy: Path,
    weights: Path,
    device: str = "cpu",
    *,
    outputs: Sequence[str] = ("hue", "chroma"),
    backend: str = "auto",
) -> HistogramNet:
    """Load a deploy net with its weights.

    Parameters
    ----------
    deploy, weights : Path
        Prototxt and caffemodel.
    device : str
        ``cpu``, ``gpu``, or ``gpu:1`` for the second GPU.
    outputs : sequence of str
        Blobs to return.
    backend : {"auto", "caffe", "onnx"}
        See :func:`choose_backend`.

    Raises
    ------
    autocolor.model_folder.ModelError
        If a file is missing, damaged, or the two do not fit.
    BackendError
        If the backend is not installed or built, or cannot use the device.
    ValueError
        On an unknown backend or device.
    """
    if choose_backend(backend) == "caffe":
        from autocolor.caffe_net import CaffeNet

        return CaffeNet(deploy, weights, device, outputs=outputs)
    from autocolor.onnx_net import OnnxNet

    return OnnxNet.load(deploy, weights, device, outputs=outputs)
