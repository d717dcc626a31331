"""Hypercolumns read level by level in the stream of a net, for training in less memory. Needs pycaffe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from caffe.proto import caffe_pb2

from autocolor.core.errors import InputError
from autocolor.runtime.fusion import with_layers

# Layers whose backward pass reads its bottom no more once it writes the bottom's gradient; ReLU in
# place does, as its top is its bottom.
_OVERWRITING = {"Dropout", "InnerProduct", "ReLU"}
# Layers whose tops may be the memory of their bottoms: what changes one in place changes the other.
_SHARING = {"Concat", "Flatten", "Reshape", "Slice", "Split"}


def use_taps(
    net: caffe_pb2.NetParameter,
    name: str,
    rows: int,
    channels: Sequence[int],
    share_gradient: bool = False,
) -> caffe_pb2.NetParameter:
    """Return a net with HypercolumnTap layers in the place of a SparseHypercolumn layer.

    The two nets compute the same, but where other layers read a level too, Caffe puts a Split that
    keeps two further gradients of the level; with taps there is none. A tap adds to the gradient of
    a layer that reads the level after it, so there has to be one that surely has a gradient; a level
    that only others read, such as Silence, keeps its Split.

    Parameters
    ----------
    net : NetParameter
    name : str
        Of the SparseHypercolumn layer, whose levels and locations layers before it make.
    rows : int
        Hypercolumns of a batch.
    channels : sequence of int
        Of each level.
    share_gradient : bool
        Give the gradient of the hypercolumns the memory of their values, on the CPU. After a
        backward pass the hypercolumns' data is their gradient then, and the next pass has to be a
        forward one. Layers behind have to read the hypercolumns no more once they write their
        gradient, as InnerProduct, Dropout and ReLU do.

    Returns
    -------
    NetParameter
        Blobs keep their names; the hypercolumn's layer has become a DummyData that holds the room
        for it, and each level has a layer ``<hypercolumn>_<level>``.
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
    _check_fields(whole, levels)
    before, after = net.layer[:position], net.layer[position + 1 :]
    taps = dict(zip(levels, _taps(whole, locations, levels, channels), strict=True))
    written = _written_gradients(net.layer)
    if share_gradient:
        _check_readers(net.layer, whole.top[0], written)
        taps[levels[-1]].sparse_hypercolumn_param.share_gradient = True
    # A tap reads the level as the hypercolumn's layer did, once no layer changes it in place.
    made = _last(before, locations)
    places = {level: max(made, _final(before, level)) for level in levels}
    others = dict(enumerate(net.layer))
    del others[position]
    first = min(places.values())
    layers: list[Any] = []
    for index, layer in enumerate(before):
        layers.append(layer)
        if index == first:
            layers.append(_room(whole, rows, sum(channels)))
        for level in (level for level in levels if places[level] == index):
            if _is_handed_on(level, _last(before, level), index, others, written):
                taps[level].top.append(level)
            layers.append(taps[level])
    result: caffe_pb2.NetParameter = with_layers(net, [*layers, *after])
    return result


def _check_fields(whole: Any, levels: Sequence[str]) -> None:
    for field in ("loss_weight", "propagate_down", "include", "exclude"):
        if getattr(whole, field):
            raise InputError("net", f"layer {whole.name}: expected no {field}, got one")
    for level in levels:
        if levels.count(level) > 1:
            raise InputError(
                "net", f"layer {whole.name}: expected different levels, got {level} twice"
            )


def _written_gradients(layers: Sequence[Any]) -> set[tuple[int, int]]:
    """Return the (layer, bottom) whose gradient a backward pass surely writes, if it needs one.

    That is where the layer leads to a loss, in every phase. Caffe runs no other layer backward, and
    leaves the gradients of their bottoms as they are.
    """
    written = set()
    wanted: set[str] = set()  # blobs with such a reader behind the layer
    for index in reversed(range(len(layers))):
        layer = layers[index]
        has_loss = any(layer.loss_weight) if layer.loss_weight else layer.type.endswith("Loss")
        leads_to_loss = has_loss or not wanted.isdisjoint(layer.top)
        wanted.difference_update(layer.top)
        if not leads_to_loss or layer.include or layer.exclude or layer.type == "Python":
            continue
        for bottom, blob in enumerate(layer.bottom):
            is_stopped = bool(layer.propagate_down) and not layer.propagate_down[bottom]
            if not is_stopped and (layer.type, bottom) != ("Crop", 1):  # that is only a size
                written.add((index, bottom))
                wanted.add(blob)
    return written


def _check_readers(layers: Sequence[Any], blob: str, written: Set[tuple[int, int]]) -> None:
    """Raise unless all readers of a blob let its gradient share the memory of its values."""
    readers = _bottoms(dict(enumerate(layers)), blob)
    refusing = [
        layers[index].name
        for index, bottom in readers
        if (index, bottom) not in written
        or layers[index].type not in _OVERWRITING
        or (layers[index].type == "ReLU" and blob in layers[index].top)
    ]
    if refusing or not readers:
        raise InputError(
            "share_gradient",
            f"expected {blob} to be read by InnerProduct, Dropout or ReLU (not in place) layers "
            f"before a loss, got {', '.join(refusing) or 'no reader'}",
        )


def _is_handed_on(
    level: str, made: int, place: int, others: Mapping[int, Any], written: Set[tuple[int, int]]
) -> bool:
    """Return whether a tap at a place may stand between a level and its later readers.

    One of them has to write the gradient that the tap adds to. None may change the level in place, as
    its maker may need it unchanged, or read it before the tap; and it must have no loss of its own.
    Without being handed on, the level has a Split.
    """
    readers = _bottoms(others, level)
    later = {(index, bottom) for index, bottom in readers if index > place}
    return (
        not written.isdisjoint(later)
        and not any(level in others[index].top for index, _ in later)
        and not any(made < index <= place for index, _ in readers)
        and not others[made].loss_weight
    )


def _bottoms(layers: Mapping[int, Any], blob: str) -> list[tuple[int, int]]:
    """Return the (layer, bottom) that read a blob."""
    return [
        (index, bottom)
        for index, layer in layers.items()
        for bottom, name in enumerate(layer.bottom)
        if name == blob
    ]


def _last(layers: Iterable[Any], blob: str) -> int:
    """Return the place of the last layer that makes or changes a blob."""
    places = [index for index, layer in enumerate(layers) if blob in layer.top]
    if not places:
        raise InputError("net", f"no layer makes {blob}")
    return places[-1]


def _final(layers: Sequence[Any], blob: str) -> int:
    """Return the place of the last layer that makes or changes a blob, or one in its memory."""
    blobs, count = {blob}, 0
    while len(blobs) > count:
        count = len(blobs)
        for layer in layers:
            if layer.type in _SHARING and not blobs.isdisjoint((*layer.bottom, *layer.top)):
                blobs.update(layer.bottom, layer.top)
    changes = (index for index, layer in enumerate(layers) if not blobs.isdisjoint(layer.top))
    return max(_last(layers, blob), *changes)


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
        for field in ("deterministic", "nearest"):
            if getattr(geometry, field):
                setattr(parameter, field, True)
        parameter.first_channel = first
        first += count
        yield tap
