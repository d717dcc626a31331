"""Score colorizations of photos against the photos, and choose the strength of a model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.checks import FloatArray
from autocolor.color import compose_rgb, lightness
from autocolor.images import ImageError, read_image, resize
from autocolor.inference import check_strength
from autocolor.metrics import ColorMetrics, Scores

# Gallery pictures are kept at this size while the photos stream by.
GALLERY_PIXELS = 360


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
    """One row of the gallery: (h, w, 3) float32 images, reduced to `GALLERY_PIXELS`."""

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

    Unreadable photos and photos without any colour are skipped and listed; the paper leaves the
    latter out as well. Photos are read one at a time.

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
            truth = _read_color(path)
        except ImageError as error:
            skipped.append((path, str(error)))
            continue
        light = lightness(truth)
        grey = np.repeat(light[..., None], 3, axis=-1)
        colorized = colorize(light)
        scores = PhotoScores(
            path,
            *light.shape,
            model=model_metrics.add(truth, colorized),
            grey=grey_metrics.add(truth, grey),
        )
        photos.append(scores)
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        if index in shown:
            gallery.append(GalleryPhoto(scores, _small(grey), _small(colorized), _small(truth)))
    if not photos:
        reason = f"; the first was skipped: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"paths: expected at least one colour photo, received none{reason}")
    return Evaluation(
        photos, skipped, model_metrics.scores(), grey_metrics.scores(), gallery, digest.hexdigest()
    )


def _read_color(path: Path) -> npt.NDArray[np.float32]:
    rgb = read_image(path).rgb
    if np.array_equal(rgb[..., 0], rgb[..., 1]) and np.array_equal(rgb[..., 1], rgb[..., 2]):
        raise ImageError(f"{path}: has no colour to compare with")
    return rgb


def _small(image: FloatArray) -> npt.NDArray[np.float32]:
    height, width = image.shape[:2]
    factor = min(1.0, GALLERY_PIXELS / max(height, width))
    return resize(image, (max(1, round(height * factor)), max(1, round(width * factor))))


class HueChromaPredictor(Protocol):
    """The part of :class:`autocolor.predictor.Predictor` that the choice of strength needs."""

    def hue_chroma(self, lightness: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the hue and the chroma of each pixel before the strength is applied."""


@dataclass(frozen=True)
class StrengthScores:
    """How one strength does on validation photos.

    Attributes
    ----------
    strength : float
    scores : Scores
    rmse_ratio : float
        RMSE relative to "no colorization"; below 1 is better than grey.
    square_error_ratio : float
        Squared RGB error relative to "no colorization", as the geometric mean over photos, which
        is what PSNR averages.
    """

    strength: float
    scores: Scores
    rmse_ratio: float
    square_error_ratio: float

    @property
    def objective(self) -> float:
        """Mean of the two ratios: 1 for grey, lower is better."""
        return (self.rmse_ratio + self.square_error_ratio) / 2

    @property
    def beats_grey(self) -> bool:
        """Whether both metrics are better than without colour."""
        return max(self.rmse_ratio, self.square_error_ratio) < 1


@dataclass(frozen=True)
class StrengthChoice:
    """The strength chosen, the scores of every candidate and those of "no colorization"."""

    strength: float
    candidates: list[StrengthScores]
    grey: Scores


def choose_strength(
    predictor: HueChromaPredictor,
    paths: Sequence[Path],
    candidates: Sequence[float],
    *,
    progress: bool = True,
) -> StrengthChoice:
    """Choose the factor on the chroma that does best on *validation* photos.

    Each metric is taken relative to "no colorization", so that both count alike whatever their
    units. Among the candidates that beat grey in both metrics, the one with the smallest mean of
    the two ratios is chosen; if none beats grey in both, the one whose worse ratio is smallest.
    The network runs once for each photo; unreadable and colourless photos are left out.

    Parameters
    ----------
    predictor : Predictor
    paths : sequence of Path
        Validation photos, never the held-out ones.
    candidates : sequence of float, each >= 0
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    ValueError
        If there is no candidate, one is out of range, or no photo could be scored.
    """
    if not candidates:
        raise ValueError("candidates: expected at least one strength, received none")
    for strength in candidates:
        check_strength(strength)
    metrics = [ColorMetrics() for _ in candidates]
    grey_metrics = ColorMetrics()
    for truth in tqdm(_color_photos(paths), total=len(paths), unit="photo", disable=not progress):
        light = lightness(truth)
        hue, chroma = predictor.hue_chroma(light)
        grey_metrics.add(truth, np.repeat(light[..., None], 3, axis=-1))
        for strength, metric in zip(candidates, metrics, strict=True):
            metric.add(truth, compose_rgb(hue, chroma * strength, light))
    if not grey_metrics.images:
        raise ValueError("paths: expected at least one colour photo, received none")
    grey = grey_metrics.scores()
    table = [
        _relative(strength, metric.scores(), grey)
        for strength, metric in zip(candidates, metrics, strict=True)
    ]
    good = [row for row in table if row.beats_grey]
    if good:
        best = min(good, key=lambda row: row.objective)
    else:
        best = min(table, key=lambda row: max(row.rmse_ratio, row.square_error_ratio))
    return StrengthChoice(best.strength, table, grey)


def _color_photos(paths: Sequence[Path]) -> Iterator[npt.NDArray[np.float32]]:
    for path in paths:
        try:
            yield _read_color(path)
        except ImageError:
            continue


def _relative(strength: float, scores: Scores, grey: Scores) -> StrengthScores:
    square_error_ratio = math.pow(10, (grey.psnr - scores.psnr) / 10)
    return StrengthScores(strength, scores, scores.rmse / grey.rmse, square_error_ratio)
