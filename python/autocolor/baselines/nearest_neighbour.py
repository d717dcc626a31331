"""Colours of the most similar places of reference photos, and a coherent choice among them.

Like Charpiat et al., each place gets a distribution with several modes, estimated from references,
and the colour is chosen with its neighbourhood in mind; unlike theirs, places are described by a
convolutional network, the references are chosen automatically, and the choice is the mode of a
density that neighbours share, where theirs is a graph cut.

References
----------
Charpiat, Hofmann, Schölkopf: Automatic image colorization via multimodal predictions. ECCV 2008.
Comaniciu, Meer: Mean shift: a robust approach toward feature space analysis. PAMI 24(5), 2002.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autocolor.baselines.descriptors import (
    FeatureExtractor,
    Fitted,
    cell_means,
    photo_descriptor,
    place_descriptors,
    principal_components,
)
from autocolor.baselines.references import References, working_image
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.imaging.color import compose_lab, lightness, rgb_to_lab
from autocolor.imaging.joint_bilateral import joint_bilateral_upsample

LEVELS = ("conv3_3", "conv4_3", "conv5_3")
"""That describe a place, on the grid of the second one: every 8 pixels."""

_GRID_LEVEL = "conv4_3"
_PHOTO_LEVEL = "conv5_3"
_DIMENSIONS = 64
_FIT_PHOTOS = 64
_FIT_PLACES = 256  # of each photo

_PHOTOS = 32
_NEIGHBOURS = 32
# Votes fall with the squared distance beyond the nearest's, in units of this share of the mean.
_VOTE_SHARE = 0.5
COLOR_BANDWIDTH = 25.0
"""Deviation of the Gaussians of the density of a and b; chosen on validation photos."""

_NEIGHBOURHOOD = 2  # radius, in cells, within which votes are shared
_SIGMA_SPACE = 1.0  # cells
_SIGMA_RANGE = 0.1  # lightness
_MODE_STEPS = 20
_BIN_WIDTH = 8.0
_AXIS = np.arange(-104.0, 104.1, _BIN_WIDTH)

COLOR_CENTERS = (
    np.stack(np.meshgrid(_AXIS, _AXIS, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
)
"""Centres (K, 2) of the bins of a and b; index bin of a * 27 + bin of b."""


@dataclass(frozen=True)
class ReferenceBank(Fitted):
    """What is known of the references."""

    photos: Float32Array  #: (n, C) float32 array. Descriptors of photos.
    #: (n + 1,) int array. Photo i has places starts[i] to starts[i + 1] - 1.
    starts: npt.NDArray[np.int64]
    places: Float32Array  #: (m, d) float32 array. Projected descriptors.
    colors: Float32Array  #: (m, 2) float32 array. Mean a and b of each place.


def build_bank(
    references: References,
    backbone: FeatureExtractor,
    rng: np.random.Generator,
    *,
    progress: bool = False,
) -> ReferenceBank:
    """Describe all references, of which some also fit the projection.

    Parameters
    ----------
    references : References
    backbone : FeatureExtractor
        With `LEVELS`.
    rng : numpy.random.Generator
        Draws the places that the projection is fitted to.
    progress : bool
        Show progress bars on stderr.
    """
    projection = principal_components(_samples(references, backbone, rng, progress), _DIMENSIONS)
    photos, places, colors = [], [], []
    for _, rgb in references.images(progress, "describing references"):
        photo, described = _describe(backbone, lightness(rgb))
        photos.append(photo)
        places.append(projection(described).reshape(-1, _DIMENSIONS))
        means = cell_means(rgb_to_lab(rgb)[..., 1:], described.shape[:2])
        colors.append(means.reshape(-1, 2).astype(np.float32))
    starts = np.cumsum([0, *(len(part) for part in places)])
    return ReferenceBank(
        projection, np.stack(photos), starts, np.concatenate(places), np.concatenate(colors)
    )


def _describe(backbone: FeatureExtractor, light: FloatArray) -> tuple[Float32Array, Float32Array]:
    """Return the descriptors of a photo and of its places."""
    features = backbone.features(light)
    _, height, width = features[_GRID_LEVEL].shape
    places = place_descriptors(features, LEVELS, (height, width))
    return photo_descriptor(features, _PHOTO_LEVEL), places


def _samples(
    references: References, backbone: FeatureExtractor, rng: np.random.Generator, progress: bool
) -> Iterator[Float32Array]:
    for _, rgb in references.spread(_FIT_PHOTOS).images(progress, "fitting descriptors"):
        _, places = _describe(backbone, lightness(rgb))
        flat = places.reshape(-1, places.shape[-1])
        yield flat[rng.permutation(len(flat))[:_FIT_PLACES]]


class NearestNeighbour:
    """Colorizes photos with the colours of similar places.

    Parameters
    ----------
    bank : ReferenceBank
    backbone : FeatureExtractor
        That the bank was built with.
    bandwidth : float
        Of the density of a and b. The larger, the nearer the mode is to the mean.
    """

    def __init__(
        self, bank: ReferenceBank, backbone: FeatureExtractor, *, bandwidth: float = COLOR_BANDWIDTH
    ) -> None:
        self._bank = bank
        self._backbone = backbone
        self._bandwidth = bandwidth

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        light = lightness.astype(np.float32, copy=False)
        small = working_image(light)
        photo, described = _describe(self._backbone, small)
        size = described.shape[:2]
        places = self._bank.projection(described).reshape(-1, _DIMENSIONS)
        colors, weights = self.votes(photo, places)
        guide = cell_means(small[..., None], size)[..., 0]
        histograms = vote_histograms(colors, weights).reshape(*size, -1)
        chosen = choose_colors(histograms, guide, self._bandwidth)
        return compose_lab(joint_bilateral_upsample(chosen, guide, light), light)

    def votes(self, photo: FloatArray, places: FloatArray) -> tuple[Float32Array, Float32Array]:
        """Return the colours (n, k, 2) of the most similar places and their weights (n, k), of sum 1.

        Neighbours are exact, among the places of the references most similar as a whole.
        """
        bank = self._bank
        similar = np.argsort(-(bank.photos @ photo), kind="stable")[:_PHOTOS]
        index = np.concatenate([np.arange(bank.starts[i], bank.starts[i + 1]) for i in similar])
        squares, nearest = nearest_places(places, bank.places[index], _NEIGHBOURS)
        scale = _VOTE_SHARE * squares.mean(axis=1, keepdims=True)
        excess = squares - squares.min(axis=1, keepdims=True)
        weights = np.exp(-excess / np.where(scale > 0, scale, 1))
        weights /= weights.sum(axis=1, keepdims=True)
        return bank.colors[index][nearest], weights


def nearest_places(
    asked: FloatArray, known: FloatArray, neighbours: int
) -> tuple[Float32Array, npt.NDArray[np.intp]]:
    """Find the nearest of `known` (m, d) to each of `asked` (n, d), exactly, in no order.

    Returns squared distances and indices, (n, k); k is `neighbours`, or m if that is less.
    """
    squares: FloatArray = asked @ known.T
    squares *= -2
    squares += np.square(known).sum(axis=1)
    squares += np.square(asked).sum(axis=1)[:, None]
    np.maximum(squares, 0, out=squares)
    count = min(neighbours, len(known))
    index = np.argpartition(squares, count - 1, axis=1)[:, :count]
    return np.asarray(np.take_along_axis(squares, index, axis=1), dtype=np.float32), index


def vote_histograms(colors: FloatArray, weights: FloatArray) -> Float32Array:
    """Return the histograms (n, K) of votes, of a and b (n, k, 2) and weights (n, k).

    The K bins are those of `COLOR_CENTERS`. A vote is split among the four around it, bilinearly, so
    a histogram has the mean of its votes. What lies outside the bins goes to the outermost ones.
    """
    bins = len(_AXIS)
    place = np.clip((colors.astype(np.float64) - _AXIS[0]) / _BIN_WIDTH, 0, bins - 1)
    lower = np.minimum(place.astype(np.intp), bins - 2)
    upper_share = place - lower
    shares = (1 - upper_share, upper_share)
    row = np.arange(len(colors))[:, None] * bins**2
    histograms = np.zeros(len(colors) * bins**2)
    for step_a, share_a in enumerate(shares):
        for step_b, share_b in enumerate(shares):
            index = row + (lower[..., 0] + step_a) * bins + lower[..., 1] + step_b
            mass = weights * share_a[..., 0] * share_b[..., 1]
            histograms += np.bincount(index.ravel(), mass.ravel(), len(histograms))
    return histograms.reshape(len(colors), bins**2).astype(np.float32)


def choose_colors(histograms: FloatArray, guide: FloatArray, bandwidth: float) -> Float32Array:
    """Choose a and b (h, w, 2) for each cell by its own histogram (h, w, K) and its neighbours'.

    Neighbours share their histograms by the joint bilateral filter: the less, the farther they are
    and the more their lightness, the `guide` (h, w), differs. A Gaussian of `bandwidth`, in units of
    a and b, at each bin makes a density of it. From the bin of highest density a mean shift goes to
    the mode, which is the colour.
    """
    shared = joint_bilateral_upsample(
        histograms,
        guide,
        guide,
        sigma_space=_SIGMA_SPACE,
        sigma_range=_SIGMA_RANGE,
        radius=_NEIGHBOURHOOD,
    ).reshape(-1, len(COLOR_CENTERS))
    density = shared @ _kernel(COLOR_CENTERS, bandwidth)
    mode = COLOR_CENTERS[density.argmax(axis=1)]
    for _ in range(_MODE_STEPS):
        pull = shared * _kernel(mode, bandwidth)
        mode = pull @ COLOR_CENTERS / pull.sum(axis=1, keepdims=True)
    return np.asarray(mode.reshape(*histograms.shape[:2], 2), dtype=np.float32)


def _kernel(places: FloatArray, bandwidth: float) -> FloatArray:
    """Return the Gaussians (n, K) of places (n, 2) at the bins."""
    squares = (
        np.square(places).sum(axis=1)[:, None]
        + np.square(COLOR_CENTERS).sum(axis=1)
        - 2 * (places @ COLOR_CENTERS.T)
    )
    return np.asarray(np.exp(squares * np.float32(-0.5 / bandwidth**2)))
