"""Write an evaluation down: tables, plots, gallery and worst cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from autocolor.core.files import atomic_path
from autocolor.evaluation.evaluate import GREY, Evaluation
from autocolor.evaluation.gallery import draw_gallery, draw_worst_cases
from autocolor.evaluation.image_errors import ERROR_BIN_WIDTH
from autocolor.evaluation.metrics import PSNR_BIN_WIDTH, ColorMetrics, Interval, to_json

_LEVEL = 0.95
_CSV_METRICS = (
    "rmse",
    "psnr",
    "root_mean_square",
    "auc",
    "balanced_auc",
    "colorfulness",
    "truth_colorfulness",
    "ssim",
)
# Heading, format and sign of "better" of the columns of the Markdown table.
_COLUMNS = {
    "rmse": ("RMSE (αβ) ↓", ".4f"),
    "psnr": ("PSNR (RGB) ↑", ".2f"),
    "geometric_psnr": ("geometric PSNR ↑", ".2f"),
    "root_mean_square": ("root mean square (αβ) ↓", ".4f"),
    "auc": ("AuC (ab) ↑", ".4f"),
    "balanced_auc": ("class-balanced AuC ↑", ".4f"),
    "ssim": ("SSIM ↑", ".4f"),
    "colorfulness": ("colourfulness", ".1f"),
}


def write_report(
    evaluation: Evaluation, folder: Path, *, methods: Mapping[str, Mapping[str, Any]]
) -> None:
    """Write the report into `folder`, which is made if need be.

    metrics.json, metrics.md, metrics.csv (one line for each photo and method), errors.png (as
    Fig. 7), psnr.png (as Fig. 8), gallery.png and worst.png; the last two only if there are
    pictures for them.

    Parameters
    ----------
    evaluation : Evaluation
        With a bootstrap.
    folder : Path
    methods : mapping of str to mapping
        What else the reader should know about a method, such as its strength or the hash of its
        weights, for metrics.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(evaluation, folder / "metrics.csv")
    content = json.dumps(metrics_dict(evaluation, methods), indent=2, allow_nan=False)
    _write_text(folder / "metrics.json", content + "\n")
    _write_text(folder / "metrics.md", metrics_page(evaluation))
    for name, plot in (("errors.png", plot_errors), ("psnr.png", plot_psnr)):
        with atomic_path(folder / name) as partial:
            plot(evaluation.metrics, partial)
    pictures = {
        "gallery.png": draw_gallery(evaluation.gallery) if evaluation.gallery else None,
        "worst.png": draw_worst_cases(evaluation),
    }
    for name, image in pictures.items():
        (folder / name).unlink(missing_ok=True)  # of an earlier report
        if image is not None:
            with atomic_path(folder / name) as partial:
                image.save(partial)


