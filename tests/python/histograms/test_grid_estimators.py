"""Estimates from the grid against those from the enlarged histograms."""

from __future__ import annotations

import numpy as np
import pytest

from autocolor.core.errors import InputError
from autocolor.histograms.decode import LOOKS, DecodeOptions, decode, infer_hue_chroma
from autocolor.histograms.estimators import draw_uniforms, locate_quantile
from autocolor.histograms.grid_estimators import GridHueChroma, GridQuantiles
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.upsampling import GridSampler

CASES = [  # cells, size, cells_per_pixel
    ((5, 7), (20, 28), (0.25, 0.25)),
    ((5, 7), (41, 33), (0.11, 0.21)),
    ((1, 1), (3, 2), (0.25, 0.5)),
    ((3, 1), (1, 9), (1.7, 0.1)),
    ((4, 4), (9, 9), (0.6, 0.6)),
]


def histograms(cells: tuple[int, int], bins: int, dtype: type, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).gamma(0.3, size=(*cells, bins))
    return (values / values.sum(axis=-1, keepdims=True)).astype(dtype)


def test_literal_quantile() -> None:
    # Cells [1, 0] and [0, 1]; the second of four pixels has [3/4, 1/4], and half of its mass at 2/3
    # of the first bin.
    grid = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    index, fraction = GridQuantiles(grid, (1, 4), (1.0, 0.5)).rows(0, 1, 0.5)
    np.testing.assert_array_equal(index, [[0, 0, 1, 1]])
    np.testing.assert_allclose(fraction, [[0.5, 2 / 3, 1 / 3, 0.5]])


@pytest.mark.parametrize(("cells", "size", "cells_per_pixel"), CASES)
@pytest.mark.parametrize("bins", [1, 2, 3, 7, 8, 31, 32, 33])
def test_quantiles_are_those_of_enlarged_histograms(
    cells: tuple[int, int],
    size: tuple[int, int],
    cells_per_pixel: tuple[float, float],
    bins: int,
) -> None:
    grid = histograms(cells, bins, np.float64)
    dense = GridSampler(grid.copy(), size, cells_per_pixel).rows(0, size[0])
    quantiles = GridQuantiles(grid, size, cells_per_pixel)
    edges = np.linspace(0, 1, bins + 1)
    for level in (0.5, 0.013, 1.0, draw_uniforms(np.random.default_rng(1), size)):
        parts = [
            quantiles.rows(
                start,
                min(start + 4, size[0]),
                level if isinstance(level, float) else level[start : start + 4],
            )
            for start in range(0, size[0], 4)
        ]
        index, fraction = (np.concatenate(part) for part in zip(*parts, strict=True))
        assert index.min() >= 0
        assert index.max() < bins
        expected_index, expected_fraction = locate_quantile(dense, level)
        if isinstance(level, float) and level == 1.0:  # a sum that rounding may reach a bin early
            continue
        # Where the level lies on an edge, the neighbouring bin's end is as right.
        values = edges[index] + fraction / bins
        np.testing.assert_allclose(
            values, edges[expected_index] + expected_fraction / bins, atol=1e-9
        )


def test_a_row_of_zeros_gives_the_middle_of_the_first_bin() -> None:
    index, fraction = GridQuantiles(np.zeros((2, 2, 4)), (3, 3), (0.5, 0.5)).rows(0, 3, 0.5)
    assert not index.any()
    assert (fraction == 0.5).all()


@pytest.mark.parametrize(("cells", "size", "cells_per_pixel"), CASES)
def test_maps_are_enlarged_as_histograms_are(
    cells: tuple[int, int], size: tuple[int, int], cells_per_pixel: tuple[float, float]
) -> None:
    maps = np.random.default_rng(0).normal(size=(3, *cells))
    expected = GridSampler(np.moveaxis(maps, 0, -1).copy(), size, cells_per_pixel)
    ours = GridSampler(maps, size, cells_per_pixel, axis=1)
    for start, stop in ((0, size[0]), (size[0] // 2, size[0])):
        np.testing.assert_array_equal(
            np.moveaxis(ours.rows(start, stop), 0, -1), expected.rows(start, stop)
        )


@pytest.mark.parametrize("hue", ["expectation", "sample"])
@pytest.mark.parametrize("chroma", ["median", "expectation", "sample"])
@pytest.mark.parametrize("fading", [True, False])
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hue_and_chroma_are_those_of_enlarged_histograms(
    hue: str, chroma: str, fading: bool, look: str, dtype: type
) -> None:
    size, cells_per_pixel = (30, 23), (0.21, 0.25)
    grids = histograms((6, 5), 32, dtype), histograms((6, 5), 32, dtype, seed=1)
    uniforms = draw_uniforms(np.random.default_rng(2), (*size, 2))
    dense = [GridSampler(grid.copy(), size, cells_per_pixel).rows(0, size[0]) for grid in grids]
    how = {"hue": hue, "chroma": chroma, "fading": fading, "look": look}
    expected = infer_hue_chroma(*dense, **how, uniforms=uniforms)
    ours = GridHueChroma(*grids, size, cells_per_pixel, **how).rows(0, size[0], uniforms)
    # Cumulative sums of up to 1 are rounded at other places; a nearly empty bin enlarges that.
    tolerance = 1e-4 if dtype is np.float32 else 1e-9
    difference = np.abs(ours[0] - expected[0])
    assert np.minimum(difference, 1 - difference).max() < tolerance
    np.testing.assert_allclose(ours[1], expected[1], atol=tolerance)
    assert ours[0].dtype == ours[1].dtype == dtype


def test_colors_are_the_same_whether_by_tiles_or_not() -> None:
    rng = np.random.default_rng(0)
    grids = tuple(histograms((64, 80), 32, np.float32, seed) for seed in (0, 1))
    lightness = rng.random((300, 401), dtype=np.float32)
    prediction = Prediction("hue_chroma", lightness, grids, (64 / 300, 80 / 401), 0.8)
    for options in ({}, {"method": "expectation"}, {"method": "sample"}, {"fading": False}):
        decoding = DecodeOptions(**options)
        draw = prediction.uniforms(decoding, np.random.default_rng(3))
        by_tiles = np.concatenate(
            [
                decode(
                    "hue_chroma",
                    tile,
                    lightness[rows],
                    decoding,
                    strength=0.8,
                    uniforms=draw(tile[0].shape[:2]),
                )
                for rows, tile in prediction.tiles()
            ]
        )
        ours = prediction.decode(decoding, np.random.default_rng(3))
        # At the edge between two bins a rounding of 1e-7 is enough to draw the other one.
        assert np.quantile(np.abs(by_tiles - ours), 0.9999) < 1e-4


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_histograms_that_are_none(value: float) -> None:
    grid = np.full((2, 2, 4), 0.25)
    grid[1, 1, 1] = value
    good = np.full((2, 2, 4), 0.25)
    for grids in ((grid, good), (good, grid)):
        prediction = Prediction("hue_chroma", np.full((3, 3), 0.5), grids, (0.5, 0.5), 1.0)
        for call in (prediction.colorize, prediction.hue_chroma):
            with pytest.raises(InputError, match="outputs: expected finite values"):
                call()
