"""Choose the factor on the chroma, or on a and b, of a model, on validation photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.core.arrays import FloatArray
from autocolor.evaluation.evaluate import grey_image, read_color
from autocolor.evaluation.image_errors import Truth
from autocolor.evaluation.metrics import ColorMetrics, Scores
from autocolor.histograms.decode import check_strength
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import compose_rgb, lightness
from autocolor.imaging.images import ImageError, fit_side


class PhotoColorizer(Protocol):
    """The part of :class:`autocolor.runtime.colorizer.Colorizer` that the choice of strength needs."""

    def predict(self, lightness: FloatArray) -> Prediction:
        """Return what is predicted for a photo, before the strength is applied."""


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
    colorizer: PhotoColorizer, paths: Sequence[Path], candidates: Sequence[float], **options: Any
) -> StrengthChoice:
    """Choose the strength of one model: see :func:`choose_strengths`."""
    return choose_strengths({"": colorizer}, paths, candidates, **options)[""]


def choose_strengths(
    colorizers: Mapping[str, PhotoColorizer],
    paths: Sequence[Path],
    candidates: Sequence[float],
    *,
    smaller_side: int | None = None,
    progress: bool = True,
) -> dict[str, StrengthChoice]:
    """Choose the factors on chroma, or on a and b, that do best on *validation* photos.

    Each metric is taken relative to "no colorization", so that both count alike whatever their
    units. Among the candidates that beat grey in both metrics, the one with the smallest mean of
    the two ratios is chosen; if none beats grey in both, the one whose worse ratio is smallest.
    A network runs once for each photo; unreadable and colourless photos are left out.

    Parameters
    ----------
    colorizers : dict of Colorizer
        By name; models that share a network see the same photo one after the other.
    paths : sequence of Path
        Validation photos, never the held-out ones.
    candidates : sequence of float, each >= 0
    smaller_side : int, optional
        Photos whose smaller side is larger are reduced to it; otherwise full resolution.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    dict of StrengthChoice
        By name.

    Raises
    ------
    ValueError
        If there is no candidate, one is out of range, or no photo could be scored.
    """
    if not candidates:
        raise ValueError("candidates: expected at least one strength, received none")
    for strength in candidates:
        check_strength(strength)
    metrics = {name: [ColorMetrics(replicates=0) for _ in candidates] for name in colorizers}
    grey_metrics = ColorMetrics(replicates=0)
    for truth in tqdm(_color_photos(paths), total=len(paths), unit="photo", disable=not progress):
        if smaller_side is not None:
            truth = fit_side(truth, smaller_side, "smaller")
        light = lightness(truth)
        shared = Truth(truth)
        grey_metrics.add(shared, grey_image(light))
        for name, colorizer in colorizers.items():
            colorize = _colorizer(colorizer.predict(light))
            for strength, metric in zip(candidates, metrics[name], strict=True):
                metric.add(shared, colorize(strength))
    if not grey_metrics.images:
        raise ValueError("paths: expected at least one colour photo, received none")
    grey = grey_metrics.scores()
    return {name: _choose(found, candidates, grey) for name, found in metrics.items()}


def _colorizer(prediction: Prediction) -> Callable[[float], npt.NDArray[np.float32]]:
    """Return strength to RGB; hue and chroma are taken from their histograms only once."""
    if prediction.variant != "hue_chroma":
        return lambda strength: prediction.colorize(strength=strength)
    hue, chroma = prediction.hue_chroma()
    return lambda strength: compose_rgb(hue, chroma * strength, prediction.lightness)


def _choose(
    metrics: Sequence[ColorMetrics], candidates: Sequence[float], grey: Scores
) -> StrengthChoice:
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
            yield read_color(path)
        except ImageError:
            continue


def _relative(strength: float, scores: Scores, grey: Scores) -> StrengthScores:
    square_error_ratio = math.pow(10, (grey.psnr - scores.psnr) / 10)
    return StrengthScores(strength, scores, scores.rmse / grey.rmse, square_error_ratio)
