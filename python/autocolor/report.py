"""Write an evaluation down: metrics.csv, metrics.json, metrics.md and gallery.png."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from autocolor.evaluation import GALLERY_CELL, Evaluation, GalleryPhoto
from autocolor.files import atomic_path
from autocolor.images import to_uint8

PROTOCOL = {
    "resolution": "full",
    "prediction": "floating point, not rounded to 8 bit",
    "lightness": "(R + G + B) / 3 of the photo",
    "rmse": "mean over all pixels of the Euclidean alpha-beta error (Eq. 10)",
    "psnr": "arithmetic mean over images of -10 log10(mean squared RGB error), in dB (Eq. 11)",
}

_MARGIN = 12
_CAPTION = 26
_HEADING = 40
_CELL_WIDTH = GALLERY_CELL[1]
_INK, _FAINT = (30, 30, 30), (110, 110, 110)


def write_report(evaluation: Evaluation, folder: Path, *, model: str, strength: float) -> None:
    """Write the four files into `folder`, which is made if need be.

    Parameters
    ----------
    evaluation : Evaluation
    folder : Path
    model : str
        Name of the model, for the reader.
    strength : float
        Factor on the chroma that the colorizations were made with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(evaluation, folder / "metrics.csv")
    content = {
        "model": asdict(evaluation.model),
        "grey": asdict(evaluation.grey),
        "images": len(evaluation.photos),
        "skipped": [{"photo": path.name, "reason": text} for path, text in evaluation.skipped],
        "model_name": model,
        "strength": strength,
        "photos_sha256": evaluation.photos_sha256,
        "protocol": PROTOCOL,
    }
    _write_text(folder / "metrics.json", json.dumps(content, indent=2) + "\n")
    _write_text(folder / "metrics.md", metrics_table(evaluation, model))
    with atomic_path(folder / "gallery.png") as partial:
        draw_gallery(evaluation.gallery).save(partial)


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "width", "height", "rmse", "psnr", "grey_rmse", "grey_psnr"])
        for photo in evaluation.photos:
            scores = (photo.model.rmse, photo.model.psnr, photo.grey.rmse, photo.grey.psnr)
            numbers = [f"{score:.6f}" for score in scores]
            writer.writerow([photo.path.name, photo.width, photo.height, *numbers])


def metrics_table(evaluation: Evaluation, model: str) -> str:
    """Return both metrics of the model and of "no colorization" as a Markdown table."""
    rows = (("no colorization", evaluation.grey), (model, evaluation.model))
    lines = [
        f"| {len(evaluation.photos)} photos, full resolution | RMSE (αβ) ↓ | PSNR (RGB) ↑ |",
        "|---|---|---|",
        *(f"| {name} | {scores.rmse:.3f} | {scores.psnr:.2f} dB |" for name, scores in rows),
    ]
    if evaluation.skipped:
        lines += ["", f"Skipped {len(evaluation.skipped)}:", ""]
        lines += [f"- {reason}" for _, reason in evaluation.skipped]
    return "\n".join(lines) + "\n"


def draw_gallery(photos: Sequence[GalleryPhoto]) -> Image.Image:
    """Draw one row for each photo: grey | ours | truth, with its scores below."""
    headings = ("grey input", "ours", "original")
    lefts = [_MARGIN + column * (_CELL_WIDTH + _MARGIN) for column in range(len(headings))]
    width = lefts[-1] + _CELL_WIDTH + _MARGIN
    height = _HEADING + sum(len(photo.grey) + _CAPTION + _MARGIN for photo in photos)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(18), ImageFont.load_default(13)
    for left, heading in zip(lefts, headings, strict=True):
        draw.text((left + _CELL_WIDTH // 2, _HEADING // 2), heading, _INK, large, anchor="mm")
    top = _HEADING
    for photo in photos:
        for left, pixels in zip(lefts, (photo.grey, photo.colorized, photo.truth), strict=True):
            image = Image.fromarray(to_uint8(pixels))
            canvas.paste(image, (left + (_CELL_WIDTH - image.width) // 2, top))
        top += len(photo.grey)
        scores = photo.scores
        caption = (
            f"RMSE {scores.model.rmse:.3f} (grey {scores.grey.rmse:.3f})    "
            f"PSNR {scores.model.psnr:.1f} dB (grey {scores.grey.psnr:.1f})"
        )
        middle = top + _CAPTION // 2
        draw.text((_MARGIN, middle), scores.path.name, _FAINT, small, anchor="lm")
        draw.text((width - _MARGIN, middle), caption, _FAINT, small, anchor="rm")
        top += _CAPTION + _MARGIN
    return canvas
