"""Prints with a tint: known as such, and read with less noise than the mean of their channels has."""

from __future__ import annotations

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from autocolor.core.errors import InputError
from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize
from autocolor.imaging.prints import grey_of, is_tinted_print

INK = {"print": (0.25, 0.17, 0.11), "cyanotype": (0.05, 0.15, 0.3)}
PAPER = {"print": (0.93, 0.84, 0.66), "cyanotype": (0.85, 0.92, 0.95)}
GREYS = ["camera", "moon", "coins", "brick"]
COLOURS = ["astronaut", "coffee", "chelsea", "rocket"]


def known_grey(name: str) -> np.ndarray:
    return resize(getattr(skimage.data, name)().astype(np.float32) / 255, (256, 256))


def tinted(
    grey: np.ndarray, kind: str, noise: tuple[float, float, float], quality: int | None = None
) -> np.ndarray:
    """A print of a grey: of the sepia matrix that image editors share, or of inks on faded paper."""
    if kind == "matrix":
        rgb = grey[..., None] * np.array([1.351, 1.203, 0.937])
    else:
        ink, paper = np.array(INK[kind]), np.array(PAPER[kind])
        rgb = ink + (paper - ink) * grey[..., None]
    rng = np.random.default_rng(0)
    rgb = np.clip(rgb + rng.normal(size=rgb.shape) * noise, 0, 1)
    if quality is None:
        return rgb.astype(np.float32)
    stream = io.BytesIO()
    Image.fromarray(np.rint(rgb * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream), np.float32) / 255


def error(found: np.ndarray, grey: np.ndarray) -> float:
    """Root mean square difference from the known grey, of the best brightness and contrast."""
    columns = np.stack([found.ravel(), np.ones(found.size)], axis=-1)
    fitted = columns @ np.linalg.lstsq(columns, grey.ravel(), rcond=None)[0]
    return float(np.sqrt(np.mean((fitted - grey.ravel()) ** 2)))


@pytest.mark.parametrize("kind", ["matrix", "print", "cyanotype"])
@pytest.mark.parametrize("name", GREYS)
def test_prints_are_known_and_read_with_less_noise(kind: str, name: str) -> None:
    grey = known_grey(name)
    noise = (0.06, 0.02, 0.02) if kind == "cyanotype" else (0.01, 0.01, 0.06)
    rgb = tinted(grey, kind, noise)
    assert is_tinted_print(rgb)
    found = grey_of(rgb, "auto")
    assert found.dtype == np.float32 and 0 <= found.min() <= found.max() <= 1
    # Of three channels the mean's noise is a third of the faded one's at least, 0.02; without that
    # channel it is below 0.015 in units of the others, and contrast is below 1.
    assert error(found, grey) < 0.75 * error(lightness(rgb), grey)
    np.testing.assert_array_equal(found, grey_of(rgb, "print"))


@pytest.mark.parametrize("name", GREYS)
def test_jpeg_and_a_border_of_yellow_paper(name: str) -> None:
    grey = known_grey(name)
    rgb = tinted(grey, "print", (0.01, 0.01, 0.03), quality=85)
    y, x = np.mgrid[:256, :256]
    edge = np.minimum(np.minimum(y, 255 - y), np.minimum(x, 255 - x)) / 256
    stain = np.exp(-edge / 0.06)[..., None] * np.array([0.05, 0.1, 0.2])
    yellowed = (rgb * (1 - stain)).astype(np.float32)
    for picture in (rgb, yellowed):
        assert is_tinted_print(picture)
        # JPEG has spread the noise of blue over the other channels.
        assert error(grey_of(picture, "auto"), grey) <= 1.05 * error(lightness(picture), grey)


def test_clipped_channels_say_nothing() -> None:
    """Red and green of the sepia matrix end at 0.74 and 0.83 of the grey, blue at none."""
    grey = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (64, 1))
    rgb = tinted(grey, "matrix", (0, 0, 0))
    np.testing.assert_allclose(grey_of(rgb, "print"), grey, atol=0.06)  # 12 tones
    assert np.abs(lightness(rgb) - grey).max() > 0.1


@pytest.mark.parametrize("name", COLOURS)
def test_colour_photos_are_read_as_the_paper_does(name: str) -> None:
    rgb = getattr(skimage.data, name)().astype(np.float32) / 255
    assert not is_tinted_print(rgb)
    np.testing.assert_array_equal(grey_of(rgb, "auto"), lightness(rgb))
    np.testing.assert_array_equal(grey_of(rgb), lightness(rgb))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 3)])
def test_small_and_flat_pictures(size: tuple[int, int]) -> None:
    for value in (0.0, 0.5, 1.0):
        rgb = np.full((*size, 3), value, np.float32)
        for mix in ("auto", "mean", "print"):
            np.testing.assert_allclose(grey_of(rgb, mix), value, atol=1e-6)
    rgb = np.random.default_rng(0).random((*size, 3)).astype(np.float32)
    found = grey_of(rgb, "print")
    assert np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1


def test_neutral_photos_have_no_tint() -> None:
    rgb = np.repeat(known_grey("camera")[..., None], 3, axis=-1)
    assert not is_tinted_print(rgb)


def test_unknown_mix() -> None:
    with pytest.raises(InputError, match="grey: expected one of auto, mean, print, got 'blue'"):
        grey_of(np.zeros((2, 2, 3), np.float32), "blue")
