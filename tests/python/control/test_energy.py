"""Energy minimisation (Eq. 6): exact gradient, the minimum, limits of the weight, tiles, memory."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from autocolor.control.energy import _Problem, apply_bias, chi_square, minimize_energy
from autocolor.histograms.tiles import array_tiles, grid_tiles
from autocolor.histograms.upsampling import GridSampler

BINS = 8


def random_histograms(*shape: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).gamma(0.5, size=shape)
    return rows / rows.sum(axis=-1, keepdims=True)


def softmax_posterior(histogram: np.ndarray, bias: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logits = np.log(histogram) + bias
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def naive_energy(
    predictions: np.ndarray, bias: np.ndarray, target: np.ndarray, weight: float
) -> float:
    """Eq. 6 as printed, pixel by pixel."""
    rows = predictions.reshape(-1, len(bias))
    total, mean = 0.0, np.zeros(len(bias))
    for row in rows:
        posterior = softmax_posterior(row, bias)
        full = posterior > 0
        total += np.sum(posterior[full] * np.log(posterior[full] / row[full])) / len(rows)
        mean += posterior / len(rows)
    full = mean + target > 0
    distance = np.sum((mean - target)[full] ** 2 / (mean + target)[full]) / 2
    return total + weight * distance


# ---- chi-square and bias


def test_chi_square_literal() -> None:
    # ((0.5 - 0.25)^2 / 0.75 + (0.5 - 0.75)^2 / 1.25) / 2 = (1/12 + 1/20) / 2 = 1/15; the empty
    # bins count 0.
    first, second = np.array([0.5, 0.5, 0]), np.array([0.25, 0.75, 0])
    assert chi_square(first, second) == pytest.approx(1 / 15, rel=1e-14)
    assert chi_square(first, first) == 0
    assert chi_square(np.array([1.0, 0]), np.array([0, 1.0])) == 1


def test_apply_bias_literal() -> None:
    biased = apply_bias(np.array([0.5, 0.5, 0]), np.log([3.0, 1, 5]))
    np.testing.assert_allclose(biased, [0.75, 0.25, 0], rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_apply_bias_is_the_softmax(dtype: type) -> None:
    histograms = random_histograms(5, 7, BINS).astype(dtype)
    histograms[0, 0] = np.eye(BINS)[2]
    bias = np.random.default_rng(1).normal(scale=5, size=BINS)
    biased = apply_bias(histograms, bias)
    assert biased.dtype == dtype
    np.testing.assert_allclose(
        biased, softmax_posterior(histograms, bias), atol=4 * np.finfo(dtype).eps
    )
    np.testing.assert_array_equal(biased[0, 0], histograms[0, 0])


def test_an_even_bias_changes_nothing() -> None:
    histograms = random_histograms(5, BINS).astype(np.float32)
    assert apply_bias(histograms, np.full(BINS, 3.0)) is histograms


def test_extreme_biases_and_histograms_stay_finite() -> None:
    histograms = np.array([[1, 0, 0], [0, 1e-45, 1], [0, 1, 0]], np.float32)
    for bias in ([1e4, -1e4, 0.0], [-1e300, 1e300, 0], [0, -800, 800]):
        biased = apply_bias(histograms, np.array(bias, np.float64))
        np.testing.assert_allclose(biased.sum(axis=-1), 1, rtol=1e-6)
        np.testing.assert_array_equal(biased[[0, 2]], histograms[[0, 2]])
        problem = _Problem(array_tiles(histograms[None]), np.ones(3) / 3, 10.0)
        point = problem.evaluate(np.array(bias, np.float64))
        assert np.isfinite(point.energy) and np.isfinite(problem.gradient(point)).all()


# ---- energy and gradient


@pytest.mark.parametrize("weight", [0.0, 1.0, 50.0])
def test_energy_is_equation_6_and_its_gradient_exact(weight: float) -> None:
    predictions = random_histograms(4, 5, BINS)
    predictions[0, 0], predictions[1, 1] = np.eye(BINS)[3], [0, 0.5, 0, 0.5, 0, 0, 0, 0]
    target = random_histograms(BINS, seed=1)
    target[2] = 0
    target /= target.sum()
    bias = np.random.default_rng(3).normal(size=BINS)
    problem = _Problem(array_tiles(predictions), target, weight)
    point = problem.evaluate(bias)
    gradient = problem.gradient(point)
    assert point.energy == pytest.approx(naive_energy(predictions, bias, target, weight), rel=1e-12)
    # Central differences: truncation h^2 and rounding 1e-16/h are both about 1e-10 at h = 1e-5.
    h = 1e-5
    numeric = [
        (
            naive_energy(predictions, bias + h * unit, target, weight)
            - naive_energy(predictions, bias - h * unit, target, weight)
        )
        / (2 * h)
        for unit in np.eye(BINS)
    ]
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6 * scale)
    assert abs(gradient.sum()) < 1e-12 * scale


# ---- the minimum


@pytest.mark.parametrize("weight", [1.0, 10.0, 100.0])
def test_minimum_against_scipy(weight: float) -> None:
    predictions = random_histograms(6, 9, BINS)
    target = random_histograms(BINS, seed=1)
    found = minimize_energy(array_tiles(predictions), target, weight, tolerance=1e-6)
    assert found.stopped == "converged" and found.residual <= 1e-6
    oracle = minimize(
        lambda bias: naive_energy(predictions, bias, target, weight), np.zeros(BINS), tol=1e-12
    )
    # The energy is flat at its minimum, so it agrees to more digits than the bias.
    assert found.energies[-1] == pytest.approx(oracle.fun, rel=1e-9)
    np.testing.assert_allclose(found.bias, oracle.x - oracle.x.mean(), atol=2e-4 * weight)
    posterior = softmax_posterior(predictions, found.bias)
    np.testing.assert_allclose(found.source, posterior.mean(axis=(0, 1)), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.3, 10.0, 1e4])
def test_energy_falls_monotonically(seed: int, weight: float) -> None:
    predictions = random_histograms(8, 8, 32, seed=seed).astype(np.float32)
    found = minimize_energy(array_tiles(predictions), random_histograms(32, seed=50 + seed), weight)
    assert found.stopped == "converged"
    assert found.steps == len(found.energies) - 1 > 0
    assert (np.diff(found.energies) < 0).all()
    assert found.bias.mean() == pytest.approx(0, abs=1e-12)


def test_reasons_to_stop() -> None:
    tiles = array_tiles(random_histograms(4, 4, BINS))
    target = random_histograms(BINS, seed=1)
    limited = minimize_energy(tiles, target, max_steps=1)
    assert (limited.stopped, limited.steps) == ("step limit", 1)
    assert minimize_energy(tiles, target, tolerance=0).stopped == "no further decrease"


def test_without_weight_nothing_changes() -> None:
    predictions = random_histograms(4, 4, BINS)
    found = minimize_energy(array_tiles(predictions), random_histograms(BINS, seed=1), 0.0)
    assert (found.stopped, found.steps) == ("converged", 0)
    np.testing.assert_array_equal(found.bias, 0)
    assert apply_bias(predictions, found.bias) is predictions


def test_a_huge_weight_reaches_the_target() -> None:
    predictions = random_histograms(10, 10, BINS)
    target = random_histograms(BINS, seed=1)
    target[[0, 5]] = 0
    target /= target.sum()
    distances = [
        np.abs(minimize_energy(array_tiles(predictions), target, weight).source - target).max()
        for weight in (1.0, 1e2, 1e4, 1e6)
    ]
    assert distances == sorted(distances, reverse=True)
    # The remaining distance is of the order of 1 / weight.
    assert distances[-1] < 1e-5


def test_the_predictions_own_histogram_as_target_leaves_them_alone() -> None:
    predictions = random_histograms(4, 4, BINS)
    found = minimize_energy(array_tiles(predictions), predictions.mean(axis=(0, 1)))
    assert np.abs(found.bias).max() < 1e-9
    assert found.energies[-1] == pytest.approx(0, abs=1e-15)


def test_certain_predictions_stay() -> None:
    predictions = np.eye(BINS)[np.random.default_rng(0).integers(BINS, size=(4, 4))]
    target = random_histograms(BINS, seed=1)
    found = minimize_energy(array_tiles(predictions), target)
    assert found.stopped == "converged"
    np.testing.assert_array_equal(apply_bias(predictions, found.bias), predictions)


def test_bins_that_nobody_predicts_or_wants() -> None:
    predictions = np.zeros((2, 2, BINS))
    predictions[..., :3] = random_histograms(2, 2, 3)
    found = minimize_energy(array_tiles(predictions), np.eye(BINS)[6])
    assert found.stopped == "converged" and np.isfinite(found.bias).all()
    np.testing.assert_allclose(apply_bias(predictions, found.bias), predictions, atol=1e-3)


# ---- tiles and memory


def test_tiles_give_the_same_as_the_whole(tmp_path: Path) -> None:
    predictions = random_histograms(40, 700, BINS).astype(np.float32)
    target = random_histograms(BINS, seed=1)

    def whole() -> Iterator[tuple[slice, np.ndarray]]:
        yield slice(0, 40), predictions

    assert len(list(array_tiles(predictions)())) == 4
    np.save(tmp_path / "histograms.npy", predictions)
    mapped = np.load(tmp_path / "histograms.npy", mmap_mode="r")
    expected = minimize_energy(whole, target)
    for tiles in (array_tiles(predictions), array_tiles(mapped)):
        found = minimize_energy(tiles, target)
        assert found.steps == expected.steps
        # Sums of 28,000 terms in float64, in another order.
        np.testing.assert_allclose(found.bias, expected.bias, atol=1e-11)
        np.testing.assert_allclose(found.energies, expected.energies, rtol=1e-12)


def test_grid_tiles_are_the_enlarged_grid() -> None:
    grid = random_histograms(5, 6, BINS)
    sampler = GridSampler(grid, (50, 600), (0.1, 0.01))
    tiles = list(grid_tiles(sampler, (50, 600))())
    assert len(tiles) > 1
    np.testing.assert_array_equal(np.concatenate([tile for _, tile in tiles]), sampler.rows(0, 50))
    assert tiles[-1][0].stop == 50


MEMORY = """
import resource
import numpy as np
from autocolor.histograms.tiles import grid_tiles
from autocolor.control.energy import minimize_energy
from autocolor.histograms.upsampling import GridSampler

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

