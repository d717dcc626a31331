"""Colours that are likely at a place."""

from __future__ import annotations

import numpy as np
import pytest

from autocolor.control.proposals import propose_colors
from autocolor.core.errors import InputError
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import rgb_to_hue_chroma


def predict(hue: dict[int, float], chroma: int, light: float = 0.5) -> Prediction:
    """Return a photo of 8 x 12 whose right half has the histograms of the arguments."""
    hues = np.full((2, 3, 32), 1 / 32, np.float32)
    hues[:, 2] = 0
    for place, mass in hue.items():
        hues[:, 2, place] = mass
    chromas = np.zeros((2, 3, 32), np.float32)
    chromas[:, :2, 0] = chromas[:, 2, chroma] = 1
    lightness = np.full((8, 12), light, np.float32)
    return Prediction("hue_chroma", lightness, (hues, chromas), (0.25, 0.25), 0.5)


def test_two_hues_of_known_shares() -> None:
    # Bins 0 and 16 of 32: a hue just above red, and just above cyan; chroma (9 + 1/2) / 32.
    found = propose_colors(predict({0: 0.75, 16: 0.25}, 9), 4, 11)
    assert [item.share for item in found] == pytest.approx([0.75, 0.25], abs=0.03)
    for item, hue in zip(found, (0.5 / 32, 16.5 / 32), strict=True):
        measured, chroma = rgb_to_hue_chroma(np.array(item.rgb))
        assert measured == pytest.approx(hue, abs=0.01)
        assert chroma == pytest.approx(9.5 / 32, abs=0.01)
        assert np.mean(item.rgb) == pytest.approx(0.5, abs=1e-6)


def test_grey_is_a_colour_too() -> None:
    (found,) = propose_colors(predict({0: 1.0}, 9), 4, 0)
    assert found.share == 1
    assert np.ptp(found.rgb) < 0.03


def test_few_and_the_likeliest_first() -> None:
    prediction = predict(dict.fromkeys(range(32), 1 / 32), 9)
    found = propose_colors(prediction, 4, 11, count=4)
    shares = [item.share for item in found]
    assert len(found) == 4 and shares == sorted(shares, reverse=True)
    assert found == propose_colors(prediction, 4, 11, count=4)  # the same again


@pytest.mark.parametrize("variant", ["lab_marginal", "lab_joint"])
def test_other_variants(variant: str) -> None:
    grids = (np.full((2, 2, 16), 1 / 16, np.float32),) * (1 if variant == "lab_joint" else 2)
    prediction = Prediction(variant, np.full((8, 8), 0.5, np.float32), grids, (0.25, 0.25), 1.0)
    found = propose_colors(prediction, 0, 0)
    assert len(found) == 5 and sum(item.share for item in found) <= 1


def test_a_place_outside() -> None:
    with pytest.raises(InputError, match=r"place: expected within \(7, 11\), \(y, x\)"):
        propose_colors(predict({0: 1.0}, 9), 8, 0)
