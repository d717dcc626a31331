"""Hypercolumns of augmented views of photos, computed once: see :mod:`autocolor.training.feature_cache`.

The network is VGG-16-gray with ImageNet's own weights. Each level is kept divided by the root of
its second moment, as re-balancing does (section A.1): the factors are kept beside the hypercolumns.
Needs pycaffe.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.core.files import atomic_path, read_lines
from autocolor.imaging.images import fit_side, read_image
from autocolor.nets.vgg16 import vgg16_levels
from autocolor.training.augmentation import View, ViewOptions, clean_view, random_view
from autocolor.training.feature_cache import FeatureNet, FeatureOptions

_SCALE_VIEWS = 32
_READ_SIDE = 512  # of a photo in memory; views are smaller


@dataclass(frozen=True)
class ViewSet:
    """Which views of which photos.

    Attributes
    ----------
    photos : tuple of Path
    views : int
        Of each photo. The first shows it as it is, the others are random.
    options : ViewOptions
    seed : int
    views_per_file : int
        Caffe holds one file in memory and shuffles within it.
    """

    photos: tuple[Path, ...]
    views: int = 4
    options: ViewOptions = ViewOptions()
    seed: int = 0
    views_per_file: int = 16

    def fingerprint(self) -> str:
        """Return a hash of everything that a view depends on; not of how many there are."""
        content = {**asdict(self), "photos": [], "views": 0}
        digest = hashlib.sha256(json.dumps(content).encode())
        for photo in self.photos:
            digest.update(hashlib.sha256(photo.read_bytes()).digest())
        return digest.hexdigest()

    def deal(self) -> dict[str, list[tuple[int, int]]]:
        """Name of a file to the (photo, view) in it: view after view, photos in random order."""
        files = {}
        for view in range(self.views):
            order = np.random.default_rng([self.seed, view]).permutation(len(self.photos))
            for number, start in enumerate(range(0, len(order), self.views_per_file)):
                photos = order[start : start + self.views_per_file]
                files[f"view{view}_{number:04d}.h5"] = [(int(photo), view) for photo in photos]
        return files

    def view(self, photo: int, number: int) -> View:
        """Return one view; the same at every call."""
        rgb = read_image(self.photos[photo], least_side=_READ_SIDE).rgb
        rgb = fit_side(rgb, _READ_SIDE, "smaller")
        rng = np.random.default_rng([self.seed, photo, number])
        return (random_view if number else clean_view)(rgb, rng, self.options)


def measure_scale(views: Iterable[View], net: FeatureNet, levels: str) -> npt.NDArray[np.float32]:
    """Return 1/sqrt(E[X^2]) of its level for every hypercolumn channel.

    ``data`` is left as it is: re-balancing does not touch the input either.
    """
    sums, count = np.zeros(sum(level.channels for level in vgg16_levels(levels))), 0
    for view in views:
        hypercolumns = net(view.grey, view.locations).astype(np.float64)
        sums += (hypercolumns**2).sum(axis=0)
        count += len(hypercolumns)
    scale, first = np.ones(len(sums), np.float32), 0
    for level in vgg16_levels(levels):
        channels = slice(first, first + level.channels)
        if level.name != "data":
            scale[channels] = 1 / np.sqrt(sums[channels].mean() / count)
        first += level.channels
    return scale


def cache_views(
    views: ViewSet,
    weights: Path,
    folder: Path,
    scale: npt.NDArray[np.float32],
    *,
    levels: str = "data..conv5_3",
    processes: int = 1,
) -> Path:
    """Compute the hypercolumns of views, those that are missing, and list their files.

    Parameters
    ----------
    views : ViewSet
    weights : Path
        Caffemodel of VGG-16-gray.
    folder : Path
        Gets ``view*.h5`` below a folder that is named by what they depend on.
    scale : (C,) array
        Factor on each hypercolumn channel.
    levels : str
        Levels of the hypercolumn.
    processes : int
        Each runs a network of its own.

    Returns
    -------
    Path
        List of the files, which ``HDF5Data`` reads.
    """
    digest = hashlib.sha256(views.fingerprint().encode() + scale.tobytes() + levels.encode())
    folder = folder / digest.hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder / name, pairs) for name, pairs in views.deal().items()]
    missing = [job for job in jobs if not job[0].exists()]
    common = (views, weights, scale, levels)
    with tqdm(
        total=len(jobs), initial=len(jobs) - len(missing), unit="file", desc="features"
    ) as bar:
        if processes == 1 and missing:
            net = _net(weights, levels, views.options)
            for path, pairs in missing:
                _write(path, pairs, views, net, scale)
                bar.update()
        elif missing:
            with ProcessPoolExecutor(
                processes, get_context("spawn"), _start_worker, common
            ) as workers:
                for _ in workers.map(_work, missing):
                    bar.update()
    listed = folder / f"views_{views.views}.txt"
    with atomic_path(listed) as partial:
        partial.write_text("".join(f"{path.resolve()}\n" for path, _ in jobs), encoding="utf-8")
    return listed


def mix_rows(files: Path, folder: Path, seed: int = 0, rows_per_file: int = 8192) -> Path:
    """Deal the rows of many files anew, so that each file has hypercolumns of most photos.

    ``HDF5Data`` shuffles within a file only: batches of a few photos' pixels make learning unsteady.
    All rows are held in memory.

    Parameters
    ----------
    files : Path
        List of the files, of :func:`cache_views`.
    folder : Path
        Gets files below a folder that is named by the list.
    seed : int
    rows_per_file : int

    Returns
    -------
    Path
        List of the new files.
    """
    lines = read_lines(files)
    digest = hashlib.sha256(json.dumps([lines, seed, rows_per_file]).encode()).hexdigest()
    folder = folder / f"mixed-{digest[:16]}"
    listed = folder / "views.txt"
    if listed.exists():
        return listed
    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[npt.NDArray[np.floating]]] = {"cached_hypercolumn": [], "image": []}
    for line in lines:
        with h5py.File(line) as file:
            for name, found in parts.items():
                found.append(file[name][...])
    rows = {name: np.concatenate(found) for name, found in parts.items()}
    parts.clear()
    order = np.random.default_rng(seed).permutation(len(rows["image"]))
    written = []
    for start in range(0, len(order), rows_per_file):
        path = folder / f"rows_{start:08d}.h5"
        taken = order[start : start + rows_per_file]
        with atomic_path(path) as partial, h5py.File(partial, "w") as file:
            for name, array in rows.items():
                file[name] = array[taken]
        written.append(path)
    with atomic_path(listed) as partial:  # last: a list means that all files are there
        partial.write_text("".join(f"{path.resolve()}\n" for path in written), encoding="utf-8")
    return listed


def scale_of(
    views: ViewSet, weights: Path, path: Path, levels: str = "data..conv5_3"
) -> npt.NDArray[np.float32]:
    """Return :func:`measure_scale` of some views, from the file `path` if it was measured."""
    if path.exists():
        scale: npt.NDArray[np.float32] = np.load(path)
        return scale
    pairs = [pair for pairs in views.deal().values() for pair in pairs][:_SCALE_VIEWS]
    found = (views.view(*pair) for pair in tqdm(pairs, unit="view", desc="second moments"))
    scale = measure_scale(found, _net(weights, levels, views.options), levels)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        np.save(partial, scale)
    return scale


def _net(weights: Path, levels: str, options: ViewOptions) -> FeatureNet:
    return FeatureNet(weights, FeatureOptions(levels, options.crop, options.locations))


_worker: dict[str, tuple[ViewSet, FeatureNet, npt.NDArray[np.float32]]] = {}


def _start_worker(
    views: ViewSet, weights: Path, scale: npt.NDArray[np.float32], levels: str
) -> None:
    _worker["state"] = (views, _net(weights, levels, views.options), scale)


def _work(job: tuple[Path, Sequence[tuple[int, int]]]) -> None:
    views, net, scale = _worker["state"]
    _write(*job, views, net, scale)


def _write(
    path: Path,
    pairs: Sequence[tuple[int, int]],
    views: ViewSet,
    net: FeatureNet,
    scale: npt.NDArray[np.float32],
) -> None:
    started = time.monotonic()
    hypercolumns, colours = [], []
    for pair in pairs:
        view = views.view(*pair)
        hypercolumns.append((net(view.grey, view.locations) * scale).astype(np.float16))
        y, x = view.locations.T
        colours.append(view.rgb[y, x, ::-1])
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        file["cached_hypercolumn"] = np.concatenate(hypercolumns)
        file["image"] = np.concatenate(colours)[..., None, None]
        file.attrs["seconds"] = time.monotonic() - started
