"""A distribution of colours at each pixel from references, and the coherent choice by graph cuts.

Charpiat et al. describe pixels by SURF, which OpenCV does not give away freely; DAISY of three radii
takes its place.

References
----------
Charpiat, Hofmann, Schölkopf: Automatic image colorization via multimodal predictions. ECCV 2008.
Boykov, Veksler, Zabih: Fast approximate energy minimization via graph cuts. PAMI 23(11), 2001.
Kolmogorov, Zabih: What energy functions can be minimized via graph cuts? PAMI 26(2), 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy
import skimage

from autocolor.baselines.descriptors import cell_means, principal_components
from autocolor.baselines.nearest_neighbour import nearest_places
from autocolor.baselines.references import References, working_image
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.imaging.color import compose_lab, lightness, rgb_to_lab
from autocolor.imaging.joint_bilateral import joint_bilateral_upsample

IntArray = npt.NDArray[np.intp]

BINS = 73
"""Colours that the graph cut chooses among, at most."""

COHERENCE = 0.25
"""What a difference of two neighbours' colours costs that is as large as expected there."""

_SAMPLES = 16384  # pixels of all references together
_DAISY_RADII = (4, 8, 16)
_DIMENSIONS = 27  # of DAISY, by principal components
_LIGHT_SIGMA = 2.0
_LEAST_PROBABILITY = 1e-4
_LEAST_VARIATION = 1.0  # of a and b from a pixel to the next
_KMEANS_STEPS = 30
_CYCLES = 4
_REFINEMENTS = 20
_CHUNK = 1024


@dataclass(frozen=True)
class Pairs:
    """Neighbouring pixels, each pair once."""

    first: IntArray  #: (E,) indices of pixels, row by row
    second: IntArray  #: (E,)
    weight: npt.NDArray[np.float64]  #: (E,) cost of a difference of 1 in a and b


def describe_pixels(light: FloatArray) -> tuple[Float32Array, Float32Array]:
    """Describe the n pixels of (h, w) lightness, row by row.

    Returns DAISY (n, 120) of 3 radii, each of a centre and 4 places around it; and lightness, its mean
    and its deviation around the pixel (n, 3).
    """
    values = light.astype(np.float64)
    texture = [
        skimage.feature.daisy(np.pad(values, radius, mode="symmetric"), 1, radius, 1, 4, 8)
        for radius in _DAISY_RADII
    ]
    mean = scipy.ndimage.gaussian_filter(values, _LIGHT_SIGMA)
    deviation = np.sqrt(
        np.maximum(scipy.ndimage.gaussian_filter(values**2, _LIGHT_SIGMA) - mean**2, 0)
    )
    parts = np.concatenate(texture, axis=-1), np.stack([values, mean, deviation], axis=-1)
    first, second = (part.reshape(light.size, -1).astype(np.float32) for part in parts)
    return first, second


def color_variation(ab: FloatArray) -> Float32Array:
    """Return the length (h, w) of the gradient of a and b (h, w, 2), in their units a pixel."""
    dy, dx = np.gradient(ab, axis=(0, 1))
    return np.asarray(np.sqrt((dy**2 + dx**2).sum(axis=-1)), dtype=np.float32)


def parzen_means(
    asked: FloatArray, known: FloatArray, values: FloatArray, bandwidth: float
) -> Float32Array:
    """Return the mean (n, k) of the `values` (m, k) of `known` (m, d) as seen from `asked` (n, d).

    Each counts by the Gaussian of its distance, of deviation `bandwidth`: a Parzen window. Of
    indicators of bins this is the conditional distribution of colour.
    """
    means = np.empty((len(asked), values.shape[1]), np.float32)
    lengths = np.square(known).sum(axis=1)
    for start in range(0, len(asked), _CHUNK):
        # |asked|² is left out: it is the same for all known, and so is the shift by the least.
        squares = lengths - 2 * (asked[start : start + _CHUNK] @ known.T)
        squares -= squares.min(axis=1, keepdims=True)
        kernel = np.exp(squares * (-0.5 / bandwidth**2))
        means[start : start + _CHUNK] = kernel @ values / kernel.sum(axis=1, keepdims=True)
    return means


