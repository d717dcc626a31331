"""Train with ``caffe train`` for a number of minutes and keep the snapshot that validates best."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from autocolor.core.files import exclusive
from autocolor.nets.catalogue import write_files
from autocolor.nets.solver import SolverOptions
from autocolor.training.caffe_train import TrainingError, best_snapshot, run_caffe_train
from autocolor.training.log import Record, plot_records, write_records

_TESTS = 8  # validations during a training, each with a snapshot
_TIMED_ITERATIONS = 4


@dataclass(frozen=True)
class Plan:
    """How to spend a time."""

    iterations: int
    test_interval: int


def plan_training(seconds: float, seconds_per_iteration: float, test_iterations: int) -> Plan:
    """Fit training and its validations, which are forward passes, into a time."""
    total = seconds / seconds_per_iteration - _TESTS * test_iterations
    interval = max(1, int(total / _TESTS))
    return Plan(interval * _TESTS, interval)


def train_for(
    seconds: float,
    folder: Path,
    solver: SolverOptions,
    files: Callable[[SolverOptions], Mapping[str, str]],
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
    solver : SolverOptions
        With the nets and the snapshot prefix in `folder`; iterations and intervals are planned.
    files : callable
        Solver to file names and texts, as :meth:`autocolor.nets.catalogue.Model.files`.
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
    with exclusive(folder.with_name(f".{folder.name}.lock")):
        if replace_earlier:
            shutil.rmtree(folder, ignore_errors=True)
        elif earlier := sorted(folder.glob("*.caffemodel")):
            raise TrainingError(
                f"{earlier[0]}: is of an earlier training; remove that, or choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        return _train_for(seconds, folder, solver, files, weights, device)


def _train_for(
    seconds: float, folder: Path, solver: SolverOptions,
    files: Callable[[SolverOptions], Mapping[str, str]], weights: Path | None, device: str,
) -> tuple[Path, list[Record]]:  # fmt: skip
    timing = replace(solver, iterations=_TIMED_ITERATIONS, display_interval=1, snapshot_interval=0)
    write_files(folder, files(timing))
    probe = run_caffe_train(
        folder / "solver.prototxt", folder / "timing.log", weights=weights, device=device
    )
    times = [r.seconds_per_iteration for r in probe if r.seconds_per_iteration is not None]
    if not times:
        raise TrainingError(f"{folder / 'timing.log'}: caffe train reported no time")
    # Caffe's clock stops at milliseconds.
    plan = plan_training(seconds, max(1e-3, statistics.median(times)), solver.test_iterations)
    for snapshot in folder.glob("snapshot_*"):
        snapshot.unlink()
    planned = replace(
        solver,
        iterations=plan.iterations,
        test_interval=plan.test_interval,
        snapshot_interval=plan.test_interval,
        display_interval=max(1, min(20, plan.test_interval // 5)),
    )
    write_files(folder, files(planned))
    records = run_caffe_train(
        folder / "solver.prototxt", folder / "caffe.log", iterations=plan.iterations, weights=weights,
        seconds=seconds + 30, device=device,
    )  # fmt: skip
    write_records(records, folder / "losses.csv")
    plot_records(records, folder / "losses.png")
    return best_snapshot(folder, records), records
