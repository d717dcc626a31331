"""Rows of pictures; diverse colorizations of photos and the model's uncertainty (Fig. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from autocolor.control.edits import Edits, colorize_edited, uncertainty_image
from autocolor.core.arrays import FloatArray
from autocolor.evaluation.evaluate import grey_image, read_color, spread
from autocolor.histograms.decode import DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, resize, to_uint8
from autocolor.runtime.colorizer import Colorizer

_SAMPLES = 4
_WIDTH = 220  # of a cell, in pixels
_MARGIN = 6


def draw_samples(colorizer: Colorizer, paths: Sequence[Path], rows: int = 6) -> Image.Image:
    """Draw a row for some photos: grey, diverse colorizations, uncertainty map, original.

    They are spread evenly over the list; those that cannot be used are left out. The model has to predict
    histograms.
    """
    strips: list[list[FloatArray]] = []
    for index in spread(len(paths), rows):
        try:
            truth = read_color(paths[index])
        except ImageError:
            continue
        light = lightness(truth)
        prediction = colorizer.predict(light)
        edits, options = Edits(samples=_SAMPLES), DecodeOptions(strength=1.0)
        diverse = colorize_edited(prediction, edits, options=options)
        cells = [grey_image(light), *diverse, uncertainty_image(prediction), truth]
        strips.append(cells)
    return stack(strips)


def stack(rows: Sequence[Sequence[FloatArray]]) -> Image.Image:
    """Draw rows of as many pictures (H, W, 3) in [0, 1] each, all of one width.

    Raises
    ------
    ImageError
        If there is no row.
    """
    if not rows:
        raise ImageError("expected at least one colour photo, got none")
    return Image.fromarray(to_uint8(np.vstack([np.hstack(list(map(_cell, row))) for row in rows])))


def _cell(image: FloatArray) -> FloatArray:
    height, width = image.shape[:2]
    small = resize(image, (max(1, round(height * _WIDTH / width)), _WIDTH))
    return np.pad(small, ((0, _MARGIN), (0, _MARGIN), (0, 0)), constant_values=1)
