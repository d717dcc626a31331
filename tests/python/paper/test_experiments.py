"""Methods on scenes, and kept scores."""

from functools import partial

import numpy as np
import pytest

from autocolor.baselines.cluster_correspondence import transfer_clusters
from autocolor.evaluation.evaluate import GREY, Scene
from autocolor.evaluation.metrics import ColorMetrics
from autocolor.imaging.images import ImageError, find_photos
from autocolor.paper.experiments import predicted, scene_method, score_methods
from autocolor.runtime.colorizer import Colorizer


class Counted:
    """Shifts the truth's red by a constant, and counts its calls."""

    def __init__(self, shift):
        self.shift, self.calls = shift, 0

    def __call__(self, scene):
        self.calls += 1
        return np.clip(scene.truth + np.float32([self.shift, 0, 0]), 0, 1)


def test_scores_are_those_of_the_metrics_and_are_kept(photo_folder, tmp_path):
    paths = find_photos(photo_folder)
    method = Counted(0.1)
    scores, skipped = score_methods({"m": lambda: method}, paths, tmp_path, {}, progress=False)
    assert list(scores) == [GREY, "m"] and method.calls == 3 and skipped == []
    metrics = ColorMetrics()
    for path in paths:
        scene = Scene(path)
        metrics.add(scene.truth, Counted(0.1)(scene), scene.key)
    assert scores["m"].metrics.to_dict() == metrics.to_dict()
    assert scores["m"].seconds_per_photo > 0

    again, _ = score_methods({"m": lambda: method}, paths, tmp_path, {}, progress=False)
    assert method.calls == 3
    assert again["m"].metrics.intervals() == scores["m"].metrics.intervals()
    # Another method is added; the first is neither loaded nor computed again.
    more, loaded = Counted(0.2), []

    def load(key, method):
        loaded.append(key)
        return method

    loaders = {"m": partial(load, "m", method), "n": partial(load, "n", more)}
    score_methods(loaders, paths, tmp_path, {}, progress=False)
    assert (method.calls, more.calls) == (3, 3)
    assert loaded == ["n"]


def test_scores_of_something_else_are_not_used(photo_folder, tmp_path):
    paths = find_photos(photo_folder)
    method = Counted(0.1)
    score_methods({"m": lambda: method}, paths, tmp_path, {"m": "old"}, progress=False)
    score_methods({"m": lambda: method}, paths, tmp_path, {"m": "new"}, progress=False)
    assert method.calls == 6
    score_methods({"m": lambda: method}, paths[:2], tmp_path, {"m": "new"}, progress=False)
    assert method.calls == 8
    (tmp_path / "m.json").write_text("{ damaged")
    score_methods({"m": lambda: method}, paths[:2], tmp_path, {"m": "new"}, progress=False)
    assert method.calls == 10


def test_photos_that_cannot_be_scored_are_listed(photo_folder, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    paths = [*find_photos(photo_folder), broken]
    for _ in range(2):  # computed, then read
        scores, skipped = score_methods({}, paths, tmp_path / "scores", {}, progress=False)
        assert scores[GREY].metrics.images == 3
        assert [path for path, _ in skipped] == [broken]
    with pytest.raises(ImageError, match="expected at least one colour photo"):
        score_methods({}, [broken], tmp_path / "none", {}, progress=False)


def test_a_model_predicts_once_for_all_methods(model_folder, photo_folder):
    colorizer = Colorizer(model_folder)
    scene = Scene(find_photos(photo_folder)[0])
    assert predicted(scene, "tiny", colorizer) is predicted(scene, "tiny", colorizer)
    keys = ("tiny@1", "tiny@chosen", "tiny/sample@1", "tiny/expectation+CF@1", "tiny/median@1")
    methods = {key: scene_method(key, "tiny", colorizer) for key in (*keys, "C", "Q", "E")}
    found = {name: method(scene) for name, method in methods.items()}
    for name, rgb in found.items():
        assert rgb.shape == scene.truth.shape, name
    light = scene.lightness
    np.testing.assert_array_equal(found["tiny@1"], colorizer.colorize(light))
    faded = colorizer.colorize(light, method="expectation")
    np.testing.assert_array_equal(found["tiny/expectation+CF@1"], faded)
    plain = colorizer.colorize(light, method="median", fading=False)
    np.testing.assert_array_equal(found["tiny/median@1"], plain)
    faint = colorizer.colorize(light, method="mode", fading=False, strength=0.6)
    np.testing.assert_array_equal(scene_method("tiny/mode@0.6", "tiny", colorizer)(scene), faint)
    recolored = transfer_clusters(found["tiny@chosen"], scene.truth)
    np.testing.assert_array_equal(found["C"], recolored)


def test_seed_matters_to_samples_only(model_folder, photo_folder):
    colorizer = Colorizer(model_folder)
    scene = Scene(find_photos(photo_folder)[0])
    for key, equal in (("tiny/sample@1", False), ("tiny/mode@1", True)):
        first, again, other = (
            scene_method(key, "tiny", colorizer, seed=seed)(scene) for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert np.array_equal(first, other) == equal


def test_a_scoring_that_was_stopped_goes_on(photo_folder, tmp_path):
    paths = find_photos(photo_folder)

    class Stopped(Counted):
        def __call__(self, scene):
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().__call__(scene)

    with pytest.raises(KeyboardInterrupt):
        score_methods({"m": lambda: Stopped(0.1)}, paths, tmp_path, {"m": "1"}, progress=False)
    assert len(list(tmp_path.glob("unfinished_*.jsonl"))) == 1
    method = Counted(0.1)
    scores, _ = score_methods({"m": lambda: method}, paths, tmp_path, {"m": "1"}, progress=False)
    assert method.calls == 1 and scores["m"].metrics.images == 3
    assert not list(tmp_path.glob("unfinished_*"))
    whole, _ = score_methods({"m": lambda: method}, paths, tmp_path / "whole", {}, progress=False)
    assert scores["m"].metrics.to_dict() == whole["m"].metrics.to_dict()
    assert scores["m"].seconds_per_photo > 0
    # Those of a stopped run of something else are not used.
    with pytest.raises(KeyboardInterrupt):
        score_methods({"m": lambda: Stopped(0.1)}, paths, tmp_path, {"m": "2"}, progress=False)
    method = Counted(0.1)
    score_methods({"m": lambda: method}, paths, tmp_path, {"m": "3"}, progress=False)
    assert method.calls == 3
