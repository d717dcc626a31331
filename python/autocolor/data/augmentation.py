"""Views of a colour photo to learn from: sizes, and what age and scanners do to its lightness.

A view is a photo again, so that Caffe's own ``Data`` layer crops and mirrors it. Damage is done to the
lightness alone: hue and chroma, which are to be predicted, stay those of the undamaged photo.
"""

from __future__ import annotations

import io
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.imaging.color import compose_rgb, lightness, rgb_to_hue_chroma


@dataclass(frozen=True)
class DamageOptions:
    """Probabilities with which a view differs from its photo in more than size."""

    #: Exposure and contrast are changed; colours keep their ratio to the lightness
    tone: float = 0.3
    #: The lightness is blurred, gets film grain or is compressed
    blur: float = 0.04
    grain: float = 0.06
    jpeg: float = 0.04

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise InputError(name, f"expected a probability, got {value}")


def damaged(rgb: FloatArray, rng: np.random.Generator, options: DamageOptions) -> FloatArray:
    """Return a photo (H, W, 3) with another tone and a damaged lightness, or as it is.

    Parameters
    ----------
    rgb : (H, W, 3) float32 array in [0, 1]
    rng : numpy.random.Generator
    options : DamageOptions
    """
    tone, blur, grain, jpeg = rng.random(4) < astuple(options)
    if tone:
        rgb = change_tone(rgb, rng)
    if not (blur or grain or jpeg):
        return rgb
    grey = lightness(rgb)
    hue, chroma = rgb_to_hue_chroma(rgb)
    if blur:
        grey = _blurred(grey, rng.uniform(0.4, 1.5))
    if grain:
        grey = add_grain(grey, rng)
    if jpeg:
        grey = compress(grey, int(rng.integers(30, 90)))
    return compose_rgb(hue, chroma, grey).astype(np.float32)


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
    noise = _blurred(rng.normal(size=grey.shape), rng.uniform(0, 0.8))
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


def _blurred(image: FloatArray, sigma: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter  # takes 0.3 s, which a training need not wait

    blurred: FloatArray = gaussian_filter(image, sigma)
    return blurred
