"""Textures become grey, photos stay as they are; against literal values and a plain loop."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, grey_closing, grey_opening

from autocolor.histograms.textures import grey_if_texture, ground_variety, variety
from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize


def parts_with(
    means: np.ndarray, contrasts: np.ndarray, side: int = 8, square: int = 1
) -> np.ndarray:
    """Return an image of 8 x 8 parts of these means and standard deviations: each a checkerboard."""
    board = 1 - 2 * ((np.indices((side, side)) // square).sum(axis=0) % 2)
    return np.kron(means, np.ones((side, side))) + np.kron(contrasts, board)


def test_literal() -> None:
    """Contrasts of 0.03 and 0.03 e + 0.01 (e - 1) are a factor of e apart above the floor of 0.01."""
    means, contrasts = np.full((8, 8), 0.5), np.full((8, 8), 0.03)
    assert variety(parts_with(means, contrasts)) == pytest.approx(0, abs=1e-6)
    contrasts[2, 5] = 0.03 * math.e + 0.01 * (math.e - 1)
    assert variety(parts_with(means, contrasts)) == pytest.approx(1)
    means[7, 0] += 0.5
    means[7, 1] -= 0.25
    assert variety(parts_with(means, contrasts)) == pytest.approx(1.25)


def parts_of(image: np.ndarray) -> list[np.ndarray]:
    rows, columns = (np.linspace(0, side, 9).astype(int) for side in image.shape)
    return [
        image[top:bottom, left:right]
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def test_against_a_plain_loop() -> None:
    """Of sides that 8 does not divide."""
    image = np.random.default_rng(0).random((53, 70)) ** np.linspace(0.2, 5, 70)
    contrasts = [math.log(part.std() + 0.01) for part in parts_of(image)]
    means = [part.mean() for part in parts_of(image)]
    expected = math.hypot(max(contrasts) - min(contrasts), max(means) - min(means))
    assert variety(image) == pytest.approx(expected)


def test_ground_literal() -> None:
    """Marks of a pixel go and stripes of 16 stay: closed, they are lighter by the marks' 0.1."""
    stripes = 1 - 2 * (np.arange(256) // 16 % 2)
    image = 0.5 + np.tile(stripes * np.repeat([0.1, 0.02], 128), (256, 1))
    assert ground_variety(image) == pytest.approx(math.log(0.11 / 0.03))
    marks = 1 - 2 * (np.indices((256, 256)).sum(axis=0) % 2)
    # Variances of 0.01 and 0.0004, each with 0.01 of the marks.
    expected = math.sqrt(0.0104 / 0.0304) * math.log(0.11 / 0.03)
    assert ground_variety(image + 0.1 * marks) == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(64, 100), (260, 75)])
def test_ground_is_that_of_scipy(shape: tuple[int, int]) -> None:
    grey = lightness(skimage.data.chelsea()[: shape[0], : shape[1]] / 255)
    side = 2 * round(min(shape) / 40) + 1
    ground = grey_opening(grey_closing(grey, (side, side)), (side, side))
    left, whole = (sum(part.var() for part in parts_of(image)) for image in (ground, grey))
    assert ground_variety(grey) == pytest.approx(math.sqrt(left / whole) * variety(ground))


def test_ground_has_no_up() -> None:
    grey = lightness(skimage.data.chelsea()[:256, :256] / 255)
    turned = [np.rot90(grey, turns) for turns in range(1, 4)] + [grey[:, ::-1]]
    assert [ground_variety(one) for one in turned] == pytest.approx([ground_variety(grey)] * 4)


def test_ground_of_nothing() -> None:
    assert ground_variety(np.full((64, 64), 0.5)) == 0
    assert ground_variety(np.zeros((31, 400))) == math.inf


