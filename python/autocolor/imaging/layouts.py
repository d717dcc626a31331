"""Images as other libraries hold them, as the lightness that the networks see."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from autocolor.core.arrays import FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.imaging.color import lightness

_TYPES = "bool, uint8, uint16, or floats in [0, 1]"
_LAYOUTS = "(H, W), (H, W, 1), (H, W, 3), (H, W, 4), (1, H, W) or (3, H, W)"
# Other modes of Pillow are converted, but for those whose range is anybody's guess.
_AS_THEY_ARE = ("L", "RGB", "I;16", "I;16B", "I;16L")
_WITHOUT_RANGE = ("F", "I")


def as_lightness(image: Any, name: str = "image") -> FloatArray:
    """Return the lightness of an image in any common layout and type.

    Parameters
    ----------
    image : array, nested list, Pillow image, or what NumPy makes an array of (a tensor of PyTorch)
        Shape (H, W), (H, W, 1), (H, W, 3), (H, W, 4), (1, H, W) or (3, H, W); a first axis of length 1
        before three others, a batch of one, is left out. Where several fit, channels are last. Of
        colour, in sRGB, the lightness is taken; opacity, the fourth channel, counts for nothing.
        Values are False and True, 0…255 (uint8), 0…65535 (uint16), or floats in [0, 1].
    name : str
        Of the argument, for the error text.

    Returns
    -------
    (H, W) float32 or float64 array in [0, 1]
        (R + G + B)/3 (section 3.1). Floats of these types keep theirs.

    Raises
    ------
    InputError
        On another type, shape or range, or without a pixel.

    Examples
    --------
    >>> as_lightness(np.array([[[255, 0, 0, 128]]], dtype=np.uint8))
    array([[0.33333334]], dtype=float32)
    """
    array = _array_of(image, name)
    shape = array.shape
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 3:
        if array.shape[-1] not in (1, 3, 4) and array.shape[0] in (1, 3):
            array = np.moveaxis(array, 0, -1)
        channels = array.shape[-1]
        if channels == 1:
            array = array[..., 0]
        elif channels in (3, 4):
            array = array[..., :3]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] == 3)) or array.size == 0:
        raise InputError(name, f"expected shape {_LAYOUTS}, got {shape}")
    values = _in_unit(array, name)
    return values if values.ndim == 2 else lightness(values)


def _array_of(image: Any, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    if isinstance(image, Image.Image):
        if image.mode in _WITHOUT_RANGE:
            raise InputError(
                name, f"expected a Pillow image with a known range, got mode {image.mode}"
            )
        if image.mode not in _AS_THEY_ARE:
            image = image.convert("RGB")
    expected = f"expected an array or an image, got {type(image).__name__}"
    try:
        array = np.asarray(image)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU
        raise InputError(name, f"{expected}: {error}") from error
    if array.dtype.kind not in "biufc":  # paths, None
        raise InputError(name, expected)
    return array


def _in_unit(array: np.ndarray[Any, np.dtype[Any]], name: str) -> FloatArray:
    """Return the values as floats in [0, 1]."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.float32)
    if kind == "u" and size <= 2:
        return array.astype(np.float32) / np.float32(2 ** (8 * size) - 1)
    if kind != "f":
        raise InputError(name, f"expected {_TYPES}, got {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    check_unit(name, array)
    return array
