"""The page of results: tables, figures, what they cost, and how they came about."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from autocolor.core.files import atomic_path
from autocolor.evaluation.evaluate import GREY
from autocolor.evaluation.metrics import ColorMetrics, Difference, Interval, paired_differences
from autocolor.evaluation.report import plot_errors, plot_psnr
from autocolor.paper.experiments import ScoredMethod
from autocolor.paper.published import Row, Table
from autocolor.paper.reproduction import FIGURE_7, FIGURE_8, ReproductionConfig, Results
from autocolor.paper.stages import Cost

_METRICS = {"rmse": ("RMSE (αβ) ↓", 3, 1), "psnr": ("PSNR (RGB) ↑", 2, -1)}


@dataclass(frozen=True)
class Provenance:
    """Where a page comes from; all for the reader."""

    command: str
    commit: str
    date: str
    machine: str
    photos: str = ""  #: Which of them, where not all are used


def write_results(
    results: Results,
    config: ReproductionConfig,
    costs: Mapping[str, Cost],
    provenance: Provenance,
    *,
    samples: Image.Image | None = None,
    page: Path | None = None,
) -> Path:
    """Write ``results.md``, ``results.json`` and the plots into the configuration's ``out``.

    With references that are scenes the names are ``scenes.md`` and so on.

    Parameters
    ----------
    results : Results
    config : ReproductionConfig
    costs : dict of Cost
        By stage.
    provenance : Provenance
    samples : Image, optional
        The picture of Figure 10.
    page : Path, optional
        A copy of the page; its plots go into a folder of its name without ending.

    Returns
    -------
    Path
        The page.
    """
    scores = results.scores
    plots: dict[str, Callable[[Path], None]] = {}
    for table in results.tables:
        plots[f"{table.name}.png"] = partial(plot_table, table, scores)
    if "fig7" in results.figures:
        plots["fig7.png"] = partial(plot_errors, _metrics(scores, FIGURE_7))
    if "fig8" in results.figures:
        plots["fig8.png"] = partial(plot_psnr, _metrics(scores, FIGURE_8))
    if samples is not None:
        plots["fig10.jpg"] = partial(samples.save, quality=90)

    def write(target: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in plots.items():
            with atomic_path(folder / name) as unfinished:
                plot(unfinished)
        relative = os.path.relpath(folder, target.parent)
        text = page_markdown(results, config, costs, provenance, relative)
        with atomic_path(target) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    config.out.mkdir(parents=True, exist_ok=True)
    content = {key: _scores_of(scored, scores[GREY]) for key, scored in scores.items()}
    name = "scenes" if config.references else "results"
    with atomic_path(config.out / f"{name}.json") as unfinished:
        unfinished.write_text(
            json.dumps(
                {
                    "provenance": vars(provenance),
                    "stages": {name: vars(cost) for name, cost in costs.items()},
                    "images": results.images,
                    "skipped": [[str(path), reason] for path, reason in results.skipped],
                    "methods": content,
                },
                indent=2,
            ),
            encoding="utf-8",
        )
    written = config.out / f"{name}.md"
    write(written, config.out / ("plots_scenes" if config.references else "plots"))
    if page is not None:
        write(page, page.with_suffix(""))
    return written


def _metrics(
    scores: Mapping[str, ScoredMethod], names: Mapping[str, str]
) -> dict[str, ColorMetrics]:
    return {name: scores[key].metrics for key, name in names.items() if key in scores}


def _scores_of(scored: ScoredMethod, grey: ScoredMethod) -> dict[str, object]:
    differences = paired_differences(scored.metrics, grey.metrics)
    return {
        "scores": scored.metrics.scores().to_dict(),
        "intervals": {name: vars(value) for name, value in scored.metrics.intervals().items()},
        "differences_to_grey": {name: vars(value) for name, value in differences.items()},
        "seconds_per_photo": scored.seconds_per_photo,
    }


def page_markdown(
    results: Results,
    config: ReproductionConfig,
    costs: Mapping[str, Cost],
    provenance: Provenance,
    plots: str,
) -> str:
    """Return the page; `plots` is the folder of its plots, seen from it."""
    lines = [
        "# Results",
        "",
        "Written by `tools/paper/reproduce.py`: do not edit.",
        "",
        "```",
        provenance.command,
        "```",
        "",
        f"Commit {provenance.commit}, {provenance.date}, {provenance.machine}. "
        f"{results.images} photos are scored at full resolution, in floating point; "
        f"{_how_trained(config)} {provenance.photos}{' ' * bool(provenance.photos)}Numbers in "
        "brackets are 95 % confidence intervals, by a bootstrap over photos; those of differences "
        "are paired. `--rows` with a row's last column computes that row alone.",
        "",
        "**What the tables say.** The paper trains on 1.2 million photos and scores on others of "
        "ImageNet and SUN. Our numbers are of other photos and of far smaller trainings, so levels "
        "cannot be compared with the paper's, not even those of no colorization. What can be "
        "compared is the order of the rows; below each table stands how many pairs agree, and "
        "how many of them are beyond what the choice of photos explains. *Chosen strength* is not "
        "the paper's: chroma is multiplied by a factor that is chosen on validation photos, since a "
        "model that has seen little is unsure, and its errors cost more than its colours gain.",
        "",
    ]
    for table in results.tables:
        lines += [
            f"## {table.title}",
            "",
            f"`python tools/paper/reproduce.py {table.name}`; the paper's numbers are of {table.source}.",
            "",
            table_markdown(table, results.scores),
            f"![{table.title}]({plots}/{table.name}.png)",
            "",
        ]
    for name, title, file in (
        ("fig7", "Figure 7: errors of pixels", "fig7.png"),
        ("fig8", "Figure 8: PSNR of photos", "fig8.png"),
        ("fig10", "Figure 10: diverse colorizations and uncertainty", "fig10.jpg"),
    ):
        if name in results.figures:
            lines += [f"## {title}", "", f"`python tools/paper/reproduce.py {name}`", ""]
            if name == "fig10":
                lines += [
                    "Grey input, four biases of hue, the uncertainty map (yellow: unsure), original.",
                    "",
                ]
            lines += [f"![{title}]({plots}/{file})", ""]
    if results.skipped:
        lines += [f"Skipped {len(results.skipped)}:", ""]
        lines += [*(f"- {reason}" for _, reason in results.skipped), ""]
    total = sum(cost.seconds for cost in costs.values())
    lines += [
        "## What it took",
        "",
        "The most that each stage has taken. Other work on the machine counts for the time; the memory is "
        "what this program and those that it starts hold, together.",
        "",
        "| stage | minutes | peak of memory, MB |",
        "|---|---|---|",
        *(
            f"| {stage} | {cost.seconds / 60:.1f} | {cost.peak_mb:.0f} |"
            for stage, cost in costs.items()
        ),
        f"| all | {total / 60:.1f} | {max(cost.peak_mb for cost in costs.values()):.0f} |",
        "",
        "A method's own time, with the prediction where it is the first to need it:",
        "",
        "| `--rows` | seconds a photo |",
        "|---|---|",
        *(
            f"| `{key}` | {scored.seconds_per_photo:.2f} |"
            for key, scored in results.scores.items()
        ),
        "",
    ]
    return "\n".join(lines)


def _how_trained(config: ReproductionConfig) -> str:
    if config.references:
        learnt = (
            f"The other methods learn from {len(config.references)} photos of scenes, and are told the "
            "class of each where it says GT Scene, C or Q. "
        )
        return learnt + _how_trained(replace(config, references=())).capitalize()
    if config.model is not None:
        return f"the model is {config.model.name}, Table 5 at strength {config.strength:g}."
    how = (
        "All layers are trained."
        if config.end_to_end
        else "VGG-16 stays as it was trained on ImageNet; only the heads learn, from "
        f"{config.features.passes} random crops of each photo with {config.features.locations} "
        "hypercolumns each."
    )
    return (
        f"{len(config.listed('train_lmdb'))} others are trained on, {config.head.minutes:g} minutes "
        f"for each model. {how}"
    )


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
    """Say how many pairs of rows are in the paper's order, how many surely, and which surely are not.

    A pair is ordered surely where the 95 % confidence interval of the paired difference leaves out
    zero. A pair that is surely reversed is compared again with the strengths that were chosen on
    validation photos, where there are such rows: an order that then is no longer sure, or the
    paper's, was one of too much colour and not of the methods.
    """
    lines = []
    for metric, (title, digits, sign) in _METRICS.items():
        rows = [row for row in table.rows if not math.isnan(_published(row, metric))]
        agree = surely = 0
        against = []
        for first, second in combinations(rows, 2):
            papers = sign * (_published(second, metric) - _published(first, metric))
            if not papers:
                continue
            found = _between(scores, second.key, first.key, metric)
            certain = found.low > 0 or found.high < 0
            if sign * found.value * papers > 0:
                agree += 1
                surely += certain
            elif certain:
                text = f"{second.name} − {first.name}: {_difference(found, digits)}"
                chosen = [_chosen(row.key, scores) for row in (second, first)]
                if chosen != [second.key, first.key]:
                    again = _between(scores, chosen[0], chosen[1], metric)
                    text += f", with chosen strengths {_difference(again, digits)}"
                against.append(text)
        total = math.comb(len(rows), 2)
        if total:
            lines += [
                f"{title.split()[0]}: {agree} of {total} pairs of rows come in the paper's order, "
                f"{surely} of them surely (the interval of the paired difference leaves out zero); "
                f"{len(against)} surely in the opposite one{':' if against else '.'}",
                *([""] if against else []),
                *(f"- {text}" for text in against),
                "",
            ]
    return lines[:-1]


def _between(scores: Mapping[str, ScoredMethod], ours: str, others: str, metric: str) -> Difference:
    return paired_differences(scores[ours].metrics, scores[others].metrics)[metric]


def _chosen(key: str, scores: Mapping[str, ScoredMethod]) -> str:
    """Return the key of the same way at the chosen strength, if it was scored."""
    chosen = key.removesuffix("@1") + "@chosen"
    return chosen if key.endswith("@1") and chosen in scores else key


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
