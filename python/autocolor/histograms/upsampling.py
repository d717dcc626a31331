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
    axis : int
        Of y in the grid; at 1 it is (M, h, w), and rows are (M, stop - start, width): quicker for
        the few maps that colours need.
    """

    def __init__(
        self,
        grid: FloatArray,
        size: tuple[int, int],
        cells_per_pixel: tuple[float, float],
        axis: int = 0,
    ) -> None:
        self._grid = grid
        self._axis = axis
        self._y = grid_positions(size[0], grid.shape[axis], cells_per_pixel[0])
        self._x = grid_positions(size[1], grid.shape[axis + 1], cells_per_pixel[1])

    def rows(self, start: int, stop: int) -> FloatArray:
        """Return rows `start` to `stop` of the image, (stop - start, width, K)."""
        rows = slice(start, stop)
        lower, upper, weight = self._y
        lines = _mix(self._grid, self._axis, lower[rows], upper[rows], weight[rows])
        return _mix(lines, self._axis + 1, *self._x)


def _mix(
    grid: FloatArray,
    axis: int,
    lower: npt.NDArray[np.intp],
    upper: npt.NDArray[np.intp],
    weight: npt.NDArray[np.float64],
) -> FloatArray:
    """Return lower + weight * (upper - lower) of the entries along an axis."""
    mixed, change = grid.take(lower, axis), grid.take(upper, axis)
    change -= mixed
    change *= np.expand_dims(weight.astype(grid.dtype), tuple(range(1, grid.ndim - axis)))
    mixed += change
    return mixed


def grid_positions(
    size: int, cells: int, cells_per_pixel: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return for each pixel the cell before it, the cell after it and the weight of the latter.

    Along one axis, with the alignment and the border of :class:`GridSampler`.
    """
    position = np.clip((np.arange(size) + 0.5) * cells_per_pixel - 0.5, 0, cells - 1)
    lower = np.floor(position).astype(np.intp)
    return lower, np.minimum(lower + 1, cells - 1), position - lower
