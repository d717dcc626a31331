"""Bilinear enlargement against scipy's map_coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from autocolor.histograms.upsampling import GridSampler


def oracle(
    grid: np.ndarray, size: tuple[int, int], cells_per_pixel: tuple[float, float]
) -> np.ndarray:
    y = (np.arange(size[0]) + 0.5) * cells_per_pixel[0] - 0.5
    x = (np.arange(size[1]) + 0.5) * cells_per_pixel[1] - 0.5
    coordinates = np.meshgrid(y, x, indexing="ij")
    planes = [
        map_coordinates(grid[..., k], coordinates, order=1, mode="nearest")
        for k in range(grid.shape[-1])
    ]
    return np.stack(planes, axis=-1)


def test_literal() -> None:
    # Two cells, four pixels: the outer pixels lie outside of the cell centres and take the nearest.
    sampler = GridSampler(np.array([[[0.0], [1.0]]]), (1, 4), (1.0, 0.5))
    np.testing.assert_allclose(sampler.rows(0, 1)[0, :, 0], [0, 0.25, 0.75, 1])


@pytest.mark.parametrize(
    ("cells", "size", "cells_per_pixel"),
    [
        ((5, 7), (20, 28), (0.25, 0.25)),
        ((5, 7), (41, 33), (0.11, 0.21)),
        ((1, 1), (3, 2), (0.25, 0.5)),
        ((3, 1), (1, 9), (1.7, 0.1)),
        ((4, 4), (9, 9), (0.6, 0.6)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_map_coordinates(
    cells: tuple[int, int],
    size: tuple[int, int],
    cells_per_pixel: tuple[float, float],
    dtype: type,
) -> None:
    grid = np.random.default_rng(0).random((*cells, 6)).astype(dtype)
    before = grid.copy()
    sampler = GridSampler(grid, size, cells_per_pixel)
    tiles = [sampler.rows(start, min(start + 4, size[0])) for start in range(0, size[0], 4)]
    result = np.concatenate(tiles)
    assert result.dtype == dtype
    tolerance = 1e-6 if dtype is np.float32 else 1e-12
    expected = oracle(grid.astype(np.float64), size, cells_per_pixel)
    np.testing.assert_allclose(result, expected, atol=tolerance)
    np.testing.assert_array_equal(grid, before)


def test_histograms_keep_their_sum_at_the_borders() -> None:
    grid = np.random.default_rng(1).dirichlet(np.ones(8), size=(3, 4))
    rows = GridSampler(grid, (17, 19), (0.2, 0.25)).rows(0, 17)
    np.testing.assert_allclose(rows.sum(axis=-1), 1)
