"""Estimates for every pixel straight from the histograms on a coarser grid.

They are those of :mod:`autocolor.histograms.estimators` on the bilinearly enlarged histograms of
:class:`autocolor.histograms.upsampling.GridSampler`, without making these: enlarging is linear, and so are
cumulative sums and expectations, which are enlarged in the histograms' place. Of the cumulative
sums, bisection then reads only those that it needs, six of 33 where there are 32 bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.histograms.bins import uniform_centers, uniform_edges
from autocolor.histograms.estimators import fade_chroma, fade_unsure, interpolate_bins
from autocolor.histograms.upsampling import GridSampler, grid_positions
from autocolor.imaging.color import wrap_hue

GRID_HUE_METHODS = ("expectation", "sample")
GRID_CHROMA_METHODS = ("median", "expectation", "sample")
"""What needs no whole histograms; a mode does."""


class GridQuantiles:
    """Quantiles of histograms on a grid; the arguments are those of
    :class:`autocolor.histograms.upsampling.GridSampler`.
    """

    def __init__(
        self, grid: FloatArray, size: tuple[int, int], cells_per_pixel: tuple[float, float]
    ) -> None:
        self._y = grid_positions(size[0], grid.shape[0], cells_per_pixel[0])
        self._x = grid_positions(size[1], grid.shape[1], cells_per_pixel[1])
        self._cumulative = np.zeros((*grid.shape[:2], grid.shape[2] + 1), grid.dtype)
        np.cumsum(grid, axis=-1, out=self._cumulative[..., 1:])

    def rows(
        self, start: int, stop: int, level: FloatArray | float
    ) -> tuple[npt.NDArray[np.intp], FloatArray]:
        """Return where the cumulative sums of the rows' pixels reach a level in [0, 1].

        Index and fraction, (stop - start, width) each, are those of
        :func:`autocolor.histograms.estimators.locate_quantile`.
        """
        low, high, below = (part[start:stop] for part in self._y)
        left, right, weight = self._x
        lines = self._cumulative[low[0] : high[-1] + 1]
        dtype = lines.dtype
        # take, unlike an index, lets other threads run.
        edges = lines.take(left, axis=1)
        edges += weight.astype(dtype)[:, None] * (lines.take(right, axis=1) - edges)
        slopes = np.zeros_like(edges)
        np.subtract(edges[1:], edges[:-1], out=slopes[:-1])
        width, count = edges.shape[1:]
        below = below.astype(dtype)[:, None]
        first = ((low - low[0]) * (width * count))[:, None] + np.arange(width) * count

        def cumulative(position: npt.NDArray[np.intp]) -> FloatArray:
            value: FloatArray = slopes.take(position)
            value *= below
            value += edges.take(position)
            return value

        bins = count - 1
        target = cumulative(first + bins) * np.asarray(level, dtype)
        # Bisection counts the inner edges below the target; the last edge never is.
        position = first.copy()
        step = (1 << (bins - 1).bit_length()) >> 1
        while step:
            candidate = position + step
            if bins & (bins - 1):  # not a power of two: there are fewer edges than steps go
                np.minimum(candidate, first + bins, out=candidate)
            position += (cumulative(candidate) < target).astype(np.intp) * step
            step >>= 1
        before = cumulative(position)
        index = position - first
        position += 1
        mass = cumulative(position)
        mass -= before
        fraction = np.divide(target - before, mass, out=np.full_like(mass, 0.5), where=mass > 0)
        return index, np.clip(fraction, 0, 1, out=fraction)


class GridHueChroma:
    """One hue and one chroma for each pixel (section 3.3), from histograms (h, w, K) on a grid.

    Size and scale are as of :class:`autocolor.histograms.upsampling.GridSampler`; hue, chroma, fading and look as of
    :func:`autocolor.histograms.decode.infer_hue_chroma`, of `GRID_HUE_METHODS` and
    `GRID_CHROMA_METHODS` alone.
    """

    def __init__(
        self,
        hue_grid: FloatArray,
        chroma_grid: FloatArray,
        size: tuple[int, int],
        cells_per_pixel: tuple[float, float],
        *,
        hue: str,
        chroma: str,
        fading: bool,
        look: str = "faithful",
    ) -> None:
        self._bins = hue_grid.shape[-1], chroma_grid.shape[-1]
        self._hue, self._chroma, self._fading = hue, chroma, fading
        self._fade = fade_unsure if look == "vivid" else fade_chroma
        angles = 2 * np.pi * uniform_centers(self._bins[0])
        maps = [
            hue_grid @ (values / self._bins[0]).astype(hue_grid.dtype)
            for values in (np.cos(angles), np.sin(angles))
        ]
        if chroma == "expectation":
            maps.append(chroma_grid @ uniform_centers(self._bins[1]).astype(chroma_grid.dtype))
        self._maps = GridSampler(np.stack(maps), size, cells_per_pixel, axis=1)
        if hue == "sample":
            self._hue_quantiles = GridQuantiles(hue_grid, size, cells_per_pixel)
        if chroma != "expectation":
            self._chroma_quantiles = GridQuantiles(chroma_grid, size, cells_per_pixel)

    def rows(
        self, start: int, stop: int, uniforms: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return hue in [0, 1) and chroma in [0, 1] of rows of the image, (stop - start, width) each.

        Samples take `uniforms`, (stop - start, width, 2) or (2,), as those of
        :func:`autocolor.histograms.decode.infer_hue_chroma`.
        """
        real, imaginary, *expectation = self._maps.rows(start, stop)
        levels = np.full(2, 0.5) if uniforms is None else uniforms
        if self._hue == "sample":
            index, fraction = self._hue_quantiles.rows(start, stop, levels[..., 0])
            turns = interpolate_bins(uniform_edges(self._bins[0]), index, fraction)
        else:
            turns = np.arctan2(imaginary, real)
            turns /= 2 * np.pi
        if self._chroma == "expectation":
            (chroma,) = expectation
        else:
            level = levels[..., 1] if self._chroma == "sample" else 0.5
            index, fraction = self._chroma_quantiles.rows(start, stop, level)
            chroma = interpolate_bins(uniform_edges(self._bins[1]), index, fraction)
        if self._fading:
            chroma = self._fade(chroma, np.hypot(real, imaginary), self._bins[0])
        return wrap_hue(turns), chroma
