"""Dust and scratches are found and filled, the picture around them stays, and tones fill the range."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from skimage.draw import disk, line

from autocolor.imaging.images import fit_side
from autocolor.imaging.restoration import find_damage, restore, stretch_tones


def picture(name: str) -> np.ndarray:
    pixels = getattr(skimage.data, name)().astype(np.float32) / 255
    grey = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
    return np.clip(fit_side(grey, 400, "larger"), 0.05, 0.95)


def damaged(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    result, where = grey.copy(), np.zeros(grey.shape, bool)
    for _ in range(6):
        rows, columns = line(*rng.integers(0, grey.shape), *rng.integers(0, grey.shape))
        result[rows, columns], where[rows, columns] = 0.97, True
    for _ in range(40):
        rows, columns = disk(rng.integers(0, grey.shape), rng.uniform(0.8, 1.8), shape=grey.shape)
        result[rows, columns], where[rows, columns] = rng.choice([0.02, 0.97]), True
    return result, where


@pytest.mark.parametrize(("name", "recall"), [("moon", 0.85), ("brick", 0.85), ("chelsea", 0.8)])
def test_damage_is_filled_and_the_rest_stays(name: str, recall: float) -> None:
    grey = picture(name)
    spoiled, where = damaged(grey)
    found = find_damage(spoiled)
    assert (found & where).sum() > recall * where.sum()
    assert found.mean() < 3 * where.mean()  # with the ring about each
    assert find_damage(grey).mean() < 0.001
    # Before tones: what is not found is as it was.
    filled = restore(spoiled)
    expected = stretch_tones(grey)
    assert np.abs(filled - expected)[where].mean() < 0.4 * np.abs(spoiled - grey)[where].mean()
    assert np.sqrt(np.mean((filled - expected)[~found] ** 2)) < 0.05


def test_a_pattern_is_no_dust() -> None:
    grid = np.full((100, 100), 0.5, np.float32)
    grid[::5] = 1
    assert not find_damage(grid).any()


def test_faded_tones_fill_the_range() -> None:
    grey = picture("camera")
    faded = 0.3 + 0.4 * grey
    restored = stretch_tones(faded)
    assert restored.dtype == np.float32
    assert restored.min() == 0 and restored.max() == 1
    np.testing.assert_allclose(restored, stretch_tones(grey), atol=1e-5)
    flat = np.full((4, 4), 0.4, np.float32)
    np.testing.assert_array_equal(restore(flat), flat)
