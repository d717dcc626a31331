"""What the stages of a reproduction take: their time and their memory."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from autocolor.core.files import write_atomically

_FILE = "stages.json"
_EVERY = 0.25  # seconds between two looks at the memory


@dataclass
class Cost:
    """What a stage has taken."""

    seconds: float = 0.0
    #: Largest sum, in MB, of what this process and those that it started held in memory, seen four
    #: times a second
    peak_mb: float = 0.0


class Stages:
    """Measures stages, which may lie within each other, and keeps the most that each has taken.

    A stage whose results are kept takes next to nothing when it is run again.

    Parameters
    ----------
    folder : Path
        Keeps the costs of all runs.
    report : callable
        Called with a line for each stage that ends.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda line: None) -> None:
        self._path = folder / _FILE
        self._report = report
        self._inner = 0.0  # seconds of the stages within the present one
        self.costs: dict[str, Cost] = {}  #: Of this run, by stage

    @contextmanager
    def timed(self, name: str) -> Iterator[Cost]:
        """Add a stage's time, without that of stages within it, and note its peak of memory.

        What is yielded may be given the `seconds` of a stage that knows them from an earlier run.
        """
        cost, known = self.costs.setdefault(name, Cost()), Cost()
        started = time.monotonic()
        outer, self._inner = self._inner, 0.0
        with _peak_memory(cost):
            yield known
        elapsed = time.monotonic() - started
        cost.seconds = known.seconds or cost.seconds + elapsed - self._inner
        self._inner = outer + elapsed
        self._report(f"{name}: {cost.seconds / 60:.1f} minutes, {cost.peak_mb:.0f} MB at most")

    def most(self) -> dict[str, Cost]:
        """Return the most that each stage has taken, in this run or an earlier one; keeps that."""
        known: dict[str, Cost] = {}
        if self._path.exists():
            content = json.loads(self._path.read_text(encoding="utf-8"))
            known = {name: Cost(**cost) for name, cost in content.items()}
        for name, cost in self.costs.items():
            kept = known.get(name, Cost())
            known[name] = Cost(max(cost.seconds, kept.seconds), max(cost.peak_mb, kept.peak_mb))
        content = {name: asdict(cost) for name, cost in known.items()}
        write_atomically(self._path, json.dumps(content, indent=2) + "\n")
        return known


@contextmanager
def _peak_memory(cost: Cost) -> Iterator[None]:
    done = threading.Event()

    def look() -> None:
        while True:
            cost.peak_mb = max(cost.peak_mb, _resident_mb())
            if done.wait(_EVERY):
                break

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _resident_mb() -> float:
    process = psutil.Process()
    total = 0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended
            total += one.memory_info().rss
    return total / 1e6
