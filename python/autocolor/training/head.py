"""Model folders with heads trained by ``caffe train`` on hypercolumns that are computed once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from google.protobuf import text_format

from autocolor.core.files import write_atomically
from autocolor.data.photo_lists import read_photo_list
from autocolor.nets.catalogue import Model
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.nets.solver import SolverOptions
from autocolor.nets.surgery import net_shapes, transplant
from autocolor.nets.weights_io import Weights, read_weights, write_weights
from autocolor.runtime.model_folder import Manifest
from autocolor.training.budget import train_for
from autocolor.training.caffe_train import TrainingError
from autocolor.training.feature_cache import (
    FeatureOptions,
    cache_features,
    count_rows,
    seconds_taken,
)
from autocolor.training.log import Record

_STAMP = "trained.json"


@dataclass(frozen=True)
class HeadOptions:
    """How a head is trained.

    With few photos it overfits in minutes without dropout on the hypercolumn itself and a strong
    decay; the values were chosen on the validation photos of ``data_prep/photos.tsv``.
    """

    minutes: float = 4.0
    learning_rate: float = 2e-2
    weight_decay: float = 5e-2
    #: Longest gradient. Without it regression, whose loss has no bound, diverges at first at this
    #: rate: a loss of 0.8 came to 2605 in the third iteration.
    clip_gradients: float = 4.0
    hypercolumn_dropout: float = 0.5  #: Ratio, on the hypercolumn
    dropout: float = 0.5  #: Ratio, on ``h_fc1``
    batch: int = 1024  #: Hypercolumns an iteration: the paper's 8 images of 128 locations


@dataclass(frozen=True)
class Features:
    """Hypercolumns of training and validation images on disk."""

    weights: Path  #: Of the frozen network
    levels: str  #: ``first..last``
    width: float  #: Factor on the channels of the network
    #: Lists of files: see :mod:`autocolor.training.feature_cache`
    training: Path
    validation: Path
    seconds: float  #: That they took to compute, now or when it was done


def prepare_features(
    images: Path,
    validation: Path,
    weights: Path,
    folder: Path,
    options: FeatureOptions,
    *,
    device: str = "cpu",
    processes: int = 1,
) -> Features:
    """Compute the hypercolumns of images to train and to validate on, or find them computed.

    Parameters
    ----------
    images, validation : Path
        LMDBs.
    weights : Path
        Re-balanced caffemodel of the frozen network.
    folder : Path
        Gets a folder for each.
    options : FeatureOptions
        Of the training; for the validation, one centre crop of each image.
    device, processes
        As of :func:`autocolor.training.feature_cache.cache_features`.

    Raises
    ------
    autocolor.training.feature_cache.FeatureError
        If they cannot be computed, or `folder` holds those of something else.
    """

    def cached(lmdb: Path, name: str, options: FeatureOptions) -> Path:
        return cache_features(
            lmdb, weights, folder / name, options, device=device, processes=processes
        )

    training = cached(images, "training", options)
    unaugmented = cached(validation, "validation", replace(options, augment=False, passes=1))
    seconds = sum(seconds_taken(files) for files in (training, unaugmented))
    return Features(weights, options.levels, options.width, training, unaugmented, seconds)


def train_head(
    folder: Path, name: str, network: ColorizationNet, features: Features, options: HeadOptions
) -> float:
    """Train a head and make a model folder of it and the frozen network, unless it is there.

    Parameters
    ----------
    folder : Path
        Model folder; the training is kept in its folder ``training``.
    name : str
        For reports.
    network : ColorizationNet
        As wide as the features, with levels among theirs.
    features : Features
    options : HeadOptions

    Returns
    -------
    float
        Seconds that the training took, this time or when it was done.

    Raises
    ------
    autocolor.training.caffe_train.TrainingError
        If Caffe fails, or the folder holds a model that was trained otherwise.
    """
    training = folder / "training"
    model = Model(
        name,
        network,
        TrainingOptions(
            str(features.training),
            options.batch,
            dropout=options.dropout,
            hypercolumn_dropout=options.hypercolumn_dropout,
        ),
        str(features.validation),
        SolverOptions(
            base_learning_rate=options.learning_rate,
            weight_decay=options.weight_decay,
            clip_gradients=options.clip_gradients,
            test_iterations=max(1, count_rows(features.validation) // options.batch),
        ),
    ).in_folder(training)
    digest = hashlib.sha256(json.dumps(asdict(options)).encode())
    for text in _nameless(model, "", "").files(features.levels).values():
        digest.update(text.encode())
    for files in (features.training, features.validation):
        digest.update((files.parent / "features.json").read_bytes())

    def train(again: bool) -> tuple[Path, list[Record]]:
        return train_for(
            60 * options.minutes, training, model, features.levels, replace_earlier=again
        )

    return _train(folder, name, network, digest.hexdigest(), train, features.weights)


def train_whole(
    folder: Path,
    name: str,
    network: ColorizationNet,
    data: Path,
    weights: Path,
    minutes: float,
    device: str = "cpu",
) -> float:
    """Train a colorizer end to end, as the paper does, unless its model folder is there.

    Parameters
    ----------
    folder, name
        As of :func:`train_head`.
    network : ColorizationNet
    data : Path
        Folder of ``train_lmdb`` and ``validation_lmdb``.
    weights : Path
        To start from.
    minutes : float
    device : str
        ``cpu``, ``gpu``, ``gpu:1`` or ``gpu:all``.

    Returns
    -------
    float
        As :func:`train_head`.

    Raises
    ------
    autocolor.training.caffe_train.TrainingError
        If Caffe fails, or the folder holds a model that was trained otherwise.
    """
    training = folder / "training"
    options = TrainingOptions(str(data / "train_lmdb"))
    tests = max(1, len(read_photo_list(data / "validation_lmdb.txt")) // options.batch)
    solver = SolverOptions(test_iterations=tests)
    model = Model(name, network, options, str(data / "validation_lmdb"), solver).in_folder(training)
    nameless = _nameless(model, options.source, model.validation_source)
    digest = hashlib.sha256(f"{minutes} {''.join(nameless.files().values())}".encode())
    digest.update(weights.read_bytes())

    def train(again: bool) -> tuple[Path, list[Record]]:
        return train_for(
            60 * minutes, training, model, weights=weights, device=device, replace_earlier=again
        )

    return _train(folder, name, network, digest.hexdigest(), train)


def _train(
    folder: Path,
    name: str,
    network: ColorizationNet,
    fingerprint: str,
    train: Callable[[bool], tuple[Path, list[Record]]],
    backbone: Path | None = None,
) -> float:
    """Make a model folder of what `train` gives, unless it is there; returns the seconds it took.

    `train` is told whether it may replace a training: one of the same that has not come to its end.
    """
    stamp = folder / _STAMP
    begun = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() else {}
    if begun.get("fingerprint", fingerprint) != fingerprint:
        raise TrainingError(
            f"{folder}: holds a model of other options, weights or data; remove it, or choose another "
            "folder"
        )
    if "seconds" in begun:
        return float(begun["seconds"])
    _write_stamp(stamp, {"fingerprint": fingerprint})
    started = time.monotonic()
    caffemodel, records = train(bool(begun))
    save_model(folder, network, name, caffemodel, backbone)
    seconds = time.monotonic() - started
    iterations = max(record.iteration for record in records)
    done = {"seconds": seconds, "iterations": iterations, "snapshot": caffemodel.name}
    _write_stamp(stamp, {"fingerprint": fingerprint, **done})
    return seconds


def _write_stamp(stamp: Path, content: dict[str, object]) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(stamp, json.dumps(content, indent=2) + "\n")


def _nameless(model: Model, source: str, validation: str) -> Model:
    """Return a model without the names of folders, which may be moved."""
    training = replace(model.training, source=source)
    return replace(model, training=training, validation_source=validation).in_folder(Path())


def save_model(
    folder: Path,
    network: ColorizationNet,
    name: str,
    caffemodel: Path,
    backbone: Path | None = None,
) -> Manifest:
    """Write deploy net, weights and manifest, and return that.

    Parameters
    ----------
    folder : Path
        Made if need be.
    network : ColorizationNet
    name : str
        For reports.
    caffemodel : Path
        Trained weights, of the head alone where `backbone` has the rest.
    backbone : Path, optional

    Raises
    ------
    autocolor.nets.weights_io.WeightsError
        If a file cannot be read, or is not of this network.
    """
    deploy = network.deploy_net()
    weights: Weights = read_weights(backbone) if backbone else {}
    fitting = transplant({**weights, **read_weights(caffemodel)}, net_shapes(deploy))
    fitting.check(caffemodel)
    manifest = Manifest(name, network.variant, network.levels, network.heads[0].bins or 1)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / manifest.deploy, text_format.MessageToString(deploy))
    write_weights(folder / manifest.weights, fitting.weights, name)
    manifest.save(folder)
    return manifest
