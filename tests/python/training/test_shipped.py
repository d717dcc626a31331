"""Training of the shipped head on cached hypercolumns, with real Caffe."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest

from autocolor.data.photos import PhotoEntry
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import load_head
from autocolor.training.caffe_train import TrainingError
from autocolor.training.shipped import (
    TrainingPlan,
    join_lists,
    set_strength,
    split_photos,
    train,
    whole_batches,
)

CHANNELS = 4225
PLAN = TrainingPlan(iterations=10, batch=32)


def entry(split, package, number):
    return PhotoEntry(split, "apt", package, f"{number}.jpg", "", "g", "0" * 64)


def test_held_out_photos_play_no_part_and_packages_stay_whole():
    entries = [entry("train", "a", n) for n in range(30)]
    entries += [entry("extra", f"p{n // 3}", n) for n in range(30)]
    entries += [entry("test", "t", n) for n in range(20)]
    training, validation = split_photos(entries)
    assert len(training) + len(validation) == 60
    assert 6 <= len(validation) <= 9
    assert not {e.package for e in training} & {e.package for e in validation}
    assert "t" not in {e.package for e in training + validation}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Two lists of files: one channel of the hypercolumn says whether a pixel is red or blue."""
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    lists = []
    for name in ("training", "validation"):
        red = rng.random(192) < 0.5
        hypercolumns = np.zeros((192, CHANNELS), np.float16)
        hypercolumns[:, 7] = 8 * red
        colours = np.where(red[:, None], [0.2, 0.2, 0.9], [0.9, 0.2, 0.2]).astype(np.float32)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["cached_hypercolumn"] = hypercolumns
            file["image"] = colours[..., None, None]
        lists.append(folder / f"{name}.txt")
        lists[-1].write_text(f"{folder / name}.h5\n")
    return lists


def test_a_head_learns_and_is_not_trained_twice(features, tmp_path):
    scale = np.full(CHANNELS, 2, np.float32)
    kept = train(tmp_path, "hue_chroma", *features, scale, PLAN)
    stamp = tmp_path / "trained.json"
    losses = json.loads(stamp.read_text())["validation_losses"]
    assert losses[str(kept)] == min(losses.values()) < 0.8 * losses["0"]
    head = load_head(tmp_path / "head.npz")
    assert {name: blobs[0].shape for name, blobs in head.items()} == {
        "h_fc1": (1024, CHANNELS), "prediction_h": (32, 1024), "prediction_c": (32, 1024),
    }  # fmt: skip
    assert Manifest.load(tmp_path).variant == "hue_chroma"
    before = stamp.stat().st_mtime_ns
    assert train(tmp_path, "hue_chroma", *features, scale, PLAN) == kept
    assert stamp.stat().st_mtime_ns == before
    set_strength(tmp_path, 0.65)
    assert Manifest.load(tmp_path).strength == 0.65
    # Another plan is another training, of which a given iteration may be kept.
    assert train(tmp_path, "hue_chroma", *features, scale, replace(PLAN, iterations=4),
                 iteration=4) == 4  # fmt: skip
    with pytest.raises(TrainingError, match="expected a snapshot of iteration 99"):
        train(tmp_path, "hue_chroma", *features, scale, PLAN, iteration=99)


def test_whole_batches(tmp_path):
    lines = []
    for rows in (64, 48, 32):
        path = tmp_path / f"{rows}.h5"
        with h5py.File(path, "w") as file:
            file["cached_hypercolumn"] = np.zeros((rows, 2), np.float16)
        lines.append(f"{path}\n")
    listed = tmp_path / "views.txt"
    listed.write_text("".join(lines))
    assert whole_batches(listed, 32).read_text() == lines[0] + lines[2]
    assert whole_batches(listed, 1000).read_text() == "".join(lines)
    assert join_lists([listed, listed], tmp_path / "all" / "all.txt").read_text() == 2 * "".join(
        lines
    )
