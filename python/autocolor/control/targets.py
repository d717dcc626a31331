"""Target histograms for the transfer of colour (section 3.4), of an image or out of a file.

A variant of the model (``tools/generate_prototxt.py --variant``) predicts these histograms, in this
order; K is 32 for a marginal histogram and 16 * 16 for the joint one unless said otherwise:

=============== ============================================================================
hue_chroma      ``hue``, ``chroma``: even bins of [0, 1]
lab_marginal    ``a``, ``b``: quantiles of a Gaussian of standard deviation 25
lab_joint       ``ab``: the same quantiles on a grid, flattened; index bin of a * bins + bin of b
=============== ============================================================================

A file of targets is a NumPy archive (.npz, without pickle) of these 1-D float arrays, under these
names and of one variant alone, each non-negative with some mass; it is normalised on reading.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_array, check_same_shape
from autocolor.core.errors import AutocolorError, InputError
from autocolor.core.files import DAMAGED, FileKindError, check_is_file
from autocolor.core.variants import VARIANTS
from autocolor.histograms.bins import bin_index, quantile_edges, uniform_edges
from autocolor.imaging.color import rgb_to_hue_chroma, rgb_to_lab

Targets = dict[str, npt.NDArray[np.float64]]
"""Names and (K,) histograms, in the order of the variant's outputs."""

_HISTOGRAMS = {name: v.outputs for name, v in VARIANTS.items() if v.is_histogram}

_LARGEST_ARRAY = 16 * 2**20  # bytes, of a histogram in a file


class TargetError(AutocolorError):
    """A file that holds no usable targets; one line that names it."""


def image_targets(rgb: FloatArray, variant: str, bins: int) -> Targets:
    """Return the histograms of an image: of a reference, or of the truth.

    The hue histogram is weighted by chroma, as the hue's loss is (Eq. 3): the hue of grey pixels is
    undefined. It is even if no pixel has chroma.

    Parameters
    ----------
    rgb : (..., 3) float array in [0, 1]
    variant : {"hue_chroma", "lab_marginal", "lab_joint"}
    bins : int
        For each channel; the joint histogram has bins * bins.

    Returns
    -------
    dict of (K,) float64 arrays, each of sum 1.
    """
    check_variant(variant)
    if rgb.size == 0:
        raise InputError("rgb", "expected at least one pixel, got none")
    if VARIANTS[variant].has_hue:
        hue, chroma = rgb_to_hue_chroma(rgb)
        edges = uniform_edges(bins)
        hues = _count(bin_index(hue, edges), bins, chroma) if chroma.any() else np.ones(bins) / bins
        return {"hue": hues, "chroma": _count(bin_index(chroma, edges), bins)}
    lab = rgb_to_lab(rgb)
    edges = quantile_edges(bins)
    a, b = (bin_index(lab[..., channel], edges) for channel in (1, 2))
    if VARIANTS[variant].is_joint:
        return {"ab": _count(a * bins + b, bins * bins)}
    return {"a": _count(a, bins), "b": _count(b, bins)}


def load_targets(path: Path | str, variant: str, bins: int) -> Targets:
    """Read targets from a .npz file; see the module's text for the format.

    Parameters
    ----------
    path : path
    variant : {"hue_chroma", "lab_marginal", "lab_joint"}
        Of the model that will use them.
    bins : int
        For each channel.

    Returns
    -------
    dict of (K,) float64 arrays, each of sum 1.

    Raises
    ------
    TargetError
        If the file is missing, no such archive, or of another variant or number of bins.
    """
    check_variant(variant)
    path = Path(path)
    try:
        check_is_file(path)
        # Through a handle: NumPy then neither closes over a damaged file nor adds a suffix.
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise TargetError(f"{path}: expected a .npz file of histograms")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                largest = max((member.file_size for member in archive.zip.infolist()), default=0)
                if largest > _LARGEST_ARRAY:
                    raise TargetError(f"{path}: expected a histogram, got {largest:,} bytes")
                content = {name: archive[name] for name in archive.files}
                # NumPy returns what is no array as bytes.
                if not all(isinstance(values, np.ndarray) for values in content.values()):
                    raise TargetError(f"{path}: expected arrays, got something else")
    except (FileNotFoundError, FileKindError) as error:
        raise TargetError(str(error)) from None
    except DAMAGED as error:
        raise TargetError(f"{path}: cannot be read: {error}") from error
    names = _HISTOGRAMS[variant]
    if set(content) != set(names):
        got = ", ".join(sorted(content)) or "none"
        raise TargetError(
            f"{path}: expected the histograms {', '.join(names)} of {variant}, got {got}"
        )
    size = VARIANTS[variant].channels(bins)
    try:
        for name in names:
            check_same_shape(name, content[name], (size,))
        return {name: _normalised(name, content[name]) for name in names}
    except InputError as error:
        raise TargetError(f"{path}: {error}") from error


def _count(
    indices: npt.NDArray[np.intp], bins: int, weights: FloatArray | None = None
) -> npt.NDArray[np.float64]:
    flat = None if weights is None else weights.ravel()
    counts = np.bincount(indices.ravel(), weights=flat, minlength=bins)
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def _normalised(name: str, histogram: FloatArray) -> npt.NDArray[np.float64]:
    check_array(name, histogram, low=0)
    total = histogram.sum(dtype=np.float64)
    if histogram.ndim != 1 or total <= 0:
        raise InputError(name, f"expected shape (K,) with some mass, got {histogram.shape}")
    normalised: npt.NDArray[np.float64] = histogram / total
    return normalised


def check_variant(variant: str) -> None:
    """Refuse a variant that predicts no histograms, with an `InputError`."""
    if variant not in _HISTOGRAMS:
        choices = ", ".join(_HISTOGRAMS)
        raise InputError("variant", f"expected one of {choices}, got {variant!r}")
