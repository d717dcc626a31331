"""Colours that a model thinks likely at one place of a photo, for a user to choose a hint from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from autocolor.control.targets import check_variant
from autocolor.core.errors import InputError
from autocolor.histograms.decode import DecodeOptions, decode
from autocolor.histograms.estimators import draw_uniforms
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.upsampling import GridSampler
from autocolor.imaging.color import rgb_to_hue_chroma

_SAMPLES = 2048
_HUES = 12
_LEAST_CHROMA = 0.04  # below it a colour is called grey, whatever its hue
_LEAST_SHARE = 0.01


class Proposal(NamedTuple):
    """A likely colour."""

    rgb: tuple[float, float, float]  #: In [0, 1], of the lightness of the photo there
    share: float  #: In (0, 1]. Part of the predicted histograms that say so.


def propose_colors(prediction: Prediction, y: float, x: float, count: int = 5) -> list[Proposal]:
    """Return the likeliest colours at a place, the likeliest first.

    Colours are sampled from the histograms there (section 3.3) and sorted into twelve hues and
    grey; each group gives its mean. No model strength and no fading: what it thinks possible shows.

    Parameters
    ----------
    prediction : Prediction
    y, x : float
        In pixels of the prediction's lightness; pixel centres are at integers.
    count : int
        Largest number of colours.
    """
    check_variant(prediction.variant)
    height, width = prediction.lightness.shape
    row, column = round(y), round(x)
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(
            "place", f"expected within ({height - 1}, {width - 1}), (y, x), got ({y:g}, {x:g})"
        )
    histograms = [
        GridSampler(grid, (height, width), prediction.cells_per_pixel).rows(row, row + 1)[0, column]
        for grid in prediction.outputs
    ]
    rgb = decode(
        prediction.variant,
        [np.broadcast_to(histogram, (_SAMPLES, len(histogram))) for histogram in histograms],
        np.full(_SAMPLES, prediction.lightness[row, column], np.float32),
        DecodeOptions("sample", fading=False),
        uniforms=draw_uniforms(np.random.default_rng(0), (_SAMPLES, 2)),
    )
    hue, chroma = rgb_to_hue_chroma(rgb)
    group = np.where(chroma < _LEAST_CHROMA, _HUES, np.round(hue * _HUES).astype(int) % _HUES)
    found = []
    for value, members in zip(*np.unique(group, return_counts=True), strict=True):
        if members >= _LEAST_SHARE * _SAMPLES:
            red, green, blue = rgb[group == value].mean(axis=0).tolist()
            found.append(Proposal((red, green, blue), members / _SAMPLES))
    return sorted(found, key=lambda proposal: -proposal.share)[:count]
