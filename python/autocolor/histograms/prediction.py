"""What a network predicts for one photo, and its colours in tiles of bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_array, row_bands
from autocolor.core.errors import InputError
from autocolor.core.processes import Workers, available_processors
from autocolor.core.variants import VARIANTS
from autocolor.histograms.decode import DecodeOptions, decode, infer_hue_chroma
from autocolor.histograms.estimators import draw_uniforms
from autocolor.histograms.grid_estimators import (
    GRID_CHROMA_METHODS,
    GRID_HUE_METHODS,
    GridHueChroma,
)
from autocolor.histograms.tiles import Tiles, grid_tiles
from autocolor.histograms.upsampling import GridSampler
from autocolor.imaging.color import compose_rgb

# Values of the outputs in one tile of an image: in float32 2 MB, which fits caches.
_TILE_VALUES = 2**19
# Pixels of a tile where whole histograms are not needed.
_TILE_PIXELS = 2**16


@dataclass(frozen=True)
class Prediction:
    """The outputs of a network for one photo.

    They are kept on the network's grid and enlarged to the photo bilinearly, some rows at a time,
    since those of a whole photo fill gigabytes. To change histograms before colours are taken from
    them, replace `outputs`, or iterate over :meth:`tiles` for changes at full resolution.
    """

    variant: str  #: See :class:`autocolor.runtime.model_folder.Manifest`
    lightness: FloatArray  #: (H, W) float array in [0, 1]. Of the photo.
    #: (h, w, C) float arrays. See
    #: :meth:`autocolor.runtime.colorizer.Colorizer.histograms`.
    outputs: tuple[FloatArray, ...]
    #: Cells of the grid in one pixel of the photo, (y, x); both begin at the upper
    #: left border.
    cells_per_pixel: tuple[float, float]
    strength: float  #: The model's own factor on chroma, or on a and b

    @property
    def bins(self) -> int:
        """Bins of each channel, K."""
        return VARIANTS[self.variant].bins_of(self.outputs[0].shape[-1])

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.lightness.shape
        return height, width

    def tiles(self) -> Iterator[tuple[slice, tuple[FloatArray, ...]]]:
        """Yield rows of the photo, from the top, with their (rows, W, C) outputs."""
        height, width = self._size
        samplers = [GridSampler(grid, self._size, self.cells_per_pixel) for grid in self.outputs]
        channels = sum(grid.shape[-1] for grid in self.outputs)
        for rows in row_bands(height, channels * width, _TILE_VALUES):
            yield rows, tuple(sampler.rows(rows.start, rows.stop) for sampler in samplers)

    def channel_tiles(self, index: int) -> Tiles:
        """Return the tiles of one of the outputs, which may be read several times."""
        sampler = GridSampler(self.outputs[index], self._size, self.cells_per_pixel)
        return grid_tiles(sampler, self._size)

    def colorize(
        self, *, rng: np.random.Generator | None = None, **options: Any
    ) -> npt.NDArray[np.float32]:
        """Return the colour image; `options` are the fields of :class:`autocolor.histograms.decode.DecodeOptions`."""
        return self.decode(DecodeOptions(**options), rng)

    def decode(
        self,
        options: DecodeOptions,
        rng: np.random.Generator | None = None,
        progress: Callable[[int], None] = lambda rows: None,
    ) -> npt.NDArray[np.float32]:
        """Return the colour image.

        Parameters
        ----------
        options : DecodeOptions
        rng : numpy.random.Generator, optional
            Draws the samples; needed for them.
        progress : callable
            Called with the number of rows that are begun; what it raises stops the work.

        Returns
        -------
        (H, W, 3) float32 array, RGB in [0, 1]
        """
        method, hue = options.methods(self.variant)
        self._check_outputs()
        strength = options.factor(self.strength)
        draw = self.uniforms(options, rng)
        rgb = np.empty((*self.lightness.shape, 3), np.float32)
        if self._needs_no_histograms(method, hue):
            estimate = self._grid_hue_chroma(
                hue=hue, chroma=method, fading=options.fading, look=options.look
            )

            def colorize_rows(rows: slice, uniforms: FloatArray | None) -> None:
                hue_rows, chroma_rows = estimate.rows(rows.start, rows.stop, uniforms)
                light = self.lightness[rows]
                rgb[rows] = compose_rgb(hue_rows, chroma_rows * np.float32(strength), light)

            self._for_rows(colorize_rows, draw, progress)
            return rgb
        for rows, outputs in self.tiles():
            progress(rows.start)
            light, uniforms = self.lightness[rows], draw(outputs[0].shape[:2])
            rgb[rows] = decode(
                self.variant, outputs, light, options, strength=strength, uniforms=uniforms
            )
        return rgb

    def uniforms(
        self, options: DecodeOptions, rng: np.random.Generator | None
    ) -> Callable[[tuple[int, ...]], npt.NDArray[np.float64] | None]:
        """Return what draws the uniforms for (rows, W) pixels, from the top of the photo.

        Both channels of a pixel are drawn together, so the tiles' heights make no difference.
        """
        if "sample" not in options.methods(self.variant):
            return lambda size: None
        if not isinstance(rng, np.random.Generator):
            raise InputError("rng", f"expected a numpy Generator to sample with, got {rng!r}")
        if options.sampling == "image":
            shared = draw_uniforms(rng, (2,))
            return lambda size: shared
        return lambda size: draw_uniforms(rng, (*size, 2))

    def hue_chroma(
        self,
        *,
        hue: str = "expectation",
        chroma: str = "median",
        fading: bool = True,
        look: str = "faithful",
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (H, W) hue and chroma, before the strength; the options are those of
        :func:`autocolor.histograms.decode.infer_hue_chroma`.
        """
        if not VARIANTS[self.variant].has_hue:
            raise InputError("variant", f"expected 'hue_chroma', got {self.variant!r}")
        DecodeOptions(chroma, hue, look=look)  # refuses what is no method
        self._check_outputs()
        hue_image = np.empty(self.lightness.shape, np.float32)
        chroma_image = np.empty(self.lightness.shape, np.float32)
        if self._needs_no_histograms(chroma, hue):
            estimate = self._grid_hue_chroma(hue=hue, chroma=chroma, fading=fading, look=look)

            def estimate_rows(rows: slice, _: FloatArray | None) -> None:
                hue_image[rows], chroma_image[rows] = estimate.rows(rows.start, rows.stop)

            self._for_rows(estimate_rows, lambda size: None)
            return hue_image, chroma_image
        for rows, (hue_tile, chroma_tile) in self.tiles():
            hue_image[rows], chroma_image[rows] = infer_hue_chroma(
                hue_tile, chroma_tile, hue=hue, chroma=chroma, fading=fading, look=look
            )
        return hue_image, chroma_image

    def _needs_no_histograms(self, method: str, hue: str) -> bool:
        of_grid = method in GRID_CHROMA_METHODS and hue in GRID_HUE_METHODS
        return of_grid and VARIANTS[self.variant].has_hue

    def _check_outputs(self) -> None:
        for grid in self.outputs:
            check_array("outputs", grid, low=0 if VARIANTS[self.variant].is_histogram else -np.inf)

    def _grid_hue_chroma(self, **choices: Any) -> GridHueChroma:
        hue_grid, chroma_grid = self.outputs
        return GridHueChroma(hue_grid, chroma_grid, self._size, self.cells_per_pixel, **choices)

    def _for_rows(
        self,
        work: Callable[[slice, FloatArray | None], None],
        draw: Callable[[tuple[int, ...]], FloatArray | None],
        progress: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Do some rows after the other, from the top, in as many threads as there are cores."""
        height, width = self._size

        def bands() -> Iterator[tuple[slice, FloatArray | None]]:
            for rows in row_bands(height, width, _TILE_PIXELS):
                progress(rows.start)
                # Numbers are drawn here, in the order of the rows, and not far ahead of their use.
                yield rows, draw((rows.stop - rows.start, width))

        threads = available_processors()
        with ThreadPoolExecutor(threads) as pool:
            for _ in Workers(pool, 2 * threads).map_ordered(lambda band: work(*band), bands()):
                pass
