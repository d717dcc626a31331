"""A descriptor of a whole scene by which references are matched, after Oliva and Torralba's gist.

It is the energy of oriented edges of several scales on a coarse grid.

References
----------
Oliva, Torralba: Modeling the shape of the scene: a holistic representation of the spatial envelope.
IJCV 42(3), 2001.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from skimage.filters import gabor_kernel

from autocolor.core.arrays import FloatArray
from autocolor.imaging.images import resize

_SIDE = 128
_FREQUENCIES = (0.25, 0.125, 0.0625, 0.03125)  # cycles a pixel
_ORIENTATIONS = 8
_CELLS = 4
# Contrast normalisation: deviations over this many pixels, and the least that counts as contrast.
_CONTRAST_SIGMA = 16
_CONTRAST_FLOOR = 0.05

GIST_SIZE = len(_FREQUENCIES) * _ORIENTATIONS * _CELLS**2
"""Length of a descriptor, 512."""


class Gist:
    """Computes descriptors; keeps the filters."""

    def __init__(self) -> None:
        self._filters = [
            gabor_kernel(frequency, theta=np.pi * orientation / _ORIENTATIONS)
            for frequency in _FREQUENCIES
            for orientation in range(_ORIENTATIONS)
        ]

    def __call__(self, lightness: FloatArray) -> npt.NDArray[np.float32]:
        """Return the descriptor of an (H, W) image in [0, 1]: (512,), by scale, orientation, cell."""
        image = resize(lightness, (_SIDE, _SIDE)).astype(np.float64)
        image -= gaussian_filter(image, _CONTRAST_SIGMA, mode="reflect")
        deviation = np.sqrt(gaussian_filter(np.square(image), _CONTRAST_SIGMA, mode="reflect"))
        image /= deviation + _CONTRAST_FLOOR
        cell = _SIDE // _CELLS
        energies = []
        for kernel in self._filters:
            padding = [(side // 2, side // 2) for side in kernel.shape]
            padded = np.pad(image, padding, mode="symmetric")
            response = np.abs(fftconvolve(padded, kernel, mode="valid"))
            energies.append(response.reshape(_CELLS, cell, _CELLS, cell).mean(axis=(1, 3)).ravel())
        return np.concatenate(energies).astype(np.float32)