def neighbour_pairs(variation: FloatArray, coherence: float) -> Pairs:
    """Join each pixel with its 8 neighbours.

    The weight is `coherence` over the harmonic mean of the expected variations, (h, w), of both.
    """
    index = np.arange(variation.size).reshape(variation.shape)
    joined = [
        (index[:, :-1], index[:, 1:]),
        (index[:-1], index[1:]),
        (index[:-1, :-1], index[1:, 1:]),
        (index[:-1, 1:], index[1:, :-1]),
    ]
    first, second = (np.concatenate([pair[side].ravel() for pair in joined]) for side in (0, 1))
    inverse = 1 / variation.ravel().astype(np.float64)
    return Pairs(first, second, coherence * (inverse[first] + inverse[second]) / 2)


def labelling_energy(
    labels: IntArray, cost: FloatArray, distances: FloatArray, pairs: Pairs
) -> float:
    """Return the cost of (n,) labels, by pixel (n, K), plus that of the pairs' distances (K, K)."""
    apart = distances[labels[pairs.first], labels[pairs.second]]
    own = np.take_along_axis(cost, labels[:, None], axis=1)
    return float(own.sum(dtype=np.float64) + pairs.weight @ apart)


def cut(cost: FloatArray, distances: FloatArray, pairs: Pairs) -> IntArray:
    """Label pixels for low :func:`labelling_energy`, by alpha-expansion from the cheapest labels.

    The distances must be a metric. Ends when no expansion makes it lower, or after a few rounds.
    """
    labels: IntArray = cost.argmin(axis=1)
    energy = labelling_energy(labels, cost, distances, pairs)
    for _ in range(_CYCLES):
        before = energy
        for label in range(cost.shape[1]):
            proposed = np.where(_expansion(labels, label, cost, distances, pairs), label, labels)
            changed = labelling_energy(proposed, cost, distances, pairs)
            if changed < energy:
                labels, energy = proposed, changed
        if before - energy <= 1e-9 * abs(before):
            break
    return labels


def _expansion(
    labels: IntArray, label: int, cost: FloatArray, distances: FloatArray, pairs: Pairs
) -> npt.NDArray[np.bool_]:
    """Return which of the pixels (n,) had better take a label, all at once (Kolmogorov, Zabih)."""
    import maxflow  # is under the GPL: only who runs this method needs it

    first, second = labels[pairs.first], labels[pairs.second]
    neither = pairs.weight * distances[first, second]
    only_second = pairs.weight * distances[first, label]
    only_first = pairs.weight * distances[label, second]
    size = len(labels)
    change = cost[:, label].astype(np.float64) - cost[np.arange(size), labels]
    change += np.bincount(pairs.first, only_first - neither, size)
    change -= np.bincount(pairs.second, only_first, size)
    graph = maxflow.GraphFloat(size, len(first))
    nodes = graph.add_grid_nodes(size)
    # The triangle inequality makes it positive, but for rounding.
    capacity = np.maximum(only_second + only_first - neither, 0)
    graph.add_edges(pairs.first, pairs.second, capacity, np.zeros_like(capacity))
    graph.add_grid_tedges(nodes, np.maximum(change, 0), np.maximum(-change, 0))
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes))


