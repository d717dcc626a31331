"""The Poisson bootstrap: its weights, and intervals as an ordinary one gives."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import scipy.stats

from autocolor.evaluation.bootstrap import percentile_interval, poisson_weights


def naive_weights(key: str, replicates: int, seed: int) -> list[int]:
    """Invert the distribution function of Poisson(1), one number at a time."""
    bits = hashlib.shake_256(f"{seed}\0{key}".encode()).digest(4 * replicates)
    weights = []
    for index in range(replicates):
        uniform = int.from_bytes(bits[4 * index : 4 * index + 4], "little") / 2**32
        weights.append(int(scipy.stats.poisson.ppf(uniform, 1)))
    return weights


def test_weights_literal() -> None:
    # SHAKE-256 is a standard: these numbers may never change, or parts no longer merge.
    assert poisson_weights("photo", 12, 0).tolist() == naive_weights("photo", 12, 0)
    assert poisson_weights("photo", 12, 0).tolist() == [2, 2, 3, 1, 0, 2, 1, 0, 1, 0, 2, 0]


def test_weights_are_poisson() -> None:
    weights = np.concatenate([poisson_weights(str(key), 1000, 7) for key in range(100)])
    counts = np.bincount(np.minimum(weights, 6), minlength=7)
    expected = scipy.stats.poisson.pmf(np.arange(6), 1)
    expected = np.append(expected, 1 - expected.sum()) * len(weights)
    assert scipy.stats.chisquare(counts, expected).pvalue > 0.01
    assert not np.array_equal(poisson_weights("a", 50, 0), poisson_weights("b", 50, 0))
    assert not np.array_equal(poisson_weights("a", 50, 0), poisson_weights("a", 50, 1))


def test_interval_is_that_of_an_ordinary_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2, size=150)
    replicates = 20_000
    weights = np.stack([poisson_weights(str(key), replicates, 0) for key in range(150)])
    found = percentile_interval(values @ weights / weights.sum(axis=0), 0.95)
    ordinary = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=replicates, method="percentile", rng=2
    ).confidence_interval
    # Standard error of a 2.5 % quantile of 20,000 normal numbers: sqrt(.025 * .975 / 20,000) /
    # density 0.0584 = 0.019 standard deviations, and 1.4 times that for a difference; 4 of them.
    # Poisson weights spread by a relative 1/(2 n) more, which is 0.007 at the quantile.
    tolerance = (4 * 1.4 * 0.019 + 0.007) * values.std() / math.sqrt(len(values))
    assert found == pytest.approx((ordinary.low, ordinary.high), abs=tolerance)


def test_interval_literals() -> None:
    assert percentile_interval(np.arange(101.0), 0.9) == pytest.approx((5, 95))
    assert percentile_interval(np.array([math.nan, 2.0]), 0.9) == (2, 2)
    assert percentile_interval(np.array([1.0] * 50 + [math.inf] * 50), 0.9) == (1, math.inf)
    assert all(map(math.isnan, percentile_interval(np.array([math.nan]), 0.9)))


def test_wrong_arguments() -> None:
    for level in (0, 1, math.nan):
        with pytest.raises(ValueError, match="level: expected"):
            percentile_interval(np.zeros(3), level)
