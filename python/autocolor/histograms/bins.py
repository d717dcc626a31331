"""Bins of the colour histograms (section 3.2): their edges, centres and indices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.constants import BINS, QUANTILE_SIGMA
from autocolor.core.errors import InputError


def _check_bins(bins: int) -> None:
    if bins < 1:
        raise InputError("bins", f"expected at least 1, got {bins}")


def uniform_edges(bins: int = BINS) -> npt.NDArray[np.float64]:
    """Return the K + 1 edges of even bins of [0, 1], for hue and for chroma."""
    _check_bins(bins)
    return np.linspace(0, 1, bins + 1)


def uniform_centers(bins: int = BINS) -> npt.NDArray[np.float64]:
    """Return the K centres (k + 1/2) / K of even bins of [0, 1]."""
    _check_bins(bins)
    return (np.arange(bins) + 0.5) / bins


def _normal_quantile(probability: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    from scipy.special import ndtri  # takes 0.1 s, which even bins need not wait

    return np.asarray(sigma * ndtri(probability), dtype=np.float64)


def quantile_edges(bins: int = BINS, sigma: float = QUANTILE_SIGMA) -> npt.NDArray[np.float64]:
    """Return the K + 1 edges of bins of equal mass under a Gaussian N(0, sigma^2), for a and b.

    The outer edges are infinite.
    """
    return _normal_quantile(uniform_edges(bins), sigma)


def quantile_centers(bins: int = BINS, sigma: float = QUANTILE_SIGMA) -> npt.NDArray[np.float64]:
    """Return the K bin centres under a Gaussian N(0, sigma^2): the quantiles at (k + 1/2) / K."""
    return _normal_quantile(uniform_centers(bins), sigma)


def quantile_centroids(bins: int = BINS, sigma: float = QUANTILE_SIGMA) -> npt.NDArray[np.float64]:
    """Return the K bin centroids: the mean of the Gaussian N(0, sigma^2) within each bin.

    They are the colours of the bins in expectations and modes (section 3.3).
    """
    standard_edges = quantile_edges(bins, sigma=1.0)
    density = np.exp(-np.square(standard_edges) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(-sigma * bins * np.diff(density), dtype=np.float64)


def finite_quantile_edges(
    bins: int = BINS, sigma: float = QUANTILE_SIGMA
) -> npt.NDArray[np.float64]:
    """Return :func:`quantile_edges` with finite ends, for interpolation inside the bins.

    An outer edge lies as far from its bin's centroid as the inner edge does, so the middle of an
    end bin is its centroid. At sigma = 25 the ends are +-66.0 for K = 32 and +-60.0 for K = 16.
    """
    if bins < 2:
        raise InputError("bins", f"expected at least 2 between finite edges, got {bins}")
    edges, centroids = quantile_edges(bins, sigma), quantile_centroids(bins, sigma)
    edges[0] = 2 * centroids[0] - edges[1]
    edges[-1] = 2 * centroids[-1] - edges[-2]
    return edges


def bin_index(values: FloatArray, edges: FloatArray) -> npt.NDArray[np.intp]:
    """Return the bin of each value, in [0, K), of ascending edges (K + 1,).

    A value on an inner edge belongs to the bin above it; values outside belong to the end bins (so
    hue 1 is in the last one).
    """
    return np.searchsorted(edges[1:-1], values, side="right")
