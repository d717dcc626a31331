"""Train with ``caffe train`` for a number of minutes and keep the snapshot that validates best."""

from __future__ import annotations

import shutil
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from autocolor.core.files import exclusive
from autocolor.nets.catalogue import Model, write_files
from autocolor.training.caffe_train import TrainingError, best_snapshot, run_caffe_train
from autocolor.training.log import Record, plot_records, write_records

_TESTS = 8  # validations during a training, each with a snapshot, at most
_TESTING = 0.25  # part of the time that validations may take
_TIMED_ITERATIONS = 4


def plan_training(
    seconds: float, seconds_per_iteration: float, seconds_per_test: float
) -> tuple[int, int]:
    """Return iterations, and those between two validations, that fit into a time with these.

    Caffe validates before the first iteration as well. Where that takes long, there are fewer
    validations, down to one beside the first.
    """
    tests = min(_TESTS, max(1, int(_TESTING * seconds / seconds_per_test) - 1))
    total = (seconds - (tests + 1) * seconds_per_test) / seconds_per_iteration
    interval = max(1, int(total / tests))
    return interval * tests, interval


def train_for(
    seconds: float,
    folder: Path,
    model: Model,
    cached_levels: str | None = None,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    replace_earlier: bool = False,
) -> tuple[Path, list[Record]]:
    """Train for a time that is measured out in iterations, so that the rate can fall to zero.

    Parameters
    ----------
    seconds : float
        After half a minute more, training is cut off with a snapshot.
    folder : Path
        Gets prototxt files, snapshots, ``caffe.log``, ``losses.csv`` and ``losses.png``.
    model : Model
        With the nets and the snapshot prefix in `folder`; iterations and intervals are planned.
    cached_levels : str, optional
        As of :meth:`autocolor.nets.catalogue.Model.files`.
    weights : Path, optional
        To start from.
    device : str
        Where Caffe runs: ``cpu``, ``gpu``, ``gpu:1`` or ``gpu:all``.
    replace_earlier : bool
        Remove a training that is in the folder already.

    Returns
    -------
    caffemodel : Path
        The snapshot with the lowest validation loss.
    records : list of Record

    Raises
    ------
    TrainingError
        If Caffe fails or leaves no snapshot, or there is a training in the folder.
    autocolor.core.files.LockedError
        If another process trains there.
    """
    solver_file = folder / "solver.prototxt"

    def write(**changes: Any) -> None:
        planned = replace(model, solver=replace(model.solver, **changes))
        write_files(folder, planned.files(cached_levels))

    with exclusive(folder.with_name(f".{folder.name}.lock")):
        if replace_earlier:
            shutil.rmtree(folder, ignore_errors=True)
        elif earlier := sorted(folder.glob("*.caffemodel")):
            raise TrainingError(
                f"{earlier[0]}: is of an earlier training; remove that, or choose another folder"
            )
        write(iterations=_TIMED_ITERATIONS, display_interval=1, snapshot_interval=0)
        log = folder / "timing.log"
        probe = run_caffe_train(solver_file, log, weights=weights, device=device)
        times = [r.seconds_per_iteration for r in probe if r.seconds_per_iteration is not None]
        if not times:
            raise TrainingError(f"{log}: caffe train reported no time")
        # Caffe's clock stops at milliseconds. The first time has the validation before it.
        time = max(1e-3, statistics.median(times))
        iterations, interval = plan_training(seconds, time, max(1e-3, times[0] - time))
        for snapshot in folder.glob("snapshot_*"):
            snapshot.unlink()
        write(
            iterations=iterations,
            test_interval=interval,
            snapshot_interval=interval,
            display_interval=max(1, min(20, interval // 5)),
        )
        records = run_caffe_train(
            solver_file,
            folder / "caffe.log",
            iterations=iterations,
            weights=weights,
            seconds=seconds + 30,
            device=device,
        )
        write_records(records, folder / "losses.csv")
        plot_records(records, folder / "losses.png")
        return best_snapshot(folder, records), records