def metrics_dict(
    evaluation: Evaluation, methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the content of metrics.json."""
    intervals, differences = evaluation.intervals(_LEVEL), evaluation.differences(GREY, _LEVEL)
    return {
        "images": len(evaluation.photos),
        "photos_sha256": evaluation.photos_sha256,
        "protocol": evaluation.protocol.describe(),
        "confidence_level": _LEVEL,
        "methods": {
            name: {
                **methods.get(name, {}),
                "scores": scores.to_dict(),
                "intervals": {key: to_json(row) for key, row in intervals[name].items()},
                f"minus {GREY}": {
                    key: to_json(row) for key, row in differences.get(name, {}).items()
                },
                "limited_images": evaluation.metrics[name].limited_images,
            }
            for name, scores in evaluation.scores.items()
        },
        "worst": [
            {
                "method": case.method,
                "metric": case.metric,
                "photos": [str(photo.path) for photo in case.photos],
            }
            for case in evaluation.worst
        ],
        "skipped": [{"photo": str(path), "reason": text} for path, text in evaluation.skipped],
    }


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        # File names need not be UTF-8; the report is.
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    with (
        atomic_path(path) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["photo", "class", "width", "height", "method", *_CSV_METRICS])
        for photo in evaluation.photos:
            label = "" if photo.label is None else photo.label
            for name, scores in photo.scores.items():
                values = [getattr(scores, metric) for metric in _CSV_METRICS]
                writer.writerow(
                    [photo.path, label, photo.width, photo.height, name]
                    + ["" if value is None else f"{value:.6f}" for value in values]
                )


def metrics_table(evaluation: Evaluation) -> str:
    """Return RMSE and PSNR of every method as a Markdown table, with 95 % intervals."""
    names = ("rmse", "psnr")
    resolution = evaluation.protocol.resolution
    resolution = "full resolution" if resolution == "full" else resolution
    headings = " | ".join(_COLUMNS[name][0] for name in names)
    lines = [f"| {len(evaluation.photos)} photos, {resolution} | {headings} |", "|---|---|---|"]
    intervals = evaluation.intervals(_LEVEL)
    for method, scores in evaluation.scores.items():
        cells = [
            _cell(getattr(scores, name), intervals[method][name], _COLUMNS[name][1])
            for name in names
        ]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines) + "\n"


def metrics_page(evaluation: Evaluation) -> str:
    """Return the content of metrics.md: all metrics, differences, worst and skipped photos."""
    scores = next(iter(evaluation.scores.values()))
    names = [name for name in _COLUMNS if getattr(scores, name) is not None]
    lines = [
        metrics_table(evaluation),
        f"In brackets: {_LEVEL:.0%} confidence intervals, bootstrapped over images.",
        "",
        *_difference_lines(evaluation),
        "",
        "| " + " | ".join(["method", *(_COLUMNS[name][0] for name in names)]) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for method, values in evaluation.scores.items():
        cells = [f"{getattr(values, name):{_COLUMNS[name][1]}}" for name in names]
        lines.append("| " + " | ".join([method, *cells]) + " |")
    if scores.truth_colorfulness is not None:
        lines += ["", f"Colourfulness of the photos themselves: {scores.truth_colorfulness:.1f}."]
    lines += ["", f"SHA-256 of the photos' names and bytes: `{evaluation.photos_sha256}`.", ""]
    lines += [f"- {key}: {text}" for key, text in evaluation.protocol.describe().items()]
    for case in evaluation.worst:
        photos = ", ".join(
            f"{photo.path.name} ({getattr(photo.scores[case.method], case.metric):.3f})"
            for photo in case.photos
        )
        lines += ["", f"Worst {case.metric.upper()} of {case.method}: {photos}"]
    if evaluation.skipped:
        reasons = [f"- {reason}" for _, reason in evaluation.skipped]
        lines += ["", f"Skipped {len(reasons)}:", "", *reasons]
    return "\n".join(lines) + "\n"


def _cell(value: float, interval: Interval, form: str) -> str:
    return f"{value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _difference_lines(evaluation: Evaluation) -> list[str]:
    lines = []
    for method, table in evaluation.differences(GREY, _LEVEL).items():
        rmse, psnr = table["rmse"], table["psnr"]
        lines.append(
            f"{method} minus {GREY}, on the same photos: "
            f"RMSE {rmse.value:+.4f} [{rmse.low:+.4f}, {rmse.high:+.4f}], "
            f"PSNR {psnr.value:+.2f} dB [{psnr.low:+.2f}, {psnr.high:+.2f}]"
        )
    return lines


def plot_errors(metrics: Mapping[str, ColorMetrics], path: Path) -> None:
    """Plot the share of pixels by their largest alpha-beta error, as Fig. 7, into a PNG file."""
    with _plot(path, "lower right") as axes:
        for name, metric in metrics.items():
            counts = metric.error_histogram
            errors = np.arange(len(counts) + 1) * ERROR_BIN_WIDTH
            share = np.concatenate([[0], np.cumsum(counts) / counts.sum()])
            axes.plot(errors, share, label=f"{name} (mean {metric.scores().rmse:.3f})")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="αβ error of a pixel")
        axes.set_ylabel("share of pixels with at most this error")


def plot_psnr(metrics: Mapping[str, ColorMetrics], path: Path) -> None:
    """Plot the histogram of per-image PSNR, as Fig. 8, into a PNG file."""
    # Bins of 1 dB: those of the metrics, two by two.
    counts = {name: metric.psnr_histogram.reshape(-1, 2).sum(1) for name, metric in metrics.items()}
    edges = np.arange(len(next(iter(counts.values()))) + 1) * 2 * PSNR_BIN_WIDTH
    used = np.flatnonzero(sum(counts.values()))
    with _plot(path, "upper right") as axes:
        for number, (name, metric) in enumerate(metrics.items()):
            share = counts[name] / counts[name].sum()
            color = f"C{number}"
            axes.stairs(share, edges, fill=True, alpha=0.3, color=color)
            label = f"{name} (mean {metric.scores().psnr:.2f} dB)"
            axes.stairs(share, edges, color=color, label=label)
        axes.set(xlim=(edges[used[0]] - 1, edges[used[-1] + 1] + 1))
        axes.set(xlabel="PSNR of an image in dB", ylabel="share of images")


@contextmanager
def _plot(path: Path, legend: Literal["lower right", "upper right"]) -> Iterator[Any]:
    """Yield axes to draw on; they then get a legend there, and go into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    yield axes
    axes.grid(alpha=0.3)
    axes.legend(loc=legend)
    figure.savefig(path, dpi=120)
