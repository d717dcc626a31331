"""Creative control over a prediction: a reference's colours, hints, diverse colorizations (section 4).

The command line and the web page both make their changes here, and so the same pixels. First come
the biases: of the reference (Eq. 6), and of the hue to lean towards. They change the histograms on
the network's grid, which hold all that it says, whatever the photo's size: a preview then has the
colours of the photo, the means that Eq. 6 asks for are those of what is enlarged, and its minimum
is found in a hundredth of the time that the pixels would take. Hints, which have edges, follow at
full resolution, and quantile matching at last.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from autocolor.control.biases import Biases, lean_biases, render_uncertainty, uncertainty
from autocolor.control.energy import apply_bias, minimize_energy
from autocolor.control.hints import Hint, RegionHint, spread_hints
from autocolor.control.quantile import transfer_quantiles
from autocolor.control.targets import Targets, check_variant, image_targets, load_targets
from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.core.files import atomic_path
from autocolor.core.variants import VARIANTS
from autocolor.histograms.decode import DecodeOptions, compose, estimate
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.tiles import array_tiles
from autocolor.imaging.images import fit_pixels, read_image

TRANSFERS = ("energy", "quantile")

DIVERSITY = 1.5
"""Largest bias, in nats, of diverse colorizations; judged by eye."""

REFERENCE_PIXELS = 512 * 512
"""A larger reference is reduced to this many: its colours are hardly others, and sorting them for
quantiles takes seconds less."""

Progress = Callable[[float], None]
"""Called with the part that is done; what it raises stops the work."""


class Reference(NamedTuple):
    """Whose colours to take: for quantiles an image, for the energy its histograms or biases."""

    rgb: FloatArray | None = None  #: (H, W, 3) float array in [0, 1]
    targets: Targets | None = None  #: Histograms, see :mod:`autocolor.control.targets`
    #: (K,) arrays of Eq. 6, where :func:`energy_biases` has found them already.
    biases: Sequence[Biases | None] | None = None

    @property
    def is_energy(self) -> bool:
        """Whether histograms are bent towards it."""
        return self.targets is not None or self.biases is not None


class HintedPixels(NamedTuple):
    """The colours of those pixels of some rows that a hint reaches, before the strength."""

    rows: slice
    near: tuple[npt.NDArray[np.intp], ...]  #: Two (n,) arrays: the pixels, (y, x), within the rows
    values: tuple[FloatArray, ...]  #: See :func:`autocolor.histograms.decode.estimate`
    #: (n,) float32 array. See :class:`autocolor.control.hints.HintedTile`.
    share: npt.NDArray[np.float32]

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return sum(array.nbytes for array in (*self.near, *self.values, self.share))


@dataclass(frozen=True)
class Edits:
    """What to change in a prediction; nothing unless given."""

    reference: Reference | None = None
    hints: Sequence[Hint | RegionHint] = ()
    #: Colorizations to make: diverse ones, which lean towards as many hues by `DIVERSITY`, or with
    #: the method "sample" as many random samples
    samples: int = 1
    #: Hue in turns that the colours lean towards, and how much, in nats; see
    #: :func:`autocolor.control.biases.lean_biases`
    hue: float = 0.0
    lean: float = 0.0
    #: Filled if it is empty, else used in place of spreading the hints: of the same photo with the
    #: same edits, of one sample that is not drawn at random, whatever the strength
    hinted: list[HintedPixels] | None = None

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError("samples", f"expected at least 1, got {self.samples}")

    def check(self, variant: str) -> None:
        """Refuse what a model of a variant cannot do, with an `InputError`."""
        energy = self.reference is not None and self.reference.is_energy
        if self.hints or self.samples > 1 or self.lean or energy:
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
    """
    if transfer not in TRANSFERS:
        raise InputError("transfer", f"expected one of {', '.join(TRANSFERS)}, got {transfer!r}")
    if path.suffix.lower() == ".npz":
        if transfer == "quantile":
            raise InputError("reference", f"expected an image to match quantiles, got {path}")
        return Reference(targets=load_targets(path, variant, bins))
    rgb = read_reference(path)
    if transfer == "quantile":
        return Reference(rgb)
    return Reference(targets=image_targets(rgb, variant, bins))


def read_reference(path: Path) -> npt.NDArray[np.float32]:
    """Read an image whose colours are to be taken, reduced to `REFERENCE_PIXELS`.

    Raises
    ------
    autocolor.imaging.images.ImageError
        If it cannot be read.
    """
    return fit_pixels(
        read_image(path, least_side=math.isqrt(REFERENCE_PIXELS)).rgb, REFERENCE_PIXELS
    )


def energy_biases(prediction: Prediction, targets: Targets) -> list[Biases | None]:
    """Return the biases of Eq. 6 for each output of a network, found on its grid."""
    names = VARIANTS[prediction.variant].outputs
    return [
        minimize_energy(array_tiles(output), targets[name]).bias
        for name, output in zip(names, prediction.outputs, strict=True)
    ]


