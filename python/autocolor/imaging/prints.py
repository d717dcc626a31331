"""Old prints: sepia, cyanotypes and yellowed paper are one grey behind a tint, read with little noise.

The paper reads every photo as (R + G + B)/3. Of a print without colours of its own, that gives the channel
that has faded most, and is noisiest, as much weight as the others. Such a print is known by its colours:
they follow from the lightness, along one curve from the ink to the paper.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_unit, row_bands
from autocolor.core.errors import InputError
from autocolor.imaging.color import lightness
from autocolor.imaging.images import fit_side

_Array = npt.NDArray[np.float64]

MIXES = ("auto", "mean", "print")
"""How a photo is turned to grey: "mean" is the paper's, "print" that of a tinted print, and "auto" takes
the second where :func:`is_tinted_print` says so."""

# Chosen on 348 photos of 29 collections, of which three, all of hardly any colour, are taken for prints,
# and on seven greys with four tints, noise and JPEG at two sizes, of which all are.
_LARGEST_DEVIATION = 0.02
_LARGEST_SHARE_OF_TINT = 0.25
_SMALLEST_SIDE, _LARGEST_SIDE = 16, 32  # that the colours are compared at: noise is averaged away
_TONES = 12
_CLIPPED = 0.02  # from the end of the range; noise makes a clipped tone somewhat darker
_BAND = 2**20  # pixels
_ROUNDING_VARIANCE = 1 / 12 / 255**2


def grey_of(rgb: FloatArray, mix: str = "mean") -> FloatArray:
    """Return the lightness that a photo is colorized by.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    mix : {"auto", "mean", "print"}
        See :data:`MIXES`.

    Returns
    -------
    (H, W) array of the dtype of `rgb`, in [0, 1].
    """
    check_unit("rgb", rgb, last_axis=3)
    if mix not in MIXES:
        raise InputError("grey", f"expected one of {', '.join(MIXES)}, got {mix!r}")
    if mix == "print" or (mix == "auto" and is_tinted_print(rgb)):
        return _print_grey(rgb)
    return lightness(rgb)


def is_tinted_print(rgb: FloatArray) -> bool:
    """Return whether a photo has a tint, but no colours beside it.

    Its tint is the median deviation of each tone from grey. Nine tenths of the picture, reduced so that
    noise counts little, deviate from the tint of their tone by less than 0.02 and than a quarter of it.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    """
    small = _reduced(rgb)
    light = small.mean(axis=-1)
    deviation = small - light[:, None]
    values, medians = _tones(small)
    medians = medians - medians.mean(axis=-1, keepdims=True)
    tint = _at(light, values, medians)
    largest = np.quantile(np.abs(deviation - tint).max(axis=-1), 0.9)
    strength = np.abs(tint).max(axis=-1).mean()
    return bool(largest < min(_LARGEST_DEVIATION, _LARGEST_SHARE_OF_TINT * strength))


def _reduced(rgb: FloatArray) -> _Array:
    """Return the (pixels, 3) colours of a small picture."""
    side = int(np.clip(max(rgb.shape[:2]) // 4, _SMALLEST_SIDE, _LARGEST_SIDE))
    return fit_side(rgb, side, "larger").reshape(-1, 3).astype(np.float64)


def _tones(small: _Array) -> tuple[_Array, _Array]:
    """Return the mean (tones,) and the median colours (tones, 3) of as many pixels each, dark to light."""
    light = small.mean(axis=-1)
    parts = [part for part in np.array_split(np.argsort(light), _TONES) if len(part)]
    colors = np.stack([np.median(small[part], axis=0) for part in parts])
    values = np.maximum.accumulate([light[part].mean() for part in parts])
    return values, colors


def _at(light: FloatArray, values: _Array, columns: _Array) -> _Array:
    """Interpolate the columns of a table over tones."""
    return np.stack([np.interp(light, values, column) for column in columns.T], axis=-1)


def _print_grey(rgb: FloatArray) -> FloatArray:
    """Mix the channels for the least noise, with the tones of their mean as long as none is clipped.

    The colour of each tone, and so the slope of each channel over the grey, are read off the picture. A
    pixel's grey is that of its tone, corrected by what its colour deviates: with weights slope / variance
    of the noise, which have the least noise for their contrast (those of least squares). Where a channel
    is clipped its slope is 0, and the others alone say how the tones go on.
    """
    values, colors = _tones(_reduced(rgb))
    tones = _unclipped(values, colors)
    if not (np.diff(tones) > 0).any():
        return lightness(rgb)
    distinct = np.concatenate([[True], np.diff(tones) > 1e-6])
    values, colors, tones = values[distinct], colors[distinct], tones[distinct]
    if len(tones) < 2:
        return lightness(rgb)
    slopes = np.maximum(np.gradient(colors, tones, axis=0), 0)
    weights = slopes / _noise_variances(rgb)
    weights /= np.maximum((weights * slopes).sum(axis=-1, keepdims=True), 1e-12)
    grey = np.empty(rgb.shape[:2], rgb.dtype)
    for rows in row_bands(len(rgb), rgb.shape[1], _BAND):
        band = rgb[rows]
        light = band.mean(axis=-1)
        correction = _at(light, values, weights) * (band - _at(light, values, colors))
        grey[rows] = np.interp(light, values, tones) + correction.sum(axis=-1)
    return np.clip(grey, 0, 1, out=grey)


def _unclipped(values: _Array, colors: _Array) -> _Array:
    """Return the tones with those channels alone that are not at the end of their range there."""
    steps = np.diff(colors, axis=0)
    inside = (colors > _CLIPPED) & (colors < 1 - _CLIPPED)
    inside = inside[1:] & inside[:-1]
    whole = inside.all(axis=-1)
    shares = steps[whole].sum(axis=0) if whole.any() else steps.sum(axis=0)
    if not (shares > 0).all() or not inside.any():
        return values
    shares /= shares.mean()
    known = (inside * shares).sum(axis=-1)
    grown = np.where(
        known > 0, (inside * steps).sum(axis=-1) / np.maximum(known, 1e-12), steps.mean(axis=-1)
    )
    tones: _Array = np.concatenate([values[:1], values[0] + np.cumsum(np.maximum(grown, 0))])
    tones /= max(1, tones[-1])
    return tones


def _noise_variances(rgb: FloatArray) -> _Array:
    """Return the variance of the noise of each channel that the others do not share.

    What is left of the picture in differences across two pixels is common to the channels: it alone makes
    their covariances, which therefore say how much of each variance it is (a factor model).
    """
    fine = rgb[1:, 1:] - rgb[1:, :-1] - rgb[:-1, 1:] + rgb[:-1, :-1]
    flat = fine.reshape(-1, 3).astype(np.float64) / 2  # of the variance of one pixel's noise
    if not len(flat):
        return np.ones(3)
    covariance = flat.T @ flat / len(flat)
    (_, rg, rb), (_, _, gb) = covariance[0], covariance[1]
    variances = np.diag(covariance).copy()
    if min(rg, rb, gb) > 0:
        variances -= np.array([rg * rb / gb, rg * gb / rb, rb * gb / rg])
    return np.maximum(variances, _ROUNDING_VARIANCE)
