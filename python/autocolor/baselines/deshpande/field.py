"""The quadratic objective of a whole photo's colour: its minimum, and that held to a known histogram."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy

from autocolor.baselines.cluster_correspondence import BANDWIDTH, Correspondence
from autocolor.baselines.deshpande.features import FilterPlane
from autocolor.core.arrays import Float32Array, FloatArray

RIDGE = 1e-5
"""Weight of the colours' own squares in the objective: a system without colour has grey as its minimum."""

_ITERATIONS = 30
_TOLERANCE = 1e-5
_DEVIATION = BANDWIDTH / 2
_OBJECTIVE_WEIGHT = 5.0  # beside the distance of the clusters
_DESCENTS = 9
_LONGEST = 0.1


class ColorField:
    """The colours x that minimise the sum over pixels of ``|A phi(x) - b|^2``, plus ``RIDGE |x|^2``.

    Parameters
    ----------
    plane : FilterPlane
        phi, the filters at the photo's size.
    a : (H, W, rows, R) float32 array
    b : (H, W, rows) float32 array
    """

    def __init__(self, plane: FilterPlane, a: FloatArray, b: FloatArray) -> None:
        self._plane = plane
        self._a = a
        self._b = b
        self._shape = (*b.shape[:2], 2)

    def project(self, field: FloatArray) -> Float32Array:
        """Return A phi of colours (H, W, 2): (H, W, rows)."""
        responses = self._plane.apply(field).reshape(*self._shape[:2], -1, 1)
        return np.asarray((self._a @ responses)[..., 0])

    def adjoint(self, values: FloatArray) -> Float32Array:
        """Return phi^T A^T of values (H, W, rows): (H, W, 2)."""
        responses = (values[..., None, :] @ self._a)[..., 0, :]
        return self._plane.adjoint(responses.reshape(*self._shape, -1))

    def objective(self, field: FloatArray) -> float:
        """Return the mean over pixels and rows of (A phi - b)^2."""
        return float(np.square(self.project(field) - self._b).mean(dtype=np.float64))

    def solve(self) -> Float32Array:
        """Return alpha and beta (H, W, 2) at the minimum, by at most 30 conjugate gradients."""

        def normal(values: FloatArray) -> FloatArray:
            field = values.reshape(self._shape)
            return (self.adjoint(self.project(field)) + RIDGE * field).ravel()

        size = int(np.prod(self._shape))
        system = scipy.sparse.linalg.LinearOperator((size, size), matvec=normal, dtype=np.float32)
        found, _ = scipy.sparse.linalg.cg(
            system, self.adjoint(self._b).ravel(), rtol=_TOLERANCE, maxiter=_ITERATIONS
        )
        return np.asarray(found, dtype=np.float32).reshape(self._shape)

    def correct(self, field: FloatArray, clusters: Correspondence) -> FloatArray:
        """Move colours towards clusters of a known histogram, as far as the objective lets them (C).

        Nine steps of descent, each with the best length up to 0.1, lessen the Bhattacharyya distance
        of the mixtures of Gaussians plus 5 times the objective.

        Parameters
        ----------
        field : (H, W, 2) float array
            Of :meth:`solve`.
        clusters : Correspondence
            From the histogram of `field` to the known one.
        """
        means: FloatArray = clusters.source
        weights: FloatArray = clusters.weights
        flat = field.reshape(-1, 2).astype(np.float64)
        projected = self.project(field).astype(np.float64)
        for _ in range(_DESCENTS):
            squares = np.square(flat[:, None] - means).sum(axis=2)
            bells = np.exp(-0.5 * squares / _DEVIATION**2) / (2 * np.pi * _DEVIATION)
            slope = bells @ (means - clusters.target) / (4 * _DEVIATION**2)
            pull = self.adjoint((projected - self._b).astype(np.float32))
            slope += 2 * _OBJECTIVE_WEIGHT * (pull.reshape(-1, 2) + RIDGE * flat)
            projected_slope = self.project(slope.reshape(self._shape)).astype(np.float64)
            rest = projected - self._b
            # The objective along the line is a parabola.
            curve = [
                float(np.mean(one)) for one in (rest**2, rest * projected_slope, projected_slope**2)
            ]
            step = _best_step(flat, slope, curve, means, weights, clusters.target)
            flat -= step * slope
            projected -= step * projected_slope
            _, means, weights = bhattacharyya(flat, means, weights, clusters.target)
        return flat.reshape(self._shape).astype(np.float32)


def _best_step(
    flat: FloatArray,
    slope: FloatArray,
    curve: Sequence[float],
    means: FloatArray,
    weights: FloatArray,
    target: FloatArray,
) -> float:
    """Return the length of least cost; `curve` are the parabola's constant, half slope and square."""

    def cost(step: float) -> float:
        distance = bhattacharyya(flat - step * slope, means, weights, target)[0]
        return distance + _OBJECTIVE_WEIGHT * (curve[0] - 2 * step * curve[1] + step**2 * curve[2])

    options = {"maxiter": 12}
    found = scipy.optimize.minimize_scalar(
        cost, bounds=(0, _LONGEST), method="bounded", options=options
    )
    return float(found.x)


def bhattacharyya(
    colors: FloatArray, means: FloatArray, weights: FloatArray, target: FloatArray
) -> tuple[float, FloatArray, FloatArray]:
    """Fit a mixture of Gaussians to colours by one step, and measure how far it is from another's means.

    Parameters
    ----------
    colors : (n, 2) float array
    means, weights : (k, 2) and (k,) float arrays
        From which the step starts.
    target : (k, 2) float array

    Returns
    -------
    distance : float
        ``|means - target|^2 / (8 sigma^2) - sum of log(weights) / 2``; the target's weights, which do not
        change, are left out.
    means, weights : (k, 2) and (k,) float arrays
        After the step.
    """
    squares = np.square(colors[:, None] - means).sum(axis=2)
    bells = weights * np.exp(-0.5 * squares / _DEVIATION**2)
    total = bells.sum(axis=1, keepdims=True)
    shares = bells / np.where(total > 0, total, 1)
    mass = np.maximum(shares.sum(axis=0), 1e-9)
    means, weights = shares.T @ colors / mass[:, None], mass / len(colors)
    away = np.square(means - target).sum() / (8 * _DEVIATION**2)
    return float(away - np.log(weights).sum() / 2), means, weights
