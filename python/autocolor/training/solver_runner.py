"""Train with Caffe's solver through pycaffe, as ``caffe train`` does, and watch it. Needs pycaffe."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from google.protobuf import text_format

from autocolor.core.files import LockedError, exclusive, naming
from autocolor.core.progress import tqdm
from autocolor.runtime.caffe_runtime import import_caffe, layer_names
from autocolor.training.data_parallel import DivergenceError, GradientMean, Group, ParallelError
from autocolor.training.log import Record, TrainingLog, log_paths
from autocolor.training.preview import Previews
from autocolor.training.replay import replay
from autocolor.training.snapshots import (
    SnapshotError,
    find_states,
    is_unfinished,
    iteration_of,
    newest_usable,
    restore,
    save_once,
    snapshot_files,
    write_snapshot,
)
from autocolor.training.solver_files import (
    SolverError,
    check_files,
    effective_solver,
    layers_of,
    probe,
    read_solver,
    read_train_net,
)
from autocolor.training.stopping import StopRequest

T = TypeVar("T")

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CHECK_INTERVAL = 100  # iterations between two comparisons of the ranks' parameters


@dataclass(frozen=True)
class TrainingJob:
    """What to train."""

    solver: Path  #: Solver prototxt; paths in it are relative to the working folder
    weights: Sequence[str] = ()  #: Caffemodels to start from, instead of those the solver names
    #: Go on from the newest complete snapshot; from the beginning where there are none
    resume: bool = False
    force: bool = False  #: Remove the snapshots and the log of an earlier training
    previews: Previews | None = None
    #: When resuming with a fixed seed, go through the data and the random numbers of the iterations
    #: that are done, so that the result is that of a training never interrupted, to the bit
    replay: bool = True


def say(text: str) -> None:
    """Print a line on stderr, above the progress bar if there is one."""
    tqdm.write(f"train: {text}", file=sys.stderr)


class SolverRunner:
    """One training, in one process or in each rank of a group.

    Parameters
    ----------
    job : TrainingJob
    group : Group
    stop : StopRequest

    Raises
    ------
    SolverError
        If Caffe could not use what `job` names, an earlier training would be overwritten, or
        another one is at work with the same ``snapshot_prefix``.
    autocolor.runtime.caffe_runtime.CaffeError
        If the solver asks for a GPU and Caffe was built without.
    """

    def __init__(self, job: TrainingJob, group: Group, stop: StopRequest) -> None:
        self._job, self._group, self._stop = job, group, stop
        solver = _same_on_all(group, lambda: _read(job))
        self.solver = solver
        device = "cpu"
        if solver.HasField("solver_mode") and solver.solver_mode == solver.GPU:
            device = f"gpu:{solver.device_id}"
        self._caffe = import_caffe(device)
        self._held = ExitStack()
        prefix = Path(solver.snapshot_prefix)
        # No second training writes there.
        lock = exclusive(prefix.with_name(f".{prefix.name}.lock"))
        _same_on_all(group, lambda: self._held.enter_context(lock) if self._root else None)
        with tempfile.TemporaryDirectory(prefix="autocolor_train_") as folder:
            file = Path(folder) / "solver.prototxt"
            state = _same_on_all(group, lambda: _prepare(job, solver, file) if self._root else None)
            state = group.share(state)
            effective = effective_solver(solver, job.weights, root=self._root)
            if state is not None:
                effective.ClearField("weights")
            _write(effective, file)
            # Caffe's data layers deal the records out by these, and the rank is added to the seed.
            self._caffe.set_solver_count(group.size)
            self._caffe.set_solver_rank(group.rank)
            self._caffe.set_multiprocess(group.size > 1)
            self._caffe_solver = self._caffe.get_solver(str(file))
        if state is not None:
            if solver.random_seed >= 0 and job.replay:
                layers = layers_of(read_train_net(solver), "TRAIN")
                replay(self._caffe_solver, solver, layers, iteration_of(state), show=self._root)
            restore(self._caffe_solver, state)
        self._net = self._caffe_solver.net
        self._start = self._caffe_solver.iter
        self._reporter = _Reporter(
            self._net, group, layers_of(read_train_net(solver), "TRAIN"), stop, self._diverged
        )
        self._caffe_solver.add_callback(lambda: None, self._reporter.reduce)
        self._smoothed = _SmoothedLoss(solver.average_loss)
        self._preview_problem: str | None = None

    @property
    def iteration(self) -> int:
        """Iterations that the parameters have behind them."""
        return int(self._caffe_solver.iter)

    @property
    def _state(self) -> Path:
        """Where Caffe snapshots now."""
        ending = ".h5" if self.solver.snapshot_format == self.solver.HDF5 else ""
        return Path(f"{self.solver.snapshot_prefix}_iter_{self.iteration}.solverstate{ending}")

    @property
    def _root(self) -> bool:
        return self._group.rank == 0

    def run(self) -> int | None:
        """Train to the solver's ``max_iter``.

        Returns
        -------
        int or None
            The signal that stopped it before the end.

        Raises
        ------
        autocolor.training.data_parallel.ParallelError
            If another rank is lost; there is a snapshot of the last iteration then.
        """
        nets = (self._net, *self._caffe_solver.test_nets)
        names = dict.fromkeys(name for net in nets for name in _read_outputs(net))
        prefix = self.solver.snapshot_prefix
        self._began = time.monotonic()
        self._log = TrainingLog(prefix, list(names), self._start) if self._root else None
        self._bar = tqdm(
            total=self.solver.max_iter,
            initial=self._start,
            unit="iteration",
            desc="training",
            disable=not self._root,
            mininterval=0.5 if sys.stderr.isatty() else 30,
        )
        try:
            return self._loop()
        except DivergenceError:
            raise
        except ParallelError as error:
            # Any rank may write it: all have the same parameters, and rank 0 may be the lost one.
            self._caffe.set_solver_rank(0)
            save_once(self._state, self.solver.type, self._caffe_solver.snapshot)
            raise ParallelError(f"{error}; snapshot at iteration {self.iteration}") from None
        finally:
            self._bar.close()
            if self._log is not None:
                # On a full disk the first error is the one to tell.
                with suppress(OSError) if sys.exc_info()[0] else nullcontext():
                    self._log.plot()
            self._held.close()

    def _loop(self) -> int | None:
        solver, caffe_solver = self.solver, self._caffe_solver
        snapshotted = self._start
        stopped = 0
        while caffe_solver.iter < solver.max_iter and not stopped:
            iteration = caffe_solver.iter
            wanted = iteration > 0 or solver.test_initialization
            if wanted and solver.test_interval and iteration % solver.test_interval == 0:
                stopped = self._test(iteration)
            if self._job.previews and iteration % self._job.previews.interval == 0:
                self._preview(iteration)
            if stopped:
                break
            stopped = self._iterate(iteration)
            iteration = caffe_solver.iter
            if self._group.size > 1 and iteration % _CHECK_INTERVAL == 0:
                self._reporter.gradients.check()
            if iteration % _CHECK_INTERVAL == 0:
                self._check_finite()
            if solver.snapshot and iteration % solver.snapshot == 0:
                self._snapshot()
                snapshotted = iteration
        iteration = caffe_solver.iter
        if iteration != snapshotted and (stopped or solver.snapshot_after_train):
            self._snapshot()
        if stopped:
            return stopped
        # As in caffe train: one more forward pass, for the loss of the final parameters.
        if solver.display and iteration % solver.display == 0:
            self._reporter.forward_only()
            self._report(iteration, None)
        if solver.test_interval and iteration % solver.test_interval == 0:
            self._test(iteration)
        if self._job.previews:
            self._preview(iteration)
        return None

    def _iterate(self, iteration: int) -> int:
        """Do one iteration; returns the signal that asked some rank to stop, or 0."""
        rate = getattr(self._caffe_solver, "lr", None)
        self._reporter.losses.clear()
        self._caffe_solver.step(1)
        self._report(iteration, rate)
        if not np.isfinite(self._reporter.loss):
            self._check_finite()
        self._bar.update()
        speed = self._bar.format_dict["rate"]
        first = next(iter(self._net.blobs.values()))
        batch = int(first.shape[0]) * int(self.solver.iter_size) * self._group.size
        samples = f"{speed * batch:.3g}" if speed else "?"
        self._bar.set_postfix_str(
            f"loss {self._smoothed.value:.4g}, {samples} samples/s", refresh=False
        )
        return self._reporter.signal

    def _report(self, iteration: int, rate: float | None) -> None:
        loss = self._reporter.loss
        self._smoothed.add(loss)
        if self._log is not None and iteration % (self.solver.display or 1) == 0:
            record = Record(iteration, "train", dict(self._reporter.outputs), _decimal(loss))
            record.smoothed_loss = _decimal(self._smoothed.value)
            record.learning_rate = None if rate is None else _decimal(rate)
            record.seconds = round(time.monotonic() - self._began, 3)
            self._log.add(record)

    def _test(self, iteration: int) -> int:
        """Run the test nets, on rank 0; returns the signal that asked some rank to stop, or 0."""
        for index, batches in enumerate(self.solver.test_iter):
            net = self._caffe_solver.test_nets[index] if self._root else None
            sums: dict[str, np.float32] = {}
            weights: dict[str, float] = {}
            if net is not None:
                net.share_with(self._net)
            for _ in range(batches):
                # The other ranks wait batch by batch, so that no test outlasts their patience.
                if signal_number := self._group.maximum([self._stop.signal or 0])[0]:
                    return signal_number
                if net is not None:
                    net.forward()
                    for name, (value, weight) in _read_outputs(net).items():
                        sums[name] = sums.get(name, np.float32(0)) + np.float32(value)
                        weights[name] = weight
            if self._log is not None:
                means = {name: _decimal(s / np.float32(batches)) for name, s in sums.items()}
                loss = _decimal(sum(means[name] * weights[name] for name in means))
                phase = f"test {index}" if index else "test"
                seconds = round(time.monotonic() - self._began, 3)
                self._log.add(Record(iteration, phase, means, loss, seconds=seconds))
        return 0

    def _snapshot(self) -> None:
        if self._group.size > 1:
            self._reporter.gradients.check()
        self._check_finite()
        if self._root:
            self._check_space()
            try:
                write_snapshot(self._state, self.solver.type, self._caffe_solver.snapshot)
            except SnapshotError as error:
                free = shutil.disk_usage(self._state.parent).free
                raise SolverError(
                    f"snapshot failed: {error} ({free / 2**20:,.0f} MiB are free); --resume goes on "
                    "from the one before"
                ) from None

    def _check_space(self) -> None:
        """Refuse to begin a snapshot that the disk has no room for: weights, and as much history."""
        values = {b.data.ctypes.data: b.count for v in self._net.params.values() for b in v}
        needed = 2 * 4 * sum(values.values())
        folder = Path(self.solver.snapshot_prefix).parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise SolverError(
                f"{self._state}: a snapshot takes {needed / 2**20:,.1f} MiB, {free / 2**20:,.1f} are "
                "free; --resume goes on from the one before"
            )

    def _check_finite(self) -> None:
        """Stop a training whose loss or parameters are no numbers any more, for it learns nothing."""
        has_loss = np.isfinite(self._reporter.loss)
        if not has_loss and (place := _first_not_finite(self._net)):
            self._diverged(place)
        for name, blobs in self._net.params.items():
            if not all(map(_is_finite, blobs)):
                self._diverged(f"the weights of layer {name!r}")
        if not has_loss:
            self._diverged("the loss")

    def _diverged(self, place: str) -> NoReturn:
        states = find_states(self.solver.snapshot_prefix)
        last = f"the newest snapshot is {states[0]}" if states else "there is no snapshot"
        raise SolverError(
            f"diverged in iteration {self._caffe_solver.iter}: {place} is the first that is not "
            f"finite; a lower base_lr or clip_gradients may help; {last}"
        )

    def _preview(self, iteration: int) -> None:
        if self._root and self._job.previews and self._preview_problem is None:
            out = Path(f"{self.solver.snapshot_prefix}_preview_iter_{iteration}.png")
            self._preview_problem = self._job.previews.draw(self._net, out)
            if self._preview_problem is not None:
                say(f"no previews: {self._preview_problem}")
        self._group.maximum([0])  # the others wait


class _SmoothedLoss:
    """Mean of the last losses, with the arithmetic of Caffe's ``Solver::UpdateSmoothedLoss``."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._losses: deque[np.float32] = deque()
        self.value = np.float32(0)

    def add(self, loss: np.float32) -> None:
        self._losses.append(loss)
        size = np.float32(len(self._losses))
        if size > self._count:
            self.value += (loss - self._losses.popleft()) / np.float32(self._count)
        else:
            self.value = (self.value * (size - 1) + loss) / size


