"""Read, convert and write weights as Caffe's binary protobuf.

Needs pycaffe, for the ``NetParameter`` message.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2

from autocolor.files import atomic_path

FloatArray = npt.NDArray[np.float32]
Weights = dict[str, tuple[FloatArray, ...]]
"""Layer name to its blobs: weight (O, I, kh, kw) or (O, I), then bias (O)."""

# Mean of the ImageNet images that VGG-16 was trained on, subtracted from pixels in 0…255.
VGG16_MEAN_BGR = (103.939, 116.779, 123.68)

_ONNX_NAME = re.compile(r".*block(\d)_conv(\d)_1/(?:.*/)?(ReadVariableOp|Squeeze):0$")


class WeightsError(RuntimeError):
    """Weights are missing, misshapen or unreadable."""


def read_vgg16_onnx(content: bytes) -> Weights:
    """Convolutional layers of VGG-16 from an ONNX model exported from Keras.

    Parameters
    ----------
    content : bytes
        An ONNX model with initializers ``…block{b}_conv{c}_1/convolution/ReadVariableOp:0``
        (O, I, 3, 3) and ``…/Squeeze:0`` (O), for BGR input less `VGG16_MEAN_BGR`.

    Returns
    -------
    dict
        ``conv1_1`` … ``conv5_3``, each weight and bias.

    Raises
    ------
    WeightsError
        If the content is no ONNX model or a layer lacks a blob.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise WeightsError(f"expected an ONNX model: {error}") from None
    found: dict[str, dict[int, FloatArray]] = {}
    for initializer in model.graph.initializer:
        match = _ONNX_NAME.match(initializer.name)
        if match:
            block, index, kind = match.groups()
            array = numpy_helper.to_array(initializer).astype(np.float32)
            found.setdefault(f"conv{block}_{index}", {})[kind == "Squeeze"] = array
    incomplete = [name for name, blobs in found.items() if set(blobs) != {False, True}]
    if incomplete or not found:
        raise WeightsError(f"expected weight and bias of VGG-16's layers, lacking {incomplete}")
    return {
        name: (blobs[False], blobs[True].reshape(-1)) for name, blobs in sorted(found.items())
    }


def to_grey_input(weight: FloatArray, bias: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn a first convolution on mean-subtracted BGR in 0…255 into one on grey in [0, 1].

    On an image x whose channels are equal, sum_c W_c * (255 x - mean_c) + b is a convolution of x
    with 255 sum_c W_c, and a bias that has taken in the mean: the average over colour channels and
    the rescaling of section 3.5. The results are equal but at the border, where the padding is the
    mean colour for the original net and black for this one.

    Parameters
    ----------
    weight : (O, 3, kh, kw) float32
    bias : (O,) float32

    Returns
    -------
    weight : (O, 1, kh, kw) float32
    bias : (O,) float32

    Raises
    ------
    WeightsError
        If `weight` has not three input channels.
    """
    if weight.ndim != 4 or weight.shape[1] != 3:
        raise WeightsError(f"conv1_1: expected a weight (O, 3, kh, kw), got {weight.shape}")
    exact = weight.astype(np.float64)
    grey = 255 * exact.sum(axis=1, keepdims=True)
    shift = np.einsum("oihw,i->o", exact, np.asarray(VGG16_MEAN_BGR))
    return grey.astype(np.float32), (bias - shift).astype(np.float32)


def check_shapes(weights: Mapping[str, tuple[FloatArray, ...]], net: caffe_pb2.NetParameter) -> None:
    """Raise `WeightsError`, listing every missing or misshapen convolution of `net`."""
    problems = []
    channels = {"data": 1}
    for layer in net.layer:
        if layer.type != "Convolution":
            if layer.bottom and layer.top:
                channels[layer.top[0]] = channels[layer.bottom[0]]
            continue
        parameter = layer.convolution_param
        kernel = parameter.kernel_size[0]
        shape = (parameter.num_output, channels[layer.bottom[0]], kernel, kernel)
        channels[layer.top[0]] = parameter.num_output
        if layer.name not in weights:
            problems.append(f"{layer.name} is missing")
        elif weights[layer.name][0].shape != shape:
            problems.append(f"{layer.name}: expected {shape}, got {weights[layer.name][0].shape}")
    if problems:
        raise WeightsError("; ".join(problems))


def write_caffemodel(path: Path, weights: Mapping[str, tuple[FloatArray, ...]], name: str) -> None:
    """Write weights as a binary ``NetParameter``, atomically; 4-D weights become Convolutions."""
    net = caffe_pb2.NetParameter(name=name)
    for layer_name, blobs in weights.items():
        kind = "Convolution" if blobs[0].ndim == 4 else "InnerProduct"
        layer = net.layer.add(name=layer_name, type=kind)
        for array in blobs:
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.astype(np.float32).ravel())
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        partial.write_bytes(net.SerializeToString())


def read_caffemodel(path: Path) -> Weights:
    """Read every layer with blobs from a binary ``NetParameter``.

    Raises
    ------
    WeightsError
        If the file is none, or holds no weights.
    """
    from google.protobuf.message import DecodeError

    net = caffe_pb2.NetParameter()
    try:
        net.ParseFromString(path.read_bytes())
    except DecodeError:
        raise WeightsError(f"{path}: expected a binary Caffe model") from None
    weights: Weights = {}
    for layer in net.layer:
        blobs = []
        for blob in layer.blobs:
            shape = tuple(blob.shape.dim) or (blob.num, blob.channels, blob.height, blob.width)
            data = np.asarray(blob.data, dtype=np.float32)
            if data.size != np.prod(shape):
                raise WeightsError(
                    f"{path}: {layer.name}: {data.size} values for the shape {shape}"
                )
            blobs.append(data.reshape(shape))
        if blobs:
            weights[layer.name] = tuple(blobs)
    if not weights:
        raise WeightsError(f"{path}: expected a Caffe model with weights, found none")
    return weights
