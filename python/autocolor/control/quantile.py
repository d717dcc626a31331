"""Lightness-normalised quantile matching (section 3.4)."""

from __future__ import annotations

import numpy as np

from autocolor.core.arrays import FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.imaging.color import correct_lightness, lightness

# Half a level of 8 bit. What is darker shows no colour, and R/L would be rounding alone.
_BLACK = 0.5 / 255


def match_quantiles(source: FloatArray, target: FloatArray) -> FloatArray:
    """Give `source` the distribution of `target`, by their quantiles; neither is empty.

    A value is read at its mid-rank, (number of smaller values + half the number of equal ones) / N,
    so that a block of equal values, such as the grey pixels of an image, goes to the middle of the
    quantiles that it fills rather than to their end. Between the values of the target the quantile
    function is linear. `target` equal to `source` changes nothing but by rounding.
    """
    for name, array in (("source", source), ("target", target)):
        if array.size == 0:
            raise InputError(name, "expected at least one value, got none")
    _, inverse, counts = np.unique(source, return_inverse=True, return_counts=True)
    quantiles = (np.cumsum(counts) - counts / 2) / source.size
    known = (np.arange(target.size) + 0.5) / target.size
    matched = np.interp(quantiles, known, np.sort(target, axis=None))
    return matched[inverse].reshape(source.shape).astype(source.dtype, copy=False)


def normalize_lightness(rgb: FloatArray) -> FloatArray:
    """Return RGB / L (..., 3), in [0, 3]; black, darker than half a level of 8 bit, is grey: 1."""
    check_unit("rgb", rgb, last_axis=3)
    light = lightness(rgb)[..., None]
    return np.divide(rgb, light, out=np.ones_like(rgb), where=light >= _BLACK)


def transfer_quantiles(source: FloatArray, target: FloatArray) -> FloatArray:
    """Recolour an image by lightness-normalised quantile matching (section 3.4).

    Each channel of RGB / L is given the distribution that it has in the target image, then
    multiplied by L. The lightness is kept as :func:`autocolor.imaging.color.correct_lightness` keeps it.

    Parameters
    ----------
    source : (H, W, 3) float array, RGB in [0, 1]
        The colorization.
    target : (H', W', 3) float array, RGB in [0, 1]
        The reference or the truth; of any size.

    Returns
    -------
    (H, W, 3) array in [0, 1], of the dtype and lightness of `source`.
    """
    reference = normalize_lightness(target)
    matched = normalize_lightness(source)
    for channel in range(3):
        matched[..., channel] = match_quantiles(matched[..., channel], reference[..., channel])
    light = np.clip(lightness(source), 0, 1)
    return correct_lightness(matched * light[..., None], light)
