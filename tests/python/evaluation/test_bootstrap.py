"""The Poisson bootstrap: its weights, its exactness, and intervals as an ordinary one gives."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
import scipy.stats

from autocolor.evaluation.bootstrap import PoissonBootstrap, percentile_interval, poisson_weights


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


def test_sums_are_weighted_sums() -> None:
    rng = np.random.default_rng(0)
    # Of the magnitudes in use: errors summed over pixels, decibels, logarithms, counts.
    values = rng.normal(size=(40, 4)) * [1e7, 30, 1, 1e-3]
    bootstrap = PoissonBootstrap(4, replicates=50, seed=3)
    expected = np.zeros((4, 50))
    for key, row in enumerate(values):
        bootstrap.add(str(key), row.tolist())
        expected += np.outer(row, naive_weights(str(key), 50, 3))
    # Each value is rounded by at most 2**-33, and is drawn a few times.
    np.testing.assert_allclose(bootstrap.sums(), expected, rtol=1e-12, atol=40 * 6 * 2**-33)


@pytest.mark.parametrize("parts", [2, 5])
def test_merging_is_exact(parts: int) -> None:
    rng = np.random.default_rng(parts)
    rows = {str(key): (rng.random(2) * 1e5).tolist() for key in range(30)}
    whole = PoissonBootstrap(2, 20)
    for key, row in rows.items():
        whole.add(key, row)
    merged = PoissonBootstrap(2, 20)
    for part in rng.permutation(parts):
        bootstrap = PoissonBootstrap(2, 20)
        for key in rng.permutation(list(rows)[part::parts]):
            bootstrap.add(key, rows[key])
        merged.merge(PoissonBootstrap.from_dict(json.loads(json.dumps(bootstrap.to_dict()))))
    assert merged.to_dict() == whole.to_dict()


def test_interval_is_that_of_an_ordinary_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(2, size=150)
    replicates = 20_000
    bootstrap = PoissonBootstrap(2, replicates)
    for key, value in enumerate(values):
        bootstrap.add(str(key), [value, 1])
    total, count = bootstrap.sums()
    found = percentile_interval(total / count, 0.95)
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
    with pytest.raises(ValueError, match="replicates: expected at least 1, received 0"):
        PoissonBootstrap(1, 0)
    bootstrap = PoissonBootstrap(1, 5)
    for value in (math.inf, math.nan, 2.0**41):
        with pytest.raises(ValueError, match="values: expected magnitudes up to"):
            bootstrap.add("key", [value])
    assert not bootstrap.sums().any()
    for other in (PoissonBootstrap(1, 6), PoissonBootstrap(2, 5), PoissonBootstrap(1, 5, seed=1)):
        with pytest.raises(ValueError, match="bootstrap: expected"):
            bootstrap.merge(other)
    with pytest.raises(ValueError, match="limbs: expected shape"):
        PoissonBootstrap.from_dict({**bootstrap.to_dict(), "replicates": 4})
    for level in (0, 1, math.nan):
        with pytest.raises(ValueError, match="level: expected"):
            percentile_interval(np.zeros(3), level)
