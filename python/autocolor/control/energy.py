"""Histogram transfer (section 3.4): bend predicted histograms towards a target histogram (Eq. 6).

With predictions y_n of N pixels, a target t and one bias for each bin, the posteriors are
p_n = softmax(log y_n + b), and b minimises

    E(b) = mean_n KL(p_n || y_n) + weight * D(m, t),    m = mean_n p_n.

D is the symmetric chi-square distance *with* the factor 1/2, D(m, t) = 1/2 sum (m - t)^2 / (m + t),
where bins empty in both count 0; it lies in [0, 1]. The paper does not say whether it has the 1/2.

Three facts make this fast and safe. First, p_n is y_n * exp(b), normalised, so that no logarithm of
a histogram is ever taken: bins predicted as 0 stay 0. Second, with g the gradient of D with respect
to m and v = b + weight * g, the exact gradient of E is A v, where A is the mean covariance matrix
of the posteriors. Third, E is convex in the posteriors themselves, and v = constant is its
condition for a minimum: the bias loses nothing against solving for all posteriors directly. The
descent goes along -v, which is minus the gradient in the metric A; along the plain gradient, a bin
moves only as fast as the mass that it holds already. As g lies in [-3/2, 1/2], b stays finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_array, check_same_shape
from autocolor.core.errors import InputError
from autocolor.histograms.tiles import Tiles

Float64Array = npt.NDArray[np.float64]

CHI_SQUARE_WEIGHT = 10.0
"""lambda of Eq. 6, which the paper does not give. Of 1, 3, 10, 30 and 100, it has the lowest
alpha-beta RMSE on the demo's 53 validation photos (``tools/paper/transfer_benchmark.py``): 0.415, 0.370,
0.354, 0.355 and 0.356."""

# exp(-600) times the smallest float32 is still a normal float64; a bias further below the largest
# one has no visible effect.
_BIAS_RANGE = 600.0
_ARMIJO = 1e-4
_HALVINGS = 20


@dataclass(frozen=True)
class Transfer:
    """What :func:`minimize_energy` found."""

    #: (K,) float64 array. b, for :func:`apply_bias`; its mean over the bins is 0.
    bias: Float64Array
    energies: tuple[float, ...]  #: E at b = 0 and after each step; never rises
    residual: float  #: How far b is from the condition for a minimum, in nats (root mean square)
    source: Float64Array  #: (K,) float64 array. m, the mean of the posteriors at `bias`; sums to 1.
    #: {"converged", "step limit", "no further decrease"}. The last means that rounding hides any
    #: further decrease of E.
    stopped: str

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self.energies) - 1


def apply_bias(histogram: FloatArray, bias: Float64Array) -> FloatArray:
    """Return softmax(log histogram + bias), the posterior of Eq. 6.

    Parameters
    ----------
    histogram : (..., K) float array
        Non-negative, each row with some mass.
    bias : (K,) float array

    Returns
    -------
    (..., K) array of the dtype of `histogram`; rows sum to 1, empty bins stay empty. If all biases
    are equal it is `histogram` itself, bit for bit.
    """
    check_array("histogram", histogram, low=0)
    _check_bins("bias", bias, histogram.shape[-1])
    if np.ptp(bias) == 0:
        return histogram
    weighted = histogram * np.exp(_limited(bias))
    total = weighted.sum(axis=-1, keepdims=True)
    _check_mass(total)
    weighted /= total
    return weighted.astype(histogram.dtype, copy=False)


def chi_square(first: FloatArray, second: FloatArray) -> float:
    """Return 1/2 sum (first - second)^2 / (first + second) of two (K,) histograms, in [0, 1]."""
    total = first + second
    square = np.square(first - second)
    return float(np.divide(square, total, out=np.zeros_like(square), where=total > 0).sum() / 2)


def _chi_square_gradient(first: Float64Array, second: Float64Array) -> Float64Array:
    """Return the gradient of :func:`chi_square` with respect to `first`."""
    total = first + second
    full = total > 0
    ratio = np.divide(first - second, total, out=np.zeros_like(first), where=full)
    # r(2 - r)/2 with r = (m - t)/(m + t).
    gradient: Float64Array = ratio * (2 - ratio) / 2
    return gradient


def minimize_energy(
    tiles: Tiles,
    target: Float64Array,
    weight: float = CHI_SQUARE_WEIGHT,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 100,
) -> Transfer:
    """Find the bias that minimises the energy of Eq. 6; once for each marginal histogram.

    Descent with backtracking: each step lowers E by at least 1e-4 of what its slope promises. Sums
    are float64; the memory is that of one tile. A step reads all tiles twice or more.

    Parameters
    ----------
    tiles : callable
        See :mod:`autocolor.histograms.tiles`.
    target : (K,) float array
        t: non-negative, sums to 1.
    weight : float, >= 0
        lambda.
    tolerance : float
        Converged when `Transfer.residual` is at most this, in nats. As the minimum is well
        conditioned, the bias is then about as close to it.
    max_steps : int

    Returns
    -------
    Transfer
    """
    problem = _Problem(tiles, target, weight)
    point = problem.evaluate(np.zeros(len(target)))
    energies = [point.energy]
    # The Hessian in the metric A is I + weight * H A with H = D'', whose largest entry times m is
    # max_r 4 r / (1 + r)^3 = 16/27, at m = t/2: this first step never overshoots by much.
    length = 1 / (1 + 16 / 27 * weight)
    while True:
        slope = float(point.direction @ problem.gradient(point))
        residual = float(np.sqrt(max(0.0, -slope)))
        if residual <= tolerance:
            stopped = "converged"
            break
        if len(energies) > max_steps:
            stopped = "step limit"
            break
        lower = _backtrack(problem, point, length, slope)
        if lower is None:
            stopped = "no further decrease"
            break
        length = _next_length(point, lower, length)
        point = lower
        energies.append(point.energy)
    bias = point.bias - point.bias.mean()
    return Transfer(bias, tuple(energies), residual, point.mean, stopped)


@dataclass(frozen=True)
class _Point:
    """A bias with its energy, the mean posterior m and -v, centred (see the module's text)."""

    bias: Float64Array
    energy: float
    mean: Float64Array
    direction: Float64Array


class _Problem:
    """Eq. 6 for given predictions and a given target."""

    def __init__(self, tiles: Tiles, target: Float64Array, weight: float) -> None:
        check_array("target", target, low=0)
        if target.ndim != 1 or not np.isclose(target.sum(dtype=np.float64), 1, atol=1e-4):
            raise InputError(
                "target", f"expected shape (K,) and sum 1, got {target.shape}, {target.sum():g}"
            )
        if not 0 <= weight < np.inf:
            raise InputError("weight", f"expected a finite number >= 0, got {weight}")
        self._tiles = tiles
        self._target = np.asarray(target, np.float64)
        self._weight = weight

    def _chunks(self) -> Iterator[Float64Array]:
        """Yield the histograms as (n, K) float64 arrays."""
        for _, tile in self._tiles():
            check_array("histograms", tile, low=0)
            _check_bins("target", self._target, tile.shape[-1])
            yield tile.reshape(-1, tile.shape[-1]).astype(np.float64)

    def evaluate(self, bias: Float64Array) -> _Point:
        _check_bins("bias", bias, len(self._target))
        bias = _limited(bias)
        factors = np.exp(bias)
        basis = np.stack([np.ones_like(factors), factors], axis=-1)
        pixels, log_mass = 0, 0.0
        columns = np.zeros_like(factors)
        for histograms in self._chunks():
            row_sums, totals = (histograms @ basis).T
            _check_mass(row_sums)
            pixels += len(totals)
            # KL(p || y) = <p, b> - log(total / row sum), as p = y exp(b) / total.
            log_mass += np.log(totals / row_sums).sum()
            columns += (1 / totals) @ histograms
        if not pixels:
            raise InputError("tiles", "expected at least one pixel, got none")
        mean = factors * columns / pixels
        value = mean @ bias - log_mass / pixels + self._weight * chi_square(mean, self._target)
        toward = -(bias + self._weight * _chi_square_gradient(mean, self._target))
        return _Point(bias, float(value), mean, toward - mean @ toward)

    def gradient(self, point: _Point) -> Float64Array:
        """Return A v: mean_n of p_n (v - <p_n, v>), with v = -direction."""
        factors = np.exp(point.bias)
        basis = np.stack([factors, factors * -point.direction], axis=-1)
        pixels = 0
        columns = np.zeros_like(factors)
        for histograms in self._chunks():
            totals, projected = (histograms @ basis).T
            pixels += len(totals)
            # Not over the square of the totals, which may underflow.
            columns += (projected / totals / totals) @ histograms
        gradient: Float64Array = point.mean * -point.direction - factors * columns / pixels
        return gradient


def _backtrack(problem: _Problem, point: _Point, length: float, slope: float) -> _Point | None:
    """Return the first sufficiently lower point along the direction, halving the step."""
    for _ in range(_HALVINGS):
        trial = problem.evaluate(point.bias + length * point.direction)
        promised = point.energy + _ARMIJO * length * slope
        # Where rounding swallows the slope, equal energies are no decrease.
        if trial.energy <= promised and trial.energy < point.energy:
            return trial
        length /= 2
    return None


def _next_length(old: _Point, new: _Point, length: float) -> float:
    """Return Barzilai and Borwein's step length, in the inner product weighted by m."""
    moved = new.bias - old.bias
    moved = moved - new.mean @ moved
    changed = old.direction - new.direction
    changed = changed - new.mean @ changed
    curvature = new.mean @ (moved * changed)
    return float(new.mean @ np.square(moved) / curvature) if curvature > 0 else length


def _limited(bias: Float64Array) -> Float64Array:
    limited: Float64Array = np.maximum(bias - bias.max(), -_BIAS_RANGE)
    return limited


def _check_bins(name: str, vector: FloatArray, bins: int) -> None:
    check_array(name, vector)
    check_same_shape(name, vector, (bins,))


def _check_mass(row_sums: FloatArray) -> None:
    if not (row_sums > 0).all():
        raise InputError("histograms", "expected mass in each row, got a row of zeros")
