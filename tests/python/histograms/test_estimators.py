"""Samples, quantiles and fading of single histograms: literals, frequencies, naive references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from autocolor.histograms.bins import finite_quantile_edges, uniform_edges
from autocolor.histograms.estimators import (
    draw_uniforms,
    interpolate_bins,
    locate_quantile,
    median,
    sample,
)

DTYPES = (np.float32, np.float64)
EDGES = uniform_edges(4)
ROW = np.array([0.2, 0.4, 0.1, 0.3])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("uniform", "value"),
    # The cumulative sum is 0.2, 0.6, 0.7, 1 at 0.25, 0.5, 0.75, 1.
    [(0.1, 0.125), (0.2, 0.25), (0.5, 0.4375), (0.65, 0.625), (1, 1)],
)
def test_sample_literal(dtype: type, uniform: float, value: float) -> None:
    drawn = sample(ROW.astype(dtype), EDGES, np.array(uniform))
    assert drawn.dtype == dtype
    assert drawn == pytest.approx(value, abs=1e-6)


def test_sample_at_one_half_is_the_median() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(32), size=50)
    edges = uniform_edges(32)
    np.testing.assert_array_equal(sample(rows, edges, np.array(0.5)), median(rows, edges))


@pytest.mark.parametrize("dtype", DTYPES)
def test_frequencies_are_those_of_the_histogram(dtype: type) -> None:
    pixels = 40_000
    uniforms = draw_uniforms(np.random.default_rng(1), (pixels,))
    values = sample(np.broadcast_to(ROW.astype(dtype), (pixels, 4)), EDGES, uniforms)
    counts, _ = np.histogram(values, EDGES)
    # The seed is fixed; a true sampler passes with probability 0.99.
    assert chisquare(counts, pixels * ROW).pvalue > 0.01
    inside = values[(values >= 0.25) & (values < 0.5)].astype(np.float64)
    assert kstest((inside - 0.25) * 4, "uniform").pvalue > 0.01


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_bins_are_never_drawn(dtype: type) -> None:
    row = np.array([0, 0.5, 0, 0.5, 0], dtype)
    # The smallest and the largest number of draw_uniforms, and those next to them and to 1/2.
    extremes = np.array([2.0**-53, 2.0**-52, 0.5 - 2.0**-53, 0.5, 0.5 + 2.0**-52, 1 - 2.0**-53, 1])
    uniforms = np.concatenate([extremes, draw_uniforms(np.random.default_rng(2), (500,))])
    index, _ = locate_quantile(np.tile(row, (len(uniforms), 1)), uniforms)
    assert set(index) == {1, 3}


def test_uniforms_exclude_zero() -> None:
    class Lowest(np.random.Generator):
        def random(self, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
            return np.zeros(shape)

    assert (draw_uniforms(Lowest(np.random.PCG64(0)), (3,)) == 1).all()
    uniforms = draw_uniforms(np.random.default_rng(0), (1000,))
    assert uniforms.min() > 0 and uniforms.max() <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("total", [1.0, 0.4, 1e-30, 1 + 1e-6])
def test_quantile_against_naive_loop(dtype: type, total: float) -> None:
    rng = np.random.default_rng(3)
    rows = (rng.dirichlet(np.full(16, 0.7), size=200) * total).astype(dtype)
    levels = rng.random(200)
    index, fraction = locate_quantile(rows, levels)
    edges = finite_quantile_edges(16)
    values = interpolate_bins(edges, index, fraction)
    for row, level, value in zip(rows.astype(np.float64), levels, values, strict=True):
        target, below, k = level * row.sum(), 0.0, 0
        while below + row[k] < target:
            below += row[k]
            k += 1
        expected = edges[k] + (target - below) / row[k] * (edges[k + 1] - edges[k])
        # On the scale of mass, since a nearly empty bin magnifies roundings of the level.
        mass = np.interp([value, expected], edges, np.concatenate([[0], np.cumsum(row)]) / total)
        assert mass[0] == pytest.approx(mass[1], abs=1e-6 if dtype is np.float32 else 1e-12)
