"""Diverse colorizations and the uncertainty of colour (section 4, Figure 10).

Both work on predicted histograms alone. A bias goes into
:func:`autocolor.control.energy.apply_bias`; it moves uncertain pixels more than certain ones.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.control.targets import check_variant
from autocolor.core.arrays import FloatArray, check_array, check_same_shape
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS
from autocolor.histograms.bins import quantile_centers, uniform_centers
from autocolor.imaging.color import hue_chroma_to_rgb, rgb_to_lab

Biases = npt.NDArray[np.float64]


def lean_biases(variant: str, hue: float, strength: float, bins: int) -> tuple[Biases | None, ...]:
    """Return biases that prefer one hue: a global bias that can be rotated (section 4).

    That of bin k of a hue histogram is strength * cos(theta_k - phi), with theta_k the angle of the
    bin's centre (Eq. 4) and phi that of the hue. Those of a and b are linear in units of the bins'
    Gaussian, which would move a Gaussian without changing its width.

    Parameters
    ----------
    variant : {"hue_chroma", "lab_marginal", "lab_joint"}
        What the histograms are of.
    hue : float
        Of HSV, in turns: red 0, green 1/3, blue 2/3. For Lab, the direction in the plane of a and b
        in which the most saturated colour of that hue lies.
    strength : float, >= 0
        Largest bias in nats (of Lab: at one standard deviation, 25); 0 changes nothing.
    bins : int
        Of each channel, K.

    Returns
    -------
    tuple of (K,) float64 arrays or None
        For each predicted channel, in the order of the variant's outputs; None where it
        stays as it is. Of "lab_joint" one array of (K * K,).
    """
    check_variant(variant)
    if not np.isfinite(hue):
        raise InputError("hue", f"expected a finite number of turns, got {hue}")
    if not 0 <= strength < np.inf:
        raise InputError("strength", f"expected a finite number >= 0, got {strength}")
    if VARIANTS[variant].has_hue:
        return strength * np.cos(2 * np.pi * (uniform_centers(bins) - hue)), None
    saturated = hue_chroma_to_rgb(np.array(float(hue) % 1), np.array(1.0), np.array(0.5))
    direction = rgb_to_lab(saturated)[1:]
    units = strength * quantile_centers(bins, sigma=1) / np.hypot(*direction)
    a, b = direction[0] * units, direction[1] * units
    if not VARIANTS[variant].is_joint:
        return a, b
    return ((a[:, None] + b).ravel(),)


def uncertainty(*histograms: FloatArray) -> npt.NDArray[np.float32]:
    """Return the entropy of the predicted colour (Figure 10).

    Of independent marginal histograms, such as hue and chroma, the entropies add up: it is the
    entropy of hue x chroma.

    Parameters
    ----------
    *histograms : (..., K) float arrays, of one leading shape
        Hue and chroma; a and b; or one joint histogram.

    Returns
    -------
    (...) float32 array
        In bits: 0 for one-hot histograms, the sum of log2 K for even ones.
    """
    if not histograms:
        raise InputError("histograms", "expected at least one, got none")
    from scipy.special import entr  # takes 0.1 s, which other photos need not wait

    bits = np.zeros(histograms[0].shape[:-1], np.float32)
    for histogram in histograms:
        check_array("histogram", histogram, low=0)
        check_same_shape("histogram", histogram[..., 0], bits.shape)
        bits += (entr(histogram).sum(axis=-1) / np.log(2)).astype(np.float32)
    # Rows that sum to a little more than 1 have a negative entropy.
    return np.maximum(bits, 0, out=bits)


def render_uncertainty(bits: FloatArray, maximum_bits: float) -> npt.NDArray[np.float32]:
    """Draw an uncertainty map (H, W) in false colour, (H, W, 3), on a fixed scale: images compare.

    `maximum_bits` is drawn in the last colour: 2 log2 K for two marginals of K bins or a joint K x K.
    """
    import matplotlib

    check_array("bits", bits)
    if not 0 < maximum_bits < np.inf:
        raise InputError("maximum_bits", f"expected a positive number, got {maximum_bits}")
    # Through all 256 entries by rounding, not by the floor that matplotlib takes of floats.
    levels = np.rint(np.clip(bits / maximum_bits, 0, 1) * 255).astype(np.uint8)
    table = matplotlib.colormaps["viridis"].resampled(256)(np.arange(256))
    return table[levels, :3].astype(np.float32)
