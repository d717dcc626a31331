"""Matching a known histogram of colours cluster by cluster: method (C) of Table 4.

After the histogram correction of Deshpande et al., as their release does it (`histopt/`): clusters of
the known histogram are sought again among the colours of the automatic result, and those move to
these. Known of the truth is its joint histogram of alpha and beta, not where its colours are.

References
----------
Deshpande, Rock, Forsyth: Learning large-scale automatic image colorization. ICCV 2015.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autocolor.core.arrays import FloatArray, check_array, check_same_shape
from autocolor.core.errors import InputError
from autocolor.imaging.color import compose_alpha_beta, lightness, rgb_to_alpha_beta

BIN_WIDTH = 0.05
"""Of the histogram, along alpha and beta."""

BANDWIDTH = 0.3
"""Of the mean shift; half of it is the deviation of the Gaussians and the radius of merging."""

_DEVIATION = BANDWIDTH / 2

_LIMIT = 3  # alpha and beta lie in [-3, 3]
_BINS = round(2 * _LIMIT / BIN_WIDTH) + 1
# The release asks for more than 1000 pixels of a cluster of the truth and 25 of a corresponding one.
# As shares of an image of 256 x 256 they do not depend on the photo's size.
_TARGET_SHARE = 1000 / 256**2
_SOURCE_SHARE = 25 / 256**2
_MAXIMUM_STEPS = 1000
_SHIFT_TOLERANCE = 1e-3  # of the bandwidth
_FIT_TOLERANCE = 1e-3  # of the release's measure of a mixture
_TILE_PIXELS = 2**16

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Correspondence:
    """Clusters of a source's colours and where they go."""

    #: (n, 2) float64 arrays. Means in alpha and beta.
    source: Points
    target: Points
    weights: Points  #: (n,) float64 array, of the source's clusters, of sum 1.

    def move(self, colors: FloatArray) -> FloatArray:
        """Move (..., 2) colours as far as the clusters that they belong to do.

        A colour's shares in the clusters are those of Gaussians of deviation `BANDWIDTH` / 2.
        """
        flat = colors.reshape(-1, 2)
        shift = (self.target - self.source).astype(colors.dtype)
        moved = np.empty_like(flat)
        for start in range(0, len(flat), _TILE_PIXELS):
            tile = flat[start : start + _TILE_PIXELS]
            shares = _responsibilities(tile.astype(np.float64), self.source, self.weights)
            moved[start : start + _TILE_PIXELS] = tile + shares.astype(colors.dtype) @ shift
        return moved.reshape(colors.shape)


def alpha_beta_histogram(rgb: FloatArray) -> npt.NDArray[np.float64]:
    """Return the joint histogram (121, 121) of alpha and beta, of sum 1, of RGB (..., 3) in [0, 1].

    Bin (i, j) is centred at alpha = 0.05 i - 3, beta = 0.05 j - 3, so grey lies at a centre.
    """
    if rgb.size == 0:
        raise InputError("rgb", "expected at least one pixel, got none")
    colors = rgb_to_alpha_beta(rgb).reshape(-1, 2).astype(np.float64)
    index = np.clip(np.rint((colors + _LIMIT) / BIN_WIDTH), 0, _BINS - 1).astype(np.intp)
    counts = np.bincount(index[:, 0] * _BINS + index[:, 1], minlength=_BINS**2)
    return (counts / len(colors)).reshape(_BINS, _BINS)


def correspond(source: FloatArray, target: FloatArray) -> Correspondence:
    """Find the clusters of a histogram of :func:`alpha_beta_histogram` that correspond to another's.

    1. Mean shift with a Gaussian kernel finds the modes of `target`; bins belong to the mode whose
       ascent passed them with most weight. Modes of too few pixels are dropped, but for the largest.
    2. A mixture of Gaussians of fixed deviation, started at the modes, gives the target's means.
    3. For each mode the mean shift climbs through `source`, from the occupied bin nearest to the
       mode and no farther from the mode than half the bandwidth. Modes that find too few pixels
       there are dropped.
    4. A mixture started at the places reached gives the source's means.
    """
    points, mass = _occupied("source", source)
    known, known_mass = _occupied("target", target)
    modes = _find_modes(known, known_mass)
    means, _ = _fit_mixture(known, known_mass, modes)

    nearest = [points[np.square(points - mode).sum(axis=1).argmin()] for mode in modes]
    climbs = [_climb(points, mass, *pair) for pair in zip(nearest, modes, strict=True)]
    members = _strongest(np.stack([votes for _, votes in climbs]))
    found = np.array([mass[members == index].sum() for index in range(len(modes))])
    valid = found > min(_SOURCE_SHARE, found.max() / 2)  # the largest stays in any case
    places = np.stack([place for place, _ in climbs])[valid]
    taken = np.isin(members, np.flatnonzero(valid))
    source_means, weights = _fit_mixture(points[taken], mass[taken], places)
    return Correspondence(source_means, means[valid], weights)


