"""Pictures of the shipped model: photos of packages by theme, old scans made of them, and any others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.data.photos import PhotoError
from autocolor.evaluation.evaluate import grey_image
from autocolor.evaluation.strength import PhotoColorizer
from autocolor.histograms.decode import LOOKS, DecodeOptions
from autocolor.imaging.color import lightness
from autocolor.imaging.images import read_image, resize, to_uint8

SIDE = 256
"""Smaller side of the photos that are shown, in pixels."""

THEMES = {
    "people": (
        "astronaut",
        "800px-Christophe_Henner_-_June_2016",
        "luispedro",
        "800px-Guido-portrait-2014",
        "messi5",
        "person",
    ),
    "indoor": (
        "kitchen",
        "hall",
        "Restaurante 2",
        "Habitacion cama doble",
        "the-movies-inside",
        "clothing-store",
    ),
    "street": (
        "bus",
        "building-at-mit",
        "houses",
        "driveway",
        "boardwalk",
        "600px-Tuebingen_Neckarfront_small15_2006-06-11",
    ),
    "food": ("fruit-salad", "pancakes", "vegetable-soup", "tomatoes", "apple", "orange"),
    "animals": ("dog", "giraffe", "horses", "chelsea", "lion", "kittens"),
}
"""Of each theme the photos' names in their packages; the model has learnt from none of them."""

_CELL = 230  # larger side of a picture in a sheet
_GAP = 6


def shrink(rgb: FloatArray) -> Float32Array:
    """Reduce a photo to `SIDE` in its smaller side, never enlarging."""
    factor = min(1.0, SIDE / min(rgb.shape[:2]))
    size = round(rgb.shape[0] * factor), round(rgb.shape[1] * factor)
    return np.clip(resize(rgb.astype(np.float32, copy=False), size), 0, 1)


def find(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the photos of these names below what `data_prep/fetch_photos.py` has filled."""
    found = []
    for name in names:
        paths = sorted(folder.rglob(f"{name}-????????.*"))
        if not paths:
            raise PhotoError(f"{folder}: expected a photo called {name}; fetch_photos.py has it")
        found.append(paths[0])
    return found


def scratched(grey: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Draw dark and light scratches along one direction, and dust."""
    height, width = grey.shape
    image = Image.fromarray(to_uint8(grey))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, drift = rng.uniform(0, width), rng.normal(0, width / 20)
        top, bottom = np.sort(rng.uniform(0, height, 2))
        draw.line([(x, top), (x + drift, bottom)], fill=int(rng.choice([30, 235])))
    for x, y in zip(rng.uniform(0, width, 120), rng.uniform(0, height, 120), strict=True):
        draw.point((x, y), fill=int(rng.choice([20, 240])))
    return np.asarray(image, np.float32) * np.float32(1 / 255)


def faded(grey: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Leave a third of the contrast, lighter towards a corner, with grain."""
    height, width = grey.shape
    y, x = np.mgrid[:height, :width]
    wash = 0.15 * (y / height + x / width) / 2
    old = 0.4 + 0.35 * grey + wash + rng.normal(0, 0.015, grey.shape)
    result: Float32Array = np.clip(old, 0, 1).astype(np.float32)
    return result


def halftoned(grey: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Print with a screen of dots at 45 degrees, 4 pixels apart, and scan that a bit unsharp."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    turn = 2 * np.pi / 4 / np.sqrt(2)
    screen = 0.5 + 0.25 * (np.cos(turn * (x + y)) + np.cos(turn * (x - y)))
    dots = np.clip((grey - screen) / 0.1 + 0.5, 0, 1)
    result: Float32Array = gaussian_filter(dots, 0.8).astype(np.float32)
    return result


def blurred(grey: FloatArray, rng: np.random.Generator) -> Float32Array:
    """Blur by two pixels, with some grain on top."""
    soft = gaussian_filter(grey, 2) + rng.normal(0, 0.01, grey.shape)
    result: Float32Array = np.clip(soft, 0, 1).astype(np.float32)
    return result


_OLD = {"astronaut": scratched, "boardwalk": faded, "luispedro": halftoned, "houses": blurred}


def row(
    colorizer: PhotoColorizer, rgb: FloatArray, grey: FloatArray | None = None
) -> list[Float32Array]:
    """Return grey, every look and the original of a photo; `grey` is colorized where it is given."""
    light = lightness(rgb) if grey is None else grey
    prediction = colorizer.predict(light)
    looks = [prediction.decode(DecodeOptions(look=look)) for look in LOOKS]
    return [grey_image(light), *looks, rgb.astype(np.float32, copy=False)]


def sheet(rows: Sequence[Sequence[FloatArray]]) -> Image.Image:
    """Return rows of pictures, all reduced to the same larger side."""
    cells = [[_thumbnail(picture) for picture in line] for line in rows]
    heights = [max(cell.height for cell in line) + _GAP for line in cells]
    canvas = Image.new("RGB", (len(cells[0]) * (_CELL + _GAP) - _GAP, sum(heights) - _GAP), "white")
    top = 0
    for line, height in zip(cells, heights, strict=True):
        for column, cell in enumerate(line):
            left = column * (_CELL + _GAP) + (_CELL - cell.width) // 2
            canvas.paste(cell, (left, top))
        top += height
    return canvas


def _thumbnail(rgb: FloatArray) -> Image.Image:
    picture = Image.fromarray(to_uint8(rgb))
    picture.thumbnail((_CELL, _CELL))
    return picture


def theme_photos(folder: Path) -> dict[str, list[Path]]:
    """Find the photos of each theme, and those that become old scans, in packages of all splits."""
    return {theme: find(folder, names) for theme, names in {**THEMES, "old": _OLD}.items()}


def theme_sheets(
    colorizer: PhotoColorizer, photos: Mapping[str, Sequence[Path]]
) -> Mapping[str, Image.Image]:
    """Return a sheet for each theme of `theme_photos`."""
    rng = np.random.default_rng(0)
    sheets = {}
    for theme, paths in photos.items():
        colours = [shrink(read_image(path).rgb) for path in paths]
        greys: list[Float32Array | None] = [None] * len(paths)
        if theme == "old":
            spoils = zip(_OLD.values(), colours, strict=True)
            greys = [spoil(lightness(rgb), rng) for spoil, rgb in spoils]
        sheets[theme] = sheet([row(colorizer, *pair) for pair in zip(colours, greys, strict=True)])
    return sheets


def random_sheet(
    colorizer: PhotoColorizer, paths: Sequence[Path], count: int, seed: int
) -> Image.Image:
    """Return `count` photos drawn at random: grey, the vivid look and the original."""
    drawn = np.random.default_rng(seed).choice(len(paths), min(count, len(paths)), replace=False)
    rows = []
    for number in sorted(drawn):
        grey, _, vivid, original = row(colorizer, shrink(read_image(paths[number]).rgb))
        rows.append([grey, vivid, original])
    return sheet(rows)