def colorize_edited(
    prediction: Prediction,
    edits: Edits,
    rng: np.random.Generator | None = None,
    options: DecodeOptions = DecodeOptions(),
    progress: Progress = lambda done: None,
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the colorizations that are asked for.

    Parameters
    ----------
    prediction : Prediction
    edits : Edits
    rng : numpy.random.Generator, optional
        Draws the samples.
    options : DecodeOptions
        The strength is 1 unless given where the energy is used: the target says how much chroma
        there is.
    progress : callable
        See `Progress`; of each colorization.

    Yields
    ------
    (H, W, 3) float32 array, RGB in [0, 1], of the lightness of the photo.
    """
    edits.check(prediction.variant)
    reference = edits.reference or Reference()
    if reference.is_energy:
        biases = reference.biases or energy_biases(prediction, reference.targets or {})
        prediction = _biased(prediction, biases)
        if options.strength is None:
            options = replace(options, strength=1.0)
    if edits.lean:
        prediction = _leaning(prediction, edits.hue, edits.lean)
    height = len(prediction.lightness)
    for number in range(edits.samples):
        changed = prediction
        if edits.samples > 1 and options.method != "sample":
            changed = _leaning(prediction, number / edits.samples, DIVERSITY)
        if edits.hints:
            rgb = _decode_hinted(changed, edits, options, rng, progress)
        else:
            rgb = changed.decode(options, rng, lambda rows: progress(rows / height))
        if reference.rgb is not None:
            rgb = transfer_quantiles(rgb, reference.rgb).astype(np.float32, copy=False)
        yield rgb


def uncertainty_image(prediction: Prediction) -> npt.NDArray[np.float32]:
    """Return the entropy of the predicted colour as an (H, W, 3) image (Figure 10)."""
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
    OSError
        If the file cannot be written.
    """
    check_variant(prediction.variant)
    arrays = dict(zip(VARIANTS[prediction.variant].outputs, prediction.outputs, strict=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial, partial.open("wb") as stream:
        arrays["cells_per_pixel"] = np.array(prediction.cells_per_pixel)
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # taken for allow_pickle


def _biased(prediction: Prediction, biases: Sequence[Biases | None]) -> Prediction:
    outputs = tuple(
        output if bias is None else apply_bias(output, bias)
        for output, bias in zip(prediction.outputs, biases, strict=True)
    )
    return replace(prediction, outputs=outputs)


def _leaning(prediction: Prediction, hue: float, lean: float) -> Prediction:
    return _biased(prediction, lean_biases(prediction.variant, hue, lean, prediction.bins))


def _decode_hinted(
    prediction: Prediction,
    edits: Edits,
    options: DecodeOptions,
    rng: np.random.Generator | None,
    progress: Progress,
) -> npt.NDArray[np.float32]:
    """Colour a photo, and then anew the pixels that some hint reaches."""
    variant, light = prediction.variant, prediction.lightness
    # Their pixels are drawn with the same numbers again.
    again = copy.deepcopy(rng)
    parts = 3  # the hints read the tiles twice
    rgb = prediction.decode(options, rng, lambda rows: progress(rows / len(light) / parts))
    strength = options.factor(prediction.strength)
    found: Iterable[HintedPixels] = edits.hinted or _hinted_pixels(
        prediction, edits.hints, options, again, lambda done: progress((1 + 2 * done) / parts)
    )
    if edits.hinted == []:
        found = list(found)  # all of them, or none
        edits.hinted.extend(found)
    for part in found:
        rgb[part.rows][part.near] = compose(
            variant,
            part.values,
            light[part.rows][part.near],
            strength + (1 - strength) * part.share,
        )
    return rgb


def _hinted_pixels(
    prediction: Prediction,
    hints: Sequence[Hint | RegionHint],
    options: DecodeOptions,
    rng: np.random.Generator | None,
    progress: Progress,
) -> Iterator[HintedPixels]:
    variant, light = prediction.variant, prediction.lightness
    draw = prediction.uniforms(options, rng)
    seen = 0

    def tiles() -> Iterator[tuple[slice, tuple[FloatArray, ...]]]:
        nonlocal seen
        for rows, outputs in prediction.tiles():
            progress(seen / (2 * len(light)))
            seen += rows.stop - rows.start
            yield rows, outputs

    for rows, histograms, share in spread_hints(tiles, light, hints, variant):
        uniforms = draw(share.shape)
        near = np.nonzero(share)
        if not len(near[0]):
            continue
        if uniforms is not None and uniforms.ndim > 1:
            uniforms = uniforms[near]
        values = estimate(variant, [histogram[near] for histogram in histograms], options, uniforms)
        yield HintedPixels(rows, near, values, share[near])
