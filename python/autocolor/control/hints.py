"""Colours that a user gives to a few places, spread to similar pixels (section 4, Figure 10).

Method. A hint has a colour and a place: a pixel, a disc or a region. Its colour becomes a histogram
q of each predicted channel, the two bins about the colour's value sharing its mass linearly, and
its place gives a mean predicted histogram and a mean lightness. The similarity of a pixel to the
place is

    s = BC^4 * exp(-dL^2 / (2 * 0.1^2)) * exp(-d^2 / (2 * spread^2)),

with BC the Bhattacharyya coefficient of the predicted histograms (the product over the channels),
dL the difference of lightness and d the distance to the place; s is 1 within the place, and 0 where
it would be below 0.02. Each hint then counts as s / (1 - s) observations of its colour beside the
one of the network:

    p = (y + sum_h s_h / (1 - s_h) q_h) / (1 + sum_h s_h / (1 - s_h)),

so one hint alone gives (1 - s) y + s q. Where the network sees some chance for the colour, this is
a bias (Eq. 6) of the hint's bins, log(p/y), that grows with the similarity. Pixels of similarity 0
keep their histograms bit for bit; within its place a hint outweighs all others; hints whose places
overlap share alike there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import ImageColor

from autocolor.control.targets import check_variant
from autocolor.core.arrays import FloatArray, check_same_shape, check_unit
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS
from autocolor.histograms.bins import quantile_centers, uniform_centers
from autocolor.histograms.tiles import ImageTiles
from autocolor.imaging.color import rgb_to_hue_chroma, rgb_to_lab

SPREAD = 0.2
"""Standard deviation of the distance, as a part of the image's larger side."""

RADIUS = 0.006
"""Radius of a hint of the command line or the web page, as a part of the image's larger side."""

_COEFFICIENT_POWER = 4
_LIGHTNESS_SIGMA = 0.1
_SMALLEST_SIMILARITY = 0.02
# In place of s = 1, which would count as infinitely many observations.
_LARGEST_SIMILARITY = 1 - 1e-6

