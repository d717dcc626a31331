"""The mean over scales against literal values, scipy and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.stats import gmean

from autocolor.histograms.scales import merge_scales


def test_literal() -> None:
    """Weights sqrt(1/2 · 9/10) and sqrt(1/2 · 1/10) are as 3 to 1."""
    grids = [np.array([[[0.5, 0.5]]]), np.array([[[0.9, 0.1]]])]
    merged = merge_scales(grids, [(1.0, 1.0)], are_histograms=True)
    np.testing.assert_allclose(merged, [[[0.75, 0.25]]])
    colours = merge_scales(grids, [(1.0, 1.0)], are_histograms=False)
    np.testing.assert_allclose(colours, [[[0.7, 0.3]]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grids_of_several_sizes(dtype: type) -> None:
    """Each is read at the place of the first one's cells, as scipy reads it, and averaged as scipy does."""
    rng = np.random.default_rng(0)
    sizes, shares = [(8, 12), (4, 6), (5, 8)], [(0.5, 0.5), (0.625, 0.625)]
    grids = [rng.dirichlet(np.ones(5), size).astype(dtype) for size in sizes]
    read = [grids[0]]
    for grid, (y, x) in zip(grids[1:], shares, strict=True):
        places = np.meshgrid(
            (np.arange(8) + 0.5) * y - 0.5, (np.arange(12) + 0.5) * x - 0.5, indexing="ij"
        )
        planes = [
            map_coordinates(plane, places, order=1, mode="nearest")
            for plane in grid.T.swapaxes(1, 2)
        ]
        read.append(np.stack(planes, axis=-1))
    expected = gmean(np.stack(read), axis=0)
    expected /= expected.sum(axis=-1, keepdims=True)
    merged = merge_scales(grids, shares, are_histograms=True)
    assert merged.dtype == dtype
    # Rounding of logarithms and exponentials, some units of the last place.
    np.testing.assert_allclose(merged, expected, rtol=50 * np.finfo(dtype).eps)
    np.testing.assert_allclose(
        merge_scales(grids, shares, are_histograms=False),
        np.mean(read, axis=0),
        rtol=50 * np.finfo(dtype).eps,
    )


def test_a_bin_that_is_empty_at_one_scale_stays_empty() -> None:
    grids = [np.float32([[[1, 0, 0]]]), np.float32([[[0.5, 0.5, 0]]])]
    merged = merge_scales(grids, [(1.0, 1.0)], are_histograms=True)
    np.testing.assert_allclose(merged, [[[1, 0, 0]]], atol=1e-18)
