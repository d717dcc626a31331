"""From the outputs of a network to colour, for every variant (section 3.3, Eq. 4 and 5, A.4).

A histogram array is (..., K), float32 or float64, non-negative, each row summing to 1; "..." is
usually (H, W). The methods are those of the paper, in :mod:`autocolor.histograms.estimators`.
Histograms are not checked here, where each tile of a photo comes by:
:class:`autocolor.histograms.prediction.Prediction` does that once, on the network's grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_unit
from autocolor.core.errors import InputError
from autocolor.core.variants import VARIANTS, find_variant
from autocolor.histograms.bins import (
    finite_quantile_edges,
    quantile_centroids,
    uniform_centers,
    uniform_edges,
)
from autocolor.histograms.estimators import (
    expectation,
    expectation_hue,
    fade_chroma,
    fade_unsure,
    interpolate_bins,
    locate_quantile,
    median,
    mode,
    sample,
)
from autocolor.imaging.color import compose_lab, compose_rgb, wrap_hue

METHODS = ("sample", "mode", "median", "expectation")
"""Of chroma, and of a and b (section 3.3)."""

HUE_METHODS = ("expectation", "mode", "sample")

LOOKS = ("faithful", "vivid")
"""Least error, as the paper; or livelier where the hue is sure and grey where it is not."""

VIVID_GAIN = 1.3
"""Factor on the chroma of the vivid look, chosen with :data:`VIVID_UNSURE
<autocolor.histograms.estimators.VIVID_UNSURE>` on validation photos: docs/looks.md."""

SAMPLINGS = ("pixel", "image")
"""Uniform numbers drawn for each pixel, or once for each image (section 3.3)."""


def check_strength(strength: float | FloatArray) -> None:
    """Refuse chroma factors that are negative, infinite or NaN, with an `InputError`."""
    if not np.all((np.asarray(strength) >= 0) & (np.asarray(strength) < np.inf)):
        raise InputError("strength", f"expected a finite number >= 0, got {strength}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(name, f"expected one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True)
class DecodeOptions:
    """How colours are taken from what a network predicts (section 3.3)."""

    #: {"sample", "mode", "median", "expectation"}. Of chroma, or of a and b;
    #: :class:`autocolor.core.variants.Variant` says what is taken otherwise. "lab_l2" predicts
    #: colours, of which there is nothing to choose.
    method: str | None = None
    #: {"expectation", "mode", "sample"}. Unless given, hue is sampled with "sample", the mode with
    #: "mode" and else the expectation.
    hue: str | None = None
    #: Chromatic fading (Eq. 5) of "hue_chroma"; Lab has no hue that could be uncertain.
    fading: bool = True
    #: Factor on chroma, or on a and b: 0 gives grey, 1 the prediction. The model's unless given.
    strength: float | None = None
    #: {"pixel", "image"}. Whether each pixel is sampled with numbers of its own, or all with the
    #: same two.
    sampling: str = "pixel"
    #: {"faithful", "vivid"}. "vivid" is for "hue_chroma": chroma is its expectation unless `method`
    #: says otherwise, fades with :func:`autocolor.histograms.estimators.fade_unsure` and counts
    #: `VIVID_GAIN` times.
    look: str = "faithful"

    def __post_init__(self) -> None:
        if self.method is not None:
            _check_choice("method", self.method, METHODS)
        if self.hue is not None:
            # The median is undefined for circular histograms such as hue (section 3.3).
            _check_choice("hue", self.hue, HUE_METHODS)
        if self.strength is not None:
            check_strength(self.strength)
        _check_choice("sampling", self.sampling, SAMPLINGS)
        _check_choice("look", self.look, LOOKS)

    def factor(self, strength: float) -> float:
        """Return the factor on chroma, or on a and b, of a model with such a strength."""
        own = strength if self.strength is None else self.strength
        return own * VIVID_GAIN if self.look == "vivid" else own

    def methods(self, variant: str) -> tuple[str, str]:
        """Return the method and the hue's method for a variant, "" where it has none."""
        kind = find_variant(variant)
        if not kind.is_histogram and self.method is not None:
            raise InputError(
                "method", f"a {variant} model predicts colours, not histograms; got {self.method!r}"
            )
        method = self.method or kind.default_method
        if self.look == "vivid":
            if not kind.has_hue:
                raise InputError("look", f"a {variant} model has one look only, got 'vivid'")
            method = self.method or "expectation"
        if kind.has_hue:
            return method, self.hue or (method if method in ("sample", "mode") else "expectation")
        if self.hue is not None:
            raise InputError("hue", f"a {variant} model predicts no hue; got {self.hue!r}")
        return method, ""


