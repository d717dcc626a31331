"""The network that predicts colour: a deploy net run by Caffe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from autocolor.caffe_runtime import import_caffe
from autocolor.checks import FloatArray
from autocolor.model_folder import ModelError


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


class CaffeNet:
    """A deploy net of Caffe: blob ``data`` (1, 1, H, W) in, histograms or colours out.

    Caffe ends the process on files it cannot use, so they are checked first.

    Parameters
    ----------
    deploy, weights : Path
        Prototxt and caffemodel.
    device : {"cpu", "gpu"}
        Where Caffe runs.
    outputs : sequence of str
        Blobs to return.

    Raises
    ------
    ModelError
        If a file is missing, damaged, or the two do not fit.
    autocolor.caffe_runtime.CaffeError
        If pycaffe is not there, or cannot use the device.
    """

    def __init__(
        self,
        deploy: Path,
        weights: Path,
        device: str = "cpu",
        *,
        outputs: Sequence[str] = ("hue", "chroma"),
    ) -> None:
        for path in (deploy, weights):
            if not path.is_file():
                raise ModelError(f"{path}: no such file")
        caffe = import_caffe(device)
        _check_deploy(caffe, deploy)
        self._net = caffe.Net(str(deploy), caffe.TEST)
        self._device = device
        self._outputs = tuple(outputs)
        for blob in ("data", *self._outputs):
            if blob not in self._net.blobs:
                raise ModelError(f"{deploy}: expected a blob named {blob!r}, received none")
        check_weights(self._net, weights)
        self._net.copy_from(str(weights))

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Run the net; see :class:`HistogramNet`."""
        # Caffe's mode is one for all nets, and another one may have changed it.
        import_caffe(self._device)
        data = self._net.blobs["data"]
        data.reshape(1, 1, *lightness.shape)
        data.data[0, 0] = lightness
        self._net.forward()
        return tuple(self._net.blobs[name].data[0].copy() for name in self._outputs)


def _check_deploy(caffe: Any, path: Path) -> None:
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    try:
        net = text_format.Parse(path.read_text(encoding="utf-8"), caffe_pb2.NetParameter())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a prototxt of this Caffe: {error}") from error
    known = set(caffe.layer_type_list())
    for layer in net.layer:
        if layer.type not in known:
            raise ModelError(
                f"{path}: layer {layer.name!r}: this Caffe has no layer of type {layer.type!r}"
            )


def check_weights(net: Any, path: Path) -> None:
    """Refuse weights that lack a layer of the net or have it in another shape."""
    from caffe.proto import caffe_pb2
    from google.protobuf.message import DecodeError

    stored = caffe_pb2.NetParameter()
    try:
        stored.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(f"{path}: not a caffemodel, or cut short") from error
    shapes = {layer.name: [list(blob.shape.dim) for blob in layer.blobs] for layer in stored.layer}
    for name, blobs in net.params.items():
        expected = [list(blob.shape) for blob in blobs]
        if shapes.get(name) != expected:
            received = shapes.get(name, "no such layer")
            raise ModelError(f"{path}: layer {name!r}: expected {expected}, received {received}")
