"""An opened photo of the web page: the network has run, and every control is a cheap decoding.

The histograms of a photo are kept on the network's grid with its lightness at two sizes, so that a
control that is being dragged answers at once, and what stays on the screen is finer. Downloads are
rendered anew at full resolution, with the same biases.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from autocolor.control.biases import Biases, lean_biases
from autocolor.control.edits import DIVERSITY, uncertainty_image
from autocolor.control.energy import apply_bias, minimize_energy
from autocolor.control.hints import Hint, spread_hints
from autocolor.control.quantile import transfer_quantiles
from autocolor.control.targets import TARGET_NAMES, check_variant, image_targets
from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.histograms.decode import decode
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.tiles import ImageTiles, array_tiles
from autocolor.imaging.color import lightness
from autocolor.imaging.images import (
    ImageError,
    Photo,
    image_size,
    read_image,
    resize,
    to_uint8,
    write_image,
)
from autocolor.runtime.colorizer import Colorizer
from autocolor.web.controls import Controls

QUICK_PIXELS = 512 * 512
"""Of a preview while a control moves: a photo of 512 x 512 is then shown in full."""

FINE_PIXELS = 1600 * 1000
"""Of the preview that stays."""

_VARIATION_PIXELS = 192 * 192
_REFERENCE_PIXELS = 512 * 512

# Part of the photo's larger side, so that a hint covers the same place at every size.
_HINT_RADIUS = 0.006

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 93, "subsampling": 0}

Watch = Callable[[float], None]
"""Is told the part that is done; raises to stop."""


def _ignore(done: float) -> None:
    pass


@dataclass
class OpenPhoto:
    """What is kept of a photo.

    Attributes
    ----------
    prediction : Prediction
        Its lightness has at most `FINE_PIXELS`.
    size : (height, width)
        Of the photo itself.
    colored : bytes
        JPEG of the photo as it was, of the size of the fine preview; empty if it is grey.
    biases : dict
        Of the energy of the references that were used, by their ids.
    """

    prediction: Prediction
    size: tuple[int, int]
    colored: bytes
    biases: dict[str, list[Biases]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        arrays = (self.prediction.lightness, *self.prediction.outputs)
        return sum(array.nbytes for array in arrays) + len(self.colored)

    def summary(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        height, width = self.size
        return {"height": height, "width": width, "colored": bool(self.colored)}


def read_limited(path: Path, largest_pixels: int, **options: Any) -> Photo:
    """Read a photo of at most `largest_pixels`, checked before anything is decoded.

    Raises
    ------
    ImageError
        If it cannot be read or is larger.
    """
    height, width = image_size(path)
    if height * width > largest_pixels:
        raise ImageError(
            f"{path}: expected at most {largest_pixels / 1e6:g} megapixels, "
            f"got {height * width / 1e6:.1f} ({width} x {height})"
        )
    return read_image(path, **options)


def open_photo(colorizer: Colorizer, path: Path, largest_pixels: int) -> OpenPhoto:
    """Read a photo and run the network.

    Raises
    ------
    ImageError, autocolor.runtime.model_folder.ModelError
        If the photo or the model cannot be used.
    """
    photo = read_limited(path, largest_pixels)
    light = lightness(photo.rgb)
    prediction = colorizer.predict(light)
    height, width = light.shape
    colored = b""
    if not photo.is_gray and np.ptp(photo.rgb, axis=-1).max() > 2 / 255:
        colored = encode_jpeg(resize(photo.rgb, fitted((height, width), FINE_PIXELS)))
    return OpenPhoto(reduced(prediction, FINE_PIXELS), (height, width), colored)


def fitted(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """Return `size`, (height, width), reduced in proportion to at most `pixels`, about."""
    height, width = size
    factor = min(1.0, math.sqrt(pixels / (height * width)))
    return max(1, round(height * factor)), max(1, round(width * factor))


def reduced(prediction: Prediction, pixels: int) -> Prediction:
    """Return a prediction for the photo at a smaller size; itself if it is that small."""
    light = prediction.lightness
    old = (light.shape[0], light.shape[1])
    new = fitted(old, pixels)
    return prediction if new == old else at_size(prediction, resize(light, new), old)


def at_size(prediction: Prediction, light: FloatArray, old: tuple[int, int]) -> Prediction:
    """Return the same histograms for the photo at another size.

    Parameters
    ----------
    prediction : Prediction
    light : (H, W) float array in [0, 1]
        Lightness at the new size.
    old : (height, width)
        Size that `prediction` is for.
    """
    y, x = prediction.cells_per_pixel
    cells = (y * old[0] / light.shape[0], x * old[1] / light.shape[1])
    return Prediction(prediction.variant, light, prediction.outputs, cells, prediction.strength)


def preview(
    photo: OpenPhoto, controls: Controls, pixels: int, reference: FloatArray | None
) -> bytes:
    """Return the colorization with at most `pixels`, as JPEG."""
    return encode_jpeg(_colors(photo, reduced(photo.prediction, pixels), controls, reference))


def variations(
    photo: OpenPhoto, controls: Controls, count: int, rotation: float, reference: FloatArray | None
) -> list[dict[str, Any]]:
    """Return `count` small diverse colorizations (section 4), with the hue that each leans towards.

    The other controls apply to each. The first is the automatic one, without a lean.

    Returns
    -------
    list of dict
        ``hue`` in turns, ``lean`` in nats, and ``image``, a data URL.
    """
    small = reduced(photo.prediction, _VARIATION_PIXELS)
    hues = [(rotation + index / count) % 1 for index in range(count)]
    results = []
    for hue, lean in [(0.0, 0.0), *((hue, DIVERSITY) for hue in hues)]:
        changed = Controls(
            controls.strength, hue, lean, controls.hints, controls.reference, controls.transfer
        )
        image = encode_jpeg(_colors(photo, small, changed, reference))
        encoded = base64.b64encode(image).decode()
        results.append({"hue": hue, "lean": lean, "image": f"data:image/jpeg;base64,{encoded}"})
    return results


def uncertainty(photo: OpenPhoto) -> bytes:
    """Return the entropy of the predicted colour (Figure 10), as JPEG."""
    return encode_jpeg(uncertainty_image(reduced(photo.prediction, QUICK_PIXELS)))


def gray(photo: OpenPhoto) -> bytes:
    """Return the photo without colour, as JPEG of the size of the fine preview."""
    return encode_jpeg(photo.prediction.lightness)


def render_file(
    photo: OpenPhoto,
    controls: Controls,
    reference: FloatArray | None,
    path: Path,
    output: Path,
    largest_pixels: int,
    watch: Watch,
) -> None:
    """Write the colorization at full resolution; the output's suffix chooses the format.

    Raises
    ------
    ImageError
        If the photo cannot be read any more, or not be written in that format.
    Exception
        What `watch` raises.
    """
    read = read_limited(path, largest_pixels)
    light = lightness(read.rgb)
    alpha = read.alpha
    del read  # 12 bytes a pixel
    old = photo.prediction.lightness.shape
    full = at_size(photo.prediction, light, (old[0], old[1]))
    write_image(output, _colors(photo, full, controls, reference, watch), alpha)


def read_reference(path: Path, largest_pixels: int) -> FloatArray:
    """Read a photo whose colours are to be taken, at most 512 x 512 pixels of it.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    side = round(math.sqrt(_REFERENCE_PIXELS))
    rgb = read_limited(path, largest_pixels, least_side=side).rgb
    return resize(rgb, fitted((rgb.shape[0], rgb.shape[1]), _REFERENCE_PIXELS))