Distances = Callable[[slice], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Hint:
    """A colour for a pixel or a disc."""

    #: Centre in pixels; pixel centres are at integers
    y: float
    x: float
    #: (R, G, B) in [0, 1]. Its hue and chroma, or a and b, count; the lightness is the image's.
    rgb: tuple[float, float, float]
    #: In pixels; 0 is the one nearest pixel. None is `RADIUS`, what a click on the web page covers,
    #: whatever size the photo is shown at.
    radius: float | None = 0.0

    def distances(self, size: tuple[int, int]) -> Distances:
        """Return a function that gives the distance of each pixel of some rows, (rows, W)."""
        height, width = size
        y, x = round(self.y), round(self.x)
        if not (0 <= y < height and 0 <= x < width):
            raise InputError(
                "hint",
                f"expected x from 0 to {width - 1} and y from 0 to {height - 1}, "
                f"got x = {self.x:g}, y = {self.y:g}",
            )
        radius = RADIUS * max(size) if self.radius is None else self.radius
        if not 0 <= radius < np.inf:
            raise InputError("hint", f"expected a radius >= 0, got {radius}")
        center_y, center_x = (self.y, self.x) if radius else (y, x)
        # The nearest pixel belongs to the disc however small the radius is.
        radius = max(radius, float(np.hypot(y - center_y, x - center_x)))
        columns = np.arange(width) - center_x

        def distance(rows: slice) -> npt.NDArray[np.float64]:
            lines = np.arange(rows.start, rows.stop)[:, None] - center_y
            outside: npt.NDArray[np.float64] = np.maximum(np.hypot(lines, columns) - radius, 0)
            return outside

        return distance


@dataclass(frozen=True)
class RegionHint:
    """A colour for a region."""

    mask: npt.NDArray[np.bool_]  #: (H, W) bool array. Of the image's size, with at least one pixel.
    rgb: tuple[float, float, float]  #: As of :class:`Hint`

    def distances(self, size: tuple[int, int]) -> Distances:
        """Return a function that gives the distance of each pixel of some rows, (rows, W)."""
        if self.mask.shape != size or self.mask.dtype != np.bool_ or not self.mask.any():
            raise InputError(
                "hint",
                f"expected a bool mask of shape {size} with some pixel, got "
                f"{self.mask.dtype} {self.mask.shape} with {np.count_nonzero(self.mask)}",
            )
        # Photos without hints need not wait for it.
        from scipy.ndimage import distance_transform_edt

        distance = distance_transform_edt(~self.mask)
        return lambda rows: distance[rows]


class HintedTile(NamedTuple):
    """Rows of an image with their histograms, hints included."""

    rows: slice
    histograms: tuple[FloatArray, ...]  #: (rows, W, K) float arrays
    #: (rows, W) float32 array. Part of the histograms that comes from hints, in [0, 1]. A factor on
    #: the chroma that a model needs (`Manifest.strength`) is meant for the rest alone: use strength
    #: + (1 - strength) * share.
    share: npt.NDArray[np.float32]


def parse_hint(text: str) -> Hint:
    """Read a hint as a command line gives it, ``X,Y=COLOUR``, in pixels from the upper left.

    The colour is ``#RRGGBB``, ``#RGB`` or one of CSS, such as ``skyblue`` or ``hsl(30, 50%, 40%)``.
    """
    match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*=(.*)", text)
    if match is None:
        raise InputError("hint", f"expected X,Y=COLOUR, such as 120,80=#b03020, got {text!r}")
    x, y, name = match.groups()
    try:
        red, green, blue = (level / 255 for level in ImageColor.getrgb(name.strip()))
    except ValueError:  # no colour, or one with transparency
        raise InputError(
            "hint", f"expected a colour such as #b03020, #b32 or brown, got {name.strip()!r}"
        ) from None
    return Hint(int(y), int(x), (red, green, blue), radius=None)


def spread_hints(
    tiles: ImageTiles, lightness: FloatArray, hints: Sequence[Hint | RegionHint], variant: str
) -> Iterator[HintedTile]:
    """Re-weight the predicted histograms of the pixels that are like those with a hint.

    The tiles are read twice; the memory is that of one tile and, for each :class:`RegionHint`, of
    one (H, W) map.

    Parameters
    ----------
    tiles : callable
        See `autocolor.histograms.tiles.ImageTiles`.
    lightness : (H, W) float array in [0, 1]
        Of the grey image.
    hints : sequence of Hint and RegionHint
        Without any, the tiles come back as they are.
    variant : {"hue_chroma", "lab_marginal", "lab_joint"}
        What the histograms are of.

    Yields
    ------
    HintedTile
    """
    check_unit("lightness", lightness)
    check_variant(variant)
    height, width = lightness.shape
    distances = [hint.distances((height, width)) for hint in hints]
    colors = [np.array(hint.rgb, np.float64) for hint in hints]
    for color in colors:
        check_unit("hint's rgb", color, last_axis=3)
    return _spread(tiles, lightness, distances, colors, variant, SPREAD * max(height, width))


def _spread(
    tiles: ImageTiles,
    lightness: FloatArray,
    distances: list[Distances],
    colors: list[npt.NDArray[np.float64]],
    variant: str,
    sigma: float,
) -> Iterator[HintedTile]:
    if not distances:
        for rows, histograms in tiles():
            yield HintedTile(rows, histograms, np.zeros(lightness[rows].shape, np.float32))
        return
    light, references = _means_of_places(tiles, lightness, distances)
    roots = [np.sqrt(reference) for reference in references]
    observed = _color_histograms(colors, variant, [len(root.T) for root in roots])
    for rows, histograms in tiles():
        distance = np.stack([place(rows).ravel() for place in distances], axis=-1)
        exponent = np.square(distance / sigma)
        exponent += np.square((lightness[rows].reshape(-1, 1) - light) / _LIGHTNESS_SIGMA)
        similarity = np.exp(exponent / -2)
        # The coefficient only lowers it, so the other pixels need not be looked at.
        near = np.flatnonzero((similarity >= _SMALLEST_SIMILARITY).any(axis=-1))
        similarity = similarity[near]
        flat = [histogram.reshape(-1, histogram.shape[-1]) for histogram in histograms]
        selected = [histogram[near] for histogram in flat]
        for histogram, root in zip(selected, roots, strict=True):
            coefficient = np.einsum("nk,hk->nh", np.sqrt(histogram), root.astype(histogram.dtype))
            similarity *= np.minimum(coefficient, 1) ** _COEFFICIENT_POWER
        similarity[similarity < _SMALLEST_SIMILARITY] = 0
        similarity[distance[near] == 0] = 1
        similarity = np.minimum(similarity, _LARGEST_SIMILARITY)
        counts = similarity / (1 - similarity)
        total = counts.sum(axis=-1, keepdims=True)
        hinted = []
        for whole, histogram, color in zip(flat, selected, observed, strict=True):
            dtype = whole.dtype
            histogram += np.einsum("nh,hk->nk", counts.astype(dtype), color.astype(dtype))
            histogram /= 1 + total.astype(dtype)
            result = whole.copy()
            result[near] = histogram
            hinted.append(result.reshape(*lightness[rows].shape, -1))
        share = np.zeros(len(distance), np.float32)
        share[near] = (total / (1 + total))[:, 0]
        yield HintedTile(rows, tuple(hinted), share.reshape(lightness[rows].shape))


def _means_of_places(
    tiles: ImageTiles, lightness: FloatArray, distances: list[Distances]
) -> tuple[npt.NDArray[np.float64], list[npt.NDArray[np.float64]]]:
    """Return the mean lightness (hints,) and, of each channel, mean histograms (hints, K)."""
    pixels = np.zeros(len(distances))
    light = np.zeros(len(distances))
    sums: list[npt.NDArray[np.float64]] = []
    for rows, histograms in tiles():
        check_same_shape("histograms", histograms[0][..., 0], lightness[rows].shape)
        if not sums:
            sums = [np.zeros((len(distances), tile.shape[-1])) for tile in histograms]
        for index, place in enumerate(distances):
            inside = place(rows) == 0
            if not inside.any():
                continue
            pixels[index] += np.count_nonzero(inside)
            light[index] += lightness[rows][inside].sum(dtype=np.float64)
            for total, tile in zip(sums, histograms, strict=True):
                total[index] += tile[inside].sum(axis=0, dtype=np.float64)
    return light / pixels, [total / pixels[:, None] for total in sums]


def _color_histograms(
    colors: list[npt.NDArray[np.float64]], variant: str, sizes: list[int]
) -> list[npt.NDArray[np.float64]]:
    """Return, of each channel, the histograms (hints, K) of the hints' colours."""
    rgb = np.stack(colors)
    if VARIANTS[variant].has_hue:
        hue, chroma = rgb_to_hue_chroma(rgb)
        hues = _share(hue, uniform_centers(sizes[0]), period=1)
        # Grey has no hue: an even histogram, which chromatic fading (Eq. 5) keeps grey.
        hues[chroma == 0] = 1 / sizes[0]
        return [hues, _share(chroma, uniform_centers(sizes[1]))]
    lab = rgb_to_lab(rgb)
    if not VARIANTS[variant].is_joint:
        return [_share(lab[:, 1 + i], quantile_centers(size)) for i, size in enumerate(sizes)]
    centers = quantile_centers(round(sizes[0] ** 0.5))
    a, b = _share(lab[:, 1], centers), _share(lab[:, 2], centers)
    return [(a[:, :, None] * b[:, None, :]).reshape(len(rgb), -1)]


def _share(
    values: FloatArray, centers: npt.NDArray[np.float64], period: float | None = None
) -> npt.NDArray[np.float64]:
    """Return (n, K) histograms whose mean is `values`, on the two bins about each value."""
    one_hot = np.eye(len(centers))
    return np.stack([np.interp(values, centers, column, period=period) for column in one_hot], -1)
