"""Weights read from a caffemodel where they lie in the file, without parsing or copying it.

A caffemodel is one protobuf message whose blobs are packed floats, that is, plain little-endian
arrays between a few tags. Only the tags are read; the arrays are views of the mapped file. Writing
one takes as little. Neither needs Caffe.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path

Blob: TypeAlias = tuple[tuple[int, ...], npt.NDArray[np.uint8]]
"""Shape, and the bytes of as many little-endian float32 values."""

# Field numbers in caffe.proto.
_NET_NAME, _NET_LAYER, _NET_V1_LAYERS = 1, 100, 2
_LAYER_NAME, _LAYER_BLOBS = 1, 7
_BLOB_SHAPE, _BLOB_DATA, _BLOB_DOUBLE_DATA = 7, 5, 8
_BLOB_OLD_SHAPE = range(1, 5)  # num, channels, height, width
_SHAPE_DIM = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class NotMappableError(AutocolorError):
    """A caffemodel that has to be parsed: of another age, or damaged."""


def map_weights(path: Path) -> dict[str, list[Blob]]:
    """Return the blobs of every layer that has some, as views of the file.

    Parameters
    ----------
    path : Path
        Caffemodel.

    Raises
    ------
    NotMappableError
        If it is no caffemodel, is cut short, or was written before 2015 (``layers`` instead of
        ``layer``), with double values, or with values that are not packed.
    OSError
        If it cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # an empty file
            raise NotMappableError(str(error)) from error
    buffer = memoryview(mapped)
    weights: dict[str, list[Blob]] = {}
    for field, wire, layer in _fields(buffer):
        if field == _NET_V1_LAYERS:
            raise NotMappableError("written before 2015")
        if (field, wire) != (_NET_LAYER, _BYTES):
            continue
        name, blobs = "", []
        for layer_field, layer_wire, value in _fields(layer):
            if (layer_field, layer_wire) == (_LAYER_NAME, _BYTES):
                name = bytes(value).decode("utf-8", "replace")
            elif (layer_field, layer_wire) == (_LAYER_BLOBS, _BYTES):
                blobs.append(_blob(value))
        if blobs:
            weights[name] = blobs
    return weights


def write_mappable(
    path: Path, weights: Mapping[str, Sequence[npt.NDArray[np.float32]]], name: str
) -> None:
    """Write a caffemodel that Caffe, and :func:`map_weights`, read; atomically.

    Parameters
    ----------
    path : Path
    weights : dict
        Layer name to its blobs.
    name : str
        Of the net.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with atomic_path(path) as partial, partial.open("wb") as stream:
        stream.write(_message(_NET_NAME, name.encode()))
        for layer, blobs in weights.items():
            stream.write(_message(
                _NET_LAYER,
                _message(_LAYER_NAME, layer.encode())
                + b"".join(_message(_LAYER_BLOBS, _blob_bytes(blob)) for blob in blobs),
            ))  # fmt: skip


def _blob_bytes(blob: npt.NDArray[np.float32]) -> bytes:
    dims = b"".join(_varint_bytes(size) for size in blob.shape)
    return _message(_BLOB_SHAPE, _message(_SHAPE_DIM, dims)) + _message(
        _BLOB_DATA, blob.astype("<f4").tobytes()
    )


def _message(field: int, content: bytes) -> bytes:
    """Return a field of wire type bytes: a message, a string or packed values."""
    return _varint_bytes(field << 3 | _BYTES) + _varint_bytes(len(content)) + content


def _varint_bytes(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _blob(message: memoryview) -> Blob:
    shape: list[int] = []
    old_shape: dict[int, int] = {}
    data = message[:0]
    for field, wire, value in _fields(message):
        if (field, wire) == (_BLOB_SHAPE, _BYTES):
            shape = [
                int(dim)
                for shape_field, shape_wire, dims in _fields(value)
                if shape_field == _SHAPE_DIM
                for dim in (_varints(dims) if shape_wire == _BYTES else [_varint(dims, 0)[0]])
            ]
        elif field in _BLOB_OLD_SHAPE and wire == _VARINT:
            old_shape[field] = _varint(value, 0)[0]
        elif field == _BLOB_DATA and wire == _BYTES and not data:
            data = value
        elif field in (_BLOB_DATA, _BLOB_DOUBLE_DATA):
            raise NotMappableError("values that are not packed float32")
    if old_shape:
        shape = [old_shape.get(field, 0) for field in _BLOB_OLD_SHAPE]
    expected = 4 * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise NotMappableError(f"a blob of shape {shape} with {len(data)} bytes")
    return tuple(shape), np.frombuffer(data, np.uint8)


def _fields(message: memoryview) -> Iterator[tuple[int, int, memoryview]]:
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
            raise NotMappableError(f"wire type {wire}")
        if end > len(message):
            raise NotMappableError("cut short")
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
    raise NotMappableError("a number that is cut short")
