"""Argument checks that say what was expected and what came; images in bands of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.errors import InputError

FloatArray = npt.NDArray[np.floating[Any]]
Float32Array = npt.NDArray[np.float32]

# Arithmetic in float32 leaves [0, 1] by a few roundings; that is no error of the caller's.
_ROUNDING = 1e-5


def check_array(
    name: str,
    array: FloatArray,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    last_axis: int | None = None,
) -> None:
    """Refuse an array of the wrong type, last axis or range.

    Parameters
    ----------
    name : str
        Name of the argument, for the error text.
    array : ndarray
        Must be float32 or float64 and finite.
    low, high : float
        Closed range of the values.
    last_axis : int, optional
        Length of the last axis.

    Raises
    ------
    InputError
        Naming the argument, what was expected and what was got.
    """
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float64):
        got = getattr(array, "dtype", type(array).__name__)
        raise InputError(name, f"expected a float32 or float64 array, got {got}")
    if last_axis is not None and (array.ndim == 0 or array.shape[-1] != last_axis):
        raise InputError(name, f"expected shape (..., {last_axis}), got {tuple(array.shape)}")
    if array.size == 0:
        return
    smallest, largest = array.min(), array.max()
    if not (low <= smallest and largest <= high and np.isfinite([smallest, largest]).all()):
        raise InputError(
            name, f"expected finite values in [{low:g}, {high:g}], got [{smallest:g}, {largest:g}]"
        )


def check_unit(name: str, array: FloatArray, last_axis: int | None = None) -> None:
    """Refuse an array as :func:`check_array` does, for the range [0, 1] up to float rounding."""
    check_array(name, array, low=-_ROUNDING, high=1 + _ROUNDING, last_axis=last_axis)


def check_same_shape(name: str, array: FloatArray, shape: tuple[int, ...]) -> None:
    """Refuse an array whose shape is not `shape`, with a `ValueError` that names both."""
    if array.shape != shape:
        raise InputError(name, f"expected shape {shape}, got {tuple(array.shape)}")


def row_bands(height: int, width: int, pixels: int) -> Iterator[slice]:
    """Yield the rows of an image from the top, in bands of at most `pixels` or of one row."""
    step = max(1, pixels // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))
