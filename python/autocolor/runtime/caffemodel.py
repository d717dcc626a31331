"""Caffe's weights in its binary protobuf, read where they lie in the file, and written. Needs no Caffe.

A caffemodel is one protobuf message whose blobs are packed floats, that is, plain little-endian
arrays between a few tags. Only the tags are read; the arrays are views of the mapped file. What other
programs may have written, doubles, or floats that are not packed, is converted.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_is_file, check_undamaged, checked_path

FloatArray: TypeAlias = npt.NDArray[np.float32]
Weights: TypeAlias = dict[str, tuple[FloatArray, ...]]
"""Layer name to its blobs: weight (O, I, kh, kw) or (O, I), then bias (O)."""

# Field numbers in caffe.proto. "Old" is how Caffe wrote before 2015: the layer's type is a number,
# and a blob always has four axes.
_NET_NAME, _NET_OLD_LAYER, _NET_LAYER = 1, 2, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_OLD_NESTED_LAYER, _OLD_NAME, _OLD_TYPE, _OLD_BLOBS = 1, 4, 5, 6
_NESTED_NAME, _NESTED_TYPE, _NESTED_BLOBS = 1, 2, 50
_BLOB_AXES = range(1, 5)  # num, channels, height, width
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLES = 5, 7, 8
_SHAPE_DIM = 1
_INNER_PRODUCT = (b"InnerProduct", 14, b"innerproduct")

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST_INT32 = 2**31 - 1  # protobuf counts the bytes of a message with a signed int

_Field: TypeAlias = tuple[int, int, memoryview]
_Shape: TypeAlias = tuple[int, ...]


class WeightsError(AutocolorError):
    """Weights are missing, misshapen or unreadable; one line that names file and layer."""


def read_caffemodel(path: Path) -> Weights:
    """Read every layer with blobs, as views of the file where they can be.

    Parameters
    ----------
    path : Path
        Of today (``layer``) or of 2014 (``layers``), whose blobs have four axes: an inner product's
        (1, 1, O, I) and biases' (1, 1, 1, O) become (O, I) and (O).

    Raises
    ------
    WeightsError
        If the file is none, cut short, holds no weights, or has other bytes than the checksum
        beside it says.
    OSError
        If it cannot be opened.
    """
    check_is_file(path)
    check_undamaged(path, WeightsError)
    return map_caffemodel(path)


def map_caffemodel(path: Path) -> Weights:
    """As :func:`read_caffemodel`, of a file whose checksum has been looked at: that reads all of it."""
    weights: Weights = {}
    with path.open("rb") as stream:
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            for name, blobs in _layers(memoryview(mapped)):
                if name in weights:
                    raise ValueError(f"layer {name}: appears twice")
                weights[name] = tuple(blobs)
        except ValueError as error:
            raise WeightsError(f"{path}: expected a binary Caffe model: {error}") from None
    if not weights:
        raise WeightsError(f"{path}: expected a model with weights, got none")
    return weights


def write_caffemodel(path: Path, weights: Mapping[str, Sequence[FloatArray]], name: str) -> None:
    """Write weights as Caffe reads them, atomically, and a checksum; 4-D ones become Convolutions.

    Parameters
    ----------
    path : Path
    weights : dict
        Layer name to its blobs.
    name : str
        Of the net.

    Raises
    ------
    WeightsError
        If they are more than the 2 GiB that protobuf can hold.
    OSError
        If the file cannot be written.
    """
    if 4 * sum(blob.size for blobs in weights.values() for blob in blobs) > _LARGEST_INT32:
        raise WeightsError(f"{path}: over 2 GiB of weights; give a name ending in .h5, for HDF5")
    path.parent.mkdir(parents=True, exist_ok=True)
    with checked_path(path) as partial, partial.open("wb") as stream:
        stream.write(_message(_NET_NAME, name.encode()))
        for layer, blobs in weights.items():
            kind = b"Convolution" if blobs[0].ndim == 4 else b"InnerProduct"
            content = _message(_LAYER_NAME, layer.encode()) + _message(_LAYER_TYPE, kind)
            content += b"".join(_message(_LAYER_BLOBS, _blob_bytes(blob)) for blob in blobs)
            stream.write(_message(_NET_LAYER, content))


def _blob_bytes(blob: FloatArray) -> bytes:
    dims = b"".join(map(_varint_bytes, blob.shape))
    values = np.ascontiguousarray(blob, "<f4").tobytes()
    return _message(_BLOB_DATA, values) + _message(_BLOB_SHAPE, _message(_SHAPE_DIM, dims))


def _message(field: int, content: bytes) -> bytes:
    """Return a field of wire type bytes: a message, a string or packed values."""
    return _varint_bytes(field << 3 | _BYTES) + _varint_bytes(len(content)) + content


def _varint_bytes(value: int) -> bytes:
    """Protobuf's variable-length integer: seven bits a byte, the lowest first."""
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _layers(net: memoryview) -> Iterator[tuple[str, list[FloatArray]]]:
    """Yield name and blobs of every layer that has some; a `ValueError` says what is wrong."""
    for field, wire, layer in _fields(net):
        if field not in (_NET_LAYER, _NET_OLD_LAYER) or wire != _BYTES:
            continue
        numbers = (_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS)
        parts = list(_fields(layer))
        if field == _NET_OLD_LAYER:
            numbers = (_OLD_NAME, _OLD_TYPE, _OLD_BLOBS)
            # The oldest form has the layer inside its connection.
            for nested in [value for number, _, value in parts if number == _OLD_NESTED_LAYER]:
                numbers = (_NESTED_NAME, _NESTED_TYPE, _NESTED_BLOBS)
                parts = list(_fields(nested))
        name, kind = "", object()
        blobs = []
        for number, wire, value in parts:
            if number == numbers[0]:
                name = bytes(value).decode("utf-8", "replace")
            elif number == numbers[1]:
                kind = bytes(value) if wire == _BYTES else _varint(value, 0)[0]
            elif number == numbers[2]:
                blobs.append(value)
        if blobs:
            is_inner_product = kind in _INNER_PRODUCT
            try:
                yield name, [_blob(b, i, is_inner_product) for i, b in enumerate(blobs)]
            except ValueError as error:
                raise ValueError(f"layer {name}: {error}") from None


