"""What a training reports: read from the log of ``caffe train``, kept as a table, JSON lines and a plot."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from autocolor.core.errors import AutocolorError
from autocolor.core.files import atomic_path, naming, write_atomically

_ITERATION = re.compile(
    r"Iteration (\d+) \(.*?(?:([\d.e+-]+)s/(\d+) iters)?\), loss = ([-+.\deinfa]+)"
)
_TESTING = re.compile(r"Iteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(
    r"(Train|Test) net output #\d+: (\S+) = ([-+.\deinfa]+)(?: \(\* ([-+.\deinf]+))?"
)
_RATE = re.compile(r"Iteration \d+, lr = ([-+.\deinfa]+)")
# Older versions of glog leave the year out.
_TIME = re.compile(r"^[IWEF](\d{4})?(\d{4} \d\d:\d\d:\d\d)")
_PLOT_INTERVAL = 60.0  # seconds


class LogError(AutocolorError):
    """A log without any iteration; one line."""


@dataclass
class Record:
    """What Caffe reported at one iteration."""

    iteration: int
    #: ``train``, ``test``, or for the solver's further test nets ``test 1``, ``test 2``, …
    phase: str
    #: Net output to value; an output of several numbers has the names ``name[0]``, ``name[1]``, …
    outputs: dict[str, float] = field(default_factory=dict)
    loss: float = 0.0  #: Sum of the outputs times their loss weights
    #: Over the last display interval; None where Caffe has not said
    seconds_per_iteration: float | None = None
    #: Mean loss of the last ``average_loss`` iterations; of the phase ``train`` only
    smoothed_loss: float | None = None
    learning_rate: float | None = None  #: Of the phase ``train`` only
    seconds: float | None = None  #: Since the training began

    def add_output(self, name: str, value: float) -> None:
        """Add a number of the output `name`; a second one makes the names ``name[0]``, ``name[1]``."""
        if name in self.outputs:
            self.outputs[f"{name}[0]"] = self.outputs.pop(name)
        if f"{name}[0]" in self.outputs:
            name = f"{name}[{sum(key.startswith(f'{name}[') for key in self.outputs)}]"
        self.outputs[name] = value


def parse_log(lines: Iterable[str]) -> Iterator[Record]:
    """Yield the records of a log of ``caffe train``, each as soon as the next one starts."""
    record: Record | None = None
    first_time: datetime | None = None
    for line in lines:
        started: Record | None = None
        if match := _ITERATION.search(line):
            seconds, count = match.group(2), match.group(3)
            started = Record(int(match.group(1)), "train", smoothed_loss=_number(match.group(4)))
            if seconds and int(count):
                started.seconds_per_iteration = float(seconds) / int(count)
        elif match := _TESTING.search(line):
            net = int(match.group(2))
            started = Record(int(match.group(1)), f"test {net}" if net else "test")
        elif match := _OUTPUT.search(line):
            if record is not None and record.phase.startswith(match.group(1).lower()):
                value = _number(match.group(3))
                record.add_output(match.group(2), value)
                record.loss += value * _number(match.group(4) or "0")
        elif (match := _RATE.search(line)) and record is not None and record.phase == "train":
            record.learning_rate = _number(match.group(1))
        if started is not None:
            if time_of_line := _time_of(line):
                first_time = first_time or time_of_line
                started.seconds = (time_of_line - first_time).total_seconds()
            if record is not None and record.outputs:
                yield record
            record = started
    if record is not None and record.outputs:
        yield record


def _number(text: str) -> float:
    """Read a number of a log; what is none, in a damaged line, is NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _time_of(line: str) -> datetime | None:
    match = _TIME.match(line)
    if match is None:
        return None
    try:  # any leap year will do where none is given
        return datetime.strptime(f"{match.group(1) or 2000}{match.group(2)}", "%Y%m%d %H:%M:%S")
    except ValueError:
        return None


def drop_overtaken(records: Iterable[Record]) -> list[Record]:
    """Keep what counts where a training was resumed: later records win over earlier ones.

    A training that was killed at iteration 150 and resumed from its snapshot at 100 has gone
    through 100 to 150 twice.
    """
    kept: list[Record] = []
    for record in records:
        while kept and kept[-1].iteration > record.iteration:
            kept.pop()
        same = [r for r in kept[-8:] if r.iteration == record.iteration]
        if any(r.phase == record.phase for r in same):
            del kept[-len(same) :]
        kept.append(record)
    return kept


