"""Colour by matching luminance and its local deviation to one reference photo.

References are matched by a descriptor of the whole scene, after Oliva and Torralba's gist.

References
----------
Oliva, Torralba: Modeling the shape of the scene: a holistic representation of the spatial envelope.
IJCV 42(3), 2001.
Ruderman, Cronin, Chiao: Statistics of cone responses to natural images: implications for visual
coding. JOSA A 15(8), 1998; its matrices as in Reinhard, Ashikhmin, Gooch, Shirley: Color transfer
between images. IEEE CG&A 21(5), 2001.
Welsh, Ashikhmin, Mueller: Transferring color to greyscale images. SIGGRAPH 2002.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy
import skimage

from autocolor.baselines.references import References, enlarge, working_image
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.evaluation.evaluate import grey_image
from autocolor.imaging.color import compose_lab, correct_lightness, lightness, rgb_to_lab
from autocolor.imaging.images import resize

SAMPLES = 200
"""Reference pixels that colours are copied from (section 3.1 of Welsh et al.)."""

NEIGHBOURHOOD = 5
"""Side of the window of the deviation, in pixels (section 3.1)."""

SPACES = ("lab", "ruderman")
"""Whose chromatic channels are copied: CIE's a and b, or the l alpha beta of Welsh et al. (section 3)."""

# Responses of cones to R, G and B, and opponents of their logarithms.
_CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_OPPONENTS = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
_DARKEST = 1 / 255  # below it logarithms grow without a limit

_SIDE = 128
_FREQUENCIES = (0.25, 0.125, 0.0625, 0.03125)  # cycles a pixel
_ORIENTATIONS = 8
_CELLS = 4
# Contrast normalisation: deviations over this many pixels, and the least that counts as contrast.
_CONTRAST_SIGMA = 16
_CONTRAST_FLOOR = 0.05


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
    mean = scipy.ndimage.uniform_filter(values, NEIGHBOURHOOD, mode="reflect")
    square = scipy.ndimage.uniform_filter(np.square(values), NEIGHBOURHOOD, mode="reflect")
    return np.asarray(np.sqrt(np.maximum(square - np.square(mean), 0)), dtype=np.float64)


def rgb_to_ruderman(rgb: FloatArray) -> npt.NDArray[np.float64]:
    """Return l, alpha and beta (..., 3) of Ruderman et al. of RGB in [0, 1]."""
    cones = np.maximum(rgb, _DARKEST) @ _CONES.T
    return np.asarray(np.log10(cones) @ _OPPONENTS.T, dtype=np.float64)


def ruderman_to_rgb(values: FloatArray) -> npt.NDArray[np.float64]:
    """Return RGB (..., 3), which may leave [0, 1], of l, alpha and beta."""
    cones = 10 ** (values @ _OPPONENTS)  # whose rows are orthonormal
    return np.asarray(cones @ np.linalg.inv(_CONES).T, dtype=np.float64)


