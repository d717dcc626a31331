"""The errors of one colorization: the paper's metrics (A.3) and those of later work.

Predictions are scored as they are given; nothing is rounded here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray, check_same_shape
from autocolor.core.errors import InputError
from autocolor.imaging.color import rgb_to_alpha_beta, rgb_to_lab

ERROR_BIN_WIDTH = 0.01
"""Width of the bins of the histogram of alpha-beta errors."""

ERROR_BINS = 600
"""Their number: no alpha-beta error exceeds 6, the distance of pure red from pure green."""

AUC_LIMIT = 150
"""Largest threshold of the area under the curve of ab errors, in units of Lab (Zhang et al.)."""

COLOR_CLASSES = 23 * 23
"""Classes of the class-balanced area: ab rounded to multiples of 10 from -110 to 110."""

# Of the sums over the pixels of a class, so that they are integers: an error below 5e-7 a pixel.
CREDIT_UNIT = 2.0**-20

SSIM_WINDOW = 11
"""Pixels of the Gaussian window of SSIM; a smaller image has no SSIM."""

PSNR_LIMIT = 10 * math.log10(12 * 255**2)
"""Largest PSNR in dB, 58.92: that of an error uniform within half a level of 8 bit, which is 0."""

PAPER_SUMS = (
    "images",
    "pixels",
    "error",
    "square_error",
    "psnr",
    "limited_psnr",
    "log_psnr",
    "zero_psnr",
)
"""What an image adds to the sums behind the metrics of the paper."""

EXTRA_SUMS = ("auc", "colorfulness", "truth_colorfulness", "ssim", "ssim_images")
"""What it adds to those of later work."""


class Truth:
    """A photo that colorizations are scored against; what they share is computed once.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    """

    def __init__(self, rgb: FloatArray) -> None:
        if rgb.ndim != 3 or rgb.size == 0:
            raise InputError("truth", f"expected shape (H, W, 3), got {rgb.shape}")
        self.rgb = rgb
        self.alpha_beta = rgb_to_alpha_beta(rgb)

    @cached_property
    def lab_ab(self) -> FloatArray:
        """(H, W, 2) array: a* and b* of CIE L*a*b*."""
        return rgb_to_lab(self.rgb)[..., 1:]

    @cached_property
    def colorfulness(self) -> float:
        """See :func:`colorfulness`."""
        return colorfulness(self.rgb)


@dataclass(frozen=True)
class Measurement:
    """What one image adds to the metrics."""

    #: Keys `PAPER_SUMS`, and `EXTRA_SUMS` where they were asked for. "limited_psnr" counts a PSNR
    #: that would be above `PSNR_LIMIT`, and "zero_psnr" one of 0, instead of "log_psnr".
    sums: dict[str, float]
    errors: npt.NDArray[np.int64]  #: (ERROR_BINS,) int64 array. Pixels by their alpha-beta error.
    #: (COLOR_CLASSES,) int64 arrays, or None. Pixels by the truth's class of colour, and the sums
    #: of their credit max(0, 1 - ab error / AUC_LIMIT) in units of `CREDIT_UNIT`.
    class_pixels: npt.NDArray[np.int64] | None = None
    class_credit: npt.NDArray[np.int64] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return numbers and lists, for JSON; of the arrays, only what is not 0."""
        content: dict[str, Any] = {"sums": self.sums, "errors": _sparse(self.errors)}
        if self.class_pixels is not None and self.class_credit is not None:
            content["class_pixels"] = _sparse(self.class_pixels)
            content["class_credit"] = _sparse(self.class_credit)
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Measurement:
        """Return what :meth:`to_dict` wrote down."""
        return cls(
            dict(content["sums"]),
            _dense(content["errors"], ERROR_BINS),
            *(
                _dense(content[name], COLOR_CLASSES)
                for name in ("class_pixels", "class_credit")
                if name in content
            ),
        )


