"""What a folder of a trained head holds is kept, or refused, and never overwritten unasked."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autocolor.core.files import LockedError
from autocolor.nets.catalogue import Model
from autocolor.nets.colorization import ColorizationNet, TrainingOptions
from autocolor.nets.solver import SolverOptions
from autocolor.training import head
from autocolor.training.budget import train_for
from autocolor.training.caffe_train import TrainingError
from autocolor.training.log import Record
from helpers.programs import lock_holder

MODEL = Model("m", ColorizationNet("lab_l2"), TrainingOptions("data"), "v", SolverOptions())


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls `head._train`, with a training that notes whether it may replace an earlier one."""
    monkeypatch.setattr(head, "save_model", lambda *arguments: None)
    network, asked = ColorizationNet("lab_l2"), []

    def call(fingerprint, fails=False):
        def train(replace_earlier):
            asked.append(replace_earlier)
            if fails:
                raise TrainingError("killed")
            return Path("snapshot_iter_8.caffemodel"), [Record(8, "train")]

        seconds = head._train(tmp_path / "m", "m", network, fingerprint, train)
        return seconds, asked

    return call


def test_what_is_trained_is_kept(call, tmp_path):
    seconds, asked = call("a")
    assert asked == [False]
    assert call("a") == (seconds, [False])
    assert json.loads((tmp_path / "m/trained.json").read_text())["iterations"] == 8


def test_what_was_trained_otherwise_is_refused(call):
    call("a")
    with pytest.raises(TrainingError, match="m: holds a model of other options, weights or data"):
        call("b")


def test_what_has_not_come_to_its_end_is_done_again_by_the_same_command_alone(call):
    with pytest.raises(TrainingError, match="killed"):
        call("a", fails=True)
    with pytest.raises(TrainingError, match="holds a model of other"):
        call("b")
    assert call("a")[1] == [False, True]


def test_gradients_are_clipped_and_validation_sees_every_row(tmp_path, monkeypatch):
    for name in ("training", "validation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "features.json").write_text("{}")
    lists = (tmp_path / "training/files.txt", tmp_path / "validation/files.txt")
    features = head.Features(tmp_path / "vgg", "data..conv5_3", 1.0, *lists, seconds=0)
    solvers = []

    def train(seconds, folder, model, levels, **options):
        solvers.append(model.files(levels)["solver.prototxt"])
        return Path("snapshot_iter_8.caffemodel"), [Record(8, "train")]

    monkeypatch.setattr(head, "train_for", train)
    monkeypatch.setattr(head, "save_model", lambda *arguments: None)
    monkeypatch.setattr(head, "count_rows", lambda files: 5000)
    network = ColorizationNet("lab_l2", "data..conv5_3")
    head.train_head(tmp_path / "m", "m", network, features, head.HeadOptions(batch=1000))
    assert "clip_gradients: 4.0\n" in solvers[0]
    assert "test_iter: 5\n" in solvers[0]


def test_a_moved_folder_is_the_same_model(tmp_path):
    model = replace(MODEL, training=TrainingOptions(str(tmp_path / "data")))
    first, second = (
        head._nameless(model.in_folder(tmp_path / name), "", "").files() for name in ("a", "b")
    )
    assert first == second
    assert str(tmp_path) not in "".join(first.values())


def test_snapshots_in_the_folder_of_a_training_are_not_overwritten(tmp_path):
    snapshot = tmp_path / "training" / "snapshot_iter_5.caffemodel"
    snapshot.parent.mkdir()
    snapshot.write_bytes(b"weights")
    with pytest.raises(
        TrainingError, match="snapshot_iter_5.caffemodel: is of an earlier training"
    ):
        train_for(1, snapshot.parent, MODEL)
    assert snapshot.read_bytes() == b"weights"
    assert [path.name for path in tmp_path.iterdir()] == ["training"]


def test_a_second_training_in_a_folder_is_refused(tmp_path):
    with lock_holder(tmp_path / ".training.lock") as other:
        with pytest.raises(LockedError, match=f"process {other.pid} of .* is at work here"):
            train_for(1, tmp_path / "training", MODEL, replace_earlier=True)