def encode_jpeg(image: FloatArray) -> bytes:
    """Return an (H, W) or (H, W, 3) image in [0, 1] as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(stream, **_JPEG)
    return stream.getvalue()


def _colors(
    photo: OpenPhoto,
    prediction: Prediction,
    controls: Controls,
    reference: FloatArray | None,
    watch: Watch = _ignore,
) -> npt.NDArray[np.float32]:
    """Return the colour image: first the reference's energy, then the lean, then the hints."""
    variant = prediction.variant
    if controls.lean or controls.hints or (reference is not None and controls.transfer == "energy"):
        if variant not in TARGET_NAMES:
            raise InputError(
                "controls", "this model predicts colours, not histograms, which this needs"
            )
        check_variant(variant)
    biases: list[Biases | None] = [None] * len(prediction.outputs)
    strength = controls.strength
    if reference is not None and controls.transfer == "energy":
        biases = list(_energy_biases(photo, controls.reference or "", reference))
        strength = 1.0 if strength is None else strength
    if controls.lean:
        bins = prediction.outputs[0].shape[-1]
        bins = math.isqrt(bins) if variant == "lab_joint" else bins
        lean = lean_biases(variant, controls.hue, controls.lean, bins)
        biases = [_sum(first, second) for first, second in zip(biases, lean, strict=True)]
    # On the grid, so that colours are taken straight from it: several times faster than biases for
    # every pixel, from which it differs where neighbouring cells do.
    outputs = tuple(
        output if bias is None else apply_bias(output, bias)
        for output, bias in zip(prediction.outputs, biases, strict=True)
    )
    prediction = replace(prediction, outputs=outputs)
    height = len(prediction.lightness)
    passes = 3 if controls.hints else 1
    rgb = prediction.colorize(
        strength=strength, progress=lambda rows: watch(rows / height / passes)
    )
    if controls.hints:
        tiles = _watched(prediction.tiles, lambda rows: watch((1 + rows / height) / passes))
        strength = prediction.strength if strength is None else strength
        _color_hints(rgb, prediction, tiles, _sized(controls, prediction), strength)
    if reference is not None and controls.transfer == "quantile":
        return transfer_quantiles(rgb, reference).astype(np.float32, copy=False)
    return rgb


