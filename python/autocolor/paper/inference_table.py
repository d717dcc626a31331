"""The paper's comparison of inference methods (Table 5) on any photos and model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from autocolor.core.files import atomic_path, file_sha256
from autocolor.evaluation.evaluate import (
    GREY,
    EvaluationProtocol,
    add_photo,
    grey_image,
    read_color,
)
from autocolor.evaluation.image_errors import Truth
from autocolor.evaluation.metrics import ColorMetrics, Scores
from autocolor.histograms.decode import METHODS, DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError
from autocolor.paper.published import TABLE_1, Published
from autocolor.paper.published import TABLE_5 as PUBLISHED_ROWS
from autocolor.runtime.colorizer import Colorizer

_FADED = " + CF"  # in the names of rows with chromatic fading


@dataclass(frozen=True)
class InferenceMethod:
    """One row: how a colour is taken from the histograms.

    Attributes
    ----------
    method : str
        Of chroma, or of a and b.
    fading : bool
        Chromatic fading (Eq. 5).
    published : Published, optional
        Table 5, on ImageNet/cval1k.
    """

    method: str
    fading: bool = False
    published: Published | None = None

    @property
    def name(self) -> str:
        """Its name in reports."""
        return self.method + _FADED * self.fading


TABLE_5 = tuple(
    InferenceMethod(name.removesuffix(_FADED), name.endswith(_FADED), numbers)
    for name, numbers in PUBLISHED_ROWS.items()
)
"""The rows of Table 5; hue is sampled with the sample, the mode with the mode, else expected."""


@dataclass(frozen=True)
class InferenceTable:
    """What :func:`compare_methods` found.

    Attributes
    ----------
    model : str
    variant : str
    strength : float
    seed : int
    rows : list of (InferenceMethod, Scores)
    grey : Scores
        Of "no colorization".
    images : int
        Photos scored.
    skipped : list of (path, reason)
    photos_sha256 : str
        As in :class:`autocolor.evaluation.evaluate.Evaluation`.
    """

    model: str
    variant: str
    strength: float
    seed: int
    rows: list[tuple[InferenceMethod, Scores]]
    grey: Scores
    images: int
    skipped: list[tuple[Path, str]]
    photos_sha256: str


def compare_methods(
    colorizer: Colorizer,
    paths: Sequence[Path],
    *,
    strength: float = 1.0,
    seed: int = 0,
    progress: bool = True,
) -> InferenceTable:
    """Score every inference method on each photo at full resolution.

    The network runs once for each photo. Of a model of hue and chroma the methods are the six of
    Table 5, of Lab histograms the four of section 3.3. Photos that cannot be read or have no colour
    are skipped and listed.

    Parameters
    ----------
    colorizer : Colorizer
    paths : sequence of Path
    strength : float
        Factor on chroma, or on a and b; the paper has none, that is 1.
    seed : int
        Of the samples, which are drawn for each pixel; photo n starts from (seed, n).
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    ValueError
        If the model predicts no histograms, no photo could be scored, or `strength` is out of
        range.
    """
    variant = colorizer.manifest.variant
    if variant == "hue_chroma":
        methods: tuple[InferenceMethod, ...] = TABLE_5
    else:
        methods = tuple(InferenceMethod(method) for method in METHODS)
    DecodeOptions(methods[0].method).methods(variant)
    metrics = [ColorMetrics(replicates=0) for _ in methods]
    grey = ColorMetrics(replicates=0)
    skipped: list[tuple[Path, str]] = []
    digest = hashlib.sha256()
    for number, path in enumerate(tqdm(paths, unit="photo", disable=not progress)):
        try:
            truth = read_color(path)
        except ImageError as error:
            skipped.append((path, str(error)))
            continue
        light = lightness(truth)
        prediction = colorizer.predict(light)
        shared = Truth(truth)
        for row, metric in zip(methods, metrics, strict=True):
            rng = np.random.default_rng([seed, number])
            metric.add(
                shared,
                prediction.colorize(
                    method=row.method, fading=row.fading, strength=strength, rng=rng
                ),
            )
        grey.add(shared, grey_image(light))
        add_photo(digest, path.name, file_sha256(path))
    if not grey.images:
        reason = f"; the first was skipped: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"paths: expected at least one colour photo, received none{reason}")
    return InferenceTable(
        colorizer.manifest.name,
        variant,
        strength,
        seed,
        [(row, metric.scores()) for row, metric in zip(methods, metrics, strict=True)],
        grey.scores(),
        grey.images,
        skipped,
        digest.hexdigest(),
    )


def inference_markdown(table: InferenceTable) -> str:
    """Return the table as Markdown, beside the numbers of the paper where it has them."""
    published = any(row.published for row, _ in table.rows)
    published_grey = TABLE_1[GREY]
    grey = f" {published_grey.rmse:.3f} | {published_grey.psnr:.2f} dB |"
    lines = [
        f"| {table.images} photos, {table.model}, strength {table.strength:g} "
        "| RMSE (αβ) ↓ | PSNR (RGB) ↑ |" + (" paper's RMSE | paper's PSNR |" if published else ""),
        "|---|---|---|" + ("---|---|" if published else ""),
        f"| {GREY} | {table.grey.rmse:.3f} | {table.grey.psnr:.2f} dB |"
        + (grey if published else ""),
    ]
    for row, scores in table.rows:
        line = f"| {row.name} | {scores.rmse:.3f} | {scores.psnr:.2f} dB |"
        if row.published:
            line += f" {row.published.rmse:.3f} | {row.published.psnr:.2f} dB |"
        lines.append(line)
    lines += ["", *_orders(table)]
    if table.skipped:
        lines += ["", f"Skipped {len(table.skipped)}:", ""]
        lines += [f"- {reason}" for _, reason in table.skipped]
    return "\n".join(lines) + "\n"


def _orders(table: InferenceTable) -> list[str]:
    """Return a line for each metric with the methods from best to worst, and the paper's order."""
    lines = []
    for metric, sign in (("rmse", 1), ("psnr", -1)):
        found = sorted(table.rows, key=lambda pair: sign * getattr(pair[1], metric))
        line = f"{metric.upper()}, best first: {', '.join(row.name for row, _ in found)}."
        published = [row for row, _ in table.rows if row.published]
        if published:
            papers = sorted(published, key=lambda row: sign * getattr(row.published, metric))
            same = [row for row, _ in found] == papers
            line += " The paper's order" + (
                " is the same." if same else f": {', '.join(row.name for row in papers)}."
            )
        lines += [line, ""]
    return lines[:-1]


