"""Hypercolumns of a frozen network, computed once and kept for any number of heads.

A head learns from sparse samples, so what a training on a frozen VGG-16 needs of a photo are a few
hundred hypercolumns and the colours at their pixels. They are written to HDF5 files which Caffe's
``HDF5Data`` layer reads: see :meth:`autocolor.nets.colorization.ColorizationNet.head_training_net`. Needs pycaffe.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import lmdb
import numpy as np
import numpy.typing as npt

from autocolor.core.errors import AutocolorError
from autocolor.core.files import (
    check_undamaged,
    checked_path,
    file_sha256,
    read_lines,
    write_atomically,
)
from autocolor.core.processes import open_workers
from autocolor.core.progress import tqdm
from autocolor.data.lmdb_check import check_lmdb
from autocolor.data.lmdb_io import decode_datum, parse_datum
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError
from autocolor.nets.colorization import hypercolumn_net
from autocolor.runtime.caffe_runtime import make_net

_MANIFEST = "features.json"
_LIST = "files.txt"  # what HDF5Data's `source` names


class FeatureError(AutocolorError):
    """Features that cannot be computed or kept; one line that names the folder."""


@dataclass(frozen=True)
class FeatureOptions:
    """Which hypercolumns are kept."""

    levels: str = "data..conv5_3"  #: Of the hypercolumn, ``first..last``
    crop: int = 224  #: Side of the square crop, in pixels
    locations: int = 256  #: Pixels drawn from each crop, without a preference
    passes: int = 1  #: Crops of each image
    augment: bool = True  #: Random crops, mirrored half of the time; otherwise the centre crop
    images: int = 0  #: Of the LMDB, from its beginning; 0 takes all
    width: float = 1.0  #: Factor on the channels of the network
    seed: int = 0
    images_per_file: int = 32  #: Caffe holds one file in memory and shuffles within it


def cache_features(
    images: Path,
    weights: Path,
    folder: Path,
    options: FeatureOptions,
    *,
    device: str = "cpu",
    processes: int = 1,
    progress: bool = True,
) -> Path:
    """Compute the hypercolumns of an LMDB's images; a run that was cut off is resumed.

    Crops are dealt to the files at random, so that each file, which HDF5Data shuffles and reads one
    after the other, has those of photos from all over the LMDB.

    Parameters
    ----------
    images : Path
        LMDB of colour images with sides of at least `options.crop`.
    weights : Path
        caffemodel of VGG-16-gray, re-balanced: hypercolumns are kept in half precision.
    folder : Path
        Gets the HDF5 files, with the datasets ``cached_hypercolumn`` (M, C), float16, and ``image``
        (M, 3, 1, 1), float32, the BGR colours in [0, 1] of the M pixels.
    options : FeatureOptions
    device : str
        Where Caffe runs.
    processes : int
        That run the network, each in as many threads as ``OMP_NUM_THREADS`` says.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    Path
        The list of the files, for HDF5Data.

    Raises
    ------
    FeatureError
        If the folder holds features of something else, or damaged ones, an image is smaller than
        the crop, or a hypercolumn does not fit half precision.
    ImageError
        If the LMDB is damaged.
    """
    check_lmdb(images)
    check_undamaged(weights, FeatureError)
    folder.mkdir(parents=True, exist_ok=True)
    fingerprint = _fingerprint(images, weights, options)
    manifest = folder / _MANIFEST
    if manifest.exists():
        if json.loads(manifest.read_text(encoding="utf-8")).get("fingerprint") != fingerprint:
            raise FeatureError(f"{folder}: holds features of other images, weights or options")
    else:
        content = {"fingerprint": fingerprint, **asdict(options)}
        write_atomically(manifest, json.dumps(content, indent=2))
    keys = _keys(images)[: options.images or None]
    crops = _deal(len(keys), options)
    files = [folder / f"features_{number:05d}.h5" for number in range(len(crops))]
    calls = [
        _Call(images, weights, device, options, path, [(keys[i], i, pass_) for i, pass_ in chunk])
        for path, chunk in zip(files, crops, strict=True)
        if not path.exists()
    ]
    there = sorted({*files} - {call.path for call in calls})
    for path in tqdm(there, "checking", unit="file", delay=2, disable=not progress):
        check_undamaged(path, FeatureError)
    with tqdm(
        total=len(files), initial=len(files) - len(calls), unit="file", disable=not progress
    ) as bar:
        with open_workers(min(processes, max(1, len(calls)))) as workers:
            for _ in workers.map_ordered(_compute, calls):
                bar.update()
        _networks.clear()
    write_atomically(folder / _LIST, "".join(f"{path.resolve()}\n" for path in files))
    return folder / _LIST


def count_rows(files: Path) -> int:
    """Return the number of hypercolumns in the files of a list."""
    return int(_total(files, lambda file: len(file["cached_hypercolumn"])))


def seconds_taken(files: Path) -> float:
    """Return how long the files of a list took to compute."""
    return _total(files, lambda file: float(file.attrs["seconds"]))


def _total(files: Path, number: Callable[[h5py.File], float]) -> float:
    total = 0.0
    for line in read_lines(files):
        with h5py.File(line) as file:
            total += number(file)
    return total


def _fingerprint(images: Path, weights: Path, options: FeatureOptions) -> str:
    digest = hashlib.sha256(json.dumps(asdict(options)).encode())
    digest.update(bytes.fromhex(file_sha256(weights)))
    for key in _keys(images):
        digest.update(key)
    return digest.hexdigest()


def _keys(images: Path) -> list[bytes]:
    with lmdb.open(str(images), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            return list(transaction.cursor().iternext(values=False))


def _deal(count: int, options: FeatureOptions) -> list[list[tuple[int, int]]]:
    """(image, pass) of every crop, in random order, by file."""
    crops = [(image, pass_) for pass_ in range(options.passes) for image in range(count)]
    order = np.random.default_rng(options.seed).permutation(len(crops))
    size = options.images_per_file
    return [
        [crops[index] for index in order[start : start + size]]
        for start in range(0, len(crops), size)
    ]


@dataclass(frozen=True)
class _Call:
    """A file to write."""

    images: Path
    weights: Path
    device: str
    options: FeatureOptions
    path: Path
    crops: list[tuple[bytes, int, int]]  # key, image and pass


_networks: dict[tuple[Path, str], FeatureNet] = {}  # of this process


def _compute(call: _Call) -> None:
    started = time.monotonic()
    network = (call.weights, call.device)
    if network not in _networks:
        _networks[network] = FeatureNet(call.weights, call.options, call.device)
    with lmdb.open(str(call.images), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            crops = [
                _crop(transaction, key, pass_, image, call.options)
                for key, image, pass_ in call.crops
            ]
    _write(call.path, crops, _networks[network], started)


@dataclass(frozen=True)
class _Crop:
    rgb: npt.NDArray[np.float32]  # (side, side, 3) in [0, 1]
    locations: npt.NDArray[np.intp]  # (P, 2), (y, x)


def _crop(
    transaction: lmdb.Transaction, key: bytes, pass_: int, image: int, options: FeatureOptions
) -> _Crop:
    name = f"image {key.decode(errors='replace')}"
    try:
        pixels = decode_datum(parse_datum(bytes(transaction.get(key) or b""), name))
    except ImageError as error:
        raise FeatureError(f"{name}: {error}") from None
    height, width = pixels.shape[:2]
    side = options.crop
    if min(height, width) < side:
        raise FeatureError(f"{name}: expected sides of at least {side}, got {height} x {width}")
    rng = np.random.default_rng([options.seed, image, pass_])
    if options.augment:
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        mirror = rng.random() < 0.5
    else:
        top, left, mirror = (height - side) // 2, (width - side) // 2, False
    pixels = pixels[top : top + side, left : left + side]
    rgb = (pixels[:, ::-1] if mirror else pixels).astype(np.float32) / np.float32(255)
    return _Crop(rgb, rng.integers(side, size=(options.locations, 2)))


class FeatureNet:
    """The frozen network, on one crop after the other; of the options it heeds levels, locations, width."""

    def __init__(self, weights: Path, options: FeatureOptions, device: str = "cpu") -> None:
        net = hypercolumn_net(options.levels, options.locations, options.width)
        self._net = make_net(str(net), device, weights)

    def __call__(
        self, grey: npt.NDArray[np.float32], locations: npt.NDArray[np.intp]
    ) -> npt.NDArray[np.float32]:
        """Return the hypercolumns (P, C) at `locations` (P, 2) of an image (H, W) in [0, 1].

        They are Caffe's own memory: copy what is to be kept beyond the next call.
        """
        blobs = self._net.blobs
        blobs["data"].reshape(1, 1, *grey.shape)
        blobs["data"].data[0, 0] = grey
        blobs["locations"].reshape(1, *locations.shape)
        blobs["locations"].data[0] = locations
        self._net.forward()
        hypercolumns: npt.NDArray[np.float32] = blobs["hypercolumn"].data
        return hypercolumns


def _write(path: Path, crops: list[_Crop], runner: FeatureNet, started: float) -> None:
    hypercolumns, colours = [], []
    for crop in crops:
        with np.errstate(over="ignore"):  # checked below
            found = runner(lightness(crop.rgb), crop.locations).astype(np.float16)
        if not np.isfinite(found).all():
            raise FeatureError(
                f"{path}: a hypercolumn does not fit half precision; expected re-balanced weights "
                "(tools/rebalance.py)"
            )
        hypercolumns.append(found)
        y, x = crop.locations.T
        colours.append(crop.rgb[y, x, ::-1])
    with checked_path(path) as partial, h5py.File(partial, "w") as file:
        file["cached_hypercolumn"] = np.concatenate(hypercolumns)
        file["image"] = np.concatenate(colours)[..., None, None]
        file.attrs["seconds"] = time.monotonic() - started
