"""Edits: the colour transfers, samples and hints that are combined before colours are taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autocolor.control.edits import (
    Edits,
    HintedPixels,
    Reference,
    colorize_edited,
    energy_biases,
    load_reference,
    save_histograms,
    uncertainty_image,
)
from autocolor.control.energy import apply_bias, chi_square
from autocolor.control.hints import Hint, spread_hints
from autocolor.control.targets import image_targets
from autocolor.core.errors import InputError
from autocolor.histograms.decode import DecodeOptions
from autocolor.histograms.prediction import Prediction
from autocolor.histograms.upsampling import GridSampler
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


def colorize(
    prediction: Prediction, edits: Edits, options: DecodeOptions = DecodeOptions()
) -> list[np.ndarray]:
    return list(colorize_edited(prediction, edits, np.random.default_rng(1), options))


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
    reference = Reference(targets=image_targets(rgb, variant, bins))
    edits = Edits(reference, [Hint(5, 6, (0.8, 0.2, 0.2))], samples=3, hue=0.3, lean=0.5)
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


@pytest.mark.parametrize("sampling", ["pixel", "image"])
def test_what_a_hint_hardly_reaches_is_drawn_with_the_same_numbers(sampling: str) -> None:
    prediction = predict("hue_chroma")
    options = DecodeOptions(method="sample", sampling=sampling)
    hints = [Hint(0, 0, (0.6, 0.4, 0.4))]
    (plain,) = colorize(prediction, Edits(), options)
    (hinted,) = colorize(prediction, Edits(hints=hints), options)
    (other,) = colorize_edited(prediction, Edits(), np.random.default_rng(9), options)
    tiles = spread_hints(prediction.tiles, prediction.lightness, hints, "hue_chroma")
    share = np.concatenate([tile.share for tile in tiles])
    np.testing.assert_array_equal(hinted[share == 0], plain[share == 0])
    few = (share > 0) & (share < 0.05)
    assert few.sum() > 50
    assert 0 < np.abs(hinted - plain)[few].mean() < 0.3 * np.abs(other - plain)[few].mean()


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint"])
def test_hints_are_spread_once_for_all_strengths(
    variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spreads = []

    def counted(*arguments: Any) -> Any:
        spreads.append(arguments)
        return spread_hints(*arguments)

    monkeypatch.setattr("autocolor.control.edits.spread_hints", counted)
    prediction = predict(variant)
    hints = [Hint(5, 6, (0.8, 0.2, 0.2)), Hint(18, 20, (0.2, 0.3, 0.8), radius=3)]
    remembered = Edits(hints=hints, hinted=[])
    for strength in (0.0, 0.5, 1.7):
        options = DecodeOptions(strength=strength)
        (found,) = colorize(prediction, remembered, options)
        assert len(spreads) == 1
        (expected,) = colorize(prediction, Edits(hints=hints), options)
        spreads.pop()
        np.testing.assert_array_equal(found, expected)
    assert remembered.hinted and sum(part.nbytes for part in remembered.hinted) > 0


def test_what_stops_the_spreading_leaves_nothing_half_remembered() -> None:
    hinted: list[HintedPixels] = []

    def stop(done: float) -> None:
        if done > 0.3:
            raise KeyboardInterrupt

    edits = Edits(hints=[Hint(5, 6, (0.8, 0.2, 0.2))], hinted=hinted)
    with pytest.raises(KeyboardInterrupt):
        list(colorize_edited(predict("hue_chroma"), edits, progress=stop))
    assert hinted == []


def test_a_reference_moves_the_mean_histograms_to_its_own() -> None:
    """Found on the grid, and of the enlarged histograms as well."""
    prediction = predict("hue_chroma")
    targets = image_targets(
        np.random.default_rng(4).random((9, 9, 3), np.float32), "hue_chroma", 32
    )
    for output, bias, target in zip(
        prediction.outputs, energy_biases(prediction, targets), targets.values(), strict=True
    ):
        bent = apply_bias(output, bias)
        sampler = GridSampler(bent, SIZE, prediction.cells_per_pixel)
        before, after = output.mean(axis=(0, 1)), sampler.rows(0, SIZE[0]).mean(axis=(0, 1))
        assert chi_square(after, target) < 0.3 * chi_square(before, target)


def test_biases_that_are_known_are_not_looked_for() -> None:
    prediction = predict("lab_marginal")
    targets = image_targets(
        np.random.default_rng(4).random((9, 9, 3), np.float32), "lab_marginal", 8
    )
    known = Reference(biases=energy_biases(prediction, targets))
    np.testing.assert_array_equal(
        colorize(prediction, Edits(known)), colorize(prediction, Edits(Reference(targets=targets)))
    )


@pytest.mark.slow
@pytest.mark.parametrize("hints", [(), [Hint(1, 1, (0.6, 0.4, 0.4))]])
def test_progress_rises_to_the_end_and_can_stop_the_work(hints) -> None:
    prediction = predict("lab_joint")
    wide = replace(
        prediction,
        lightness=np.full((3000, 500), 0.5, np.float32),
        cells_per_pixel=(6 / 3000, 8 / 500),
    )
    parts: list[float] = []
    list(colorize_edited(wide, Edits(hints=hints), progress=parts.append))
    assert parts[0] == 0 and 0.6 < parts[-1] < 1
    assert sorted(parts) == parts

    def stop(done: float) -> None:
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(colorize_edited(wide, Edits(hints=hints), progress=stop))


def test_references(tmp_path) -> None:
    prediction = predict("hue_chroma")
    rgb = np.random.default_rng(3).random((9, 9, 3), np.float32)
    write_image(tmp_path / "reference.png", rgb)
    quantile = load_reference(tmp_path / "reference.png", "quantile", "hue_chroma", 32)
    assert quantile.targets is None
    energy = load_reference(tmp_path / "reference.png", "energy", "hue_chroma", 32)
    np.savez(tmp_path / "targets.npz", **energy.targets)
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
    with pytest.raises(InputError, match="variant"):
        save_histograms(tmp_path / "out.npz", prediction)
    with pytest.raises(ValueError, match="samples: expected at least 1, got 0"):
        Edits(samples=0)
