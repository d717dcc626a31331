"""Images as NumPy, Pillow, PyTorch and lists hold them, at the door of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autocolor.imaging.layouts import as_lightness
from autocolor.runtime.colorizer import Colorizer

RNG = np.random.default_rng(21)
GREY = RNG.integers(0, 256, (5, 7), np.uint8)
RGB = RNG.integers(0, 256, (5, 7, 3), np.uint8)
MEAN = RGB.astype(np.float64).mean(axis=-1) / 255
OPACITY = np.full((5, 7, 1), 9, np.uint8)


class Tensor:
    """As PyTorch's, which NumPy asks for an array; one on a GPU refuses."""

    def __init__(self, array: np.ndarray, device: str = "cpu") -> None:
        self.array, self.device = array, device

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return self.array


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, GREY / 255),
        (GREY[..., None], GREY / 255),
        (GREY[None], GREY / 255),
        (GREY[None, None], GREY / 255),
        (RGB, MEAN),
        (np.concatenate([RGB, OPACITY], axis=-1), MEAN),
        (np.moveaxis(RGB, -1, 0), MEAN),
        (RGB[None], MEAN),
        (GREY.astype(np.uint16) * 257, GREY / 255),
        ((GREY.astype(np.uint16) * 257).astype(">u2"), GREY / 255),
        (GREY > 99, GREY > 99),
        ((GREY / 255).tolist(), GREY / 255),
        ((RGB / 255).tolist(), MEAN),
        (Tensor(np.moveaxis(RGB, -1, 0).astype(np.float32) / 255), MEAN),
        (Image.fromarray(GREY), GREY / 255),
        (Image.fromarray(RGB), MEAN),
        (Image.fromarray(GREY.astype(np.uint16) * 257), GREY / 255),
        (Image.fromarray(np.concatenate([RGB, OPACITY], axis=-1)), MEAN),
        (Image.fromarray(GREY).convert("P"), GREY / 255),
        (Image.fromarray(GREY > 99), GREY > 99),
        # Where several layouts fit, channels are last: a row of two pixels.
        (np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8), [[1 / 3, 0]]),
        (np.zeros((3, 1, 3), np.uint8), np.zeros((3, 1))),
    ],
)
def test_layouts(image: Any, expected: np.ndarray) -> None:
    found = as_lightness(image)
    assert found.shape == np.shape(expected)
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32 in [0, 1]


@pytest.mark.parametrize(
    ("dtype", "kept"), [("float16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_floats(dtype: str, kept: str) -> None:
    found = as_lightness(np.full((2, 3), 0.5, dtype))
    assert found.dtype == kept
    assert (found == 0.5).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.int64), "image: expected bool, uint8, uint16, or floats.* got int64"),
        ([[0, 255]], "image: expected bool, uint8.* got int64"),
        (np.full((4, 4), 128.0), r"image: expected finite values in \[.*got \[128, 128\]"),
        (np.full((4, 4), np.nan), "image: expected finite values.*nan"),
        (np.zeros((4, 5, 2)), r"expected shape \(H, W\), .*\(3, H, W\), got \(4, 5, 2\)"),
        (np.zeros((2, 4, 5, 3)), r"got \(2, 4, 5, 3\)"),
        (np.zeros((1, 0, 5, 3)), r"got \(1, 0, 5, 3\)"),
        (np.zeros((0, 4)), r"got \(0, 4\)"),
        (np.zeros(4), r"got \(4,\)"),
        (0.5, r"got \(\)"),
        ([[0.1], [0.2, 0.3]], "image: expected an array or an image, got list: .*inhomogeneous"),
        ("photo.jpg", "image: expected an array or an image, got str$"),
        (None, "image: expected an array or an image, got NoneType$"),
        (Tensor(GREY, "cuda"), "image: expected an array or an image, got Tensor: .*cuda"),
        (Image.fromarray(GREY / np.float32(255)), "expected a Pillow image with a known range"),
    ],
)
def test_what_is_no_image(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_lightness(image)


def test_the_door_of_the_library(model_folder: Path) -> None:
    colorizer = Colorizer(model_folder)
    grey = np.tile(GREY, (8, 8))
    expected = colorizer.colorize(grey.astype(np.float32) / 255)
    for image in (grey, grey[None], Image.fromarray(grey), np.dstack([grey] * 4)):
        np.testing.assert_allclose(colorizer.colorize(image), expected, atol=1e-5)  # rounding
    assert colorizer.predict(grey).lightness.shape == grey.shape
    assert colorizer.histograms(grey[..., None])[0].shape[-1] == 32
