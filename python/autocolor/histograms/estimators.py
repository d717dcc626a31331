"""One value out of each predicted histogram: sample, mode, median, expectation (section 3.3).

A histogram array is (..., K), float32 or float64, non-negative, each row summing to 1. Nothing is
checked here, as in :mod:`autocolor.histograms.decode`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.constants import BINS, FADING_ETA
from autocolor.histograms.bins import uniform_centers
from autocolor.imaging.color import wrap_hue

VIVID_UNSURE = 0.25
"""Of a histogram of hue: up to this length of its mean on the unit circle the vivid look is grey."""


def expectation_hue(histogram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the argument, in [0, 1), and the size of the complex expectation of hue (Eq. 4), (...).

    The size abs(z) has the 1/K of Eq. 4: it is 1/K for a one-hot and 0 for a uniform histogram (..., K).
    """
    bins = histogram.shape[-1]
    angles = 2 * np.pi * uniform_centers(bins)
    basis = np.stack([np.cos(angles), np.sin(angles)], axis=-1) / bins
    z: FloatArray = histogram @ basis.astype(histogram.dtype)
    real, imaginary = z[..., 0], z[..., 1]
    turns = np.arctan2(imaginary, real) / (2 * np.pi)
    magnitude: FloatArray = np.hypot(real, imaginary)
    return wrap_hue(turns), magnitude


def fade_chroma(chroma: FloatArray, magnitude: FloatArray, bins: int = BINS) -> FloatArray:
    """Return min(abs(z) / eta, 1) * C, chromatic fading (Eq. 5), of (...) chroma.

    Eq. 5 prints max, which would never fade. As abs(z), the magnitude of :func:`expectation_hue`, carries
    1/K, so does eta: 0.03 at K = 32 and 0.96/K in general.
    """
    eta = FADING_ETA * BINS / bins
    faded: FloatArray = chroma * np.minimum(magnitude / eta, 1)
    return faded


def fade_unsure(chroma: FloatArray, magnitude: FloatArray, bins: int = BINS) -> FloatArray:
    """Return the chroma where the hue is sure, next to none where it is not: the vivid look's fading.

    The factor is 0 up to a `VIVID_UNSURE` part of the largest magnitude and rises smoothly
    (3 t^2 - 2 t^3) to 1 at the largest. Eq. 5 is linear from 0 on: a flat grey texture, whose hue
    could be any, keeps a third of a chroma that is not its own.

    Arguments and result are those of :func:`fade_chroma`.
    """
    part = np.clip((magnitude * bins - VIVID_UNSURE) / (1 - VIVID_UNSURE), 0, 1)
    faded: FloatArray = chroma * (part * part * (3 - 2 * part))
    return faded


def locate_quantile(
    histogram: FloatArray, level: FloatArray | float
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Return where the cumulative sum of each histogram reaches a level.

    Parameters
    ----------
    histogram : (..., K) float array
    level : float or array that broadcasts to (...), in [0, 1]
        Of the row's own sum, whether that is 1 or not; 1/2 is the median.

    Returns
    -------
    index : (...) integer array
        The first bin at whose upper edge the cumulative sum has reached the level.
    fraction : (...) array in [0, 1]
        Share of the bin's mass below the level: 0 at its lower edge, 1 at its upper edge. A row of
        zeros gives bin 0 and 1/2.
    """
    cumulative = np.cumsum(histogram, axis=-1)
    target = cumulative[..., -1] * np.clip(level, 0, 1).astype(histogram.dtype)
    target = target[..., None]
    index = np.argmax(cumulative >= target, axis=-1, keepdims=True)
    mass = np.take_along_axis(histogram, index, axis=-1)
    excess = np.take_along_axis(cumulative, index, axis=-1) - target
    # An empty row has no mass to divide by.
    fraction = 1 - np.divide(excess, mass, out=np.full_like(mass, 0.5), where=mass > 0)
    return index[..., 0], np.clip(fraction, 0, 1)[..., 0]


def interpolate_bins(
    edges: FloatArray, index: npt.NDArray[np.intp], fraction: FloatArray
) -> FloatArray:
    """Return the value a fraction of the way from the lower to the upper edge of each bin.

    Edges are (K + 1,), finite and ascending; index and fraction those of :func:`locate_quantile`.
    """
    edges = edges.astype(fraction.dtype)
    lower = edges[index]
    value: FloatArray = lower + fraction * (edges[index + 1] - lower)
    return value


def median(histogram: FloatArray, edges: FloatArray) -> FloatArray:
    """Return the median of each histogram (..., K) (section 3.3), linear inside its bin.

    Edges are as of :func:`interpolate_bins`. Not for hue, which is circular. Half of a row's own sum is
    looked for, so rows that sum to less than 1, even to less than 1/2, are no trouble; one of zeros
    gives the middle of bin 0.
    """
    return interpolate_bins(edges, *locate_quantile(histogram, 0.5))


def sample(histogram: FloatArray, edges: FloatArray, uniform: FloatArray) -> FloatArray:
    """Draw a value from each histogram (..., K) (section 3.3).

    One uniform number, of :func:`draw_uniforms`, is compared with the cumulative sum: a bin is drawn
    with the probability of its mass, and the value is uniform inside it, as the number itself, given
    the bin, is. (With an independent number for each bin it would be no sample of the histogram.) For
    hue the cumulative sum starts at hue 0. One number for all pixels gives an image without noise.
    """
    return interpolate_bins(edges, *locate_quantile(histogram, uniform))


def draw_uniforms(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return uniform numbers for :func:`sample`.

    They lie in (0, 1], not in [0, 1): at 0 the first bin would be drawn even if it is empty. They
    are double whatever the histograms are, so that float32 and float64 draw the same.
    """
    return 1 - rng.random(shape)


def expectation(histogram: FloatArray, centers: FloatArray) -> FloatArray:
    """Return the sum of the K bin centroids weighted by the histogram (section 3.3)."""
    value: FloatArray = histogram @ centers.astype(histogram.dtype)
    return value


def mode(histogram: FloatArray, centers: FloatArray) -> FloatArray:
    """Return the centroid of the fullest bin, the first one on ties (section 3.3)."""
    value: FloatArray = centers.astype(histogram.dtype)[np.argmax(histogram, axis=-1)]
    return value
