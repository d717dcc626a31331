"""The page of results: tables, figures, what they cost, and how they came about."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from autocolor.core.files import atomic_path, write_atomically
from autocolor.evaluation.evaluate import GREY
from autocolor.evaluation.metrics import Difference, Interval, paired_differences
from autocolor.evaluation.report import plot_errors, plot_psnr
from autocolor.paper.experiments import ScoredMethod
from autocolor.paper.published import Row, Table
from autocolor.paper.reproduction import ReproductionConfig, Results
from autocolor.paper.stages import Cost
from autocolor.runtime.model_folder import Manifest

_FIGURES = {
    "fig7": ("Figure 7: errors of pixels", "fig7.png"),
    "fig8": ("Figure 8: PSNR of photos", "fig8.png"),
    "fig10": ("Figure 10: diverse colorizations and uncertainty", "fig10.jpg"),
}
_METRICS = {"rmse": ("RMSE (αβ) ↓", 3, 1), "psnr": ("PSNR (RGB) ↑", 2, -1)}


@dataclass(frozen=True)
class Provenance:
    """Where a page comes from; all for the reader."""

    command: str
    commit: str
    date: str
    machine: str


@dataclass(frozen=True)
class Run:
    """Tables and figures of one list of photos, by one configuration."""

    results: Results
    config: ReproductionConfig
    photos: str = ""  #: In words: which are taken, where not all are
    samples: Image.Image | None = None  #: The picture of Figure 10

    def plots(self) -> dict[str, Callable[[Path], None]]:
        """Return the functions that draw the plots, by the names of their files."""
        scores = self.results.scores
        plots: dict[str, Callable[[Path], None]] = {
            f"{table.name}.png": partial(plot_table, table, scores) for table in self.results.tables
        }
        for name, plot in (("fig7", plot_errors), ("fig8", plot_psnr)):
            if name in self.results.figures:
                methods = self.results.figures[name].items()
                metrics = {title: scores[key].metrics for key, title in methods}
                plots[f"{name}.png"] = partial(plot, metrics)
        if self.samples is not None:
            plots["fig10.jpg"] = partial(self.samples.save, quality=90)
        return plots


def write_results(
    runs: Sequence[Run],
    costs: Mapping[str, Cost],
    provenance: Provenance,
    *,
    page: Path | None = None,
) -> Path:
    """Write ``results.md``, the plots, and ``results.json``, into the configurations' ``out``.

    The page has all runs; it is ``scenes.md`` where all are of scenes. The numbers of scenes are in
    ``scenes.json``, and those of a model that is there, beside others that were trained, in
    ``results_of_model.json``.

    Parameters
    ----------
    runs : sequence of Run
        At least one, all with the same ``out``.
    costs : dict of Cost
        By stage.
    provenance : Provenance
    page : Path, optional
        A copy of the page; its plots go into a folder of its name without ending.

    Returns
    -------
    Path
        The page.
    """
    out = runs[0].config.out
    out.mkdir(parents=True, exist_ok=True)
    plots = {name: plot for run in runs for name, plot in run.plots().items()}

    def write(target: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in plots.items():
            with atomic_path(folder / name) as unfinished:
                plot(unfinished)
        relative = os.path.relpath(folder, target.parent)
        write_atomically(target, page_markdown(runs, costs, provenance, relative))

    stages = {name: vars(cost) for name, cost in costs.items()}
    for run in runs:
        name, scores = _name(run, runs), run.results.scores
        content = {
            "provenance": {**vars(provenance), "photos": run.photos},
            "stages": stages,
            "images": run.results.images,
            "skipped": [[str(path), reason] for path, reason in run.results.skipped],
            "methods": {key: _scores_of(scored, scores[GREY]) for key, scored in scores.items()},
        }
        write_atomically(out / f"{name}.json", json.dumps(content, indent=2))
    all_scenes = all(run.config.references for run in runs)
    written = out / ("scenes.md" if all_scenes else "results.md")
    write(written, out / ("plots_scenes" if all_scenes else "plots"))
    if page is not None:
        write(page, page.with_suffix(""))
    return written


def _name(run: Run, runs: Sequence[Run]) -> str:
    """Return the name of a run's file of numbers."""
    if run.config.references:
        return "scenes"
    trained = any(other.config.model is None and not other.config.references for other in runs)
    return "results_of_model" if trained and run.config.model is not None else "results"


