"""An opened photo of the web page: the network has run, and every control is a cheap decoding.

The histograms of a photo are kept on the network's grid with its lightness at two sizes, so that a
control that is being dragged answers at once, and what stays on the screen is finer. Downloads are
rendered anew at full resolution, with the same biases.
"""

from __future__ import annotations

import base64
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autocolor.control.edits import (
    DIVERSITY,
    Edits,
    HintedPixels,
    Progress,
    Reference,
    colorize_edited,
    energy_biases,
    read_reference,
    uncertainty_image,
)
from autocolor.control.hints import Hint
from autocolor.control.proposals import propose_colors
from autocolor.control.targets import image_targets
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.histograms.decode import DecodeOptions, default_look
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.images import (
    ImageError,
    count_pictures,
    fit_pixels,
    fitted_size,
    image_size,
    read_image,
    resize,
    to_uint8,
    write_image,
)
from autocolor.imaging.prints import grey_of
from autocolor.runtime.colorizer import Colorizer
from autocolor.web.controls import Controls

QUICK_PIXELS = 512 * 512
"""Of a preview while a control moves: a photo of 512 x 512 is then shown in full."""

FINE_PIXELS = 1600 * 1000
"""Of the preview that stays."""

_VARIATION_PIXELS = 160 * 160
_MOST_HINTED = 2  # the quick preview and the fine one

_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 93, "subsampling": 0}


