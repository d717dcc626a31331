"""Lightness-normalised quantile matching against scikit-image, literal cases, black and grey."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from skimage.exposure import match_histograms

from autocolor.control.quantile import match_quantiles, normalize_lightness, transfer_quantiles
from autocolor.imaging.color import lightness
from autocolor.imaging.images import resize


def photo(name: str, size: tuple[int, int]) -> np.ndarray:
    return resize(getattr(skimage.data, name)().astype(np.float32) / 255, size)


def colors(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 0.9, (*shape, 3))


def test_quantiles_literal() -> None:
    # Ranks in ascending order: 1 -> 30, 2 -> 10 and 3 -> 20 in the target's order.
    matched = match_quantiles(np.array([3.0, 1, 2]), np.array([30.0, 10, 20]))
    np.testing.assert_allclose(matched, [30, 10, 20])
    # Mid-ranks of 0, 0, 0, 1: 3/8 and 7/8. The target has 0, 1, 2, 3 at 1/8, 3/8, 5/8, 7/8.
    matched = match_quantiles(np.array([0.0, 0, 0, 1]), np.arange(4.0))
    np.testing.assert_allclose(matched, [1, 1, 1, 3])


def test_quantiles_of_other_sizes() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(50, 40)), rng.gamma(2, size=30_000)
    matched = match_quantiles(source, target)
    levels = np.linspace(0.01, 0.99, 50)
    # 2,000 and 30,000 values: one rank more or less.
    np.testing.assert_allclose(
        np.quantile(matched, levels), np.quantile(target, levels), rtol=0.02, atol=0.005
    )
    # Order is kept.
    np.testing.assert_array_equal(np.argsort(matched.ravel()), np.argsort(source.ravel()))
    assert match_quantiles(np.zeros((2, 3), np.float32), target).dtype == np.float32
    np.testing.assert_allclose(match_quantiles(source, np.array([5.0])), 5)


def test_normalized_lightness_against_scikit_image() -> None:
    # Values that are all different, as many in both: any definition of the ranks agrees.
    source, target = colors(40, 50, seed=0), colors(25, 80, seed=1)
    expected = match_histograms(
        normalize_lightness(source), normalize_lightness(target).reshape(40, 50, 3), channel_axis=-1
    )
    matched = normalize_lightness(source)
    for channel in range(3):
        matched[..., channel] = match_quantiles(
            matched[..., channel], normalize_lightness(target)[..., channel]
        )
    np.testing.assert_allclose(matched, expected, rtol=1e-12)


def test_photos_against_scikit_image() -> None:
    source, target = photo("chelsea", (120, 180)), photo("coffee", (100, 150))
    result = transfer_quantiles(source, target)
    light = lightness(source)
    expected = match_histograms(
        normalize_lightness(source), normalize_lightness(target), channel_axis=-1
    )
    expected *= light[..., None]
    expected += (light - expected.mean(axis=-1))[..., None]
    inside = ((expected >= 0) & (expected <= 1)).all(axis=-1)
    # 21,600 and 15,000 pixels, whose equal values scikit-image ranks at their upper end.
    assert inside.mean() > 0.8
    np.testing.assert_allclose(result[inside], expected[inside], atol=0.02)
    assert np.abs(result[inside] - expected[inside]).mean() < 1e-3


def test_lightness_and_range_are_kept() -> None:
    source, target = photo("chelsea", (60, 90)), photo("coffee", (50, 75))
    result = transfer_quantiles(source, target)
    assert result.dtype == np.float32 and result.shape == source.shape
    assert result.min() >= 0 and result.max() <= 1
    np.testing.assert_allclose(lightness(result), lightness(source), atol=1e-6)
    assert np.abs(result - source).mean() > 0.01


def test_an_image_as_its_own_target_stays() -> None:
    source = photo("chelsea", (60, 90))
    np.testing.assert_allclose(transfer_quantiles(source, source), source, atol=1e-6)


def test_grey_target_gives_grey() -> None:
    source = photo("chelsea", (60, 90))
    grey = np.repeat(lightness(source)[..., None], 3, axis=-1)
    np.testing.assert_allclose(transfer_quantiles(source, grey), grey, atol=1e-6)


def test_black_counts_as_grey() -> None:
    black = np.zeros((2, 2, 3))
    np.testing.assert_array_equal(normalize_lightness(black), 1)
    np.testing.assert_array_equal(transfer_quantiles(black, colors(3, 3, seed=0)), black)
    np.testing.assert_allclose(normalize_lightness(np.array([0.3, 0.0, 0.0])), [3, 0, 0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="target: expected at least one value"):
        match_quantiles(np.ones(3), np.ones(0))
    with pytest.raises(ValueError, match="rgb: expected shape"):
        transfer_quantiles(np.ones((2, 2)), np.ones((2, 2, 3)))
    with pytest.raises(ValueError, match="rgb: expected finite values"):
        transfer_quantiles(np.ones((2, 2, 3)), np.full((2, 2, 3), np.nan))