def write_inference_table(table: InferenceTable, folder: Path) -> None:
    """Write inference.json, inference.md and inference.png into `folder`, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model_name": table.model,
        "variant": table.variant,
        "strength": table.strength,
        "seed": table.seed,
        "images": table.images,
        "grey": table.grey.to_dict(),
        "rows": [
            {
                "method": row.method,
                "fading": row.fading,
                **scores.to_dict(),
                "published": vars(row.published) if row.published else None,
            }
            for row, scores in table.rows
        ],
        "skipped": [{"photo": path.name, "reason": reason} for path, reason in table.skipped],
        "photos_sha256": table.photos_sha256,
        "protocol": EvaluationProtocol(extras=False).describe(),
    }
    texts = {
        "inference.json": json.dumps(content, indent=2) + "\n",
        "inference.md": inference_markdown(table),
    }
    for name, text in texts.items():
        with atomic_path(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    with atomic_path(folder / "inference.png") as partial:
        _plot(table, partial)


def _plot(table: InferenceTable, path: Path) -> None:
    """Plot both metrics of each row, with the paper's and "no colorization"."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.5), layout="constrained")
    places = np.arange(len(table.rows))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, metric, title in zip(
        panels,
        ("rmse", "psnr"),
        ("RMSE (αβ), lower is better", "PSNR (RGB) in dB, higher is better"),
        strict=True,
    ):
        values = [getattr(scores, metric) for _, scores in table.rows]
        axes.plot(values, places, "o", color="tab:blue", label=f"{table.images} photos")
        axes.axvline(
            getattr(table.grey, metric),
            color="tab:blue",
            linestyle="--",
            label="the same, no colorization",
        )
        if any(row.published for row, _ in table.rows):
            published = [getattr(row.published, metric, np.nan) for row, _ in table.rows]
            axes.plot(published, places, "kD", mfc="none", label="the paper's, ImageNet/cval1k")
        axes.set_yticks(places, [row.name for row, _ in table.rows])
        axes.set_title(title)
        axes.grid(alpha=0.3)
    panels[0].invert_yaxis()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)
