"""Photos that are one texture from edge to edge, such as gravel or a blank page: they stay grey.

The network learnt from photos of things, and none of 917 validation photos is a texture alone. What it
predicts of one is sure and the same all over (noise is sky, plaster is earth), so neither the
histograms nor how they agree at two sizes tell that it is wrong; the lightness does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray

_PARTS = 8  # along each side
_LEAST_PART = 4  # pixels along a side of a part, of whose contrast there is something to say
_FLOOR = 0.01  # of contrast: less is noise
# Up to the first a photo is a texture, from the second on it is none. Of 917 validation photos one in
# a hundred has less than 1.2, and half have more than 2.7; none has less than 1.03: docs/looks.md.
_TEXTURE, _PHOTO = 0.75, 0.85


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
    values = lightness.astype(np.float64)
    means = _part_means(values)
    variances = _part_means(np.square(values)) - np.square(means)
    contrasts = np.log(np.sqrt(np.maximum(variances, 0)) + _FLOOR)
    return float(np.hypot(np.ptp(contrasts), np.ptp(means)))


def grey_if_texture(chroma_histograms: FloatArray, lightness: FloatArray) -> FloatArray:
    """Return the histograms of chroma (h, w, K), those of a texture with all mass in the first bin.

    Between a texture and a photo they are a mixture of both. `lightness` is that of :func:`variety`.
    """
    known = np.clip((variety(lightness) - _TEXTURE) / (_PHOTO - _TEXTURE), 0, 1)
    if known == 1:
        return chroma_histograms
    mixed = chroma_histograms * chroma_histograms.dtype.type(known)
    mixed[..., 0] += chroma_histograms.dtype.type(1 - known)
    return mixed


def _part_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rows, columns = (np.linspace(0, side, _PARTS + 1).astype(int) for side in values.shape)
    sums = np.add.reduceat(np.add.reduceat(values, rows[:-1]), columns[:-1], axis=1)
    means: npt.NDArray[np.float64] = sums / np.outer(np.diff(rows), np.diff(columns))
    return means
