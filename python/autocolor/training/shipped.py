"""Train the head of the shipped model and choose what it is like on validation photos.

Its photos are the training photos of the demo and those of the split ``extra``. The validation
photos are those of whole packages, so that they differ in kind from what is learnt. The held-out
photos play no part here. Needs pycaffe.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.core.files import atomic_path, read_lines
from autocolor.data.photos import PhotoEntry, split_validation
from autocolor.nets.catalogue import Model, write_files
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.nets.solver import SolverOptions
from autocolor.nets.weights_io import read_weights
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import save_head
from autocolor.training.caffe_train import (
    Record,
    TrainingError,
    best_snapshot,
    plot_records,
    run_caffe_train,
    write_records,
)
from autocolor.training.feature_cache import count_rows

LEVELS = "data..conv5_3"
_TESTS = 10  # validations during a training, each with a snapshot


@dataclass(frozen=True)
class TrainingPlan:
    """How a head is trained.

    Attributes
    ----------
    iterations : int
        The learning rate falls linearly to zero over these.
    batch : int
        Hypercolumns an iteration.
    learning_rate, weight_decay : float
    hypercolumn_dropout, dropout : float
        Ratios, on the hypercolumn and on ``h_fc1``.
    """

    iterations: int = 400
    batch: int = 1024
    learning_rate: float = 2e-2
    weight_decay: float = 5e-2
    hypercolumn_dropout: float = 0.5
    dropout: float = 0.5


def split_photos(
    entries: Sequence[PhotoEntry], fraction: float = 0.15, seed: int = 0
) -> tuple[list[PhotoEntry], list[PhotoEntry]]:
    """Return training and validation photos, neither held out, never dividing a package."""
    usable = [entry for entry in entries if entry.split != "test"]
    training, validation = split_validation([entry.package for entry in usable], fraction, seed)
    return [usable[index] for index in training], [usable[index] for index in validation]


def train(
    folder: Path,
    variant: str,
    training: Path,
    validation: Path,
    scale: npt.NDArray[np.float32],
    plan: TrainingPlan,
    *,
    iteration: int | None = None,
) -> int:
    """Train a head with ``caffe train`` and keep the snapshot that validates best.

    Does nothing where `folder` has the head of this very training already.

    Parameters
    ----------
    folder : Path
        Gets ``head.npz``, ``model.json`` and a folder ``training``.
    variant : str
        Of :class:`autocolor.nets.colorization.ColorizationNet`.
    training, validation : Path
        Lists of files: see :mod:`autocolor.training.view_features`.
    scale : (C,) array
        Factor on the hypercolumn channels that the files have.
    plan : TrainingPlan
    iteration : int, optional
        Keep the snapshot of this iteration, whatever it validates like.

    Returns
    -------
    int
        The iteration of the snapshot that was kept.

    Raises
    ------
    TrainingError
        If Caffe fails or leaves no such snapshot.
    """
    network = ColorizationNet(variant, LEVELS)
    prototxts = folder / "training"
    interval = max(1, plan.iterations // _TESTS)
    model = Model(
        variant,
        network,
        TrainingOptions(
            str(training), plan.batch, dropout=plan.dropout,
            hypercolumn_dropout=plan.hypercolumn_dropout,
        ),
        str(validation),
        SolverOptions(
            "", "", "", plan.iterations,
            base_learning_rate=plan.learning_rate,
            weight_decay=plan.weight_decay,
            test_iterations=max(1, count_rows(validation) // plan.batch),
            test_interval=interval,
            snapshot_interval=interval,
            display_interval=max(1, min(20, interval // 2)),
        ),
    ).in_folder(prototxts)  # fmt: skip
    files = model.head_files(LEVELS)
    text = json.dumps([asdict(plan), iteration]) + "".join(files.values()) + training.read_text()
    fingerprint = hashlib.sha256(text.encode() + scale.tobytes()).hexdigest()
    stamp = folder / "trained.json"
    if stamp.exists():
        found = json.loads(stamp.read_text(encoding="utf-8"))
        if found["fingerprint"] == fingerprint:
            return int(found["iteration"])
    for snapshot in prototxts.glob("snapshot_*"):
        snapshot.unlink()
    write_files(prototxts, files)
    with tqdm(total=plan.iterations, unit="iteration", desc=f"caffe train {folder.name}") as bar:

        def show(record: Record) -> None:
            bar.update(record.iteration - bar.n)
            bar.set_postfix({f"{record.phase} loss": f"{record.loss:.3f}"})

        records = run_caffe_train(prototxts / "solver.prototxt", prototxts / "caffe.log", show)
    write_records(records, prototxts / "losses.csv")
    plot_records(records, prototxts / "losses.png")
    if iteration is None:
        kept = best_snapshot(prototxts, records)
    else:
        kept = prototxts / f"snapshot_iter_{iteration}.caffemodel"
        if not kept.exists():
            raise TrainingError(f"{prototxts}: expected a snapshot of iteration {iteration}")
    number = int(kept.stem.rpartition("_")[2])
    save_head(folder / "head.npz", read_weights(kept), scale)
    bins = network.heads[0].bins or 1
    Manifest("autocolor", variant, LEVELS, bins).save(folder)
    losses = {r.iteration: r.loss for r in records if r.phase == "test"}
    with atomic_path(stamp) as partial:
        content = {"fingerprint": fingerprint, "iteration": number, "validation_losses": losses}
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return number


def whole_batches(files: Path, batch: int) -> Path:
    """List the files that fill batches, so that every validation is of the same hypercolumns.

    ``HDF5Data`` begins its files anew where a validation ended. Files that fill none are kept if
    there are no others.
    """
    lines = read_lines(files)
    rows = []
    for line in lines:
        with h5py.File(line) as file:
            rows.append(len(file["cached_hypercolumn"]))
    whole = [line for line, count in zip(lines, rows, strict=True) if count % batch == 0] or lines
    out = files.with_name(f"{files.stem}_whole.txt")
    with atomic_path(out) as partial:
        partial.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    return out


def join_lists(lists: Sequence[Path], out: Path) -> Path:
    """Write one list of the files of several."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as partial:
        partial.write_text("".join(f"{line}\n" for path in lists for line in read_lines(path)))
    return out


def set_strength(folder: Path, strength: float) -> None:
    """Write a strength into the manifest of a model folder."""
    replace(Manifest.load(folder), strength=strength).save(folder)
