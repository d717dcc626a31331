"""A deploy net run by onnxruntime, without Caffe."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.files import one_line
from autocolor.runtime.device import BackendError, gpu_number
from autocolor.runtime.model_folder import ModelError


class OnnxNet:
    """An ONNX model of a deploy net: grey image in, histograms or colours out.

    It has as many threads as ``OMP_NUM_THREADS`` says, which Caffe obeys too, or one a core.

    Parameters
    ----------
    model : bytes
        What :func:`autocolor.runtime.onnx_graph.load_onnx_model` returns, serialized: an ONNX file's content.
    device : str
        ``cpu``; ``gpu``, or ``gpu:1`` for the second GPU, need the package onnxruntime-gpu.

    Raises
    ------
    autocolor.runtime.device.BackendError
        If onnxruntime is not installed, or cannot use the device.
    ModelError
        If onnxruntime cannot use the model; a call raises it where it cannot run it.
    """

    def __init__(self, model: bytes, device: str = "cpu") -> None:
        gpu = gpu_number(device)
        runtime = _import_onnxruntime()
        options = runtime.SessionOptions()
        # Photos differ in size, and a pattern of memory is kept for every size.
        options.enable_mem_pattern = False
        # As Caffe's threads here, those that wait sleep: see autocolor.runtime.caffe_runtime.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdecimal():
            options.intra_op_num_threads = int(threads)
        providers: list[Any] = ["CPUExecutionProvider"]
        if gpu is not None:
            if "CUDAExecutionProvider" not in runtime.get_available_providers():
                raise BackendError(
                    f"device {device!r}: this onnxruntime is built for the CPU only; "
                    "the package onnxruntime-gpu is for GPUs"
                )
            providers.insert(0, ("CUDAExecutionProvider", {"device_id": gpu}))
        try:
            self._session = runtime.InferenceSession(model, options, providers=providers)
        except Exception as error:  # of a dozen classes, without a common base
            raise ModelError(f"onnxruntime refuses the network: {one_line(error)}") from error
        if gpu is not None and "CUDAExecutionProvider" not in self._session.get_providers():
            raise BackendError(f"device {device!r}: onnxruntime finds no GPU {gpu} that it can use")
        self._input = self._session.get_inputs()[0].name

    @classmethod
    def load(
        cls,
        deploy: Path,
        weights: Path,
        device: str = "cpu",
        *,
        outputs: Sequence[str] = ("hue", "chroma"),
    ) -> OnnxNet:
        """Make the net of :func:`autocolor.runtime.backends.load_net`."""
        _import_onnxruntime()
        from autocolor.runtime.onnx_graph import load_onnx_model

        return cls(load_onnx_model(deploy, weights, outputs).SerializeToString(), device)

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Run the net; see :class:`autocolor.runtime.device.HistogramNet`."""
        data = np.ascontiguousarray(lightness[None, None], np.float32)
        try:
            outputs = self._session.run(None, {self._input: data})
        except Exception as error:
            raise ModelError(f"onnxruntime cannot run the network: {one_line(error)}") from error
        return tuple(output[0] for output in outputs)


def _import_onnxruntime() -> ModuleType:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"neither Caffe nor onnxruntime can be used ({error}): `pip install onnx onnxruntime` "
            "brings the second, `bash tools/setup.sh` builds the first"
        ) from error
    del onnx
    module: ModuleType = onnxruntime
    return module
