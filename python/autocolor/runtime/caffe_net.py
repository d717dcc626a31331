"""The network that predicts colour: a deploy net run by Caffe."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.runtime.caffe_runtime import import_caffe
from autocolor.runtime.caffemodel import Blob, NotMappableError, map_weights
from autocolor.runtime.fusion import fuse_heads, fuse_relus
from autocolor.runtime.model_folder import ModelError
from autocolor.runtime.probe import Refusal, refusal

# A Python layer runs any module that can be imported.
_TOUCHES_FILES = ("Data", "HDF5Data", "HDF5Output", "ImageData", "Python", "WindowData")


class CaffeNet:
    """A deploy net of Caffe: blob ``data`` (1, 1, H, W) in, histograms or colours out.

    Caffe ends the process on files it cannot use, so they are checked first. The net starts without
    random weights, with its heads in the hypercolumn's layer, and on the CPU, where Caffe has
    oneDNN's engine, with its ReLUs in the convolutions before them; none of it changes a result
    by more than rounding.

    Parameters
    ----------
    deploy, weights : Path
        Prototxt and caffemodel.
    device : {"cpu", "gpu"}
        Where Caffe runs.
    outputs : sequence of str
        Blobs to return.
    probe : callable
        Tells, of a prototxt and the weights that Caffe is to read, why Caffe cannot use them.

    Raises
    ------
    ModelError
        If a file is missing, damaged, or the two do not fit.
    autocolor.runtime.caffe_runtime.CaffeError
        If pycaffe is not there, or cannot use the device.
    """

    def __init__(
        self,
        deploy: Path,
        weights: Path,
        device: str = "cpu",
        *,
        outputs: Sequence[str] = ("hue", "chroma"),
        probe: Callable[[str, Path | None], Refusal | None] = refusal,
    ) -> None:
        for path in (deploy, weights):
            if not path.is_file():
                raise ModelError(f"{path}: no such file")
        caffe = import_caffe(device)
        net = _read_deploy(caffe, deploy)
        _drop_fillers(net)
        if device == "cpu":
            fuse_relus(net)
        fuse_heads(net, keep=outputs)
        text = str(net)
        mapped = _map_weights(weights)
        # What is mapped is copied, and not read by Caffe.
        refused = probe(text, weights if mapped is None else None)
        if refused and not refused.of_weights:
            raise ModelError(f"{deploy}: Caffe refuses it: {refused.reason}")
        with tempfile.NamedTemporaryFile(suffix=".prototxt") as prepared:
            Path(prepared.name).write_text(text, encoding="utf-8")
            self._net = caffe.Net(prepared.name, caffe.TEST)
        self._device = device
        self._outputs = tuple(outputs)
        for blob in ("data", *self._outputs):
            if blob not in self._net.blobs:
                raise ModelError(f"{deploy}: expected a blob named {blob!r}, received none")
        _check_weights(self._net, weights, mapped)
        if refused:
            raise ModelError(f"{weights}: Caffe refuses it: {refused.reason}")
        _copy_weights(self._net, weights, mapped)

    def __call__(self, lightness: npt.NDArray[np.float32]) -> tuple[FloatArray, ...]:
        """Run the net; see :class:`autocolor.runtime.device.HistogramNet`."""
        # Caffe's mode is one for all nets, and another one may have changed it.
        import_caffe(self._device)
        data = self._net.blobs["data"]
        data.reshape(1, 1, *lightness.shape)
        data.data[0, 0] = lightness
        self._net.forward()
        return tuple(self._net.blobs[name].data[0].copy() for name in self._outputs)


def _read_deploy(caffe: Any, path: Path) -> Any:
    """Return the ``NetParameter`` of a deploy net that may be given to Caffe, as far as one can see."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format

    try:
        text = path.read_text(encoding="utf-8")
        net = text_format.Parse(text, caffe_pb2.NetParameter())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a prototxt of this Caffe: {error}") from error
    known = set(caffe.layer_type_list())
    for layer in net.layer:
        if layer.type not in known:
            raise ModelError(
                f"{path}: layer {layer.name!r}: this Caffe has no layer of type {layer.type!r}"
            )
        if layer.type in _TOUCHES_FILES:
            raise ModelError(
                f"{path}: layer {layer.name!r}: a layer of type {layer.type!r} has no place in a "
                "deploy net: it reads or writes files"
            )
    return net


def _drop_fillers(net: Any) -> None:
    """Let the weights start at 0: to draw random ones for all takes longer than to load them."""
    for layer in net.layer:
        for field, parameter in layer.ListFields():
            if field.name.endswith("_param") and field.message_type and not field.is_repeated:
                for filler in ("weight_filler", "bias_filler"):
                    if filler in parameter.DESCRIPTOR.fields_by_name:
                        parameter.ClearField(filler)


def load_weights(net: Any, path: Path) -> None:
    """Load weights, refusing those that lack a layer of the net or have it in another shape."""
    mapped = _map_weights(path)
    _check_weights(net, path, mapped)
    _copy_weights(net, path, mapped)


def _map_weights(path: Path) -> dict[str, list[Blob]] | None:
    """Return the weights where they lie in the file; None where it has to be parsed."""
    try:
        return map_weights(path)
    except NotMappableError:
        return None


def _check_weights(net: Any, path: Path, mapped: dict[str, list[Blob]] | None) -> None:
    if mapped is None:
        shapes = _parsed_shapes(path)
    else:
        shapes = {name: [list(shape) for shape, _ in blobs] for name, blobs in mapped.items()}
    for name, blobs in net.params.items():
        expected = [list(blob.shape) for blob in blobs]
        if shapes.get(name) != expected:
            received = shapes.get(name, "no such layer")
            raise ModelError(f"{path}: layer {name!r}: expected {expected}, received {received}")


def _copy_weights(net: Any, path: Path, mapped: dict[str, list[Blob]] | None) -> None:
    if mapped is None:
        net.copy_from(str(path))
        return
    for name, blobs in net.params.items():
        for blob, (_, values) in zip(blobs, mapped[name], strict=True):
            # As bytes: the floats in the file are not aligned.
            blob.data.reshape(-1).view(np.uint8)[:] = values


def _parsed_shapes(path: Path) -> dict[str, list[list[int]]]:
    from caffe.proto import caffe_pb2
    from google.protobuf.message import DecodeError

    stored = caffe_pb2.NetParameter()
    try:
        stored.ParseFromString(path.read_bytes())
        layers = {layer.name: layer for layer in stored.layer}
    except (DecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not a caffemodel, or cut short") from error
    if len(layers) != len(stored.layer) or stored.layers:
        raise ModelError(f"{path}: expected each layer once, in the format of today's Caffe")
    shapes = {}
    for name, layer in layers.items():
        shapes[name] = [list(blob.shape.dim) for blob in layer.blobs]
        for blob in layer.blobs:
            values = len(blob.double_data) or len(blob.data)
            if values != math.prod(blob.shape.dim):
                raise ModelError(
                    f"{path}: layer {name!r}: {values} values for the shape {list(blob.shape.dim)}"
                )
    return shapes
