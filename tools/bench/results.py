"""What a benchmark is, what it reports, and the report as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import Timing, speedup


@dataclass(frozen=True)
class Settings:
    """How benchmarks run."""

    repetitions: int  #: Timed rounds
    quick: bool  #: Small sizes, to see that everything runs; the ratios then say nothing
    threads: int  #: Threads of OpenMP and OpenBLAS, set in the environment already
    figures: Path  #: Existing folder for plots
    torch_python: str | None = None  #: A Python that has PyTorch, which is then compared with


@dataclass(frozen=True)
class Result:
    """One ratio that was measured, and what it should be."""

    name: str  #: Unique; says what is compared
    ratio: float  #: Measured
    target: float | None  #: What it should reach; None where there is only a number to show
    #: Of the ratio, e.g. ``times faster``, ``times less peak memory``, ``of a training step``.
    unit: str
    at_least: bool  #: Whether `ratio` should be at least `target`, or else at most
    #: The two quantities, as medians
    ours: float
    baseline: float
    value_unit: str  #: Of these, e.g. ``ms`` or ``MB``.
    baseline_name: str  #: What ours is compared with, in a few words

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.ratio >= self.target if self.at_least else self.ratio <= self.target


def faster(
    name: str, ours: Timing, baseline: Timing, than: str, target: float | None = None
) -> Result:
    """Return how many times faster `ours` is than `baseline`, timed in turns, which `than` names."""
    times = 1e3 * ours.median, 1e3 * baseline.median, "ms"
    return Result(name, speedup(baseline, ours), target, "times faster", True, *times, than)


def leaner(
    name: str, ours: float, baseline: float, than: str, target: float | None = None
) -> Result:
    """Return how many times less memory, in bytes, is taken than by what `than` names."""
    ratio = baseline / ours
    return Result(name, ratio, target, "times less", True, ours / 1e6, baseline / 1e6, "MB", than)


def differs(name: str, difference: float, limit: float, unit: str, than: str) -> Result:
    """Return how far a result is from what `than` names, and may be at most."""
    return Result(name, difference, limit, unit, False, difference, 0, "", than)


@dataclass(frozen=True)
class Report:
    """What one benchmark found."""

    results: Sequence[Result]
    #: Markdown that stands below the benchmark's heading: how it is measured, what misses its
    #: target and why, further tables
    notes: str = ""
    #: File names in `Settings.figures`, and their captions
    figures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark; modules of this folder have theirs in ``BENCHMARKS``."""

    name: str  #: Unique, in lower case with underscores: what ``--only`` takes
    title: str  #: Heading in the report
    #: Takes `Settings`, returns a `Report`. It is called in a process of its own, so it must be
    #: defined at the top of its module.
    run: Callable[[Settings], Report]


def report_as_json(report: Report) -> dict[str, Any]:
    """Return a report as JSON can hold it; :func:`report_from_json` reads it."""
    return {
        "results": [{**asdict(result), "met": result.met} for result in report.results],
        "notes": report.notes,
        "figures": dict(report.figures),
    }


def report_from_json(data: Mapping[str, Any]) -> Report:
    """Return the report of :func:`report_as_json`."""
    results = [
        Result(**{key: value for key, value in result.items() if key != "met"})
        for result in data["results"]
    ]
    return Report(results, data["notes"], data["figures"])


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _row(result: Result) -> str:
    target = "—"
    if result.target is not None:
        target = f"{'≥' if result.at_least else '≤'} {_number(result.target)}"
    met = {True: "yes", False: "**no**", None: "—"}[result.met]
    return (
        f"| {result.name} | {_number(result.ratio)} {result.unit} | {target} | {met} "
        f"| {_number(result.ours)} {result.value_unit} "
        f"| {_number(result.baseline)} {result.value_unit}: {result.baseline_name} |\n"
    )


def results_table(results: Sequence[Result]) -> str:
    """Return results as a Markdown table."""
    header = "| what | ratio | target | met | ours | compared with |\n|---|---|---|---|---|---|\n"
    return header + "".join(map(_row, results))


def performance_markdown(
    machine: Mapping[str, str], reports: Mapping[str, Report], figure_folder: str
) -> str:
    """Return the whole report: what was measured on, and what was found, by heading.

    Figures are in `figure_folder`, seen from the Markdown.
    """
    parts = [
        "# Performance\n\nWritten by `python tools/bench/run.py --markdown docs/performance.md`. "
        "Every ratio was measured in one run, both sides with the same compiler flags and warm, in "
        "turns; times are medians, and a ratio is the median over the rounds.\n\n"
        "| measured | |\n|---|---|\n",
        *(f"| {name} | {value} |\n" for name, value in machine.items()),
        "\n",
        results_table([result for report in reports.values() for result in report.results]),
    ]
    for title, report in reports.items():
        parts.append(f"\n## {title}\n")
        if report.notes:
            parts.append(f"\n{report.notes.strip()}\n")
        for name, caption in report.figures.items():
            parts.append(f"\n![{caption}]({figure_folder}/{name})\n")
    return "".join(parts)
