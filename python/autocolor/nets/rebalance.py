"""Re-balance a network to unit second moments (section A.1, Eq. 7 and 8).

Works on any directed acyclic graph: every blob has a factor, by which it differs from the original
net's, and a layer with weights divides its weights by the factor of what it reads. Needs pycaffe.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError
from autocolor.runtime.caffe_runtime import make_net
from autocolor.runtime.caffemodel import FloatArray, Weights, WeightsError, write_caffemodel
from autocolor.runtime.fusion import with_layers

Factor = npt.NDArray[np.float64]
"""What a blob is multiplied by: one number (), or one a channel (C)."""

# Linear layers, whose weights take a factor in or out.
_LINEAR = ("Convolution", "InnerProduct")

# Layers f with f(m x) = m f(x) for m > 0, also channel by channel.
_HOMOGENEOUS = ("ReLU", "Pooling", "Dropout", "Split", "Flatten", "Silence")

# Layers that read several levels; what follows is the head.
_HYPERCOLUMN = ("HypercolumnInnerProduct", "SparseHypercolumn")

_ONE: Factor = np.ones(())


@dataclass(frozen=True)
class SecondMoment:
    """An estimate of E[X^2]."""

    value: float  #: Mean over all images, cells and channels
    standard_error: float  #: Of `value`, from the differences between images; NaN for one image


@dataclass(frozen=True)
class ImageMoments:
    """Sums of X^2 of every layer to balance, image by image."""

    layers: tuple[str, ...]  #: L of them
    sums: npt.NDArray[np.float64]  #: (N, L) float64 array. Over the cells and channels of an image.
    counts: npt.NDArray[np.int64]  #: (N, L) int64 array. How many there are.

    def second_moments(self) -> dict[str, SecondMoment]:
        """E[X^2] by layer, over all images, cells and channels."""
        total, count, images = self.sums, self.counts, len(self.sums)
        means = total.sum(axis=0) / count.sum(axis=0)
        # Of a ratio of sums over images, which differ in size.
        deviations = ((total - means * count) ** 2).sum(axis=0)
        errors = (
            np.sqrt(deviations * images / (images - 1)) / count.sum(axis=0)
            if images > 1
            else np.full(len(means), np.nan)
        )
        return {
            name: SecondMoment(float(mean), float(error))
            for name, mean, error in zip(self.layers, means, errors, strict=True)
        }


def balanced_layers(net: caffe_pb2.NetParameter, keep_output: bool = False) -> dict[str, str]:
    """Name the layers to balance: convolutions and inner products below the hypercolumn.

    With `keep_output` those are left out after which there is nothing to compensate in, which make the
    net's output. Returns the name of each layer and the blob of its activation: the layer's top, after
    in-place layers, or the top of the ReLU that alone reads it.
    """
    head = _head(net)
    # Blobs that a layer with weights reads, directly or through others.
    compensated: set[str] = set()
    names: list[str] = []
    for layer in reversed(net.layer):
        reaches = any(top in compensated for top in layer.top)
        if layer.type in _LINEAR and layer.name not in head and (reaches or not keep_output):
            names.append(layer.name)
        if reaches or layer.type in _LINEAR + _HYPERCOLUMN:
            compensated.update(layer.bottom)
    return {
        layer.name: _activation(net, layer.top[0]) for layer in net.layer if layer.name in names
    }


def _head(net: caffe_pb2.NetParameter) -> set[str]:
    """Names of the hypercolumn layers and of all layers that depend on them."""
    names: set[str] = set()
    blobs: set[str] = set()
    for layer in net.layer:
        if layer.type in _HYPERCOLUMN or blobs.intersection(layer.bottom):
            names.add(layer.name)
            blobs.update(layer.top)
    return names


def _activation(net: caffe_pb2.NetParameter, blob: str) -> str:
    readers = [layer for layer in net.layer if blob in layer.bottom and blob not in layer.top]
    if len(readers) == 1 and readers[0].type == "ReLU":
        return str(readers[0].top[0])
    return blob


def measure(
    net: caffe_pb2.NetParameter,
    weights: Weights,
    images: Iterable[npt.NDArray[np.float32]],
    keep_output: bool = False,
) -> ImageMoments:
    """Measure X^2 of the activation of every layer to balance.

    Parameters
    ----------
    net : NetParameter
        With the Input ``data`` (1, 1, H, W).
    weights : dict
        As Caffe wants them for `net`: see `autocolor.nets.surgery.transplant`.
    images : iterable of (H, W) float32
        Lightness in [0, 1].
    keep_output : bool
        As in `balanced_layers`.

    Raises
    ------
    WeightsError
        If the net has no such input or nothing to balance, a layer has no weights, or there is no
        image.
    """
    blobs = balanced_layers(net, keep_output)
    if not blobs:
        raise WeightsError("expected a net with layers to balance, got none")
    part = _part_that_makes(net, set(blobs.values()))
    if not any(layer.type == "Input" and "data" in layer.top for layer in part.layer):
        raise WeightsError("expected a net with the Input data, such as deploy.prototxt")
    for layer in part.layer:
        if layer.type in _LINEAR and layer.name not in weights:
            raise WeightsError(f"layer {layer.name}: has no weights")
    names = {layer.name for layer in part.layer}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.caffemodel")
        write_caffemodel(path, {n: b for n, b in weights.items() if n in names}, net.name)
        runner = make_net(str(part), weights=path)
    sums: list[list[float]] = []
    counts: list[list[int]] = []
    for image in images:
        runner.blobs["data"].reshape(1, 1, *image.shape)
        runner.blobs["data"].data[0, 0] = image
        runner.forward()
        activations = [runner.blobs[blob].data.ravel() for blob in blobs.values()]
        sums.append([float(np.dot(activation, activation)) for activation in activations])
        counts.append([activation.size for activation in activations])
    if not sums:
        raise WeightsError("expected at least one image to measure on")
    return ImageMoments(tuple(blobs), np.array(sums), np.array(counts))


def cross_validate(
    net: caffe_pb2.NetParameter,
    weights: Weights,
    images: Callable[[npt.NDArray[np.intp]], Iterable[npt.NDArray[np.float32]]],
    estimated: ImageMoments,
    folds: int,
    generator: np.random.Generator,
    keep_output: bool = False,
) -> ImageMoments:
    """Measure re-balanced nets on images that were not used to estimate their factors.

    The images are dealt into folds; the net that is balanced on all folds but one runs on that one.

    Parameters
    ----------
    net, weights, keep_output
        As in :func:`rebalance`.
    images : callable
        Indices of images to the (H, W) images.
    estimated : ImageMoments
        Of the original net on all images, in the same order, which the result has too.
    folds : int
        At least 2 and at most as many as there are images.
    generator : numpy.random.Generator
    """
    count = len(estimated.sums)
    if not 2 <= folds <= count:
        raise InputError("folds", f"expected 2 to {count}, the number of images, got {folds}")
    sums, counts = np.empty_like(estimated.sums), np.empty_like(estimated.counts)
    for fold in np.array_split(generator.permutation(count), folds):
        others = np.setdiff1d(np.arange(count), fold)
        known = ImageMoments(estimated.layers, estimated.sums[others], estimated.counts[others])
        values = {name: moment.value for name, moment in known.second_moments().items()}
        balanced = rebalance(net, weights, values, keep_output)
        found = measure(net, balanced, images(fold), keep_output)
        sums[fold], counts[fold] = found.sums, found.counts
    return ImageMoments(estimated.layers, sums, counts)


def _part_that_makes(net: caffe_pb2.NetParameter, wanted: set[str]) -> caffe_pb2.NetParameter:
    """Copy of the net without the layers on which the `wanted` blobs do not depend."""
    needed = set(wanted)
    kept = []
    for layer in reversed(net.layer):
        if needed.intersection(layer.top):
            needed.update(layer.bottom)
            kept.append(layer)
    part: caffe_pb2.NetParameter = with_layers(net, reversed(kept))
    return part


def rebalance(
    net: caffe_pb2.NetParameter,
    weights: Weights,
    moments: Mapping[str, float],
    keep_output: bool = False,
) -> Weights:
    """Scale layers by m = 1/sqrt(E[X^2]) and divide the weights of what reads them by m (Eq. 7).

    One measurement of the original network serves all layers, because Eq. 7 leaves every other
    layer's activations as they are.

    Parameters
    ----------
    net : NetParameter
        A directed acyclic graph. Between layers with weights, only layers that pass a factor on:
        ReLU, Pooling, Dropout, Split, Flatten, Concat of channels, and sums and maxima (Eltwise) of
        equally scaled blobs.
    weights : dict
    moments : dict
        Layer name to E[X^2], for every layer that `balanced_layers` names.
    keep_output : bool
        False: the weights of a hypercolumn's head are left out, for the scaled levels want a fresh
        head; without a head, the last layer is scaled too. True: the head's weights are
        compensated, level by level, and the last layer is not scaled, so that the net's output is
        as it was.

    Returns
    -------
    dict
        Weights of the layers below the hypercolumn or, with `keep_output`, of all.

    Raises
    ------
    WeightsError
        If a layer has no weights, an activation is always zero, or a scaled blob is read by a layer
        that is not homogeneous.
    """
    levels = balanced_layers(net, keep_output)
    head = _head(net)
    _refuse_shared_weights(net)
    factors: dict[str, Factor] = {}  # of every blob made so far
    channels = _channels(net, weights)
    balanced: Weights = dict(weights) if keep_output else {}
    for layer in net.layer:
        if layer.name in head and not keep_output:
            continue
        if unknown := [blob for blob in layer.bottom if blob not in factors]:
            raise WeightsError(f"layer {layer.name}: no layer makes its bottom {unknown[0]}")
        incoming = [factors[blob] for blob in layer.bottom]
        outgoing = _ONE
        if layer.type in (*_LINEAR, "HypercolumnInnerProduct"):
            if layer.type == "HypercolumnInnerProduct":
                read = _concatenated(layer, layer.bottom, factors, channels)
            elif len(incoming) == 1:
                read = incoming[0]
            else:
                raise WeightsError(f"layer {layer.name}: expected one bottom, got {len(incoming)}")
            if layer.name in levels:
                outgoing = np.asarray(_scale(layer.name, moments))
            if layer.name not in weights:
                raise WeightsError(f"layer {layer.name}: has no weights")
            balanced[layer.name] = _scaled(layer, weights[layer.name], read, outgoing)
        elif layer.type == "SparseHypercolumn":
            # The first bottom is the locations.
            outgoing = _concatenated(layer, layer.bottom[1:], factors, channels)
        elif layer.type == "Concat" and layer.concat_param.axis == 1:
            outgoing = _concatenated(layer, layer.bottom, factors, channels)
        elif layer.type in _HOMOGENEOUS or _adds_equals(layer, incoming):
            outgoing = incoming[0]
        elif any((factor != 1).any() for factor in incoming):
            raise WeightsError(
                f"layer {layer.name}: expected a homogeneous layer after a scaled one, got type "
                f"{layer.type}"
            )
        factors.update(dict.fromkeys(layer.top, outgoing))
    if keep_output:
        read_blobs = {blob for layer in net.layer for blob in layer.bottom if blob not in layer.top}
        for blob, factor in factors.items():
            if blob not in read_blobs and (factor != 1).any():
                raise WeightsError(f"output {blob}: would change, for other layers read it scaled")
    return balanced


def _scale(name: str, moments: Mapping[str, float]) -> float:
    moment = moments.get(name, math.nan)
    if not 0 < moment < math.inf:
        raise WeightsError(f"layer {name}: second moment {moment}, expected above 0")
    return float(moment**-0.5)


def _refuse_shared_weights(net: caffe_pb2.NetParameter) -> None:
    owners: dict[str, str] = {}
    for layer in net.layer:
        for parameter in layer.param:
            if parameter.name and owners.setdefault(parameter.name, layer.name) != layer.name:
                raise WeightsError(
                    f"layer {layer.name}: shares {parameter.name} with {owners[parameter.name]}; "
                    "expected weights of its own"
                )


def _channels(net: caffe_pb2.NetParameter, weights: Weights) -> dict[str, int]:
    """Channels of the blobs for which they follow from inputs and weights."""
    channels: dict[str, int] = {}
    for layer in net.layer:
        if layer.type == "Input":
            shapes = list(layer.input_param.shape)  # one for all tops, or one each
            for blob, shape in zip(layer.top, shapes * len(layer.top), strict=False):
                if len(shape.dim) > 1:
                    channels[blob] = shape.dim[1]
        elif layer.type == "ColorSpace":
            channels.update(zip(layer.top, (1, 2), strict=True))  # lightness and colour
        elif layer.type in _LINEAR and layer.name in weights:
            channels[layer.top[0]] = len(weights[layer.name][0])
        elif layer.type == "Flatten":
            continue
        elif layer.type in _HOMOGENEOUS and layer.bottom[0] in channels:
            channels.update(dict.fromkeys(layer.top, channels[layer.bottom[0]]))
    return channels


def _concatenated(
    layer: caffe_pb2.LayerParameter,
    blobs: Iterable[str],
    factors: Mapping[str, Factor],
    channels: Mapping[str, int],
) -> Factor:
    """Factors of the channels of several blobs, one after the other."""
    blobs = list(blobs)
    if all((factors[blob] == 1).all() for blob in blobs):
        return _ONE
    if unknown := [blob for blob in blobs if blob not in channels]:
        raise WeightsError(f"layer {layer.name}: unknown channels of {', '.join(unknown)}")
    return np.concatenate([np.broadcast_to(factors[blob], channels[blob]) for blob in blobs])


def _adds_equals(layer: caffe_pb2.LayerParameter, incoming: list[Factor]) -> bool:
    return (
        layer.type == "Eltwise"
        and layer.eltwise_param.operation != caffe_pb2.EltwiseParameter.PROD
        and all(np.array_equal(factor, incoming[0]) for factor in incoming)
    )


def _scaled(
    layer: caffe_pb2.LayerParameter, blobs: tuple[FloatArray, ...], read: Factor, outgoing: Factor
) -> tuple[FloatArray, ...]:
    """Blobs of a layer that reads blobs scaled by `read` and is to be scaled by `outgoing`."""
    weight, *bias = blobs
    if layer.type == "InnerProduct" and layer.inner_product_param.transpose:
        raise WeightsError(f"layer {layer.name}: expected weights (O, I), they are transposed")
    divisor = read
    if read.ndim:
        # A map is flattened channel by channel for an InnerProduct.
        repeats, rest = divmod(weight.shape[1], read.size)
        if rest or not repeats:
            raise WeightsError(
                f"layer {layer.name}: expected {read.size} input channels, got {weight.shape}"
            )
        divisor = np.repeat(read, repeats).reshape(1, -1, *[1] * (weight.ndim - 2))
    return (
        (weight * (outgoing / divisor)).astype(np.float32),
        *((array * outgoing).astype(np.float32) for array in bias),
    )
