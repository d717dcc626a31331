"""Rows of pictures: grey input, colorizations and original, with their scores."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from autocolor.core.errors import InputError
from autocolor.evaluation.evaluate import GALLERY_CELL, GREY, Evaluation, PhotoScores
from autocolor.imaging.images import to_uint8

_MARGIN = 12
_CAPTION = 26
_LINE = 18
_HEADING = 40
_CELL_WIDTH = GALLERY_CELL[1]
_INK, _FAINT = (30, 30, 30), (110, 110, 110)


def draw_gallery(photos: Sequence[PhotoScores], notes: Sequence[str] = ()) -> Image.Image:
    """Draw one row for each photo, with its name and every method's scores below.

    Parameters
    ----------
    photos : sequence of PhotoScores
        With pictures, of the same methods.
    notes : sequence of str, optional
        One for each photo, shown instead of its name.
    """
    if not photos:
        raise InputError("photos", "expected at least one for the gallery, got none")
    names = list(photos[0].pictures)
    lefts = [_MARGIN + column * (_CELL_WIDTH + _MARGIN) for column in range(len(names))]
    heights = [max(len(image) for image in photo.pictures.values()) for photo in photos]
    caption = _CAPTION + _LINE
    width = lefts[-1] + _CELL_WIDTH + _MARGIN
    height = _HEADING + sum(heights) + len(photos) * (caption + _MARGIN)
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(18), ImageFont.load_default(13)
    for left, name in zip(lefts, names, strict=True):
        heading = "grey input" if name == GREY else name
        middle = (left + _CELL_WIDTH // 2, _HEADING // 2)
        draw.text(middle, _shorten(heading, large), _INK, large, anchor="mm")
    top = _HEADING
    for number, (photo, row) in enumerate(zip(photos, heights, strict=True)):
        for left, (name, pixels) in zip(lefts, photo.pictures.items(), strict=True):
            image = Image.fromarray(to_uint8(pixels))
            canvas.paste(image, (left + (_CELL_WIDTH - image.width) // 2, top))
            if name in photo.scores:
                scores = photo.scores[name]
                text = f"RMSE {scores.rmse:.3f}   PSNR {scores.psnr:.1f} dB"
                middle = (left + _CELL_WIDTH // 2, top + row + _CAPTION // 2)
                draw.text(middle, text, _FAINT, small, anchor="mm")
        title = notes[number] if notes else photo.path.name
        title = title.encode(errors="backslashreplace").decode()  # a file name need not be UTF-8
        draw.text((_MARGIN, top + row + _CAPTION), title, _FAINT, small, anchor="lt")
        top += row + caption + _MARGIN
    return canvas


def draw_worst_cases(evaluation: Evaluation) -> Image.Image | None:
    """Draw the worst cases of every method, or None if there are no pictures of them."""
    photos, notes = [], []
    for case in evaluation.worst:
        words = "largest RMSE" if case.metric == "rmse" else "lowest PSNR"
        for place, photo in enumerate(case.photos, start=1):
            if photo.pictures:
                photos.append(photo)
                notes.append(f"{case.method}: {words}, number {place}: {photo.path.name}")
    return draw_gallery(photos, notes) if photos else None


def _shorten(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the end of a text that fits a cell."""
    while font.getlength(text) > _CELL_WIDTH and len(text) > 2:
        text = "…" + text[2:]
    return text