def _scores_of(scored: ScoredMethod, grey: ScoredMethod) -> dict[str, object]:
    differences = paired_differences(scored.metrics, grey.metrics)
    return {
        "scores": scored.metrics.scores().to_dict(),
        "intervals": {name: vars(value) for name, value in scored.metrics.intervals().items()},
        "differences_to_grey": {name: vars(value) for name, value in differences.items()},
        "seconds_per_photo": scored.seconds_per_photo,
    }


def page_markdown(
    runs: Sequence[Run], costs: Mapping[str, Cost], provenance: Provenance, plots: str
) -> str:
    """Return the page; `plots` is the folder of its plots, seen from it."""
    models = {Manifest.load(model).name for run in runs if (model := run.config.model) is not None}
    of_one = len(models) == 1 and all(run.config.model is not None for run in runs)
    lines = [
        f"# Results of the model {models.pop()}" if of_one else "# Results",
        "",
        "Written by `tools/paper/reproduce.py`: do not edit.",
        "",
        "```",
        provenance.command,
        "```",
        "",
        f"Commit {provenance.commit}, {provenance.date}, {provenance.machine}. Numbers in "
        "brackets are 95 % confidence intervals, by a bootstrap over photos; those of differences "
        "are paired. `--rows` with a row's last column computes that row alone.",
        "",
        *(line for run in runs for line in (_of_photos(run), "")),
        "**What the tables say.** The paper trains on 1.2 million photos and scores on others of "
        "ImageNet and SUN. Our numbers are of other photos and of far smaller trainings, so levels "
        "cannot be compared with the paper's, not even those of no colorization. What can be "
        "compared is the order of the rows; below each table stands how many pairs agree, and "
        "how many of them are beyond what the choice of photos explains. *Chosen strength* is not "
        "the paper's: chroma is multiplied by a factor that is chosen on validation photos, since a "
        "model that has seen little is unsure, and its errors cost more than its colours gain.",
        "",
    ]
    for run in runs:
        lines += _run_markdown(run, plots)
    total = sum(cost.seconds for cost in costs.values())
    scores = {key: scored for run in runs for key, scored in run.results.scores.items()}
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
        *(f"| `{key}` | {scored.seconds_per_photo:.2f} |" for key, scored in scores.items()),
        "",
    ]
    return "\n".join(lines)


def _run_markdown(run: Run, plots: str) -> list[str]:
    """Return the lines of a run's tables and figures."""
    results, lines = run.results, []
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
    for name in results.figures:
        title, file = _FIGURES[name]
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
    return lines


def _of_photos(run: Run) -> str:
    """Say of which photos a run's tables and figures are, and of which models."""
    titles = [table.title.partition(":")[0] for table in run.results.tables]
    titles += [_FIGURES[name][0].partition(":")[0] for name in run.results.figures]
    text = (
        f"**{', '.join(titles)}.** {run.results.images} photos are scored at full resolution, in "
        f"floating point. {run.photos}"
    )
    config = run.config
    learnt = []
    if config.references:
        learnt.append(
            f"The other methods learn from {len(config.references)} photos of scenes, and are told "
            "the class of each where it says GT Scene, C or Q."
        )
    if config.model is not None:
        at = f", Table 5 at strength {config.strength:g}" if "Table 5" in titles else ""
        learnt.append(f"Ours is the model {Manifest.load(config.model).name}{at}.")
    else:
        learnt.append(_how_trained(config))
    return " ".join([text.rstrip(), *learnt])


def _how_trained(config: ReproductionConfig) -> str:
    how = (
        "All layers are trained."
        if config.end_to_end
        else "VGG-16 stays as it was trained on ImageNet; only the heads learn, from "
        f"{config.features.passes} random crops of each photo with {config.features.locations} "
        "hypercolumns each."
    )
    return (
        f"Ours learn from {len(config.listed('train_lmdb'))} others, {config.head.minutes:g} minutes "
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
        total = agree = surely = 0
        against = []
        for first, second in combinations(rows, 2):
            papers = sign * (_published(second, metric) - _published(first, metric))
            if not papers:  # equal in the paper
                continue
            total += 1
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
