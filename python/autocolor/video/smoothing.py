"""Colours that do not flicker: histograms are averaged over the frames of a shot, before and after."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from autocolor.core.arrays import FloatArray
from autocolor.core.errors import InputError
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.images import resize

SMOOTHING = 0.8
"""Weight of the frames beside a frame; of those further away its powers."""

RADIUS = 8
"""Frames before and after a frame that its colours depend on."""

# A cell whose lightness changes by as much is probably of another thing: its weight is e^-1/2.
_SAME_THING = 0.05

# On thumbnails: lightness, in the mean over pixels, that changes from frame to frame in any shot,
# and that changes in none; and the correlation of frames of one shot, whatever their exposure.
_NO_CUT, _SURE_CUT, _CORRELATION = 0.04, 0.25, 0.6


def check_smoothing(amount: float) -> None:
    """Refuse what is not in [0, 1)."""
    if not 0 <= amount < 1:
        raise InputError("smoothing", f"expected a number in [0, 1), got {amount}")


def is_cut(before: FloatArray, after: FloatArray) -> bool:
    """Return whether a shot ends between two frames.

    Parameters
    ----------
    before, after : (h, w) float arrays in [0, 1]
        Thumbnails of their lightness.

    Notes
    -----
    What moves within a shot, and exposure that flickers, leave neighbouring frames correlated.
    """
    change = float(np.abs(after - before).mean())
    if change < _NO_CUT or change > _SURE_CUT:
        return change > _SURE_CUT
    spread = float(before.std() * after.std())
    covariance = float(((before - before.mean()) * (after - after.mean())).mean())
    return covariance < _CORRELATION * spread


def smooth_predictions(
    predictions: Iterable[Prediction], cuts: Sequence[int], amount: float, *, first: int, start: int
) -> Iterator[Prediction]:
    """Average the histograms of each frame with those of the frames around it, within its shot.

    A frame at distance d counts amount^d, up to :data:`RADIUS`, in each cell of the grid the less
    the more its lightness there differs (frames' means aside, as old film flickers): what moves
    leaves no trail. A mean of histograms is a histogram.

    Parameters
    ----------
    predictions : iterable of Prediction
        Of the frames from `first` on, of one size.
    cuts : sequence of int
        First frames of the shots, sorted.
    amount : float
        In [0, 1); 0 leaves every frame as it is.
    first : int
        Where `predictions` begin; at most `start` - RADIUS, or 0, for the same as from the film's
        beginning.
    start : int
        First frame to yield.

    Yields
    ------
    Prediction
        Of the frames from `start` on.
    """
    check_smoothing(amount)
    radius = RADIUS if amount else 0
    window: deque[tuple[int, tuple[FloatArray, ...], FloatArray]] = deque()
    waiting: deque[Prediction] = deque()
    wanted = start

    def shot(number: int) -> int:
        return bisect_right(cuts, number)

    def averaged() -> Prediction:
        nonlocal wanted
        near = [
            entry
            for entry in window
            if abs(entry[0] - wanted) <= radius and shot(entry[0]) == shot(wanted)
        ]
        outputs = _weighted_mean(near, wanted, amount)
        wanted += 1
        return replace(waiting.popleft(), outputs=outputs)

    for number, prediction in enumerate(predictions, start=first):
        # Frames that have been passed need no lightness at full resolution any more.
        if number >= start:
            waiting.append(prediction)
        window.append((number, prediction.outputs, _relative_lightness(prediction)))
        while waiting and (number >= wanted + radius or shot(number) != shot(wanted)):
            yield averaged()
        while window and window[0][0] < min(wanted, number) - radius:
            window.popleft()
    while waiting:
        yield averaged()


def _relative_lightness(prediction: Prediction) -> FloatArray:
    height, width = prediction.outputs[0].shape[:2]
    small = resize(prediction.lightness, (height, width))
    difference: FloatArray = small - small.mean()
    return difference


def _weighted_mean(
    near: Sequence[tuple[int, tuple[FloatArray, ...], FloatArray]], wanted: int, amount: float
) -> tuple[FloatArray, ...]:
    (own,) = (entry for entry in near if entry[0] == wanted)
    sums = [output.copy() for output in own[1]]
    total = np.ones_like(own[2])
    for number, outputs, light in near:
        if number == wanted:
            continue
        differs = ((light - own[2]) / np.float32(_SAME_THING)) ** 2
        weight = np.float32(amount ** abs(number - wanted)) * np.exp(-differs / 2)
        total += weight
        for mean, output in zip(sums, outputs, strict=True):
            mean += weight[..., None] * output
    return tuple(mean / total[..., None] for mean in sums)
