"""The paper's tables and figures beside ours, as Markdown and plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from autocolor.core.files import atomic_path
from autocolor.evaluation.image_errors import ERROR_BIN_WIDTH
from autocolor.evaluation.metrics import PSNR_BIN_WIDTH, Difference, Interval, paired_differences
from autocolor.paper.experiments import GREY, ScoredMethod
from autocolor.paper.published import Published

_METRICS = {"rmse": ("RMSE (αβ) ↓", 3, 1), "psnr": ("PSNR (RGB) ↑", 2, -1)}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    name : str
        As the paper calls it, or our own name for what it does not have.
    key : str
        Of the method: see :mod:`autocolor.paper.experiments`.
    published : Published or None
        The paper's numbers.
    """

    name: str
    key: str
    published: Published | None = None


@dataclass(frozen=True)
class Table:
    """A table of the paper, as far as it can be made here.

    Attributes
    ----------
    name : str
        Such as ``table1``.
    title : str
    source : str
        The photos that the paper's numbers are from.
    rows : sequence of Row
        "No colorization" first.
    missing : str
        What the paper's table has and ours has not, and why; may be empty.
    """

    name: str
    title: str
    source: str
    rows: Sequence[Row]
    missing: str = ""


def table_markdown(table: Table, scores: Mapping[str, ScoredMethod]) -> str:
    """Return a table with confidence intervals, differences to grey, and the paper's numbers.

    Parameters
    ----------
    table : Table
    scores : dict of ScoredMethod
        With every key of the rows and "grey".
    """
    lines = [
        "| | RMSE (αβ) ↓ | PSNR (RGB) ↑ | RMSE − grey's | PSNR − grey's | paper's RMSE | "
        "paper's PSNR | `--rows` |",
        "|---|---|---|---|---|---|---|---|",
    ]
    grey = scores[GREY].metrics
    for row in table.rows:
        metrics = scores[row.key].metrics
        found, intervals = metrics.scores(), metrics.intervals()
        cells = [
            f"{found.rmse:.3f} {_interval(intervals['rmse'], 3)}",
            f"{found.psnr:.2f} {_interval(intervals['psnr'], 2)}",
        ]
        if row.key == GREY:
            cells += ["", ""]
        else:
            differences = paired_differences(metrics, grey)
            cells += [_difference(differences["rmse"], 3), _difference(differences["psnr"], 2)]
        published = row.published
        cells += [
            f"{published.rmse:.3f}" if published else "",
            f"{published.psnr:.2f}" if published and published.psnr is not None else "",
            f"`{row.key}`",
        ]
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    lines += ["", *order_lines(table, scores)]
    if table.missing:
        lines += ["", table.missing]
    return "\n".join(lines) + "\n"


def order_lines(table: Table, scores: Mapping[str, ScoredMethod]) -> list[str]:
    """Say how many pairs of rows are in the paper's order, and how many of them surely.

    A pair is ordered surely where the 95 % confidence interval of the paired difference leaves out
    zero.
    """
    lines = []
    for metric, (title, _, sign) in _METRICS.items():
        rows = [
            row for row in table.rows
            if row.published and getattr(row.published, metric) is not None
        ]  # fmt: skip
        agree = surely = against = 0
        for first, second in combinations(rows, 2):
            papers = sign * (getattr(second.published, metric) - getattr(first.published, metric))
            if not papers:
                continue
            found = paired_differences(scores[second.key].metrics, scores[first.key].metrics)[
                metric
            ]
            certain = found.low > 0 or found.high < 0
            if sign * found.value * papers > 0:
                agree += 1
                surely += certain
            else:
                against += certain
        total = math.comb(len(rows), 2)
        if total:
            lines += [
                f"{title.split()[0]}: {agree} of {total} pairs of rows come in the paper's order, "
                f"{surely} of them surely (the interval of the paired difference leaves out zero); "
                f"{against} surely in the opposite one.",
                "",
            ]
    return lines[:-1]


def _interval(interval: Interval, digits: int) -> str:
    return f"[{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def _difference(difference: Difference, digits: int) -> str:
    interval = f"[{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
    return f"{difference.value:+.{digits}f} {interval}"


def plot_cumulative_errors(
    scores: Mapping[str, ScoredMethod], names: Mapping[str, str], path: Path
) -> None:
    """Plot the share of pixels with at most an alpha-beta error (Fig. 7).

    Parameters
    ----------
    scores : dict of ScoredMethod
    names : dict of str
        Key to name of the methods to show.
    path : Path
        PNG.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, name in names.items():
        counts = scores[key].metrics.error_histogram
        shares = np.cumsum(counts) / counts.sum()
        axes.plot(ERROR_BIN_WIDTH * np.arange(1, len(counts) + 1), shares, label=name)
    axes.set(
        xlabel="αβ error of a pixel", ylabel="share of pixels with at most this error",
        xlim=(0, 1), ylim=(0, 1),
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def plot_psnr_histograms(
    scores: Mapping[str, ScoredMethod], names: Mapping[str, str], path: Path
) -> None:
    """Plot the share of photos by their PSNR (Fig. 8); arguments as of Fig. 7."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    width = 4  # bins of the metric that make a bar: photos are few
    for key, name in names.items():
        counts = scores[key].metrics.psnr_histogram
        grouped = np.add.reduceat(counts, np.arange(0, len(counts), width)) / counts.sum()
        edges = width * PSNR_BIN_WIDTH * np.arange(len(grouped) + 1)
        axes.stairs(grouped, edges, fill=True, alpha=0.35, label=name)
    axes.set(xlabel="PSNR of a photo in dB", ylabel="share of photos", xlim=(8, 42))
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def plot_table(table: Table, scores: Mapping[str, ScoredMethod], path: Path) -> None:
    """Plot both metrics of a table's rows with their intervals, beside the paper's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.2 + 0.35 * len(table.rows)), layout="constrained")
    places = np.arange(len(table.rows))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (metric, (title, _, _)) in zip(panels, _METRICS.items(), strict=True):
        found = [scores[row.key].metrics for row in table.rows]
        values = np.array([getattr(metrics.scores(), metric) for metrics in found])
        intervals = [metrics.intervals()[metric] for metrics in found]
        lengths = np.array([
            [value - interval.low for value, interval in zip(values, intervals, strict=True)],
            [interval.high - value for value, interval in zip(values, intervals, strict=True)],
        ])  # fmt: skip
        # A percentile interval may just miss the value itself.
        axes.errorbar(values, places, xerr=np.maximum(lengths, 0), fmt="o", label="ours, 95 %")
        published = [_published(row, metric) for row in table.rows]
        if not np.isnan(published).all():
            axes.plot(published, places, "kD", mfc="none", label=f"the paper's, {table.source}")
        axes.axvline(values[0], color="tab:blue", linestyle="--", linewidth=1)
        axes.set_yticks(places, [row.name for row in table.rows])
        axes.set_title(title)
        axes.grid(alpha=0.3)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    _save(figure, path)


def _published(row: Row, metric: str) -> float:
    value = getattr(row.published, metric, None)
    return math.nan if value is None else float(value)


def _save(figure: object, path: Path) -> None:
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120)  # type: ignore[attr-defined]
