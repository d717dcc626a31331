"""Views of a colour photo to learn from: crops, sizes, and what age and scanners do to the grey one."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import gaussian_filter

from autocolor.core.arrays import FloatArray
from autocolor.imaging.color import compose_rgb, lightness, rgb_to_hue_chroma
from autocolor.imaging.images import resize

_CLEAN_SIDE = 256  # of the photo that the shipped model sees


@dataclass(frozen=True)
class ViewOptions:
    """What views of a photo are like.

    Attributes
    ----------
    crop : int
        Side of the square view, in pixels.
    locations : int
        Pixels of a view to learn from.
    largest_side : int
        The photo's smaller side becomes `crop` to this many pixels, so that the crop shows all or a
        part of it.
    tone, blur, grain, jpeg : float
        Probabilities that exposure and contrast are changed, and that the grey input is blurred,
        gets film grain or is compressed.
    """

    crop: int = 224
    locations: int = 128
    largest_side: int = 384
    tone: float = 0.5
    blur: float = 0.05
    grain: float = 0.1
    jpeg: float = 0.05


@dataclass(frozen=True)
class View:
    """One view.

    Attributes
    ----------
    grey : (S, S) float32 array in [0, 1]
        What the network sees.
    rgb : (S, S, 3) float32 array in [0, 1]
        The colours that it is to predict.
    locations : (P, 2) int array
        Pixels (y, x) to learn from.
    """

    grey: npt.NDArray[np.float32]
    rgb: npt.NDArray[np.float32]
    locations: npt.NDArray[np.intp]


def clean_view(rgb: FloatArray, rng: np.random.Generator, options: ViewOptions) -> View:
    """Return the centre of a photo as the shipped model sees it; only the locations are random.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    rng : numpy.random.Generator
    options : ViewOptions
    """
    rgb = _resized(rgb, max(options.crop, _CLEAN_SIDE))
    top, left = ((side - options.crop) // 2 for side in rgb.shape[:2])
    rgb = rgb[top : top + options.crop, left : left + options.crop]
    return View(lightness(rgb), rgb, _locations(rng, options))


def random_view(rgb: FloatArray, rng: np.random.Generator, options: ViewOptions) -> View:
    """Return a random crop of a photo at a random size, often with a damaged grey input.

    Parameters are those of :func:`clean_view`.
    """
    largest = max(options.crop, options.largest_side)
    rgb = _resized(rgb, round(np.exp(rng.uniform(np.log(options.crop), np.log(largest)))))
    top, left = (int(rng.integers(side - options.crop + 1)) for side in rgb.shape[:2])
    rgb = rgb[top : top + options.crop, left : left + options.crop]
    if rng.random() < 0.5:
        rgb = rgb[:, ::-1]
    if rng.random() < options.tone:
        rgb = change_tone(rgb, rng)
    grey = lightness(rgb)
    if rng.random() < options.blur:
        grey = gaussian_filter(grey, rng.uniform(0.4, 1.5))
    if rng.random() < options.grain:
        grey = add_grain(grey, rng)
    if rng.random() < options.jpeg:
        grey = compress(grey, int(rng.integers(30, 90)))
    return View(grey, np.ascontiguousarray(rgb), _locations(rng, options))


def change_tone(rgb: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Change exposure and contrast; hue and the chroma relative to the lightness stay.

    A photo keeps its alpha and beta (Eq. 9) so, but for what leaves the gamut.
    """
    light = lightness(rgb)
    gamma = np.exp(rng.uniform(-0.4, 0.4))
    black, white = rng.uniform(0, 0.12), rng.uniform(0.85, 1.0)
    changed = black + (white - black) * light**gamma
    hue, chroma = rgb_to_hue_chroma(rgb)
    factor = changed / np.maximum(light, 1 / 255)
    return compose_rgb(hue, np.clip(chroma * factor, 0, 1), changed).astype(np.float32)


def add_grain(grey: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Add film grain: noise that is a little blurred and strongest in the middle tones."""
    noise = gaussian_filter(rng.normal(size=grey.shape), rng.uniform(0, 0.8))
    noise *= rng.uniform(0.01, 0.06) / max(noise.std(), 1e-6)
    weight = 0.5 + 2 * grey * (1 - grey)
    grainy: npt.NDArray[np.float32] = np.clip(grey + noise * weight, 0, 1).astype(np.float32)
    return grainy


def compress(grey: FloatArray, quality: int) -> npt.NDArray[np.float32]:
    """Return what JPEG leaves of a grey image."""
    stream = io.BytesIO()
    Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    with Image.open(stream) as image:
        return np.asarray(image, np.float32) / np.float32(255)


def _resized(rgb: FloatArray, side: int) -> npt.NDArray[np.float32]:
    """Return the photo with a smaller side of exactly this many pixels."""
    factor = side / min(rgb.shape[:2])
    height, width = (max(side, round(factor * length)) for length in rgb.shape[:2])
    return resize(rgb, (height, width))


def _locations(rng: np.random.Generator, options: ViewOptions) -> npt.NDArray[np.intp]:
    return rng.integers(options.crop, size=(options.locations, 2))
