"""The network that predicts colour: a deploy net run by Caffe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.runtime.caffe_runtime import import_caffe, make_net
from autocolor.runtime.deploy_nets import read_prototxt
from autocolor.runtime.fusion import fuse_heads, fuse_relus
from autocolor.runtime.model_folder import ModelError, read_model_weights
from autocolor.runtime.probe import check_net

# A Python layer runs any module that can be imported.
_TOUCHES_FILES = ("Data", "HDF5Data", "HDF5Output", "ImageData", "Python", "WindowData")


class CaffeNet:
    """A deploy net of Caffe: blob ``data`` (1, 1, H, W) in, histograms or colours out.

    Caffe ends the process on files it cannot use, so they are checked first. The net starts without
    random weights, with its heads in the hypercolumn's layer, and on the CPU, where Caffe has
    oneDNN's engine, with its ReLUs in the convolutions before them; none of it changes a result
    by more than rounding. Arguments and errors are those of
    :func:`autocolor.runtime.backends.load_net`; `check` tells why Caffe cannot use a prototxt, or None.
    """

    def __init__(
        self,
        deploy: Path,
        weights: Path,
        device: str = "cpu",
        *,
        outputs: Sequence[str] = ("hue", "chroma"),
        check: Callable[[str], str | None] = check_net,
    ) -> None:
        caffe = import_caffe(device)
        net = _read_deploy(caffe, deploy)
        _drop_fillers(net)
        if device == "cpu":
            fuse_relus(net)
        fuse_heads(net, keep=outputs)
        text = str(net)
        if problem := check(text):
            raise ModelError(f"{deploy}: Caffe refuses it: {problem}")
        self._net = make_net(text, device)
        self._device = device
        self._outputs = tuple(outputs)
        for blob in ("data", *self._outputs):
            if blob not in self._net.blobs:
                raise ModelError(f"{deploy}: expected a blob named {blob!r}, got none")
        load_weights(self._net, weights)

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

    net = read_prototxt(path, caffe_pb2.NetParameter(), ModelError)
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
    stored = read_model_weights(path)
    for name, blobs in net.params.items():
        expected = [list(blob.shape) for blob in blobs]
        found = [list(values.shape) for values in stored.get(name, ())]
        if found != expected:
            raise ModelError(
                f"{path}: layer {name!r}: expected {expected}, got {found or 'no such layer'}"
            )
    for name, blobs in net.params.items():
        for blob, values in zip(blobs, stored[name], strict=True):
            # As bytes: the floats in the file are not aligned.
            blob.data.reshape(-1).view(np.uint8)[:] = values.reshape(-1).view(np.uint8)
