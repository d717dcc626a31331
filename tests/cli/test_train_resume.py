"""Snapshots that were moved, damaged, of another solver, or in use: nothing is lost without a word."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from autocolor.runtime.caffemodel import read_caffemodel, write_caffemodel
from helpers.programs import PATIENCE, run, wait_until
from helpers.tiny_training import (
    ENVIRONMENT,
    caffe_train,
    train,
    train_command,
    write_lmdb,
    write_training,
)

pytestmark = pytest.mark.slow

STEADY = {"base_lr": 1e-5, "lr_policy": '"fixed"', "max_iter": 10**7}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_lmdb(tmp_path_factory.mktemp("data") / "lmdb")


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    """A training with snapshots at 2 and 4, with random numbers of all kinds."""
    folder = tmp_path_factory.mktemp("trained") / "t"
    train(write_training(folder, source, random=True, max_iter=4, snapshot=2))
    return folder


@pytest.fixture
def training(source, trained, tmp_path):
    """A copy of it that is still as it was, under its own name."""
    shutil.copytree(trained, tmp_path / "t")
    return write_training(tmp_path / "t", source, random=True, max_iter=4, snapshot=2)


def all_blobs(path):
    if path.suffix != ".h5":
        layers = read_caffemodel(path)
        return {(n, i): blob.copy() for n, blobs in layers.items() for i, blob in enumerate(blobs)}
    found = {}
    with h5py.File(path) as file:  # shared weights are there once, which read_weights refuses
        file.visititems(lambda n, d: found.update({n: d[()]}) if hasattr(d, "shape") else None)
    return found


def weights(folder, iteration):
    return all_blobs(folder / f"s_iter_{iteration}.caffemodel")


def same(left, right):
    return left.keys() == right.keys() and all((left[key] == right[key]).all() for key in left)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def without_checksums(folder):
    for path in folder.glob("*.sha256"):
        path.unlink()


# ---- another folder


@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_training_goes_on_in_another_folder(source, tmp_path, how, form):
    """The state names the caffemodel of the old folder, which may be gone, or another by now."""
    options = dict(random=True, snapshot=2, snapshot_format=form, lr_policy='"fixed"')
    ending = ".h5" if form == "HDF5" else ""
    train(write_training(tmp_path / "whole", source, max_iter=4, **options))
    train(write_training(tmp_path / "old", source, max_iter=2, **options))
    if how == "renamed":
        (tmp_path / "old").rename(tmp_path / "new")
    else:
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        other = tmp_path / "old" / f"s_iter_2.caffemodel{ending}"
        shutil.copyfile(tmp_path / "whole" / f"s_iter_4.caffemodel{ending}", other)
    said = train(write_training(tmp_path / "new", source, max_iter=4, **options), "--resume")
    assert f"resuming from {tmp_path}/new/s_iter_2.solverstate" in said
    name = f"s_iter_4.caffemodel{ending}"
    wanted, found = all_blobs(tmp_path / "whole" / name), all_blobs(tmp_path / "new" / name)
    assert found.keys() == wanted.keys()
    for key, blob in found.items():
        np.testing.assert_array_equal(blob, wanted[key])


def test_a_solver_that_still_names_the_old_folder_is_refused(source, tmp_path):
    train(write_training(tmp_path / "old", source, max_iter=2))
    (tmp_path / "old").rename(tmp_path / "new")
    solver = tmp_path / "new/solver.prototxt"
    solver.write_text(solver.read_text().replace("old/train.proto", "new/train.proto"))
    said = train(solver, "--resume", status=1)
    assert "new/s_iter_2.solverstate is one: was the folder moved?" in said
    assert not list((tmp_path / "old").glob("s_*"))


# ---- no snapshot that can be used


@pytest.mark.parametrize(
    ("by", "first", "then"),
    [
        (train, "Adam", "SGD"),
        (train, "SGD", "Nesterov"),  # which remember alike
        (caffe_train, "Adam", "SGD"),
        (caffe_train, "SGD", "Adam"),
    ],
)
def test_another_type_of_solver_is_refused(source, tmp_path, by, first, then):
    solver = write_training(tmp_path, source, max_iter=2, type=f'"{first}"', snapshot=1)
    by(solver)
    write_training(tmp_path, source, max_iter=4, type=f'"{then}"', snapshot=1)
    before = contents(tmp_path)
    said = train(solver, "--resume", status=1)
    assert "s_iter_2.solverstate: is of solver type " in said and first in said
    assert f"the solver is {then}" in said
    assert contents(tmp_path) == before


def test_where_no_snapshot_is_usable_nothing_is_overwritten(training):
    folder = training.parent
    flip(folder / "s_iter_2.solverstate")
    (folder / "s_iter_4.caffemodel").unlink()
    before = contents(folder)
    said = train(training, "--resume", status=1)
    assert "passing over snapshot s_iter_2.solverstate: " in said
    assert "s_iter_2.solverstate: is cut off or damaged: its SHA-256" in said
    assert "s_iter_4.caffemodel: no such file" in said
    assert "train: error: " in said and "no snapshot is usable, of 2" in said
    assert contents(folder) == before
    train(training, "--force")
    assert (folder / "s_iter_4.caffemodel").exists()


def test_a_caffemodel_that_has_lost_its_state_is_not_overwritten(training):
    folder = training.parent
    for path in folder.glob("s_iter_*.solverstate*"):
        path.unlink()
    before = contents(folder)
    assert "no snapshot is usable, of 2" in train(training, "--resume", status=1)
    assert contents(folder) == before


@pytest.mark.parametrize("has_state", [False, True])
def test_a_snapshot_that_was_never_finished_is_none(source, training, has_state):
    """Killed in its first snapshot, a training is begun again by the same command."""
    folder = training.parent
    wanted = weights(folder, 4)
    for path in folder.glob("s_iter_4.*"):
        path.unlink()
    if not has_state:
        (folder / "s_iter_2.solverstate").unlink()
    (folder / "s_iter_2.solverstate.sha256").write_text("# being written\n")
    said = train(training, "--resume")
    assert "was not written to its end" in said and "starting anew" in said
    assert same(weights(folder, 4), wanted)


# ---- damaged bytes


@pytest.mark.parametrize("ending", ["caffemodel", "solverstate"])
def test_one_flipped_bit_is_named_and_the_one_before_taken(training, ending):
    folder = training.parent
    wanted = weights(folder, 4)
    flip(folder / f"s_iter_4.{ending}")
    said = train(training, "--resume")
    assert "passing over snapshot s_iter_4.solverstate: " in said
    assert f"s_iter_4.{ending}: is cut off or damaged" in said
    assert "resuming from" in said and "s_iter_2.solverstate" in said
    assert same(weights(folder, 4), wanted)


def test_snapshots_of_caffe_train_have_no_checksum_and_are_taken(source, training):
    folder = training.parent
    without_checksums(folder)
    (folder / "s_iter_4.solverstate").unlink()
    (folder / "s_iter_4.caffemodel").unlink()
    assert "s_iter_2.solverstate" in train(training, "--resume")


def test_checksums_are_those_of_sha256sum(training):
    for path in sorted(training.parent.glob("s_iter_*.sha256")):
        run("sha256sum", "--check", "--strict", path.name, cwd=training.parent)
    assert len(list(training.parent.glob("s_iter_*.sha256"))) == 4


def test_damaged_weights_to_start_from_are_named(source, tmp_path):
    solver = write_training(tmp_path / "t", source)
    start = tmp_path / "start.caffemodel"
    write_caffemodel(start, {"h_fc1": (np.ones((16, 8), np.float32), np.ones(16, np.float32))}, "n")
    flip(start)
    said = train(solver, "--weights", start, status=1)
    assert f"train: error: {start}: is cut off or damaged" in said


# ---- two at once


def test_the_second_of_two_trainings_in_a_folder_is_refused(source, tmp_path):
    solver = write_training(tmp_path, source, **STEADY)
    log = tmp_path / "s_log.jsonl"
    with subprocess.Popen(
        train_command(solver), env=ENVIRONMENT, stderr=subprocess.DEVNULL
    ) as first:
        try:
            wait_until(lambda: log.exists() and log.stat().st_size > 1000, first)
            for option in ("--resume", "--force"):
                said = train(solver, option, status=1)
                assert "train: error: " in said and "is at work here" in said
                assert log.stat().st_size > 1000
            first.send_signal(signal.SIGINT)
            first.wait(PATIENCE)
        finally:
            with contextlib.suppress(ProcessLookupError):
                first.kill()
    assert not list(tmp_path.glob(".s.lock"))
    (state,) = tmp_path.glob("s_iter_*.solverstate")
    iteration = int(state.name.removeprefix("s_iter_").removesuffix(".solverstate"))
    write_training(tmp_path, source, **{**STEADY, "max_iter": iteration + 1})
    train(solver, "--resume")


def test_the_lock_of_a_killed_training_is_none(source, tmp_path):
    solver = write_training(tmp_path, source, **STEADY)
    log = tmp_path / "s_log.jsonl"
    with subprocess.Popen(
        train_command(solver), env=ENVIRONMENT, stderr=subprocess.DEVNULL
    ) as first:
        wait_until(lambda: log.exists() and log.stat().st_size > 1000, first)
        child = int(Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGKILL)
        first.wait(PATIENCE)
    write_training(tmp_path, source, max_iter=2)
    train(solver, "--force")


# ---- a full disk


@pytest.mark.parametrize(
    ("limit", "snapshot", "expected"),  # bytes that a file may have
    [
        (1000, 0, "'{folder}/s_log.jsonl'"),
        (3000, 2, "snapshot {folder}/s_iter_2.solverstate was not written to its end"),
        (20000, 2, "'{folder}/s_log.png'"),
    ],
)
def test_a_full_disk_is_told_with_the_file(source, tmp_path, limit, snapshot, expected):
    solver = write_training(tmp_path, source, max_iter=8, snapshot=snapshot)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    said = train(solver, status=1, preexec_fn=limited)
    last = said.strip().splitlines()[-1]
    assert last.startswith("train: error: ")
    assert expected.format(folder=tmp_path) in last
    # Once there is room, the same command goes on.
    train(solver, "--resume")
    assert (tmp_path / "s_iter_8.solverstate").exists()
