"""Predicted histograms of an image, a few rows at a time: those of a whole photo fill gigabytes.

Such tiles are a callable, each call of which goes through the image anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autocolor.core.arrays import FloatArray, row_bands
from autocolor.histograms.upsampling import GridSampler

Tiles = Callable[[], Iterator[tuple[slice, FloatArray]]]
"""Yields rows and their (rows, W, K) histograms, of one channel. Histograms are float32 or float64,
finite, non-negative, each with some mass."""

ImageTiles = Callable[[], Iterator[tuple[slice, tuple[FloatArray, ...]]]]
"""Yields rows and their histograms of all channels: hue and chroma, a and b, or the joint one, in
the order of the variant's outputs."""

TILE_PIXELS = 8192


def array_tiles(histograms: FloatArray) -> Tiles:
    """Return the tiles of an (H, W, K) float array, which may be a memory map."""
    height, width = histograms.shape[:2]
    return _row_tiles((height, width), lambda start, stop: histograms[start:stop])


def grid_tiles(sampler: GridSampler, size: tuple[int, int]) -> Tiles:
    """Return the tiles of a grid that is enlarged to `size`, (height, width), as it is read."""
    return _row_tiles(size, sampler.rows)


def _row_tiles(size: tuple[int, int], read: Callable[[int, int], FloatArray]) -> Tiles:
    def tiles() -> Iterator[tuple[slice, FloatArray]]:
        for rows in row_bands(*size, TILE_PIXELS):
            yield rows, read(rows.start, rows.stop)

    return tiles
