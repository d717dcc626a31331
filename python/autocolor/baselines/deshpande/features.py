"""What a pixel is described by, and the filters of colour that the linear system is made of.

After the release of Deshpande et al. (`IO/`). The bank of textures is that of Leung and Malik:
Representing and recognizing the visual appearance of materials using three-dimensional textons. IJCV
43(1), 2001.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.imaging.images import resize

_THUMBNAIL = 5
_LM_SIDE = 49
_BLURS = (2, 4, 8, 16, 32)
_RADII = (1, 3, 5)  # of bars, Laplacians and Gaussians of colour, in pixels
_LEARNT_RADII = (1, 3)
_LEARNT = 6  # components of each radius
_PATCHES = 2000  # of each photo


def leung_malik() -> npt.NDArray[np.float64]:
    """Return the bank of 48 filters, (48, 49, 49), each of sum 0 and of sum 1 in absolute values.

    First derivatives at 3 scales and 6 orientations, second derivatives likewise; then for each of 4
    scales a Gaussian and two Laplacians.
    """
    y, x = _grid(_LM_SIDE // 2)
    edges, bars, spots = [], [], []
    for scale in np.sqrt(2) ** np.arange(1, 4):
        for angle in np.pi * np.arange(6) / 6:
            along = np.cos(angle) * x + np.sin(angle) * y
            across = np.sin(angle) * x - np.cos(angle) * y
            bell = np.exp(-0.5 * ((along / (3 * scale)) ** 2 + (across / scale) ** 2))
            edges.append(-across * bell)
            bars.append((across**2 - scale**2) * bell)
    for scale in np.sqrt(2) ** np.arange(1, 5):
        spots.append(_gaussian(_LM_SIDE // 2, scale))
        spots += [_laplacian(_LM_SIDE // 2, wide) for wide in (scale, 3 * scale)]
    filters = np.stack([*edges, *bars, *spots])
    filters -= filters.mean(axis=(1, 2), keepdims=True)
    return np.asarray(filters / np.abs(filters).sum(axis=(1, 2), keepdims=True))


class FilterPlane:
    """Filters of images of one size, with zeros outside, as a linear map with its adjoint.

    Parameters
    ----------
    kernels : (C, K, s, s) float array, s odd
        K filters of each channel.
    size : (height, width)
    """

    def __init__(self, kernels: FloatArray, size: tuple[int, ...]) -> None:
        self._size = size
        self._radius = kernels.shape[-1] // 2
        self._shape = tuple(
            scipy.fft.next_fast_len(side + 2 * self._radius, real=True) for side in size
        )
        self._spectra = scipy.fft.rfft2(kernels.astype(np.float32), self._shape)

    def apply(self, image: FloatArray) -> Float32Array:
        """Correlate (H, W, C) values with each filter of their channel: (H, W, C, K)."""
        spectrum = scipy.fft.rfft2(
            np.moveaxis(image, -1, 0).astype(np.float32, copy=False), self._shape
        )
        found = scipy.fft.irfft2(spectrum[:, None] * self._spectra.conj(), self._shape)
        # The transform is circular: places before the first are at the end.
        found = np.roll(found, (self._radius, self._radius), (-2, -1))
        return np.asarray(np.moveaxis(found[..., : self._size[0], : self._size[1]], (0, 1), (2, 3)))

    def adjoint(self, responses: FloatArray) -> Float32Array:
        """Return (H, W, C) values from (H, W, C, K): the transpose of the matrix of `apply`."""
        spectrum = scipy.fft.rfft2(np.moveaxis(responses, (2, 3), (0, 1)), self._shape)
        found = scipy.fft.irfft2((spectrum * self._spectra).sum(axis=1), self._shape)
        rows, columns = (slice(self._radius, self._radius + side) for side in self._size)
        return np.ascontiguousarray(np.moveaxis(found[:, rows, columns], 0, -1))


def color_filters(fields: Sequence[FloatArray], rng: np.random.Generator) -> Float32Array:
    """Return the filters of colour, (2, 28, 11, 11): those of alpha and those of beta.

    The pixel itself, which is the first; at three radii three bars, a Laplacian and a Gaussian; and
    at two radii the six first principal components of patches of `fields`, (H, W, 2) alpha and beta of
    photos with sides of at least 7, divided by their deviations and faded by a Gaussian.
    """
    fixed: list[FloatArray] = [np.ones((1, 1))]
    for radius in _RADII:
        fixed += [_bar(radius, angle) for angle in (0, np.pi / 3, 2 * np.pi / 3)]
        fixed += [_laplacian(radius, (2 * radius + 1) / 8), _gaussian(radius, (2 * radius + 1) / 4)]
    kernels = []
    for channel in range(2):
        learnt = [
            kernel
            for radius in _LEARNT_RADII
            for kernel in _components([field[..., channel] for field in fields], radius, rng)
        ]
        both = (*fixed, *learnt)
        kernels.append([np.pad(one, max(_RADII) - len(one) // 2) for one in both])
    return np.asarray(kernels, dtype=np.float32)


def _components(
    channels: Sequence[FloatArray], radius: int, rng: np.random.Generator
) -> FloatArray:
    side = 2 * radius + 1
    patches = []
    for channel in channels:
        windows = np.lib.stride_tricks.sliding_window_view(channel, (side, side))
        y, x = rng.integers(windows.shape[:2], size=(_PATCHES, 2)).T
        patches.append(windows[y, x].reshape(_PATCHES, -1))
    values, vectors = np.linalg.eigh(np.cov(np.concatenate(patches), rowvar=False))
    first = vectors[:, : -_LEARNT - 1 : -1]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(_LEARNT)])
    first = first / np.sqrt(np.maximum(values[: -_LEARNT - 1 : -1], 1e-8))
    return np.asarray(_gaussian(radius, side / 3) * first.T.reshape(_LEARNT, side, side))


def _grid(radius: int) -> tuple[FloatArray, FloatArray]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float64)
    return y, x


def _gaussian(radius: int, deviation: float) -> FloatArray:
    y, x = _grid(radius)
    bell = np.exp(-0.5 * (x**2 + y**2) / deviation**2)
    return np.asarray(bell / bell.sum())


def _laplacian(radius: int, deviation: float) -> FloatArray:
    y, x = _grid(radius)
    shape = (x**2 + y**2 - 2 * deviation**2) / deviation**4 * _gaussian(radius, deviation)
    return np.asarray(shape - shape.mean())


def _bar(radius: int, angle: float) -> FloatArray:
    y, x = _grid(radius)
    along = (x * np.cos(angle) - y * np.sin(angle)) * 4 / radius
    across = (x * np.sin(angle) + y * np.cos(angle)) * 2 / radius
    wave = np.exp(-0.5 * (along**2 + across**2)) * np.sin(-2 * np.pi * along / radius)
    return np.asarray(wave / np.abs(wave).sum())


def _slopes(maps: FloatArray) -> list[FloatArray]:
    """Return differences along y and x of (..., H, W) maps, to the next or at the end to the last."""
    down, right = np.diff(maps, axis=-2), np.diff(maps, axis=-1)
    down = np.concatenate([down, down[..., -1:, :]], axis=-2)
    right = np.concatenate([right, right[..., -1:]], axis=-1)
    return [down, right, np.hypot(down, right)]


def regression_features(lightness: FloatArray, mean: FloatArray) -> Float32Array:
    """Describe each pixel for the regression in the leaves, (H, W, 219).

    The mean alpha and beta (H, W, 2) of the photo's matches; its lightness at 5 x 5 pixels; and of each
    filter of the bank the response, from 0 to 1, its differences along y and x, and their size.
    """
    thumbnail = resize(lightness, (_THUMBNAIL, _THUMBNAIL)).ravel()
    texture = FilterPlane(leung_malik()[None], lightness.shape)
    response = np.moveaxis(texture.apply(lightness[..., None])[..., 0, :], -1, 0)
    low = response.min(axis=(1, 2), keepdims=True)
    span = response.max(axis=(1, 2), keepdims=True) - low
    # Of a flat photo it is rounding alone.
    response = np.where(span > 1e-5, (response - low) / np.maximum(span, 1e-5), 0)
    maps = np.concatenate([response, *_slopes(response)])
    whole = np.broadcast_to(thumbnail, (*lightness.shape, thumbnail.size))
    return np.concatenate([mean, whole, np.moveaxis(maps, 0, -1)], axis=-1, dtype=np.float32)


def split_features(lightness: FloatArray, mean: FloatArray, deviation: FloatArray) -> Float32Array:
    """Describe each pixel for the choice of a leaf, (H, W, 15).

    Lightness, its differences along y and x, and their size; lightness blurred to 1/2 ... 1/32 of the
    size; the place, x and y in (0, 1]; mean and deviation (H, W, 2) of the matches' alpha and beta.
    """
    size = lightness.shape
    small = [[max(1, side // factor) for side in size] for factor in _BLURS]
    blurred = [resize(resize(lightness, (rows, columns)), size) for rows, columns in small]
    y, x = np.mgrid[1 : size[0] + 1, 1 : size[1] + 1] / np.reshape(size, (2, 1, 1))
    maps = np.stack([lightness, *_slopes(lightness), *blurred, x, y], axis=-1)
    return np.concatenate([maps, mean, deviation], axis=-1, dtype=np.float32)
