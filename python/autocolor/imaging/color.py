"""Colour spaces of the paper and the back-conversion to RGB (section 3.1, A.2, A.4).

Every function works on arrays of any leading shape, usually an image (H, W), with RGB in the last
axis where there is one. Values are float32 or float64 and the result keeps that type. RGB and
lightness lie in [0, 1].
"""

from __future__ import annotations

import warnings

import numpy as np

from autocolor.core.arrays import FloatArray, check_array, check_same_shape, check_unit
from autocolor.core.constants import ALPHA_BETA_EPSILON

# How near the search for an L* brings the lightness to the given one, and the steps after which it
# ends in any case; colours of the RGB cube take 13 at most.
_LAB_TOLERANCE = 2e-6
_LAB_STEPS = 40


def _channels(rgb: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    return rgb[..., 0], rgb[..., 1], rgb[..., 2]


def _mean(rgb: FloatArray) -> FloatArray:
    red, green, blue = _channels(rgb)
    return (red + green + blue) / 3


def lightness(rgb: FloatArray) -> FloatArray:
    """Return L = (R + G + B) / 3 (section 3.1).

    Parameters
    ----------
    rgb : (..., 3) float array
        Any range; the function is linear.

    Returns
    -------
    (...) array of the dtype of `rgb`.
    """
    check_array("rgb", rgb, last_axis=3)
    return _mean(rgb)


def rgb_to_hue_chroma(rgb: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Convert RGB to hue and chroma (section 3.1).

    Parameters
    ----------
    rgb : (..., 3) float array in [0, 1]

    Returns
    -------
    hue : (...) array in [0, 1)
        The hue of HSV in turns: red 0, green 1/3, blue 2/3; 0 where the chroma is 0.
    chroma : (...) array in [0, 1]
        max(R, G, B) - min(R, G, B).
    """
    check_unit("rgb", rgb, last_axis=3)
    red, green, blue = _channels(rgb)
    largest = np.maximum(np.maximum(red, green), blue)
    chroma = largest - np.minimum(np.minimum(red, green), blue)
    divisor = np.where(chroma > 0, chroma, 1)
    sextant = np.where(
        largest == red,
        (green - blue) / divisor,
        np.where(largest == green, (blue - red) / divisor + 2, (red - green) / divisor + 4),
    )
    return wrap_hue(sextant / 6), chroma


def wrap_hue(turns: FloatArray) -> FloatArray:
    """Wrap an angle in turns to [0, 1); a tiny negative angle must not round to 1."""
    wrapped = turns - np.floor(turns)
    return np.where(wrapped < 1, wrapped, 0).astype(turns.dtype, copy=False)


def hue_chroma_to_rgb(hue: FloatArray, chroma: FloatArray, lightness: FloatArray) -> FloatArray:
    """Convert hue, chroma and lightness to RGB by way of HSV (section 3.1).

    The paper's V = L + C/2 and S = C/V are used in the form V - S V w = V - C w, which does not
    divide and is therefore finite at black and white. The colour has exactly the hue and chroma
    given, may leave [0, 1], and has (max + min)/2 = L. :func:`correct_lightness` is the next step.

    Parameters
    ----------
    hue : (...) float array in [0, 1]
        In turns; 0 and 1 are the same hue.
    chroma : (...) float array, >= 0
    lightness : (...) float array in [0, 1]

    Returns
    -------
    (..., 3) array, not clipped.
    """
    _check_hue_chroma(hue, chroma, lightness)
    return _from_hue_chroma(hue, chroma, lightness)


def _check_hue_chroma(hue: FloatArray, chroma: FloatArray, lightness: FloatArray) -> None:
    check_unit("hue", hue)
    check_array("chroma", chroma, low=0)
    check_unit("lightness", lightness)
    check_same_shape("chroma", chroma, hue.shape)
    check_same_shape("lightness", lightness, hue.shape)


def _from_hue_chroma(hue: FloatArray, chroma: FloatArray, lightness: FloatArray) -> FloatArray:
    value = lightness + chroma / 2
    rgb = np.empty((*hue.shape, 3), dtype=value.dtype)
    sextant = 6 * hue
    for channel, shift in enumerate((5, 3, 1)):
        position = sextant + shift
        position = np.where(position >= 6, position - 6, position)
        weight = np.clip(np.minimum(position, 4 - position), 0, 1)
        rgb[..., channel] = value - chroma * weight
    return rgb


def correct_lightness(rgb: FloatArray, lightness: FloatArray) -> FloatArray:
    """Give an image the lightness of the input (A.4), inside the gamut.

    As in the paper, L - L' is added to every channel. Where the result leaves [0, 1], clipping
    would spoil the lightness again, so the colour is drawn towards the grey L just as far as it
    takes: hue and lightness stay, chroma shrinks.

    Parameters
    ----------
    rgb : (..., 3) float array
        Any finite values.
    lightness : (...) float array in [0, 1]

    Returns
    -------
    (..., 3) array in [0, 1] whose lightness is `lightness` up to rounding.
    """
    check_array("rgb", rgb, last_axis=3)
    _check_lightness(lightness, rgb)
    return _with_lightness(rgb, lightness)


def _with_lightness(rgb: FloatArray, lightness: FloatArray) -> FloatArray:
    red, green, blue = _channels(rgb)
    mean = _mean(rgb)
    above = np.maximum(np.maximum(red, green), blue) - mean
    below = mean - np.minimum(np.minimum(red, green), blue)
    scale = np.minimum(_room(1 - lightness, above), _room(lightness, below))
    corrected = (rgb - mean[..., None]) * scale[..., None] + lightness[..., None]
    return np.clip(corrected, 0, 1, out=corrected)


def _check_lightness(lightness: FloatArray, colors: FloatArray) -> None:
    check_unit("lightness", lightness)
    check_same_shape("lightness", lightness, colors.shape[:-1])


def _room(room: FloatArray, needed: FloatArray) -> FloatArray:
    """Return min(room / needed, 1), and 1 where nothing is needed."""
    room = np.maximum(room, 0)
    fits = needed <= room
    return np.where(fits, 1, room / np.where(fits, 1, needed)).astype(needed.dtype, copy=False)


def compose_rgb(hue: FloatArray, chroma: FloatArray, lightness: FloatArray) -> FloatArray:
    """Return the RGB image of a hue and a chroma that has exactly the given lightness.

    :func:`hue_chroma_to_rgb` followed by :func:`correct_lightness`; it inverts
    :func:`rgb_to_hue_chroma`. Arguments and errors are those of :func:`hue_chroma_to_rgb`.
    """
    _check_hue_chroma(hue, chroma, lightness)
    return _with_lightness(_from_hue_chroma(hue, chroma, lightness), lightness)


def rgb_to_alpha_beta(rgb: FloatArray) -> FloatArray:
    """Convert RGB to the alpha-beta colour space of the error metric (Eq. 9).

    Parameters
    ----------
    rgb : (..., 3) float array in [0, 1]

    Returns
    -------
    (..., 2) array in [-3, 3]: alpha (blue against yellow) and beta (red against green), both
    relative to the lightness.
    """
    check_unit("rgb", rgb, last_axis=3)
    red, green, blue = _channels(rgb)
    denominator = _mean(rgb) + ALPHA_BETA_EPSILON
    alpha = (blue - (red + green) / 2) / denominator
    beta = (red - green) / denominator
    return np.stack([alpha, beta], axis=-1)


def compose_alpha_beta(alpha_beta: FloatArray, lightness: FloatArray) -> FloatArray:
    """Return the RGB image (..., 3) of an alpha and beta (..., 2) that has exactly the given lightness.

    It inverts :func:`rgb_to_alpha_beta`: Eq. 9 and L = (R + G + B)/3 are linear in RGB. What leaves
    the gamut is drawn towards grey, see :func:`correct_lightness`.
    """
    check_array("alpha_beta", alpha_beta, last_axis=2)
    _check_lightness(lightness, alpha_beta)
    light = np.asarray(np.clip(lightness, 0, 1), dtype=alpha_beta.dtype)
    alpha, beta = np.moveaxis(alpha_beta * (light + ALPHA_BETA_EPSILON)[..., None], -1, 0)
    red_and_green = -alpha / 3
    rgb = np.stack([red_and_green + beta / 2, red_and_green - beta / 2, 2 * alpha / 3], axis=-1)
    return _with_lightness(rgb, light)


def rgb_to_lab(rgb: FloatArray) -> FloatArray:
    """Convert sRGB in [0, 1] to CIE L*a*b* (D65, 2 degrees): L* in [0, 100], a* and b* in +-128."""
    check_unit("rgb", rgb, last_axis=3)
    from skimage.color import rgb2lab  # takes 0.1 s, which hue and chroma need not wait

    converted: FloatArray = rgb2lab(rgb)
    return converted


def _from_lab(lab: FloatArray) -> FloatArray:
    from skimage.color import lab2rgb  # see rgb_to_lab

    with warnings.catch_warnings():
        # Of colours out of gamut, which are clipped.
        warnings.simplefilter("ignore", UserWarning)
        converted: FloatArray = lab2rgb(lab)
    return converted


def compose_lab(ab: FloatArray, lightness: FloatArray) -> FloatArray:
    """Return the RGB image of an a* and b* that has exactly the given lightness (A.4).

    The lightness of the paper is (R + G + B)/3, not L*. The L* is looked for at which the colour
    has that mean, to 1e-5; the rest, and what no L* from 0 to 100 gives, is
    :func:`correct_lightness`. Black and white stay black and white.

    Parameters
    ----------
    ab : (..., 2) float array
        a* and b* of CIE L*a*b*, any finite values.
    lightness : (...) float array in [0, 1]

    Returns
    -------
    (..., 3) array in [0, 1] of the dtype of `ab`, whose lightness is `lightness` up to rounding.
    """
    check_array("ab", ab, last_axis=2)
    _check_lightness(lightness, ab)
    target = np.asarray(np.clip(lightness, 0, 1), dtype=ab.dtype)
    rgb = _lab_of_lightness(ab.reshape(-1, 2), target.reshape(-1))
    return _with_lightness(rgb.reshape(*target.shape, 3), target)


def _lab_of_lightness(ab: FloatArray, target: FloatArray) -> FloatArray:
    """Return the RGB (N, 3) of a* and b* (N, 2) and the L* that brings their mean to `target` (N,).

    L* is that of a grey, and the grey's value what is looked for: by secants, whose first slope is
    that of colours near grey, and by halving the interval that holds it, where a secant leaves it
    and in every fourth step, since clipped channels bend the curve.
    """
    rgb = np.empty((len(target), 3), ab.dtype)
    left = np.arange(len(target))  # of the colours to look for
    grey = target
    before = error_before = np.full_like(target, np.nan)
    # Greys too dark and too light; those outside [0, 1] are there before any is known.
    dark, light = np.full_like(target, -1), np.full_like(target, 2)
    for step in range(_LAB_STEPS):
        lab = np.concatenate([_lab_lightness_of_grey(grey)[:, None], ab[left]], axis=-1)
        found = _from_lab(lab)
        rgb[left] = found
        error = _mean(found) - target[left]
        dark, light = np.where(error < 0, grey, dark), np.where(error > 0, grey, light)
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (error - error_before) / (grey - before)
        slope = np.where(slope > 0, slope, 1)
        after = np.clip(grey - error / slope, 0, 1)
        middle = (np.maximum(dark, 0) + np.minimum(light, 1)) / 2
        inside = (dark < after) & (after < light) & (step % 4 < 3)
        after = np.where(inside, after, middle)
        unknown = (np.abs(error) > _LAB_TOLERANCE) & (after != grey)
        left, dark, light = left[unknown], dark[unknown], light[unknown]
        before, error_before, grey = grey[unknown], error[unknown], after[unknown]
        if not len(left):
            break
    return rgb


def _lab_lightness_of_grey(grey: FloatArray) -> FloatArray:
    """Return the L* in [0, 100] of the sRGB grey of a value in [0, 1]."""
    linear = np.where(grey > 0.04045, ((grey + 0.055) / 1.055) ** 2.4, grey / 12.92)
    cube_root: FloatArray = np.cbrt(linear)
    # CIE: 216/24389 and 24389/27.
    return np.where(linear > 216 / 24389, 116 * cube_root - 16, 24389 / 27 * linear)
