"""Table 4's experiment: colorization of photos whose true colour histogram is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from autocolor.control.energy import CHI_SQUARE_WEIGHT, Transfer, apply_bias, minimize_energy
from autocolor.control.quantile import transfer_quantiles
from autocolor.control.targets import image_targets
from autocolor.core.arrays import FloatArray
from autocolor.evaluation.evaluate import GREY, grey_image, read_color
from autocolor.evaluation.image_errors import Truth
from autocolor.evaluation.metrics import ColorMetrics, Scores
from autocolor.histograms.decode import decode_hue_chroma
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import lightness
from autocolor.imaging.images import ImageError, fit_side
from autocolor.runtime.colorizer import Colorizer


@dataclass(frozen=True)
class TransferEvaluation:
    """What :func:`evaluate_transfer` found.

    Attributes
    ----------
    images : int
    skipped : list of (path, reason)
    scores : dict of Scores
        Over all photos, by method: "no colorization", "automatic", "Q" and, for each weight,
        "E, weight 10".
    steps : float
        Mean number of steps of the energy's descents.
    unfinished : int
        How many of them did not converge.
    """

    images: int
    skipped: list[tuple[Path, str]]
    scores: dict[str, Scores]
    steps: float
    unfinished: int


def evaluate_transfer(
    colorizer: Colorizer,
    paths: Sequence[Path],
    weights: Sequence[float],
    *,
    maximum_side: int | None = None,
    progress: bool = True,
) -> TransferEvaluation:
    """Score quantile matching (Q) and energy minimisation (E) towards the truth (Table 4).

    Both know the truth's colours but not where they are. E decodes the posteriors at strength 1: a
    model's own strength makes up for its doubt about chroma, which the target takes away.

    Parameters
    ----------
    colorizer : Colorizer
        Of hue and chroma.
    paths : sequence of Path
        Colour photos; unreadable and colourless ones are skipped and listed.
    weights : sequence of float, >= 0
        Values of lambda (Eq. 6).
    maximum_side : int, optional
        Photos whose larger side is larger are reduced to it; otherwise full resolution.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    ValueError
        If an argument is out of range or no photo could be scored.
    """
    if maximum_side is not None and maximum_side < 1:
        raise ValueError(f"maximum_side: expected at least 1, received {maximum_side}")
    metrics: dict[str, ColorMetrics] = {}
    skipped: list[tuple[Path, str]] = []
    descents: list[Transfer] = []
    images = 0
    for path in tqdm(paths, unit="photo", disable=not progress):
        try:
            truth = read_color(path)
        except ImageError as error:
            skipped.append((path, str(error)))
            continue
        if maximum_side is not None:
            truth = fit_side(truth, maximum_side, "larger")
        light = lightness(truth)
        prediction = colorizer.predict(light)
        automatic = prediction.colorize()
        results = {
            GREY: grey_image(light),
            "automatic": automatic,
            "Q": transfer_quantiles(automatic, truth),
        }
        for weight in weights:
            rgb, found = colorize_by_energy(prediction, truth, weight)
            descents += found
            results[f"E, weight {weight:g}"] = rgb
        shared = Truth(truth)
        for name, result in results.items():
            metrics.setdefault(name, ColorMetrics(replicates=0)).add(shared, result)
        images += 1
    if not images:
        reason = f"; the first was skipped: {skipped[0][1]}" if skipped else ""
        raise ValueError(f"paths: expected at least one colour photo, received none{reason}")
    return TransferEvaluation(
        images,
        skipped,
        {name: metric.scores() for name, metric in metrics.items()},
        steps=float(np.mean([descent.steps for descent in descents])) if descents else 0.0,
        unfinished=sum(descent.stopped != "converged" for descent in descents),
    )


def colorize_by_energy(
    prediction: Prediction, truth: FloatArray, weight: float = CHI_SQUARE_WEIGHT
) -> tuple[npt.NDArray[np.float32], list[Transfer]]:
    """Colorize with the histograms of hue and chroma bent towards those of an image (E, Eq. 6).

    The colours are taken at strength 1: see :func:`evaluate_transfer`.

    Parameters
    ----------
    prediction : Prediction
        Of hue and chroma.
    truth : (..., 3) float array, RGB in [0, 1]
        Whose histograms are the target.
    weight : float, >= 0
        lambda of Eq. 6.

    Returns
    -------
    rgb : (H, W, 3) float32 array in [0, 1]
    transfers : list of Transfer
        Of hue and of chroma.
    """
    bins = prediction.outputs[0].shape[-1]
    targets = image_targets(truth, "hue_chroma", bins).values()
    tiles = [prediction.channel_tiles(index) for index in range(2)]
    found = [
        minimize_energy(tile, target, weight) for tile, target in zip(tiles, targets, strict=True)
    ]
    light = prediction.lightness
    rgb = np.empty((*light.shape, 3), np.float32)
    for (rows, hue), (_, chroma) in zip(tiles[0](), tiles[1](), strict=True):
        hue, chroma = apply_bias(hue, found[0].bias), apply_bias(chroma, found[1].bias)
        rgb[rows] = decode_hue_chroma(hue, chroma, light[rows])
    return rgb, found
