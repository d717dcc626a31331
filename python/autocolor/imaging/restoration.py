"""Dust, scratches and faded tones of old photos, before they are colorized."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_unit

# What is thinner than this part of the larger side, and stands out, may be dust or a scratch.
_WIDTH = 0.005
# How much brighter or darker than what is around it: than this, and than so many times the mean of such
# differences in the neighbourhood, so that hair, grass and other fine detail stay.
_DIFFERENCE = 0.25
_TIMES_MEAN = 8
_NEIGHBOURHOOD = 8  # widths
# Of what is marked; more is no dust but a pattern of the picture.
_LARGEST_SHARE = 0.05
_TONES = (0.002, 0.998)


def restore(grey: FloatArray) -> FloatArray:
    """Fill dust and scratches from around them, and spread faded tones over the whole range.

    Filling is biharmonic inpainting (scikit-image). Fine detail that looks like dust may go with it.

    Parameters
    ----------
    grey : (H, W) float array in [0, 1]

    Returns
    -------
    (H, W) float array in [0, 1]
    """
    from skimage.restoration import inpaint_biharmonic

    check_unit("grey", grey)
    marked = find_damage(grey)
    filled = grey
    if marked.any():
        filled = inpaint_biharmonic(grey, marked, split_into_regions=True)
    return stretch_tones(filled.astype(grey.dtype, copy=False))


def find_damage(grey: FloatArray) -> npt.NDArray[np.bool_]:
    """Mark thin or small spots that are much brighter or darker than their surroundings.

    Returns
    -------
    (H, W) bool array
    """
    from scipy import ndimage

    width = max(3, round(_WIDTH * max(grey.shape)))
    size = 2 * (width // 2) + 1
    marked = np.zeros(grey.shape, bool)
    for picture in (grey, 1 - grey):  # bright, then dark
        # What an opening takes away is thinner than its square, in some direction.
        outstanding = picture - ndimage.grey_opening(picture, size)
        usual = ndimage.uniform_filter(outstanding, _NEIGHBOURHOOD * size)
        marked |= outstanding > np.maximum(_DIFFERENCE, _TIMES_MEAN * usual)
    if marked.mean() > _LARGEST_SHARE:
        return np.zeros_like(marked)
    # Their edges are blurred.
    return ndimage.binary_dilation(marked, iterations=1) if marked.any() else marked


def stretch_tones(grey: FloatArray) -> FloatArray:
    """Map the darkest and the lightest tones to black and white, but for a fifth of a percent of each."""
    from skimage.exposure import rescale_intensity

    low, high = np.quantile(grey, _TONES)
    if high - low < 1 / 255:
        return grey
    stretched: FloatArray = rescale_intensity(
        grey, in_range=(float(low), float(high)), out_range=(0.0, 1.0)
    )
    return stretched.astype(grey.dtype, copy=False)
