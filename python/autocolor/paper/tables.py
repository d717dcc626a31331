"""The paper's tables beside ours, as Markdown and plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from autocolor.evaluation.evaluate import GREY
from autocolor.evaluation.metrics import Difference, Interval, paired_differences
from autocolor.paper.experiments import ScoredMethod
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
        With every key of the rows and "no colorization".
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
        rows = [row for row in table.rows if not math.isnan(_published(row, metric))]
        agree = surely = against = 0
        for first, second in combinations(rows, 2):
            papers = sign * (_published(second, metric) - _published(first, metric))
            if not papers:
                continue
            ours, others = scores[second.key].metrics, scores[first.key].metrics
            found = paired_differences(ours, others)[metric]
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
        lengths = np.array(
            [
                [value - interval.low for value, interval in zip(values, intervals, strict=True)],
                [interval.high - value for value, interval in zip(values, intervals, strict=True)],
            ]
        )
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
    figure.savefig(path, dpi=120)


def _published(row: Row, metric: str) -> float:
    value = getattr(row.published, metric, None)
    return math.nan if value is None else float(value)
