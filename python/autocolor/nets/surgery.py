"""Convert weights between nets: grey input, layouts, names, transplants.

Reading and writing files is in `autocolor.nets.weights_io`. Needs pycaffe.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from caffe.proto import caffe_pb2

from autocolor.core.isolation import run_isolated
from autocolor.runtime.caffe_runtime import make_net
from autocolor.runtime.caffemodel import FloatArray, Weights, WeightsError
from autocolor.runtime.deploy_nets import read_prototxt

# Side of the kernel of each of VGG-16's fully connected layers as a convolution: fc6 sees all of
# pool5, which is 7x7 for an input of 224x224.
FC_KERNELS = {"fc6": 7, "fc7": 1, "fc8": 1}

# Names of the head's layers in our nets, in the authors' released deploy net and in their training
# net, in the same order.
HEADS = {
    "ours": ("h_fc1", "prediction_h", "prediction_c"),
    "release": ("h_fc1", "prediction_h", "prediction_c"),
    "release-train": ("colorize_fc1", "prediction_h4", "prediction_c4"),
}

# Layers that read files when Caffe sets them up.
_FILE_READERS = ("Data", "ImageData", "HDF5Data", "WindowData")


def fully_connected_as(weights: Mapping[str, tuple[FloatArray, ...]], layout: str) -> Weights:
    """Put fc6, fc7 and fc8, those that are there, into one layout.

    Parameters
    ----------
    weights : dict
    layout : {"conv", "inner-product"}
        ``conv`` as our nets have them: fc6 (O, C, 7, 7), fc7 and fc8 (O, C, 1, 1).

    Returns
    -------
    dict
        A copy; the other layers are as they were.

    Raises
    ------
    WeightsError
        If a weight has neither layout.
    """
    converted = dict(weights)
    for name, kernel in FC_KERNELS.items():
        if name not in weights:
            continue
        weight, *rest = weights[name]
        if weight.ndim not in (2, 4):
            raise WeightsError(f"{name}: expected a weight of 2 or 4 axes, got {weight.shape}")
        # Caffe flattens an InnerProduct's input in the order of a Convolution's weights.
        if layout == "inner-product":
            weight = weight.reshape(len(weight), -1)
        elif weight.ndim == 2:
            if weight.shape[1] % kernel**2:
                raise WeightsError(
                    f"{name}: expected inputs a multiple of {kernel}x{kernel}, got {weight.shape}"
                )
            weight = weight.reshape(len(weight), -1, kernel, kernel)
        converted[name] = (weight, *rest)
    return converted


def convert_names(
    weights: Mapping[str, tuple[FloatArray, ...]], names: str, head_axes: int
) -> Weights:
    """Give the head's layers the names of one of `HEADS`, whichever of these they have.

    Parameters
    ----------
    weights : dict
        Level order and values are the same in all, so only names and axes differ.
    names : {"ours", "release", "release-train"}
    head_axes : {2, 4}
        Axes of the head's weights: (O, I) or (O, I, 1, 1).

    Raises
    ------
    WeightsError
        If there is no head at all, a head layer has an unexpected shape or two layers would get the
        same name.
    """
    targets = {
        old: new for known in HEADS.values() for old, new in zip(known, HEADS[names], strict=True)
    }
    converted = _renamed(weights, targets)
    heads = [name for name in weights if name in targets]
    if not heads:
        raise WeightsError(f"expected a head with layers such as {', '.join(HEADS['ours'])}")
    for name in heads:
        weight, *rest = weights[name]
        if weight.ndim not in (2, 4) or weight.shape[2:] not in ((), (1, 1)):
            raise WeightsError(f"layer {name}: expected (O, I) or (O, I, 1, 1), got {weight.shape}")
        axes = weight.shape[:2] + (1, 1) * (head_axes == 4)
        converted[targets[name]] = (weight.reshape(axes), *rest)
    return converted


def _renamed(weights: Mapping[str, tuple[FloatArray, ...]], names: Mapping[str, str]) -> Weights:
    renamed: Weights = {}
    for name, blobs in weights.items():
        new = names.get(name, name)
        if new in renamed:
            raise WeightsError(f"layer {name}: there is another that is to be {new}")
        renamed[new] = blobs
    return renamed


@dataclass(frozen=True)
class Transplant:
    """What came of putting the weights of one net into another."""

    weights: Weights  #: The layers that fit, with the target's names, shapes and order
    unknown: list[str]  #: Layers of the source that the target has not
    missing: list[str]  #: Layers of the target that the source has not
    misshapen: list[str]  #: Layers that do not fit, each with both shapes

    def check(self, source: Path) -> None:
        """Raise `WeightsError`, listing every layer that `source` has not or has misshapen."""
        problems = [*(f"{name} is missing" for name in self.missing), *self.misshapen]
        if problems:
            raise WeightsError(f"{source}: {'; '.join(problems)}")


def transplant(
    weights: Mapping[str, tuple[FloatArray, ...]],
    shapes: Mapping[str, tuple[tuple[int, ...], ...]],
    rename: Mapping[str, str] | None = None,
) -> Transplant:
    """Put the weights of one net into another, by the names of layers.

    An InnerProduct's weight (O, I) fits a Convolution's (O, C, kh, kw) of as many values, and the
    other way round; every other difference in shape makes a layer misshapen.

    Parameters
    ----------
    weights : dict
    shapes : dict
        Layer name to the shapes of its blobs in the target, as `net_shapes` gives.
    rename : dict, optional
        Name in the source to name in the target.

    Raises
    ------
    WeightsError
        If a layer to rename is absent, or two layers would get the same name.
    """
    rename = rename or {}
    if absent := [name for name in rename if name not in weights]:
        raise WeightsError(f"to rename, but not there: {', '.join(absent)}")
    source = _renamed(weights, rename)
    fitting: Weights = {}
    misshapen = []
    for name, expected in shapes.items():
        if name not in source:
            continue
        found = tuple(blob.shape for blob in source[name])
        if len(found) == len(expected) and all(map(_fits, found, expected)):
            fitting[name] = tuple(
                blob.reshape(shape) for blob, shape in zip(source[name], expected, strict=True)
            )
        else:
            shown = (", ".join(map(str, listed)) for listed in (expected, found))
            misshapen.append("{}: expected {}, got {}".format(name, *shown))
    return Transplant(
        fitting,
        unknown=[name for name in source if name not in shapes],
        missing=[name for name in shapes if name not in source],
        misshapen=misshapen,
    )


def _fits(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    if found == expected:
        return True
    # An InnerProduct and a Convolution over all of its input.
    return (
        sorted((len(found), len(expected))) == [2, 4]
        and found[0] == expected[0]
        and np.prod(found) == np.prod(expected)
    )


def read_net(path: Path) -> caffe_pb2.NetParameter:
    """Read the prototxt of a net, or raise a `WeightsError`."""
    return read_prototxt(path, caffe_pb2.NetParameter(), WeightsError)


def net_shapes(net: caffe_pb2.NetParameter) -> dict[str, tuple[tuple[int, ...], ...]]:
    """Shapes of the blobs of every layer that has some, in order, as Caffe itself makes them.

    Raises
    ------
    WeightsError
        If a layer reads files, or Caffe refuses the net.
    """
    for layer in net.layer:
        if layer.type in _FILE_READERS:
            raise WeightsError(
                f"layer {layer.name}: type {layer.type} reads files; expected a net with Input "
                "layers, such as deploy.prototxt"
            )
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as shapes:
        if failure := run_isolated(_write_shapes, [str(net), shapes.name]):
            raise WeightsError(f"net {net.name!r}: Caffe refuses it: {failure.reason}")
        content = json.load(shapes)
    return {name: tuple(map(tuple, blobs)) for name, blobs in content.items() if blobs}


def _write_shapes(prototxt: str, out: str) -> None:
    net = make_net(prototxt)
    shapes = {name: [list(blob.shape) for blob in blobs] for name, blobs in net.params.items()}
    Path(out).write_text(json.dumps(shapes), encoding="utf-8")
