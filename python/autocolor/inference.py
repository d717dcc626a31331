"""From predicted histograms to colour (section 3.3, Eq. 4 and 5, A.4).

A histogram array is (..., K), float32 or float64, non-negative, each row summing to 1.
"""

from __future__ import annotations

import numpy as np

from autocolor.checks import FloatArray, check_array, check_same_shape
from autocolor.color import compose_rgb, wrap_hue
from autocolor.constants import BINS, FADING_ETA
from autocolor.histogram import uniform_centers, uniform_edges

HUE_METHODS = ("expectation", "mode")
CHROMA_METHODS = ("median", "expectation", "mode")


def expectation_hue(histogram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the argument and the size of the complex expectation of hue (Eq. 4).

    Parameters
    ----------
    histogram : (..., K) float array
        Even bins of [0, 1).

    Returns
    -------
    hue : (...) array in [0, 1)
        arg(z), in turns.
    magnitude : (...) array in [0, 1/K]
        abs(z), with the 1/K of Eq. 4: 1/K for a one-hot and 0 for a uniform histogram.

    Raises
    ------
    ValueError
        If `histogram` is no finite, non-negative float array.
    """
    check_array("histogram", histogram, low=0)
    bins = histogram.shape[-1]
    angles = 2 * np.pi * uniform_centers(bins)
    basis = np.stack([np.cos(angles), np.sin(angles)], axis=-1) / bins
    z: FloatArray = histogram @ basis.astype(histogram.dtype)
    real, imaginary = z[..., 0], z[..., 1]
    turns = np.arctan2(imaginary, real) / (2 * np.pi)
    magnitude: FloatArray = np.hypot(real, imaginary)
    return wrap_hue(turns), magnitude


def fade_chroma(chroma: FloatArray, magnitude: FloatArray, bins: int = BINS) -> FloatArray:
    """Return min(abs(z) / eta, 1) * C, chromatic fading (Eq. 5).

    Eq. 5 prints max, which would never fade. As abs(z) carries 1/K, so does eta: 0.03 at K = 32
    and 0.96/K in general.

    Parameters
    ----------
    chroma : (...) float array, >= 0
    magnitude : (...) float array
        From :func:`expectation_hue`.
    bins : int
        K of the hue histogram.

    Returns
    -------
    (...) array of the dtype of `chroma`.
    """
    eta = FADING_ETA * BINS / bins
    faded: FloatArray = chroma * np.minimum(magnitude / eta, 1)
    return faded


def median(histogram: FloatArray, edges: FloatArray, *, interpolate: bool = True) -> FloatArray:
    """Return the median of each histogram (section 3.3); not for hue, which is circular.

    Half of a row's own sum is looked for, so rows that sum to a little less than 1 are no trouble.

    Parameters
    ----------
    histogram : (..., K) float array
    edges : (K + 1,) float array
        Bin edges, finite and ascending.
    interpolate : bool
        True: linear inside the bin, as the paper says. False: the centre of the bin.

    Returns
    -------
    (...) array of the dtype of `histogram`. A row of zeros gives the centre of bin 0.

    Raises
    ------
    ValueError
        If an argument is not finite, `histogram` is negative or `edges` does not fit.
    """
    check_array("histogram", histogram, low=0)
    check_array("edges", edges, last_axis=histogram.shape[-1] + 1)
    cumulative = np.cumsum(histogram, axis=-1)
    half = cumulative[..., -1:] / 2
    index = np.argmax(cumulative >= half, axis=-1, keepdims=True)
    if interpolate:
        mass = np.take_along_axis(histogram, index, axis=-1)
        excess = np.take_along_axis(cumulative, index, axis=-1) - half
        # The last term is 1/2 for a row of zeros, which has no mass to divide by.
        fraction = 1 - np.divide(excess, mass, out=np.full_like(mass, 0.5), where=mass > 0)
    else:
        fraction = np.full_like(half, 0.5)
    edges = edges.astype(histogram.dtype)
    lower, upper = edges[index], edges[index + 1]
    value: FloatArray = lower + np.clip(fraction, 0, 1) * (upper - lower)
    return value[..., 0]


def expectation(histogram: FloatArray, centers: FloatArray) -> FloatArray:
    """Return the sum of the bin centres weighted by the histogram (section 3.3).

    Parameters
    ----------
    histogram : (..., K) float array
    centers : (K,) float array

    Returns
    -------
    (...) array of the dtype of `histogram`.

    Raises
    ------
    ValueError
        If an argument is not finite, `histogram` is negative or `centers` does not fit.
    """
    check_array("histogram", histogram, low=0)
    check_array("centers", centers, last_axis=histogram.shape[-1])
    value: FloatArray = histogram @ centers.astype(histogram.dtype)
    return value


def mode(histogram: FloatArray, centers: FloatArray) -> FloatArray:
    """Return the centre of the fullest bin, the first one on ties (section 3.3).

    Arguments, result and errors are those of :func:`expectation`.
    """
    check_array("histogram", histogram, low=0)
    check_array("centers", centers, last_axis=histogram.shape[-1])
    value: FloatArray = centers.astype(histogram.dtype)[np.argmax(histogram, axis=-1)]
    return value


def infer_hue_chroma(
    hue_histogram: FloatArray,
    chroma_histogram: FloatArray,
    *,
    hue: str = "expectation",
    chroma: str = "median",
    fading: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Return one hue and one chroma for each pair of histograms (section 3.3).

    Parameters
    ----------
    hue_histogram, chroma_histogram : (..., K) float array
        Even bins of [0, 1].
    hue : {"expectation", "mode"}
    chroma : {"median", "expectation", "mode"}
    fading : bool
        Chromatic fading (Eq. 5).

    Returns
    -------
    hue : (...) array in [0, 1)
    chroma : (...) array in [0, 1]

    Raises
    ------
    ValueError
        On an unknown method, on shapes that differ, and on histograms that are not finite and
        non-negative.
    """
    _check_choice("hue", hue, HUE_METHODS)
    _check_choice("chroma", chroma, CHROMA_METHODS)
    check_array("hue_histogram", hue_histogram, low=0)
    check_array("chroma_histogram", chroma_histogram, low=0)
    check_same_shape("chroma_histogram", chroma_histogram[..., 0], hue_histogram.shape[:-1])
    hue_bins, chroma_bins = hue_histogram.shape[-1], chroma_histogram.shape[-1]
    hue_value, magnitude = expectation_hue(hue_histogram)
    if hue == "mode":
        hue_value = mode(hue_histogram, uniform_centers(hue_bins))
    if chroma == "median":
        chroma_value = median(chroma_histogram, uniform_edges(chroma_bins))
    elif chroma == "expectation":
        chroma_value = expectation(chroma_histogram, uniform_centers(chroma_bins))
    else:
        chroma_value = mode(chroma_histogram, uniform_centers(chroma_bins))
    if fading:
        chroma_value = fade_chroma(chroma_value, magnitude, hue_bins)
    return hue_value, chroma_value


def decode_hue_chroma(
    hue_histogram: FloatArray,
    chroma_histogram: FloatArray,
    lightness: FloatArray,
    *,
    hue: str = "expectation",
    chroma: str = "median",
    fading: bool = True,
    strength: float = 1.0,
) -> FloatArray:
    """Return the colour image that the histograms predict (section 3.3, A.4).

    Parameters
    ----------
    hue_histogram, chroma_histogram, hue, chroma, fading
        As for :func:`infer_hue_chroma`.
    lightness : (...) float array in [0, 1]
        Of the grey input.
    strength : float, >= 0
        Factor on the chroma: 0 gives grey, 1 the prediction.

    Returns
    -------
    (..., 3) float32 array, RGB in [0, 1], of exactly the given lightness.

    Raises
    ------
    ValueError
        As :func:`infer_hue_chroma`, and on lightness or strength out of range.
    """
    check_strength(strength)
    check_same_shape("lightness", lightness, hue_histogram.shape[:-1])
    hue_value, chroma_value = infer_hue_chroma(
        hue_histogram, chroma_histogram, hue=hue, chroma=chroma, fading=fading
    )
    rgb = compose_rgb(hue_value, chroma_value * strength, lightness)
    return rgb.astype(np.float32, copy=False)


def check_strength(strength: float) -> None:
    """Refuse a chroma factor that is negative, infinite or NaN, with a `ValueError`."""
    if not 0 <= strength < np.inf:
        raise ValueError(f"strength: expected a finite number >= 0, received {strength}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(choices)}, received {value!r}")
