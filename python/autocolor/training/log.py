"""The log of a training while it runs: a table, JSON lines and a plot."""

from __future__ import annotations

import csv
import gc
import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autocolor.core.files import atomic_path
from autocolor.training.caffe_train import COLUMNS, Record, drop_overtaken, plot_records, table_row

_PLOT_INTERVAL = 60.0  # seconds


def log_paths(prefix: str) -> tuple[Path, Path, Path]:
    """Return the files of the log beside the snapshots: CSV, JSON lines, plot."""
    csv_file, json_file, plot = (Path(f"{prefix}_log{e}") for e in (".csv", ".jsonl", ".png"))
    return csv_file, json_file, plot


class TrainingLog:
    """Writes each record as it comes.

    Parameters
    ----------
    prefix : str
        The solver's ``snapshot_prefix``; see `log_paths`.
    names : sequence of str
        All outputs that records may have.
    iteration : int
        Where the training starts. What an earlier run has logged before this is kept; what it did
        after the snapshot that is resumed is done again, and dropped.

    Attributes
    ----------
    records : list of Record
    """

    def __init__(self, prefix: str, names: Sequence[str], iteration: int) -> None:
        self._csv, self._json, self._plot = log_paths(prefix)
        self._names = list(names)
        self._plotted = time.monotonic()
        earlier = read_json_lines(self._json) if iteration else []
        self.records = [r for r in drop_overtaken(earlier) if r.iteration < iteration]
        with atomic_path(self._csv) as partial, partial.open("w", encoding="utf-8") as stream:
            self._write_rows(stream, self.records, heading=True)
        with atomic_path(self._json) as partial:
            partial.write_text("".join(map(_json_line, self.records)), encoding="utf-8")

    def _write_rows(self, stream: Any, records: Iterable[Record], *, heading: bool) -> None:
        writer = csv.writer(stream, lineterminator="\n")
        if heading:
            writer.writerow([*COLUMNS, *self._names])
        writer.writerows(table_row(record, self._names) for record in records)

    def add(self, record: Record) -> None:
        """Append a record to both files, and now and then plot anew."""
        self.records.append(record)
        with self._csv.open("a", encoding="utf-8") as stream:
            self._write_rows(stream, [record], heading=False)
        with self._json.open("a", encoding="utf-8") as stream:
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