def _blob(message: memoryview, index: int, is_inner_product: bool) -> FloatArray:
    shape: list[int] = []
    axes: dict[int, int] = {}
    values: list[FloatArray] = []
    for field, wire, value in _fields(message):
        if field == _BLOB_SHAPE:
            shape += [
                dim
                for number, kind, dims in _fields(value)
                if number == _SHAPE_DIM
                for dim in (_varints(dims) if kind == _BYTES else [_varint(dims, 0)[0]])
            ]
        elif field in _BLOB_AXES and wire == _VARINT:
            axes[field] = _varint(value, 0)[0]
        elif field == _BLOB_DATA:
            values.append(np.frombuffer(value, "<f4"))
        elif field == _BLOB_DOUBLES:
            values.append(np.frombuffer(value, "<f8").astype(np.float32))
    whole = values[0] if len(values) == 1 else np.concatenate([np.zeros(0, np.float32), *values])
    sizes = tuple(shape)
    if axes:
        sizes = _short_shape(
            tuple(axes.get(axis, 0) for axis in _BLOB_AXES), index, is_inner_product
        )
    if math.prod(sizes) != whole.size or max(sizes, default=0) > _LARGEST_INT32:
        raise ValueError(f"{whole.size} values for the shape {sizes}")
    return whole.reshape(sizes)


def _short_shape(axes: _Shape, index: int, is_inner_product: bool) -> _Shape:
    """Return the shape that a blob with the four axes of 2014 has today."""
    if index > 0 and axes[:3] == (1, 1, 1):
        return axes[3:]
    if index == 0 and is_inner_product and axes[:2] == (1, 1):
        return axes[2:]
    return axes


def _fields(message: memoryview) -> Iterator[_Field]:
    """Yield field number, wire type and the bytes of each value."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        wire = key & 7
        if wire == _VARINT:
            end = _varint(message, position)[1]
        elif wire == _BYTES:
            length, position = _varint(message, position)
            end = position + length
        elif wire in (_FIXED64, _FIXED32):
            end = position + (8 if wire == _FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(message):
            raise ValueError("cut short")
        yield key >> 3, wire, message[position:end]
        position = end


def _varints(values: memoryview) -> Iterator[int]:
    position = 0
    while position < len(values):
        value, position = _varint(values, position)
        yield value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number and the position behind it."""
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number that is cut short")
