"""Colorize images of any size with a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autocolor.caffe_net import CaffeNet, HistogramNet
from autocolor.checks import FloatArray, check_unit
from autocolor.images import resize
from autocolor.inference import check_strength, decode_hue_chroma, infer_hue_chroma
from autocolor.model_folder import INPUT_MULTIPLE, Manifest, ModelError
from autocolor.upsampling import GridSampler

# Histograms of one tile of an image: 2 * 32 bins * 4 bytes * this = 2 MB, which fits caches.
_TILE_PIXELS = 8192


class Predictor:
    """A trained model, ready to colorize.

    Parameters
    ----------
    model_folder : path
        With ``model.json`` (see :class:`autocolor.model_folder.Manifest`) and the files it names.
    device : {"cpu"}
        Where Caffe runs.
    working_side : int, optional
        Instead of the manifest's: smaller side of the image that the network sees.
    net : HistogramNet, optional
        Runs instead of the folder's deploy prototxt and weights.

    Attributes
    ----------
    manifest : Manifest

    Raises
    ------
    ModelError
        If the folder cannot be used.
    ValueError
        If `working_side` is not in [1, maximum_side].

    Examples
    --------
    >>> predictor = Predictor("build/demo/model")
    >>> rgb = predictor.colorize(lightness(read_image("photo.jpg").rgb))
    """

    def __init__(
        self,
        model_folder: Path | str,
        device: str = "cpu",
        *,
        working_side: int | None = None,
        net: HistogramNet | None = None,
    ) -> None:
        folder = Path(model_folder)
        self.manifest = Manifest.load(folder)
        self._working_side = self.manifest.working_side if working_side is None else working_side
        if not 1 <= self._working_side <= self.manifest.maximum_side:
            raise ValueError(
                f"working_side: expected 1 to {self.manifest.maximum_side}, "
                f"received {self._working_side}"
            )
        if net is None:
            net = CaffeNet(folder / self.manifest.deploy, folder / self.manifest.weights, device)
        self._net = net

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the image that the network sees, before padding.

        The smaller side becomes the working side, never enlarging, unless the larger side would
        then exceed the model's maximum.
        """
        factor = min(
            1.0,
            self._working_side / min(height, width),
            self.manifest.maximum_side / max(height, width),
        )
        return max(1, round(height * factor)), max(1, round(width * factor))

    def histograms(self, lightness: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predict hue and chroma histograms on the network's grid.

        The image is shrunk to its working size and padded at the right and at the bottom, by
        mirroring, to multiples of 32; cells that lie in the padding are cut off.

        Parameters
        ----------
        lightness : (H, W) float array in [0, 1]
            (R + G + B)/3 of the photo; any size.

        Returns
        -------
        hue, chroma : (h, w, K) float arrays
            Cell (j, i) belongs to pixel (j * stride + (stride - 1)/2, i * stride + (stride - 1)/2)
            of the image of size :meth:`working_size`.

        Raises
        ------
        ValueError
            If `lightness` is no such array.
        ModelError
            If the network's output is not of the size and the number of bins that the manifest
            says.
        """
        check_unit("lightness", lightness)
        if lightness.ndim != 2 or lightness.size == 0:
            raise ValueError(f"lightness: expected shape (H, W), received {lightness.shape}")
        height, width = self.working_size(*lightness.shape)
        small = resize(lightness, (height, width))
        padding = ((0, -height % INPUT_MULTIPLE), (0, -width % INPUT_MULTIPLE))
        padded = np.pad(small, padding, mode="symmetric")
        hue, chroma = self._net(padded)
        return (
            self._crop_grid("hue", hue, small.shape, padded.shape),
            self._crop_grid("chroma", chroma, small.shape, padded.shape),
        )

    def _crop_grid(
        self, name: str, grid: FloatArray, size: tuple[int, ...], padded: tuple[int, ...]
    ) -> FloatArray:
        """Check a network output (K, h, w) and return its cells on the image as (h, w, K)."""
        stride = self.manifest.stride
        expected = (self.manifest.bins, padded[0] // stride, padded[1] // stride)
        if grid.shape != expected:
            raise ModelError(
                f"blob {name!r}: expected shape {expected} by the manifest's bins and stride, "
                f"received {grid.shape}"
            )
        height, width = (-(-side // stride) for side in size)
        return np.ascontiguousarray(np.moveaxis(grid[:, :height, :width], 0, -1))

    def hue_chroma(
        self,
        lightness: FloatArray,
        *,
        hue: str = "expectation",
        chroma: str = "median",
        fading: bool = True,
    ) -> tuple[FloatArray, FloatArray]:
        """Predict one hue and one chroma for each pixel, before the strength is applied.

        Parameters
        ----------
        lightness : (H, W) float array in [0, 1]
        hue, chroma, fading
            See :func:`autocolor.inference.infer_hue_chroma`.

        Returns
        -------
        hue, chroma : (H, W) float32 arrays

        Raises
        ------
        ValueError, ModelError
            As :meth:`histograms`, and on an unknown method.
        """
        hue_image = np.empty(lightness.shape, np.float32)
        chroma_image = np.empty(lightness.shape, np.float32)
        for rows, hue_tile, chroma_tile in self._tiles(lightness):
            hue_image[rows], chroma_image[rows] = infer_hue_chroma(
                hue_tile, chroma_tile, hue=hue, chroma=chroma, fading=fading
            )
        return hue_image, chroma_image

    def colorize(
        self,
        lightness: FloatArray,
        *,
        hue: str = "expectation",
        chroma: str = "median",
        fading: bool = True,
        strength: float | None = None,
    ) -> npt.NDArray[np.float32]:
        """Colorize a grey image.

        Parameters
        ----------
        lightness : (H, W) float array in [0, 1]
            (R + G + B)/3 of the photo; any size.
        hue, chroma, fading
            See :func:`autocolor.inference.infer_hue_chroma`.
        strength : float, optional
            Factor on the chroma; the manifest's unless given.

        Returns
        -------
        (H, W, 3) float32 array, RGB in [0, 1], of the same lightness as the input.

        Raises
        ------
        ValueError, ModelError
            As :meth:`hue_chroma`, and on a strength out of range.
        """
        strength = self.manifest.strength if strength is None else strength
        check_strength(strength)
        rgb = np.empty((*lightness.shape, 3), np.float32)
        for rows, hue_tile, chroma_tile in self._tiles(lightness):
            rgb[rows] = decode_hue_chroma(
                hue_tile,
                chroma_tile,
                lightness[rows],
                hue=hue,
                chroma=chroma,
                fading=fading,
                strength=strength,
            )
        return rgb

    def _tiles(self, lightness: FloatArray) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """Yield rows with their (rows, W, K) histograms; those of a whole photo fill gigabytes."""
        hue_grid, chroma_grid = self.histograms(lightness)
        height, width = lightness.shape
        working_height, working_width = self.working_size(height, width)
        stride = self.manifest.stride
        cells_per_pixel = (working_height / height / stride, working_width / width / stride)
        hue_sampler = GridSampler(hue_grid, (height, width), cells_per_pixel)
        chroma_sampler = GridSampler(chroma_grid, (height, width), cells_per_pixel)
        tile_height = max(1, _TILE_PIXELS // width)
        for start in range(0, height, tile_height):
            stop = min(start + tile_height, height)
            rows = slice(start, stop)
            yield rows, hue_sampler.rows(start, stop), chroma_sampler.rows(start, stop)