def printed(size: int) -> np.ndarray:
    """Return a printed page, lit from one side."""
    page = Image.new("L", (320, 256), 235)
    text = "\n".join(["the quick brown fox jumps over the lazy dog " * 3] * 60)
    font = ImageFont.load_default(size)
    ImageDraw.Draw(page).multiline_text((20, 15), text, fill=30, font=font, spacing=size // 2)
    ImageDraw.Draw(page).rectangle((300, 0, 320, 256), fill=235)  # margins
    ImageDraw.Draw(page).rectangle((0, 240, 320, 256), fill=235)
    return np.asarray(page) / 255 * np.linspace(1, 0.6, 320)


def at_256(image: np.ndarray) -> np.ndarray:
    factor = min(1, 256 / min(image.shape))
    return resize(image.astype(np.float32), tuple(round(side * factor) for side in image.shape))


RNG = np.random.default_rng(0)
SHADE = np.linspace(0, 0.1, 256)  # light from one side
TEXTURES = {
    "brick": skimage.data.brick() / 255,
    "gravel": skimage.data.gravel() / 255,
    "blank": np.full((256, 256), 0.8),
    "paper": 0.8 + SHADE + 0.015 * RNG.normal(size=(256, 256)),
    "noise": np.clip(0.5 + 0.15 * RNG.normal(size=(256, 256)), 0, 1),
    "plaster": 0.6 + SHADE + gaussian_filter(RNG.normal(size=(256, 256)), 2) / 4,
    # Marks on a ground
    "moon": skimage.data.moon() / 255,
    "page": skimage.data.page() / 255,
    "text": skimage.data.text() / 255,
    "print of 8 pixels": printed(8),
    "print of 20 pixels": printed(20),
}
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "camera")


def histograms() -> np.ndarray:
    return np.random.default_rng(1).dirichlet(np.ones(32), (5, 7)).astype(np.float32)


@pytest.mark.parametrize("name", TEXTURES)
def test_a_texture_becomes_grey(name: str) -> None:
    expected = np.zeros((5, 7, 32), np.float32)
    expected[..., 0] = 1
    found = grey_if_texture(histograms(), at_256(TEXTURES[name]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("contrast", [1, 0.35])
@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_stays_as_it_is_though_faded(name: str, contrast: float) -> None:
    image = getattr(skimage.data, name)() / 255
    grey = at_256(lightness(image) if image.ndim == 3 else image)
    before = histograms()
    assert grey_if_texture(before, 0.4 + contrast * grey) is before


def test_in_between_it_is_a_mixture() -> None:
    """A variety of 0.8 is half way from 0.75 to 0.85; squares of 13 pixels are no marks."""
    means, contrasts = np.full((8, 8), 0.5), np.full((8, 8), 0.03)
    means[0, 0] += 0.4
    means[7, 7] -= 0.4
    before = histograms()
    mixed = grey_if_texture(before, parts_with(means, contrasts, side=26, square=13))
    grey = np.eye(32, dtype=np.float32)[0]
    np.testing.assert_allclose(mixed, before / 2 + grey / 2, rtol=1e-5)
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(before, histograms())


def test_between_marks_and_things_it_is_a_mixture() -> None:
    """From 0.4 to 0.5, of a photo whose lower half has marks of 0.28, by which its ground rises."""
    stripes = 1 - 2 * (np.arange(256) // 16 % 2)
    image = 0.5 + np.tile(stripes * np.repeat([0.1, 0.02], 128), (256, 1))
    image[128:] += 0.28 * (1 - 2 * (np.indices((128, 256)).sum(axis=0) % 2))
    # Variances of 0.01 and 0.0004, of half of either 0.28² more.
    share = math.sqrt(0.0104 / (0.0104 + 0.28**2))
    known = (share * math.hypot(math.log(0.11 / 0.03), 0.28) - 0.4) / 0.1
    grey = np.eye(32, dtype=np.float32)[0]
    expected = known * histograms() + (1 - known) * grey
    np.testing.assert_allclose(grey_if_texture(histograms(), image), expected, rtol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (31, 400)])
def test_of_a_few_pixels_nothing_is_said(size: tuple[int, int]) -> None:
    before = histograms()
    assert grey_if_texture(before, np.full(size, 0.5, np.float32)) is before
