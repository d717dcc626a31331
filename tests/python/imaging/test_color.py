"""Colour conversions: golden values, other libraries as oracles, black, white and grey."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import skimage.color
import skimage.data
from matplotlib.colors import rgb_to_hsv
from skimage.color import lab2rgb

from autocolor.imaging.color import (
    _lab_lightness_of_grey,
    _lab_of_lightness,
    compose_alpha_beta,
    compose_lab,
    compose_rgb,
    correct_lightness,
    hue_chroma_to_rgb,
    lightness,
    rgb_to_alpha_beta,
    rgb_to_hue_chroma,
    rgb_to_lab,
)

DTYPES = (np.float32, np.float64)
# A few roundings of values near 1.
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}

# Black, white and greys are ordinary input; so are denormal numbers and ties between channels.
CORNERS = np.array(
    [
        [0, 0, 0],
        [1, 1, 1],
        [0.5, 0.5, 0.5],
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 1],
        [1, 1, 0],
        [0, 1, 1],
        [1, 0, 1],
        [1e-40, 0, 0],
        [0.2, 0.2, 0.1],
        [1, 1 - 1e-7, 1],
    ]
)


def random_rgb(dtype: type, count: int = 4000) -> np.ndarray:
    rgb = np.random.default_rng(1).random((count, 3))
    return np.concatenate([CORNERS, rgb]).astype(dtype)


def test_lightness_is_the_plain_mean() -> None:
    assert lightness(np.array([0.2, 0.4, 0.9])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rgb", "hue", "chroma"),
    [
        ((1, 0, 0), 0, 1),
        ((1, 0.5, 0), 1 / 12, 1),
        ((0.25, 0.75, 0.25), 1 / 3, 0.5),
        ((0.2, 0.3, 0.6), 0.625, 0.4),
        ((0.5, 0, 0.25), 11 / 12, 0.5),
        ((0.3, 0.3, 0.3), 0, 0),
    ],
)
def test_hue_chroma_literal(rgb: tuple[float, ...], hue: float, chroma: float) -> None:
    values = rgb_to_hue_chroma(np.array(rgb, dtype=np.float64))
    assert values == (pytest.approx(hue), pytest.approx(chroma))


@pytest.mark.parametrize("dtype", DTYPES)
def test_hue_is_that_of_hsv(dtype: type) -> None:
    rgb = random_rgb(dtype)
    hue, chroma = rgb_to_hue_chroma(rgb)
    assert hue.dtype == chroma.dtype == dtype
    assert (hue >= 0).all() and (hue < 1).all()
    hsv = rgb_to_hsv(rgb.astype(np.float64))
    coloured = chroma > 1e-3
    # Hue divides by the chroma, here at least 1e-3, and so loses up to three digits.
    difference = np.abs(hue - hsv[:, 0])[coloured]
    assert np.minimum(difference, 1 - difference).max() < 1e3 * TOLERANCE[dtype]
    np.testing.assert_allclose(chroma, hsv[:, 1] * hsv[:, 2], atol=TOLERANCE[dtype])


def test_back_conversion_equals_colorsys() -> None:
    rng = np.random.default_rng(2)
    hue, chroma, light = rng.random(200), rng.random(200), rng.random(200)
    rgb = hue_chroma_to_rgb(hue, chroma, light)
    for row, h, c, level in zip(rgb, hue, chroma, light, strict=True):
        value = level + c / 2
        assert row == pytest.approx(colorsys.hsv_to_rgb(h, c / value, value), abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(dtype: type) -> None:
    rgb = random_rgb(dtype)
    back = compose_rgb(*rgb_to_hue_chroma(rgb), lightness(rgb))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, rgb, atol=4 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("light", [0, 1])
def test_black_and_white_have_no_colour(dtype: type, light: int) -> None:
    hue = np.linspace(0, 1, 50, dtype=dtype)
    rgb = compose_rgb(hue, np.full(50, 0.7, dtype), np.full(50, light, dtype))
    assert (rgb == light).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_corrected_lightness_holds_everywhere(dtype: type) -> None:
    rng = np.random.default_rng(3)
    rgb = rng.uniform(-0.5, 1.5, (5000, 3)).astype(dtype)
    light = rng.random(5000).astype(dtype)
    light[:3] = 0, 1, 0.5
    corrected = correct_lightness(rgb, light)
    assert corrected.dtype == dtype
    assert corrected.min() >= 0 and corrected.max() <= 1
    np.testing.assert_allclose(lightness(corrected), light, atol=2 * TOLERANCE[dtype])

    # Naive reference: the largest scale of the deviation from grey that stays in the gamut.
    for pixel in range(0, 5000, 50):
        deviation = rgb[pixel].astype(np.float64) - rgb[pixel].mean(dtype=np.float64)
        target, scale = float(light[pixel]), 1.0
        for part in deviation:
            if part > 0:
                scale = min(scale, (1 - target) / part)
            elif part < 0:
                scale = min(scale, target / -part)
        expected = target + scale * deviation
        np.testing.assert_allclose(corrected[pixel], expected, atol=4 * TOLERANCE[dtype])


def test_correction_in_gamut_only_adds() -> None:
    corrected = correct_lightness(np.array([[0.2, 0.3, 0.4]]), np.array([0.5]))
    np.testing.assert_allclose(corrected, [[0.4, 0.5, 0.6]])


def test_correction_out_of_gamut_keeps_hue_and_lightness() -> None:
    # Orange of lightness 0.5, wanted at 0.9: only 0.1 of room above the mean.
    corrected = correct_lightness(np.array([[1.0, 0.5, 0.0]]), np.array([0.9]))
    np.testing.assert_allclose(corrected, [[1.0, 0.9, 0.8]])


@pytest.mark.parametrize("light", [1 + 5e-6, -5e-6])
def test_correction_to_a_lightness_that_is_off_by_rounding(light: float) -> None:
    for rgb in (np.full((1, 3), 0.5), np.array([[1.0, 0.5, 0.0]])):
        corrected = correct_lightness(rgb, np.array([light]))
        np.testing.assert_array_equal(corrected, np.full((1, 3), round(light)))


def test_alpha_beta_literal() -> None:
    values = rgb_to_alpha_beta(np.array([0.6, 0.3, 0.0]))
    np.testing.assert_allclose(values, [-0.45 / 0.3001, 0.3 / 0.3001])


@pytest.mark.parametrize("dtype", DTYPES)
def test_compose_alpha_beta(dtype: type) -> None:
    # L = 0.3: blue is 0.3 below its complement's mean, 0.45, and red 0.3 above green.
    alpha_beta = np.array([-0.45, 0.3], dtype) / dtype(0.3 + 1e-4)
    found = compose_alpha_beta(alpha_beta, np.array(0.3, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [0.6, 0.3, 0.0], atol=TOLERANCE[dtype])
    # It inverts the conversion everywhere, black and white included.
    rgb = np.concatenate([CORNERS, np.random.default_rng(0).random((500, 3))]).astype(dtype)
    back = compose_alpha_beta(rgb_to_alpha_beta(rgb), lightness(rgb))
    np.testing.assert_allclose(back, rgb, atol=4 * TOLERANCE[dtype])
    # Out of the gamut: the lightness stays, the hue too.
    vivid = compose_alpha_beta(np.array([0.0, 9.0], dtype), np.array(0.5, dtype))
    np.testing.assert_allclose(vivid, [1.0, 0.0, 0.5], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_alpha_beta_range_and_grey(dtype: type) -> None:
    rgb = random_rgb(dtype)
    values = rgb_to_alpha_beta(rgb)
    assert values.dtype == dtype
    assert np.abs(values).max() <= 3
    np.testing.assert_array_equal(rgb_to_alpha_beta(CORNERS[:3].astype(dtype)), 0)


def test_lab_golden_values() -> None:
    # Published values of sRGB red, green and blue under D65.
    lab = rgb_to_lab(np.eye(3))
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab, expected, atol=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
def test_lab_round_trip(dtype: type) -> None:
    rgb = random_rgb(dtype)
    lab = rgb_to_lab(rgb)
    back = lab2rgb(lab)
    assert lab.dtype == back.dtype == dtype
    np.testing.assert_array_equal(lab, skimage.color.rgb2lab(rgb))
    # The two published matrices between XYZ and sRGB invert each other to about 1e-6.
    np.testing.assert_allclose(back, rgb, atol=2e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lightness(np.zeros((2, 3), np.uint8)), "rgb: expected a float32.*uint8"),
        (lambda: lightness([0.1, 0.2, 0.3]), "rgb: expected a float32.*got list"),
        (lambda: lightness(np.zeros((2, 4))), r"rgb: expected shape \(\.\.\., 3\).*\(2, 4\)"),
        (lambda: rgb_to_hue_chroma(np.full((1, 3), 255.0)), r"rgb: .*\[-1e-05, 1.00001\].*255"),
        (lambda: rgb_to_alpha_beta(np.full((1, 3), np.nan)), "rgb: expected finite.*nan"),
        (
            lambda: hue_chroma_to_rgb(np.full(2, 0.5), np.full(2, -1.0), np.full(2, 0.5)),
            "chroma: .*-1",
        ),
        (
            lambda: hue_chroma_to_rgb(np.full(2, 0.5), np.full(3, 0.5), np.full(2, 0.5)),
            r"chroma: expected shape \(2,\), got \(3,\)",
        ),
        (lambda: correct_lightness(np.zeros((2, 3)), np.full(2, 1.5)), "lightness: .*1.5"),
        (lambda: correct_lightness(np.zeros((2, 3)), np.zeros(3)), "lightness: expected shape"),
    ],
)
def test_wrong_arguments(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


# ---- Lab with a lightness


@pytest.mark.parametrize("dtype", DTYPES)
def test_composed_lab_has_the_lightness_whatever_a_and_b(dtype: type) -> None:
    ab = np.random.default_rng(6).uniform(-130, 130, (256, 30, 2)).astype(dtype)
    light = np.repeat(np.linspace(0, 1, 256, dtype=dtype)[:, None], 30, axis=1)
    rgb = compose_lab(ab, light)
    assert rgb.dtype == dtype
    assert rgb.min() >= 0 and rgb.max() <= 1
    np.testing.assert_allclose(lightness(rgb), light, atol=2 * TOLERANCE[dtype])
    assert (rgb[0] == 0).all() and (rgb[-1] == 1).all()


def test_composed_lab_without_colour_is_grey() -> None:
    light = np.linspace(0, 1, 256)
    rgb = compose_lab(np.zeros((256, 2)), light)
    # skimage's matrices leave white off by a few 1e-5.
    np.testing.assert_allclose(rgb, np.repeat(light[:, None], 3, axis=1), atol=1e-4)


def test_composed_lab_gives_a_photo_back() -> None:
    photo = skimage.data.coffee()[::4, ::4] / 255
    rgb = compose_lab(rgb_to_lab(photo)[..., 1:], lightness(photo))
    np.testing.assert_allclose(rgb, photo, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_composed_lab_inverts_lab_all_over_the_gamut(dtype: type) -> None:
    steps = np.linspace(0, 1, 32, dtype=dtype)
    rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    back = compose_lab(rgb_to_lab(rgb)[..., 1:], lightness(rgb))
    np.testing.assert_allclose(back, rgb, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")  # out of gamut, clipped
def test_the_lightness_of_an_l_star_is_found_wherever_there_is_one() -> None:
    rng = np.random.default_rng(8)
    ab, light = rng.uniform(-130, 130, (4000, 2)), rng.random(4000)
    ends = [lab2rgb(np.insert(ab, 0, l_star, axis=1)).mean(axis=-1) - light for l_star in (0, 100)]
    off = _lab_of_lightness(ab, light).mean(axis=-1) - light
    there = (ends[0] < 0) & (ends[1] > 0)
    assert 1000 < there.sum() < 4000
    assert np.abs(off[there]).max() < 1e-5
    # Where every L* is too light or too dark, it is black's or white's.
    for end, none in zip(ends, ((ends[0] > 0) & ~there, (ends[1] < 0) & ~there), strict=True):
        np.testing.assert_allclose(off[none], end[none], atol=1e-12)


def test_first_lightness_of_composed_lab_is_that_of_skimage() -> None:
    grey = np.concatenate([np.linspace(0, 0.1, 101), np.linspace(0, 1, 256)])
    expected = skimage.color.rgb2lab(np.repeat(grey[:, None], 3, axis=1))[:, 0]
    # skimage's white is not exactly that of sRGB.
    np.testing.assert_allclose(_lab_lightness_of_grey(grey), expected, atol=1e-3)


def test_colours_out_of_gamut_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    compose_lab(np.full((1, 2), 120.0), np.array([0.02]))
    assert not recwarn.list


@pytest.mark.parametrize(
    ("ab", "light", "message"),
    [
        (np.zeros((4, 3)), np.zeros(4), r"ab: expected shape \(\.\.\., 2\), got \(4, 3\)"),
        (np.zeros((4, 2)), np.zeros(3), r"lightness: expected shape \(4,\), got \(3,\)"),
        (np.full((4, 2), np.nan), np.zeros(4), "ab: expected finite"),
        (np.zeros((4, 2)), np.full(4, 1.1), "lightness: .*1.1"),
    ],
)
def test_wrong_arguments_of_compose_lab(ab: np.ndarray, light: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compose_lab(ab, light)
