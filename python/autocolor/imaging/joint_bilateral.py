"""Joint bilateral filtering and enlargement of colour, guided by the lightness of the photo."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_array, check_same_shape, check_unit, row_bands
from autocolor.core.errors import InputError

# Share of the range weight that no difference of lightness takes away: where nothing near a pixel is
# of its lightness, the weights are those of space alone.
_RANGE_FLOOR = 1e-6
_STRIP_PIXELS = 2**18


def joint_bilateral_upsample(
    values: FloatArray,
    grid_guide: FloatArray,
    guide: FloatArray,
    *,
    sigma_space: float = 1.0,
    sigma_range: float = 0.1,
    radius: int = 2,
) -> npt.NDArray[np.float32]:
    """Enlarge a grid to the size of its guide, keeping the guide's edges.

    A pixel gets the mean of the cells q within `radius` of the one nearest to it, weighted by::

        exp(-|p - q|^2 / 2 sigma_space^2) exp(-(guide(p) - grid_guide(q))^2 / 2 sigma_range^2),

    where p is the pixel's place on the grid. Both images begin at the upper left border. With a guide of the
    grid's own size this is the joint bilateral filter.

    Parameters
    ----------
    values : (h, w, C) float array
    grid_guide : (h, w) float array in [0, 1]
        The guide at the grid's size.
    guide : (H, W) float array in [0, 1]
    sigma_space : float
        In cells, above 0.
    sigma_range : float
        In units of the guide, above 0.
    radius : int
        In cells, at least 0. Cells outside the grid have no weight.

    Returns
    -------
    (H, W, C) float32 array.

    References
    ----------
    Kopf, Cohen, Lischinski, Uyttendaele: Joint bilateral upsampling. SIGGRAPH 2007.
    """
    check_array("values", values)
    check_unit("grid_guide", grid_guide)
    check_unit("guide", guide)
    if values.ndim != 3 or guide.ndim != 2:
        raise InputError(
            "values, guide", f"expected (h, w, C) and (H, W), got {values.shape}, {guide.shape}"
        )
    check_same_shape("grid_guide", grid_guide, values.shape[:2])
    if not (sigma_space > 0 and sigma_range > 0 and radius >= 0):
        raise InputError(
            "sigma_space, sigma_range, radius",
            f"expected above 0, above 0 and at least 0, got {sigma_space}, {sigma_range}, {radius}",
        )
    height, width = guide.shape
    result = np.empty((height, width, values.shape[2]), np.float32)
    columns = _place(np.arange(width), width, values.shape[1])
    for band in row_bands(height, width, _STRIP_PIXELS):
        rows = np.arange(band.start, band.stop)
        result[rows] = _strip(
            values.astype(np.float32, copy=False),
            grid_guide.astype(np.float32, copy=False),
            guide[rows].astype(np.float32, copy=False),
            _place(rows, height, values.shape[0]),
            columns,
            (sigma_space, sigma_range, radius),
        )
    return result


_Places = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


def _place(pixels: npt.NDArray[np.intp], size: int, cells: int) -> _Places:
    """Return each pixel's nearest cell and its place on the grid."""
    place = np.clip((pixels + 0.5) * cells / size - 0.5, 0, cells - 1)
    return np.rint(place).astype(np.intp), place


def _strip(
    values: npt.NDArray[np.float32],
    grid_guide: npt.NDArray[np.float32],
    guide: npt.NDArray[np.float32],
    rows: _Places,
    columns: _Places,
    options: tuple[float, float, int],
) -> npt.NDArray[np.float32]:
    sigma_space, sigma_range, radius = options
    sums = np.zeros((*guide.shape, values.shape[2]), np.float32)
    total = np.zeros(guide.shape, np.float32)
    offsets = range(-radius, radius + 1)
    for y, row_weight in (_neighbour(rows, values.shape[0], d, sigma_space) for d in offsets):
        for x, column_weight in (
            _neighbour(columns, values.shape[1], d, sigma_space) for d in offsets
        ):
            difference = guide - grid_guide[y[:, None], x]
            weight = np.exp(np.square(difference) * np.float32(-0.5 / sigma_range**2))
            weight += np.float32(_RANGE_FLOOR)
            weight *= row_weight[:, None] * column_weight
            total += weight
            sums += weight[..., None] * values[y[:, None], x]
    sums /= total[..., None]
    return sums


def _neighbour(
    places: _Places, cells: int, offset: int, sigma: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return the cell `offset` from the nearest one and its weight, 0 outside the grid."""
    nearest, place = places
    cell = nearest + offset
    inside = (cell >= 0) & (cell < cells)
    weight = np.where(inside, np.exp(-0.5 * np.square((place - cell) / sigma)), 0)
    return np.clip(cell, 0, cells - 1), weight.astype(np.float32)
