"""Photos at the reduced size on which the methods of :mod:`autocolor.baselines.registry` work."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from autocolor.core.arrays import Float32Array, FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.core.files import file_sha256
from autocolor.core.progress import tqdm
from autocolor.evaluation.evaluate import read_color, spread
from autocolor.histograms.upsampling import GridSampler
from autocolor.imaging.images import ImageError, resize

WORKING_SIDE = 256
"""Smaller side of a photo as the methods see it, in pixels."""

MAXIMUM_SIDE = 1024
"""Larger side that no photo exceeds there, in pixels."""

_MULTIPLE = 32  # what the backbone asks for


def working_size(height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) at which a photo is worked on.

    The smaller side becomes `WORKING_SIDE`, unless the photo is smaller or the larger side would
    exceed `MAXIMUM_SIDE`; then both are rounded to multiples of 32.
    """
    factor = min(1.0, WORKING_SIDE / min(height, width), MAXIMUM_SIDE / max(height, width))
    return _round(height * factor), _round(width * factor)


def _round(side: float) -> int:
    return _MULTIPLE * max(1, round(side / _MULTIPLE))


def working_image(image: FloatArray) -> Float32Array:
    """Return an (H, W) or (H, W, C) image in [0, 1] at its working size."""
    check_unit("image", image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise InputError("image", f"expected shape (H, W) or (H, W, C), got {image.shape}")
    return resize(image, working_size(*image.shape[:2]))


def enlarge(grid: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Return an (h, w, C) grid that covers an image bilinearly enlarged (or not) to (height, width).

    See :class:`autocolor.histograms.upsampling.GridSampler`.
    """
    cells_per_pixel = (grid.shape[0] / size[0], grid.shape[1] / size[1])
    return GridSampler(grid, size, cells_per_pixel).rows(0, size[0])


class References:
    """Colour photos to learn from, read one at a time: there may be more than memory holds.

    Attributes
    ----------
    paths : tuple of Path
    skipped : list of (path, reason)
        Photos that a pass over all of them could not read, or that have no colour.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.skipped: list[tuple[Path, str]] = []

    def read(self, path: Path) -> Float32Array:
        """Return a photo of colour, RGB (h, w, 3) in [0, 1], at its working size."""
        return working_image(read_color(path))

    def images(
        self, progress: bool = False, description: str | None = None
    ) -> Iterator[tuple[Path, Float32Array]]:
        """Yield each readable photo; the others go to `skipped`. At the end, there must have been one."""
        self.skipped = []
        for path in tqdm(self.paths, desc=description, unit="photo", disable=not progress):
            try:
                rgb = self.read(path)
            except ImageError as error:
                self.skipped.append((path, str(error)))
                continue
            yield path, rgb
        if len(self.skipped) == len(self.paths):
            reason = f"; the first was skipped: {self.skipped[0][1]}" if self.skipped else ""
            raise InputError("references", f"expected at least one colour photo, got none{reason}")

    def spread(self, count: int) -> References:
        """Return `count` of the photos, or all, spread evenly over the list."""
        return References([self.paths[index] for index in spread(len(self.paths), count)])

    def fingerprint(self, *options: object) -> str:
        """Return a hash of the files' bytes, in order, and of `options`, to name a cache file by."""
        digest = hashlib.sha256(repr(options).encode())
        for path in self.paths:
            try:
                digest.update(bytes.fromhex(file_sha256(path)))
            except OSError:
                digest.update(b"unreadable")
        return digest.hexdigest()[:16]
