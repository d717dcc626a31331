"""Choose the factor on the chroma, or on a and b, of a model, on validation photos."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from autocolor.core.arrays import Float32Array, FloatArray
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS
from autocolor.evaluation.evaluate import GREY, EvaluationProtocol, Scene, SceneMethod, score
from autocolor.evaluation.metrics import Scores
from autocolor.histograms.decode import check_strength, compose, estimate
from autocolor.histograms.prediction import Prediction


class PhotoColorizer(Protocol):
    """The part of :class:`autocolor.runtime.colorizer.Colorizer` that the choice of strength needs."""

    def predict(self, lightness: FloatArray) -> Prediction:
        """Return what is predicted for a photo, before the strength is applied."""


@dataclass(frozen=True)
class StrengthScores:
    """How one strength does on validation photos."""

    strength: float
    scores: Scores
    rmse_ratio: float  #: RMSE relative to "no colorization"; below 1 is better than grey
    #: Squared RGB error relative to "no colorization", as the geometric mean over photos, which is
    #: what PSNR averages
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
    A network runs once for each photo; unreadable photos and those encoded as
    greyscale are left out.

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
    InputError
        If there is no candidate, one is out of range, or no photo could be scored.
    """
    if not candidates:
        raise InputError("candidates", "expected at least one strength, got none")
    for strength in candidates:
        check_strength(strength)
    names = {name: [f"{name} at {strength}" for strength in candidates] for name in colorizers}
    methods = {
        method: _at_strength(name, colorizer, strength)
        for name, colorizer in colorizers.items()
        for method, strength in zip(names[name], candidates, strict=True)
    }
    protocol = EvaluationProtocol(smaller_side, "smaller", extras=False)
    scores = score(methods, paths, protocol=protocol, replicates=0, progress=progress).scores
    return {
        name: _choose(candidates, [scores[method] for method in row], scores[GREY])
        for name, row in names.items()
    }


def _at_strength(name: str, colorizer: PhotoColorizer, strength: float) -> SceneMethod:
    def colorize(scene: Scene) -> FloatArray:
        at_strength = scene.once(name, lambda: _decoded(colorizer.predict(scene.lightness)))
        return at_strength(strength)

    return colorize


def _decoded(prediction: Prediction) -> Callable[[float], Float32Array]:
    """Return strength to RGB; histograms are read only once."""
    variant, light = prediction.variant, prediction.lightness
    values: tuple[FloatArray, ...]
    if VARIANTS[variant].has_hue:
        values = prediction.hue_chroma()
    else:
        tiles = [estimate(variant, outputs) for _, outputs in prediction.tiles()]
        values = tuple(np.concatenate(bands) for bands in zip(*tiles, strict=True))
    return lambda strength: compose(variant, values, light, strength)


def _choose(candidates: Sequence[float], scores: Sequence[Scores], grey: Scores) -> StrengthChoice:
    if not grey.rmse:
        raise InputError("paths", "expected photos with colour, got none that has any")
    table = [
        StrengthScores(
            strength,
            found,
            rmse_ratio=found.rmse / grey.rmse,
            square_error_ratio=math.pow(10, (grey.psnr - found.psnr) / 10),
        )
        for strength, found in zip(candidates, scores, strict=True)
    ]
    good = [row for row in table if row.beats_grey]
    if good:
        best = min(good, key=lambda row: row.objective)
    else:
        best = min(table, key=lambda row: max(row.rmse_ratio, row.square_error_ratio))
    return StrengthChoice(best.strength, table, grey)
