"""The forest that gives each pixel its part of the quadratic objective, and how it learns.

With phi the responses of the filters of colour at a pixel, its part is ``|A phi - b|^2``. A leaf has a part
of the matrix A, whose rows are kept orthonormal, and of the linear map B from the pixel's features to
b. The release learns by a cost with a margin w, ``(1 + w)/2 |g|^2 - g.b + |b - w g|^2 / (2 (1 - w))`` with
g = A phi of the truth. That equals ``|b - g|^2 / (2 (1 - w))``, so w does not matter: here it is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.progress import tqdm

FIXED_ROWS = 2
"""Rows of A that never change: alpha and beta of the pixel itself."""

_RANGE = 25  # of a split feature, in units of half the width within which a split is soft
_HALVINGS = 20
_COMPONENTS = 60  # of the gradients, by which a split is judged


@dataclass(frozen=True)
class ForestOptions:
    """How a forest learns."""

    rows: int = 12  #: Of A
    stumps: int = 7  #: Trees of one leaf, which come first; the last tree has more
    pixels: int = 10_000  #: That a tree learns from
    steps: int = 5  #: Of the gradient, for each leaf
    least_leaf: int = 110  #: Pixels in a leaf
    #: Random directions among the split features, and how many of them a node tries
    directions: int = 240
    tried: int = 15


class Samples(NamedTuple):
    """Pixels to learn from: split features (n, S), features (n, F), responses of filters (n, R)."""

    split: Float32Array
    features: Float32Array
    responses: Float32Array

    def draw(self, count: int, rng: np.random.Generator) -> Samples:
        """Return `count` of the pixels, or all."""
        chosen = rng.permutation(len(self.split))[:count]
        return Samples(*(values[chosen] for values in self))


@dataclass(frozen=True)
class Forest:
    """What was learnt: the stumps, which are the same in all pixels, and a tree with soft splits."""

    a: Float32Array  #: (rows, R) float32 array. Of the stumps, with orthonormal rows.
    b: Float32Array  #: (rows, F + 1) float32 array. Likewise; the last column is of a constant.
    #: (nodes, S) and (nodes,) float32 arrays
    directions: Float32Array
    thresholds: Float32Array
    #: (nodes, 2) int array. Below and above the threshold; -1 at leaves.
    children: npt.NDArray[np.int64]
    #: (nodes, rows, R) and (nodes, rows, F + 1) float32 arrays. What a leaf adds; 0 at other nodes.
    leaf_a: Float32Array
    leaf_b: Float32Array

    def leaves(self, split: FloatArray) -> Iterator[tuple[int, npt.NDArray[np.intp], Float32Array]]:
        """Yield each leaf, the pixels of (n, S) that have a part in it, and their weights there.

        A split gives the share (2 + 3 u - u^3) / 4 of a pixel's weight to the side above, u being the
        distance from the threshold, held in [-1, 1].
        """
        stack = [(0, np.arange(len(split)), np.ones(len(split), np.float32))]
        while stack:
            node, pixels, weights = stack.pop()
            if self.children[node, 0] < 0:
                yield node, pixels, weights
                continue
            distance = split[pixels] @ self.directions[node] - self.thresholds[node]
            distance = np.clip(distance, -1, 1)
            above = weights * (0.5 + 0.75 * distance - 0.25 * distance**3)
            for child, part in zip(self.children[node], (weights - above, above), strict=True):
                stack.append((int(child), pixels[part > 0], part[part > 0]))

    def evaluate(
        self, split: FloatArray, features: FloatArray
    ) -> tuple[Float32Array, Float32Array]:
        """Return A (n, rows, R) and b (n, rows) of pixels with features (n, S) and (n, F)."""
        described = with_constant(features)
        a, b = np.repeat(self.a[None], len(split), axis=0), described @ self.b.T
        for leaf, pixels, weights in self.leaves(split):
            a[pixels] += weights[:, None, None] * self.leaf_a[leaf]
            b[pixels] += weights[:, None] * (described[pixels] @ self.leaf_b[leaf].T)
        return orthonormalize(a), b


def with_constant(features: FloatArray) -> Float32Array:
    """Return (n, F + 1) features, the last of which is 1."""
    return np.pad(features, ((0, 0), (0, 1)), constant_values=1)


def orthonormalize(a: FloatArray) -> FloatArray:
    """Make the rows of matrices (..., rows, R) orthonormal, as Gram and Schmidt do from the first on."""
    # A A^T = L L^T, and L^-1 A is what they find; NumPy solves small systems slower than it inverts them.
    return np.asarray(np.linalg.inv(np.linalg.cholesky(a @ np.swapaxes(a, -1, -2))) @ a)


def gradient_of_a(
    a: FloatArray, residual: FloatArray, responses: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the gradient (rows, R) of the sum over pixels of ``|b - orthonormalize(A + w D) phi|^2 / 2``.

    By D at D = 0. Its first `FIXED_ROWS` rows are set to 0.

    Parameters
    ----------
    a : (n or 1, rows, R) float array
        A, with orthonormal rows; one for all pixels or one for each.
    residual, responses, weights : (n, rows), (n, R), (n,) float arrays
        b - A phi, phi and w.
    """
    found = _project(a, responses)
    inverse = np.einsum("nij,ni->nj", np.broadcast_to(a, (len(found), *a.shape[1:])), found)
    weighted = weights[:, None] * residual
    # Within the span of A's rows a row can only turn against later ones, which give way to it.
    turn = np.einsum("ni,nj->nij", found, weighted)
    turn = np.triu(turn - np.swapaxes(turn, 1, 2), 1)
    turn = turn.sum(axis=0, keepdims=True) if len(a) == 1 else turn
    inside = np.tensordot(turn, a, axes=([0, 2], [0, 1]))
    gradient = inside - weighted.T @ (responses - inverse)
    gradient[:FIXED_ROWS] = 0
    return np.asarray(gradient)


