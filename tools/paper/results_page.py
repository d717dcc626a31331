"""The page of results: tables, figures, what they cost, and how they came about."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autocolor.core.files import atomic_path
from autocolor.evaluation.evaluate import GREY
from autocolor.evaluation.metrics import ColorMetrics, paired_differences
from autocolor.evaluation.report import plot_errors, plot_psnr
from autocolor.paper.experiments import ScoredMethod
from autocolor.paper.reproduction import FIGURE_7, FIGURE_8, ReproductionConfig, Results
from autocolor.paper.tables import plot_table, table_markdown


@dataclass(frozen=True)
class Provenance:
    """Where a page comes from; all for the reader."""

    command: str
    commit: str
    date: str
    machine: str


def write_results(
    results: Results,
    config: ReproductionConfig,
    seconds: Mapping[str, float],
    provenance: Provenance,
    page: Path | None = None,
) -> Path:
    """Write ``results.md``, ``results.json`` and the plots into the configuration's ``out``.

    Parameters
    ----------
    results : Results
    config : ReproductionConfig
    seconds : dict of float
        By stage.
    provenance : Provenance
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
    if results.samples is not None:
        sheet = results.samples
        plots["fig10.jpg"] = lambda path: sheet.save(path, quality=90)

    def write(target: Path, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, plot in plots.items():
            with atomic_path(folder / name) as unfinished:
                plot(unfinished)
        relative = os.path.relpath(folder, target.parent)
        text = page_markdown(results, config, seconds, provenance, relative)
        with atomic_path(target) as unfinished:
            unfinished.write_text(text, encoding="utf-8")

    config.out.mkdir(parents=True, exist_ok=True)
    content = {key: _scores_of(scored, scores[GREY]) for key, scored in scores.items()}
    with atomic_path(config.out / "results.json") as unfinished:
        unfinished.write_text(
            json.dumps(
                {
                    "provenance": vars(provenance),
                    "seconds": seconds,
                    "images": results.images,
                    "skipped": [[str(path), reason] for path, reason in results.skipped],
                    "methods": content,
                },
                indent=2,
            ),
            encoding="utf-8",
        )
    written = config.out / "results.md"
    write(written, config.out / "plots")
    if page is not None:
        write(page, page.with_suffix(""))
    return written


def _metrics(
    scores: Mapping[str, ScoredMethod], names: Mapping[str, str]
) -> dict[str, ColorMetrics]:
    return {name: scores[key].metrics for key, name in names.items()}


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
    seconds: Mapping[str, float],
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
        f"{_how_trained(config)} Numbers in "
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
    total = sum(seconds.values())
    lines += [
        "## What it took",
        "",
        "The longest that each stage has taken; other work on the machine counts.",
        "",
        "| stage | minutes |",
        "|---|---|",
        *(f"| {stage} | {value / 60:.1f} |" for stage, value in seconds.items()),
        f"| all | {total / 60:.1f} |",
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
    if config.model is not None:
        return f"the model is that of {config.model}, Table 5 at strength {config.strength:g}."
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