def read_log(path: Path) -> list[Record]:
    """Read the records of a whole log of ``caffe train``, which may have been cut off anywhere.

    Raises
    ------
    LogError
        If there are none.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()  # a number may lack its last digits
    records = list(parse_log(lines))
    if len(records) > 1:
        same = [record for record in records[:-1] if record.phase == records[-1].phase]
        if same and len(records[-1].outputs) < len(same[-1].outputs):
            records.pop()  # cut off in the middle: its loss would be the sum of a part
    if not records:
        raise LogError(f"{path}: expected a log of caffe train, got one without any iteration")
    return drop_overtaken(records)


COLUMNS = ("iteration", "phase", "seconds", "learning_rate", "smoothed_loss", "loss")
"""Columns of the table before those of the net's outputs."""


def _output_names(records: Iterable[Record]) -> list[str]:
    return sorted({name for record in records for name in record.outputs})


def write_records(records: Sequence[Record], path: Path) -> None:
    """Write records as CSV, whole or not at all."""
    write_atomically(path, _table(records, _output_names(records), end="\r\n"))


def _table(
    records: Iterable[Record], names: Sequence[str], *, heading: bool = True, end: str = "\n"
) -> str:
    """Return CSV of records under `COLUMNS` and the outputs `names`, empty where one has none."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end)
    if heading:
        writer.writerow([*COLUMNS, *names])
    for record in records:
        common = [getattr(record, column) for column in COLUMNS]
        writer.writerow([*common, *map(record.outputs.get, names)])
    return stream.getvalue()


def plot_records(records: Sequence[Record], path: Path) -> None:
    """Plot the losses and all other outputs against the iteration, whole or not at all."""
    from matplotlib.figure import Figure

    def value(record: Record, name: str) -> float | None:
        return record.loss if name == "loss" else record.outputs.get(name)

    names = ["loss", *(name for name in _output_names(records) if name != "loss")]
    phases = sorted({record.phase for record in records}, reverse=True)
    figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for phase in phases:
            points = [(r.iteration, value(r, name)) for r in records if r.phase == phase]
            if any(number is not None for _, number in points):
                training = phase == "train"
                axes.plot(
                    *zip(*points, strict=True),
                    "-" if training else "o-",
                    label="training" if training else phase.replace("test", "validation"),
                    alpha=0.6 if training else 1,
                )
        axes.set_title(name)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.legend()
    smoothed = [(r.iteration, r.smoothed_loss) for r in records if r.smoothed_loss is not None]
    if smoothed:
        axes = figure.axes[0]
        axes.plot(*zip(*smoothed, strict=True), label="training, smoothed")
        axes.legend()
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120)


def log_paths(prefix: str) -> tuple[Path, Path, Path]:
    """Return the files of the log beside the snapshots: CSV, JSON lines, plot."""
    csv_file, json_file, plot = (Path(f"{prefix}_log{e}") for e in (".csv", ".jsonl", ".png"))
    return csv_file, json_file, plot


class TrainingLog:
    """Writes each record as it comes, into the files of `log_paths`.

    Its `records` may have the outputs `names`. What an earlier run has logged before the `iteration` where
    the training starts is kept; what it did after the snapshot that is resumed is done again, and dropped.
    """

    def __init__(self, prefix: str, names: Sequence[str], iteration: int) -> None:
        self._csv, self._json, self._plot = log_paths(prefix)
        self._names = list(names)
        self._plotted = time.monotonic()
        earlier = read_json_lines(self._json) if iteration else []
        self.records = [r for r in drop_overtaken(earlier) if r.iteration < iteration]
        write_atomically(self._csv, _table(self.records, self._names))
        write_atomically(self._json, "".join(map(_json_line, self.records)))

    def add(self, record: Record) -> None:
        """Append a record to both files, and now and then plot anew."""
        self.records.append(record)
        with naming(self._csv), self._csv.open("a", encoding="utf-8") as stream:
            stream.write(_table([record], self._names, heading=False))
        with naming(self._json), self._json.open("a", encoding="utf-8") as stream:
            stream.write(_json_line(record))
        if time.monotonic() - self._plotted > _PLOT_INTERVAL:
            self.plot()

    def plot(self) -> None:
        """Plot all records."""
        if self.records:
            plot_records(self.records, self._plot)
            # A figure is full of cycles: tens of megabytes gather before Python looks by itself.
            gc.collect()
        self._plotted = time.monotonic()


def _json_line(record: Record) -> str:
    def finite(value: Any) -> Any:  # JSON knows neither NaN nor infinity
        if isinstance(value, dict):
            return {name: finite(item) for name, item in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(finite(asdict(record))) + "\n"


def read_json_lines(path: Path) -> list[Record]:
    """Read back what `TrainingLog` wrote; a last line that was cut off is left out."""
    records = []
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = Record(**json.loads(line))
            except (ValueError, TypeError):
                continue
            nan = math.nan
            record.loss = nan if record.loss is None else record.loss
            record.outputs = {k: nan if v is None else v for k, v in record.outputs.items()}
            records.append(record)
    return records