class _Reporter:
    """Reads losses and outputs in the net's callbacks, and takes their means over the ranks."""

    def __init__(
        self,
        net: Any,
        group: Group,
        layers: Sequence[Any],
        stop: StopRequest,
        on_divergence: Callable[[str], NoReturn],
    ) -> None:
        self._net, self._group, self._stop = net, group, stop
        self._on_divergence = on_divergence
        # Losses end the process when their input is not finite: that is looked at before.
        names = layer_names(net)
        self._inputs_of_losses = {
            names.index(layer.name): list(layer.bottom) for layer in layers if "Loss" in layer.type
        }
        self.gradients = GradientMean(net, layers, group)
        self.gradients.start()
        self.losses: list[np.float32] = []  # of the forward passes of this iteration
        self.loss = np.float32(0)
        self.outputs: dict[str, float] = {}  # of the last forward pass, as Caffe reports them
        self.signal = 0  # what asked any rank to stop
        self._loss_weights = [(n, np.float32(w)) for n, w in net.blob_loss_weights.items() if w]
        self._last = len(net.layers) - 1
        net.before_forward(self._before_layer)
        net.after_forward(self._after_layer)

    def forward_only(self) -> None:
        """Run the net forward once and report that."""
        self.losses.clear()
        self._net.forward()
        self.reduce()

    def _before_layer(self, index: int) -> None:
        if index == 0:
            self.gradients.losses.restore()
        for name in self._inputs_of_losses.get(index, ()):
            # Blobs that are read twice have a copy for each reader, made by Caffe.
            if name in self._net.blobs and not _is_finite(self._net.blobs[name]):
                self._on_divergence(_first_not_finite(self._net) or f"blob {name!r}")

    def _after_layer(self, index: int) -> None:
        if index != self._last:
            return
        factors = self.gradients.losses.apply()
        blobs = self._net.blobs
        loss = np.float32(0)
        for name, weight in self._loss_weights:
            loss += weight * blobs[name].data.sum() * np.float32(factors.get(name, 1))
        self.losses.append(loss)
        self.outputs = {
            name: _decimal(value * factors.get(_INDEX.sub("", name), 1))
            for name, (value, _) in _read_outputs(self._net).items()
        }

    def reduce(self) -> None:
        """Take the means over the ranks, between backward and update."""
        self.loss = np.float32(sum(self.losses, np.float32(0)) / np.float32(len(self.losses)))
        self.signal = self._stop.signal or 0
        if self._group.size > 1:
            asked = [self.signal == number for number in _STOP_SIGNALS]
            numbers = np.array([self.loss, *self.outputs.values(), *asked], np.float64)
            self.gradients.take(numbers)
            numbers, counts = np.split(numbers, [-len(asked)])
            self.signal = next((n for n, c in zip(_STOP_SIGNALS, counts, strict=True) if c), 0)
            loss, *means = numbers / self._group.size
            self.loss = np.float32(loss)
            self.outputs = dict(zip(self.outputs, map(_decimal, means), strict=True))