def jittered_grid(
    height: int, width: int, samples: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return (y, x) of one random pixel, (n, 2), of each cell of a grid of about `samples` cells.

    They are as square as can be; never more cells than pixels on a side.
    """
    rows = min(height, max(1, round((samples * height / width) ** 0.5)))
    columns = min(width, max(1, round(samples / rows)))
    row, column = np.divmod(np.arange(rows * columns), columns)
    jitter = rng.random((rows * columns, 2))
    y = (row + jitter[:, 0]) * height / rows
    x = (column + jitter[:, 1]) * width / columns
    return np.stack([y, x], axis=1).astype(np.intp)


def transfer_by_luminance(
    target: FloatArray,
    reference: FloatArray,
    rng: np.random.Generator,
    samples: int = SAMPLES,
    space: str = "lab",
) -> Float32Array:
    """Give each pixel of (H, W) lightness the chromatic channels (H, W, 2) of the sample most like it.

    About as many `samples` are drawn from the reference, RGB (h, w, 3). The difference of a pixel and
    a sample is half that of luminance plus half that of the deviation of luminance around them, the
    reference's luminance being remapped to the target's first. The channels are those of a `space` of
    `SPACES`; luminance is L of the paper, or Ruderman's l.
    """
    colors, own = rgb_to_lab(reference), lightness(reference)
    if space == "ruderman":
        colors = rgb_to_ruderman(reference)
        own, target = colors[..., 0], rgb_to_ruderman(grey_image(target))[..., 0]
    luminance = remap_luminance(own, target)
    y, x = jittered_grid(luminance.shape[0], luminance.shape[1], samples, rng).T
    known = np.stack([luminance[y, x], local_deviation(luminance)[y, x]], axis=1)
    asked = np.stack([target.astype(np.float64), local_deviation(target)], axis=-1)
    _, nearest = scipy.spatial.cKDTree(known).query(asked.reshape(-1, 2), p=1)
    return np.asarray(colors[y, x, 1:][nearest].reshape(*target.shape, 2), dtype=np.float32)


class Gist:
    """Describes scenes by the energy of oriented edges of several scales on a coarse grid; keeps filters."""

    def __init__(self) -> None:
        self._filters = [
            skimage.filters.gabor_kernel(frequency, theta=np.pi * orientation / _ORIENTATIONS)
            for frequency in _FREQUENCIES
            for orientation in range(_ORIENTATIONS)
        ]

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return the descriptor of an (H, W) image in [0, 1]: (512,), by scale, orientation, cell."""
        image = resize(lightness, (_SIDE, _SIDE)).astype(np.float64)
        image -= scipy.ndimage.gaussian_filter(image, _CONTRAST_SIGMA, mode="reflect")
        deviation = np.sqrt(
            scipy.ndimage.gaussian_filter(np.square(image), _CONTRAST_SIGMA, mode="reflect")
        )
        image /= deviation + _CONTRAST_FLOOR
        cell = _SIDE // _CELLS
        energies = []
        for kernel in self._filters:
            padding = [(side // 2, side // 2) for side in kernel.shape]
            padded = np.pad(image, padding, mode="symmetric")
            response = np.abs(scipy.signal.fftconvolve(padded, kernel, mode="valid"))
            energies.append(response.reshape(_CELLS, cell, _CELLS, cell).mean(axis=(1, 3)).ravel())
        return np.concatenate(energies).astype(np.float32)


class Welsh:
    """Colorizes a photo like the reference whose scene looks most like it.

    Parameters
    ----------
    references : References
    seed : int
        Of the samples; they do not depend on the order of the photos.
    space : {"lab", "ruderman"}
        In which colours are copied.
    progress : bool
        Show a progress bar on stderr while the references are described.
    """

    def __init__(
        self,
        references: References,
        *,
        seed: int = 0,
        space: str = "lab",
        progress: bool = False,
    ) -> None:
        if space not in SPACES:
            raise InputError("space", f"expected one of {', '.join(SPACES)}, got {space!r}")
        self._references = references
        self._seed = seed
        self._space = space
        self._gist = Gist()
        self._paths: list[Path] = []
        descriptors = []
        for path, rgb in references.images(progress, "describing references"):
            self._paths.append(path)
            descriptors.append(self._gist(lightness(rgb)))
        self._tree = scipy.spatial.cKDTree(np.stack(descriptors))

    def match(self, lightness: FloatArray) -> Path:
        """Return the reference for a photo of the given (H, W) lightness."""
        _, index = self._tree.query(self._gist(working_image(lightness)))
        return self._paths[int(index)]

    def __call__(self, lightness: FloatArray) -> Float32Array:
        """Return (H, W, 3) RGB of the given (H, W) lightness in [0, 1]."""
        reference = self._references.read(self.match(lightness))
        rng = np.random.default_rng(self._seed)
        small, light = working_image(lightness), lightness.astype(np.float32, copy=False)
        found = transfer_by_luminance(small, reference, rng, space=self._space)
        colors = enlarge(found, (light.shape[0], light.shape[1]))
        if self._space == "lab":
            return compose_lab(colors, light)
        own = rgb_to_ruderman(grey_image(light))[..., :1]
        rgb = ruderman_to_rgb(np.concatenate([own, colors], axis=-1))
        return correct_lightness(rgb.astype(np.float32), light)
