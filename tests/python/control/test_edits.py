"""Edits: the colour transfers, samples and hints that are combined before colours are taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from autocolor.control.edits import (
    Edits,
    Reference,
    colorize_edited,
    load_reference,
    save_histograms,
    uncertainty_image,
)
from autocolor.control.hints import Hint
from autocolor.control.targets import image_targets, save_targets
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.images import write_image

SIZE = (24, 30)


def predict(variant: str) -> Prediction:
    rng = np.random.default_rng(0)
    channels = {"hue_chroma": (32, 32), "lab_marginal": (8, 8), "lab_joint": (16,), "lab_l2": (2,)}
    grids = []
    for count in channels[variant]:
        grid = rng.random((6, 8, count), np.float32) + 0.1
        grids.append(grid if variant == "lab_l2" else grid / grid.sum(axis=-1, keepdims=True))
    light = rng.uniform(0.3, 0.7, SIZE).astype(np.float32)
    return Prediction(variant, light, tuple(grids), (0.25, 0.25), 0.5)


def colorize(prediction: Prediction, edits: Edits, **options) -> list[np.ndarray]:
    return list(colorize_edited(prediction, edits, np.random.default_rng(1), **options))


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint", "lab_l2"])
def test_no_edits_change_nothing(variant: str) -> None:
    prediction = predict(variant)
    (found,) = colorize(prediction, Edits())
    np.testing.assert_array_equal(found, prediction.colorize())


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint"])
def test_everything_together_keeps_the_lightness(variant: str) -> None:
    prediction = predict(variant)
    bins = {"hue_chroma": 32, "lab_marginal": 8, "lab_joint": 4}[variant]
    rgb = np.random.default_rng(2).random((10, 10, 3), np.float32)
    edits = Edits(Reference(None, image_targets(rgb, variant, bins)),
                  [Hint(5, 6, (0.8, 0.2, 0.2))], samples=3)  # fmt: skip
    results = colorize(prediction, edits)
    assert len(results) == 3
    for result in results:
        np.testing.assert_allclose(result.mean(axis=-1), prediction.lightness, atol=1e-5)
    assert np.abs(results[0] - results[1]).max() > 0.01
    assert uncertainty_image(prediction).shape == (*SIZE, 3)


def test_a_hint_is_exempt_from_the_strength() -> None:
    """At strength 0 all is grey but what the hint gives its colour."""
    prediction = replace(predict("hue_chroma"), strength=0.0)
    (found,) = colorize(prediction, Edits(hints=[Hint(12, 15, (0.6, 0.4, 0.4))]))
    chroma = np.ptp(found, axis=-1)
    assert chroma[12, 15] == pytest.approx(0.2, abs=1 / 32)
    assert chroma[0, 29] < 0.02


def test_references(tmp_path) -> None:
    prediction = predict("hue_chroma")
    rgb = np.random.default_rng(3).random((9, 9, 3), np.float32)
    write_image(tmp_path / "reference.png", rgb)
    quantile = load_reference(tmp_path / "reference.png", "quantile", "hue_chroma", 32)
    assert quantile.targets is None
    energy = load_reference(tmp_path / "reference.png", "energy", "hue_chroma", 32)
    save_targets(tmp_path / "targets.npz", energy.targets)
    from_file = load_reference(tmp_path / "targets.npz", "energy", "hue_chroma", 32)
    for name, target in energy.targets.items():
        np.testing.assert_allclose(from_file.targets[name], target)
    np.testing.assert_array_equal(
        colorize(prediction, Edits(energy)), colorize(prediction, Edits(from_file))
    )
    with pytest.raises(ValueError, match="expected an image to match quantiles, got .*targets.npz"):
        load_reference(tmp_path / "targets.npz", "quantile", "hue_chroma", 32)
    with pytest.raises(ValueError, match="transfer: expected one of energy, quantile"):
        load_reference(tmp_path / "reference.png", "magic", "hue_chroma", 32)


def test_colours_without_histograms_cannot_be_edited(tmp_path) -> None:
    prediction = predict("lab_l2")
    for edits in (Edits(samples=2), Edits(hints=[Hint(1, 1, (1, 0, 0))])):
        with pytest.raises(ValueError, match="variant: expected one of"):
            colorize(prediction, edits)
    with pytest.raises(ValueError, match="variant"):
        save_histograms(tmp_path / "out.npz", prediction)
    with pytest.raises(ValueError, match="samples: expected at least 1, got 0"):
        Edits(samples=0)