def transfer_clusters(source: FloatArray, target: FloatArray) -> FloatArray:
    """Recolour an image by the correspondence of clusters of colour.

    Parameters
    ----------
    source : (H, W, 3) float array, RGB in [0, 1]
        The automatic result.
    target : (H', W', 3) float array, RGB in [0, 1], or (121, 121) float array
        The truth, of which the histogram alone is used, or that histogram itself.

    Returns
    -------
    (H, W, 3) array in [0, 1], of the dtype and lightness of `source`.
    """
    histogram = target if target.ndim == 2 else alpha_beta_histogram(target)
    correspondence = correspond(alpha_beta_histogram(source), histogram)
    moved = correspondence.move(rgb_to_alpha_beta(source))
    return compose_alpha_beta(moved, np.clip(lightness(source), 0, 1))


def _occupied(name: str, histogram: FloatArray) -> tuple[Points, Points]:
    """Return the centres (n, 2) and the masses (n,), of sum 1, of the bins that have any."""
    check_array(name, histogram, low=0)
    check_same_shape(name, histogram, (_BINS, _BINS))
    index = np.argwhere(histogram > 0)
    if not len(index):
        raise InputError(name, "expected a histogram with some mass, got none")
    mass: Points = histogram[index[:, 0], index[:, 1]].astype(np.float64)
    points: Points = index.astype(np.float64) * BIN_WIDTH - _LIMIT
    return points, np.asarray(mass / mass.sum())


def _climb(
    points: Points, mass: Points, place: Points, tether: Points | None = None
) -> tuple[Points, Points]:
    """Climb to a mode by mean shift; also return each point's votes, what weight it had on the way.

    With a `tether` the climb ends where it would lead farther than BANDWIDTH / 2 from that.
    """
    votes = np.zeros(len(points))
    for _ in range(_MAXIMUM_STEPS):
        squares = np.square(points - place).sum(axis=1)
        kernel = np.where(squares < BANDWIDTH**2, np.exp(-0.5 * squares / BANDWIDTH**2), 0)
        votes += kernel
        previous, place = place, (kernel * mass) @ points / (kernel @ mass)
        if np.linalg.norm(place - previous) < _SHIFT_TOLERANCE * BANDWIDTH:
            break
        if tether is not None and np.linalg.norm(place - tether) > BANDWIDTH / 2:
            break
    return np.asarray(place, dtype=np.float64), votes


def _strongest(votes: Points) -> npt.NDArray[np.intp]:
    """Return for each point the row of most votes, -1 where there is none; votes is (rows, n)."""
    return np.where(votes.max(axis=0) > 0, votes.argmax(axis=0), -1)


def _find_modes(points: Points, mass: Points) -> Points:
    """Return the modes of enough mass, the heaviest first, (n, 2)."""
    modes: list[Points] = []
    votes: list[Points] = []
    remaining = mass.copy()
    while remaining.any():
        place, ascent = _climb(points, mass, points[remaining.argmax()])
        remaining[ascent > 0] = 0
        distances = [float(np.linalg.norm(place - mode)) for mode in modes]
        if distances and min(distances) < BANDWIDTH / 2:
            same = int(np.argmin(distances))
            modes[same] = (modes[same] + place) / 2
            votes[same] += ascent
        else:
            modes.append(place)
            votes.append(ascent)
    members = _strongest(np.stack(votes))
    shares = np.array([mass[members == index].sum() for index in range(len(modes))])
    order = np.argsort(-shares, kind="stable")
    kept = [index for index in order if shares[index] > _TARGET_SHARE] or [order[0]]
    return np.stack([modes[index] for index in kept])


def _responsibilities(points: Points, means: Points, weights: Points) -> Points:
    """Return the shares (n, k) of Gaussians in points."""
    squares = np.square(points[:, None] - means).sum(axis=2)
    with np.errstate(divide="ignore"):
        logarithms = np.log(weights) - 0.5 * squares / _DEVIATION**2
    return np.asarray(scipy.special.softmax(logarithms, axis=1))


def _fit_mixture(points: Points, mass: Points, means: Points) -> tuple[Points, Points]:
    """Fit Gaussians of deviation BANDWIDTH / 2 by EM: return means (k, 2) and weights (k,).

    It stops early, where the release does: means are to stay near the modes that correspond. The
    likeliest mixture may leave one of them for a place of its own, which corresponds to nothing.
    """
    weights = np.full(len(means), 1 / len(means))
    mass = mass / mass.sum()
    centre = mass @ points
    variance = mass @ np.square(points - centre).sum(axis=1)

    def measure() -> float:
        away = np.square(means - centre).sum(axis=1) + variance
        return float(-np.log(2 * np.pi * _DEVIATION**2) - weights @ away / (2 * _DEVIATION**2))

    found = measure()
    for _ in range(_MAXIMUM_STEPS):
        weighted = _responsibilities(points, means, weights) * mass[:, None]
        total = weighted.sum(axis=0)
        present = total > 0
        means = np.where(
            present[:, None], weighted.T @ points / np.where(present, total, 1)[:, None], means
        )
        weights = total / total.sum()
        previous, found = found, measure()
        if abs(found - previous) <= _FIT_TOLERANCE * abs(previous):
            break
    return means, weights
