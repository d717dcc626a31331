"""Plans of trainings that are given a time."""

import pytest

from autocolor.training.budget import plan_training
from autocolor.training.caffe_train import TrainingError, best_snapshot
from autocolor.training.log import Record


@pytest.mark.parametrize(
    ("seconds_per_test", "plan"),
    [
        (1, (176, 22)),  # 9 s of 100 are 9 validations; 91 are 182 iterations, in 8 parts of 22
        (5, (148, 37)),  # 25 s are 5 validations; 75 are 150 iterations, in 4 parts of 37
        (40, (40, 40)),  # one before and one after
    ],
)
def test_a_plan_fills_the_time(seconds_per_test, plan):
    assert plan_training(100, 0.5, seconds_per_test) == plan


@pytest.mark.parametrize("seconds", [0.1, 3])
def test_a_short_time_is_still_a_training(seconds):
    assert plan_training(seconds, 1.0, 2) == (1, 1)


def test_the_snapshot_that_validates_best_is_taken(tmp_path):
    for iteration in (10, 20, 30):
        (tmp_path / f"snapshot_iter_{iteration}.caffemodel").touch()
    records = [
        Record(10, "test", loss=2.0),
        Record(20, "test", loss=1.0),
        Record(30, "test", loss=1.5),
        Record(15, "test", loss=0.1),  # left no snapshot
        Record(30, "train", loss=0.0),
    ]
    assert best_snapshot(tmp_path, records).name == "snapshot_iter_20.caffemodel"
    assert best_snapshot(tmp_path, []).name == "snapshot_iter_30.caffemodel"
    with pytest.raises(TrainingError, match="nowhere: caffe train left no snapshot"):
        best_snapshot(tmp_path / "nowhere", records)
