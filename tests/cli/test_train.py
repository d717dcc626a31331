"""tools/train.py and tools/parse_log.py, run as a user runs them, on a tiny net in real Caffe."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from caffe.proto import caffe_pb2

from autocolor.runtime.caffemodel import read_caffemodel
from autocolor.training.log import parse_log, read_json_lines
from autocolor.training.snapshots import newest_usable
from autocolor.training.solver_files import probe
from helpers.programs import PATIENCE, wait_until, wait_until_gone
from helpers.tiny_training import (
    ENVIRONMENT,
    ROOT,
    caffe_train,
    train,
    train_command,
    write_lmdb,
    write_training,
)

pytestmark = pytest.mark.slow

# A rate at which a training that only a signal ends does not diverge in the meantime.
STEADY = {"base_lr": 1e-5, "lr_policy": '"fixed"'}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_lmdb(tmp_path_factory.mktemp("data") / "lmdb")


def weights(folder, iteration=12):
    """All blobs of a snapshot, by layer and index."""
    layers = read_caffemodel(folder / f"s_iter_{iteration}.caffemodel")
    return {(name, i): blob for name, blobs in layers.items() for i, blob in enumerate(blobs)}


def assert_equal_weights(left, right):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], err_msg=str(key))


def as_caffe_prints(value):
    """Six digits of the float that `value` is the shortest decimal of, and not of that decimal:

    Caffe prints 1.9879250526 as 1.98793, which our log, exact as a float, has as 1.987925.
    """
    return float(f"{float(np.float32(value)):.6g}")


def table(folder):
    with (folder / "s_log.csv").open() as stream:
        return list(csv.DictReader(stream))


def start(solver, *arguments, ranks=0):
    """Start a training that does not end by itself, and wait until it iterates."""
    errors = solver.parent / "stderr.txt"
    with errors.open("w") as stream:
        process = subprocess.Popen(
            train_command(solver, *arguments, ranks=ranks), env=ENVIRONMENT, stderr=stream
        )
    log = solver.parent / "s_log.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 1000, process)
    return process, errors


# ---- the same training as caffe train


@pytest.mark.parametrize(
    "solver",
    [{}, {"type": '"Adam"', "momentum2": 0.99, "iter_size": 2}],
    ids=["SGD", "Adam, iter_size 2"],
)
def test_losses_and_weights_are_those_of_caffe_train(source, tmp_path, solver):
    """With random crops, mirroring, locations and dropout: all draw from the one seed, in order."""
    first = write_training(tmp_path / "start", source, max_iter=2)
    caffe_train(first)
    pretrained = tmp_path / "start" / "s_iter_2.caffemodel"

    options = dict(random=True, test=True, snapshot=8, **solver)
    log = caffe_train(
        write_training(tmp_path / "caffe", source, **options), f"-weights={pretrained}"
    )
    train(write_training(tmp_path / "ours", source, **options), "--weights", pretrained)

    theirs = list(parse_log(log.splitlines()))
    ours = read_json_lines(tmp_path / "ours" / "s_log.jsonl")
    final = ours.pop(-2)  # of the forward pass after the last update; Caffe prints its loss only
    assert f"Iteration 12, loss = {as_caffe_prints(final.smoothed_loss):.6g}\n" in log
    assert [(r.iteration, r.phase) for r in ours] == [(r.iteration, r.phase) for r in theirs]
    assert len([r for r in ours if r.phase == "test"]) == 4
    for our, their in zip(ours, theirs, strict=True):
        assert {name: as_caffe_prints(v) for name, v in our.outputs.items()} == their.outputs
        for name in ("learning_rate", "smoothed_loss"):
            value = getattr(our, name)
            assert (None if value is None else as_caffe_prints(value)) == getattr(their, name)
    assert len({r.loss for r in ours}) == len(ours)
    for iteration in (8, 12):
        assert_equal_weights(
            weights(tmp_path / "ours", iteration), weights(tmp_path / "caffe", iteration)
        )
    header = "iteration,phase,seconds,learning_rate,smoothed_loss,loss,loss_c,loss_h"
    assert ",".join(table(tmp_path / "ours")[0]) == header
    assert (tmp_path / "ours" / "s_log.png").read_bytes().startswith(b"\x89PNG")


# ---- snapshots and resuming


def test_resumes_the_newest_complete_snapshot_as_if_uninterrupted(source, tmp_path):
    """Six iterations are one epoch and nothing is random, so weights, momentum and log are equal.

    `caffe train` goes on in the same way, which it does not with augmentation or dropout.
    """
    solver = write_training(tmp_path, source, snapshot=6, test=True)
    train(solver)
    expected, log = weights(tmp_path), table(tmp_path)
    state = tmp_path / "s_iter_12.solverstate"
    state.write_bytes(state.read_bytes()[:-100])

    said = train(solver, "--resume")
    assert "passing over snapshot s_iter_12.solverstate" in said
    assert "s_iter_12.solverstate: is cut off or damaged" in said
    assert f"resuming from {tmp_path}/s_iter_6.solverstate" in said
    assert_equal_weights(weights(tmp_path), expected)
    for row, before in zip(table(tmp_path), log, strict=True):
        for name in ("iteration", "phase", "learning_rate", "loss", "loss_h", "loss_c"):
            assert row[name] == before[name], row

    # Snapshots are Caffe's own, in either direction.
    state.unlink()
    caffe_train(solver, f"-snapshot={tmp_path}/s_iter_6.solverstate")
    assert_equal_weights(weights(tmp_path), expected)


@pytest.mark.parametrize("batch", [2, 5])
def test_a_resumed_training_is_an_uninterrupted_one_bit_for_bit(source, tmp_path, batch):
    """With random crops, mirroring, locations and dropout, in the middle of an epoch of 12 records.

    Both nets draw, so the tests count as well; `caffe train` draws the first numbers again.
    """
    options = dict(random=True, batch=batch, test=True, snapshot=5, iter_size=2)
    solver = write_training(tmp_path, source, **options)
    train(solver)
    expected, log = weights(tmp_path), table(tmp_path)
    for ending in ("solverstate", "caffemodel"):
        for iteration in (10, 12):
            (tmp_path / f"s_iter_{iteration}.{ending}").unlink()
    assert "s_iter_5.solverstate" in train(solver, "--resume")
    assert_equal_weights(weights(tmp_path), expected)
    for row, before in zip(table(tmp_path), log, strict=True):
        assert (row["iteration"], row["loss"]) == (before["iteration"], before["loss"])

    for path in tmp_path.glob("s_iter_1?.*"):
        path.unlink()
    train(solver, "--resume", "--no-replay")
    assert any((weights(tmp_path)[key] != expected[key]).any() for key in expected)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_layers(path):
    """Cut off where a layer ends, so that the rest still is a message."""
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    del net.layer[next(i for i, layer in enumerate(net.layer) if layer.name == "h_fc1") :]
    path.write_bytes(net.SerializeToString())


def drop_history(path):
    state = caffe_pb2.SolverState.FromString(path.read_bytes())
    del state.history[-1]
    path.write_bytes(state.SerializeToString())


@pytest.mark.parametrize(
    ("solver", "damages"),
    [
        (
            {},
            [
                ("caffemodel", cut, "s_iter_2.caffemodel: is cut off or damaged"),
                ("caffemodel", Path.unlink, "s_iter_2.caffemodel: no such file"),
                ("caffemodel", drop_layers, "s_iter_2.caffemodel has no weights of h_fc1"),
                ("solverstate", drop_history, "Incorrect length of history blobs"),  # Caffe's words
            ],
        ),
        (
            {"snapshot_format": "HDF5"},
            [
                ("caffemodel.h5", cut, "s_iter_2.caffemodel.h5: is cut off or damaged"),
                ("solverstate.h5", cut, "s_iter_2.solverstate.h5: is cut off or damaged"),
            ],
        ),
    ],
    ids=["binary", "HDF5"],
)
def test_damaged_snapshots_are_passed_over(source, tmp_path, solver, damages):
    file = write_training(tmp_path, source, max_iter=2, snapshot=1, **solver)
    train(file)
    for checksum in tmp_path.glob("*.sha256"):
        checksum.unlink()  # as of caffe train, which writes none
    for ending, damage, expected in damages:
        path = tmp_path / f"s_iter_2.{ending}"
        whole = path.read_bytes()
        damage(path)
        said = []
        found = newest_usable(str(tmp_path / "s"), lambda state: probe(file, state), said.append)
        assert found is not None
        assert found.name.startswith("s_iter_1.solverstate")
        assert len(said) == 1
        assert expected in said[0]
        path.write_bytes(whole)


def test_ctrl_c_snapshots_and_a_resumed_run_goes_on(source, tmp_path):
    solver = write_training(tmp_path, source, max_iter=10**7, **STEADY)
    process, errors = start(solver)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130, errors.read_text()
    assert "--resume goes on" in errors.read_text()
    (state,) = tmp_path.glob("s_iter_*.solverstate")
    iteration = int(re.search(r"iter_(\d+)", state.name).group(1))
    assert len(table(tmp_path)) == iteration

    write_training(tmp_path, source, max_iter=iteration + 3, **STEADY)
    train(solver, "--resume")
    iterations = [int(row["iteration"]) for row in table(tmp_path)]
    assert iterations == list(range(iteration + 4))


def test_an_earlier_training_is_not_overwritten(source, tmp_path):
    solver = write_training(tmp_path, source, max_iter=3)
    assert "no snapshot to resume, starting anew" in train(solver, "--resume")
    before = {path: path.read_bytes() for path in tmp_path.glob("s_*")}
    refused = train(solver, status=1)
    assert re.search(r"^train: error: .*is of an earlier training; --resume", refused, re.MULTILINE)
    assert {path: path.read_bytes() for path in tmp_path.glob("s_*")} == before
    write_training(tmp_path, source, max_iter=2)
    train(solver, "--force")
    assert len(table(tmp_path)) == 3
    assert not (tmp_path / "s_iter_3.caffemodel").exists()


# ---- errors


@pytest.mark.parametrize(
    ("change", "arguments", "expected"),
    [
        (("solver", "SGD", "Newton"), (), "type: expected one of SGD, "),
        (("solver", "poly", "polynomial"), (), "lr_policy: expected one of fixed, "),
        (("solver", "max_iter", "max_iterations"), (), "has no field named"),
        (("solver", "CPU", "GPU"), (), "is built for the CPU only"),
        (("solver", '/s"', '/train.prototxt/s"'), (), "snapshot_prefix: cannot make the folder"),
        (
            ("train", '"ReLU"', '"ReLUX"'),
            (),
            "layer 'relu2': this Caffe has no layer of type 'ReLUX'",
        ),
        (("train", "/lmdb", "/nowhere"), (), "nowhere/data.mdb: no such file"),
        (("train", 'bottom: "h_fc1"', 'bottom: "nothing"'), (), "Unknown bottom blob 'nothing'"),
        ((), ("--weights", "nowhere.caffemodel"), "nowhere.caffemodel: no such file"),
        ((), ("--preview", "nowhere.png"), "nowhere.png: no such file"),
    ],
)
def test_errors_are_one_line(source, tmp_path, change, arguments, expected):
    solver = write_training(tmp_path, source)
    if change:
        name, old, new = change
        path = tmp_path / f"{name}.prototxt"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    (line,) = train(solver, *arguments, status=1).strip().splitlines()
    assert line.startswith("train: error: ")
    assert expected in line
    assert not list(tmp_path.glob("s_*"))


def test_wrong_weights_are_refused_in_caffes_words(source, tmp_path):
    solver = write_training(tmp_path, source, max_iter=1)
    train(solver)
    net = tmp_path / "train.prototxt"
    net.write_text(net.read_text().replace("num_output: 16", "num_output: 17"))
    refused = train(solver, "--force", "--weights", tmp_path / "s_iter_1.caffemodel", status=1)
    assert "Cannot copy param 0 weights from layer 'h_fc1'; shape mismatch" in refused
    assert (tmp_path / "s_iter_1.caffemodel").exists()


# ---- previews


def test_previews(photo_folder, source, tmp_path):
    """A net whose weights the tiny deploy net of conftest.py takes."""
    from conftest import tiny_deploy

    solver = write_training(tmp_path, source, max_iter=2)
    heads = "".join(
        f"""layer {{ name: "prediction_{head}" type: "Convolution" bottom: "data" top: "{head}"
            convolution_param {{ num_output: 32 kernel_size: 4 stride: 4
                                 weight_filler {{ type: "xavier" }} }} }}
        layer {{ name: "loss_{head}" type: "Reduction" bottom: "{head}" top: "loss_{head}"
                 reduction_param {{ operation: SUMSQ coeff: 0.001 }} loss_weight: 1 }}"""
        for head in ("hue", "chroma")
    )
    (tmp_path / "train.prototxt").write_text(
        f"""layer {{ name: "image" type: "Data" top: "image"
            data_param {{ source: "{source}" batch_size: 2 backend: LMDB }} }}
        layer {{ name: "grey" type: "ColorSpace" bottom: "image" top: "data" top: "colour"
                 color_space_param {{ color_space: HUE_CHROMA }} }}
        layer {{ name: "rest" type: "Silence" bottom: "colour" }} {heads}"""
    )
    deploy = tmp_path / "deploy.prototxt"
    deploy.write_text(tiny_deploy(32))
    said = train(solver, "--preview", photo_folder, "--preview-every", 2)
    assert "no previews" not in said
    for iteration in (0, 2):
        picture = (tmp_path / f"s_preview_iter_{iteration}.png").read_bytes()
        assert picture.startswith(b"\x89PNG")

    deploy.write_text(tiny_deploy(32).replace("prediction_", "other_"))
    said = train(solver, "--force", "--preview", photo_folder, "--preview-every", 1)
    assert said.count("no previews: ") == 1  # and the training goes on
    assert "done" in said


# ---- several processes


@pytest.mark.parametrize(
    ("ranks", "batch", "solver"),
    [
        (2, 2, {}),
        (2, 1, {"iter_size": 2, "clip_gradients": 1.0}),
        (3, 1, {"type": '"Adam"', "fixed": True}),
    ],
    ids=["2 ranks", "iter_size and clipping", "3 ranks, Adam, a fixed layer"],
)
def test_ranks_take_the_steps_of_one_process_with_their_batches_together(
    source, tmp_path, ranks, batch, solver
):
    """With rows that are ignored, in other numbers on each rank, and weights that layers share."""
    options = dict(test=True, **solver)
    train(write_training(tmp_path / "one", source, batch=ranks * batch, **options))
    train(write_training(tmp_path / "many", source, batch=batch, **options), ranks=ranks)
    one, many = weights(tmp_path / "one"), weights(tmp_path / "many")
    assert one.keys() == many.keys()
    for key in one:
        # Sums of single precision in another order, 12 times over: measured 4e-7.
        np.testing.assert_allclose(many[key], one[key], rtol=1e-5, atol=1e-6, err_msg=str(key))
    ours, theirs = (read_json_lines(tmp_path / name / "s_log.jsonl") for name in ("many", "one"))
    for our, their in zip(ours, theirs, strict=True):
        assert (our.iteration, our.phase) == (their.iteration, their.phase)
        assert our.loss == pytest.approx(their.loss, rel=1e-5)
        assert our.outputs == pytest.approx(their.outputs, rel=1e-5)


def ranks_of(errors):
    found = re.findall(r"rank (\d) of \d is process (\d+)", errors.read_text())
    return {int(rank): int(process) for rank, process in found}


@pytest.mark.parametrize(
    ("victim", "how", "status", "reason"),
    [
        (1, signal.SIGKILL, None, "another rank died; snapshot at iteration"),
        (0, signal.SIGKILL, None, "another rank died; snapshot at iteration"),
        (1, signal.SIGSTOP, None, "did not answer within 3 s; snapshot at iteration"),
        ("mpirun", signal.SIGINT, 130, "--resume goes on"),
        ("mpirun", signal.SIGTERM, 143, "--resume goes on"),
    ],
    ids=["a rank is killed", "rank 0 is killed", "a rank hangs", "Ctrl-C", "SIGTERM"],
)
def test_a_lost_rank_or_a_signal_ends_the_job_with_a_snapshot(
    source, tmp_path, victim, how, status, reason
):
    solver = write_training(tmp_path, source, random=True, max_iter=10**7, **STEADY)
    patience = ("--mpi-timeout", 3) if how == signal.SIGSTOP else ()
    process, errors = start(solver, *patience, ranks=2)
    ranks = ranks_of(errors)
    os.kill(process.pid if victim == "mpirun" else ranks[victim], how)
    # What mpirun returns for a rank that was killed is its own affair, but for not being 0.
    code = process.wait(PATIENCE)
    assert code == status if status else code != 0, errors.read_text()
    wait_until_gone(ranks.values())
    assert reason in errors.read_text()
    states = [path.name for path in tmp_path.glob("s_iter_*.solverstate")]
    assert states
    newest = max(int(re.search(r"\d+", name).group()) for name in states)
    write_training(tmp_path, source, random=True, max_iter=newest + 2, **STEADY)
    said = train(solver, "--resume", ranks=2)
    assert f"s_iter_{newest}.solverstate" in said
    assert "passing over" not in said
    assert (tmp_path / f"s_iter_{newest + 2}.caffemodel").exists()


def test_ranks_agree_on_errors_and_mpirun_needs_mpi(source, tmp_path):
    solver = write_training(tmp_path, source, base_lr='"much"')
    said = train(solver, ranks=2, status=1)
    assert said.count("train: error:") == 1
    assert "base_lr" in said
    command = ["mpirun", "-n", "2", sys.executable, ROOT / "tools/train.py", "--solver", solver]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "mpirun has started several processes: expected --mpi" in refused.stderr


# ---- tools/parse_log.py


def test_parse_log_of_a_log_cut_off_anywhere(source, tmp_path):
    log = caffe_train(write_training(tmp_path, source, test=True))
    full = run_parse_log(tmp_path / "full.log", log)
    assert full.returncode == 0
    assert "16 records to iteration 12" in full.stdout
    rows = list(csv.reader((tmp_path / "full.csv").open()))
    assert rows[0][:6] == [
        "iteration",
        "phase",
        "seconds",
        "learning_rate",
        "smoothed_loss",
        "loss",
    ]
    assert (tmp_path / "full.png").read_bytes().startswith(b"\x89PNG")

    first = log.index("Test net output #1: loss_h")
    for end in np.linspace(log.index("\n", first) + 2, len(log), 4, dtype=int):
        assert run_parse_log(tmp_path / "cut.log", log[:end]).returncode == 0
        cut = list(csv.reader((tmp_path / "cut.csv").open()))
        # The rate is printed after the outputs, so that of the last row may be lacking.
        assert cut[:-1] == rows[: len(cut) - 1]
        assert cut[-1][4:] == rows[len(cut) - 1][4:]


@pytest.mark.parametrize("text", ["", "caffe: command not found\n", None])
def test_parse_log_errors_are_one_line(tmp_path, text):
    refused = run_parse_log(tmp_path / "some.log", text)
    assert refused.returncode == 1
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith("parse_log: error:")
    assert "some.log" in line
    assert not (tmp_path / "some.csv").exists()


def run_parse_log(path, text):
    if text is not None:
        path.write_text(text)
    return subprocess.run(
        [sys.executable, ROOT / "tools/parse_log.py", path],
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
