"""Data on which Caffe ends its process: a training ends with one line that says so."""

import os
import signal
import subprocess
from pathlib import Path

import lmdb
import pytest

from helpers.programs import PATIENCE, state_of, wait_until, wait_until_gone
from helpers.tiny_training import ENVIRONMENT, train, train_command, write_lmdb, write_training

pytestmark = pytest.mark.slow

STEADY = {"base_lr": 1e-5, "lr_policy": '"fixed"', "max_iter": 10**6}


@pytest.mark.parametrize("value", [b"\xff\xff no message", b""], ids=["no Datum", "no pixels"])
def test_a_damaged_record_is_named(value, tmp_path):
    source = write_lmdb(tmp_path / "lmdb")
    with lmdb.open(str(source)) as environment, environment.begin(write=True) as records:
        records.put(b"00000007", value)
    solver = write_training(tmp_path / "t", source)
    last = train(solver, status=1).strip().splitlines()[-1]
    # Caffe may read as far as there when the net is tried beforehand.
    ended = last.endswith("; --resume goes on from the newest complete snapshot")
    middle = "the training was ended by SIGABRT: " if ended else ""
    assert last.startswith(f"train: error: {middle}{source}: ")
    assert "00000007: " in last


def test_a_damaged_page_is_refused_at_once(tmp_path):
    source = write_lmdb(tmp_path / "lmdb")
    data = source / "data.mdb"
    content = bytearray(data.read_bytes())
    content[2 * 4096 :] = bytes(len(content) - 2 * 4096)
    data.write_bytes(content)
    said = train(write_training(tmp_path / "t", source), status=1)
    assert said.startswith("train: error: ")
    assert f"layer 'image': {data}: damaged: MDB_" in said  # in liblmdb's words
    assert said.count("\n") == 1


def start(folder: Path) -> tuple[subprocess.Popen, int]:
    """Start a training without end; returns it, and the number of the process that trains."""
    solver = write_training(folder / "t", write_lmdb(folder / "lmdb"), **STEADY)
    process = subprocess.Popen(
        train_command(solver), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    log = folder / "t" / "s_log.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size > 1000, process)
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, int(child)


def test_a_training_that_is_killed_says_so(tmp_path):
    """As the kernel does where memory is short."""
    process, child = start(tmp_path)
    os.kill(child, signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    expected = "train: error: the training was ended by SIGKILL: was memory short?"
    assert said.strip().splitlines()[-1].startswith(expected)


def test_nothing_goes_on_when_the_command_is_killed(tmp_path):
    process, child = start(tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE)
    wait_until_gone([child])


def test_it_can_be_paused(tmp_path):
    process, child = start(tmp_path)
    process.send_signal(signal.SIGTSTP)
    wait_until(lambda: state_of(process.pid) == state_of(child) == "T")
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(child) != "T", process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