def measure_errors(truth: Truth, prediction: FloatArray, *, extras: bool = False) -> Measurement:
    """Score one colorization.

    Parameters
    ----------
    truth : Truth
    prediction : (H, W, 3) float array, RGB in [0, 1]
    extras : bool
        Also what later work reports; several times as slow.
    """
    check_same_shape("prediction", prediction, truth.rgb.shape)
    difference = truth.alpha_beta - rgb_to_alpha_beta(prediction)
    errors = np.hypot(difference[..., 0], difference[..., 1]).reshape(-1)
    # RGB lies in [0, 1], so beyond 1 there is only float rounding: PSNR is never negative.
    square = min(1.0, float(np.mean(np.square(truth.rgb - prediction), dtype=np.float64)))
    psnr = min(PSNR_LIMIT, -10 * math.log10(square)) if square > 0 else PSNR_LIMIT
    psnr = max(0.0, psnr)  # of square = 1 it is -0.0
    sums = {
        "images": 1.0,
        "pixels": float(errors.size),
        "error": float(errors.sum(dtype=np.float64)),
        "square_error": float(np.square(errors).sum(dtype=np.float64)),
        "psnr": psnr,
        "limited_psnr": float(psnr == PSNR_LIMIT),
        "log_psnr": math.log(psnr) if psnr > 0 else 0.0,
        "zero_psnr": float(square == 1),
    }
    bins = np.minimum((errors * (1 / ERROR_BIN_WIDTH)).astype(np.int64), ERROR_BINS - 1)
    histogram = np.bincount(bins, minlength=ERROR_BINS)
    if not extras:
        return Measurement(sums, histogram)
    credit = ab_credit(truth.lab_ab, rgb_to_lab(prediction)[..., 1:])
    classes = color_classes(truth.lab_ab)
    ssim = structural_similarity_of(truth.rgb, prediction)
    sums |= {
        "auc": float(credit.sum(dtype=np.float64)),
        "colorfulness": colorfulness(prediction),
        "truth_colorfulness": truth.colorfulness,
        "ssim": 0.0 if ssim is None else ssim,
        "ssim_images": float(ssim is not None),
    }
    class_sums = np.bincount(classes.reshape(-1), credit.reshape(-1), COLOR_CLASSES)
    return Measurement(
        sums,
        histogram,
        np.bincount(classes.reshape(-1), minlength=COLOR_CLASSES),
        np.rint(class_sums / CREDIT_UNIT).astype(np.int64),
    )


def ab_credit(truth: FloatArray, prediction: FloatArray) -> FloatArray:
    """Return each pixel's share (...) in [0, 1] of the area under the curve of ab errors (..., 2).

    The curve (Zhang et al., 2016) is the share of pixels whose Euclidean error in ab is at most t, for
    t from 0 to 150. Its area divided by 150 is the mean over pixels of max(0, 1 - error/150); sums over
    whole t, as in other codes, differ from this integral by at most 1/150.
    """
    difference = truth - prediction
    error = np.hypot(difference[..., 0], difference[..., 1])
    credit: FloatArray = np.maximum(0, 1 - error / AUC_LIMIT)
    return credit


def color_classes(ab: FloatArray) -> npt.NDArray[np.int64]:
    """Return the (...) classes in [0, COLOR_CLASSES) of (..., 2) a* and b*, on a grid of 10."""
    nearest = np.clip(np.rint(ab / 10).astype(np.int64), -11, 11) + 11
    classes: npt.NDArray[np.int64] = nearest[..., 0] * 23 + nearest[..., 1]
    return classes


def colorfulness(rgb: FloatArray) -> float:
    """Return the colourfulness of Hasler and Süsstrunk (2003), in units of 8-bit levels.

    With rg = R - G and yb = (R + G)/2 - B, both signed (some codes take absolute values first):
    sqrt(var rg + var yb) + 0.3 sqrt(mean(rg)² + mean(yb)²). A grey image has 0.

    Parameters
    ----------
    rgb : (H, W, 3) float array in [0, 1]
    """
    red, green, blue = (255 * rgb[..., channel].astype(np.float64) for channel in range(3))
    rg, yb = red - green, (red + green) / 2 - blue
    spread = math.sqrt(rg.var() + yb.var())
    return spread + 0.3 * math.hypot(rg.mean(), yb.mean())


def structural_similarity_of(truth: FloatArray, prediction: FloatArray) -> float | None:
    """Return SSIM as Wang et al. (2004) set it up, on RGB, or None of an image too small for it.

    Gaussian window of 11 x 11 pixels with standard deviation 1.5; the mean over the channels.
    """
    if min(truth.shape[:2]) < SSIM_WINDOW:
        return None
    from skimage.metrics import structural_similarity  # which the paper's metrics need not wait for

    similarity: float = structural_similarity(
        truth,
        prediction,
        channel_axis=-1,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def _sparse(counts: npt.NDArray[np.int64]) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [places.tolist(), counts[places].tolist()]


def _dense(pair: list[list[int]], length: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(length, np.int64)
    counts[pair[0]] = pair[1]
    return counts
