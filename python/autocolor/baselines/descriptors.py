"""Descriptors of places and photos out of a convolutional network's levels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from autocolor.baselines.references import enlarge
from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path


class FeatureExtractor(Protocol):
    """A network that describes photos, as :class:`autocolor.nets.backbone.Backbone` does."""

    def features(self, lightness: FloatArray) -> Mapping[str, Float32Array]:
        """Return the levels (C, h, w) of an (H, W) image in [0, 1], both sides multiples of 32."""


@dataclass(frozen=True)
class Projection:
    """A linear map to fewer dimensions."""

    mean: Float32Array  #: (D,) float32 array
    components: Float32Array  #: (D, d) float32 array. Orthonormal columns, by falling variance.

    def __call__(self, values: FloatArray) -> Float32Array:
        """Project (..., D) values to (..., d)."""
        return ((values - self.mean) @ self.components).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Fitted:
    """What references are described by: a projection, and in subclasses arrays."""

    projection: Projection

    def save(self, path: Path) -> None:
        """Write to a .npz file, atomically."""
        arrays = {**vars(self.projection), **vars(self)}
        del arrays["projection"]
        with atomic_path(path) as partial:
            np.savez(partial, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as archive:
            content = {name: archive[name] for name in archive.files}
        projection = Projection(content.pop("mean"), content.pop("components"))
        return cls(projection, **content)


def principal_components(samples: Iterable[FloatArray], dimensions: int) -> Projection:
    """Fit a projection to the directions of most variance (PCA) of samples (n, D), read once."""
    count = 0
    # About the first array's mean, so that little is lost where the mean is large.
    for index, batch in enumerate(samples):
        values = batch.astype(np.float64)
        if index == 0:
            origin = values.mean(axis=0)
            total = np.zeros_like(origin)
            products = np.zeros((len(origin), len(origin)))
        values -= origin
        count += len(values)
        total += values.sum(axis=0)
        products += values.T @ values
    if not count:
        raise InputError("samples", "expected at least one, got none")
    if not 1 <= dimensions <= len(origin):
        raise InputError("dimensions", f"expected 1 to {len(origin)}, got {dimensions}")
    mean = total / count
    _, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    chosen = vectors[:, ::-1][:, :dimensions]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(dimensions)])
    return Projection((mean + origin).astype(np.float32), (chosen * signs).astype(np.float32))


def normalize(values: FloatArray) -> Float32Array:
    """Divide (..., D) vectors by their length; those of length 0 stay."""
    length = np.linalg.norm(values, axis=-1, keepdims=True)
    return (values / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


def place_descriptors(
    features: Mapping[str, FloatArray], levels: Sequence[str], size: tuple[int, int]
) -> Float32Array:
    """Describe the cells of a grid of `size` by several levels, (height, width, sum of C).

    Each level (C, h, w), whose sides are multiples or divisors of the grid's, is brought to it, by
    means over cells or bilinearly, and each place's vector of a level to length 1, so that every
    level counts the same.
    """
    return np.concatenate(
        [normalize(_to_grid(np.moveaxis(features[name], 0, -1), size)) for name in levels], axis=-1
    )


def _to_grid(level: FloatArray, size: tuple[int, int]) -> FloatArray:
    if level.shape[0] <= size[0]:
        return enlarge(level, size)
    return cell_means(level, size)


def cell_means(image: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Return the means (height, width, C) of an (H, W, C) image over the cells of a grid.

    The image's sides are multiples of the grid's.
    """
    height, width = size
    rows, columns = image.shape[0] // height, image.shape[1] // width
    blocks = image.reshape(height, rows, width, columns, image.shape[2])
    means: FloatArray = blocks.mean(axis=(1, 3))
    return means


def photo_descriptor(features: Mapping[str, FloatArray], level: str) -> Float32Array:
    """Describe a whole photo by the mean of a level over its places, (C,), of length 1."""
    return normalize(features[level].mean(axis=(1, 2)))