def refine(
    start: FloatArray, probability: FloatArray, colors: FloatArray, width: float, pairs: Pairs
) -> npt.NDArray[np.float64]:
    """Go from the chosen colours, `start` (n, 2), down the same energy in continuous colour.

    The density of colour is a mixture of Gaussians of deviation `width` at the bins' `colors` (K, 2),
    by `probability` (n, K). Each step minimizes a quadratic that touches the energy from above, in
    which pixels are independent; so none makes it larger. Lengths of differences are those of vectors
    with a third component of 1, which have a derivative at 0.
    """
    found = start.astype(np.float64)
    prior = np.log(np.maximum(probability, _LEAST_PROBABILITY))
    for _ in range(_REFINEMENTS):
        squares = np.square(found[:, None] - colors).sum(axis=2)
        share = prior - squares / (2 * width**2)
        share = np.exp(share - share.max(axis=1, keepdims=True))
        total = share @ colors / (share.sum(axis=1, keepdims=True) * width**2)
        weight = np.full(len(found), 1 / width**2)
        one, other = found[pairs.first], found[pairs.second]
        pull = 2 * pairs.weight / np.sqrt(np.square(one - other).sum(axis=1) + 1)
        for side in (pairs.first, pairs.second):
            weight += np.bincount(side, pull, len(found))
            for channel in range(2):
                middle = (one[:, channel] + other[:, channel]) / 2
                total[:, channel] += np.bincount(side, pull * middle, len(found))
        found = total / weight[:, None]
    return found


class Charpiat:
    """Colorizes photos by all references together, at half the working size.

    Parameters
    ----------
    references : References
    seed : int
        Of the sampled pixels and of the bins.
    progress : bool
        Show a progress bar on stderr while the references are described.
    """

    def __init__(self, references: References, *, seed: int = 0, progress: bool = False) -> None:
        rng = np.random.default_rng(seed)
        count = max(1, _SAMPLES // max(1, len(references.paths)))
        rows = []
        for _, rgb in references.images(progress, "describing references"):
            small = _half(rgb)
            light, ab = lightness(small), rgb_to_lab(small)[..., 1:]
            pixels = *describe_pixels(light), ab.reshape(-1, 2), color_variation(ab).ravel()
            chosen = rng.integers(0, light.size, count)
            rows.append([part[chosen] for part in pixels])
        texture, bright, ab, variation = (np.concatenate(part) for part in zip(*rows, strict=True))
        self._projection = principal_components([texture], _DIMENSIONS)
        texture = self._projection(texture)
        # Texture and lightness count the same.
        self._scales = [np.sqrt(part.var(axis=0).sum()) or 1.0 for part in (texture, bright)]
        self._known = self._join(texture, bright)
        squares, _ = nearest_places(self._known[:: max(1, _SAMPLES // _CHUNK)], self._known, 2)
        self._bandwidth = max(1e-3, float(np.sqrt(squares.max(axis=1)).mean()))
        bins = min(BINS, len(np.unique(ab, axis=0)))
        self._colors, labels = scipy.cluster.vq.kmeans2(
            ab.astype(np.float64), bins, _KMEANS_STEPS, minit="++", rng=rng
        )
        self._distances = np.linalg.norm(self._colors[:, None] - self._colors, axis=2)
        # Half of the bins have another within this width.
        beside = np.sort(self._distances, axis=1)[:, min(1, bins - 1)]
        self._width = max(1.0, float(np.median(beside)))
        indicators = np.eye(bins, dtype=np.float32)[labels]
        self._values = np.column_stack([indicators, variation])

    def _join(self, texture: FloatArray, light: FloatArray) -> Float32Array:
        scaled = [part / scale for part, scale in zip((texture, light), self._scales, strict=True)]
        return np.concatenate(scaled, axis=1).astype(np.float32)

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        light = lightness.astype(np.float32, copy=False)
        small = _half(working_image(light)[..., None])[..., 0]
        texture, bright = describe_pixels(small)
        asked = self._join(self._projection(texture), bright)
        means = parzen_means(asked, self._known, self._values, self._bandwidth)
        probability, variation = means[:, :-1], np.maximum(means[:, -1], _LEAST_VARIATION)
        pairs = neighbour_pairs(variation.reshape(small.shape), COHERENCE)
        cost = -np.log(np.maximum(probability, _LEAST_PROBABILITY))
        chosen = self._colors[cut(cost, self._distances, pairs)]
        refined = refine(chosen, probability, self._colors, self._width, pairs)
        grid = refined.reshape(*small.shape, 2).astype(np.float32)
        return compose_lab(joint_bilateral_upsample(grid, small, light, radius=1), light)


def _half(image: FloatArray) -> FloatArray:
    return cell_means(image, (image.shape[0] // 2, image.shape[1] // 2))
