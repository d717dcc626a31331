"""Choice of the strength on photos whose best strength is known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from autocolor.evaluation.metrics import ColorMetrics, Scores
from autocolor.evaluation.strength import StrengthScores, choose_strength
from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import compose_rgb, lightness, rgb_to_hue_chroma
from autocolor.imaging.images import ImageError, find_photos, read_image

CANDIDATES = (0.0, 0.5, 1.0, 1.5, 2.0)


class ScaledTruth:
    """Predicts the true hue, and the true chroma times a factor."""

    def __init__(self, folder: Path, factor: float, turn: float = 0.0) -> None:
        self.calls = 0
        self._factor = factor
        self._turn = turn
        self._truth = {}
        for path in find_photos(folder):
            rgb = read_image(path).rgb
            self._truth[lightness(rgb).tobytes()] = rgb_to_hue_chroma(rgb)

    def hue_chroma(self, light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hue, chroma = self._truth[light.tobytes()]
        return (hue + np.float32(self._turn)) % 1, chroma * np.float32(self._factor)

    def predict(self, light: np.ndarray) -> SimpleNamespace:
        self.calls += 1
        return SimpleNamespace(
            variant="hue_chroma", lightness=light, hue_chroma=lambda: self.hue_chroma(light)
        )


@pytest.mark.parametrize(("factor", "expected"), [(0.5, 2.0), (1.0, 1.0), (2.0, 0.5)])
def test_finds_the_strength_that_undoes_a_factor(
    photo_folder: Path, factor: float, expected: float
) -> None:
    colorizer = ScaledTruth(photo_folder, factor)
    choice = choose_strength(colorizer, find_photos(photo_folder), CANDIDATES, progress=False)
    assert choice.strength == expected
    assert colorizer.calls == 3  # once a photo, not once a candidate
    best = choice.candidates[CANDIDATES.index(expected)]
    assert best.beats_grey and best.objective < 0.1


def test_table_is_that_of_the_metrics(photo_folder: Path) -> None:
    paths = find_photos(photo_folder)
    colorizer = ScaledTruth(photo_folder, 0.6)
    choice = choose_strength(colorizer, paths, CANDIDATES, progress=False)
    metrics, grey = ColorMetrics(0), ColorMetrics(0)
    for path in paths:
        truth = read_image(path).rgb
        light = lightness(truth)
        hue, chroma = colorizer.hue_chroma(light)
        metrics.add(truth, compose_rgb(hue, chroma * 1.5, light))
        grey.add(truth, np.repeat(light[..., None], 3, axis=-1))
    row = choice.candidates[3]
    assert row.strength == 1.5 and row.scores == metrics.scores() and choice.grey == grey.scores()
    assert row.rmse_ratio == row.scores.rmse / choice.grey.rmse
    decibel = 10 * np.log10(row.square_error_ratio)
    assert decibel == pytest.approx(choice.grey.psnr - row.scores.psnr)


def test_strength_zero_is_grey(photo_folder: Path) -> None:
    colorizer = ScaledTruth(photo_folder, 1)
    choice = choose_strength(colorizer, find_photos(photo_folder), [0.0], progress=False)
    # The way through hue and chroma rounds differently.
    assert choice.candidates[0].objective == pytest.approx(1, abs=1e-5)


def test_wrong_hues_are_kept_faint(photo_folder: Path) -> None:
    # Opposite hues: any colour is worse than none.
    colorizer = ScaledTruth(photo_folder, 1, turn=0.5)
    choice = choose_strength(colorizer, find_photos(photo_folder), [1, 0.1, 0.5], progress=False)
    assert choice.strength == 0.1
    assert not any(row.beats_grey for row in choice.candidates)


@pytest.mark.parametrize("variant", ["hue_chroma", "lab_marginal", "lab_joint", "lab_l2"])
def test_each_strength_is_what_the_model_would_colorize(photo_folder: Path, variant: str) -> None:
    channels = {
        "hue_chroma": (32, 32),
        "lab_marginal": (32, 32),
        "lab_joint": (256,),
        "lab_l2": (2,),
    }

    def predict(light: np.ndarray) -> Prediction:
        rng = np.random.default_rng(light.shape)
        outputs = tuple(rng.random((5, 6, c), np.float32) for c in channels[variant])
        if variant != "lab_l2":
            outputs = tuple(grid / grid.sum(axis=-1, keepdims=True) for grid in outputs)
        height, width = light.shape
        return Prediction(variant, light, outputs, (5 / height, 6 / width), 1.0)

    paths = find_photos(photo_folder)
    choice = choose_strength(SimpleNamespace(predict=predict), paths, [0.5, 2.0], progress=False)
    for row in choice.candidates:
        metrics = ColorMetrics(0)
        for path in paths:
            truth = read_image(path).rgb
            metrics.add(truth, predict(lightness(truth)).colorize(strength=row.strength))
        expected = metrics.scores()
        # Tiles of a photo are put together before and not after the colours are made.
        assert row.scores.rmse == pytest.approx(expected.rmse, rel=1e-6)
        assert row.scores.psnr == pytest.approx(expected.psnr, rel=1e-6)


def test_objective_literal() -> None:
    row = StrengthScores(1.0, Scores(0.3, 25), rmse_ratio=0.9, square_error_ratio=0.7)
    assert row.objective == pytest.approx(0.8) and row.beats_grey
    assert not StrengthScores(1.0, Scores(0.3, 25), 1.01, 0.5).beats_grey


def test_wrong_arguments(photo_folder: Path, tmp_path: Path) -> None:
    colorizer = ScaledTruth(photo_folder, 1)
    with pytest.raises(ValueError, match="candidates: expected at least one"):
        choose_strength(colorizer, find_photos(photo_folder), [], progress=False)
    with pytest.raises(ValueError, match="strength: .*-1"):
        choose_strength(colorizer, find_photos(photo_folder), [1, -1], progress=False)
    with pytest.raises(ImageError, match="expected at least one colour photo"):
        choose_strength(colorizer, [tmp_path / "none.png"], [1], progress=False)
