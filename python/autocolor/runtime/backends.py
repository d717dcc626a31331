"""What runs a network: Caffe, or onnxruntime where Caffe is not built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autocolor.core.errors import InputError
from autocolor.runtime.device import HistogramNet

BACKENDS = ("auto", "caffe", "onnx")


def choose_backend(backend: str = "auto") -> str:
    """Return ``caffe`` or ``onnx``: of ``auto`` Caffe where it is built, and else onnxruntime."""
    if backend not in BACKENDS:
        raise InputError("backend", f"expected one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend != "auto":
        return backend
    from autocolor.runtime.caffe_runtime import caffe_is_built

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
    autocolor.runtime.model_folder.ModelError
        If a file is missing, damaged, the two do not fit, or the net has a layer that
        :mod:`autocolor.runtime.onnx_graph` does not know.
    BackendError
        If the backend is not installed or built, or cannot use the device.
    """
    if choose_backend(backend) == "caffe":
        from autocolor.runtime.caffe_net import CaffeNet

        return CaffeNet(deploy, weights, device, outputs=outputs)
    from autocolor.runtime.onnx_net import OnnxNet

    return OnnxNet.load(deploy, weights, device, outputs=outputs)
