"""Photos that are one texture from edge to edge, such as gravel or a page, printed or not: they stay grey.

The network learnt from photos of things, and none of 917 validation photos is a texture alone. What it
predicts of one is sure and the same all over (noise is sky, plaster is earth), so neither the
histograms nor how they agree at two sizes tell that it is wrong; the lightness does. Things have
edges at every scale. A texture is the same all over, or it has small marks alone, on a ground that is.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray

_PARTS = 8  # along each side
_LEAST_PART = 4  # pixels along a side of a part, of whose contrast there is something to say
_FLOOR = 0.01  # of contrast: less is noise
# Up to the first a photo is a texture, from the second on it is none. Of 917 validation photos one in
# a hundred has less than 1.2, and half have more than 2.7; none has less than 1.03: docs/looks.md.
_TEXTURE, _PHOTO = 0.75, 0.85
# Likewise of the ground. One in a hundred has less than 0.89, none less than 0.58.
_MARKS, _THINGS = 0.4, 0.5
_MARK = 1 / 20  # of the smaller side: what is thinner is no part of the ground


def variety(lightness: FloatArray) -> float:
    """Return how much the 8 x 8 parts of a photo differ in contrast and in lightness.

    Parameters
    ----------
    lightness : (H, W) float array in [0, 1]
        At the size that the network sees.

    Returns
    -------
    float
        Root of the sum of two squares: the logarithm of the largest contrast (standard deviation) of
        a part over the smallest, and the largest mean less the smallest. A photo that is faded has
        about that of before. Infinite where parts would have less than 4 pixels along a side.
    """
    if min(lightness.shape) < _PARTS * _LEAST_PART:
        return float("inf")
    return _difference(*_parts(lightness))


def ground_variety(lightness: FloatArray) -> float:
    """Return how much is left of a photo's contrast and variety without its small marks.

    Print on a page, or craters of the moon, leave little; the things in a photo leave most.

    Parameters
    ----------
    lightness : (H, W) float array in [0, 1]
        At the size that the network sees.

    Returns
    -------
    float
        Of the ground, which is the photo after a morphological closing and then an opening with a
        square of a twentieth of its smaller side: its :func:`variety` times its contrast over that of
        the photo, both as the root mean square of those of the parts. Infinite where
        :func:`variety` is.
    """
    if min(lightness.shape) < _PARTS * _LEAST_PART:
        return float("inf")
    side = 2 * round(min(lightness.shape) * _MARK / 2) + 1
    closed = _extreme(np.minimum, _extreme(np.maximum, lightness, side), side)
    ground = _extreme(np.maximum, _extreme(np.minimum, closed, side), side)
    _, contrasts = _parts(lightness)
    means, left = _parts(ground)
    whole = float(np.sqrt(np.mean(np.square(contrasts))))
    share = float(np.sqrt(np.mean(np.square(left)))) / whole if whole > 0 else 0.0
    return share * _difference(means, left)


def grey_if_texture(chroma_histograms: FloatArray, lightness: FloatArray) -> FloatArray:
    """Return the histograms of chroma (h, w, K), those of a texture with all mass in the first bin.

    Between a texture and a photo they are a mixture of both. `lightness` is that of :func:`variety`.
    """
    known = _between(variety(lightness), _TEXTURE, _PHOTO)
    if known > 0:
        known = min(known, _between(ground_variety(lightness), _MARKS, _THINGS))
    if known == 1:
        return chroma_histograms
    mixed = chroma_histograms * chroma_histograms.dtype.type(known)
    mixed[..., 0] += chroma_histograms.dtype.type(1 - known)
    return mixed


def _extreme(extreme: np.ufunc, values: FloatArray, side: int) -> FloatArray:
    """Return the extreme of the square of `side` pixels, an odd number, around each of (H, W).

    SciPy has it as well, but the first photo would wait for its import.
    """
    for _ in range(2):  # along columns, then along rows
        padded = np.pad(values, ((side // 2, side // 2), (0, 0)), mode="edge")
        values = reduce(extreme, (padded[i : i + len(values)] for i in range(side))).T
    return values


def _between(value: float, low: float, high: float) -> float:
    """Return 0 up to the first bound, 1 from the second one on."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _difference(means: npt.NDArray[np.float64], contrasts: npt.NDArray[np.float64]) -> float:
    return float(np.hypot(np.ptp(np.log(contrasts + _FLOOR)), np.ptp(means)))


def _parts(lightness: FloatArray) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the (8, 8) means and standard deviations of the parts."""
    values = lightness.astype(np.float64)
    means = _part_means(values)
    return means, np.sqrt(np.maximum(_part_means(np.square(values)) - np.square(means), 0))


def _part_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows, columns = (np.linspace(0, side, _PARTS + 1).astype(int) for side in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1]), columns[:-1], axis=1)
    means: npt.NDArray[np.float64] = sums / np.outer(np.diff(rows), np.diff(columns))
    return means
