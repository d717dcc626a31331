"""ICC profiles, judged by what they do to colours: from them to sRGB and back."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import ImageCms

from autocolor.core.arrays import FloatArray, row_bands

Space = Literal["grey", "rgb", "cmyk", "lab"]

_BAND = 2**20  # pixels that are converted at once
_SAME = 1.5 / 255
"""A profile whose colours are those of sRGB to this is sRGB: converting would only add rounding."""

_KEPT = 2 / 255
"""Profiles in which 8 bits lose more than this of sRGB's colours cannot hold a result."""


def to_srgb(values: FloatArray, space: Space, profile: bytes | None) -> npt.NDArray[np.float32]:
    """Convert an image to sRGB.

    A profile that is sRGB, that is damaged or that is one of another colour space changes nothing.

    Parameters
    ----------
    values : (H, W, C) float array in [0, 1]
        Lab as L / 100, (a + 128) / 255, (b + 128) / 255.
    space : {"grey", "rgb", "cmyk", "lab"}
    profile : bytes, optional
        That of the values.

    Returns
    -------
    (H, W, 3) float32 array in [0, 1]; a grey image stays grey.
    """
    if space == "lab":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        return _converted(values, lab, space)
    if profile and not _is_srgb(profile, space):
        try:
            return _converted(values, profile, space)
        except (RuntimeError, ValueError):
            pass  # as littlecms reports a broken profile, or one of another colour space
    if space == "grey":
        return np.repeat(values.astype(np.float32, copy=False), 3, axis=-1)
    if space == "cmyk":
        result = 1 - values[..., :3].astype(np.float32, copy=False)
        result *= 1 - values[..., 3:]
        return result
    return values.astype(np.float32, copy=False)


def from_srgb(rgb: FloatArray, profile: bytes) -> npt.NDArray[np.float32] | None:
    """Convert from sRGB; None where the profile is no RGB one that holds sRGB in 8 bits.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    profile : bytes
    """
    if _is_srgb(profile, "rgb"):
        return rgb.astype(np.float32, copy=False)
    colors = _probe("rgb")
    try:
        stored = np.rint(_converted(colors, profile, "rgb", back=True) * 255) / 255
        if np.abs(_converted(stored, profile, "rgb") - colors).max() > _KEPT:
            return None
        return _converted(rgb, profile, "rgb", back=True)
    except (RuntimeError, ValueError):
        return None


def _probe(space: Space) -> npt.NDArray[np.float32]:
    """Return an image of all kinds of colours."""
    if space == "grey":
        return np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 256, 1)
    levels = np.linspace(0, 1, 18, dtype=np.float32)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)


def _is_srgb(profile: bytes, space: Space) -> bool:
    if space not in ("grey", "rgb"):
        return False
    colors = _probe(space)
    try:
        return bool(np.abs(_converted(colors, profile, space) - colors).max() <= _SAME)
    except (RuntimeError, ValueError):
        return False


def _converted(
    values: FloatArray, profile: bytes, space: Space, *, back: bool = False
) -> npt.NDArray[np.float32]:
    """Let littlecms convert from a profile to sRGB, or `back`, in bands of rows.

    In floats: its 16-bit curves are off by up to 2 levels of 255 where it is dark.
    """
    import imagecodecs  # takes a second, which photos without a profile need not wait

    profiles = (profile, imagecodecs.cms_profile("srgb"))
    spaces = ("gray" if space == "grey" else space, "rgb")
    result = np.empty((*values.shape[:2], 3), np.float32)
    for rows in row_bands(len(values), values.shape[1], _BAND):
        band = values[rows].astype(np.float32)
        # What littlecms takes floats for.
        if space == "cmyk":
            band *= 100
        elif space == "lab":
            band *= np.array([100, 255, 255], np.float32)
            band -= np.array([0, 128, 128], np.float32)
        result[rows] = imagecodecs.cms_transform(
            band[..., 0] if space == "grey" else band,
            *(reversed(profiles) if back else profiles),
            colorspace=spaces[back],
            outcolorspace=spaces[not back],
            outdtype=np.float32,
            intent=0,  # perceptual, as viewers do
        )
    if space == "grey":
        result[:] = result[..., 1:2]  # its channels differ by a rounding
    return np.clip(result, 0, 1, out=result)