def _first_not_finite(net: Any) -> str | None:
    """Return the first blob of the last forward pass that has an infinity or NaN."""
    for name, blob in net.blobs.items():
        # A gradient that shares the memory has taken the values' place: see HypercolumnTap.
        if not _is_finite(blob) and blob.data.ctypes.data != blob.diff.ctypes.data:
            return f"blob {name!r}"
    return None


def _is_finite(blob: Any) -> bool:
    # The sum may overflow in single precision, not in double.
    return bool(np.isfinite(blob.data.sum(dtype=np.float64)))


def _decimal(value: Any) -> float:
    """Return a number with no more digits than single precision, which is Caffe's, can tell apart."""
    return float(str(np.float32(value)))


_INDEX = re.compile(r"\[\d+\]$")


def _read_outputs(net: Any) -> dict[str, tuple[float, float]]:
    """Name to value and loss weight of every number that a net puts out."""
    weights = net.blob_loss_weights
    result = {}
    for name in net.outputs:
        values = net.blobs[name].data.ravel()
        for index, value in enumerate(values):
            key = name if values.size == 1 else f"{name}[{index}]"
            result[key] = (float(value), float(weights[name]))
    return result


def _same_on_all(group: Group, function: Callable[[], T]) -> T:
    """Call a function on every rank; where it fails on one, all raise `SolverError` with its text."""
    value, problem = None, None
    try:
        value = function()
    except (SolverError, SnapshotError, LockedError) as error:
        problem = str(error)
    problems = [text for text in group.gather(problem) if text is not None]
    if problems:
        raise SolverError(problems[0])
    return value  # type: ignore[return-value]


