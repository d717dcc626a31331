"""A colorizer is trained stage by stage and put into a package, on three small photos."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from autocolor.nets.weights_io import read_weights
from autocolor.runtime.model_folder import Manifest
from autocolor.runtime.shipped import load_half
from helpers.programs import ROOT, run_tool, tool_command

pytestmark = pytest.mark.slow

CROP = ("--crop", 32, "--locations", 8, "--batch", 2, "--snapshots", 2)


TOOL = "tools/train_model.py"


def run(stage, *arguments, status=0):
    return run_tool(TOOL, stage, *arguments, status=status)


@pytest.fixture(scope="module")
def photos(photo_folder, tmp_path_factory):
    """Three to learn from; one to choose by, as every model that is made has its strength chosen."""
    validation = tmp_path_factory.mktemp("validation")
    shutil.copy(photo_folder / "coffee.png", validation)
    return ("--photos", photo_folder, "--validation", validation, *CROP)


@pytest.fixture(scope="module")
def head(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("training")
    done = run("head", *photos, "--out", out, "--views", 2, "--epochs", 2)
    return out, done


def newest(folder):
    return max(folder.glob("snapshot_iter_*.solverstate"), key=lambda path: path.stat().st_mtime_ns)


def test_head(head, photos):
    out, done = head
    assert "head/model: strength" in done.stdout
    assert Manifest.load(out / "head/model").variant == "hue_chroma"
    weights = read_weights(out / "head/model/weights.caffemodel")
    backbone = read_weights(out / "data/balanced.caffemodel")
    for name, blobs in backbone.items():
        np.testing.assert_array_equal(weights[name][0], blobs[0])
    assert weights["h_fc1"][0].shape == (1024, 4225)
    last = newest(out / "head/training")
    assert last.name == "snapshot_iter_6.solverstate"  # 2 epochs of 3 photos, 2 views, 2 a batch
    again = run("head", *photos, "--out", out, "--views", 2, "--epochs", 2)
    assert again.stdout == done.stdout
    assert newest(out / "head/training").stat().st_mtime_ns == last.stat().st_mtime_ns


def test_whole_anneal_ship(head, photos, tmp_path):
    out, _ = head
    early = run("anneal", *photos, "--out", out, "--iterations", 2, status=1)
    assert "expected a snapshot" in early.stderr
    done = run("whole", *photos, "--out", out, "--iterations", 2)
    assert "snapshot_iter_2.caffemodel; next: anneal, or more --iterations" in done.stdout
    start = read_weights(out / "head/model/weights.caffemodel")
    after = read_weights(out / "whole/training/snapshot_iter_2.caffemodel")
    for name in ("conv1_1", "conv5_3", "h_fc1", "prediction_h"):
        assert np.abs(after[name][0] - start[name][0]).max() > 0
    # Adam's steps are at most about the rate.
    assert np.abs(after["conv3_1"][0] - start["conv3_1"][0]).max() < 3 * 2 * 0.08 * 5e-4
    done = run("anneal", *photos, "--out", out, "--iterations", 2)
    assert "whole/model: strength" in done.stdout
    log = [json.loads(line) for line in (out / "whole/annealing/snapshot_log.jsonl").open()]
    rates = [r["learning_rate"] for r in log if r["phase"] == "train" and r.get("learning_rate")]
    np.testing.assert_allclose(rates, [5e-4, 2.5e-4], rtol=1e-5)
    annealed = newest(out / "whole/annealing").stat().st_mtime_ns
    run("anneal", *photos, "--out", out, "--iterations", 2)
    assert newest(out / "whole/annealing").stat().st_mtime_ns == annealed
    # The constant rate goes on, and is annealed anew.
    run("whole", *photos, "--out", out, "--iterations", 3)
    run("anneal", *photos, "--out", out, "--iterations", 2)
    assert newest(out / "whole/annealing").name == "snapshot_iter_5.solverstate"
    table = tmp_path / "photos.tsv"
    table.write_text("path\tsplit\tsource\tterms\n" + "x\ttrain\tcamera\tCC0\n" * 3)
    run("ship", "--out", out, "--package", tmp_path / "package", "--sources", table)
    assert {path.name for path in (tmp_path / "package").iterdir()} == {
        "deploy.prototxt",
        "model.json",
        "training.json",
        "weights.npz",
    }
    record = json.loads((tmp_path / "package/training.json").read_text())
    assert [(row["stage"], row["iterations"]) for row in record["stages"]] == [
        ("head", 6),
        ("all layers", 3),
        ("all layers, annealed", 2),
    ]
    assert record["stages"][2]["learning_rate"] == pytest.approx(5e-4)
    assert record["sources"] == [
        {"split": "train", "source": "camera", "terms": "CC0", "photos": 3}
    ]
    whole = read_weights(out / "whole/model/weights.caffemodel")
    for name, (weight, bias) in load_half(tmp_path / "package" / "weights.npz").items():
        np.testing.assert_allclose(weight, whole[name][0], rtol=2**-10, atol=1e-7)
        np.testing.assert_array_equal(bias, whole[name][1])


# Of each stage: what it has begun with (the stage before, if any), its further options, the files at
# whose appearance it is killed, in their order, and those that must come to be the same.
STAGES = {
    "head": (
        (),
        ("--views", 2, "--epochs", 2),
        (
            "data/training_2_32/data.mdb",
            "data/balanced.caffemodel",
            "head/features/training/features_00000.h5",
            "head/training/solver.prototxt",
            "head/training/snapshot_iter_2.solverstate",
            "head/training/snapshot_iter_4.caffemodel",
            "head/model",
        ),
        ("head/training/snapshot_iter_6.caffemodel", "head/model/weights.caffemodel"),
    ),
    "whole": (
        (),
        ("--weights", "START", "--iterations", 4),
        (
            "data/validation_32/data.mdb",
            "whole/training/start.caffemodel",
            "whole/training/snapshot_iter_2.caffemodel",
            "whole/training/snapshot_iter_2.solverstate",
            "whole/training/snapshot_iter_4.caffemodel",
        ),
        ("whole/training/snapshot_iter_4.caffemodel",),
    ),
    "anneal": (
        ("whole", "--weights", "START", "--iterations", 2),
        ("--iterations", 4),
        (
            "whole/annealing",
            "whole/annealing/snapshot_iter_2.solverstate",
            "whole/annealing/snapshot_iter_4.caffemodel",
            "whole/annealing/snapshot_iter_4.solverstate",
            "whole/annealing/snapshot_iter_6.solverstate",
            "whole/model",
        ),
        (
            "whole/annealing/snapshot_iter_6.caffemodel",
            "whole/model/weights.caffemodel",
            "whole/model/model.json",
        ),
    ),
}


def kill_at(moment, *command):
    """Start a stage and kill it, with its processes, when a file has appeared."""
    process = subprocess.Popen(
        tool_command(TOOL, *command),
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not moment.exists() and process.poll() is None:
        time.sleep(0.005)
    assert moment.exists()
    with contextlib.suppress(ProcessLookupError):  # it may have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_its_turns_it_comes_to_the_same_end(stage, head, photos, tmp_path):
    out, _ = head
    weights = out / "head/model/weights.caffemodel"
    before, options, moments, results = STAGES[stage]
    before, options = (
        [weights if word == "START" else word for word in words] for words in (before, options)
    )
    once, killed = tmp_path / "once", tmp_path / "killed"
    if before:
        run(*before, *photos, "--out", once)
        shutil.copytree(once, killed)
    run(stage, *photos, *options, "--out", once)
    for moment in moments:
        kill_at(killed / moment, stage, *photos, *options, "--out", killed)
    run(stage, *photos, *options, "--out", killed)
    for path in results:
        assert_same(killed / path, once / path)


def assert_same(found, expected):
    """Compare the arrays of weights, of other files the bytes."""
    if found.suffix != ".caffemodel":
        assert found.read_bytes() == expected.read_bytes()
        return
    left, right = read_weights(found), read_weights(expected)
    assert left.keys() == right.keys()
    for name, blobs in left.items():
        for blob, other in zip(blobs, right[name], strict=True):
            np.testing.assert_array_equal(blob, other)


def test_shipping_killed_at_its_turns_comes_to_the_same_package(head, tmp_path):
    """Its files appear one after the other, each whole; the last is what makes it a model."""
    out, _ = head
    once, killed = tmp_path / "once", tmp_path / "killed"
    options = ("ship", "--out", out, "--model", out / "head/model", "--package")
    run(*options, once)
    files = sorted(once.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert files[-1].name == "model.json"
    for moment in (killed, *(killed / path.name for path in files)):
        kill_at(moment, *options, killed)
    run(*options, killed)
    assert {path.name for path in killed.iterdir()} == {path.name for path in files}
    for path in files:
        assert_same(killed / path.name, path)


# Runs a command and prints the memory of its largest process in kB.
MEASURE = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], check=False).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_no_process_of_the_frozen_stage_needs_much_memory(photo_folder, tmp_path):
    """At the default crops: more photos are more files, of which one is held at a time.

    With two workers no more than three processes are busy, so this bounds the sum by 6 GB.
    """
    command = tool_command(
        TOOL,
        "head",
        "--photos",
        photo_folder,
        "--validation",
        photo_folder,
        "--out",
        tmp_path,
        "--batch",
        2,
        "--epochs",
        1,
        "--processes",
        2,
    )
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "head/model: strength" in done.stdout
    assert 10**5 < int(done.stdout.split()[-1]) < 2 * 10**6


def test_no_photos(tmp_path):
    done = run("head", "--photos", tmp_path / "none", "--out", tmp_path / "out", status=1)
    assert done.stderr.startswith("train_model: error: ") and "none" in done.stderr
    (tmp_path / "empty").mkdir()
    done = run("head", "--photos", tmp_path / "empty", "--out", tmp_path / "out", status=1)
    assert "expected photos to learn from" in done.stderr
