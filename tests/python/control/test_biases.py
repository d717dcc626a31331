"""Biases rotated through colour space, uncertainty and its picture: literal histograms."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from scipy.stats import entropy

from autocolor.control.biases import (
    lean_biases,
    render_uncertainty,
    uncertainty,
)
from autocolor.control.energy import apply_bias
from autocolor.histograms.bins import quantile_centers
from autocolor.histograms.estimators import expectation, expectation_hue
from autocolor.imaging.color import hue_chroma_to_rgb, rgb_to_lab

EVEN = np.full(32, 1 / 32)


# ---- biases


def hue_bias(hue: float, strength: float, bins: int = 32) -> np.ndarray:
    bias, chroma = lean_biases("hue_chroma", hue, strength, bins)
    assert chroma is None
    return bias


def test_hue_bias_literal() -> None:
    # Centres at 45, 135, 225 and 315 degrees.
    root = np.sqrt(0.5)
    for hue, expected in ((0, [root, -root, -root, root]), (0.5, [-root, root, root, -root])):
        np.testing.assert_allclose(hue_bias(hue, 3.0, 4), 3 * np.array(expected), atol=1e-12)
    np.testing.assert_allclose(hue_bias(-0.75, 1.0), hue_bias(0.25, 1.0), atol=1e-12)


def test_an_even_histogram_takes_the_hues_around_the_circle() -> None:
    preferred = [expectation_hue(apply_bias(EVEN, hue_bias(j / 6, 2.0)))[0] for j in range(6)]
    # Red, at 0 or just below 1, then by way of yellow.
    assert abs((preferred[0] + 0.5) % 1 - 0.5) < 1e-12
    np.testing.assert_allclose(preferred[1:], np.arange(1, 6) / 6, atol=1e-12)


def test_certain_pixels_resist() -> None:
    bias = hue_bias(0, 2.0)
    blue = np.eye(32)[21]
    np.testing.assert_array_equal(apply_bias(blue, bias), blue)
    moves = []
    for certainty in (0.99, 0.9, 0.5):
        histogram = certainty * blue + (1 - certainty) * EVEN
        moves.append(0.5 * np.abs(apply_bias(histogram, bias) - histogram).sum())
    assert 0 < moves[0] < moves[1] < moves[2]


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint"])
def test_no_strength_is_the_automatic_result(variant: str) -> None:
    bins = {"lab_joint": 256}.get(variant, 16)
    histogram = np.random.default_rng(0).dirichlet(np.ones(bins)).astype(np.float32)
    for bias in lean_biases(variant, 0.3, 0.0, 16):
        assert bias is None or apply_bias(histogram, bias) is histogram


@pytest.mark.parametrize("hue", [0.0, 0.2, 2 / 3])
def test_lab_biases_move_a_gaussian_without_changing_its_width(hue: float) -> None:
    # Even quantile bins are a Gaussian; a bias linear in its units moves it by the strength times
    # sigma. The bins' centres hold less than the tails, hence the tolerance.
    centers = quantile_centers(1024)
    histogram = np.full(1024, 1 / 1024)
    a, b = lean_biases("lab_marginal", hue, 0.5, 1024)
    moved = [expectation(apply_bias(histogram, bias), centers) for bias in (a, b)]
    saturated = rgb_to_lab(hue_chroma_to_rgb(np.array(hue), np.array(1.0), np.array(0.5)))[1:]
    np.testing.assert_allclose(moved, 12.5 * saturated / np.hypot(*saturated), atol=0.3)


def test_joint_biases_are_the_marginal_ones() -> None:
    a = np.random.default_rng(0).dirichlet(np.ones(16))
    b = np.random.default_rng(1).dirichlet(np.ones(16))
    a_bias, b_bias = lean_biases("lab_marginal", 0.4, 0.7, 16)
    (joint,) = lean_biases("lab_joint", 0.4, 0.7, 16)
    expected = np.outer(apply_bias(a, a_bias), apply_bias(b, b_bias))
    np.testing.assert_allclose(apply_bias(np.outer(a, b).ravel(), joint), expected.ravel())


# ---- uncertainty


def test_uncertainty_literal() -> None:
    hue = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.25, 0.25, 0]])
    chroma = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]])
    bits = uncertainty(hue.astype(np.float32), chroma.astype(np.float32))
    assert bits.dtype == np.float32
    np.testing.assert_allclose(bits, [0, 1, 4, 2.5], atol=1e-6)


def test_uncertainty_is_the_entropy_of_the_product() -> None:
    rng = np.random.default_rng(0)
    hue, chroma = rng.dirichlet(np.ones(32), (5, 6)), rng.dirichlet(np.ones(32), (5, 6))
    joint = (hue[..., :, None] * chroma[..., None, :]).reshape(5, 6, -1)
    expected = entropy(joint, base=2, axis=-1)
    np.testing.assert_allclose(uncertainty(hue, chroma), expected, rtol=1e-6)
    np.testing.assert_allclose(uncertainty(joint), expected, rtol=1e-6)


def test_rounding_gives_no_negative_entropy() -> None:
    assert uncertainty(np.array([[1.0000001, 0]], np.float32))[0] == 0


def test_wrong_histograms() -> None:
    with pytest.raises(ValueError, match="histograms: expected at least one"):
        uncertainty()
    with pytest.raises(ValueError, match=r"histogram: expected shape \(2,\), got \(3,\)"):
        uncertainty(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="histogram: expected finite values"):
        uncertainty(-np.ones((2, 4)))


def test_picture() -> None:
    bits = np.array([[0, 5, 10, 99]], np.float32)
    picture = render_uncertainty(bits, 10)
    assert picture.shape == (1, 4, 3) and picture.dtype == np.float32
    table = matplotlib.colormaps["viridis"]
    # 5 of 10 bits is level 127.5, which rounds to the even 128.
    np.testing.assert_allclose(picture[0, [0, 1, 2]], [table(i)[:3] for i in (0, 128, 255)])
    np.testing.assert_array_equal(picture[0, 3], picture[0, 2])
    # Perceptual: it gets lighter throughout.
    ramp = render_uncertainty(np.linspace(0, 10, 256, dtype=np.float32)[None], 10)[0]
    assert (np.diff(ramp @ [0.2126, 0.7152, 0.0722]) > 0).all()
    with pytest.raises(ValueError, match="maximum_bits: expected"):
        render_uncertainty(bits, 0)


@pytest.mark.parametrize(("hue", "a", "b"), [(0, 1, 1), (1 / 3, -1, 1), (2 / 3, 1, -1)])
def test_lean_biases_of_lab_point_to_red_green_and_blue(hue: float, a: int, b: int) -> None:
    along_a, along_b = lean_biases("lab_marginal", hue, 1.5, 16)
    assert np.sign(along_a[-1]) == a and np.sign(along_b[-1]) == b
    length = np.hypot(along_a[-1], along_b[-1])
    assert length == pytest.approx(1.5 * quantile_centers(16, sigma=1)[-1])
    (joint,) = lean_biases("lab_joint", hue, 1.5, 16)
    np.testing.assert_allclose(joint.reshape(16, 16), along_a[:, None] + along_b)


@pytest.mark.parametrize(
    ("variant", "hue", "strength", "message"),
    [
        ("lab_l2", 0, 1, "variant"),
        ("hue_chroma", np.inf, 1, "hue"),
        ("lab_joint", 0, -1, "strength: expected a finite number >= 0, got -1"),
        ("lab_marginal", 0, np.nan, "strength"),
        ("hue_chroma", 0, np.inf, "strength"),
    ],
)
def test_lean_biases_refuse(variant: str, hue: float, strength: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lean_biases(variant, hue, strength, 16)
