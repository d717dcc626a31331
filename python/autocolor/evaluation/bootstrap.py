"""Poisson bootstrap over images: streaming, mergeable and paired between methods.

A bootstrap draws each image into each replicate some number of times. Over many images that number
is Poisson distributed with mean 1, independently of all other images, so no image needs to be kept
(Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006).
Here it is a function of the image's key alone: methods scored on the same images share their
replicates, which pairs them, on any machine and in any order.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# Values are kept as integer multiples of 2**-32, in two limbs: the upper counts multiples of 2**31.
# Integers add up to the same in any order, and 2**32 images of 10**9 pixels fit.
_FRACTION_BITS = 32
_LOW_BITS = 31
_LARGEST_VALUE = 2.0**40

# Thresholds of a uniform 32-bit number: the weight is how many of them it reaches.
_CUMULATIVE = np.cumsum([math.exp(-1) / math.factorial(count) for count in range(13)])
_THRESHOLDS = np.rint(_CUMULATIVE * 2**32).astype(np.uint64)


def poisson_weights(key: str, replicates: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how often each replicate draws an image.

    Parameters
    ----------
    key : str
        Of the image.
    replicates : int
    seed : int

    Returns
    -------
    (replicates,) int64 array
        Poisson distributed with mean 1. The bits are SHAKE-256 of the seed and the key, which no
        version of any library can change.
    """
    shake = hashlib.shake_256(f"{seed}\0{key}".encode())
    uniform = np.frombuffer(shake.digest(4 * replicates), "<u4")
    return np.searchsorted(_THRESHOLDS, uniform, side="right").astype(np.int64)


class PoissonBootstrap:
    """Weighted sums of the images' values in every replicate, in exact integers.

    Parameters
    ----------
    values : int
        Sums to keep.
    replicates : int
    seed : int

    Examples
    --------
    >>> bootstrap = PoissonBootstrap(values=2)
    >>> for name, value in heights.items():
    ...     bootstrap.add(name, [value, 1])
    >>> total, count = bootstrap.sums()
    >>> np.quantile(total / count, [0.025, 0.975])
    """

    def __init__(self, values: int, replicates: int = 1000, seed: int = 0) -> None:
        if replicates < 1:
            raise ValueError(f"replicates: expected at least 1, received {replicates}")
        self.replicates = replicates
        self.seed = seed
        self._limbs = np.zeros((values, 2, replicates), np.int64)

    def add(self, key: str, values: Sequence[float]) -> None:
        """Add an image.

        Parameters
        ----------
        key : str
            Names the image; never add the same twice.
        values : sequence of float
            One for each sum, each rounded to a multiple of 2**-32.

        Raises
        ------
        ValueError
            If a value is not finite or its magnitude exceeds 2**40.
        """
        if not all(abs(value) <= _LARGEST_VALUE for value in values):
            raise ValueError(f"values: expected magnitudes up to 2**40, received {list(values)}")
        integers = [round(math.ldexp(value, _FRACTION_BITS)) for value in values]
        mask = (1 << _LOW_BITS) - 1
        limbs = np.array([(number >> _LOW_BITS, number & mask) for number in integers], np.int64)
        self._limbs += limbs[:, :, None] * poisson_weights(key, self.replicates, self.seed)

    def merge(self, other: PoissonBootstrap) -> None:
        """Add the images of `other`, which must have the same seed and shape.

        Raises
        ------
        ValueError
            If it has not.
        """
        mine, theirs = ((part.seed, part._limbs.shape) for part in (self, other))
        if mine != theirs:
            raise ValueError(
                f"bootstrap: expected (seed, (values, limbs, replicates)) {mine}, received {theirs}"
            )
        self._limbs += other._limbs

    def sums(self) -> npt.NDArray[np.float64]:
        """Return the (values, replicates) weighted sums."""
        high, low = self._limbs[:, 0], self._limbs[:, 1]
        upper = high.astype(np.float64) * 2.0 ** (_LOW_BITS - _FRACTION_BITS)
        return upper + low.astype(np.float64) * 2.0**-_FRACTION_BITS

    def to_dict(self) -> dict[str, Any]:
        """Return the state as numbers and lists, for JSON."""
        return {
            "replicates": self.replicates,
            "seed": self.seed,
            "limbs": self._limbs.tolist(),
        }

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> PoissonBootstrap:
        """Return what :meth:`to_dict` wrote down.

        Raises
        ------
        ValueError
            If `state` holds something else.
        """
        limbs = np.array(state["limbs"], np.int64)
        if limbs.ndim != 3 or limbs.shape[1:] != (2, state["replicates"]):
            raise ValueError(
                f"limbs: expected shape (values, 2, {state['replicates']}), received {limbs.shape}"
            )
        bootstrap = cls(len(limbs), state["replicates"], state["seed"])
        bootstrap._limbs = limbs
        return bootstrap


def percentile_interval(replicates: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    """Return the central interval that holds the share `level` of the replicates.

    Replicates that drew no image at all, which happens with few images, are NaN and left out.

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, received {level}")
    kept = replicates[~np.isnan(replicates)]
    if not len(kept):
        return math.nan, math.nan
    tail = (1 - level) / 2
    if not np.isfinite(kept).all():  # Interpolation next to infinity would give NaN.
        low, high = np.quantile(kept, [tail, 1 - tail], method="nearest")
    else:
        low, high = np.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)