@dataclass
class OpenPhoto:
    """What is kept of a photo."""

    prediction: Prediction  #: Its lightness has at most `FINE_PIXELS`
    size: tuple[int, int]  #: (height, width). Of the photo itself.
    #: JPEG of the photo as it was, of the size of the fine preview; empty if it is grey
    colored: bytes
    pictures: int = 1  #: In the file, of which this is the first
    #: References whose energy was minimised, by their ids
    energies: dict[str, Reference] = field(default_factory=dict)
    #: What hints make of a preview of some height with controls whose strength is left out: so that
    #: a slider of the strength need not wait for them
    hinted: dict[tuple[int, Controls], list[HintedPixels]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        arrays = (self.prediction.lightness, *self.prediction.outputs)
        kept = (part for parts in self.hinted.values() for part in parts)
        size = sum(array.nbytes for array in arrays) + sum(part.nbytes for part in kept)
        return size + len(self.colored)

    def summary(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        height, width = self.size
        return {
            "height": height,
            "width": width,
            "colored": bool(self.colored),
            "pictures": self.pictures,
        }


def check_pixels(path: Path, largest_pixels: int) -> None:
    """Refuse with an `ImageError` a photo that is larger, before anything is decoded."""
    height, width = image_size(path)
    if height * width > largest_pixels:
        raise ImageError(
            f"{path}: expected at most {largest_pixels / 1e6:g} megapixels, "
            f"got {height * width / 1e6:.1f} ({width} x {height})"
        )


def open_photo(
    colorizer: Colorizer, path: Path, largest_pixels: int, progress: Progress = lambda done: None
) -> OpenPhoto:
    """Read a photo and run the network; `progress` may raise what ends it."""
    check_pixels(path, largest_pixels)
    progress(0.05)
    photo = read_image(path)
    progress(0.3)
    light = grey_of(photo.rgb, "auto")
    prediction = colorizer.predict(light)
    progress(0.9)
    height, width = light.shape
    colored = b""
    if not photo.is_grey and np.ptp(photo.rgb, axis=-1).max() > 2 / 255:
        colored = encode_jpeg(fit_pixels(photo.rgb, FINE_PIXELS))
    shown = reduced(prediction, FINE_PIXELS)
    return OpenPhoto(shown, (height, width), colored, count_pictures(path))


def reduced(prediction: Prediction, pixels: int) -> Prediction:
    """Return a prediction for the photo at a smaller size; itself if it is that small."""
    size = fitted_size(prediction.lightness.shape, pixels)
    if size == prediction.lightness.shape:
        return prediction
    return at_size(prediction, resize(prediction.lightness, size))


def at_size(prediction: Prediction, light: FloatArray) -> Prediction:
    """Return the same histograms for the photo with its (H, W) lightness at another size."""
    cells = (
        cells * old / new
        for cells, old, new in zip(
            prediction.cells_per_pixel, prediction.lightness.shape, light.shape, strict=True
        )
    )
    return replace(prediction, lightness=light, cells_per_pixel=tuple(cells))


def preview(
    photo: OpenPhoto, controls: Controls, pixels: int, reference: FloatArray | None
) -> bytes:
    """Return the colorization with at most `pixels`, as JPEG."""
    shown = reduced(photo.prediction, pixels)
    hinted = None
    if controls.hints:
        key = (len(shown.lightness), replace(controls, strength=None))
        hinted = photo.hinted.setdefault(key, [])
        while len(photo.hinted) > _MOST_HINTED:
            del photo.hinted[next(iter(photo.hinted))]
    return encode_jpeg(_colors(photo, shown, controls, reference, hinted=hinted))


def variations(
    photo: OpenPhoto, controls: Controls, count: int, rotation: float, reference: FloatArray | None
) -> list[dict[str, Any]]:
    """Return `count` small diverse colorizations (section 4), with the hue that each leans towards.

    The other controls apply to each. The first is the automatic one, without a lean. Each has ``hue`` in
    turns, ``lean`` in nats, and ``image``, a data URL.
    """
    small = reduced(photo.prediction, _VARIATION_PIXELS)
    hues = [(rotation + index / count) % 1 for index in range(count)]
    leans = [(0.0, 0.0), *((hue, DIVERSITY) for hue in hues)]

    def encoded(hue: float, lean: float) -> str:
        changed = replace(controls, hue=hue, lean=lean)
        image = encode_jpeg(_colors(photo, small, changed, reference))
        return f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        images = list(pool.map(lambda leaning: encoded(*leaning), leans))
    return [
        {"hue": hue, "lean": lean, "image": image}
        for (hue, lean), image in zip(leans, images, strict=True)
    ]


def proposals(photo: OpenPhoto, y: float, x: float) -> list[dict[str, Any]]:
    """Return likely colours at a place in [0, 1]: ``color``, as #RRGGBB, and ``share``."""
    found = propose_colors(photo.prediction, *_pixel(photo.prediction, y, x))
    return [
        {"color": f"#{to_uint8(np.array(item.rgb)).tobytes().hex()}", "share": item.share}
        for item in found
    ]


def uncertainty(photo: OpenPhoto) -> bytes:
    """Return the entropy of the predicted colour (Figure 10), as JPEG."""
    return encode_jpeg(uncertainty_image(reduced(photo.prediction, QUICK_PIXELS)))


def grey(photo: OpenPhoto) -> bytes:
    """Return the photo without colour, as JPEG of the size of the fine preview."""
    return encode_jpeg(photo.prediction.lightness)


def render_file(
    photo: OpenPhoto,
    controls: Controls,
    reference: FloatArray | None,
    path: Path,
    output: Path,
    progress: Progress,
) -> None:
    """Write the colorization at full resolution; the output's suffix chooses the format.

    `progress` may raise what ends it.
    """
    read = read_image(path)
    light = grey_of(read.rgb, "auto")
    alpha, metadata = read.alpha, read.metadata
    del read  # 12 bytes a pixel
    full = at_size(photo.prediction, light)
    write_image(output, _colors(photo, full, controls, reference, progress), alpha, metadata)


def read_limited_reference(path: Path, largest_pixels: int) -> FloatArray:
    """Read a photo whose colours are to be taken; an `ImageError` if it is larger or not to be read."""
    check_pixels(path, largest_pixels)
    return read_reference(path)


def encode_jpeg(image: FloatArray) -> bytes:
    """Return an (H, W) or (H, W, 3) image in [0, 1] as JPEG."""
    stream = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(stream, **_JPEG)
    return stream.getvalue()


def _colors(
    photo: OpenPhoto,
    prediction: Prediction,
    controls: Controls,
    rgb: FloatArray | None,
    progress: Progress = lambda done: None,
    hinted: list[HintedPixels] | None = None,
) -> Float32Array:
    """Return the colour image; `rgb` is that of the reference."""
    reference = None
    if rgb is not None and controls.transfer == "quantile":
        reference = Reference(rgb)
    elif rgb is not None:
        reference = _energy_reference(photo, controls.reference or "", rgb)
    edits = Edits(
        reference,
        _sized_hints(controls, prediction),
        hue=controls.hue,
        lean=controls.lean,
        hinted=hinted,
    )
    look = controls.look or default_look(prediction.variant)
    options = DecodeOptions(strength=controls.strength, look=look)
    (colors,) = colorize_edited(prediction, edits, options=options, progress=progress)
    return colors


def _sized_hints(controls: Controls, prediction: Prediction) -> list[Hint]:
    """Return the hints in pixels of a prediction."""
    larger = max(prediction.lightness.shape)
    return [
        Hint(
            *_pixel(prediction, hint.y, hint.x),
            hint.rgb,
            radius=None if hint.radius is None else hint.radius * larger,
        )
        for hint in controls.hints
    ]


def _pixel(prediction: Prediction, y: float, x: float) -> tuple[float, float]:
    """Return a place in [0, 1] in pixels, (y, x)."""
    height, width = prediction.lightness.shape
    return min(max(y * height - 0.5, 0), height - 1), min(max(x * width - 0.5, 0), width - 1)


def _energy_reference(photo: OpenPhoto, identity: str, rgb: FloatArray) -> Reference:
    """Return a reference with the biases of Eq. 6, which are kept with the photo."""
    if identity not in photo.energies:
        prediction = photo.prediction
        targets = image_targets(rgb, prediction.variant, prediction.bins)
        photo.energies[identity] = Reference(biases=energy_biases(prediction, targets))
    return photo.energies[identity]
