"""Score colorizations of photos against the photos themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.checks import FloatArray
from autocolor.color import lightness
from autocolor.images import ImageError, read_image, resize
from autocolor.metrics import ColorMetrics, Scores

# (height, width) that the pictures of the gallery are reduced to fit in.
GALLERY_CELL = (270, 360)


@dataclass(frozen=True)
class PhotoScores:
    """Scores of one photo: the colorization's and those of the grey photo itself."""

    path: Path
    height: int
    width: int
    model: Scores
    grey: Scores


@dataclass(frozen=True)
class GalleryPhoto:
    """One row of the gallery: (h, w, 3) float32 images, reduced to fit `GALLERY_CELL`."""

    scores: PhotoScores
    grey: npt.NDArray[np.float32]
    colorized: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` found.

    Attributes
    ----------
    photos : list of PhotoScores
    skipped : list of (path, reason)
    model, grey : Scores
        Over all photos: the colorizations, and "no colorization".
    gallery : list of GalleryPhoto
    photos_sha256 : str
        Of the names and bytes of the scored photos, in order.
    """

    photos: list[PhotoScores]
    skipped: list[tuple[Path, str]]
    model: Scores
    grey: Scores
    gallery: list[GalleryPhoto]
    photos_sha256: str


def evaluate(
    colorize: Callable[[FloatArray], FloatArray],
    paths: Sequence[Path],
    *,
    gallery_size: int = 12,
    progress: bool = True,
) -> Evaluation:
    """Colorize the lightness of each photo at full resolution and score the result.

    Unreadable photos and photos without any colour are skipped and listed. Of the latter the
    paper leaves out those encoded as greyscale; the PSNR of "no colorization" would be infinite
    for any of them. Photos are read one at a time.

    Parameters
    ----------
    colorize : callable
        (H, W) lightness in [0, 1] -> (H, W, 3) RGB in [0, 1], as `Predictor.colorize`.
    paths : sequence of Path
    gallery_size : int
        Photos kept for the gallery, spread evenly over `paths`.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    ValueError
        If no photo could be scored.
    """
    model_metrics, grey_metrics = ColorMetrics(), ColorMetrics()
    photos: list[PhotoScores] = []
    skipped: list[tuple[Path, str]] = []
    gallery: list[GalleryPhoto] = []
    digest = hashlib.sha256()
    shown = set(np.linspace(0, len(paths) - 1, min(gallery_size, len(paths))).round().astype(int))
    for index, path in enumerate(tqdm(paths, unit="photo", disable=not progress)):
        try:
            truth = read_color(path)
        except ImageError as error:
            skipped.append((path, str(error)))
            continue
        light = lightness(truth)
        grey = np.repeat(light[..., None], 3, axis=-1)
        colorized = colorize(light)
        scores = PhotoScores(
            path,
            height=light.shape[0],
            width=light.shape[1],
            model=model_metrics.add(truth, colorized),
            grey=grey_metrics.add(truth, grey),
        )
        photos.append(scores)
        add_photo(digest, path)
        if index in shown:
            gallery.append(GalleryPhoto(scores, _small(grey), _small(colorized), _small(truth)))
    if not photos:
        reason = f"; the first was skipped: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"paths: expected at least one colour photo, received none{reason}")
    return Evaluation(
        photos, skipped, model_metrics.scores(), grey_metrics.scores(), gallery, digest.hexdigest()
    )


def add_photo(digest: hashlib._Hash, path: Path) -> None:
    """Add a photo's name and bytes to the hash of a list of photos."""
    digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())


def read_color(path: Path) -> npt.NDArray[np.float32]:
    """Read a photo as RGB; an `ImageError` if it cannot be read or is grey throughout."""
    rgb = read_image(path).rgb
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 1], rgb[..., 2]):
        raise ImageError(f"{path}: has no colour to compare with")
    return rgb


def _small(image: FloatArray) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    factor = min(1.0, GALLERY_CELL[0] / height, GALLERY_CELL[1] / width)
    return resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))
