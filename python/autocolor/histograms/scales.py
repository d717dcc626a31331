"""One prediction out of those for a photo seen at several sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocolor.core.arrays import FloatArray
from autocolor.histograms.upsampling import GridSampler


def merge_scales(
    grids: Sequence[FloatArray],
    cells_per_cell: Sequence[tuple[float, float]],
    *,
    are_histograms: bool,
) -> FloatArray:
    """Return the mean of grids of one photo, on the first one.

    Of histograms it is the geometric mean, normalised: a colour has to be likely at every scale.

    Parameters
    ----------
    grids : sequence of (h, w, C) float arrays
        They begin at the upper left border of the photo.
    cells_per_cell : sequence of (y, x)
        Of the second grid and on: its cells in one cell of the first.
    are_histograms : bool
        Whether each row is non-negative and sums to 1.
    """
    first = grids[0]
    height, width = first.shape[:2]
    aligned = [first]
    for grid, cells in zip(grids[1:], cells_per_cell, strict=True):
        aligned.append(GridSampler(grid, (height, width), cells).rows(0, height))
    if not are_histograms:
        mean: FloatArray = np.mean(aligned, axis=0, dtype=first.dtype)
        return mean
    tiny = np.finfo(first.dtype).tiny
    merged: FloatArray = np.exp(
        np.mean([np.log(np.maximum(grid, tiny)) for grid in aligned], axis=0)
    )
    merged /= merged.sum(axis=-1, keepdims=True)
    return merged