def looks_of(variant: str) -> tuple[str, ...]:
    """Return the looks that a variant has, first that of the command and the page."""
    return ("vivid", "faithful") if find_variant(variant).has_hue else ("faithful",)


def default_look(variant: str) -> str:
    """Return the look of the command and the page, where none is asked for."""
    return looks_of(variant)[0]


def infer_hue_chroma(
    hue_histogram: FloatArray,
    chroma_histogram: FloatArray,
    *,
    hue: str = "expectation",
    chroma: str = "median",
    fading: bool = True,
    look: str = "faithful",
    uniforms: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return one hue and one chroma for each pair of histograms (section 3.3).

    Parameters
    ----------
    hue_histogram, chroma_histogram : (..., K) float array
        Even bins of [0, 1].
    hue : {"expectation", "mode", "sample"}
    chroma : {"median", "expectation", "mode", "sample"}
    fading : bool
        Chromatic fading (Eq. 5), or that of the vivid look.
    look : {"faithful", "vivid"}
        Decides how chroma fades, and nothing else.
    uniforms : (..., 2) or (2,) float array, optional
        For samples, of hue and of chroma; from
        :func:`autocolor.histograms.estimators.draw_uniforms`. Those of shape (2,) are shared by all
        pixels.

    Returns
    -------
    hue : (...) array in [0, 1)
    chroma : (...) array in [0, 1]
    """
    drawn = _uniforms("sample" in (hue, chroma), uniforms, hue_histogram.shape[:-1])
    bins = hue_histogram.shape[-1]
    hue_value, magnitude = expectation_hue(hue_histogram)
    if hue == "mode":
        hue_value = mode(hue_histogram, uniform_centers(bins))
    elif hue == "sample":
        hue_value = wrap_hue(sample(hue_histogram, uniform_edges(bins), drawn[..., 0]))
    chroma_bins = chroma_histogram.shape[-1]
    edges, centers = uniform_edges(chroma_bins), uniform_centers(chroma_bins)
    chroma_value = _estimate(chroma_histogram, chroma, edges, centers, drawn[..., 1])
    if fading:
        fade = fade_unsure if look == "vivid" else fade_chroma
        chroma_value = fade(chroma_value, magnitude, bins)
    return hue_value, chroma_value


def infer_ab_marginal(
    a_histogram: FloatArray,
    b_histogram: FloatArray,
    *,
    method: str = "expectation",
    uniforms: FloatArray | None = None,
) -> FloatArray:
    """Return one a and b for each pair of histograms (..., K) (section 3.3), (..., 2).

    Arguments are those of :func:`infer_hue_chroma`; bins are Gaussian quantiles with sigma = 25
    (section 3.2), K at least 2. A bin's colour is its centroid; medians and samples lie between the
    finite edges of :func:`autocolor.histograms.bins.finite_quantile_edges`.
    """
    shape, bins = a_histogram.shape[:-1], a_histogram.shape[-1]
    drawn = _uniforms(method == "sample", uniforms, shape)
    edges, centroids = finite_quantile_edges(bins), quantile_centroids(bins)
    values = [
        _estimate(histogram, method, edges, centroids, drawn[..., channel])
        for channel, histogram in enumerate((a_histogram, b_histogram))
    ]
    return np.stack(values, axis=-1)


def infer_ab_joint(
    histogram: FloatArray, *, method: str = "expectation", uniforms: FloatArray | None = None
) -> FloatArray:
    """Return one a and b for each joint histogram (..., K * K) (section 3.3), (..., 2).

    Index (bin of a) * K + (bin of b); the rest is as for :func:`infer_ab_marginal`. The mode is that
    of the joint bins. A sample draws a from its marginal and then b from the row of a's bin, which is
    a sample of the joint histogram. Expectation and median are taken of each marginal, the latter
    because the plane has no order.
    """
    shape, bins = histogram.shape[:-1], math.isqrt(histogram.shape[-1])
    if method == "mode":
        centroids = quantile_centroids(bins).astype(histogram.dtype)
        a_bin, b_bin = np.divmod(np.argmax(histogram, axis=-1), bins)
        return np.stack([centroids[a_bin], centroids[b_bin]], axis=-1)
    joint = histogram.reshape(*shape, bins, bins)
    if method == "sample":
        drawn = _uniforms(True, uniforms, shape)
        edges = finite_quantile_edges(bins)
        a_bin, fraction = locate_quantile(joint.sum(axis=-1), drawn[..., 0])
        row = np.take_along_axis(joint, a_bin[..., None, None], axis=-2)[..., 0, :]
        a_value = interpolate_bins(edges, a_bin, fraction)
        return np.stack([a_value, sample(row, edges, drawn[..., 1])], axis=-1)
    return infer_ab_marginal(joint.sum(axis=-1), joint.sum(axis=-2), method=method)


def decode(
    variant: str,
    outputs: Sequence[FloatArray],
    lightness: FloatArray,
    options: DecodeOptions = DecodeOptions(),
    *,
    strength: float | FloatArray = 1.0,
    uniforms: FloatArray | None = None,
) -> npt.NDArray[np.float32]:
    """Return the colour image that the outputs of a network of any variant say.

    Parameters
    ----------
    variant : {"hue_chroma", "lab_marginal", "lab_joint", "lab_l2"}
    outputs : sequence of (..., C) float arrays
        Histograms of hue and chroma, of a and b, of a x b, or (..., 2) a and b themselves.
    lightness : (...) float array in [0, 1]
        (R + G + B)/3 of the grey input.
    options : DecodeOptions
    strength : float or (...) array, >= 0
        In place of that of the options.
    uniforms : (..., 2) or (2,) float array, optional
        As for :func:`infer_hue_chroma`, of the two channels.

    Returns
    -------
    (..., 3) float32 array, RGB in [0, 1], of exactly the given lightness. For Lab see
    :func:`autocolor.imaging.color.compose_lab`.
    """
    values = estimate(variant, outputs, options, uniforms)
    return compose(variant, values, lightness, strength)


def estimate(
    variant: str,
    outputs: Sequence[FloatArray],
    options: DecodeOptions = DecodeOptions(),
    uniforms: FloatArray | None = None,
) -> tuple[FloatArray, ...]:
    """Return the part of :func:`decode` that needs neither lightness nor strength.

    Returns
    -------
    tuple of arrays
        Hue and chroma, (...) each, or one (..., 2) array of a and b.
    """
    method, hue = options.methods(variant)
    kind = VARIANTS[variant]
    if kind.has_hue:
        fading, look = options.fading, options.look
        return infer_hue_chroma(
            *outputs, hue=hue, chroma=method, fading=fading, look=look, uniforms=uniforms
        )
    if not kind.is_histogram:
        return tuple(outputs)
    infer = infer_ab_joint if kind.is_joint else infer_ab_marginal
    return (infer(*outputs, method=method, uniforms=uniforms),)


def compose(
    variant: str,
    values: tuple[FloatArray, ...],
    lightness: FloatArray,
    strength: float | FloatArray,
) -> npt.NDArray[np.float32]:
    """Return the (..., 3) RGB of what :func:`estimate` returned."""
    if VARIANTS[variant].has_hue:
        hue, chroma = values
        rgb = compose_rgb(hue, chroma * strength, lightness)
    else:
        (ab,) = values
        rgb = compose_lab(ab * np.asarray(strength, ab.dtype)[..., None], lightness)
    return rgb.astype(np.float32, copy=False)


def _estimate(
    histogram: FloatArray,
    method: str,
    edges: FloatArray,
    centroids: FloatArray,
    uniform: FloatArray,
) -> FloatArray:
    """Return one value of each histogram of a channel that is not circular."""
    if method == "median":
        return median(histogram, edges)
    if method == "sample":
        return sample(histogram, edges, uniform)
    return (expectation if method == "expectation" else mode)(histogram, centroids)


def _uniforms(needed: bool, uniforms: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    """Return the uniforms of both channels, checked; any two numbers where nothing is sampled."""
    if not needed:
        return np.ones(2)
    if uniforms is None or uniforms.shape not in ((2,), (*shape, 2)):
        got = None if uniforms is None else uniforms.shape
        raise InputError(
            "uniforms", f"expected shape (2,) or {(*shape, 2)} to sample with, got {got}"
        )
    check_unit("uniforms", uniforms)
    return uniforms
