"""Smoothing over time: means within a shot, without trails and ghosts; cuts are found."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from autocolor.histograms.prediction import Prediction
from autocolor.imaging.color import lightness, rgb_to_hue_chroma
from autocolor.imaging.images import resize
from autocolor.video.smoothing import RADIUS, SMOOTHING, is_cut, smooth_predictions


def prediction(hue: int, light: float | np.ndarray = 0.5) -> Prediction:
    one_hot = np.zeros((2, 3, 32), np.float32)
    one_hot[..., hue] = 1
    grey = np.broadcast_to(np.float32(light), (8, 12)).astype(np.float32)
    return Prediction("hue_chroma", grey, (one_hot, one_hot), (0.25, 0.25), 1.0)


def smooth(
    predictions: Sequence[Prediction], cuts: Sequence[int] = (0,), amount: float = 0.5, **start: int
) -> list[Prediction]:
    where = {"first": 0, "start": 0, **start}
    return list(smooth_predictions(predictions, cuts, amount, **where))


def test_literal_example() -> None:
    """Weights 1, 1/2, 1/4 of frames at distances 0, 1, 2."""
    red, green, blue = smooth([prediction(0), prediction(10), prediction(20)])
    cell = red.outputs[0][0, 0]
    np.testing.assert_allclose(cell[[0, 10, 20]], np.array([4, 2, 1]) / 7, rtol=1e-6)
    np.testing.assert_allclose(green.outputs[1][1, 2, [0, 10, 20]], [1 / 4, 1 / 2, 1 / 4])
    np.testing.assert_allclose(
        blue.outputs[0][0, 0, [0, 10, 20]], np.array([1, 2, 4]) / 7, rtol=1e-6
    )


def test_against_a_naive_reference() -> None:
    """Loops over frames and cells, on random histograms, lightness and cuts."""
    rng = np.random.default_rng(0)
    cuts, amount, number = (0, 5, 6, 20), 0.7, 33
    frames = []
    for _ in range(number):
        hue, chroma = rng.random((2, 2, 3, 32)).astype(np.float32)
        grey = rng.random((2, 3)).astype(np.float32) * 0.2 + 0.4
        frames.append(Prediction("hue_chroma", grey, (hue, chroma), (1, 1), 1.0))
    shots = np.searchsorted(cuts, range(number), side="right")
    for wanted, got in enumerate(smooth(frames, cuts, amount)):
        own = frames[wanted].lightness - frames[wanted].lightness.mean()
        expected, total = np.zeros((2, 2, 3, 32)), np.zeros((2, 3))
        for other in range(max(0, wanted - RADIUS), min(number, wanted + RADIUS + 1)):
            if shots[other] == shots[wanted]:
                light = frames[other].lightness - frames[other].lightness.mean()
                weight = amount ** abs(other - wanted) * np.exp(-(((light - own) / 0.05) ** 2) / 2)
                total += weight
                expected += weight[..., None] * np.stack(frames[other].outputs)
        np.testing.assert_allclose(np.stack(got.outputs), expected / total[..., None], rtol=1e-5)
        np.testing.assert_array_equal(got.lightness, frames[wanted].lightness)


def test_nothing_crosses_a_cut_and_histograms_stay_histograms() -> None:
    frames = [prediction(3)] * 10 + [prediction(9)] * 10
    smoothed = smooth(frames, cuts=(0, 10), amount=0.9)
    for got, frame in zip(smoothed, frames, strict=True):
        np.testing.assert_allclose(got.outputs[0], frame.outputs[0], atol=1e-6)
    mixed = smooth(frames, amount=0.9)[9].outputs[0][0, 0]
    assert mixed[9] > 0.3 and mixed.sum() == pytest.approx(1)


def test_no_smoothing_changes_nothing() -> None:
    frames = [prediction(hue) for hue in (1, 5, 9)]
    for got, frame in zip(smooth(frames, amount=0), frames, strict=True):
        np.testing.assert_array_equal(got.outputs[0], frame.outputs[0])
    with pytest.raises(ValueError, match="smoothing: expected a number in"):
        smooth(frames, amount=1)


@pytest.mark.parametrize("start", [0, 3, 8, 9, 20, 29])
def test_frames_are_the_same_wherever_one_starts(start: int) -> None:
    rng = np.random.default_rng(1)
    frames = [prediction(int(rng.integers(32)), rng.random((8, 12))) for _ in range(30)]
    whole = smooth(frames, cuts=(0, 12))
    first = max(0, start - RADIUS)
    part = smooth(frames[first:], cuts=(0, 12), first=first, start=start)
    assert len(part) == 30 - start
    for got, expected in zip(part, whole[start:], strict=True):
        np.testing.assert_array_equal(got.outputs[0], expected.outputs[0])


def test_what_moves_leaves_no_trail() -> None:
    """A dark thing of one colour over a light ground of another: both keep theirs."""
    frames = []
    for step in range(12):
        hue = np.zeros((1, 12, 32), np.float32)
        hue[..., 3] = 1
        hue[0, step] = np.eye(32)[20]
        grey = np.full((1, 12), 0.8, np.float32)
        grey[0, step] = 0.3
        frames.append(Prediction("hue_chroma", grey, (hue, hue), (1, 1), 1.0))
    for got, frame in zip(smooth(frames, amount=0.9), frames, strict=True):
        np.testing.assert_allclose(got.outputs[0], frame.outputs[0], atol=1e-3)


def views(photo: np.ndarray, number: int) -> list[np.ndarray]:
    """Return frames of a camera that pans over a photo, with grain and flickering exposure."""
    rng = np.random.default_rng(2)
    side = 2 * min(photo.shape[:2]) // 3
    places = np.linspace(0, min(photo.shape[:2]) - side, number).astype(int)
    parts = [resize(photo[at : at + side, at : at + side], (64, 64)) for at in places]
    return [
        np.clip(part * rng.uniform(0.8, 1.1) + rng.normal(0, 0.03, (64, 64, 1)), 0, 1).astype(
            np.float32
        )
        for part in parts
    ]


PHOTOS = [
    photo().astype(np.float32) / 255
    for photo in (skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee)
]


def test_cuts_are_found_where_photos_change_and_nowhere_else() -> None:
    shots = [views(photo, 20) for photo in PHOTOS]
    film = [resize(lightness(frame), (36, 64)) for shot in shots for frame in shot]
    cuts = [index for index in range(1, 60) if is_cut(film[index - 1], film[index])]
    assert cuts == [20, 40]


def test_flat_frames_are_cut_where_they_change_much() -> None:
    flat = np.full((36, 64), 0.5, np.float32)
    assert not is_cut(flat, flat + np.float32(0.1))  # a fade
    assert is_cut(flat, flat + np.float32(0.4))


def flickering(film: Sequence[np.ndarray]) -> list[Prediction]:
    """Return what a network that is right on average predicts: the true colours, and noise."""
    rng = np.random.default_rng(3)
    predictions = []
    for rgb in film:
        light = lightness(rgb)
        small = resize(rgb, (16, 16))
        hue, chroma = rgb_to_hue_chroma(small)
        wrong = rng.random((16, 16)) < 0.3
        hue = np.where(wrong, rng.random((16, 16)), hue)
        chroma = np.clip(chroma + rng.normal(0, 0.1, (16, 16)), 0, 0.999)
        outputs = tuple(
            np.eye(32, dtype=np.float32)[np.minimum((values * 32).astype(int), 31)]
            for values in (hue, chroma)
        )
        predictions.append(Prediction("hue_chroma", light, outputs, (0.25, 0.25), 1.0))
    return predictions


def colour(rgb: np.ndarray) -> np.ndarray:
    return rgb - lightness(rgb)[..., None]


def test_colours_flicker_less_and_are_no_further_from_the_truth() -> None:
    """Between frames of a shot colours change less than a third as much; errors shrink as well."""
    shots = [views(photo, 20) for photo in PHOTOS]
    film = [frame for shot in shots for frame in shot]
    rough = flickering(film)
    cuts = (0, 20, 40)
    flicker, error = {}, {}
    for name, predictions in (("without", rough), ("with", smooth(rough, cuts, SMOOTHING))):
        frames = [colour(one.colorize()) for one in predictions]
        changes = [
            np.abs(after - before).mean()
            for index, (before, after) in enumerate(itertools.pairwise(frames), 1)
            if index not in cuts
        ]
        flicker[name] = np.mean(changes)
        errors = [
            np.abs(frame - colour(truth)).mean() for frame, truth in zip(frames, film, strict=True)
        ]
        error[name] = np.mean(errors)
        # At a cut, too: no ghost of the shot before.
        error[f"{name} at cuts"] = np.mean(
            [errors[at] for cut in cuts[1:] for at in (cut - 1, cut)]
        )
    print(flicker, error)
    assert flicker["with"] < flicker["without"] / 3
    assert error["with"] < error["without"]
    assert error["with at cuts"] < error["without at cuts"]
    assert error["with at cuts"] < 1.1 * error["with"]


def test_options_do_not_change_the_prediction() -> None:
    frame = prediction(4)
    (got,) = smooth([frame])
    assert got == replace(frame, outputs=got.outputs)