def _read(job: TrainingJob) -> Any:
    solver = read_solver(job.solver)
    check_files(solver, job.weights)
    return solver


def _write(solver: Any, path: Path) -> None:
    with naming(path):
        path.write_text(text_format.MessageToString(solver), encoding="utf-8")


def _prepare(job: TrainingJob, solver: Any, file: Path) -> Path | None:
    """Make sure that Caffe builds the solver and overwrites nothing; returns the state to resume."""
    prefix = solver.snapshot_prefix
    _write(effective_solver(solver, job.weights), file)
    if job.resume:
        state = newest_usable(prefix, lambda path: probe(file, path), say)
        if state is not None:
            say(f"resuming from {state}")
            return state
        beside = job.solver.parent / Path(prefix).name
        # What a kill left half written where the training is, is no sign of another place.
        if moved := [state for state in find_states(str(beside)) if not is_unfinished(state)]:
            raise SolverError(
                f"{job.solver}: its snapshot_prefix {prefix} has no snapshot, but {moved[0]} is one: "
                "was the folder moved? Correct the paths in the solver and its nets"
            )
    probe(file)
    existing = [*snapshot_files(prefix), *(path for path in log_paths(prefix) if path.exists())]
    if job.resume:
        say(f"{prefix}: no snapshot to resume, starting anew")
    elif existing and not job.force:
        raise SolverError(
            f"{existing[0]}: is of an earlier training; --resume goes on with that, "
            f"--force removes it ({len(existing)} files)"
        )
    elif job.force:
        for path in existing:
            path.unlink()
    return None
