"""Bilinear enlargement of a grid of histograms, a few rows at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray


class GridSampler:
    """Reads a grid at the pixel centres of a larger image.

    Both are aligned at their upper left border (half-pixel alignment): pixel y of the image reads
    the grid at (y + 1/2) * cells_per_pixel - 1/2, and likewise x. Positions beyond the outermost
    cells take the nearest cell, so histograms keep their sum everywhere.

    Parameters
    ----------
    grid : (h, w, K) float array
    size : (height, width) of the image
    cells_per_pixel : (y, x)
    """

    def __init__(
        self, grid: FloatArray, size: tuple[int, int], cells_per_pixel: tuple[float, float]
    ) -> None:
        self._grid = grid
        self._y = grid_positions(size[0], grid.shape[0], cells_per_pixel[0])
        self._x = grid_positions(size[1], grid.shape[1], cells_per_pixel[1])

    def rows(self, start: int, stop: int) -> FloatArray:
        """Return rows `start` to `stop` of the image, (stop - start, width, K)."""
        lower, upper, weight = (part[start:stop] for part in self._y)
        lines = _mix(
            self._grid[lower], self._grid[upper], weight.astype(self._grid.dtype)[:, None, None]
        )
        lower, upper, weight = self._x
        return _mix(lines[:, lower], lines[:, upper], weight.astype(lines.dtype)[:, None])


def _mix(lower: FloatArray, upper: FloatArray, weight: FloatArray) -> FloatArray:
    """Return lower + weight * (upper - lower), overwriting both arguments to save memory."""
    upper -= lower
    upper *= weight
    lower += upper
    return lower


def grid_positions(
    size: int, cells: int, cells_per_pixel: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return for each pixel the cell before it, the cell after it and the weight of the latter.

    Along one axis, with the alignment and the border of :class:`GridSampler`.
    """
    position = np.clip((np.arange(size) + 0.5) * cells_per_pixel - 0.5, 0, cells - 1)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, cells - 1), position - lower
