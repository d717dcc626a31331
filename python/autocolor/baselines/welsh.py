"""Colour by matching luminance and its local deviation to one reference photo.

References
----------
Welsh, Ashikhmin, Mueller: Transferring color to greyscale images. SIGGRAPH 2002.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from autocolor.baselines.gist import Gist
from autocolor.baselines.references import References, enlarge, working_image
from autocolor.core.arrays import FloatArray
from autocolor.imaging.color import compose_lab, lightness, rgb_to_lab

SAMPLES = 200
"""Reference pixels that colours are copied from (section 3.1 of Welsh et al.)."""

NEIGHBOURHOOD = 5
"""Side of the window of the deviation, in pixels (section 3.1)."""


def remap_luminance(reference: FloatArray, target: FloatArray) -> npt.NDArray[np.float64]:
    """Shift and scale the reference's luminance to the mean and deviation of the target's.

    Where the reference is flat, it becomes the target's mean.
    """
    source = reference.astype(np.float64)
    deviation = source.std()
    scale = target.std(dtype=np.float64) / deviation if deviation > 0 else 0.0
    return np.asarray((source - source.mean()) * scale + target.mean(dtype=np.float64))


def local_deviation(luminance: FloatArray) -> npt.NDArray[np.float64]:
    """Return the standard deviation in the 5 x 5 window of each pixel, mirrored at the border."""
    values = luminance.astype(np.float64)
    # About the image's mean, so that little is lost in the difference of the squares.
    values = values - values.mean()
    mean = uniform_filter(values, NEIGHBOURHOOD, mode="reflect")
    square = uniform_filter(np.square(values), NEIGHBOURHOOD, mode="reflect")
    return np.asarray(np.sqrt(np.maximum(square - np.square(mean), 0)), dtype=np.float64)


def jittered_grid(
    height: int, width: int, samples: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return one random pixel of each cell of a grid of about `samples` cells.

    Returns
    -------
    (n, 2) array of (y, x)
        With rows x columns cells as square as can be; never more cells than pixels on a side.
    """
    rows = min(height, max(1, round((samples * height / width) ** 0.5)))
    columns = min(width, max(1, round(samples / rows)))
    row, column = np.divmod(np.arange(rows * columns), columns)
    jitter = rng.random((rows * columns, 2))
    y = (row + jitter[:, 0]) * height / rows
    x = (column + jitter[:, 1]) * width / columns
    return np.stack([y, x], axis=1).astype(np.intp)


def transfer_by_luminance(
    target: FloatArray, reference: FloatArray, rng: np.random.Generator, samples: int = SAMPLES
) -> npt.NDArray[np.float32]:
    """Give each pixel the a and b of the reference's sample that is most like it.

    The difference of a pixel and a sample is half that of luminance plus half that of the deviation
    of luminance around them, the reference's luminance being remapped to the target's first.

    Parameters
    ----------
    target : (H, W) float array in [0, 1]
        Lightness.
    reference : (h, w, 3) float array in [0, 1]
        RGB.
    rng : numpy.random.Generator
        Draws the samples.
    samples : int
        About how many.

    Returns
    -------
    (H, W, 2) float32 array of a and b.
    """
    luminance = remap_luminance(lightness(reference), target)
    y, x = jittered_grid(luminance.shape[0], luminance.shape[1], samples, rng).T
    known = np.stack([luminance[y, x], local_deviation(luminance)[y, x]], axis=1)
    asked = np.stack([target.astype(np.float64), local_deviation(target)], axis=-1)
    _, nearest = cKDTree(known).query(asked.reshape(-1, 2), p=1)
    colors = rgb_to_lab(reference)[y, x, 1:]
    return np.asarray(colors[nearest].reshape(*target.shape, 2), dtype=np.float32)


class Welsh:
    """Colorizes a photo like the reference whose scene looks most like it.

    Parameters
    ----------
    references : References
    seed : int
        Of the samples; they do not depend on the order of the photos.
    progress : bool
        Show a progress bar on stderr while the references are described.

    Raises
    ------
    ValueError
        If no reference can be read.
    """

    def __init__(self, references: References, *, seed: int = 0, progress: bool = False) -> None:
        self._references = references
        self._seed = seed
        self._gist = Gist()
        self._paths: list[Path] = []
        descriptors = []
        for path, rgb in references.images(progress, "describing references"):
            self._paths.append(path)
            descriptors.append(self._gist(lightness(rgb)))
        self._tree = cKDTree(np.stack(descriptors))

    def match(self, lightness: FloatArray) -> Path:
        """Return the reference for a photo of the given (H, W) lightness."""
        _, index = self._tree.query(self._gist(working_image(lightness)))
        return self._paths[int(index)]

    def __call__(self, lightness: FloatArray) -> npt.NDArray[np.float32]:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        reference = self._references.read(self.match(lightness))
        rng = np.random.default_rng(self._seed)
        colors = transfer_by_luminance(working_image(lightness), reference, rng)
        height, width = lightness.shape
        light = lightness.astype(np.float32, copy=False)
        return compose_lab(enlarge(colors, (height, width)), light)
