"""Re-balance a network to unit second moments (section A.1, Eq. 7 and 8).

Needs pycaffe.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from autocolor.caffe_runtime import import_caffe
from autocolor.surgery import FloatArray, Weights, WeightsError, write_caffemodel

# Layers f with f(m x) = m f(x) for m > 0, through which Eq. 7 may pass a factor on.
_HOMOGENEOUS = {"Input", "ReLU", "Pooling", "Dropout", "Split"}


def chain_of_convolutions(net: caffe_pb2.NetParameter) -> list[str]:
    """Names of the convolutions of a chain, in order.

    Raises
    ------
    WeightsError
        If the net has a layer that is not homogeneous, or is no chain.
    """
    names = []
    last: str | None = None
    for layer in net.layer:
        if layer.type != "Convolution" and layer.type not in _HOMOGENEOUS:
            raise WeightsError(
                f"layer {layer.name}: expected a homogeneous layer, got type {layer.type}"
            )
        if layer.bottom and list(layer.bottom) != [last]:
            raise WeightsError(f"layer {layer.name}: expected a chain after {last}")
        last = layer.top[0]
        if layer.type == "Convolution":
            names.append(layer.name)
    return names


def second_moments(
    net: caffe_pb2.NetParameter,
    weights: Weights,
    images: Iterable[npt.NDArray[np.float32]],
) -> dict[str, float]:
    """E[X^2] of every convolution's activation, after its ReLU, over all images, cells and channels.

    Parameters
    ----------
    net : NetParameter
        With the input ``data`` (1, 1, H, W).
    weights : dict
    images : iterable of (H, W) float32
        Lightness in [0, 1].

    Returns
    -------
    dict
        Layer name to second moment.
    """
    names = chain_of_convolutions(net)
    sums = dict.fromkeys(names, 0.0)
    counts = dict.fromkeys(names, 0)
    with tempfile.TemporaryDirectory() as folder:
        prototxt, caffemodel = Path(folder, "net.prototxt"), Path(folder, "net.caffemodel")
        prototxt.write_text(text_format.MessageToString(net))
        write_caffemodel(caffemodel, weights, net.name)
        caffe = import_caffe()
        runner = caffe.Net(str(prototxt), str(caffemodel), caffe.TEST)
    for image in images:
        runner.blobs["data"].reshape(1, 1, *image.shape)
        runner.blobs["data"].data[0, 0] = image
        runner.forward()
        for name in names:
            activation = runner.blobs[name].data.ravel()
            sums[name] += float(np.dot(activation, activation))
            counts[name] += activation.size
    if not all(counts.values()):
        raise WeightsError("expected at least one image to measure on")
    return {name: sums[name] / counts[name] for name in names}


def rebalance(
    net: caffe_pb2.NetParameter, weights: Weights, moments: Mapping[str, float]
) -> Weights:
    """Scale every layer by m = 1/sqrt(E[X^2]) and divide the next layer's weights by it (Eq. 7).

    One measurement of the original network serves all layers, because Eq. 7 leaves every other
    layer's activations as they are.

    Raises
    ------
    WeightsError
        If a layer is missing or its activation is always zero.
    """
    balanced: Weights = {}
    previous = 1.0
    for name in chain_of_convolutions(net):
        if name not in weights or len(weights[name]) != 2:
            raise WeightsError(f"layer {name}: expected a weight and a bias")
        if not moments[name] > 0:
            raise WeightsError(f"layer {name}: second moment {moments[name]}, expected above 0")
        factor = moments[name] ** -0.5
        weight, bias = weights[name]
        balanced[name] = (_scaled(weight, factor / previous), _scaled(bias, factor))
        previous = factor
    return balanced


def _scaled(array: FloatArray, factor: float) -> FloatArray:
    return (array * np.float64(factor)).astype(np.float32)