def _project(a: FloatArray, responses: FloatArray) -> FloatArray:
    if len(a) == 1:
        return np.asarray(responses @ a[0].T)
    return np.asarray((a @ responses[..., None])[..., 0])


def _improve(
    a: FloatArray, b: FloatArray, described: FloatArray, responses: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Take a step for a leaf; return A and b of its pixels after it, and what is added to the leaf."""
    residual = b - _project(a, responses)
    to_a = -gradient_of_a(a, residual, responses, weights) / len(b)
    to_b = -(weights[:, None] * residual).T @ described / len(b)
    own = weights[: len(a), None, None]
    moves = weights[:, None] * (described @ to_b.T)
    # Start with the length that is best while the rows stay nearly orthonormal; then shorter ones.
    change = moves - weights[:, None] * (responses @ to_a.T)
    step = -float(np.vdot(residual, change)) / max(float(np.vdot(change, change)), 1e-12)
    for _ in range(_HALVINGS):
        new_a, new_b = orthonormalize(a + step * own * to_a), b + step * moves
        if np.square(new_b - _project(new_a, responses)).sum() < np.square(residual).sum():
            return new_a, new_b, step * to_a, step * to_b
        step /= 2
    return a, b, 0 * to_a, 0 * to_b


def train_forest(
    samples: Samples,
    first_b: FloatArray,
    rng: np.random.Generator,
    options: ForestOptions = ForestOptions(),
    *,
    progress: bool = False,
) -> Forest:
    """Learn a forest by gradient boosting.

    It starts with the b of `first_b` (rows, F + 1), and with rows of A after the fixed ones that are
    random. The fixed ones choose the first of the responses of alpha and of beta.
    """
    half = samples.responses.shape[1] // 2
    a: FloatArray = rng.normal(size=(1, options.rows, 2 * half))
    a[0, :FIXED_ROWS] = 0
    a[0, 0, 0] = a[0, 1, half] = 1
    a, stem = orthonormalize(a), np.asarray(first_b, dtype=np.float64)
    bar = tqdm(total=options.stumps + 1, desc="learning", unit="tree", disable=not progress)
    with bar:
        for _ in range(options.stumps):
            _, features, responses = samples.draw(options.pixels, rng)
            described = with_constant(features).astype(np.float64)
            b: FloatArray = described @ stem.T
            weights = np.ones(len(described))
            for _ in range(options.steps):
                a, b, _, added = _improve(a, b, described, responses.astype(np.float64), weights)
                stem = stem + added
            bar.update()
        drawn = samples.draw(options.pixels, rng)
        forest = _grow(a[0].astype(np.float32), stem.astype(np.float32), drawn, rng, options)
        _teach(forest, drawn, options.steps)
        bar.update()
    return forest


def _grow(
    a: Float32Array,
    b: Float32Array,
    drawn: Samples,
    rng: np.random.Generator,
    options: ForestOptions,
) -> Forest:
    """Split pixels into leaves in which the gradients of A and B are alike; the leaves are empty yet.

    A split is of a random direction among the features, one that a few of them dominate.
    """
    # Takes a second, and who has a forest grows none.
    from sklearn.tree import DecisionTreeRegressor
    from sklearn.utils.extmath import randomized_svd

    described = with_constant(drawn.features)
    residual = described @ b.T - drawn.responses @ a.T
    gradients = np.concatenate(
        [
            np.einsum("ni,nj->nij", residual, values).reshape(len(residual), -1)
            for values in (-drawn.responses, described)
        ],
        axis=1,
    )
    gradients -= gradients.mean(axis=0)
    seed = int(rng.integers(2**31))
    # Their squared distances are those of thousands of numbers: of their principal components, nearly.
    components = min(_COMPONENTS, *gradients.shape)
    found, lengths, _ = randomized_svd(gradients, components, n_iter=2, random_state=seed)
    spans = np.ptp(drawn.split, axis=0)
    draws = rng.normal(size=(options.directions, len(spans)))
    directions = draws * np.exp(1.5 * draws)
    directions /= np.abs(directions).sum(axis=1, keepdims=True) * np.where(spans > 0, spans, 1)
    directions = (_RANGE * directions).astype(np.float32)
    grown = DecisionTreeRegressor(
        min_samples_leaf=options.least_leaf,
        max_features=min(options.tried, options.directions),
        random_state=seed,
    )
    grown.fit(drawn.split @ directions.T, found * lengths)
    tree = grown.tree_
    return Forest(
        a,
        b,
        directions[np.maximum(tree.feature, 0)],
        tree.threshold.astype(np.float32),
        np.stack([tree.children_left, tree.children_right], axis=1).astype(np.int64),
        np.zeros((tree.node_count, *a.shape), np.float32),
        np.zeros((tree.node_count, *b.shape), np.float32),
    )


def _teach(forest: Forest, drawn: Samples, steps: int) -> None:
    """Let the leaves learn, one after the other, `steps` times."""
    described = with_constant(drawn.features)
    a, b = forest.evaluate(drawn.split, drawn.features)
    leaves = list(forest.leaves(drawn.split))
    for _ in range(steps):
        for leaf, pixels, weights in leaves:
            a[pixels], b[pixels], added_a, added_b = _improve(
                a[pixels], b[pixels], described[pixels], drawn.responses[pixels], weights
            )
            forest.leaf_a[leaf] += added_a
            forest.leaf_b[leaf] += added_b
