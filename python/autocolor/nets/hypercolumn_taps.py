"""Hypercolumns read level by level in the stream of a net, for training in less memory.

Needs pycaffe.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError

# Layers whose backward pass reads its bottom no more once it writes the bottom's gradient.
_OVERWRITING = {"Dropout", "InnerProduct", "ReLU"}


def use_taps(
    net: caffe_pb2.NetParameter, name: str, rows: int, channels: Sequence[int]
) -> caffe_pb2.NetParameter:
    """Return a net with HypercolumnTap layers in the place of a SparseHypercolumn layer.

    The two nets compute the same, but where other layers read a level too, Caffe puts a Split that
    keeps two further gradients of the level; with taps there is none. Where nothing but layers that
    allow it reads the hypercolumns, their gradient takes the memory of their values.

    Parameters
    ----------
    net : NetParameter
    name : str
        Of the SparseHypercolumn layer, whose levels and locations layers before it make.
    rows : int
        Hypercolumns of a batch.
    channels : sequence of int
        Of each level.

    Returns
    -------
    NetParameter
        Blobs keep their names; the hypercolumn's layer has become a DummyData that holds the room
        for it, and each level has a layer ``<hypercolumn>_<level>``.

    Raises
    ------
    ValueError
        If there is no such layer, no layer makes a level, or the numbers of levels and channels differ.
    """
    found = [
        index
        for index, layer in enumerate(net.layer)
        if layer.type == "SparseHypercolumn" and layer.name == name
    ]
    if not found:
        raise InputError("net", f"expected a SparseHypercolumn layer {name}, got none")
    position = found[0]
    whole = net.layer[position]
    locations, *levels = whole.bottom
    if len(levels) != len(channels):
        raise InputError("channels", f"expected {len(levels)} numbers, got {len(channels)}")
    before, after = net.layer[:position], net.layer[position + 1 :]
    taps = dict(zip(levels, _taps(whole, locations, levels, channels), strict=True))
    readers = {layer.type for layer in after if whole.top[0] in layer.bottom}
    if readers <= _OVERWRITING:
        taps[levels[-1]].sparse_hypercolumn_param.share_gradient = True
    # A tap reads the level as the hypercolumn's layer did, once no layer changes it in place.
    made = _last(before, locations)
    places = {level: max(made, _last(before, level)) for level in levels}
    first = min(places.values())
    layers: list[Any] = []
    for index, layer in enumerate(before):
        layers.append(layer)
        if index == first:
            layers.append(_room(whole, rows, sum(channels)))
        for level in (level for level in levels if places[level] == index):
            if any(level in other.bottom for other in (*before[index + 1 :], *after)):
                taps[level].top.append(level)
            layers.append(taps[level])
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for layer in (*layers, *after):
        result.layer.add().CopyFrom(layer)
    return result


def _last(layers: Iterable[Any], blob: str) -> int:
    """Return the place of the last layer that makes or changes a blob."""
    places = [index for index, layer in enumerate(layers) if blob in layer.top]
    if not places:
        raise InputError("net", f"no layer makes {blob}")
    return places[-1]


def _room(whole: Any, rows: int, columns: int) -> Any:
    layer = caffe_pb2.LayerParameter(name=whole.name, type="DummyData", top=whole.top)
    layer.dummy_data_param.shape.add(dim=[rows, columns])
    return layer


def _taps(
    whole: Any, locations: str, levels: Sequence[str], channels: Sequence[int]
) -> Iterable[Any]:
    geometry = whole.sparse_hypercolumn_param
    first = 0
    for index, (level, count) in enumerate(zip(levels, channels, strict=True)):
        tap = caffe_pb2.LayerParameter(
            name=f"{whole.name}_{level}",
            type="HypercolumnTap",
            bottom=[whole.top[0], level, locations],
            top=whole.top,
        )
        parameter = tap.sparse_hypercolumn_param
        for field in ("scale", "offset_height", "offset_width", "activation_mult"):
            values = getattr(geometry, field)
            if values:
                getattr(parameter, field).append(values[index if len(values) > 1 else 0])
        if geometry.deterministic:
            parameter.deterministic = True
        parameter.first_channel = first
        first += count
        yield tap
