"""Creative control over a prediction: a reference's colours, hints, diverse colorizations (section 4).

The changes are made to the predicted histograms, tile by tile, before colours are taken from them:
first towards the reference (Eq. 6), then towards one of the diverse colorizations, then the hints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from autocolor.control.biases import (
    Biases,
    hue_biases,
    lab_biases,
    lab_joint_biases,
    render_uncertainty,
    uncertainty,
)
from autocolor.control.energy import apply_bias, minimize_energy
from autocolor.control.hints import Hint, RegionHint, spread_hints
from autocolor.control.quantile import transfer_quantiles
from autocolor.control.targets import (
    TARGET_NAMES,
    Targets,
    check_variant,
    image_targets,
    load_targets,
)
from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.tiles import ImageTiles
from autocolor.imaging.images import read_image

TRANSFERS = ("energy", "quantile")

DIVERSITY = 1.5
"""Largest bias, in nats, of diverse colorizations; judged by eye."""


class Reference(NamedTuple):
    """Whose colours to take: the image itself for quantiles, its histograms for the energy."""

    rgb: FloatArray | None
    targets: Targets | None


@dataclass(frozen=True)
class Edits:
    """What to change in a prediction; nothing unless given.

    Attributes
    ----------
    reference : Reference or None
    hints : sequence of Hint and RegionHint
    samples : int
        Colorizations to make: diverse ones, or with the method "sample" as many random samples.
    """

    reference: Reference | None = None
    hints: Sequence[Hint | RegionHint] = ()
    samples: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError("samples", f"expected at least 1, got {self.samples}")

    def check(self, variant: str) -> None:
        """Refuse what a model of a variant cannot do, with a `ValueError`."""
        energy = self.reference is not None and self.reference.targets is not None
        if self.hints or self.samples > 1 or energy:
            check_variant(variant)


def load_reference(path: Path, transfer: str, variant: str, bins: int) -> Reference:
    """Read a reference image, or for the energy a file of histograms (.npz).

    Parameters
    ----------
    path : Path
    transfer : {"energy", "quantile"}
        Energy minimisation or quantile matching (section 3.4).
    variant, bins
        Of the model.

    Raises
    ------
    autocolor.imaging.images.ImageError, OSError
        If an image cannot be read.
    ValueError
        If the file is no usable one or does not fit the transfer.
    """
    if transfer not in TRANSFERS:
        raise InputError("transfer", f"expected one of {', '.join(TRANSFERS)}, got {transfer!r}")
    if path.suffix.lower() == ".npz":
        if transfer == "quantile":
            raise InputError("reference", f"expected an image to match quantiles, got {path}")
        return Reference(None, load_targets(path, variant, bins))
    rgb = read_image(path).rgb
    if transfer == "quantile":
        return Reference(rgb, None)
    return Reference(None, image_targets(rgb, variant, bins))


def colorize_edited(
    prediction: Prediction, edits: Edits, rng: np.random.Generator, **options: Any
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the colorizations that are asked for.

    Parameters
    ----------
    prediction : Prediction
    edits : Edits
    rng : numpy.random.Generator
        Draws the samples.
    **options
        Other than `rng` and `tiles` of :meth:`autocolor.histograms.prediction.Prediction.colorize`. The
        strength is 1 unless given where the energy is used: the target says how much chroma there
        is.

    Yields
    ------
    (H, W, 3) float32 array, RGB in [0, 1], of the lightness of the photo.

    Raises
    ------
    ValueError
        If a model of this variant predicts no histograms to change, or as
        :meth:`autocolor.histograms.prediction.Prediction.colorize`.
    """
    edits.check(prediction.variant)
    tiles: ImageTiles | None = None  # as predicted, of which colours are taken faster
    reference = edits.reference
    if reference is not None and reference.targets is not None:
        tiles = _biased(prediction.tiles, [
            minimize_energy(prediction.channel_tiles(index), reference.targets[name]).bias
            for index, name in enumerate(TARGET_NAMES[prediction.variant])
        ])  # fmt: skip
        if options.get("strength") is None:
            options = {**options, "strength": 1.0}
    random = options.get("method") == "sample" or edits.samples == 1
    choices: list[list[Biases | None] | None] = [None] * edits.samples
    if not random:
        choices = list(_diverse(prediction, edits.samples))
    for biases in choices:
        chosen = tiles if biases is None else _biased(tiles or prediction.tiles, biases)
        hinted = chosen
        if edits.hints:
            hinted = _hinted(chosen or prediction.tiles, prediction, edits.hints)
        rgb = prediction.colorize(tiles=hinted, rng=rng, **options)
        if reference is not None and reference.rgb is not None:
            rgb = transfer_quantiles(rgb, reference.rgb).astype(np.float32, copy=False)
        yield rgb


def uncertainty_image(prediction: Prediction) -> npt.NDArray[np.float32]:
    """Return the entropy of the predicted colour as an (H, W, 3) image (Figure 10).

    Raises
    ------
    ValueError
        If a model of this variant predicts no histograms.
    """
    check_variant(prediction.variant)
    bits = np.empty(prediction.lightness.shape, np.float32)
    for rows, outputs in prediction.tiles():
        bits[rows] = uncertainty(*outputs)
    most = sum(np.log2(grid.shape[-1]) for grid in prediction.outputs)
    return render_uncertainty(bits, most)


def save_histograms(path: Path, prediction: Prediction) -> None:
    """Write the predicted histograms on the network's grid to a .npz file, atomically.

    Arrays: ``hue`` and ``chroma``, ``a`` and ``b``, or ``ab``, each (h, w, K) float32, and
    ``cells_per_pixel`` (2,), (y, x): cells of the grid in one pixel of the photo.

    Raises
    ------
    ValueError
        If a model of this variant predicts no histograms.
    OSError
        If the file cannot be written.
    """
    check_variant(prediction.variant)
    arrays = dict(zip(TARGET_NAMES[prediction.variant], prediction.outputs, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial, partial.open("wb") as stream:
        arrays["cells_per_pixel"] = np.array(prediction.cells_per_pixel)
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # taken for allow_pickle


def _biased(tiles: ImageTiles, biases: Sequence[Biases | None]) -> ImageTiles:
    def changed() -> Iterator[tuple[slice, tuple[FloatArray, ...]]]:
        for rows, outputs in tiles():
            yield (
                rows,
                tuple(
                    output if bias is None else apply_bias(output, bias)
                    for output, bias in zip(outputs, biases, strict=True)
                ),
            )

    return changed


def _hinted(tiles: ImageTiles, prediction: Prediction, hints: Sequence[Hint | RegionHint]) -> Any:
    return lambda: spread_hints(tiles, prediction.lightness, hints, prediction.variant)


def _diverse(prediction: Prediction, count: int) -> Iterator[list[Biases | None]]:
    bins = prediction.outputs[0].shape[-1]
    if prediction.variant == "hue_chroma":
        for bias in hue_biases(count, DIVERSITY, bins):
            yield [bias, None]
    elif prediction.variant == "lab_marginal":
        for a, b in zip(*lab_biases(count, DIVERSITY, bins), strict=True):
            yield [a, b]
    else:
        for bias in lab_joint_biases(count, DIVERSITY, round(bins**0.5)):
            yield [bias]
