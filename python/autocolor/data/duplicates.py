"""Find photos that two sets share, also resized, recompressed or mirrored ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from autocolor.core.files import file_sha256
from autocolor.core.progress import tqdm
from autocolor.imaging.images import ImageError, read_image, to_uint8

_SIDE = 256  # pixels; the hash itself sees 32 x 32

LARGEST_DISTANCE = 8
"""Bits of 64 in which the perceptual hashes of two copies of a photo differ at most.

Different photos differ in 32 on average; among the pairs of ``data_prep/photos.tsv`` no two differ in
fewer than 12. Copies at half the size, as JPEG of quality 50, differ in 0 to 4.
"""


class Duplicate(NamedTuple):
    """A photo of the second set that is one of the first; distance None for the same bytes."""

    photo: Path
    original: Path
    distance: int | None


def find_duplicates(
    originals: Sequence[Path], photos: Sequence[Path], *, looks: bool = True, progress: bool = True
) -> list[Duplicate]:
    """Find the photos that are among the originals, by their bytes or how they look.

    How they look is the 64-bit perceptual hash of the library ImageHash, of the photo and of its
    mirror image. A photo that cannot be read, and without `looks` every one, is compared by its bytes
    alone. There is at most one duplicate for each of `photos`, with the nearest original.
    """
    bar: tqdm[Any] = tqdm(
        total=len(originals) + len(photos), unit="photo", desc="comparing", disable=not progress
    )
    with bar:
        known = [_Print(path, bar, looks) for path in originals]
        by_bytes = {print_.bytes_hash: print_.path for print_ in known}
        seen = [print_ for print_ in known if print_.look is not None]
        known_looks = np.array([print_.look for print_ in seen]).reshape(len(seen), 2, 64)
        found = []
        for path in photos:
            print_ = _Print(path, bar, looks)
            if print_.bytes_hash in by_bytes:
                found.append(Duplicate(path, by_bytes[print_.bytes_hash], None))
            elif print_.look is not None and len(seen):
                # The photo against the originals and their mirror images.
                distances = (known_looks != print_.look[0]).sum(axis=2).min(axis=1)
                nearest = int(distances.argmin())
                if distances[nearest] <= LARGEST_DISTANCE:
                    found.append(Duplicate(path, seen[nearest].path, int(distances[nearest])))
    return found


class _Print:
    """Hashes of a photo: of its bytes, and (2, 64) bool of itself and its mirror image."""

    def __init__(self, path: Path, bar: tqdm[None], looks: bool) -> None:
        self.path = path
        self.bytes_hash = bytes.fromhex(file_sha256(path))
        self.look: npt.NDArray[np.bool_] | None = None
        bar.update()
        if not looks:
            return
        import imagehash

        try:
            image = Image.fromarray(to_uint8(read_image(path, least_side=_SIDE).rgb))
        except ImageError:
            return
        image.thumbnail((_SIDE, _SIDE), reducing_gap=2)
        image = image.convert("L")
        views = (image, ImageOps.mirror(image))
        self.look = np.array([imagehash.phash(view).hash.ravel() for view in views])


def describe(duplicates: Iterable[Duplicate]) -> str:
    """Return a line of text that names the photos."""
    return "; ".join(
        f"{photo} is {original}" + ("" if distance is None else f" (nearly: {distance} of 64 bits)")
        for photo, original, distance in duplicates
    )
