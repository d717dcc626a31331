"""Run ``caffe train`` and follow its log. Needs the ``caffe`` tool on the PATH, not pycaffe."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ITERATION = re.compile(
    r"Iteration (\d+) \(.*?(?:([\d.]+)s/(\d+) iters)?\), loss = ([-+.\deinfa]+)"
)
_TESTING = re.compile(r"Iteration (\d+), Testing net")
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\w+) = ([-+.\deinfa]+)(?: \(\* ([-+.\deinf]+))?")


class TrainingError(RuntimeError):
    """``caffe train`` failed."""


@dataclass
class Record:
    """What Caffe reported at one iteration.

    Attributes
    ----------
    iteration : int
    phase : {"train", "test"}
    outputs : dict
        Net output to value.
    loss : float
        Sum of the outputs times their loss weights.
    seconds_per_iteration : float or None
        Over the last display interval; None where Caffe has not said.
    """

    iteration: int
    phase: str
    outputs: dict[str, float] = field(default_factory=dict)
    loss: float = 0.0
    seconds_per_iteration: float | None = None


def parse_log(lines: Iterable[str]) -> Iterator[Record]:
    """Yield the records of a log of ``caffe train``, each as soon as the next one starts."""
    record: Record | None = None
    for line in lines:
        started: Record | None = None
        if match := _ITERATION.search(line):
            seconds, count = match.group(2), match.group(3)
            started = Record(int(match.group(1)), "train")
            if seconds and int(count):
                started.seconds_per_iteration = float(seconds) / int(count)
        elif match := _TESTING.search(line):
            started = Record(int(match.group(1)), "test")
        elif match := _OUTPUT.search(line):
            if record is not None and record.phase == match.group(1).lower():
                value = float(match.group(3))
                record.outputs[match.group(2)] = value
                record.loss += value * float(match.group(4) or 0)
        if started is not None:
            if record is not None and record.outputs:
                yield record
            record = started
    if record is not None and record.outputs:
        yield record


def run_caffe_train(
    solver: Path,
    log: Path,
    on_record: Callable[[Record], None],
    *,
    weights: Path | None = None,
    snapshot: Path | None = None,
    seconds: float | None = None,
) -> list[Record]:
    """Train with the ``caffe`` tool and follow it.

    Parameters
    ----------
    solver : Path
        Solver prototxt.
    log : Path
        Gets everything Caffe prints.
    on_record : callable
        Called with each record as it comes.
    weights, snapshot : Path, optional
        Weights to start from, or the ``.solverstate`` to resume.
    seconds : float, optional
        Ask Caffe to snapshot and stop after this long.

    Returns
    -------
    list of Record

    Raises
    ------
    TrainingError
        If Caffe exits with a failure; the message quotes its last words.
    """
    command = ["caffe", "train", f"-solver={solver}", "-sigint_effect=stop"]
    if weights is not None:
        command.append(f"-weights={weights}")
    if snapshot is not None:
        command.append(f"-snapshot={snapshot}")
    started = time.monotonic()
    records: list[Record] = []
    last_lines: list[str] = []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # The log is what is followed, so it must be complete.
            env={**os.environ, "GLOG_minloglevel": "0", "GLOG_logtostderr": "1"},
        )
        assert process.stdout is not None

        def follow() -> Iterator[str]:
            asked_to_stop = False
            for line in process.stdout or ():
                stream.write(line)
                last_lines[:] = [*last_lines[-20:], line.strip()]
                over = seconds is not None and time.monotonic() - started > seconds
                if over and not asked_to_stop:
                    process.send_signal(signal.SIGINT)
                    asked_to_stop = True
                yield line

        try:
            for record in parse_log(follow()):
                records.append(record)
                on_record(record)
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)  # snapshot and stop
            process.wait()
            raise
    if status:
        fatal = [line for line in last_lines if line.startswith("F")] or last_lines[-1:]
        raise TrainingError(f"caffe train exited with status {status}: {' '.join(fatal)} ({log})")
    return records


def write_records(records: Sequence[Record], path: Path) -> None:
    """Write records as CSV."""
    names = sorted({name for record in records for name in record.outputs})
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["iteration", "phase", "loss", *names])
        for record in records:
            outputs = [record.outputs.get(name, "") for name in names]
            writer.writerow([record.iteration, record.phase, record.loss, *outputs])


def plot_records(records: Sequence[Record], path: Path) -> None:
    """Plot training and validation losses against the iteration."""
    from matplotlib.figure import Figure

    names = sorted({name for record in records for name in record.outputs})
    shown = ["loss", *names] if len(names) > 1 else names  # of one output, the sum says no more
    figure = Figure(figsize=(5 * len(shown), 3.5), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        for phase, style in (("train", "-"), ("test", "o-")):
            points = [
                (record.iteration, record.loss if name == "loss" else record.outputs.get(name))
                for record in records
                if record.phase == phase
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style,
                          label="training" if phase == "train" else "validation",
                          alpha=0.6 if phase == "train" else 1)  # fmt: skip
        axes.set_title(name)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)
