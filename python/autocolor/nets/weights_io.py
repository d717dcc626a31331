"""Read and write a net's weights: Caffe's binary protobuf and HDF5, NumPy archives, VGG-16 in ONNX.

The kind of a file is decided by its content.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from autocolor.core.files import DAMAGED, check_is_file, check_undamaged, checked_path, one_line
from autocolor.runtime.caffemodel import FloatArray as FloatArray
from autocolor.runtime.caffemodel import Weights as Weights
from autocolor.runtime.caffemodel import WeightsError as WeightsError
from autocolor.runtime.caffemodel import read_caffemodel, write_caffemodel
from autocolor.runtime.vgg16_gray import read_vgg16_onnx

_NPZ_BLOBS = ("weight", "bias")

# Caffe counts the values of a blob with a signed 32-bit int.
_LARGEST_INT32 = 2**31 - 1

# A compressed array may declare a thousand times its size in the file, and no weights shrink so far.
_LARGEST_RATIO = 20
_ANY_RATIO = 2**30  # bytes of a file's arrays up to which it does not matter: VGG-16 has 0.6 GB


def read_weights(path: Path) -> Weights:
    """Read the weights of every layer that has some, from any supported kind of file.

    Parameters
    ----------
    path : Path
        - ``.caffemodel``, binary protobuf, as :func:`autocolor.runtime.caffemodel.read_caffemodel`
          says.
        - ``.caffemodel.h5``, Caffe's HDF5: datasets ``/data/<layer>/0``, ``1``, …
        - ``.npz``, a NumPy archive of arrays ``<layer>/weight`` and ``<layer>/bias``. Pickled
          objects are refused.
        - ``.onnx``, VGG-16 as `read_vgg16_onnx` says.

        The name does not matter, only the content.

    Returns
    -------
    dict
        Layer name to float32 blobs.

    Raises
    ------
    WeightsError
        If the file is none of these, damaged, or without weights.
    OSError
        If it cannot be opened.
    """
    check_is_file(path)
    with path.open("rb") as stream:
        start = stream.read(4)
    is_hdf5 = h5py.is_hdf5(path)
    if is_hdf5 or start == b"PK\x03\x04":
        if is_hdf5:
            check_undamaged(path, WeightsError)
        weights = _read_hdf5(path) if is_hdf5 else _read_npz(path)
        if not weights:
            raise WeightsError(f"{path}: expected a model with weights, got none")
        return weights
    # An ONNX model starts with its first field, a number; a Caffe model's first field is a string.
    if start[:1] == b"\x08":
        try:
            return read_vgg16_onnx(path.read_bytes())
        except WeightsError as error:
            raise WeightsError(f"{path}: {error}") from None
    # Copies, which can be written to and are aligned.
    return {name: tuple(map(np.array, blobs)) for name, blobs in read_caffemodel(path).items()}


def write_weights(path: Path, weights: Mapping[str, tuple[FloatArray, ...]], name: str) -> None:
    """Write weights as Caffe reads them, atomically, and a checksum beside them.

    They are HDF5 if `path` ends in ``.h5``, else protobuf.

    Parameters
    ----------
    path : Path
        Ends in ``.caffemodel`` or ``.h5``.
    weights : dict
    name : str
        Of the net; HDF5 has no place for it.

    Raises
    ------
    WeightsError
        If the name of the file has another ending, or the weights do not fit the format.
    """
    check_name(path)
    if path.suffix == ".h5":
        _write_hdf5(path, weights)
    else:
        write_caffemodel(path, weights, name)


def check_name(path: Path) -> None:
    """Raise `WeightsError` if `write_weights` does not take the name of the file."""
    if path.suffix not in (".caffemodel", ".h5"):
        raise WeightsError(f"{path}: expected a name ending in .caffemodel or .h5")


def _read_hdf5(path: Path) -> Weights:
    weights: Weights = {}
    declared = stored = 0  # bytes of the arrays so far, and what the file holds of them
    place = "the file"
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise WeightsError(f"{path}: expected the group /data of Caffe's HDF5 weights")
            for name in data:
                place = f"layer {name}"
                _check_link(path, place, data, name)
                layer = data[name]
                if not isinstance(layer, h5py.Group):
                    raise WeightsError(f"{path}: {place}: expected a group, got a dataset")
                expected = [str(index) for index in range(len(layer))]
                if sorted(layer, key=lambda key: (len(key), key)) != expected:
                    raise WeightsError(
                        f"{path}: {place}: expected the datasets {', '.join(expected)}, got "
                        f"{', '.join(layer)}"
                    )
                blobs = []
                for index in expected:
                    _check_link(path, place, layer, index)
                    dataset = layer[index]
                    if not isinstance(dataset, h5py.Dataset):
                        raise WeightsError(f"{path}: {place}: {index}: expected a dataset")
                    if dataset.external or dataset.is_virtual:
                        raise WeightsError(f"{path}: {place}: has its values in another file")
                    _check_array(path, place, dataset)
                    declared += dataset.nbytes
                    stored += dataset.id.get_storage_size()
                    _check_ratio(path, declared, stored)
                    blobs.append(dataset[()].astype(np.float32, copy=False))
                # Caffe writes an empty group for a layer without weights.
                if blobs:
                    weights[name] = tuple(blobs)
    except DAMAGED as error:
        raise _damaged(path, place, error) from None
    return weights


def _read_npz(path: Path) -> Weights:
    found: dict[str, dict[str, FloatArray]] = {}
    place = "the file"
    try:
        with np.load(path, allow_pickle=False) as archive:
            members = archive.zip.infolist()
            _check_ratio(
                path, sum(m.file_size for m in members), sum(m.compress_size for m in members)
            )
            for key in archive.files:
                place = key
                layer, _, blob = key.rpartition("/")
                if not layer or blob not in _NPZ_BLOBS:
                    raise WeightsError(
                        f"{path}: {key}: expected arrays <layer>/weight and <layer>/bias"
                    )
                array = archive[key]
                if not isinstance(array, np.ndarray):
                    raise WeightsError(f"{path}: {key}: expected an array")
                _check_array(path, key, array)
                found.setdefault(layer, {})[blob] = array.astype(np.float32, copy=False)
    except DAMAGED as error:
        raise _damaged(path, place, error) from None
    for layer, blobs in found.items():
        if "weight" not in blobs:
            raise WeightsError(f"{path}: {layer}/weight is missing")
    return {
        layer: tuple(blobs[blob] for blob in _NPZ_BLOBS if blob in blobs)
        for layer, blobs in found.items()
    }


def _write_hdf5(path: Path, weights: Mapping[str, tuple[FloatArray, ...]]) -> None:
    for name in weights:
        if "/" in name:
            raise WeightsError(f"{path}: layer {name}: Caffe's HDF5 has no names with a slash")
    path.parent.mkdir(parents=True, exist_ok=True)
    with checked_path(path) as partial, h5py.File(partial, "w") as file:
        data = file.create_group("data")
        for name, blobs in weights.items():
            layer = data.create_group(name)
            for index, array in enumerate(blobs):
                layer.create_dataset(str(index), data=array, dtype="<f4")


def _check_array(path: Path, place: str, array: h5py.Dataset | npt.NDArray[np.generic]) -> None:
    """Refuse, before they are read, values that are no blob of Caffe's."""
    if array.dtype.kind not in "fiu" or array.shape is None:
        raise WeightsError(f"{path}: {place}: expected numbers, got {array.dtype}")
    if math.prod(array.shape) > _LARGEST_INT32:
        raise WeightsError(f"{path}: {place}: shape {array.shape} is larger than a blob can be")


def _check_link(path: Path, place: str, group: h5py.Group, name: str) -> None:
    """Refuse a link into another file, and one that may lead round in a circle."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise WeightsError(f"{path}: {place}: {name!r} is a link to another place")


def _check_ratio(path: Path, declared: int, stored: int) -> None:
    """Refuse, before memory is taken for them, arrays too large for the bytes stored of them."""
    if declared > _ANY_RATIO and declared > _LARGEST_RATIO * stored:
        raise WeightsError(f"{path}: {declared:,} bytes of weights are stored in {stored:,}")


def _damaged(path: Path, place: str, error: Exception) -> WeightsError:
    return WeightsError(f"{path}: {place} cannot be read: {one_line(error)}")
