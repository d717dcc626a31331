"""VGG-16-gray and the levels of its hypercolumn, described with pycaffe's ``NetSpec``. Needs pycaffe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caffe import NetSpec
from caffe import layers as L
from caffe import params as P
from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError

# Convolutional blocks: (convolutions, channels). A 2x2 max pooling lies after each.
_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
_FC_CHANNELS = 4096
_FC6_KERNEL = 7
_POOL = 2


@dataclass(frozen=True)
class Level:
    """One level of the hypercolumn."""

    name: str  #: Blob of the network; ``data`` is the grey input
    channels: int
    scale: int  #: Input pixels between neighbouring cells
    offset: float  #: Input coordinate, in pixels, of the centre of cell 0 (the same along y and x)


def scaled_width(channels: int, width: float) -> int:
    """Channels of a layer of a network that is `width` times as wide, at least 1."""
    return max(1, round(channels * width))


def vgg16_levels(levels: str = "data..fc7", width: float = 1.0) -> tuple[Level, ...]:
    """Levels of the hypercolumn: all of them have 12,417 channels (section 3.5).

    The geometry follows from the layers: a 3x3 convolution with padding 1 and fc6's 7x7 with
    padding 3 leave it alone, and a pooling of kernel k and stride s moves the first cell's centre
    by (k - 1)/2 cells and makes the scale s times larger, so that offset = (scale - 1)/2 throughout.

    Parameters
    ----------
    levels : str
        ``first..last``, as Table 2 writes them, or a single level.
    width : float
        Factor on the channels of every layer, above 0.
    """
    if not 0 < width < float("inf"):
        raise InputError("width", f"expected a positive number, got {width}")
    scale, offset = 1, 0.0
    found = [Level("data", 1, scale, offset)]
    for block, (count, channels) in enumerate(_BLOCKS, start=1):
        found += [
            Level(f"conv{block}_{index}", scaled_width(channels, width), scale, offset)
            for index in range(1, count + 1)
        ]
        offset += scale * (_POOL - 1) / 2
        scale *= _POOL
    found += [
        Level(name, scaled_width(_FC_CHANNELS, width), scale, offset) for name in ("fc6", "fc7")
    ]
    names = [level.name for level in found]
    first, _, last = levels.partition("..")
    last = last or first
    if first not in names or last not in names or names.index(first) > names.index(last):
        raise InputError("levels", f"expected FIRST..LAST of {', '.join(names)}, got {levels!r}")
    return tuple(found[names.index(first) : names.index(last) + 1])


def image_input(side: int = 256) -> Any:
    """Input layer for one grey image (1, 1, side, side) in [0, 1]; it may be reshaped."""
    return L.Input(shape=dict(dim=[1, 1, side, side]))


def named(net: NetSpec, name: str) -> caffe_pb2.NetParameter:
    """Return the message of a finished net."""
    parameter = net.to_proto()
    parameter.name = name
    return parameter


def param_multipliers(rate: float = 1.0) -> list[dict[str, float]]:
    """Return the multipliers of VGG-16: biases learn at twice the rate and do not decay.

    `rate` is a factor on the learning rate; at 0, both stay as they are.
    """
    if rate == 0:
        return [dict(lr_mult=0, decay_mult=0)] * 2
    return [dict(lr_mult=rate, decay_mult=1), dict(lr_mult=2 * rate, decay_mult=0)]


def fillers() -> dict[str, dict[str, Any]]:
    """Xavier initialisation (section 4), biases 0."""
    return dict(weight_filler=dict(type="xavier"), bias_filler=dict(type="constant", value=0))


def geometry(levels: Sequence[Level]) -> dict[str, list[float]]:
    """Fields that SparseHypercolumn and HypercolumnInnerProduct share."""
    offsets = [level.offset for level in levels]
    return dict(
        scale=[level.scale for level in levels], offset_height=offsets, offset_width=offsets
    )


def sparse_hypercolumn(net: NetSpec, levels: Sequence[Level]) -> Any:
    """Layer that reads the levels at the net's ``locations``."""
    blobs = (net[level.name] for level in levels)
    return L.SparseHypercolumn(net.locations, *blobs, sparse_hypercolumn_param=geometry(levels))


def add_convolution(
    net: NetSpec,
    name: str,
    bottom: Any,
    channels: int,
    *,
    kernel: int = 3,
    pad: int = 1,
    rate: float = 1.0,
) -> Any:
    """Add a convolution that learns at a `rate`: see :func:`param_multipliers`."""
    net[name] = L.Convolution(
        bottom,
        num_output=channels,
        kernel_size=kernel,
        pad=pad,
        param=param_multipliers(rate),
        **fillers(),
    )
    return net[name]


def add_vgg16(
    net: NetSpec,
    bottom: Any,
    last: str,
    *,
    width: float = 1.0,
    rate: float = 1.0,
    dropout: float = 0.0,
    fc6_pad: int = 3,
) -> Any:
    """Add VGG-16-gray up to a level, with in-place ReLUs: hypercolumns read rectified maps.

    Parameters
    ----------
    net : NetSpec
    bottom : top of the net
        Grey image.
    last : str
        Last level, ``conv1_1`` … ``fc7``; of ``data`` nothing is added.
    width : float
        Factor on the channels.
    rate : float
        Factor on the learning rate; at 0 the weights stay as they are.
    dropout : float
        Ratio between fc6 and fc7, as VGG-16 was trained. The dropped copy is a blob of its own, so
        that the hypercolumn reads all of fc6.
    fc6_pad : int
        3 keeps the resolution. 0 is VGG-16 as a classifier: one cell for 224 x 224 pixels.

    Returns
    -------
    top of the net
        The last level.
    """
    if last == "data":
        return bottom
    for block, (count, channels) in enumerate(_BLOCKS, start=1):
        for index in range(1, count + 1):
            name = f"conv{block}_{index}"
            bottom = add_convolution(net, name, bottom, scaled_width(channels, width), rate=rate)
            net[f"relu{block}_{index}"] = L.ReLU(bottom, in_place=True)
            if name == last:
                return bottom
        net[f"pool{block}"] = L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=_POOL, stride=_POOL)
        bottom = net[f"pool{block}"]
    for name, kernel, pad in (("fc6", _FC6_KERNEL, fc6_pad), ("fc7", 1, 0)):
        bottom = add_convolution(
            net, name, bottom, scaled_width(_FC_CHANNELS, width), kernel=kernel, pad=pad, rate=rate
        )
        net[f"relu{name[2:]}"] = L.ReLU(bottom, in_place=True)
        if name == last:
            break
        if dropout > 0:
            net[f"dropout{name[2:]}"] = L.Dropout(bottom, dropout_ratio=dropout)
            bottom = net[f"dropout{name[2:]}"]
    return bottom


def vgg16_gray_features(last: str = "conv5_3", width: float = 1.0) -> caffe_pb2.NetParameter:
    """VGG-16-gray alone: ``data`` (1, 1, H, W), grey in [0, 1], to the level `last`."""
    net = NetSpec()
    net.data = image_input()
    add_vgg16(net, net.data, last, width=width)
    return named(net, "vgg16_gray_features")
