"""Bins: literal edges, mass under the Gaussian, and indices against a naive search."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from autocolor.histograms.bins import (
    bin_index,
    finite_quantile_edges,
    quantile_centers,
    quantile_centroids,
    quantile_edges,
    uniform_centers,
    uniform_edges,
)


def test_uniform_bins_literal() -> None:
    np.testing.assert_allclose(uniform_edges(4), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(uniform_centers(4), [0.125, 0.375, 0.625, 0.875])
    assert len(uniform_centers()) == 32


def test_quantile_bins_have_equal_mass() -> None:
    edges = quantile_edges(16, sigma=25)
    assert edges[0] == -np.inf and edges[-1] == np.inf
    mass = np.diff(scipy.stats.norm.cdf(edges, scale=25))
    np.testing.assert_allclose(mass, 1 / 16)
    centers = quantile_centers(16, sigma=25)
    assert (edges[:-1] < centers).all() and (centers < edges[1:]).all()
    np.testing.assert_allclose(scipy.stats.norm.cdf(centers, scale=25), (np.arange(16) + 0.5) / 16)


def test_quartiles_literal() -> None:
    # The quartiles of a standard normal lie at +-0.6745.
    np.testing.assert_allclose(quantile_edges(4, sigma=1)[1:-1], [-0.6745, 0, 0.6745], atol=1e-4)


def test_bin_index_against_naive_search() -> None:
    edges = uniform_edges(32)
    values = np.concatenate([[-1, 0, 1, 2], edges, np.random.default_rng(0).random(500)])
    for value, index in zip(values, bin_index(values, edges), strict=True):
        expected = max((k for k in range(32) if edges[k] <= value), default=0)
        assert index == expected


def test_no_bins() -> None:
    with pytest.raises(ValueError, match="bins: expected at least 1, got 0"):
        uniform_edges(0)


def test_centroids_are_conditional_means() -> None:
    for bins in (16, 32):
        edges = quantile_edges(bins, sigma=1)
        expected = [25 * scipy.stats.truncnorm.mean(low, high) for low, high in pairwise(edges)]
        np.testing.assert_allclose(quantile_centroids(bins), expected, rtol=1e-6)
    assert quantile_centroids(1) == 0


@pytest.mark.parametrize(("bins", "end"), [(32, 66.0), (16, 60.0), (2, 39.9)])
def test_finite_edges(bins: int, end: float) -> None:
    edges = finite_quantile_edges(bins)
    assert edges[-1] == pytest.approx(end, abs=0.05)
    assert edges[0] == pytest.approx(-edges[-1])
    assert (np.diff(edges) > 0).all()
    np.testing.assert_array_equal(edges[1:-1], quantile_edges(bins)[1:-1])
    # The mean of samples from an end bin is its colour.
    assert (edges[0] + edges[1]) / 2 == pytest.approx(quantile_centroids(bins)[0])
    with pytest.raises(ValueError, match="bins: expected at least 2 between finite edges"):
        finite_quantile_edges(1)