grid = np.random.default_rng(0).standard_gamma(0.5, size=(150, 200, 32), dtype=np.float32)
grid /= grid.sum(axis=-1, keepdims=True)
np.ones((64, 64)) @ np.ones((64, 64))  # so that BLAS has its buffers
before = peak()
tiles = grid_tiles(GridSampler(grid, (1500, 2000), (0.1, 0.1)), (1500, 2000))
found = minimize_energy(tiles, grid[0].mean(axis=0), max_steps=1)
print((peak() - before) / 1024, found.steps)
"""


@pytest.mark.slow
def test_memory_is_that_of_a_tile() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True
    )
    megabytes, steps = map(float, done.stdout.split())
    assert steps == 1
    # 3 million histograms are 384 MB; a few copies of a tile, 1 MB each in float32, are kept.
    assert megabytes < 20


# ---- errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.ones(BINS)}, "target: expected shape (K,) and sum 1"),
        ({"target": np.eye(BINS)[0] * np.nan}, "target: expected finite values"),
        ({"target": np.ones(4) / 4}, "target: expected shape (8,), got (4,)"),
        ({"weight": -1.0}, "weight: expected a finite number >= 0, got -1"),
        ({"weight": float("nan")}, "weight: expected a finite number"),
        ({"tiles": array_tiles(np.zeros((4, 4, BINS)))}, "got a row of zeros"),
        ({"tiles": array_tiles(-np.ones((4, 4, BINS)))}, "histograms: expected finite values"),
        ({"tiles": lambda: iter([])}, "tiles: expected at least one pixel"),
    ],
)
def test_wrong_arguments(change: dict, message: str) -> None:
    arguments = {
        "tiles": array_tiles(random_histograms(4, 4, BINS)),
        "target": random_histograms(BINS, seed=1),
    }
    with pytest.raises(ValueError, match=re.escape(message)):
        minimize_energy(**{**arguments, **change})


def test_wrong_biases() -> None:
    histograms = random_histograms(3, BINS)
    with pytest.raises(ValueError, match=r"bias: expected shape \(8,\), got \(4,\)"):
        apply_bias(histograms, np.zeros(4))
    with pytest.raises(ValueError, match="bias: expected finite values"):
        apply_bias(histograms, np.full(BINS, np.nan))
    with pytest.raises(ValueError, match="got a row of zeros"):
        apply_bias(np.zeros((2, BINS)), np.arange(8.0))