def _sized(controls: Controls, prediction: Prediction) -> list[Hint]:
    """Return the hints in pixels of a prediction."""
    height, width = prediction.lightness.shape
    return [
        Hint(
            min(max(hint.y * height - 0.5, 0), height - 1),
            min(max(hint.x * width - 0.5, 0), width - 1),
            hint.rgb,
            _HINT_RADIUS * max(height, width),
        )
        for hint in controls.hints
    ]


def _color_hints(
    rgb: npt.NDArray[np.float32],
    prediction: Prediction,
    tiles: ImageTiles,
    hints: list[Hint],
    strength: float,
) -> None:
    """Colour those pixels of `rgb` anew that some hint reaches."""
    light, variant = prediction.lightness, prediction.variant
    for rows, histograms, share in spread_hints(tiles, light, hints, variant):
        near = share > 0
        if near.any():
            part = [histogram[near] for histogram in histograms]
            factor = strength + (1 - strength) * share[near]
            rgb[rows][near] = decode(variant, part, light[rows][near], strength=factor)


def _energy_biases(photo: OpenPhoto, identity: str, reference: FloatArray) -> list[Biases]:
    """Return the biases of Eq. 6, found on the network's grid: a hundredth of the pixels' time."""
    if identity not in photo.biases:
        prediction = photo.prediction
        bins = prediction.outputs[0].shape[-1]
        bins = math.isqrt(bins) if prediction.variant == "lab_joint" else bins
        targets = image_targets(reference, prediction.variant, bins)
        photo.biases[identity] = [
            minimize_energy(array_tiles(output), targets[name]).bias
            for name, output in zip(
                TARGET_NAMES[prediction.variant], prediction.outputs, strict=True
            )
        ]
    return photo.biases[identity]


def _sum(first: Biases | None, second: Biases | None) -> Biases | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _watched(tiles: ImageTiles, watch: Callable[[int], None]) -> ImageTiles:
    """Return tiles that tell `watch` how many rows were read, in all passes together."""
    seen = 0

    def watched() -> Iterator[tuple[slice, tuple[FloatArray, ...]]]:
        nonlocal seen
        for rows, outputs in tiles():
            watch(seen)
            seen += rows.stop - rows.start
            yield rows, outputs

    return watched
