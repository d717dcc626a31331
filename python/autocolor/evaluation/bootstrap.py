"""Poisson bootstrap over images: streaming, and paired between methods.

A bootstrap draws each image into each replicate some number of times. Over many images that number
is Poisson distributed with mean 1, independently of all other images, so no image needs to be kept
(Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006).
Here it is a function of the image's key alone: methods scored on the same images share their
replicates, which pairs them, on any machine and in any order.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import numpy.typing as npt

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError

# Thresholds of a uniform 32-bit number: the weight is how many of them it reaches.
_CUMULATIVE = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(13)])
_THRESHOLDS = np.rint(_CUMULATIVE * 2**32).astype(np.uint64)


def poisson_weights(key: str, replicates: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how often each replicate draws the image of a key, (replicates,) int64.

    Poisson distributed with mean 1. The bits are SHAKE-256 of the seed and the key, which no version of
    any library can change.
    """
    shake = hashlib.shake_256(f"{seed}\0{key}".encode())
    uniform = np.frombuffer(shake.digest(4 * replicates), "<u4")
    return np.searchsorted(_THRESHOLDS, uniform, side="right").astype(np.int64)


def percentile_interval(replicates: FloatArray, level: float) -> tuple[float, float]:
    """Return the central interval that holds the share `level` of the replicates.

    Replicates that drew no image at all, which happens with few images, are NaN and left out.
    """
    if not 0 < level < 1:
        raise InputError("level", f"expected a number between 0 and 1, got {level}")
    kept = replicates[~np.isnan(replicates)]
    if not len(kept):
        return math.nan, math.nan
    tail = (1 - level) / 2
    if not np.isfinite(kept).all():  # Interpolation next to infinity would give NaN.
        low, high = np.quantile(kept, [tail, 1 - tail], method="nearest")
    else:
        low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)
